"""Margins that run out: a line through them, what is told, and what never is."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import ConvKey, Lens
from detectors.trends import LIMITS, MarginLearner, MarginTrends, learned_margins, trend_of, use_of
from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.names import Names
from sensor.warning.margin_sources import MarginSources
from sensor.warning.ptp_margins import PtpMargins

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
KEY: ConvKey = ("goose", "00:00:00:00:00:01", "01:0c:cd:01:00:01", 1, "gcb", 0)
TAL = "margin.goose_tal"


def told(
    use: np.ndarray, known: float | None = None, name: str = TAL, key: ConvKey = KEY
) -> list[tuple[float, Finding]]:
    """(hours since the beginning, finding) of a margin used so much in each window of 10 s."""
    learned = {} if known is None else {(name, key): known}
    trends = MarginTrends(Budget(), learned)
    limit = LIMITS[name]
    values = limit.free + use * (limit.limit - limit.free)
    found = []
    for window, value in enumerate(values.tolist()):
        end = START + (window + 1) * 10 * SECOND
        found += [((window + 1) / 360, one) for one in trends.add(end, [(name, "1", key, value)])]
    return found


def slope_by_hand(use: np.ndarray) -> float:
    """Median over all pairs, one by one."""
    n = len(use)
    return float(np.median([(use[j] - use[i]) / (j - i) for i in range(n) for j in range(i + 1, n)]))


def test_the_line_is_sen_s(rng: np.random.Generator) -> None:
    for n in (3, 20, 60):
        use = rng.normal(size=n) + 0.1 * np.arange(n)
        made = trend_of(use)
        assert made.slope == pytest.approx(slope_by_hand(use))
        assert made.low <= made.slope <= made.high


def test_the_interval_holds_the_true_slope_as_often_as_it_says(rng: np.random.Generator) -> None:
    held = 0
    for _ in range(400):
        made = trend_of(0.01 * np.arange(40) + rng.normal(scale=0.1, size=40))
        held += made.low <= 0.01 <= made.high
    assert 0.9 < held / 400 <= 1.0


def test_dependent_points_are_no_proof(rng: np.random.Generator) -> None:
    """Kendall's test alone would call most wandering series a trend."""
    small = 0
    for _ in range(300):
        x = np.zeros(60)
        for k in range(1, 60):
            x[k] = 0.9 * x[k - 1] + rng.normal()
        small += trend_of(x).p_value < 1e-6
    assert small < 10


@pytest.mark.parametrize("hours", [1.0, 2.0, 6.0, 24.0])
def test_a_steady_drift_is_told_before_the_limit(rng: np.random.Generator, hours: float) -> None:
    n = int(hours * 360)
    use = 0.3 + 0.7 * np.arange(n) / n + rng.normal(scale=0.04, size=n)
    found = told(use)
    assert found
    when, first = found[0]
    assert when < hours * 0.95
    assert (first.level, first.rule) == (Level.NOTICE, "margin-running-out")
    assert "GOOSE" not in first.summary
    assert "time allowed to live" in first.summary
    assert first.p_value < 1e-3


def test_the_projected_time_is_about_right() -> None:
    use = 0.2 + 0.8 * np.arange(720) / 720  # meets the limit after two hours
    trends = MarginTrends(Budget())
    off = []
    for window, value in enumerate((1 - use).tolist()):
        trends.add(START + (window + 1) * 10 * SECOND, [(TAL, "1", KEY, value)])
        hours = (window + 1) / 360
        off += [
            hours + left / 3600 - 2.0 for name, _, _, left in trends.assessed if name.endswith("time_left")
        ]
    assert len(off) > 50
    assert max(map(abs, off)) < 0.1


def test_what_learning_knew_makes_it_tell_sooner_or_not_at_all() -> None:
    use = 0.3 + 0.7 * np.arange(360) / 360
    alone, known, worse = told(use), told(use, 0.35), told(use, 0.9)
    assert known[0][0] < alone[0][0]
    assert not [when for when, _ in worse if when < 0.85]


def wandering(rng: np.random.Generator, phi: float, hours: int) -> np.ndarray:
    """Use of a margin whose windows resemble the ones before."""
    x, use = 0.0, np.empty(hours * 360)
    for k in range(len(use)):
        x = phi * x + rng.normal(scale=0.15) * np.sqrt(1 - phi**2)
        use[k] = np.clip(0.4 + x, 0.0, 1.4)
    return use


@pytest.mark.parametrize("phi", [0.0, 0.9, 0.95])
def test_noise_and_wandering_are_not_told(rng: np.random.Generator, phi: float) -> None:
    assert [told(wandering(rng, phi, 12)) for _ in range(6)] == [[]] * 6


@pytest.mark.parametrize("phi", [0.99, 0.995])
def test_nor_is_what_wanders_by_the_hour_as_it_did_while_learning(
    rng: np.random.Generator, phi: float
) -> None:
    found = [told(wandering(rng, phi, 12), float(wandering(rng, phi, 24).max())) for _ in range(6)]
    assert found == [[]] * 6


def test_a_step_and_what_has_failed_already_are_other_rules_matter() -> None:
    step = np.r_[np.full(300, 0.3), np.full(300, 0.6)]
    assert told(step) == []
    over = np.r_[np.full(120, 0.3), np.full(600, 1.2)]
    assert told(over) == []


def test_a_margin_that_gets_better_is_not_told() -> None:
    assert told(0.9 - 0.6 * np.arange(720) / 720) == []


def test_after_a_silence_a_new_story_begins() -> None:
    trends = MarginTrends(Budget())
    use = np.r_[np.full(100, 0.2), 0.2 + 0.5 * np.arange(60) / 360]
    found = []
    for window, value in enumerate(use.tolist()):
        late = 3600 if window >= 100 else 0
        end = START + ((window + 1) * 10 + late) * SECOND
        found += trends.add(end, [(TAL, "1", KEY, 1 - value)])
    assert found == []


def test_margins_without_a_limit_and_without_a_value_are_passed_over() -> None:
    trends = MarginTrends(Budget())
    assert trends.add(START, [("margin.sv_pause", "s", KEY, 1.0), (TAL, "1", KEY, float("nan"))]) == []
    assert trends.counters() == {"margin_series_evicted": 0}


def test_use_is_none_to_all_of_a_margin() -> None:
    assert use_of("margin.iec104_t1", 15.0) == 1.0
    assert use_of("margin.iec104_k", 6.0) == 0.5
    assert use_of(TAL, 0.25) == 0.75
    assert use_of(TAL, -9.0) == 1.5
    assert use_of(TAL, 2.0) == 0.0


def test_the_worst_while_learning_is_kept_and_read_back() -> None:
    learner, baseline = MarginLearner(), Baseline()
    for value in (0.8, 0.4, 0.6):
        learner.add([(TAL, "1", KEY, value), ("margin.sv_lost", "1", KEY, 9.0)])
    learner.finish(baseline)
    again = Baseline.from_bytes(baseline.to_bytes())
    assert learned_margins(again) == {(TAL, KEY): pytest.approx(0.6)}
    again.params["margins"] = [*again.params["margins"], "odd", [1, 2], None]
    assert len(learned_margins(again)) == 1
    again.params["margins"] = 7
    assert learned_margins(again) == {}


def announces(names: Names, times: list[float]) -> Slice:
    rows = np.zeros(len(times), MESSAGE)
    proto = names.protocol_id("ptp")
    ends = [names.intern_endpoint(one) for one in ("00:00:00:00:00:01", "01:1b:19:00:00:00")]
    rows["conv"] = names.intern_conversation(proto, *ends, 0, 0, 0)
    rows["proto"], rows["kind"] = proto, 11
    rows["ts"] = [START + round(at * SECOND) for at in times]
    return Slice(START, START + 100 * SECOND, rows, np.zeros(0, POINT))


def test_ptp_leaves_two_thirds_of_its_timeout_and_less_when_one_stays_away() -> None:
    names = Names(load_registry())
    margins = PtpMargins(names)
    margins.push(announces(names, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    (steady,) = margins.close(START + 10 * SECOND)
    assert (steady.name, steady.value) == ("margin.ptp_announce", pytest.approx(2 / 3))
    margins.push(announces(names, [10, 12.4]))
    (late,) = margins.close(START + 13 * SECOND)
    assert late.value == pytest.approx(1 - 2.4 / 3)
    (overdue,) = margins.close(START + 17 * SECOND)
    assert overdue.value < 0
    assert margins.close(START + 99 * SECOND) == []


def test_all_sources_are_one() -> None:
    names = Names(load_registry())
    sources = MarginSources(names)
    sources.push(announces(names, [0, 1, 2, 3, 4, 5]))
    (made,) = sources.close(START + 6 * SECOND, Lens(names))
    assert made[0] == "margin.ptp_announce"
    assert made[2][0] == "ptp"
    assert sources.left_out == 0
