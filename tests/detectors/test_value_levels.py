"""Values outside their range: how loud, and how they read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic import GOOSE, IEC104, SECOND, START, FakeNames, message

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import DAY, Budget
from detectors.groups import Lens
from detectors.saturation import FULL
from detectors.values import Limits, ValueLearner, Values
from grid_profiles.vocabulary import POINT, Role

CONV = ("iec104", "10.0.0.1", "10.0.0.2", 2404, "", 0)
QUANTITY = Limits(0.0, 40.0, 20.0, (10.0, 30.0), False, step=2.0, period=10.0)
STATE = Limits(0.0, 3.0, 1.0, (1.0, 2.0), False, step=1.0, period=10.0)
CONSTANT = Limits(5.0, 5.0, 5.0, (5.0, 5.0), True, period=10.0)


def made(**limits: Limits) -> Values:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    values = Values(Baseline(), Lens(names), Budget())
    values.limits = {(CONV, name.replace("_", " ")): band for name, band in limits.items()}
    return values


def piece(second: int, *values: tuple[int, float]) -> Slice:
    """One message of the outstation in this second, with (point, value) pairs."""
    row = message(second + 0.1, proto=IEC104, conv=0, src=2, dst=1, role=Role.SERVER, kind=13)
    points = np.zeros(len(values), POINT)
    for i, (point, value) in enumerate(values):
        points[i]["ts"], points[i]["frame"], points[i]["proto"] = row["ts"], row["frame"], IEC104
        points[i]["point"], points[i]["value"] = point, value
    start = START + second * SECOND
    return Slice(start, start + SECOND, np.array([row]), points, packets=1)


def run(values: Values, *pieces: Slice) -> list[Finding]:
    return [finding for one in pieces for finding in values.detect(one)] + values.rest()


@pytest.mark.parametrize(
    ("steps", "level"),
    [
        ((30, 39), None),  # inside
        ((30, 45), Level.NOTICE),  # a little outside
        ((95, 100, 105), Level.NOTICE),  # three ranges out, but it crept there
        ((30, 105), Level.WARNING),  # the same in one jump
        ((249, 250), Level.WARNING),  # absurd however it came
    ],
)
def test_level(steps: tuple[float, ...], level: Level | None) -> None:
    found = run(made(point_1=QUANTITY), *(piece(n, (1, value)) for n, value in enumerate(steps)))
    assert (found[-1].level if found else None) == level


def test_without_a_value_before_it_a_jump_is_not_assumed() -> None:
    assert run(made(point_1=QUANTITY), piece(0, (1, 105)))[0].level == Level.NOTICE


def readings(*pieces: Slice) -> set[Reading]:
    values = made(point_1=QUANTITY, point_2=QUANTITY, point_3=STATE)
    return {finding.reading for finding in run(values, *pieces)}


def switched(second: int, kind: int, cause: int, role: int) -> Slice:
    """A state report of the outstation, or a command to it."""
    ends = {"src": 2, "dst": 1} if role == Role.SERVER else {"src": 1, "dst": 2}
    row = message(second + 0.1, proto=IEC104, conv=0, role=role, kind=kind, cause=cause, **ends)
    start = START + second * SECOND
    return Slice(start, start + SECOND, np.array([row]), np.zeros(0, POINT), packets=1)


@pytest.mark.parametrize(
    ("other", "level"),
    [
        (switched(3, 31, 3, Role.SERVER), Level.INFO),  # a breaker is told right after
        (switched(1, 45, 6, Role.CLIENT), Level.INFO),  # or was commanded just before
        (switched(3, 31, 20, Role.SERVER), Level.WARNING),  # interrogated: it may have stood so for long
        (switched(30, 31, 3, Role.SERVER), Level.WARNING),  # long after
    ],
)
def test_what_a_feeder_shows_when_it_is_switched_off_is_no_news(other: Slice, level: Level) -> None:
    band = Limits(600.0, 1_400.0, 50.0, (900.0, 1_100.0), False, step=5.0, period=10.0)
    pieces = [piece(1, (1, 1_000)), piece(2, (1, 0)), other]
    (found,) = run(made(point_1=band), *sorted(pieces, key=lambda one: one.start))
    assert (found.rule, found.level) == ("out-of-range", level)
    assert ("a state of its device changed" in found.summary) == (level == Level.INFO)


def test_what_is_absurd_is_told_at_once_whatever_switched() -> None:
    values = made(point_1=QUANTITY)
    found = run(values, piece(0, (1, 30)), switched(1, 31, 3, Role.SERVER), piece(2, (1, 900)))
    assert [one.level for one in found] == [Level.WARNING]


def test_it_stays_explained_for_as_long_as_the_value_stays_outside() -> None:
    band = Limits(600.0, 1_400.0, 50.0, (900.0, 1_100.0), False, step=5.0, period=10.0)
    off = [piece(n, (1, 2)) for n in range(2, 60, 4)]
    found = run(made(point_1=band), piece(0, (1, 1_000)), switched(1, 31, 3, Role.SERVER), *off)
    assert {one.level for one in found} == {Level.INFO}
    assert len(found) == len(off)


def test_a_command_explains_that_what_it_sets_no_longer_stands_still() -> None:
    order = piece(1, (1, 0.0))
    order.messages["src"], order.messages["dst"] = 1, 2
    order.messages["role"], order.messages["kind"], order.messages["cause"] = Role.CLIENT, 45, 6
    found = run(made(point_1=CONSTANT), piece(0, (1, 5.0)), order, piece(2, (1, 0.0)), piece(30, (1, 0.0)))
    assert [(one.rule, one.level) for one in found] == [("constant-changed", Level.INFO)] * 3
    (alone,) = run(made(point_1=CONSTANT), piece(0, (1, 5.0)), piece(2, (1, 0.0)))
    assert alone.level == Level.NOTICE


def test_a_finding_that_waits_is_told_at_the_end_and_once() -> None:
    values = made(point_1=QUANTITY)
    assert values.detect(piece(0, (1, 45))) == []
    assert [one.rule for one in values.detect(piece(6, (1, 20)))] == ["out-of-range"]
    assert values.rest() == []


COUNTER = Limits(float("-inf"), float("inf"), 100.0, (0.0, 100.0), False, 1.0, 10.0, counter=True)


@pytest.mark.parametrize(
    ("steps", "rules"),
    [
        ((500, 501, 502), []),
        ((500, 440, 441), ["counter-back"]),  # answers of a minute ago
        ((65_000, 3, 4), []),  # it began again
        ((500, 499, 497, 495), []),  # a measurement that only rose while learning, and turns
        ((-500, -560, -559), ["counter-back"]),  # a word with sign, halfway round
        ((-500, -499, 5), []),
        ((32_767, -32_768, -32_767), []),  # it went round
    ],
)
def test_a_counter_that_goes_back(steps: tuple[float, ...], rules: list[str]) -> None:
    found = run(made(point_1=COUNTER), *(piece(n, (1, value)) for n, value in enumerate(steps)))
    assert [(one.rule, one.level) for one in found] == [(rule, Level.NOTICE) for rule in rules]


def learned(values: list[float]) -> Values:
    """Judges what was learned from one value every ten seconds."""
    names = FakeNames()
    names.conv("iec104", 1, 2)
    learner, baseline = ValueLearner(Lens(names)), Baseline(params={"learned_s": 10.0 * len(values)})
    for n, value in enumerate(values):
        learner.learn(piece(10 * n, (1, value)))
    learner.finish(baseline)
    return Values(baseline, Lens(names), Budget())


def test_what_is_out_of_all_proportion_to_a_few_values() -> None:
    setpoints = [55.0, 60.0, 57.0, 62.0, 58.0]
    assert [one.rule for one in run(learned(setpoints), piece(0, (1, 9_000.0)))] == ["out-of-range"]
    assert run(learned(setpoints), piece(0, (1, 90.0))) == []
    assert run(learned(setpoints[:4]), piece(0, (1, 9_000.0))) == []  # too few to say anything


def test_what_only_rose_while_learning_is_a_counter() -> None:
    rising = learned([float(n) for n in range(60)])
    assert [one.rule for one in run(rising, piece(0, (1, 80.0)), piece(1, (1, 70.0)))] == ["counter-back"]
    assert run(learned([n + 0.5 for n in range(60)]), piece(0, (1, 80.0)), piece(1, (1, 70.0))) == []


NORMAL: tuple[Any, ...] = ((1, 20), (2, 20), (3, 1))


def test_one_value_is_a_fault_several_at_once_are_not() -> None:
    assert readings(piece(0, *NORMAL), piece(1, (1, 900))) == {Reading.FAULT}
    assert readings(piece(0, *NORMAL), piece(1, (1, 900), (2, 900))) == {Reading.ATTACK}


def test_a_state_that_changes_with_them_makes_it_a_fault() -> None:
    assert readings(piece(0, *NORMAL), piece(1, (1, 900), (2, 900), (3, 2))) == {Reading.FAULT}


def test_what_stays_outside_is_held_for_three_periods() -> None:
    found = run(made(point_1=QUANTITY), piece(0, (1, 50)), piece(20, (1, 50)))
    assert [finding.hold for finding in found] == [40.0, 40.0]  # and for the time that it waits


def test_a_constant_that_moves_reads_as_operation() -> None:
    (found,) = run(made(point_1=CONSTANT), piece(0, (1, 6)))
    assert (found.rule, found.level, found.reading) == ("constant-changed", Level.NOTICE, Reading.OPERATION)


def test_a_constant_of_minutes_is_no_promise() -> None:
    for learned, level in ((FULL - 1, Level.INFO), (FULL, Level.NOTICE)):
        (found,) = run(made(point_1=replace(CONSTANT, learned=learned)), piece(0, (1, 6)))
        assert found.level == level
        assert ("needed" in found.summary) == (level == Level.INFO)


@pytest.mark.parametrize("learned", [60.0, DAY])
def test_a_goose_dataset_exists_to_tell_changes(learned: float) -> None:
    pieces = [piece(0, (1, 5.0)), piece(1, (1, 6.0))]
    for one in pieces:
        one.points["proto"] = GOOSE
    assert run(made(point_1=replace(CONSTANT, learned=learned)), *pieces)[-1].level == Level.INFO


@pytest.mark.parametrize(
    ("learned", "value", "level"),
    [
        (DAY, 45, Level.NOTICE),
        (DAY / 4, 59, Level.INFO),  # within one range: the range of a day is twice that of six hours
        (DAY / 4, 61, Level.NOTICE),
        (DAY / 400, 260, Level.INFO),  # eleven ranges out, but learned for four minutes
        (DAY / 400, 441, Level.WARNING),
    ],
)
def test_a_load_wanders_for_a_day(learned: float, value: float, level: Level) -> None:
    band = replace(QUANTITY, learned=learned, step=10.0)
    crept = [piece(n, (1, 40 + n * (value - 40) / 9)) for n in range(10)]
    assert run(made(point_1=band), *crept)[-1].level == level


def test_a_jump_that_dwarfs_every_step_is_a_warning_however_short_learning_was() -> None:
    band = replace(QUANTITY, learned=300.0)
    assert run(made(point_1=band), piece(0, (1, 30)), piece(1, (1, 105)))[0].level == Level.WARNING


@pytest.mark.parametrize(
    ("learned", "before", "value", "level"),
    [
        (600.0, 30, 55, Level.NOTICE),  # twelve learned steps at once, three quarters of a range beyond
        (600.0, 50, 55, Level.INFO),  # it crept there
        (600.0, 30, 49, Level.INFO),  # near the limit
        (400.0, 30, 55, Level.INFO),  # forty values say little about its steps
    ],
)
def test_a_day_drifts_farther_than_minutes_but_leaps_no_more(
    learned: float, before: float, value: float, level: Level
) -> None:
    band = replace(QUANTITY, learned=learned)
    assert run(made(point_1=band), piece(0, (1, before)), piece(1, (1, value)))[-1].level == level


def test_a_time_of_day_is_no_process_value() -> None:
    names = FakeNames()
    names.conv("goose", 1, 2)
    learner = ValueLearner(Lens(names))
    one = piece(0, (1, 5.0), (2, 1.7e9))
    one.points["proto"] = GOOSE
    one.points["kind"] = [0x87, 0x91]
    learner.learn(one)
    made = Baseline()
    learner.finish(made)
    assert list(made.tables["values"]["point"]) == ["point 1"]
