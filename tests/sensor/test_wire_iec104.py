"""IEC-104 known frames: every type id, every control field, every length fault; reference included."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import TIME_TAG, Flag
from sensor.wire.iec104 import ELEMENT_SIZE
from tests.lab import frames as f
from tests.reference.iec104 import TAGGED, TYPES
from tests.reference.rows import CLIENT, SERVER, Message, Point
from tests.reference.run import decode

S = 1_000_000_000
CP24 = bytes.fromhex("a00f0c")
CP56 = bytes.fromhex("a00f0c17190819")
CP56_SECONDS = datetime(2025, 8, 25, 23, 12, 4, tzinfo=UTC).timestamp()
NAN = math.nan

# type id, octets of one element (hex), value, quality, select
ELEMENTS = [
    (1, "01", 1, 0, False),
    (1, "f0", 0, 0xF0, False),
    (2, "81" + CP24.hex(), 1, 0x80, False),
    (3, "02", 2, 0, False),
    (3, "43", 3, 0x40, False),
    (4, "11" + CP24.hex(), 1, 0x10, False),
    (5, "3f00", 63, 0, False),
    (5, "c080", -64, 0x80, False),
    (5, "ff01", -1, 1, False),
    (6, "0500" + CP24.hex(), 5, 0, False),
    (7, "0000000100", 1, 0, False),
    (7, "ffffffff80", 2**32 - 1, 0x80, False),
    (8, "0000010000" + CP24.hex(), 256, 0, False),
    (9, "004000", 0.5, 0, False),
    (9, "008001", -1.0, 1, False),
    (10, "ff7f00" + CP24.hex(), 32767 / 32768, 0, False),
    (11, "d20400", 1234, 0, False),
    (11, "00801f", -32768, 0x1F, False),
    (12, "ffff80" + CP24.hex(), -1, 0x80, False),
    (13, "0000c84200", 100.0, 0, False),
    (13, "000020c181", -10.0, 0x81, False),
    (13, "0000c07f00", NAN, 0, False),
    (13, "0000807f00", math.inf, 0, False),
    (14, "0000803f40" + CP24.hex(), 1.0, 0x40, False),
    (15, "2a00000005", 42, 5, False),
    (15, "ffffffff1f", -1, 0x1F, False),
    (16, "0000008080" + CP24.hex(), -(2**31), 0x80, False),
    (17, "02e803" + CP24.hex(), 2, 0, False),
    (17, "f9e803" + CP24.hex(), 1, 0xF8, False),
    (18, "3f10e803" + CP24.hex(), 63, 0x10, False),
    (19, "0f00e803" + CP24.hex(), 15, 0, False),
    (20, "0180ff0001", 0x8001, 1, False),
    (21, "00c0", -0.5, -1, False),
    (30, "01" + CP56.hex(), 1, 0, False),
    (31, "81" + CP56.hex(), 1, 0x80, False),
    (32, "4000" + CP56.hex(), -64, 0, False),
    (33, "deadbeef00" + CP56.hex(), 0xDEADBEEF, 0, False),
    (34, "0040c0" + CP56.hex(), 0.5, 0xC0, False),
    (35, "feff00" + CP56.hex(), -2, 0, False),
    (36, "cdcccc3d00" + CP56.hex(), struct.unpack("<f", bytes.fromhex("cdcccc3d"))[0], 0, False),
    (37, "0100000060" + CP56.hex(), 1, 0x60, False),
    (38, "0ae803" + CP56.hex(), 2, 0x08, False),
    (39, "0100e803" + CP56.hex(), 1, 0, False),
    (40, "0880e803" + CP56.hex(), 8, 0x80, False),
    (45, "01", 1, -1, False),
    (45, "80", 0, -1, True),
    (46, "02", 2, -1, False),
    (46, "86", 2, -1, True),
    (47, "81", 1, -1, True),
    (48, "004000", 0.5, -1, False),
    (48, "00c080", -0.5, -1, True),
    (49, "e80300", 1000, -1, False),
    (49, "18fc80", -1000, -1, True),
    (50, "0000484200", 50.0, -1, False),
    (50, "0000484280", 50.0, -1, True),
    (51, "80000000", 2**31, -1, False),
    (58, "81" + CP56.hex(), 1, -1, True),
    (59, "01" + CP56.hex(), 1, -1, False),
    (60, "82" + CP56.hex(), 2, -1, True),
    (61, "004080" + CP56.hex(), 0.5, -1, True),
    (62, "ffff00" + CP56.hex(), -1, -1, False),
    (63, "0000803f80" + CP56.hex(), 1.0, -1, True),
    (64, "00000080" + CP56.hex(), 128, -1, False),
    (70, "02", 2, -1, False),
    (100, "14", 20, -1, False),
    (101, "45", 0x45, -1, False),
    (102, "", NAN, -1, False),
    (103, CP56.hex(), NAN, -1, False),
    (104, "aa55", 0x55AA, -1, False),
    (105, "01", 1, -1, False),
    (106, "e803", 1000, -1, False),
    (107, "0201" + CP56.hex(), 0x0102, -1, False),
    (110, "00c001", -0.5, -1, False),
    (111, "64ff02", -156, -1, False),
    (112, "0000003f03", 0.5, -1, False),
    (113, "03", 3, -1, False),
    (120, "010064000000", NAN, -1, False),
    (121, "01000164000000", NAN, -1, False),
    (122, "01000101", NAN, -1, False),
    (123, "01000101ff", NAN, -1, False),
    (124, "01000101", NAN, -1, False),
    (126, "0100640000" + "00" + CP56.hex(), NAN, -1, False),
    (127, "0100" + CP56.hex() + CP56.hex(), NAN, -1, False),
]


def said(*apdus: bytes, side: int = 1) -> list[Message]:
    """IEC-104 messages of a connection in which one side sends ``apdus``, a segment each."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 2404)
    talk.open(0)
    for number, apdu in enumerate(apdus, 1):
        (talk.server if side else talk.client)(number * S, apdu)
    return [row for row in decode(talk.frames) if row.proto == "iec104"]


def values_of(row: Message) -> list[Point]:
    """Points without time tags."""
    return [point for point in row.points if point.kind < TIME_TAG]


def same(value: float, expected: float) -> bool:
    return value == expected or (math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize(("kind", "octets", "value", "quality", "select"), ELEMENTS)
def test_element(kind: int, octets: str, value: float, quality: int, select: bool) -> None:
    element = bytes.fromhex(octets)
    (row,) = said(f.apci_i(3, 9, f.asdu(kind, 3, 7, [(0x030201, element)], oa=5)))
    assert (row.kind, row.cause, row.count, row.aux) == (kind, 3, 1, 5)
    assert (row.seq, row.state, row.role) == (3, 9, SERVER)
    assert row.point == 7 << 24 | 0x030201
    if kind != 103:  # whose message alone has the time
        assert same(row.value, value)
    assert row.flags == (Flag.SELECT if select else 0)
    point, *tags = row.points
    assert (point.kind, point.point, point.quality) == (kind, row.point, quality)
    assert same(point.value, value)
    expected = [(TIME_TAG | kind, row.point, CP56_SECONDS, 0)] if kind in TAGGED else []
    assert [(tag.kind, tag.point, tag.value, tag.quality) for tag in tags] == expected
    assert row.size == 6 + 6 + 3 + len(element)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("5984240b1c0615", 1624880193.881),
        ("5fea3b171d0200", 951868799.999),  # a leap day
        ("00000000010318", 1709251200.0),
        ("00003b171f0c63", 946684740.0),  # of the last century
        ("00000000010145", 3124224000.0),
        ("b80b8281bf0219", 1740963723.0),  # 31 February, invalid, summer time
        *((octets + "010119", NAN) for octets in ("60ea0000", "00003c00", "00000018")),
        *(("00000000" + octets, NAN) for octets in ("000119", "010019", "010d19", "010164")),
    ],
)
def test_time_of_a_clock_command(octets: str, value: float) -> None:
    (row,) = said(f.apci_i(3, 9, f.asdu(103, 6, 7, [(0, bytes.fromhex(octets))])), side=0)
    assert same(row.value, value)
    assert [math.isnan(point.value) for point in row.points] == [True]


@pytest.mark.parametrize(
    ("octets", "value", "quality"),
    [
        ("5984240b1c0615", 1624880193.881, 0),
        ("5984a40b1c0615", 1624880193.881, 0x80),  # invalid
        ("5984248b1c0615", 1624880193.881, 0x40),  # summer time
        ("5984e48b1c0615", 1624880193.881, 0xC0),  # and the reserved bit of the minute
        ("60ea000b1c0615", NAN, 0),  # a minute of sixty seconds
    ],
)
def test_time_tag(octets: str, value: float, quality: int) -> None:
    (row,) = said(f.apci_i(3, 9, f.asdu(36, 3, 7, [(9, bytes(5) + bytes.fromhex(octets))])))
    tag = row.points[1]
    assert (tag.kind, tag.point, tag.quality) == (TIME_TAG | 36, 7 << 24 | 9, quality)
    assert same(tag.value, value)


def test_the_table_covers_every_type() -> None:
    assert {row[0] for row in ELEMENTS} == set(TYPES)
    sizes = {kind: size for kind, (size, _) in TYPES.items()}
    assert {kind: int(size) for kind, size in enumerate(ELEMENT_SIZE) if size >= 0} == sizes


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("sq", [False, True])
def test_several_objects(kind: int, sq: bool) -> None:
    size = TYPES[kind][0]
    objects = [(100 + 2 * i * (not sq) + i * sq, bytes([i]) * size) for i in range(4)]
    (row,) = said(f.apci_i(0, 0, f.asdu(kind, 20, 1, objects, sq=sq)))
    if kind == 102 and sq:  # no octets to count by: the one address written is the one object
        assert [point.point & 0xFFFFFF for point in row.points] == [100]
        return
    assert [point.point & 0xFFFFFF for point in values_of(row)] == [ioa for ioa, _ in objects]
    if kind in TAGGED:
        assert [point.point for point in row.points[1::2]] == [point.point for point in row.points[::2]]
    assert not row.flags & Flag.MALFORMED


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("sq", [False, True])
def test_length_that_does_not_fit(kind: int, sq: bool) -> None:
    """One octet short and one too many: malformed, and the complete objects are still read."""
    size = TYPES[kind][0]
    body = f.asdu(kind, 3, 1, [(1, bytes(size)), (2, bytes(size))], sq=sq)
    short, long = said(f.apci_i(0, 0, body[:-1]), f.apci_i(1, 0, body + b"\0"))
    if kind != 102 or not sq:
        assert len(values_of(short)) == 1
        assert len(values_of(long)) == 2
    assert short.flags & Flag.MALFORMED
    assert long.flags & Flag.MALFORMED


@pytest.mark.parametrize("kind", [0, 22, 41, 65, 99, 114, 125, 128, 255])
def test_unknown_types_keep_their_address(kind: int) -> None:
    (row,) = said(f.apci_i(0, 0, f.asdu(kind, 3, 2, [(77, b"\1\2\3")])))
    assert (row.kind, row.point, row.points, row.flags) == (kind, 2 << 24 | 77, [], 0)


def test_data_unit_identifier() -> None:
    rows = said(
        f.apci_i(32767, 32767, f.asdu(45, 6, 0xFFFF, [(1, b"\1")], test=True, negative=True)),
        f.apci_i(0, 0, f.asdu(1, 63, 0, [(0, b"\0")])),
        f.apci_i(0, 0, f.asdu(1, 3, 1, [], count=0)),
        f.apci_i(0, 0, f.asdu(1, 3, 1, [(5, b"\1")], count=127)),
    )
    assert rows[0].flags == Flag.TEST | Flag.NEGATIVE | Flag.BROADCAST
    assert (rows[0].seq, rows[0].state) == (32767, 32767)
    assert (rows[1].cause, rows[1].point) == (63, 0)
    assert (rows[2].flags, rows[2].point, rows[2].count) == (Flag.MALFORMED, -1, 0)
    assert (rows[3].flags, rows[3].count, len(rows[3].points)) == (Flag.MALFORMED, 127, 1)


def test_addresses_of_a_sequence_wrap() -> None:
    (row,) = said(f.apci_i(0, 0, f.asdu(1, 20, 1, [(0xFFFFFF, b"\1"), (0, b"\0")], sq=True)))
    assert [point.point for point in row.points] == [1 << 24 | 0xFFFFFF, 1 << 24]


@pytest.mark.parametrize("function", [1, 2, 4, 8, 16, 32, 0, 63])
def test_u_format(function: int) -> None:
    (row,) = said(f.apci_u(function), side=0)
    assert (row.kind, row.role, row.size, row.flags) == (512 + function, CLIENT, 6, 0)
    assert (row.seq, row.state, row.point, row.count, row.aux) == (-1, -1, -1, -1, -1)


def test_s_format() -> None:
    (row,) = said(f.apci_s(1234), side=0)
    assert (row.kind, row.state, row.seq, row.flags) == (256, 1234, -1, 0)


@pytest.mark.parametrize("follow", [0, 1, 2, 3, 254, 255])
def test_lengths_outside_the_standard(follow: int) -> None:
    """4 to 253 is legal; what is not has no kind and no points."""
    body = f.asdu(1, 3, 1, [(1, b"\1")], sq=True, count=127).ljust(251, b"\0")
    rows = said(bytes([0x68, follow]) + (b"\0\0\0\0" + body)[:follow], f.apci_u(16))
    assert (rows[0].kind, rows[0].flags, rows[0].points) == (-1, Flag.MALFORMED, [])
    assert rows[0].size == follow + 2
    assert rows[1].kind == 512 + 16


def test_s_and_u_with_a_body_are_malformed() -> None:
    rows = said(
        bytes.fromhex("6805010000000a"), bytes.fromhex("68050700000001"), bytes.fromhex("680400000000")
    )
    assert [row.flags for row in rows] == [Flag.MALFORMED] * 3
    assert [row.kind for row in rows] == [256, 513, -1]


def test_octets_before_an_apdu_are_skipped() -> None:
    rows = said(b"\0\1\2" + f.apci_u(16), b"\x10\x20\x30")
    assert [row.kind for row in rows] == [512 + 16]


ASDUS = st.builds(
    lambda kind, sq, count, ioa, cot, ca, oa, data: (
        bytes([kind, sq << 7 | count, cot, oa, ca & 255, ca >> 8]) + ioa.to_bytes(3, "little") + data
    ),
    st.one_of(st.sampled_from(sorted(TYPES)), st.integers(0, 255)),
    st.booleans(),
    st.integers(0, 127),
    st.integers(0, 2**24 - 1),
    st.integers(0, 255),
    st.integers(0, 65535),
    st.integers(0, 255),
    st.binary(max_size=238),
)
APDUS = st.one_of(
    st.builds(f.apci_i, st.integers(0, 32767), st.integers(0, 32767), ASDUS),
    st.builds(f.apci_s, st.integers(0, 32767)),
    st.builds(f.apci_u, st.integers(0, 63)),
    st.builds(lambda body: bytes([0x68, len(body)]) + body, st.binary(max_size=253)),
)


@given(st.lists(APDUS, min_size=1, max_size=12), st.booleans())
def test_any_apdus(apdus: list[bytes], joined: bool) -> None:
    """Whatever the APDUs hold, kernel and reference agree, one a segment or all in one."""
    rows = said(b"".join(apdus)) if joined else said(*apdus)
    assert len(rows) == len(apdus)


@given(st.binary(min_size=1, max_size=400))
def test_any_octets_on_the_port(octets: bytes) -> None:
    said(octets, f.apci_u(16))
