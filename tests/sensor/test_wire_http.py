"""HTTP: known messages, every cut, bodies that are skipped, order and loss, other protocols; a slow twin."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from sensor.names import Limits
from tests.fuzz import base
from tests.fuzz.web import EXCHANGES
from tests.lab import frames as f
from tests.lab import http as h
from tests.reference import http as reference
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, Shot, shots

A, B = "10.0.0.1", "10.0.0.2"
BAD, NO, LOST, LONE = Flag.MALFORMED, Flag.NEGATIVE, Flag.GAP, Flag.UNANSWERED
SAID = BAD | NO | LONE
Sent = tuple[int, bytes]


def talk(*sent: Sent, port: int = 80, opened: bool = True) -> list[f.Stamped]:
    """Frames of a connection; each segment with the side that sends it (0 the client)."""
    made = f.Talk(A, B, port)
    if opened:
        made.open(0)
    for number, (side, data) in enumerate(sent, 1):
        (made.server if side else made.client)(number * 1_000_000, data)
    return made.frames


def read(frames: Iterable[f.Stamped], snaplen: int = 1 << 20) -> tuple[list[Message], Native]:
    native = Native()
    return [row for row in native.feed(shots(frames, snaplen)) if row.proto == "http"], native


def rows_of(*sent: Sent, port: int = 80, opened: bool = True) -> list[Message]:
    return read(talk(*sent, port=port, opened=opened))[0]


def point(native: Native, row: Message) -> str:
    return native.names.text(row.point) if isinstance(row.point, int) and row.point > 0 else ""


def check(sent: list[Sent]) -> list[Message]:
    """Native rows of a connection, after holding every column against the twin."""
    rows, native = read(talk(*sent))
    twin = reference.Connection()
    told = [row for number, (side, data) in enumerate(sent, 4) for row in twin.feed(number, side, data)]
    ours = [
        (
            row.frame, row.kind, row.cause, row.name, point(native, row), row.ident, row.count, row.size,
            row.state, row.role, row.src, row.flags & SAID,
        )
        for row in rows
    ]  # fmt: skip
    theirs = []
    for one in told:
        answers = one.cause >= 0
        flags = (BAD if one.malformed else 0) | (NO if one.negative else 0) | (LONE if one.unanswered else 0)
        theirs.append(
            (
                one.frame, one.kind, one.cause, one.name, one.point, one.ident, one.count, one.size,
                one.asked, SERVER if answers else CLIENT, B if one.side else A, flags,
            )
        )  # fmt: skip
    assert ours == theirs
    return rows


def cut(sent: Iterable[Sent], size: int) -> list[Sent]:
    """The same octets in segments of one size."""
    return [(side, data[at : at + size]) for side, data in sent for at in range(0, len(data), size)]


def test_request_and_response() -> None:
    asked = h.request("GET", "/set/point?password=secret", ("User-Agent", "browser 1"), host="plc-7:80")
    rows, native = read(talk((0, asked), (1, h.response(404, b"none", ("Server", "web 2")))))
    one, two = rows
    assert (one.role, one.kind, one.cause, one.name) == (CLIENT, 1, -1, "plc-7:80/set/point")
    assert (point(native, one), one.ident, one.count, one.size) == ("/set/point", "browser 1", -1, len(asked))
    assert (two.role, two.kind, two.cause, two.name, two.state) == (
        SERVER,
        404,
        404,
        "plc-7:80/set/point",
        one.frame,
    )
    assert (two.ident, two.count, two.flags) == ("web 2", 4, NO)
    assert one.conv == two.conv == ("http", A, B, 80, "", 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 100_000])
def test_every_exchange_over_segment_borders(size: int) -> None:
    rows = check(cut(EXCHANGES, size))
    whole = [(row.kind, row.name, row.count, row.size) for row in check(list(EXCHANGES))]
    assert [(row.kind, row.name, row.count, row.size) for row in rows] == whole
    assert len(whole) == 25
    assert not any(row.flags & (BAD | LONE) for row in rows)


def test_every_cut_in_two() -> None:
    wire = h.request("GET", "/a") + h.request("PUT", "/b", body=b"12345")
    wire += h.request("POST", "/c", ("Transfer-Encoding", "chunked")) + h.chunks(b"x" * 30, b"y")
    wire += h.request("GET", "/d")
    for at in range(1, len(wire)):
        rows = check([(0, wire[:at]), (0, wire[at:])])
        assert [row.name for row in rows] == ["plc/a", "plc/b", "plc/c", "plc/d"], at


@pytest.mark.parametrize("method", reference.METHODS)
def test_methods(method: str) -> None:
    (row,) = check([(0, h.request(method, "/x"))])
    assert row.kind == reference.METHODS.index(method) + 1
    (row,) = check([(0, h.request(method + "X", "/x"))])
    assert row.kind == 99


@pytest.mark.parametrize(
    ("target", "name", "path"),
    [
        ("/a?b=c", "plc/a", "/a"),
        ("http://other:81/p/q?r", "other:81/p/q", "/p/q"),
        ("http://me:secret@other/p", "other/p", "/p"),
        ("http://other", "other", ""),
        ("*", "plc*", "*"),
        ("//x/y", "plc//x/y", "//x/y"),
    ],
)
def test_targets(target: str, name: str, path: str) -> None:
    (row,) = check([(0, h.request("GET", target))])
    rows, native = read(talk((0, h.request("GET", target))))
    assert (row.name, point(native, rows[0])) == (name, path)


@pytest.mark.parametrize(
    "wire",
    [
        h.request("POST", "/", ("Transfer-Encoding", "chunked"), ("Content-Length", "4")),
        h.request("POST", "/", ("Content-Length", "4"), ("Content-Length", "5")),
        h.request("POST", "/", ("Content-Length", "+4")),
        h.request("POST", "/", ("Content-Length", "4, 4")),
        h.request("POST", "/", ("Content-Length", "")),
        h.request("POST", "/", ("Content-Length", "1" * 13)),
        h.request("POST", "/", ("Transfer-Encoding", "chunked, gzip")),
        h.request("POST", "/", ("Transfer-Encoding", "xchunked")),
        h.request("POST", "/", ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")),
        h.section("POST / HTTP/1.0", (("Transfer-Encoding", "chunked"),)),
        h.request("GET", "/", ("Host", "other")),
        h.section("GET / HTTP/1.1"),
        h.request("GET", "/", (" folded", "x")),
        h.request("GET", "/", ("Name ", "x")),
        h.request("GET", "/", ("", "x")),
        h.request("GET", "/", ("X", "a\rb")),
        h.request("GET", "/", ("X", "a\0b")),
        h.request("GET", "/").replace(b"Host:", b"Host"),
        h.request("GET", "/a b"),
        h.section("GET  HTTP/1.1", (("Host", "plc"),)),
        h.section("HTTP/1.1 999 what", (("Content-Length", "0"),)),
    ],
)
def test_malformed(wire: bytes) -> None:
    (row,) = check([(0, wire)])
    assert row.flags & BAD


def test_lone_line_feeds_and_small_letters_are_fine() -> None:
    wire = h.request("POST", "/", ("CONTENT-length", " 3 "), ("content-LENGTH", "3")).replace(b"\r", b"")
    (row, other) = check([(0, b"\r\n" + wire + b"abc" + h.request("GET", "/next"))])
    assert (row.count, row.flags, other.name) == (3, 0, "plc/next")


def test_huge_bodies_are_skipped_and_never_held() -> None:
    part = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n" * 400
    body = part * 80
    sent: list[Sent] = [(0, h.request("GET", "/firmware"))]
    sent += [(1, h.section("HTTP/1.1 200 OK", (("Content-Length", str(len(body))),)))]
    sent += cut([(1, body)], 1400)
    sent += [(0, h.request("GET", "/next")), (1, h.chunked(200, body, body))[:2]]
    sent += [(0, h.request("GET", "/last")), (1, h.response(200))]
    frames = talk(*cut(sent, 1400))
    rows, native = read(frames)
    assert [(row.kind, row.name) for row in rows] == [
        (1, "plc/firmware"), (200, "plc/firmware"), (1, "plc/next"), (200, "plc/next"), (1, "plc/last"),
        (200, "plc/last"),
    ]  # fmt: skip
    assert rows[1].size == len(sent[1][1]) + len(body)
    assert native.counters["lost_waiting"] == native.counters["undecoded_bytes"] == 0
    assert not native.engine.unclaimed.any(), "nothing is left to tshark"
    free = native.engine._memory["streams"]["free"][0]
    assert free[0] == len(free) - 1, "nothing waits"


def test_pipelined_responses_find_their_requests() -> None:
    asked = [h.request("HEAD" if number % 3 == 0 else "GET", f"/{number}") for number in range(40)]
    told = [
        h.section("HTTP/1.1 200 OK", (("Content-Length", "9"),)) + (b"" if number % 3 == 0 else b"x" * 9)
        for number in range(40)
    ]
    rows = check([(0, b"".join(asked)), *cut([(1, b"".join(told))], 500)])
    assert [row.name for row in rows[40:]] == [f"plc/{number}" for number in range(40)]


def test_a_header_section_that_is_too_long_is_counted() -> None:
    long = h.request("GET", "/long", ("Cookie", "c" * 9000), ("X", "y"))
    frames = talk(*cut([(0, long)], 1000), (0, h.request("GET", "/next")))
    rows, native = read(frames)
    assert [(row.name, row.size) for row in rows] == [("plc/long", 8192), ("plc/next", rows[1].size)]
    assert native.counters["long_headers"] == 1
    check([(0, long), (0, h.request("GET", "/next"))])


def test_midstream_in_a_body() -> None:
    rows = rows_of((1, b"rest of a page"), (1, b"and more"), (0, h.request("GET", "/x")), opened=False)
    assert [row.name for row in rows] == ["plc/x"]
    rows = rows_of((1, h.response(200, b"x")), (0, h.request()), (1, h.response()), opened=False)
    assert [row.flags & (LONE | Flag.MIDSTREAM) for row in rows] == [LONE | Flag.MIDSTREAM, 0, 0]


def test_after_a_gap_it_goes_on_with_the_next_message() -> None:
    answer = h.chunked(200, b"a" * 20_000, b"b" * 20_000)
    sent = [(0, h.request("GET", "/one")), *cut([(1, answer)], 1000)]
    sent += [(0, h.request("GET", "/two")), (1, h.response(200, b"2"))]
    frames = talk(*sent)
    for lost in range(5, 45):
        rows, _ = read(frames[:lost] + frames[lost + 1 :])
        assert [row.name for row in rows] == ["plc/one"] * 2 + ["plc/two"] * 2, lost
        assert rows[3].state == rows[2].frame


def test_late_segments_fill_a_hole_in_a_header_section() -> None:
    asked = h.request("GET", "/one", ("X", "y" * 300)) + h.request("GET", "/two")
    frames = talk(*cut([(0, asked)], 100), (1, h.response(200) + h.response(404)))
    for first in range(3, len(frames) - 2):
        order = [*frames[:first], frames[first + 1], frames[first], *frames[first + 2 :]]
        rows, native = read([(number, data) for number, (_, data) in enumerate(order)])
        assert sorted(row.name for row in rows[:2]) == ["plc/one", "plc/two"], first
        assert native.counters["mended"] + native.counters["reordered"] >= 1


def test_a_repeated_segment_moves_nothing() -> None:
    made = f.Talk(A, B, 80)
    made.open(0)
    made.client(1, h.request("GET", "/a"))
    made.client(2, h.request("GET", "/b"))
    made.frames.append((3, made.frames[-1][1]))
    made.server(4, h.response(200, b"a"))
    made.frames.append((5, made.frames[-1][1]))
    made.server(6, h.response(200, b"b"))
    rows, _ = read(made.frames)
    assert [row.name for row in rows] == ["plc/a", "plc/b", "plc/b", "plc/a", "", "plc/b"]
    assert [bool(row.flags & Flag.RETRANSMITTED) for row in rows] == [False, False, True, False, True, False]


def test_a_forged_segment_far_away_moves_nothing() -> None:
    made = f.Talk(A, B, 80)
    made.open(0)
    made.client(1, h.request("CONNECT", "x:1"))
    made.segment(2, 1, f.PSH | f.ACK, h.response(100) + h.section("HTTP/1.1 200 OK"), seq=5000 + (1 << 24))
    made.server(3, h.response(403))
    made.client(4, h.request("GET", "/after"))
    rows, _ = read(made.frames)
    assert [row.kind for row in rows] == [6, 100, 200, 403, 1]
    assert rows[3].state == rows[0].frame


@pytest.mark.parametrize("snaplen", range(54, 200, 3))
def test_snap_lengths(snaplen: int) -> None:
    asked, told = h.request("GET", "/a/page", ("User-Agent", "u" * 99)), h.response(200, b"x" * 99)
    rows, _ = read(talk((0, asked), (1, told), (0, h.request("GET", "/next"))), snaplen)
    assert {row.frame for row in rows} <= {4, 5, 6}
    heads = {4: len(asked), 5: len(told) - 99, 6: len(h.request("GET", "/next"))}
    for row in rows:
        assert row.kind == (200 if row.frame == 5 else 1)
        assert bool(row.flags & Flag.TRUNCATED) == (snaplen < 54 + heads[row.frame])
        assert not row.flags & BAD
        assert row.name in ("", "/a/page", "/next", "plc/a/page", "plc/next")
    if snaplen >= 100:
        assert len(rows) == 3


def test_another_protocol_on_the_port_is_left_to_others() -> None:
    for noise in (
        b"\x00\x01\x02binary",
        b"hello there\r\n",
        b"GET /\r\n",
        b"SSH-2.0-x\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
    ):
        native = Native()
        rows = native.feed(shots(talk((0, noise), (1, noise))))
        assert not [row for row in rows if row.proto == "http"], noise
        assert list(native.engine.open) == [False] * 3 + [True] * 2
        assert native.counters["foreign"] == 2


def test_a_body_behind_a_gap_is_not_left_to_others() -> None:
    frames = talk((0, h.request()), *cut([(1, h.chunked(200, *[b"x" * 900] * 30))], 1000))
    native = Native()
    native.feed(shots(frames[:6] + frames[15:]))
    assert not native.engine.open.any()


@pytest.mark.parametrize("port", [80, 8000, 8080, 81, 5000, 64000])
def test_any_port_of_nobody(port: int) -> None:
    rows = rows_of((0, h.request("GET", "/x")), (1, h.response(200, b"x")), port=port)
    assert [(row.kind, row.conv) for row in rows] == [
        (kind, ("http", A, B, port, "", 0)) for kind in (1, 200)
    ]


def test_on_the_port_of_another_protocol_it_is_told_and_the_port_keeps_its_own() -> None:
    modbus = f.modbus_adu(1, 1, f.mb_read(3, 1, 1))
    frames = talk((0, h.request("GET", "/x", body=b"y" * 99)), (0, modbus), (1, h.response(400)), port=502)
    rows = [row for row in Native().feed(shots(frames)) if row.proto != "tcp"]
    assert [(row.proto, row.kind) for row in rows] == [("http", 1), ("modbus", 3), ("http", 400)]


def test_websocket_is_left_to_others_from_its_first_frame_on() -> None:
    asked = h.request("GET", "/ws", ("Upgrade", "websocket"))
    taken = h.section("HTTP/1.1 101 Switching Protocols", (("Upgrade", "websocket"),))
    check([(0, asked), (1, taken), (0, b"\x81\x05hello"), (1, h.response(200))])
    native = Native()
    native.feed(shots(talk((0, asked), (1, taken + b"\x81\x01x"), (0, b"\x81\x01y"), (1, b"\x81\x01z"))))
    assert list(native.engine.open) == [False] * 5 + [True] * 2


def test_http_again_after_an_upgrade_is_read_in_both_directions() -> None:
    asked, plain = h.section("GET /ws HTTP/1.1", (("Upgrade", "x"),)), h.section("GET /status HTTP/1.1")
    taken = h.section("HTTP/1.1 101 Switching Protocols", (("Upgrade", "x"),))
    rows = check([(0, asked), (1, taken), (0, plain), (1, h.section("HTTP/1.1 200 OK"))])
    assert [row.cause for row in rows] == [-1, 101, -1, 200]


def test_an_upgrade_that_nobody_asked_for_hides_nothing() -> None:
    taken = h.section("HTTP/1.1 101 Switching Protocols", (("Upgrade", "websocket"),))
    rows = check([(0, h.request("GET", "/x")), (1, taken), (0, h.request("GET", "/y"))])
    assert [row.name for row in rows] == ["plc/x", "plc/x", "plc/y"]


def test_connect_and_what_goes_through() -> None:
    hello = base.client_hello("rtu-7.plant")
    sent = ((0, h.request("CONNECT", "rtu-7.plant:443")), (1, h.section("HTTP/1.1 200 OK")), (0, hello))
    rows = [row for row in Native().feed(shots(talk(*sent))) if row.proto != "tcp"]
    assert [(row.proto, row.name) for row in rows] == [
        ("http", "rtu-7.plant:443"), ("http", "rtu-7.plant:443"), ("tls", "rtu-7.plant"),
    ]  # fmt: skip
    refused = h.section("HTTP/1.1 407 No", (("Content-Length", "3"),)) + b"GET"
    rows = check([(0, h.request("CONNECT", "x:1")), (1, refused), (0, h.request("CONNECT", "x:2"))])
    assert [row.name for row in rows] == ["x:1", "x:1", "x:2"]


def test_secrets_reach_no_table() -> None:
    asked = h.request(
        "GET",
        "http://me:hunter2@plc/x?key=hunter2",
        ("Authorization", "Basic hunter2"),
        ("Cookie", "hunter2"),
    )
    _, native = read(
        talk((0, asked + h.request("POST", "/", body=b"hunter2")), (1, h.response(200, b"hunter2")))
    )
    assert b"hunter2" not in bytes(native.names.texts["arena"])


def test_a_flood_of_pages_leaves_room_for_the_names_of_others() -> None:
    native = Native(Limits(texts=2000))
    made = f.Talk(A, B, 80)
    made.open(0)
    for number in range(3000):
        made.client(number, h.request("GET", f"/page/{number}"))
    made.client(3000, h.request("GET", "/page/7"))
    rows = [row for row in native.feed(shots(made.frames)) if row.proto == "http"]
    assert len(rows) == 3001
    assert (rows[7].name, rows[2999].name, rows[3000].name) == ("plc/page/7", "(table full)", "plc/page/7")
    assert native.names.counters()["texts"] <= 1000
    assert native.names.counters()["texts_refused"] > 3000
    assert native.names.text(native.names.intern_text("a name of another protocol"))[:6] == "a name"


PIECES = st.sampled_from(
    [data for _, data in EXCHANGES]
    + [
        b"\r\n",
        b"0\r\n\r\n",
        b"5\r\nabcde\r\n",
        b"ffffffffffff\r\n",
        b"5;x\rabc\n",
        b"noise",
        b"GET ",
        b"HTTP/1.1 2",
    ]
    + [h.request("POST", "/", ("Transfer-Encoding", "chunked")), h.request("CONNECT", "a:1")]
    + [h.section("HTTP/1.1 200 OK"), h.section("HTTP/1.1 101 OK", (("Upgrade", "x"),))]
    + [h.request("GET", "/u", ("Upgrade", "x")), h.request("GET", "/", ("C", "c" * 8300))]
)


@given(
    pieces=st.lists(st.tuples(st.integers(0, 1), PIECES), max_size=8),
    size=st.sampled_from([1, 5, 17, 100, 1000, 20_000]),
)
@settings(max_examples=150)
def test_any_order_of_pieces_as_the_twin_reads_it(pieces: list[Sent], size: int) -> None:
    check(cut(pieces, size))


NASTY = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"0",
    b"9",
    b"f",
    b"/",
    b"chunked",
    b",",
)


@pytest.mark.parametrize("seed", range(4))
def test_spoiled_connections_as_the_twin_reads_them(seed: int) -> None:
    rnd = random.Random(seed)
    rows = 0
    for _ in range(150):
        sent = [(side, bytes(data)) for side, data in EXCHANGES]
        for _ in range(rnd.randrange(1, 6)):
            place = rnd.randrange(len(sent))
            side, data = sent[place]
            at = rnd.randrange(len(data) + 1)
            what = rnd.choice(NASTY) if rnd.random() < 0.7 else bytes([rnd.randrange(32, 127)])
            sent[place] = (side, data[:at] + what + data[at + rnd.randrange(3) :])
        rows += len(check(cut(sent, rnd.choice((3, 40, 300, 5000)))))
    assert rows > 1500


def test_one_octet_that_never_ends_a_line() -> None:
    native = Native()
    made = f.Talk(A, B, 80)
    made.open(0)
    for number in range(20_000):
        made.client(number, b"GET " if number == 0 else b"a")
    rows = native.feed([Shot(ts, data) for ts, data in made.frames])
    assert not [row for row in rows if row.proto == "http"]
    assert native.counters["undecoded_bytes"] >= 19_000
