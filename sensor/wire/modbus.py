"""Modbus/TCP: MBAP header and PDU (MODBUS Application Protocol V1.1b3; Messaging on TCP/IP V1.0b).

Layout::

    0  transaction id   2
    2  protocol id      2    0
    4  length           2    bytes that follow: unit + PDU, 2..254
    6  unit id          1
    7  function code    1    | 0x80 in an exception response
    8  data

Parses one ADU; pairing a response with its request is ``track.transactions``' work. Refuses: protocol
ids other than 0 (another protocol on the port), lengths under 2 and far beyond the standard's limit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, MORE, OK

HEADER: Final = 8
MAX_LENGTH: Final = 254
MAX_BELIEVED: Final = 1018
"""A longer ADU is not waited for: whoever sends such a length would hide what follows."""
COIL, DISCRETE, INPUT, HOLDING = 0, 1, 3, 4

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_BROADCAST = int(Flag.BROADCAST)


@kernel
def modbus_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the ADU at ``at``); MORE when the header itself is not complete."""
    if end - at >= 4 and be16(buf, at + 2) != 0:
        return FOREIGN, 0
    if end - at < 6:
        return MORE, 0
    length = be16(buf, at + 4)
    if length < 2 or length > MAX_BELIEVED:
        return FOREIGN, 0
    return OK, length + 6


@kernel
def modbus_table(function: int) -> int:
    """Object table a function addresses, -1 none."""
    if function == 1 or function == 5 or function == 15:
        return COIL
    if function == 2:
        return DISCRETE
    if function == 4:
        return INPUT
    if function == 3 or function == 6 or function == 16 or function == 22 or function == 23 or function == 24:
        return HOLDING
    return -1


@kernel
def modbus_point(unit: int, table: int, address: int) -> int:
    return (unit << 24) | (table << 16) | address


@kernel
def parse_modbus(buf: Any, at: int, end: int, request: bool, row: Any) -> None:
    """Fill ``row`` (a MESSAGE record) from the complete ADU ``buf[at:end]``; ``end - at >= 8``."""
    code = np.int64(buf[at + 7])
    function = code & 0x7F
    unit = np.int64(buf[at + 6])
    row.kind = function
    row.seq = be16(buf, at)
    if end - at - 6 > MAX_LENGTH:
        row.flags |= np.uint32(_MALFORMED)
    if code & 0x80:
        row.flags |= np.uint32(_NEGATIVE)
        if end - at > 8:
            row.cause = buf[at + 8]
        if request or end - at != 9:
            row.flags |= np.uint32(_MALFORMED)
        return
    if request and unit == 0 and (function == 5 or function == 6 or function == 15 or function == 16):
        row.flags |= np.uint32(_BROADCAST)
    if request:
        _request(buf, at + 8, end, function, unit, row)
    else:
        _response(buf, at + 8, end, function, unit, row)


@kernel
def _request(buf: Any, at: int, end: int, function: int, unit: int, row: Any) -> None:
    size = end - at
    table = modbus_table(function)
    if function >= 1 and function <= 4:
        if size < 4:
            row.flags |= np.uint32(_MALFORMED)
            return
        row.point = modbus_point(unit, table, be16(buf, at))
        row.count = be16(buf, at + 2)
        limit = 2000 if function <= 2 else 125
        if size != 4 or row.count == 0 or row.count > limit:
            row.flags |= np.uint32(_MALFORMED)
    elif function == 5 or function == 6:
        _single(buf, at, size, function, unit, row)
    elif function == 15 or function == 16:
        if size >= 4:
            row.point = modbus_point(unit, table, be16(buf, at))
            row.count = be16(buf, at + 2)
        if size < 5:
            row.flags |= np.uint32(_MALFORMED)
            return
        octets = (row.count + 7) // 8 if function == 15 else 2 * row.count
        limit = 1968 if function == 15 else 123
        if buf[at + 4] != octets or size != 5 + octets or row.count == 0 or row.count > limit:
            row.flags |= np.uint32(_MALFORMED)
    elif function == 22:
        _mask_write(buf, at, size, unit, row)
    elif function == 23:
        if size < 9:
            row.flags |= np.uint32(_MALFORMED)
            return
        row.point = modbus_point(unit, table, be16(buf, at + 4))
        row.count = be16(buf, at + 6)
        read = be16(buf, at + 2)
        if buf[at + 8] != 2 * row.count or size != 9 + 2 * row.count:
            row.flags |= np.uint32(_MALFORMED)
        if row.count == 0 or row.count > 121 or read == 0 or read > 125:
            row.flags |= np.uint32(_MALFORMED)
    elif function == 24:
        if size != 2:
            row.flags |= np.uint32(_MALFORMED)
        if size >= 2:
            row.point = modbus_point(unit, table, be16(buf, at))
    elif function == 20 or function == 21:
        _counted(buf, at, size, row)
    else:
        _sub_function(buf, at, size, function, row)


@kernel
def _single(buf: Any, at: int, size: int, function: int, unit: int, row: Any) -> None:
    """FC 5 and 6: request and response are the same bytes."""
    if size < 4:
        row.flags |= np.uint32(_MALFORMED)
        return
    row.point = modbus_point(unit, modbus_table(function), be16(buf, at))
    row.count = 1
    value = be16(buf, at + 2)
    if function == 6:
        row.value = value
    else:
        row.value = 1.0 if value == 0xFF00 else 0.0
        if value != 0xFF00 and value != 0:
            row.flags |= np.uint32(_MALFORMED)
    if size != 4:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _mask_write(buf: Any, at: int, size: int, unit: int, row: Any) -> None:
    """FC 22: address, AND mask, OR mask; request and response are the same bytes."""
    if size != 6:
        row.flags |= np.uint32(_MALFORMED)
    if size >= 2:
        row.point = modbus_point(unit, HOLDING, be16(buf, at))
        row.count = 1


@kernel
def _sub_function(buf: Any, at: int, size: int, function: int, row: Any) -> None:
    """FC 8 carries a 16-bit sub-function, FC 43 an 8-bit MEI type."""
    if function == 8:
        if size >= 2:
            row.aux = be16(buf, at)
        else:
            row.flags |= np.uint32(_MALFORMED)
    elif function == 43:
        if size >= 1:
            row.aux = buf[at]
        else:
            row.flags |= np.uint32(_MALFORMED)


@kernel
def _response(buf: Any, at: int, end: int, function: int, unit: int, row: Any) -> None:
    size = end - at
    if (function >= 1 and function <= 4) or function == 23:
        if size < 1 or size != 1 + buf[at]:
            row.flags |= np.uint32(_MALFORMED)
        if size >= 1:
            row.count = 8 * buf[at] if function <= 2 else buf[at] // 2
    elif function == 5 or function == 6:
        _single(buf, at, size, function, unit, row)
    elif function == 15 or function == 16:
        if size != 4:
            row.flags |= np.uint32(_MALFORMED)
        if size >= 4:
            row.point = modbus_point(unit, modbus_table(function), be16(buf, at))
            row.count = be16(buf, at + 2)
    elif function == 22:
        _mask_write(buf, at, size, unit, row)
    elif function == 12 or function == 17 or function == 20 or function == 21:
        _counted(buf, at, size, row)
    elif function == 24:
        if size < 2 or size != 2 + be16(buf, at):
            row.flags |= np.uint32(_MALFORMED)
    else:
        _sub_function(buf, at, size, function, row)


@kernel
def _counted(buf: Any, at: int, size: int, row: Any) -> None:
    """Event log, server id and file records say in their first octet how many follow."""
    if size < 1 or size != 1 + buf[at]:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def modbus_values(
    buf: Any, at: int, end: int, request: bool, row: Any, base: int
) -> tuple[int, int, int, bool]:
    """Where the values of an ADU are: (offset, how many, first point, are they bits).

    ``base`` is the first point read, known to a response only through its request; -1 unknown.
    """
    function = row.kind
    if row.flags & np.uint32(_MALFORMED | _NEGATIVE):
        return 0, 0, -1, False
    if request:
        if function == 15:
            return at + 13, row.count, row.point, True
        if function == 16:
            return at + 13, row.count, row.point, False
        if function == 23:
            return at + 17, row.count, row.point, False
        return 0, 0, -1, False
    if base < 0:
        return 0, 0, -1, False
    if function == 1 or function == 2:
        return at + 9, row.count, base, True
    if function == 3 or function == 4 or function == 23:
        return at + 9, row.count, base, False
    return 0, 0, -1, False
