"""Behaviour: PyOD models over window features, one per protocol (the only importer of PyOD).

Every row is normalised by the median and the median absolute deviation of its own conversation, so that
one model serves all conversations of a protocol, then compressed by a logarithm so that one wild
feature cannot hide the others. Models are refitted, with a fixed seed, from the ``features`` table of
the baseline: fitted on the first 70 % of the time, calibrated on the rest (``calibration.Tail``).

Default ``knn``: its score keeps growing with the distance from what was seen, so that the tail means
something (histograms and forests give every outlier the same score), it needs few rows, and costs about
2 ms per 64 windows. ``ecod`` is our own with frozen tails: PyOD's appends the rows it scores to its
training data, so that a score would depend on its neighbours in the batch.

References
----------
Zhao, Nasrullah, Li (2019), PyOD, JMLR 20(96). Li et al. (2022), ECOD, IEEE TKDE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from detectors.base import Finding, Level, likeliest
from detectors.baseline import Baseline
from detectors.calibration import FIT_SHARE, MIN_HELD, Budget, Tail
from detectors.detector import LinkFinding
from detectors.groups import ConvKey, Lens
from detectors.tables import CONV_KEYS, FEATURES

NAME: Final = "behaviour"
DEFAULT_MODEL: Final = "knn"
MIN_FIT: Final = 50
MIN_WINDOWS: Final = 12
"""Windows of one conversation below which it has no normal of its own."""

MAX_FIT: Final = 5_000
WINDOW_HOLD: Final = 30.0
"""Seconds (three windows) within which strange windows are one alert."""

JITTER: Final = 0.15
"""Noise (in normalised units) on the rows that fit and calibrate: machines repeat themselves so exactly
that, without it, a model would call the least difference impossible; some divide by a variance of zero."""

TOP: Final = 3
BOLD: Final = 1_000.0
"""A tail is believed down to one in so many times the rows held back. Where the budget asks for rarer
windows than that (short captures), one strange window is kept at info and only persistence is told."""

PERSISTENT: Final = 2
"""Strange windows out of the last three that make a warning of a notice."""

Floats = npt.NDArray[np.float64]

WORDS: Final = {
    "messages": "messages in 10 s",
    "bytes": "bytes in 10 s",
    "client_share": "share of requests",
    "read_share": "share of reads",
    "report_share": "share of reports",
    "command_share": "share of commands",
    "session_share": "share of session messages",
    "error_share": "share of errors",
    "kinds": "kinds of message",
    "kind_entropy": "mix of kinds (bits)",
    "points": "objects addressed",
    "gap_mean": "mean time between messages (s)",
    "gap_std": "spread of time between messages (s)",
    "gap_max": "longest pause (s)",
    "response_mean": "mean response time (s)",
    "response_max": "longest response time (s)",
    "repeated_share": "share of repeated or refused messages",
    "value_changes": "value changes per message",
}

FLOOR: Final = {name: 0.05 for name in FEATURES if name.endswith("_share")} | {
    "messages": 1.0,
    "bytes": 50.0,
    "kinds": 0.5,
    "kind_entropy": 0.1,
    "points": 1.0,
    "gap_mean": 0.02,
    "gap_std": 0.05,
    "gap_max": 0.1,
    "response_mean": 0.01,
    "response_max": 0.05,
    "value_changes": 0.1,
}
"""Least spread that a difference is measured in: smaller ones mean nothing to anybody."""

RELATIVE: Final = 0.1
"""The same as a share of the median."""


class Scorer(Protocol):
    """A model: the larger the score, the stranger the row. A score depends on its own row only."""

    def fit(self, rows: Floats) -> Any: ...
    def decision_function(self, rows: Floats) -> Floats: ...


class FrozenEcod:
    """ECOD with the tails of the training rows, fixed (shape of rows: (n, features))."""

    def fit(self, rows: Floats) -> FrozenEcod:
        """Sort each column and remember its skewness."""
        self._columns = np.sort(rows, axis=0)
        centred = rows - rows.mean(axis=0)
        spread = np.maximum(rows.std(axis=0), 1e-12)
        self._skew = np.sign((centred**3).mean(axis=0) / spread**3)
        return self

    def decision_function(self, rows: Floats) -> Floats:
        """Sum of negative log tail probabilities, the largest of left, right and skew-chosen tails."""
        n, width = self._columns.shape
        left, right = np.empty(rows.shape), np.empty(rows.shape)
        for j in range(width):
            below = np.searchsorted(self._columns[:, j], rows[:, j], side="right")
            above = n - np.searchsorted(self._columns[:, j], rows[:, j], side="left")
            left[:, j] = -np.log((below + 1) / (n + 1))
            right[:, j] = -np.log((above + 1) / (n + 1))
        chosen = np.where(self._skew < 0, left, right)
        return np.asarray(np.max([left.sum(1), right.sum(1), chosen.sum(1)], axis=0), np.float64)


MEMBERS: Final = ("knn", "hbos", "pca", "gmm", "ecod")
"""Models of the combination ``mean``: one or two of each family that keep their order in the far tail."""


class Combined:
    """Mean of the negative log p-values of several models, each calibrated on rows that it was not fitted on.

    The mean is calibrated once more, as the score of any other model. Two rows of five calibrate: taken
    evenly, for rows come sorted by conversation.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._members: list[tuple[Scorer, Tail]] = []

    def fit(self, rows: Floats) -> Combined:
        """Fit and calibrate every member; :data:`MIN_FIT` rows are enough."""
        held = np.arange(len(rows)) % 5 >= 3
        for name in MEMBERS:
            scorer = MODELS[name](self._seed)
            scorer.fit(rows[~held])
            self._members.append((scorer, Tail.fit(_finite(scorer.decision_function(rows[held])))))
        return self

    def decision_function(self, rows: Floats) -> Floats:
        """Shape (n,): the larger, the stranger."""
        logs = [
            -np.log(tail.p_value(_finite(scorer.decision_function(rows)))) for scorer, tail in self._members
        ]
        return np.asarray(np.mean(logs, axis=0), np.float64)


def _finite(scores: Floats) -> Floats:
    return np.nan_to_num(np.asarray(scores, np.float64), nan=0.0, posinf=1e300, neginf=0.0)


def _hbos(seed: int) -> Scorer:
    from pyod.models.hbos import HBOS

    return HBOS(n_bins=20)  # type: ignore[no-any-return]


def _pca(seed: int) -> Scorer:
    from pyod.models.pca import PCA

    return PCA(n_components=0.99, random_state=seed, svd_solver="full", standardization=False)  # type: ignore[no-any-return]


def _gmm(seed: int) -> Scorer:
    from pyod.models.gmm import GMM

    return GMM(n_components=3, covariance_type="diag", reg_covar=1e-2, random_state=seed)  # type: ignore[no-any-return]


def _knn(seed: int) -> Scorer:
    from pyod.models.knn import KNN

    return KNN(n_neighbors=5, method="mean", algorithm="ball_tree", n_jobs=1)  # type: ignore[no-any-return]


def _iforest(seed: int) -> Scorer:
    from pyod.models.iforest import IForest

    return IForest(n_estimators=100, random_state=seed)  # type: ignore[no-any-return]


def _loda(seed: int) -> Scorer:
    from pyod.models.loda import LODA

    np.random.seed(seed)  # LODA draws from numpy's global generator and offers no other way
    return LODA(n_bins=20)  # type: ignore[no-any-return]


def local_outliers(neighbours: int) -> Scorer:
    """PyOD's LOF for new rows: no model of ours, something to hold them against."""
    from pyod.models.lof import LOF

    return LOF(n_neighbors=neighbours, novelty=True)  # type: ignore[no-any-return]


MODELS: Final[dict[str, Callable[[int], Scorer]]] = {
    "knn": _knn,
    "hbos": _hbos,
    "pca": _pca,
    "gmm": _gmm,
    "iforest": _iforest,
    "ecod": lambda seed: FrozenEcod(),
    "loda": _loda,
    "mean": Combined,
}


@dataclass(frozen=True, slots=True)
class Normal:
    """What is normal for one conversation: per feature median, spread, and range (1 % to 99 %)."""

    median: Floats
    spread: Floats
    low: Floats
    high: Floats

    @staticmethod
    def of(rows: Floats) -> Normal:
        """From window features of shape (n, features)."""
        median = np.median(rows, axis=0)
        deviation = 1.4826 * np.median(np.abs(rows - median), axis=0)
        floor = np.array([FLOOR[name] for name in FEATURES])
        spread = np.maximum(np.maximum(deviation, floor), RELATIVE * np.abs(median))
        low, high = np.quantile(rows, [0.01, 0.99], axis=0)
        return Normal(median, spread, low, high)

    def scale(self, rows: Floats) -> Floats:
        """Rows as compressed multiples of the spread."""
        z = (rows - self.median) / self.spread
        return np.asarray(np.sign(z) * np.log1p(np.abs(z)), np.float64)


@dataclass(slots=True)
class Model:
    """A fitted, calibrated model of one protocol."""

    scorer: Scorer
    tail: Tail
    rows: int
    held: int

    def p_value(self, rows: Floats) -> tuple[Floats, Floats]:
        """(scores, p-values) of normalised rows."""
        scores = np.asarray(self.scorer.decision_function(rows), np.float64)
        return scores, self.tail.p_value(np.nan_to_num(scores, nan=0.0, posinf=1e300, neginf=0.0))


class Behaviour:
    """Scores windows with the models of a baseline.

    Attributes
    ----------
    skipped : dict of str to str
        Protocols without a model, and why.
    known : list of ConvKey
        Conversations that have a normal of their own; they are scored even when silent.
    """

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        name = str(baseline.params.get("model", DEFAULT_MODEL))
        self.model_name = name if name in MODELS else DEFAULT_MODEL
        seed = int(baseline.params.get("seed", 1))
        table = baseline.tables["features"]
        self.normals = _normals(table)
        self.skipped: dict[str, str] = {}
        self.models: dict[str, Model] = {}
        scaled, starts = scaled_rows(table, self.normals), table["start"].to_numpy(np.float64)
        protocols = np.array(table["protocol"].tolist(), object)
        for protocol in sorted(set(protocols)):
            mine = protocols == protocol
            self._fit(str(protocol), starts[mine], scaled[mine], seed)
        self.known = [key for key in self.normals if key[0] in self.models]
        window_s = float(baseline.params.get("window_s", 10.0))
        self.alpha = budget.probability(budget.behaviour, window_s, len(self.known))
        self._recent: dict[ConvKey, list[bool]] = {}

    def _fit(self, protocol: str, start: Floats, scaled: Floats, seed: int) -> None:
        """Fit and calibrate on the windows of one protocol: where they begin (s), normalised rows."""
        starts = np.unique(start)
        border = starts[min(len(starts) - 1, round(len(starts) * FIT_SHARE))]
        early = start < border
        usable = np.isfinite(scaled).all(axis=1)
        fit, held = scaled[early & usable], scaled[~early & usable]
        if len(fit) < MIN_FIT or len(held) < MIN_HELD:
            self.skipped[protocol] = (
                f"{len(fit)} + {len(held)} windows, {MIN_FIT} to fit and {MIN_HELD} held back are needed"
            )
            return
        if len(fit) > MAX_FIT:
            fit = fit[np.linspace(0, len(fit) - 1, MAX_FIT).astype(np.intp)]
        noise = np.random.default_rng(seed)
        fit = fit + noise.normal(scale=JITTER, size=fit.shape)
        held = held + noise.normal(scale=JITTER, size=held.shape)
        state = np.random.get_state()
        try:
            scorer = MODELS[self.model_name](seed)
            scorer.fit(fit)
        finally:
            np.random.set_state(state)
        scores = np.nan_to_num(np.asarray(scorer.decision_function(held), np.float64))
        self.models[protocol] = Model(scorer, Tail.fit(scores), len(fit), len(held))

    def score(self, start: int, rows: dict[ConvKey, Floats]) -> dict[ConvKey, float]:
        """p-values of the windows that begin at ``start``; only conversations with a normal of their own."""
        out: dict[ConvKey, float] = {}
        for protocol, model in self.models.items():
            keys = sorted(key for key in rows if key[0] == protocol and key in self.normals)
            if keys:
                scaled = np.stack([self.normals[key].scale(rows[key]) for key in keys])
                _, p = model.p_value(scaled)
                out.update(zip(keys, p.tolist(), strict=True))
        return out

    def findings(
        self, end: int, rows: dict[ConvKey, Floats], p_values: dict[ConvKey, float], convs: dict[ConvKey, int]
    ) -> list[Finding]:
        """What is strange in one closed window; ``convs`` gives the run's number of a conversation."""
        found: list[Finding] = []
        for key, p in p_values.items():
            recent = self._recent.setdefault(key, [])
            recent.append(p < self.alpha)
            del recent[:-3]
            if p < self.alpha:
                found.append(self._finding(end, key, rows[key], p, sum(recent), convs.get(key, -1)))
        return found

    def _level(self, protocol: str, strange: int) -> Level:
        """One window is a notice, several are a warning; each a step lower where learning was short."""
        believed = self.alpha >= 1.0 / (BOLD * self.models[protocol].held)
        if strange >= PERSISTENT:
            return Level.WARNING if believed else Level.NOTICE
        return Level.NOTICE if believed else Level.INFO

    def _finding(self, end: int, key: ConvKey, row: Floats, p: float, strange: int, conv: int) -> Finding:
        normal = self.normals[key]
        scaled = normal.scale(row)
        top = _top(scaled)
        words = [_explain(FEATURES[j], row[j], normal.low[j], normal.high[j]) for j in top]
        name = f"{key[0]} {key[4]}".strip()
        scores = _readings({FEATURES[j]: float(scaled[j]) for j in top})
        return LinkFinding(
            ts=end,
            detector=NAME,
            rule=f"behaviour-{self.model_name}",
            level=self._level(key[0], strange),
            reading=likeliest(scores),
            proto=-1,
            conv=conv,
            src=-1,
            dst=-1,
            summary=f"{key[1]} to {key[2]} ({name}) behaves unlike itself: " + "; ".join(words),
            expected="; ".join(
                f"{WORDS[FEATURES[j]]} {normal.low[j]:.3g} to {normal.high[j]:.3g}" for j in top
            ),
            observed="; ".join(f"{row[j]:.3g}" for j in top),
            p_value=p,
            scores=scores,
            hold=WINDOW_HOLD,
            link=key,
        )


def _top(scaled: Floats) -> list[int]:
    """Features that stand out, those that do most first."""
    return [int(j) for j in np.argsort(-np.abs(scaled), kind="stable")[:TOP] if abs(scaled[j]) > 0.3]


def explained(normal: Normal, row: Floats) -> list[tuple[str, str, float]]:
    """What stands out in a row: in words, by name, and how far (normalised), most first."""
    scaled = normal.scale(row)
    return [
        (_explain(FEATURES[j], row[j], normal.low[j], normal.high[j]), FEATURES[j], float(scaled[j]))
        for j in _top(scaled)
    ]


def readings_of(top: list[tuple[str, str, float]]) -> dict[str, float]:
    """Weights of the readings of what :func:`explained` gave."""
    return _readings({feature: z for _, feature, z in top})


def _explain(feature: str, value: float, low: float, high: float) -> str:
    return f"{WORDS[feature]} {value:.3g} (learned {low:.3g} to {high:.3g})"


def _readings(top: dict[str, float]) -> dict[str, float]:
    """More of what clients do speaks for an attack or operation; less traffic, slowness for a fault."""
    scores = {"attack": 0.3, "fault": 0.3, "operation": 0.3}
    for feature, z in top.items():
        more = z > 0
        if feature in ("messages", "bytes", "kinds", "points", "command_share", "kind_entropy") and more:
            scores["attack"] += 0.15
        elif (
            feature in ("error_share", "repeated_share")
            or feature.startswith(("response", "gap"))
            or feature in ("messages", "bytes")
        ):
            scores["fault"] += 0.15
        else:
            scores["operation"] += 0.1
    total = sum(scores.values())
    return {name: round(value / total, 3) for name, value in scores.items()}


def _normals(table: pd.DataFrame) -> dict[ConvKey, Normal]:
    values = table[list(FEATURES)].to_numpy(np.float64)
    return {key: Normal.of(values[at]) for key, at in _by_conv(table).items() if len(at) >= MIN_WINDOWS}


def scaled_rows(table: pd.DataFrame, normals: dict[ConvKey, Normal]) -> Floats:
    """Normalised rows of a table, NaN for conversations without a normal."""
    values = table[list(FEATURES)].to_numpy(np.float64)
    out = np.full(values.shape, np.nan)
    for key, at in _by_conv(table).items():
        normal = normals.get(key)
        if normal is not None:
            out[at] = normal.scale(values[at])
    return out


def _by_conv(table: pd.DataFrame) -> dict[ConvKey, list[int]]:
    """Row numbers of each conversation of a table."""
    grouped: dict[ConvKey, list[int]] = {}
    for index, key in enumerate(zip(*(table[name].tolist() for name in CONV_KEYS), strict=True)):
        grouped.setdefault(key, []).append(index)
    return grouped
