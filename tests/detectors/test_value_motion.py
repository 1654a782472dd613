"""Jumps inside the range, and values that stand still."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from process_bench import POSITION, Feed, Plant, Say, edit

from detectors.base import Level
from detectors.baseline import Baseline

NOISE = np.random.default_rng(5).normal(size=(12_000, 4))
BEGIN = 4_000
MOTION = ("value-jump", "value-frozen", "values-standstill")


def normal(second: int) -> list[Say]:
    """Every 5 s three quantities that move slowly, the last of them at 0 half the time; a breaker."""
    if second % 5:
        return []
    swing = 50 + 40 * np.sin(second / 300)
    quantities = [swing + 0.5 * NOISE[second, 0], 100 - swing + 0.5 * NOISE[second, 1]]
    rest = 10 + NOISE[second, 2] if second // 600 % 2 else 0.0
    position = 2 if second % 2_000 < 1_800 else 1
    return [Say(0, 1 + i, value) for i, value in enumerate([*quantities, rest])] + [
        Say(0, 9, position, POSITION)
    ]


@cache
def learned(seconds: int = 3_600) -> Baseline:
    return Plant().learn(normal, seconds)


def rules(feed: Feed, seconds: int = 600, baseline: Baseline | None = None) -> list[tuple[str, Level, int]]:
    found = Plant().detect(baseline or learned(), feed, BEGIN, seconds)
    return [(one.rule, one.level, one.point) for one in found if one.rule in MOTION]


def changed(point: int, change: float, begin: int, end: int = 10**9, **switch: int) -> Feed:
    """Normal, but with something added to one point for a while, and a switch thrown."""

    def feed(second: int) -> list[Say]:
        said = normal(second)
        if begin <= second < end:
            said = edit(said, lambda value: value + change, point)
        at = switch.get("switch", -1)
        return edit(said, lambda _: 1, 9) if second >= at >= 0 else said

    return feed


def held(begin: int, *points: int) -> Feed:
    """Normal, but with points that stand still from ``begin`` on."""

    def feed(second: int) -> list[Say]:
        then = {one.point: one.value for one in normal(begin)}
        return [
            one._replace(value=then[one.point]) if one.point in points and second >= begin else one
            for one in normal(second)
        ]

    return feed


def test_normal_goes_on_unnoticed() -> None:
    assert rules(normal, 4_000) == []


def test_a_jump_inside_the_range_is_told_and_slow_change_is_not() -> None:
    assert ("value-jump", Level.NOTICE, 1) in rules(changed(1, 20.0, BEGIN + 100))

    def slow(second: int) -> list[Say]:
        return edit(normal(second), lambda value: value + min(20.0, 0.05 * max(0, second - BEGIN)), 1)

    assert [rule for rule, _, _ in rules(slow)] == []


def test_a_state_that_changes_with_it_explains_a_jump() -> None:
    found = rules(changed(1, 20.0, BEGIN + 100, switch=BEGIN + 102))
    assert ("value-jump", Level.INFO, 1) in found
    assert not any(level > Level.INFO for _, level, _ in found)


def test_after_a_pause_a_value_may_have_gone_far() -> None:
    def paused(second: int) -> list[Say]:
        return normal(second) if not BEGIN + 100 <= second < BEGIN + 500 else []

    assert rules(paused, 1_000) == []


def test_a_point_that_stands_while_others_move_is_frozen() -> None:
    assert rules(held(BEGIN + 50, 1)) == [("value-frozen", Level.NOTICE, 1)]


def test_all_points_at_once_are_a_standstill() -> None:
    assert rules(held(BEGIN + 50, 1, 2, 3)) == [("values-standstill", Level.NOTICE, -1)]


def test_when_reports_stop_nothing_stands_still() -> None:
    assert rules(lambda second: normal(second) if second < BEGIN + 50 else []) == []


def test_what_is_switched_off_measures_nothing() -> None:
    # from second 3,600 on the third quantity is 0 for 600 s, as in every second stretch
    assert rules(lambda second: [one for one in normal(second) if one.point == 3 or second % 2]) == []


def test_repetitions_do_not_count() -> None:
    def repeated(second: int) -> list[Say]:
        return [one._replace(flags=1 << 5) for one in normal(BEGIN)] if second > BEGIN else normal(second)

    assert rules(repeated) == []


@pytest.mark.parametrize("feed", [changed(1, 20.0, BEGIN + 100), held(BEGIN + 50, 1), held(BEGIN, 1, 2, 3)])
def test_a_short_training_is_silent(feed: Feed) -> None:
    assert rules(feed, baseline=learned(900)) == []


def test_batches_of_a_point_in_one_second_are_seen_one_by_one() -> None:
    def dense(second: int) -> list[Say]:
        said = normal(second)
        if second != BEGIN + 100:
            return said
        return [*said, said[0]._replace(value=said[0].value + 20), said[0]]

    found = rules(dense)
    assert found.count(("value-jump", Level.NOTICE, 1)) == 2
