"""Learning how long answers take, and how often none comes, per (conversation, kind of request).

Moments and a logarithmic histogram of the response times; the worst window's share of requests without an
answer; and in successive blocks of time the largest *sustained* response time: the median of
:data:`RUN` in a row, so that one or two late answers say nothing and a device that has become slow does.
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
from detectors.exchanges import Exchanges
from detectors.groups import SECOND, ConvKey, Ints, Lens, runs
from detectors.lookup import Lookup
from detectors.tables import TABLES, Origin, conv_fields, numbers_text
from detectors.timing_learner import bins_of

RUN: Final = 5
MAX_SERIES: Final = 20_000
WINDOW: Final = 60 * SECOND
"""ns over which requests without an answer are counted."""

MIN_ASKED: Final = 10
"""Requests in a window before its share without an answer says anything."""

SeriesKey = tuple[ConvKey, int]
Floats = npt.NDArray[np.float64]


class SeriesNumbers:
    """Numbers for (conversation, kind of request): those given, or in order of their coming; bounded."""

    def __init__(
        self, lens: Lens, known: dict[SeriesKey, int] | None = None, limit: int = MAX_SERIES
    ) -> None:
        self.lens, self.limit, self.refused = lens, limit, 0
        self.known: dict[SeriesKey, int] = known or {}
        self._grows = known is None
        self._lookup = Lookup(self._number, 4 * limit)

    def of(self, convs: Ints, kinds: Ints) -> Ints:
        """The number of each, int64 of shape (n,); -1 what is not known and finds no room."""
        return self._lookup.of(convs << 20 | kinds & 0xFFFFF)

    def _number(self, packed: int) -> int:
        key = (self.lens.conv(packed >> 20), packed & 0xFFFFF)
        found = self.known.get(key, -1)
        if found < 0 and self._grows and len(self.known) < self.limit:
            found = self.known[key] = len(self.known)
        elif found < 0 and self._grows:
            self.refused += 1
        return found


def sustained(took: Floats, first: Ints, sizes: Ints, before: Floats) -> tuple[Floats, Floats]:
    """Median of each response time and the :data:`RUN` - 1 before it in its series.

    Parameters
    ----------
    took : ndarray of float64, shape (n,)
        Seconds, those of a series together.
    first, sizes : ndarray of int64, shape (k,)
        Where the series begin, and how many each has.
    before : ndarray of float64, shape (k, RUN - 1)
        The last ones of each series in earlier slices; 0 where there were none.

    Returns
    -------
    (median, last) : ndarray of float64, shapes (n,) and (k, RUN - 1)
        Small until a series has had :data:`RUN`; what to hand in next time.
    """
    back = RUN - 1
    heads = first + back * np.arange(len(first))
    padded = np.empty(len(took) + back * len(first))
    padded[heads[:, None] + np.arange(back)] = before
    at = np.arange(len(took)) + np.repeat(back * np.arange(1, len(first) + 1), sizes)
    padded[at] = took
    ends = heads + back + sizes
    median = _median(*(padded[at - ago] for ago in range(RUN)))
    return median, padded[ends[:, None] + np.arange(-back, 0)]


def _median(a: Floats, b: Floats, c: Floats, d: Floats, e: Floats) -> Floats:
    """The middle one of five, row by row; sorting costs ten times as much."""
    low, high = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.maximum(np.minimum(low, high), np.minimum(e, np.maximum(low, high)))


@dataclass(slots=True)
class _Track:
    """One series while learning."""

    count: int = 0
    unanswered: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = float("inf")
    high: float = 0.0
    worst: float = 0.0
    histogram: Counter[int] = field(default_factory=Counter)
    runs: Blocks = field(default_factory=Blocks)
    last: Floats = field(default_factory=lambda: np.zeros(RUN - 1))
    window: int = -1
    asked: int = 0
    missed: int = 0

    def add(self, took: Floats, ts: int) -> None:
        self.count += len(took)
        self.total += float(took.sum())
        self.squares += float((took**2).sum())
        self.low, self.high = min(self.low, float(took.min())), max(self.high, float(took.max()))
        self.histogram.update(bins_of(took).tolist())
        one = np.zeros(1, np.int64)
        medians, last = sustained(took, one, np.array([len(took)]), self.last[None, :])
        self.last = last[0]
        self.runs.add(ts, float(medians.max()))

    def count_in(self, window: int, asked: int, missed: int) -> None:
        if window != self.window:
            self.flush()
            self.window = window
        self.asked += asked
        self.missed += missed

    def flush(self) -> None:
        if self.asked >= MIN_ASKED:
            self.worst = max(self.worst, self.missed / self.asked)
        self.asked = self.missed = 0


class ResponseLearner:
    """Collects response times."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._exchanges = Exchanges(lens.names)
        self._numbers = SeriesNumbers(lens)
        self._tracks: list[_Track] = []
        self._names: dict[int, str] = {}

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        asked, answered, missed = self._exchanges.push(piece)
        window = piece.start // WINDOW
        if len(asked):
            took = np.maximum(answered["ts"] - asked["ts"], 0) / SECOND
            self._each(asked, window, took, answered["ts"])
        if len(missed):
            self._each(missed, window, None, missed["ts"])

    def _each(self, rows: npt.NDArray[Any], window: int, took: Floats | None, ts: Ints) -> None:
        numbers = self._numbers.of(rows["conv"], rows["kind"])
        order = np.argsort(numbers, kind="stable")
        first, sizes = runs(numbers[order])
        for at, size in zip(first.tolist(), sizes.tolist(), strict=True):
            mine = order[at : at + size]
            number = int(numbers[mine[0]])
            if number < 0:
                continue
            row = rows[mine[0]]
            while len(self._tracks) <= number:
                self._tracks.append(_Track())
            if number not in self._names:
                self._names[number] = self.lens.names.kind(int(row["proto"]), int(row["kind"]))
            track = self._tracks[number]
            track.count_in(window, size, size if took is None else 0)
            if took is None:
                track.unanswered += size
            else:
                track.add(took[mine], int(ts[mine].max()))

    def finish(self, baseline: Baseline) -> None:
        """Write the statistics into the baseline."""
        rows = [self._row(key, number) for key, number in self._numbers.known.items()]
        baseline.tables["responses"] = TABLES["responses"].frame(rows)

    def _row(self, key: SeriesKey, number: int) -> dict[str, Any]:
        track = self._tracks[number]
        track.flush()
        return conv_fields(key[0]) | {
            "kind": key[1],
            "name": self._names[number],
            "count": track.count,
            "total": track.total,
            "squares": track.squares,
            "low": track.low if track.count else 0.0,
            "high": track.high,
            "unanswered": track.unanswered,
            "worst": track.worst,
            "histogram": histogram_text(track.histogram),
            "run_blocks": numbers_text(track.runs.values),
            "block_s": track.runs.length / SECOND,
            "origin": Origin.LEARNED.value,
        }
