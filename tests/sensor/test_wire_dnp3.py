"""DNP3 known frames: every object, every qualifier, damage in each layer, segments in any order."""

# ruff: noqa: E501
from __future__ import annotations

import math
import random
import struct

import pytest

from grid_profiles.vocabulary import Flag
from sensor.wire.dnp3 import OBJECTS
from tests.lab import dnp3_frames as d
from tests.lab import frames as f
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD = Flag.MALFORMED
NAN = math.nan
T48 = d.time(1_700_000_000_500)
T = 1_700_000_000.5


def told(rows: list[Message]) -> list[Message]:
    return [row for row in rows if row.proto == "dnp3"]


def talk_rows(*pdus: tuple[int, bytes], snaplen: int = 1 << 20) -> tuple[list[Message], Native]:
    """DNP3 messages of a connection; each segment with the side that sends it (0 master)."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 20000)
    talk.open(0)
    for number, (side, pdu) in enumerate(pdus):
        (talk.server if side else talk.client)((1 + number) * S, pdu)
    native = Native()
    return told(native.feed(shots(talk.frames, snaplen))), native


def said(*pdus: bytes) -> list[Message]:
    """Of an outstation, a segment each."""
    return talk_rows(*((1, pdu) for pdu in pdus))[0]


def asked(*pdus: bytes) -> list[Message]:
    return talk_rows(*((0, pdu) for pdu in pdus))[0]


def points(row: Message, native: Native) -> list[str]:
    return [native.names.text(point.point) for point in row.points]


def test_a_request_and_its_response() -> None:
    ask = d.request(1, d.everything(60, 2) + d.span(30, 1, 0, 3), seq=5, transport=17)
    answer = d.response(d.indexed(2, 1, (7, b"\x81"), (300, b"\x01")), iin=0x9204, seq=5)
    (first, second), native = talk_rows((0, ask), (1, answer))
    assert (first.kind, first.role, first.seq, first.state, first.aux) == (1, CLIENT, 5, 17, d.MASTER)
    assert (native.names.text(first.point), first.count, first.size, first.flags) == (
        "0x3c02",
        4,
        5 + 5 + 11,
        0,
    )
    assert first.conv[1:5] == ("10.0.0.1", "10.0.0.2", 20000, "outstation 4")
    assert first.points == []
    assert (second.kind, second.role, second.cause, second.conv) == (129, SERVER, 0x9204, first.conv)
    assert (native.names.text(second.point), second.count) == ("0x0201/7", 2)
    assert second.flags == Flag.NEGATIVE  # IIN2.2: parameter error
    assert points(second, native) == ["0x0201/7", "0x0201/300"]
    assert [(p.kind, p.value, p.quality) for p in second.points] == [(0x0201, 1.0, 1), (0x0201, 0.0, 1)]


# group, variation, octets of an object, value, flags
VALUES = [
    (1, 2, b"\x81", 1, 1), (2, 1, b"\x01", 0, 1), (2, 2, b"\x82" + T48, 1, 2), (2, 3, b"\x80\x01\x00", 1, 0),
    (3, 2, b"\xc1", 3, 1), (4, 1, b"\x41", 1, 1), (4, 2, b"\x80" + T48, 2, 0), (4, 3, b"\x3f\x05\x00", 0, 0x3F),
    (10, 2, b"\x84", 1, 4), (11, 1, b"\x01", 0, 1), (11, 2, b"\x81" + T48, 1, 1),
    (12, 1, d.crob(0x41), 1, -1), (12, 2, d.crob(0x83), 3, -1),
    (13, 1, b"\x80", 1, -1), (13, 2, b"\x00" + T48, 0, -1),
    (20, 1, b"\x01\xff\xff\xff\xff", 2**32 - 1, 1), (20, 2, b"\x01\xff\xff", 65535, 1),
    (20, 5, b"\x02\x00\x00\x00", 2, -1), (20, 6, b"\x03\x00", 3, -1), (20, 3, b"\x01\4\0\0\0", 4, 1),
    (20, 4, b"\x01\5\0", 5, 1), (20, 7, b"\6\0\0\0", 6, -1), (20, 8, b"\7\0", 7, -1),
    (21, 1, b"\x01\1\0\0\0", 1, 1), (21, 2, b"\x01\2\0", 2, 1), (21, 5, b"\x01\3\0\0\0" + T48, 3, 1),
    (21, 6, b"\x01\4\0" + T48, 4, 1), (21, 9, b"\5\0\0\0", 5, -1), (21, 10, b"\6\0", 6, -1),
    (22, 1, b"\x01\1\0\0\0", 1, 1), (22, 2, b"\x01\2\0", 2, 1), (22, 5, b"\x01\3\0\0\0" + T48, 3, 1),
    (22, 6, b"\x01\4\0" + T48, 4, 1), (23, 5, b"\x01\3\0\0\0" + T48, 3, 1),
    (30, 1, b"\x01\xfe\xff\xff\xff", -2, 1), (30, 2, b"\x21\xff\x7f", 32767, 0x21),
    (30, 3, b"\xff\xff\xff\x7f", 2**31 - 1, -1), (30, 4, b"\x00\x80", -32768, -1),
    (30, 5, b"\x01" + struct.pack("<f", 1.5), 1.5, 1), (30, 6, b"\x01" + struct.pack("<d", 0.1), 0.1, 1),
    (31, 1, b"\x01\1\0\0\0", 1, 1), (31, 7, b"\x01" + struct.pack("<f", 2.5), 2.5, 1),
    (32, 1, b"\x01\1\0\0\0", 1, 1), (32, 2, b"\x01\xff\xff", -1, 1), (32, 3, b"\x01\3\0\0\0" + T48, 3, 1),
    (32, 4, b"\x01\4\0" + T48, 4, 1), (32, 5, b"\x01" + struct.pack("<f", -1.0), -1, 1),
    (32, 6, b"\x01" + struct.pack("<d", -2.0), -2, 1), (32, 7, b"\x01" + struct.pack("<f", 4.0) + T48, 4, 1),
    (32, 8, b"\x01" + struct.pack("<d", 8.0) + T48, 8, 1), (33, 5, b"\x01" + struct.pack("<f", 1.0), 1, 1),
    (34, 1, b"\xff\xff", 65535, -1), (34, 2, b"\1\0\0\0", 1, -1), (34, 3, struct.pack("<f", 0.5), 0.5, -1),
    (40, 1, b"\x01\xff\xff\xff\xff", -1, 1), (40, 2, b"\x01\2\0", 2, 1),
    (40, 3, b"\x01" + struct.pack("<f", 3.0), 3, 1), (40, 4, b"\x01" + struct.pack("<d", 4.0), 4, 1),
    (41, 1, b"\xff\xff\xff\xff\0", -1, -1), (41, 2, b"\2\0\0", 2, -1),
    (41, 3, struct.pack("<f", 3.0) + b"\0", 3, -1), (41, 4, struct.pack("<d", 4.0) + b"\0", 4, -1),
    (42, 1, b"\x01\1\0\0\0", 1, 1), (42, 4, b"\x01\4\0" + T48, 4, 1), (42, 7, b"\x01" + struct.pack("<f", 7.0) + T48, 7, 1),
    (43, 1, b"\0\1\0\0\0", 1, -1), (43, 3, b"\0\3\0\0\0" + T48, 3, -1), (43, 6, b"\0" + struct.pack("<d", 6.0), 6, -1),
    (50, 1, T48, T, -1), (50, 3, T48, T, -1), (50, 4, T48 + b"\1\0\0\0\5", T, -1), (51, 1, T48, T, -1), (51, 2, T48, T, -1),
    (52, 1, b"\x0a\0", 10, -1), (52, 2, b"\xe8\x03", 1000, -1), (101, 2, b"\x34\x12\0\0", NAN, -1),
    (102, 1, b"\x07", NAN, -1), (110, 3, b"abc", NAN, -1), (111, 2, b"xy", NAN, -1), (0, 242, b"\x01\x03v12", NAN, -1),
    (121, 1, bytes(7), NAN, -1), (81, 1, bytes(3), NAN, -1),
]  # fmt: skip


@pytest.mark.parametrize(("group", "variation", "octets", "value", "flags"), VALUES)
def test_objects_behind_an_index(group: int, variation: int, octets: bytes, value: float, flags: int) -> None:
    (row,) = said(d.response(d.indexed(group, variation, (1, octets), (2, octets))))
    kind = group << 8 | (0 if group in (110, 111) else variation)
    assert [p.kind for p in row.points] == [kind, kind]
    for point in row.points:
        assert point.quality == flags
        assert point.value == value or (math.isnan(point.value) and math.isnan(value))
    assert not row.flags & BAD
    assert row.count == 2


@pytest.mark.parametrize(("group", "variation", "octets", "value", "flags"), VALUES)
def test_an_octet_is_missing(group: int, variation: int, octets: bytes, value: float, flags: int) -> None:
    for missing in range(1, len(octets) + 1):
        (row,) = said(d.response(d.span(group, variation, 0, 1, octets + octets[: len(octets) - missing])))
        assert row.flags & BAD
        assert len(row.points) == (1 if missing == len(octets) else 2)


def test_the_table_has_a_size_for_every_value() -> None:
    seen = {
        (group, variation): len(octets)
        for group, variation, octets, _, _ in VALUES
        if group not in (0, 110, 111)
    }
    assert all(OBJECTS[place][0] == size for place, size in seen.items())


@pytest.mark.parametrize(("group", "variation"), [(1, 1), (10, 1), (12, 3), (80, 1)])
def test_packed_bits(group: int, variation: int) -> None:
    (row,) = said(d.response(d.span(group, variation, 3, 13, b"\x85\x04") + d.span(30, 4, 0, 0, b"\7\0")))
    assert [p.value for p in row.points] == [1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 7]
    assert (row.count, row.flags) == (11, 0)


def test_packed_double_bits() -> None:
    (row,) = said(d.response(d.span(3, 1, 0, 4, b"\xe4\x02") + d.span(30, 4, 0, 0, b"\7\0")))
    assert [p.value for p in row.points] == [0, 1, 2, 3, 2, 7]


def test_bits_behind_an_index_take_an_octet_each() -> None:
    (row,) = said(d.response(d.indexed(10, 1, (5, b"\1"), (9, b"\0"))))
    assert [p.value for p in row.points] == [1, 0]


@pytest.mark.parametrize(
    ("qualifier", "octets", "count", "first"),
    [
        (0x00, b"\x05\x06", 2, 5), (0x01, b"\x00\x01\x01\x01", 2, 256), (0x02, b"\0\0\1\0\1\0\1\0", 2, 65536),
        (0x03, b"\x09", -1, 9), (0x04, b"\x00\x02", -1, 512), (0x05, b"\0\0\0\1", -1, 2**24),
        (0x07, b"\x02", 2, 0), (0x08, b"\x02\0", 2, 0), (0x09, b"\x02\0\0\0", 2, 0),
    ],
)  # fmt: skip
def test_qualifiers(qualifier: int, octets: bytes, count: int, first: int) -> None:
    objects = bytes([30, 4, qualifier]) + octets + b"\1\0" * (1 if count < 0 else 2)
    (row,), native = talk_rows((1, d.response(objects)))
    assert points(row, native)[0] == f"0x1e04/{first}"
    assert len(row.points) == (1 if count < 0 else 2)
    assert (row.count, row.flags) == (count, 0)


@pytest.mark.parametrize("prefix", [1, 2, 3])
def test_index_widths(prefix: int) -> None:
    width = 1 << (prefix - 1)
    objects = bytes([30, 4, prefix << 4 | 7, 1]) + (7).to_bytes(width, "little") + b"\2\0"
    (row,), native = talk_rows((1, d.response(objects)))
    assert points(row, native) == ["0x1e04/7"]
    assert row.points[0].value == 2


@pytest.mark.parametrize("objects", [
    b"\x1e\x04\x0a", b"\x1e\x04\x0c\x01", b"\x1e\x04\x7f", b"\x1e\x04\x70\0\0\1\0", b"\x1e\x04", b"\x1e", b"\x1e\x04\x00\x01",
    d.span(30, 4, 5, 3), bytes([30, 4, 9]) + b"\xff" * 4, d.span(30, 9, 0, 0), d.everything(255, 1),
    bytes([30, 4, 9]) + b"\xff\xff\xff\x7f", bytes([1, 1, 9]) + b"\xff\xff\xff\x7f", bytes([60, 2, 9]) + b"\xff\xff\xff\xff",
])  # fmt: skip
def test_headers_that_contradict_the_standard(objects: bytes) -> None:
    (row,) = said(d.response(objects))
    assert row.flags & BAD
    assert row.kind == 129


def test_controls() -> None:
    select = d.request(3, d.indexed(12, 1, (5, d.crob(0x41)), (6, d.crob(3))))
    status = d.response(d.indexed(12, 1, (5, d.crob(0x41)), (6, d.crob(3, 4))))
    everybody = d.request(6, d.indexed(41, 2, (1, b"\x10\0\0")), dst=65535)
    first, second, third = asked(select) + said(status) + asked(everybody)
    assert (first.value, first.count, first.flags) == (1.0, 2, Flag.SELECT)
    assert second.flags == Flag.NEGATIVE
    assert third.flags == Flag.BROADCAST
    assert third.conv[4] == "outstation 65535"
    assert [(p.kind, p.value) for p in third.points] == [(0x2902, 16)]


def test_what_asks_names_its_indexes() -> None:
    (row,), native = talk_rows((0, d.request(1, bytes([30, 2, 0x17, 2, 3, 9]) + d.everything(1, 0))))
    assert points(row, native) == ["0x1e02/3", "0x1e02/9"]
    assert all(math.isnan(p.value) for p in row.points)
    assert (native.names.text(row.point), row.count, row.flags) == ("0x1e02/3", 2, 0)


def test_the_point_of_a_message_is_of_its_first_header() -> None:
    events = d.span(51, 1, 0, 0, T48)[:2] + b"\x07\x01" + T48 + d.indexed(2, 3, (9, b"\x81\1\0"))
    (row,), native = talk_rows((1, d.response(events, function=130)))
    assert native.names.text(row.point) == "0x3301/0"
    assert points(row, native) == ["0x3301/0", "0x0203/9"]
    assert [p.value for p in row.points] == [T, 1.0]


def test_files() -> None:
    opened, got, closed = asked(
        d.request(25, d.free(70, 3, d.file_command(b"/etc/conf.xml", 2))),
        d.request(28, d.free(70, 7, struct.pack("<HHHI6xHH", 20, 3, 0, 0, 0, 1) + b"abc")),
        d.request(26, d.free(70, 4, bytes(13))),
    )
    assert (opened.name, opened.count, opened.flags, opened.points) == ("/etc/conf.xml", 1, 0, [])
    assert (got.name, got.flags) == ("abc", 0)
    assert (closed.name, closed.flags) == ("", 0)
    (short,) = asked(d.request(25, d.free(70, 3, d.file_command(b"/etc"))[:-2]))
    assert short.flags & BAD


@pytest.mark.parametrize(
    ("control", "kind", "flags"),
    [(0xC0, 528, 0), (0xC2, 530, 0), (0xC9, 537, 0), (0x00, 512, 0), (0x01, 513, Flag.NEGATIVE), (0x0B, 523, 0),
     (0x0F, 527, Flag.NEGATIVE), (0xC4, 532, BAD), (0xC7, 535, BAD), (0x05, 517, BAD)],
)  # fmt: skip
def test_link_frames_without_data(control: int, kind: int, flags: int) -> None:
    (row,) = asked(d.link(control))
    assert (row.kind, row.flags, row.size, row.state, row.seq) == (kind, flags, 10, -1, -1)


def test_direction_bit_decides_who_is_master() -> None:
    """The outstation may be the one that opened the connection."""
    (row,), _ = talk_rows((0, d.response()))
    assert (row.role, row.conv[1:3]) == (SERVER, ("10.0.0.2", "10.0.0.1"))
    assert row.conv[3] not in (0, 20000)


def test_wrong_checks() -> None:
    good = d.request(5, d.indexed(12, 1, (1, d.crob(1))))
    for place in range(len(good)):
        broken = bytearray(good)
        broken[place] ^= 0x10
        rows = asked(bytes(broken), good)
        assert rows[-1].kind == 5
        assert rows[-1].flags == 0
        if place >= 2:  # else there is no frame to see
            assert rows[0].flags & BAD
            assert rows[0].kind in ((-1,) if place < 10 else (532,))
            assert rows[0].points == []


def test_frames_behind_garbage_are_found() -> None:
    good = d.request(1, d.everything(60, 1))
    rows = asked(b"\x00\x05garbage\x05" + good + b"\xff\x05\x64" + bytes(9) + good, good)
    assert [row.kind for row in rows if row.kind >= 0] == [1, 1, 1]
    (row,) = said(b"not dnp3 at all \x05!", good)
    assert row.kind == 1


def test_several_frames_in_a_segment_and_one_over_many() -> None:
    frames = [d.request(n, d.everything(60, 1), seq=n) for n in (1, 20, 21)]
    assert [row.seq for row in asked(b"".join(frames))] == [1, 4, 5]
    stream = b"".join(frames)
    rows = asked(*(stream[i : i + 1] for i in range(len(stream))))
    assert [(row.kind, row.flags) for row in rows] == [(kind, Flag.REASSEMBLED) for kind in (1, 20, 21)]


def fragment(count: int) -> bytes:
    """A response of analogue inputs."""
    return b"\xc3\x81\0\0" + bytes([30, 2, 1]) + struct.pack("<HH", 0, count - 1) + b"\x01\x05\x00" * count


def test_a_fragment_of_many_segments() -> None:
    rows = said(*d.segments(0x44, fragment(500), first=62))
    assert [row.kind for row in rows] == [532] * 6 + [129]
    assert [row.state for row in rows] == [62, 63, 0, 1, 2, 3, 4]
    assert len(rows[-1].points) == 500
    assert rows[-1].flags == Flag.REASSEMBLED
    assert rows[-1].seq == 3
    assert all(row.seq == -1 for row in rows[:-1])


def test_segments_that_do_not_follow() -> None:
    parts = d.segments(0x44, fragment(200))
    assert [row.kind for row in said(parts[0], parts[2])] == [532, 532]
    assert [row.kind for row in said(parts[1], parts[2])] == [532, 532]
    assert [row.kind for row in said(parts[0], parts[0], *parts[1:])] == [532, 532, 532, 129]
    assert [row.kind for row in said(parts[0], parts[1], parts[1], parts[2])][-1] == 129
    other = d.response(src=9)
    assert [row.kind for row in said(parts[0], other, *parts[1:])] == [532, 129, 532, 129]
    same = d.response()
    assert [row.kind for row in said(parts[0], same, *parts[1:])] == [532, 129, 532, 532]


def test_an_endless_fragment_is_given_up() -> None:
    frames = d.segments(0x44, b"\xc3\x81\0\0" + bytes(40_000))
    rows = said(*frames, d.response())
    assert len(rows) == len(frames) + 1
    assert rows[-1].kind == 129
    assert all(row.kind == 532 for row in rows[:-1])


def test_a_lost_segment_gives_the_fragment_up() -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 20000)
    talk.open(0)
    for number, part in enumerate(d.segments(0x44, fragment(200))):
        talk.server(number * S, part)
    del talk.frames[-2]
    rows = told(Native().feed(shots(talk.frames)))
    assert [row.kind for row in rows] == [532, 532]
    assert rows[-1].flags & Flag.GAP


def test_every_snap_length() -> None:
    pdu = d.response(d.indexed(30, 2, *((i, b"\1\2\3") for i in range(30))))
    whole = talk_rows((1, pdu))[0][0]
    for snaplen in range(54, 54 + len(pdu)):
        rows, _ = talk_rows((1, pdu), snaplen=snaplen)
        assert len(rows) == (snaplen - 54 >= 10)
        for row in rows:
            assert row.flags == Flag.TRUNCATED
            assert (row.kind, row.conv, row.size) == (532, whole.conv, whole.size)
            assert row.state == (0 if snaplen - 54 > 10 else -1)
            assert not row.points


def test_datagrams() -> None:
    frames = [d.request(1, d.everything(60, 1)), d.response(d.span(1, 2, 0, 0, b"\x81"), transport=5)]
    parts = d.segments(0x44, fragment(200))
    native = Native()
    shot = [(S, f.udp_frame("10.0.0.1", "10.0.0.2", 20001, 20000, frames[0] * 2)),
            (S, f.udp_frame("10.0.0.2", "10.0.0.1", 20000, 20001, frames[1])),
            *((S, f.udp_frame("10.0.0.2", "10.0.0.1", 20000, 20001, part)) for part in parts),
            (S, f.udp_frame("10.0.0.2", "10.0.0.1", 20000, 20001, frames[1][:-1])),
            (S, f.udp_frame("10.0.0.2", "10.0.0.1", 20000, 20001, b"something"))]  # fmt: skip
    rows = native.feed(shots(shot))
    assert [row.proto for row in rows] == ["dnp3"] * 7 + ["udp"]
    assert [row.kind for row in rows[:-1]] == [1, 1, 129, 532, 532, 129, 532]
    assert rows[0].conv == rows[2].conv
    assert len(rows[5].points) == 200
    assert rows[6].flags & BAD
    assert (native.engine.open[-1], native.engine.open[-2]) == (True, False)


def test_functions_that_carry_no_objects_here() -> None:
    bad, restart, freeze, assign = asked(
        d.request(40, b"\1\2\3"),
        d.request(13),
        d.request(11, b"\x32\x02\x07\x01" + T48 + bytes(4) + d.everything(20, 0)),
        d.request(22, d.everything(60, 2) + d.span(30, 0, 0, 5)),
    )
    assert (bad.kind, bad.flags) == (40, BAD)
    assert (restart.kind, restart.flags, restart.point) == (13, 0, -1)
    assert (freeze.flags, len(freeze.points)) == (0, 1)
    assert (assign.flags, assign.count) == (0, 6)


def test_spoiled_fragments_behind_right_checks() -> None:
    """CRCs keep noise out of the objects; an attacker computes them."""
    rnd = random.Random(7)
    seeds = [d.span(group, variation, 0, 2, octets * 3) for group, variation, octets, _, _ in VALUES]
    seeds += [
        d.indexed(group, variation, (1, octets), (9, octets)) for group, variation, octets, _, _ in VALUES
    ]
    seeds += [d.free(70, 3, d.file_command(b"name")), bytes([60, 2, 6, 1, 1, 1, 0, 9])]
    frames = []
    for number in range(4000):
        body = bytearray(rnd.choice(seeds) + rnd.choice(seeds))[:240]
        for _ in range(rnd.choice((1, 1, 2, 4))):
            body[rnd.randrange(len(body))] = rnd.choice(
                (0, 1, 2, 5, 7, 0x17, 0x28, 0x5B, 0xFF, rnd.randrange(256))
            )
        del body[rnd.choice((240, rnd.randrange(240))) :]
        head = bytes([rnd.choice((0xC0, 0x40, 0, 0x80)), 0xC0, rnd.choice((1, 2, 3, 5, 11, 22, 129, 130))])
        frames.append(
            (number, f.udp_frame("10.0.0.1", "10.0.0.2", 20001, 20000, d.link(0xC4, head + bytes(body))))
        )
    native = Native()
    rows = told(native.feed(shots(frames)))
    assert len(rows) == len(frames)
    assert all(point.point >= 0 and point.kind >= 0 for row in rows for point in row.points)
    assert all(row.count >= -1 and row.name is not None for row in rows)
