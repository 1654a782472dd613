"""Lanes of the outbox: which rows of the store are due for a sink, in order of importance.

A lane is a stretch of rows with its own cursor, so that an alarm never waits behind samples and what is
least important can be given up without touching the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sensor.result import LEVELS
from sensor.store.rows import ALERT_COLUMNS, INCIDENT_COLUMNS

SAMPLE_BYTES: Final = 60
"""Bytes that one sample takes in the store with its indexes, measured on 200,000 of them."""

ROW_BYTES: Final = 300
"""Bytes of an alert or incident beside its texts: numbers, identity, indexes."""

_ALERT_TEXT: Final = ("summary", "expected", "observed", "src", "dst", "kind", "point", "frames", "readings")
_INCIDENT_TEXT: Final = ("summary", "hosts", "protocols", "alerts")


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: its name, its table, and the SQL that picks its rows (all constants of this module).

    Attributes
    ----------
    name : str
        ``alerts alarm`` ... ``incidents info``, ``levels``, ``samples``; as in table ``sink_lanes``.
    kind : str
        What the user chooses by: ``alerts``, ``incidents``, ``levels``, ``samples``.
    table : str
    chosen : str
        Condition on the table.
    columns : str
        What a record is made of, the change first.
    size : str
        Bytes of a row, as an SQL expression.
    """

    name: str
    kind: str
    table: str
    chosen: str
    columns: str
    size: str

    @property
    def level(self) -> int:
        """Rank of the lane's level, 0 for lanes without."""
        word = self.name.rpartition(" ")[2]
        return LEVELS.index(word) if word in LEVELS else 0

    @property
    def row_bytes(self) -> int:
        """Bytes of every row where all are of one size, else 0."""
        return int(self.size) if self.size.isdecimal() else 0

    @property
    def due_sql(self) -> str:
        """Rows after a change, oldest change first, at most so many."""
        join = " JOIN series ON series.id = samples.series" if self.table == "samples" else ""
        return (
            f"SELECT {self.columns} FROM {self.table}{join} "  # noqa: S608  constants only
            f"WHERE {self.chosen} AND {self.table}.change > ? ORDER BY {self.table}.change LIMIT ?"
        )

    @property
    def waiting_sql(self) -> str:
        """Number and bytes of the rows after a change."""
        return (
            f"SELECT count(*), coalesce(sum({self.size}), 0) FROM {self.table} "  # noqa: S608  constants only
            f"WHERE {self.chosen} AND change > ?"
        )

    @property
    def sizes_sql(self) -> str:
        """Change and bytes of each row after a change, oldest first."""
        return (
            f"SELECT change, {self.size} FROM {self.table} "  # noqa: S608  constants only
            f"WHERE {self.chosen} AND change > ? ORDER BY change"
        )


def _of_level(kind: str, rank: int, columns: str, texts: tuple[str, ...]) -> Lane:
    size = " + ".join([str(ROW_BYTES), *(f"length({name})" for name in texts)])
    head = f"change, levels_had, stamp, {columns}"
    return Lane(f"{kind} {LEVELS[rank]}", kind, kind, f"level = {rank}", head, size)


def _of_samples(name: str, early: int) -> Lane:
    columns = "samples.change, ts, value, name, protocol, conversation, point, unit, low, high"
    return Lane(name, name, "samples", f"early = {early}", columns, str(SAMPLE_BYTES))


def _all() -> tuple[Lane, ...]:
    loud_first = range(len(LEVELS) - 1, -1, -1)
    told = [
        lane
        for rank in loud_first
        for lane in (
            _of_level("alerts", rank, ALERT_COLUMNS, _ALERT_TEXT),
            _of_level("incidents", rank, INCIDENT_COLUMNS, _INCIDENT_TEXT),
        )
    ]
    return (*told, _of_samples("levels", 1), _of_samples("samples", 0))


LANES: Final = _all()
"""All lanes, the most important first: they are sent in this order and given up in the opposite one."""

KINDS: Final = ("alerts", "incidents", "levels", "samples")


def lanes_for(kinds: tuple[str, ...], min_level: int) -> tuple[Lane, ...]:
    """Lanes of the chosen kinds, alerts and incidents from a level (rank) up."""
    return tuple(
        lane
        for lane in LANES
        if lane.kind in kinds and (lane.kind in ("levels", "samples") or lane.level >= min_level)
    )
