"""What detectors take and give: slices of traffic in, findings out.

A :class:`Slice` is all messages of one stretch of *capture time* (default one second), cut at
multiples of its length, so that whatever batches the capture arrived in, detectors see the same
slices and say the same things. Detectors keep bounded state and do no I/O.

Identifiers in the arrays (``src``, ``conv``, ``name`` …) are valid for one run only; text comes from
:class:`Names`, and only text goes into a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt


class Level(IntEnum):
    """How loud an alert is. ``INFO`` is kept in the store and never fails a run."""

    INFO = 0
    NOTICE = 1
    WARNING = 2
    ALARM = 3


class Reading(StrEnum):
    """What an alert most likely is, so that the right team is called first."""

    FAULT = "fault"
    OPERATION = "operation"
    ATTACK = "attack"
    VISIBILITY = "visibility"  # the sensor saw less than the wire carried


READINGS: Final = {reading.value: reading for reading in Reading}


def likeliest(scores: Mapping[str, float]) -> Reading:
    """The reading of the largest weight, of equal ones the first."""
    return READINGS[max(scores, key=scores.__getitem__)]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation in words (see docs/messages.md)."""

    protocol: str
    client: str
    server: str
    port: int
    sub: str
    vlan: int = 0

    @property
    def key(self) -> tuple[str, str, str, int, str, int]:
        """Identity across runs; what baselines store."""
        return (self.protocol, self.client, self.server, self.port, self.sub, self.vlan)


class Names(Protocol):
    """Resolves the run's identifiers to text. Implemented by ``sensor.names.Names``."""

    def endpoint(self, ident: int) -> str: ...
    def text(self, ident: int) -> str: ...
    def conversation(self, ident: int) -> Conversation: ...
    def protocol(self, ident: int) -> str: ...
    def protocol_id(self, name: str) -> int: ...
    def point(self, proto: int, point: int) -> str: ...
    def kind(self, proto: int, kind: int) -> str: ...
    def kind_class(self, proto: int, kind: int) -> str: ...


@dataclass(slots=True)
class Slice:
    """Messages and points of one stretch of capture time.

    Attributes
    ----------
    start, end : int
        ns since 1970 UTC; ``end`` is exclusive. A row whose clock ran backwards belongs to the slice
        that was open when it arrived, so ``ts`` may lie before ``start``.
    messages : ndarray of MESSAGE
    points : ndarray of POINT
        ``points["message"]`` indexes ``messages`` of this slice.
    packets : int
        Frames seen in this stretch, decoded or not.
    lost : int
        Frames known to be lost in this stretch, or told in it first (kernel drops, what a capture file says
        about itself). 0 in a file that does not say. Missing bytes of a TCP stream are no part of it: they
        are flagged on the message behind them.
    cache : dict
        What several detectors need to know of the slice and one of them has computed.
    columns, point_columns : dict
        What :meth:`column` and :meth:`point_column` have taken out.
    """

    start: int
    end: int
    messages: npt.NDArray[Any]
    points: npt.NDArray[Any]
    packets: int = 0
    lost: int = 0
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    columns: dict[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)
    point_columns: dict[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of the messages, aligned and of one piece, taken out once for all who ask; for reading.

        A field of packed records is copied by each operation on it.
        """
        taken = self.columns.get(name)
        if taken is None:
            taken = self.columns[name] = np.ascontiguousarray(self.messages[name])
        return taken

    def point_column(self, name: str) -> npt.NDArray[Any]:
        """The same of the points."""
        taken = self.point_columns.get(name)
        if taken is None:
            taken = self.point_columns[name] = np.ascontiguousarray(self.points[name])
        return taken


@dataclass(slots=True)
class Finding:
    """Something one detector saw once.

    Attributes
    ----------
    ts : int
        ns since 1970 UTC of the deciding frame.
    detector, rule : str
        Who says so, and which of its statements: ``allowlist`` / ``new-conversation``. Rule ids are
        stable; docs/rules.md lists them all.
    level, reading : Level, Reading
    conv : int
        Conversation id, -1 when the finding is about no single conversation.
    src, dst : int
        Endpoint ids, -1 unknown.
    kind, proto : int
        -1 when it is not about one kind of message.
    point : int
        -1 when it is about no point.
    summary : str
        One sentence in the trade's words, with the actual names and numbers.
    expected, observed : str
        Short: what the baseline or the standard says, and what came.
    p_value : float
        NaN for a rule.
    technique : str
        ATT&CK for ICS id or "".
    frames : list of int
        Frame numbers that show it, the deciding one first; at most 20 are kept.
    group : str
        Findings with equal (rule, conv, group) fold into one alert.
    scores : dict
        Weights of the three readings, e.g. ``{"attack": 0.7, "operation": 0.3}``.
    hold : float
        Seconds for which what it says goes on: a finding of the same group within them extends the alert.
    pair : bool
        Fold over all conversations of the same protocol between the same two hosts (units, ports, streams).
    item : str
        What this finding adds to its alert's list: a unit, a port, an object; "" nothing.
    count : int
        Messages of which the same was to be said, one after another.
    until : int
        ns since 1970 UTC of the last of them; 0 when there is one.
    event : str
        Id of the event that explains it, "" none.
    """

    ts: int
    detector: str
    rule: str
    level: Level
    reading: Reading
    proto: int
    conv: int
    src: int
    dst: int
    summary: str
    kind: int = -1
    point: int = -1
    expected: str = ""
    observed: str = ""
    p_value: float = float("nan")
    technique: str = ""
    frames: list[int] = field(default_factory=list)
    group: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    hold: float = 0.0
    pair: bool = False
    item: str = ""
    count: int = 1
    until: int = 0
    event: str = ""


@dataclass(slots=True)
class Alert:
    """De-duplicated findings, in text, ready for the store, a SOC and the JSON output.

    Field names are the JSON keys of ``gridwarden detect --json``; ``start`` and ``end`` are epoch
    seconds. ``frames`` holds at most 20 frame numbers. ``p_value`` is None for rules. ``scope`` says what
    ``gridwarden accept`` would accept: ``conv``, ``pair``, ``group``, ``items``, ``observed``. ``event`` is
    the id of the event that explains it, "" when none does.
    """

    id: str
    start: float
    end: float
    level: str
    reading: str
    detector: str
    rule: str
    technique: str
    protocol: str
    src: str
    dst: str
    kind: str
    point: str
    summary: str
    expected: str
    observed: str
    p_value: float | None
    count: int
    frames: list[int]
    incident: str = ""
    readings: dict[str, float] = field(default_factory=dict)
    scope: dict[str, Any] = field(default_factory=dict)
    event: str = ""


@dataclass(slots=True)
class Event:
    """A disturbance of a known kind: what happens in a sound station now and then, and is no alert.

    ``what`` is a key of ``detectors.events.EXPLAINS``; ``start`` and ``end`` are epoch seconds;
    ``explained`` counts the findings that it explains, by rule. ``level`` is always ``info``.
    """

    id: str
    what: str
    start: float
    end: float
    summary: str
    hosts: list[str]
    protocols: list[str]
    level: str = "info"
    explained: dict[str, int] = field(default_factory=dict)


def blank_alert(rule: str) -> Alert:
    """An alert of which nothing but its rule is known; times are NaN."""
    return Alert(
        id="",
        start=math.nan,
        end=math.nan,
        level="",
        reading="",
        detector="",
        rule=rule,
        technique="",
        protocol="",
        src="",
        dst="",
        kind="",
        point="",
        summary="",
        expected="",
        observed="",
        p_value=None,
        count=0,
        frames=[],
    )


@dataclass(slots=True)
class Incident:
    """Alerts that belong together: near in time and sharing a host."""

    id: str
    start: float
    end: float
    level: str
    reading: str
    summary: str
    hosts: list[str]
    protocols: list[str]
    alerts: list[str]
