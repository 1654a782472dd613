"""simulate, coverage, tune and backtest from the command line, end to end on the bundled captures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from result_samples import alert

from detectors.base import Level
from sensor.backtest import compare, with_settings
from sensor.cli import main
from sensor.errors import UsageError
from sensor.labels import read_labels
from sensor.tune import ModelRow, Tuning

DEMO = Path(__file__).resolve().parent.parent.parent / "sensor" / "data" / "demo"
QUIET, TEST = DEMO / "quiet_hour.pcap.gz", DEMO / "quiet_test.pcap.gz"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site.baseline"
    done = run("learn", QUIET, "-o", path, "--approve-commands", "--engine", "native")
    assert done.exit_code == 0, done.output
    return path


def test_simulate_writes_a_capture_that_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "bad.pcapng"
    done = run("simulate", TEST, "-o", out, "--attack", "goose-takeover", "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    (event,) = read_labels(tmp_path / "bad.labels.csv")
    assert record["attacks"][0]["start"] == event.start
    assert b"SIMULATED by gridwarden" in out.read_bytes()[:300]
    again = tmp_path / "again.pcapng"
    run("simulate", TEST, "-o", again, "--attack", "goose-takeover")
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("simulate",), 2, "give CAP and -o"),
        (("simulate", TEST, "-o", "x", "--attack", "nonsense"), 2, "no attack 'nonsense'"),
        (("simulate", TEST, "-o", TEST), 2, "is what is read"),
        (("simulate", TEST, "-o", "x.pcapng", "--attack", "sv-freeze"), 3, "a publisher of sampled values"),
        (("backtest", "a.baseline", "b.baseline"), 2, "at least one capture"),
    ],
)
def test_calls_that_make_no_sense(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert words in done.output


def test_simulate_lists_every_attack() -> None:
    rows = json.loads(run("simulate", "--list", "--json").stdout)["attacks"]
    assert len({row["id"] for row in rows}) == len(rows) > 60


VALUES = {
    "modbus-value-freeze": {"values-standstill"},
    "iec104-value-freeze": {"values-standstill"},
    "iec104-value-shift": {"value-departs"},
    "iec104-status-flip": {"states-contradict", "feedback-wrong"},
}


def test_values_changed_in_flight_inside_their_range_are_found(baseline: Path) -> None:
    wanted = [word for attack in VALUES for word in ("--attack", attack)]
    done = run("coverage", "-b", baseline, TEST, *wanted, "--engine", "native", "--json")
    assert done.exit_code == 0, done.output
    rows = {row["attack"]: row for row in json.loads(done.stdout)["rows"]}
    assert {name for name, row in rows.items() if not row["detected"]} == set()
    assert all(rows[name]["rule"] in rules for name, rules in VALUES.items())


def test_coverage_finds_the_loud_and_repeats_itself(baseline: Path) -> None:
    wanted = ("--attack", "goose-takeover", "--attack", "iec104-command-stranger", "--attack", "sv-freeze")
    call = ("coverage", "-b", baseline, TEST, *wanted, "--engine", "native", "--json")
    done = run(*call)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert [row["detected"] for row in record["rows"]] == [True, True]
    assert record["rows"][0]["level"] == "alarm"
    assert list(record["skipped"]) == ["sv-freeze"]
    assert record["techniques"]["T0848"] == {"attacks": 1, "detected": 1}
    assert json.loads(run(*call).stdout) == record


def test_tune_chooses_and_learns(tmp_path: Path) -> None:
    out, page = tmp_path / "tuned.baseline", tmp_path / "tune.html"
    wanted = ("--attack", "modbus-delay", "--attack", "modbus-write-master", "--attack", "iec104-stopdt")
    call = ("tune", QUIET, "-o", out, *wanted, "--report", page, "--engine", "native", "--json")
    done = run(*call)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    recalls = [row["recall"] for row in record["rows"]]
    assert recalls == sorted(recalls, reverse=True)
    assert {row["model"] for row in record["rows"]} >= {"knn", "mean"}
    shown = json.loads(run("baseline", "show", out, "--json").stdout)
    assert shown["params"]["model"] == record["model"]
    text = page.read_text("utf-8")
    assert text.count("<polyline") == 2 * len(record["rows"])
    assert "style=" not in text


def test_backtest_tells_changes_by_exit_code(baseline: Path) -> None:
    same = run("backtest", baseline, baseline, TEST, "--engine", "native", "--fail-on-change", "--json")
    assert same.exit_code == 0, same.output
    assert json.loads(same.stdout)["changes"] == []
    other = ("--set", "false_alarms_per_day=100000", "--fail-on-change")
    changed = run("backtest", baseline, TEST, *other, "--min-level", "info", "--engine", "native", "--json")
    record = json.loads(changed.stdout)
    assert changed.exit_code == (1 if record["changes"] else 0)
    assert record["changes"]


def test_alerts_match_by_what_they_say_and_when() -> None:
    old = [alert(start=10.0, end=20.0, rule="silence"), alert(start=50.0, end=60.0, rule="silence")]
    new = [
        alert(start=15.0, end=16.0, rule="silence"),
        alert(start=90.0, end=91.0, rule="silence"),
        alert(start=10.0, end=11.0, rule="new-host"),
    ]
    found = compare(old, new, Level.INFO)
    assert [(c.what, c.alert.rule, c.alert.start) for c in found.changes] == [
        ("appears", "new-host", 10.0),
        ("vanishes", "silence", 50.0),
        ("appears", "silence", 90.0),
    ]
    assert found.unchanged == 1


def test_models_rules_count_as_one() -> None:
    found = compare([alert(rule="behaviour-knn")], [alert(rule="behaviour-gmm")], Level.INFO)
    assert found.changes == []


@pytest.mark.parametrize("setting", ["x=1", "model=nothing", "false_alarms_per_day=0", "seed=a", "model"])
def test_settings_that_make_no_sense(setting: str) -> None:
    from detectors.baseline import Baseline

    with pytest.raises(UsageError, match="--set"):
        with_settings(Baseline(), [setting])


def test_the_first_row_is_the_choice() -> None:
    row = ModelRow("gmm", 1.0, 1, 1.0, 0, 0.0, 1.0)
    assert Tuning(rows=[row]).model == "gmm"
