"""NTP: a server whose time steps.

Standard followed: RFC 5905, clauses 7.3 (transmit time stamp, leap indicator, stratum) and 10 to 12 (what
clients make of it). The difference between a server's time and the capture's clock is held against the one
before it of the same server and client (``clock.py``). The second of a leap that was announced is no step,
and a server that says itself that it is not synchronised is not held to anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.clock import ClockRules, offset_of
from detectors.rules.common import MAX_READ
from detectors.rules.shared import Rows, Rule, one

NAME: Final = "ntp"
SERVER, BROADCAST = 4, 5
UNSYNCHRONISED: Final = 3
LEAPS: Final = (1, 2)
LONGEST_LEAP: Final = 2 * 86_400 * SECOND
MOST_STRATUM: Final = 15
STEP: Final = 0.5
"""s; beyond what a way through a network delays."""

LEAP_LOW, LEAP_HIGH = 0.5, 1.5

SHIFT = Rule("ntp-shift", Level.WARNING, {"attack": 0.5, "fault": 0.4, "operation": 0.1}, "T0856")


class NtpRules(ClockRules):
    """Checks the time in answers and broadcasts of servers."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._leaps = self.table()

    def check(self, rows: Rows, piece: Slice) -> None:
        """Answers one by one."""
        rows = rows.compress(among(rows["kind"], (SERVER, BROADCAST)))
        for row in rows[:MAX_READ]:
            conv, leap = int(row["conv"]), int(row["aux"])
            if leap == UNSYNCHRONISED or not 0 < int(row["cause"]) <= MOST_STRATUM:
                self.known.drop(conv)
                continue
            if leap in LEAPS:
                self._leaps.put(conv, int(row["ts"]))
            if np.isfinite(row["value"]):
                self._answer(row)

    def _answer(self, row: Any) -> None:
        now, announced = int(row["ts"]), self._leaps.get(int(row["conv"]))
        leaping = announced is not None and now - announced <= LONGEST_LEAP
        step = self.stepped(row, STEP, lambda size: leaping and LEAP_LOW < abs(size) < LEAP_HIGH)
        if step is None:
            return
        server = self.host(row["src"])
        text = f"the time of {server} stepped by {step.size:+.3f} s"
        text += ": it is again as it was" if step.back else " from what it was before"
        expected = f"{step.before:+.3f} s from the capture's clock"
        observed = f"{offset_of(row):+.3f} s"
        self.say(SHIFT, one(row), text, expected, observed, group=server, level=step.level)
        self.found[-1].frames = step.frames
