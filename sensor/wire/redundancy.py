"""IEC 62439-3: what PRP and HSR add to a frame, and how their nodes say that they live.

Layout::

    PRP trailer   -6  sequence number 2   -4  LAN (10 A, 11 B; 4 bits), size (12 bits)   -2  0x88FB
    HSR tag       ethertype 0x892F, path (4 bits), size (12 bits), sequence number 2, ethertype of the frame
    supervision   ethertype 0x88FB, path (4 bits), version (12 bits), sequence number 2 (version 1), TLVs:
                  20-23 station's MAC addresses (6 or 12 octets), 30 RedBox's, 31 VDAN's, 0 end
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, MALFORMED, OK, TRUNCATED

TYPE_HSR: Final = 0x892F
TYPE_PRP: Final = 0x88FB
HSR_TAG: Final = 6
TRAILER: Final = 6
ETHERNET_HEADER: Final = 14
VLAN_TAG: Final = 4


@kernel
def lan_field(buf: Any, begin: int, end: int) -> int:
    """Offset of the two octets by which the copies of a whole Ethernet frame differ; -1 not redundant."""
    size = end - begin
    if size < ETHERNET_HEADER + HSR_TAG:
        return -1
    if buf[end - 1] == 0xFB and buf[end - 2] == 0x88:
        lan, told = np.int64(buf[end - 4]) >> 4, be16(buf, end - 4) & 0xFFF
        short = size - ETHERNET_HEADER - told
        if (lan == 10 or lan == 11) and (short == 0 or short == VLAN_TAG or short == 2 * VLAN_TAG):
            return end - 4
    at = begin + 12
    if buf[at] == 0x81 and buf[at + 1] == 0:
        at += VLAN_TAG
    if be16(buf, at) == TYPE_HSR and end - at >= 2 + HSR_TAG:
        return at + 2
    return -1


@kernel
def parse_supervision(buf: Any, at: int, end: int, row: Any) -> tuple[int, int]:
    """Fill ``row`` (MESSAGE record).

    Returns
    -------
    (int, int)
        OK, MALFORMED, FOREIGN for nothing at all, or TRUNCATED when no end was told (legal, unless the
        capture cut it); and the offset of the station's MAC address or -1.
    """
    if end - at < 2:
        return FOREIGN, -1
    version = be16(buf, at) & 0xFFF
    at += 2
    if version > 0:
        if end - at < 2:
            return TRUNCATED, -1
        row.seq = be16(buf, at)
        at += 2
    station = np.int64(-1)
    while end - at >= 2:
        kind, length = np.int64(buf[at]), np.int64(buf[at + 1])
        if row.kind < 0:
            row.kind = kind
        at += 2
        if kind == 0:
            return OK, station
        if end - at < length:
            return MALFORMED, station
        if 20 <= kind <= 23:
            if length != 6 and length != 12:
                return MALFORMED, station
            if station < 0:
                station = np.int64(at)
        at += length
    return TRUNCATED, station
