"""IEEE C37.118.2 frames built by the book."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def crc(data: bytes) -> int:
    """CRC-CCITT, bit by bit."""
    value = 0xFFFF
    for octet in data:
        value ^= octet << 8
        for _ in range(8):
            value = ((value << 1) ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def frame(
    kind: int, body: bytes, ident: int = 7, *, size: int | None = None, quality: int = 0, bad: bool = False
) -> bytes:
    """A whole frame; ``size`` lies about its length, ``bad`` spoils the checksum."""
    length = 16 + len(body) if size is None else size
    head = struct.pack("!BBHHII", 0xAA, kind << 4 | 2, length, ident, 1_700_000_000, quality << 24 | 500_000)
    return head + body + struct.pack("!H", crc(head + body) ^ bad)


def pmu(
    form: int, phasors: int, analogs: int, digitals: int, name: str = "STATION A", ident: int = 7
) -> bytes:
    """A PMU's part of a configuration 1 or 2."""
    head = name.encode().ljust(16) + struct.pack("!HHHHH", ident, form, phasors, analogs, digitals)
    names = bytes(16 * (phasors + analogs + 16 * digitals))
    return head + names + bytes(4 * (phasors + analogs + digitals)) + struct.pack("!HH", 1, 3)


def config(
    pmus: Sequence[bytes], kind: int = 3, rate: int = 50, count: int | None = None, **more: int
) -> bytes:
    """Configuration 1 or 2."""
    number = len(pmus) if count is None else count
    return frame(
        kind, struct.pack("!IH", 1_000_000, number) + b"".join(pmus) + struct.pack("!h", rate), **more
    )


def pmu3(
    form: int, phasors: int, analogs: int, digitals: int, name: str = "STATION A", ident: int = 7
) -> bytes:
    """A PMU's part of a configuration 3: names with their lengths in front."""
    names = "".join(f"{chr(3)}c{number:02d}" for number in range(phasors + analogs + 16 * digitals)).encode()
    head = bytes([len(name)]) + name.encode() + struct.pack("!H", ident) + bytes(16)
    head += struct.pack("!HHHH", form, phasors, analogs, digitals) + names
    scales = bytes(12 * phasors + 8 * analogs + 4 * digitals)
    return head + scales + struct.pack("!fffcffHH", 48.1, 11.5, 500.0, b"M", 20.0, 0.0, 1, 3)


def config3(pmus: Sequence[bytes], rate: int = 50, more: int = 0, **options: int) -> bytes:
    """Configuration 3; ``more`` is its CONT_IDX, 0 when it is in one frame."""
    head = struct.pack("!HIH", more, 1_000_000, len(pmus))
    return frame(5, head + b"".join(pmus) + struct.pack("!h", rate), **options)


def command(code: int, more: bytes = b"", **options: int) -> bytes:
    """A command; ``more`` is an extended frame's data."""
    return frame(4, struct.pack("!H", code) + more, **options)


def block(
    form: int,
    phasors: int,
    freq: float,
    change: float,
    analogs: Sequence[float] = (),
    digitals: int = 0,
    status: int = 0,
) -> bytes:
    """A PMU's part of a data frame."""
    body = struct.pack("!H", status) + bytes(phasors * (8 if form & 2 else 4))
    body += struct.pack(
        "!ff" if form & 8 else "!hh", *((freq, change) if form & 8 else (int(freq), int(change)))
    )
    for value in analogs:
        body += struct.pack("!f", value) if form & 4 else struct.pack("!h", int(value))
    return body + bytes(2 * digitals)
