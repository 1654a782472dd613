"""What the made-up stations say: frames and payloads of each protocol, from the standards."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from benchmarks.sources import (
    SECOND,
    Beacon,
    Exchange,
    Host,
    Loop,
    Patch,
    Piece,
    Session,
    Step,
    Times,
    mac,
    put,
    tile,
)

MILLI = 1_000_000
EPOCH = 1_700_000_000
"""Seconds since 1970 at which every generated capture begins."""


def ber(tag: int, content: bytes) -> bytes:
    """Definite-length BER element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def layer2(dst: bytes, src: bytes, ethertype: int, body: bytes, vlan: int = 0, pcp: int = 4) -> bytes:
    """Ethernet frame with a priority tag."""
    tag = struct.pack("!HH", 0x8100, pcp << 13 | vlan)
    return (dst + src + tag + struct.pack("!H", ethertype) + body).ljust(60, b"\0")


# --- process bus ------------------------------------------------------------------------------------------


def merging_unit(number: int, seed: int, rate: int = 4000, hertz: float = 50.0) -> Loop:
    """9-2LE: eight channels, smpCnt back to 0 with every second, three phases with a little noise."""
    rng = np.random.default_rng((seed, number))
    count = np.arange(rate)
    values = np.zeros((rate, 8, 2), np.int64)
    for first, peak in ((0, rng.uniform(50, 800) * 1000 * 2**0.5), (4, 63_508.0 * 100 * 2**0.5)):
        angle = 2 * np.pi * (hertz * count / rate)[:, None] - 2 * np.pi / 3 * np.arange(3) - rng.uniform(0, 1)
        values[:, first : first + 3, 0] = peak * np.sin(angle) + rng.normal(0, peak * 1e-3, (rate, 3))
        values[:, first + 3, 0] = values[:, first : first + 3, 0].sum(axis=1)
        values[:, first + 3, 1] = 0x2000  # derived
    asdu = (
        ber(0x80, f"MU{number:04d}_SV".encode())
        + ber(0x82, b"\0\0")
        + ber(0x83, struct.pack("!I", 1))
        + ber(0x85, b"\2")
        + ber(0x87, bytes(64))
    )
    pdu = ber(0x60, ber(0x80, b"\1") + ber(0xA2, ber(0x30, asdu)))
    head = struct.pack("!HHHH", 0x4000 + number, 8 + len(pdu), 0, 0)
    group = b"\x01\x0c\xcd\x04" + struct.pack("!H", number)
    frame = layer2(group, mac(0x510000 + number), 0x88BA, head + pdu)
    table = tile(frame, rate)
    put(table, frame.index(b"\x82\2\0\0", 22) + 2, count, ">u2")
    table[:, -64:] = values.astype(">i4").view(np.uint8).reshape(rate, 64)
    return Loop(table, rate, int(rng.integers(20_000, 60_000)), seed * 1000 + number)


class GoosePublisher:
    """A control block: a change now and then, repeated after 2, 4, 8 … ms, then a heartbeat of a second."""

    def __init__(self, number: int, seed: int, mean: float = 20.0) -> None:
        self._rng = np.random.default_rng((seed, 7, number))
        self._number, self._mean = number, mean
        self._state = self._sequence = 1
        self._wait = SECOND
        self._next = int(self._rng.integers(SECOND))
        self._changed = -int(self._rng.integers(60 * SECOND))
        self._change = self._next + self._pause()
        self._bits = self._rng.integers(0, 2, 8).tolist()

    def _pause(self) -> int:
        return int(self._rng.exponential(self._mean) * SECOND) + 50 * MILLI

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        times, out = [], []
        while self._next < end:
            if self._change <= self._next:
                self._next = self._changed = self._change
                self._change += self._pause()
                self._state, self._sequence, self._wait = self._state + 1, 0, MILLI
                self._bits[int(self._rng.integers(8))] ^= 1
            times.append(self._next)
            out.append(np.frombuffer(self._frame(), np.uint8))
            self._sequence += 1
            self._wait = min(self._wait * 2, SECOND)
            self._next = min(self._next + self._wait, max(self._change, self._next + 1))
        if times:
            yield np.array(times, np.int64), np.stack(out)

    def _frame(self) -> bytes:
        name = f"IED{self._number:03d}PROT/LLN0$"
        stamp = EPOCH * SECOND + self._changed
        utc = struct.pack("!II", stamp // SECOND, ((stamp % SECOND << 24) // SECOND << 8) | 0x0A)
        data = b"".join(ber(0x83, bytes([bit])) + ber(0x84, b"\3\0\0") for bit in self._bits)
        pdu = ber(
            0x61,
            ber(0x80, f"{name}GO$gcb{self._number % 4}".encode())
            + ber(0x81, struct.pack("!I", 2000))
            + ber(0x82, f"{name}dsTrip".encode())
            + ber(0x83, f"IED{self._number:03d}_trip".encode())
            + ber(0x84, utc)
            + ber(0x85, struct.pack("!BI", 0, self._state))
            + ber(0x86, struct.pack("!BI", 0, self._sequence))
            + ber(0x87, b"\0")
            + ber(0x88, struct.pack("!BI", 0, 1))
            + ber(0x89, b"\0")
            + ber(0x8A, struct.pack("!BI", 0, 16))
            + ber(0xAB, data),
        )
        head = struct.pack("!HHHH", self._number, 8 + len(pdu), 0, 0)
        group = b"\x01\x0c\xcd\x01" + struct.pack("!H", self._number)
        return layer2(group, mac(0x1ED000 + self._number), 0x88B8, head + pdu)


def ptp_clock(seed: int, per_second: int = 1) -> list[Beacon]:
    """A grandmaster of the power profile: two-step Sync, Follow_Up, Announce; Ethernet multicast."""
    clock = b"\x02\x10\0\xff\xfe\0\0\x01"
    group = b"\x01\x1b\x19\0\0\0"

    def frame(kind: int, body: bytes, flags: int, control: int, log: int) -> bytes:
        head = struct.pack("!BBHBBHq4x", kind, 2, 34 + len(body), 0, 0, flags, 0)
        head += clock + struct.pack("!HHBb", 1, 0, control, log)
        return group + mac(0xC10C) + b"\x88\xf7" + (head + body).ljust(46, b"\0")

    def beacon(kind: int, body: bytes, flags: int, control: int, phase: int, *patches: Patch) -> Beacon:
        patches = (Patch(44, ">u2", lambda n: n & 0xFFFF), *patches)
        return Beacon(frame(kind, body, flags, control, 0), period, phase, patches, seed + kind)

    period = SECOND // per_second
    stamp = (
        Patch(48, ">u2", lambda n: n * 0),
        Patch(50, ">u4", lambda n: EPOCH + n * period // SECOND),
        Patch(54, ">u4", lambda n: n * period % SECOND),
    )
    quality = struct.pack("!hxBBBHB", 37, 128, 6, 0x21, 0x4E5D, 128) + clock + struct.pack("!HB", 0, 0x20)
    return [
        beacon(0, bytes(10), 0x0200, 0, 0),
        beacon(8, bytes(10), 0, 2, 150_000, *stamp),
        beacon(11, bytes(10) + quality, 0x003C, 5, 300_000),
    ]


# --- station bus ------------------------------------------------------------------------------------------


def modbus(
    client: Host, server: Host, period: int, phase: int, registers: int = 20, sport: int = 40_000
) -> Session:
    """A master that reads the same holding registers over and over."""
    ask = struct.pack("!HHHBBHH", 0, 0, 6, 1, 3, 100, registers)
    answer = struct.pack("!HHHBBB", 0, 0, 3 + 2 * registers, 1, 3, 2 * registers) + bytes(2 * registers)
    tid = Patch(0, ">u2", lambda n: n & 0xFFFF)
    values = tuple(
        Patch(9 + 2 * i, ">u2", lambda n, i=i: 2000 + i * 100 + 50 * np.sin(n / 40 + i))  # type: ignore[misc]
        for i in range(min(registers, 6))
    )
    cycle = (Step(0, 0, ask, (tid,)), Step(1, 3 * MILLI, answer, (tid, *values)), Step(0, 4 * MILLI))
    return Session(client, server, 502, period, cycle, phase=phase, sport=sport)


def iec104(client: Host, server: Host, period: int, phase: int, sport: int = 41_000) -> Session:
    """An outstation that reports eight measured values a period, one APDU each; the master acknowledges."""
    setup = [
        Step(0, 2 * MILLI, b"\x68\4\x07\0\0\0"),
        Step(1, 4 * MILLI, b"\x68\4\x0b\0\0\0"),
        Step(0, 5 * MILLI),
    ]
    cycle = []
    for k in range(8):
        body = struct.pack("<BBBBH", 13, 1, 3, 0, 1) + struct.pack("<I", 4000 + k)[:3] + bytes(5)
        sent = Patch(2, "<u2", lambda n, k=k: ((8 * n + k) & 0x7FFF) << 1)  # type: ignore[misc]
        value = Patch(15, "<f4", lambda n, k=k: 100 + 20 * np.sin(n / 30 + k))  # type: ignore[misc]
        apdu = bytes([0x68, 4 + len(body)]) + bytes(4) + body
        cycle += [Step(1, k * 10 * MILLI, apdu, (sent, value)), Step(0, k * 10 * MILLI + MILLI)]
    seen = Patch(4, "<u2", lambda n: ((8 * n + 8) & 0x7FFF) << 1)
    cycle[-1] = Step(0, 71 * MILLI, b"\x68\4\1\0\0\0", (seen,))
    cycle.append(Step(1, 72 * MILLI))
    return Session(client, server, 2404, period, cycle, setup, phase, sport)


def _tpkt(body: bytes) -> bytes:
    return struct.pack("!BBH", 3, 0, 4 + len(body)) + body


def _mms_data(pdu: bytes) -> bytes:
    """COTP data, session data, presentation data around an MMS PDU."""
    value = ber(0x61, ber(0x30, ber(0x02, b"\3") + ber(0xA0, pdu)))
    return _tpkt(b"\2\xf0\x80" + b"\1\0\1\0" + value)


def _mms_open(spdu: int, body: bytes, mode: bytes, association: bytes) -> bytes:
    """Session connect or accept with presentation and association (ISO 8327, 8823, 8650)."""
    user = ber(0xBE, ber(0x28, ber(0x02, b"\3") + ber(0xA0, body)))
    acse = ber(association[0], association[1:] + user)
    data = ber(0x61, ber(0x30, ber(0x02, b"\1") + ber(0xA0, acse)))
    present = ber(0x31, ber(0xA0, ber(0x80, b"\1")) + ber(0xA2, mode + data))
    options = bytes.fromhex("0506130100160102140200023302000134020001")
    content = options + b"\xc1" + bytes([len(present)]) + present
    return _tpkt(b"\2\xf0\x80" + bytes([spdu, len(content)]) + content)


def mms(client: Host, server: Host, period: int, phase: int, sport: int = 42_000) -> Session:
    """An HMI that reads one measured value over and over (ISO 9506 over RFC 1006)."""
    context = bytes.fromhex("300f020101060452010001300406025101") + bytes.fromhex(
        "3010020103060528ca220201300406025101"
    )
    ask_mode = ber(0x81, b"\0\0\0\1") + ber(0x82, b"\0\0\0\1") + ber(0xA4, context)
    say_mode = ber(0x83, b"\0\0\0\1") + ber(0xA5, bytes.fromhex("300780010081025101") * 2)
    detail = bytes.fromhex("800101810305f100820c03ee1c00000408000079ef18")
    initiate = bytes.fromhex("800300fde881010582010583010a") + ber(0xA4, detail)
    name = bytes.fromhex("a107060528ca220203")
    accepted = bytes.fromhex("a203020100a305a103020100")
    setup = [
        Step(0, 2 * MILLI, _tpkt(bytes.fromhex("11e00000000100c0010ac1020001c2020001"))),
        Step(1, 3 * MILLI, _tpkt(bytes.fromhex("11d00001000200c0010ac1020001c2020001"))),
        Step(0, 4 * MILLI, _mms_open(13, ber(0xA8, initiate), ask_mode, b"\x60" + name)),
        Step(1, 6 * MILLI, _mms_open(14, ber(0xA9, initiate), say_mode, b"\x61" + name + accepted)),
        Step(0, 7 * MILLI),
    ]  # fmt: skip
    item = ber(0xA1, ber(0x1A, b"IED1MEAS") + ber(0x1A, b"MMXU1$MX$TotW$mag$f"))
    read = ber(0xA4, ber(0xA1, ber(0xA0, ber(0x30, ber(0xA0, item)))))
    invoke = ber(0x02, b"\0\0\0\0")
    ask = _mms_data(ber(0xA0, invoke + read))
    answer = _mms_data(ber(0xA1, invoke + ber(0xA4, ber(0xA1, ber(0x87, b"\x08\0\0\0\0")))))

    def number(payload: bytes) -> Patch:
        return Patch(payload.index(b"\x02\4\0\0\0\0") + 2, ">u4", lambda n: n & 0x7FFFFFFF)

    power = Patch(len(answer) - 4, ">f4", lambda n: 40 + 5 * np.sin(n / 50))
    cycle = (
        Step(0, 0, ask, (number(ask),)),
        Step(1, 2 * MILLI, answer, (number(answer), power)),
        Step(0, 3 * MILLI),
    )
    return Session(client, server, 102, period, cycle, setup, phase, sport)


# --- industrial internet of things ------------------------------------------------------------------------


def mqtt(client: Host, server: Host, period: int, phase: int, number: int) -> Session:
    """A gateway that publishes a reading (MQTT 3.1.1, QoS 0)."""
    ident = f"gw-{number:04d}".encode()
    connect = b"\0\4MQTT\4\2\0\x3c" + struct.pack("!H", len(ident)) + ident
    topic = f"plant/line{number % 7}/gw{number:04d}/temperature".encode()
    body = struct.pack("!H", len(topic)) + topic + b'{"t":0000000000,"v":21.50}'
    at = 2 + 2 + len(topic) + 5

    def digits(n: Times) -> np.ndarray:  # type: ignore[type-arg]
        return np.char.zfill((n % 10**10).astype("U10"), 10).astype("S10")

    setup = [
        Step(0, 2 * MILLI, bytes([0x10, len(connect)]) + connect),
        Step(1, 4 * MILLI, b"\x20\2\0\0"),
        Step(0, 5 * MILLI),
    ]
    publish = Step(0, 0, bytes([0x30, len(body)]) + body, (Patch(at, "S10", digits),))
    return Session(
        client, server, 1883, period, (publish, Step(1, MILLI)), setup, phase, 43_000 + number % 20_000
    )


def opcua(client: Host, server: Host, period: int, phase: int, sport: int = 44_000) -> Session:
    """A client that reads one node (OPC 10000-6: HEL, ACK, OPN, then MSG; security policy None)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return kind + b"F" + struct.pack("<I", 8 + len(body)) + body

    url = b"opc.tcp://plc:4840"
    hello = struct.pack("<IIIII", 0, 65_536, 65_536, 0, 0) + struct.pack("<i", len(url)) + url
    policy = b"http://opcfoundation.org/UA/SecurityPolicy#None"
    security = struct.pack("<i", len(policy)) + policy + b"\xff" * 8 + struct.pack("<II", 1, 1)
    request = b"\0\0" + struct.pack("<qIIiI", 0, 1, 0, -1, 10_000) + b"\0\0\0"
    answer = struct.pack("<qIIBi", 0, 1, 0, 0, 0) + b"\0\0\0"
    opening = (
        security + b"\1\0" + struct.pack("<H", 446) + request + struct.pack("<IIIiI", 0, 0, 1, -1, 3_600_000)
    )
    opened = security + b"\1\0" + struct.pack("<H", 449) + answer
    opened += struct.pack("<IIIqIi", 0, 7, 1, 0, 3_600_000, -1)
    setup = [
        Step(0, 2 * MILLI, chunk(b"HEL", hello)),
        Step(1, 3 * MILLI, chunk(b"ACK", struct.pack("<IIIII", 0, 65_536, 65_536, 0, 0))),
        Step(0, 4 * MILLI, chunk(b"OPN", struct.pack("<I", 0) + opening)),
        Step(1, 6 * MILLI, chunk(b"OPN", struct.pack("<I", 7) + opened)),
        Step(0, 7 * MILLI),
    ]
    head = struct.pack("<IIII", 7, 1, 0, 0)
    node = b"\1\2" + struct.pack("<H", 1001)
    read = node + struct.pack("<Ii", 13, -1) + b"\0\0" + struct.pack("<i", -1)
    ask = chunk(
        b"MSG", head + b"\1\0" + struct.pack("<H", 631) + request + struct.pack("<dIi", 0.0, 2, 1) + read
    )
    value = b"\1\x0b" + bytes(8)
    say = chunk(
        b"MSG",
        head
        + b"\1\0"
        + struct.pack("<H", 634)
        + answer
        + struct.pack("<i", 1)
        + value
        + struct.pack("<i", -1),
    )
    serial = (Patch(16, "<u4", lambda n: n + 2), Patch(20, "<u4", lambda n: n + 2))
    number = Patch(len(say) - 12, "<f8", lambda n: 20 + np.sin(n / 60))
    cycle = (Step(0, 0, ask, serial), Step(1, 2 * MILLI, say, (*serial, number)), Step(0, 3 * MILLI))
    return Session(client, server, 4840, period, cycle, setup, phase, sport)


def dns(client: Host, server: Host, period: int, phase: int) -> Exchange:
    """A host that asks for the same name."""
    name = b"\6broker\5plant\7example\0"
    ident = Patch(0, ">u2", lambda n: n * 40_503 & 0xFFFF)
    ask = struct.pack("!HHHHHH", 0, 0x0100, 1, 0, 0, 0) + name + b"\0\1\0\1"
    say = struct.pack("!HHHHHH", 0, 0x8180, 1, 1, 0, 0) + name + b"\0\1\0\1\xc0\x0c\0\1\0\1"
    say += struct.pack("!IH", 300, 4) + client.ip
    return Exchange(
        client, server, 53, period, (Step(0, 0, ask, (ident,)), Step(1, MILLI, say, (ident,))), phase
    )


def ntp(client: Host, server: Host, period: int, phase: int) -> Exchange:
    """A host that keeps its clock (RFC 5905, version 4)."""
    now = EPOCH + 2_208_988_800

    def stamp(at: int) -> Patch:
        return Patch(at, ">u4", lambda n: now + (phase + n * period) // SECOND)

    ask = struct.pack("!BBbb", 0x23, 0, 6, -20) + bytes(44)
    say = struct.pack("!BBbb", 0x24, 1, 6, -20) + struct.pack("!II", 0, 10) + b"GPS\0" + bytes(32)
    steps = (Step(0, 0, ask, (stamp(40),)), Step(1, MILLI, say, (stamp(16), stamp(24), stamp(32), stamp(40))))
    return Exchange(client, server, 123, period, steps, phase, 123)


def arp(asker: Host, target: Host, period: int, phase: int) -> Beacon:
    """Who has that address?"""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + asker.mac + asker.ip + bytes(6) + target.ip
    return Beacon((b"\xff" * 6 + asker.mac + b"\x08\x06" + body).ljust(60, b"\0"), period, phase)
