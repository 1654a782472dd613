"""Points of a slice in some order, of which only what is asked for is taken out.

A slice of dense traffic has tens of thousands of points of 54 octets. Sorting the records themselves costs
more than all that is asked of them; an order and the two or three columns that are asked for cost a fraction.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from detectors.base import Slice


class Value(NamedTuple):
    """One row of POINT as plain numbers."""

    ts: int
    frame: int
    message: int
    proto: int
    conv: int
    kind: int
    point: int
    value: float
    quality: int


class Points:
    """Rows of POINT, read as an array of records would be: by name, by place, by a slice.

    Parameters
    ----------
    piece : Slice
    order : ndarray of intp, shape (n,)
        Which of the slice's points, in which order.
    """

    __slots__ = ("_columns", "_order", "_piece")

    def __init__(self, piece: Slice, order: npt.NDArray[np.intp]) -> None:
        self._piece, self._order = piece, order
        self._columns: dict[str, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, key: str | slice) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Any: ...

    def __getitem__(self, key: str | slice | int | np.integer[Any]) -> Any:
        """A column (for reading), records of a stretch, or one record."""
        if isinstance(key, str):
            column = self._columns.get(key)
            if column is None:
                column = self._columns[key] = self._piece.point_column(key).take(self._order)
            return column
        if isinstance(key, slice):
            return self._piece.points.take(self._order[key])
        return self._piece.points[self._order[key]]

    def compress(self, mask: npt.NDArray[np.bool_]) -> Points:
        """Those of some of the rows."""
        return Points(self._piece, self._order[mask])

    def take(self, at: npt.NDArray[np.intp]) -> Points:
        """Those at some places, in that order."""
        return Points(self._piece, self._order[at])

    def records(self) -> npt.NDArray[Any]:
        """All of them as an array of records."""
        return self._piece.points.take(self._order)
