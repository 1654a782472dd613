"""Answers, transitions and rhythm through the whole pipeline: told, and the same for all batches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "detectors"))

from synthetic import MODBUS, FakeNames, message, messages

from detectors.baseline import Baseline
from detectors.compare import merge
from grid_profiles.vocabulary import POINT, Role
from sensor.cli.baseline import command
from sensor.engines import open_engine
from sensor.messages import MessageBatch
from sensor.pipeline import LearnOptions, detect, learn

DEMO = Path(__file__).parents[2] / "sensor" / "data" / "demo"
CYCLE = (3, 4, 1, 2)
LATER = 40_000


def names() -> FakeNames:
    made = FakeNames()
    made.conv("modbus", 1, 2, 502, "unit 1")
    return made


def polls(seconds: int, begin: float = 0.0, late: float = 0.0, odd: tuple[int, ...] = ()) -> list[Any]:
    """A request every second, each with its answer; function codes in their order but for ``odd``."""
    rows = []
    for n in range(seconds):
        link = {"proto": MODBUS, "conv": 0, "stream": 0, "kind": CYCLE[n % 4], "seq": n % 65_536}
        if n in odd:
            link["kind"] = CYCLE[(n + 2) % 4]
        ts, took = begin + n, 0.03 + 0.002 * (n % 7) + late
        request = message(ts, **link, role=Role.CLIENT, src=1, dst=2, size=12)
        rows += [
            request,
            message(ts + took, **link, role=Role.SERVER, src=2, dst=1, size=15, state=request["frame"]),
        ]
    return rows


def batches(rows: list[Any], size: int) -> list[MessageBatch]:
    made = [messages(rows[at : at + size]) for at in range(0, len(rows), size)]
    return [MessageBatch(part, POINT_NONE, part["ts"].astype("i8")) for part in made]


POINT_NONE = np.zeros(0, POINT)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    made = learn(batches(polls(1_800), 500), names(), LearnOptions(time_zone="+01:00"))
    return Baseline.from_bytes(made.to_bytes())


def rules(baseline: Baseline, rows: list[Any], size: int = 500) -> list[tuple[str, str, float, str]]:
    found = detect(batches(rows, size), names(), baseline).alerts
    return [(one.rule, one.level, one.start, one.observed) for one in found]


def test_the_same_traffic_says_nothing(baseline: Baseline) -> None:
    assert rules(baseline, polls(600, LATER)) == []


def test_slow_answers_and_a_broken_order(baseline: Baseline) -> None:
    slow = [one[0] for one in rules(baseline, polls(120, LATER, late=0.4))]
    assert "response-slow" in slow
    odd = rules(baseline, polls(120, LATER, odd=(50,)))
    assert [one[:2] for one in odd if one[0].startswith("sequence")] == [("sequence-new", "notice")] * 2


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_batches_change_nothing(baseline: Baseline, size: int) -> None:
    rows = [*polls(60, LATER, odd=(20, 21, 30, 31, 33)), *polls(120, LATER + 60, late=0.5)]
    wanted = rules(baseline, rows)
    assert {"sequence-new", "sequence-burst", "response-slow"} <= {one[0] for one in wanted}
    assert rules(baseline, rows, size) == wanted


def test_the_fault_of_the_demo_whose_answers_come_late() -> None:
    """A transformer monitor answers late from 1773306700 to 1773306772, by the labels of the capture."""
    hour, day = DEMO / "quiet_hour.pcap.gz", DEMO / "bad_day.pcap.gz"
    quiet = open_engine([hour], "native")
    known = learn(quiet, quiet.names)
    decoded = open_engine([day], "native")
    slow = [one for one in detect(decoded, decoded.names, known).alerts if one.detector == "responses"]
    assert [(one.rule, one.reading, one.src) for one in slow] == [("response-slow", "fault", "10.20.30.42")]
    assert 1_773_306_700 < slow[0].start < 1_773_306_772
    assert "(modbus unit 2): most of the last 5 took 2.51 s or longer, usual is 42.1 ms" in slow[0].summary


def test_show_says_how_far_the_rhythm_is_learned(baseline: Baseline, tmp_path: Path) -> None:
    path = tmp_path / "site.baseline"
    merge(baseline, baseline).save(path)
    told = CliRunner().invoke(command, ["show", str(path), "--json"])
    assert told.exit_code == 0, told.output
    record = json.loads(told.output)
    assert record["rhythm"].startswith("no rhythm of the day yet: 0 whole hours seen, 48 more are needed")
    assert record["rhythm"].endswith("(time zone +01:00)")
    assert "no rhythm of the day yet" in CliRunner().invoke(command, ["show", str(path)]).output
