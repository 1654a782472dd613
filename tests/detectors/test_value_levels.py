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
    return [finding for one in pieces for finding in values.detect(one)]


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


NORMAL: tuple[Any, ...] = ((1, 20), (2, 20), (3, 1))


def test_one_value_is_a_fault_several_at_once_are_not() -> None:
    assert readings(piece(0, *NORMAL), piece(1, (1, 900))) == {Reading.FAULT}
    assert readings(piece(0, *NORMAL), piece(1, (1, 900), (2, 900))) == {Reading.ATTACK}


def test_a_state_that_changes_with_them_makes_it_a_fault() -> None:
    assert readings(piece(0, *NORMAL), piece(1, (1, 900), (2, 900), (3, 2))) == {Reading.FAULT}


def test_what_stays_outside_is_held_for_three_periods() -> None:
    found = run(made(point_1=QUANTITY), piece(0, (1, 50)), piece(20, (1, 50)))
    assert [finding.hold for finding in found] == [30.0, 30.0]


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
