"""What leaves through a sink with pseudonyms: the octets that arrive hold no address of the site."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import one_sink
from receivers import Http, Syslog
from servers import Certs, Front, Influx, Mosquitto, wait_for
from stores import drain
from test_mqtt import Subscriber

from sensor.cli import main
from sensor.config.reader import ConfigError
from sensor.config.schema import load_config
from sensor.daemon.forwarding import make_forwarder
from sensor.errors import InputError
from sensor.pseudonym.key import Pseudonyms
from sensor.pseudonym.records import RecordScrub
from sensor.result import Result, Series
from sensor.sinks.pump import Pump
from sensor.sinks.settings import SinkSettings
from sensor.store.sqlite import Store
from tests.sensor.result_samples import START, alert, substation

KEY = "a key that is long enough for tests"
NAMES = ("TR1PROT", "BCU1")
PSEUDONYMS = Pseudonyms(KEY.encode(), NAMES)
HOSTS = ("10.20.30.66", "10.20.30.41", "02:00:0a:14:1e:42", "fe80::200:aff:fe14:1e42", "2001:db8::17")
IDS = tuple(alert(number).id for number in range(1, 6))
MARKS = (*HOSTS, "02-00-0A-14-1E-42", "0200.0a14.1e42", "FE80::200:AFF:FE14:1E42", *NAMES)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Addresses wherever they may stand."""
    path = tmp_path / "a.db"
    found = []
    for number, host in enumerate(HOSTS, 1):
        other = HOSTS[number % len(HOSTS)]
        found.append(
            alert(
                number,
                start=START + number,
                end=START + number + 1,
                level=("notice", "warning", "alarm")[number % 3],
                src=host,
                dst=other,
                point="TR1PROTLD0/LLN0$GO$gcbTrip",
                summary=f"{host}:502 writes to {other}, BCU1 says [{host}] at 09:03:02 (firmware 4.0.17.2)",
                expected=f"only from {other}; 02-00-0A-14-1E-42, 0200.0a14.1e42",
                observed=f"FE80::200:AFF:FE14:1E42 → {host}",
                scope={
                    "conv": ["modbus", host, other, 502, "TR1PROT", 0],
                    "pair": True,
                    "group": f"new|{host}",
                    "items": [host, f"→{other}", f"{other}/24", "unit 1"],
                    "observed": "",
                },
            )
        )
    label = f"{HOSTS[0]} → {HOSTS[1]} TR1PROTLD0/LLN0$GO$gcbTrip"
    result = Result(captures=["a"], alerts=found)
    result.incidents = [
        replace(
            substation().incidents[0],
            id="1" * 12,
            start=START,
            end=START + 9,
            summary=f"{HOSTS[0]} writes and 4 more alerts",
            hosts=list(HOSTS),
            alerts=[one.id for one in found],
        )
    ]
    ts = np.array([START + 1.0, START + 2.0])
    for name, conversation in (("score", label), ("asset.level", HOSTS[2]), ("messages", label)):
        result.series.append(Series(name, conversation, "goose", "1", ts, np.array([0.5, 0.25])))
    with Store.open(path) as opened:
        opened.write(result)
    return path


def send(store: Path, sink: SinkSettings) -> int:
    with Pump(store, sink, RecordScrub(PSEUDONYMS)) as pump:
        pump.housekeeping()
        sent = drain(pump)
        assert pump.outbox.dead_count() == 0
        return sent


def judge(octets: bytes) -> None:
    """No address, nor what it looks like inside JSON, and the pseudonyms are there."""
    low = octets.lower()
    for mark in MARKS:
        for form in (mark, json.dumps(mark)[1:-1]):
            assert form.lower().encode() not in low, mark
    for ident in IDS:
        assert ident.encode() not in low  # digests of addresses that can be guessed
        assert PSEUDONYMS.ident(ident).encode() in octets
    assert str(PSEUDONYMS.address(HOSTS[0])).encode() in octets
    assert b"4.0.17.2" in octets
    assert b"09:03:02" in octets


def test_a_file(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    assert send(store, one_sink(type="jsonl", path=str(target), pseudonymise=True)) == 12
    judge(target.read_bytes())
    records = [json.loads(line) for line in target.read_text().splitlines()]
    first = next(record for record in records if record["record"] == "alert")
    assert first["src"] in first["summary"]  # one address, one pseudonym
    assert first["dst"] in first["expected"]
    plain = tmp_path / "plain.jsonl"
    send(store, one_sink(type="jsonl", name="plain", path=str(plain)))
    assert HOSTS[0].encode() in plain.read_bytes()  # that of this sink alone
    same = [json.loads(line) for line in plain.read_text().splitlines()]
    for one, other in zip(records, same, strict=True):
        assert [one[key] for key in ("change", "record")] == [other[key] for key in ("change", "record")]
        assert one.get("id") == (PSEUDONYMS.ident(other["id"]) if "id" in other else None)


@pytest.mark.parametrize("form", ["cef", "json"])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_syslog(store: Path, form: str, transport: str) -> None:
    server = Syslog(transport)
    server.start()
    kinds = ["alerts", "incidents", "levels", "samples"]
    try:
        sink = one_sink(
            type="syslog",
            host="localhost",
            port=server.port,
            transport=transport,
            format=form,
            min_level="info",
            send=kinds,
            pseudonymise=True,
        )
        assert send(store, sink) == 12
        wait_for(lambda: len(server.messages) == 12)
        judge(b"\n".join(b" ".join(message) for message in server.messages))
    finally:
        server.stop()


def test_webhook(store: Path, secret: Callable[[str], str]) -> None:
    server = Http()
    server.start()
    try:
        sink = one_sink(
            type="webhook",
            url=server.url,
            secret_file=secret("s3cret"),
            min_level="info",
            send=["alerts", "incidents", "levels", "samples"],
            pseudonymise=True,
        )
        assert send(store, sink) == 12
        judge(b"\n".join(repr(headers).encode() + body for _, headers, body in server.requests))
    finally:
        server.stop()


def test_mqtt(store: Path, mosquitto: Mosquitto, certs: Certs, secret: Callable[[str], str]) -> None:
    sink = one_sink(
        type="mqtt",
        host="localhost",
        port=mosquitto.port,
        ca_file=str(certs.ca),
        username=Mosquitto.USER,
        password_file=secret(Mosquitto.PASSWORD),
        send=["alerts", "incidents", "levels", "samples"],
        pseudonymise=True,
    )
    reader = Subscriber(mosquitto)
    try:
        assert send(store, sink) == 12
        wait_for(lambda: len(reader.messages) == 12)
    finally:
        reader.client.loop_stop()
    judge(b"\n".join(message.topic.encode() + b" " + message.payload for message in reader.messages))


def test_influx(
    store: Path, influx: Influx, front: Front, bucket: str, certs: Certs, secret: Callable[[str], str]
) -> None:
    """Tags and fields as the server gives them back."""
    sink = one_sink(
        type="influx",
        url=front.url,
        bucket=bucket,
        token_file=secret(Front.TOKEN),
        ca_file=str(certs.ca),
        pseudonymise=True,
    )
    assert send(store, sink) == 12
    answer = ""
    for what in ("alert", "incident", "early_warning", "traffic"):
        answer += json.dumps(influx.query(f"SELECT * FROM {what}", bucket), ensure_ascii=False)
    for query in ("SHOW SERIES", "SHOW FIELD KEYS"):
        answer += json.dumps(influx.query(query, bucket), ensure_ascii=False)
    judge(answer.encode())


def test_a_sink_that_asks_and_has_no_key_sends_nothing(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    sink = one_sink(type="jsonl", path=str(target), pseudonymise=True)
    with pytest.raises(InputError, match="pseudonymise needs a key"):
        Pump(store, sink)
    assert not target.exists()


CONFIG = """\
[site]
name = "lab"
baseline = "b"
[[source]]
captures = ["x.pcap"]
[[sink]]
type = "jsonl"
path = "out.jsonl"
pseudonymise = true
"""


def test_a_configuration_without_a_key_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "gw.toml"
    file.write_text(CONFIG)
    with pytest.raises(ConfigError, match=r"gw.toml:9: .*openssl rand -hex 32") as caught:
        make_forwarder(load_config(file))
    assert caught.value.exit_code == 3
    key = tmp_path / "p.key"
    file.write_text(f'{CONFIG}[pseudonyms]\nkey_file = "p.key"\n')
    with pytest.raises(ConfigError, match=r"p\.key: the secret cannot be read"):
        make_forwarder(load_config(file))
    key.write_text(KEY)
    with pytest.raises(ConfigError, match="every user of this machine"):
        make_forwarder(load_config(file))
    key.chmod(0o600)
    make_forwarder(load_config(file))


def test_the_forwarder_of_a_configuration_and_the_command_send_pseudonyms(
    store: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.key").write_text(KEY)
    (tmp_path / "p.key").chmod(0o600)
    names = json.dumps(list(NAMES))
    file = tmp_path / "gw.toml"
    file.write_text(f'{CONFIG}[store]\npath = "a.db"\n[pseudonyms]\nkey_file = "p.key"\nnames = {names}\n')
    forwarder = make_forwarder(load_config(file))
    forwarder.start()
    target = tmp_path / "out.jsonl"
    try:
        wait_for(lambda: target.exists() and len(target.read_bytes().splitlines()) == 12)
    finally:
        forwarder.stop(10)
    judge(target.read_bytes())
    again = tmp_path / "again.jsonl"
    file.write_text(file.read_text().replace('"out.jsonl"', f'"{again}"\nname = "again"'))
    done = CliRunner().invoke(main, ["sinks", "forward", "-c", str(file)])
    assert done.exit_code == 0, done.output
    judge(again.read_bytes())
