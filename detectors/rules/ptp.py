"""PTP: grandmasters (a second one, a better one from nowhere), clock class, steps, jumps of the correction.

Standards followed: IEEE 1588-2008, clauses 9.3 (best master clock algorithm: priority 1, clock class ...),
13.5 (Announce), 11.4 (correction field), and the power profiles IEC/IEEE 61850-9-3 and IEEE C37.238: clock
class 6 is locked to its source, 7 and others are in holdover or worse; one grandmaster in a domain.

A change of grandmaster is what the algorithm is for; it is told quietly when learning knew the new clock. Two
that announce in turn are none of its states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag

NAME: Final = "ptp"
SYNC, FOLLOW_UP, ANNOUNCE = 0, 8, 11
TOGETHER: Final = 10 * SECOND
"""ns within which a clock that announces again has not left; time-outs are 2 to 3 s in the profiles."""

LOCKED, HOLDOVER = 6, 7
MOST_STEPS: Final = 254
LEARN: Final = 40
"""Messages of a clock whose correction fields say what is usual."""

JUMP: Final = 100_000.0
"""ns; well beyond what a transparent clock adds, and some 2 degrees of phase at 50 Hz."""

SPREADS: Final = 10.0

SECOND_CLOCK = Rule("ptp-second-grandmaster", Level.ALARM, {"attack": 0.75, "fault": 0.25}, "T0832")
MASTER = Rule("ptp-grandmaster", Level.WARNING, {"attack": 0.5, "operation": 0.3, "fault": 0.2}, "T0832")
CLASS = Rule("ptp-clock-class", Level.WARNING, {"fault": 0.8, "operation": 0.1, "attack": 0.1})
PRIORITY = Rule("ptp-priority", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0832")
STEPS = Rule("ptp-steps", Level.NOTICE, {"operation": 0.4, "fault": 0.3, "attack": 0.3})
CORRECTION = Rule("ptp-correction", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0832")
BROKEN = Rule("ptp-malformed", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")


@dataclass(slots=True)
class _Domain:
    """Who is grandmaster in one domain and VLAN."""

    master: int = -1
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
        self._damaged = self.tally(10)
        self._known = {point for points in self.habits.points.values() for _, point in points}

    def check(self, rows: Rows, piece: Slice) -> None:
        """Announcements in their order, then what carries corrections."""
        self.refusals(BROKEN, self._damaged, rows[has(rows, Flag.MALFORMED)], 3, "sent malformed messages to")
        rows = rows[~has(rows, Flag.MALFORMED | Flag.TRUNCATED)]
        announced = rows[(rows["kind"] == ANNOUNCE) & (rows["ident"] > 0)]
        for row in thinned(announced, MAX_READ)[0]:
            self._master(row)
            self._announced(row)
        timed = rows[((rows["kind"] == SYNC) | (rows["kind"] == FOLLOW_UP)) & np.isfinite(rows["value"])]
        for mine in grouped(timed, "conv", "kind"):
            self._correction(mine)

    def _master(self, row: Any) -> None:
        now, master, number = int(row["ts"]), int(row["ident"]), int(row["state"])
        key = (number, self.lens.conv(int(row["conv"]))[5])
        domain = self._domains.get(key) or self._domains.put(key, _Domain())
        back = now - domain.heard.get(master, -TOGETHER - 1) <= TOGETHER
        domain.heard[master] = now
        if len(domain.heard) > 64:
            domain.heard = {who: ts for who, ts in domain.heard.items() if now - ts <= TOGETHER}
        if domain.master == master:
            return
        before, domain.master = domain.master, master
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
