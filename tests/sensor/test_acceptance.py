"""What a person accepts is silent afterwards, exactly that, and everything decided leaves a trail."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from detectors.acceptance import accept, reject
from detectors.base import Alert
from detectors.baseline import Baseline, BaselineError
from detectors.compare import diff, merge
from sensor.cli import main
from sensor.engines import open_engine
from sensor.pipeline import detect, learn
from tests.lab import frames as f

T0 = 1_700_000_000 * 10**9
SERVER, KNOWN, NEW, OTHER = "10.0.0.2", "10.0.0.1", "10.0.0.66", "10.0.0.77"
SECOND = 10**9


def polls(client: str, seconds: int, unit: int = 1, start: int = 0, sport: int = 40000) -> list[f.Stamped]:
    talk = f.Talk(client, SERVER, 502, sport=sport)
    talk.open(T0 + start * SECOND)
    for n in range(1, seconds):
        now = T0 + (start + n) * SECOND
        talk.client(now, f.modbus_adu(n, unit, f.mb_read(3, 100, 2)))
        talk.server(now + SECOND // 100, f.modbus_adu(n, unit, f.mb_read_response(3, [7, 8])))
    return talk.frames


def write_register(client: str, at: int, sport: int = 41000) -> list[f.Stamped]:
    talk = f.Talk(client, SERVER, 502, sport=sport)
    talk.open(T0 + at * SECOND)
    talk.client(T0 + at * SECOND + 10**7, f.modbus_adu(9, 1, f.mb_write_register(100, 5)))
    return talk.frames


def capture(path: Path, frames: list[f.Stamped]) -> Path:
    f.write_pcap(path, sorted(frames, key=lambda frame: frame[0]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learned station, and a day on which somebody new polls it."""
    made = tmp_path_factory.mktemp("accept")
    decoded = open_engine([capture(made / "learn.pcap", polls(KNOWN, 120))], "native")
    learn(decoded, decoded.names).save(made / "learned.baseline")
    strangers = [*polls(KNOWN, 60), *polls(NEW, 20, unit=3, start=20, sport=40500)]
    capture(made / "day.pcap", strangers)
    return made


def run(path: Path, baseline: Baseline) -> list[Alert]:
    decoded = open_engine([path], "native")
    return detect(decoded, decoded.names, baseline).alerts


def about(alerts: list[Alert], *rules: str) -> list[Alert]:
    return [alert for alert in alerts if alert.rule in rules]


def cli(*args: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def test_accepted_is_silent_and_the_trail_says_who(folder: Path, tmp_path: Path) -> None:
    site, store = tmp_path / "site.baseline", tmp_path / "site.db"
    site.write_bytes((folder / "learned.baseline").read_bytes())
    day = folder / "day.pcap"
    detection = ("detect", day, "-b", site, "--engine", "native", "--json")
    found = [json.loads(line) for line in cli(*detection, "--store", store).splitlines()]
    news = [alert for alert in found if alert["rule"] == "new-host"]
    assert {alert["protocol"] for alert in news} >= {"modbus"}
    ids = [alert["id"][:8] for alert in news]
    decision = ("--store", store, "-b", site, "--who", "A. Meier", "--why", "work order 4711")
    lines = [json.loads(line) for line in cli("accept", *ids, *decision, "--json").splitlines()]
    assert [line["id"] for line in lines] == [alert["id"] for alert in news]
    again = [json.loads(line) for line in cli(*detection).splitlines()]
    assert not [alert for alert in again if alert["rule"] == "new-host"]
    assert len(again) == len(found) - len(news)  # nothing else went silent

    trail = [json.loads(line) for line in cli("baseline", "log", site, "--json").splitlines()]
    assert {(row["who"], row["why"], row["action"]) for row in trail} == {
        ("A. Meier", "work order 4711", "accepted")
    }
    assert {row["id"] for row in trail} == {alert["id"] for alert in news}
    assert "work order 4711" in cli("baseline", "log", site)

    told = cli("reject", ids[0], "--store", store, "-b", site, "--who", "B", "--why", "it was not")
    assert "acceptances taken back" in told
    last = [json.loads(line) for line in cli(*detection).splitlines()]
    assert [a["protocol"] for a in last if a["rule"] == "new-host"] == [news[0]["protocol"]]


def test_the_daemons_alerts_are_accepted_the_same_way(folder: Path, tmp_path: Path) -> None:
    site, config = tmp_path / "site.baseline", tmp_path / "gridwarden.toml"
    site.write_bytes((folder / "learned.baseline").read_bytes())
    site.chmod(0o640)
    day = folder / "day.pcap"
    config.write_text(
        f'[site]\nname = "n"\nbaseline = "site.baseline"\n[[source]]\ncaptures = ["{day}"]\n'
        '[store]\npath = "site.db"\n'
    )
    detection = ("detect", day, "-b", site, "--engine", "native", "--json")
    found = [json.loads(line) for line in cli(*detection, "--store", tmp_path / "site.db").splitlines()]
    ids = [alert["id"] for alert in found if alert["rule"] == "new-host"]
    decision = ("-c", config, "--who", "A. Meier", "--why", "work order 4711")
    assert "systemctl reload" in cli("alerts", "accept", *ids, *decision)
    assert len(cli(*detection).splitlines()) == len(found) - len(ids)
    assert site.stat().st_mode & 0o777 == 0o640  # a service that could read it still can
    shown = [json.loads(cli("alerts", "show", ident, "-c", config, "--json")) for ident in ids]
    assert {one["decision"]["what"] for one in shown} == {"accepted"}
    assert "acceptances taken back" in cli("alerts", "reject", ids[0], *decision)
    assert len(cli(*detection).splitlines()) == len(found) - len(ids) + 1


def test_what_was_not_accepted_stays_loud(folder: Path, tmp_path: Path) -> None:
    baseline = Baseline.load(folder / "learned.baseline")
    for alert in about(run(folder / "day.pcap", baseline), "new-host"):
        accept(baseline, alert, "me", "test", "now")
    baseline = Baseline.from_bytes(baseline.to_bytes())
    known = polls(KNOWN, 60)
    commands = capture(tmp_path / "a.pcap", [*known, *write_register(NEW, 30)])
    assert about(run(commands, baseline), "new-command-source"), "a command from the accepted host"
    unit = capture(tmp_path / "b.pcap", [*known, *polls(NEW, 20, unit=4, start=20, sport=40500)])
    assert [a.protocol for a in about(run(unit, baseline), "new-host")] == ["modbus"], "another unit"
    other = capture(tmp_path / "c.pcap", [*known, *polls(OTHER, 20, unit=3, start=20, sport=40500)])
    assert {a.src for a in about(run(other, baseline), "new-host")} == {OTHER}, "another host"


def test_an_alert_about_an_amount_is_refused(folder: Path) -> None:
    baseline = Baseline.load(folder / "learned.baseline")
    before = baseline.to_bytes()
    found = run(folder / "day.pcap", baseline)[0]
    for detector in ("timing", "values", "behaviour"):
        amount = Alert(**asdict(found) | {"detector": detector})
        with pytest.raises(BaselineError, match="learn from a capture"):
            accept(baseline, amount, "me", "test", "now")
    with pytest.raises(BaselineError, match="run detect again"):
        accept(baseline, Alert(**asdict(found) | {"scope": {}}), "me", "test", "now")
    many = Alert(**asdict(found) | {"scope": found.scope | {"group": "many"}})
    with pytest.raises(BaselineError, match="one by one"):
        accept(baseline, many, "me", "test", "now")
    assert baseline.to_bytes() == before
    assert reject(baseline, many, "me", "right", "now") == 0
    assert baseline.tables["audit"]["action"].tolist() == ["rejected"]


def test_merge_and_diff_know_what_was_accepted(folder: Path) -> None:
    one, two = (Baseline.load(folder / "learned.baseline") for _ in range(2))
    for alert in about(run(folder / "day.pcap", one), "new-host"):
        accept(one, alert, "me", "test", "now")
    assert {(c.table, c.change) for c in diff(two, one)} == {("accepted", "added")}
    merged = merge(two, one)
    assert len(merged.tables["accepted"]) == len(one.tables["accepted"])
    assert merged.tables["audit"]["who"].tolist() == one.tables["audit"]["who"].tolist()


def test_approvals_are_in_the_trail(tmp_path: Path) -> None:
    decoded = open_engine(
        [capture(tmp_path / "x.pcap", [*polls(KNOWN, 60), *write_register(KNOWN, 30)])], "native"
    )
    baseline = learn(decoded, decoded.names)
    ids = baseline.approve(None, "me", "commissioning", "2026-01-01T00:00:00+00:00")
    assert ids
    trail = baseline.tables["audit"]
    assert trail["id"].tolist() == ids
    assert set(trail["why"]) == {"commissioning"}
    assert "10.0.0.1 to 10.0.0.2" in trail["what"].iloc[0]


def test_a_wrong_call_is_told_what_to_do(folder: Path, tmp_path: Path) -> None:
    site, store = folder / "learned.baseline", tmp_path / "site.db"
    decision = ("-b", site, "--who", "me", "--why", "x")
    assert "no such store" in cli("accept", "abcd", "--store", tmp_path / "none", *decision, code=3)
    cli("detect", folder / "day.pcap", "-b", site, "--engine", "native", "--store", store)
    assert "too short" in cli("accept", "ab", "--store", store, *decision, code=2)
    assert "no alert zzzzzz" in cli("accept", "zzzzzz", "--store", store, *decision, code=2)
