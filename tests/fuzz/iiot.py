"""Good frames of the protocols of industrial IoT: MQTT."""

from __future__ import annotations

from tests.lab import frames as f
from tests.lab import mqtt as m

S = 1_000_000_000
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def mqtt_frames() -> list[f.Stamped]:
    """Every type of control packet in each version, several in a segment, and one over segment borders."""
    frames: list[f.Stamped] = []
    for version in (3, 4, 5):
        talk = f.Talk(CLIENT, SERVER, 1883, 40000 + version)
        talk.open(0)
        five = version == 5
        everything = m.props(*m.ALL_PROPERTIES)
        sent = [
            (
                0,
                m.connect(
                    "plc-7", version, 30, will=("dead", b"x"), user="u", password=b"p", properties=everything
                ),
            ),
            (1, m.connack(0, version, properties=everything)),
            (0, m.subscribe(1, [("a/#", 1), ("b/+/c", 2)], version)),
            (1, m.suback(1, b"\x01\x80", version)),
            (0, m.subscribe(2, [("x", 1)], version)),
            (1, m.suback(2, b"\x80", version)),
            (0, m.unsubscribe(3, ["a/#", "b/+/c"], version)),
            (1, m.answer(11, 3, b"\0\x11\0" if five else b"")),
        ]
        for qos in (0, 1, 2):
            for retain in (False, True):
                value = b"%d.5" % qos if retain else b"{}"
                sent.append(
                    (
                        0,
                        m.publish(
                            "plant/t", value, qos=qos, retain=retain, dup=retain, ident=9, version=version
                        ),
                    )
                )
        for kind in (4, 5, 6, 7):
            sent.append((kind % 2, m.answer(kind, 9)))
            if five:
                sent += [(1, m.answer(kind, 9, b"\x92")), (1, m.answer(kind, 9, b"\x92" + everything))]
        if five:
            sent += [
                (0, m.publish("a/b", b"1", version=5, properties=m.props(m.alias(4)))),
                (0, m.publish("", b"2", version=5, properties=m.props(m.alias(4)))),
                (0, m.packet(15, 0, b"\x18\0")),
                (1, m.packet(14, 0, b"\x8e\0")),
            ]
        sent += [
            (
                0,
                m.publish("a", b"1", version=version)
                + m.publish("b", b"2", qos=1, ident=7, version=version)
                + m.PINGREQ,
            ),
            (1, m.PINGRESP),
            (0, m.publish("long", bytes(700), version=version)[:300]),
            (0, m.publish("long", bytes(700), version=version)[300:]),
            (0, m.DISCONNECT),
        ]
        for number, (side, data) in enumerate(sent, 1):
            (talk.server if side else talk.client)(number * S, data)
        talk.close(1000 * S)
        frames += talk.frames
    return frames


def iiot_frames() -> list[bytes]:
    """All of them, without their times."""
    return [data for _, data in mqtt_frames()]
