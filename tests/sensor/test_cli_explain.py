"""``gridwarden explain``: from a store or JSON lines, in two languages, harmless whatever names say."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result as Ran
from lab.frames import apci_i, asdu, e_double, tcp_frame, write_pcap
from result_samples import HOSTILE, alert, substation
from rich.console import Console

from detectors.base import Alert
from detectors.explain.catalogue import LANGUAGES, load_catalogue
from detectors.explain.explanation import explained
from sensor.cli import explain, main
from sensor.cli.alert_sources import alert_of
from sensor.report.explained import Shown, explanation_text
from sensor.report.html import render
from sensor.result import Result, alert_record
from sensor.store.sqlite import Store

CHINESE = re.compile("[\u4e00-\u9fff]")


def call(*args: object) -> Ran:
    return CliRunner().invoke(main, ["explain", *map(str, args)])


def told(*args: object) -> dict[str, Any]:
    """The one JSON object that a call prints."""
    done = call(*args, "--json")
    assert done.exit_code == 0, done.output
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def kept(path: Path, alerts: list[Alert], **changes: Any) -> Path:
    """A store with these alerts."""
    result = Result(alerts=alerts, **changes)
    with Store.open(path) as store:
        store.write(result)
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "day.pcap"
    body = apci_i(0, 0, asdu(46, 6, 1, [(4005, e_double(2))]))
    write_pcap(path, [(0, tcp_frame("10.20.0.77", "10.20.1.11", 40000, 2404, 1, 1, 0x18, body))])
    return path


def commanded(number: int = 1, **changes: object) -> Alert:
    given = {"rule": "new-command-source", "kind": "C_DC_NA_1 double command", "frames": [1]}
    return alert(number, **given | changes)


def test_all_that_the_explanation_has_to_say(tmp_path: Path) -> None:
    store = kept(tmp_path / "a.db", [commanded()])
    record = told("a00001", "--store", store)
    assert record["alert"]["id"] == "a00001"
    assert "10.20.0.77" in record["what"]
    assert "breaker" in record["danger"]
    assert record["effect"] == "opens or closes a breaker or disconnector"
    assert record["technique"].startswith("T0855")
    assert [part["reading"] for part in record["readings"]] == ["attack", "operation", "fault"]
    assert record["check"]
    assert len(record["steps"]) >= 3
    assert record["expected"]
    assert "--capture" in record["remarks"][0]


def test_people_get_every_part_in_both_languages(tmp_path: Path) -> None:
    store = kept(tmp_path / "a.db", [commanded()])
    for language in LANGUAGES:
        done = call("a0", "--store", store, "--lang", language)
        assert done.exit_code == 0, done.output
        say = load_catalogue(language).say
        for key in ("what", "why", "readings", "check", "technique", "steps", "evidence"):
            assert say(f"ui.{key}") in done.stdout, key
    assert CHINESE.search(done.stdout)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh_CN"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({}, "en"),
        ({"LANG": "de_DE"}, "en"),
    ],
)
def test_the_language_of_the_environment(environment: dict[str, str], language: str) -> None:
    assert explain.language_of(environment) == language


def test_languages_of_the_option_are_those_of_the_catalogue() -> None:
    assert explain.LANGUAGES == LANGUAGES


def test_the_newest_and_unique_beginnings(tmp_path: Path) -> None:
    store = kept(
        tmp_path / "a.db", [commanded(1, id="aa01"), commanded(2, id="ab02"), commanded(3, id="ab021")]
    )
    assert told("--last", "--store", store)["alert"]["id"] == "ab021"
    assert told("-", "--store", store)["alert"]["id"] == "ab021"
    assert told("aa", "--store", store)["alert"]["id"] == "aa01"
    assert told("ab02", "--store", store)["alert"]["id"] == "ab02", "an exact id wins"
    several = call("a", "--store", store)
    assert several.exit_code == 2
    assert "aa01, ab02, ab021" in several.output
    none = call("zz", "--store", store)
    assert none.exit_code == 2
    assert "--last" in none.output


def test_json_lines_of_detect_serve_as_well(tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    alerts = [commanded(1, incident="i1"), alert(2, rule="new-host", incident="i1"), alert(3, rule="silence")]
    file.write_text(
        "".join(json.dumps(alert_record(one) | {"of_tomorrow": 1}) + "\n" for one in alerts) + "\n"
    )
    record = told("a00001", "--alerts", file)
    attack = next(part for part in record["readings"] if part["reading"] == "attack")
    assert [one["rule"] for one in attack["same_incident"]] == ["new-host"]
    assert told("--last", "--alerts", file)["rule"] == "silence"
    done = CliRunner().invoke(main, ["explain", "--last", "--alerts", "-", "--json"], input=file.read_text())
    assert json.loads(done.stdout)["rule"] == "silence"


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"id": 3}',
        "[" * 100_000,
        json.dumps(alert_record(alert()) | {"frames": ["x"]}),
    ],
)
def test_a_line_that_is_no_alert_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(alert_record(alert())) + "\n" + line + "\n")
    done = call("--last", "--alerts", file)
    assert done.exit_code == 3
    assert "line 2" in done.output


def test_an_alert_survives_the_way_through_json() -> None:
    made = commanded(p_value=0.25, incident="i1", readings={"attack": 1})
    assert alert_of(json.loads(json.dumps(alert_record(made)))) == made


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ([], 2),
        (["a0"], 2),
        (["a0", "--last", "--store", "x.db"], 2),
        (["--last", "--store", "x.db", "--alerts", "y"], 2),
        (["--rule", "never-heard-of"], 2),
        (["--last", "--store", "/nonexistent/x.db"], 3),
        (["--last", "--alerts", "/nonexistent/x.jsonl"], 3),
    ],
)
def test_calls_that_cannot_work(args: list[str], code: int) -> None:
    done = call(*args)
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output


def test_a_missing_store_is_not_made(tmp_path: Path) -> None:
    assert call("--last", "--store", tmp_path / "none.db").exit_code == 3
    assert not (tmp_path / "none.db").exists()


@pytest.mark.tshark
def test_frames_of_the_capture_that_the_store_names(tmp_path: Path, capture: Path) -> None:
    store = kept(tmp_path / "a.db", [commanded()], captures=[str(capture)])
    (piece,) = told("a0", "--store", store)["evidence"]
    assert piece["frame"] == 1
    marked = {line["field"]: line["text"] for line in piece["lines"] if line["marked"]}
    assert "4005" in marked["iec60870_asdu.ioa"]
    shown = call("a0", "--store", store).stdout
    assert re.search("►.*IOA: 4005", shown)
    capture.unlink()
    gone = told("a0", "--store", store)
    assert gone["evidence"] == []
    assert "not there any more" in gone["remarks"][0]


@pytest.mark.tshark
def test_frames_of_a_capture_that_is_given(tmp_path: Path, capture: Path) -> None:
    store = kept(tmp_path / "a.db", [commanded(frames=[1, 2, 3, 4])])
    record = told("a0", "--store", store, "--capture", capture, "--frames", 2)
    assert [piece["frame"] for piece in record["evidence"]] == [1]
    assert any("2" in remark for remark in record["remarks"])
    assert told("a0", "--store", store, "--capture", capture, "--frames", 0)["evidence"] == []
    assert call("a0", "--store", store, "--capture", tmp_path / "none.pcap").exit_code == 3


def test_lost_frames_of_the_run_are_told(tmp_path: Path) -> None:
    store = kept(tmp_path / "a.db", [alert(1, rule="goose-gap")], lost=12)
    record = told("a0", "--store", store)
    assert "lost in this run: 12" in next(
        p["evidence"] for p in record["readings"] if p["reading"] == "visibility"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_from_packets_do_not_act_on_the_terminal(language: str) -> None:
    texts = dict.fromkeys(
        ("summary", "expected", "observed", "src", "dst", "kind", "point", "protocol"), HOSTILE
    )
    made = alert(1, **texts, detector=HOSTILE, reading=HOSTILE, level=HOSTILE, technique=HOSTILE)
    page = io.StringIO()
    console = Console(file=page, width=120, force_terminal=True, color_system=None)
    catalogue = load_catalogue(language)
    shown = Shown(remarks=[HOSTILE])
    for rule in ("new-command-source", HOSTILE):
        made.rule = rule
        console.print(explanation_text(made, explained(made, catalogue), catalogue, shown))
    text = page.getvalue()
    assert "\\x1b[31m" in text
    assert "\\u202e" in text
    for acting in ("\x1b[31m", "\u202e", "\x00", "\u200b"):
        assert acting not in text


def test_names_from_packets_survive_as_json(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(alert_record(commanded(src=HOSTILE, summary=HOSTILE))))
    record = told("--last", "--alerts", file)
    assert "\\ud800" in record["alert"]["src"]


def test_a_rule_as_such_and_the_list_of_rules() -> None:
    done = call("--all-rules", "--json", "--lang", "zh_CN")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["rule"] for row in rows} == load_catalogue().entries.keys()
    assert all(CHINESE.search(row["what"]) for row in rows)
    assert "goose-replay" in call("--all-rules").stdout
    record = told("--rule", "goose-replay")
    assert record["alert"] is None
    assert "goose.stNum" in record["remarks"][0]


def test_a_rule_of_tomorrow_is_said_to_be_unknown(tmp_path: Path) -> None:
    store = kept(tmp_path / "a.db", [alert(1, rule="of-tomorrow")])
    assert told("a0", "--store", store)["known"] is False
    assert "no entry for rule of-tomorrow" in call("a0", "--store", store).stdout


def test_the_report_tells_what_tells_the_readings_apart() -> None:
    result = substation()
    result.alerts = [alert(1, rule="goose-replay", src="<b>x</b>")]
    page = render(result)
    assert "What tells them apart" in page
    assert "Read stNum at the publishing IED" in page
    assert "<b>x</b>" not in page
