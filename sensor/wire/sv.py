"""IEC 61850-9-2 sampled values: the frame behind its ethertype and the savPdu in BER (ITU-T X.690).

Layout (IEC 61850-9-2:2011 clause 8.5 and annex A; IEC 61869-9:2016 clause 6.903)::

    0  APPID       2
    2  length      2    APPID up to the end of the PDU
    4  reserved 1  2    0x8000: simulated
    6  reserved 2  2
    8  savPdu      0x60 length
         80 noASDU   81 security (optional)   A2 seqASDU
              30 ASDU: 80 svID  81 datSet (optional)  82 smpCnt  83 confRev  84 refrTm (optional)
                       85 smpSynch  86 smpRate (optional)  87 sample  88 smpMod (optional)  89 gmIdentity

A sample of 9-2LE and IEC 61869-9 is a row of pairs, INT32 value and 32 bits of quality; 9-2LE has eight:
four currents at 1 mA, four voltages at 10 mV.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.goose import ber_header, ber_unsigned
from sensor.wire.octets import be16, be32
from sensor.wire.status import FOREIGN, MALFORMED, OK, TRUNCATED

HEADER: Final = 8
PDU_TAG: Final = 0x60
PAIR: Final = 8
LE_BYTES: Final = 64
"""Bytes of a 9-2LE sample (dataset PhsMeas1)."""

MAX_COUNT: Final = 65_535

ASDUS, FIRST, BEHIND, SIZE, CUT, SIMULATED = range(6)
"""Columns of ``head``: noASDU; where the ASDUs begin and end; bytes of the message; cut by the capture?"""

ID, ID_LENGTH, SET, SET_LENGTH, COUNT, REVISION, SYNCH, RATE, DATA, DATA_END, COUNT_AT = range(11)
"""Columns of ``asdu``: offsets and lengths of texts, values, where the sample begins and ends,
where an smpCnt of two octets stands; -1 absent."""


@kernel
def parse_sv(buf: Any, at: int, end: int, head: Any) -> int:
    """Fill ``head`` (int64[6]) from an SV frame.

    Returns
    -------
    int
        OK; FOREIGN when it holds no savPdu; TRUNCATED when it ends before its length says; MALFORMED. In the
        last two cases what stands before the fault is filled.
    """
    for i in range(len(head)):
        head[i] = -1
    if end - at < HEADER + 2:
        return TRUNCATED
    length = be16(buf, at + 2)
    stop = min(end, at + length)
    if stop - at < HEADER + 2 or buf[at + HEADER] != PDU_TAG:
        return FOREIGN
    cut = at + length > end
    head[SIZE] = stop - at
    head[CUT] = cut
    head[SIMULATED] = be16(buf, at + 4) >> 15
    tag, inner, behind = ber_header(buf, at + HEADER, stop)
    if tag == -2 and cut:
        behind = stop
    elif tag < 0:
        return TRUNCATED if cut else MALFORMED
    status = _fields(buf, inner, behind, cut, head)
    if cut:
        return TRUNCATED
    return MALFORMED if behind != stop else status


@kernel
def _fields(buf: Any, at: int, end: int, cut: bool, head: Any) -> int:
    while at < end:
        tag, inner, behind = ber_header(buf, at, end)
        if tag == -2 and cut and buf[at] == 0xA2:
            tag, behind = np.int64(0xA2), end
        if tag < 0:
            return MALFORMED
        if tag == 0x80:
            head[ASDUS] = ber_unsigned(buf, inner, behind)
        elif tag == 0xA2:
            head[FIRST], head[BEHIND] = inner, behind
        at = behind
    return OK if head[FIRST] >= 0 and head[ASDUS] >= 0 else MALFORMED


@kernel
def next_asdu(buf: Any, at: int, end: int, cut: bool, asdu: Any) -> tuple[int, int]:
    """Fill ``asdu`` (int64[11]) from the ASDU at ``at``; returns (status, where the next one begins).

    The status is MALFORMED also when a part that every ASDU must have is missing or has a wrong size.
    """
    for i in range(len(asdu)):
        asdu[i] = -1
    tag, inner, behind = ber_header(buf, at, end)
    if tag == -2 and cut and buf[at] == 0x30:
        tag, behind = np.int64(0x30), end
    if tag != 0x30:
        return MALFORMED, end
    good = _asdu(buf, inner, behind, asdu)
    if asdu[COUNT] < 0 or asdu[COUNT] > MAX_COUNT or asdu[ID] < 0 or asdu[DATA] < 0:
        good = False
    if asdu[REVISION] < 0 or asdu[SYNCH] < 0:
        good = False
    return OK if good else MALFORMED, behind


@kernel
def _asdu(buf: Any, at: int, end: int, asdu: Any) -> bool:
    while at < end:
        tag, inner, behind = ber_header(buf, at, end)
        if tag < 0:
            return False
        if tag == 0x82:
            asdu[COUNT] = be16(buf, inner) if behind - inner == 2 else ber_unsigned(buf, inner, behind)
            asdu[COUNT_AT] = inner if behind - inner == 2 else np.int64(-1)
        elif tag == 0x87:
            asdu[DATA], asdu[DATA_END] = inner, behind
        elif tag == 0x80:
            asdu[ID], asdu[ID_LENGTH] = inner, behind - inner
        elif tag == 0x83:
            asdu[REVISION] = be32(buf, inner) if behind - inner == 4 else ber_unsigned(buf, inner, behind)
        elif tag == 0x85:
            asdu[SYNCH] = ber_unsigned(buf, inner, behind)
        elif tag == 0x81:
            asdu[SET], asdu[SET_LENGTH] = inner, behind - inner
        elif tag == 0x86:
            asdu[RATE] = ber_unsigned(buf, inner, behind)
        at = behind
    return True
