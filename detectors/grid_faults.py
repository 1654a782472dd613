"""Short circuits and voltage dips, as merging units see them: what values beyond their range go back to.

A short circuit raises the current of a phase and pulls its voltage down at once; a fault elsewhere only
does the latter. Both show in the RMS of one second although they last for less than a tenth of it. Whoever
multiplies currents leaves the voltages as they were, which is no fault (rule ``sv-scaled``).
"""

from __future__ import annotations

from typing import Final

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.events import Events, Open, Pair
from detectors.groups import SECOND, Lens
from detectors.rules.common import Bounded
from detectors.sv_seconds import seconds

NAME: Final = "sv"
RISES: Final = 1.2
SAGS: Final = 0.99
"""Share of the voltage that is left, over a whole second, where current rises ..."""

DIPS: Final = 0.97
"""... and where it does not: the fault is elsewhere."""

EARLIER: Final = 2 * SECOND
AFTER: Final = 11 * SECOND
MAX_STREAMS: Final = 1_024
PHASES: Final = 3


class GridFaults:
    """Watches known streams; begins and prolongs events."""

    def __init__(self, lens: Lens, baseline: Baseline, events: Events) -> None:
        self.lens, self._events = lens, events
        self._proto = lens.protocol(NAME)
        self._known: set[Pair] = {
            (NAME, row.client, row.server) for row in baseline.spoken("conversations", NAME)
        }
        self._last: Bounded[int, tuple[float, ...]] = Bounded(MAX_STREAMS)

    def see(self, piece: Slice) -> None:
        """Take a slice."""
        if not self._known:
            return
        for second in seconds(piece, self._proto):
            now = second.electric
            before = self._last.get(second.conv)
            self._last.put(second.conv, now)
            words = _fault(before, now) if before and now else ""
            key = self.lens.conv(second.conv)
            if words and key[:3] in self._known:
                text = f"{key[4] or key[1]} saw {words}"
                since = second.ts - EARLIER
                event = Open(
                    "grid-fault", since, second.ts + AFTER, second.ts - SECOND, text, set(self._known)
                )
                self._events.begin(event)


def _fault(before: tuple[float, ...], now: tuple[float, ...]) -> str:
    """A short circuit or dip between two seconds, in words; empty for none."""
    for phase in range(PHASES):
        current, voltage = before[phase], before[phase + 4]
        if voltage <= 0:
            continue
        left = now[phase + 4] / voltage
        if current > 0 and now[phase] >= RISES * current and left <= SAGS:
            factor = now[phase] / current
            words = f"{factor:.3g} times the current in phase {phase + 1}, {left:.1%} of its voltage"
            return f"a short circuit: {words}"
        if SAGS - 0.5 < left <= DIPS:
            return f"a voltage dip: {left:.1%} in phase {phase + 1}"
    return ""
