"""Rows of the outbox to records: the JSON of the command line plus site, sensor and change."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from sensor.result import LEVELS
from sensor.sinks.base import Record
from sensor.store.lanes import Lane
from sensor.store.rows import ALERT_COLUMNS, INCIDENT_COLUMNS

ALERT_NAMES: Final = tuple(ALERT_COLUMNS.split(", "))
INCIDENT_NAMES: Final = tuple(INCIDENT_COLUMNS.split(", "))
LISTS: Final = {"frames", "readings", "hosts", "protocols", "alerts"}
"""Columns that hold JSON text."""


def record_of(lane: Lane, row: Sequence[Any], site: str, sensor: str) -> Record:
    """The record of a row with the columns of its lane."""
    head = {"site": site, "sensor": sensor}
    if lane.table == "samples":
        return _sample(lane, row, head)
    names = ALERT_NAMES if lane.table == "alerts" else INCIDENT_NAMES
    kind = "alert" if lane.table == "alerts" else "incident"
    change, levels_had, stamp = row[:3]
    fields = {
        name: json.loads(value) if name in LISTS else finite(value)
        for name, value in zip(names, row[3:], strict=True)
    }
    level = min(max(int(fields["level"]), 0), len(LEVELS) - 1)
    data = {"record": kind} | head | {"change": change} | fields | {"level": LEVELS[level]}
    return Record(kind, change, str(fields["id"]), stamp, level, data, levels_had)


def _sample(lane: Lane, row: Sequence[Any], head: dict[str, Any]) -> Record:
    change, ts, value, name, protocol, conversation, point, unit, low, high = row
    kind = "level" if lane.name == "levels" else "sample"
    data = {"record": kind} | head
    data |= {
        "change": change,
        "ts": finite(ts),
        "value": finite(value),
        "name": name,
        "protocol": protocol,
        "conversation": conversation,
        "unit": unit,
    }
    if point:
        data |= {"point": point, "low": finite(low), "high": finite(high)}
    ident = "|".join((name, protocol, conversation, point, unit, repr(ts)))
    return Record(kind, change, ident, ts, 0, data)


def finite(value: Any) -> Any:
    """The value, None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(record: Record) -> str:
    """A record as one line of JSON: ASCII, so that no text from the wire breaks a line or a terminal."""
    return json.dumps(record.data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
