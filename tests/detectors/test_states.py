"""Maintenance and test windows: what they lower, on whom, until when; and what they never lower."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import IEC104, SECOND, START, FakeNames

from detectors.base import Finding, Level, Reading
from detectors.baseline import Baseline, BaselineError
from detectors.groups import Lens
from detectors.states import (
    MAX_WINDOWS,
    OPERATIONAL,
    States,
    Window,
    clear_state,
    keep_list,
    list_of,
    set_state,
    window_from,
    windows_of,
)
from detectors.tables import TABLES
from sensor.cli import main
from sensor.cli.detect import add_windows
from sensor.errors import InputError

T0 = START / SECOND
MASTER, STATION, LAPTOP, STRANGER = 1, 2, 3, 9


def site(*windows: Window) -> Baseline:
    """A baseline that knows the master and the station."""
    baseline = Baseline()
    blank = {name: "" if kind == "str" else 0 for name, (kind, _) in TABLES["assets"].columns.items()}
    baseline.tables["assets"] = TABLES["assets"].frame(
        [blank | {"address": f"10.0.0.{host}", "origin": "learned"} for host in (MASTER, STATION)]
    )
    for window in windows:
        set_state(baseline, window, "2026-05-12T10:00:00+00:00")
    return baseline


def window(**changes: Any) -> Window:
    fields = {"state": "maintenance", "since": T0, "until": T0 + 3600, "who": "Meier", "why": "order 4711"}
    return Window(**(fields | {"hosts": ("10.0.0.2",)} | changes))  # type: ignore[arg-type]


def weighed(
    rule: str, level: Level = Level.ALARM, ts: float = 10.0, client: int = MASTER, **window_fields: Any
) -> Finding:
    """What becomes of a finding about ``client`` and the station, told of the client."""
    names = FakeNames()
    conv = names.conv("iec104", client, STATION)
    states = States(Baseline.from_bytes(site(window(**window_fields)).to_bytes()), Lens(names))
    made = Finding(
        START + round(ts * SECOND), "x", rule, level, Reading.ATTACK, IEC104, conv, client, STATION, "said"
    )
    states.weigh([made])
    return made


@pytest.mark.parametrize("rule", ["new-command", "new-command-point", "silence", "goose-restart"])
def test_what_the_work_brings_is_information(rule: str) -> None:
    found = weighed(rule)
    assert (found.level, found.reading) == (Level.INFO, Reading.OPERATION)
    assert found.summary == "said (maintenance by Meier until 2023-11-14 23:13 UTC)"
    assert found.event


@pytest.mark.parametrize("rule", ["goose-replay", "goose-second-publisher", "arp-conflict", "iec104-sweep"])
def test_what_no_work_brings_stays(rule: str) -> None:
    assert weighed(rule).level == Level.ALARM


def test_a_stranger_stays_loud() -> None:
    for rule in OPERATIONAL:
        assert weighed(rule, client=STRANGER).level == Level.ALARM, rule
        assert weighed(rule, client=STRANGER, hosts=()).level == Level.ALARM, rule


def test_who_never_commanded_must_be_named() -> None:
    assert weighed("new-command-source").level == Level.ALARM
    assert weighed("new-command-source", client=LAPTOP).level == Level.ALARM
    named = ("10.0.0.2", "10.0.0.3")
    assert weighed("new-command-source", client=LAPTOP, hosts=named).level == Level.INFO
    assert weighed("new-host", client=LAPTOP, hosts=named).level == Level.INFO


def test_only_on_its_hosts_and_in_its_time() -> None:
    assert weighed("new-command", hosts=("10.0.0.77",)).level == Level.ALARM
    assert weighed("new-command", hosts=()).level == Level.INFO
    assert weighed("new-command", ts=-1.0).level == Level.ALARM
    assert weighed("new-command", ts=3599.9).level == Level.INFO
    assert weighed("new-command", ts=3600.0).level == Level.ALARM


def test_rules_may_be_narrowed_not_widened() -> None:
    assert weighed("silence", rules=("silence",)).level == Level.INFO
    assert weighed("new-command", rules=("silence",)).level == Level.ALARM
    with pytest.raises(BaselineError, match="goose-replay: maintenance does not lower"):
        window(rules=("goose-replay",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "holiday"},
        {"until": T0},
        {"until": T0 + 31 * 86_400},
        {"until": float("nan")},
        {"until": float("inf")},
        {"who": " "},
        {"why": ""},
        {"hosts": tuple(map(str, range(300)))},
    ],
)
def test_a_window_always_ends_and_says_who_and_why(wrong: dict[str, Any]) -> None:
    with pytest.raises(BaselineError):
        window(**wrong)


@pytest.mark.parametrize("bad", [None, [], {}, {"state": "test"}, {"hosts": "10.0.0.1"}, {"since": "x"}])
def test_damaged_windows_are_left_out(bad: Any) -> None:
    baseline = site(window())
    baseline.params["states"] = [bad, *baseline.params["states"], 7]
    assert len(windows_of(baseline)) == 1
    with pytest.raises(BaselineError):
        window_from(window().record() | {"hosts": "10.0.0.1"} if bad == {} else bad)
    baseline.params["states"] = "none"
    assert windows_of(baseline) == []


def test_windows_are_bounded_and_the_trail_outlives_them() -> None:
    baseline = site(*(window(since=T0 + n, until=T0 + n + 9) for n in range(MAX_WINDOWS + 3)))
    assert len(windows_of(baseline)) == MAX_WINDOWS
    assert windows_of(baseline)[0].since == T0 + 3
    assert len(baseline.tables["audit"]) == MAX_WINDOWS + 3


def test_clear_ends_what_is_on_and_keeps_what_was() -> None:
    baseline = site(window(), window(since=T0 + 7000, until=T0 + 8000))
    ended = clear_state(baseline, T0 + 600, "Meier", "done", "now")
    assert [one.since for one in ended] == [T0]
    assert [(one.since, one.until) for one in windows_of(baseline)] == [
        (T0, T0 + 600),
        (T0 + 7000, T0 + 8000),
    ]
    assert baseline.tables["audit"]["action"].tolist().count("state normal") == 1


def test_the_end_of_a_window_says_what_it_lowered() -> None:
    names = FakeNames()
    conv = names.conv("iec104", MASTER, STATION)
    states = States(site(window()), Lens(names))
    assert states.tick(START) == []
    made = Finding(START + 5, "x", "silence", Level.WARNING, Reading.FAULT, IEC104, conv, -1, -1, "said")
    states.weigh([made])
    (event,) = states.tick(START + 3601 * SECOND)
    assert (event.what, event.explained, event.hosts) == ("maintenance", {"silence": 1}, ["10.0.0.2"])
    assert states.tick(START + 3602 * SECOND) == states.close() == []


def test_what_a_state_learned_is_a_list_beside_the_site_s() -> None:
    learned = Baseline()
    blank = {name: "" if kind == "str" else 0 for name, (kind, _) in TABLES["assets"].columns.items()}
    learned.tables["assets"] = TABLES["assets"].frame([blank | {"address": "10.0.0.3", "origin": "learned"}])
    baseline = site()
    assert keep_list(baseline, "test", learned) == 1
    again = Baseline.from_bytes(baseline.to_bytes())
    both = list_of(again, "test")
    assert both is not None
    assert both.tables["assets"]["address"].tolist() == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert len(again.tables["assets"]) == 2
    assert list_of(again, "maintenance") is None


def called(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["state", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_sets_shows_ends_and_logs(tmp_path: Path) -> None:
    file = tmp_path / "site.baseline"
    site().save(file)
    ordered = ("-b", str(file), "--who", "Meier", "--why", "order 4711")
    times = ("--from", "2026-05-12T08:00", "--for", "4h", "--hosts", "10.0.0.2, 10.0.0.3")
    called("set", "maintenance", *times, *ordered)
    (shown,) = called("show", "-b", str(file), "--json").splitlines()
    record = json.loads(shown)
    assert record["until"] - record["since"] == 4 * 3600
    assert record["hosts"] == ["10.0.0.2", "10.0.0.3"]
    assert "no window at that moment" in called("show", "-b", str(file), "--at", "2026-05-12T12:00")
    assert "1 ended" in called("clear", *ordered, "--at", "2026-05-12T09:00")
    assert called("show", "-b", str(file), "--at", "2026-05-12T09:00").startswith("normal")
    actions = [json.loads(line)["action"] for line in called("log", "-b", str(file), "--json").splitlines()]
    assert sorted(actions) == ["state maintenance", "state normal"]


@pytest.mark.parametrize(
    "words",
    [
        ("set", "maintenance"),
        ("set", "maintenance", "--for", "1h", "--until", "2026-05-12"),
        ("set", "test", "--for", "40d"),
        ("set", "test", "--for", "1h", "--rules", "goose-replay"),
        ("set", "test", "--until", "tomorrow"),
        ("clear", "--id", "abcd"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = tmp_path / "site.baseline"
    site().save(file)
    before = file.read_bytes()
    called(*words, "-b", str(file), "--who", "Meier", "--why", "order 4711", code=2)
    assert file.read_bytes() == before


TOML = """
[[window]]
state = "test"
since = 2026-05-12T08:00:00Z
until = 2026-05-12T12:00:00
who = "Meier"
why = "relay test"
hosts = ["10.0.0.2"]
"""


def test_windows_of_a_file_are_added_for_a_run(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_text(TOML)
    baseline = site(window())
    add_windows(baseline, file)
    assert [one.state for one in windows_of(baseline)] == ["maintenance", "test"]
    assert windows_of(baseline)[1].until - windows_of(baseline)[1].since == 4 * 3600


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no [[window]]"),
        ("[[window]]\nstate = 3", "[[window]] 1"),
        (TOML.replace("12T12", "12T07"), "ends after it begins"),
        ("window = 1", "[[window]] 1: a window is a table"),
        ("][", "cannot be read"),
    ],
)
def test_a_file_of_windows_with_a_mistake_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "windows.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        add_windows(site(), file)
