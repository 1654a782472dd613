"""What can go wrong with the store, in words; SQLite's codes end here.

A file that cannot be used is the user's to fix (:class:`StoreError`, exit code 3); a machine that
refuses (rights, space, a lock that is never released) is :class:`StoreUnavailable`, exit code 4.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensor.errors import GridwardenError, InputError, MissingToolError


class StoreError(InputError):
    """The file is no store of ours, is damaged, or was written by a newer version."""


class StoreDamaged(StoreError):
    """The file cannot be read as a database any more."""


class StoreUnavailable(MissingToolError):
    """The machine does not let us write: rights, disk space, a lock."""


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn every sqlite3 error inside the block into one message that names file and remedy."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(path, error) from error


def explain(path: Path, error: sqlite3.Error) -> GridwardenError:
    """The error to show for SQLite's own."""
    code = getattr(error, "sqlite_errorcode", None)
    base = code & 0xFF if isinstance(code, int) else -1  # upper bits hold the extended code
    if base == sqlite3.SQLITE_NOTADB:
        return StoreDamaged(
            f"{path}: is not a store (not an SQLite database). Name another file with --store"
        )
    if base == sqlite3.SQLITE_CORRUPT:
        return StoreDamaged(
            f"{path}: the store is damaged ({error}). Move it away and run again; "
            f'what can be saved: sqlite3 "{path}" .recover'
        )
    if base == sqlite3.SQLITE_FULL:
        return StoreUnavailable(
            f"{path}: no space left to write the store. Free disk space; what was stored before is intact"
        )
    if base in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailable(
            f"{path}: another program has locked the store for too long. "
            "Close what has it open (a database browser?) and try again"
        )
    if base in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreUnavailable(
            f"{path}: the store cannot be written. Check the rights of the file and of its folder "
            "(SQLite writes two files beside it)"
        )
    if base == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(
            f"{path}: the store cannot be opened or created. "
            f"Check that {path.parent} exists and can be written"
        )
    if base == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(f"{path}: reading or writing the store failed ({error}). Check the disk")
    return StoreError(f"{path}: the store refused a statement ({error})")
