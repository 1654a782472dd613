"""Steps of the store's layout: numbered SQL files, each applied once and recorded.

A step is ``NNNN_name.sql`` beside this file. Steps are only ever added; a released one never changes.
The table ``schema_steps`` lists the applied ones, ``PRAGMA application_id`` marks the file as ours.
A store that records a step this version does not know was written by a newer one and is refused,
because old code would write into tables whose meaning it cannot know.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from sensor.store.errors import StoreError

APPLICATION_ID: Final = 0x47574431
"""``GWD1`` in ASCII: tells our files from any other SQLite database."""

STEP_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
STRICT_SINCE: Final = (3, 37, 0)

CREATE_STEPS: Final = """
CREATE TABLE IF NOT EXISTS schema_steps (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied REAL NOT NULL, sensor TEXT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its number, name and SQL text."""

    version: int
    name: str
    sql: str


def steps() -> list[Step]:
    """All steps this version knows, in order."""
    found = []
    for entry in resources.files("sensor.store").iterdir():
        match = STEP_NAME.fullmatch(entry.name)
        if match:
            found.append(Step(int(match[1]), match[2], entry.read_text("utf-8")))
    return sorted(found, key=lambda step: step.version)


def migrate(connection: sqlite3.Connection, path: Path, sensor: str) -> int:
    """Bring a store to the newest layout in one transaction; returns its version.

    Parameters
    ----------
    connection : sqlite3.Connection
        In autocommit mode (``isolation_level=None``), no transaction open.
    path : Path
        For messages.
    sensor : str
        Version of the program, recorded beside each step.

    Raises
    ------
    StoreError
        The file belongs to another program, or to a newer version of this one.
    """
    known = steps()
    if _is_ours(connection, path) and _version(connection, path, known[-1].version) == known[-1].version:
        return known[-1].version
    connection.execute("BEGIN IMMEDIATE")
    try:
        # A second process may have migrated while this one waited for the lock: look again inside it.
        _is_ours(connection, path)
        connection.execute(CREATE_STEPS)
        done = _version(connection, path, known[-1].version)
        for step in known:
            if step.version > done:
                _apply(connection, step, sensor)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return known[-1].version


def layout(connection: sqlite3.Connection, path: Path) -> int:
    """Version of a store that is only looked at; raises StoreError unless it is this program's own."""
    newest = steps()[-1].version
    if not _is_ours(connection, path):
        raise StoreError(f"{path}: is empty. `gridwarden run` and `detect --store` fill one")
    version = _version(connection, path, newest)
    if version < newest:
        raise StoreError(
            f"{path}: layout {version} is older than this version's {newest}. The next `gridwarden run` or "
            "`detect --store` brings it up to date"
        )
    return version


def statements(sql: str) -> Iterator[str]:
    """Single statements of a script; ``executescript`` would commit between them."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is a store already; False for a new one. Raises for somebody else's."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    if mark == APPLICATION_ID:
        return True
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables or mark:
        raise StoreError(
            f"{path}: is an SQLite database of another program. Name another file with --store; "
            "this one was left as it is"
        )
    return False


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    row = connection.execute("SELECT max(version), max(sensor) FROM schema_steps").fetchone()
    version = int(row[0] or 0)
    if version > newest:
        raise StoreError(
            f"{path}: layout {version} was written by a newer Gridwarden ({row[1]}); this one knows up to "
            f"{newest}. Update Gridwarden or name another file with --store"
        )
    return version


def _apply(connection: sqlite3.Connection, step: Step, sensor: str) -> None:
    sql = step.sql
    if sqlite3.sqlite_version_info < STRICT_SINCE:
        sql = sql.replace(") STRICT, WITHOUT ROWID;", ") WITHOUT ROWID;").replace(") STRICT;", ");")
    for statement in statements(sql):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO schema_steps VALUES (?, ?, ?, ?)", (step.version, step.name, time.time(), sensor)
    )
