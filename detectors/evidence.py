"""Evidence over time: windows that are each hardly strange, and together are.

Each window of a conversation has a p-value of its behaviour model. It becomes the conversation's own: its
rank among what this conversation's held-back windows had (conformal, so never bolder than what was seen), or
the model's where that is larger. A p-value becomes an e-value, 0.5 / sqrt(p), whose mean under normal traffic
is at most one; evidence is their product since the last time it was worth nothing (a CUSUM of logarithms).
Under independence such a detector exceeds a threshold c once in c windows at most (Shin, Ramdas and Rinaldo
2023), which makes the threshold of the site's budget: c = 1 / the share of one conversation and window.
Windows resemble the ones before, so there are three brakes: a single window counts no more than p = 0.0001, a
change must last as long as the calibration was long (half an hour at most), and a conversation whose own
held-back time already gathered evidence needs that much more.

Told is once, with since when, how many windows and which features; it ends when half of the evidence is gone.

**The baseline has aged** when many conversations move together and stay: the mean surprise (-ln p) of the
last half hour is twice what it should be in three conversations and three tenths of all, for an hour. Then it
is the plant that changed, or the network: that is told once a day, and evidence about single conversations is
kept at ``info`` meanwhile.

References
----------
Shin, Ramdas, Rinaldo (2023), E-detectors: a nonparametric framework for sequential change detection.
Page (1954), Continuous inspection schemes. Vovk and Wang (2021), E-values, Annals of Statistics 49.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading, likeliest
from detectors.baseline import Baseline
from detectors.behaviour import Behaviour, explained, readings_of, scaled_rows
from detectors.calibration import DAY, FIT_SHARE, MIN_HELD, Budget
from detectors.detector import LinkFinding
from detectors.groups import SECOND, ConvKey
from detectors.tables import FEATURES, conv_of

NAME: Final = "evidence"
SMALLEST: Final = 1e-4
LASTING: Final = 180
"""Windows that a change need last at most before it is told: half an hour."""

UNUSUAL: Final = 0.1
HEADROOM: Final = 3.0
HOLD: Final = 600.0
LEARNED: Final = 3_600.0
"""Seconds of learning below which evidence is kept at info."""

MEMORY: Final = 1 / 180
MOVED: Final = 2.0
SEEN: Final = 180
FEWEST, SHARE = 3, 0.3
STAYS: Final = 360
"""Windows for which many must have moved: an hour."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _State:
    """Where one conversation stands."""

    own: Floats  # p-values of its held-back windows, ascending
    start: float  # evidence (logarithm) that its held-back time gathered beyond what is usual
    log: float = 0.0
    since: int = 0
    windows: int = 0
    unusual: int = 0
    strange: int = 0
    told: bool = False
    total: Floats = field(default_factory=lambda: np.zeros(len(FEATURES)))
    surprise: float = 1.0
    seen: int = 0

    def own_p(self, p: float) -> float:
        """The p-value among its own."""
        rank = int(np.searchsorted(self.own, p, side="right"))
        return max(p, (rank + 1.0) / (len(self.own) + 1.0))


def log_e(p: float) -> float:
    """Logarithm of the e-value of a p-value: its mean over a uniform p is one."""
    return float(np.log(0.5) - 0.5 * np.log(max(p, SMALLEST)))


class Evidence:
    """Gathers evidence over the windows that a behaviour model scored.

    Attributes
    ----------
    aged : int
        How often it was told that the baseline has aged.
    moved, watched : int
        Conversations that are not what they were, of how many, in the last window.
    """

    def __init__(self, behaviour: Behaviour, baseline: Baseline, budget: Budget) -> None:
        self._behaviour = behaviour
        window_s = float(baseline.params.get("window_s", 10.0))
        self._believed = float(baseline.params.get("learned_s", 0.0)) >= LEARNED
        self._states = _calibrated(behaviour, baseline)
        alpha = budget.probability(budget.evidence, window_s, len(self._states))
        self.threshold = float(-np.log(alpha))
        self.aged = self.moved = self.watched = 0
        self._stays, self._told_at = 0, float("-inf")
        self._words = ""

    def counters(self) -> dict[str, int]:
        """Nothing is refused: the conversations are the baseline's."""
        return {}

    @property
    def note(self) -> str:
        """What to know about the age of the baseline, "" nothing."""
        return self._words if self.aged else ""

    def add(
        self, end: int, rows: dict[ConvKey, Floats], p_values: dict[ConvKey, float], convs: dict[ConvKey, int]
    ) -> list[Finding]:
        """Take the scored windows that end at ``end`` (ns)."""
        told = []
        for key in sorted(p_values):
            state, p = self._states.get(key), p_values[key]
            if state is None or p != p:
                continue
            own = state.own_p(p)
            state.surprise += MEMORY * (-float(np.log(max(own, SMALLEST))) - state.surprise)
            state.seen += 1
            if self._gather(state, end, rows[key], p, own):
                told.append((key, state))
        many = self._many()
        found = [self._finding(end, key, state, convs.get(key, -1), many) for key, state in told]
        return found + self._age(end, many)

    def _gather(self, state: _State, end: int, row: Floats, p: float, own: float) -> bool:
        """One window; whether there is something to say."""
        if state.log <= 0.0:
            state.since, state.windows, state.unusual, state.strange = end, 0, 0, 0
            state.total = np.zeros(len(FEATURES))
        limit = self.threshold + state.start
        state.log = min(max(state.log, 0.0) + log_e(own), limit + HEADROOM)
        state.windows += 1
        state.unusual += int(own < UNUSUAL)
        state.strange += int(p < self._behaviour.alpha)
        state.total = state.total + row
        if state.told and state.log < limit / 2:
            state.told, state.log = False, 0.0
            return False
        lasting = state.windows >= min(len(state.own), LASTING)
        state.told |= state.log >= limit and lasting
        return state.told

    def _finding(self, end: int, key: ConvKey, state: _State, conv: int, many: bool) -> Finding:
        mean = state.total / state.windows
        top = explained(self._behaviour.normals[key], mean)
        name = f"{key[0]} {key[4]}".strip()
        since = datetime.fromtimestamp(state.since / SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")
        quiet = many or not self._believed or state.strange > 0
        scores = readings_of(top)
        return LinkFinding(
            ts=end,
            detector=NAME,
            rule="slow-change",
            level=Level.INFO if quiet else Level.NOTICE,
            reading=likeliest(scores),
            proto=-1,
            conv=conv,
            src=-1,
            dst=-1,
            summary=f"{key[1]} to {key[2]} ({name}) is not quite what it was since {since}: "
            f"{state.unusual} of {state.windows} windows are unusual, {UNUSUAL * state.windows:.0f} would be "
            f"normal; on the mean {'; '.join(text for text, _, _ in top) or 'nothing stands out'}",
            expected=f"evidence below 10^{(self.threshold + state.start) / np.log(10):.1f}",
            observed=f"10^{state.log / np.log(10):.1f} over {state.windows} windows",
            p_value=float(np.exp(-state.log)),
            scores=scores,
            hold=HOLD,
            link=key,
        )

    # --- age of the baseline ------------------------------------------------------------------------

    def _many(self) -> bool:
        """Have many conversations moved together?"""
        watched = [state for state in self._states.values() if state.seen >= SEEN]
        self.watched = len(watched)
        self.moved = sum(bool(state.surprise > MOVED) for state in watched)
        return self.moved >= max(FEWEST, SHARE * self.watched)

    def _age(self, end: int, many: bool) -> list[Finding]:
        self._stays = self._stays + 1 if many else 0
        if self._stays < STAYS or end / SECOND - self._told_at < DAY:
            return []
        self._told_at = end / SECOND
        self.aged += 1
        protocols = Counter(key[0] for key, state in self._states.items() if state.surprise > MOVED)
        which = ", ".join(f"{count} {protocol}" for protocol, count in protocols.most_common(4))
        self._words = (
            f"the baseline has aged: {self.moved} of {self.watched} conversations ({which}) have not been "
            "what was learned for more than an hour; learn again"
        )
        return [
            LinkFinding(
                ts=end,
                detector=NAME,
                rule="baseline-aged",
                level=Level.NOTICE,
                reading=Reading.OPERATION,
                proto=-1,
                conv=-1,
                src=-1,
                dst=-1,
                summary=self._words,
                expected=f"fewer than {max(FEWEST, round(SHARE * self.watched))} of {self.watched} at once",
                observed=f"{self.moved} of {self.watched}",
                scores={"operation": 0.7, "fault": 0.2, "attack": 0.1},
            )
        ]


def _calibrated(behaviour: Behaviour, baseline: Baseline) -> dict[ConvKey, _State]:
    """Conversations with enough held-back windows, each with its own p-values in order of size."""
    states: dict[ConvKey, _State] = {}
    if not behaviour.models:
        return states
    for protocol, table in baseline.tables["features"].groupby("protocol", sort=True):
        model = behaviour.models.get(str(protocol))
        if model is None:
            continue
        starts = np.sort(table["start"].unique())
        border = starts[min(len(starts) - 1, round(len(starts) * FIT_SHARE))]
        held = table[table["start"] >= border].sort_values("start", kind="stable")
        scaled = scaled_rows(held, behaviour.normals)
        usable = np.isfinite(scaled).all(axis=1)
        if not usable.any():
            continue
        _, p_values = model.p_value(scaled[usable])
        own: dict[ConvKey, list[float]] = {}
        for row, p in zip(held[usable].itertuples(index=False), p_values.tolist(), strict=True):
            own.setdefault(conv_of(row), []).append(p)
        states |= {key: _state(values) for key, values in own.items() if len(values) >= MIN_HELD}
    return states


def _state(values: list[float]) -> _State:
    """The state of a conversation that was held back with these p-values, in order of time."""
    made = _State(np.sort(np.array(values)), 0.0)
    log = most = 0.0
    for p in values:
        log = max(log, 0.0) + log_e(made.own_p(p))
        most = max(most, log)
    made.start = max(0.0, most - float(np.log(len(values) + 1)))
    return made
