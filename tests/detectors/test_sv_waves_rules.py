"""Sampled values against electricity: each rule is broken once, and kept by what grids really do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from row_bench import SECOND, START, Bench, P

from detectors.base import Level
from detectors.rules.sv_waves import SvWaveRules
from detectors.sv_steps import step_of
from grid_profiles.vocabulary import POINT

WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
LOAD = np.array([420.0, 413.7, 425.0, 10.0, 63_100.0, 63_110.0, 63_120.0, 1_500.0])
"""Currents of phases 1 to 3 and neutral (A), voltages likewise (V)."""

Change = Callable[[int], Sequence[float]]


class Station(Bench):
    """Two merging units of one busbar, second by second."""

    def __init__(self) -> None:
        super().__init__("sv", SvWaveRules)
        self.rows: list[np.void] = []
        self.points: list[np.void] = []

    def second(
        self,
        number: int,
        rms: Sequence[float],
        hertz: float = 50.0,
        unit: int = 1,
        lost: int = 0,
        frames: int = 4000,
    ) -> None:
        """The row that closes a second, with its points."""
        ident, at = f"MU0{unit}", len(self.rows)
        base = self.names.intern_text(ident) << 16
        told = [(1, base | channel, value) for channel, value in enumerate(rms)] + [(2, base | 0xFF01, lost)]
        for kind, place, value in told:
            point = np.zeros(1, POINT)
            point["ts"], point["message"], point["proto"] = START + number * SECOND, at, self.proto
            point["kind"], point["point"], point["value"], point["quality"] = kind, place, value, 0
            self.points.append(point[0])
        fields: dict[str, Any] = {"role": P, "sub": ident, "point": ident, "ident": ident, "port": 0x4000}
        mac = f"00:0c:29:00:00:0{unit}"
        moment = number + 0.001 * unit
        self.rows.append(
            self.row(
                moment, 2, src=mac, dst="01:0c:cd:04:00:01", count=frames, aux=4000, value=hertz, **fields
            )
        )

    def switches(self, moment: float) -> None:
        """A protection relay publishes a new state."""
        row = self.row(moment, 1, P, "00:0c:29:00:00:77", "01:0c:cd:01:00:01", point=7 << 16, state=2, seq=0)
        row["proto"] = self.names.protocol_id("goose")
        self.rows.append(row)

    def run(
        self,
        change: Change,
        seconds: int = 40,
        hertz: Callable[[int], float] = lambda n: 50 + 0.01 * np.sin(n / 9),
        beside: bool = True,
    ) -> list[tuple[str, Level]]:
        """What is said of a unit that shows ``change`` of each second; the other one goes on as ever."""
        for number in range(seconds):
            noise = 1 + 1e-4 * np.random.default_rng(number).normal(0, 1, 8)
            values = change(number)
            if len(values):
                self.second(number, tuple(np.asarray(values) * noise), hertz(number))
            if beside:
                swing = 50 + 0.01 * np.sin(number / 9)
                self.second(number, tuple(LOAD * noise * (1 + number / 1e4)), swing, 2)
        return list(dict.fromkeys(self.said(self.rows, points=self.points)))


def at(begin: int, values: Sequence[float], end: int = 10**6) -> Change:
    return lambda number: values if begin <= number < end else LOAD


def scaled(currents: float = 1.0, volts: float = 1.0, *channels: int) -> Sequence[float]:
    """The load with factors: on currents and voltages, or on some channels only."""
    factors = np.r_[np.full(4, currents), np.full(4, volts)]
    if channels:
        factors[[channel for channel in range(8) if channel not in channels]] = 1
    return LOAD * factors


def with_(**channels: float) -> Sequence[float]:
    """The load with other values of channels c0 to c7."""
    made = LOAD.copy()
    for name, value in channels.items():
        made[int(name[1:])] = value
    return made


BROKEN: dict[str, tuple[Change, tuple[str, Level]]] = {
    "currents times 1.5": (at(20, scaled(1.5)), ("sv-scaled", WARNING)),
    "currents times 6": (at(20, scaled(6.0)), ("sv-scaled", WARNING)),
    "currents times 0.8": (at(20, scaled(0.8)), ("sv-scaled", WARNING)),
    "phases alone, exactly": (at(20, scaled(1.5, 1.0, 0, 1, 2)), ("sv-scaled", NOTICE)),
    "voltages of one unit": (at(20, scaled(1.0, 0.8)), ("sv-scaled", WARNING)),
    "one phase, not the neutral": (at(20, with_(c0=840.0)), ("sv-neutral", WARNING)),
    "overcurrent without dip": (at(20, with_(c0=3_000.0, c3=2_600.0)), ("sv-overcurrent", WARNING)),
    "voltages gone": (at(20, scaled(1.0, 0.01)), ("sv-voltage-lost", NOTICE)),
    "currents of 0": (at(20, scaled(0.0)), ("sv-zero", WARNING)),
    "stops": (lambda n: LOAD if n < 20 or n > 26 else (), ("sv-stopped", WARNING)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(case: str) -> None:
    change, expected = BROKEN[case]
    assert expected in Station().run(change)


BALANCED = LOAD + np.array([90.0, 90.0, 90.0, 0, 0, 0, 0, 0])
SAG = scaled(1.4, 0.8)
KEPT: dict[str, Change] = {
    "nothing": lambda _: LOAD,
    "a drifting load": lambda n: scaled(1 + 0.01 * n),
    "a balanced load": at(20, BALANCED),
    "a motor that starts": lambda n: (
        LOAD + np.array([1, 1, 1, 0, 0, 0, 0, 0]) * max(0, 26 - n) * 60 * (n > 19)
    ),
    "a single-phase load": at(20, with_(c0=520.0, c3=105.0)),
    "a short circuit of 80 ms": at(20, with_(c0=1_440.0, c3=1_335.0, c4=60_890.0, c7=16_144.0), 21),
    "a fault that backup protection clears": at(20, with_(c0=3_000.0, c3=2_600.0, c4=31_000.0), 23),
    "a breaker that opens": at(20, LOAD * np.r_[np.full(4, 1e-4), np.ones(4)]),
    "a dead busbar": at(20, LOAD * 1e-5),
    "a tap changer": at(20, scaled(0.99, 1.0125)),
    "a burst of a test set": lambda n: LOAD if n < 7 else (),
    "a dip": at(20, SAG, 21),
    "a pause of two seconds": lambda n: LOAD if n not in (20, 21) else (),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept(case: str) -> None:
    assert Station().run(KEPT[case]) == []


def test_a_line_that_takes_over_another_ones_load_is_switching() -> None:
    station = Station()
    station.switches(19.5)
    assert station.run(at(20, scaled(2.0))) == [("sv-scaled", INFO)]


def test_a_publisher_that_changes_all_the_time_excuses_nothing() -> None:
    station = Station()
    for moment in range(0, 40, 5):
        station.switches(moment + 0.5)
    assert ("sv-scaled", WARNING) in station.run(at(20, scaled(2.0)))


def test_voltages_that_change_at_both_units_are_the_grid() -> None:
    station = Station()
    for number in range(40):
        values = scaled(1.0, 0.8) if number >= 20 else LOAD
        for unit in (1, 2):
            noise = 1 + 1e-4 * np.random.default_rng(2 * number + unit).normal(0, 1, 8)
            station.second(number, tuple(values * noise), unit=unit)
    assert station.said(station.rows, points=station.points) == []


def test_a_recording_is_recognised_to_the_last_digit() -> None:
    station = Station()
    for number in range(60):
        copied = number if number < 30 else 20 + number % 7
        noise = 1 + 1e-4 * np.random.default_rng(copied).normal(0, 1, 8)
        station.second(number, tuple(LOAD * noise))
    assert set(station.said(station.rows, points=station.points)) == {("sv-replay", WARNING)}


def test_a_test_set_that_repeats_itself_is_no_replay() -> None:
    station = Station()
    for number in range(60):
        station.second(number, tuple(LOAD * (1 + 0.01 * (number % 3))))
    assert station.said(station.rows, points=station.points) == []


def _jump(number: int) -> float:
    return 50.0 + 0.001 * np.sin(number * 1.7) + (0.11 if number == 25 else 0.0)


def test_a_phase_that_jumps_alone() -> None:
    assert Station().run(lambda _: LOAD, hertz=_jump) == [("sv-phase", WARNING)]
    assert Station().run(lambda _: LOAD, hertz=_jump, beside=False) == [("sv-phase", WARNING)]


def test_a_phase_that_jumps_with_a_fault_or_in_the_whole_grid_is_none() -> None:
    assert Station().run(at(25, with_(c0=900.0, c3=500.0), 26), hertz=_jump) == []
    station = Station()
    for number in range(40):
        for unit in (1, 2):
            noise = 1 + 1e-4 * np.random.default_rng(2 * number + unit).normal(0, 1, 8)
            station.second(number, tuple(LOAD * noise), _jump(number), unit)
    assert station.said(station.rows, points=station.points) == []


def test_a_phase_is_not_judged_where_samples_were_lost() -> None:
    station = Station()
    for number in range(40):
        noise = 1 + 1e-4 * np.random.default_rng(number).normal(0, 1, 8)
        station.second(number, tuple(LOAD * noise), _jump(number), lost=int(number == 25))
    assert station.said(station.rows, points=station.points) == []


def test_a_frequency_that_steps_by_hertz() -> None:
    stepped = Station().run(lambda _: LOAD, hertz=lambda n: 50.3 if n < 20 else 55.6)
    assert stepped == [("sv-frequency-step", WARNING)]
    assert Station().run(lambda _: LOAD, hertz=lambda n: 50 - 0.1 * max(0, n - 20)) == []
    assert Station().run(at(20, LOAD * 1e-3), hertz=lambda n: 50.0 if n < 20 else 61.0) == []


def test_a_stream_that_never_comes_back_is_told_once() -> None:
    said = Station().run(lambda n: LOAD if n < 20 else ())
    assert said == [("sv-stopped", WARNING)]


def test_seconds_of_few_frames_are_not_compared() -> None:
    station = Station()
    for number in range(40):
        station.second(number, tuple(scaled(1.5) if number >= 20 else LOAD), frames=300)
    assert station.said(station.rows, points=station.points) == []


def test_other_data_sets_have_no_steps() -> None:
    assert step_of([(1.0,) * 4] * 5) is None
    assert step_of([(0.0,) * 8] * 5) is None


def test_currents_of_0_of_a_source_without_noise_say_nothing() -> None:
    assert step_of([tuple(LOAD)] * 3 + [tuple(scaled(0.0))] * 2) is None
