"""DNP3 fragments as the attacks need them (IEEE 1815-2012): objects in link frames, changed, CRCs right."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from sensor.simulate.attacks.common import Number
from sensor.simulate.build.dnp3 import crc

START: Final = b"\x05\x64"
HEADER, BLOCK, CRC = 10, 16, 2
FIRST, LAST = 0x40, 0x80
RESPONSES: Final = (129, 130)

SIZES: Final = {
    (1, 2): 1, (2, 1): 1, (2, 2): 7, (2, 3): 3, (3, 2): 1, (4, 1): 1, (4, 2): 7, (4, 3): 3,
    (10, 2): 1, (11, 1): 1, (11, 2): 7,
    (20, 1): 5, (20, 2): 3, (20, 5): 4, (20, 6): 2, (21, 1): 5, (21, 2): 3, (21, 9): 4, (21, 10): 2,
    (22, 1): 5, (22, 2): 3, (22, 5): 11, (22, 6): 9, (23, 1): 5, (23, 2): 3, (23, 5): 11, (23, 6): 9,
    (30, 1): 5, (30, 2): 3, (30, 3): 4, (30, 4): 2, (30, 5): 5, (30, 6): 9,
    (32, 1): 5, (32, 2): 3, (32, 3): 11, (32, 4): 9, (32, 5): 5, (32, 6): 9, (32, 7): 11, (32, 8): 15,
    (40, 1): 5, (40, 2): 3, (40, 3): 5, (40, 4): 9, (50, 1): 6,
    (51, 1): 6, (51, 2): 6, (52, 1): 2, (52, 2): 2,
}  # fmt: skip
"""Octets of one object by group and variation (clause 11 and annex A); what is not here ends a reading."""

PACKED: Final = {(1, 1): 1, (3, 1): 2, (10, 1): 1, (80, 1): 1}
"""Bits of one object of a packed format."""

FORMS: Final = {
    (30, 1): "<i", (30, 2): "<h", (30, 3): "<i", (30, 4): "<h", (30, 5): "<f", (30, 6): "<d",
    (32, 1): "<i", (32, 2): "<h", (32, 3): "<i", (32, 4): "<h", (32, 5): "<f", (32, 6): "<d", (32, 7): "<f",
    (32, 8): "<d",
}  # fmt: skip
"""Form of the values of analog inputs and their events."""

BARE: Final = ((30, 3), (30, 4))
"""Analog inputs without an octet of flags."""

BOUNDS: Final = {"<h": (-32_768, 32_767), "<i": (-(1 << 31), (1 << 31) - 1)}


def frames(payload: bytes) -> Iterator[tuple[int, int]]:
    """(offset, octets of user data) of the whole link frames that begin in a payload."""
    at = 0
    while at + HEADER <= len(payload) and payload[at : at + 2] == START and payload[at + 2] >= 5:
        user = payload[at + 2] - 5
        size = HEADER + user + CRC * -(-user // BLOCK)
        if at + size > len(payload):
            return
        yield at, user
        at += size


def _places(at: int, user: int) -> list[int]:
    """Offsets of the octets of user data of the link frame at an offset."""
    return [at + HEADER + i + CRC * (i // BLOCK) for i in range(user)]


def with_numbers(payload: bytes, change: Number) -> bytes:
    """A payload in which the analog inputs of the responses that lie whole within it are changed."""
    out, gathered = bytearray(payload), list[int]()
    begun = False
    for at, user in frames(payload):
        places = _places(at, user)
        if not places:
            continue
        transport = payload[places[0]]
        if transport & FIRST:
            begun, gathered = True, []
        gathered += places[1:]
        if transport & LAST:
            if begun:
                _change(out, gathered, change)
            begun = False
    if out != payload:
        _sign(out)
    return bytes(out)


def _sign(out: bytearray) -> None:
    """Make the CRCs of all data blocks right."""
    for at, user in frames(bytes(out)):
        for first in range(0, user, BLOCK):
            begin = at + HEADER + first + CRC * (first // BLOCK)
            end = begin + min(BLOCK, user - first)
            out[end : end + CRC] = crc(bytes(out[begin:end]))


def _change(out: bytearray, places: list[int], change: Number) -> None:
    """Change the analog inputs of a fragment whose octets lie at some places."""
    data = bytes(out[place] for place in places)
    if len(data) < 4 or data[1] not in RESPONSES:
        return
    for sort, index, at in objects(data, 4):
        form = FORMS.get(sort)
        if form is None:
            continue
        at += sort not in BARE
        (value,) = struct.unpack_from(form, data, at)
        made = change((sort[0], index), value)
        if form in BOUNDS:
            low, high = BOUNDS[form]
            octets = struct.pack(form, max(low, min(high, round(made))))
        else:
            octets = struct.pack(form, max(-3e38, min(3e38, made)))
        for place, octet in zip(places[at:], octets, strict=False):
            out[place] = octet


def objects(data: bytes, at: int) -> Iterator[tuple[tuple[int, int], int, int]]:
    """((group, variation), index, offset) of the objects from an offset of a fragment on."""
    while at + 3 <= len(data):
        sort, qualifier = (data[at], data[at + 1]), data[at + 2]
        at += 3
        span = _span(data, at, qualifier)
        if span is None:
            return
        at, first, count, prefix = span
        if sort in PACKED:
            at += (PACKED[sort] * count + 7) // 8
            continue
        size = SIZES.get(sort)
        if size is None or at + count * (size + prefix) > len(data):
            return
        for number in range(count):
            index = int.from_bytes(data[at : at + prefix], "little") if prefix else first + number
            yield sort, index, at + prefix
            at += prefix + size


def _span(data: bytes, at: int, qualifier: int) -> tuple[int, int, int, int] | None:
    """(offset behind it, first index, objects, octets of each prefix) of a range field, None when unknown."""
    prefix, code = qualifier >> 4, qualifier & 15
    if code in (0, 1) and not prefix:
        width = code + 1
        first, last = (int.from_bytes(data[at + i * width : at + (i + 1) * width], "little") for i in (0, 1))
        return (at + 2 * width, first, last - first + 1, 0) if last >= first else None
    if code in (7, 8) and prefix in (0, 1, 2):
        width = code - 6
        return at + width, 0, int.from_bytes(data[at : at + width], "little"), prefix
    return (at, 0, 0, 0) if qualifier == 6 else None
