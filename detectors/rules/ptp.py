"""PTP: grandmasters (a second one, a better one, one that stopped), clock class, steps, corrections.

Standards followed: IEEE 1588-2008, clauses 9.3 (best master clock algorithm: priority 1, clock class ...),
13.5 (Announce), 7.7.3.1 (announceReceiptTimeout, 3 intervals in the power profiles), 11.4 (correction
field), and the power profiles IEC/IEEE 61850-9-3 and IEEE C37.238: clock class 6 is locked to its source, 7
and others are in holdover or worse; one grandmaster in a domain.

A change of grandmaster is what the algorithm is for; it is told quietly when learning knew the new clock. Two
that announce in turn are none of its states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import PAUSE, ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag

NAME: Final = "ptp"
SYNC, FOLLOW_UP, ANNOUNCE = 0, 8, 11
TOGETHER: Final = 10 * SECOND
"""ns within which a clock that announces again has not left; time-outs are 2 to 3 s in the profiles."""

TIMEOUT: Final = 3
MARGIN: Final = SECOND
KNOWN_INTERVAL: Final = 10
"""Announcements of a grandmaster in time from which its interval is known."""

LONGEST_INTERVAL: Final = 16 * SECOND
LOCKED, HOLDOVER = 6, 7
MOST_STEPS: Final = 254
LEARN: Final = 40
"""Messages of a clock whose correction fields say what is usual."""

JUMP: Final = 100_000.0
"""ns; well beyond what a transparent clock adds, and some 2 degrees of phase at 50 Hz."""

SPREADS: Final = 10.0

SECOND_CLOCK = Rule("ptp-second-grandmaster", Level.ALARM, {"attack": 0.75, "fault": 0.25}, "T0832")
MASTER = Rule("ptp-grandmaster", Level.WARNING, {"attack": 0.5, "operation": 0.3, "fault": 0.2}, "T0832")
GONE = Rule("ptp-announce-timeout", Level.NOTICE, {"fault": 0.6, "attack": 0.3, "visibility": 0.1}, "T0804")
CLASS = Rule("ptp-clock-class", Level.WARNING, {"fault": 0.8, "operation": 0.1, "attack": 0.1})
PRIORITY = Rule("ptp-priority", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0832")
STEPS = Rule("ptp-steps", Level.NOTICE, {"operation": 0.4, "fault": 0.3, "attack": 0.3})
CORRECTION = Rule("ptp-correction", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0832")
BROKEN = Rule("ptp-malformed", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")


@dataclass(slots=True)
class _Domain:
    """Who is grandmaster in one domain and VLAN."""

    master: int = -1
    seen: int = 0  # announcements of it since it is grandmaster
    interval: int = 0  # ns, the longest between them
    last: Any = None  # row of the last one, None: it has not spoken, or its silence was told
    heard: dict[int, int] = field(default_factory=dict)  # grandmaster to ns


@dataclass(slots=True)
class _Clock:
    """What one clock announces of its grandmaster."""

    master: int
    quality: int
    priority: int
    steps: int


@dataclass(slots=True)
class _Correction:
    """Usual correction field of one clock and kind of message."""

    seen: int = 0
    mean: float = 0.0
    spread: float = 0.0


class PtpRules(ProtocolRules):
    """Checks announcements one by one, corrections by column."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._domains, self._clocks, self._corrections = self.table(), self.table(), self.table()
        self._damaged, self._clock = self.tally(10), 0
        self._known = {point for points in self.habits.points.values() for _, point in points}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice, and grandmasters that stopped announcing before it."""
        super().detect(piece)
        if len(self._domains):
            self._timeouts(piece)
        self._clock = piece.end
        return self.found

    def _timeouts(self, piece: Slice) -> None:
        blind = piece.start - self._clock > PAUSE
        for domain in self._domains.values():
            if domain.last is None or domain.seen < KNOWN_INTERVAL or not domain.interval:
                continue
            heard, patience = int(domain.last["ts"]), TIMEOUT * domain.interval
            if blind or heard + patience + MARGIN > piece.start:
                domain.last = None if blind else domain.last
                continue
            row, domain.last = domain.last, None
            name, seconds = self.names.text(domain.master), patience / SECOND
            text = f"grandmaster {name} of domain {row['state']} announced itself no more for {seconds:.1f} s"
            interval = f"an Announce each {domain.interval / SECOND:.1f} s"
            self.say(GONE, one(row), text, interval, f"none for {seconds:.1f} s", group=str(row["state"]))
            made = self.losses.weigh(self.found[-1], heard, TIMEOUT, heard + patience)
            made.ts = heard + patience

    def check(self, rows: Rows, piece: Slice) -> None:
        """Announcements in their order, then what carries corrections."""
        bad = has(rows, Flag.MALFORMED | Flag.TRUNCATED)
        if bad.any():
            broken = rows.compress(has(rows, Flag.MALFORMED))
            self.refusals(BROKEN, self._damaged, broken, 3, "sent malformed messages to")
            rows = rows.compress(~bad)
        announced = rows.compress((rows["kind"] == ANNOUNCE) & (rows["ident"] > 0))
        for row in thinned(announced, MAX_READ)[0]:
            self._master(row)
            self._announced(row)
        timed = rows.compress(
            ((rows["kind"] == SYNC) | (rows["kind"] == FOLLOW_UP)) & np.isfinite(rows["value"])
        )
        for mine in grouped(timed, "conv", "kind"):
            self._correction(mine)

    def _master(self, row: Any) -> None:
        now, master, number = int(row["ts"]), int(row["ident"]), int(row["state"])
        key = (number, self.lens.conv(int(row["conv"]))[5])
        domain = self._domains.get(key) or self._domains.put(key, _Domain())
        before_this = domain.heard.get(master, -TOGETHER - 1)
        back = now - before_this <= TOGETHER
        domain.heard[master] = now
        if len(domain.heard) > 64:
            domain.heard = {who: ts for who, ts in domain.heard.items() if now - ts <= TOGETHER}
        if domain.master == master:
            if domain.last is not None and 0 < now - before_this <= LONGEST_INTERVAL:
                domain.interval = max(domain.interval, now - before_this)
            domain.seen, domain.last = domain.seen + 1, row
            return
        before, domain.master = domain.master, master
        domain.seen, domain.interval, domain.last = 0, 0, row
        name = self.names.text(master)
        if before < 0:
            if self.habits.learned and self._known and name not in self._known:
                text = f"{name} is grandmaster of domain {number}; learning did not know it"
                self.say(MASTER, one(row), text, "a known grandmaster", name, group=str(number))
            return
        old = self.names.text(before)
        if back:  # it was heard a moment ago, and so was the other one
            text = f"{old} and {name} both announce themselves as grandmaster of domain {number}"
            level = Level.NOTICE if name in self._known and old in self._known else None
            self.say(
                SECOND_CLOCK, one(row), text, "one grandmaster", "two in turn", group=str(number), level=level
            )
            return
        source = self.host(row["src"])
        text = f"grandmaster of domain {number} changed from {old} to {name}, announced by {source}"
        level = Level.NOTICE if name in self._known else None
        self.say(MASTER, one(row), text, old, name, group=str(number), level=level)

    def _announced(self, row: Any) -> None:
        """What a clock says of the same grandmaster as before."""
        conv = int(row["conv"])
        now = _Clock(int(row["ident"]), int(row["cause"]), int(row["aux"]), int(row["count"]))
        old = self._clocks.get(conv)
        self._clocks.put(conv, now)
        if now.steps > MOST_STEPS:
            text = f"{self.point(row)} announces {now.steps} steps from its grandmaster"
            self.say(STEPS, one(row), text, f"at most {MOST_STEPS}", str(now.steps))
        if old is None or old.master != now.master:
            return
        name = self.names.text(now.master)
        if now.quality > old.quality >= 0:
            text = f"clock class of grandmaster {name} fell from {old.quality} to {now.quality}" + (
                ": it is not locked to its source" if old.quality == LOCKED else ""
            )
            level = Level.NOTICE if now.quality == HOLDOVER else None
            self.say(
                CLASS, one(row), text, f"class {old.quality}", f"class {now.quality}", group=name, level=level
            )
        if now.priority != old.priority:
            text = f"priority 1 of grandmaster {name} changed from {old.priority} to {now.priority}"
            self.say(PRIORITY, one(row), text, str(old.priority), str(now.priority), group=name)
        if now.steps != old.steps and now.steps <= MOST_STEPS:
            text = f"{self.point(row)} is {now.steps} steps from grandmaster {name}, {old.steps} before"
            self.say(STEPS, one(row), text, str(old.steps), str(now.steps), level=Level.INFO)

    def _correction(self, rows: Rows) -> None:
        """Correction fields far from what this clock's messages had so far."""
        key = (int(rows[0]["conv"]), int(rows[0]["kind"]))
        usual = self._corrections.get(key) or self._corrections.put(key, _Correction())
        values = rows["value"].astype(np.float64)
        if usual.seen >= LEARN:
            far = np.abs(values - usual.mean) > max(JUMP, SPREADS * usual.spread)
            if far.any():
                worst = float(values[far][0])
                point = self.point(rows[0])
                text = f"correction of {point} jumped to {worst:.0f} ns; usual is {usual.mean:.0f} ns"
                expected = f"{usual.mean:.0f} ns, up to {max(JUMP, SPREADS * usual.spread):.0f} apart"
                self.say(CORRECTION, rows[far], text, expected, f"{worst:.0f} ns", group=self.kind(rows[0]))
            values = values[~far]
        if not len(values) or usual.seen >= LEARN:
            return
        if not usual.seen:
            usual.mean = float(values.mean())
        usual.spread = max(usual.spread, float(np.max(np.abs(values - usual.mean))))
        usual.seen += len(values)
        usual.mean += (float(values.mean()) - usual.mean) * len(values) / usual.seen
