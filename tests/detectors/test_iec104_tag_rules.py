"""Time tags of IEC 60870-5-104: what goes back, is played again, steps, comes too late; and what may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from row_bench import START, Bench, C, S, Said

from detectors.base import Level
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.rules.iec104_tags import Iec104TagRules
from grid_profiles.vocabulary import POINT, TIME_TAG, Flag, Role
from sensor.messages import MessageBatch
from sensor.pipeline import learn

WARNING, NOTICE = Level.WARNING, Level.NOTICE
EPOCH = START / 1e9
STARTDT_CON, CLOCK, FLOAT, COMMAND, SETPOINT = 514, 103, 36, 58, 63
REPLAYED, STEPPED, OLD = "iec104-value-replayed", "iec104-tag-step", "iec104-command-old"
HOUR = 3_600.0


class Station(Bench):
    """A station and its master; ``frames`` are message rows, each with its time tags."""

    def __init__(self, late: float = 0.0) -> None:
        super().__init__("iec104", Iec104TagRules)
        self.late = late
        self.rows: list[np.void] = []
        self.points: list[np.void] = []

    def add(
        self,
        ts: float,
        kind: int,
        tag: float | None = None,
        role: Role = S,
        ioa: int = 1,
        quality: int = 0,
        **more: Any,
    ) -> Station:
        """A message at ``ts`` s, with a time tag of ``tag`` s."""
        fields: dict[str, Any] = {"cause": 3 if role == S else 6, "count": 1}
        row = self.row(ts, kind, role, point=1 << 24 | ioa, **(fields | more))
        if tag is not None:
            point = np.zeros(1, POINT)[0]
            for name in ("ts", "frame", "proto", "conv", "point"):
                point[name] = row[name]
            point["message"], point["kind"], point["quality"] = len(self.rows), TIME_TAG | kind, quality
            point["value"] = EPOCH + tag - self.late
            self.points.append(point)
        self.rows.append(row)
        return self

    def value(self, ts: float, age: float = 0.02, ioa: int = 1, **more: Any) -> Station:
        return self.add(ts, FLOAT, ts - age, ioa=ioa, **more)

    def values(self, begin: int, end: int, age: float = 0.02, points: int = 4) -> Station:
        for second in range(begin, end):
            self.value(second, age, 1 + second % points)
        return self

    def command(self, ts: float, age: float = 0.5, **more: Any) -> Station:
        return self.add(ts, COMMAND, ts - age, C, 9, **more)

    def told(self, baseline: Baseline | None = None) -> Said:
        return self.said(self.rows, baseline=baseline, points=self.points)

    def baseline(self) -> Baseline:
        made = np.array(self.rows)
        return learn(
            [MessageBatch(made, np.array(self.points, POINT), made["ts"].astype(np.int64))], self.names
        )


BROKEN: dict[str, tuple[Callable[[Station], Any], Said]] = {
    "a value played again": (lambda b: b.values(0, 60).value(61, 41.02, 1 + 20 % 4), [(REPLAYED, NOTICE)]),
    "several of them": (
        lambda b: [b.values(0, 60)] + [b.value(61 + n, 41.02, 1 + (20 + n) % 4) for n in range(3)],
        [(REPLAYED, NOTICE), (REPLAYED, NOTICE), (REPLAYED, WARNING)],
    ),
    "old values that nobody saw": (lambda b: b.values(0, 60).values(60, 90, 150), [(STEPPED, NOTICE)]),
    "values from later": (lambda b: b.values(0, 60).values(60, 90, -500), [(STEPPED, NOTICE)]),
    "a clock that was set to another time": (
        lambda b: b.values(0, 60).add(60, CLOCK, role=C, value=EPOCH + 60).values(61, 90, -500),
        [(STEPPED, NOTICE)],
    ),
    "a command played again": (lambda b: b.command(0).command(100, 100.5), [(OLD, WARNING)]),
    "a command older than one before": (lambda b: b.command(0, 60).command(100, 200), [(OLD, WARNING)]),
    "a command too old": (lambda b: b.command(0).command(100, 90), [(OLD, WARNING)]),
    "a command of later": (lambda b: b.command(0).command(100, -90), [(OLD, NOTICE)]),
}  # fmt: skip

KEPT: dict[str, Callable[[Station], Any]] = {
    "values in order": lambda b: b.values(0, 120),
    "the newest value again": lambda b: b.values(0, 60).value(61, 2.02, 1 + 59 % 4),
    "two objects out of order": lambda b: b.values(0, 60).value(61, 6.0, 7).value(62, 3.0, 8),
    "a buffer of old events": lambda b: [b.values(0, 60)]
    + [b.value(200 + n / 10, 139 - n / 2) for n in range(200)],
    "what was not acknowledged, after STARTDT": lambda b: (
        b.values(0, 60).add(62, STARTDT_CON).value(63, 8.02, 1 + 55 % 4)
    ),
    "a clock that starts": lambda b: b.values(0, 60, 9_999).add(70, STARTDT_CON).values(90, 120),
    "a clock that is set": lambda b: (
        b.values(0, 60, 333).add(60, CLOCK, role=C, value=EPOCH + 60).values(61, 90)
    ),
    "summer time": lambda b: b.values(0, 60).values(60, 90, -HOUR),
    "summer time that is marked": lambda b: [b.values(0, 60)] + [
        b.value(60 + n, -HOUR, quality=0x40) for n in range(30)],
    "times that their station does not trust": lambda b: [b.values(0, 60)] + [
        b.value(60 + n, -500, quality=0x80) for n in range(30)],
    "interrogated values": lambda b: b.values(0, 60).value(61, 41.02, 1 + 20 % 4, cause=20),
    "bytes sent twice": lambda b: b.values(0, 60).value(61, 41.02, 1 + 20 % 4, flags=int(Flag.RETRANSMITTED)),
    "impossible times": lambda b: b.values(0, 60).value(61, float("nan")).value(62, float("nan")),
    "select and execute": lambda b: b.command(0).command(2, 2.5),
    "commands in order": lambda b: b.command(0).command(50).command(100, 3),
    "the station's answers": lambda b: b.command(0).add(100, COMMAND, -0.5, S, 9, cause=7),
    "few values": lambda b: b.values(0, 10).values(10, 30, -500),
}  # fmt: skip


@pytest.mark.parametrize("late", [0.0, 7_200.0, -20_000.0, 1e8])
@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, late: float) -> None:
    b = Station(late)
    make, expected = BROKEN[name]
    make(b)
    if name == "a clock that was set to another time":
        b.rows[60]["value"] -= late
    assert b.told() == expected


@pytest.mark.parametrize("late", [0.0, 7_200.0, -20_000.0, 1e8])
@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str, late: float) -> None:
    b = Station(late)
    KEPT[name](b)
    if name == "a clock that is set":
        for row in b.rows:
            row["value"] -= late
    assert b.told() == []


def test_how_old_commands_are_is_learned() -> None:
    known = Station().command(0, 600.0).command(60, 602.0).values(61, 300).baseline()
    assert Station().command(1_000, 605.0).told(known) == []
    assert Station().command(1_000, 660.0).told(known) == [(OLD, WARNING)]
    assert Station().command(1_000, 0.0).told(known) == [(OLD, NOTICE)]
    assert Station().command(1_000, 600.0 + HOUR).told(known) == []  # summer time


def test_the_first_command_has_nothing_to_be_held_against() -> None:
    assert Station().command(0, 12_345.0).told() == []


def test_capture_clock_that_steps() -> None:
    """A hole of the whole capture is the sensor's clock, not the station's."""
    b = Station().values(0, 60)
    for second in range(600, 630):  # tags go on as if nothing had been
        b.add(second, FLOAT, second - 540 - 0.02, ioa=1 + second % 4)
    assert b.told() == []


def test_two_stations_have_clocks_of_their_own() -> None:
    b = Station()
    for second in range(60):
        b.value(second, 0.02).value(second + 0.5, 5_000.0, src="10.0.0.1", dst="10.0.0.3")
    assert b.told() == []


def test_objects_beyond_the_bound_are_left_out() -> None:
    b = Station().values(0, 60, points=60)
    rules = Iec104TagRules(Lens(b.names), None)
    rules._numbered.limit = 5
    found = [one for piece in b.slices(b.rows, points=b.points) for one in rules.detect(piece)]
    assert found == []
