"""What findings about news share: how loud a kind of news is, its words, its technique.

News is anything a baseline does not list. Some of it belongs to a protocol's ordinary life (a keep-alive
after a quiet hour, the opening and closing of a connection, an interrogation after a reconnect) and is
kept at ``info``: it never was a question whether it would come, only when.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level
from detectors.groups import Lens
from detectors.rules.common import message_finding
from grid_profiles.vocabulary import Flag, KindClass, Role

NAME: Final = "allowlist"
TELL_TIME: Final = frozenset({"ntp"})
"""Protocols whose values are times."""

HOLD: Final = 60.0
"""Seconds for which news of one sort goes on as one alert."""

MATURE: Final = 0.002
"""A conversation is mature when less than this share of its messages is expected to bring news."""

TECHNIQUES: Final = {
    KindClass.CONTROL: "T0855",
    KindClass.SETPOINT: "T0836",
    KindClass.CONFIG: "T0836",
    KindClass.PROGRAM: "T0843",
    KindClass.RESTART: "T0816",
    KindClass.FILE: "T0867",
    KindClass.TIME: "T0849",
}
"""ATT&CK for ICS technique of a dangerous message, by its class."""

LIFE: Final = {
    "tcp": frozenset({1, 2, 3, 4, 5}),  # opening, end, reset (RFC 9293)
    "iec104": frozenset({256, 513, 514, 528, 544, 70, 100}),  # S, STARTDT, TESTFR; M_EI, C_IC on reconnect
}
"""Kinds that every implementation sends sooner or later (IEC 60870-5-104, clause 5; -5-5, clause 6)."""

INTERROGATED: Final = frozenset(range(20, 42))
"""IEC-104 causes of answers to an interrogation."""


def ordinary(lens: Lens, protocol: str, rows: npt.NDArray[Any]) -> bool:
    """Is this kind part of the protocol's ordinary life in a conversation that is known?"""
    first = rows[0]
    if bool(np.any(rows["flags"] & np.uint32(Flag.NEGATIVE | Flag.MALFORMED | Flag.TEST))):
        return False
    kind, cause = int(first["kind"]), int(first["cause"])
    if kind in LIFE.get(protocol, ()):
        return True
    report = lens.kind_class(int(first["proto"]), kind) == KindClass.REPORT
    return protocol == "iec104" and report and int(first["role"]) == Role.SERVER and cause in INTERROGATED


def sender(lens: Lens, rows: npt.NDArray[Any]) -> str:
    """Who sent these messages."""
    return lens.names.endpoint(int(rows["src"][0]))


def object_text(lens: Lens, row: Any) -> str:
    """The object a message addresses, "" none."""
    point = int(row["point"])
    return lens.names.point(int(row["proto"]), point) if point >= 0 else ""


def observed(lens: Lens, rows: npt.NDArray[Any], kind: str) -> str:
    """Kind, object and value of the first message; a time, which is another in each, is left out."""
    value, proto = float(rows[0]["value"]), int(rows[0]["proto"])
    text = f"{kind} {object_text(lens, rows[0])}".strip()
    timed = lens.kind_class(proto, int(rows[0]["kind"])) == KindClass.TIME
    timed |= lens.names.protocol(proto) in TELL_TIME
    return text if timed or np.isnan(value) else f"{text} = {value:g}"


def technique(lens: Lens, proto: int, kind: int) -> str:
    """ATT&CK for ICS id of a dangerous kind, "" none."""
    found = lens.kind_class(proto, kind)
    return TECHNIQUES.get(KindClass(found), "") if found else ""


def news_finding(
    rule: str,
    level: Level,
    rows: npt.NDArray[Any],
    summary: str,
    *,
    expected: str,
    observed: str,
    scores: dict[str, float],
    technique: str = "",
    group: str = "",
    pair: bool = False,
    item: str = "",
) -> Finding:
    """A finding of the allow-lists; the first row decides who and when."""
    made = message_finding(NAME, rule, level, rows, summary, expected, observed, scores, technique, group)
    made.hold, made.pair, made.item = HOLD, pair, item
    return made
