"""Rows that wait for the tree: kept in a private file, so that a long capture does not fill the memory.

A chunk holds the rows of a run of frames and the holes among them: frames that the columns could not tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.capture.tshark_rows import Frame

MASK_WORDS: Final = 10
HOLE: Final = np.dtype(
    [(name, "i8") for name in Frame._fields] + [("profiles", "u8", (MASK_WORDS,))]  # bit k: k-th profile
)
MAX_PROFILES: Final = 64 * MASK_WORDS


@dataclass(slots=True)
class Chunk:
    """Rows of a run of frames.

    Attributes
    ----------
    messages : ndarray of MESSAGE
    points : ndarray of POINT
        ``message`` numbers the messages of this chunk.
    order : ndarray of int64
        tshark's frame number of each message.
    holes : ndarray of HOLE
        Frames to be read as trees, in frame order.
    """

    messages: npt.NDArray[Any]
    points: npt.NDArray[Any]
    order: npt.NDArray[np.int64]
    holes: npt.NDArray[Any]


class Spool:
    """Chunks in a temporary file without a name, first in, first out."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="gridwarden-")  # noqa: SIM115 - closed by close()
        self._sizes: list[tuple[int, int, int]] = []

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk."""
        self._sizes.append((len(chunk.messages), len(chunk.points), len(chunk.holes)))
        for array in (chunk.messages, chunk.points, chunk.order, chunk.holes):
            self._file.write(np.ascontiguousarray(array).tobytes())

    def chunks(self) -> Iterator[Chunk]:
        """All chunks in their order."""
        self._file.seek(0)
        for messages, points, holes in self._sizes:
            yield Chunk(
                self._read(MESSAGE, messages),
                self._read(POINT, points),
                self._read(np.dtype(np.int64), messages),
                self._read(HOLE, holes),
            )

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def _read(self, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        return np.frombuffer(self._file.read(count * dtype.itemsize), dtype).copy()


def mask_of(places: list[int]) -> tuple[int, ...]:
    """Bits of profile places as the words of HOLE."""
    words = [0] * MASK_WORDS
    for place in places:
        words[place // 64] |= 1 << (place % 64)
    return tuple(words)


def places_of(words: Iterable[int]) -> list[int]:
    """Profile places of HOLE's words."""
    places = []
    for word, number in enumerate(words):
        bits = int(number)
        while bits:
            low = bits & -bits
            places.append(64 * word + low.bit_length() - 1)
            bits ^= low
    return places
