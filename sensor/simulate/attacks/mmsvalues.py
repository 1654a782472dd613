"""MMS PDUs as the attacks need them (ISO 9506-2, IEC 61850-8-1): values in flight, names of a capture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sensor.simulate.attacks.common import Number
from sensor.simulate.scene import Connection, Scene

DATA: Final = b"\x02\xf0\x80\x01\x00\x01\x00"
"""COTP data unit that ends a message, then the session's give tokens and data transfer."""

REQUEST, RESPONSE, UNCONFIRMED = 0xA0, 0xA1, 0xA3
READ, WRITE, REPORT, LIST = 0xA4, 0xA5, 0xA0, 0xA0
ARRAY, STRUCTURE, INTEGER, FLOAT = 0xA1, 0xA2, 0x85, 0x87
VISIBLE: Final = 0x1A
DEEPEST: Final = 12
STATES: Final = 15
"""INTEGERs from 0 to this may be enumerations and stay as they are."""

MOST: Final = 10_000
_Name = TypeVar("_Name")


def tpkts(payload: bytes) -> Iterator[tuple[int, int]]:
    """(offset, end) of the whole TPKTs that begin in a segment (RFC 1006)."""
    at = 0
    while at + 7 <= len(payload) and payload[at] == 3:
        size = int.from_bytes(payload[at + 2 : at + 4], "big")
        if size < 7 or at + size > len(payload):
            return
        yield at, at + size
        at += size


def elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(tag, offset of the contents, their end) of BER elements of one level; a long tag as its two octets."""
    while at + 2 <= end:
        tag, at = data[at], at + 1
        if tag & 0x1F == 0x1F:
            tag, at = tag << 8 | data[at], at + 1
        if at >= end:
            return
        size, at = data[at], at + 1
        if size & 0x80:
            octets = size & 0x7F
            if octets not in (1, 2, 3) or at + octets > end:
                return
            size, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        if at + size > end:
            return
        yield tag, at, at + size
        at += size


def pdus(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, offset, end) of the MMS PDUs of a segment."""
    for at, end in tpkts(payload):
        if payload[at + 4 : at + 11] != DATA:
            continue
        for tag, first, last in elements(payload, at + 11, end):
            if tag == 0x61:
                yield from _presented(payload, first, last)


def _presented(payload: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The PDUs of a presentation data value list."""
    for tag, first, last in elements(payload, at, end):
        if tag == 0x30:
            for inner, one, two in elements(payload, first, last):
                if inner == 0xA0:
                    yield from elements(payload, one, two)


def results(payload: bytes) -> Iterator[tuple[int, int]]:
    """(offset, end) of the lists of access results of read answers and reports."""
    for tag, at, end in pdus(payload):
        parts = list(elements(payload, at, end))
        if tag == RESPONSE:
            for service, first, last in parts:
                if service == READ:
                    yield from ((a, b) for t, a, b in elements(payload, first, last) if t == 0xA1)
        elif tag == UNCONFIRMED and parts and parts[0][0] == REPORT:
            inside = list(elements(payload, parts[0][1], parts[0][2]))
            yield from ((a, b) for t, a, b in inside[1:] if t == LIST)


def with_numbers(payload: bytes, change: Number) -> bytes:
    """A segment in which the FLOAT32 and INTEGER values that a server tells are changed.

    An answer names no object: values at the same place of answers of the same size count as one point.
    """
    out = bytearray(payload)
    for at, end in results(payload):
        for place, (tag, first, last) in enumerate(_leaves(payload, at, end, 0)):
            key = len(payload), at, place
            if tag == FLOAT and last - first == 5 and payload[first] == 8:
                (value,) = struct.unpack_from("!f", payload, first + 1)
                struct.pack_into("!f", out, first + 1, max(-3e38, min(3e38, change(key, value))))
            elif tag == INTEGER and 0 < last - first <= 8:
                size, value = last - first, int.from_bytes(payload[first:last], "big", signed=True)
                if 0 <= value <= STATES:
                    continue
                most = (1 << (8 * size - 1)) - 1
                made = max(-most - 1, min(most, round(change(key, value))))
                out[first:last] = made.to_bytes(size, "big", signed=True)
    return bytes(out)


def _leaves(data: bytes, at: int, end: int, depth: int) -> Iterator[tuple[int, int, int]]:
    for tag, first, last in elements(data, at, end):
        if tag in (ARRAY, STRUCTURE) and depth < DEEPEST:
            yield from _leaves(data, first, last, depth + 1)
        else:
            yield tag, first, last


@dataclass(slots=True)
class Names:
    """What the requests and answers of an association name: domains, items with their data, files."""

    domains: list[str] = field(default_factory=list)
    items: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def item(self, constraint: str, ends: tuple[str, ...] = ()) -> tuple[str, str] | None:
        """A (domain, item) of a functional constraint (CO, SP …), one with the wanted ending first."""
        mine = [pair for pair in self.items if f"${constraint}$" in pair[1]]
        wanted = [pair for pair in mine if pair[1].endswith(ends)] if ends else []
        return next(iter(wanted or mine), None)


def names(scene: Scene, talk: Connection) -> Names:
    """The names of an association."""
    found = Names()
    for row in talk.rows:
        payload = scene.packets[row].payload
        for _, at, end in pdus(payload):
            _gather(payload, at, end, found, 0)
    return found


def _gather(data: bytes, at: int, end: int, found: Names, depth: int) -> None:
    texts: list[str] = []
    for tag, first, last in elements(data, at, end):
        if tag == VISIBLE:
            texts.append(data[first:last].decode("ascii", "replace"))
        elif tag == 0x19 and b"." in data[first:last]:
            _once(found.files, data[first:last].decode("ascii", "replace"))
        elif (tag & 0x20 and tag < 0x100 and depth < DEEPEST) or tag > 0xFF:
            _gather(data, first, last, found, depth + 1)
    if len(texts) == 2 and texts[0] and "$" not in texts[0]:
        _once(found.domains, texts[0])
        _once(found.items, (texts[0], texts[1]))
    elif len(texts) > 2:  # an answer to getNameList
        for name in texts:
            if "$" in name and found.domains:
                _once(found.items, (found.domains[-1], name))


def _once(where: list[_Name], what: _Name) -> None:
    if what not in where and len(where) < MOST:
        where.append(what)
