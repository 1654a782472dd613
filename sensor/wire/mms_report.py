"""Head of a report as IEC 61850 puts it into an MMS information report (IEC 61850-8-1:2011, 17.2).

The variable list is ``RPT`` of the VMD; its values come in this order, each but the first two only when
OptFlds has its bit (bit 0 is the first)::

    8A RptID   84 OptFlds   86 SqNum (1)   8C TimeOfEntry (2)   8A DatSet (4)   83 BufOvfl (6)
    89 EntryID (7)   86 ConfRev (8)   86 SubSqNum, 83 MoreSegmentsFollow (9)   84 Inclusion ...
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.ber import find_tag, integer, tlv

TEXT, BITS, UNSIGNED, BOOLEAN, OCTETS, TIME = 0x8A, 0x84, 0x86, 0x83, 0x89, 0x8C
FIELDS: Final = (
    (0x4000, UNSIGNED),
    (0x2000, TIME),
    (0x0800, TEXT),
    (0x0200, BOOLEAN),
    (0x0100, OCTETS),
    (0x0080, UNSIGNED),
    (0x0040, UNSIGNED),
    (0x0040, BOOLEAN),
)
"""(bit of OptFlds as 16 bits, tag) of what follows it."""

NUMBER, DATA_SET, OVERFLOW, SEGMENT, MORE = 0, 2, 3, 6, 7
"""Places in :data:`FIELDS`."""

ID, ID_LENGTH, SET, SET_LENGTH, SQNUM, PARTS = range(6)
"""Places of the result."""


@kernel
def report_values(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(begin, end) of the values of a report; (-1, -1) when the information report is none.

    ``at`` is behind the tag of the information report: ``A1 { 80 "RPT" }, A0 { values }``.
    """
    tag, inner, behind = tlv(buf, at, end)
    if tag != 0xA1 or behind > end:
        return np.int64(-1), np.int64(-1)
    name, first, last = tlv(buf, inner, behind)
    if name != 0x80 or last > behind or last - first != 3:
        return np.int64(-1), np.int64(-1)
    if buf[first] != 0x52 or buf[first + 1] != 0x50 or buf[first + 2] != 0x54:
        return np.int64(-1), np.int64(-1)
    return find_tag(buf, behind, end, 0xA0)


@kernel
def report_head(buf: Any, at: int, end: int, found: Any) -> None:
    """Read the head of a report into ``found``, int64 of shape (6,) or more; -1 what it does not say.

    RptID and DatSet by begin and length, SqNum, and PARTS: bit 0 BufOvfl, bit 1 MoreSegmentsFollow, from
    bit 2 on SubSqNum; -1 without any of the three. Ends where a value is not what OptFlds promises.
    """
    for i in range(6):
        found[i] = -1
    tag, inner, behind = tlv(buf, at, end)
    if tag != TEXT or behind > end:
        return
    found[ID], found[ID_LENGTH] = inner, behind - inner
    tag, inner, behind = tlv(buf, behind, end)
    if tag != BITS or behind > end or behind - inner < 2:
        return
    options = np.int64(buf[inner + 1]) << 8
    if behind - inner > 2:
        options |= np.int64(buf[inner + 2])
    for place in range(len(FIELDS)):
        bit, wanted = FIELDS[place]
        if not options & bit:
            continue
        tag, inner, behind = tlv(buf, behind, end)
        if tag != wanted or behind > end:
            return
        _field(buf, place, inner, behind, found)


@kernel
def _field(buf: Any, place: int, at: int, end: int, found: Any) -> None:
    if place == NUMBER:
        found[SQNUM] = integer(buf, at, end)
    elif place == DATA_SET:
        found[SET], found[SET_LENGTH] = at, end - at
    elif place == OVERFLOW or place == MORE:
        true = end - at == 1 and buf[at] != 0
        bit = np.int64(1 if place == OVERFLOW else 2)
        found[PARTS] = max(found[PARTS], 0) | (bit if true else np.int64(0))
    elif place == SEGMENT:
        number = integer(buf, at, end)
        found[PARTS] = max(found[PARTS], 0) | (number << 2 if number > 0 else np.int64(0))
