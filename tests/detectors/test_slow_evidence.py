"""Evidence over time: slow changes surface, quiet traffic stays quiet, a site that moved is told once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import FakeNames

from detectors.base import Finding, Level
from detectors.baseline import Baseline
from detectors.behaviour import Behaviour
from detectors.calibration import Budget
from detectors.evidence import Evidence, log_e
from detectors.groups import ConvKey, Lens
from detectors.tables import FEATURES, TABLES, conv_fields

START = 1_700_000_000
CONVS = 6
MEAN = np.array([40, 4000, 0.5, 0.5, 0, 0, 0, 0, 4, 1.5, 8, 0.25, 0.1, 0.6, 0.03, 0.08, 0, 0.5])
SPREAD = np.array([4, 400, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0.03, 0.03, 0.08, 0.004, 0.02, 0, 0])


def key(number: int) -> ConvKey:
    return ("modbus", f"10.0.0.{number}", "10.0.1.1", 502, "", 0)


def windows(rng: np.random.Generator, n: int, like: float) -> np.ndarray:
    """Features of n windows; each resembles the one before by ``like``."""
    noise = rng.normal(size=(n, len(FEATURES)))
    for k in range(1, n):
        noise[k] = like * noise[k - 1] + np.sqrt(1 - like**2) * noise[k]
    return MEAN + SPREAD * noise


def learned(rng: np.random.Generator, n: int, like: float) -> Baseline:
    rows = [
        conv_fields(key(number))
        | {"start": START + 10.0 * k}
        | dict(zip(FEATURES, values.tolist(), strict=True))
        for number in range(CONVS)
        for k, values in enumerate(windows(rng, n, like))
    ]
    baseline = Baseline()
    baseline.tables["features"] = TABLES["features"].frame(rows)
    baseline.params = {"learned_s": n * 10.0, "seed": 1, "window_s": 10.0}
    return baseline


class Site:
    """A learned site, and what evidence says of its windows."""

    def __init__(self, seed: int = 1, n: int = 720, like: float = 0.3) -> None:
        self.rng = np.random.default_rng(seed)
        self.like = like
        baseline = learned(self.rng, n, like)
        budget = Budget()
        self.behaviour = Behaviour(baseline, Lens(FakeNames()), budget)
        self.evidence = Evidence(self.behaviour, baseline, budget)
        self.strange = 0
        self.window = 0

    def run(self, n: int, shift: float = 0.0, of: int = 0) -> list[tuple[int, Finding]]:
        """(window, finding) of n windows in which some conversations lie ``shift`` spreads higher."""
        data = [windows(self.rng, n, self.like) + (shift * SPREAD if i < of else 0) for i in range(CONVS)]
        found = []
        for k in range(n):
            self.window += 1
            rows = {key(number): data[number][k] for number in range(CONVS)}
            p_values = self.behaviour.score(0, rows)
            end = (START + 100_000 + 10 * self.window) * 10**9
            self.strange += len(self.behaviour.findings(end, rows, p_values, {}))
            found += [(k, one) for one in self.evidence.add(end, rows, p_values, {})]
        return found


def test_an_e_value_of_a_uniform_p_value_is_one_on_the_mean() -> None:
    p = (np.arange(1_000_000) + 0.5) / 1_000_000
    mean = float(np.mean([np.exp(log_e(x)) for x in p[::100]]))
    assert 0.95 < mean <= 1.001
    assert log_e(0.0) == log_e(1e-300) == log_e(1e-4)


@pytest.mark.parametrize("like", [0.0, 0.5, 0.9])
def test_quiet_traffic_stays_quiet_for_hours(like: float) -> None:
    assert Site(3, 720, like).run(4 * 360) == []


def test_a_small_lasting_change_surfaces_that_no_window_shows() -> None:
    site = Site(5)
    assert site.run(360) == []
    found = site.run(720, 1.5, 1)
    assert site.strange == 0, "the behaviour model alone says nothing"
    assert {one.link for _, one in found} == {key(0)}
    assert found[0][0] < 400
    assert {(one.rule, one.level) for _, one in found} == {("slow-change", Level.NOTICE)}
    first = found[0][1]
    assert "is not quite what it was since 2023-11-16" in first.summary
    assert "(learned" in first.summary


def test_it_ends_when_the_change_ends_and_may_come_again() -> None:
    site = Site(5)
    assert site.run(500, 1.5, 1)
    after = site.run(500)
    assert after
    assert after[-1][0] < 200
    assert site.run(500, 1.5, 1)


def test_a_short_training_is_not_believed() -> None:
    levels = {one.level for _, one in Site(5, 300).run(720, 1.5, 1) if one.rule == "slow-change"}
    assert levels == {Level.INFO}


def test_one_wild_window_is_not_slow() -> None:
    site = Site(5)
    site.run(100)
    assert site.run(1, 50.0, 1) == []
    assert site.strange == 1
    assert site.run(200) == []


def test_a_site_that_moves_as_a_whole_has_an_old_baseline_and_is_told_once_a_day() -> None:
    site = Site(7)
    found = site.run(1_000, 1.5, CONVS)
    aged = [(at, one) for at, one in found if one.rule == "baseline-aged"]
    assert len(aged) == 1
    assert 360 < aged[0][0] < 800
    assert aged[0][1].level == Level.NOTICE
    assert "6 of 6 conversations (6 modbus)" in aged[0][1].summary
    assert site.evidence.note == aged[0][1].summary
    quiet = {one.level for at, one in found if one.rule == "slow-change" and at > aged[0][0]}
    assert quiet == {Level.INFO}


def test_two_that_moved_do_not_age_a_baseline() -> None:
    site = Site(7)
    found = site.run(1_000, 2.0, 2)
    assert {one.rule for _, one in found} == {"slow-change"}
    assert site.evidence.note == ""
    assert (site.evidence.moved, site.evidence.watched) == (2, CONVS)


def test_shares_are_the_budget() -> None:
    budget = Budget()
    shares = (budget.timing, budget.order, budget.values, budget.behaviour, budget.margins, budget.evidence)
    assert sum(shares) == pytest.approx(1.0)


def test_nothing_learned_is_nothing_gathered() -> None:
    baseline = Baseline()
    behaviour = Behaviour(baseline, Lens(FakeNames()), Budget())
    assert Evidence(behaviour, baseline, Budget()).add(1, {}, {key(0): 0.5}, {}) == []
