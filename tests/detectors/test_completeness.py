"""The estimate of how complete learning is, held against processes whose future is known."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.baseline import Baseline
from detectors.compare import merge
from detectors.completeness import completeness
from detectors.tables import TABLES, conv_fields

HOUR = 3_600.0


def learned(times: dict[int, list[float]], seconds: float, points: int = 0) -> Baseline:
    """A baseline that met each kind at these times."""
    made = Baseline(params={"learned_s": seconds, "false_alarms_per_day": 1.0})
    conv = conv_fields(("modbus", "a", "b", 502, "", 0))
    made.tables["kinds"] = TABLES["kinds"].frame(
        [
            conv
            | {"role": 1, "kind": kind, "cause": -1, "name": "", "class": "", "origin": "learned"}
            | {"first": min(met), "last": max(met), "count": len(met)}
            for kind, met in times.items()
            if met
        ]
    )
    made.tables["points"] = TABLES["points"].frame(
        [
            conv | {"kind": 3, "point": f"p{n}", "code": n, "most": 1, "count": 1, "origin": "learned"}
            for n in range(points)
        ]
    )
    return made


def zipf(seed: int, species: int, steepness: float, seconds: float) -> list[np.ndarray]:
    """Arrival times of species whose rates fall off as a power of their rank."""
    dice = np.random.default_rng(seed)
    rates = 0.05 * np.arange(1, species + 1) ** -steepness
    return [np.sort(dice.uniform(0, seconds, dice.poisson(rate * seconds))) for rate in rates]


@pytest.mark.parametrize("steepness", [1.5, 2.0, 3.0])
def test_news_comes_as_often_as_foretold(steepness: float) -> None:
    """Mean over twenty sites: eight hours are learned, the next hour is counted."""
    foretold, came = 0.0, 0
    for seed in range(20):
        arrivals = zipf(seed, 3_000, steepness, 9 * HOUR)
        before = {n: list(met[met < 8 * HOUR]) for n, met in enumerate(arrivals)}
        estimate = completeness(learned(before, 8 * HOUR))
        assert estimate is not None
        foretold += estimate.news_per_day / 24
        came += sum(len(met) > 0 and met[0] >= 8 * HOUR for met in arrivals)
    assert 0.5 * came <= foretold <= 2 * came + 20 / 8  # the one that is added


def test_after_the_advised_time_news_is_as_rare_as_wanted() -> None:
    wanted, came, sites = 75.0, 0, 0
    for seed in range(20):
        arrivals = zipf(seed, 3_000, 2.0, 48 * HOUR)
        estimate = completeness(
            learned({n: list(m[m < 8 * HOUR]) for n, m in enumerate(arrivals)}, 8 * HOUR), wanted
        )
        assert estimate is not None
        if not estimate.trusted:  # by chance more was seen once than can be extrapolated from
            continue
        sites += 1
        enough = 8 * HOUR + estimate.more_s
        came += sum(len(m) > 0 and enough <= m[0] < enough + 24 * HOUR for m in arrivals)
    assert sites >= 12
    assert 0.5 * wanted < came / sites < 1.5 * wanted


def test_a_burst_is_one_event() -> None:
    often = {n: [float(t) for t in range(0, 7200, 100)] for n in range(20)}
    burst = often | {99: [500.0, 500.1, 505.0]}
    quiet, loud = completeness(learned(often, 7200)), completeness(learned(burst, 7200))
    assert quiet is not None
    assert loud is not None
    assert (quiet.once, loud.once) == (0, 1)
    assert loud.news_per_day == pytest.approx(2 / 7200 * 86_400)
    assert completeness(learned(often, 7200, points=3)).once == 3  # type: ignore[union-attr]


def test_long_learning_is_complete_and_short_learning_never() -> None:
    often = {n: [float(t) for t in range(0, 3600, 100)] for n in range(20)}
    short = completeness(learned(often, 3600))
    assert short is not None
    assert not short.trusted
    assert short.more_s == 2 * 3600
    assert "learn more than 2 more hours" in short.sentence
    week = {n: [0.0, 600_000.0] for n in range(20)}
    long = completeness(learned(week, 604_800))
    assert long is not None
    assert (long.more_s, long.trusted) == (0, True)
    assert "complete enough" in long.sentence
    assert completeness(Baseline()) is None


def test_merged_learning_counts_together() -> None:
    one, two = learned({1: [10.0], 2: [20.0]}, 3600), learned({1: [90_000.0]}, 3600)
    joined = completeness(merge(one, two))
    assert joined is not None
    assert (joined.once, joined.things, joined.learned_s) == (1, 2, 7200)
