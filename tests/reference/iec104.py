"""One APDU of IEC 60870-5-104:2006 (clause 5) and its ASDU (IEC 60870-5-101:2003, clause 7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = 0x68
Decoded = tuple[float, int, bool]
"""Value, quality octet or -1, select bit."""
NAN = float("nan")

# --- information elements (clause 7.2.6): each takes the octets of one element ---------------------------


def _siq(e: bytes) -> Decoded:
    return float(e[0] & 1), e[0] & 0xF0, False


def _diq(e: bytes) -> Decoded:
    return float(e[0] & 3), e[0] & 0xF0, False


def _vti(e: bytes) -> Decoded:
    """Seven bits with sign, bit 8 is "in transit"."""
    value = e[0] & 0x7F
    return float(value - 128 if value > 63 else value), e[1], False


def _bsi(e: bytes) -> Decoded:
    return float(int.from_bytes(e[:4], "big")), e[4], False


def _nva(e: bytes) -> Decoded:
    return int.from_bytes(e[:2], "little", signed=True) / 2**15, e[2], False


def _nva_alone(e: bytes) -> Decoded:
    return int.from_bytes(e[:2], "little", signed=True) / 2**15, -1, False


def _sva(e: bytes) -> Decoded:
    return float(int.from_bytes(e[:2], "little", signed=True)), e[2], False


def _r32(e: bytes) -> Decoded:
    return float(struct.unpack("<f", e[:4])[0]), e[4], False


def _bcr(e: bytes) -> Decoded:
    return float(int.from_bytes(e[:4], "little", signed=True)), e[4], False


def _sep(e: bytes) -> Decoded:
    """Single event of protection equipment: five quality bits from bit 4 on."""
    return float(e[0] & 3), e[0] & 0xF8, False


def _spe(e: bytes) -> Decoded:
    """Start events or output circuits of protection equipment, then QDP."""
    return float(e[0]), e[1], False


def _scd(e: bytes) -> Decoded:
    """Sixteen states, sixteen change detection bits, QDS."""
    return float(int.from_bytes(e[:2], "little")), e[4], False


def _single_command(e: bytes) -> Decoded:
    return float(e[0] & 1), -1, e[0] >= 0x80


def _double_command(e: bytes) -> Decoded:
    return float(e[0] & 3), -1, e[0] >= 0x80


def _set_normalised(e: bytes) -> Decoded:
    return _nva(e)[0], -1, e[2] >= 0x80


def _set_scaled(e: bytes) -> Decoded:
    return _sva(e)[0], -1, e[2] >= 0x80


def _set_float(e: bytes) -> Decoded:
    return _r32(e)[0], -1, e[4] >= 0x80


def _bits32(e: bytes) -> Decoded:
    return float(int.from_bytes(e[:4], "big")), -1, False


def _octet(e: bytes) -> Decoded:
    return float(e[0]), -1, False


def _word(e: bytes) -> Decoded:
    return float(int.from_bytes(e[:2], "little")), -1, False


def _parameter_scaled(e: bytes) -> Decoded:
    return _sva(e)[0], -1, False


def _parameter_float(e: bytes) -> Decoded:
    return _r32(e)[0], -1, False


def _none(e: bytes) -> Decoded:
    return NAN, -1, False


CP24, CP56 = 3, 7
TIME_TAG = 1 << 20
TAGGED = {*range(30, 41), *range(58, 65)}
"""Types whose element ends with a time of seven octets, which is a point beside its value."""
CLOCK = 103
TYPES: dict[int, tuple[int, Callable[[bytes], Decoded]]] = {
    1: (1, _siq), 2: (1 + CP24, _siq), 3: (1, _diq), 4: (1 + CP24, _diq),
    5: (2, _vti), 6: (2 + CP24, _vti), 7: (5, _bsi), 8: (5 + CP24, _bsi),
    9: (3, _nva), 10: (3 + CP24, _nva), 11: (3, _sva), 12: (3 + CP24, _sva),
    13: (5, _r32), 14: (5 + CP24, _r32), 15: (5, _bcr), 16: (5 + CP24, _bcr),
    17: (1 + 2 + CP24, _sep), 18: (2 + 2 + CP24, _spe), 19: (2 + 2 + CP24, _spe),
    20: (5, _scd), 21: (2, _nva_alone),
    30: (1 + CP56, _siq), 31: (1 + CP56, _diq), 32: (2 + CP56, _vti), 33: (5 + CP56, _bsi),
    34: (3 + CP56, _nva), 35: (3 + CP56, _sva), 36: (5 + CP56, _r32), 37: (5 + CP56, _bcr),
    38: (1 + 2 + CP56, _sep), 39: (2 + 2 + CP56, _spe), 40: (2 + 2 + CP56, _spe),
    45: (1, _single_command), 46: (1, _double_command), 47: (1, _double_command),
    48: (3, _set_normalised), 49: (3, _set_scaled), 50: (5, _set_float), 51: (4, _bits32),
    58: (1 + CP56, _single_command), 59: (1 + CP56, _double_command), 60: (1 + CP56, _double_command),
    61: (3 + CP56, _set_normalised), 62: (3 + CP56, _set_scaled), 63: (5 + CP56, _set_float),
    64: (4 + CP56, _bits32),
    70: (1, _octet), 100: (1, _octet), 101: (1, _octet), 102: (0, _none), 103: (CP56, _none),
    104: (2, _word), 105: (1, _octet), 106: (2, _word), 107: (2 + CP56, _word),
    110: (3, _nva_alone), 111: (3, _parameter_scaled), 112: (5, _parameter_float), 113: (1, _octet),
    120: (6, _none), 121: (7, _none), 122: (4, _none), 123: (5, _none), 124: (4, _none),
    126: (6 + CP56, _none), 127: (2 + CP56 + CP56, _none),
}  # fmt: skip
"""Type id: octets of one element behind its address, and how it is read. 125 (file segment) varies."""


@dataclass
class Apdu:
    """What one APDU says."""

    kind: int = -1
    cause: int = -1
    count: int = -1
    seq: int = -1
    state: int = -1
    originator: int = -1
    point: int = -1
    value: float = NAN
    negative: bool = False
    test: bool = False
    select: bool = False
    broadcast: bool = False
    malformed: bool = False
    objects: list[tuple[int, int, float, int]] = field(default_factory=list)  # kind, point, value, quality


def length(data: bytes) -> int | None:
    """Octets of the APDU at the head of ``data``; None when not known yet; 0 when none begins here."""
    if not data:
        return None
    if data[0] != START:
        return 0
    return 2 + data[1] if len(data) >= 2 else None


def parse(apdu: bytes) -> Apdu:
    """A whole APDU, or the captured head of one."""
    found = Apdu()
    if not 4 <= len(apdu) - 2 <= 253:
        found.malformed = True
        return found
    control, body = apdu[2:6], apdu[6:]
    if control[0] & 3 == 3:
        found.kind = 512 + (control[0] >> 2)
        found.malformed = bool(body)
        return found
    found.state = int.from_bytes(control[2:4], "little") >> 1
    if control[0] & 1:
        found.kind = 256
        found.malformed = bool(body)
        return found
    found.seq = int.from_bytes(control[0:2], "little") >> 1
    if len(body) < 6:
        found.malformed = True
    else:
        _asdu(found, body)
    return found


def _asdu(found: Apdu, body: bytes) -> None:
    found.kind, qualifier, cause, found.originator, common = struct.unpack_from("<BBBBH", body)
    found.count = qualifier & 0x7F
    found.cause = cause & 0x3F
    found.negative, found.test = bool(cause & 0x40), bool(cause & 0x80)
    found.broadcast = common == 0xFFFF
    data = body[6:]
    if len(data) >= 3:
        found.point = common << 24 | int.from_bytes(data[:3], "little")
    if found.kind not in TYPES:
        return
    size, element = TYPES[found.kind]
    sequence = bool(qualifier & 0x80)
    need = 3 + found.count * size if sequence else found.count * (3 + size)
    found.malformed = found.count == 0 or len(data) != need
    for address, octets in _elements(data, found.count, size, sequence):
        value, quality, select = element(octets)
        if not found.objects:
            found.value, found.select = value, select
        if found.kind == CLOCK and not found.objects:
            found.value = cp56(octets)
        found.objects.append((found.kind, common << 24 | address, value, quality))
        if found.kind in TAGGED:
            time = octets[-CP56:]
            invalid = (0x80 if time[2] & 0x80 else 0) | (0x40 if time[3] & 0x80 else 0)
            found.objects.append((TIME_TAG | found.kind, common << 24 | address, cp56(time), invalid))


def cp56(e: bytes) -> float:
    """Seven octets of time (60870-5-101, 7.2.6.18) as seconds since 1970, whatever their zone."""
    year, month, day = e[6] & 0x7F, e[5] & 0x0F, e[4] & 0x1F
    millis = int.from_bytes(e[:2], "little")
    clock = timedelta(hours=e[3] & 0x1F, minutes=e[2] & 0x3F, milliseconds=millis)
    if (
        year > 99
        or not 1 <= month <= 12
        or day < 1
        or e[3] & 0x1F > 23
        or e[2] & 0x3F > 59
        or millis > 59_999
    ):
        return NAN
    moment = datetime(1900 + year if year >= 70 else 2000 + year, month, 1, tzinfo=UTC)
    return (moment + timedelta(days=day - 1) + clock).timestamp()


def _elements(data: bytes, count: int, size: int, sequence: bool) -> list[tuple[int, bytes]]:
    """Address and octets of each object that is complete.

    With SQ=1 the addresses follow on the first (clause 7.2.2.1); elements of no octets at all can not
    be counted that way, so only the written address is one.
    """
    out: list[tuple[int, bytes]] = []
    if sequence:
        first = int.from_bytes(data[:3], "little")
        at = 3
        while len(out) < count and at + size <= len(data) and len(data) >= 3:
            out.append(((first + len(out)) & 0xFFFFFF, data[at : at + size]))
            at += size
            if not size:
                break
        return out
    at = 0
    while len(out) < count and at + 3 + size <= len(data):
        out.append((int.from_bytes(data[at : at + 3], "little"), data[at + 3 : at + 3 + size]))
        at += 3 + size
    return out


def next_start(data: bytes) -> int:
    """After octets that are no APDU: where the next could begin (start, then a legal length)."""
    for at in range(1, len(data)):
        if data[at] == START and (at + 1 == len(data) or 4 <= data[at + 1] <= 253):
            return at
    return len(data)
