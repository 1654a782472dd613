"""NTP: a server whose time steps.

Standard followed: RFC 5905, clauses 7.3 (transmit time stamp, leap indicator, stratum) and 10 to 12 (what
clients make of it). The difference between a server's time and the capture's clock is held against the one
before it of the same server and client (``clock.py``). The second of a leap that was announced is no step,
and a server that says itself that it is not synchronised is not held to anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.clock import CaptureClock, Difference
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, one

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


class NtpRules(ProtocolRules):
    """Checks the time in answers and broadcasts of servers."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._known, self._leaps = self.table(), self.table()
        self._clock = CaptureClock()

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        self._clock.watch(piece)
        return super().detect(piece)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Answers one by one."""
        rows = rows[among(rows["kind"], (SERVER, BROADCAST))]
        for row in rows[:MAX_READ]:
            conv, leap = int(row["conv"]), int(row["aux"])
            if leap == UNSYNCHRONISED or not 0 < int(row["cause"]) <= MOST_STRATUM:
                self._known.drop(conv)
                continue
            if leap in LEAPS:
                self._leaps.put(conv, int(row["ts"]))
            if np.isfinite(row["value"]):
                self._answer(row)

    def _answer(self, row: Any) -> None:
        conv, now, frame = int(row["conv"]), int(row["ts"]), int(row["frame"])
        offset = float(row["value"]) - now / SECOND
        known = self._known.get(conv)
        if known is None:
            self._known.put(conv, Difference(offset, now, frame))
            return
        before, step = known.offset, known.step(offset, now, frame, STEP)
        if step == 0.0:
            return
        announced = self._leaps.get(conv)
        leap = announced is not None and now - announced <= LONGEST_LEAP and LEAP_LOW < abs(step) < LEAP_HIGH
        if leap or self._clock.made(step, known.frame, frame):
            known.take(offset, now, frame)
            return
        server, back = self.host(row["src"]), known.returned(offset, STEP)
        text = f"the time of {server} stepped by {step:+.3f} s"
        text += ": it is again as it was" if back else " from what it was before"
        expected = f"{before:+.3f} s from the capture's clock"
        level = Level.INFO if back else None
        self.say(SHIFT, one(row), text, expected, f"{offset:+.3f} s", group=server, level=level)
        self.found[-1].frames = [known.frame, frame]
