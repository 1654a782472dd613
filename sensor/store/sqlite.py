"""The local store: one SQLite file that holds runs, alerts, incidents, assets and series.

Write-ahead log, ``synchronous=FULL``: when :meth:`Store.write` returns, the result survives a power
cut; when it does not return, nothing of the result is there. Any number of processes may read and
write; a writer waits for another up to its timeout. Writing the same result again changes nothing
but the run's time of writing: alerts, incidents and samples are updated by their identity.

It refuses databases of other programs and layouts newer than its own (see ``migrations``).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

import sensor
from detectors.base import Alert, Event, Incident, Level
from sensor.result import AssetRow, PointSeries, Result, Series
from sensor.store import retention, rows
from sensor.store.errors import StoreDamaged, StoreError, StoreUnavailable, explain, in_words
from sensor.store.migrations import layout, migrate

TIMEOUT: Final = 10.0
"""Seconds a writer waits for another; a write of a day's alerts takes well under one."""

MODE: Final = 0o640
"""Rights of a new store: what an attacker did is not for every user of the machine."""

PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # only a new file takes it; gives deleted space back to the disk
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",  # a prepared file must not run functions of its own
)


@dataclass(frozen=True, slots=True)
class Written:
    """Rows that one write inserted or updated."""

    run: str
    alerts: int
    incidents: int
    assets: int
    samples: int


class Store:
    """An open store; use :meth:`open`, close it or use it as a context manager."""

    def __init__(self, path: Path, connection: sqlite3.Connection, version: int) -> None:
        self.path = path
        self.version = version
        self._connection = connection

    @classmethod
    def open(cls, path: str | Path, *, timeout: float = TIMEOUT) -> Self:
        """Open a store, or create it where there is none.

        Parameters
        ----------
        path : str or Path
        timeout : float
            Seconds to wait for another writer.

        Raises
        ------
        StoreError
            Not a store, damaged, or of a newer version.
        StoreUnavailable
            No rights, no space, locked for longer than ``timeout``.
        """
        path = Path(path)
        _create(path)
        deadline = time.monotonic() + timeout
        while True:
            connection = _connect(path, timeout)
            try:
                for pragma in PRAGMAS:
                    connection.execute(pragma)
                return cls(path, connection, migrate(connection, path, sensor.__version__))
            except sqlite3.Error as error:
                connection.close()
                # Two first openers race for the switch to WAL, and SQLite does not wait there by itself.
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise explain(path, error) from error
                time.sleep(0.02)
            except BaseException:
                connection.close()
                raise

    @classmethod
    def look(cls, path: str | Path, *, timeout: float = TIMEOUT) -> Self:
        """Open a store that is there, for reading only; a user who may not write it can.

        Raises
        ------
        StoreError
            There is no store, or it is damaged, foreign or of another version.
        StoreUnavailable
            No rights.
        """
        path = Path(path)
        if not path.exists():
            raise StoreError(f"{path}: there is no store yet. `gridwarden run` and `detect --store` make one")
        with in_words(path):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", timeout=timeout, isolation_level=None, uri=True
            )
            try:
                connection.execute("PRAGMA trusted_schema = OFF")
                version = layout(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, version)

    def transact(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Run ``work`` in one transaction, all of it or nothing; errors as in :meth:`write`."""
        with self._transaction():
            work(self._connection)

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SELECT."""
        return self._query(statement, values)

    def write(self, result: Result) -> Written:
        """Write one run's result, whole or not at all.

        Raises
        ------
        StoreError, StoreUnavailable
            Nothing of the result was written.
        """
        ident = rows.run_id(result)
        with self._transaction():
            self._connection.execute(
                upsert_sql(rows.RUN_COLUMNS, "runs"), rows.run_row(result, ident, time.time())
            )
            self._write_incidents(result.incidents, ident)
            self._write_alerts(result.alerts, ident)
            self._connection.executemany(
                upsert_sql(rows.EVENT_COLUMNS, "events"), map(rows.event_row, result.events)
            )
            self._write_assets(result.assets)
            samples = sum(self._write_series(series) for series in _lines(result))
        return Written(ident, len(result.alerts), len(result.incidents), len(result.assets), samples)

    def alerts(
        self,
        *,
        min_level: Level = Level.INFO,
        start: float | None = None,
        end: float | None = None,
        incident: str | None = None,
        limit: int = 10_000,
    ) -> list[Alert]:
        """Alerts that overlap a stretch of time (epoch seconds), by start; the earliest ``limit``."""
        query = (
            f"SELECT {rows.ALERT_COLUMNS} FROM alerts WHERE level >= ? "  # noqa: S608  constants only
            "AND (? IS NULL OR end >= ?) AND (? IS NULL OR start <= ?) AND (? IS NULL OR incident = ?) "
            "ORDER BY start, id LIMIT ?"
        )
        values = (int(min_level), start, start, end, end, incident, incident, limit)
        return [rows.alert_from(row) for row in self._query(query, values)]

    def alerts_called(self, prefix: str, *, limit: int = 20) -> list[Alert]:
        """Alerts whose id begins so."""
        query = f"SELECT {rows.ALERT_COLUMNS} FROM alerts WHERE substr(id, 1, ?) = ? ORDER BY id LIMIT ?"  # noqa: S608
        return [rows.alert_from(row) for row in self._query(query, (len(prefix), prefix, limit))]

    def incidents(self, *, limit: int = 10_000) -> list[Incident]:
        """Incidents by start; the earliest ``limit``."""
        query = f"SELECT {rows.INCIDENT_COLUMNS} FROM incidents ORDER BY start, id LIMIT ?"  # noqa: S608
        return [rows.incident_from(row) for row in self._query(query, (limit,))]

    def events(self, *, start: float | None = None, limit: int = 10_000) -> list[Event]:
        """Disturbances that ended after ``start`` (epoch seconds), by start; the earliest ``limit``."""
        query = (
            f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE (? IS NULL OR end >= ?) "  # noqa: S608
            "ORDER BY start, id LIMIT ?"
        )
        return [rows.event_from(row) for row in self._query(query, (start, start, limit))]

    def assets(self, *, limit: int = 10_000) -> list[AssetRow]:
        """Devices by first sight."""
        query = f"SELECT {rows.ASSET_COLUMNS} FROM assets ORDER BY first, id LIMIT ?"  # noqa: S608
        return [rows.asset_from(row) for row in self._query(query, (limit,))]

    def series(self, *, start: float | None = None, end: float | None = None) -> list[Series | PointSeries]:
        """All series with their samples of a stretch of time (epoch seconds)."""
        heads = self._query(
            "SELECT id, name, protocol, conversation, point, unit, low, high FROM series ORDER BY id", ()
        )
        return [self._read_series(head, start, end) for head in heads]

    def runs(self, *, limit: int = 1_000) -> list[dict[str, Any]]:
        """Runs, the last written first, as column name to value."""
        with in_words(self.path):
            cursor = self._connection.execute("SELECT * FROM runs ORDER BY written DESC LIMIT ?", (limit,))
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def counts(self) -> dict[str, int]:
        """Rows per table."""
        tables = ("runs", "alerts", "incidents", "assets", "series", "samples")
        return {
            table: int(self._query(f"SELECT count(*) FROM {table}", ())[0][0])  # noqa: S608  names above
            for table in tables
        }

    def given_up(self) -> dict[str, int]:
        """Rows that :meth:`retain` has deleted so far, by what they were."""
        return dict(self._query("SELECT what, rows FROM given_up ORDER BY what", ()))

    def retain(self, *, before: float | None = None, max_bytes: int | None = None) -> dict[str, int]:
        """Delete what is older than ``before`` (epoch seconds), then what exceeds ``max_bytes``.

        Least important and oldest first (see ``retention``). Returns the rows deleted now, by what they
        were. The freed space goes back to the disk.
        """
        dropped: dict[str, int] = {}
        with self._transaction():
            for part in (
                {} if before is None else retention.drop_older(self._connection, before),
                {} if max_bytes is None else retention.shrink(self._connection, max_bytes),
            ):
                dropped = {what: dropped.get(what, 0) + part.get(what, 0) for what in dropped | part}
        if dropped:
            with in_words(self.path):
                self._connection.execute("PRAGMA incremental_vacuum").fetchall()
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return dropped

    def used_bytes(self) -> int:
        """Bytes of content; what ``max_bytes`` of :meth:`retain` is held against."""
        with in_words(self.path):
            return retention.used_bytes(self._connection)

    def check(self) -> None:
        """Read the whole file and its cross-references; raises StoreError when something is damaged."""
        problems = [row[0] for row in self._query("PRAGMA integrity_check(3)", ()) if row[0] != "ok"]
        problems += [f"{row[0]} row {row[1]}" for row in self._query("PRAGMA foreign_key_check", ())[:3]]
        if problems:
            raise StoreDamaged(
                f"{self.path}: the store is damaged ({'; '.join(problems)}). "
                f'Move it away and run again; what can be saved: sqlite3 "{self.path}" .recover'
            )

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the other modules of this package."""
        return self._connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A block that is written whole or not at all, for the other modules of this package."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing. IMMEDIATE takes the write lock at once: two writers queue, none deadlocks."""
        with in_words(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have rolled back already
                    self._connection.execute("ROLLBACK")
                raise

    def _query(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with in_words(self.path):
            return self._connection.execute(query, values).fetchall()

    def _write_alerts(self, alerts: Sequence[Alert], run: str) -> None:
        self._connection.executemany(
            upsert_sql(f"{rows.ALERT_COLUMNS}, run", "alerts"),
            ((*rows.alert_row(alert), run) for alert in alerts),
        )

    def _write_incidents(self, incidents: Sequence[Incident], run: str) -> None:
        self._connection.executemany(
            upsert_sql(f"{rows.INCIDENT_COLUMNS}, run", "incidents"),
            ((*rows.incident_row(incident), run) for incident in incidents),
        )

    def _write_assets(self, assets: Sequence[AssetRow]) -> None:
        self._connection.executemany(
            f"INSERT INTO assets ({rows.ASSET_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
            "ON CONFLICT (id) DO UPDATE SET mac = excluded.mac, ip = excluded.ip, vendor = excluded.vendor, "
            "roles = excluded.roles, protocols = excluded.protocols, "
            "first = min(first, excluded.first), last = max(last, excluded.last)",
            map(rows.asset_row, assets),
        )

    def _write_series(self, series: Series | PointSeries) -> int:
        ident = self._connection.execute(
            "INSERT INTO series (name, protocol, conversation, point, unit, low, high) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name, protocol, conversation, point, unit) "
            "DO UPDATE SET low = excluded.low, high = excluded.high RETURNING id",
            rows.series_row(series),
        ).fetchone()[0]
        cursor = self._connection.executemany(
            "INSERT INTO samples (series, ts, value) VALUES (?, ?, ?) "
            "ON CONFLICT (series, ts) DO UPDATE SET value = excluded.value",
            rows.sample_rows(ident, series),
        )
        return max(0, cursor.rowcount)

    def _read_series(
        self, head: tuple[Any, ...], start: float | None, end: float | None
    ) -> Series | PointSeries:
        ident, name, protocol, conversation, point, unit, low, high = head
        samples = self._query(
            "SELECT ts, value FROM samples WHERE series = ? AND (? IS NULL OR ts >= ?) "
            "AND (? IS NULL OR ts <= ?) ORDER BY ts",
            (ident, start, start, end, end),
        )
        table = np.array(samples, np.float64).reshape(-1, 2)  # NULL becomes NaN
        ts, values = table[:, 0], table[:, 1]
        if not point:
            return Series(name, conversation, protocol, unit, ts, values)
        band = (float("nan") if limit is None else limit for limit in (low, high))
        return PointSeries(point, protocol, conversation, ts, values, *band)


def _lines(result: Result) -> Iterator[Series | PointSeries]:
    yield from result.series
    yield from result.point_series
    if result.timeline is not None:
        yield result.timeline


def upsert_sql(columns: str, table: str) -> str:
    """Insert of the named columns, id first; a row with the same id is replaced field by field."""
    names = columns.split(", ")
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    marks = ", ".join("?" * len(names))
    return (
        f"INSERT INTO {table} ({columns}) VALUES ({marks}) "  # noqa: S608  constants only
        f"ON CONFLICT (id) DO UPDATE SET {sets}"
    )


def _create(path: Path) -> None:
    """Create the file with our own rights before SQLite would with wider ones.

    A file that is there is not opened: closing it again would drop the locks of every other connection of
    this process (POSIX; "How To Corrupt An SQLite Database File", 2.2), and the next program that looks into
    the store would believe itself alone and take the write-ahead log away from under the daemon.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, MODE))
    except FileExistsError:
        if path.is_dir():
            raise StoreUnavailable(f"{path}: is a folder. Name a file with --store") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise _closed(path, os.strerror(errno.EACCES)) from None
    except OSError as error:
        raise _closed(path, error.strerror) from error


def _closed(path: Path, why: str | None) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path}: the store cannot be opened for writing: {why}. "
        f"Check that {path.parent} exists and can be written"
    )


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    with in_words(path):
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    return connection


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
