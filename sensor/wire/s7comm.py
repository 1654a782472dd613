"""S7comm of Siemens S7-300/400 and compatible controllers (not published; as Wireshark's dissector reads it).

Layout, big endian::

    0   protocol   1    0x32
    1   ROSCTR     1    1 job, 2 acknowledge, 3 answer with data, 7 user data
    2   reserved   2
    4   PDU ref    2
    6   parameters 2    octets
    8   data       2    octets
    10  error      2    class, code: ROSCTR 2 and 3 only
    ..  parameters      function 1, ... ; user data: 00 01 12, length 1, method 1, type << 4 | group 1,
                        subfunction 1, sequence 1, and in answers: unit 1, last 1, error 2
    ..  data            for reads, writes and user data: return code 1, transport size 1, length 2, ...

An item of a read or write: 12, octets 1, syntax 1; of syntax 10 (any): type 1, count 2, block 2, area 1, bit
address 3.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16

PROTOCOL: Final = 0x32
PLUS: Final = 0x72
JOB, ACK, ANSWER, USERDATA = 1, 2, 3, 7
READ, WRITE, DOWNLOAD, START_UPLOAD, PI_START, PLC_STOP = 4, 5, 0x1A, 0x1D, 0x28, 0x29
CYCLIC: Final = 2
ASKS: Final = 4
"""Type of user data that is a request; 8 answers, 0 comes unasked."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)


@kernel
def is_s7comm(buf: Any, at: int, end: int) -> bool:
    if end - at < 10 or buf[at] != PROTOCOL:
        return False
    kind = buf[at + 1]
    return kind == JOB or kind == ACK or kind == ANSWER or kind == USERDATA


@kernel
def s7comm_parts(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(begin of the parameters, begin of the data, end of the data), cut at ``end``."""
    head = 12 if buf[at + 1] == ACK or buf[at + 1] == ANSWER else 10
    parameters = min(at + head, end)
    data = min(parameters + be16(buf, at + 6), end)
    return parameters, data, min(data + be16(buf, at + 8), end)


@kernel
def parse_s7comm(buf: Any, at: int, end: int, size: int, row: Any) -> int:
    """Fill ``row`` from the message ``buf[at:end]``, of which ``size`` bytes were sent.

    Returns
    -------
    int
        User data: type << 4 | group; else -1.
    """
    kind = np.int64(buf[at + 1])
    head = 12 if kind == ACK or kind == ANSWER else 10
    row.kind = kind << 8
    row.seq = be16(buf, at + 4)
    row.size = head + be16(buf, at + 6) + be16(buf, at + 8)
    if row.size > size:
        row.flags |= np.uint32(_MALFORMED)
    if head == 12 and end - at >= 12:
        row.cause = be16(buf, at + 10)
        if 0x81 <= buf[at + 10] <= 0x87 and buf[at + 10] != 0x86:
            row.flags |= np.uint32(_NEGATIVE)
    parameters, data, behind = s7comm_parts(buf, at, end)
    if kind == USERDATA:
        return _userdata(buf, parameters, data, behind, row)
    if kind != ACK and data > parameters:
        function = np.int64(buf[parameters])
        row.kind = kind << 8 | function
        items = function == READ or function == WRITE
        if items and data - parameters >= 2:
            row.count = buf[parameters + 1]
        if items and behind > data and not (kind == JOB and function == READ):
            _returned(buf, data, row)
    return -1


@kernel
def _returned(buf: Any, at: int, row: Any) -> None:
    code = np.int64(buf[at])
    row.aux = code
    if code == 1 or code == 3 or (5 <= code <= 7) or code == 10:
        row.flags |= np.uint32(_NEGATIVE)


@kernel
def _userdata(buf: Any, at: int, data: int, end: int, row: Any) -> int:
    if data - at < 8:
        row.flags |= np.uint32(_MALFORMED)
        return -1
    sort = np.int64(buf[at + 5])
    row.kind = USERDATA << 16 | (sort & 15) << 8 | np.int64(buf[at + 6])
    if buf[at + 3] >= 8 and data - at >= 12:
        row.cause = be16(buf, at + 10)
    if end - data >= 4:
        _returned(buf, data, row)
        sub = buf[at + 6]
        if sort & 15 == CYCLIC and end - data >= 6 and (sub == 1 or sub == 5 or sub == 7):
            row.count = buf[data + 5]
    return sort


@kernel
def s7comm_item(buf: Any, at: int, end: int, count: int) -> int:
    """Offset of the first of ``count`` items that has a plain address (syntax any); -1 none."""
    for _ in range(count):
        if end - at < 3:
            return -1
        size = 2 + np.int64(buf[at + 1])
        if buf[at] == 0x12 and buf[at + 2] == 0x10 and size == 12:
            return at if end - at >= 12 else -1
        at += size + (size & 1)
    return -1


@kernel
def s7comm_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(offset, octets) of the service or file that a job's parameters ``buf[at:end]`` name; -1 none."""
    if end <= at:
        return np.int64(-1), np.int64(0)
    function = buf[at]
    if function == PI_START:
        if end - at < 10:
            return np.int64(-1), np.int64(0)
        at += 10 + be16(buf, at + 8)
    elif function == PLC_STOP:
        at += 6
    elif DOWNLOAD <= function <= START_UPLOAD:
        at += 8
    else:
        return np.int64(-1), np.int64(0)
    if end - at < 1 or end - at - 1 < np.int64(buf[at]):
        return np.int64(-1), np.int64(0)
    return at + 1, np.int64(buf[at])
