"""Sources of made-up traffic: each gives all its frames between two times, as matrices.

A source is arithmetic, not a simulation: the n-th frame is a template with a few columns patched, so that
a million frames take seconds. Times are ns since the start; every source of equal arguments is equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]
Piece = tuple[Times, Octets]
"""Times and frames, one row each, all of one size."""

SECOND = 1_000_000_000
FIN, SYN, ACK, PSH = 1, 2, 16, 8
ETH, IP, TCP, UDP = 14, 20, 20, 8


@dataclass(frozen=True)
class Patch:
    """``dtype`` columns of a payload at ``at`` become ``what(n)`` in the n-th frame."""

    at: int
    dtype: str
    what: Callable[[Times], npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Step:
    """One packet of a cycle: who sends (0 client, 1 server) what, how long after the cycle's begin."""

    side: int
    delay: int
    payload: bytes = b""
    patches: tuple[Patch, ...] = ()


class Source(Protocol):
    """Anything that sends."""

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        """Frames of ``begin <= time < end``, piece by piece, in no order."""


def numbers(begin: int, end: int, phase: int, period: int, first: int = 0) -> Times:
    """All n >= first whose time ``phase + n * period`` lies in the interval."""
    low = max(first, -((phase - begin) // period))
    high = -((phase - end) // period)
    return np.arange(low, max(high, low), dtype=np.int64)


def tile(template: bytes, count: int) -> Octets:
    """So many writable copies of a frame."""
    return np.repeat(np.frombuffer(template, np.uint8)[None, :], count, axis=0)


def put(frames: Octets, at: int, values: npt.ArrayLike, dtype: str) -> None:
    """Write a number into the same place of every frame."""
    octets = np.ascontiguousarray(np.broadcast_to(np.asarray(values), len(frames)).astype(dtype))
    width = octets.dtype.itemsize
    frames[:, at : at + width] = octets.view(np.uint8).reshape(len(frames), width)


def checksum(frames: Octets, begin: int, end: int, start: int = 0) -> npt.NDArray[np.uint16]:
    """Internet checksum (RFC 1071) of the same octets of every frame."""
    part = frames[:, begin:end].astype(np.uint32)
    total = start + (part[:, 0::2].sum(axis=1) << 8) + part[:, 1::2].sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).astype(np.uint16)


def mac(ident: int) -> bytes:
    """A locally administered address."""
    return b"\x02\x10" + struct.pack("!I", ident)


def shaken(times: Times, seed: int, begin: int, end: int, spread: float) -> Times:
    """Times with a little noise that stays in the interval and is the same in every run."""
    noise = np.random.default_rng((seed, begin)).normal(0.0, spread, len(times))
    return np.clip(times + noise.astype(np.int64), begin, end - 1)


@dataclass
class Host:
    """An address on the network."""

    ident: int
    net: int = 0x0A14_0000  # 10.20.0.0

    @property
    def mac(self) -> bytes:
        return mac(self.ident)

    @property
    def ip(self) -> bytes:
        return struct.pack("!I", self.net + self.ident)


@dataclass
class Beacon:
    """An Ethernet frame again and again."""

    frame: bytes
    period: int
    phase: int = 0
    patches: tuple[Patch, ...] = ()
    seed: int = 0
    spread: float = 2_000.0

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        n = numbers(begin, end, self.phase, self.period)
        out = tile(self.frame, len(n))
        for patch in self.patches:
            put(out, patch.at, patch.what(n), patch.dtype)
        yield shaken(self.phase + n * self.period, self.seed, begin, end, self.spread), out


@dataclass
class Loop:
    """A table of frames sent row after row, for ever: the samples of one second."""

    table: Octets
    rate: int
    phase: int = 0
    seed: int = 0
    spread: float = 3_000.0

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        # exact over years: whole seconds and a fraction of one
        low = -((self.phase - begin) * self.rate // SECOND)
        n = np.arange(max(0, low - 1), (end - self.phase) * self.rate // SECOND + 2, dtype=np.int64)
        times = self.phase + n // self.rate * SECOND + n % self.rate * SECOND // self.rate
        inside = (times >= begin) & (times < end)
        n, times = n[inside], times[inside]
        yield shaken(times, self.seed, begin, end, self.spread), self.table[n % len(self.table)]


@dataclass
class Exchange:
    """UDP between two hosts: the same steps in every period, no connection."""

    client: Host
    server: Host
    port: int
    period: int
    steps: Sequence[Step]
    phase: int = 0
    sport: int = 50_000

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        for step in self.steps:
            n = numbers(begin, end, self.phase + step.delay, self.period)
            if len(n):
                ends = (self.client, self.server), (self.sport, self.port)
                out = tile(_internet(ends, step, 17, _udp_header(ends[1], step)), len(n))
                _fill(out, step, n, ETH + IP + UDP)
                put(out, ETH + IP + 6, _transport(out, 17), ">u2")
                yield self.phase + step.delay + n * self.period, out


@dataclass
class Session:
    """A TCP connection: handshake, ``setup`` once, then the steps of ``cycle`` in every period.

    Sequence and acknowledgement numbers follow from the sizes; a step without payload is a bare ACK.
    """

    client: Host
    server: Host
    port: int
    period: int
    cycle: Sequence[Step]
    setup: Sequence[Step] = ()
    phase: int = 0
    sport: int = 40_000
    isn: tuple[int, int] = (1_000_000, 3_000_000)
    _opening: list[tuple[Step, int, int, int]] = field(init=False)
    _start: list[int] = field(init=False)

    def __post_init__(self) -> None:
        gap = 400_000
        sent = [self.isn[0] + 1, self.isn[1] + 1]
        self._opening = [
            (Step(0, 0), SYN, self.isn[0], 0),
            (Step(1, gap), SYN | ACK, self.isn[1], sent[0]),
            (Step(0, 2 * gap), ACK, sent[0], sent[1]),
        ]
        for step in self.setup:
            flags = ACK | PSH if step.payload else ACK
            self._opening.append((step, flags, sent[step.side], sent[1 - step.side]))
            sent[step.side] += len(step.payload)
        self._start = sent

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        for step, flags, seq, ack in self._opening:
            if begin <= self.phase + step.delay < end:
                yield self._piece(step, np.zeros(1, np.int64), flags, seq, ack, self.phase + step.delay, 0)
        per_cycle = [sum(len(s.payload) for s in self.cycle if s.side == side) for side in (0, 1)]
        sent = list(self._start)
        first = self.phase + self.period
        for place, step in enumerate(self.cycle):
            n = numbers(begin, end, first + step.delay, self.period)
            if len(n):
                flags = ACK | PSH if step.payload else ACK
                seq = sent[step.side] + n * per_cycle[step.side]
                ack = sent[1 - step.side] + n * per_cycle[1 - step.side]
                times = first + step.delay + n * self.period
                yield self._piece(step, n, flags, seq, ack, times, 8 + len(self.cycle) * n + place)
            sent[step.side] += len(step.payload)

    def _piece(
        self, step: Step, n: Times, flags: int, seq: npt.ArrayLike, ack: npt.ArrayLike, times: npt.ArrayLike,
        ident: npt.ArrayLike,
    ) -> Piece:  # fmt: skip
        ends = (self.client, self.server), (self.sport, self.port)
        out = tile(_internet(ends, step, 6, _tcp_header(ends[1], step, flags)), len(n))
        put(out, ETH + 4, np.asarray(ident) & 0xFFFF, ">u2")
        put(out, ETH + IP + 4, np.asarray(seq) & 0xFFFFFFFF, ">u4")
        put(out, ETH + IP + 8, np.asarray(ack) & 0xFFFFFFFF, ">u4")
        _fill(out, step, n, ETH + IP + TCP)
        put(out, ETH + IP + 16, _transport(out, 6), ">u2")
        return np.broadcast_to(np.asarray(times, np.int64), len(n)), out


Ends = tuple[tuple[Host, Host], tuple[int, int]]


def _ports(ports: tuple[int, int], side: int) -> tuple[int, int]:
    return ports[side], ports[1 - side]


def _tcp_header(ports: tuple[int, int], step: Step, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", *_ports(ports, step.side), 0, 0, 0x50, flags, 64_240, 0, 0)


def _udp_header(ports: tuple[int, int], step: Step) -> bytes:
    return struct.pack("!HHHH", *_ports(ports, step.side), UDP + len(step.payload), 0)


def _internet(ends: Ends, step: Step, proto: int, header: bytes) -> bytes:
    """Ethernet, IPv4 and transport header with the payload, padded to the smallest frame."""
    sender, receiver = ends[0][step.side], ends[0][1 - step.side]
    length = IP + len(header) + len(step.payload)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, proto, 0) + sender.ip + receiver.ip
    return (receiver.mac + sender.mac + b"\x08\0" + ip + header + step.payload).ljust(60, b"\0")


def _fill(frames: Octets, step: Step, n: Times, at: int) -> None:
    for patch in step.patches:
        put(frames, at + patch.at, patch.what(n), patch.dtype)
    put(frames, ETH + 10, checksum(frames, ETH, ETH + IP), ">u2")


def _transport(frames: Octets, proto: int) -> npt.NDArray[np.uint16]:
    """TCP's or UDP's checksum, pseudo-header included; padding behind the packet is left out."""
    length = int(frames[0, ETH + 2]) * 256 + int(frames[0, ETH + 3]) - IP
    addresses = frames[:, ETH + 12 : ETH + 20].astype(np.uint32)
    start = (addresses[:, 0::2].sum(axis=1) << 8) + addresses[:, 1::2].sum(axis=1) + proto + length
    return checksum(frames, ETH + IP, ETH + IP + length, start)  # type: ignore[arg-type]
