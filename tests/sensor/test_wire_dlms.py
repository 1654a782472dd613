"""DLMS/COSEM known frames: wrapper and HDLC, every service against a slow twin, damage, pairing, segments."""

from __future__ import annotations

import math
import random

import pytest

from grid_profiles.vocabulary import Flag
from tests.lab import dlms_frames as d
from tests.lab import frames as f
from tests.reference import dlms as reference
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

S = 1_000_000_000
BAD = Flag.MALFORMED
ENDS = ("10.0.0.1", "10.0.0.2")


def talk_rows(*pdus: tuple[int, bytes], snaplen: int = 1 << 20) -> tuple[list[Message], Native]:
    """DLMS messages of a connection; each segment with the side that sends it (0 client)."""
    talk = f.Talk(*ENDS, 4059)
    talk.open(0)
    for number, (side, pdu) in enumerate(pdus):
        (talk.server if side else talk.client)((1 + number) * S, pdu)
    native = Native()
    rows = native.feed(shots(talk.frames, snaplen))
    return [row for row in rows if row.proto == "dlms"], native


def compare(row: Message, native: Native, apdu: bytes) -> None:
    """Native row against the twin."""
    told = reference.decode(apdu)
    names = native.names
    point = "" if row.state >= 0 or row.point < 0 else names.text(row.point)
    assert (row.kind, row.cause, row.count, row.seq) == (told.kind, told.cause, told.count, told.seq), (
        apdu.hex()
    )
    assert (point, row.ident) == (told.point, told.ident), apdu.hex()
    assert row.value == told.value or (math.isnan(row.value) and math.isnan(told.value)), apdu.hex()
    flags = Flag(row.flags) & (Flag.NEGATIVE | Flag.ENCRYPTED | BAD)
    expected = Flag.NEGATIVE if told.negative else Flag(0)
    expected |= Flag.ENCRYPTED if told.encrypted else Flag(0)
    expected |= BAD if told.malformed else Flag(0)
    assert flags == expected, apdu.hex()


@pytest.mark.parametrize("apdu", d.EXAMPLES, ids=lambda apdu: apdu[:3].hex())
def test_services_as_the_twin_reads_them(apdu: bytes) -> None:
    side = 0 if apdu[0] in (5, 6, 33, 96, 98, 192, 193, 195, 200, 208) else 1
    pieces = [apdu[:cut] for cut in range(1, len(apdu) + 1)]
    rows, native = talk_rows(*((side, d.wrapper(piece)) for piece in pieces))
    for row, piece in zip(rows, pieces, strict=True):
        compare(row, native, piece)
    assert not rows[-1].flags & BAD
    assert rows[-1].size == len(apdu) + 8


def test_spoiled_services_as_the_twin_reads_them() -> None:
    rnd = random.Random(3)
    frames, apdus = [], []
    for number in range(6000):
        apdu = bytearray(rnd.choice(d.EXAMPLES))
        for _ in range(rnd.choice((1, 1, 2, 3))):
            apdu[rnd.randrange(len(apdu))] = rnd.choice(
                (0, 1, 2, 3, 5, 0x7F, 0x80, 0x81, 0x84, 0xFF, rnd.randrange(256))
            )
        del apdu[rnd.choice((len(apdu), rnd.randrange(1, len(apdu) + 1))) :]
        apdus.append(bytes(apdu))
        frames.append(
            (
                number,
                f.udp_frame(f"10.1.{number >> 8}.{number & 255}", ENDS[1], 5000, 4059, d.wrapper(apdus[-1])),
            )
        )
    native = Native()
    rows = native.feed(shots(frames))
    assert len(rows) == len(apdus)
    for row, apdu in zip(rows, apdus, strict=True):
        compare(row, native, apdu)


def test_a_response_meets_its_request() -> None:
    rows, native = talk_rows(
        (0, d.wrapper(d.get()) + d.wrapper(d.put(b"\x10\xff\xff"))),
        (1, d.wrapper(d.got(b"\x06\0\1\0\0"), 1, 16)),
        (1, d.wrapper(bytes([197, 1, 0xC2, 3]), 1, 16)),
        (0, d.wrapper(d.act())),
        (1, d.wrapper(bytes([199, 1, 0xC3, 0, 0]), 1, 16)),
        (1, d.wrapper(d.got(b"\x11\1", 0xC9), 1, 16)),
    )
    ask, put, got, denied, act, done, stray = rows
    assert native.names.text(got.point) == "3/1.0.1.8.0.255/2"
    assert (got.state, got.value, got.role, got.conv) == (ask.frame, 65536, SERVER, ask.conv)
    assert [(p.kind, p.point, p.value) for p in got.points] == [(6, ask.point, 65536)]
    assert (put.value, denied.state, denied.cause, denied.flags) == (-1, put.frame, 3, Flag.NEGATIVE)
    assert native.names.text(act.point) == "70/0.0.96.3.10.255/m1"
    assert (done.state, done.point) == (act.frame, act.point)
    assert (stray.flags, stray.state, stray.points) == (Flag.UNANSWERED, -1, [])
    assert (ask.aux, got.aux, ask.conv[1:]) == (16, 16, (*ENDS, 4059, "device 1", 0))


def test_a_meter_that_pushes_is_the_server() -> None:
    (row,), _ = talk_rows((0, d.wrapper(b"\x0f\0\0\0\1\0\x11\5", 1, 16)))
    assert (row.role, row.conv[1:5], row.seq) == (SERVER, ("10.0.0.2", "10.0.0.1", 4059, "device 1"), 1)


def test_hdlc() -> None:
    rows, _ = talk_rows(
        (0, d.hdlc(0x93)),
        (1, d.hdlc(0x73, b"\x81\x80\x00", answer=True)),
        (0, d.hdlc(0x10, d.asked(d.AARQ))),
        (1, d.hdlc(0x30, d.answered(d.AARE), answer=True)),
        (0, d.hdlc(0x32, d.asked(d.get()))),
        (1, d.hdlc(0x52, d.answered(d.got(b"\x12\1\0")), answer=True)),
        (0, d.hdlc(0x51) + d.hdlc(0x53)),
    )
    assert [row.kind for row in rows] == [643, 611, 96, 97, 192, 196, 513, 579]
    assert [row.role for row in rows] == [CLIENT, SERVER] * 3 + [CLIENT, CLIENT]
    assert all(row.flags == 0 and row.aux == 16 and row.conv == rows[0].conv for row in rows)
    assert (rows[5].value, rows[5].state) == (256, rows[4].frame)
    assert rows[4].size == len(d.hdlc(0x32, d.asked(d.get())))


def test_hdlc_segments() -> None:
    whole = d.answered(d.got(b"\x09\x40" + bytes(64)))
    first = d.hdlc(0x30, whole[:30], answer=True, more=True)
    rows, _ = talk_rows(
        (0, d.hdlc(0x32, d.asked(d.get()))),
        (1, first),
        (0, d.hdlc(0x31)),
        (1, d.hdlc(0x52, whole[30:], answer=True)),
    )
    assert [row.kind for row in rows] == [192, 512, 513, 196]
    assert rows[-1].flags == Flag.REASSEMBLED
    assert rows[-1].state == rows[0].frame


def test_hdlc_checks() -> None:
    good = d.hdlc(0x32, d.asked(d.get()))
    for place in range(3, len(good)):
        spoiled = bytearray(good)
        spoiled[place] ^= 0x04
        rows, _ = talk_rows((0, bytes(spoiled)), (0, good))
        assert rows[0].flags & BAD, place
        assert (rows[-1].kind, rows[-1].flags) == (192, 0)
    flags = b"\x7e" + good[:-1] + good + b"\x7e\x7e"
    assert [row.kind for row in talk_rows((0, flags))[0]] == [192, 192]


@pytest.mark.parametrize("stream", [d.wrapper(d.get()) * 3, d.hdlc(0x32, d.asked(d.get())) * 3])
def test_octet_by_octet(stream: bytes) -> None:
    rows, _ = talk_rows(*((0, stream[i : i + 1]) for i in range(len(stream))))
    assert [row.kind for row in rows] == [192] * 3
    assert all(row.flags & ~Flag.REASSEMBLED == 0 for row in rows)


@pytest.mark.parametrize("pdu", [d.wrapper(d.get()), d.hdlc(0x32, d.asked(d.get()))])
def test_every_snap_length(pdu: bytes) -> None:
    for snaplen in range(54, 54 + len(pdu)):
        for row in talk_rows((0, pdu), snaplen=snaplen)[0]:
            assert row.flags == Flag.TRUNCATED
            assert row.size == len(pdu)


def test_long_and_foreign() -> None:
    long = d.wrapper(d.put(b"\x09\x82\xea\x60" + bytes(60_000)))
    rows, _ = talk_rows(
        *((0, long[i : i + 1400]) for i in range(0, len(long), 1400)), (0, d.wrapper(d.get()))
    )
    assert [row.kind for row in rows] == [193, 192]
    assert rows[0].size == len(long)
    assert not rows[0].flags & BAD
    assert talk_rows((0, b"GET / HTTP/1.1\r\n"))[0] == []
    assert talk_rows((0, b"\x00\x01\x00\x10\x00\x01\x00\x00"))[0] == []


def test_no_password_is_kept() -> None:
    _, native = talk_rows((0, d.wrapper(d.AARQ_HIGH)))
    assert b"12345678" not in bytes(native.names.texts["arena"])


def test_datagrams() -> None:
    native = Native()
    rows = native.feed(shots([
        (S, f.udp_frame(*ENDS, 5000, 4059, d.wrapper(d.get()) + d.wrapper(d.act()))),
        (S, f.udp_frame(*reversed(ENDS), 4059, 5000, d.wrapper(d.got(b"\x11\1"), 1, 16))),
        (S, f.udp_frame(*ENDS, 5000, 4059, d.wrapper(d.get())[:-1])),
        (S, f.udp_frame(*ENDS, 5000, 4059, b"something")),
    ]))  # fmt: skip
    assert [(row.proto, row.kind) for row in rows[:-1]] == [("dlms", k) for k in (192, 195, 196, 192)]
    assert (rows[2].state, rows[2].conv) == (1, rows[0].conv)
    assert rows[3].flags & BAD
    assert rows[4].proto == "udp"
