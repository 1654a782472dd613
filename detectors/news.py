"""What findings about news share: how loud a kind of news is, its words, its technique.

News is anything a baseline does not list. Some of it belongs to a protocol's ordinary life (a keep-alive
after a quiet hour, the opening and closing of a connection, an interrogation after a reconnect) and is
kept at ``info``: it never was a question whether it would come, only when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level
from detectors.groups import SECOND, Lens
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
    "tcp": frozenset({1, 2, 3, 4, 5, 7}),  # opening, end, reset (RFC 9293); what the sensor did not capture
    "iec104": frozenset({256, 513, 514, 528, 544, 70, 100}),  # S, STARTDT, TESTFR; M_EI, C_IC on reconnect
    "goose": frozenset({1, 2}),  # a change of state and its repetitions, in their legal order (goose_state)
    "c37118": frozenset({1, 2, 3, 5, 1026, 1027, 1028, 1029, 1030}),  # data on; header and configuration
    "cotp": frozenset({8, 12, 13, 14}),  # connection and its end
    "mms": frozenset({2048, 2304, 2816, 3072}),  # initiate, conclude
    "s7comm": frozenset({496, 1008}),  # set up communication
    "enip": frozenset({101, 102}),  # a session registered and ended
    "dnp3": frozenset({0, 23, 512, 523, 537}),  # confirm, delay measured; link acknowledge and status
    "mqtt": frozenset({1, 2, 12, 13, 14}),  # connect, ping, disconnect
    "opcua": frozenset({1, 2, 446, 449, 452, 455, 461, 464, 467, 470, 473, 476}),  # channel and session
}
"""Kinds that every implementation sends sooner or later (IEC 60870-5-104, clause 5; -5-5, clause 6; IEC
61850-8-1, 18.1.2.5; ISO 8073; ISO 9506-2, clause 8; IEEE 1815; IEEE C37.118.2, clause 6; OASIS MQTT, 3; IEC
62541-4).
A session that learning met in its midst must have been opened, and will be again."""

SWEEP: Final = 4
SWEEP_TIME: Final = 60 * SECOND
"""So many new targets of commands within this time (ns) are a sweep."""

MAX_SWEPT: Final = 65_536

INTERROGATED: Final = frozenset(range(20, 42))
"""IEC-104 causes of answers to an interrogation."""


SPONTANEOUS: Final = 3
STATE_REPORTS: Final = frozenset({1, 2, 3, 4, 17, 18, 19, 30, 31, 38, 39, 40})
"""IEC-104 single and double points and events of protection: a station tells them when something happens,
which may be next year."""

Sender = TypeVar("Sender")
Target = TypeVar("Target")


@dataclass(slots=True)
class Sweeps(Generic[Sender, Target]):
    """Counts the new targets of each sender within :data:`SWEEP_TIME`; bounded."""

    _recent: dict[Sender, dict[Target, int]] = field(default_factory=dict)

    def add(self, sender: Sender, target: Target, ts: int) -> bool:
        """Take a new target at ``ts`` (ns); is it a sweep?"""
        if sender not in self._recent and len(self._recent) >= MAX_SWEPT:
            self._recent.clear()
        recent = self._recent.setdefault(sender, {})
        for old in [t for t, seen in recent.items() if ts - seen > SWEEP_TIME]:
            del recent[old]
        if len(recent) < SWEEP:
            recent[target] = ts
        return len(recent) >= SWEEP


def ordinary(lens: Lens, protocol: str, rows: npt.NDArray[Any]) -> bool:
    """Is this kind part of the protocol's ordinary life in a conversation that is known?"""
    first = rows[0]
    if bool(np.any(rows["flags"] & np.uint32(Flag.NEGATIVE | Flag.MALFORMED | Flag.TEST))):
        return False
    kind, cause = int(first["kind"]), int(first["cause"])
    if kind in LIFE.get(protocol, ()):
        return True
    report = lens.kind_class(int(first["proto"]), kind) == KindClass.REPORT
    if protocol != "iec104" or not report or int(first["role"]) != Role.SERVER:
        return False
    return cause in INTERROGATED or (cause == SPONTANEOUS and kind in STATE_REPORTS)


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
