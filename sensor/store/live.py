"""What a daemon writes while it runs, in one transaction: alerts, samples, levels, links, health.

Everything has an identity, so that writing it twice changes nothing: an alert its id, a sample its series
and time, a level its scope and name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from detectors.base import Alert, Event, Incident
from sensor.store import rows
from sensor.store.sqlite import Store, upsert_sql

MAX_SERIES_KNOWN: Final = 50_000

SeriesKey = tuple[str, str, str, str]
"""name, protocol, conversation, unit."""


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert as it stands now; ``fold`` lets an open one grow on after a restart."""

    alert: Alert
    open: bool
    fold: str = ""


@dataclass(frozen=True, slots=True)
class LevelRow:
    """Level of a site, asset or conversation; columns as in table levels."""

    scope: str
    protocol: str
    name: str
    level: int
    score: float
    trend: float
    since: float
    ts: float
    cause: str


@dataclass(frozen=True, slots=True)
class LinkRow:
    """When a conversation was last heard."""

    protocol: str
    name: str
    client: str
    server: str
    first: float
    last: float
    messages: int
    silent: bool


@dataclass(frozen=True, slots=True)
class AssetHealthRow:
    """When an address was last heard."""

    address: str
    first: float
    last: float
    silent: bool


@dataclass(frozen=True, slots=True)
class HealthRow:
    """How the sensor or one of its sources is."""

    ts: float
    source: str
    state: str
    fields: dict[str, float]


@dataclass(slots=True)
class Pending:
    """What waits to be written; changes of the same thing take each other's place."""

    alerts: dict[str, AlertChange] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    samples: list[tuple[SeriesKey, float, float]] = field(default_factory=list)
    levels: dict[tuple[str, str, str], LevelRow] = field(default_factory=dict)
    links: dict[tuple[str, str], LinkRow] = field(default_factory=dict)
    assets: dict[str, AssetHealthRow] = field(default_factory=dict)
    health: list[HealthRow] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)

    def __bool__(self) -> bool:
        parts: tuple[Any, ...] = (self.alerts, self.incidents, self.samples, self.levels, self.links)
        return any(map(len, (*parts, self.assets, self.health, self.events)))


class LiveWriter:
    """Writes :class:`Pending` into a store; keeps the numbers of series that it knows."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._series: dict[SeriesKey, int] = {}

    def write(self, pending: Pending, now: float) -> None:
        """All of it in one transaction, or nothing.

        Parameters
        ----------
        pending : Pending
        now : float
            Wall clock, epoch seconds.

        Raises
        ------
        StoreError, StoreUnavailable
        """
        try:
            self.store.transact(lambda connection: self._write(connection, pending, now))
        except BaseException:
            self._series.clear()  # numbers given inside the transaction went with it
            raise

    def forget(self) -> None:
        """Series may have been deleted: look their numbers up again."""
        self._series.clear()

    def _write(self, connection: sqlite3.Connection, pending: Pending, now: float) -> None:
        connection.executemany(
            upsert_sql(rows.INCIDENT_COLUMNS, "incidents"), map(rows.incident_row, pending.incidents.values())
        )
        connection.executemany(
            upsert_sql(rows.ALERT_COLUMNS, "alerts"),
            (rows.alert_row(change.alert) for change in pending.alerts.values()),
        )
        connection.executemany(
            "INSERT INTO alert_life VALUES (?, ?, ?, ?, ?) ON CONFLICT (alert) DO UPDATE SET "
            "open = excluded.open, fold = excluded.fold, updated = excluded.updated",
            (
                (rows.text(change.alert.id), int(change.open), change.fold, now, now)
                for change in pending.alerts.values()
            ),
        )
        connection.executemany(
            upsert_sql(rows.EVENT_COLUMNS, "events"), map(rows.event_row, pending.events.values())
        )
        connection.executemany(
            "INSERT INTO levels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (scope, protocol, name) DO UPDATE SET level = excluded.level, "
            "score = excluded.score, trend = excluded.trend, since = excluded.since, ts = excluded.ts, "
            "cause = excluded.cause",
            map(_level_row, pending.levels.values()),
        )
        self._write_samples(connection, pending.samples)
        _write_seen(connection, pending)
        connection.executemany(
            "INSERT INTO health (ts, source, state, fields) VALUES (?, ?, ?, ?)",
            (
                (row.ts, rows.text(row.source), row.state, rows.listing(_finite(row.fields)))
                for row in pending.health
            ),
        )

    def _write_samples(
        self, connection: sqlite3.Connection, samples: Iterable[tuple[SeriesKey, float, float]]
    ) -> None:
        connection.executemany(
            "INSERT INTO samples (series, ts, value) VALUES (?, ?, ?) "
            "ON CONFLICT (series, ts) DO UPDATE SET value = excluded.value",
            ((self._number(connection, key), ts, rows.real(value)) for key, ts, value in samples),
        )

    def _number(self, connection: sqlite3.Connection, key: SeriesKey) -> int:
        known = self._series.get(key)
        if known is None:
            if len(self._series) >= MAX_SERIES_KNOWN:
                self._series.clear()
            name, protocol, conversation, unit = map(rows.text, key)
            known = self._series[key] = int(
                connection.execute(
                    "INSERT INTO series (name, protocol, conversation, point, unit) VALUES (?, ?, ?, '', ?) "
                    "ON CONFLICT (name, protocol, conversation, point, unit) "
                    "DO UPDATE SET unit = excluded.unit RETURNING id",
                    (name, protocol, conversation, unit),
                ).fetchone()[0]
            )
        return known


def open_folds(store: Store) -> list[str]:
    """What lets the alerts that were open when the last run ended grow on."""
    found = store.query("SELECT fold FROM alert_life WHERE open = 1 ORDER BY opened, alert")
    return [row[0] for row in found if row[0]]


def close_left_over(store: Store, now: float, but: set[str]) -> None:
    """Close alerts that nobody will extend any more: all but some."""
    found = [row[0] for row in store.query("SELECT alert FROM alert_life WHERE open = 1")]
    store.transact(
        lambda connection: connection.executemany(
            "UPDATE alert_life SET open = 0, fold = '', updated = ? WHERE alert = ?",
            [(now, ident) for ident in found if ident not in but],
        )
    )


def get_mark(store: Store, name: str, default: int = 0) -> int:
    """A number kept from run to run."""
    found = store.query("SELECT value FROM marks WHERE name = ?", (name,))
    return int(found[0][0]) if found else default


def set_mark(store: Store, name: str, value: int) -> None:
    """Keep a number."""
    store.transact(
        lambda connection: connection.execute(
            "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )
    )


def _level_row(row: LevelRow) -> tuple[Any, ...]:
    return (
        *map(rows.text, (row.scope, row.protocol, row.name)),
        row.level,
        rows.real(row.score),
        rows.real(row.trend),
        row.since,
        row.ts,
        rows.text(row.cause),
    )


def _write_seen(connection: sqlite3.Connection, pending: Pending) -> None:
    """Links and assets; the first time ever is kept from earlier runs."""
    connection.executemany(
        "INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (protocol, name) DO UPDATE SET "
        "first = min(first, excluded.first), last = excluded.last, messages = excluded.messages, "
        "silent = excluded.silent",
        (
            (
                *map(rows.text, (row.protocol, row.name, row.client, row.server)),
                row.first,
                row.last,
                row.messages,
                int(row.silent),
            )
            for row in pending.links.values()
        ),
    )
    connection.executemany(
        "INSERT INTO asset_health VALUES (?, ?, ?, ?) ON CONFLICT (address) DO UPDATE SET "
        "first = min(first, excluded.first), last = excluded.last, silent = excluded.silent",
        ((rows.text(row.address), row.first, row.last, int(row.silent)) for row in pending.assets.values()),
    )


def _finite(fields: dict[str, float]) -> dict[str, float]:
    """Without what JSON cannot say."""
    return {name: value for name, value in fields.items() if value - value == 0}
