"""Attacks on MQTT 3.1.1 (OASIS)."""

from __future__ import annotations

from sensor.simulate.attacks import common
from sensor.simulate.build import mqtt as m
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import NotOffered, Stage, Visit

PORT = 1883
NEEDS = "an MQTT connection (TCP port 1883) with data both ways"


def _topic(stage: Stage, talk: Connection) -> tuple[str, bytes]:
    """A topic that is published in a connection, and what was last said."""
    found: tuple[str, bytes] | None = None
    for row in talk.rows:
        body = stage.scene.packets[row].payload
        if len(body) > 4 and body[0] >> 4 == 3 and body[1] < 0x80 and not body[0] & 6:
            size = int.from_bytes(body[2:4], "big")
            if 4 + size <= 2 + body[1] <= len(body):
                found = body[4 : 4 + size].decode("utf-8", "replace"), body[4 + size : 2 + body[1]]
    if found is None:
        raise NotOffered("a PUBLISH with QoS 0 in an MQTT connection")
    return found


def _guest(stage: Stage, talk: Connection) -> tuple[str, Visit]:
    intruder = stage.intruder(talk.server)
    visit = stage.visit(intruder, talk.server, PORT, stage.begin)
    visit.ask(m.connect("mqtt-explorer-66"), m.connack(), wait=0.2)
    return intruder.ip, visit


@attack("mqtt-wiretap", "scan", "T0861", "A new client subscribes to everything", NEEDS, 30)
def wiretap(stage: Stage) -> None:
    talk = common.busiest(stage, PORT, "MQTT")
    source, visit = _guest(stage, talk)
    visit.ask(m.subscribe(1, [("#", 0), ("$SYS/#", 0)]), m.suback(1, b"\0\0"), wait=2.0)
    visit.ask(m.PINGREQ, m.PINGRESP)
    visit.ask(m.DISCONNECT)
    visit.close()
    stage.label(source, talk.server, "a new client subscribes to # and $SYS/#")


@attack(
    "mqtt-publish-stranger", "command", "T0855", "A new client publishes to a topic of the plant", NEEDS, 30
)
def publish_stranger(stage: Stage) -> None:
    talk = common.busiest(stage, PORT, "MQTT")
    topic, _ = _topic(stage, talk)
    source, visit = _guest(stage, talk)
    for value in (b"0", b"9999", b"0"):
        visit.ask(m.publish(topic, value, retain=True), wait=1.0)
    visit.ask(m.DISCONNECT)
    visit.close()
    stage.label(source, talk.server, "a new client publishes retained values to a known topic")


@attack(
    "mqtt-publish-known",
    "command",
    "T0856",
    "A known client says something else, inside its own connection",
    NEEDS,
    30,
)
def publish_known(stage: Stage) -> None:
    talk = common.busiest(stage, PORT, "MQTT")
    topic, _ = _topic(stage, talk)
    for ts in stage.times(3, 2.0):
        at = stage.gap(talk, ts, 20_000_000)
        stage.speak(talk, 0, at, m.publish(topic, b"-9999.5"))
        stage.acknowledge(talk, 1, at + 1_000_000)
    stage.label(talk.client, talk.server, "a forged value in a known client's connection")


@attack("mqtt-flood", "flood", "T0814", "A new client publishes as fast as it can", NEEDS, 10)
def flood(stage: Stage) -> None:
    talk = common.busiest(stage, PORT, "MQTT")
    first = m.connect("mqtt-explorer-66")
    common.flood(
        stage,
        talk,
        lambda n: m.publish("flood", b"x" * 200) if n else first,
        200.0,
        "a new client floods the broker",
    )
