"""Numbers for int64 keys, found for a whole slice by one binary search; only what is new is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Lookup:
    """Remembers what ``give`` said of each key; bounded.

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

    def of(self, keys: Ints) -> Ints:
        """Number of each key, int64 of shape (n,)."""
        at, found = self._find(keys)
        if not found.all():
            new = np.unique(keys[~found])
            if len(self._keys) + len(new) > self.limit and len(self._keys):
                self.forgotten += 1
                self._keys = self._numbers = np.zeros(0, np.int64)
                new = np.unique(keys)
            given = np.array([self._give(key) for key in new.tolist()], np.int64)
            place = np.searchsorted(self._keys, new)
            self._keys = np.insert(self._keys, place, new)
            self._numbers = np.insert(self._numbers, place, given)
            at, _ = self._find(keys)
        return self._numbers[at]

    def _find(self, keys: Ints) -> tuple[Ints, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        if not len(self._keys):
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return at, np.asarray(self._keys[at] == keys, np.bool_)
