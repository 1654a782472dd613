"""FrameBatch: captured frames as columns, the form in which traffic leaves the capture stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from sensor.errors import CaptureError

LINK_NULL: Final = 0
LINK_ETHERNET: Final = 1
LINK_RAW: Final = 101
LINK_LOOP: Final = 108
LINK_LINUX_SLL: Final = 113
LINK_LINUX_SLL2: Final = 276
SUPPORTED_LINKS: Final = frozenset(
    {LINK_NULL, LINK_ETHERNET, LINK_RAW, LINK_LOOP, LINK_LINUX_SLL, LINK_LINUX_SLL2, 12, 14, 228, 229}
)
"""LINKTYPE_ numbers (registry of tcpdump.org) the native engine reads; 12, 14, 228, 229 are raw IP."""

FILE_SHIFT: Final = 40
"""``frame`` numbers carry the index of their file above this bit (0 for the first or only file)."""


@dataclass(slots=True)
class FrameBatch:
    """A run of frames of one capture, in capture order.

    Attributes
    ----------
    data : ndarray of uint8, shape (bytes,)
        One contiguous buffer that holds every frame; read-only.
    offset : ndarray of int64, shape (n,)
        First byte of each frame in ``data``.
    caplen, wirelen : ndarray of int32, shape (n,)
        Bytes captured and bytes on the wire.
    ts : ndarray of int64, shape (n,)
        Capture time, ns since 1970-01-01 UTC.
    link : ndarray of int32, shape (n,)
        LINKTYPE_ of each frame (a pcapng file may hold several).
    number : ndarray of int64, shape (n,)
        1-based frame number over the file, plus ``file index << FILE_SHIFT``.
    clock : int
        Live sources, batches without frames: frames from before this time (ns) have all been handed out.
        0 everywhere else.
    lost : ndarray of int64, shape (n,), or None
        Frames known to be lost between the frame before and this one, or in a time whose loss is told here
        first. None: nothing is known to be lost.
    lost_after : int
        The same behind the last frame: at the end of a capture, or while nothing comes.
    """

    data: npt.NDArray[np.uint8]
    offset: npt.NDArray[np.int64]
    caplen: npt.NDArray[np.int32]
    wirelen: npt.NDArray[np.int32]
    ts: npt.NDArray[np.int64]
    link: npt.NDArray[np.int32]
    number: npt.NDArray[np.int64]
    clock: int = 0
    lost: npt.NDArray[np.int64] | None = None
    lost_after: int = 0

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: slice | npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> FrameBatch:
        """Frames chosen by a slice, an index or a mask; the byte buffer is shared, not copied."""
        return FrameBatch(
            self.data,
            self.offset[rows],
            self.caplen[rows],
            self.wirelen[rows],
            self.ts[rows],
            self.link[rows],
            self.number[rows],
            lost=None if self.lost is None else self.lost[rows],
        )

    def frame(self, row: int) -> bytes:
        """Captured bytes of one frame."""
        start = int(self.offset[row])
        return bytes(self.data[start : start + int(self.caplen[row])])


class FrameSource(Protocol):
    """What frames come from: a capture file or a live interface."""

    shown: str
    size: int
    notes: list[str]
    problems: list[CaptureError]

    @property
    def position(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    def batches(self, max_frames: int = ...) -> Iterator[FrameBatch]: ...


def no_frames(clock: int = 0, lost_after: int = 0) -> FrameBatch:
    """A batch without frames; ``clock`` and ``lost_after`` as in :class:`FrameBatch`."""
    small = np.zeros(0, np.int32)
    large = np.zeros(0, np.int64)
    return FrameBatch(
        np.zeros(0, np.uint8), large, small, small, large, small, large, clock, None, lost_after
    )
