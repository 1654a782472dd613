"""Floods of invented hosts and connections: memory stays, counters tell, known traffic is still read."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from grid_profiles.vocabulary import ANY_POINT
from sensor.frames import FrameBatch
from sensor.names import TABLE_FULL, Limits
from tests.lab import frames as f
from tests.lab.background import dns_query
from tests.reference.rows import Message
from tests.reference.run import Native, Shot, frame_batch, shots

S = 1_000_000_000
FLOOD = 210_000
FRAMES = 4


def flood(frame: bytes, count: int, first: int, ts: int, patches: dict[int, int]) -> FrameBatch:
    """``count`` copies of a frame; ``patches``: offset of a big-endian 32-bit word and the step per frame."""
    data = np.tile(np.frombuffer(frame, np.uint8), (count, 1))
    for at, step in patches.items():
        (start,) = struct.unpack_from("!I", frame, at)
        words = (start + step * np.arange(count, dtype=np.uint64)).astype(">u4")
        data[:, at : at + 4] = words.view(np.uint8).reshape(count, 4)
    size = len(frame)
    return FrameBatch(
        data.reshape(-1),
        np.arange(count, dtype=np.int64) * size,
        np.full(count, size, np.int32),
        np.full(count, size, np.int32),
        ts + np.arange(count, dtype=np.int64),
        np.ones(count, np.int32),
        np.arange(first, first + count, dtype=np.int64),
    )


def poll(talk: f.Talk, number: int, at: int) -> list[Shot]:
    """One Modbus exchange of a connection that is open."""
    before = len(talk.frames)
    talk.client(at, f.modbus_adu(number, 1, f.mb_read(3, 100, 1)))
    talk.server(at + 1000, f.modbus_adu(number, 1, f.mb_read_response(3, [number])))
    return shots(talk.frames[before:])


SOURCE, TARGET = "100.64.0.0", "10.0.0.2"
FLOODS = {
    "syn": (f.tcp_frame(SOURCE, TARGET, 1024, 502, 1, 0, f.SYN), {26: 1, 38: 7}),
    "data": (f.tcp_frame(SOURCE, TARGET, 1024, 502, 1, 0, f.ACK, b"\0\1\0\0\0"), {26: 1}),
    "mac": (f.eth("02:00:00:00:00:09", "02:01:00:00:00:00", 0x9999, bytes(46)), {8: 1}),
    "udp": (f.udp_frame(SOURCE, TARGET, 9, 9, b""), {26: 1}),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(kind: str) -> None:
    native = Native()
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(0)
    native.feed(shots(talk.frames))
    known = native.feed(poll(talk, 1, S))[0].conv
    frame, patches = FLOODS[kind]
    batch = flood(frame, FLOOD, 100, 2 * S, patches)
    memory = tables(native)
    native.engine.decode(batch)
    assert tables(native) == memory, "no table may move or grow"
    counters = native.names.counters()
    limits = native.names.limits
    assert counters["endpoints"] <= limits.endpoints
    assert counters["endpoints_refused"] > FLOOD - limits.endpoints - 10
    assert counters["conversations"] <= limits.conversations
    native._fed = 400_000
    rows = [row for row in native.feed(poll(talk, 2, 10 * S)) if row.proto == "modbus"]
    assert [(row.kind, row.conv) for row in rows] == [(3, known), (3, known)]
    assert [point.value for point in rows[1].points] == [2.0]
    assert rows[1].state == rows[0].frame


def tables(native: Native) -> list[tuple[int, int]]:
    """Address and size of every table."""
    names = native.names
    parts = [names.endpoints, names.texts, names.conversations, native.engine._memory]
    return [(part.__array_interface__["data"][0], part.nbytes) for part in parts]


def test_waiting_octets_are_bounded() -> None:
    """More half PDUs than there is room for: the rest is given up and counted; whole PDUs are still read."""
    native = Native()
    half = f.tcp_frame("100.64.0.0", "10.0.0.2", 1024, 502, 1, 0, f.ACK, b"\0\1\0\0\0")
    native.engine.decode(flood(half, 20_000, 1, S, {26: 1}))
    assert native.counters["lost_waiting"] > 0
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(2 * S)
    rows = native.feed([*shots(talk.frames), *poll(talk, 5, 3 * S)])
    assert [row.kind for row in rows if row.proto == "modbus"] == [3, 3]


def test_names_that_do_not_fit_are_shown_as_such() -> None:
    native = Native(Limits(endpoints=8, texts=300, text_bytes=1 << 16, conversations=6))
    rows: list[Message] = []
    for number in range(20):
        rows += native.feed([Shot(number, f.udp_frame(f"10.0.0.{number}", "10.0.1.1", 999, number, b""))])
    assert len(rows) == 20
    assert rows[0].src == "10.0.0.0"
    assert rows[-1].src == TABLE_FULL
    assert rows[-1].conv[0] == TABLE_FULL
    assert native.names.counters()["endpoints_refused"] > 0


MAC, NOBODY = "02:00:00:00:00:01", "00:00:00:00:00:00"
MADE_UP = {
    "dns": lambda n: f.udp_frame("10.0.0.1", "10.0.0.53", 40_000, 53, dns_query(n, f"host{n}.example")),
    "arp": lambda n: f.eth(
        "ff:ff:ff:ff:ff:ff", MAC, f.ETH_ARP, f.arp(1, MAC, "10.0.0.1", NOBODY, f"10.{n >> 8}.{n & 255}.9")
    ),
}


@pytest.mark.parametrize("proto", MADE_UP)
def test_a_flood_of_names_leaves_room_for_those_of_relays(proto: str) -> None:
    native = Native(Limits(texts=2000))
    rows = native.feed([Shot(number * S, MADE_UP[proto](number)) for number in range(3000)])
    assert len(rows) == 3000
    assert native.names.counters()["texts"] <= 1000
    assert native.names.counters()["texts_refused"] > 1000
    late = "RELAY9LD0/LLN0$GO$late"
    pdu = f.goose_pdu(late, 2000, "RELAY9LD0/LLN0$late", "late", 4000 * S, 1, 0, [f.g_bool(True)])
    goose = native.feed([Shot(4000 * S, f.goose_frame("01:0c:cd:01:00:09", MAC, 9, pdu))])
    assert [row.point for row in goose] == [(late, ANY_POINT)]


def test_unanswered_requests_are_bounded() -> None:
    native = Native()
    adu = f.modbus_adu(0, 1, f.mb_read(3, 0, 1))
    frame = f.tcp_frame("10.0.0.1", "10.0.0.2", 1024, 502, 1, 0, f.ACK, adu)
    # 38: sequence number; 52: the ADU begins with transaction and protocol id, so step in the upper half
    batch = flood(frame, 65_536, 1, S, {38: len(adu), 54: 1 << 16})
    assert len(native.engine.decode(batch)) >= 65_536
    assert frame_batch([Shot(0, frame)]).frame(0) == frame


def test_the_densest_frames_fit() -> None:
    """Frames made to give as many rows and points as octets allow, many in a batch: nothing overflows."""
    kilo = 65_000
    coils = f.modbus_adu(1, 1, f.mb_write_coils(0, [1] * 1968))
    read_all = f.apci_i(0, 0, f.asdu(102, 5, 1, [(1, b"")], sq=True, count=127))
    singles = f.apci_i(0, 0, f.asdu(1, 3, 1, [(1, b"\1")] + [(0, b"\1")] * 126, sq=True))
    shortest = b"\x68\x00"
    for port, octets in ((502, coils), (2404, read_all), (2404, singles), (2404, shortest)):
        native = Native()
        payload = octets * (kilo // len(octets))
        frames = []
        for number in range(FRAMES):
            seq = 1 + number * len(payload)
            frames.append(
                Shot(number, f.tcp_frame("10.0.0.1", "10.0.0.2", 40000, port, seq, 0, f.ACK, payload))
            )
        batch = native.engine.decode(frame_batch(frames))
        assert (batch.messages["proto"] != 1).sum() == FRAMES * (kilo // len(octets))
    leaves = f.ber(0x61, f.ber(0xAB, b"\x83\0" * 30_000))
    native = Native()
    frame = f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:01", 1, leaves)
    batch = native.engine.decode(frame_batch([Shot(1, frame)] * 20))
    assert len(batch.points) == 20 * 4096
