"""Records as InfluxDB line protocol: few measurements, bounded tags, numbers as fields, text only in alerts.

Every text may come from the wire. Tag values lose control characters and backslashes (the protocol cannot
escape a backslash before a separator), and are cut; field strings are quoted and escaped.

A point is identified by measurement, tags and time. So the time of an alert's point is its start when it was
first written, plus up to a millisecond taken from its id, and a nanosecond more where another alert has that
time already: alerts that begin together stay apart, and an alert that is sent again or changed overwrites
its own point. When its level rises, the point under the old level is overwritten with ``current=false``.

References
----------
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator
from typing import Any, Final

from sensor.result import LEVELS
from sensor.sinks.base import Record

MAX_TAG: Final = 200
"""Characters of a tag value."""

MAX_TEXT: Final = 1_000
"""Characters of a text field."""

OTHER: Final = "other"
"""Conversation of alerts beyond the bound on labels; the hosts still stand in their fields."""

SPREAD: Final = 1_000_000
"""Nanoseconds over which alerts that begin together are spread."""

TEXT_FIELDS: Final = (
    *("id", "rule", "reading", "technique", "src", "dst", "kind", "point"),
    "summary",
    "expected",
    "observed",
    "incident",
)
UNIT_SUFFIX: Final = {
    "": "",
    "1": "",
    "ms": "_ms",
    "s": "_s",
    "1/s": "_per_s",
    "1/window": "_per_window",
    "%": "_percent",
    "bytes": "_bytes",
    "MiB": "_mib",
}


def conversation_of(record: Record) -> str:
    """Label that would become a tag: of a sample its conversation, of an alert its two hosts."""
    data = record.data
    if record.kind == "alert":
        return " → ".join(part for part in (data["src"], data["dst"]) if part)
    return str(data.get("conversation", "")) if record.kind in ("level", "sample") else ""


def label_of(record: Record) -> str:
    """What counts against the bound on series: the conversation, and the point with it."""
    point = record.data.get("point", "") if record.kind in ("level", "sample") else ""
    conversation = conversation_of(record)
    return f"{conversation}|{point}" if point else conversation


def lines_of(record: Record, admitted: Collection[str], at: int) -> Iterator[str]:
    """Lines of one record; none for a sample without a value or beyond the bound on labels.

    Parameters
    ----------
    record : Record
    admitted : collection of str
        Labels that may be tag values.
    at : int
        Time of the point of an alert or incident, ns; see :func:`moment_of`.
    """
    label = label_of(record)
    known = not label or label in admitted
    if record.kind in ("level", "sample"):
        if known and record.data["value"] is not None:
            yield _sample(record)
    elif record.kind == "alert":
        yield from _alert(record, conversation_of(record) if known else OTHER, at)
    elif record.kind == "incident":
        yield from _incident(record, at)
    else:
        tags = _tags(record.data["site"], record.data["sensor"])
        yield f"gridwarden_test{tags} ok=true {nanoseconds(record.ts)}"


def _sample(record: Record) -> str:
    data = record.data
    name, label = str(data["name"]), str(data["conversation"])
    extra: dict[str, str] = {"protocol": data["protocol"]}
    fields = {}
    if "point" in data:
        measurement, key = "point_value", "value"
        extra |= {"conversation": label, "point": data["point"]}
        fields = {"low": data["low"], "high": data["high"]}
    elif name.startswith("health."):
        measurement, key = "sensor_health", name.removeprefix("health.")
        extra["part"] = label
    elif name.startswith("asset."):
        measurement, key = "early_warning", name.removeprefix("asset.")
        extra["asset"] = label
    else:
        measurement = "early_warning" if record.kind == "level" else "traffic"
        key = name
        extra["conversation"] = label
    suffix = UNIT_SUFFIX.get(str(data["unit"]), "_" + str(data["unit"]))
    key = (key if key.endswith(suffix) else key + suffix).replace(".", "_")
    fields = {key: data["value"]} | fields
    tags = _tags(data["site"], data["sensor"], **extra)
    return f"{measurement}{tags} {_fields(fields)} {nanoseconds(record.ts)}"


def _alert(record: Record, conversation: str, at: int) -> Iterator[str]:
    data = record.data
    fields: dict[str, Any] = {name: str(data[name]) for name in TEXT_FIELDS}
    fields |= {
        "current": True,
        "count": int(data["count"]),
        "p_value": data["p_value"],
        "duration_s": max(0.0, float(data["end"]) - float(data["start"])),
    }
    shared = {"conversation": conversation, "detector": data["detector"], "protocol": data["protocol"]}
    yield f"alert{_tags(data['site'], data['sensor'], level=data['level'], **shared)} {_fields(fields)} {at}"
    for level in _left(record):
        yield f"alert{_tags(data['site'], data['sensor'], level=level, **shared)} current=false {at}"


def _incident(record: Record, at: int) -> Iterator[str]:
    data = record.data
    fields: dict[str, Any] = {name: str(data[name]) for name in ("id", "reading", "summary")}
    fields |= {name: " ".join(map(str, data[name])) for name in ("hosts", "protocols")}
    fields |= {
        "current": True,
        "alerts": len(data["alerts"]),
        "duration_s": max(0.0, float(data["end"]) - float(data["start"])),
    }
    yield f"incident{_tags(data['site'], data['sensor'], level=data['level'])} {_fields(fields)} {at}"
    for level in _left(record):
        yield f"incident{_tags(data['site'], data['sensor'], level=level)} current=false {at}"


def _left(record: Record) -> list[str]:
    """Levels that the row has had and no longer has."""
    return [n for rank, n in enumerate(LEVELS) if record.levels_had >> rank & 1 and rank != record.level]


def moment_of(record: Record) -> int:
    """The time that an alert's or incident's point should have, ns, if no other has it."""
    offset = int.from_bytes(hashlib.sha256(record.ident.encode()).digest()[:8], "big") % SPREAD
    return nanoseconds(record.ts) + offset


def nanoseconds(ts: float) -> int:
    """Epoch seconds to the nearest nanosecond, within what the protocol holds (years 1678 to 2261)."""
    if not math.isfinite(ts):
        return 0
    return max(-9_223_372_036_854_775_806, min(9_223_372_036_854_775_806 - 2 * SPREAD, round(ts * 1e9)))


def _tags(site: str, sensor: str, **extra: str) -> str:
    """Tags in the order of their names, as the server prefers them; empty ones are left out."""
    tags = {"site": site, "sensor": sensor} | extra
    return "".join(f",{name}={_tag(value)}" for name, value in sorted(tags.items()) if value)


def _plain(text: str, most: int) -> str:
    """Without control, format (bidi) and unassigned characters; cut."""
    if text.isprintable() and len(text) <= most:
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:most])


def _tag(value: object) -> str:
    text = _plain(str(value), MAX_TAG).replace("\\", "/")
    return text.replace(",", "\\,").replace(" ", "\\ ").replace("=", "\\=")


def _key(name: str) -> str:
    """A field key: only letters, digits, dot and underscore, whatever a series is called; not ``time``."""
    key = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "_" for c in name[:100])
    return f"{key}_" if key in ("", "time", "_time") else key


def _fields(fields: dict[str, Any]) -> str:
    return ",".join(f"{_key(name)}={_field(value)}" for name, value in fields.items() if _present(value))


def _present(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{max(-(1 << 63), min((1 << 63) - 1, value))}i"
    if isinstance(value, float):
        return repr(value)
    text = _plain(str(value), MAX_TEXT).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
