"""Keeping the store within its bounds: what goes first, and how much was given up.

Order of sacrifice: samples, then health rows but the latest :data:`KEEP_HEALTH`, then events, then
alerts from the quietest level to the loudest, oldest first within each; incidents go with their last
alert, runs without alerts when they are not among the latest :data:`KEEP_RUNS`. Alarms go last of all.
Every deleted row is counted in table ``given_up``, so that a gap is never mistaken for a quiet time.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from sensor.result import LEVELS

CHUNK: Final = 5_000
"""Rows deleted between two looks at the size."""

KEEP_RUNS: Final = 1_000
KEEP_HEALTH: Final = 1_000
KEEP_DECISIONS: Final = 100_000


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes that the store's content takes (without free pages and the write-ahead log)."""
    size, pages, free = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_size", "page_count", "freelist_count")
    )
    return size * (pages - free)


def drop_older(connection: sqlite3.Connection, before: float) -> dict[str, int]:
    """Delete what ended before a time (epoch seconds), inside the caller's transaction."""
    dropped = {"samples": _delete(connection, "DELETE FROM samples WHERE ts < ?", before)}
    dropped["health"] = _delete(connection, "DELETE FROM health WHERE ts < ?", before)
    for table, column in (("levels", "ts"), ("links", "last"), ("asset_health", "last"), ("events", "end")):
        statement = f"DELETE FROM {table} WHERE {column} < ?"  # noqa: S608  names above
        dropped[table] = _delete(connection, statement, before)
    for level, name in enumerate(LEVELS):
        count = _delete(connection, "DELETE FROM alerts WHERE end < ? AND level = ?", before, level)
        dropped[f"alerts {name}"] = count
    return _finish(connection, dropped)


def shrink(connection: sqlite3.Connection, max_bytes: int) -> dict[str, int]:
    """Delete least important and oldest rows until the content fits, inside the caller's transaction."""
    dropped: dict[str, int] = {}
    while used_bytes(connection) > max_bytes:
        what, count = _drop_some(connection)
        if not count:
            break
        dropped[what] = dropped.get(what, 0) + count
    return _finish(connection, dropped)


def _drop_some(connection: sqlite3.Connection) -> tuple[str, int]:
    """Delete up to a chunk, at most half, of the least important table that has rows left."""
    count = _delete(
        connection,
        "DELETE FROM samples WHERE (series, ts) IN (SELECT series, ts FROM samples ORDER BY ts LIMIT ?)",
        _portion(connection, "SELECT count(*) FROM samples"),
    )
    if count:
        return "samples", count
    count = _delete(
        connection,
        "DELETE FROM health WHERE id IN (SELECT id FROM health "
        "WHERE id <= (SELECT max(id) FROM health) - ? ORDER BY id LIMIT ?)",
        KEEP_HEALTH,
        CHUNK,
    )
    if count:
        return "health", count
    count = _delete(
        connection,
        "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY start LIMIT ?)",
        _portion(connection, "SELECT count(*) FROM events"),
    )
    if count:
        return "events", count
    for level, name in enumerate(LEVELS):
        count = _delete(
            connection,
            "DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE level = ? ORDER BY start LIMIT ?)",
            level,
            _portion(connection, "SELECT count(*) FROM alerts WHERE level = ?", level),
        )
        if count:
            return f"alerts {name}", count
    return "", 0


def _portion(connection: sqlite3.Connection, query: str, *values: int) -> int:
    rows = int(connection.execute(query, values).fetchone()[0])
    return min(CHUNK, (rows + 1) // 2)


def _finish(connection: sqlite3.Connection, dropped: dict[str, int]) -> dict[str, int]:
    """Delete what is now without content, count everything; only what was deleted is returned."""
    if not any(dropped.values()):
        return {}
    dropped["incidents"] = _delete(
        connection,
        "DELETE FROM incidents WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.incident = incidents.id)",
    )
    _delete(
        connection, "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM samples WHERE series = series.id)"
    )
    _delete(
        connection,
        "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?",
        KEEP_DECISIONS,
    )
    dropped["runs"] = _delete(
        connection,
        "DELETE FROM runs WHERE NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.run = runs.id) "
        "AND id NOT IN (SELECT id FROM runs ORDER BY written DESC LIMIT ?)",
        KEEP_RUNS,
    )
    given_up = {what: count for what, count in dropped.items() if count}
    connection.executemany(
        "INSERT INTO given_up VALUES (?, ?, ?) "
        "ON CONFLICT (what) DO UPDATE SET rows = rows + excluded.rows, last = excluded.last",
        [(what, count, time.time()) for what, count in given_up.items()],
    )
    return given_up


def _delete(connection: sqlite3.Connection, statement: str, *values: float) -> int:
    return connection.execute(statement, values).rowcount
