"""The command ``gridwarden sinks`` and the forwarder as the daemon uses it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import one_sink
from receivers import Http
from servers import Certs, wait_for
from stores import Running, alerts, line, write

from sensor.cli import main
from sensor.sinks.backoff import Backoff
from sensor.sinks.forwarder import Forwarder
from sensor.store.sqlite import Store


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gridwarden.toml"
    path.write_text(
        '[site]\nname = "UW Nord"\n[store]\npath = "a.db"\n[[sink]]\ntype = "jsonl"\npath = "out.jsonl"\n'
    )
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["sinks", *map(str, args)])


def test_check_says_what_each_sink_did(config: Path, certs: Certs, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    server = Http(certs)
    server.start()
    server.answer = lambda *_: (401, {}, b"")
    hook = (
        f'[[sink]]\ntype = "webhook"\nurl = "{server.url}"\nsecret_file = "secret"\nca_file = "{certs.ca}"\n'
    )
    config.write_text(config.read_text() + hook)
    result = run("check", "-c", config, "--json")
    assert result.exit_code == 1
    good, bad = map(json.loads, result.output.splitlines())
    assert (good["name"], good["ok"], good["error"]) == ("jsonl", True, "")
    assert bad["ok"] is False
    assert "401" in bad["error"]
    assert json.loads((tmp_path / "out.jsonl").read_text())["record"] == "test"
    server.answer = lambda *_: (204, {}, b"")
    result = run("check", "-c", config)
    assert result.exit_code == 0
    assert "took the test record" in result.output
    assert run("check", "-c", config, "--only", "jsonl").exit_code == 0
    server.stop()


def test_forward_and_status(config: Path, tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    write(store, alerts(9), [line("score", 30)])
    status = json.loads(run("status", "-c", config, "--json").output)  # the configuration's store
    assert (status["depth"], status["sent"]) == (39, 0)
    assert run("forward", "-c", config, "--store", store).output == "jsonl: 39 records\n"
    status = json.loads(run("status", "-c", config, "--store", store, "--json").output)
    assert (status["depth"], status["sent"], status["given_up"]) == (0, 39, {})
    assert "39" in run("status", "-c", config, "--store", store).output


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("[[sink", 3, "is no TOML"),
        ("", 2, "has no [[sink]] table"),
        ('[[sink]]\ntype = "jsonl"\npth = "x"', 3, "did you mean path?"),
        ('sink = "x"', 3, "is no list of tables"),
    ],
)
def test_mistakes_in_the_configuration(config: Path, content: str, code: int, words: str) -> None:
    config.write_text(content)
    result = run("check", "-c", config)
    assert result.exit_code == code
    assert words.lower() in result.output.lower()
    assert str(config) in result.output


def test_a_sink_that_is_not_there(config: Path) -> None:
    assert run("check", "-c", config, "--only", "soc").exit_code == 2
    assert run("check", "-c", config.with_name("none.toml")).exit_code == 3
    assert "no store yet" in run("status", "-c", config).output


def test_a_poke_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Store.open(path).close()
    with Running(path, one_sink(type="jsonl", path=str(tmp_path / "o"))) as running:
        wait_for(lambda: running.status()["state"] == "idle")
        write(path, alerts(3))
        running.forwarder.poke()
        wait_for(lambda: running.status()["sent"] == 3)
        json.dumps(running.forwarder.status(), allow_nan=False)
    assert running.status()["state"] == "stopped"


def test_one_sink_that_fails_does_not_hold_up_another(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(40))
    good = one_sink(type="jsonl", name="good", path=str(tmp_path / "o"))
    bad = one_sink(type="jsonl", name="bad", path=str(tmp_path / "no" / "folder" / "o"))
    forwarder = Forwarder(path, [bad, good])
    forwarder.start()
    wait_for(lambda: forwarder.status()["good"]["sent"] == 40)
    wait_for(lambda: forwarder.status()["bad"]["last_error"], what="the other sink was tried")
    status = forwarder.status()["bad"]
    assert "No such file or directory" in status["last_error"]
    assert status["depth"] == 40
    assert forwarder.stop(5)


def test_stopping_does_not_wait_for_a_sink_that_hangs(tmp_path: Path) -> None:
    server = Http()
    release = threading.Event()

    def answer(*_: object) -> tuple[int, dict[str, str], bytes]:
        release.wait(30)
        return 204, {}, b""

    server.answer = answer
    server.start()
    path, secret = tmp_path / "a.db", tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    write(path, alerts(3))
    sink = one_sink(type="webhook", url=server.url, secret_file=str(secret), timeout=30, min_level="info")
    forwarder = Forwarder(path, [sink])
    forwarder.start()
    wait_for(lambda: forwarder.status()["webhook"]["state"] == "sending")
    begin = time.monotonic()
    assert forwarder.stop(0.2) is False
    assert time.monotonic() - begin < 20  # it is a matter of the deadline, not of the sink's timeout
    release.set()
    server.stop()


def test_a_store_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    """A damaged store is set aside and a new one begun under its name."""
    path = tmp_path / "a.db"
    write(path, alerts(5))
    sink = one_sink(type="jsonl", path=str(tmp_path / "o"))
    with Running(path, sink) as running:
        wait_for(lambda: running.status()["depth"] == 0)
        for name in ("a.db", "a.db-wal", "a.db-shm"):
            if (tmp_path / name).exists():
                (tmp_path / name).rename(tmp_path / f"aside-{name}")
        write(path, alerts(4, 50))
        running.forwarder.poke()
        wait_for(lambda: len((tmp_path / "o").read_text().splitlines()) == 9)


def test_a_damaged_store_is_said_and_the_sink_goes_on_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"no database at all " * 100)
    with Running(path, one_sink(type="jsonl", path=str(tmp_path / "o"))) as running:
        wait_for(lambda: "is not a store" in str(running.status()["last_error"]))
        assert "is not a store" in str(running.status()["store_error"])
        path.unlink()
        write(path, alerts(4))
        wait_for(lambda: running.status()["sent"] == 4)


def test_away_for_longer_than_the_quota(tmp_path: Path) -> None:
    """The quota by bytes: what is kept, what is given up, what is said."""
    path = tmp_path / "a.db"
    server = Http()
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    kinds = ["alerts", "incidents", "levels", "samples"]
    sink = one_sink(type="webhook", url=server.url, secret_file=str(secret), send=kinds, min_level="info",
                    max_bytes=60_000)  # fmt: skip
    for turn in range(4):
        write(path, alerts(40, 40 * turn), [line("messages", 400, first=400 * turn)], tag=str(turn))
    # The sink is down, and the backlog is above the quota when it is looked at.
    with Running(path, sink) as running:
        wait_for(lambda: running.status()["state"] == "waiting")
        wait_for(lambda: "samples" in str(running.status()["given_up"]))
        given_up = running.status()["given_up"]
        assert isinstance(given_up, dict)
        server.start()
        wait_for(lambda: running.status()["depth"] == 0)
    server.stop()
    got = [record for _, _, body in server.requests for record in json.loads(body)["records"]]
    alarms = [r for r in got if r["record"] == "alert" and r["level"] == "alarm"]
    assert len([r for r in alarms if r["rule"] != "outbox-given-up"]) == 40  # every alarm
    lost = {lane: reasons["bytes"] for lane, reasons in given_up.items()}
    assert set(lost) <= {"samples", "alerts info", "alerts notice"}
    assert lost["samples"] == 1_600
    told = [r for r in got if r.get("rule") == "outbox-given-up"]
    assert told[-1]["count"] == sum(lost.values())
    assert "samples (bytes)" in told[-1]["summary"]
    assert len([r for r in got if r["record"] == "sample"]) == 1_600 - lost["samples"]


def test_delays_double_up_to_a_bound_and_are_jittered() -> None:
    backoff = Backoff(1.0, 60.0)
    delays = [backoff.next() for _ in range(200)]
    for number, delay in enumerate(delays):
        ideal = min(60.0, 2.0**number)
        assert ideal / 2 <= delay <= ideal
    assert len(set(delays)) == 200
    assert backoff.next(asked=500.0) == 500.0
    assert backoff.next(asked=10**9) <= 3_600.0
    backoff.reset()
    assert backoff.next() <= 1.0


def test_a_record_that_our_own_code_cannot_handle_blocks_nothing(tmp_path: Path) -> None:
    """A scrubbing that fails, and a sink whose library raises: the record is set aside, the rest goes."""
    from sensor.sinks.base import Record
    from sensor.sinks.pump import Pump

    path = tmp_path / "a.db"
    write(path, alerts(30, level="notice"))

    def scrub(record: Record) -> Record:
        if record.ident == "a00007":
            raise KeyError("no pseudonym")
        if record.ident == "a00019":
            record.data["summary"] = object()  # no JSON
        return record

    sink = one_sink(type="jsonl", path=str(tmp_path / "o"), pseudonymise=True)
    with Pump(path, sink, scrub) as pump:
        while pump.step():
            pass
        letters = {letter["ident"]: letter for letter in pump.outbox.dead_letters()}
    got = [json.loads(row) for row in (tmp_path / "o").read_text().splitlines()]
    assert len([r for r in got if r["record"] == "alert"]) == 28
    assert "no pseudonym" in letters["unreadable"]["reason"]
    assert letters["unreadable"]["record"] == "{}"
    assert len(letters) == 2


def test_no_store_is_made_where_none_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Running(path, one_sink(type="jsonl", path=str(tmp_path / "o"))) as running:
        wait_for(lambda: "no store yet" in str(running.status()["last_error"]))
        assert running.status()["depth"] is None
        assert not path.exists()
        write(path, alerts(2))
        wait_for(lambda: running.status()["sent"] == 2)
