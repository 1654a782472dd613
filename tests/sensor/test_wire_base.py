"""ARP, ICMP, DNS, NTP and PROFINET known frames: columns, every cut, and lengths that lie."""

from __future__ import annotations

import struct

import pytest

from grid_profiles.vocabulary import Flag
from tests.fuzz import base as b
from tests.lab import frames as f
from tests.reference.rows import CLIENT, PEER, PUBLISHER, SERVER, Message
from tests.reference.run import Native, Shot

A, B = b.CLIENT, b.SERVER
MAC_A, MAC_B = f.lab_mac(A), f.lab_mac(B)


def decode(*frames: bytes) -> list[Message]:
    return Native().feed([Shot(number, frame) for number, frame in enumerate(frames)])


def point(native: Native, row: Message) -> str:
    return native.names.text(row.point) if isinstance(row.point, int) and row.point > 0 else ""


def one(frame: bytes, wirelen: int = 0) -> tuple[Message, str]:
    native = Native()
    (row,) = native.feed([Shot(1, frame, wirelen)])
    return row, point(native, row)


def test_arp() -> None:
    row, asked = one(f.eth(MAC_B, MAC_A, f.ETH_ARP, f.arp(2, MAC_A, A, MAC_B, B), (7,)))
    assert (row.proto, row.role, row.kind, row.name, row.ident, asked) == ("arp", PEER, 2, A, MAC_A, B)
    assert row.conv == ("arp", MAC_A, MAC_B, 0, "", 7)


def test_icmp() -> None:
    row, _ = one(f.ip_frame(A, B, 1, struct.pack("!BBHHH", 8, 0, 0, 1, 42)))
    assert (row.proto, row.role, row.kind, row.cause, row.seq) == ("icmp", PEER, 8, 0, 42)
    row, _ = one(f.ip_frame(b.CLIENT6, b.SERVER6, 58, struct.pack("!BBHI", 133, 0, 0, 0) + b"\1\0"))
    assert (row.proto, row.kind, row.flags) == ("icmpv6", 133, Flag.MALFORMED)


def test_dns_question_and_answer() -> None:
    www = b.name("www.plant")
    row, asked = one(f.udp_frame(A, B, 40000, 53, b.dns(0x0100, [www], ident=9)))
    assert (row.proto, row.role, row.kind, row.seq, row.count) == ("dns", CLIENT, 0, 9, 0)
    assert (row.name, asked, row.conv) == ("www.plant", "www.plant", ("dns", A, B, 53, "", 0))
    row, _ = one(f.udp_frame(B, A, 53, 40000, b.dns(0x8183, [www])))
    assert (row.role, row.kind, row.cause, row.flags) == (SERVER, 0x8000, 3, Flag.NEGATIVE)
    assert row.conv == ("dns", A, B, 53, "", 0)


@pytest.mark.parametrize(
    "message",
    [
        b.dns(0x0100, [b"\xc0\x0c"]),  # points to itself
        b.dns(0x0100, [b"\xc0\xff"]),  # forward
        b.dns(0x0100, [b"\x40" + bytes(64) + b"\0"]),  # no such label
        b.dns(0x0100, [(b"\x3f" + b"x" * 63) * 5 + b"\0"]),  # too long
        b.dns(0x8180, [b"\0"], ([b.record(b"\0", bytes(4))[:-1]],)),
        b.dns(0x0100, [])[:4] + b"\xff\xff" + bytes(6),
    ],
)
def test_dns_lies(message: bytes) -> None:
    row, _ = one(f.udp_frame(A, B, 40000, 53, message))
    assert (row.proto, row.flags & Flag.MALFORMED) == ("dns", Flag.MALFORMED)


def test_dns_over_segment_borders() -> None:
    first, second = (b.over_tcp(b.dns(0x0100, [b.name(text)])) for text in ("one.plant", "two.plant"))
    for cut in range(1, len(first + second)):
        talk = f.Talk(A, B, 53)
        talk.open(0)
        talk.client(0, (first + second)[:cut])
        talk.client(0, (first + second)[cut:])
        rows = [row for row in decode(*(data for _, data in talk.frames)) if row.proto == "dns"]
        assert [row.name for row in rows] == ["one.plant", "two.plant"], cut


def test_ntp() -> None:
    body = bytes([0xE4, 16]) + bytes(10) + b"INIT" + bytes(32)
    row, source = one(f.udp_frame(B, A, 123, 123, body))
    assert (row.proto, row.role, row.kind, row.cause, row.aux) == ("ntp", SERVER, 4, 16, 3)
    assert (source, row.conv) == ("494e4954", ("ntp", A, B, 123, "", 0))


def test_profinet_cyclic() -> None:
    row, _ = one(f.eth(MAC_B, MAC_A, 0x8892, b.rt(0x8001, counter=0x2020, status=0x35), (4,)))
    assert (row.proto, row.role, row.kind, row.point) == ("profinet_rt", PUBLISHER, 65_544, 0x8001)
    assert (row.seq, row.state, row.cause) == (0x2020, 0x35, 0)
    assert row.conv == ("profinet_rt", MAC_A, MAC_B, 0, "frame id 32769", 4)


def test_profinet_station_is_renamed() -> None:
    body = b.dcp(0xFEFD, 4, 0, b.block(2, 2, b"\0\1pump-3"), xid=5)
    row, named = one(f.eth(MAC_B, MAC_A, 0x8892, body, pad=True))
    assert (row.proto, row.role, row.kind, row.aux) == ("profinet_dcp", CLIENT, 0x400, 0x202)
    assert (row.name, named, row.seq) == ("pump-3", "pump-3", 5)
    refused = b.dcp(0xFEFD, 4, 1, b.block(5, 4, b"\2\2\4"), xid=5)
    row, _ = one(f.eth(MAC_A, MAC_B, 0x8892, refused, pad=True))
    assert (row.role, row.cause, row.flags) == (SERVER, 4, Flag.NEGATIVE)
    assert row.conv == ("profinet_dcp", MAC_A, MAC_B, 0, "", 0)


def test_profinet_block_is_longer_than_the_data() -> None:
    body = b.dcp(0xFEFF, 5, 1, b"\2\2\0\xffabc\0")
    row, _ = one(f.eth(MAC_A, MAC_B, 0x8892, body))
    assert row.flags == Flag.MALFORMED


def test_every_cut_gives_one_row() -> None:
    """A snap length anywhere: never more than one row, never an error, MALFORMED only what is."""
    for frame in b.base_frames():
        if frame[12:14] == b"\x08\x00" and frame[23] == 6:
            continue
        for size in range(len(frame)):
            rows = Native().feed([Shot(1, frame[:size], len(frame))]) if size % 7 == 0 else []
            assert len(rows) <= 1
            assert not any(row.flags & Flag.MALFORMED for row in rows), (frame, size)
