"""DNP3: link frame, transport octet, object headers and objects (IEEE Std 1815-2012).

Layout of a link frame (clause 9.2); every block of data has a CRC of its own, little endian::

    0  start            2    0x05 0x64
    2  length           1    5..255: control, addresses and user data, without CRCs
    3  control          1    DIR 0x80 | PRM 0x40 | FCB/- 0x20 | FCV/DFC 0x10 | function
    4  destination      2    little endian
    6  source           2
    8  CRC              2    of octets 0..7
    10 user data        up to 16 octets, then 2 of CRC; repeated

User data of one frame is a transport segment (clause 8.2): FIN 0x80 | FIR 0x40 | sequence, then a piece of
an application fragment (clause 4.2)::

    0  control          1    FIR 0x80 | FIN 0x40 | CON 0x20 | UNS 0x10 | sequence
    1  function         1    0..33 requests, 129..131 responses
    2  IIN              2    responses only: IIN1, IIN2
       object headers   group 1, variation 1, qualifier 1 (prefix << 4 | range), range, [prefix + object ...]

Sizes and fields of objects are those of annex A.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import float32, float64, le16, le32, signed
from sensor.wire.status import FOREIGN, MORE, OK

HEADER: Final = 10
MIN_LENGTH: Final = 5
BLOCK: Final = 16

UNKNOWN: Final = -1  # the standard has no such object
UNSIZED: Final = -2  # an object whose octets do not tell their length

NOTHING, BIT, TWO_BITS, STATE, TWO_STATES, CONTROL, COMMAND = range(7)
U16, S16, U32, S32, F32, F64, TIME = range(7, 14)
"""What the value of an object is; BIT and TWO_BITS are packed, STATE, TWO_STATES and COMMAND share an octet
with flags."""

PLAIN, FLAGGED, STATUS_AFTER, STATUS_BEFORE = range(4)
"""Which octet goes with the value: none, flags before it, a control status after or before it."""


def _crc_table() -> np.ndarray[Any, np.dtype[np.int64]]:
    """CRC-16/DNP, polynomial 0x3D65 reflected (clause 9.2.6)."""
    table = np.zeros(256, np.int64)
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA6BC if crc & 1 else crc >> 1
        table[octet] = crc
    return table


CRC: Final = _crc_table()

_WIDE: Final = {U16: 2, S16: 2, U32: 4, S32: 4, F32: 4, F64: 8, TIME: 6}

_COUNTERS: Final = ((U32, 1), (U16, 1))
_EVENTS: Final = ((S32, 0), (S16, 0), (S32, 6), (S16, 6), (F32, 0), (F64, 0), (F32, 6), (F64, 6))


def _objects() -> dict[tuple[int, int], tuple[int, int, int]]:
    """(group, variation) to (octets, what its value is, which octet goes with it)."""
    table: dict[tuple[int, int], tuple[int, int, int]] = {}

    def add(group: int, variation: int, what: int, octet: int = FLAGGED, more: int = 0) -> None:
        size = _WIDE.get(what, 0) + (octet != PLAIN) + more
        table[group, variation] = (size, what, octet)

    for group in (1, 10):
        table[group, 1] = (0, BIT, PLAIN)
        add(group, 2, STATE)
    for group, what in ((2, STATE), (4, TWO_STATES)):
        for variation, more in ((1, 0), (2, 6), (3, 2)):
            add(group, variation, what, more=more)
    table[3, 1] = (0, TWO_BITS, PLAIN)
    add(3, 2, TWO_STATES)
    for variation, more in ((1, 0), (2, 6)):
        add(11, variation, STATE, more=more)
        add(13, variation, COMMAND, STATUS_BEFORE, more)
        table[12, variation] = (11, CONTROL, STATUS_AFTER)
    table[12, 3] = table[80, 1] = (0, BIT, PLAIN)
    for variation, what in enumerate((U32, U16, U32, U16), 1):
        add(20, variation, what)
        add(20, variation + 4, what, PLAIN)
        add(21, variation, what)
        add(21, variation + 4, what, more=6)
        add(21, variation + 8, what, PLAIN)
        for group in (22, 23):
            add(group, variation, what)
            add(group, variation + 4, what, more=6)
    for variation, what in enumerate((S32, S16), 1):
        add(30, variation, what)
        add(30, variation + 2, what, PLAIN)
        add(31, variation, what)
        add(31, variation + 2, what, more=6)
        add(31, variation + 4, what, PLAIN)
    for variation, what in enumerate((F32, F64)):
        add(30, variation + 5, what)
        add(31, variation + 7, what)
    for variation, (what, more) in enumerate(_EVENTS, 1):
        for group in (32, 33, 42):
            add(group, variation, what, more=more)
        add(43, variation, what, STATUS_BEFORE, more)
    for variation, what in enumerate((U16, U32, F32), 1):
        add(34, variation, what, PLAIN)
    for variation, what in enumerate((S32, S16, F32, F64), 1):
        add(40, variation, what)
        add(41, variation, what, STATUS_AFTER)
    for group, variation, more in ((50, 1, 0), (50, 2, 4), (50, 3, 0), (50, 4, 5), (51, 1, 0), (51, 2, 0)):
        add(group, variation, TIME, PLAIN, more)
    add(52, 1, U16, PLAIN)
    add(52, 2, U16, PLAIN)
    sized = {
        (81, 1): 3,
        (101, 1): 2,
        (101, 2): 4,
        (101, 3): 8,
        (102, 1): 1,
        (121, 1): 7,
        (122, 1): 7,
        (122, 2): 13,
    }
    table |= {place: (octets, NOTHING, PLAIN) for place, octets in sized.items()}
    # without octets: classes, and the default variations that only ask
    table |= {(60, variation): (0, NOTHING, PLAIN) for variation in range(1, 5)}
    table |= {(group, 0): (0, NOTHING, PLAIN) for group in (1, 2, 3, 4, 11, 20, 22, 30, 32, 34, 42)}
    unsized = [
        (group, 0) for group in (10, 12, 13, 21, 23, 31, 33, 40, 41, 43, 50, 51, 52, 60, 70, 80, 81, 121, 122)
    ]
    unsized += [(70, variation) for variation in range(1, 9)] + [(120, variation) for variation in range(16)]
    unsized += [
        (82, 1),
        (83, 1),
        (83, 2),
        (85, 0),
        (85, 1),
        (86, 0),
        (86, 1),
        (86, 2),
        (86, 3),
        (87, 0),
        (87, 1),
    ]
    unsized += [(88, 0), (88, 1), (90, 1), (91, 1)]
    return dict.fromkeys(unsized, (UNSIZED, NOTHING, PLAIN)) | table


OBJECTS: Final = _objects()


def _column(nth: int, missing: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    column = np.full(256 * 16, missing, np.int8)
    for (group, variation), entry in OBJECTS.items():
        column[group * 16 + variation] = entry[nth]
    return column


SIZE: Final = _column(0, UNKNOWN)
WHAT: Final = _column(1, NOTHING)
OCTET: Final = _column(2, PLAIN)
"""By group * 16 + variation."""


@kernel
def dnp3_crc(buf: Any, at: int, size: int) -> int:
    crc = np.int64(0)
    for i in range(at, at + size):
        crc = (crc >> 8) ^ CRC[(crc ^ np.int64(buf[i])) & 0xFF]
    return ~crc & 0xFFFF


@kernel
def dnp3_header(buf: Any, at: int) -> bool:
    """Is the CRC of the header at ``at`` right? Its ten octets are there."""
    return dnp3_crc(buf, at, HEADER - 2) == le16(buf, at + HEADER - 2)


@kernel
def dnp3_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, octets of the link frame at ``at``); of a header whose CRC is wrong, only its own ten."""
    if end <= at:
        return MORE, 0
    if buf[at] != 0x05 or (end - at > 1 and buf[at + 1] != 0x64):
        return FOREIGN, 0
    if end - at < HEADER:
        return MORE, 0
    user = np.int64(buf[at + 2]) - MIN_LENGTH
    if user <= 0 or not dnp3_header(buf, at):
        return OK, HEADER
    return OK, HEADER + user + 2 * ((user + BLOCK - 1) // BLOCK)


@kernel
def dnp3_next(buf: Any, at: int, end: int) -> int:
    """The next octets that can begin a link frame."""
    while at < end:
        if buf[at] == 0x05 and (at + 1 == end or buf[at + 1] == 0x64):
            return at
        at += 1
    return at


@kernel
def dnp3_unblock(buf: Any, at: int, end: int, out: Any) -> tuple[int, bool]:
    """Copy user data without CRCs to ``out``: (octets, every CRC is right). A wrong one ends it."""
    size = 0
    while end - at > 2:
        block = min(BLOCK, end - at - 2)
        if dnp3_crc(buf, at, block) != le16(buf, at + block):
            return size, False
        for i in range(block):
            out[size + i] = buf[at + i]
        size += block
        at += block + 2
    return size, True


@kernel
def dnp3_object(group: int, variation: int) -> int:
    """Octets of one object, UNKNOWN or UNSIZED; 0 for packed bits and for what has none."""
    if group == 110 or group == 111 or group == 112 or group == 113:
        return variation
    if group == 0:
        return UNSIZED
    if variation >= 16:
        return UNKNOWN
    return np.int64(SIZE[group * 16 + variation])


@kernel
def dnp3_what(group: int, variation: int) -> int:
    """What the value of an object is (NOTHING .. TIME)."""
    if variation >= 16:
        return NOTHING
    return np.int64(WHAT[group * 16 + variation])


@kernel
def dnp3_range(data: Any, at: int, end: int, code: int) -> tuple[int, int, int, int]:
    """Range field of an object header (clause 4.2.2.7.3).

    Returns
    -------
    (int, int, int, int)
        (octets it takes, -1 when they are not there or the code is reserved; index of the first object;
        objects; how they are told: 0 not, 1 start and stop, 2 quantity, 3 an address)
    """
    if code == 6:
        return 0, 0, 0, 0
    if code > 11 or code == 10:
        return -1, 0, 0, 0
    width = np.int64(1) if code == 11 else np.int64(1) << ((code - 1) % 3 if code > 6 else code % 3)
    fields = 2 if code < 3 else 1
    if at + fields * width > end:
        return -1, 0, 0, 0
    first = dnp3_number(data, at, width)
    if code < 3:
        return 2 * width, first, dnp3_number(data, at + width, width) - first + 1, 1
    if code < 6:
        return width, first, 1, 3
    return width, 0, first, 2


@kernel
def dnp3_number(data: Any, at: int, width: int) -> int:
    """Unsigned little-endian integer of 1, 2 or 4 octets."""
    if width == 1:
        return np.int64(data[at])
    return le16(data, at) if width == 2 else le32(data, at)


@kernel
def dnp3_value(data: Any, at: int, end: int, what: int, octet: int) -> tuple[float, int, int]:
    """(value, flags, control status) of the object at ``at``; NaN and -1 for what is not there."""
    value, flags, status = np.nan, np.int64(-1), np.int64(-1)
    if at >= end:
        return value, flags, status
    lead = np.int64(data[at])
    if octet == FLAGGED:
        flags = lead & (0x3F if what == TWO_STATES else 0x7F)
    elif octet == STATUS_BEFORE:
        status = lead & 0x7F
    if what == STATE or what == COMMAND:
        return np.float64(lead >> 7), flags, status
    if what == TWO_STATES:
        return np.float64(lead >> 6), flags, status
    if what == CONTROL:
        return np.float64(lead & 0x0F), flags, np.int64(data[at + 10] & 0x7F) if at + 11 <= end else status
    if octet == FLAGGED or octet == STATUS_BEFORE:
        at += 1
    width = dnp3_width(what)
    if at + width <= end:
        value = dnp3_read(data, at, what)
    if octet == STATUS_AFTER and at + width < end:
        status = np.int64(data[at + width] & 0x7F)
    return value, flags, status


@kernel
def dnp3_width(what: int) -> int:
    """Octets of a value alone."""
    if what == U16 or what == S16:
        return 2
    if what == U32 or what == S32 or what == F32:
        return 4
    if what == F64:
        return 8
    return 6 if what == TIME else 0


@kernel
def dnp3_read(data: Any, at: int, what: int) -> float:
    """A number of its own octets, which are there; times as seconds since 1970."""
    if what == U16:
        return np.float64(le16(data, at))
    if what == S16:
        return np.float64(signed(le16(data, at), 16))
    if what == U32:
        return np.float64(le32(data, at))
    if what == S32:
        return np.float64(signed(le32(data, at), 32))
    if what == F32:
        return float32(le32(data, at))
    if what == F64:
        return float64(le32(data, at + 4), le32(data, at))
    if what == TIME:
        return (le32(data, at) + le16(data, at + 4) * 4294967296.0) / 1000.0
    return np.nan
