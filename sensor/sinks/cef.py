"""Alerts and incidents as ArcSight CEF (version 0), for SIEMs.

Header fields escape backslash and pipe, extension values escape backslash, equals sign and line breaks; every
other control character becomes a space. What has no key in CEF's dictionary stands in ``cs1`` to ``cs6``
with labels.

References
----------
ArcSight Common Event Format implementation standard, revision 27.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from sensor import __version__
from sensor.sinks.base import Record

SEVERITY: Final = (2, 4, 7, 9)
"""CEF severity (0 to 10) of info, notice, warning, alarm."""

MAX_VALUE: Final = 1_000
"""Characters of an extension value."""


def as_cef(record: Record) -> str:
    """One record as a CEF line."""
    data = record.data
    signature = str(data.get("rule") or record.kind)
    name = str(data.get("summary", "")) or record.ident
    head = ("Gridwarden", "Gridwarden", __version__, signature, name[:512], str(SEVERITY[record.level]))
    extension = " ".join(
        f"{key}={_value(value)}" for key, value in _extension(record) if value not in ("", None)
    )
    return "CEF:0|" + "|".join(_head(part) for part in head) + "|" + extension


def _extension(record: Record) -> list[tuple[str, Any]]:
    data = record.data
    pairs: list[tuple[str, Any]] = [
        ("rt", round(record.ts * 1_000)),
        ("externalId", data.get("id", record.ident)),
        ("dvchost", data["sensor"]),
        ("cat", data.get("reading", "")),
    ]
    if "start" in data:
        pairs += [("start", round(data["start"] * 1_000)), ("end", round(data["end"] * 1_000))]
    if record.kind == "alert":
        pairs += [
            *_host("src", "smac", "shost", str(data["src"])),
            *_host("dst", "dmac", "dhost", str(data["dst"])),
            ("app", data["protocol"]),
            ("act", data["kind"]),
            ("cnt", data["count"]),
        ]
        custom = [("expected", "expected"), ("observed", "observed"), ("object", "point")]
        custom += [("technique", "technique"), ("incident", "incident")]
    else:
        custom = [("hosts", "hosts"), ("protocols", "protocols"), ("alerts", "alerts")]
    pairs += [("cs1Label", "site"), ("cs1", data["site"])]
    for number, (label, key) in enumerate(custom, 2):
        value = data.get(key, "")
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        if text:
            pairs += [(f"cs{number}Label", label), (f"cs{number}", text)]
    return pairs


def _host(ip_key: str, mac_key: str, name_key: str, host: str) -> list[tuple[str, str]]:
    """The key that fits: addresses in the keys for addresses, anything else as a name."""
    try:
        return [(ip_key, str(ipaddress.ip_address(host)))]
    except ValueError:
        mac = len(host) == 17 and host.count(":") == 5
        return [(mac_key if mac else name_key, host)]


def _flat(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MAX_VALUE])


def _head(text: str) -> str:
    return _flat(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(value: object) -> str:
    return _flat(str(value)).replace("\\", "\\\\").replace("=", "\\=")
