"""Values in S7comm: the type of an item that is asked for, and the data of an answer or a write request.

Layout of a data item, big endian::

    0  return code     1    0xFF good; in a request 0
    1  transport size  1    3 bit, 4 byte/word/dword, 5 integer: length in bits; others: in octets; 0 no data
    2  length          2
    4  octets, and one more before the next item when their number is odd

What the octets mean is told by the item that was asked for (its transport size and address). Panels read
most data as an array of BYTE, whose contents nobody names: it is given as words at even addresses, as
words and integers of S7 stand there, and beside them as REAL where four octets can be one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16, be32, float32, signed

BIT, BYTE, WORD, INT, DWORD, DINT, REAL, DATE, TIME_OF_DAY, TIME, S5TIME = 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12
PAIR, COUNTER, TIMER, QUAD = 3, 13, 14, 15
"""Types of an element: the transport size of its item; PAIR and QUAD are two and four octets of an array of
BYTE or CHAR, a word and a REAL by their look; COUNTER and TIMER are transport sizes 28 and 29."""

TYPE_BITS, AREA_BITS, BLOCK_BITS, ADDRESS_BITS = 4, 5, 16, 19
"""An element as one integer, from the highest: type (never 0), area, block, bit address (of counters and
timers: number). It is larger than any text's number, and fits the 46 bits of ``detectors.groups``."""

ELEMENT: Final = 1 << (AREA_BITS + BLOCK_BITS + ADDRESS_BITS)
"""Lowest code of an element; what is below is the number of a text."""

GOOD: Final = 0xFF
MAX_OCTETS: Final = 4_096
"""Octets of one item whose values are given."""

SMALLEST, LARGEST = 107, 157
"""Exponents with bias of what is taken for a REAL: 1e-6 to 2e9."""


@kernel
def s7_area(area: int) -> int:
    """Memory area in five bits; -1 one that holds no values."""
    if 0x80 <= area <= 0x8F:
        return area & 15
    if 0x1C <= area <= 0x1F:
        return np.int64(16) + (area & 3)
    if area == 3 or 5 <= area <= 7:
        return np.int64(20) + area
    return np.int64(-1)


@kernel
def s7_type(size: int) -> int:
    """Type of an element by the transport size of its item; 0 without a number."""
    if size == 3:
        return np.int64(BYTE)
    if size == 28:
        return np.int64(COUNTER)
    if size == 29:
        return np.int64(TIMER)
    return size if BIT <= size <= S5TIME else np.int64(0)


@kernel
def s7_element(kind: int, area: int, block: int, address: int) -> int:
    """Code of an element; -1 when its address is none that a controller can have."""
    if address < 0 or address >> ADDRESS_BITS or area < 0 or kind <= 0:
        return np.int64(-1)
    return ((kind << AREA_BITS | area) << BLOCK_BITS | block) << ADDRESS_BITS | address


@kernel
def s7_asked(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(code of the first element of the item at ``at`` or -1, offset of the next item)."""
    if end - at < 3:
        return np.int64(-1), end
    size = 2 + np.int64(buf[at + 1])
    behind = at + size + (size & 1)
    if buf[at] != 0x12 or buf[at + 2] != 0x10 or size != 12 or end - at < 12:
        return np.int64(-1), behind
    address = np.int64(buf[at + 9]) << 16 | be16(buf, at + 10)
    return (
        s7_element(
            s7_type(np.int64(buf[at + 3])), s7_area(np.int64(buf[at + 8])), be16(buf, at + 6), address
        ),
        behind,
    )


@kernel
def s7_data(buf: Any, at: int, end: int, last: bool) -> tuple[int, int, int]:
    """(return code, octets of data or -1 when they are not complete, offset of the next item)."""
    if end - at < 4:
        return np.int64(0), np.int64(-1), end
    code, size = np.int64(buf[at]), np.int64(buf[at + 1])
    octets = np.int64(0)
    if code == GOOD or code == 0:
        octets = be16(buf, at + 2)
        if 3 <= size <= 5:
            octets = (octets + 7) >> 3
    if end - at - 4 < octets:
        return code, np.int64(-1), end
    return code, octets, at + 4 + octets + (0 if last else octets & 1)


@kernel
def s7_width(kind: int) -> int:
    """Octets of an element."""
    if kind == BIT or kind == BYTE:
        return np.int64(1)
    if kind == DWORD or kind == DINT or kind == REAL or kind == TIME_OF_DAY or kind == TIME or kind == QUAD:
        return np.int64(4)
    return np.int64(2)


@kernel
def s7_number(buf: Any, at: int, kind: int) -> float:
    """Value of the element at ``at``. S5TIME, counters and timers are given as their word."""
    if kind == BIT:
        return np.float64(buf[at] & 1)
    if kind == BYTE:
        return np.float64(buf[at])
    if kind == INT or kind == PAIR:
        return np.float64(signed(be16(buf, at), 16))
    if kind == REAL or kind == QUAD:
        return float32(be32(buf, at))
    if kind == DINT or kind == TIME:
        return np.float64(signed(be32(buf, at), 32))
    if kind == DWORD or kind == TIME_OF_DAY:
        return np.float64(be32(buf, at))
    return np.float64(be16(buf, at))


@kernel
def is_real(buf: Any, at: int) -> bool:
    """Can the four octets at ``at`` be a REAL of a plant, or zero?"""
    if be32(buf, at) & 0x7FFFFFFF == 0:
        return True
    exponent = be16(buf, at) >> 7 & 0xFF
    return SMALLEST <= exponent <= LARGEST
