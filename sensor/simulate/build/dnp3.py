"""DNP3 octets, built from IEEE 1815-2012 and nothing else: link frames, segments, objects."""

from __future__ import annotations

import struct

MASTER, OUTSTATION = 3, 4


def crc(data: bytes) -> bytes:
    """CRC-16/DNP, bit by bit."""
    value = 0
    for octet in data:
        for bit in range(8):
            carry = (value ^ (octet >> bit)) & 1
            value = (value >> 1) ^ (0xA6BC if carry else 0)
    return struct.pack("<H", value ^ 0xFFFF)


def link(control: int, user: bytes = b"", *, dst: int | None = None, src: int | None = None) -> bytes:
    """A link frame; addresses follow the direction bit unless given."""
    from_master = control & 0x80 != 0
    dst = (OUTSTATION if from_master else MASTER) if dst is None else dst
    src = (MASTER if from_master else OUTSTATION) if src is None else src
    head = struct.pack("<BBBBHH", 0x05, 0x64, 5 + len(user), control, dst, src)
    blocks = [user[i : i + 16] for i in range(0, len(user), 16)]
    return head + crc(head) + b"".join(block + crc(block) for block in blocks)


def request(function: int, objects: bytes = b"", *, seq: int = 1, transport: int = 0, **ends: int) -> bytes:
    """A whole request in one frame."""
    return link(0xC4, bytes([0xC0 | transport, 0xC0 | seq, function]) + objects, **ends)


def response(
    objects: bytes = b"", *, iin: int = 0, seq: int = 1, function: int = 129, transport: int = 0, **ends: int
) -> bytes:
    """A whole response in one frame."""
    head = bytes([0xC0 | transport, 0xC0 | seq, function]) + struct.pack(">H", iin)
    return link(0x44, head + objects, **ends)


def segments(control: int, fragment: bytes, size: int = 249, first: int = 0) -> list[bytes]:
    """An application fragment over several link frames."""
    pieces = [fragment[i : i + size] for i in range(0, len(fragment), size)]
    frames = []
    for place, piece in enumerate(pieces):
        octet = (
            (first + place) & 0x3F | (0x40 if place == 0 else 0) | (0x80 if place == len(pieces) - 1 else 0)
        )
        frames.append(link(control, bytes([octet]) + piece))
    return frames


def span(group: int, variation: int, start: int, stop: int, data: bytes = b"") -> bytes:
    """Qualifier 00: start and stop of one octet each."""
    return bytes([group, variation, 0x00, start, stop]) + data


def indexed(group: int, variation: int, *objects: tuple[int, bytes]) -> bytes:
    """Qualifier 28: quantity of two octets, every object behind an index of two."""
    head = bytes([group, variation, 0x28]) + struct.pack("<H", len(objects))
    return head + b"".join(struct.pack("<H", index) + data for index, data in objects)


def everything(group: int, variation: int) -> bytes:
    """Qualifier 06: all of them."""
    return bytes([group, variation, 0x06])


def free(group: int, variation: int, data: bytes) -> bytes:
    """Qualifier 5B: one object behind its size."""
    return bytes([group, variation, 0x5B, 1]) + struct.pack("<H", len(data)) + data


def crob(code: int, status: int = 0) -> bytes:
    """Control relay output block: code, count, on, off, status."""
    return struct.pack("<BBIIB", code, 1, 100, 200, status)


def file_command(name: bytes, mode: int = 1) -> bytes:
    """Group 70 variation 3."""
    return struct.pack("<HH6xHIIHHH", 26, len(name), 0, 0, 0, mode, 1024, 1) + name


def time(ms: int) -> bytes:
    return struct.pack("<Q", ms)[:6]
