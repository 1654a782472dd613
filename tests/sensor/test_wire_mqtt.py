"""MQTT known packets of all versions, every cut of each, and packets over segment borders."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from tests.lab import frames as f
from tests.lab import mqtt as m
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD, NO, DUP = Flag.MALFORMED, Flag.NEGATIVE, Flag.DUPLICATE
VERSIONS = (3, 4, 5)


def talk_rows(*sent: tuple[int, bytes], version: int = 4, snaplen: int = 1 << 20) -> list[Message]:
    """MQTT messages of a connection that began with CONNECT; each with the side that sends it (0 client)."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 1883)
    talk.open(0)
    head = ((0, m.connect("c", version)),) if version else ()
    for number, (side, data) in enumerate((*head, *sent), 1):
        (talk.server if side else talk.client)(number * S, data)
    rows = [row for row in Native().feed(shots(talk.frames, snaplen)) if row.proto == "mqtt"]
    return rows[len(head) :]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection(version: int) -> None:
    five = version == 5
    connect = m.connect("plc", version, 30, will=("dead/plc", b"x"), user="me", password=b"secret")
    rows = talk_rows(
        (0, connect),
        (1, m.connack(5 if not five else 0x87, version)),
        (0, m.subscribe(1, [("a/#", 1), ("b", 0)], version)),
        (1, m.suback(1, b"\x80\x01", version)),
        (0, m.publish("plant/t", b"23.5", qos=2, retain=True, dup=True, ident=7, version=version)),
        (1, m.answer(5, 7, b"\x10" if five else b"")),
        (0, m.answer(6, 7)),
        (1, m.answer(7, 7)),
        (0, m.unsubscribe(2, ["b"], version)),
        (1, m.answer(11, 2, b"\0\0" if five else b"")),
        (0, m.PINGREQ),
        (1, m.PINGRESP),
        (0, m.packet(14, 0, b"\x04") if five else m.DISCONNECT),
        version=version,
    )
    seen = [(r.role, r.kind, r.name, r.ident, r.seq, r.aux, r.cause, r.flags) for r in rows]
    assert seen == [
        (CLIENT, 1, "dead/plc", "plc", -1, 30, -1, 0),
        (SERVER, 2, "", "", -1, -1, 0x87 if five else 5, NO),
        (CLIENT, 8, "a/#", "", 1, -1, -1, 0),
        (SERVER, 9, "", "", 1, -1, 0x80, NO),
        (CLIENT, 3, "plant/t", "", 7, 6, -1, DUP),
        (SERVER, 5, "", "", 7, -1, 0x10 if five else -1, 0),
        (CLIENT, 6, "", "", 7, -1, -1, 0),
        (SERVER, 7, "", "", 7, -1, -1, 0),
        (CLIENT, 10, "b", "", 2, -1, -1, 0),
        (SERVER, 11, "", "", 2, -1, 0 if five else -1, 0),
        (CLIENT, 12, "", "", -1, -1, -1, 0),
        (SERVER, 13, "", "", -1, -1, -1, 0),
        (CLIENT, 14, "", "", -1, -1, 4 if five else -1, 0),
    ]
    assert rows[4].value == 23.5
    assert [(p.kind, p.value) for p in rows[4].points] == [(3, 23.5)]
    assert rows[4].points[0].point == rows[4].point
    assert rows[0].size == len(connect)
    assert rows[0].conv == ("mqtt", "10.0.0.1", "10.0.0.2", 1883, "", 0)


def test_the_password_is_nowhere() -> None:
    native = Native()
    talk = f.Talk("10.0.0.1", "10.0.0.2", 1883)
    talk.open(0)
    talk.client(S, m.connect("", 4, user="me", password=b"secret"))
    (row,) = (row for row in native.feed(shots(talk.frames)) if row.proto == "mqtt")
    assert row.ident == "me"
    assert b"secret" not in bytes(native.names.texts["arena"])


@pytest.mark.parametrize("version", [131, 132])
def test_bridges_set_the_high_bit_of_the_version(version: int) -> None:
    connect, connack = talk_rows((0, m.connect("b", version)), (1, m.connack(0)), version=4)
    assert (connect.flags, connack.flags) == (0, 0)


def packets(version: int) -> list[tuple[int, bytes]]:
    """(side, packet) of every type."""
    reason = b"\x92\0" if version == 5 else b""
    full = m.props(*m.ALL_PROPERTIES, m.alias(9))
    return [
        (0, m.connect("plc", version, will=("w", b"x"), user="u", password=b"p", properties=full)),
        (1, m.connack(0, version, properties=full)),
        (0, m.publish("plant/t", b"", qos=1, ident=9, version=version, properties=full)),
        (0, m.subscribe(1, [("a/#", 1), ("b/+/c", 2)], version)),
        (1, m.suback(1, b"\1", version)),
        (0, m.unsubscribe(5, ["a/#", "b"], version)),
        (1, m.answer(11, 5, b"\0\0" if version == 5 else b"")),
        *((1, m.answer(kind, 5, reason)) for kind in (4, 5, 6, 7)),
        (0, m.PINGREQ),
        (1, m.PINGRESP),
        (0, m.packet(14, 0, reason)),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", range(14))
def test_every_cut(version: int, place: int) -> None:
    """Good as built; a packet that ends early is malformed, unless a shorter one is legal."""
    side, whole = packets(version)[place]
    kind, body = whole[0] >> 4, whole[len(whole) - m_length(whole) :]
    (row,) = talk_rows((side, whole), version=version)
    assert not row.flags & BAD
    optional = {(5, 4), (5, 5), (5, 6), (5, 7), (5, 14)}
    for size in range(len(body)):
        (cut,) = talk_rows((side, m.packet(kind, whole[0] & 15, body[:size])), version=version)
        assert cut.kind == kind
        assert len(cut.name) <= size
        legal = (version, kind) in optional and size in (0 if kind == 14 else 2, 1 if kind == 14 else 3)
        legal = legal or (kind == 10 and size == len(body) - 3)
        legal = legal or (kind == 8 and size == len(body) - 8)
        assert bool(cut.flags & BAD) != legal, (size, body[:size])


def m_length(whole: bytes) -> int:
    """Octets of a packet's body."""
    at = next(i for i in range(1, 5) if whole[i] < 0x80)
    return len(whole) - at - 1


@pytest.mark.parametrize(
    ("side", "packet"),
    [
        (0, m.publish("t", b"", qos=3, ident=1)),
        (0, m.publish("t", b"", qos=1, ident=0)),
        (0, m.publish("", b"x")),
        (0, m.packet(0, 0, b"")),
        (0, m.packet(15, 0, b"")),
        (0, m.packet(12, 1, b"")),
        (0, m.packet(12, 0, b"x")),
        (0, m.subscribe(1, [("a", 0)], flags=0)),
        (0, m.subscribe(0, [("a", 0)])),
        (0, m.subscribe(1, [("", 0)])),
        (0, m.subscribe(1, [])),
        (1, m.connack(0, present=2)),
        (1, m.answer(4, 1, b"\0")),
        (1, m.answer(4, 0)),
        (1, m.suback(1, b"")),
        (0, m.connect("c", 6)),
        (0, m.connect("c", 4, flags=3)),
        (0, m.connect("c", 4, flags=0x1C)),
        (0, m.connect("c", 4, flags=0x22)),
        (0, m.connect("c", 4, password=b"x")),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_malformed(side: int, packet: bytes) -> None:
    (row,) = talk_rows((side, packet))
    assert row.flags & BAD
    assert row.kind == packet[0] >> 4


@pytest.mark.parametrize(
    "properties", [b"\x05\x23\0\1", b"\x02\x77\0", b"\x03\x1f\0\x09", b"\x80\x80\x80\x80\1"]
)
def test_malformed_properties(properties: bytes) -> None:
    (row,) = talk_rows((0, m.publish("t", b"", version=5, properties=properties)), version=5)
    assert row.flags & BAD
    assert row.name == "t"


def test_topic_aliases_hold_for_one_direction() -> None:
    known, other = m.props(m.alias(4)), m.props(m.alias(5))
    rows = talk_rows(
        (0, m.publish("plant/t", b"1", version=5, properties=known)),
        (0, m.publish("", b"2", version=5, properties=known)),
        (0, m.publish("", b"3", version=5, properties=other)),
        (1, m.publish("", b"4", version=5, properties=known)),
        (0, m.publish("plant/p", b"5", version=5, properties=known)),
        (0, m.publish("", b"6", version=5, properties=known)),
        version=5,
    )
    assert [row.name for row in rows] == ["plant/t", "plant/t", "", "", "plant/p", "plant/p"]
    assert [row.value for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [len(row.points) for row in rows] == [1, 1, 0, 0, 1, 1]


def test_without_connect() -> None:
    """The version is learned from CONNACK; SUBSCRIBE fits one of the versions."""
    for version in (4, 5):
        rows = talk_rows(
            (0, m.subscribe(1, [("a/#", 1)], version)),
            (1, m.connack(0, version)),
            (0, m.publish("t", b"5", version=version)),
            version=0,
        )
        assert [(row.name, row.flags & ~Flag.MIDSTREAM) for row in rows] == [("a/#", 0), ("", 0), ("t", 0)]
        assert rows[2].value == 5


@pytest.mark.parametrize("payload", [b"1", b"-1.5", b"+2", b".5", b"5.", b"1e3", b"1.25E-2",
                                     b"9" * 30, b"2e308", b"4.9e-324", b"0e9999",
                                     b"123456789012345678e-5"])  # fmt: skip
def test_numbers_as_text(payload: bytes) -> None:
    (row,) = talk_rows((0, m.publish("t", payload)))
    assert row.value == pytest.approx(float(payload), rel=1e-15, abs=0)


@pytest.mark.parametrize("payload", [b"", b".", b"-", b"1e", b"e1", b"1e12345", b"1 ", b" 1", b"0x1", b"1,5",
                                     b"1.2.3", b"--1", b"on", b"\xff", b"1" * 65, b"1e+", b"{}"])  # fmt: skip
def test_text_that_is_no_number(payload: bytes) -> None:
    (row,) = talk_rows((0, m.publish("t", payload)))
    assert math.isnan(row.value)
    assert len(row.points) == bool(payload)


@given(st.lists(st.integers(1, 40), max_size=40))
def test_segments_anywhere(cuts: list[int]) -> None:
    """The same messages however the stream is cut into segments."""
    sent = [packet for side, packet in packets(4) if side == 0]
    sent += [m.publish("big", bytes(300))]
    stream = b"".join(sent)
    pieces, at = [], 0
    for size in cuts:
        pieces.append(stream[at : at + size])
        at += size
    pieces.append(stream[at:])
    rows = talk_rows(*((0, piece) for piece in pieces if piece))
    assert [row.kind for row in rows] == [packet[0] >> 4 for packet in sent]
    assert not any(row.flags & BAD for row in rows)
    assert [row.name for row in rows] == ["w", "plant/t", "a/#", "a/#", "", "", "big"]


def test_a_long_publish_is_read_by_its_head() -> None:
    long = m.publish("log/file", bytes(100_000), qos=1, ident=3)
    pieces = [long[i : i + 1400] for i in range(0, len(long), 1400)]
    rows = talk_rows(*((0, piece) for piece in pieces), (0, m.PINGREQ))
    assert [(row.kind, row.name, row.seq, row.size) for row in rows] == [
        (3, "log/file", 3, len(long) - 2),
        (12, "", -1, 2),
    ]
    assert not any(row.flags & BAD for row in rows)
    assert math.isnan(rows[0].value)


def test_snap_length() -> None:
    for size in range(54, 54 + 60):
        for row in talk_rows((0, m.publish("plant/t", b"1" * 50, qos=1, ident=3)), snaplen=size):
            assert row.flags & Flag.TRUNCATED
            assert not row.flags & BAD
            assert row.points == []


def test_what_is_not_believed() -> None:
    """A header that contradicts itself may not hide what follows behind a large length."""
    rows = talk_rows((0, m.packet(12, 3, b"", length=200_000)), (0, m.PINGREQ))
    assert [row.kind for row in rows] == [12]
    assert talk_rows((0, b"\x30\xff\xff\xff\xff\x01" + bytes(20))) == []


def test_a_repeated_segment_moves_no_state() -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 1883)
    talk.open(0)
    start = talk._next[0]
    talk.client(S, m.connect("c", 5))
    talk.segment(2 * S, 0, f.PSH | f.ACK, m.connect("cc", 4), seq=start)
    talk.client(3 * S, m.publish("t", b"7", version=5))
    rows = [row for row in Native().feed(shots(talk.frames)) if row.proto == "mqtt"]
    assert [row.kind for row in rows] == [1, 1, 3]
    assert rows[1].flags & Flag.RETRANSMITTED
    assert rows[2].value == 7


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(min_size=1, max_size=80)), max_size=8))
def test_any_octets(sent: list[tuple[int, bytes]]) -> None:
    talk_rows(*sent, version=5)
