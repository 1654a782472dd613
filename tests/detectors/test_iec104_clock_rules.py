"""Clock commands: a wrong time is told, zones and summer time are not (IEC 60870-5-101, 7.3.4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from row_bench import START, Bench, C, S

from detectors.base import Finding, Level
from detectors.groups import Lens
from detectors.news import observed
from detectors.rules.iec104_clock import Iec104ClockRules

RULE = "iec104-clock-value"
WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
EPOCH = START // 1_000_000_000
DAY, HOUR, QUARTER = 86_400.0, 3_600.0, 900.0
Rows = list[np.void]


class Clocks(Bench):
    def __init__(self) -> None:
        super().__init__("iec104", Iec104ClockRules)

    def sets(self, ts: float, offset: float = 0.0, role: Any = C, cause: int = 6, **more: Any) -> np.void:
        """A command at ``ts`` s with a time so far from the capture's."""
        fields: dict[str, Any] = {"count": 1, "value": EPOCH + ts + offset}
        return self.row(ts, 103, role, cause=cause, **(fields | more))

    def findings(self, rows: Sequence[np.void], *args: Any, **more: Any) -> list[Finding]:
        """As always, with frames numbered as they come."""
        rows = sorted(rows, key=lambda row: int(row["ts"]))
        for number, row in enumerate(rows, 1):
            row["frame"] = number
        return super().findings(rows, *args, **more)

    def every(self, minutes: int, *offsets: float) -> Rows:
        return [self.sets(60.0 * minutes * n, offset) for n, offset in enumerate(offsets)]

    def data(self, end: int) -> Rows:
        return [self.row(n / 2, 13, S) for n in range(2 * end)]

    def levels(self, rows: Rows, **more: Any) -> list[Level]:
        assert {rule for rule, _ in self.said(rows, **more)} <= {RULE}
        return [level for _, level in self.said(rows, **more)]


@pytest.mark.parametrize("step", [-DAY, DAY, 10.0, -7.0, 2 * HOUR, -QUARTER, 3 * 365 * DAY])
@pytest.mark.parametrize("usual", [0.0, HOUR, -5.75 * HOUR, 123.4])
def test_a_time_that_steps(step: float, usual: float) -> None:
    b = Clocks()
    rows = [*b.every(5, usual, usual, usual, usual + step, usual), *b.data(1_300)]
    assert b.levels(rows)[-1:] == [WARNING]
    assert b.levels(rows).count(WARNING) == 1


def test_a_time_that_steps_and_comes_back() -> None:
    b = Clocks()
    rows = [*b.every(5, 0.0, 0.0, 50.0, 50.0, 0.0, 0.0), *b.data(1_600)]
    assert b.levels(rows) == [WARNING, INFO]


def test_a_first_command_where_learning_knows_clocks_that_fit() -> None:
    b = Clocks()
    fits, odd = b.learned(b.every(5, 0.2, HOUR, 0.1)), b.learned(b.every(5, 0.2, 123.4))
    for known, level in ((fits, NOTICE), (odd, INFO), (None, INFO)):
        assert b.levels(b.every(5, 2_833.0), baseline=known) == [level]


ZONES = [0.0, HOUR, -12 * HOUR, 14 * HOUR, 5.5 * HOUR, -3.5 * HOUR + 0.3, 5.75 * HOUR]


@pytest.mark.parametrize("usual", ZONES)
def test_zones_delays_and_summer_time(usual: float) -> None:
    b = Clocks()
    change = HOUR if usual < 13 * HOUR else -HOUR
    rows = b.every(5, usual, usual + 0.4, usual - 0.9, usual + change, usual + change, usual)
    assert b.levels([*rows, *b.data(1_600)]) == []


@pytest.mark.parametrize(
    ("offset", "alone", "proved"),
    [(-DAY, NOTICE, WARNING), (-9e8, NOTICE, WARNING), (100.0, INFO, NOTICE), (HOUR - 30, INFO, NOTICE)],
)
def test_a_first_command_that_does_not_fit(offset: float, alone: Level, proved: Level) -> None:
    """Louder when the capture's clock is the same as another command's."""
    b = Clocks()
    assert b.levels([b.sets(10, offset)]) == [alone]
    assert b.levels([b.sets(5, 0.2, dst="10.0.0.3"), b.sets(10, offset)]) == [proved]
    assert b.levels([b.sets(5, 55.0, dst="10.0.0.3"), b.sets(10, offset)]) == [INFO, alone]


def test_a_wrong_clock_of_the_sensor_is_no_alarm() -> None:
    b = Clocks()
    rows = [row for station in range(2, 9) for row in (b.sets(station, -250.0, dst=f"10.0.0.{station}"),)]
    assert set(b.levels([*rows, *b.every(5, -250.0, -250.0)[1:], *b.data(400)])) == {INFO}
    set_forward = [b.sets(10), b.sets(90), b.sets(160, -50.0), b.sets(190, -50.0)]
    paused = [*b.data(100), *[row for row in b.data(200) if row["ts"] > START + 150 * 10**9]]
    assert b.levels([*set_forward, *paused]) == []
    assert b.levels([*set_forward, *b.data(200)]) == [WARNING]


def test_the_same_time_again_and_again() -> None:
    b = Clocks()
    rows = [b.sets(50.0 * n, -1_000.0 - 50.0 * n) for n in range(5)]
    assert set(b.levels([*rows, *b.data(300)])) == {INFO}


def test_an_impossible_time() -> None:
    b = Clocks()
    assert b.levels([b.sets(1, value=np.nan)]) == [NOTICE]


def test_what_sets_no_clock() -> None:
    b = Clocks()
    rows = [
        b.sets(1),
        b.sets(2, DAY, cause=7, role=S),  # its confirmation
        b.sets(3, DAY, cause=3, role=S),  # a station's report of its own clock
        b.row(4, 100, C, cause=6, value=20.0, count=1),
        b.sets(5, value=np.nan, count=0),
    ]
    assert b.levels(rows) == []


def test_news_of_a_clock_command_leaves_the_time_out() -> None:
    """What is accepted of it has to hold for the next one, too."""
    b = Clocks()
    lens = Lens(b.names)
    point = b.row(1, 50, C, value=7.0, point=1 << 24 | 9)
    assert observed(lens, np.array([point]), "set-point") == "set-point CA 1 IOA 9 = 7"
    assert observed(lens, np.array([b.sets(1, point=1 << 24)]), "clock") == "clock CA 1 IOA 0"


def test_a_habit_of_the_site() -> None:
    b = Clocks()
    wild = [*b.every(5, 0.0, 50.0, -50.0, 100.0, -100.0), *b.data(1_300)]
    assert WARNING in b.levels(wild)
    assert set(b.levels(wild, baseline=b.learned(wild))) == {INFO}
