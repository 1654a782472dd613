"""Loss: what the sensor itself did not get explains gaps, and a gap so explained is no alert.

A rule that misses something (a number in a sequence, a message that was due, an answer) asks whether frames
were lost while it was missing. When at least as many were lost as are missing, loss alone explains it: the
finding becomes a note about visibility. When fewer were, it keeps its level and says so. What came and should
not have come is never explained by loss.

What a mirror port or tap loses nobody counts, but receivers acknowledge it: bytes of TCP that were
acknowledged and not captured (kind 7 of protocol tcp). When several connections lack some within a minute,
the view is incomplete, and that explains gaps in the same way. One or two connections say nothing: whoever
takes messages out of a connection leaves the same trace.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

import numpy.typing as npt

from detectors.base import Finding, Level, Reading, Slice
from detectors.groups import SECOND
from detectors.rules.common import protocol_rows
from grid_profiles.loader import NATIVE_IDS

MAX_STRETCHES: Final = 4_096
"""Slices with losses that are remembered; the oldest are forgotten first."""

EARLIER: Final = SECOND
"""ns by which a loss may be told early: a live capture knows the second in which it fell."""

UNSEEN: Final = 7
"""Kind of a tcp message: acknowledged bytes that were not captured; ``count`` frames at least."""

CONNECTIONS: Final = 3
"""Connections that must lack bytes within :data:`MINUTE`."""

MINUTE: Final = 60 * SECOND
_TCP: Final = NATIVE_IDS["tcp"]


def unseen(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Those of the tcp messages of a slice that tell of acknowledged bytes which were not captured."""
    told: npt.NDArray[Any] = rows.compress(rows["kind"] == UNSEEN)
    return told


class Losses:
    """When frames were lost. Every detector that misses something has one and shows it each slice."""

    def __init__(self, limit: int = MAX_STRETCHES) -> None:
        self._stretches: deque[tuple[int, int, int]] = deque(maxlen=limit)
        self._unseen: deque[tuple[int, dict[int, int]]] = deque(maxlen=limit)
        self._counted: tuple[tuple[int, int, int], tuple[int, int]] = ((0, 0, 0), (0, 0))

    def see(self, piece: Slice) -> None:
        """Take one slice, before its messages are judged."""
        if piece.lost > 0:
            self._stretches.append((piece.start, piece.end, piece.lost))
        lacking = piece.cache.get("unseen")
        if lacking is None:
            lacking = piece.cache["unseen"] = by_connection(unseen(protocol_rows(piece, _TCP)))
        if lacking:
            self._unseen.append((piece.start, lacking))
        while self._unseen and self._unseen[0][0] < piece.start - 2 * MINUTE:
            self._unseen.popleft()

    def between(self, first: int, last: int) -> int:
        """Frames lost in the slices that a stretch of time touches (ns, both inclusive)."""
        total = 0
        for start, end, lost in reversed(self._stretches):
            if end < first - EARLIER:
                break
            if start <= last:
                total += lost
        return total

    def lacking(self, last: int) -> tuple[int, int]:
        """(connections, frames at least) that lack acknowledged bytes in the minute before a time in ns."""
        if not self._unseen:
            return 0, 0
        near = [one for one in self._unseen if last - MINUTE <= one[0] <= last]
        key = (near[0][0], near[-1][0], len(near)) if near else (0, 0, 0)
        if key != self._counted[0]:  # findings come by the slice: one count serves them all
            frames: Counter[int] = Counter()
            for _, found in near:
                frames.update(found)
            self._counted = key, (len(frames), frames.total())
        return self._counted[1]

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
        last = max(finding.ts, until)
        lost = self.between(since, last)
        connections, frames = self.lacking(last)
        if lost:
            finding.summary += f"; the sensor lost {lost:,} frames meanwhile"
        elif connections >= CONNECTIONS:
            lost = frames
            finding.summary += (
                f"; the capture lacks {lost:,} acknowledged frames of {connections} connections"
            )
        else:
            return finding
        if lost >= missing:
            not_seen(finding, Level.NOTICE if finding.level > Level.NOTICE else Level.INFO)
        return finding


def not_seen(finding: Finding, level: Level = Level.INFO) -> None:
    """What it tells is explained by what the sensor did not see; changed in place."""
    finding.level, finding.reading = level, Reading.VISIBILITY
    finding.scores, finding.technique = {Reading.VISIBILITY.value: 1.0}, ""


def by_connection(rows: npt.NDArray[Any]) -> dict[int, int]:
    """Frames that each connection lacks."""
    frames: Counter[int] = Counter()
    for stream, count in zip(rows["stream"].tolist(), rows["count"].tolist(), strict=True):
        frames[stream] += count
    return frames
