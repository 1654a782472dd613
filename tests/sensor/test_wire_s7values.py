"""S7comm values: every type, arrays of BYTE, several items, pairing, damage; against a slow reading."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.s7words import s7_words
from sensor.track.s7values import MAX_ITEMS
from tests.lab import frames as f
from tests.lab import iso as i
from tests.reference.run import Native, shots
from tests.reference.s7values import Item, data_items, values

HMI, PLC = "10.0.0.1", "10.0.0.2"
BITS = (3, 4, 5)


def data_item(data: bytes, size: int = 4, code: int = 0xFF) -> bytes:
    """A data item, padded to an even number of octets."""
    length = 8 * len(data) if size in BITS else len(data)
    return struct.pack("!BBH", code, size, length) + data + b"\0" * (len(data) % 2)


def job(ref: int, *items: Item, function: int = 4, data: bytes = b"") -> bytes:
    return i.s7(1, ref, i.s7_items(function, *(item.octets() for item in items)), data)


def answer(ref: int, count: int, data: bytes) -> bytes:
    return i.s7(3, ref, bytes([4, count]), data)


def told(*sent: tuple[int, bytes], snaplen: int = 1 << 20) -> list[list[tuple[str, float]]]:
    """Points of each S7comm message, in words; 0 the client sends."""
    talk = f.Talk(HMI, PLC, 102)
    talk.open(0)
    for number, (side, octets) in enumerate(sent, 1):
        (talk.server if side else talk.client)(number, octets)
    native = Native()
    rows = [row for row in native.feed(shots(talk.frames, snaplen)) if row.proto == "s7comm"]
    proto = native.names.protocol_id("s7comm")
    return [[(native.names.point(proto, p.point), p.value) for p in row.points] for row in rows]


@pytest.mark.parametrize(
    ("item", "octets", "expected"),
    [
        (Item(1, 1, 12, 0x84, 0x53), "01", [("DB12.DBX10.3", 1.0)]),
        (Item(1, 1, 0, 0x82, 7), "fe", [("QX0.7", 0.0)]),
        (Item(4, 2, 0, 0x83, 32), "fffe0001", [("MW4 (WORD)", 65534), ("MW6 (WORD)", 1)]),
        (Item(5, 1, 1, 0x84, 0), "fffe", [("DB1.DBW0 (INT)", -2)]),
        (Item(6, 1, 1, 0x84, 64), "fffffffe", [("DB1.DBD8 (DWORD)", 4294967294)]),
        (Item(7, 1, 1, 0x84, 64), "fffffffe", [("DB1.DBD8 (DINT)", -2)]),
        (Item(8, 1, 1, 0x84, 96), "42700000", [("DB1.DBD12 (REAL)", 60.0)]),
        (Item(11, 1, 1, 0x84, 96), "000003e8", [("DB1.DBD12 (TIME)", 1000)]),
        (Item(28, 2, 0, 0x1C, 5), "01000200", [("C5", 256), ("C6", 512)]),
        (Item(29, 1, 0, 0x1D, 3), "2010", [("T3", 8208)]),
        (Item(2, 1, 0, 0x81, 8), "0a", [("IB1", 10)]),
        (Item(2, 3, 0, 0x81, 8), "0afffe", [("IB1", 10), ("IW2 (bytes)", -2)]),
        (Item(2, 4, 1, 0x84, 96), "42700000",
         [("DB1.DBW12 (bytes)", 17008), ("DB1.DBD12 (bytes as REAL)", 60.0), ("DB1.DBW14 (bytes)", 0)]),
        (Item(2, 4, 1, 0x84, 96), "00000001", [("DB1.DBW12 (bytes)", 0), ("DB1.DBW14 (bytes)", 1)]),
        (Item(15, 1, 1, 0x84, 0), "0102030405060708", []),  # a date, which has no number
        (Item(4, 1, 1, 0x99, 0), "0001", []),  # an area nobody knows
        (Item(4, 1, 1, 0x84, 1 << 19), "0001", []),  # beyond 64 KiB
    ],
)  # fmt: skip
def test_types(item: Item, octets: str, expected: list[tuple[str, float]]) -> None:
    data = data_item(bytes.fromhex(octets), 3 if item.size == 1 else 4)
    read, got, written = told(
        (0, job(1, item)), (1, answer(1, 1, data)), (0, job(2, item, function=5, data=data))
    )
    assert not read
    assert got == written == expected


def test_lengths_are_bits_or_octets() -> None:
    items = [Item(8, 1, 1, 0x84, 0), Item(1, 1, 1, 0x84, 64), Item(2, 2, 1, 0x84, 72), Item(5, 1, 0, 0x83, 0)]
    data = (
        data_item(b"\x42\x70\0\0", 7)
        + b"\xff\3\0\1\1\0"  # one bit, and an octet to fill up
        + data_item(b"\7\x08", 9)
        + data_item(b"\0\5", 5)
    )
    _, got = told((0, job(1, *items)), (1, answer(1, 4, data)))
    assert got == [
        ("DB1.DBD0 (REAL)", 60.0),
        ("DB1.DBX8.0", 1.0),
        ("DB1.DBB9", 7),
        ("DB1.DBB10", 8),
        ("MW0 (INT)", 5),
    ]


def test_an_item_that_failed_has_no_value_and_others_have_theirs() -> None:
    items = [Item(4, 1, 9, 0x84, 0), Item(4, 1, 1, 0x84, 16)]
    _, got = told((0, job(1, *items)), (1, answer(1, 2, b"\x0a\0\0\0" + data_item(b"\0\7"))))
    assert got == [("DB1.DBW2 (WORD)", 7)]


def test_an_item_without_plain_address_keeps_the_place_of_the_next() -> None:
    parameters = i.s7_items(4, b"\x12\x04\x99\0\0\0", Item(4, 1, 1, 0x84, 0).octets())
    _, got = told((0, i.s7(1, 1, parameters)), (1, answer(1, 2, data_item(b"\1\2\3\4") + data_item(b"\0\7"))))
    assert got == [("DB1.DBW0 (WORD)", 7)]


def test_an_answer_is_read_with_its_own_job() -> None:
    level, other = Item(8, 1, 1, 0x84, 0), Item(4, 2, 2, 0x84, 0)
    sent = [(0, job(1, level)), (0, job(2, other)), (1, answer(2, 1, data_item(b"\0\1\0\2")))]
    sent += [(1, answer(1, 1, data_item(b"\x42\x70\0\0", 7))), (1, answer(3, 1, data_item(b"\0\1")))]
    assert told(*sent)[2:] == [
        [("DB2.DBW0 (WORD)", 1), ("DB2.DBW2 (WORD)", 2)],
        [("DB1.DBD0 (REAL)", 60.0)],
        [],
    ]


def test_a_reference_that_comes_again_forgets_the_items_of_the_last_job() -> None:
    """The second job asks for less: what the answer has beyond it stands under no old address."""
    both = data_item(b"\0\1") + data_item(b"\0\2")
    first, second = [Item(4, 1, 1, 0x84, 0), Item(4, 1, 7, 0x84, 0)], [Item(4, 1, 2, 0x84, 0)]
    got = told((0, job(1, *first)), (1, answer(1, 2, both)), (0, job(1, *second)), (1, answer(1, 2, both)))
    assert got[1] == [("DB1.DBW0 (WORD)", 1), ("DB7.DBW0 (WORD)", 2)]
    assert got[3] == [("DB2.DBW0 (WORD)", 1)]


def test_items_beyond_the_bound_have_no_values() -> None:
    count = MAX_ITEMS + 4
    items = [Item(4, 1, 1, 0x84, 16 * n) for n in range(count)]
    _, got = told((0, job(1, *items)), (1, answer(1, count, data_item(b"\0\1") * count)))
    assert len(got) == MAX_ITEMS


@pytest.mark.parametrize("cut", range(1, 12))
def test_data_that_ends_early(cut: int) -> None:
    """Lengths of the header say so too, so that the message is whole and its data are not."""
    data = (data_item(b"\0\7") + data_item(b"\0\x08"))[:-cut]
    items = [Item(4, 1, 1, 0x84, 0), Item(4, 1, 1, 0x84, 16)]
    _, got = told((0, job(1, *items)), (1, answer(1, 2, data)))
    assert got == ([("DB1.DBW0 (WORD)", 7)] if cut <= 6 else [])


def test_what_the_capture_cut_has_no_values() -> None:
    sent = (0, job(1, Item(2, 100, 1, 0x84, 0))), (1, answer(1, 1, data_item(bytes(100))))
    assert not any(told(*sent, snaplen=120))


def test_words_of_impossible_codes() -> None:
    assert s7_words((15 << 40) | (31 << 35)) == "area 31 D0 (bytes as REAL)"


sizes = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 28, 29, 30, 77])
areas = st.sampled_from([0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x88, 0x1C, 0x1D, 3, 5, 6, 7, 4, 0x90])
items = st.builds(
    Item, sizes, st.integers(0, 9), st.integers(0, 65_535), areas, st.integers(0, (1 << 19) + 64)
)
codes = st.sampled_from([0xFF, 0xFF, 0xFF, 0, 5, 10])
contents = st.tuples(codes, st.sampled_from([0, 3, 4, 5, 6, 7, 9]), st.binary(max_size=40))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(items, contents), min_size=1, max_size=5), st.integers(0, 8))
def test_any_items_against_the_slow_reading(
    asked: list[tuple[Item, tuple[int, int, bytes]]], lost: int
) -> None:
    data = b"".join(
        struct.pack("!BBH", code, size, 8 * len(own) if size in BITS else len(own))
        + (own + b"\0" * (len(own) % 2) if code in (0, 0xFF) else b"")
        for _, (code, size, own) in asked
    )
    data = data[: max(0, len(data) - lost)]
    wanted = [item for item, _ in asked]
    pairs = list(zip(wanted, data_items(data, len(wanted)), strict=False))
    read = [value for item, (code, own) in pairs if code == 0xFF for value in values(item, own)]
    written = [value for item, (_, own) in pairs for value in values(item, own)]
    got = told(
        (0, job(1, *wanted)),
        (1, answer(1, len(wanted), data)),
        (0, job(2, *wanted, function=5, data=data)),
    )
    assert same(got[1], read)
    assert same(got[2], written)


def same(ours: list[tuple[str, float]], theirs: list[tuple[str, float]]) -> bool:
    """Equal; NaN like NaN."""
    return len(ours) == len(theirs) and all(
        a == c and (b == d or (b != b and d != d)) for (a, b), (c, d) in zip(ours, theirs, strict=True)
    )
