"""Known frames through the kernels without compilation, against the reference. Run by test_native_nojit.

Uncompiled, a kernel is plain Python: :class:`Record` gives numpy's records the ``row.field`` that numba
gives them, and octets come as wide integers, since numpy keeps ``uint8 * 8`` in eight bits.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numba
import numpy as np

from sensor import names as names_module
from sensor.track.table import make_table
from tests.fuzz.mutate import Mutator, good_frames
from tests.fuzz.stations import station_frames
from tests.fuzz.web import http_frames
from tests.reference.rows import comparable, difference, native_rows
from tests.reference.run import Native, Shot, frame_batch, refer

SPOILED = 10_000
"""Spoiled frames behind the good ones: an index beyond an array raises here, compiled it would read on."""


class Record:
    """A view of one numpy record whose fields are attributes."""

    __slots__ = ("_void",)

    def __init__(self, void: Any) -> None:
        object.__setattr__(self, "_void", void)

    def __getattr__(self, name: str) -> Any:
        return wrap(self._void[name])

    def __setattr__(self, name: str, value: Any) -> None:
        self._void[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._void[name]


class Records:
    """An array of records; ``[i]`` gives a :class:`Record`, ``["field"]`` a column."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, place: Any) -> Any:
        return self._array[place] if isinstance(place, str) else wrap(self._array[place])

    def __len__(self) -> int:
        return len(self._array)


class Octets:
    """Octets as plain integers; no place before the first or behind the last."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return self._array[place]
        if place < 0:
            raise IndexError(f"octet {place}")
        return int(self._array[place])

    def __len__(self) -> int:
        return len(self._array)

    def view(self) -> Octets:
        """What the engine asks of an array before it hands it on to be read."""
        return self

    def setflags(self, write: bool) -> None:
        """The same."""


def wrap(value: Any) -> Any:
    """Records with attributes; anything else as it is."""
    if isinstance(value, np.void):
        return Record(value)
    if isinstance(value, np.ndarray) and value.dtype.names:
        return Records(value)
    return value


def main() -> int:
    assert numba.config.DISABLE_JIT
    warnings.simplefilter("ignore", RuntimeWarning)  # hashes wrap on purpose
    names_module.make_table = lambda *limits: Record(make_table(*limits))
    native = Native()
    native.engine._memory = Records(native.engine._memory)
    native.engine._pool = Octets(native.engine._pool)
    seeds = good_frames() + station_frames() + [data for _, data in http_frames()]
    frames = [Shot(1000 * number, data) for number, data in enumerate(seeds)]
    ours = native_rows(native.engine.decode(uncompiled(frames)), native.names)
    told = difference(*comparable(ours, refer(frames)))
    print(told or f"{len(ours)} messages of {len(frames)} frames agree")
    mutator = Mutator(seeds, 20)
    spoiled = [Shot(10**6 * number, mutator.next()[0]) for number in range(1000, 1000 + SPOILED)]
    rows = native.engine.decode(uncompiled(spoiled)).messages
    print(f"{len(rows)} messages of {SPOILED} spoiled frames, no octet beyond an array")
    return 1 if told or not len(rows) else 0


def uncompiled(frames: list[Shot]) -> Any:
    """A batch whose octets are plain integers."""
    batch: Any = frame_batch(frames)
    batch.data = Octets(batch.data)
    return batch


if __name__ == "__main__":
    sys.exit(main())
