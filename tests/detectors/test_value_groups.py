"""A point that departs from the points it moves with, or adds up to."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from process_bench import POSITION, Feed, Plant, Say, edit

from detectors.base import Finding, Level
from detectors.baseline import Baseline
from detectors.compare import merge
from detectors.values_models import groups_of, stayed
from detectors.values_samples import Sampled

WAVES = np.random.default_rng(7).normal(size=(4, 2_000)).cumsum(axis=1)
NOISE = np.random.default_rng(8).normal(size=(12_000, 8))
BEGIN = 4_000


def load(second: int, feeder: int) -> float:
    """A wandering load of 20 to 80 (reflected), new every 20 s."""
    position = float(np.interp(second / 20, np.arange(2_000), 4 * WAVES[feeder]))
    return 20 + abs((position % 120) - 60)


def normal(second: int) -> list[Say]:
    """Feeders' power and current at one outstation, the sum of powers at another; an unrelated value."""
    if second % 10:
        return []
    loads = [load(second, feeder) for feeder in range(3)]
    noise = 0.2 * NOISE[second]
    powers = [Say(0, 1 + i, value + noise[i]) for i, value in enumerate(loads)]
    currents = [Say(0, 11 + i, 5 * value + noise[3 + i]) for i, value in enumerate(loads)]
    total = Say(1, 21, sum(loads) + noise[6])
    other = Say(1, 22, load(second, 3))
    return [*powers, *currents, total, other, Say(0, 31, 2, POSITION)]


@cache
def learned(seconds: int = 3_600) -> Baseline:
    return Plant().learn(normal, seconds)


def changed(factor: float, *points: int, switch: bool = False) -> Feed:
    """Some points times ``factor`` from 300 s on."""

    def feed(second: int) -> list[Say]:
        if second < BEGIN + 300:
            return normal(second)
        said = edit(normal(second), lambda value: value * factor, *points)
        return edit(said, lambda _: 1, 31) if switch else said

    return feed


def found(feed: Feed, baseline: Baseline | None = None, seconds: int = 900) -> list[Finding]:
    given = Plant().detect(baseline or learned(), feed, BEGIN, seconds)
    return [one for one in given if one.rule == "value-departs"]


def names(baseline: Baseline) -> list[set[str]]:
    sampled = Sampled(baseline)
    return [{sampled.points[int(j)][1] for j in group.members} for group in groups_of(baseline, sampled, 1)]


def test_what_belongs_together_is_found_and_nothing_else() -> None:
    groups = names(learned())
    assert {"point 1", "point 11"} in groups
    assert any("point 21" in group and len(group) > 2 for group in groups), "the sum and its addends"
    assert not any("point 22" in group for group in groups)


def test_normal_goes_on_unnoticed() -> None:
    assert found(normal, seconds=6_000) == []


def test_a_shift_inside_the_range_names_point_expected_and_observed() -> None:
    shifted = [one for one in found(changed(0.7, 12)) if one.level == Level.NOTICE]
    assert shifted
    assert {one.group for one in shifted} <= {"point 2", "point 12"}
    assert all(one.p_value < 1e-3 and one.expected and one.observed for one in shifted)
    assert "point" in shifted[0].summary


def test_a_whole_outstation_shifted_is_seen_in_the_balance() -> None:
    assert any(one.level == Level.NOTICE for one in found(changed(0.7, 1, 2, 3, 11, 12, 13)))


def test_another_topology_is_information() -> None:
    given = found(changed(0.7, 12, switch=True))
    assert given
    assert {one.level for one in given} == {Level.INFO}


def test_a_departure_that_does_not_stay_is_none() -> None:
    def glitch(second: int) -> list[Say]:
        return changed(0.7, 12)(second) if BEGIN + 300 <= second < BEGIN + 315 else normal(second)

    assert found(glitch) == []


def test_a_member_that_is_not_heard_is_not_judged() -> None:
    def silent(second: int) -> list[Say]:
        return [one for one in changed(0.7, 12)(second) if one.point not in (2, 21) or second < BEGIN + 280]

    assert found(silent) == []


def test_a_short_training_is_silent() -> None:
    assert found(changed(0.7, 12), learned(900)) == []


def test_the_same_baseline_gives_the_same_models() -> None:
    one, other = (groups_of(learned(), Sampled(learned()), 1) for _ in range(2))
    assert [group.p_value(3 * group.largest) for group in one] == [
        group.p_value(3 * group.largest) for group in other
    ]


@pytest.mark.parametrize(
    ("rows", "expected"), [([3.0, 2.0, 5.0], 2.0), ([-3.0, -2.0, -5.0], -2.0), ([3.0, -2.0, 5.0], 0.0)]
)
def test_what_stayed(rows: list[float], expected: float) -> None:
    assert stayed(np.array(rows)[:, None], 3).tolist() == [[expected]]


def test_merged_captures_are_rows_one_after_another() -> None:
    other = Baseline.from_bytes(learned().to_bytes())
    table = other.tables["samples"].copy()
    table["start"] += 86_400.0
    other.tables["samples"] = table
    both = merge(learned(), other)
    assert len(Sampled(both).values) == 2 * len(Sampled(learned()).values)
    assert {"point 1", "point 11"} in names(both)


@pytest.mark.parametrize("cell", ["", "1", "nan;nan", "1;2;inf;4"])
def test_a_damaged_cell_costs_its_capture_only(cell: str) -> None:
    made = Baseline.from_bytes(learned().to_bytes())
    table = made.tables["samples"].copy()
    table.loc[0, ["sample_blocks", "step_s"]] = [cell, 0.0]
    made.tables["samples"] = table
    assert found(normal, made, seconds=60) == []
