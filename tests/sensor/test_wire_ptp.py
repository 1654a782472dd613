"""PTP known messages: every field, each kind, each carrier, and lengths that lie."""

from __future__ import annotations

import math

import pytest

from grid_profiles.vocabulary import Flag
from tests.lab import bus as b
from tests.lab import frames as f
from tests.reference.rows import PUBLISHER, Message
from tests.reference.run import Native, Shot

SOURCE, GROUP = "00:b0:ae:01:f9:20", "01:1b:19:00:00:00"
CLOCK = "0x00b0aefffe01f920"


def one(data: bytes, wirelen: int = 0) -> Message:
    (row,) = Native().feed([Shot(1, data, wirelen)])
    return row


def point(row: Message, native: Native) -> str:
    assert isinstance(row.point, int)
    return native.names.text(row.point)


def test_announce_has_every_field() -> None:
    grandmaster = bytes.fromhex("0102030405060708")
    body = b.ptp_announce(grandmaster=grandmaster, priority1=7, clock_class=6, steps=300)
    native = Native()
    (row,) = native.feed([Shot(1, b.ptp_frame(b.ptp(b.ANNOUNCE, body, domain=3, seq=65_535), vlan=9))])
    assert (row.proto, row.role, row.src, row.dst, row.stream) == ("ptp", PUBLISHER, SOURCE, GROUP, -1)
    assert row.conv == ("ptp", SOURCE, GROUP, 0, f"domain 3/{CLOCK}", 9)
    assert (row.kind, row.cause, row.count, row.size) == (11, 6, 300, 64)
    assert (row.seq, row.state, row.aux, row.value) == (65_535, 3, 7, 0.0)
    assert (point(row, native), row.name, row.ident, row.flags) == (CLOCK, "", "0x0102030405060708", 0)


@pytest.mark.parametrize(
    ("raw", "ns"), [(0, 0), (0xFFFF, 0), (5 * 65536, 5), (-65536, -1), (-1, -1), (2**63 - 1, 2**47 - 1)]
)
def test_correction(raw: int, ns: int) -> None:
    assert one(b.ptp_frame(b.ptp(b.SYNC, correction=raw))).value == ns


@pytest.mark.parametrize("kind", sorted(b.PTP_BODY))
def test_kinds_and_their_least_size(kind: int) -> None:
    row = one(b.ptp_frame(b.ptp(kind)))
    assert row.kind == (3328 if kind == b.MANAGEMENT else kind)
    assert (row.flags, row.size) == (0, 34 + b.PTP_BODY[kind])
    assert one(b.ptp_frame(b.ptp(kind, bytes(b.PTP_BODY[kind] - 1)))).flags == Flag.MALFORMED


@pytest.mark.parametrize(
    ("action", "tlv", "data", "name"),
    [(0, 1, b"", "8197"), (1, 1, b"\x80\0", "8197"), (3, 2, b"\xc0\1", "49153")],
)
def test_management(action: int, tlv: int, data: bytes, name: str) -> None:
    row = one(b.ptp_frame(b.ptp(b.MANAGEMENT, b.ptp_management(action, 0x2005, data, tlv))))
    assert (row.kind, row.name, row.flags) == (3328 + action, name, 0)


@pytest.mark.parametrize("ends", [("10.0.0.1", "224.0.1.129"), ("fe80::1", "ff0e::181")])
@pytest.mark.parametrize("port", [319, 320])
def test_over_udp(ends: tuple[str, str], port: int) -> None:
    row = one(f.udp_frame(*ends, port, port, b.ptp(b.DELAY_REQ)))
    assert (row.proto, row.role, row.src, row.kind) == ("ptp", PUBLISHER, ends[0], 1)
    assert row.conv == ("ptp", *ends, port, f"domain 0/{CLOCK}", 0)


def test_version_1_stays_open() -> None:
    native = Native()
    (row,) = native.feed(
        [Shot(1, f.udp_frame("10.0.0.1", "224.0.1.129", 319, 319, b"\0\1\0\1" + bytes(120)))]
    )
    assert (row.proto, native.engine.open[0]) == ("udp", True)


@pytest.mark.parametrize(
    ("length", "flags"), [(0, 1), (20, 1), (43, 1), (45, 0), (46, 0), (47, 1), (2000, 1)]
)
def test_a_length_that_lies(length: int, flags: int) -> None:
    """The frame has 46 octets behind its ethertype, two of them padding."""
    row = one(b.ptp_frame(b.ptp(b.SYNC, length=length)))
    assert (row.kind, row.size, row.flags) == (0, length, flags)


def test_every_truncation() -> None:
    data = b.ptp_frame(b.ptp(b.ANNOUNCE, b.ptp_announce()))
    for size in range(16, len(data)):
        row = one(data[:size], len(data))
        assert (row.proto, row.flags, row.kind) == ("ptp", Flag.TRUNCATED, 11)
        have = size - 14
        assert math.isnan(row.value) == (have < 16)
        assert (row.seq >= 0, row.aux >= 0, row.ident != "") == (have >= 32, have >= 48, have >= 61)


def test_padding_is_not_part_of_it() -> None:
    assert one(b.ptp_frame(b.ptp(b.SYNC)) + bytes(30)).flags == 0
