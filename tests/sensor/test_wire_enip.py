"""EtherNet/IP and CIP: every form against a slow twin, cut, spoiled, paired, nested; cyclic I/O."""

from __future__ import annotations

import math
import random
import struct

import numpy as np
import pytest

from grid_profiles.vocabulary import Flag
from sensor.names import printable
from sensor.track.table import lookup
from tests.lab import enip as e
from tests.lab import frames as f
from tests.reference import cip as reference
from tests.reference.rows import CLIENT, PEER, SERVER, Message
from tests.reference.run import Native, Shot, frame_batch, shots

PC, PLC = "10.0.0.1", "10.0.0.2"
FLAGS = Flag.NEGATIVE | Flag.MALFORMED | Flag.UNANSWERED


def talk(*sent: tuple[int, bytes]) -> f.Talk:
    """A connection; each PDU with the side that sends it (0 the client)."""
    made = f.Talk(PC, PLC, 44818)
    made.open(0)
    for number, (side, data) in enumerate(sent, 1):
        (made.server if side else made.client)(number, data)
    return made


def decode(frames: list[f.Stamped], snaplen: int = 1 << 20) -> tuple[list[Message], Native]:
    native = Native()
    rows = native.feed(shots(frames, snaplen))
    return [row for row in rows if row.proto in ("enip", "cip")], native


def check(sent: list[tuple[int, bytes]]) -> list[Message]:
    """Native rows of a connection, after holding every column against the twin."""
    made = talk(*sent)
    rows, native = decode(made.frames)
    twin = reference.Twin()
    told = [one for number, (side, pdu) in enumerate(sent, 4) for one in twin.pdu(pdu, side == 0, number)]
    assert len(rows) == len(told)
    for row, other in zip(rows, told, strict=True):
        same(row, other, native)
    return rows


def same(row: Message, other: reference.Row, native: Native) -> None:
    point = row.point if isinstance(row.point, int) else -1
    shown = "" if point < 0 else str(point) if row.proto == "enip" else raw(native, point)
    assert (row.proto, row.kind, row.cause, row.count) == (other.proto, other.kind, other.cause, other.count)
    assert (row.size, row.seq, row.state, row.aux) == (other.size, other.seq, other.state, other.aux)
    if row.kind in (1620, 1627):  # what is opened has a name of its own
        assert row.name == printable(other.name.encode("latin-1"))
    else:
        assert (raw(native, point) if row.name else "") == other.name
    assert shown == other.point
    assert row.ident == printable(other.ident.encode("latin-1"))
    assert row.value == other.value or (math.isnan(row.value) and math.isnan(other.value))
    assert [(p.kind, p.value) for p in row.points] == (
        [(other.type, other.value)] if other.type >= 0 and other.point else []
    )
    flags = Flag.NEGATIVE if other.negative else Flag(0)
    flags |= Flag.MALFORMED if other.malformed else Flag(0)
    flags |= Flag.UNANSWERED if other.unanswered else Flag(0)
    assert Flag(row.flags) & FLAGS == flags
    assert row.role == (SERVER if other.answers else CLIENT)


def raw(native: Native, ident: int) -> str:
    """A text as its octets."""
    return lookup(native.names.texts, ident).decode("latin-1")


@pytest.mark.parametrize("place", range(len(e.EXCHANGES)))
@pytest.mark.parametrize("connected", [False, True])
def test_every_exchange_and_each_cut_of_it(place: int, connected: bool) -> None:
    ask, answer = e.EXCHANGES[place]

    def wrap(message: bytes, number: int) -> bytes:
        return e.unit(message, number) if connected else e.rr(message, struct.pack("<Q", number << 20))

    sent = [(0, wrap(ask[:cut], cut)) for cut in range(len(ask) + 1)]
    sent += [(0, wrap(ask, 1000 + cut)) for cut in range(len(answer) + 1)]
    sent += [(1, wrap(answer[:cut], 1000 + cut)) for cut in range(len(answer) + 1)]
    rows = check(sent)
    whole = [row for row in rows if row.frame == 3 + len(sent)]
    assert not any(row.flags & (Flag.MALFORMED | Flag.UNANSWERED) for row in whole)
    assert all(row.state == 4 + len(ask) + 1 + len(answer) for row in whole)


@pytest.mark.parametrize("seed", range(3))
def test_spoiled_messages_are_read_as_the_twin_reads_them(seed: int) -> None:
    rnd = random.Random(seed)
    sent: list[tuple[int, bytes]] = []
    exchange = e.EXCHANGES[0]
    for number in range(1500):
        side = number & 1
        exchange = rnd.choice(e.EXCHANGES) if not side else exchange
        message = bytearray(exchange[side])
        for _ in range(rnd.choice((0, 0, 1, 1, 2))):
            place = rnd.randrange(len(message))
            message[place] = rnd.choice((0, 1, 2, 4, 6, 10, 0x20, 0x24, 0x28, 0x30, 0x52, 0x80, 0x91, 0xFF))
        count = number >> 1
        wrapped = bytearray(e.unit(bytes(message), count) if count & 2 else e.rr(bytes(message)))
        if rnd.random() < 0.1:
            wrapped[rnd.randrange(24, min(46, len(wrapped)))] = rnd.choice((0, 1, 2, 8, 0xA1, 0xB1, 0xB2))
        sent.append((side, bytes(wrapped)))
    check(sent)


def test_session_commands() -> None:
    version = b"\1\0\0\0"
    ask, answer, services, told, nop, status, bye = check(
        [
            (0, e.pdu(0x65, version, session=0)),
            (1, e.pdu(0x65, version)),
            (0, e.pdu(4)),
            (1, e.pdu(4, e.items((0x100, bytes(24))))),
            (0, e.pdu(0, b"hello")),
            (1, e.pdu(0x6F, status=0x65)),
            (0, e.pdu(0x66)),
        ]
    )
    assert (ask.kind, ask.role, ask.aux, ask.cause, ask.size) == (101, CLIENT, 0, 0, 28)
    assert (answer.kind, answer.role, answer.aux) == (101, SERVER, 0x01020304)
    assert (services.count, told.count, nop.kind, bye.kind) == (-1, 1, 0, 102)
    assert (status.cause, status.flags & Flag.NEGATIVE) == (0x65, Flag.NEGATIVE)


def test_list_identity_over_udp() -> None:
    ask = f.udp_frame(PC, "255.255.255.255", 50000, 44818, e.pdu(0x63))
    answer = f.udp_frame(PLC, PC, 44818, 50000, e.identity("1756-ENBT/A"))
    short = f.udp_frame(PLC, PC, 44818, 50000, e.identity("1756-ENBT/A")[:-8])
    rows, _ = decode([(1, ask), (2, answer), (3, short)])
    assert [(r.kind, r.role, r.count, r.ident) for r in rows] == [
        (99, CLIENT, -1, ""),
        (99, SERVER, 1, "1756-ENBT/A"),
        (99, SERVER, 1, ""),
    ]
    assert [r.flags for r in rows] == [0, 0, Flag.MALFORMED]
    rows, _ = decode([(1, answer)], 42 + 60)
    assert [(r.kind, r.flags) for r in rows] == [(99, Flag.TRUNCATED)]


def test_several_pdus_in_a_datagram() -> None:
    """Each is read; what follows them and is none marks the one before it."""

    def sent(*parts: bytes) -> list[tuple[int, int, int]]:
        frame = f.udp_frame(PLC, PC, 44818, 50000, b"".join(parts))
        return [(r.kind, r.frame, r.flags) for r in decode([(1, frame)])[0]]

    identity, services = e.identity("1756-ENBT/A"), e.pdu(4, e.items((0x100, bytes(24))))
    assert sent(identity, services) == [(99, 1, 0), (4, 1, 0)]
    assert sent(services, e.rr(e.response(14, b"\1")), identity)[1:3] == [
        (111, 1, 0),
        (14, 1, Flag.UNANSWERED),
    ]
    assert sent(services, b"\xff" * 30) == [(4, 1, Flag.MALFORMED)]
    assert sent(services, identity[:20]) == [(4, 1, Flag.MALFORMED)]
    assert sent(services, identity[:-1]) == [(4, 1, 0), (99, 1, Flag.MALFORMED)]
    cut = 42 + len(services) + 40
    rows, _ = decode([(1, f.udp_frame(PLC, PC, 44818, 50000, services + identity))], cut)
    assert [(r.kind, r.flags) for r in rows] == [(4, 0), (99, Flag.TRUNCATED)]


def test_cyclic_data() -> None:
    body = e.cyclic(0x004B0603, 4_000_000_000, b"\7\0data")
    frames = [
        f.udp_frame(PLC, "239.192.1.2", 2222, 2222, body),
        f.udp_frame(PC, PLC, 50000, 2222, body[:-1]),
        f.udp_frame(PC, PLC, 50000, 2222, body[:16]),
    ]
    rows, _ = decode([(number, frame) for number, frame in enumerate(frames)])
    assert {(r.kind, r.point, r.seq, r.count, r.role) for r in rows} == {
        (65536, 0x004B0603, 4_000_000_000, 2, PEER)
    }
    assert [(r.size, r.flags) for r in rows] == [
        (len(body), 0),
        (len(body) - 1, Flag.MALFORMED),
        (16, Flag.MALFORMED),
    ]
    assert rows[0].conv == ("enip", PLC, "239.192.1.2", 2222, "", 0)
    rows, _ = decode([(0, frames[0])], 42 + 15)
    assert [(r.kind, r.size, r.flags) for r in rows] == [(65536, len(body), Flag.TRUNCATED)]


STRANGER, GROUP = "10.0.0.66", "239.192.1.2"
OUT, BACK = 0x1001, 0x4B0001


class Site:
    """A connection over which I/O connections are opened and closed, and their packets."""

    def __init__(self) -> None:
        self.native = Native()
        self.talk = f.Talk(PC, PLC, 44818)
        self.talk.open(0)
        self.fed = 0

    def ask(self, ts: int, ask: bytes, answer: bytes) -> None:
        """A request and its answer."""
        context = struct.pack("<Q", len(self.talk.frames))
        self.talk.client(ts, e.rr(ask, context))
        self.talk.server(ts, e.rr(answer, context))

    def packets(self, *sent: tuple[int, str, str, int]) -> list[tuple[int, str]]:
        """(frame of the opening, who may send) of packets (ts, source, destination, connection id)."""
        frames = self.talk.frames[self.fed :]
        self.fed = len(self.talk.frames)
        frames += [
            (ts, f.udp_frame(src, dst, 2222, 2222, e.cyclic(c, 1, b"data"))) for ts, src, dst, c in sent
        ]
        rows = self.native.feed(shots(frames))
        told = [(r.state, r.aux) for r in rows if r.kind == 65536]
        return [(state, self.native.names.endpoint(aux) if aux >= 0 else "") for state, aux in told]


def test_io_packets_name_the_opening_of_their_connection() -> None:
    site = Site()
    site.ask(1, e.io_open(), e.io_opened(OUT))
    assert site.packets((2, PC, PLC, OUT), (2, PLC, PC, BACK), (3, STRANGER, PLC, OUT)) == [
        (4, PC),
        (4, PLC),
        (4, PC),
    ]
    # ids belong to who receives: the same at another device, and the other direction's, are unknown
    assert site.packets((4, PC, STRANGER, OUT), (4, PC, PLC, BACK), (4, PC, PLC, OUT + 1)) == [(-1, "")] * 3
    site.ask(5, e.io_close(), e.response(0x4E, bytes(10), 1, (0x0107,)))
    assert site.packets((6, PC, PLC, OUT)) == [(4, PC)]
    site.ask(7, e.io_close(), e.io_closed())
    assert site.packets((8, PC, PLC, OUT), (8, PLC, PC, BACK)) == [(-1, "")] * 2


def test_io_of_an_opening_that_was_refused_or_not_seen() -> None:
    site = Site()
    site.ask(1, e.io_open(), e.response(0x54, bytes(10), 1, (0x0106,)))
    site.talk.server(2, e.rr(e.io_opened(OUT + 1), b"nobody's"))
    site.ask(3, e.forward_open(), e.opened(OUT + 2))
    assert site.packets(*[(4, PC, PLC, OUT + n) for n in range(3)]) == [(-1, "")] * 3


def test_multicast_io_is_known_by_its_sender_first() -> None:
    site = Site()
    site.ask(1, e.io_open(back=1), e.io_opened(OUT))
    assert site.packets((2, STRANGER, GROUP, BACK)) == [(-1, "")]
    assert site.packets((3, PLC, GROUP, BACK), (4, STRANGER, GROUP, BACK)) == [(4, PLC)] * 2
    site.ask(5, e.io_close(), e.io_closed())
    assert site.packets((6, PLC, GROUP, BACK)) == [(-1, "")]


def test_an_io_connection_times_out_and_its_id_is_given_again() -> None:
    site = Site()
    second = 1_000_000_000
    site.ask(0, e.io_open(), e.io_opened(OUT))
    assert site.packets((50 * second, PC, PLC, OUT), (100 * second, PC, PLC, OUT)) == [(4, PC)] * 2
    assert site.packets((161 * second, PC, PLC, OUT)) == [(-1, "")]
    site.ask(162 * second, e.io_open(serial=2), e.io_opened(OUT, serial=2))
    opened = 4 + 2 + 3  # frames before it
    assert site.packets((163 * second, PC, PLC, OUT)) == [(opened, PC)]
    site.ask(164 * second, e.io_close(), e.io_closed())  # of the first one, which is over
    assert site.packets((165 * second, PC, PLC, OUT)) == [(opened, PC)]


def test_io_connections_are_bounded() -> None:
    site = Site()
    for number in range(1, 9_000):
        site.ask(number, e.io_open(number, number, 7), e.io_opened(number << 8, number, number, 7))
    last = 9_000 - 1
    assert site.packets((9_001, PC, PLC, last << 8))[0][1] == PC
    assert site.native.counters["io_evicted"] > 10_000


@pytest.mark.parametrize("body", [b"", bytes(20), e.cyclic(1, 2, b"")[:13], b"\2\0\xa1\0\4\0" + bytes(20)])
def test_what_is_no_cyclic_data_is_left_to_others(body: bytes) -> None:
    native = Native()
    rows = native.feed([Shot(0, f.udp_frame(PC, PLC, 2222, 2222, body))])
    assert [row.proto for row in rows] == ["udp"]
    assert native.counters["claimed"] == 0


def test_several_pdus_in_a_segment_and_one_over_segments() -> None:
    ask = e.unit(e.EXCHANGES[10][0], 1)
    data = e.pdu(0x65, bytes(4)) + ask + ask[:40]
    rows, _ = decode(talk((0, data), (0, ask[40:])).frames)
    assert [(r.proto, r.kind) for r in rows] == [("enip", 101), *[("enip", 112), ("cip", 76)] * 2]
    assert rows[-1].flags & Flag.REASSEMBLED or rows[-2].flags & Flag.REASSEMBLED


def test_a_long_message_is_read_by_its_head() -> None:
    tags = [e.request(0x4C, e.tag(f"Tag{number:05}"), b"\1\0") for number in range(2000)]
    whole = e.rr(e.request(10, e.path(2, 1), e.together(*tags)))
    parts = [whole[at : at + 1400] for at in range(0, len(whole), 1400)]
    rows, _ = decode(talk(*((0, part) for part in parts)).frames)
    assert (rows[0].kind, rows[1].kind, rows[1].count) == (111, 10, 2000)
    assert 600 < len(rows) < 2002
    assert not any(row.flags & Flag.MALFORMED for row in rows)


def test_bytes_cut_by_the_capture_are_not_malformed() -> None:
    for ask, answer in e.EXCHANGES:
        frames = talk((0, e.rr(ask)), (1, e.rr(answer))).frames
        for cut in range(54 + 24, 54 + len(e.rr(ask))):
            rows, _ = decode(frames[3:4], cut)
            assert rows[0].kind == 111
            assert rows[0].flags & Flag.TRUNCATED
            assert not any(row.flags & Flag.MALFORMED for row in rows)


def test_a_repeated_answer_and_a_forged_request_between() -> None:
    """A request that is sent again takes nothing over; another with the same context does."""
    ask, other = e.rr(e.request(14, e.path(4, 1, 3))), e.rr(e.request(14, e.path(4, 2, 3)))
    answer = e.rr(e.response(14, b"\1"))
    made = talk((0, ask), (1, answer))
    made.frames.append(made.frames[3])  # the same segment again
    made.server(9, answer)
    made.client(10, other)
    made.server(11, answer)
    rows, native = decode(made.frames)
    answers = [row for row in rows if row.proto == "cip" and row.role == SERVER]
    assert [row.state for row in answers] == [4, 4, 8]
    assert [raw(native, int(row.point)) for row in answers] == ["0x04/0x01/3"] * 2 + ["0x04/0x02/3"]  # type: ignore[arg-type]


def test_an_unknown_command_is_not_ours() -> None:
    native = Native()
    rows = native.feed(shots(talk((0, b"\x07\0\0\0" + bytes(40))).frames))
    assert [row.proto for row in rows] == ["tcp"] * len(rows)
    assert native.counters["foreign"] == 1


def test_memory_does_not_grow_with_cyclic_data() -> None:
    """A million packets of I/O would find the same tables: nothing is interned for a packet."""
    native = Native()
    body = [f.udp_frame(PLC, PC, 2222, 2222, e.cyclic(7, number, bytes(200))) for number in range(2000)]
    batch = frame_batch([Shot(number, frame) for number, frame in enumerate(body)])
    decoded = native.engine.decode(batch)
    assert len(decoded.messages) == 2000
    assert (np.diff(decoded.messages["seq"]) == 1).all()
    before = native.names.counters()
    native.engine.decode(batch)
    assert native.names.counters() == before
