"""Where ``explain`` takes an alert from: a store, or the JSON lines of ``detect --json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sensor.errors import InputError, UsageError

if TYPE_CHECKING:
    from detectors.base import Alert
    from sensor.store.sqlite import Store

MOST: Final = 100_000
"""Alerts read from JSON lines; a run gives a fifth of that at most."""
LONGEST: Final = 1 << 20
"""Characters of one JSON line."""
NAMED: Final = 5
"""Alerts that are named when several begin alike."""
NEWEST: Final = frozenset({"", "-"})


@dataclass(slots=True)
class Source:
    """An alert and what is known around it.

    Attributes
    ----------
    alert : Alert
    incident : list of Alert
        Alerts of the same incident, this one included; empty without one.
    captures : list of str
        Files that the run read, as far as the source knows them.
    lost : int
        Frames known to be lost in that run.
    """

    alert: Alert
    incident: list[Alert] = field(default_factory=list)
    captures: list[str] = field(default_factory=list)
    lost: int = 0


def from_store(path: Path, ident: str) -> Source:
    """The alert of a store with this id or the only one that begins so; the newest for ``-``.

    Raises
    ------
    UsageError
        No such alert, or several.
    StoreError, StoreUnavailable
    """
    from sensor.store.sqlite import Store

    with Store.look(path) as store:
        alert = _newest(store, path) if ident in NEWEST else _called(store, path, ident)
        incident = store.alerts(incident=alert.incident) if alert.incident else []
        found = store.query(
            "SELECT runs.captures, runs.lost FROM alerts JOIN runs ON runs.id = alerts.run "
            "WHERE alerts.id = ?",
            (alert.id,),
        )
    captures, lost = (json.loads(found[0][0]), int(found[0][1])) if found else ([], 0)
    return Source(alert, incident, captures, lost)


def from_lines(path: str, ident: str) -> Source:
    """The same from a file of JSON lines, ``-`` for standard input.

    Raises
    ------
    InputError
        A line that is no alert.
    UsageError
        No such alert, or several.
    """
    alerts = list(_read(path))
    if not alerts:
        raise InputError(f"{path}: holds no alerts. Write some with gridwarden detect … --json")
    if ident in NEWEST:
        alert = max(alerts, key=lambda one: (one.start, one.id))
    else:
        exact = [one for one in alerts if one.id == ident]
        alert = _only(exact or [one for one in alerts if one.id.startswith(ident)], ident, path)
    incident = [one for one in alerts if alert.incident and one.incident == alert.incident]
    return Source(alert, incident)


def alert_of(record: Any) -> Alert:
    """An alert from the JSON object of ``gridwarden detect --json``.

    Keys that it does not know are passed over: a newer sensor may write more.

    Raises
    ------
    ValueError
        What is wrong with it.
    """
    from detectors.base import Alert

    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    given: dict[str, Any] = {}
    for one in fields(Alert):
        if one.name in record:
            given[one.name] = _checked(one.name, record[one.name], str(one.type))
        elif one.default is MISSING and one.default_factory is MISSING:
            raise ValueError(f"{one.name} is missing")
    return Alert(**given)


def _checked(name: str, value: Any, kind: str) -> Any:
    """A value of the type that the field has; lone surrogates, which no output takes, are spelled out."""
    if kind == "str" and isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if kind in ("float", "float | None") and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "float | None" and value is None:
        return None
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "list[int]" and isinstance(value, list) and all(type(one) is int for one in value):
        return value
    if kind == "dict[str, float]" and isinstance(value, dict):
        return {str(key): _checked(name, weight, "float") for key, weight in value.items()}
    if kind == "dict[str, Any]" and isinstance(value, dict):
        return value
    raise ValueError(f"{name} is {type(value).__name__}, expected {kind}")


def _newest(store: Store, path: Path) -> Alert:
    found = store.query("SELECT id FROM alerts ORDER BY start DESC, id DESC LIMIT 1")
    if not found:
        raise UsageError(f"{path} holds no alerts")
    return store.alerts_called(found[0][0], limit=1)[0]


def _called(store: Store, path: Path, ident: str) -> Alert:
    found = store.alerts_called(ident, limit=NAMED + 1)
    return _only([one for one in found if one.id == ident] or found, ident, str(path))


def _only(found: list[Alert], ident: str, where: str) -> Alert:
    if not found:
        raise UsageError(
            f"no alert {ident!r} in {where}. `gridwarden alerts list`, the report and `detect --json` show "
            "ids; --last takes the newest"
        )
    if len(found) > 1:
        named = ", ".join(one.id for one in found[:NAMED])
        more = " and more" if len(found) > NAMED else ""
        raise UsageError(f"{ident!r} may be {named}{more}; give more letters")
    return found[0]


def _read(path: str) -> Iterator[Alert]:
    if path == "-":
        yield from _parsed(sys.stdin, "standard input")
        return
    with Path(path).open(encoding="utf-8", errors="backslashreplace") as file:
        yield from _parsed(file, path)


def _parsed(lines: Any, shown: str) -> Iterator[Alert]:
    for number in range(1, MOST + 1):
        line = lines.readline(LONGEST)
        if not line:
            return
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if isinstance(record, dict) and record.get("record", "alert") != "alert":
                continue  # an event stands beside the alerts that it explains
            yield alert_of(record)
        except (ValueError, RecursionError) as error:
            problem = f"{shown}, line {number}: no alert: {error}"
            raise InputError(f"{problem}. Expected the output of gridwarden detect … --json") from error
    raise InputError(f"{shown}: more than {MOST} lines; cut out what is asked about")
