"""Events: disturbances that a sound station knows, and the findings that they explain.

A breaker trips and its IED repeats the new state in a burst; a link is lost, comes back, and the master
starts the transfer and interrogates; another master takes over; the mirror port stands still. Such an event
is recognised from the messages (``disturbances.py``), stands in a record of its own, and explains findings
that are nothing but its effects: they are kept at ``info`` under the event, with its reading.

What explains what is a table (:data:`EXPLAINS`), and the borders are narrow:

- only findings of the listed rules, up to the listed level, about the very conversations of the event, in
  its time; a storm (more than ten times the limit) is never one of them;
- never a command, a stranger, a second source, a breach of a protocol's own order;
- an event whose conversations are attacked while it lasts (a warning or worse that reads as an attack, from
  either of its hosts) explains nothing from then on, and says so;
- a pair of hosts has at most :data:`PER_HOUR` events of one sort an hour that explain: who reconnects all day
  is not having a disturbance.

Findings made before an event is recognised (the silence before the reconnect) were told already and stay as
they are; the event says how long the silence was.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from detectors.acceptance import link_of
from detectors.base import Event, Finding, Level, Reading
from detectors.groups import SECOND, ConvKey, Lens, is_group_address

BEHAVIOUR: Final = "behaviour"
"""The detector, whose rules are called by its model."""

MAX_OPEN: Final = 256
"""Events that go on at once; the oldest ends early when there are more."""

MAX_EVENTS: Final = 10_000
"""Events of one day of capture time that are kept."""

PER_HOUR: Final = 6
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR

Pair = tuple[str, str, str]
"""Protocol and the two hosts (client, server; publisher, destination)."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of event: its words, its reading, and the rules that it explains up to which level."""

    title: str
    reading: Reading
    rules: dict[str, Level]


_MISSING: Final = {
    "silence": Level.WARNING,
    BEHAVIOUR: Level.WARNING,
    "goose-expired": Level.WARNING,
    "goose-gap": Level.WARNING,
    "sv-gap": Level.WARNING,
    "modbus-unpaired": Level.NOTICE,
    "iec104-gap": Level.WARNING,
    "iec104-late-ack": Level.WARNING,
    "iec104-test-unanswered": Level.NOTICE,
    "iec104-no-test": Level.NOTICE,
    "response-missing": Level.NOTICE,
}

EXPLAINS: Final[dict[str, Sort]] = {
    "reconnect": Sort(
        "connection opened again",
        Reading.FAULT,
        {
            "rate": Level.NOTICE,
            "early": Level.NOTICE,
            BEHAVIOUR: Level.WARNING,
            "iec104-no-test": Level.NOTICE,
            "response-slow": Level.NOTICE,
            "response-missing": Level.NOTICE,
            "new-kind": Level.INFO,
        },
    ),
    "interrogation": Sort(
        "general interrogation",
        Reading.OPERATION,
        {
            "rate": Level.NOTICE,
            "early": Level.NOTICE,
            "response-slow": Level.NOTICE,
            BEHAVIOUR: Level.WARNING,
            "new-kind": Level.INFO,
            "new-point": Level.NOTICE,
        },
    ),
    "state-change": Sort(
        "change of state",
        Reading.FAULT,
        {"rate": Level.NOTICE, "early": Level.NOTICE, BEHAVIOUR: Level.WARNING, "new-kind": Level.INFO},
    ),
    "control": Sort(
        "control by a known client",
        Reading.OPERATION,
        {"rate": Level.NOTICE, "early": Level.NOTICE, "response-slow": Level.NOTICE},
    ),
    "file-transfer": Sort(
        "disturbance record read",
        Reading.OPERATION,
        {
            "rate": Level.NOTICE,
            "early": Level.NOTICE,
            "response-slow": Level.NOTICE,
            BEHAVIOUR: Level.WARNING,
        },
    ),
    "grid-fault": Sort(
        "short circuit or voltage dip",
        Reading.FAULT,
        {
            "out-of-range": Level.WARNING,
            "value-jump": Level.WARNING,
            "value-departs": Level.WARNING,
            BEHAVIOUR: Level.WARNING,
        },
    ),
    "switch-over": Sort(
        "other master",
        Reading.OPERATION,
        {
            "silence": Level.WARNING,
            "rate": Level.NOTICE,
            "early": Level.NOTICE,
            BEHAVIOUR: Level.WARNING,
            "new-kind": Level.INFO,
        },
    ),
    "lost-frame": Sort(
        "single frame missing", Reading.VISIBILITY, {BEHAVIOUR: Level.NOTICE, "goose-gap": Level.NOTICE}
    ),
    "standby": Sort("connection held in reserve", Reading.OPERATION, {"silence": Level.NOTICE}),
    "pause": Sort("nothing was captured", Reading.VISIBILITY, _MISSING),
}
"""Every sort of event by ``Event.what``; docs/detection.md has the same table in words."""


@dataclass(slots=True)
class Open:
    """An event that goes on."""

    what: str
    since: int  # ns; findings from here on may be explained
    until: int  # ns
    start: int  # ns; of the disturbance, which may lie before what is recognised
    summary: str
    pairs: set[Pair]
    """Conversations it is about; empty for all."""

    spoilt: str = ""
    recorded: bool = True
    explained: dict[str, int] = field(default_factory=dict)
    ident: str = ""


class Events:
    """Keeps events, and lowers the findings that they explain.

    Attributes
    ----------
    dropped : int
        Events for which there was no room.
    """

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.dropped = 0
        self._given, self._day = 0, 0
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._ended: list[Event] = []
        self._begun: OrderedDict[tuple[str, Pair], deque[int]] = OrderedDict()

    def begin(self, event: Open) -> Open:
        """An event was recognised; one of the same sort and conversations that goes on is prolonged."""
        for other in self._open.values():
            if other.what == event.what and other.pairs & event.pairs and event.since <= other.until:
                other.until = max(other.until, event.until)
                other.pairs |= event.pairs
                other.summary = event.summary
                other.recorded |= event.recorded
                return other
        pair = min(event.pairs, default=("", "", ""))
        text = "\0".join([event.what, *pair, str(event.start)])
        event.ident = hashlib.sha256(f"event\0{text}".encode()).hexdigest()[:12]
        if self._often(event, pair):
            event.spoilt = f"more than {PER_HOUR} of them within an hour: nothing is explained by it"
        self._open[event.ident] = event
        if len(self._open) > MAX_OPEN:
            self._end(next(iter(self._open)))
        return event

    def _often(self, event: Open, pair: Pair) -> bool:
        if event.what == "pause":
            return False
        key = (event.what, pair)
        times = self._begun.setdefault(key, deque(maxlen=PER_HOUR + 1))
        self._begun.move_to_end(key)
        if len(self._begun) > 8 * MAX_OPEN:
            self._begun.popitem(last=False)
        times.append(event.since)
        return len(times) > PER_HOUR and times[-1] - times[0] < HOUR

    def weigh(self, findings: list[Finding]) -> list[Finding]:
        """Lower what events explain, in place; returns the findings."""
        if not self._open:
            return findings
        for finding in findings:
            if finding.level >= Level.WARNING and finding.reading == Reading.ATTACK:
                self._spoil(finding)
        for finding in findings:
            self._explain(finding)
        return findings

    def tick(self, clock: int) -> None:
        """End the events that are over at ``clock`` (ns)."""
        for ident in [ident for ident, event in self._open.items() if event.until < clock]:
            self._end(ident)

    def close(self) -> None:
        """End all of them."""
        for ident in list(self._open):
            self._end(ident)

    def ended(self) -> list[Event]:
        """Events that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _end(self, ident: str) -> None:
        event = self._open.pop(ident)
        if not event.recorded and not event.explained:
            return
        if event.start // DAY != self._day:
            self._given, self._day = 0, event.start // DAY
        if self._given >= MAX_EVENTS:
            self.dropped += 1
            return
        self._given += 1
        self._ended.append(
            Event(
                id=event.ident,
                what=event.what,
                start=event.start / SECOND,
                end=event.until / SECOND,
                summary="; ".join(part for part in (event.summary, event.spoilt) if part),
                hosts=sorted(
                    {host for pair in event.pairs for host in pair[1:] if host and not is_group_address(host)}
                ),
                protocols=sorted({pair[0] for pair in event.pairs}),
                explained=dict(sorted(event.explained.items())),
            )
        )

    def _spoil(self, finding: Finding) -> None:
        """An attack on the hosts of an event: nothing is explained by it any more."""
        link = link_of(finding, self.lens)
        hosts = {self.lens.names.endpoint(ident) for ident in (finding.src, finding.dst) if ident >= 0}
        hosts |= {host for host in link[1:3] if host}
        for event in self._open.values():
            if event.spoilt or event.what == "pause" or _explains(event.what, finding):
                continue
            mine = {host for pair in event.pairs for host in pair[1:]}
            if finding.ts >= event.start and hosts & mine:
                event.spoilt = f"{finding.rule} meanwhile: nothing is explained by it from then on"

    def _explain(self, finding: Finding) -> None:
        explaining = {what for what in EXPLAINS if _explains(what, finding)}
        for event in self._open.values() if explaining else ():
            sort = EXPLAINS[event.what]
            if event.spoilt or event.what not in explaining:
                continue
            if not event.since <= finding.ts <= event.until or not self._about(event, finding):
                continue
            finding.level, finding.event, finding.technique = Level.INFO, event.ident, ""
            finding.reading = sort.reading
            finding.scores = {sort.reading.value: 1.0}
            event.explained[finding.rule] = event.explained.get(finding.rule, 0) + finding.count
            return

    def _about(self, event: Open, finding: Finding) -> bool:
        link: ConvKey = link_of(finding, self.lens)
        if finding.rule == "new-point" and self.lens.names.endpoint(finding.src) != link[2]:
            return False  # what a station tells when it is interrogated; not what a master asks for
        return not event.pairs or link[:3] in event.pairs


def _explains(what: str, finding: Finding) -> bool:
    """Is it of a rule, and of a level, that this sort of event explains?"""
    rule = BEHAVIOUR if finding.detector == BEHAVIOUR else finding.rule
    most = EXPLAINS[what].rules.get(rule)
    return most is not None and finding.level <= most
