"""PTP, version 2: one message behind its ethertype or in a UDP datagram.

Layout (IEEE 1588-2008 and -2019, clause 13)::

     0  majorSdoId | messageType   1  version   2  messageLength 2   4  domain   6  flags 2
     8  correctionField 8 (ns * 65536)   20  clockIdentity 8   28  port 2   30  sequenceId 2   33  interval
    34  Announce: originTimestamp 10, UTC offset 2, 47 priority1, 48 clockClass, 49 accuracy, 50 variance 2,
        52 priority2, 53 grandmasterIdentity 8, 61 stepsRemoved 2, 63 timeSource
    34  Management: targetPortIdentity 10, hops 2, 46 action, 48 TLV type 2, length 2, then
        52 managementId 2 (MANAGEMENT), or 52 error id 2, 54 managementId 2 (MANAGEMENT_ERROR_STATUS)

Version 1 (IEEE 1588-2002) is another protocol and refused.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16, be32, signed
from sensor.wire.status import MALFORMED, OK, TRUNCATED

HEADER: Final = 34
ANNOUNCE: Final = 11
MANAGEMENT: Final = 13
KIND_ACTION: Final = 3328
IDENTITY, GRANDMASTER = 20, 53
"""Offsets of the clock identities."""

TLV_MANAGEMENT: Final = 1
TLV_ERROR: Final = 2


@kernel
def ptp_least(kind: int) -> int:
    """Octets that a message of this type must have; the header for types without a definition."""
    if kind == 0 or kind == 1 or kind == 8 or kind == 12:
        return 44
    if kind == 2 or kind == 3 or kind == 9 or kind == 10:
        return 54
    if kind == ANNOUNCE:
        return 64
    if kind == MANAGEMENT:
        return 48
    return HEADER


@kernel
def parse_ptp(buf: Any, at: int, end: int, wire_end: int, row: Any) -> tuple[int, int]:
    """Fill ``row`` (MESSAGE record) as far as there are octets; the caller has proved two of them.

    Returns
    -------
    (int, int)
        OK, TRUNCATED by the capture, or MALFORMED (shorter than its type needs, or than it says itself); and
        the offset behind what can be read.
    """
    kind = np.int64(buf[at]) & 15
    row.kind = kind
    row.size = end - at
    if end - at < 4:
        return TRUNCATED if wire_end > end else MALFORMED, end
    length = be16(buf, at + 2)
    row.size = length
    stop = min(end, at + length)
    have = stop - at
    if have > 4:
        row.state = np.int64(buf[at + 4])
    if have >= 16:
        row.value = np.float64((signed(be32(buf, at + 8), 32) << 16) | be16(buf, at + 12))
    if have >= 32:
        row.seq = be16(buf, at + 30)
    if kind == ANNOUNCE:
        _announce(buf, at, have, row)
    elif kind == MANAGEMENT and have > 46:
        row.kind = KIND_ACTION + (np.int64(buf[at + 46]) & 15)
    if length < ptp_least(kind) or at + length > wire_end:
        return MALFORMED, stop
    return (TRUNCATED if at + length > end else OK), stop


@kernel
def _announce(buf: Any, at: int, have: int, row: Any) -> None:
    if have > 47:
        row.aux = np.int64(buf[at + 47])
    if have > 48:
        row.cause = np.int64(buf[at + 48])
    if have >= 63:
        row.count = be16(buf, at + 61)


@kernel
def ptp_management(buf: Any, at: int, stop: int) -> int:
    """The managementId of a Management message, -1 none."""
    if np.int64(buf[at]) & 15 != MANAGEMENT or stop - at < 54:
        return -1
    tlv = be16(buf, at + 48)
    if tlv == TLV_MANAGEMENT:
        return be16(buf, at + 52)
    if tlv == TLV_ERROR and stop - at >= 56:
        return be16(buf, at + 54)
    return -1
