"""Native engine and reference over the same frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from grid_profiles.loader import Registry, load_registry
from sensor.capture.sources import open_sources
from sensor.frames import FrameBatch
from sensor.names import Limits, Names
from sensor.native import NativeEngine
from tests.lab.frames import Stamped
from tests.reference.decoder import Reference
from tests.reference.rows import Message, comparable, difference, native_rows


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The built-in profiles."""
    return load_registry()


@dataclass
class Shot:
    """A captured frame; ``wirelen`` 0 means that nothing was cut."""

    ts: int
    data: bytes
    wirelen: int = 0
    link: int = 1


def shots(frames: Iterable[Stamped], snaplen: int = 1 << 20) -> list[Shot]:
    """Frames of the lab's builders, cut as a capture with a snap length would."""
    return [Shot(ts, data[:snaplen], len(data)) for ts, data in frames]


def frame_batch(frames: Sequence[Shot], first: int = 1) -> FrameBatch:
    """Frames as the capture stage hands them over, numbered from ``first``."""
    sizes = np.array([len(shot.data) for shot in frames], np.int64)
    data = np.frombuffer(b"".join(shot.data for shot in frames), np.uint8)
    return FrameBatch(
        data,
        np.cumsum(sizes) - sizes,
        sizes.astype(np.int32),
        np.array([shot.wirelen or len(shot.data) for shot in frames], np.int32),
        np.array([shot.ts for shot in frames], np.int64),
        np.array([shot.link for shot in frames], np.int32),
        np.arange(first, first + len(frames), dtype=np.int64),
    )


class Native:
    """A native engine with its own names, fed with frames.

    Attributes
    ----------
    names : Names
    engine : NativeEngine
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.names = Names(registry(), limits)
        self.engine = NativeEngine(self.names)
        self._fed = 0

    def feed(self, frames: Sequence[Shot]) -> list[Message]:
        """Messages of more frames; numbers go on from the last call."""
        batch = frame_batch(frames, self._fed + 1)
        self._fed += len(frames)
        return native_rows(self.engine.decode(batch), self.names)

    @property
    def counters(self) -> dict[str, int]:
        return self.engine.counters


def decode(frames: Iterable[Stamped | Shot]) -> list[Message]:
    """Messages of the native engine, after checking that the reference says the same in every column."""
    taken = [frame if isinstance(frame, Shot) else Shot(*frame) for frame in frames]
    ours = Native().feed(taken)
    told = difference(*comparable(ours, refer(taken)))
    assert not told, told
    return ours


def refer(frames: Sequence[Shot], first: int = 1) -> list[Message]:
    """Messages of the reference."""
    reference = Reference()
    return [
        row
        for number, shot in enumerate(frames, first)
        for row in reference.frame(shot.ts, number, shot.data, shot.wirelen or None, shot.link)
    ]


def compare_capture(path: Path) -> tuple[int, int, str]:
    """(messages, points, difference) of native engine and reference over a capture file."""
    native, reference = Native(), Reference()
    messages = points = 0
    for file in open_sources([str(path)]):
        for batch in file.batches(max_frames=4096):
            ours = native_rows(native.engine.decode(batch), native.names)
            theirs = [
                row
                for i in range(len(batch))
                for row in reference.frame(
                    int(batch.ts[i]),
                    int(batch.number[i]),
                    batch.frame(i),
                    int(batch.wirelen[i]),
                    int(batch.link[i]),
                )
            ]
            messages += len(ours)
            points += sum(len(row.points) for row in ours)
            told = difference(*comparable(ours, theirs))
            if told:
                return messages, points, told
    return messages, points, ""
