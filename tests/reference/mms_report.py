"""Slow twin of ``sensor.wire.mms_report``: the head of a report, element by element (IEC 61850-8-1, 17.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Element = tuple[int, bytes]


@dataclass
class Head:
    """What a report says of itself; -1 and empty for what it does not say."""

    ident: bytes = b""
    data_set: bytes = b""
    number: int = -1
    parts: int = -1


def elements(data: bytes) -> Iterator[Element]:
    """(tag, contents) of whole elements with tags of one octet; ends at the first that is not."""
    while len(data) >= 2 and data[0] & 0x1F != 0x1F:
        tag, length, rest = data[0], data[1], data[2:]
        if length > 0x80:
            octets = length & 0x7F
            if octets > 4 or len(rest) < octets:
                return
            length, rest = int.from_bytes(rest[:octets], "big"), rest[octets:]
        elif length == 0x80:
            return
        if len(rest) < length:
            return
        yield tag, rest[:length]
        data = rest[length:]


def unsigned(contents: bytes) -> int:
    """An unsigned integer under 2**32; -1 another."""
    value = int.from_bytes(contents, "big")
    return value if contents and len(contents) <= 5 and value < 1 << 32 else -1


def head(values: bytes) -> Head:
    """The head of a report whose values these are."""
    found, rest = Head(), elements(values)
    tag, contents = next(rest, (0, b""))
    if tag != 0x8A:
        return found
    found.ident = contents
    tag, options = next(rest, (0, b""))
    if tag != 0x84 or len(options) < 2:
        return found
    bits = [bool(octet & 0x80 >> bit) for octet in options[1:3] for bit in range(8)] + [False] * 16
    for bit, wanted in (
        (1, 0x86),
        (2, 0x8C),
        (4, 0x8A),
        (6, 0x83),
        (7, 0x89),
        (8, 0x86),
        (9, 0x86),
        (9, 0x83),
    ):
        if not bits[bit]:
            continue
        tag, contents = next(rest, (0, b""))
        if tag != wanted:
            return found
        if bit == 1:
            found.number = unsigned(contents)
        elif bit == 4:
            found.data_set = contents
        elif tag == 0x83:
            true = len(contents) == 1 and contents[0] != 0
            found.parts = max(found.parts, 0) | (true << (bit == 9))
        elif bit == 9:
            found.parts = max(found.parts, 0) | max(unsigned(contents), 0) << 2
    return found
