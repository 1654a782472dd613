"""One sink's view of the store: what is due, what was sent, what was set aside, what was given up.

Rows are not copied. Each carries the number of its last change (``0003_outbox.sql``), a sink keeps one
cursor per lane, and what lies behind the cursor is due. A cursor moves after the sink has taken the rows,
so a process that dies in between sends them again: with the same identity, and never loses one.

An :class:`Outbox` belongs to the thread that opened it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sensor.result import LEVELS
from sensor.store.errors import in_words
from sensor.store.lanes import Lane
from sensor.store.rows import text
from sensor.store.sqlite import Store

MAX_DEAD: Final = 1_000
"""Dead letters kept per sink; the oldest go first."""

MAX_MARKS: Final = 500
"""Marks kept per sink."""

QUOTA_SLACK: Final = 0.95
"""A sink over its quota is brought down to this share of it, so that the next row is not a new case."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of a lane that are due, and the bytes they take in the store."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that the sink refused for its content."""

    change: int
    ident: str
    reason: str
    record: dict[str, Any]


class Outbox:
    """An open outbox of one sink; close it, or use it as a context manager."""

    def __init__(self, store: Store, sink: str, lanes: Sequence[Lane]) -> None:
        self.sink = sink
        self.lanes = tuple(lanes)
        self._store = store
        self._db = store.connection
        self._clock = self._elapsed()

    @classmethod
    def open(cls, path: str | Path, sink: str, lanes: Sequence[Lane], *, timeout: float = 10.0) -> Self:
        """Open the store for a sink; a lane that is new to it begins with the oldest row.

        Raises
        ------
        StoreError, StoreUnavailable
            As :meth:`Store.open`.
        """
        store = Store.open(path, timeout=timeout)
        try:
            outbox = cls(store, sink, lanes)
            outbox._begin_lanes()
        except BaseException:
            store.close()
            raise
        return outbox

    def due(self, lane: Lane, limit: int) -> list[tuple[Any, ...]]:
        """Up to ``limit`` rows of a lane the sink has not got, by change; columns as ``lane.columns``."""
        return self._query(lane.due_sql, (self.position(lane), limit))

    def position(self, lane: Lane) -> int:
        """The last change of a lane that needs no more sending."""
        query = "SELECT position FROM sink_lanes WHERE lane = ? AND sink = ?"
        rows = self._query(query, (lane.name, self.sink))
        return int(rows[0][0]) if rows else 0

    def advance(self, lane: Lane, position: int, sent: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move the cursor: everything up to ``position`` was sent or stands in ``dead``."""
        now = time.time()
        with self._transaction():
            self._db.execute(
                "UPDATE sink_lanes SET position = max(position, ?), sent = sent + ? "
                "WHERE lane = ? AND sink = ?",
                (position, sent, lane.name, self.sink),
            )
            self._db.executemany(
                "INSERT INTO dead_letters (sink, lane, change, ident, reason, record, written) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sink, lane, change) DO UPDATE SET "
                "reason = excluded.reason, written = excluded.written",
                [
                    (self.sink, lane.name, d.change, text(d.ident), text(d.reason), _shown(d.record), now)
                    for d in dead
                ],
            )
            if dead:
                self._db.execute(
                    "DELETE FROM dead_letters WHERE sink = ? AND id NOT IN "
                    "(SELECT id FROM dead_letters WHERE sink = ? ORDER BY id DESC LIMIT ?)",
                    (self.sink, self.sink, MAX_DEAD),
                )

    def waiting(self) -> dict[Lane, Waiting]:
        """What is due, lane by lane."""
        found = {}
        for lane in self.lanes:
            rows, size = self._query(lane.waiting_sql, (self.position(lane),))[0]
            found[lane] = Waiting(int(rows), int(size))
        return found

    def keep_within(self, max_age: float, max_bytes: int) -> dict[str, int]:
        """Give up what has waited for too long, then what is too much, least important and oldest first.

        Parameters
        ----------
        max_age : float
            Seconds since the row was written, as far as :meth:`mark` knows.
        max_bytes : int
            Bytes that the waiting rows may take.

        Returns
        -------
        dict of str to int
            Rows given up now, by lane.
        """
        given_up: dict[str, int] = {}
        limit = self._aged(max_age)
        # Looked at without the write lock first: a long backlog is counted while the sensor writes.
        if any(self.position(lane) < limit for lane in self.lanes):
            with self._transaction():
                self._drop_aged(limit, given_up)
        if self._surplus(max_bytes) > 0:
            with self._transaction():
                self._drop_surplus(self._surplus(max_bytes), given_up)
        return given_up

    def count_given_up(self, lane: Lane, reason: str, rows: int) -> None:
        """Count rows that were passed over for a reason of the caller's."""
        with self._transaction():
            self._count(lane, reason, rows)

    def mark(self, every: float) -> None:
        """Remember, at most each ``every`` seconds, up to which change was written by now."""
        clock = self._clock()
        last = self._query("SELECT max(clock) FROM sink_marks WHERE sink = ?", (self.sink,))[0][0]
        if last is not None and clock - float(last) < every:
            return
        with self._transaction():
            self._db.execute(
                "INSERT INTO sink_marks SELECT ?, last, ?, ? FROM change_counter "
                "WHERE true ON CONFLICT (sink, change) DO UPDATE "
                "SET clock = excluded.clock, wall = excluded.wall",
                (self.sink, clock, time.time()),
            )
            self._db.execute(
                "DELETE FROM sink_marks WHERE sink = ? AND change NOT IN "
                "(SELECT change FROM sink_marks WHERE sink = ? ORDER BY change DESC LIMIT ?)",
                (self.sink, self.sink, MAX_MARKS),
            )

    def report_given_up(self) -> int:
        """Turn what was given up and not yet told into an alert of the store; returns the rows told."""
        query = "SELECT lane, reason, rows - reported FROM sink_given_up WHERE sink = ? AND rows > reported"
        if not self._query(query, (self.sink,)):
            return 0
        with self._transaction():
            fresh = self._db.execute(query, (self.sink,)).fetchall()
            self._db.execute("UPDATE sink_given_up SET reported = rows WHERE sink = ?", (self.sink,))
            total = sum(int(row[2]) for row in fresh)
            self._write_alert(fresh, total)
            self._write_sample(total)
        return total

    def admit(self, labels: set[str], most: int) -> set[str]:
        """Labels that may be tag values; new ones are admitted for good while there are fewer."""
        known = {row[0] for row in self._query("SELECT label FROM sink_labels WHERE sink = ?", (self.sink,))}
        fresh = sorted(labels - known)[: max(0, most - len(known))]
        if fresh:
            with self._transaction():
                self._db.executemany(
                    "INSERT INTO sink_labels VALUES (?, ?) ON CONFLICT DO NOTHING",
                    [(self.sink, label) for label in fresh],
                )
        return known | set(fresh)

    def moments(self, table: str, wanted: Mapping[str, int]) -> dict[str, int]:
        """Times that are one alert's (or incident's) alone, kept for good.

        Parameters
        ----------
        table : str
            ``alerts`` or ``incidents``.
        wanted : mapping of str to int
            By id, the time that it gets if no other has it, else one of the next nanoseconds.
        """
        assert table in ("alerts", "incidents")
        marks = ", ".join("?" * len(wanted))
        query = f"SELECT id, at_ns FROM {table} WHERE at_ns IS NOT NULL AND id IN ({marks})"  # noqa: S608
        found = {ident: int(at) for ident, at in self._query(query, tuple(wanted))}
        fresh = [(ident, at) for ident, at in wanted.items() if ident not in found]
        if fresh:
            with self._transaction():
                for ident, at in fresh:
                    found[ident] = self._claim(table, ident, at)
        return found

    def _claim(self, table: str, ident: str, at: int) -> int:
        taken = f"SELECT 1 FROM {table} WHERE at_ns = ?"  # noqa: S608
        while self._db.execute(taken, (at,)).fetchone():
            at += 1
        self._db.execute(f"UPDATE {table} SET at_ns = ? WHERE id = ?", (at, ident))  # noqa: S608
        return at

    def sent(self) -> int:
        """Rows that the sink has taken so far."""
        query = "SELECT coalesce(sum(sent), 0) FROM sink_lanes WHERE sink = ?"
        return int(self._query(query, (self.sink,))[0][0])

    def given_up(self) -> dict[str, dict[str, int]]:
        """Rows given up so far, by lane and reason."""
        found: dict[str, dict[str, int]] = {}
        query = "SELECT lane, reason, rows FROM sink_given_up WHERE sink = ? ORDER BY lane, reason"
        for lane, reason, rows in self._query(query, (self.sink,)):
            found.setdefault(lane, {})[reason] = int(rows)
        return found

    def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        """Refused records, the latest first."""
        names = ("id", "lane", "change", "ident", "reason", "record", "written")
        query = f"SELECT {', '.join(names)} FROM dead_letters WHERE sink = ? ORDER BY id DESC LIMIT ?"  # noqa: S608
        return [dict(zip(names, row, strict=True)) for row in self._query(query, (self.sink, limit))]

    def dead_count(self) -> int:
        """Refused records that are kept."""
        return int(self._query("SELECT count(*) FROM dead_letters WHERE sink = ?", (self.sink,))[0][0])

    def close(self) -> None:
        """Close the store; closing twice is harmless."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_lanes(self) -> None:
        """Cursors of lanes that are new to the sink; no write lock when there are none."""
        known = {row[0] for row in self._query("SELECT lane FROM sink_lanes WHERE sink = ?", (self.sink,))}
        fresh = [(lane.name, self.sink) for lane in self.lanes if lane.name not in known]
        if fresh:
            with self._transaction():
                self._db.executemany(
                    "INSERT INTO sink_lanes VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING", fresh
                )

    def _aged(self, max_age: float) -> int:
        """The last change that was written more than ``max_age`` seconds ago, 0 for none."""
        query = "SELECT coalesce(max(change), 0) FROM sink_marks WHERE sink = ? AND clock < ?"
        return int(self._query(query, (self.sink, self._clock() - max_age))[0][0])

    def _surplus(self, max_bytes: int) -> int:
        """Bytes to be given up, 0 when the quota is kept."""
        total = sum(found.bytes for found in self.waiting().values())
        return total - int(max_bytes * QUOTA_SLACK) if total > max_bytes else 0

    def _drop_aged(self, limit: int, given_up: dict[str, int]) -> None:
        for lane in self.lanes:
            position = self.position(lane)
            if position < limit:
                behind, kept = (
                    int(self._db.execute(lane.waiting_sql, (place,)).fetchone()[0])
                    for place in (position, limit)
                )
                self._skip(lane, limit, behind - kept, "age", given_up)

    def _drop_surplus(self, surplus: int, given_up: dict[str, int]) -> None:
        for lane in reversed(self.lanes):
            if surplus <= 0:
                return
            position, rows, freed = self._oldest(lane, surplus)
            self._skip(lane, position, rows, "bytes", given_up)
            surplus -= freed

    def _oldest(self, lane: Lane, surplus: int) -> tuple[int, int, int]:
        """Change up to which a lane's oldest rows make up ``surplus`` bytes, their number, their bytes."""
        position, rows, freed = self.position(lane), 0, 0
        if lane.row_bytes:
            waiting = int(self._db.execute(lane.waiting_sql, (position,)).fetchone()[0])
            rows = min(waiting, -(-surplus // lane.row_bytes))
            if rows:
                query = f"{lane.sizes_sql} LIMIT 1 OFFSET ?"
                position = int(self._db.execute(query, (position, rows - 1)).fetchone()[0])
            return position, rows, rows * lane.row_bytes
        cursor = self._db.execute(lane.sizes_sql, (position,))
        while freed < surplus:
            row = cursor.fetchone()
            if row is None:
                break
            position, rows, freed = int(row[0]), rows + 1, freed + int(row[1])
        cursor.close()
        return position, rows, freed

    def _skip(self, lane: Lane, position: int, rows: int, reason: str, given_up: dict[str, int]) -> None:
        self._db.execute(
            "UPDATE sink_lanes SET position = max(position, ?) WHERE lane = ? AND sink = ?",
            (position, lane.name, self.sink),
        )
        if rows > 0:
            self._count(lane, reason, rows)
            given_up[lane.name] = given_up.get(lane.name, 0) + rows

    def _count(self, lane: Lane, reason: str, rows: int) -> None:
        self._db.execute(
            "INSERT INTO sink_given_up VALUES (?, ?, ?, ?, 0, ?) "
            "ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, last = excluded.last",
            (self.sink, lane.name, reason, rows, time.time()),
        )

    def _write_alert(self, fresh: list[tuple[str, str, int]], total: int) -> None:
        """One alert per sink and day (UTC), its count growing."""
        now = time.time()
        parts = ", ".join(f"{rows} {lane} ({reason})" for lane, reason, rows in fresh)
        day = time.strftime("%Y%m%d", time.gmtime(now))
        # An alarm's loss is as loud as the alarm; the loss of samples is a notice.
        level = max(LEVELS.index(lane.rpartition(" ")[2]) if " " in lane else 1 for lane, _, _ in fresh)
        values = {
            "id": f"given-up-{self.sink}-{day}",
            "level": max(level, 1),
            "summary": f"Records for the sink {self.sink} were given up: {parts}",
            "now": now,
            "total": total,
        }
        self._db.execute(
            "INSERT INTO alerts (id, incident, start, end, level, reading, detector, rule, technique, "
            "protocol, src, dst, kind, point, summary, expected, observed, p_value, count, frames, readings) "
            "VALUES (:id, '', :now, :now, :level, 'visibility', 'sensor', 'outbox-given-up', '', '', '', '', "
            "'', '', substr(:summary, 1, 1000), 'the sink takes records within its quota of age and bytes', "
            ":total || ' records were never sent', NULL, :total, '[]', '{\"visibility\":1.0}') "
            "ON CONFLICT (id) DO UPDATE SET end = excluded.end, level = max(level, excluded.level), "
            "summary = excluded.summary, count = count + excluded.count, "
            "observed = (count + excluded.count) || ' records were never sent'",
            values,
        )

    def _write_sample(self, total: int) -> None:
        ident = self._db.execute(
            "INSERT INTO series (name, protocol, conversation, point, unit) "
            "VALUES ('health.given_up', '', ?, '', '1') "
            "ON CONFLICT (name, protocol, conversation, point, unit) DO UPDATE SET unit = excluded.unit "
            "RETURNING id",
            (text(self.sink),),
        ).fetchone()[0]
        self._db.execute(
            "INSERT INTO samples (series, ts, value) VALUES (?, ?, ?) "
            "ON CONFLICT (series, ts) DO UPDATE SET value = value + excluded.value",
            (ident, time.time(), float(total)),
        )

    def _elapsed(self) -> Callable[[], float]:
        """A clock for ages: it goes on from the last mark by the wall clock, then by the monotonic one.

        A wall clock that jumps while we run (its receiver finds satellites, its battery dies) moves no age.
        """
        query = "SELECT clock, wall FROM sink_marks WHERE sink = ? ORDER BY clock DESC LIMIT 1"
        rows = self._query(query, (self.sink,))
        clock, wall = (float(value) for value in rows[0]) if rows else (0.0, time.time())
        begin, since = clock + max(0.0, time.time() - wall), time.monotonic()
        return lambda: begin + time.monotonic() - since

    def _query(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with in_words(self._store.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._store.transaction():
            yield self._db


def _shown(record: dict[str, Any]) -> str:
    """A refused record as JSON, whatever is in it: that it is no JSON may be why it was refused."""
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"), default=repr)
