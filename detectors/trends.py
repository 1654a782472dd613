"""Margins that are running out: a trend in a margin, and when it would meet its limit, while all still works.

A margin is how far a conversation is from a limit of its own protocol (``sensor/features/margins.py``,
``sensor/warning/ptp_margins.py``). Here each becomes *use*, 0 to 1 at the limit, and is kept on three scales:
the worst of 30 s, 5 min and 1 h, twice sixty of each, so that a drift over ten minutes and one over two days
are both seen in bounded memory.

With each new point a robust line is laid through the latest sixty of a scale: Sen's slope, the median of all
slopes of pairs, with Sen's interval; whether it is a trend at all says Kendall's S, whose variance is widened
by the autocorrelation of what the line leaves (Hamed and Rao 1998), since windows of one conversation are not
independent. Told is only what holds three times in a row: a p-value below this detector's share of the site's
budget, most pairs rising, a lower slope above zero, a gain of a quarter of what was left and of four times
the scatter, a projected time to the limit that is no longer than what was looked at, and an end beyond
anything that this margin showed while learning or before: a margin that wanders up and down has trends
every day, and never a new worst.

References
----------
Sen (1968), JASA 63; Theil (1950); Hamed and Rao (1998), Journal of Hydrology 204.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import erfc, sqrt
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.detector import LinkFinding
from detectors.groups import SECOND, ConvKey

NAME: Final = "margins"
PARAM: Final = "margins"
SCALES: Final = (30, 300, 3_600)
"""Seconds of one point."""

POINTS: Final = 60
LEAST: Final = 20
BEFORE: Final = {SCALES[0]: 60, SCALES[1]: 20, SCALES[2]: 20}
"""Points before a trend at least, where learning did not know the margin: load wanders all the time."""

AGAIN: Final = 3
"""Assessments in a row that must agree."""

MOST_PAIRS: Final = 0.6
"""Kendall's tau from which most pairs rise."""

GAIN: Final = 0.25
NEW_WORST: Final = 0.5
"""A new worst lies further out than the worst so far by this share of its distance from what is usual."""

SCATTER: Final = 4.0
INTERVAL: Final = 1.96
HOLD: Final = 600.0
MAX_SERIES: Final = 10_000
SCORES: Final = {"fault": 0.7, "attack": 0.15, "operation": 0.15}

Floats = npt.NDArray[np.float64]


class Limit(NamedTuple):
    """What a margin of some name means: its value at use 0 and at use 1, and words."""

    free: float
    limit: float
    words: str


LIMITS: Final[dict[str, Limit]] = {
    "margin.goose_tal": Limit(1.0, 0.0, "time allowed to live that is left when the next message comes"),
    "margin.iec104_k": Limit(0.0, 12.0, "I-frames under way without acknowledgement (k = 12)"),
    "margin.iec104_t1": Limit(0.0, 15.0, "time until an I-frame is acknowledged (t1 = 15 s)"),
    "margin.ptp_announce": Limit(
        1.0, 0.0, "announce receipt timeout that is left when the next Announce comes"
    ),
}
"""Margins with a limit; the others (``margin.sv_pause``, ``margin.sv_lost``) are series only."""


def use_of(name: str, value: float) -> float:
    """How much of a margin is used: 0 none, 1 at the limit, 1.5 at most; of a name in :data:`LIMITS`."""
    limit = LIMITS[name]
    return min(max((value - limit.free) / (limit.limit - limit.free), 0.0), 1.5)


MAX_LEARNED: Final = 5_000


class MarginLearner:
    """The worst use of each margin while learning, for ``params.json`` (``margins``)."""

    def __init__(self) -> None:
        self._worst: dict[tuple[str, ConvKey], float] = {}

    def add(self, margins: list[tuple[str, str, ConvKey, float]]) -> None:
        """Take the margins of a window."""
        for name, _, conv, value in margins:
            if name not in LIMITS or value != value:
                continue
            if (name, conv) in self._worst or len(self._worst) < MAX_LEARNED:
                self._worst[name, conv] = max(self._worst.get((name, conv), 0.0), use_of(name, value))

    def finish(self, baseline: Baseline) -> None:
        """Write them into the baseline."""
        baseline.params[PARAM] = [
            [name, *conv, round(use, 6)] for (name, conv), use in sorted(self._worst.items())
        ]


def learned_margins(baseline: Baseline) -> dict[tuple[str, ConvKey], float]:
    """The worst use of each margin that a baseline knows; what cannot be read is left out."""
    found: dict[tuple[str, ConvKey], float] = {}
    stored = baseline.params.get(PARAM, [])
    for row in stored[:MAX_LEARNED] if isinstance(stored, list) else ():
        try:
            name, protocol, client, server, port, sub, vlan, use = row
            key = (str(protocol), str(client), str(server), int(port), str(sub), int(vlan))
            found[str(name), key] = float(use)
        except (TypeError, ValueError):
            continue
    return found


class Trend(NamedTuple):
    """A line through points: slopes per point, p-value of no trend, tau, use at its end, scatter, gain."""

    slope: float
    low: float
    high: float
    p_value: float
    tau: float
    now: float
    scatter: float
    gain: float


@cache
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return np.triu_indices(n, 1)


def trend_of(use: Floats) -> Trend:
    """Sen's line through equally spaced points, shape (n,), n >= 3."""
    n = len(use)
    one, other = _pairs(n)
    rises = use[other] - use[one]
    slopes = np.sort(rises / (other - one))
    slope = float(np.median(slopes))
    at = np.arange(n)
    start = float(np.median(use - slope * at))
    rest = use - start - slope * at
    s = float(np.sign(rises).sum())
    spread = float(np.sqrt(n * (n - 1) * (2 * n + 5) / 18 * _inflation(rest)))
    z = (abs(s) - 1) / spread if s else 0.0
    half = INTERVAL * spread / 2
    middle = len(slopes) / 2
    low = float(slopes[max(0, int(middle - half))])
    high = float(slopes[min(len(slopes) - 1, int(np.ceil(middle + half)))])
    scatter = float(1.4826 * np.median(np.abs(rest)))
    p_value = erfc(z / sqrt(2))
    return Trend(
        slope, low, high, p_value, s / len(slopes), start + slope * (n - 1), scatter, slope * (n - 1)
    )


def _inflation(rest: Floats) -> float:
    """How many times wider Kendall's variance is for dependent points; 1 for independent ones."""
    n = len(rest)
    ranks = np.argsort(np.argsort(rest, kind="stable"), kind="stable").astype(np.float64)
    ranks -= ranks.mean()
    power = float(ranks @ ranks)
    if power <= 0:
        return 1.0
    lags = range(1, min(n // 4, 12) + 1)
    # only what stands out of chance is believed, as Hamed and Rao do
    chance = INTERVAL / np.sqrt(n)
    found = [(lag, float(ranks[lag:] @ ranks[:-lag]) / power) for lag in lags]
    extra = sum((n - k) * (n - k - 1) * (n - k - 2) * r for k, r in found if r > chance)
    return max(1.0, 1.0 + 2.0 / (n * (n - 1) * (n - 2)) * extra)


@dataclass(slots=True)
class _Scale:
    """Points of one scale, and the one that is being gathered."""

    points: list[float] = field(default_factory=list)
    top: float = float("-inf")
    """The worst before ``points``, in this run."""

    bin: int = -1
    worst: float = float("-inf")
    last: float = float("nan")
    agreed: int = 0

    def add(self, number: int, use: float, value: float) -> bool:
        """Take a window's use; whether a point was completed."""
        done = False
        if number != self.bin:
            if self.bin >= 0 and number == self.bin + 1:
                self.points.append(self.worst)
                if len(self.points) > 2 * POINTS:
                    self.top = max(self.top, self.points.pop(0))
                done = True
            elif self.bin >= 0:  # not heard for a while: what was before belongs to another story
                self.top = max([self.top, *self.points])
                self.points, self.agreed = [], 0
            self.bin, self.worst = number, float("-inf")
        if use > self.worst:
            self.worst, self.last = use, value
        return done


class MarginTrends:
    """Watches margins; says when one is running out.

    Attributes
    ----------
    assessed : list of (name, unit, ConvKey, value)
        ``….slope`` (use per hour) and ``….time_left`` (s) of the margins with a trend in the last window.
    """

    def __init__(self, budget: Budget, learned: Mapping[tuple[str, ConvKey], float] | None = None) -> None:
        self._budget = budget
        self._learned = learned or {}
        self._series: OrderedDict[tuple[str, ConvKey], tuple[_Scale, ...]] = OrderedDict()
        self._evicted = 0
        self.assessed: list[tuple[str, str, ConvKey, float]] = []

    def counters(self) -> dict[str, int]:
        """Margins that were forgotten for want of room."""
        return {"margin_series_evicted": self._evicted}

    def add(self, end: int, margins: list[tuple[str, str, ConvKey, float]]) -> list[Finding]:
        """Take the margins of the window that ends at ``end`` (ns): name, unit, conversation, value."""
        self.assessed = []
        found: list[Finding] = []
        for name, unit, conv, value in margins:
            limit = LIMITS.get(name)
            if limit is None or value != value:
                continue
            use = use_of(name, value)
            for scale, seconds in zip(self._scales(name, conv), SCALES, strict=True):
                if scale.add((end - 1) // (seconds * SECOND), use, value):
                    finding = self._assess(end, name, unit, conv, scale, seconds)
                    found += [finding] if finding is not None else []
        return found

    def _scales(self, name: str, conv: ConvKey) -> tuple[_Scale, ...]:
        known = self._series.get((name, conv))
        if known is None:
            known = self._series[name, conv] = tuple(_Scale() for _ in SCALES)
            if len(self._series) > MAX_SERIES:
                self._series.popitem(last=False)
                self._evicted += 1
        return known

    def _assess(
        self, end: int, name: str, unit: str, conv: ConvKey, scale: _Scale, seconds: int
    ) -> Finding | None:
        known = self._learned.get((name, conv), float("-inf"))
        least = 0 if known >= 0 else BEFORE[seconds]
        points = scale.points[max(least, len(scale.points) - POINTS) :]
        before = scale.points[: len(scale.points) - len(points)]
        top = max([known, scale.top, *before])
        agreed, scale.agreed = scale.agreed, 0
        if len(points) < LEAST or points[-1] >= 1.0 or sorted(points[-3:])[1] <= top or _calm(points):
            return None
        trend = trend_of(np.array(points))
        usual = float(np.median(before or points[:LEAST]))
        beyond = top + max(trend.scatter, NEW_WORST * (top - usual))
        if trend.now <= beyond or not self._believed(trend, len(points), seconds):
            return None
        scale.agreed = agreed
        scale.agreed += 1
        left = (1.0 - trend.now) / trend.slope * seconds
        self.assessed += [
            (f"{name}.slope", "1/h", conv, trend.slope * 3_600 / seconds),
            (f"{name}.time_left", "s", conv, left),
        ]
        if scale.agreed < AGAIN:
            return None
        return self._finding(end, name, unit, conv, len(points) * seconds, seconds, trend)

    def _believed(self, trend: Trend, n: int, seconds: int) -> bool:
        if trend.low <= 0 or trend.tau < MOST_PAIRS or trend.now >= 1.0:
            return False
        begin = trend.now - trend.gain
        if trend.gain < max(GAIN * (1.0 - begin), SCATTER * trend.scatter):
            return False
        if (1.0 - trend.now) / trend.slope > n:
            return False
        alpha = self._budget.probability(self._budget.margins / len(SCALES), seconds, len(self._series))
        return trend.p_value < alpha

    def _finding(
        self, end: int, name: str, unit: str, conv: ConvKey, span: int, seconds: int, trend: Trend
    ) -> Finding:
        limit = LIMITS[name]
        left = (1.0 - trend.now) * seconds
        soon, late, middle = (_span(left / slope) for slope in (trend.high, trend.low, trend.slope))
        before = limit.free + (trend.now - trend.gain) * (limit.limit - limit.free)
        now = limit.free + trend.now * (limit.limit - limit.free)
        who = " ".join(part for part in (f"{conv[1]} to {conv[2]} ({conv[0]})", conv[4]) if part)
        shown = "" if unit == "1" else f" {unit}"
        return LinkFinding(
            ts=end,
            detector=NAME,
            rule="margin-running-out",
            level=Level.NOTICE,
            reading=Reading.FAULT,
            proto=-1,
            conv=-1,
            src=-1,
            dst=-1,
            summary=f"{who}: {limit.words} went from {before:.3g}{shown} to {now:.3g}{shown} within "
            f"{_span(span)}; at this pace the limit {limit.limit:g}{shown} is met in {middle}",
            expected=f"no trend towards {limit.limit:g}{shown}",
            observed=f"{trend.slope * 3_600 / seconds:.3g} of the margin per hour; the limit in {soon} to "
            f"{late}",
            p_value=trend.p_value,
            scores=dict(SCORES),
            hold=HOLD,
            group=name,
            link=conv,
        )


def _calm(points: list[float]) -> bool:
    """The latest are no worse than the first: nothing to compute."""
    third = len(points) // 3
    first, last = sum(points[:third]) / third, sum(points[-third:]) / third
    return last - first < 0.5 * GAIN * (1.0 - min(first, 1.0))


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
