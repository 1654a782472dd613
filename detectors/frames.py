"""Tables of a baseline: columns as they were read, and frames of those that somebody asks for.

Detection reads rows of two dozen small tables and needs a frame of few; making all frames takes longer
than reading the archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.tables import STR, TABLES, Table

Columns = dict[str, tuple[str, ...] | npt.NDArray[Any]]
"""Cells by column: texts, int64 or float64 of shape (rows,)."""


class Frames(MutableMapping[str, pd.DataFrame]):
    """Tables by name; one that came as columns becomes a frame when it is first asked for."""

    def __init__(self, columns: Mapping[str, Columns]) -> None:
        self._columns: dict[str, Columns | None] = dict(columns)
        self._frames: dict[str, pd.DataFrame] = {}

    def read(self, columns: Mapping[str, Columns]) -> None:
        """Take tables as they were read."""
        self._columns.update(columns)

    def columns(self, name: str) -> Columns | None:
        """The columns of a table as it was read, None of one that was set since."""
        return self._columns[name]

    def __getitem__(self, name: str) -> pd.DataFrame:
        columns = self._columns[name]
        if columns is not None and name not in self._frames:
            self._frames[name] = _frame(name, columns)
        return self._frames[name]

    def __setitem__(self, name: str, frame: pd.DataFrame) -> None:
        self._columns[name], self._frames[name] = None, frame

    def __delitem__(self, name: str) -> None:
        del self._columns[name]
        self._frames.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def _frame(name: str, columns: Columns) -> pd.DataFrame:
    kinds = TABLES[name].columns
    made = {
        column: pd.Series(values, dtype="object") if kinds[column][0] == STR else values
        for column, values in columns.items()
    }
    return pd.DataFrame(made, copy=False)


def no_rows() -> Frames:
    """All tables, empty."""
    return Frames({name: _no_cells(table) for name, table in TABLES.items()})


def _no_cells(table: Table) -> Columns:
    return {name: () if kind == STR else np.zeros(0, kind) for name, (kind, _) in table.columns.items()}
