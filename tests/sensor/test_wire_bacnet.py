"""BACnet/IP known messages of every layer, every cut, values and what contradicts the standard."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from tests.lab import bacnet as b
from tests.lab import frames as f
from tests.reference.rows import CLIENT, PEER, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD, NO = Flag.MALFORMED, Flag.NEGATIVE
HMI, PLC = "10.0.0.1", "10.0.0.2"
AI1 = b.reference(b.ANALOG_INPUT, 1)
NAME = b.tag(7, b.text("Pump 1"), True)


class Told(Message):
    """A message with the names of its points."""

    told: list[tuple[str, int, float]]


def rows_of(*sent: tuple[int, bytes], port: int = 47808, snaplen: int = 1 << 20) -> list[Told]:
    """BACnet messages of datagrams; each with the side that sends it (0 the one that asks)."""
    frames = []
    for number, (side, data) in enumerate(sent, 1):
        ends = (HMI, PLC, port, 47808) if side == 0 else (PLC, HMI, 47808, port)
        frames.append((number * S, f.udp_frame(*ends, data)))
    native = Native()
    rows = [row for row in native.feed(shots(frames, snaplen)) if row.proto == "bacnet"]
    for row in rows:
        row.told = [(native.names.text(p.point), p.kind, p.value) for p in row.points]  # type: ignore[attr-defined,arg-type]
        row.point = native.names.text(row.point) if row.point != -1 else ""  # type: ignore[assignment,arg-type]
    return rows  # type: ignore[return-value]


def one(apdu: bytes, side: int = 0) -> Told:
    """The only message of a unicast APDU."""
    (row,) = rows_of((side, b.unicast(apdu)))
    return row


def test_read_and_write() -> None:
    rows = rows_of(
        (0, b.unicast(b.ask(b.READ, AI1))),
        (1, b.unicast(b.answer(b.READ, AI1 + b.wrap(3, b.real(21.5))))),
        (0, b.unicast(b.ask(b.WRITE, b.reference(1, 2) + b.wrap(3, b.real(3.0)) + b.tag(4, b"\x08"), 6))),
        (1, b.unicast(b.done(b.WRITE, 6))),
        (1, b.unicast(b.error(b.WRITE, 2, 40, 7))),
        (1, b.unicast(bytes([0x60, 8, 9]))),
        (1, b.unicast(bytes([0x71, 9, 4]))),
        (0, b.unicast(bytes([0x40, 10, 1, 2]))),
    )
    seen = [(r.role, r.kind, r.seq, r.point, r.cause, r.aux, r.flags) for r in rows]
    assert seen == [
        (CLIENT, 12, 5, "0/1/85", -1, -1, 0),
        (SERVER, 780, 5, "0/1/85", -1, -1, 0),
        (CLIENT, 15, 6, "1/2/85", -1, -1, 0),
        (SERVER, 527, 6, "", -1, -1, 0),
        (SERVER, 1295, 7, "", 40, 2, NO),
        (SERVER, 1536, 8, "", 9, -1, NO),
        (SERVER, 1792, 9, "", 4, -1, NO),
        (PEER, 1024, 10, "", -1, -1, 0),
    ]
    assert [row.value for row in rows[1:3]] == [21.5, 3.0]
    assert [row.told for row in rows[1:3]] == [[("0/1/85", 4, 21.5)], [("1/2/85", 4, 3.0)]]
    assert {row.conv for row in rows[:-1]} == {("bacnet", HMI, PLC, 47808, "", 0)}
    assert all(row.size == len(b.unicast(b.ask(b.READ, AI1))) for row in rows[:1])


def test_priority_of_a_write() -> None:
    """Tag 4 of writeProperty, tag 3 of each property of writePropertyMultiple; the highest counts."""

    def write(*more: bytes) -> int:
        return one(b.ask(b.WRITE, AI1 + b.wrap(3, b.real(1.0)) + b"".join(more))).state

    def properties(*priorities: bytes) -> int:
        each = [b.tag(0, b"\x55") + b.wrap(2, b.real(1.0)) + priority for priority in priorities]
        return one(b.ask(16, b.tag(0, b.oid(1, 2)) + b.wrap(1, *each))).state

    assert [write(), write(b.tag(4, b"\x08")), write(b.tag(4, b"\x01"))] == [-1, 8, 1]
    assert [write(b.tag(4, b"\x00")), write(b.tag(4, b"\x11")), write(b.tag(4, b""))] == [-1, -1, -1]
    assert [properties(b""), properties(b.tag(3, b"\x0a"), b.tag(3, b"\x02"), b"")] == [-1, 2]
    read = b.ask(b.READ, AI1 + b.tag(4, b"\x01"))
    assert [one(read).state, one(b.answer(b.WRITE, AI1 + b.tag(4, b"\x01")), 1).state] == [-1, -1]


EVENT = b.tag(0, b"\1") + b.tag(1, b.oid(8, 77)) + b.tag(2, b.oid(0, 4))
SERVICES = [
    (b.ask(0, b.tag(0, b"\1") + b.tag(1, b.oid(0, 4))), "0/4"),
    (b.ask(1, b.changes(77, 0, 4, b.real(1.0))), "0/4"),
    (b.ask(2, EVENT + b.wrap(3, b.tag(1, b"\1"))), "0/4"),
    (b.ask(5, b.tag(0, b"\1") + b.tag(1, b.oid(0, 4)) + b.tag(2, b"\1")), "0/4"),
    (b.ask(6, b.tag(12, b.oid(10, 1), True) + b.wrap(0, b.tag(3, b"\0", True))), "10/1"),
    (b.ask(7, b.tag(12, b.oid(10, 1), True) + b.wrap(0, b.tag(6, b"data", True))), "10/1"),
    (b.ask(8, b.reference(15, 1, 102) + b.wrap(3)), "15/1/102"),
    (b.ask(9, b.reference(15, 1, 102) + b.wrap(3)), "15/1/102"),
    (b.ask(10, b.wrap(0, b.tag(1, b.oid(2, 9)))), "2/9"),
    (b.ask(10, b.wrap(0, b.tag(0, b"\2"))), ""),
    (b.ask(11, b.tag(12, b.oid(2, 9), True)), "2/9"),
    (b.ask(14, b.tag(0, b.oid(0, 1)) + b.wrap(1, b.tag(0, b"\x6f")) + b.tag(0, b.oid(0, 2))), "0/1/111"),
    (b.ask(16, b.tag(0, b.oid(1, 2)) + b.wrap(1, b.tag(0, b"\x55"), b.wrap(2, b.real(1.0)))), "1/2/85"),
    (b.ask(17, b.tag(1, b"\1") + b.tag(2, b.text("secret"))), ""),
    (b.ask(18, b.tag(0, b"\x0f") + b.tag(1, b"\0\0\0\1")), ""),
    (b.ask(19, b.tag(0, b.oid(8, 1)) + b.tag(3, b.text("hi"))), "8/1"),
    (b.ask(20, b.tag(0, b"\1")), ""),
    (b.ask(26, b.reference(20, 1, 131)), "20/1/131"),
    (b.ask(27, b.tag(0, b"\1") + b.tag(1, b.text("me")) + b.tag(2, b"\1") + b.tag(3, b.oid(21, 1))), "21/1"),
    (b.ask(28, b.tag(0, b"\1") + b.tag(1, b.oid(0, 4)) + b.wrap(4, b.tag(0, b"\x55"))), "0/4/85"),
    (b.ask(29), ""),
    (b.tell(0, b.tag(12, b.oid(8, 77), True) + b.tag(2, b"\x05\xc4", True)), "8/77"),
    (b.tell(1, b.tag(12, b.oid(8, 77), True) + b.tag(12, b.oid(2, 3), True) + NAME), "8/77"),
    (b.tell(2, b.changes(77, 0, 4, b.real(1.0))), "0/4"),
    (b.tell(3, EVENT), "0/4"),
    (b.tell(6, b"\xa4\x7e\1\1\1\xb4\1\2\3\4"), ""),
    (b.tell(7, b.tag(2, b.oid(2, 3))), "2/3"),
    (b.tell(8, b.tag(0, b"\1") + b.tag(1, b"\5")), ""),
    (b.tell(8), ""),
    (b.answer(3, b.tag(12, b.oid(0, 4), True) + b.tag(9, b"\3", True)), "0/4"),
    (b.answer(10, b.tag(12, b.oid(2, 9), True)), "2/9"),
    (b.answer(29, b.wrap(0, b.tag(0, b.oid(0, 4))) + b.tag(1, b"\0")), "0/4"),
    (b.answer(26, b.reference(20, 1, 131) + b.wrap(5, b.real(1.0))), "20/1/131"),
    (b.ask(12, b.reference(0, 4194303, 512, 70000)), "0/4194303/512"),
]


@pytest.mark.parametrize("case", SERVICES, ids=lambda case: case[0][:4].hex())
def test_first_object(case: tuple[bytes, str]) -> None:
    apdu, name = case
    row = one(apdu)
    assert (row.point, row.flags) == (name, 0)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b.tag(2, b"\x07", True), 7),
        (b.tag(2, b"\xff\xff\xff\xff", True), 2**32 - 1),
        (b.tag(3, b"\xff", True), -1),
        (b.tag(3, b"\x80\x00", True), -32768),
        (b.tag(5, struct.pack("!d", 2.25), True), 2.25),
        (b"\x11", 1),
        (b"\x10", 0),
        (b.tag(9, b"\x03", True), 3),
        (b"\x00", math.nan),
        (NAME, math.nan),
        (b.tag(8, b"\x04\x00", True), math.nan),
        (b.tag(4, b"\0\0", True), math.nan),
        (b.tag(2, b"", True), math.nan),
        (b"", math.nan),
    ],
)
def test_values(value: bytes, number: float) -> None:
    row = one(b.answer(12, AI1 + b.wrap(3, value)), 1)
    assert row.value == number or (math.isnan(row.value) and math.isnan(number))
    assert [p[2] for p in row.told] == ([] if math.isnan(number) else [number])
    assert not row.flags & BAD


def test_many_properties() -> None:
    body = b.tag(0, b.oid(0, 1)) + b.wrap(
        1, b.tag(2, b"\x55"), b.wrap(4, b.real(1.5)), b.tag(2, b"\x4d"), b.wrap(4, NAME)
    )
    body += b.tag(0, b.oid(1, 2)) + b.wrap(
        1,
        *(b.tag(2, b"\x57"), b.tag(3, b"\x08"), b.wrap(4, b.real(2.5))),
        *(b.tag(2, b"\x55"), b.wrap(5, b.tag(9, b"\2", True), b.tag(9, b"\x20", True))),
    )
    row = one(b.answer(14, body), 1)
    assert (row.point, row.name, row.value, row.cause, row.aux) == ("0/1/85", "Pump 1", 1.5, 32, 2)
    assert row.told == [("0/1/85", 4, 1.5), ("1/2/87/8", 4, 2.5)]
    report = one(b.tell(2, b.changes(77, 0, 4, b.real(8.5))), 1)
    assert (report.value, report.told) == (8.5, [("0/4/85", 4, 8.5)])


@pytest.mark.parametrize(("charset", "name"), [(0, "Kühler °C"), (4, "Kühler €"), (5, "Kühler")])
def test_names(charset: int, name: str) -> None:
    assert one(b.tell(7, b.tag(3, b.text(name, charset)))).name == name
    value = b.wrap(3, b.tag(7, b.text(name, charset), True))
    assert one(b.answer(12, b.reference(8, 1, 77) + value)).name == name


def test_link_and_network_messages() -> None:
    table = b"\x0a\0\0\1\xba\xc0\xff\xff\xff\xff"
    sent = [
        (0, b.bvlc(0, b"\0\0")),
        (0, b.bvlc(0, b"\0\x30")),
        (0, b.bvlc(1, table * 2)),
        (0, b.bvlc(2, b"")),
        (0, b.bvlc(5, b"\0\x3c")),
        (0, b.bvlc(8, table[:6])),
        (0, b.bvlc(4, table[:6] + b"\x01\x00" + b.tell(8))),
        (0, b.bvlc(9, b"\x01\x00" + b.tell(8))),
        (0, b.broadcast(b.tell(8))),
        (0, b.network(0)),
        (0, b.network(0x12)),
        (0, b.unicast(b.ask(12, AI1), 0x2C, b"\0\5\1\x09" + b"\0\6\1\x08" + b"\xfe")),
    ]
    rows = rows_of(*sent)
    assert [(r.role, r.kind, r.cause, r.size, r.flags) for r in rows] == [
        (PEER, 131072, 0, 6, 0),
        (PEER, 131072, 48, 6, NO),
        (PEER, 131073, -1, 24, 0),
        (PEER, 131074, -1, 4, 0),
        (PEER, 131077, -1, 6, 0),
        (PEER, 131080, -1, 10, 0),
        (PEER, 264, -1, 14, 0),
        (PEER, 264, -1, 8, 0),
        (PEER, 264, -1, 12, 0),
        (PEER, 65536, -1, 7, 0),
        (PEER, 65554, -1, 7, 0),
        (CLIENT, 12, -1, 26, 0),
    ]
    assert rows[-1].point == "0/1/85"


def test_segments_of_a_message() -> None:
    """The first one names the object; the others go on where it ended."""
    first = (
        bytes([0x3C, 5, 0, 4, 14])
        + b.tag(0, b.oid(0, 1))
        + b.wrap(1, b.tag(2, b"\x55"), b.wrap(4, b.real(2.0)))
    )
    rows = rows_of((1, b.unicast(first)), (1, b.unicast(bytes([0x38, 5, 1, 4, 14]) + b"\x2a\x2b")))
    assert [(r.kind, r.seq, r.point, r.flags) for r in rows] == [(782, 5, "0/1/85", 0), (782, 5, "", 0)]


def test_a_segment_that_ends_within_a_value() -> None:
    """Segments are cut at any octet (5.2): no fault of the first, and one of a message that is alone."""
    body = b.tag(0, b.oid(0, 1)) + b.wrap(1, b.tag(2, b"\x55"), b.wrap(4, b.real(2.0)))
    for size in range(8, len(body)):
        for head, flags in ((bytes([0x3C, 5, 0, 4, 14]), {0}), (bytes([0x30, 5, 14]), {0, Flag.MALFORMED})):
            (row,) = rows_of((1, b.unicast(head + body[:size])))
            assert (row.kind, row.point[:3]) == (782, "0/1")
            assert row.flags in flags
    assert row.flags == Flag.MALFORMED


@pytest.mark.parametrize("case", SERVICES, ids=lambda case: case[0][:4].hex())
def test_every_cut(case: tuple[bytes, str]) -> None:
    """Headers that end early are malformed, as are tags; lengths that lie are."""
    apdu, name = case
    rows = rows_of(*((0, b.unicast(apdu[:size])) for size in range(len(apdu))))
    assert len(rows) == len(apdu)
    head = 2 if apdu[0] == 0x10 else 4 if apdu[0] == 0 else 3
    for size, row in enumerate(rows):
        if size < head:
            assert row.flags & BAD
        assert name.startswith(str(row.point))


@pytest.mark.parametrize(
    "data",
    [
        b.bvlc(10, b""),
        b.bvlc(10, b"\x01"),
        b.unicast(b""),
        b.unicast(b.ask(12, AI1), version=2),
        b.unicast(bytes([0x80, 1, 2])),
        b.unicast(b.ask(12, AI1[:-1])),
        b.unicast(b.ask(12, AI1 + b"\x3e")),
        b.unicast(b.ask(12, AI1 + b"\x3f")),
        b.unicast(b.ask(12, b"\x3e" * 60 + b"\x3f" * 60)),
        b.unicast(b.ask(12, b"\xfd")),
        b.unicast(b.ask(12, b"\x0d\xff\xff\xff\xff\xff")),
        b.unicast(b.ask(12, b"\x0d\xfe\x00")),
        b.unicast(bytes([0x50, 5, 12])),
        b.unicast(bytes([0x60, 5])),
        b.unicast(bytes([0x40, 5, 1])),
        b.unicast(bytes([0x20, 5])),
        b.unicast(b.tell(8), 0x20, b"\0"),
        b.unicast(b"", 0x20, b"\0\5\7"),
        b.network(0)[:-1],
        b.bvlc(10, b"\x01\x00" + b.tell(8), length=99),
        b.bvlc(10, b"\x01\x00" + b.tell(8), length=6),
        b.bvlc(10, b"\x01\x00" + b.tell(8), length=0),
        b.bvlc(0, b"\0"),
        b.bvlc(1, b"\0" * 9),
        b.bvlc(2, b"\0"),
        b.bvlc(5, b"\0"),
        b.bvlc(8, b"\0"),
        b.bvlc(99, b""),
    ],
    ids=lambda data: data.hex()[:24],
)
def test_malformed(data: bytes) -> None:
    (row,) = rows_of((0, data))
    assert row.flags & BAD


def test_other_ports() -> None:
    rows = rows_of(
        (0, b.unicast(b.ask(12, AI1))), (1, b.unicast(b.answer(12, AI1 + b.wrap(3, b.real(1.0))))), port=50000
    )
    assert {row.conv for row in rows} == {("bacnet", HMI, PLC, 47808, "", 0)}


def test_other_protocols_on_the_port_are_no_messages() -> None:
    assert rows_of((0, b""), (0, b"\x81\x0a"), (0, b.bvlc(10, b"\1\0\x10\x08", kind=0x82))) == []


def test_snap_length() -> None:
    whole = b.unicast(b.answer(12, AI1 + b.wrap(3, b.real(21.5))))
    for size in range(42 + 4, 42 + len(whole)):
        (row,) = rows_of((1, whole), snaplen=size)
        assert row.flags == Flag.TRUNCATED
        assert row.size == len(whole)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_octets(sent: list[bytes]) -> None:
    assert len(rows_of(*((0, b.unicast(data)) for data in sent))) == len(sent)
    rows_of(*((1, b"\x81" + data) for data in sent))
