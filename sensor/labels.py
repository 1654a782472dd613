"""Labels: the table that says what really happened in a capture.

A CSV file (RFC 4180, UTF-8, with or without byte order mark, any line ending) with the header
``start,end,label,technique,src,dst,note``, one row per **event**. ``start`` and ``end`` are epoch
seconds UTC with fraction, ``end`` included; ``label`` is ``attack`` or ``benign-disturbance`` (a
legitimate power-system event that must not be called an attack); ``technique`` is an ATT&CK for ICS
id or empty; ``src`` and ``dst`` are addresses or empty. Columns may stand in any order and others may
be present. A header without rows is the table of a capture in which nothing happened.

It refuses what it would have to guess: a missing column, a number that is none, an event that ends
before it starts, an unknown label. The message names file, line, column, value and remedy.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from sensor.errors import LabelsError

ATTACK: Final = "attack"
DISTURBANCE: Final = "benign-disturbance"
LABELS: Final = (ATTACK, DISTURBANCE)
COLUMNS: Final = ("start", "end", "label", "technique", "src", "dst", "note")
REQUIRED: Final = ("start", "end", "label")

MAX_BYTES: Final = 64 << 20
"""A labels file is written by people or small scripts; more than this is the wrong file."""

LATEST: Final = 253_402_300_800.0
"""Year 10000 in epoch seconds: a larger time is in milliseconds or nanoseconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, by its labels row (epoch seconds; ``end`` included)."""

    start: float
    end: float
    label: str
    technique: str = ""
    src: str = ""
    dst: str = ""
    note: str = ""

    @property
    def hosts(self) -> frozenset[str]:
        """Addresses that the label names, lower case; empty when it names none. A cell may hold several,
        separated by spaces or semicolons."""
        return frozenset(f"{self.src} {self.dst}".replace(";", " ").lower().split())


def read_labels(path: str | Path) -> list[Event]:
    """Events of a labels file, sorted by start.

    Raises
    ------
    LabelsError
        The file cannot be read or a row cannot be understood.
    """
    source = str(path)
    return parse_labels(_read_text(source), source)


def parse_labels(text: str, source: str = "labels") -> list[Event]:
    """Events of a labels table given as text; ``source`` is how messages call it."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    events: list[Event] = []
    try:
        header = next(reader, None)
        columns = _header(source, header)
        for row in reader:
            events.extend(_events(source, reader.line_num, columns, row))
    except csv.Error as error:
        raise LabelsError(
            f"{source}: line {reader.line_num}: not a CSV row ({error}). "
            'Quote a cell that holds a comma, a line break or a quote: "a, b"'
        ) from error
    return sorted(events, key=lambda event: (event.start, event.end))


def format_labels(events: Iterable[Event]) -> str:
    """The table as text, header first; :func:`parse_labels` reads it back."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [_time(e.start), _time(e.end), e.label, e.technique, e.src, e.dst, e.note] for e in events
    )
    return out.getvalue()


def _time(seconds: float) -> str:
    return repr(float(seconds))


def _read_text(source: str) -> str:
    try:
        with Path(source).open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise LabelsError(
            f"{source}: cannot be read: {error.strerror}. Check the path and its rights"
        ) from error
    if len(raw) > MAX_BYTES:
        raise LabelsError(
            f"{source}: larger than {MAX_BYTES >> 20} MiB, so hardly a labels table. "
            f"Give the CSV file with the header {','.join(COLUMNS)}"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise LabelsError(
            f"{source}: line {line}: byte {raw[error.start] if raw else 0:#04x} is not UTF-8 text. "
            "Save the table as CSV in UTF-8"
        ) from error


def _header(source: str, header: list[str] | None) -> dict[str, int]:
    if not header:
        raise LabelsError(f"{source}: is empty. The first line must be the header {','.join(COLUMNS)}")
    names = [name.strip().lower() for name in header]
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise LabelsError(
            f"{source}: line 1: no column {', '.join(missing)} in the header {','.join(header)[:120]!r}. "
            f"The first line must be {','.join(COLUMNS)}"
        )
    twice = next((name for name in COLUMNS if names.count(name) > 1), None)
    if twice:
        raise LabelsError(f"{source}: line 1: column {twice} stands twice in the header. Remove one of them")
    return {name: names.index(name) for name in COLUMNS if name in names}


def _events(source: str, line: int, columns: dict[str, int], row: list[str]) -> list[Event]:
    """The event of one row; none for a blank line."""
    return [_event(source, line, columns, row)] if any(cell.strip() for cell in row) else []


def _event(source: str, line: int, columns: dict[str, int], row: list[str]) -> Event:
    cells = {name: row[at].strip() if at < len(row) else "" for name, at in columns.items()}
    start = _seconds(source, line, "start", cells["start"])
    end = _seconds(source, line, "end", cells["end"])
    if end < start:
        _refuse(source, line, "end", cells["end"], f"lies before start {cells['start']}", "Swap the two")
    label = cells["label"].lower()
    if label not in LABELS:
        _refuse(source, line, "label", cells["label"], "is no label", f"Write {' or '.join(LABELS)}")
    texts = {name: cells.get(name, "") for name in ("technique", "src", "dst", "note")}
    return Event(start, end, label, **texts)


def _seconds(source: str, line: int, column: str, cell: str) -> float:
    remedy = "Write epoch seconds UTC with a point, such as 1424799610.066448"
    try:
        value = float(cell) if "_" not in cell else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse(source, line, column, cell, "is not a number", remedy)
    if not 0 <= value < LATEST:
        _refuse(source, line, column, cell, "is no time in epoch seconds (milliseconds?)", remedy)
    return value


def _refuse(source: str, line: int, column: str, value: str, problem: str, remedy: str) -> NoReturn:
    raise LabelsError(f"{source}: line {line}: column {column}: {value[:80]!r} {problem}. {remedy}")
