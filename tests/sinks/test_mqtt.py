"""MQTT 5: a real mosquitto with TLS, a user, and an access list."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from conftest import one_sink
from paho.mqtt.enums import CallbackAPIVersion
from servers import Certs, Mosquitto, wait_for
from stores import Running, alerts, depth, forward_all, line, write

from sensor.sinks.base import Unavailable
from sensor.sinks.settings import MqttSettings
from tests.sensor.result_samples import HOSTILE, alert


@pytest.fixture
def target(mosquitto: Mosquitto, certs: Certs, secret: Callable[[str], str]) -> MqttSettings:
    sink = one_sink(
        type="mqtt",
        host="localhost",
        port=mosquitto.port,
        ca_file=str(certs.ca),
        username=Mosquitto.USER,
        password_file=secret(Mosquitto.PASSWORD),
        expiry="1h",
    )
    assert isinstance(sink, MqttSettings)
    return sink


class Subscriber:
    """Reads everything below a topic, in a session that survives the broker's restarts as long as it can."""

    def __init__(self, broker: Mosquitto) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(Mosquitto.USER, Mosquitto.PASSWORD)
        self.client.tls_set(str(broker.certs.ca))
        self.client.reconnect_delay_set(0.05, 0.1)
        self.client.on_connect = lambda client, *_: client.subscribe("gridwarden/#", qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_disconnect = lambda *_: self.ready.clear()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.connect("localhost", broker.port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self.messages]


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    reader = Subscriber(mosquitto)
    yield reader
    reader.client.disconnect()
    reader.client.loop_stop()


def test_every_record_arrives_under_its_topic(
    subscriber: Subscriber, target: MqttSettings, tmp_path: Path
) -> None:
    evil = [alert(999, level="alarm", summary=HOSTILE)]
    write(tmp_path / "a.db", [*alerts(200), *evil], [line("score", 50), line("health.drops", 5, "eth1")])
    assert forward_all(tmp_path / "a.db", target) == 256
    wait_for(lambda: len(subscriber.messages) == 256)
    message = next(m for m in subscriber.messages if b"onerror" in m.payload)
    assert message.topic == "gridwarden/UW Nord/s1/alert/alarm"
    assert message.qos == 1
    assert message.properties is not None
    assert 3_500 < message.properties.MessageExpiryInterval <= 3_600
    assert {m.topic for m in subscriber.messages if "/level/" in m.topic} == {
        "gridwarden/UW Nord/s1/level/score",
        "gridwarden/UW Nord/s1/level/health.drops",
    }


def test_a_site_cannot_leave_its_level_of_the_topic(
    subscriber: Subscriber, target: MqttSettings, tmp_path: Path
) -> None:
    write(tmp_path / "a.db", alerts(1, level="alarm"))
    forward_all(tmp_path / "a.db", replace(target, site="$SYS/#/../+", sensor=""))
    wait_for(lambda: subscriber.messages)
    assert subscriber.messages[0].topic == "gridwarden/SYS___.._+/_/alert/alarm".replace("+", "_")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"username": "nobody"}, "(?i)not authori[sz]ed"),
        ({"topic": "elsewhere"}, "(?i)not authori[sz]ed.*may publish"),
        ({"ca_file": None}, "not trusted"),
        ({"port": 9}, "(?i)refused"),
    ],
)
def test_what_is_wrong_is_said(
    target: MqttSettings, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.db"
    write(path, alerts(5))
    with pytest.raises(Unavailable, match=words) as caught:
        forward_all(path, replace(target, **change))  # type: ignore[arg-type]
    assert Mosquitto.PASSWORD not in str(caught.value)
    assert depth(path, target) == 5


def test_away_and_back(
    mosquitto: Mosquitto, subscriber: Subscriber, target: MqttSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    with Running(path, target) as running:
        for turn in range(3):
            write(path, alerts(150, 150 * turn), tag=str(turn))
            running.forwarder.poke()
            wait_for(lambda: running.status()["depth"] == 0)
            wait_for(lambda t=turn: len({r["id"] for r in subscriber.records()}) == 150 * (t + 1))
            mosquitto.stop(signal.SIGKILL)
            wait_for(lambda: not subscriber.ready.is_set())
            mosquitto.start()
            assert subscriber.ready.wait(20)
    ids = [record["id"] for record in subscriber.records()]
    assert set(ids) == {f"a{n:05}" for n in range(450)}
