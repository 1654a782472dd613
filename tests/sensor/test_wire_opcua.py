"""OPC UA known messages, every cut of each, chunks, and channels that cannot be read."""

from __future__ import annotations

import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from tests.lab import frames as f
from tests.lab import opcua as u
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD, NO, SECRET = Flag.MALFORMED, Flag.NEGATIVE, Flag.ENCRYPTED
URL, URI = "opc.tcp://plc:4840", "urn:plc"
GUID = uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")
OPEN_ASK = u.opening(1, u.request(446, struct.pack("<III", 0, 0, 1) + u.string(None) + b"\0\0\0\0"))
OPEN_ANSWER = u.opening(1, u.response(449, bytes(24) + u.string(None)))


def talk_rows(*sent: tuple[int, bytes], snaplen: int = 1 << 20, opened: bool = True) -> list[Message]:
    """OPC UA messages of a connection with an open channel; each with the side that sends it (0 client)."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 4840)
    talk.open(0)
    head = ((0, OPEN_ASK), (1, OPEN_ANSWER)) if opened else ()
    for number, (side, data) in enumerate((*head, *sent), 1):
        (talk.server if side else talk.client)(number * S, data)
    rows = [row for row in Native().feed(shots(talk.frames, snaplen)) if row.proto == "opcua"]
    return rows[len(head) :]


def test_a_session() -> None:
    rows = talk_rows(
        (0, u.hello(URL)),
        (1, u.ACK),
        (0, OPEN_ASK),
        (1, OPEN_ANSWER),
        (0, u.msg(2, 2, u.request(428, u.string(URL) + u.array() + u.array()))),
        (1, u.msg(2, 2, u.response(431, u.array(u.endpoint(URL, URI))))),
        (0, u.msg(3, 3, u.create_session(URL, "urn:hmi"))),
        (1, u.msg(3, 3, u.create_session_response(URL, URI))),
        (0, u.msg(4, 4, u.activate_session("operator", b"secret"))),
        (1, u.msg(4, 4, u.response(470, u.string(None) + u.array() + u.array()))),
        (1, u.msg(5, 5, u.response(397, b"", 0x80340000))),
        (0, u.msg(6, 6, u.request(452, b""), kind=b"CLO")),
        (1, u.error(0x80820000, "no")),
        (1, u.reverse_hello(URI, URL)),
        opened=False,
    )
    seen = [(r.role, r.kind, r.cause, r.seq, r.state, r.aux, r.name, r.ident, r.flags) for r in rows]
    assert seen == [
        (CLIENT, 1, -1, -1, -1, -1, URL, "", 0),
        (SERVER, 2, -1, -1, -1, -1, "", "", 0),
        (CLIENT, 446, -1, 1, 1, 7, "", "", 0),
        (SERVER, 449, 0, 1, 1, 7, "", "", 0),
        (CLIENT, 428, -1, 2, 2, 7, URL, "", 0),
        (SERVER, 431, 0, 2, 2, 7, URL, URI, 0),
        (CLIENT, 461, -1, 3, 3, 7, URL, "urn:hmi", 0),
        (SERVER, 464, 0, 3, 3, 7, URL, URI, 0),
        (CLIENT, 467, -1, 4, 4, 7, "", "operator", 0),
        (SERVER, 470, 0, 4, 4, 7, "", "", 0),
        (SERVER, 397, 0x8034, 5, 5, 7, "", "", NO),
        (CLIENT, 452, -1, 6, 6, 7, "", "", 0),
        (SERVER, 3, 0x8082, -1, -1, -1, "", "", NO),
        (SERVER, 4, -1, -1, -1, -1, URL, "", 0),
    ]
    assert rows[0].conv == ("opcua", "10.0.0.1", "10.0.0.2", 4840, "", 0)
    assert rows[0].size == len(u.hello(URL))


NODES = [
    (u.read(u.node("Feeder.P", 2), u.node(5)), "Feeder.P"),
    (u.read(u.node(85)), "i=85"),
    (u.read(u.node(5001, 2)), "i=5001"),
    (u.read(u.node(4_000_000_000, 2)), "i=4000000000"),
    (u.read(u.node(0)), "i=0"),
    (u.read(u.node(GUID, 2)), str(GUID)),
    (u.read(u.node(b"\1\2", 2)), ""),
    (u.read(), ""),
    (u.write((u.node("set", 2), u.data_value(u.variant(11, bytes(8))))), "set"),
    (u.browse(u.node(84)), "i=84"),
    (u.call(u.node("valve", 2), u.node("open", 2)), "valve"),
    (u.monitor((u.node("t", 2), 1), (u.node("p", 2), 2)), "t"),
    (u.request(488, u.array(u.node("parent", 2) + u.node(35))), "parent"),
    (u.request(488, u.array(b"\xc3\2\0" + u.string("far") + u.string("urn") + bytes(4))), "far"),
    (u.request(500, u.array(u.node("gone", 2) + b"\1")), "gone"),
    (u.request(554, u.array(u.node(84) + u.array())), "i=84"),
    (u.request(560, u.array(u.node("fast", 2))), "fast"),
    (u.request(664, u.extension(649, bytes(22)) + bytes(5) + u.array(u.node("h", 2))), "h"),
    (u.request(700, u.array(u.extension(682, u.node("h", 2) + bytes(8)))), "h"),
    (u.request(826, u.array()), ""),
    (u.request(631, bytes(12) + u.array(u.node("x", 2)), u.node(GUID, 1)), "x"),
    (u.request(631, bytes(12) + u.array(u.node("x", 2)), u.node(b"token", 1)), "x"),
]


@pytest.mark.parametrize("case", NODES, ids=lambda case: case[1])
def test_first_node(case: tuple[bytes, str]) -> None:
    body, name = case
    (row,) = talk_rows((0, u.msg(2, 2, body)))
    assert (row.name, row.flags) == (name, 0)
    assert (row.point == -1) == (not name)


def services() -> list[tuple[int, bytes]]:
    """(side, service) of every shape."""
    diagnostics = b"\x7f" + bytes(16) + u.string("more") + bytes(4) + b"\x00"
    return [
        *((0, body) for body, _ in NODES),
        (0, u.create_session(URL, URI)),
        (1, u.create_session_response(URL, URI)),
        (0, u.activate_session("operator", b"secret")),
        (1, u.response(425, u.array(u.application(URI)), diagnostics=diagnostics)),
        (1, u.response(431, u.array(u.endpoint(URL, URI)))),
        (1, u.response(12212, b"")),
        (0, u.request(12211, b"")),
        (1, u.read_response(u.data_value(u.variant(1, b"\1"), 0x80000000))),
    ]


@pytest.mark.parametrize("place", range(len(services())))
def test_every_cut(place: int) -> None:
    """A header that ends early is malformed; no text from behind the end."""
    side, body = services()[place]
    (whole,) = talk_rows((side, u.msg(2, 2, body)))
    assert not whole.flags & BAD
    header = 24 if side else len(u.request(826, b""))
    texts = {"", whole.name, whole.ident}
    rows = talk_rows(*((side, u.msg(2, 2, body[:size])) for size in range(len(body))))
    assert len(rows) == len(body)
    for size, row in enumerate(rows):
        assert row.kind in (6, whole.kind)
        assert {row.name, row.ident} <= texts or whole.name.startswith("i=")
        if size < min(header, len(body)):
            assert row.flags & BAD, size


@pytest.mark.parametrize(
    "data",
    [
        u.hello(URL)[:-1],
        u.message(b"HEL", b""),
        u.message(b"HEL", bytes(20) + u.string(URL) + b"\0"),
        u.message(b"ACK", bytes(19)),
        u.message(b"ERR", b"\0"),
        u.message(b"MSG", b""),
        u.message(b"MSG", bytes(15)),
        u.msg(2, 2, u.read(), b"X"),
        u.message(b"HEL", bytes(20) + u.string(URL), b"C"),
        u.msg(2, 2, b"\x03\0\0\1\0\0\0x"),
        u.msg(2, 2, b"\x02\0\0\0\0\0\x80"),
        u.msg(2, 2, u.request(631, bytes(12) + struct.pack("<i", -2))),
        u.msg(2, 2, u.request(631, bytes(12) + struct.pack("<i", 1_000_000))),
        u.msg(2, 2, u.request(631, bytes(12) + u.array(b"\x09\0\0\0"))),
        u.msg(2, 2, u.response(634, b"", diagnostics=b"\x40" * 40)),
        u.opening(1, b"", b"")[:-4],
    ],
    ids=lambda data: data[:4].decode("latin1") + str(len(data)),
)
def test_malformed(data: bytes) -> None:
    data = data[:4] + struct.pack("<I", len(data)) + data[8:]
    (row,) = talk_rows((0, data))
    assert row.flags & BAD


def test_a_channel_that_cannot_be_read() -> None:
    noise = bytes(range(7, 120))
    rows = talk_rows(
        (0, u.opening(1, noise, u.BASIC)),
        (1, u.opening(1, noise, u.BASIC)),
        (0, u.message(b"MSG", struct.pack("<II", 7, 3) + noise)),
        (0, u.message(b"MSG", struct.pack("<II", 7, 3) + noise, b"C")),
        (0, u.message(b"CLO", struct.pack("<II", 7, 3) + noise)),
        (1, u.error(0x80820000, "no")),
        opened=False,
    )
    assert [(r.kind, r.seq, r.state, r.aux, r.flags) for r in rows] == [
        (5, -1, -1, 7, SECRET),
        (5, -1, -1, 7, SECRET),
        (6, -1, -1, 7, SECRET),
        (6, -1, -1, 7, SECRET),
        (7, -1, -1, 7, SECRET),
        (3, -1, -1, -1, NO),
    ]


def test_a_channel_that_is_only_signed() -> None:
    noise, signature = bytes(range(7, 120)), bytes(32)
    first, *rest = u.chunks(3, 3, u.read(*[u.node("Feeder.P", 2)] * 9) + signature, 100)
    rows = talk_rows(
        (0, u.opening(1, noise, u.BASIC)),
        (0, u.msg(2, 2, u.read(u.node("Feeder.P", 2)) + signature)),
        (0, first),
        *((0, chunk) for chunk in rest),
        opened=False,
    )
    assert [(r.kind, r.flags) for r in rows[:2]] == [(5, SECRET), (631, 0)]
    assert {r.kind for r in rows[2:-1]} == {6}
    assert (rows[-1].kind, rows[-1].name, rows[-1].flags) == (631, "Feeder.P", 0)


def test_without_the_opening() -> None:
    rows = talk_rows(
        (0, u.msg(2, 2, u.read(u.node("P", 2)))),
        (0, u.message(b"MSG", struct.pack("<II", 7, 3) + bytes(range(90)))),
        opened=False,
    )
    assert [(r.kind, r.name, r.flags & ~Flag.MIDSTREAM) for r in rows] == [(631, "P", 0), (6, "", SECRET)]


@pytest.mark.parametrize("size", [64, 90, 200, 5000])
def test_chunks(size: int) -> None:
    """Rows of the chunks before the last say no more than that; the last one tells the service."""
    body = u.response(464, u.create_session_response(URL, URI)[24:], 0x80AB0000)
    sent = u.chunks(2, 9, body, size)
    rows = talk_rows(*((1, chunk) for chunk in sent), (1, u.msg(20, 10, u.response(676, b""))))
    assert len(rows) == len(sent) + 1
    assert all(
        (r.kind, r.cause, r.name, r.ident, r.flags) == (6, -1, "", "", 0) for r in rows[: len(sent) - 1]
    )
    last = rows[len(sent) - 1]
    assert (last.kind, last.cause, last.flags, last.size) == (464, 0x80AB, NO, len(sent[-1]))
    assert [row.seq for row in rows[:-1]] == list(range(2, 2 + len(sent)))
    assert (rows[-1].kind, rows[-1].flags) == (676, 0)


def test_an_aborted_message() -> None:
    first, *_ = u.chunks(2, 9, u.read(*[u.node("P", 2)] * 9), 100)
    abort = u.msg(3, 9, struct.pack("<I", 0x80B80000) + u.string("too large"), b"A")
    rows = talk_rows((0, first), (0, abort), (0, u.msg(4, 10, u.read(u.node("Q", 2)))))
    assert [(r.kind, r.cause, r.name, r.flags) for r in rows] == [
        (6, -1, "", 0),
        (6, 0x80B8, "", NO),
        (631, -1, "Q", 0),
    ]


@given(st.lists(st.integers(1, 60), max_size=40))
def test_segments_anywhere(cuts: list[int]) -> None:
    """The same messages however the stream is cut into segments."""
    sent = [u.msg(2 + i, 2 + i, body) for i, (body, _) in enumerate(NODES)]
    stream, at, pieces = b"".join(sent), 0, []
    for size in cuts:
        pieces.append(stream[at : at + size])
        at += size
    rows = talk_rows(*((0, piece) for piece in (*pieces, stream[at:]) if piece))
    assert [row.name for row in rows] == [name for _, name in NODES]
    assert not any(row.flags & BAD for row in rows)


def test_a_long_chunk_is_read_by_its_head() -> None:
    long = u.msg(2, 2, u.write((u.node("firmware", 2), u.data_value(u.variant(15, u.string(bytes(60_000)))))))
    pieces = [long[i : i + 1400] for i in range(0, len(long), 1400)]
    rows = talk_rows(*((0, piece) for piece in pieces), (0, u.msg(3, 3, u.read(u.node("P", 2)))))
    assert [(r.kind, r.name, r.size) for r in rows][:1] == [(673, "firmware", len(long))]
    assert rows[1].name == "P"
    assert not any(r.flags & BAD for r in rows)


def test_snap_length() -> None:
    whole = u.msg(2, 2, u.read(u.node("Feeder.P", 2)))
    for size in range(54, 54 + len(whole)):
        for row in talk_rows((0, whole), snaplen=size, opened=False):
            assert row.flags & Flag.TRUNCATED
            assert not row.flags & BAD


def test_other_protocols_on_the_port_are_no_messages() -> None:
    assert talk_rows((0, b"GET / HTTP/1.1\r\n\r\n"), opened=False) == []
    assert talk_rows((0, u.message(b"MSG", b"", size=7)), opened=False) == []
    assert talk_rows((0, u.message(b"MSG", bytes(40), size=1 << 30)), opened=False) == []


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=80)), max_size=6))
def test_any_bodies(sent: list[tuple[int, bytes]]) -> None:
    rows = talk_rows(*((side, u.msg(2, 2, body)) for side, body in sent))
    assert len(rows) == len(sent)


class Tracker:
    """A connection with an open channel whose points are told with the names of their nodes."""

    def __init__(self) -> None:
        self.native = Native()
        self.talk = f.Talk("10.0.0.1", "10.0.0.2", 4840)
        self.talk.open(0)
        self.talk.client(S, OPEN_ASK)
        self.talk.server(2 * S, OPEN_ANSWER)

    def told(self, side: int, *data: bytes) -> list[tuple[str, int, float, int]]:
        """(node, type, value, status) of every point of these messages."""
        for one in data:
            (self.talk.server if side else self.talk.client)(3 * S, one)
        rows = self.native.feed(shots(self.talk.frames))
        self.talk.frames.clear()
        return [
            (self.native.names.text(p.point), p.kind, p.value, p.quality) for row in rows for p in row.points
        ]


P, Q = u.node("Feeder.P", 2), u.node(5001, 2)
NUMBERS = [
    (1, b"\1", 1.0), (2, b"\xff", -1.0), (3, b"\xff", 255.0), (4, b"\0\x80", -32768.0),
    (5, b"\0\x80", 32768.0), (6, b"\xfe\xff\xff\xff", -2.0), (7, b"\xff\xff\xff\xff", 2.0**32 - 1),
    (8, b"\xff" * 8, -1.0), (9, b"\0" * 7 + b"\x80", 2.0**63), (10, struct.pack("<f", 1.5), 1.5),
    (11, struct.pack("<d", -2.25), -2.25),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "octets", "value"), NUMBERS)
def test_written_numbers(kind: int, octets: bytes, value: float) -> None:
    data = u.data_value(u.variant(kind, octets), 0x80AB0000, 0x3C, bytes(20))
    body = u.write((P, data), (Q, u.data_value(u.variant(kind, octets))))
    assert Tracker().told(0, u.msg(2, 2, body)) == [
        ("Feeder.P", kind, value, 0x80AB),
        ("i=5001", kind, value, 0),
    ]


@pytest.mark.parametrize(
    "variant",
    [
        u.variant(0, b""),
        u.variant(12, u.string("text")),
        u.variant(13, bytes(8)),
        u.variant(14, bytes(16)),
        u.variant(15, u.string(b"\0")),
        u.variant(17, P),
        u.variant(19, bytes(4)),
        u.variant(20, bytes(2) + u.string("name")),
        u.variant(21, u.localized("text", "en")),
        u.variant(22, u.extension(5, b"body")),
        u.variant(25, b"\x01" + bytes(4)),
        u.variant(0x8B, u.array(bytes(8), bytes(8))),
        u.variant(0xCB, u.array(bytes(8), bytes(8)) + u.array(bytes(4), bytes(4))),
        u.variant(0x8C, u.array(u.string("a"), u.string(None))),
    ],
    ids=lambda variant: variant[:2].hex(),
)
def test_values_that_are_no_number(variant: bytes) -> None:
    """They are points without a number, and what stands behind them is found."""
    body = u.write((P, u.data_value(variant)), (Q, u.data_value(u.variant(3, b"\7"))))
    first, second = Tracker().told(0, u.msg(2, 2, body))
    assert (first[0], first[2] != first[2]) == ("Feeder.P", True)
    assert second == ("i=5001", 3, 7.0, 0)


def test_a_read_and_its_answer() -> None:
    track = Tracker()
    seven, eight = (u.data_value(u.variant(3, bytes([n]))) for n in (7, 8))
    assert track.told(0, u.msg(2, 2, u.read(P, Q)), u.msg(3, 3, u.read(Q))) == []
    assert track.told(1, u.msg(3, 3, u.read_response(eight))) == [("i=5001", 3, 8.0, 0)]
    assert track.told(1, u.msg(4, 2, u.read_response(seven, eight))) == [
        ("Feeder.P", 3, 7.0, 0),
        ("i=5001", 3, 8.0, 0),
    ]
    assert track.told(1, u.msg(5, 2, u.read_response(seven))) == []


def test_other_attributes_are_no_values() -> None:
    track = Tracker()
    item = P + struct.pack("<I", 1) + u.string(None) + struct.pack("<H", 0) + u.string(None)
    track.told(0, u.msg(2, 2, u.request(631, bytes(12) + u.array(item))))
    assert track.told(1, u.msg(2, 2, u.read_response(u.data_value(u.variant(3, b"\7"))))) == []


def test_subscriptions() -> None:
    track = Tracker()
    value = u.data_value(u.variant(3, b"\7"))

    def publish(subscription: int, *changes: bytes) -> bytes:
        body = u.array(*changes) + u.array()
        notes = u.array(u.extension(914, b"event"), u.extension(811, body))
        return u.response(
            829, struct.pack("<I", subscription) + u.array(bytes(4)) + bytes(13) + notes + u.array()
        )

    track.told(0, u.msg(2, 2, u.monitor((P, 1), (Q, 2))))
    report = publish(
        1, struct.pack("<I", 2) + value, struct.pack("<I", 9) + value, struct.pack("<I", 1) + value
    )
    assert track.told(1, u.msg(3, 3, report)) == [("i=5001", 3, 7.0, 0), ("Feeder.P", 3, 7.0, 0)]
    assert track.told(1, u.msg(4, 4, publish(2, struct.pack("<I", 2) + value))) == []
    for size in range(24, len(report)):
        track.told(1, u.msg(5, 5, report[:size]))


@pytest.mark.parametrize("mask", [1, 0x23, 0x3F])
@given(octets=st.binary(max_size=60))
def test_any_values(mask: int, octets: bytes) -> None:
    body = u.write((P, bytes([mask]) + octets), (Q, octets))
    (row,) = talk_rows((0, u.msg(2, 2, body)))
    assert row.kind == 673
