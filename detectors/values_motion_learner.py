"""Learns how values move: largest change per report and per second, longest time without a change.

Written per point to the table ``motion``, as extremes of successive blocks of time
(``calibration.Blocks``). One more row per conversation, of point "", takes all its points as one: it moves
when any of them does, and a report is a second (slice) in which values came. Bounded by
:data:`MAX_POINTS`; what finds no room is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.calibration import Blocks
from detectors.groups import SECOND, ConvKey, Lens
from detectors.tables import TABLES, Origin, conv_fields, numbers_text
from detectors.values_process import View

MAX_POINTS: Final = 50_000
LEAST: Final = 1.0
"""Seconds below which two reports count as one second apart: change per second of less means nothing."""


@dataclass(slots=True)
class Track:
    """How one point moves."""

    last: float
    at: int
    since: int
    count: int = 1
    changes: int = 0
    run: int = 0
    gap: int = 0
    steps: Blocks = field(default_factory=Blocks)
    rates: Blocks = field(default_factory=Blocks)
    stills: Blocks = field(default_factory=Blocks)
    runs: Blocks = field(default_factory=Blocks)

    def add(self, ts: int, value: float) -> bool:
        """Take one report; True when the value changed."""
        apart = max(0, ts - self.at)
        self.gap = max(self.gap, apart)
        self.count += 1
        changed = value != self.last
        if changed:
            step = abs(value - self.last)
            self.steps.add(ts, step)
            self.rates.add(ts, step / max(apart / SECOND, LEAST))
        self.still(ts, changed)
        self.last = value
        return changed

    def still(self, ts: int, changed: bool) -> None:
        """Count a report into the time without a change."""
        if changed:
            self.close(ts)
            self.changes += 1
            self.run, self.since = 0, ts
        else:
            self.run += 1
        self.at = ts

    def close(self, ts: int) -> None:
        """Take the time without a change so far for one that has ended."""
        self.stills.add(ts, max(0, self.at - self.since) / SECOND)
        self.runs.add(ts, self.run)


class MotionLearner:
    """Collects the motion of each point and of each conversation."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.refused: Counter[str] = Counter()
        self._tracks: dict[int, Track] = {}
        self._words: dict[int, tuple[ConvKey, str]] = {}
        self._whole: dict[int, Track] = {}  # by conversation

    def learn(self, piece: Slice, view: View) -> None:
        """Take one slice."""
        convs: dict[int, tuple[int, bool]] = {}
        stamps, values = view.rows["ts"].tolist(), view.rows["value"].tolist()
        heads = view.firsts.tolist()
        for number, start, size in zip(
            view.numbers[view.firsts].tolist(), heads, view.sizes.tolist(), strict=True
        ):
            track, first = self._tracks.get(number), start
            if track is None:
                if len(self._tracks) >= MAX_POINTS:
                    self.refused["motion_points"] += 1
                    continue
                track = self._tracks[number] = Track(values[start], stamps[start], stamps[start])
                row = view.rows[start]
                self._words[number] = (
                    self.lens.conv(int(row["conv"])),
                    self.lens.names.point(int(row["proto"]), int(row["point"])),
                )
                first += 1
            moved = False
            for index in range(first, start + size):
                moved |= track.add(stamps[index], values[index])
            if first < start + size:
                conv = int(view.rows["conv"][start])
                latest, any_moved = convs.get(conv, (0, False))
                convs[conv] = (max(latest, track.at), any_moved or moved)
        for conv, (latest, any_moved) in convs.items():
            self._conversation(conv, latest, any_moved)

    def _conversation(self, conv: int, ts: int, moved: bool) -> None:
        whole = self._whole.get(conv)
        if whole is None:
            if len(self._whole) < MAX_POINTS:
                self._whole[conv] = Track(0.0, ts, ts)
            return
        whole.count += 1
        whole.gap = max(whole.gap, ts - whole.at)
        whole.still(ts, moved)

    def finish(self, baseline: Baseline) -> None:
        """Write the table ``motion``."""
        rows = {self._words[number]: track for number, track in self._tracks.items()}
        rows |= {(self.lens.conv(conv), ""): track for conv, track in self._whole.items()}
        made = [_row(conv, point, track) for (conv, point), track in rows.items() if track.changes]
        baseline.tables["motion"] = TABLES["motion"].frame(made)


def _row(conv: ConvKey, point: str, track: Track) -> dict[str, Any]:
    track.close(track.at)
    return conv_fields(conv) | {
        "point": point,
        "count": track.count,
        "changes": track.changes,
        "gap": track.gap / SECOND,
        "step_blocks": numbers_text(track.steps.values),
        "rate_blocks": numbers_text(track.rates.values),
        "still_blocks": numbers_text(track.stills.values),
        "run_blocks": numbers_text([float(value) for value in track.runs.values]),
        "block_s": max(track.steps.length, track.stills.length) / 1e9,
        "origin": Origin.LEARNED.value,
    }
