"""What a long run keeps for the plots of its report: columns of numbers by key, a bounded number of rows.

A row costs eight octets a column. As Python objects the same rows took some 150, and a capture of days took
hundreds of MiB with them.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)
Floats = npt.NDArray[np.float64]


class History(Generic[Key]):
    """Rows of ``width`` numbers, each under a key, in the order in which they came.

    Attributes
    ----------
    left_out : int
        Rows that came when ``most`` were kept.
    """

    def __init__(self, width: int, most: int) -> None:
        self._most = most
        self._numbers: dict[Key, int] = {}
        self._keys = array("q")
        self._columns = [array("d") for _ in range(width)]
        self.left_out = 0

    def add(self, key: Key, *values: float) -> None:
        """Keep one row, unless there are ``most``."""
        if len(self._keys) >= self._most:
            self.left_out += 1
            return
        self._keys.append(self._numbers.setdefault(key, len(self._numbers)))
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def __len__(self) -> int:
        return len(self._keys)

    def __eq__(self, other: object) -> bool:
        """Whether the same rows are kept; a NaN is no other value than a NaN."""
        if not isinstance(other, History) or self._numbers != other._numbers:
            return False
        same_keys = self._keys == other._keys
        return same_keys and np.array_equal(self.columns(), other.columns(), equal_nan=True)

    __hash__ = None  # type: ignore[assignment]

    def columns(self) -> Floats:
        """All rows, whatever their key; shape (``width``, rows), a copy."""
        return np.array(self._columns, np.float64)

    def by_key(self) -> dict[Key, Floats]:
        """Each key's rows, shape (``width``, its rows); keys in the order in which they came."""
        keys = np.array(self._keys, np.int64)
        order = np.argsort(keys, kind="stable")
        ends = np.cumsum(np.bincount(keys, minlength=len(self._numbers)))
        parts = np.split(self.columns()[:, order], ends[:-1], axis=1)
        return dict(zip(self._numbers, parts, strict=True)) if self._numbers else {}
