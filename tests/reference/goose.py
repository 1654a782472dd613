"""One GOOSE frame behind its ethertype (IEC 61850-8-1:2011 annexes A and C; BER of ITU-T X.690)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAX_DEPTH = 16
MAX_ENTRIES = 4096
MAX_TEXT = 255
NAN = float("nan")
ARRAY, STRUCTURE = 0xA1, 0xA2
REQUIRED = {0, 1, 2, 4, 5, 6, 8, 10, 11}


class Broken(Exception):
    """An element that does not fit, or a length that is not definite and short."""


@dataclass
class Pdu:
    """What one frame says; ``entries`` are tag, value and quality of the leaves, depth first."""

    appid: int
    size: int = 0
    kind: int = -1
    reference: bytes | None = None
    dataset: bytes | None = None
    goid: bytes | None = None
    tal: int = -1
    time: float = NAN
    st_num: int = -1
    sq_num: int = -1
    conf_rev: int = -1
    count: int = -1
    test: bool = False
    commissioning: bool = False
    malformed: bool = False
    truncated: bool = False
    bad_entries: bool = False  # of an allData that is there whole, so that a cut excuses nothing
    entries: list[tuple[int, float, int]] = field(default_factory=list)


def element(data: bytes, at: int, fit: bool = True) -> tuple[int, bytes, int]:
    """(tag, contents, offset behind them) of the element at ``at``; ``fit=False``: what there is of it."""
    if len(data) - at < 2:
        raise Broken
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4 or len(data) - at < octets:
            raise Broken
        size = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if fit and len(data) - at < size:
        raise Broken
    return tag, data[at : at + size], at + size


def unsigned(octets: bytes, bits: int = 63) -> int:
    """Number under ``2**bits`` in at most nine octets (INT64U with a leading zero); -1 for none or more."""
    if not 1 <= len(octets) <= 9:
        return -1
    value = int.from_bytes(octets, "big")
    return value if value < 2**bits else -1


def utc_time(octets: bytes) -> float:
    """Seconds since 1970 and a binary fraction of 24 bits."""
    return int.from_bytes(octets[:4], "big") + int.from_bytes(octets[4:7], "big") / 2**24


def parse(data: bytes, whole: bool) -> Pdu | None:
    """The frame behind its ethertype, None when it holds no goosePdu; ``whole``: nothing of it was cut."""
    found = Pdu(int.from_bytes(data[:2], "big") if len(data) >= 2 else 0)
    if len(data) < 10:
        found.truncated, found.malformed = not whole, whole
        return found
    length, reserved = struct.unpack_from("!HH", data, 2)
    frame = data[:length]
    if len(frame) < 10 or frame[8] != 0x61:
        return None
    found.test = bool(reserved & 0x8000)
    found.size = len(frame)
    short = length > len(data)
    try:
        _, body, behind = element(frame, 8, fit=not short)
        found.malformed = behind != len(frame) and not short
        _fields(found, body)
    except Broken:
        found.malformed = True
    if found.sq_num >= 0:
        found.kind = 1 if found.sq_num == 0 else 2
    if short:
        found.malformed, found.truncated = whole, not whole
    found.malformed |= found.bad_entries
    return found


def _fields(found: Pdu, body: bytes) -> None:
    """The goosePdu's fields up to the first that is broken (annex A, IECGoosePdu)."""
    at = 0
    data: bytes | None = None
    seen = set()
    try:
        while at < len(body):
            tag, octets, at = element(body, at)
            if tag & 0xC0 == 0x80:
                seen.add(tag & 0x1F)
            if tag == 0xAB:
                data = octets
            else:
                _field(found, tag, octets)
        found.malformed |= not seen >= REQUIRED
    finally:
        if data is not None:
            _entries(found, data)


def _field(found: Pdu, tag: int, octets: bytes) -> None:
    if tag == 0x80:
        found.reference = octets
    elif tag == 0x81:
        found.tal = unsigned(octets)
    elif tag == 0x82:
        found.dataset = octets
    elif tag == 0x83:
        found.goid = octets
    elif tag == 0x84 and len(octets) == 8:
        found.time = utc_time(octets)
    elif tag == 0x84:
        found.malformed = True
    elif tag == 0x85:
        found.st_num = unsigned(octets)
    elif tag == 0x86:
        found.sq_num = unsigned(octets)
    elif tag == 0x87:
        found.test |= len(octets) == 1 and octets != b"\0"
    elif tag == 0x88:
        found.conf_rev = min(unsigned(octets), 2**31 - 1)
    elif tag == 0x89:
        found.commissioning |= len(octets) == 1 and octets != b"\0"
    elif tag == 0x8A:
        found.count = min(unsigned(octets), 2**31 - 1)


def _entries(found: Pdu, data: bytes) -> None:
    try:
        _walk(found, data, 0)
    except Broken:
        found.bad_entries = True


def _walk(found: Pdu, data: bytes, depth: int) -> None:
    at = 0
    while at < len(data):
        tag, octets, at = element(data, at)
        if tag in (ARRAY, STRUCTURE):
            if depth == MAX_DEPTH:
                raise Broken
            _walk(found, octets, depth + 1)
        elif len(found.entries) == MAX_ENTRIES:
            raise Broken
        else:
            found.entries.append((tag, *leaf(tag, octets)))


def leaf(tag: int, octets: bytes) -> tuple[float, int]:
    """Value and quality of one Data element (ISO 9506-2, Data)."""
    size = len(octets)
    if tag == 0x83 and size == 1:
        return float(octets != b"\0"), -1
    if tag == 0x84 and 2 <= size <= 7 and octets[0] <= 7:
        return float(int.from_bytes(octets[1:], "big") >> octets[0]), -1
    if tag == 0x85 and 1 <= size <= 8:
        return float(int.from_bytes(octets, "big", signed=True)), -1
    if tag == 0x86:
        value = unsigned(octets, 64)
        return (float(value) if value >= 0 else NAN), -1
    if tag == 0x87 and size == 5 and octets[0] == 8:
        return float(struct.unpack("!f", octets[1:])[0]), -1
    if tag == 0x87 and size == 9 and octets[0] == 11:
        return float(struct.unpack("!d", octets[1:])[0]), -1
    if tag == 0x91 and size == 8:
        return utc_time(octets), octets[7]
    return NAN, -1
