"""The baseline archive: what is normal at a site, as plain tables in a zip file.

``manifest.json`` (format, tool, where it came from, rows and SHA-256 of each member), ``params.json``
and one CSV per table of ``tables.py``. Only text and numbers: nothing in it is executed, unpickled or
interpreted, models are refitted from the ``features`` table. The same baseline always gives the same
bytes. Reading refuses, with one sentence each: no zip archive, a newer format, a missing or foreign
member, a wrong checksum, a member or archive beyond the limits, a table with wrong columns or values.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from detectors.frames import Columns, Frames, no_rows
from detectors.tables import FLOAT, INT, STR, TABLES, TRUST, Join, Origin, Table, records, text_numbers

FORMAT: Final = 2
"""1: up to what was learned; 2: with the tables of a station description and the audit trail."""

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
MAX_ARCHIVE: Final = 256 << 20
MAX_MEMBER: Final = 256 << 20
MAX_TOTAL: Final = 512 << 20
MAX_SMALL: Final = 4 << 20
MAX_MEMBERS: Final = 64
HISTOGRAM: Final = re.compile(r"(-?\d{1,9}:\d{1,18}( -?\d{1,9}:\d{1,18})*)?")
MANIFEST: Final = "manifest.json"
PARAMS: Final = "params.json"
_READ: Final[dict[str, Callable[[str], int | float]]] = {INT: int, FLOAT: float}


class BaselineError(Exception):
    """A baseline that cannot be used: which file, what is wrong, what to do."""


@dataclass(slots=True)
class Baseline:
    """What is normal at one site.

    Attributes
    ----------
    tables : mapping of str to DataFrame
        One per entry of ``tables.TABLES``.
    params : dict
        JSON values: ``false_alarms_per_day``, ``model``, ``seed``, ``learned_s`` (seconds of capture
        time), ``packets``, ``messages``, ``window_s``, ``maturity``, ``max_idle_s``, ``notes``, ``scl``
        (station descriptions: ``file``, ``sha256``, ``edition``, ``id``, ``revision``, ``complete``).
    created_from : list of dict
        Captures it was learned from: ``name``, ``first``, ``last``, ``packets``.
    tool : str
        Version of the program that wrote it.
    """

    tables: MutableMapping[str, pd.DataFrame] = field(default_factory=no_rows)
    params: dict[str, Any] = field(default_factory=dict)
    created_from: list[dict[str, Any]] = field(default_factory=list)
    tool: str = ""
    _rows: dict[str, tuple[Any, list[Any]]] = field(default_factory=dict, repr=False, compare=False)
    _spoken: dict[str, tuple[Any, dict[str, list[Any]]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def rows(self, table: str) -> Iterator[Any]:
        """Rows of a table as named tuples, made once: some twenty detectors ask for the same ones.

        Made anew when another frame stands in ``tables``: frames are replaced, never changed in place.
        """
        return iter(self._kept(table)[1])

    def spoken(self, table: str, protocol: str) -> list[Any]:
        """Those of one protocol, in the same order."""
        source, rows = self._kept(table)
        sorted_ = self._spoken.get(table)
        if sorted_ is None or sorted_[0] is not source:
            by_protocol: dict[str, list[Any]] = {}
            for row in rows:
                by_protocol.setdefault(row.protocol, []).append(row)
            sorted_ = self._spoken[table] = (source, by_protocol)
        return sorted_[1].get(protocol, [])

    def _kept(self, table: str) -> tuple[Any, list[Any]]:
        read = self.tables.columns(table) if isinstance(self.tables, Frames) else None
        source = self.tables[table] if read is None else read
        kept = self._rows.get(table)
        if kept is None or kept[0] is not source:
            kept = self._rows[table] = (source, _named(source))
        return kept

    @property
    def learned(self) -> bool:
        """Whether traffic was learned; a baseline may hold a station description alone."""
        return float(self.params.get("learned_s", 0.0)) > 0 or len(self.tables["conversations"]) > 0

    def pending(self) -> pd.DataFrame:
        """Dangerous messages seen while learning that nobody has approved yet."""
        review = self.tables["review"]
        return review[review["origin"] == Origin.PROPOSED.value]

    def remarks(self) -> list[str]:
        """What to know before trusting it: the notes of learning, and what waits for approval now."""
        waiting = len(self.pending())
        notes = [str(note) for note in self.params.get("notes", [])]
        described = [str(source.get("file")) for source in self.params.get("scl", [])]
        if described:
            streams, rest = (
                len(self.tables["control_blocks"]),
                "" if self.learned else "; nothing was learned",
            )
            notes.append(f"{streams} published streams are engineered by {', '.join(described)}{rest}")
        if waiting:
            kinds = "kind of message waits" if waiting == 1 else "kinds of message wait"
            notes.append(f"{waiting} dangerous {kinds} for approval (`gridwarden baseline approve`)")
        return notes

    def approve(self, ids: set[str] | None, who: str, why: str, when: str) -> list[str]:
        """Approve proposed entries of the review table; ``None`` means all.

        Returns
        -------
        list of str
            Ids approved now. An unknown id raises BaselineError and nothing is changed.
        """
        review = self.tables["review"].copy()
        unknown = (ids or set()) - set(review["id"])
        if unknown:
            raise BaselineError(
                f"no entry {', '.join(sorted(unknown))} to approve; `gridwarden baseline show` lists them"
            )
        chosen = review["origin"] == Origin.PROPOSED.value
        if ids is not None:
            chosen &= review["id"].isin(ids)
        review.loc[chosen, "origin"] = Origin.APPROVED.value
        for column, text in (("who", who), ("why", why), ("when", when)):
            review.loc[chosen, column] = text
        self.tables["review"] = review
        for row in review[chosen].itertuples(index=False):
            what = f"{row.name}, {row.client} to {row.server} ({row.protocol}): {row.points}"
            self.note(when, str(row.id), "approved", who, why, "not-approved", what)
        return sorted(review.loc[chosen, "id"])

    def note(self, when: str, ident: str, action: str, who: str, why: str, rule: str, what: str) -> None:
        """Add a line to the audit trail; two equal decisions about one thing in one second are one."""
        table = TABLES["audit"]
        new = {
            "when": when,
            "id": ident,
            "action": action,
            "who": who,
            "why": why,
            "rule": rule,
            "what": what,
        }
        old = [
            row for row in records(self.tables["audit"]) if any(row[key] != new[key] for key in table.keys)
        ]
        self.tables["audit"] = table.frame([*old, new])

    def to_bytes(self) -> bytes:
        """The archive; equal baselines give equal bytes."""
        members = {PARAMS: _json(self.params)}
        for name, table in TABLES.items():
            members[f"tables/{name}.csv"] = _csv(table.sort(self.tables[name]))
        manifest = {
            "format": FORMAT,
            "tool": self.tool,
            "created_from": self.created_from,
            "rows": {name: len(self.tables[name]) for name in sorted(TABLES)},
            "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(members.items())},
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, data in [(MANIFEST, _json(manifest)), *sorted(members.items())]:
                info = zipfile.ZipInfo(name, EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system, info.external_attr = 3, 0o644 << 16
                archive.writestr(info, data)
        return buffer.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the archive beside its place and rename it, so that no reader sees half of one.

        A file that is replaced hands its mode and owner on: a service that could read it still can.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.partial")
        partial.write_bytes(self.to_bytes())
        with contextlib.suppress(OSError):  # nothing there yet, or not ours to give away
            before = target.stat()
            partial.chmod(before.st_mode & 0o777)
            os.chown(partial, before.st_uid, before.st_gid)
        partial.replace(target)

    @staticmethod
    def load(path: str | Path) -> Baseline:
        """Read and check an archive; raises BaselineError."""
        source = Path(path)
        try:
            if source.stat().st_size > MAX_ARCHIVE:
                raise BaselineError(f"{path}: larger than {MAX_ARCHIVE >> 20} MiB, not a baseline")
            data = source.read_bytes()
        except OSError as error:
            raise BaselineError(f"{path}: cannot be read: {error.strerror or error}") from error
        return Baseline.from_bytes(data, str(path))

    @staticmethod
    def from_bytes(data: bytes, name: str = "baseline") -> Baseline:
        """Read and check the bytes of an archive; ``name`` stands in the messages."""
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _read(archive, name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise BaselineError(
                f"{name}: not a baseline or damaged ({error}); write one with `gridwarden learn`"
            ) from error
        except zlib.error as error:
            raise BaselineError(f"{name}: damaged ({error}); take it from a backup or learn again") from error


def _named(table: pd.DataFrame | Columns) -> list[Any]:
    """Rows as named tuples; ``itertuples`` takes five times as long, which every start would pay."""
    names = tuple(map(str, table))
    row, cells = _row_type(names), (table[name] for name in names)
    lists = (cell if isinstance(cell, tuple) else cell.tolist() for cell in cells)
    return [row(*values) for values in zip(*lists, strict=True)]


@lru_cache(maxsize=64)
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns, rename=True)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _csv(frame: pd.DataFrame) -> bytes:
    text = frame.to_csv(index=False, lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def _read(archive: zipfile.ZipFile, name: str) -> Baseline:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise BaselineError(f"{name}: {len(infos)} members, a baseline has fewer than {MAX_MEMBERS}")
    if sum(info.file_size for info in infos) > MAX_TOTAL:
        raise BaselineError(f"{name}: unpacks to more than {MAX_TOTAL >> 20} MiB, refused")
    present = {info.filename: info for info in infos}
    if len(present) != len(infos):
        raise BaselineError(f"{name}: two members of the same name, refused")
    manifest = _object(_member(archive, present, MANIFEST, MAX_SMALL, name), MANIFEST, name)
    version = _check_format(manifest, name)
    known = {key: table for key, table in TABLES.items() if table.since <= version}
    sums = manifest.get("sha256")
    listed = set(sums) if isinstance(sums, dict) else set()
    # a table that came with a later release of the same format may be absent
    known = {
        key: table for key, table in known.items() if not table.optional or f"tables/{key}.csv" in listed
    }
    expected = {PARAMS, *(f"tables/{table}.csv" for table in known)}
    if not isinstance(sums, dict) or listed != expected:
        raise BaselineError(f"{name}: {MANIFEST} does not list the members of a format {version} baseline")
    foreign = set(present) - expected - {MANIFEST}
    if foreign:
        raise BaselineError(f"{name}: foreign member {sorted(foreign)[0]!r}, refused")
    members = {member: _member(archive, present, member, MAX_MEMBER, name) for member in sorted(expected)}
    for member, data in members.items():
        if hashlib.sha256(data).hexdigest() != sums[member]:
            raise BaselineError(f"{name}: {member} was changed or damaged (checksum differs); learn again")
    tables = no_rows()
    tables.read({key: _table(key, table, members[f"tables/{key}.csv"], name) for key, table in known.items()})
    created = manifest.get("created_from")
    return Baseline(
        tables,
        _object(members[PARAMS], PARAMS, name),
        [entry for entry in created if isinstance(entry, dict)] if isinstance(created, list) else [],
        str(manifest.get("tool", "")),
    )


def _check_format(manifest: dict[str, Any], name: str) -> int:
    version = manifest.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BaselineError(f"{name}: {MANIFEST} names no format")
    if version > FORMAT:
        raise BaselineError(
            f"{name}: format {version}, written by gridwarden {manifest.get('tool', '?')}; "
            f"this program reads up to format {FORMAT}. Update gridwarden"
        )
    return version


def _member(
    archive: zipfile.ZipFile, present: dict[str, zipfile.ZipInfo], member: str, limit: int, name: str
) -> bytes:
    if member not in present:
        raise BaselineError(f"{name}: {member} is missing; not a baseline or damaged")
    with archive.open(present[member]) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BaselineError(f"{name}: {member} is larger than {limit >> 20} MiB, refused")
    return data


def _object(data: bytes, member: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{name}: {member} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BaselineError(f"{name}: {member} is not a JSON object")
    return value


def _table(key: str, table: Table, data: bytes, name: str) -> Columns:
    """One table; by the csv module, which reads two dozen small ones in a tenth of the time of pandas."""
    where = f"{name}: tables/{key}.csv"
    try:
        header, *rows = [
            row for row in csv.reader(io.StringIO(data.decode(), newline=""), strict=True) if row
        ]
        if header != list(table.columns):
            raise BaselineError(f"{where}: columns {header} instead of {list(table.columns)}")
        if odd := next((row for row in rows if len(row) != len(header)), None):
            raise BaselineError(f"{where}: a row of {len(odd)} cells, there are {len(header)} columns")
        cells = zip(*rows, strict=True) if rows else ((),) * len(header)
        columns: Columns = {
            column: values if kind == STR else np.array([_READ[kind](cell) for cell in values], kind)
            for (column, (kind, _)), values in zip(table.columns.items(), cells, strict=True)
        }
        if rows:
            _check_cells(columns, table)
    except (ValueError, OverflowError, csv.Error) as error:
        raise BaselineError(f"{where}: {error}") from error
    return columns


def _check_cells(columns: Columns, table: Table) -> None:
    """Text cells that are more than names: origins and lists of numbers; raises ValueError."""
    bad = set(columns.get("origin", ())) - set(TRUST)
    if bad:
        raise ValueError(f"unknown origin {sorted(bad)[0]!r}")
    for column, (_, how) in table.columns.items():
        if column.endswith("_blocks"):
            for cell in columns[column]:
                text_numbers(cell)
        if how is Join.HISTOGRAM and not all(HISTOGRAM.fullmatch(cell) for cell in columns[column]):
            raise ValueError(f"{column}: no counts by bin")
    keys = [columns[key] for key in table.keys]
    rows = list(zip(*(key if isinstance(key, tuple) else key.tolist() for key in keys), strict=True))
    if len(set(rows)) < len(rows):
        raise ValueError("the same row twice")
