"""IEEE C37.118.2-2011 synchrophasor frames (clause 6; 2005 edition: the same without configuration 3).

Layout, big endian::

    0   SYNC       2    0xAA, then reserved 1 bit | frame type 3 | version 4
    2   FRAMESIZE  2    whole frame with the checksum
    4   IDCODE     2    of the stream
    6   SOC        4    second of the time stamp, since 1970 UTC
    10  FRACSEC    4    time quality 1, fraction 3
    14  body            data, header text, configuration or command
    -2  CHK        2    CRC-CCITT over all before it (annex B): x16 + x12 + x5 + 1, from 0xFFFF

    data            for each PMU: STAT 2, phasors, FREQ and DFREQ, analogs, digitals, as configured
    configuration   TIME_BASE 4, NUM_PMU 2, for each PMU: STN 16, IDCODE 2, FORMAT 2, PHNMR 2, ANNMR 2,
     1 and 2        DGNMR 2, names 16 x (PHNMR + ANNMR + 16 x DGNMR), units 4 x (PHNMR + ANNMR + DGNMR),
                    FNOM 2, CFGCNT 2; then DATA_RATE 2
    configuration 3 CONT_IDX 2, TIME_BASE 4, NUM_PMU 2, ... names of variable length
    command         CMD 2, extended data

FORMAT bits: 0 polar, 1 phasors are floats, 2 analogs are floats, 3 FREQ and DFREQ are floats.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16, be24, float32, signed
from sensor.wire.status import FOREIGN, MORE, OK

HEADER: Final = 14
SMALLEST: Final = 16
SYNC: Final = 0xAA
DATA, HEADER_TEXT, CONFIG1, CONFIG2, COMMAND, CONFIG3 = range(6)
KIND_COMMAND: Final = 1024
PMU_BLOCK: Final = 30  # of a configuration without names and units
PMU_BLOCK3: Final = 26
"""Octets from IDCODE to DGNMR in a configuration 3."""
PMU_TAIL3: Final = 25
"""Octets from PMU_LAT to CFGCNT."""

_MALFORMED = int(Flag.MALFORMED)


def _crc_table() -> np.ndarray[Any, np.dtype[np.int64]]:
    table = np.zeros(256, np.int64)
    for octet in range(256):
        crc = octet << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
        table[octet] = crc
    return table


CRC_TABLE: Final = _crc_table()


@kernel
def c37118_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the frame at ``at``)."""
    if end <= at:
        return MORE, 0
    if buf[at] != SYNC:
        return FOREIGN, 0
    if end - at < 4:
        return MORE, 0
    size = be16(buf, at + 2)
    return (OK, size) if size >= SMALLEST else (FOREIGN, np.int64(0))


@kernel
def crc_ccitt(buf: Any, at: int, end: int) -> int:
    """CRC-CCITT with its start value 0xFFFF, no reflection (IEEE C37.118.2 annex B)."""
    crc = np.int64(0xFFFF)
    for i in range(at, end):
        crc = ((crc << 8) & 0xFFFF) ^ CRC_TABLE[(crc >> 8) ^ np.int64(buf[i])]
    return crc


@kernel
def parse_c37118(buf: Any, at: int, end: int, size: int, row: Any) -> bool:
    """Fill ``row`` from the frame ``buf[at:end]``, of which ``size`` bytes were sent; at least 14 are here.

    Returns
    -------
    bool
        Its body can be read: the frame is whole and its checksum right.
    """
    kind = (np.int64(buf[at + 1]) >> 4) & 7
    row.kind = kind
    row.size = be16(buf, at + 2)
    row.point = be16(buf, at + 4)
    row.state = buf[at + 10] & 0x0F
    row.seq = be24(buf, at + 11)
    if row.size != size or row.size < SMALLEST:
        row.flags |= np.uint32(_MALFORMED)
        return False
    if end - at < size:
        return False
    if crc_ccitt(buf, at, end - 2) != be16(buf, end - 2):
        row.flags |= np.uint32(_MALFORMED)
        return False
    if kind == COMMAND:
        if size < HEADER + 4:
            row.flags |= np.uint32(_MALFORMED)
        else:
            row.kind = KIND_COMMAND + be16(buf, at + HEADER)
    return True


@kernel
def next_pmu(buf: Any, at: int, end: int) -> tuple[int, int]:
    """One PMU of a configuration 1 or 2: (shape as :func:`pmu_shape` reads it, offset of the next).

    Shape -1: it does not fit into what is left.
    """
    if end - at < PMU_BLOCK:
        return np.int64(-1), end
    phasors, analogs, digitals = be16(buf, at + 20), be16(buf, at + 22), be16(buf, at + 24)
    size = PMU_BLOCK + 20 * (phasors + analogs) + 260 * digitals
    if end - at < size:
        return np.int64(-1), end
    form = be16(buf, at + 18) & 15
    return (form << 48) | (phasors << 32) | (analogs << 16) | digitals, at + size


@kernel
def next_pmu3(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """One PMU of a configuration 3 (6.4, table 10), whose names have their lengths in front.

    Returns
    -------
    (int, int, int, int)
        Shape as :func:`next_pmu` gives it, offset of the next PMU, offset and octets of the station's name.
    """
    nothing = np.int64(-1)
    if end <= at:
        return nothing, end, end, np.int64(0)
    name, octets = at + 1, np.int64(buf[at])
    at = name + octets
    if end - at < PMU_BLOCK3:
        return nothing, end, end, np.int64(0)
    phasors, analogs, digitals = be16(buf, at + 20), be16(buf, at + 22), be16(buf, at + 24)
    form = be16(buf, at + 18) & 15
    at += PMU_BLOCK3
    for _ in range(phasors + analogs + 16 * digitals):
        if at >= end:
            return nothing, end, end, np.int64(0)
        at += 1 + np.int64(buf[at])
    at += 12 * phasors + 8 * analogs + 4 * digitals + PMU_TAIL3
    if at > end:
        return nothing, end, end, np.int64(0)
    return (form << 48) | (phasors << 32) | (analogs << 16) | digitals, at, name, octets


@kernel
def pmu_shape(shape: int) -> tuple[int, int, int, int, int]:
    """(offset of FREQ behind STAT, octets of FREQ, offset of analogs, octets of one, bytes of the block)."""
    form = shape >> 48
    phasors, analogs, digitals = (shape >> 32) & 0xFFFF, (shape >> 16) & 0xFFFF, shape & 0xFFFF
    freq = 2 + phasors * (8 if form & 2 else 4)
    octets = 4 if form & 8 else 2
    analog = freq + 2 * octets
    step = 4 if form & 4 else 2
    return freq, octets, analog, step, analog + step * analogs + 2 * digitals


@kernel
def number(buf: Any, at: int, octets: int) -> float:
    """A float of four octets or a signed integer of two."""
    if octets == 4:
        return float32((be16(buf, at) << 16) | be16(buf, at + 2))
    return np.float64(signed(be16(buf, at), np.int64(16)))
