"""Result to rows and back: the only place that knows how a field is stored.

SQLite keeps 64-bit integers, doubles without NaN, and UTF-8 text. NaN becomes NULL and comes back as
NaN; integers beyond 64 bits are clamped; text that is not UTF-8 (lone surrogates) is written with
backslash escapes. Everything else comes back as it went in.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from detectors.base import Alert, Event, Incident
from sensor.result import LEVELS, AssetRow, PointSeries, Result, Series, level_rank

INT64: Final = (1 << 63) - 1

RUN_COLUMNS: Final = (
    "id, baseline, captures, start, end, packets, bytes, messages, malformed, undecoded, lost, notes, "
    "engine, version, duration, false_alarms_per_day, written"
)
ALERT_COLUMNS: Final = (
    "id, incident, start, end, level, reading, detector, rule, technique, protocol, src, dst, kind, point, "
    "summary, expected, observed, p_value, count, frames, readings, scope, event"
)
INCIDENT_COLUMNS: Final = "id, start, end, level, reading, summary, hosts, protocols, alerts"
EVENT_COLUMNS: Final = "id, what, start, end, summary, hosts, protocols, level, explained"
ASSET_COLUMNS: Final = "id, mac, ip, vendor, roles, protocols, first, last"
POINT_VALUES: Final = "value"

Row = tuple[Any, ...]


def text(value: object) -> str:
    """Text that SQLite can hold."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def real(value: float | None) -> float | None:
    """A double, NULL for NaN."""
    return None if value is None or math.isnan(value) else float(value)


def integer(value: int) -> int:
    """An integer within 64 bits."""
    return max(-INT64 - 1, min(INT64, int(value)))


def listing(values: object) -> str:
    """A list or map as JSON, ASCII only, so that any text survives."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":"))


def run_id(result: Result) -> str:
    """Identity of a run: the same captures under the same baseline give the same id."""
    facts = [result.baseline, result.captures, result.start, result.end, result.packets]
    return hashlib.sha256(listing(facts).encode()).hexdigest()[:32]


def run_row(result: Result, ident: str, written: float) -> Row:
    """Row of table runs in the order of :data:`RUN_COLUMNS`."""
    return (
        ident,
        text(result.baseline),
        listing(result.captures),
        real(result.start),
        real(result.end),
        integer(result.packets),
        integer(result.bytes),
        integer(result.messages),
        integer(result.malformed),
        integer(result.undecoded),
        integer(result.lost),
        listing(result.notes),
        text(result.engine),
        text(result.version),
        real(result.duration),
        real(result.false_alarms_per_day),
        written,
    )


def alert_row(alert: Alert) -> Row:
    """Row of table alerts in the order of :data:`ALERT_COLUMNS`."""
    return (
        text(alert.id),
        text(alert.incident),
        real(alert.start),
        real(alert.end),
        max(0, level_rank(alert.level)),
        *(text(getattr(alert, name)) for name in ("reading", "detector", "rule", "technique", "protocol")),
        *(text(getattr(alert, name)) for name in ("src", "dst", "kind", "point")),
        *(text(getattr(alert, name)) for name in ("summary", "expected", "observed")),
        real(alert.p_value),
        integer(alert.count),
        listing(alert.frames),
        listing({str(name): float(weight) for name, weight in alert.readings.items()}),
        listing(alert.scope),
        text(alert.event),
    )


def alert_from(row: Sequence[Any]) -> Alert:
    """The alert of a row in the order of :data:`ALERT_COLUMNS`."""
    names = ALERT_COLUMNS.split(", ")
    fields = dict(zip(names, row, strict=True))
    fields |= {name: json.loads(fields[name]) for name in ("frames", "readings", "scope")}
    return Alert(**fields | {"level": LEVELS[fields["level"]]})


def incident_row(incident: Incident) -> Row:
    """Row of table incidents in the order of :data:`INCIDENT_COLUMNS`."""
    return (
        text(incident.id),
        real(incident.start),
        real(incident.end),
        max(0, level_rank(incident.level)),
        text(incident.reading),
        text(incident.summary),
        listing(incident.hosts),
        listing(incident.protocols),
        listing(incident.alerts),
    )


def incident_from(row: Sequence[Any]) -> Incident:
    """The incident of a row in the order of :data:`INCIDENT_COLUMNS`."""
    ident, start, end, level, reading, summary, hosts, protocols, alerts = row
    lists = (json.loads(part) for part in (hosts, protocols, alerts))
    return Incident(ident, start, end, LEVELS[level], reading, summary, *lists)


def event_row(event: Event) -> Row:
    """Row of table events in the order of :data:`EVENT_COLUMNS`."""
    return (
        *(text(part) for part in (event.id, event.what)),
        real(event.start),
        real(event.end),
        text(event.summary),
        listing(event.hosts),
        listing(event.protocols),
        max(0, level_rank(event.level)),
        listing(event.explained),
    )


def event_from(row: Sequence[Any]) -> Event:
    """The event of a row in the order of :data:`EVENT_COLUMNS`."""
    ident, what, start, end, summary, hosts, protocols, level, explained = row
    lists = (json.loads(hosts), json.loads(protocols))
    return Event(ident, what, start, end, summary, *lists, LEVELS[level], json.loads(explained))


def asset_row(asset: AssetRow) -> Row:
    """Row of table assets in the order of :data:`ASSET_COLUMNS`."""
    first_ip = asset["ip"][0] if asset["ip"] else ""
    return (
        text(f"{asset['mac']} {first_ip}".strip()),
        text(asset["mac"]),
        listing(asset["ip"]),
        text(asset["vendor"]),
        listing(asset["roles"]),
        listing(asset["protocols"]),
        real(asset["first"]),
        real(asset["last"]),
    )


def asset_from(row: Sequence[Any]) -> AssetRow:
    """The asset of a row in the order of :data:`ASSET_COLUMNS`."""
    _, mac, ip, vendor, roles, protocols, first, last = row
    return AssetRow(
        mac=mac,
        ip=json.loads(ip),
        vendor=vendor,
        roles=json.loads(roles),
        protocols=json.loads(protocols),
        first=first,
        last=last,
    )


def series_row(series: Series | PointSeries) -> Row:
    """Row of table series without its id: name, protocol, conversation, point, unit, low, high."""
    if isinstance(series, PointSeries):
        head = (POINT_VALUES, text(series.protocol), text(series.conversation), text(series.point), "")
        return (*head, real(series.low), real(series.high))
    names = (text(part) for part in (series.name, series.protocol, series.conversation))
    return (*names, "", text(series.unit), None, None)


def sample_rows(ident: int, series: Series | PointSeries) -> Iterator[Row]:
    """Rows of table samples; a sample without a time is left out."""
    for ts, value in zip(series.ts.tolist(), series.values.tolist(), strict=True):
        if not math.isnan(ts):
            yield ident, ts, real(value)
