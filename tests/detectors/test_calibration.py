"""Limits and p-values: order, tails, and caution with little data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration import MAX_BLOCKS, Blocks, Budget, Tail, upper_limit

FLOATS = st.floats(-1e6, 1e6)


@given(st.lists(FLOATS, min_size=20, max_size=200), st.lists(FLOATS, min_size=2, max_size=20))
def test_p_values_fall_as_scores_rise(held: list[float], scores: list[float]) -> None:
    p = Tail.fit(np.array(held)).p_value(np.sort(np.array(scores)))
    assert np.all((p > 0) & (p <= 1))


def test_tail_goes_on_beyond_what_was_seen() -> None:
    tail = Tail.fit(np.random.default_rng(1).exponential(size=500))
    p = tail.p_value(np.array([1.0, 10.0, 20.0]))
    assert p[0] > 0.1
    assert p[1] < 1e-2
    assert p[2] < p[1] / 5


def test_tail_is_calibrated_on_fresh_data() -> None:
    rng = np.random.default_rng(2)
    p = Tail.fit(rng.normal(size=2000)).p_value(rng.normal(size=20_000))
    assert np.mean(p < 0.01) < 0.02


def test_few_held_scores_promise_no_more_than_they_know() -> None:
    rng = np.random.default_rng(4)
    p = np.array([Tail.fit(rng.exponential(size=20)).p_value(rng.exponential(size=20)) for _ in range(2000)])
    assert np.mean(p < 1e-3) < 2e-3
    assert np.mean(p < 1e-4) < 3e-4


def test_a_guarded_tail_is_exponential() -> None:
    tail = Tail.fit(np.arange(40.0), guarded=True)
    p = tail.p_value(tail.start + tail.scale * np.array([1.0, 2.0, 20.0]))
    assert p / tail.share == pytest.approx(np.exp([-1.0, -2.0, -20.0]), rel=1e-3)


def test_tail_refuses_too_few() -> None:
    with pytest.raises(ValueError, match="20 are needed"):
        Tail.fit(np.ones(5))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=100), st.floats(0, 10))
def test_limit_lies_beyond_what_was_seen(maxima: list[float], margin: float) -> None:
    assert upper_limit(maxima, 1e-6, margin) >= max(maxima) + margin


def test_rarer_alarms_need_wider_limits() -> None:
    maxima = np.random.default_rng(3).gumbel(size=64).tolist()
    assert upper_limit(maxima, 1e-9, 0.1) > upper_limit(maxima, 1e-3, 0.1)


@given(st.lists(st.tuples(st.integers(0, 10**12), FLOATS), min_size=1, max_size=300))
def test_blocks_stay_bounded_and_keep_the_extreme(rows: list[tuple[int, float]]) -> None:
    blocks = Blocks(length=1000)
    for ts, value in sorted(rows):
        blocks.add(ts, value)
    assert len(blocks.values) <= MAX_BLOCKS
    assert max(blocks.values) == max(value for _, value in rows)


def test_budget_is_divided() -> None:
    budget = Budget(per_day=1.0)
    assert budget.probability(0.5, 10, 100) == pytest.approx(0.5 / 8640 / 100)
