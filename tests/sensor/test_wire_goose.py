"""GOOSE known frames: every field, every type of entry, nesting, and lengths that lie."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import ANY_POINT, Flag
from tests.lab import frames as f
from tests.reference.rows import PUBLISHER, Message
from tests.reference.run import Shot, decode, shots

GROUP, IED = "01:0c:cd:01:00:01", "00:0c:29:00:00:07"
REF, SET, GOID = "IED7LD0/LLN0$GO$gcb1", "IED7LD0/LLN0$ds", "trip"
T_NS = 1_700_000_000_500_000_000
NAN = math.nan
FIELDS_OF_A_PDU = (
    (0x80, REF.encode()),
    (0x81, b"\x07\xd0"),
    (0x82, SET.encode()),
    (0x83, GOID.encode()),
    (0x84, bytes(8)),
    (0x85, b"\5"),
    (0x86, b"\0"),
    (0x87, b"\0"),
    (0x88, b"\1"),
    (0x89, b"\0"),
    (0x8A, b"\1"),
    (0xAB, b"\x83\1\1"),
)


def pdu(*entries: bytes, sq: int = 0, st_num: int = 5, **more: object) -> bytes:
    return f.goose_pdu(REF, 2000, SET, GOID, T_NS, st_num, sq, entries, **more)  # type: ignore[arg-type]


def frame(body: bytes, **more: object) -> bytes:
    return f.goose_frame(GROUP, IED, 0x3001, body, **more)  # type: ignore[arg-type]


def one(data: bytes) -> Message:
    (row,) = decode([(1, data)])
    return row


def leaves(*entries: bytes) -> list[tuple[int, float, int]]:
    return [(point.kind, point.value, point.quality) for point in one(frame(pdu(*entries))).points]


def test_every_field() -> None:
    row = one(frame(pdu(f.g_bool(True), f.g_dbpos(2), conf_rev=128, sq=300), vlan=7))
    assert (row.proto, row.role, row.src, row.dst) == ("goose", PUBLISHER, IED, GROUP)
    assert row.conv == ("goose", IED, GROUP, 0x3001, REF, 7)
    assert (row.kind, row.cause, row.count, row.seq, row.state, row.aux) == (2, 128, 2, 300, 5, 2000)
    assert (row.point, row.value) == ((REF, ANY_POINT), 1_700_000_000.5)
    assert (row.name, row.ident, row.stream, row.flags) == (SET, GOID, -1, 0)
    assert [point.point for point in row.points] == [(REF, 0), (REF, 1)]
    assert row.size == 8 + len(pdu(f.g_bool(True), f.g_dbpos(2), conf_rev=128, sq=300))


def test_a_change_starts_at_sequence_zero() -> None:
    assert one(frame(pdu(sq=0))).kind == 1
    assert one(frame(pdu(sq=1))).kind == 2


@pytest.mark.parametrize(
    ("body", "outer", "flag"),
    [
        (pdu(simulation=True), False, Flag.TEST),
        (pdu(), True, Flag.TEST),
        (pdu(nds_com=True), False, Flag.COMMISSIONING),
        (pdu(), False, Flag(0)),
    ],
)
def test_flags(body: bytes, outer: bool, flag: Flag) -> None:
    assert one(frame(body, simulation=outer)).flags == flag


@pytest.mark.parametrize(
    ("entry", "tag", "value", "quality"),
    [
        (f.g_bool(True), 0x83, 1.0, -1),
        (f.g_bool(False), 0x83, 0.0, -1),
        (f.ber(0x83, b"\xff"), 0x83, 1.0, -1),
        (f.ber(0x83, b""), 0x83, NAN, -1),
        (f.ber(0x83, b"\0\1"), 0x83, NAN, -1),
        (f.g_bits("10"), 0x84, 2.0, -1),
        (f.g_dbpos(1), 0x84, 1.0, -1),
        (f.g_quality(test=True), 0x84, 2.0, -1),
        (f.g_quality(invalid=True), 0x84, float(1 << 11), -1),
        (f.g_bits("1" * 48), 0x84, float(2**48 - 1), -1),
        (f.g_bits("1" * 49), 0x84, NAN, -1),
        (f.g_bits(""), 0x84, NAN, -1),
        (f.ber(0x84, b"\x08\xff"), 0x84, NAN, -1),
        (f.g_int(0), 0x85, 0.0, -1),
        (f.g_int(-1), 0x85, -1.0, -1),
        (f.g_int(-(2**63)), 0x85, -(2.0**63), -1),
        (f.g_int(127), 0x85, 127.0, -1),
        (f.g_int(128), 0x85, 128.0, -1),
        (f.ber(0x85, b""), 0x85, NAN, -1),
        (f.ber(0x85, bytes(9)), 0x85, NAN, -1),
        (f.g_uint(255), 0x86, 255.0, -1),
        (f.g_uint(2**63), 0x86, 2.0**63, -1),
        (f.g_uint(2**64 - 1), 0x86, 2.0**64, -1),
        (f.ber(0x86, b"\xff" * 8), 0x86, 2.0**64, -1),
        (f.ber(0x86, b"\x01" + bytes(8)), 0x86, NAN, -1),
        (f.ber(0x86, b""), 0x86, NAN, -1),
        (f.g_float(-1.5), 0x87, -1.5, -1),
        (f.g_float(math.inf), 0x87, math.inf, -1),
        (f.ber(0x87, b"\x0b" + struct.pack("!d", 1e100)), 0x87, 1e100, -1),
        (f.ber(0x87, b"\x09" + bytes(4)), 0x87, NAN, -1),
        (f.ber(0x87, b"\x08"), 0x87, NAN, -1),
        (f.g_octets(b"\1\2"), 0x89, NAN, -1),
        (f.g_text("open"), 0x8A, NAN, -1),
        (f.ber(0x8C, bytes(6)), 0x8C, NAN, -1),
        (f.g_time(T_NS, 0x8A), 0x91, 1_700_000_000.5, 0x8A),
        (f.ber(0x91, bytes(7)), 0x91, NAN, -1),
        (f.ber(0x90, "\u00fc".encode()), 0x90, NAN, -1),
        (f.ber(0x99, b"?"), 0x99, NAN, -1),
    ],
)
def test_entry(entry: bytes, tag: int, value: float, quality: int) -> None:
    ((found, number, octet),) = leaves(entry)
    assert (found, octet) == (tag, quality)
    assert number == value or (math.isnan(number) and math.isnan(value))


def test_structures_and_arrays_are_walked_depth_first() -> None:
    inner = f.g_struct([f.g_int(2), f.g_array([f.g_int(3), f.g_struct([]), f.g_int(4)])])
    assert [value for _, value, _ in leaves(f.g_int(1), inner, f.g_int(5))] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("depth", "flags"), [(16, 0), (17, Flag.MALFORMED)])
def test_nesting_is_bounded(depth: int, flags: int) -> None:
    entry = f.g_int(9)
    for _ in range(depth):
        entry = f.g_struct([entry])
    row = one(frame(pdu(f.g_int(1), entry)))
    assert row.flags == flags
    assert [point.value for point in row.points] == ([1.0, 9.0] if not flags else [1.0])


def test_entries_are_bounded() -> None:
    row = one(frame(pdu(*[f.ber(0x83, b"")] * 4097)))
    assert len(row.points) == 4096
    assert row.flags == Flag.MALFORMED
    assert one(frame(pdu(*[f.ber(0x83, b"")] * 4096))).flags == 0


def test_counters_that_no_integer_holds_are_absent() -> None:
    """BER lets a sender write any number of octets; -1 is absent, and never a false value."""
    for octets in (b"", b"\xff" * 8, b"\x80" + bytes(7), b"\x01" + bytes(8), bytes(10)):
        body = b"".join(f.ber(tag, octets) for tag in (0x81, 0x85, 0x86, 0x88, 0x8A))
        row = one(frame(f.ber(0x61, f.ber(0x80, b"x") + body)))
        assert (row.aux, row.state, row.seq, row.cause, row.count, row.kind) == (-1, -1, -1, -1, -1, -1)
    body = b"".join(f.ber(tag, b"\x00" + b"\x7f" + b"\xff" * 7) for tag in (0x81, 0x85, 0x86, 0x88, 0x8A))
    row = one(frame(f.ber(0x61, body)))
    assert (row.aux, row.state, row.seq) == (2**63 - 1, 2**63 - 1, 2**63 - 1)
    assert (row.cause, row.count) == (2**31 - 1, 2**31 - 1)


def test_absent_fields_are_absent() -> None:
    row = one(frame(f.ber(0x61, b"")))
    assert (row.kind, row.cause, row.point, row.count, row.seq, row.state, row.aux) == (-1,) * 7
    assert math.isnan(row.value)
    assert (row.name, row.ident, row.flags) == ("", "", Flag.MALFORMED)


@pytest.mark.parametrize("missing", range(12))
def test_fields_that_a_pdu_must_have(missing: int) -> None:
    """All but goID, simulation and ndsCom (IEC 61850-8-1:2011 annex A)."""
    fields = [f.ber(tag, contents) for tag, contents in FIELDS_OF_A_PDU]
    row = one(frame(f.ber(0x61, b"".join(fields[:missing] + fields[missing + 1 :]))))
    assert row.flags == (0 if missing in (3, 7, 9) else Flag.MALFORMED)
    assert row.count == (-1 if missing == 10 else 1)


def test_long_form_lengths() -> None:
    """Lengths of 1 to 4 octets are read, longer and indefinite ones refused."""
    text = b"R" * 200
    others = b"".join(f.ber(tag, contents) for tag, contents in FIELDS_OF_A_PDU if tag not in (0x80, 0x8A))
    for form, flags in (
        (b"\x81\xc8", 0),
        (b"\x82\x00\xc8", 0),
        (b"\x83\x00\x00\xc8", 0),
        (b"\x84\x00\x00\x00\xc8", 0),
        (b"\x85\x00\x00\x00\x00\xc8", Flag.MALFORMED),
        (b"\x80", Flag.MALFORMED),
    ):
        row = one(frame(f.ber(0x61, b"\x8a\x01\x03" + b"\x80" + form + text + others)))
        assert row.flags == flags
        assert row.point == ((text.decode(), ANY_POINT) if not flags else -1)
        assert row.count == 3


@pytest.mark.parametrize("lie", [0, 7, 9, 10, 60, 500, 65535])
def test_outer_length_that_lies(lie: int) -> None:
    decode([(1, frame(pdu(f.g_int(1)), length=lie))])


def test_pdu_shorter_or_longer_than_its_frame() -> None:
    body = pdu(f.g_int(1))
    assert one(frame(body + b"\0\0", length=10 + len(body))).flags == Flag.MALFORMED
    longer = bytes([body[0], body[1], body[2] + 1]) + body[3:] if body[1] & 0x80 else None
    if longer:
        assert one(frame(longer)).flags == Flag.MALFORMED


def test_goose_management_is_not_a_message() -> None:
    (row,) = decode([(1, frame(f.ber(0x62, b"\1")))])
    assert (row.proto, row.kind) == ("ethernet", 0x88B8)


def test_hostile_texts_are_escaped() -> None:
    body = f.ber(0x61, f.ber(0x80, b"\x1b[2J<script>\xff\x00") + f.ber(0x83, "\u202e".encode()))
    row = one(frame(body))
    assert row.point == ("\\x1b[2J<script>\\xff\\x00", ANY_POINT)
    assert row.ident == "\\u202e"


def test_snap_length_at_every_octet() -> None:
    """A frame cut by the capture is truncated, not malformed, and keeps the fields before the cut."""
    whole = frame(pdu(f.g_int(1), f.g_struct([f.g_bool(True), f.g_float(2.0)])), vlan=3)
    last = -1
    for snaplen in range(len(whole)):
        for row in decode(shots([(1, whole)], snaplen)):
            if row.proto == "goose":
                assert row.flags == Flag.TRUNCATED
                assert row.size in (0, len(whole) - 18), "what was sent, not what was captured"
                assert (row.count >= 0) >= (last >= 0), "a longer capture never tells less"
                last = row.count
    assert last == 2


def test_a_short_frame_is_malformed() -> None:
    """Cut by its sender: the capture holds all of it."""
    whole = frame(pdu(f.g_int(1)), vlan=3)
    flags = {
        row.flags for size in range(len(whole)) for row in decode([(1, whole[:size])]) if row.proto == "goose"
    }
    assert flags == {Flag.MALFORMED}


LEAF_TAGS = (0x83, 0x84, 0x85, 0x86, 0x87, 0x89, 0x8A, 0x8C, 0x91)
ENTRIES = st.recursive(
    st.builds(f.ber, st.sampled_from(LEAF_TAGS), st.binary(max_size=10)),
    lambda inner: st.builds(f.ber, st.sampled_from([0xA1, 0xA2]), st.lists(inner, max_size=4).map(b"".join)),
    max_leaves=12,
)  # fmt: skip
FIELDS = st.builds(f.ber, st.integers(0x80, 0x8F), st.binary(max_size=20))


@given(
    st.lists(ENTRIES, max_size=6),
    st.lists(FIELDS, max_size=16),
    st.booleans(),
    st.integers(-2, 2),
)
def test_any_pdu(entries: list[bytes], fields: list[bytes], simulated: bool, lie: int) -> None:
    body = f.ber(0x61, b"".join(fields) + f.ber(0xAB, b"".join(entries)) + b"".join(fields[:2]))
    decode([(1, frame(body, simulation=simulated, length=8 + len(body) + lie))])


@given(st.binary(max_size=120), st.integers(0, 130))
def test_any_octets_behind_the_ethertype(octets: bytes, length: int) -> None:
    head = struct.pack("!HHHH", 1, length, 0, 0)
    decode([Shot(1, f.eth(GROUP, IED, f.ETH_GOOSE, head + b"\x61" + octets))])
