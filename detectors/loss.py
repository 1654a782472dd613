"""Loss: what the sensor itself did not get explains gaps, and a gap so explained is no alert.

A rule that misses something (a number in a sequence, a message that was due, an answer) asks whether frames
were lost while it was missing. When at least as many were lost as are missing, loss alone explains it: the
finding becomes a note about visibility. When fewer were, it keeps its level and says so. What came and should
not have come is never explained by loss.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from detectors.base import Finding, Level, Reading, Slice
from detectors.groups import SECOND

MAX_STRETCHES: Final = 4_096
"""Slices with losses that are remembered; the oldest are forgotten first."""

EARLIER: Final = SECOND
"""ns by which a loss may be told early: a live capture knows the second in which it fell."""


class Losses:
    """When frames were lost. Every detector that misses something has one and shows it each slice."""

    def __init__(self, limit: int = MAX_STRETCHES) -> None:
        self._stretches: deque[tuple[int, int, int]] = deque(maxlen=limit)

    def see(self, piece: Slice) -> None:
        """Take one slice, before its messages are judged."""
        if piece.lost > 0:
            self._stretches.append((piece.start, piece.end, piece.lost))

    def between(self, first: int, last: int) -> int:
        """Frames lost in the slices that a stretch of time touches (ns, both inclusive)."""
        total = 0
        for start, end, lost in reversed(self._stretches):
            if end < first - EARLIER:
                break
            if start <= last:
                total += lost
        return total

    def weigh(self, finding: Finding, since: int, missing: int = 1, until: int = 0) -> Finding:
        """Lower a finding that loss alone explains; returns it.

        Parameters
        ----------
        finding : Finding
            About something that did not come; changed in place.
        since : int
            When it was last seen that nothing was missing, ns.
        missing : int
            Least number of frames that must have been lost to explain it.
        until : int
            End of the stretch in which they are missing, ns, when it is later than the finding's own time.
        """
        lost = self.between(since, max(finding.ts, until))
        if not lost:
            return finding
        finding.summary += f"; the sensor lost {lost:,} frames meanwhile"
        if lost >= missing:
            finding.level = Level.NOTICE if finding.level > Level.NOTICE else Level.INFO
            finding.reading = Reading.VISIBILITY
            finding.scores = {Reading.VISIBILITY.value: 1.0}
            finding.technique = ""
        return finding
