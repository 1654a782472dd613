"""Commands around the daemon: config, alerts, status."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detectors.base import Level
from detectors.baseline import Baseline
from sensor.cli import main
from sensor.config.schema import StoreConfig
from sensor.daemon.clock import Clock
from sensor.daemon.keeper import Keeper
from sensor.daemon.own_alerts import OwnAlerts, own_alert
from sensor.store.live import AlertChange, HealthRow


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with three alerts and no heartbeat."""
    path = tmp_path / "site.db"
    keeper = Keeper(StoreConfig(path=path), Clock(), OwnAlerts(), lambda text: None)
    keeper.open()
    keeper.start()
    for ident, level, age in (
        ("aa11", Level.ALARM, 60),
        ("bb22", Level.NOTICE, 60),
        ("cc33", Level.ALARM, 90_000),
    ):
        alert = own_alert("rule-x", level, "", f"[bold]words of {ident}", time.time() - age)
        alert.id, alert.src, alert.protocol = ident, "10.0.0.7", "iec104"
        keeper.put(AlertChange(alert, open=ident == "aa11"))
    assert keeper.stop(30)
    return path


def heartbeat(path: Path, state: str, age: float) -> None:
    keeper = Keeper(StoreConfig(path=path), Clock(), OwnAlerts(), lambda text: None)
    keeper.open()
    keeper.start()
    fields = {"lag_s": 0.4, "interval_s": 10.0}
    rows = [HealthRow(time.time() - age, name, state, fields | {"frames": 7.0}) for name in ("eth1", "")]
    keeper.put(health=rows)
    assert keeper.stop(30)


def test_init_writes_an_example_once_and_check_says_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "gw.toml"
    assert call("config", "init", file).exit_code == 0
    assert file.stat().st_mode & 0o007 == 0
    again = call("config", "init", file)
    assert again.exit_code == 3
    assert "is there already" in again.output
    checked = call("config", "check", file)
    assert checked.exit_code == 3
    assert f"{file}:" in checked.output
    assert "site.baseline" in checked.output
    shown = json.loads(call("config", "show", file, "--json").stdout)
    assert (shown["site"], shown["store"]["keep_days"]) == ("my-station", 90)
    assert "store.max_mib = 2048" in call("config", "show", file).stdout


def test_show_keeps_secrets_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "gw.toml"
    call("config", "init", file)
    file.write_text(file.read_text() + '\n[[sink]]\nname = "soc"\ntoken = "hunter2"\n')
    for more in ([], ["--json"]):
        output = call("config", "show", file, *more).output
        assert "soc" in output
        assert "hunter2" not in output


def test_alerts_are_listed_shown_and_decided(store: Path) -> None:
    listed = call("alerts", "list", "--store", store)
    assert listed.exit_code == 0
    assert "[bold]words of aa11" in listed.stdout  # not taken for markup
    assert "open" in listed.stdout
    recent = call("alerts", "list", "--store", store, "--since", "1h", "--level", "alarm", "--json")
    assert [json.loads(line)["id"] for line in recent.stdout.splitlines()] == ["aa11"]
    assert call("alerts", "accept", "aa", "--store", store).exit_code == 2  # a reason is asked for
    empty = store.with_name("site.baseline")
    Baseline().save(empty)
    why = ("--who", "meier", "--why", "new laptop", "--json")
    assert "which baseline?" in call("alerts", "reject", "aa", "--store", store, *why).output
    refused = call("alerts", "accept", "aa", "--store", store, "-b", empty, *why)
    assert refused.exit_code == 2  # it does not say what it is about: nothing is written down either
    assert call("alerts", "list", "--store", store, "--decided", "accepted").stdout == ""
    done = call("alerts", "reject", "aa", "--store", store, "-b", empty, *why)
    decision = json.loads(done.stdout)["decision"]
    assert (decision["what"], decision["who"], decision["why"]) == ("rejected", "meier", "new laptop")
    assert Baseline.load(empty).tables["audit"]["action"].tolist() == ["rejected"]
    assert call("alerts", "ack", "bb22", "aa11", "--store", store).exit_code == 0
    shown = json.loads(call("alerts", "show", "aa11", "--store", store, "--json").stdout)
    assert [one["what"] for one in shown["decisions"]] == ["rejected", "acknowledged"]
    left = call("alerts", "list", "--store", store, "--decided", "none", "--json")
    assert [json.loads(line)["id"] for line in left.stdout.splitlines()] == ["cc33"]
    assert "rejected by meier" in call("alerts", "show", "aa11", "--store", store).stdout


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    for command in (["alerts", "list"], ["alerts", "ack", "x"], ["status"]):
        result = call(*command, "--store", path)
        assert result.exit_code == 3
        assert "there is no store yet" in result.output
    assert not path.exists()
    assert call("status").exit_code == 2
    assert call("alerts", "show", "aa11").exit_code == 2


@pytest.mark.parametrize(
    ("state", "age", "said", "code"),
    [("ok", 1, "ok", 0), ("ok", 60, "dead", 1), ("blind", 1, "blind", 1), ("stopped", 60, "stopped", 1)],
)
def test_status_tells_whether_the_sensor_lives_and_sees(
    store: Path, state: str, age: float, said: str, code: int
) -> None:
    assert json.loads(call("status", "--store", store, "--json").stdout)["state"] == "never started"
    heartbeat(store, state, age)
    result = call("status", "--store", store, "--json")
    record = json.loads(result.stdout)
    assert (record["state"], result.exit_code) == (said, code)
    assert record["sources"]["eth1"]["frames"] == 7
    assert record["open_alerts"]["alarm"] == 1
    assert said in call("status", "--store", store).stdout
