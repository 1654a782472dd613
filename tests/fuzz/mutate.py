"""Seeded spoiling of frames: what a broken device, a bad cable or an attacker puts on the wire."""

from __future__ import annotations

import random
import struct

from tests.lab import bus as b
from tests.lab import frames as f

NASTY = (0, 1, 2, 3, 4, 5, 7, 8, 0x61, 0x68, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xA1, 0xA2, 0xAB, 0xFD, 0xFE, 0xFF)
IP4, IP6 = ("10.0.0.1", "10.0.0.2"), ("fe80::1", "fe80::2")


class Mutator:
    """Endless spoiled versions of good frames.

    Parameters
    ----------
    seeds : list of bytes
        Good frames.
    seed : int
        The same number gives the same frames.
    """

    def __init__(self, seeds: list[bytes], seed: int) -> None:
        self._seeds = seeds
        self._random = random.Random(seed)
        self._ways = (
            self._flip,
            self._octet,
            self._cut,
            self._length,
            self._splice,
            self._repeat,
            self._noise,
        )

    def next(self) -> tuple[bytes, int]:
        """A frame and its length on the wire."""
        rnd = self._random
        frame = bytearray(rnd.choice(self._seeds))
        for _ in range(rnd.choice((0, 1, 1, 1, 2, 3, 6))):
            frame = rnd.choice(self._ways)(frame)
        wire = len(frame)
        if rnd.random() < 0.05:  # snap length
            del frame[rnd.randrange(len(frame) + 1) :]
        return bytes(frame), wire

    def _flip(self, frame: bytearray) -> bytearray:
        if frame:
            frame[self._place(frame)] ^= 1 << self._random.randrange(8)
        return frame

    def _octet(self, frame: bytearray) -> bytearray:
        if frame:
            frame[self._place(frame)] = self._random.choice(NASTY)
        return frame

    def _place(self, frame: bytearray) -> int:
        """More often behind the headers, where the protocols are."""
        low = min(54, len(frame) - 1) if self._random.random() < 0.7 else 0
        return self._random.randrange(low, len(frame))

    def _cut(self, frame: bytearray) -> bytearray:
        del frame[self._random.randrange(len(frame) + 1) :]
        return frame

    def _length(self, frame: bytearray) -> bytearray:
        """A lie in a place where some protocol keeps a length: IP, TCP offset, GOOSE, Modbus, IEC-104."""
        rnd = self._random
        at = rnd.choice((16, 18, 20, 46, 55, 58, 59, 60, 61, 24, 25))
        if at + 2 <= len(frame):
            value = rnd.choice((0, 1, 2, 3, 7, 19, 20, len(frame), 0x7FFF, 0xFFFF, rnd.randrange(65536)))
            struct.pack_into("!H", frame, at, value)
        return frame

    def _splice(self, frame: bytearray) -> bytearray:
        """The head of one frame and the tail of another."""
        other = self._random.choice(self._seeds)
        here = self._random.randrange(len(frame) + 1)
        there = (
            self._random.randrange(len(other) + 1) if self._random.random() < 0.5 else min(here, len(other))
        )
        return frame[:here] + other[there:]

    def _repeat(self, frame: bytearray) -> bytearray:
        """A piece of the frame again, right behind itself."""
        if not frame:
            return frame
        start = self._random.randrange(len(frame))
        piece = frame[start : start + self._random.randrange(1, 40)]
        return (
            frame[: start + len(piece)] + piece * self._random.randrange(1, 4) + frame[start + len(piece) :]
        )

    def _noise(self, frame: bytearray) -> bytearray:
        """Random octets behind valid headers."""
        rnd = self._random
        octets = rnd.randbytes(rnd.randrange(0, 160))
        kind = rnd.randrange(5)
        if kind == 0:
            head = struct.pack("!HHHH", 1, len(octets) + 8, 0, 0)
            return bytearray(f.eth("01:0c:cd:01:00:01", "02:00:00:00:00:01", f.ETH_GOOSE, head + octets))
        src, dst = rnd.choice((IP4, IP6))
        if kind == 1:
            return bytearray(f.ip_frame(src, dst, rnd.choice((0, 6, 17, 43, 44, 60)), octets))
        port = rnd.choice((502, 2404))
        head = (
            b"\0\1\0\0\0" + bytes([rnd.randrange(256)]) if port == 502 else bytes([0x68, rnd.randrange(256)])
        )
        ends = (1024, port) if rnd.random() < 0.5 else (port, 1024)
        return bytearray(
            f.tcp_frame(
                src, dst, *ends, rnd.randrange(2**32), 0, rnd.choice((2, 16, 17, 18, 24, 4)), head + octets
            )
        )


def good_frames() -> list[bytes]:
    """Frames of every protocol with a native decoder, several PDUs a segment, tags, structures, both IPs."""
    frames: list[f.Stamped] = []
    for ends in (IP4, IP6):
        modbus = f.Talk(*ends, 502, vlans=(3,) if ends is IP6 else ())
        modbus.open(0)
        for tid, (ask, answer) in enumerate(
            (
                (f.mb_read(1, 0, 19), f.mb_bits_response(1, [1] * 19)),
                (f.mb_read(3, 100, 4), f.mb_read_response(3, [1, 2, 3, 4])),
                (f.mb_write_coil(1, True), f.mb_write_coil(1, True)),
                (f.mb_write_coils(1, [1] * 20), f.mb_write_response(15, 1, 20)),
                (f.mb_write_registers(1, [5] * 9), f.mb_write_response(16, 1, 9)),
                (f.mb_read_write(1, 2, 3, [4, 5]), f.mb_read_response(23, [9, 9])),
                (b"\x16\0\1\0\2\0\3", f.mb_exception(22, 1)),
                (f.mb_device_id(), f.mb_device_id_response([(0, b"x")])),
            )
        ):
            modbus.client(0, f.modbus_adu(tid, 1, ask))
            modbus.server(0, f.modbus_adu(tid, 1, answer))
        iec104 = f.Talk(*ends, 2404)
        iec104.open(0)
        for kind in (1, 3, 5, 7, 9, 11, 13, 15, 30, 34, 36, 45, 46, 50, 58, 63, 100, 102, 103, 107, 125, 127):
            body = f.asdu(kind, 3, 1, [(kind, bytes(range(1, 17)))] * 2)
            iec104.client(0, f.apci_i(1, 1, body) + f.apci_s(4))
            iec104.server(
                0, f.apci_u(16) + f.apci_i(2, 2, f.asdu(kind, 20, 1, [(1, bytes(30))], sq=True, count=7))
            )
        frames += modbus.frames + iec104.frames
    entries = [f.g_bool(True), f.g_struct([f.g_int(-5), f.g_array([f.g_float(1.0), f.g_bits("10")])]),
               f.g_uint(7), f.g_octets(b"xy"), f.g_text("t"), f.g_time(10**18)]  # fmt: skip
    body = f.goose_pdu("LD/LLN0$GO$g", 2000, "LD/LLN0$d", "g", 10**18, 3, 0, entries)
    frames.append((0, f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:07", 1, body, vlan=5)))
    frames.append((0, f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:07", 1, body, vlan=None)))
    frames += [frames[-1], frames[-2]] * 10
    frames += [(0, frame) for frame in bus_frames()]
    frames.append((0, f.udp_frame(*IP4, 5000, 53, b"?")))
    return [data for _, data in frames]


def bus_frames() -> list[bytes]:
    """What a process bus carries beside GOOSE."""
    samples = [
        b.sv_asdu(n, b.sv_data(b.sv_wave(n)), dataset="LD/LLN0$d", rate=4000) for n in range(3998, 4002)
    ]
    return [
        b.sv_frame(b.sv_pdu(samples[:1]), vlan=None),
        b.sv_frame(b.sv_pdu(samples[1:2]), vlan=None),
        b.sv_frame(b.sv_pdu(samples[2:]), vlan=4),
        b.sv_frame(b.sv_pdu([b.sv_asdu(n, bytes(24), sv_id="x") for n in range(3)]), simulation=True),
        b.ptp_frame(b.ptp(b.ANNOUNCE, b.ptp_announce())),
        b.with_hsr(b.ptp_frame(b.ptp(b.MANAGEMENT, b.ptp_management(1, 0x2005))), 3),
        b.with_trailer(b.ptp_frame(b.ptp(b.SYNC)), 3),
        f.udp_frame(*IP4, 319, 319, b.ptp(b.PDELAY_RESP, domain=255)),
        b.prp_supervision(3, 23, bytes(12)),
        b.prp_supervision(4, more=b"\x1e\6\2\0\0\0\0\x99\0\0"),
    ] * 5
