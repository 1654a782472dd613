"""What a run keeps beside its alerts."""

from __future__ import annotations

import numpy as np
import pytest

from grid_profiles.vocabulary import POINT
from sensor.run import Samples, score_of


def points(values: list[float]) -> np.ndarray:
    rows = np.zeros(len(values), POINT)
    rows["value"] = values
    rows["ts"] = np.arange(len(values))
    return rows


def test_samples_keep_everything_that_is_a_number_while_there_is_room() -> None:
    samples = Samples(limit=10)
    samples.add(points([1.0, float("nan"), 3.0]))
    assert samples.rows()["value"].tolist() == [1.0, 3.0]
    assert not samples.thinned


def test_samples_are_bounded_and_keep_their_order() -> None:
    samples = Samples(limit=100)
    for start in range(0, 5000, 50):
        rows = points([1.0] * 50)
        rows["ts"] += start
        samples.add(rows)
    kept = samples.rows()["ts"]
    assert 10 < len(kept) <= 100
    assert samples.thinned
    assert (np.diff(kept) > 0).all()


def test_score_runs_from_normal_to_one() -> None:
    assert score_of(1.0) == 0.0
    assert score_of(1e-6) == pytest.approx(0.5)
    assert score_of(0.0) == 1.0
    assert np.isnan(score_of(float("nan")))
