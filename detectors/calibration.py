"""From scores and extremes of normal traffic to limits: the one knob is false alarms per day.

Two tools, both fitted on the first part of the time and checked on the later, held-back part, never
shuffled:

- :class:`Tail` turns a score into a p-value: the held-back scores themselves where there are any, a
  generalised Pareto tail above them (Pickands, Balkema & de Haan), and where few scores are above, the
  heavier tail that allows for how little they say of the scale.
- :func:`upper_limit` turns the largest values of successive blocks of time into a limit (Gumbel's
  law of extremes), never tighter than a margin beyond what was seen.

:func:`news_rate` estimates how complete learning is (Good 1953, The population frequencies of species).

Short captures give wide limits: it refuses to be precise about what it never saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FIT_SHARE: Final = 0.7
"""Part of the time on which models are fitted; the rest calibrates."""

DAY: Final = 86_400.0
EULER: Final = 0.5772156649
SQRT6: Final = math.sqrt(6)
TAIL_SHARE: Final = 0.1
EXPONENTIAL: Final = 1e-6
"""Shape of a tail that is exponential for any score that is met."""

MIN_BLOCKS: Final = 4
MIN_HELD: Final = 20
MAX_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class Budget:
    """How many false alarms a site accepts, divided over what can raise them.

    Attributes
    ----------
    per_day : float
        The engineer's knob, for the whole site.
    timing, order, values, behaviour, margins, evidence : float
        Shares of the statistical detectors, 1 in all; rules and allow-lists carry their own severity instead.
    """

    per_day: float = 1.0
    timing: float = 0.2
    order: float = 0.08
    values: float = 0.28
    behaviour: float = 0.36
    margins: float = 0.03
    evidence: float = 0.05

    def probability(self, share: float, block_s: float, monitored: int) -> float:
        """Chance that one monitored thing may exceed its limit in one block of ``block_s`` seconds."""
        trials = DAY / max(block_s, 1e-3) * max(monitored, 1)
        return float(min(max(self.per_day * share / trials, 1e-12), 0.05))


def news_rate(counts: list[int]) -> float:
    """Good-Turing: chance that the next message is of a kind never seen; 1 for no messages."""
    total = sum(counts)
    return (sum(count == 1 for count in counts) + 1) / (total + 1) if total else 1.0


@dataclass(slots=True)
class Blocks:
    """Extremes of successive blocks of time; when there are too many, neighbours are joined.

    ``sign`` is 1 to keep maxima, -1 to keep minima. ``length`` (ns) doubles with every joining.
    """

    length: int = 10_000_000_000
    sign: int = 1
    origin: int = -1
    values: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, ts: int, value: float) -> None:
        """Take one observation at ``ts`` (ns)."""
        if self.origin < 0:
            self.origin = ts
        number = max(0, (ts - self.origin) // self.length)
        if self.numbers and number <= self.numbers[-1]:
            self.values[-1] = self._more_extreme(self.values[-1], value)
            return
        self.numbers.append(number)
        self.values.append(value)
        if len(self.values) > MAX_BLOCKS:
            self._join()

    def _more_extreme(self, one: float, other: float) -> float:
        return max(one, other) if self.sign > 0 else min(one, other)

    def _join(self) -> None:
        values, numbers = self.values, self.numbers
        self.values, self.numbers, self.length = [], [], self.length * 2
        for number, value in zip(numbers, values, strict=True):
            if self.numbers and self.numbers[-1] == number // 2:
                self.values[-1] = self._more_extreme(self.values[-1], value)
            else:
                self.numbers.append(number // 2)
                self.values.append(value)


def upper_limit(maxima: Sequence[float], probability: float, margin: float) -> float:
    """A limit that the maximum of one block exceeds with at most ``probability``.

    Parameters
    ----------
    maxima : sequence of float
        Largest value of each block, in order of time.
    probability : float
        Accepted chance per block.
    margin : float
        Least distance between the largest value seen and the limit; doubled when there are fewer than
        :data:`MIN_BLOCKS` blocks, widened when the held-back part went beyond the first.

    Returns
    -------
    float
        ``inf`` without any block.
    """
    if not maxima:
        return float("inf")
    seen = np.asarray(maxima, np.float64)
    if len(seen) < MIN_BLOCKS:
        return float(seen.max() + 2 * margin)
    cut = max(2, round(len(seen) * FIT_SHARE))
    first, most = max(maxima[:cut]), max(maxima)
    drift = max(0.0, max(maxima[cut:], default=first) - first)
    # np.mean and np.std, without what they do around it: a baseline has thousands of limits
    mean = float(np.add.reduce(seen)) / len(seen)
    deviation = seen - mean
    scale = math.sqrt(float(np.add.reduce(deviation * deviation)) / len(seen)) * SQRT6 / math.pi
    gumbel = mean - EULER * scale - scale * _log_log(probability)
    return float(max(gumbel, most + max(margin, 2 * drift)))


def wanders(highs: list[float], lows: list[float]) -> bool:
    """Did the held-back part leave the range of the first part by more than half of it?"""
    cut_high, cut_low = (max(2, round(len(x) * FIT_SHARE)) for x in (highs, lows))
    top, bottom = max(highs[:cut_high]), min(lows[:cut_low])
    leave = max(max(highs[cut_high:], default=top) - top, bottom - min(lows[cut_low:], default=bottom))
    return leave > 0.5 * max(top - bottom, 1e-12)


@lru_cache(maxsize=64)
def _log_log(probability: float) -> float:
    return float(np.log(-np.log1p(-probability)))


@dataclass(slots=True)
class Tail:
    """p-values of scores, larger score = stranger.

    Attributes
    ----------
    held : ndarray of float64
        Sorted held-back scores.
    start : float
        Where the fitted tail begins.
    scale, shape : float
        Of the generalised Pareto tail. An exponential tail whose scale is known from ``n`` scores only is,
        for the next score, one of shape 1/n (predictive distribution, Jeffreys prior): after minutes of
        learning hardly any score is impossible.
    share : float
        Part of the held-back scores above ``start``.
    """

    held: Floats
    start: float
    scale: float
    shape: float
    share: float

    @staticmethod
    def fit(held: Floats, guarded: bool = False) -> Tail:
        """Calibrate on held-back scores; at least :data:`MIN_HELD`, else ValueError.

        ``guarded``: other tests stand beside the p-value, so that a few scores may be taken at their word.
        """
        ordered = np.sort(np.asarray(held, np.float64))
        if len(ordered) < MIN_HELD:
            raise ValueError(f"{len(ordered)} held-back scores, at least {MIN_HELD} are needed")
        start = float(np.quantile(ordered, 1 - TAIL_SHARE))
        over = ordered[ordered > start] - start
        mean = float(over.mean()) if len(over) else 0.0
        spread = float(ordered[-1] - np.median(ordered))
        # windows of one site are far from independent: a tail narrower than this is luck
        scale = max(mean, 0.25 * spread, 1e-9 + 1e-6 * abs(float(ordered[-1])))
        shape, above = _shape(over), max(len(over), 1)
        least = EXPONENTIAL if guarded else 1 / above
        return Tail(ordered, start, scale * (1 - shape), max(shape, least), above / len(ordered))

    def p_value(self, scores: Floats) -> Floats:
        """Chance that normal traffic scores at least this high; never 0, shape as ``scores``."""
        scores = np.asarray(scores, np.float64)
        above = len(self.held) - np.searchsorted(self.held, scores, side="left")
        empirical = (above + 1.0) / (len(self.held) + 1.0)
        over = np.maximum(scores - self.start, 0.0) / self.scale
        tail = (1 + self.shape * over) ** (-1 / self.shape)
        p = np.where(scores > self.start, self.share * tail, empirical)
        return np.asarray(np.clip(p, 1e-300, 1.0), np.float64)


def _shape(over: Floats) -> float:
    """Moment estimate of the tail's shape, 0 to 0.5: a light tail is never believed, few points neither."""
    if len(over) < 30 or float(np.var(over)) <= 0:
        return 0.0
    ratio = float(np.mean(over)) ** 2 / float(np.var(over))
    return float(np.clip(0.5 * (1 - ratio), 0.0, 0.5))
