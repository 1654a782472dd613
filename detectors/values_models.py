"""Groups of points that move together: how they are found, and what is normal for each.

1. Points are grouped by hierarchical clustering (average linkage) of one less the correlation: the lesser of
   that of values and that of their changes over :data:`LAG` rows, for two trends of one afternoon are no
   relation. Groups go over devices: a feeder's current at one, the busbar's at another. *Balances* are
   added: a point whose changes a few others outside its group add up to (stepwise selection).
2. Each point is predicted from the others of its group (ridge regression, fitted on the first 70 % of the
   time, without the rows in which a change had reached only some of them). Points that the others do not
   predict, on the held-back part too, leave the group.
3. What counts is what *stays*: of the last ``patience`` residuals of one sign the smallest, in units of the
   residuals' own spread. Points are polled at different times, and a change reaches them one by one.
4. A PyOD model (as in ``behaviour.py``: refitted from the baseline, seeded, no pickle) scores the vector of a
   group's residuals; held-back scores give p-values (``calibration.Tail``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.baseline import Baseline
from detectors.behaviour import JITTER, MIN_FIT, MODELS, Scorer
from detectors.calibration import FIT_SHARE, MIN_HELD, Tail
from detectors.groups import SECOND, ConvKey
from detectors.tables import conv_of
from detectors.values_samples import STEP, Sampled

MODEL: Final = "knn"
"""Its score goes on growing with the distance from what was seen, and it needs few rows."""

MAX_POINTS: Final = 200
MAX_GROUP: Final = 8
MAX_GROUPS: Final = 64
TOGETHER: Final = 0.7
"""Least mean correlation inside a group."""

LAG: Final = 6
EXPLAINED: Final = 0.8
CONFIRMED: Final = 0.6
"""Least share of a point's variance that the others of its group explain, and where held back."""

RIDGE: Final = 0.001
TRIM: Final = 4.0
"""Rows with a residual of so many times the noise are left out when a group is fitted once more."""

KEPT: Final = 0.6
"""Least share of rows that is fitted on."""

ADDENDS: Final = 4
GAIN: Final = 0.03
"""Least share of the variance of changes that one more addend of a balance must explain."""

LEAST_SPREAD: Final = 0.01
"""Least spread of residuals, in standard deviations of the point: resolution, not noise."""

PATIENCE: Final = (3, 12)
"""Rows that a departure must last: what the slowest member needs to be reported, within these."""

Floats = npt.NDArray[np.float64]
PointKey = tuple[ConvKey, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Points that move together.

    Attributes
    ----------
    members : ndarray of int64, shape (m,)
        Columns of :class:`~detectors.values_samples.Sampled`.
    mean, spread : ndarray, shape (m,)
        Of each point while learning.
    weights : ndarray, shape (m, m)
        Row j predicts point j from the others, in standard units; its diagonal is 0.
    noise : ndarray, shape (m,)
        Spread of the residuals, in standard units.
    largest : ndarray, shape (m,)
        Largest residual that stayed while learning, in units of ``noise``.
    low, high : ndarray, shape (m,)
        Range of each point while learning.
    patience : int
        Rows that a departure must last.
    """

    members: npt.NDArray[np.int64]
    mean: Floats
    spread: Floats
    weights: Floats
    noise: Floats
    largest: Floats
    low: Floats
    high: Floats
    patience: int
    scorer: Scorer
    tail: Tail
    held: int

    def residuals(self, values: Floats) -> Floats:
        """Observed less expected, in units of ``noise``; last axis is the members'."""
        scaled = (values - self.mean) / self.spread
        return np.asarray((scaled - scaled @ self.weights.T) / self.noise, np.float64)

    def expected(self, values: Floats) -> Floats:
        """What the others say of each point, in its own unit; shape (m,)."""
        scaled = (values - self.mean) / self.spread
        return np.asarray(self.mean + self.spread * (self.weights @ scaled), np.float64)

    def p_value(self, stayed: Floats) -> float:
        """Chance of residuals that stay like this, shape (m,), in normal traffic."""
        score = self.scorer.decision_function(compress(stayed)[None, :])
        return float(self.tail.p_value(np.nan_to_num(score, posinf=1e300))[0])


def compress(rows: Floats) -> Floats:
    """Residuals on a logarithmic scale, sign kept: one wild member does not hide the others."""
    return np.asarray(np.sign(rows) * np.log1p(np.abs(rows)), np.float64)


def stayed(rows: Floats, patience: int) -> Floats:
    """Of each ``patience`` rows one after another the smallest residual, 0 where signs differ.

    Shape (n, m) to (n - patience + 1, m).
    """
    windows = np.lib.stride_tricks.sliding_window_view(rows, patience, axis=0)
    least = np.abs(windows).min(axis=2)
    same = (windows > 0).all(axis=2) | (windows < 0).all(axis=2)
    return np.asarray(np.where(same, least * np.sign(windows[:, :, -1]), 0.0), np.float64)


def groups_of(baseline: Baseline, sampled: Sampled, seed: int) -> list[Group]:
    """Groups with their models; none where too little was learned. Deterministic."""
    values = sampled.values
    cut = round(len(values) * FIT_SHARE)
    if cut < MIN_FIT or len(values) - cut < MIN_HELD:
        return []
    usable = np.flatnonzero(np.isfinite(values).mean(axis=0) > 0.9)
    spread = np.array([np.nanstd(values[:cut, j]) for j in usable])
    usable = usable[spread > 0][:MAX_POINTS]
    if len(usable) < 2:
        return []
    periods = _periods(baseline)
    made: list[Group] = []
    clusters = _clusters(values[:cut][:, usable])
    for members in [*clusters, *_balances(values[:cut][:, usable], clusters)]:
        columns = usable[members]
        slowest = max(periods.get(sampled.points[j], 0.0) for j in columns)
        group = _fit(values, cut, columns, slowest, sampled.stride, seed)
        if group is not None and not any(set(group.members) <= set(other.members) for other in made):
            made.append(group)
    return made[:MAX_GROUPS]


def _periods(baseline: Baseline) -> dict[PointKey, float]:
    """Mean time between two reports of each point, s."""
    seconds = float(baseline.params.get("learned_s", 0.0))
    return {(conv_of(row), row.point): seconds / max(1, row.count) for row in baseline.rows("motion")}


def _clusters(values: Floats) -> list[npt.NDArray[np.int64]]:
    """Columns that move together; every column once at most."""
    from scipy.cluster.hierarchy import fcluster, linkage  # 12 MiB that only learning needs
    from scipy.spatial.distance import squareform

    rows = values[np.isfinite(values).all(axis=1)]
    if len(rows) <= LAG + MIN_FIT // 2:
        return []
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.abs(np.corrcoef(rows, rowvar=False))
        change = np.abs(np.corrcoef(rows[LAG:] - rows[:-LAG], rowvar=False))
    near = np.nan_to_num(np.minimum(level, change))
    np.fill_diagonal(near, 1.0)
    tree = linkage(squareform(np.clip(1 - near, 0, 1), checks=False), method="average")
    labels = fcluster(tree, 1 - TOGETHER, criterion="distance")
    out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).astype(np.int64)
        if len(members) <= MAX_GROUP:
            out.append(members)
            continue
        parts = -(-len(members) // MAX_GROUP)
        out += [members[i::parts] for i in range(parts)]
    return [members for members in out if len(members) > 1]


def _balances(values: Floats, clusters: list[npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    """Points with those of other groups whose changes add up to theirs."""
    rows = values[np.isfinite(values).all(axis=1)]
    if len(rows) <= LAG + MIN_FIT // 2:
        return []
    steps = rows[LAG:] - rows[:-LAG]
    spread = steps.std(axis=0)
    steps = (steps - steps.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    gram = steps.T @ steps / len(steps)
    own = {int(j): cluster for cluster in clusters for j in cluster}
    out = []
    for j in np.flatnonzero(spread > 0).tolist():
        apart = np.setdiff1d(np.flatnonzero(spread > 0), own.get(j, np.array([j])))
        chosen, share = _stepwise(gram, j, apart)
        if len(chosen) > 1 and share >= EXPLAINED:
            out.append(np.array(sorted([j, *chosen]), np.int64))
    return out


def _stepwise(gram: Floats, j: int, apart: npt.NDArray[np.int64]) -> tuple[list[int], float]:
    """Columns that explain column j, and the share of its variance that they explain."""
    chosen: list[int] = []
    share = 0.0
    rest = list(apart)
    while rest and len(chosen) < ADDENDS:
        shares = [_share(gram, j, [*chosen, int(k)]) for k in rest]
        best = int(np.argmax(shares))
        if shares[best] < share + GAIN:
            break
        share = shares[best]
        chosen.append(int(rest.pop(best)))
    return chosen, share


def _share(gram: Floats, j: int, columns: list[int]) -> float:
    inner = gram[np.ix_(columns, columns)] + RIDGE * np.eye(len(columns))
    return float(gram[columns, j] @ np.linalg.solve(inner, gram[columns, j]))


def _fit(
    values: Floats, cut: int, members: npt.NDArray[np.int64], slowest: float, stride: float, seed: int
) -> Group | None:
    """A group without the members that the others do not predict."""
    while len(members) > 1:
        own = values[:, members]
        known = np.asarray(np.isfinite(own).all(axis=1), bool)
        fit, held = own[:cut][known[:cut]], own[cut:][known[cut:]]
        if len(fit) < MIN_FIT or len(held) < MIN_HELD:
            return None
        mean, spread = np.asarray(fit.mean(axis=0)), np.asarray(fit.std(axis=0))
        if float(spread.min()) <= 0:
            members = np.delete(members, int(np.argmin(spread)))
            continue
        x, held_x = (fit - mean) / spread, (held - mean) / spread
        weights = _trimmed(x)
        early, later = x - x @ weights.T, held_x - held_x @ weights.T
        fitted = 1 - np.square(_noise(early))
        kept = 1 - np.square(_noise(later)) / np.maximum(np.square(held.std(axis=0) / spread), LEAST_SPREAD)
        bad: Floats = np.minimum(fitted - EXPLAINED, kept - CONFIRMED)
        if bad.min() >= 0:
            return _model(own[known], len(fit), members, mean, spread, weights, slowest, stride, seed)
        members = np.delete(members, int(np.argmin(bad)))
    return None


def _noise(residuals: Floats) -> Floats:
    """Spread of residuals by their median: rows that a change had reached in part do not count."""
    return np.asarray(1.4826 * np.median(np.abs(residuals), axis=0), np.float64)


def _trimmed(x: Floats) -> Floats:
    """:func:`_weights` without the rows that fit worst: a change had reached only some of the points."""
    weights = _weights(x)
    for _ in range(3):
        off = np.abs(x - x @ weights.T)
        noise = np.maximum(_noise(off), LEAST_SPREAD)
        worst = (off / noise).max(axis=1)
        weights = _weights(x[worst <= max(TRIM, float(np.quantile(worst, KEPT)))])
    return weights


def _weights(x: Floats) -> Floats:
    """Ridge regression of each column on the others, shape (m, m) with a diagonal of 0."""
    size = x.shape[1]
    gram = x.T @ x / len(x) + RIDGE * np.eye(size)
    weights = np.zeros((size, size))
    for j in range(size):
        rest = np.flatnonzero(np.arange(size) != j)
        weights[j, rest] = np.linalg.solve(gram[np.ix_(rest, rest)], gram[rest, j])
    return weights


def _model(
    own: Floats,
    cut: int,
    members: npt.NDArray[np.int64],
    mean: Floats,
    spread: Floats,
    weights: Floats,
    slowest: float,
    stride: float,
    seed: int,
) -> Group | None:
    scaled = (own - mean) / spread
    residuals = scaled - scaled @ weights.T
    noise = np.maximum(_noise(residuals[:cut]), LEAST_SPREAD)
    patience = int(np.clip(np.ceil(slowest * SECOND / STEP) + 2, *PATIENCE))
    rows = stayed(residuals / noise, max(2, round(patience / stride)))
    border = max(0, cut - patience)
    fit, held = compress(rows[:border]), compress(rows[border:])
    if len(fit) < MIN_FIT or len(held) < MIN_HELD:
        return None
    noise_of = np.random.default_rng(seed)
    fit = fit + noise_of.normal(scale=JITTER, size=fit.shape)
    held = held + noise_of.normal(scale=JITTER, size=held.shape)
    state = np.random.get_state()
    try:
        scorer = MODELS[MODEL](seed)
        scorer.fit(fit)
    finally:
        np.random.set_state(state)
    # a departure must also stay, and be a multiple of the largest one learned (``values_groups.py``)
    tail = Tail.fit(np.nan_to_num(np.asarray(scorer.decision_function(held), np.float64)), guarded=True)
    return Group(
        members,
        mean,
        spread,
        weights,
        noise,
        np.abs(rows).max(axis=0),
        own.min(axis=0),
        own.max(axis=0),
        patience,
        scorer,
        tail,
        len(held),
    )
