"""IEC 60870-5-104: APCI and ASDU (IEC 60870-5-104:2006 clause 5; 60870-5-101:2003 clause 7).

Layout of an APDU::

    0  start            1    0x68
    1  length           1    bytes that follow, 4..253
    2  control field    4    I: N(S)<<1, N(R)<<1 (little endian)   S: 01 00 N(R)<<1   U: function<<2 | 3
    6  ASDU (I only):
    6  type id          1
    7  SQ | number      1
    8  T | P/N | cause  1
    9  originator       1
    10 common address   2
    12 IOA 3 + element [+ IOA 3 + element ...]      SQ=1: one IOA, elements follow each other

Field widths are fixed by the companion standard 104 (cause 2 octets, address 2, IOA 3).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be32, float32, le16, le24, le32, signed
from sensor.wire.status import FOREIGN, MORE, OK

START: Final = 0x68
MIN_LENGTH: Final = 4
MAX_LENGTH: Final = 253
ASDU: Final = 6
OBJECTS: Final = 12
KIND_S: Final = 256
KIND_U: Final = 512
CLOCK: Final = 103
"""C_CS_NA_1, clock synchronisation: the time itself is its value (60870-5-101, 7.3.4.4)."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_TEST = int(Flag.TEST)
_SELECT = int(Flag.SELECT)
_BROADCAST = int(Flag.BROADCAST)


def _element_sizes() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Octets of one information element by type id, without IOA; -1 unknown or of variable length."""
    size = np.full(256, -1, np.int16)
    by_size = {
        0: [102],
        1: [1, 3, 45, 46, 47, 70, 100, 101, 105, 113],
        2: [5, 21, 104, 106],
        3: [9, 11, 48, 49, 110, 111],
        4: [2, 4, 51, 122, 124],
        5: [6, 7, 13, 15, 20, 50, 112, 123],
        6: [10, 12, 17, 120],
        7: [18, 19, 103, 121],
        8: [8, 14, 16, 30, 31, 58, 59, 60],
        9: [32, 107],
        10: [34, 35, 38, 61, 62],
        11: [39, 40, 64],
        12: [33, 36, 37, 63],
        13: [126],
        16: [127],
    }
    for octets, types in by_size.items():
        size[types] = octets
    return size


ELEMENT_SIZE: Final = _element_sizes()


@kernel
def iec104_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the APDU at ``at``); FOREIGN when it does not begin with 0x68."""
    if end <= at:
        return MORE, 0
    if buf[at] != START:
        return FOREIGN, 0
    if end - at < 2:
        return MORE, 0
    return OK, np.int64(buf[at + 1]) + 2


@kernel
def iec104_next(buf: Any, at: int, end: int) -> int:
    """The next octets that can begin an APDU, start and a length that the standard allows."""
    while at < end:
        if buf[at] == START and (at + 1 == end or MIN_LENGTH <= buf[at + 1] <= MAX_LENGTH):
            return at
        at += 1
    return at


@kernel
def parse_iec104(buf: Any, at: int, end: int, row: Any) -> None:
    """Fill ``row`` from the complete APDU ``buf[at:end]``."""
    if end - at < 2 + MIN_LENGTH or end - at > 2 + MAX_LENGTH:
        row.flags |= np.uint32(_MALFORMED)
        return
    control = buf[at + 2]
    if control & 3 == 3:
        row.kind = KIND_U + (control >> 2)
        if end - at != 6:
            row.flags |= np.uint32(_MALFORMED)
        return
    row.state = le16(buf, at + 4) >> 1
    if control & 1:
        row.kind = KIND_S
        if end - at != 6:
            row.flags |= np.uint32(_MALFORMED)
        return
    row.seq = le16(buf, at + 2) >> 1
    if end - at < OBJECTS:
        row.flags |= np.uint32(_MALFORMED)
        return
    _header(buf, at, end, row)


@kernel
def _header(buf: Any, at: int, end: int, row: Any) -> None:
    """Data unit identifier and first object address."""
    row.kind = buf[at + 6]
    row.count = buf[at + 7] & 0x7F
    row.cause = buf[at + 8] & 0x3F
    if buf[at + 8] & 0x40:
        row.flags |= np.uint32(_NEGATIVE)
    if buf[at + 8] & 0x80:
        row.flags |= np.uint32(_TEST)
    row.aux = buf[at + 9]
    common = le16(buf, at + 10)
    if common == 0xFFFF:
        row.flags |= np.uint32(_BROADCAST)
    octets = ELEMENT_SIZE[row.kind]
    if end - at >= OBJECTS + 3:
        row.point = (common << 24) | le24(buf, at + OBJECTS)
    if octets < 0:
        return
    body = end - at - OBJECTS
    if buf[at + 7] & 0x80:
        need = 3 + row.count * octets
    else:
        need = row.count * (3 + octets)
    if row.count == 0 or body != need:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def iec104_objects(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(objects that are complete in the ASDU, octets from one to the next, offset of the first element).

    An I-frame with a known type id only; others give (0, 0, 0).
    """
    if end - at < OBJECTS + 3 or buf[at + 2] & 1:
        return 0, 0, 0
    octets = np.int64(ELEMENT_SIZE[buf[at + 6]])
    if octets < 0:
        return 0, 0, 0
    count = np.int64(buf[at + 7] & 0x7F)
    body = end - at - OBJECTS
    if buf[at + 7] & 0x80:
        # without octets of their own there is one object, the one whose address is written
        room = 1 if octets == 0 else (body - 3) // octets
        return min(count, room), octets, at + OBJECTS + 3
    return min(count, body // (3 + octets)), 3 + octets, at + OBJECTS + 3


@kernel
def iec104_element(buf: Any, at: int, kind: int) -> tuple[float, int, bool]:
    """(value, quality or -1, select bit) of the information element at ``at``; its length is proved.

    Values: states as their code, normalised values as -1..1, counters as integers, bit strings as
    unsigned integers (most significant octet first, as the field is written).
    """
    if kind == 1 or kind == 2 or kind == 30:
        return np.float64(buf[at] & 1), np.int64(buf[at] & 0xF0), False
    if kind == 3 or kind == 4 or kind == 31:
        return np.float64(buf[at] & 3), np.int64(buf[at] & 0xF0), False
    if kind == 5 or kind == 6 or kind == 32:
        return np.float64(signed(buf[at] & 0x7F, 7)), np.int64(buf[at + 1]), False
    if kind == 7 or kind == 8 or kind == 33:
        return np.float64(be32(buf, at)), np.int64(buf[at + 4]), False
    if kind == 9 or kind == 10 or kind == 34:
        return signed(le16(buf, at), 16) / 32768.0, np.int64(buf[at + 2]), False
    if kind == 21 or kind == 110:
        return signed(le16(buf, at), 16) / 32768.0, np.int64(-1), False
    if kind == 11 or kind == 12 or kind == 35:
        return np.float64(signed(le16(buf, at), 16)), np.int64(buf[at + 2]), False
    if kind == 111:
        return np.float64(signed(le16(buf, at), 16)), np.int64(-1), False
    if kind == 13 or kind == 14 or kind == 36:
        return float32(le32(buf, at)), np.int64(buf[at + 4]), False
    if kind == 112:
        return float32(le32(buf, at)), np.int64(-1), False
    if kind == 15 or kind == 16 or kind == 37:
        return np.float64(signed(le32(buf, at), 32)), np.int64(buf[at + 4]), False
    if kind == 17 or kind == 38:
        return np.float64(buf[at] & 3), np.int64(buf[at] & 0xF8), False
    if kind == 18 or kind == 39 or kind == 19 or kind == 40:
        return np.float64(buf[at]), np.int64(buf[at + 1]), False
    if kind == 20:
        return np.float64(le16(buf, at)), np.int64(buf[at + 4]), False
    if kind == 45 or kind == 58:
        return np.float64(buf[at] & 1), np.int64(-1), buf[at] & 0x80 != 0
    if kind == 46 or kind == 47 or kind == 59 or kind == 60:
        return np.float64(buf[at] & 3), np.int64(-1), buf[at] & 0x80 != 0
    if kind == 48 or kind == 61:
        return signed(le16(buf, at), 16) / 32768.0, np.int64(-1), buf[at + 2] & 0x80 != 0
    if kind == 49 or kind == 62:
        return np.float64(signed(le16(buf, at), 16)), np.int64(-1), buf[at + 2] & 0x80 != 0
    if kind == 50 or kind == 63:
        return float32(le32(buf, at)), np.int64(-1), buf[at + 4] & 0x80 != 0
    if kind == 51 or kind == 64:
        return np.float64(be32(buf, at)), np.int64(-1), False
    if kind == 70 or kind == 100 or kind == 101 or kind == 105 or kind == 113:
        return np.float64(buf[at]), np.int64(-1), False
    if kind == 104 or kind == 106 or kind == 107:
        return np.float64(le16(buf, at)), np.int64(-1), False
    return np.nan, np.int64(-1), False


@kernel
def cp56_time(buf: Any, at: int) -> float:
    """The seven octets CP56Time2a at ``at`` as seconds since 1970, as if it were UTC; NaN an impossible one.

    Years from 70 on are of the last century. Day of the week, summer time and validity are left out.
    """
    millis, minute, hour = le16(buf, at), np.int64(buf[at + 2]) & 0x3F, np.int64(buf[at + 3]) & 0x1F
    day, month = np.int64(buf[at + 4]) & 0x1F, np.int64(buf[at + 5]) & 0x0F
    year = np.int64(buf[at + 6]) & 0x7F
    if millis > 59_999 or minute > 59 or hour > 23 or day < 1 or month < 1 or month > 12 or year > 99:
        return np.nan
    year += 1900 if year >= 70 else 2000
    # days of a year that begins in March, so that the leap day is its last
    early = month <= 2
    turned = year - (1 if early else 0)
    place = month + (9 if early else -3)
    days = 365 * turned + turned // 4 - turned // 100 + turned // 400 + (153 * place + 2) // 5 + day - 1
    seconds = (days - 719_468) * 86_400 + hour * 3_600 + minute * 60
    return np.float64(seconds) + np.float64(millis) / 1000.0


@kernel
def iec104_tagged(kind: int) -> bool:
    """Do elements of this type end with CP56Time2a? Process information 30 to 40, commands 58 to 64."""
    return 30 <= kind <= 40 or 58 <= kind <= 64


@kernel
def tag_quality(buf: Any, at: int) -> int:
    """Of the seven octets CP56Time2a at ``at``: IV (0x80) and SU, summer time (0x40)."""
    return (np.int64(buf[at + 2]) & 0x80) | (np.int64(buf[at + 3]) & 0x80) >> 1


@kernel
def mark_select(row: Any) -> None:
    row.flags |= np.uint32(_SELECT)
