"""tshark's share of a capture: the frames that the native engine leaves, as rows in step with it.

The frames go to tshark through a private temporary capture, so that one tshark sees each of their
conversations whole. Rows are pulled as the native engine advances, never all at once.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import write_pcap
from sensor.capture.tshark import TsharkEngine
from sensor.frames import FrameBatch
from sensor.messages import Rows, join_rows, no_rows
from sensor.names import Limits, Names
from sensor.native import NativeEngine


class TsharkRows:
    """Messages that tshark makes of one file, handed out up to a frame number.

    Parameters
    ----------
    rows : iterator of (MESSAGE array, POINT array)
        In frame order.
    folder : TemporaryDirectory or None
        Removed on close.
    """

    def __init__(self, rows: Iterator[Rows], folder: tempfile.TemporaryDirectory[str] | None) -> None:
        self._rows = rows
        self._folder = folder
        self._waiting = no_rows()
        self._ended = False

    @classmethod
    def open(
        cls, file: CaptureFile, names: Names, everything: bool, batch: int, copies: str = "keep"
    ) -> TsharkRows | None:
        """Start on a file.

        Parameters
        ----------
        everything : bool
            All frames, and the profiles with native decoders too; else only what the native engine
            leaves.
        copies : str
            What the native engine does with copies; those that it drops do not go to tshark.

        Returns
        -------
        TsharkRows or None
            None when no frame is left for tshark.
        """
        folder = tempfile.TemporaryDirectory(prefix="gridwarden-")
        path = Path(folder.name) / "frames.pcapng"
        try:
            chosen = _Chooser(file, names, everything, batch, copies)
            write_pcap(path, chosen)
            if not chosen.count:
                folder.cleanup()
                return None
            profiles = [
                profile
                for profile in names.registry.profiles
                if profile.tshark is not None and (everything or not profile.native)
            ]
            engine = TsharkEngine(names.registry, names, profiles)
            return cls(engine.decode(path, chosen.numbers()), folder)
        except BaseException:
            folder.cleanup()
            raise

    def upto(self, number: int) -> Rows:
        """Rows of all frames up to and including ``number`` that were not handed out yet."""
        parts = [self._waiting]
        while not self._ended and _last(parts) <= number:
            rows = next(self._rows, None)
            if rows is None:
                self._ended = True
            elif len(rows[0]):
                parts.append(rows)
        messages, points = join_rows(parts)
        cut = int(np.searchsorted(messages["frame"], number, side="right"))
        edge = int(np.searchsorted(points["message"], cut, side="left"))
        later = points[edge:].copy()
        later["message"] -= cut
        self._waiting = (messages[cut:], later)
        return messages[:cut], points[:edge]

    def close(self) -> None:
        """End tshark and remove what was written for it."""
        with contextlib.suppress(AttributeError):
            self._rows.close()  # type: ignore[attr-defined]
        if self._folder:
            self._folder.cleanup()


def _last(parts: list[Rows]) -> int:
    messages = parts[-1][0]
    return int(messages["frame"][-1]) if len(messages) else -1


class _Chooser:
    """Iterates over the frames that tshark is to read and remembers their numbers.

    Which frames the native engine leaves does not depend on the names it gives, so the search runs with
    tables of its own and disturbs no number of the run.
    """

    def __init__(self, file: CaptureFile, names: Names, everything: bool, batch: int, copies: str) -> None:
        self._file, self._everything, self._batch = file, everything, batch
        self._native = None if everything else NativeEngine(Names(names.registry, Limits()), copies)
        self._numbers: list[npt.NDArray[np.int64]] = []
        self.count = 0

    def __iter__(self) -> Iterator[FrameBatch]:
        for frames in self._file.batches(max_frames=self._batch):
            if self._native is not None:
                self._native.decode(frames)
                frames = frames.take(self._native.unclaimed)
            if len(frames):
                self.count += len(frames)
                self._numbers.append(frames.number)
                yield frames

    def numbers(self) -> npt.NDArray[np.int64]:
        """Our frame number of each frame written, in order."""
        return np.concatenate(self._numbers) if self._numbers else np.zeros(0, np.int64)
