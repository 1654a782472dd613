"""``gridwarden evaluate``: wrong calls, bad labels, and a run over real captures."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from result_samples import alert
from rich.console import Console

from sensor.cli.evaluate import command, overview
from sensor.evaluate import Rule, evaluate, pool
from sensor.labels import ATTACK, Event
from sensor.result import Result as RunResult


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("x.pcap",),
        ("x.pcap", "--labels", "x.csv"),
        ("x.pcap", "--manifest", "m.csv"),
        ("--manifest", "m.csv", "-b", "x.baseline"),
    ],
)
def test_calls_that_make_no_sense(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "gridwarden: " in result.output


def test_bad_labels_are_said_before_any_work(tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("start,end,label\n9,1,attack\n")
    result = run("missing.pcap", "--labels", labels, "-b", "missing.baseline")
    assert result.exit_code == 3
    assert f"{labels}: line 2: column end: '1' lies before start 9. Swap the two" in result.output


def test_help_has_examples() -> None:
    assert "gridwarden evaluate attack.pcap --labels" in run("--help").output


def test_the_overview_has_a_row_per_capture_and_one_for_all() -> None:
    run_result = RunResult(start=0, end=3600, packets=10, alerts=[alert(start=10.0, end=10.0)])
    found = evaluate(run_result, [Event(9, 10, ATTACK), Event(50, 60, ATTACK)])
    stream = io.StringIO()
    Console(file=stream, width=130).print(
        overview([("s/a", found), ("s (all)", pool([found, found]))], Rule())
    )
    lines = stream.getvalue().splitlines()
    assert "1/2" in lines[-2]
    assert "2/4" in lines[-1]


@pytest.mark.corpus
def test_real_captures_end_to_end() -> None:
    folder = os.environ.get("GRIDWARDEN_CORPUS")
    if not folder:
        pytest.skip("GRIDWARDEN_CORPUS is not set: no folder of real captures")
    manifest = Path(folder) / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"{manifest} is not there")
    result = run(
        "--manifest",
        manifest,
        "--scenario",
        "modbus-lemay",
        "--approve-commands",
        "--engine",
        "native",
        "--json",
    )
    assert result.exit_code == 0, result.output
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    total = records[-1]
    assert total["capture"] is None
    assert total["events"] == sum(record["events"] for record in records[:-1]) == 9
    assert total["detected"] >= 5
