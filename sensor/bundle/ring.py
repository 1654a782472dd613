"""The latest frames, in memory: what an alert's slice is cut from.

Batches are kept as they came, by reference: no frame is copied and nothing is done per frame until a slice
is cut. Every source hands out buffers that are never written again (``capture/ring.py``,
``capture/streams.py``), so a batch stays valid for as long as it is kept. What is bounded is the memory
behind the batches: buffers that several batches share count once, and the oldest batches go first.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.capture.pcapwrite import CaptureWriter
from sensor.frames import FrameBatch

PER_FRAME: Final = 44
"""Bytes of the columns of one frame."""

PER_BATCH: Final = 2_048
"""What Python and numpy need for a batch without frames, at least."""

PER_PACKET: Final = 36
"""Bytes that pcapng adds to a packet, at most."""


HEADERS: Final = 4_096
"""Bytes that are set aside for the headers of a file."""


@dataclass(slots=True)
class Cut:
    """Frames of a stretch of time.

    Attributes
    ----------
    pcapng : bytes
    numbers : ndarray of int64, shape (n,)
        Each frame's number in the run, in the order of the file.
    first, last : int
        Time of the earliest and the latest frame, ns; 0 without frames.
    incomplete : list of str
        Why the stretch is not all there; empty when it is.
    lost : int
        Frames that the capture itself lost in it.
    """

    pcapng: bytes
    numbers: npt.NDArray[np.int64]
    first: int = 0
    last: int = 0
    incomplete: list[str] = field(default_factory=list)
    lost: int = 0


@dataclass(slots=True)
class _Kept:
    batch: FrameBatch
    first: int
    last: int
    low: int
    high: int
    buffer: int


class FrameRing:
    """Bounded memory of frames; used by one thread.

    Parameters
    ----------
    max_bytes : int
        Of memory; the latest batch is kept whatever its size.

    Attributes
    ----------
    bytes : int
        Memory held.
    since : int
        Time of the first frame ever given, ns; -1 before there was one.
    dropped_until : int
        Latest time of a frame that had to go for want of room, ns; -1 for none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.since = self.dropped_until = -1
        self.dropped = 0
        self._kept: deque[_Kept] = deque()
        self._users: dict[int, int] = {}

    def add(self, batch: FrameBatch) -> None:
        """Keep a batch."""
        if not len(batch):
            return
        first, last = int(batch.ts.min()), int(batch.ts.max())
        owner = batch.data if batch.data.base is None else batch.data.base
        kept = _Kept(batch, first, last, int(batch.number.min()), int(batch.number.max()), id(owner))
        self.since = first if self.since < 0 else min(self.since, first)
        self._kept.append(kept)
        self._users[kept.buffer] = self._users.get(kept.buffer, 0) + 1
        self.bytes += PER_BATCH + PER_FRAME * len(batch)
        if self._users[kept.buffer] == 1:
            self.bytes += _size(batch)
        while self.bytes > self.max_bytes and len(self._kept) > 1:
            gone = self._pop()
            self.dropped += len(gone.batch)
            self.dropped_until = max(self.dropped_until, gone.last)

    def forget(self, before: int) -> None:
        """Let go of batches that end before a time (ns): nobody will ask for them."""
        while self._kept and self._kept[0].last < before:
            self._pop()

    def times(self, numbers: Iterable[int]) -> dict[int, int]:
        """Times (ns) of frames by number; those that are no longer here are left out."""
        wanted = np.unique(np.fromiter(numbers, np.int64))
        found: dict[int, int] = {}
        if not len(wanted):
            return found
        for kept in self._kept:
            if kept.high < wanted[0] or kept.low > wanted[-1]:
                continue
            rows = np.flatnonzero(np.isin(kept.batch.number, wanted))
            numbers_, times = kept.batch.number[rows].tolist(), kept.batch.ts[rows].tolist()
            found |= dict(zip(numbers_, times, strict=True))
        return found

    def cut(
        self,
        start: int,
        end: int,
        most: int,
        snaplen: int,
        focus: int | None = None,
        name: str = "",
        comment: str = "",
    ) -> Cut:
        """Frames of a stretch of time as pcapng.

        Parameters
        ----------
        start, end : int
            ns, both inclusive.
        most : int
            Bytes of the file, about; what is farthest from ``focus`` is left out and said.
        snaplen : int
            Bytes of a frame that are kept.
        focus : int, optional
            Time (ns) that must be in it; the end of the stretch by default.
        name, comment : str
            Of the interface and of the file, for people.
        """
        parts = [part for kept in self._kept if (part := _between(kept, start, end, snaplen)) is not None]
        made = Cut(b"", np.zeros(0, np.int64))
        made.lost = sum(int(part.lost.sum()) for part in parts if part.lost is not None)
        sizes = [part.caplen.astype(np.int64) + PER_PACKET for part in parts]
        if sum(int(size.sum()) for size in sizes) > most - HEADERS:
            made.incomplete.append(f"the slice was cut at {most:,} bytes")
            parts = _nearest(parts, np.concatenate(sizes), most - HEADERS, end if focus is None else focus)
        file = io.BytesIO()
        writer = CaptureWriter(file, name=name, comment=comment)
        for part in parts:
            writer.write(part)
        if parts:
            made.first = min(int(part.ts.min()) for part in parts)
            made.last = max(int(part.ts.max()) for part in parts)
            made.numbers = np.concatenate([part.number for part in parts])
        if self.dropped_until >= start:
            made.incomplete.append("the memory of recent frames (ring_mib) did not reach back far enough")
        elif self.since < 0 or self.since > start:
            made.incomplete.append("the sensor had not been watching for so long")
        made.pcapng = file.getvalue()
        return made

    def _pop(self) -> _Kept:
        gone = self._kept.popleft()
        self.bytes -= PER_BATCH + PER_FRAME * len(gone.batch)
        self._users[gone.buffer] -= 1
        if not self._users[gone.buffer]:
            del self._users[gone.buffer]
            self.bytes -= _size(gone.batch)
        return gone


def _size(batch: FrameBatch) -> int:
    """Bytes of the whole buffer behind a batch, which lives as long as one of its views."""
    owner = batch.data if batch.data.base is None else batch.data.base
    return int(getattr(owner, "nbytes", len(batch.data)))


def _between(kept: _Kept, start: int, end: int, snaplen: int) -> FrameBatch | None:
    """Frames of a batch in a stretch of time, shortened; None when there is none."""
    if kept.last < start or kept.first > end:
        return None
    rows = np.flatnonzero((kept.batch.ts >= start) & (kept.batch.ts <= end))
    if not len(rows):
        return None
    part = kept.batch.take(rows)
    part.caplen = np.minimum(part.caplen, np.int32(snaplen))
    return part


def _nearest(
    parts: list[FrameBatch], sizes: npt.NDArray[np.int64], most: int, focus: int
) -> list[FrameBatch]:
    """The frames around a moment that fit: half of the room behind it, what is then left before it."""
    middle = int(np.argmin(np.abs(np.concatenate([part.ts for part in parts]) - focus)))
    behind = int(np.searchsorted(np.cumsum(sizes[middle:]), most // 2, side="right"))
    stop = middle + max(1, behind)
    room = most - int(sizes[middle:stop].sum())
    begin = middle - int(np.searchsorted(np.cumsum(sizes[:middle][::-1]), room, side="right"))
    chosen: list[FrameBatch] = []
    at = 0
    for part in parts:
        low, high = max(0, begin - at), min(len(part), stop - at)
        if low < high:
            chosen.append(part.take(slice(low, high)))
        at += len(part)
    return chosen
