"""BACnet/IP (ASHRAE 135 annex J): link control, network layer and the parameters of services.

Layout::

    0  0x81  1    function 1    length 2    BVLC, the length with this header
       function 4: address and port of the origin 6
    4  NPDU (functions 4, 9, 10, 11): version 1, control 1
       control 0x20: network 2, length 1, address; 0x08: the same of the source; then 0x20: hop count 1
       control 0x80: message type 1; else APDU
    .  APDU: type << 4 | flags
       0 confirmed request  limits 1, invoke id 1, service 1     1 unconfirmed request  service 1
       2 simple ack  invoke id 1, service 1                      3 complex ack  invoke id 1, service 1
       4 segment ack  invoke id 1, number 1, window 1            5 error  invoke id 1, service 1
       6, 7 reject, abort  invoke id 1, reason 1                 0 and 3 with flag 8: number 1, window 1
                                                                   before the service
    parameters: tags (20.2), number << 4 | class << 3 | length; 5: length in the next octet; 6 opens, 7 closes

Refuses: link types other than 0x81, payloads under four octets.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16, be32, float32, float64, signed

HEADER: Final = 4
APPLICATION, CONTEXT, OPENING, CLOSING = range(4)
CONFIRMED, UNCONFIRMED, SIMPLE, COMPLEX, SEGMENT, ERROR, REJECT, ABORT = range(8)
OBJECT: Final = 12
"""Application tag of an object identifier; as rule: the first one of the message."""
DEEP: Final = 32
"""Added to a context tag that stands inside a constructed one."""
PRESENT_VALUE: Final = 85
OBJECT_NAME: Final = 77
LOWEST_PRIORITY: Final = 16
"""What a write without one counts as (19.2.1); 1 is manual and 2 automatic life safety."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)


@kernel
def bacnet_tag(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """(class, number, offset of the contents, their length) of the tag at ``at``; class -1: does not fit.

    The length of an application boolean is 0 and the offset that of its tag, which holds its value.
    """
    if at >= end:
        return -1, 0, at, 0
    octet = np.int64(buf[at])
    number, kind, length = octet >> 4, (octet >> 3) & 1, octet & 7
    start = at
    at += 1
    if number == 15:
        if at >= end:
            return -1, 0, at, 0
        number = np.int64(buf[at])
        at += 1
    if kind == CONTEXT and length >= 6:
        return (OPENING if length == 6 else CLOSING), number, at, 0
    if kind == APPLICATION and number == 1:
        return (APPLICATION, number, start, 0) if at == start + 1 else (-1, 0, at, 0)
    if length == 5:
        if at >= end:
            return -1, 0, at, 0
        length = np.int64(buf[at])
        at += 1
        if length == 254 and end - at >= 2:
            length, at = be16(buf, at), at + 2
        elif length == 255 and end - at >= 4:
            length, at = be32(buf, at), at + 4
    if length > end - at:
        return -1, 0, at, 0
    return kind, number, at, length


@kernel
def bacnet_behind(kind: int, at: int, length: int, number: int) -> int:
    """Where the next tag begins."""
    return at + 1 if kind == APPLICATION and number == 1 else at + length


@kernel
def bacnet_unsigned(buf: Any, at: int, length: int) -> int:
    """Unsigned contents; -1 over four octets or none."""
    if length < 1 or length > 4:
        return -1
    value = np.int64(0)
    for i in range(at, at + length):
        value = (value << 8) | np.int64(buf[i])
    return value


@kernel
def bacnet_number(buf: Any, number: int, at: int, length: int) -> float:
    """Application-tagged contents as a number; NaN for null, text, bits, times and odd lengths."""
    if number == 1:
        return np.float64(buf[at] & 7)
    if number == 4 and length == 4:
        return float32(be32(buf, at))
    if number == 5 and length == 8:
        return float64(be32(buf, at), be32(buf, at + 4))
    value = bacnet_unsigned(buf, at, length)
    if value < 0:
        return np.nan
    if number == 2 or number == 9:
        return np.float64(value)
    if number == 3:
        return np.float64(signed(value, 8 * length))
    return np.nan


@kernel
def bacnet_rule(apdu: int, service: int) -> tuple[int, int, int]:
    """Where a service names object and property: (tag of the object, list around, tag of the property).

    A tag is a context tag, :data:`OBJECT`, or with :data:`DEEP` a context tag inside a constructed one; the
    list is the context tag that opens around a property, -1 none around it, -2 there is no property.
    """
    if apdu == UNCONFIRMED:
        if service == 0 or service == 1:
            return OBJECT, -2, 0
        if service == 2:
            return 2, 4, 0
        return (2 if service == 3 or service == 7 else -1), -2, 0
    if (
        service == 12
        or service == 26
        or (apdu == CONFIRMED and (service == 15 or service == 8 or service == 9))
    ):
        return 0, -1, 1
    if service == 14:
        return 0, 1, (0 if apdu == CONFIRMED else 2)
    if apdu == COMPLEX:
        if service == 29:
            return DEEP, -2, 0
        return (OBJECT if service == 3 or service == 4 or service == 10 else -1), -2, 0
    if service == 16:
        return 0, 1, 0
    if service == 1:
        return 2, 4, 0
    if service == 28:
        return 1, 4, 0
    if service == 6 or service == 7 or service == 11:
        return OBJECT, -2, 0
    if service == 0 or service == 5:
        return 1, -2, 0
    if service == 2 or service == 27:
        return (2 if service == 2 else 3), -2, 0
    if service == 10:
        return DEEP + 1, -2, 0
    return (0 if service == 19 or service == 29 else -1), -2, 0


@kernel
def bacnet_is_priority(service: int, depth: int, number: int) -> bool:
    """Whether a context tag is the priority of writeProperty (15.9) or writePropertyMultiple (15.10)."""
    return (service == 15 and depth == 0 and number == 4) or (service == 16 and depth == 1 and number == 3)


@kernel
def parse_bvlc(buf: Any, at: int, end: int, wire: int, row: Any) -> tuple[int, int]:
    """Link header; returns (offset of the NPDU, where it ends), offset -1 without. ``end - at >= 4``."""
    function, length = np.int64(buf[at + 1]), be16(buf, at + 2)
    row.kind = 131_072 + function
    row.size = length if function <= 8 and function != 4 else wire - at
    stop = min(end, at + length)
    if (length != wire - at or function > 12) and end >= wire:
        row.flags |= np.uint32(_MALFORMED)
    at += HEADER
    body = stop - at
    if function == 4 or (function >= 9 and function <= 11):
        return at + (6 if function == 4 else 0), stop
    good = True
    if function == 0:
        good = body == 2
        if body >= 2:
            row.cause = be16(buf, at)
            if row.cause != 0:
                row.flags |= np.uint32(_NEGATIVE)
    elif function == 1 or function == 3 or function == 7:
        good = body % 10 == 0
    elif function == 2 or function == 6:
        good = body == 0
    elif function == 5 or function == 8:
        good = body == (2 if function == 5 else 6)
    if not good and end >= wire:
        row.flags |= np.uint32(_MALFORMED)
    return -1, stop


@kernel
def parse_npdu(buf: Any, at: int, end: int, row: Any) -> int:
    """Network header; returns the offset of the APDU, -1 none, -2 when it does not fit."""
    if end - at < 2:
        return -2
    control = np.int64(buf[at + 1])
    if buf[at] != 1:
        row.flags |= np.uint32(_MALFORMED)
    at += 2
    for bit in (0x20, 0x08):
        if control & bit:
            if end - at < 3:
                return -2
            at += 3 + np.int64(buf[at + 2])
    if control & 0x20:
        at += 1
    if at >= end:
        return -2
    if control & 0x80:
        row.kind = 65_536 + np.int64(buf[at])
        return -1
    return at


@kernel
def bacnet_goes_on(buf: Any, apdu: int) -> bool:
    """Is this a request or answer of which more segments follow (20.1.2.4)?"""
    kind = np.int64(buf[apdu]) >> 4
    return (kind == CONFIRMED or kind == COMPLEX) and buf[apdu] & 0x0C == 0x0C


@kernel
def parse_apdu(buf: Any, at: int, end: int, row: Any) -> tuple[int, int, int]:
    """Application header; (offset of the parameters, PDU type, service); offset -1 none, -2 does not fit."""
    octet = np.int64(buf[at])
    kind = octet >> 4
    left = end - at
    if kind > ABORT:
        return -2, kind, -1
    if kind == UNCONFIRMED:
        if left < 2:
            return -2, kind, -1
        row.kind = 256 + np.int64(buf[at + 1])
        return at + 2, kind, np.int64(buf[at + 1])
    invoke = at + (2 if kind == CONFIRMED else 1)
    if invoke < end:
        row.seq = buf[invoke]
    if kind >= ERROR:
        row.flags |= np.uint32(_NEGATIVE)
    if kind == SEGMENT or kind >= REJECT:
        row.kind = kind << 8
        if kind >= REJECT and invoke + 1 < end:
            row.cause = buf[invoke + 1]
        return (-1 if left >= (4 if kind == SEGMENT else 3) else -2), kind, -1
    segmented = (kind == CONFIRMED or kind == COMPLEX) and octet & 8 != 0
    place = invoke + (3 if segmented else 1)
    if place >= end:
        return -2, kind, -1
    row.kind = (kind << 8) + np.int64(buf[place])
    if segmented and buf[invoke + 1] != 0:
        return -1, kind, -1  # goes on where an earlier one ended
    return (-1 if kind == SIMPLE else place + 1), kind, np.int64(buf[place])
