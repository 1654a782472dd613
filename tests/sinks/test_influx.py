"""InfluxDB: a real influxd 1.x behind nginx, which keeps every type and refuses what is malformed."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import one_sink
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from receivers import Http
from servers import Certs, Front, Influx, Relay, Victoria, wait_for
from stores import Running, alerts, depth, forward_all, line, point, write

from sensor.result import Result
from sensor.sinks.base import Forgetful, Unavailable
from sensor.sinks.influx import InfluxSink
from sensor.sinks.settings import InfluxSettings
from sensor.store.outbox import Outbox
from sensor.store.sqlite import Store
from tests.sensor.result_samples import HOSTILE, START, alert, substation

Secret = Callable[[str], str]


@pytest.fixture
def target(front: Front, bucket: str, certs: Certs, secret: Secret) -> InfluxSettings:
    """Settings that work."""
    token = secret(Front.TOKEN)
    sink = one_sink(type="influx", url=front.url, bucket=bucket, token_file=token, ca_file=str(certs.ca))
    assert isinstance(sink, InfluxSettings)
    return sink


def test_a_whole_result_arrives_once_and_again_changes_nothing(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    path, result = tmp_path / "site.db", substation()
    with Store.open(path) as store:
        samples = store.write(result).samples
        rows = len(result.alerts) + len(result.incidents) + samples
    assert forward_all(path, target) == rows
    for turn in range(2):
        assert influx.count("alert", "id", target.bucket) == len(result.alerts)
        assert influx.count("incident", "id", target.bucket) == len(result.incidents)
        points = [("early_warning", "score"), ("point_value", "value"), ("traffic", "site_score")]
        assert sum(influx.count(name, field, target.bucket) for name, field in points) == samples
        again = replace(target, name=f"again{turn}")  # a sink of another name begins anew
        assert forward_all(path, again) == rows


def test_every_value_has_its_type_and_its_tags(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "a.db") as store:
        found = alert(7, count=3, p_value=0.25, level="alarm", end=START + 100)
        store.write(Result(alerts=[found], series=[line("score", 3)], point_series=[point(2)]))
    forward_all(tmp_path / "a.db", target)
    fields = {
        row["fieldKey"]: row["fieldType"] for row in influx.rows("SHOW FIELD KEYS FROM alert", target.bucket)
    }
    assert fields["count"] == "integer"
    assert fields["current"] == "boolean"
    assert fields["p_value"] == fields["duration_s"] == "float"
    assert fields["summary"] == fields["id"] == "string"
    tags = {row["tagKey"] for row in influx.rows("SHOW TAG KEYS FROM alert", target.bucket)}
    assert tags == {"site", "sensor", "protocol", "conversation", "detector", "level"}
    (row,) = influx.rows("SELECT * FROM alert", target.bucket)
    assert (row["count"], row["p_value"], row["duration_s"]) == (3, 0.25, 30.0)
    assert (row["site"], row["level"], row["id"]) == ("UW Nord", "alarm", "a00007")
    assert 0 <= row["time"] - round(found.start * 1e9) < 1_000_000
    values = influx.rows("SELECT value, low, high FROM point_value", target.bucket)
    assert [(v["value"], v["low"], v["high"]) for v in values] == [(0.0, 0.0, 50.0), (1.0, 0.0, 50.0)]


def test_alerts_that_begin_together_stay_apart(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    """Also those whose ids would choose the same nanosecond: 6,000 in a millisecond, of 4 levels."""
    write(tmp_path / "a.db", alerts(6_000))
    forward_all(tmp_path / "a.db", target)
    assert influx.count("alert", "id", target.bucket) == 6_000
    forward_all(tmp_path / "a.db", replace(target, name="again"))
    assert influx.count("alert", "id", target.bucket) == 6_000


def test_an_alert_that_grows_is_one_point(influx: Influx, target: InfluxSettings, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Running(path, target) as running:
        for level, count, start in (("notice", 1, START), ("warning", 5, START - 3), ("alarm", 9, START - 4)):
            write(path, [alert(1, level=level, count=count, start=start, end=START + count)])
            running.forwarder.poke()
            wait_for(lambda: depth(path, target) == 0)
    rows = influx.rows("SELECT * FROM alert WHERE current = true", target.bucket)
    assert [(row["level"], row["count"]) for row in rows] == [("alarm", 9)]
    assert len(influx.rows("SELECT * FROM alert WHERE current = false", target.bucket)) == 2


def test_hostile_text_neither_breaks_a_line_nor_forges_one(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    evil = 'x",y=1\nalert,site=forged id="z" 1\n' + HOSTILE + "\\"
    write(tmp_path / "a.db", [alert(1, src=evil, summary=evil, protocol="a\\,b= c\\", observed="\\" * 7)])
    forward_all(tmp_path / "a.db", target)
    (row,) = influx.rows("SELECT * FROM alert", target.bucket)
    assert row["site"] == "UW Nord"
    assert row["summary"].startswith('x",y=1�alert,site=forged id="z" 1�')
    assert row["observed"] == "\\" * 7
    assert row["protocol"] == "a/,b= c/"


@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(max_size=60), number=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_is_taken_by_the_server(
    influx: Influx, target: InfluxSettings, tmp_path_factory: pytest.TempPathFactory, text: str, number: float
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.db"
    label = f"L{text}"
    series = line("score", 1, label)
    series.values[:] = number
    write(path, [alert(1, src=label, point=text, summary=text, technique=text)], [series])
    forward_all(path, replace(target, name="any"))
    with Outbox.open(path, "any", ()) as outbox:
        assert outbox.dead_letters() == []
    values = influx.rows(
        "SELECT last(score) AS score FROM early_warning GROUP BY conversation", target.bucket
    )
    assert number in [float(row["score"]) for row in values]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bucket": "nowhere"}, "404"),
        ({"ca_file": None}, "certificate of the sink is not trusted"),
        ({"url": "https://localhost:9"}, "refused"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    target: InfluxSettings, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(5))
    with pytest.raises(Unavailable, match=words):
        forward_all(path, replace(target, **change))  # type: ignore[arg-type]
    assert depth(path, target) == 5
    assert forward_all(path, target) == 5


def test_a_certificate_of_a_stranger_is_refused(
    influx: Influx, target: InfluxSettings, strangers: Certs, tmp_path: Path
) -> None:
    impostor = Front(tmp_path / "impostor", influx.port, strangers)
    impostor.start()
    write(tmp_path / "a.db", alerts(2))
    try:
        with pytest.raises(Unavailable, match="not trusted"):
            forward_all(tmp_path / "a.db", replace(target, url=impostor.url))
        assert "Token" not in (tmp_path / "impostor" / "access.log").read_text()
        assert influx.count("alert", "id", target.bucket) == 0
        assert forward_all(tmp_path / "a.db", replace(target, url=impostor.url, verify_tls=False)) == 2
    finally:
        impostor.stop()


def test_a_wrong_token_is_named_and_a_new_one_is_used_without_restart(
    influx: Influx, target: InfluxSettings, secret: Secret, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(5))
    wrong = one_sink(type="influx", url=target.url, bucket=target.bucket, ca_file=str(target.ca_file),
                     token_file=secret("wrong-token"))  # fmt: skip
    assert isinstance(wrong, InfluxSettings)
    assert wrong.token is not None
    assert wrong.token.file is not None
    with Running(path, wrong) as running:
        wait_for(lambda: "401" in str(running.status()["last_error"]))
        status = running.status()
        assert "wrong-token" not in str(status)
        assert (status["depth"], status["sent"], status["state"]) == (5, 0, "waiting")
        wrong.token.file.write_text(Front.TOKEN)
        wait_for(lambda: running.status()["depth"] == 0)
    assert influx.count("alert", "id", target.bucket) == 5


def test_a_secret_that_everybody_can_read_is_not_used(target: InfluxSettings, tmp_path: Path) -> None:
    assert target.token is not None
    assert target.token.file is not None
    target.token.file.chmod(0o644)
    write(tmp_path / "a.db", alerts(1))
    with pytest.raises(Unavailable, match="chmod o-rwx"):
        forward_all(tmp_path / "a.db", target)


def test_one_poison_point_is_set_aside_and_the_rest_arrives(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    """A field that the server knows as text makes it refuse the point that brings a number."""
    path = tmp_path / "a.db"
    poison = "10.9.9.9 → 10.9.9.8"
    form = f'early_warning,conversation={poison.replace(" ", chr(92) + " ")} bad="text" {int(START * 1e9)}'
    InfluxSink(target, Forgetful())._write([form])
    write(path, alerts(7), [line("score", 500), line("margin bad", 300)])
    bad = line("bad", 1, poison)
    bad.name = "asset.bad"
    write(path, series=[bad], tag="b")
    assert forward_all(path, target) == 7 + 500 + 300 + 1
    assert influx.count("early_warning", "score", target.bucket) == 500
    assert influx.count("early_warning", "margin_bad", target.bucket) == 300
    assert influx.count("alert", "id", target.bucket) == 7
    with Outbox.open(path, "influx", ()) as outbox:
        (letter,) = outbox.dead_letters()
    assert letter["ident"].startswith("asset.bad|")
    assert "field type conflict" in letter["reason"]
    assert forward_all(path, target) == 0


def test_a_flood_of_conversations_does_not_become_series(
    influx: Influx, target: InfluxSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    few = replace(target, max_labels=10)
    write(
        path,
        [alert(n, src=f"10.1.0.{n}") for n in range(50)],
        [line("score", 2, f"c{n:02}") for n in range(40)],
    )
    forward_all(path, few)
    series = influx.rows("SHOW SERIES", target.bucket)
    labels = {
        row["key"].split("conversation=")[1].split(",")[0] for row in series if "conversation=" in row["key"]
    }
    assert len(labels) == 11
    assert "other" in labels
    assert influx.count("alert", "id", target.bucket) == 50
    with Outbox.open(path, "influx", ()) as outbox:
        assert outbox.given_up() == {"levels": {"labels": 80}}
        assert outbox.report_given_up() == 80
    with Store.open(path) as store:
        (told,) = [a for a in store.alerts() if a.rule == "outbox-given-up"]
    assert "80 levels (labels)" in told.summary


def test_server_away_and_back_nothing_lost_nothing_doubled(tmp_path: Path, certs: Certs) -> None:
    """The server is killed and started several times while rows keep coming."""
    influx = Influx(tmp_path / "influx")
    influx.start()
    influx.query("CREATE DATABASE site")
    front = Front(tmp_path / "front", influx.port, certs)
    front.start()
    token = tmp_path / "token"
    token.write_text(Front.TOKEN)
    token.chmod(0o600)
    sink = one_sink(
        type="influx", url=front.url, bucket="site", token_file=str(token), ca_file=str(certs.ca), batch=50
    )
    path = tmp_path / "a.db"
    try:
        with Running(path, sink) as running:
            for turn in range(6):
                write(path, alerts(40, 40 * turn), [line("score", 60, first=60 * turn)], tag=str(turn))
                running.forwarder.poke()
                if turn % 2 == 0:
                    wait_for(lambda: int(str(running.status()["depth"])) < 60)
                    influx.stop(signal.SIGKILL)
                else:
                    wait_for(lambda: running.status()["state"] == "waiting")
                    influx.start()
            wait_for(lambda: running.status()["depth"] == 0)
            status = running.status()
        assert status["given_up"] == {}
        assert status["dead_letters"] == 0
        assert influx.count("alert", "id", "site") == 240
        assert influx.count("early_warning", "score", "site") == 360
    finally:
        front.stop()
        influx.stop()


FORWARD = [sys.executable, "-m", "sensor", "sinks", "forward"]


def test_killed_between_delivery_and_cursor(
    influx: Influx, front: Front, target: InfluxSettings, tmp_path: Path
) -> None:
    """The server has the batch, the sender is killed before the answer: sent again, there once."""
    path, config = tmp_path / "a.db", tmp_path / "gridwarden.toml"
    write(path, alerts(300), [line("score", 900)])
    relay = Relay(front.port)
    assert target.token is not None
    config.write_text(
        f'[site]\nname = "UW Nord"\nsensor = "s1"\n[[sink]]\ntype = "influx"\nurl = "https://localhost:{relay.port}"\n'
        f'bucket = "{target.bucket}"\ntoken_file = "{target.token.file}"\n'
        f'ca_file = "{target.ca_file}"\nbatch = 100\n'
    )
    command = [*FORWARD, "-c", str(config), "--store", str(path)]
    kills = 0

    def kill() -> None:
        nonlocal kills
        stored = influx.count("alert", "id", target.bucket) + influx.count(
            "early_warning", "score", target.bucket
        )
        if stored > before:  # not in the handshake: a batch has been stored and is not acknowledged yet
            kills += 1
            process.kill()

    for _ in range(4):
        before = influx.count("alert", "id", target.bucket) + influx.count(
            "early_warning", "score", target.bucket
        )
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
        relay.before_answer = kill
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    relay.before_answer = None
    assert kills >= 4
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith("influx: ")
    relay.close()
    assert influx.count("alert", "id", target.bucket) == 300
    assert influx.count("early_warning", "score", target.bucket) == 900
    assert depth(path, target) == 0


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again_later(status: int, tmp_path: Path, secret: Secret) -> None:
    server = Http()
    server.answer = lambda *_: (status, {}, b"{}") if len(server.requests) < 3 else (204, {}, b"")
    server.start()
    sink = one_sink(type="influx", url=f"http://localhost:{server.port}", bucket="b", token_file=secret("t"))
    path = tmp_path / "a.db"
    write(path, alerts(3, level="alarm"))
    try:
        with Running(path, sink) as running:
            wait_for(lambda: running.status()["depth"] == 0)
            assert str(status) in str(running.status()["last_error"])
    finally:
        server.stop()
    assert len({gzip.decompress(body) for _, _, body in server.requests}) == 1  # the same batch each time
    assert len(server.requests) == 4


def test_a_server_that_does_not_answer_is_given_up_for_now(tmp_path: Path, secret: Secret) -> None:
    server = Http()
    release = wait_for
    hang = [True]

    def answer(*_: object) -> tuple[int, dict[str, str], bytes]:
        if hang[0]:
            release(lambda: not hang[0])
        return 204, {}, b""

    server.answer = answer
    server.start()
    sink = one_sink(
        type="influx", url=f"http://localhost:{server.port}", bucket="b", token_file=secret("t"), timeout=0.2
    )
    path = tmp_path / "a.db"
    write(path, alerts(3))
    try:
        with Running(path, sink) as running:
            wait_for(lambda: "timed out" in str(running.status()["last_error"]).lower())
            assert running.status()["depth"] == 3
            hang[0] = False
            wait_for(lambda: running.status()["depth"] == 0)
    finally:
        hang[0] = False
        server.stop()


@pytest.mark.slow
def test_many_points_and_outages_with_victoria_metrics(victoria: Victoria, tmp_path: Path) -> None:
    """Every sample of a large backlog, with the server killed in between."""
    sink = one_sink(type="influx", url=f"http://localhost:{victoria.port}", bucket="b", send=["samples"])
    path = tmp_path / "a.db"
    write(path, series=[line("messages", 20_000, f"c{n}") for n in range(10)])
    with Running(path, sink) as running:
        for _ in range(3):
            wait_for(lambda: int(str(running.status()["sent"])) > 0)
            victoria.stop()
            wait_for(lambda: running.status()["state"] == "waiting")
            victoria.start()
        wait_for(lambda: running.status()["depth"] == 0, 120)
    assert victoria.count('{__name__="traffic_messages"}') == 200_000
