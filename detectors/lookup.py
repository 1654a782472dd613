"""Numbers for int64 keys, found for a whole slice at once; only what is new is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MAX_SLOTS: Final = 1 << 16
SPARE: Final = 64
"""Least number of slots a key, below :data:`MAX_SLOTS`."""

_ODD: Final = np.int64(-7046029254386353131)  # Fibonacci hashing (Knuth, volume 3, section 6.4)


class Lookup:
    """Remembers what ``give`` said of each key; bounded.

    A key is looked for in one slot first, where the last key of that slot stands, and by binary search when
    another one stands there.

    Parameters
    ----------
    give : callable
        Number of a key that is asked for for the first time; asked in ascending order of keys.
    limit : int
        Keys that are remembered; then all are forgotten and asked for again.

    Attributes
    ----------
    forgotten : int
        Times that this happened.
    """

    def __init__(self, give: Callable[[int], int], limit: int) -> None:
        self._give, self.limit = give, limit
        self.forgotten = 0
        self._keys = self._numbers = np.zeros(0, np.int64)
        self._empty(SPARE)

    def of(self, keys: Ints) -> Ints:
        """Number of each key, int64 of shape (n,)."""
        slots = self._slots(keys)
        numbers = self._in_slot.take(slots)
        other = self._key_in.take(slots) != keys
        if other.any():
            numbers[other] = self._search(keys[other])
        return numbers

    def _search(self, keys: Ints) -> Ints:
        """The same by binary search; the slots are theirs from now on."""
        at, found = self._find(keys)
        if not found.all():
            new = np.unique(keys[~found])
            if len(self._keys) + len(new) > self.limit and len(self._keys):
                self.forgotten += 1
                self._keys = self._numbers = np.zeros(0, np.int64)
                self._empty(SPARE)
                new = np.unique(keys)
            given = np.array([self._give(key) for key in new.tolist()], np.int64)
            place = np.searchsorted(self._keys, new)
            self._keys = np.insert(self._keys, place, new)
            self._numbers = np.insert(self._numbers, place, given)
            if len(self._key_in) < min(SPARE * len(self._keys), MAX_SLOTS):
                self._empty(SPARE * len(self._keys))
            at, _ = self._find(keys)
        numbers = self._numbers[at]
        slots = self._slots(keys)
        self._key_in[slots], self._in_slot[slots] = keys, numbers
        return numbers

    def _find(self, keys: Ints) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        if not len(self._keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return at, np.asarray(self._keys[at] == keys, np.bool_)

    def _empty(self, least: int) -> None:
        """At least so many slots, all of them empty: each holds a key that belongs to another slot."""
        bits = (min(least, MAX_SLOTS) - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._key_in, self._in_slot = np.zeros(1 << bits, np.int64), np.zeros(1 << bits, np.int64)
        self._key_in[0] = 1  # the slot of 0 is the first, that of 1 is not

    def _slots(self, keys: Ints) -> Ints:
        return ((keys * _ODD).view(np.uint64) >> self._shift).view(np.int64)
