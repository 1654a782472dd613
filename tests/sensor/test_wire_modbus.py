"""Modbus known frames: every function as request, response and exception; every limit of the standard."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from tests.lab import frames as f
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import decode

S = 1_000_000_000
COIL, DISCRETE, INPUT, HOLDING = 0, 1, 3, 4
BAD = Flag.MALFORMED


def at(table: int, address: int, unit: int = 1) -> int:
    return unit << 24 | table << 16 | address


def talk_rows(*pdus: tuple[int, bytes], unit: int = 1) -> list[Message]:
    """Modbus messages of a connection; each PDU with the side that sends it (0 client)."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(0)
    for number, (side, pdu) in enumerate(pdus):
        adu = f.modbus_adu(number // 2, unit, pdu)
        (talk.server if side else talk.client)((1 + number) * S, adu)
    return [row for row in decode(talk.frames) if row.proto == "modbus"]


# request, its point, count, aux, value and the points it carries; response, its point, count and points
EXCHANGES = [
    (f.mb_read(1, 10, 3), at(COIL, 10), 3, -1, None, [],
     f.mb_bits_response(1, [1, 0, 1]), at(COIL, 10), 3, [1, 0, 1]),
    (f.mb_read(2, 0, 9), at(DISCRETE, 0), 9, -1, None, [],
     f.mb_bits_response(2, [1] * 9), at(DISCRETE, 0), 9, [1] * 9),
    (f.mb_read(3, 100, 2), at(HOLDING, 100), 2, -1, None, [],
     f.mb_read_response(3, [7, 65535]), at(HOLDING, 100), 2, [7, 65535]),
    (f.mb_read(4, 65535, 1), at(INPUT, 65535), 1, -1, None, [],
     f.mb_read_response(4, [0x8000]), at(INPUT, 65535), 1, [0x8000]),
    (f.mb_write_coil(5, True), at(COIL, 5), 1, -1, 1.0, [1],
     f.mb_write_coil(5, True), at(COIL, 5), 1, [1]),
    (f.mb_write_coil(6, False), at(COIL, 6), 1, -1, 0.0, [0],
     f.mb_write_coil(6, False), at(COIL, 6), 1, [0]),
    (f.mb_write_register(7, 1234), at(HOLDING, 7), 1, -1, 1234.0, [1234],
     f.mb_write_register(7, 1234), at(HOLDING, 7), 1, [1234]),
    (b"\x07", -1, -1, -1, None, [], b"\x07\x55", -1, -1, []),
    (b"\x08\x00\x04\x00\x00", -1, -1, 4, None, [], b"\x08\x00\x04\x00\x00", -1, -1, []),
    (b"\x0b", -1, -1, -1, None, [], b"\x0b\x00\x00\x01\x08", -1, -1, []),
    (b"\x0c", -1, -1, -1, None, [], b"\x0c\x06\x00\x00\x01\x08\x01\x21", -1, -1, []),
    (f.mb_write_coils(19, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]), at(COIL, 19), 10, -1, None,
     [1, 0, 1, 1, 0, 0, 1, 1, 1, 0], f.mb_write_response(15, 19, 10), at(COIL, 19), 10, []),
    (f.mb_write_registers(1, [10, 258]), at(HOLDING, 1), 2, -1, None, [10, 258],
     f.mb_write_response(16, 1, 2), at(HOLDING, 1), 2, []),
    (b"\x11", -1, -1, -1, None, [], b"\x11\x02\x01\xff", -1, -1, []),
    (b"\x14\x07\x06\x00\x04\x00\x01\x00\x02", -1, -1, -1, None, [],
     b"\x14\x06\x05\x06\x0d\xfe\x00\x20", -1, -1, []),
    (b"\x15\x09\x06\x00\x04\x00\x07\x00\x01\x06\xaf", -1, -1, -1, None, [],
     b"\x15\x09\x06\x00\x04\x00\x07\x00\x01\x06\xaf", -1, -1, []),
    (b"\x16\x00\x04\x00\xf2\x00\x25", at(HOLDING, 4), 1, -1, None, [],
     b"\x16\x00\x04\x00\xf2\x00\x25", at(HOLDING, 4), 1, []),
    (f.mb_read_write(3, 6, 14, [255, 254, 253]), at(HOLDING, 14), 3, -1, None, [255, 254, 253],
     f.mb_read_response(23, [254, 2765, 1, 2, 3, 4]), at(HOLDING, 3), 6, [254, 2765, 1, 2, 3, 4]),
    (b"\x18\x04\xde", at(HOLDING, 1246), -1, -1, None, [],
     b"\x18\x00\x06\x00\x02\x01\xb8\x12\x84", at(HOLDING, 1246), -1, []),
    (f.mb_device_id(), -1, -1, 14, None, [],
     f.mb_device_id_response([(0, b"Vendor")]), -1, -1, []),
    (b"\x5a\x00\x02", -1, -1, -1, None, [], b"\x5a\x00\xfe", -1, -1, []),
    (b"\x64\x01", -1, -1, -1, None, [], b"\x64\x01", -1, -1, []),
]  # fmt: skip


@pytest.mark.parametrize("case", EXCHANGES, ids=lambda case: f"function-{case[0][0]}")
def test_exchange(case: tuple) -> None:
    ask, point, count, aux, value, carried, answer, read, answered, values = case
    request, response = talk_rows((0, ask), (1, answer))
    assert (request.role, request.kind, request.flags) == (CLIENT, ask[0], 0)
    assert (request.point, request.count, request.aux) == (point, count, aux)
    assert request.value == value if value is not None else math.isnan(request.value)
    assert [p.value for p in request.points] == carried
    assert (response.role, response.kind, response.flags) == (SERVER, ask[0], 0)
    assert (response.point, response.count, response.state) == (read, answered, request.frame)
    assert [p.value for p in response.points] == values
    assert [p.point & 0xFFFF for p in response.points] == [
        (read + i) & 0xFFFF for i in range(len(response.points))
    ]
    assert request.conv == ("modbus", "10.0.0.1", "10.0.0.2", 502, "unit 1", 0) == response.conv


@pytest.mark.parametrize("case", EXCHANGES, ids=lambda case: f"function-{case[0][0]}")
def test_exception(case: tuple) -> None:
    function = case[0][0]
    request, refusal = talk_rows((0, case[0]), (1, f.mb_exception(function, 2)))
    assert (refusal.kind, refusal.cause, refusal.flags) == (function, 2, Flag.NEGATIVE)
    assert refusal.state == request.frame
    assert refusal.points == []


@pytest.mark.parametrize("case", EXCHANGES, ids=lambda case: f"function-{case[0][0]}")
def test_every_cut_and_one_octet_more(case: tuple) -> None:
    """The kernel and the standard's twin agree on what is malformed in each shortened or lengthened PDU."""
    for side, pdu in ((0, case[0]), (1, case[6])):
        for size in range(1, len(pdu) + 2):
            talk_rows((0, case[0]), (side, (pdu + b"\0")[:size]))


MALFORMED_REQUESTS = [
    f.mb_read(1, 0, 0), f.mb_read(1, 0, 2001), f.mb_read(3, 0, 126), f.mb_read(4, 0, 0),
    f.mb_read(3, 0, 1) + b"\0", b"\x03\x00", b"\x05\x00\x01\x12\x34", b"\x06\x00\x01",
    f.mb_write_coils(0, []), f.mb_write_registers(0, []), f.mb_write_coils(0, [1] * 1969),
    b"\x10\x00\x00\x00\x02\x03\x00\x01\x00", b"\x0f\x00\x00\x00\x09\x01\xff", b"\x10\x00",
    b"\x16\x00\x04\x00\xf2\x00", b"\x16\x00\x04\x00\xf2\x00\x25\x00",
    f.mb_read_write(0, 0, 0, [1]), f.mb_read_write(0, 126, 0, [1]), f.mb_read_write(0, 1, 0, []),
    b"\x17\x00\x03\x00\x01", b"\x18\x00", b"\x18\x00\x01\x02", b"\x08\x00", b"\x2b", b"\x83\x02",
    f.mb_write_registers(0, [1] * 124),
    b"\x14\x08\x06\x00\x04\x00\x01\x00\x02", b"\x15\x09\x06\x00\x04\x00\x07\x00\x01\x06", b"\x14",
]  # fmt: skip


@pytest.mark.parametrize("pdu", MALFORMED_REQUESTS, ids=lambda pdu: pdu[:6].hex())
def test_malformed_request(pdu: bytes) -> None:
    (row,) = talk_rows((0, pdu))
    assert row.flags & BAD
    assert row.kind == pdu[0] & 0x7F


@pytest.mark.parametrize(
    "pdu",
    [f.mb_read(1, 0, 2000), f.mb_read(3, 0, 125), f.mb_write_coils(0, [1] * 1968),
     f.mb_write_registers(0, [1] * 123), f.mb_read_write(0, 125, 0, [1] * 121)],
    ids=lambda pdu: pdu[:6].hex(),
)  # fmt: skip
def test_largest_legal_request(pdu: bytes) -> None:
    (row,) = talk_rows((0, pdu))
    assert not row.flags & BAD


@pytest.mark.parametrize(
    "pdu",
    [b"\x83", b"\x83\x02\x00", b"\x03\x04\x00\x01", b"\x01", b"\x0f\x00\x00\x00", b"\x0c\x02\x12", b"\x11",
     b"\x11\x01\x00\x00", b"\x14\x03\x00", b"\x15\x01", b"\x18\x00", b"\x18\x00\x02\x00"],
    ids=lambda pdu: pdu.hex(),
)  # fmt: skip
def test_malformed_response(pdu: bytes) -> None:
    _, row = talk_rows((0, f.mb_read(pdu[0] & 0x7F, 0, 2)), (1, pdu))
    assert row.flags & BAD
    assert row.points == []


def test_addresses_wrap_in_their_table() -> None:
    _, row = talk_rows((0, f.mb_read(3, 65535, 2)), (1, f.mb_read_response(3, [1, 2])))
    assert [p.point for p in row.points] == [at(HOLDING, 65535), at(HOLDING, 0)]


def test_broadcast_is_a_write_to_unit_zero() -> None:
    write, read = talk_rows((0, f.mb_write_register(1, 2)), (0, f.mb_read(3, 0, 1)), unit=0)
    assert write.flags & Flag.BROADCAST
    assert not read.flags & Flag.BROADCAST


def test_other_protocols_on_the_port_are_no_messages() -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(0)
    talk.client(S, b"GET / HTTP/1.1\r\n\r\n")
    talk.client(2 * S, f.modbus_adu(1, 1, f.mb_read(3, 0, 1), protocol=7))
    talk.client(3 * S, f.modbus_adu(1, 1, f.mb_read(3, 0, 1), length=1))
    assert [row.proto for row in decode(talk.frames)] == ["tcp", "tcp", "http"]


ADUS = st.builds(
    lambda tid, unit, function, body: f.modbus_adu(tid, unit, bytes([function]) + body),
    st.integers(0, 3),
    st.integers(0, 2),
    st.one_of(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 15, 16, 22, 23, 24, 43, 0x83]), st.integers(0, 255)),
    st.one_of(
        st.binary(max_size=12),
        st.builds(lambda data: bytes([len(data)]) + data, st.binary(max_size=250)),
        st.builds(lambda count, data: b"\0\1\0" + bytes([count, len(data)]) + data,
                  st.integers(0, 40), st.binary(max_size=80)),
    ),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 1), ADUS), min_size=1, max_size=12))
def test_any_adus(adus: list[tuple[int, bytes]]) -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    for number, (side, adu) in enumerate(adus):
        (talk.server if side else talk.client)(number * S, adu)
    assert sum(row.proto == "modbus" for row in decode(talk.frames)) == len(adus)


@given(st.binary(min_size=1, max_size=300), st.integers(0, 1))
def test_any_octets_on_the_port(octets: bytes, side: int) -> None:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    for number, start in enumerate((0, len(octets) // 2)):
        (talk.server if side else talk.client)(number * S, octets[start:])
    decode(talk.frames)
