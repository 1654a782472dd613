"""A few seconds of the frames that no native decoder claims, on their way to tshark and back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sensor.capture.pcapwrite import CaptureWriter, private
from sensor.frames import FrameBatch
from sensor.messages import Rows, join_rows

MAX_FRAMES: Final = 20_000
MAX_BYTES: Final = 16 << 20
"""Budget of one segment; what comes beyond is counted, not decoded."""

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Segment:
    """Frames in a temporary capture, and the generic rows that wait to see what tshark makes of them.

    Attributes
    ----------
    number : int
        Counted over the run.
    opened : int
        Capture time at which it was begun, ns.
    open_frames : list of ndarray
        Numbers of the frames with data that no native decoder read.
    generic : list of Rows
        Native rows that say no more than who sent to whom.
    """

    folder: Path
    number: int
    opened: int
    frames: int = 0
    octets: int = 0
    numbers: list[Ints] = field(default_factory=list)
    open_frames: list[Ints] = field(default_factory=list)
    generic: list[Rows] = field(default_factory=list)
    _file: Any = None
    _writer: CaptureWriter | None = None

    def path(self, kind: str) -> Path:
        """File of this segment: ``pcapng``, ``npy`` or ``npz``."""
        return self.folder / f"{self.number}.{kind}"

    def room(self, frames: FrameBatch) -> int:
        """How many of these frames still fit into the budget."""
        sizes = np.cumsum(frames.caplen, dtype=np.int64)
        fit = int(np.searchsorted(sizes, MAX_BYTES - self.octets, side="right"))
        return max(0, min(fit, MAX_FRAMES - self.frames))

    def add(self, frames: FrameBatch, open_frames: Ints) -> None:
        """Write frames that fit.

        Raises
        ------
        OSError
            The disk is full.
        """
        if self._writer is None:
            self._file = open(self.path("pcapng"), "wb", opener=private)  # noqa: SIM115
            self._writer = CaptureWriter(self._file)
        self._writer.write(frames)
        self.frames += len(frames)
        self.octets += int(frames.caplen.sum(dtype=np.int64))
        self.numbers.append(frames.number)
        self.open_frames.append(open_frames)

    def close(self) -> dict[str, str]:
        """Finish the files; gives the worker's order.

        Raises
        ------
        OSError
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        np.save(self.path("npy"), self.all_numbers())
        names = {"capture": "pcapng", "numbers": "npy", "result": "npz"}
        return {name: str(self.path(kind)) for name, kind in names.items()}

    def remove(self) -> None:
        """Take its files away."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        for kind in ("pcapng", "npy", "npz"):
            with contextlib.suppress(OSError):
                self.path(kind).unlink(missing_ok=True)

    def all_numbers(self) -> Ints:
        """Numbers of all its frames, ascending."""
        return np.concatenate(self.numbers) if self.numbers else np.zeros(0, np.int64)

    def undecoded(self, decoded: Ints) -> int:
        """How many frames with data are not among those that were decoded."""
        return sum(int((~np.isin(numbers, decoded)).sum()) for numbers in self.open_frames)

    def generic_rows(self) -> Rows | None:
        """The rows that wait, None without any."""
        return join_rows(self.generic) if self.generic else None
