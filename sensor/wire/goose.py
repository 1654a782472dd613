"""IEC 61850-8-1 GOOSE: the frame behind its ethertype and the goosePdu in BER (ITU-T X.690).

Layout (IEC 61850-8-1:2011 annex A and C)::

    0  APPID       2
    2  length      2    APPID up to the end of the PDU
    4  reserved 1  2    0x8000: simulated
    6  reserved 2  2
    8  goosePdu    0x61 length
         80 gocbRef  81 timeAllowedtoLive  82 datSet  83 goID  84 t  85 stNum  86 sqNum
         87 simulation (test in edition 1)  88 confRev  89 ndsCom  8A numDatSetEntries  AB allData

Refuses: indefinite lengths, lengths over four octets, nesting deeper than :data:`MAX_DEPTH`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16, be24, be32, float32, float64
from sensor.wire.status import FOREIGN, MALFORMED, OK, TRUNCATED

HEADER: Final = 8
PDU_TAG: Final = 0x61
MAX_DEPTH: Final = 16
KIND_CHANGE: Final = 1
KIND_REPEAT: Final = 2

REF, REF_LENGTH, SET, SET_LENGTH, ID, ID_LENGTH, DATA, DATA_END = range(8)
"""Columns of the ``where`` array: offsets and lengths of texts and of allData; -1 absent."""

REQUIRED: Final = 0b1101_0111_0111
"""Fields that are neither optional nor have a default (annex A), bit by the tag's number: all but goID,
simulation and ndsCom."""

_MALFORMED = int(Flag.MALFORMED)
_TEST = int(Flag.TEST)
_COMMISSIONING = int(Flag.COMMISSIONING)


@kernel
def ber_header(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(tag, offset of the contents, offset behind them).

    Tag -1: no header that can be read; -2: a good header whose contents do not fit into ``end``.
    """
    if end - at < 2:
        return -1, at, at
    tag = np.int64(buf[at])
    length = np.int64(buf[at + 1])
    at += 2
    if length & 0x80:
        octets = length & 0x7F
        if octets == 0 or octets > 4 or end - at < octets:
            return -1, at, at
        length = 0
        for _ in range(octets):
            length = (length << 8) | buf[at]
            at += 1
    if end - at < length:
        return -2, at, at
    return tag, at, at + length


@kernel
def ber_unsigned(buf: Any, at: int, end: int) -> int:
    """Unsigned integer under 2**63; -1 for none or more."""
    if end <= at or end - at > 9 or (end - at == 9 and buf[at] != 0):
        return -1
    value = np.int64(0)
    for i in range(at, end):
        value = (value << 8) | np.int64(buf[i])
    return max(value, np.int64(-1))


@kernel
def ber_large(buf: Any, at: int, end: int) -> float:
    """Unsigned integer under 2**64, the largest that a dataset entry (INT64U) holds; NaN for none or more."""
    if end <= at or end - at > 9 or (end - at == 9 and buf[at] != 0):
        return np.nan
    value = np.uint64(0)
    for i in range(at, end):
        value = (value << np.uint64(8)) | np.uint64(buf[i])
    return np.float64(value)


@kernel
def ber_signed(buf: Any, at: int, end: int) -> float:
    if end <= at or end - at > 8:
        return np.nan
    value = np.int64(buf[at])
    if value & 0x80:
        value -= 256
    for i in range(at + 1, end):
        value = (value << 8) | np.int64(buf[i])
    return np.float64(value)


@kernel
def utc_time(buf: Any, at: int) -> float:
    """Epoch seconds of a UtcTime (4 octets seconds, 3 octets binary fraction, 1 octet quality)."""
    return np.float64(be32(buf, at)) + be24(buf, at + 4) / 16777216.0


@kernel
def parse_goose(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """Fill ``row`` (MESSAGE record) and ``where`` (int64[8]) from a GOOSE frame.

    Returns
    -------
    int
        OK, or FOREIGN when it holds no goosePdu (GSE management shares the ethertype), TRUNCATED when
        it ends before its length says, or MALFORMED; in the last two cases the fields before the fault
        are filled.
    """
    where[:] = -1
    if end - at < HEADER + 2:
        return TRUNCATED
    length = be16(buf, at + 2)
    stop = min(end, at + length)
    if stop - at < HEADER + 2 or buf[at + HEADER] != PDU_TAG:
        return FOREIGN
    if be16(buf, at + 4) & 0x8000:
        row.flags |= np.uint32(_TEST)
    row.size = stop - at
    tag, inner, pdu_end = ber_header(buf, at + HEADER, stop)
    cut = at + length > end
    if tag == -2 and cut:
        pdu_end = stop
    elif tag < 0:
        return TRUNCATED if cut else MALFORMED
    elif pdu_end != stop:
        row.flags |= np.uint32(_MALFORMED)
    status = _fields(buf, inner, pdu_end, row, where)
    if row.seq >= 0:
        row.kind = KIND_CHANGE if row.seq == 0 else KIND_REPEAT
    return TRUNCATED if cut else status


@kernel
def _fields(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    seen = 0
    while at < end:
        tag, inner, behind = ber_header(buf, at, end)
        if tag < 0:
            return MALFORMED
        size = behind - inner
        if tag & 0xC0 == 0x80:
            seen |= 1 << (tag & 0x1F)
        if tag == 0x80:
            where[0], where[1] = inner, size
        elif tag == 0x81:
            row.aux = ber_unsigned(buf, inner, behind)
        elif tag == 0x82:
            where[2], where[3] = inner, size
        elif tag == 0x83:
            where[4], where[5] = inner, size
        elif tag == 0x84:
            if size == 8:
                row.value = utc_time(buf, inner)
            else:
                row.flags |= np.uint32(_MALFORMED)
        elif tag == 0x85:
            row.state = ber_unsigned(buf, inner, behind)
        elif tag == 0x86:
            row.seq = ber_unsigned(buf, inner, behind)
        elif tag == 0x87:
            if size == 1 and buf[inner]:
                row.flags |= np.uint32(_TEST)
        elif tag == 0x88:
            row.cause = np.int32(min(ber_unsigned(buf, inner, behind), 0x7FFFFFFF))
        elif tag == 0x89:
            if size == 1 and buf[inner]:
                row.flags |= np.uint32(_COMMISSIONING)
        elif tag == 0x8A:
            row.count = np.int32(min(ber_unsigned(buf, inner, behind), 0x7FFFFFFF))
        elif tag == 0xAB:
            where[6], where[7] = inner, behind
        at = behind
    return OK if seen & REQUIRED == REQUIRED else MALFORMED


@kernel
def goose_value(buf: Any, tag: int, at: int, end: int) -> tuple[float, int]:
    """(value, quality) of one leaf of allData; NaN for text, octets and what does not fit a number."""
    size = end - at
    if tag == 0x83:
        return (np.float64(buf[at] != 0) if size == 1 else np.nan), np.int64(-1)
    if tag == 0x84:
        return _bit_string(buf, at, end), np.int64(-1)
    if tag == 0x85:
        return ber_signed(buf, at, end), np.int64(-1)
    if tag == 0x86:
        return ber_large(buf, at, end), np.int64(-1)
    if tag == 0x87:
        if size == 5 and buf[at] == 8:
            return float32(be32(buf, at + 1)), np.int64(-1)
        if size == 9 and buf[at] == 11:
            return float64(be32(buf, at + 1), be32(buf, at + 5)), np.int64(-1)
        return np.nan, np.int64(-1)
    if tag == 0x91 and size == 8:
        return utc_time(buf, at), np.int64(buf[at + 7])
    return np.nan, np.int64(-1)


@kernel
def _bit_string(buf: Any, at: int, end: int) -> float:
    """Bits as an unsigned integer, first bit most significant; NaN over 48 bits or with bad padding."""
    size = end - at
    if size < 2 or size > 7 or buf[at] > 7:
        return np.nan
    value = np.int64(0)
    for i in range(at + 1, end):
        value = (value << 8) | np.int64(buf[i])
    return np.float64(value >> np.int64(buf[at]))


@kernel
def goose_entries(
    buf: Any, at: int, end: int, room: int, tags: Any, begins: Any, ends: Any
) -> tuple[int, int]:
    """Leaves of allData in depth-first order.

    Parameters
    ----------
    room : int
        Entries that fit into ``tags``, ``begins``, ``ends`` (int64 arrays).

    Returns
    -------
    (int, int)
        Leaves found, and OK or MALFORMED (overrun, too deep, too many).
    """
    stops = np.empty(MAX_DEPTH, np.int64)
    depth = 0
    count = 0
    while True:
        while depth > 0 and at >= end:
            depth -= 1
            end = stops[depth]
        if at >= end:
            return count, OK
        tag, inner, behind = ber_header(buf, at, end)
        if tag < 0:
            return count, MALFORMED
        if tag == 0xA1 or tag == 0xA2:
            if depth == MAX_DEPTH:
                return count, MALFORMED
            stops[depth] = end
            depth += 1
            at = inner
            end = behind
            continue
        if count >= room:
            return count, MALFORMED
        tags[count], begins[count], ends[count] = tag, inner, behind
        count += 1
        at = behind
