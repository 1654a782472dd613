"""CoAP known messages over UDP and TCP, every cut of each, exchanges and repetitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from tests.lab import coap as c
from tests.lab import frames as f
from tests.reference.rows import CLIENT, PEER, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD, NO, AGAIN = Flag.MALFORMED, Flag.NEGATIVE, Flag.RETRANSMITTED
ENDS = ("10.0.0.1", "10.0.0.2")


def rows_of(
    *sent: tuple[int, bytes], port: int = 40000, snaplen: int = 1 << 20, gap: int = S
) -> list[Message]:
    """CoAP messages of datagrams; each with the side that sends it (0 client)."""
    frames = []
    for number, (side, data) in enumerate(sent, 1):
        ends = (ENDS, (port, 5683)) if side == 0 else (ENDS[::-1], (5683, port))
        frames.append((number * gap, f.udp_frame(*ends[0], *ends[1], data)))
    return [row for row in Native().feed(shots(frames, snaplen)) if row.proto == "coap"]


def tcp_rows(*sent: tuple[int, bytes]) -> list[Message]:
    """The same over TCP."""
    talk = f.Talk(*ENDS, 5683)
    talk.open(0)
    for number, (side, data) in enumerate(sent, 1):
        (talk.server if side else talk.client)(number * S, data)
    return [row for row in Native().feed(shots(talk.frames)) if row.proto == "coap"]


def test_an_exchange() -> None:
    ask = c.message(c.CON, c.GET, 7, b"ab", [*c.path("/3303/0/5700"), (c.OBSERVE, b""), (c.QUERY, b"x=1")])
    answer = c.message(c.ACK, c.CONTENT, 7, b"ab", [(c.OBSERVE, b"\1\2"), (c.FORMAT, b"")], b"21.5")
    refusal = c.message(c.NON, c.NOT_FOUND, 8, b"zz", [], b"none")
    reset = c.message(c.RST, 0, 8)
    rows = rows_of((0, ask), (1, answer), (1, refusal), (0, reset))
    seen = [(r.role, r.kind, r.seq, r.state, r.aux, r.count, r.name, r.size, r.flags) for r in rows]
    assert seen == [
        (CLIENT, 1, 7, 0, 0, -1, "/3303/0/5700", len(ask), 0),
        (SERVER, 69, 7, 2, 258, 4, "/3303/0/5700", len(answer), 0),
        (SERVER, 132, 8, 1, -1, 4, "", len(refusal), NO),
        (CLIENT, 0, 8, 3, -1, -1, "", 4, NO),
    ]
    assert [math.isnan(r.value) for r in rows] == [True, False, True, True]
    assert [(p.kind, p.value) for p in rows[1].points] == [(69, 21.5)]
    assert {r.conv for r in rows} == {("coap", *ENDS, 5683, "", 0)}


@pytest.mark.parametrize(
    ("items", "text", "host"),
    [
        ([(c.HOST, b"plc"), *c.path("/a/b")], "coap://plc/a/b", "plc"),
        ([(c.HOST, b"fe80::1"), (c.PORT, b"\x16\x33"), *c.path("/a")], "coap://[fe80::1]:5683/a", "fe80::1"),
        ([(c.PORT, b"")], ":0", ""),
        (c.path("/"), "/", ""),
        (c.path("//b/"), "//b/", ""),
        (c.path("/größe"), "/größe", ""),
        (c.path("/" + "x" * 255), "/" + "x" * 254, ""),
        ([(8, b"location"), (35, b"coap://x/y")], "", ""),
        ([(2053, b"z" * 300), (c.FORMAT, b"\x3c"), *c.path("/t")], "/t", ""),
    ],
)
def test_paths(items: list[c.Option], text: str, host: str) -> None:
    (row,) = rows_of((0, c.message(c.CON, c.GET, 1, b"t", items)))
    assert (row.name, row.ident, row.flags) == (text, host, 0)
    assert (row.point >= 0) == bool(text)


def test_tokens() -> None:
    """A response has the path of the last request with its token between the same two ports."""
    ask = [c.message(c.CON, c.GET, i, b"t", c.path(f"/{i}")) for i in range(3)]
    answer = [c.message(c.ACK, c.CONTENT, i, b"t") for i in range(4)]
    nameless = [(0, c.message(c.NON, c.GET, 9, b"t")), (1, c.message(c.NON, c.CONTENT, 10, b"t"))]
    rows = rows_of(
        *((0, ask[0]), (1, answer[0]), (0, ask[1]), (1, answer[1])),
        *nameless,
        (1, c.message(c.NON, c.CONTENT, 11)),
    )
    assert [row.name for row in rows] == ["/0", "/0", "/1", "/1", "", "", ""]
    other = f.udp_frame(*ENDS[::-1], 5683, 40001, answer[3])
    frames = [(S, f.udp_frame(*ENDS, 40000, 5683, ask[0])), (2 * S, other)]
    assert [row.name for row in Native().feed(shots(frames)) if row.proto == "coap"] == ["/0", ""]


def test_repetitions() -> None:
    ask = c.message(c.CON, c.GET, 7, b"ab", c.path("/t"))
    tell = c.message(c.NON, c.CONTENT, 7, b"ab", [], b"1")
    rows = rows_of((0, ask), (1, tell), (0, ask), (1, tell), (0, c.message(c.ACK, 0, 7)))
    assert [bool(row.flags & AGAIN) for row in rows] == [False, False, True, True, False]
    later = rows_of((0, ask), (0, ask), gap=300 * S)
    assert [row.flags for row in later] == [0, 0]


def test_roles() -> None:
    """Who asks is the client, whatever its port."""
    ask = c.message(c.CON, c.GET, 1, b"t", c.path("/rd"))
    tell = c.message(c.ACK, c.CONTENT, 1, b"t", [], b"1")
    rows = rows_of((1, ask), (0, tell), (0, ask))
    assert [(row.role, row.conv[1:4]) for row in rows] == [
        (CLIENT, ("10.0.0.2", "10.0.0.1", 40000)),
        (CLIENT, ("10.0.0.1", "10.0.0.2", 5683)),
        (CLIENT, ("10.0.0.1", "10.0.0.2", 5683)),
    ]
    assert [row.name for row in rows] == ["/rd", "/rd", "/rd"]
    peers = rows_of((0, ask), (1, tell), port=5683)
    assert [(row.role, row.conv[1:4]) for row in peers] == [
        (CLIENT, ("10.0.0.1", "10.0.0.2", 5683)),
        (PEER, ("10.0.0.2", "10.0.0.1", 5683)),
    ]


GOOD = c.message(c.CON, c.PUT, 9, b"tok", [(c.HOST, b"plc"), *c.path("/a/b"), (c.FORMAT, b"")], b"12.5")


def test_every_cut() -> None:
    rows = rows_of(*((0, GOOD[:size]) for size in range(1, len(GOOD) + 1)))
    assert [row.size for row in rows] == list(range(1, len(GOOD) + 1))
    legal = {7, 11, 13, 15, 16}  # between two options, before the marker
    for row in rows[:-1]:
        assert bool(row.flags & BAD) == (row.size not in legal and row.size < len(GOOD) - 3), row.size
    assert not rows[-1].flags & BAD
    assert rows[-1].name == "coap://plc/a/b"


@pytest.mark.parametrize(
    "data",
    [
        c.message(c.CON, c.GET, 1, b"", [], b""),
        c.message(c.CON, c.GET, 1, version=2),
        c.message(c.CON, c.GET, 1, b"123456789"),
        c.message(c.CON, 0, 1, b"t"),
        c.message(c.CON, 0, 1) + b"x",
        c.message(c.CON, 32, 1),
        c.message(c.CON, 192, 1),
        c.message(c.CON, c.CSM, 1),
        *(
            c.message(c.CON, c.GET, 1) + tail
            for tail in (b"\xf1", b"\x1f", b"\x55ab", b"\xd0", b"\x0d", b"\xe00")
        ),
        c.message(c.CON, c.GET, 1, b"", [(c.HOST, b"")]),
        c.message(c.CON, c.GET, 1, b"", [(c.OBSERVE, b"1234")]),
        c.message(c.CON, c.GET, 1, b"", [(c.PORT, b"12345")]),
        c.message(c.CON, c.GET, 1, b"", [(c.PATH, b"x" * 256)]),
        c.message(c.CON, c.GET, 1, b"", [(4, b"")]),
        c.message(c.CON, c.GET, 1, b"", [(16, b"")]),
    ],
    ids=lambda data: data[:8].hex(),
)
def test_malformed(data: bytes) -> None:
    (row,) = rows_of((0, data))
    assert row.flags & BAD
    assert row.size == len(data)


def test_snap_length() -> None:
    for size in range(43, 42 + len(GOOD)):
        (row,) = rows_of((0, GOOD), snaplen=size)
        assert row.flags & Flag.TRUNCATED
        assert not row.flags & BAD
        assert math.isnan(row.value)
    assert rows_of((0, GOOD), snaplen=42) == []


def test_over_tcp() -> None:
    long = c.tcp_message(c.PUT, b"ac", c.path("/fw"), bytes(70_000))
    rows = tcp_rows(
        (0, c.tcp_message(c.CSM, b"", [(2, b"\x10\0"), (4, b"")])),
        (0, c.tcp_message(c.GET, b"aa", c.path("/t")) + c.tcp_message(c.PING)),
        (1, c.tcp_message(c.CONTENT, b"aa", [], b"1.5") + c.tcp_message(c.PONG)),
        *((0, long[i : i + 1400]) for i in range(0, len(long), 1400)),
        (1, c.tcp_message(c.CHANGED, b"ac")),
        (0, c.tcp_message(c.PUT, b"ad", c.path("/p"), b"x" * 300)[:100]),
        (0, c.tcp_message(c.PUT, b"ad", c.path("/p"), b"x" * 300)[100:]),
        (1, c.tcp_message(c.ABORT, b"", [], b"bye")),
    )
    seen = [(r.role, r.kind, r.name, r.count, r.flags & ~Flag.REASSEMBLED) for r in rows]
    assert seen == [
        (CLIENT, 225, "", -1, 0),
        (CLIENT, 1, "/t", -1, 0),
        (CLIENT, 226, "", -1, 0),
        (SERVER, 69, "/t", 3, 0),
        (SERVER, 227, "", -1, 0),
        (CLIENT, 3, "/fw", 70_000, 0),
        (SERVER, 68, "/fw", -1, 0),
        (CLIENT, 3, "/p", 300, 0),
        (SERVER, 229, "", 3, 0),
    ]
    assert (rows[3].value, rows[5].size) == (1.5, len(long))
    assert {(r.seq, r.state) for r in rows} == {(-1, -1)}


@given(st.lists(st.integers(1, 30), max_size=30))
def test_segments_anywhere(cuts: list[int]) -> None:
    sent = [c.tcp_message(c.GET, bytes([i]), c.path(f"/{i}"), b"x" * (i * i)) for i in range(1, 20)]
    stream, at, pieces = b"".join(sent), 0, []
    for size in cuts:
        pieces.append(stream[at : at + size])
        at += size
    rows = tcp_rows(*((0, piece) for piece in (*pieces, stream[at:]) if piece))
    assert [row.name for row in rows] == [f"/{i}" for i in range(1, 20)]


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60)), max_size=8))
def test_any_octets(sent: list[tuple[int, bytes]]) -> None:
    assert len(rows_of(*sent)) == sum(bool(data) for _, data in sent)
    tcp_rows(*((side, data) for side, data in sent if data))
