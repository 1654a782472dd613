"""Learning the timing: inter-arrival statistics per (conversation, role, kind, cause).

Moments and a logarithmic histogram of inter-arrival times, the longest gap and the largest count per 10 s
in successive blocks of time. One more series per conversation stands for all its messages. Repeated
frames (TCP retransmissions, mirrored copies) are no new messages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.calibration import Blocks
from detectors.compare import histogram_text
from detectors.groups import REPEATED, SECOND, ConvKey, Lens, group, pack, unpack
from detectors.tables import TABLES, Origin, conv_fields, numbers_text

MAX_KEYS: Final = 50_000
BINS_PER_DECADE: Final = 16
LOWEST: Final = 1e-6
BINS: Final = 14 * BINS_PER_DECADE
RATE_WINDOW: Final = 10 * SECOND

TimingKey = tuple[ConvKey, int, int, int]


def bins_of(gaps: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Histogram bins of inter-arrival times in seconds."""
    scaled = np.log10(np.maximum(gaps, LOWEST) / LOWEST) * BINS_PER_DECADE
    return np.clip(scaled.astype(np.int64), 0, BINS - 1)


def quantile(histogram: Counter[int], q: float) -> float:
    """Quantile in seconds from a histogram, at the middle of its bin; NaN when empty."""
    total = sum(histogram.values())
    reached = 0
    for number in sorted(histogram):
        reached += histogram[number]
        if reached >= q * total:
            return float(LOWEST * 10 ** ((number + 0.5) / BINS_PER_DECADE))
    return float("nan")


@dataclass(slots=True)
class _Track:
    """One series while learning."""

    last: int
    first: int
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = float("inf")
    high: float = 0.0
    histogram: Counter[int] = field(default_factory=Counter)
    gaps: Blocks = field(default_factory=Blocks)
    rates: Blocks = field(default_factory=Blocks)
    window: int = -1
    in_window: int = 0

    def add(self, ts: npt.NDArray[np.int64]) -> None:
        gaps = np.maximum(np.diff(ts, prepend=self.last), 0) / SECOND
        self.last = max(self.last, int(ts[-1]))
        self.count += len(gaps)
        self.total += float(gaps.sum())
        self.squares += float((gaps**2).sum())
        self.low, self.high = min(self.low, float(gaps.min())), max(self.high, float(gaps.max()))
        self.histogram.update(bins_of(gaps).tolist())
        self.gaps.add(self.last, float(gaps.max()))

    def tick(self, window: int, count: int) -> None:
        if window != self.window:
            self.flush()
            self.window, self.in_window = window, 0
        self.in_window += count

    def flush(self) -> None:
        if self.window >= 0:
            self.rates.add(self.window * RATE_WINDOW, float(self.in_window))


class TimingLearner:
    """Collects inter-arrival statistics; one more series per conversation stands for all its messages."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.refused: Counter[str] = Counter()
        self._tracks: dict[TimingKey, _Track] = {}
        self._clock = -1
        self._longest_pause = 0.0

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        if piece.packets or len(piece.messages):
            if self._clock >= 0:
                self._longest_pause = max(self._longest_pause, (piece.start - self._clock) / SECOND)
            self._clock = piece.end
        rows = piece.messages.compress(piece.messages["flags"] & np.uint32(REPEATED) == 0)
        if not len(rows):
            return
        window = piece.start // RATE_WINDOW
        groups = group(pack(rows))
        ts = rows["ts"].astype(np.int64)
        for index, packed in enumerate(groups.keys.tolist()):
            key = unpack(packed)
            self._add((self.lens.conv(key.conv), *key[1:]), ts[groups.rows(index)], window)
        whole = group(rows["conv"].astype(np.int64))
        for index, conv in enumerate(whole.keys.tolist()):
            self._add((self.lens.conv(conv), -1, -1, -1), ts[whole.rows(index)], window)

    def _add(self, key: TimingKey, ts: npt.NDArray[np.int64], window: int) -> None:
        track = self._tracks.get(key)
        if track is None:
            if len(self._tracks) >= MAX_KEYS:
                self.refused["series"] += 1
                return
            track = self._tracks[key] = _Track(int(ts[0]), int(ts[0]))
            track.tick(window, len(ts))
            if len(ts) > 1:
                track.add(ts[1:])
            return
        track.tick(window, len(ts))
        track.add(ts)

    def finish(self, baseline: Baseline) -> None:
        """Write the statistics into the baseline."""
        rows = [self._row(key, track) for key, track in self._tracks.items() if track.count > 0]
        baseline.tables["timing"] = TABLES["timing"].frame(rows)
        baseline.params["max_idle_s"] = round(self._longest_pause, 3)

    def _row(self, key: TimingKey, track: _Track) -> dict[str, Any]:
        track.flush()
        conv, role, kind, cause = key
        return conv_fields(conv) | {
            "role": role,
            "kind": kind,
            "cause": cause,
            "count": track.count,
            "total": track.total,
            "squares": track.squares,
            "low": track.low,
            "high": track.high,
            "histogram": histogram_text(track.histogram),
            "gap_blocks": numbers_text(track.gaps.values),
            "gap_block_s": track.gaps.length / SECOND,
            "rate_blocks": numbers_text(track.rates.values),
            "rate_block_s": track.rates.length / SECOND,
            "first": track.first / SECOND,
            "last": track.last / SECOND,
            "origin": Origin.LEARNED.value,
        }
