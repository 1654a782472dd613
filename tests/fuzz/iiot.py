"""Good frames of protocols of industrial IoT: MQTT, OPC UA, CoAP, BACnet/IP."""

from __future__ import annotations

import struct
import uuid

from tests.lab import bacnet as b
from tests.lab import coap as c
from tests.lab import frames as f
from tests.lab import mqtt as m
from tests.lab import opcua as u

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


def opcua_frames() -> list[f.Stamped]:
    """A session with every service that is looked into, chunks and segment borders, and a secured one."""
    url, uri = "opc.tcp://plc:4840", "urn:plc"
    opening = u.request(446, struct.pack("<III", 0, 0, 1) + u.string(None) + bytes(4))
    opened = u.response(449, bytes(24) + u.string(None))
    power, other, number = u.node("Feeder.P", 2), u.node("Feeder.Q", 2), u.node(5001, 2)
    value = u.data_value(u.variant(11, struct.pack("<d", 2.5)), 0, 4, bytes(8))
    session = [
        (0, u.hello(url)),
        (1, u.ACK),
        (0, u.opening(1, opening)),
        (1, u.opening(1, opened)),
        (0, u.msg(2, 2, u.request(428, u.string(url) + u.array() + u.array()))),
        (1, u.msg(2, 2, u.response(431, u.array(u.endpoint(url, uri))))),
        (0, u.msg(3, 3, u.create_session(url, "urn:hmi"))),
        (1, u.msg(3, 3, u.create_session_response(url, uri))),
        (0, u.msg(4, 4, u.activate_session("operator", b"secret"))),
        (1, u.msg(4, 4, u.response(470, u.string(None) + u.array() + u.array()))),
        (0, u.msg(5, 5, u.read(power, other))),
        (1, u.msg(5, 5, u.read_response(value, value))),
        (0, u.msg(6, 6, u.read(number)) + u.msg(7, 7, u.browse(u.node(85)))),
        (1, u.msg(6, 6, u.read_response(value)) + u.msg(7, 7, u.response(530, u.array() + u.array()))),
        (0, u.msg(8, 8, u.write((power, value), (other, value)))),
        (1, u.msg(8, 8, u.response(676, u.array(bytes(4), struct.pack("<I", 0x80740000)) + u.array()))),
        (0, u.msg(9, 9, u.call(u.node("valve", 2), u.node("open", 2)))),
        (1, u.msg(9, 9, u.response(397, b"", 0x80340000))),
        (0, u.msg(10, 10, u.monitor((power, 1), (other, 2)))),
        (0, u.msg(11, 11, u.request(826, u.array()))),
        (0, u.msg(12, 12, u.read(u.node(uuid.UUID(int=7), 2)))),
        (1, u.msg(12, 12, u.read_response(value))),
    ]
    session += [(0, piece) for piece in u.chunks(13, 13, u.read(*[power] * 40), 500)]
    session += [(1, piece) for piece in u.chunks(13, 13, u.read_response(*[value] * 40), 300)]
    long = u.msg(16, 16, u.write((power, u.data_value(u.variant(15, u.string(bytes(500)))))))
    session += [(0, long[:300]), (0, long[300:]), (0, u.msg(17, 17, u.request(452, b""), kind=b"CLO"))]
    noise = bytes(range(7, 120))
    secret = [
        (0, u.hello(url)),
        (1, u.ACK),
        (0, u.opening(1, noise, u.BASIC)),
        (1, u.opening(1, noise, u.BASIC)),
        (0, u.message(b"MSG", struct.pack("<II", 7, 3) + noise)),
        (1, u.message(b"MSG", struct.pack("<II", 7, 3) + noise, b"C")),
        (1, u.message(b"MSG", struct.pack("<II", 7, 3) + noise)),
        (1, u.error(0x80820000, "no")),
    ]
    frames: list[f.Stamped] = []
    for port, sent in (
        (40000, session),
        (40001, secret),
        (40002, [(1, u.reverse_hello(uri, url)), *session[:6]]),
    ):
        talk = f.Talk(CLIENT, SERVER, 4840, port)
        talk.open(0)
        for number_sent, (side, data) in enumerate(sent, 1):
            (talk.server if side else talk.client)(number_sent * S, data)
        talk.close(1000 * S)
        frames += talk.frames
    return frames


def coap_frames() -> list[f.Stamped]:
    """Requests and responses, observation, empty messages, over UDP (IPv4, IPv6) and TCP."""
    frames: list[f.Stamped] = []
    wide = [(c.HOST, b"plc"), (c.PORT, b"\x16\x33"), *c.path("/a/b"), (c.QUERY, b"x=1"), (60, b"\1\0")]
    sent = [
        (0, c.message(c.CON, c.GET, 1, b"a1", [*c.path("/3303/0/5700"), (c.OBSERVE, b"")])),
        (1, c.message(c.ACK, 0, 1)),
        (1, c.message(c.CON, c.CONTENT, 50, b"a1", [(c.OBSERVE, b"\1"), (c.FORMAT, b"")], b"{}")),
        (0, c.message(c.ACK, 0, 50)),
        (0, c.message(c.CON, c.PUT, 2, b"a2", wide, b"on")),
        (1, c.message(c.ACK, c.CHANGED, 2, b"a2")),
        (0, c.message(c.NON, c.POST, 3, b"a3", [*c.path("/5/0/2"), (c.FORMAT, b"\x2a")], bytes(200))),
        (1, c.message(c.NON, c.NOT_FOUND, 51, b"a3", [], b"no such thing")),
        (0, c.message(c.CON, c.DELETE, 4, b"", c.path("/x"))),
        (1, c.message(c.RST, 0, 4)),
        (1, c.message(c.CON, c.GET, 52, b"b1", c.path("/rd"))),
        (0, c.message(c.ACK, c.CREATED, 52, b"b1", [(8, b"loc"), (8, b"ation")])),
    ]
    for client, server in ((CLIENT, SERVER), ("fe80::1", "fe80::2")):
        for number, (side, data) in enumerate(sent, 1):
            ends = (client, server, 40000, 5683) if side == 0 else (server, client, 5683, 40000)
            frames.append((number * S, f.udp_frame(*ends, data)))
    talk = f.Talk(CLIENT, SERVER, 5683)
    talk.open(0)
    talk.client(S, c.tcp_message(c.CSM))
    talk.server(2 * S, c.tcp_message(c.CSM))
    talk.client(3 * S, c.tcp_message(c.GET, b"a1", c.path("/t")))
    talk.server(4 * S, c.tcp_message(c.CONTENT, b"a1", [], b"{}"))
    talk.client(5 * S, c.tcp_message(c.PUT, b"a2", wide, b"x" * 300))
    talk.server(6 * S, c.tcp_message(c.CHANGED, b"a2"))
    talk.client(7 * S, c.tcp_message(c.RELEASE))
    talk.close(8 * S)
    return frames + talk.frames


def bacnet_frames() -> list[f.Stamped]:
    """Every PDU type, the services that name objects, values of every type, link and network messages."""
    point, name = b.reference(0, 1), b.tag(7, b.text("Pump 1"), True)
    event = b.tag(0, b"\1") + b.tag(1, b.oid(8, 77)) + b.tag(2, b.oid(0, 4)) + b.wrap(3, b.tag(1, b"\1"))
    file = b.tag(12, b.oid(10, 1), True)
    many = b.tag(0, b.oid(0, 1)) + b.wrap(
        1, b.tag(2, b"\x55"), b.wrap(4, b.real(1.5)), b.tag(2, b"\x4d"), b.wrap(4, name)
    )
    refused = b.tag(2, b"\x55") + b.wrap(5, b.tag(9, b"\2", True), b.tag(9, b"\x20", True))
    many += b.tag(0, b.oid(1, 2)) + b.wrap(1, refused)
    written = b.wrap(1, b.tag(0, b"\x55"), b.wrap(2, b.tag(2, b"\7", True)), b.tag(3, b"\x08"))
    monitored = b.tag(0, b"\1") + b.tag(1, b.oid(0, 4))
    asked = [
        b.ask(b.READ, point),
        b.ask(b.READ, b.reference(8, 4194303, 77)),
        b.ask(b.WRITE, b.reference(1, 2) + b.wrap(3, b.real(3.0)) + b.tag(4, b"\x08")),
        b.ask(b.READ_MANY, b.tag(0, b.oid(0, 1)) + b.wrap(1, b.tag(0, b"\x55"), b.tag(0, b"\x6f"))),
        b.ask(b.WRITE_MANY, b.tag(0, b.oid(1, 2)) + written),
        b.ask(5, monitored + b.tag(2, b"\1") + b.tag(3, b"\x3c")),
        b.ask(28, monitored + b.wrap(4, b.tag(0, b"\x55"))),
        b.ask(6, file + b.wrap(0, b.tag(3, b"\0", True) + b.tag(2, b"\x64", True))),
        b.ask(7, file + b.wrap(0, b.tag(3, b"\0", True) + b.tag(6, b"data", True))),
        b.ask(10, b.wrap(0, b.tag(1, b.oid(2, 9)))),
        b.ask(11, b.tag(12, b.oid(2, 9), True)),
        b.ask(b.SILENCE, b.tag(1, b"\1") + b.tag(2, b.text("pw"))),
        b.ask(b.RESTART, b.tag(0, b"\1")),
        b.ask(26, b.reference(20, 1, 131)),
        b.ask(29),
        b.tell(8, b.tag(0, b"\1") + b.tag(1, b"\5")),
        b.tell(7, b.tag(2, b.oid(2, 3))),
        b.tell(7, b.tag(3, b.text("pump"))),
        b.tell(6, b"\xa4\x7e\1\1\1\xb4\1\2\3\4"),
    ]
    values = [
        b.real(21.5),
        b.tag(5, struct.pack("!d", 2.25), True),
        b.tag(2, b"\7", True),
        b.tag(3, b"\xff", True),
    ]
    values += [b"\x11", b.tag(9, b"\3", True), b"\x00", name]
    told = [
        *(b.answer(b.READ, point + b.wrap(3, value)) for value in values),
        b.answer(b.READ, b.reference(8, 77, 77) + b.wrap(3, name)),
        b.answer(b.READ_MANY, many),
        b.answer(29, b.wrap(0, b.tag(0, b.oid(0, 4))) + b.tag(1, b"\0")),
        b.done(b.WRITE),
        b.error(b.WRITE, 2, 40),
        bytes([0x60, 5, 9]),
        bytes([0x71, 5, 4]),
        bytes([0x41, 5, 1, 2]),
        b.ask(1, b.changes(77, 0, 4, b.real(1.0))),
        b.ask(2, event),
        b.tell(
            0,
            b.tag(12, b.oid(8, 77), True) + b.tag(2, b"\x05\xc4", True) + b.tag(9, b"\3", True) + b"\x21\x0f",
        ),
        b.tell(1, b.tag(12, b.oid(8, 77), True) + b.tag(12, b.oid(2, 3), True) + name),
        b.tell(2, b.changes(77, 0, 4, b.real(1.0))),
        b.tell(3, event),
    ]
    sent = [(0, b.unicast(apdu)) for apdu in asked] + [(1, b.unicast(apdu)) for apdu in told]
    sent += [
        (0, b.bvlc(0, b"\0\x30")),
        (0, b.bvlc(2, b"")),
        (0, b.bvlc(5, b"\0\x3c")),
        (0, b.broadcast(b.tell(8))),
    ]
    sent += [(0, b.bvlc(4, b"\x0a\0\0\1\xba\xc0\x01\x00" + b.tell(8))), (0, b.network(0)), (0, b.network(18))]
    sent.append((0, b.unicast(b.ask(12, point), 0x2C, b"\0\5\1\x09" + b"\0\6\1\x08" + b"\xfe")))
    frames = []
    for number, (side, data) in enumerate(sent, 1):
        ends = (CLIENT, SERVER) if side == 0 else (SERVER, CLIENT)
        frames.append((number * S, f.udp_frame(*ends, 47808, 47808, data)))
    return frames


def iiot_frames() -> list[bytes]:
    """All of them, without their times."""
    talks = (mqtt_frames(), opcua_frames(), coap_frames(), bacnet_frames())
    return [data for frames in talks for _, data in frames]
