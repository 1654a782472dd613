"""One DLMS APDU in ``memory.fragment``: service, object, result (IEC 62056-5-3 clause 9)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import ROLE_CLIENT, add_point
from sensor.track.table import intern
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.dlms import axdr_length, dlms_ciphered, dlms_number
from sensor.wire.octets import be16, be32

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_ENCRYPTED = int(Flag.ENCRYPTED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_UNANSWERED = int(Flag.UNANSWERED)

_DATAGRAMS: Final = 1 << 24  # conversations of datagrams begin behind the numbers of TCP connections


@kernel
def read_apdu(memory: Any, names: Any, end: int, row: Any, whole: bool) -> None:
    """Fill ``row`` from ``memory.fragment[:end]``; with ``whole`` False, nothing missing is malformed."""
    tag = np.int64(memory.fragment[0])
    row.kind = tag
    good = True
    if dlms_ciphered(tag):
        good = _ciphered(memory, names, end, row, tag)
    elif 96 <= tag <= 99:
        good = _association(memory, names, end, row, tag)
    elif 192 <= tag <= 199:
        good = _service(memory, names, end, row, tag)
    elif tag == 216:
        row.flags |= np.uint32(_NEGATIVE)
        good = end >= 3
        if good:
            row.cause = be16(memory.fragment, 1)
    elif tag == 14:
        row.flags |= np.uint32(_NEGATIVE)
        good = end >= 4
        if good:
            row.cause = be16(memory.fragment, 2)
    elif tag == 15:
        good = end >= 6
        if good:
            row.seq = be32(memory.fragment, 1) & 0xFFFFFF
    elif tag in (5, 6, 12, 13, 22, 24):
        good = _short_names(memory, end, row, tag)
    if not good and whole:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _ciphered(memory: Any, names: Any, end: int, row: Any, tag: int) -> bool:
    """Length, security control, invocation counter; general ones name the sender's system title first."""
    data = memory.fragment
    at = np.int64(1)
    row.flags |= np.uint32(_ENCRYPTED)
    if tag == 221:
        return end > 2  # its keys and titles are of variable kinds; nothing behind them can be read
    if tag >= 219:
        octets, length = axdr_length(data, at, end)
        at += octets
        if octets == 0 or at + length > end:
            return False
        row.ident = _hexadecimal(memory, names, at, length)
        at += length
    octets, length = axdr_length(data, at, end)
    at += octets
    if octets == 0 or at + 5 > end:
        return False
    if data[at] & 0x20 == 0:
        row.flags &= ~np.uint32(_ENCRYPTED)  # authenticated only
    row.seq = be32(data, at + 1)
    return length >= 5 and at + length <= end


@kernel
def _hexadecimal(memory: Any, names: Any, at: int, length: int) -> int:
    """Text id of a few octets in hexadecimal."""
    key = memory.scratch
    length = min(length, len(key) // 2)
    for i in range(length):
        octet = np.int64(memory.fragment[at + i])
        for half in range(2):
            digit = (octet >> 4) if half == 0 else octet & 0x0F
            key[2 * i + half] = digit + (48 if digit < 10 else 87)
    return intern(names.texts, key, 0, 2 * length)


@kernel
def _association(memory: Any, names: Any, end: int, row: Any, tag: int) -> bool:
    """AARQ, AARE, RLRQ, RLRE (BER): mechanism or result, and the system title. No secret is kept."""
    data = memory.fragment
    octets, length = axdr_length(data, 1, end)
    at = 1 + octets
    last = at + length
    if octets == 0:
        return False
    if tag == 96:
        row.cause = 0  # lowest level security unless a mechanism is named
    limit = min(last, end)
    while at < limit:
        field = np.int64(data[at])
        octets, length = axdr_length(data, at + 1, limit)
        at += 1 + octets
        if octets == 0 or at + length > limit:
            return False
        if tag == 96 and field == 0x8B and length > 0:
            row.cause = np.int64(data[at + length - 1])
        elif tag == 97 and field == 0xA2 and length >= 3:
            row.cause = np.int64(data[at + length - 1])
            if row.cause:
                row.flags |= np.uint32(_NEGATIVE)
        elif ((tag == 96 and field == 0xA6) or (tag == 97 and field == 0xA4)) and length > 2:
            row.ident = _hexadecimal(memory, names, at + 2, length - 2)
        elif tag >= 98 and field == 0x80 and length > 0:
            row.cause = np.int64(data[at])
        at += length
    return last == end


@kernel
def _short_names(memory: Any, end: int, row: Any, tag: int) -> bool:
    """Services on short names: how many; an error is choice 1 of a response."""
    data = memory.fragment
    if tag == 24:
        return end > 2
    octets, length = axdr_length(data, 1, end)
    if octets == 0:
        return False
    row.count = min(length, 0x7FFFFFFF)
    if (tag == 12 or tag == 13) and length > 0:
        if 1 + octets >= end:
            return False
        if data[1 + octets] == 1:
            row.flags |= np.uint32(_NEGATIVE)
            if 2 + octets < end:
                row.cause = np.int64(data[2 + octets])
    return True


@kernel
def _service(memory: Any, names: Any, end: int, row: Any, tag: int) -> bool:
    """GET, SET, ACTION and their responses; event notification."""
    data = memory.fragment
    if tag == 194:
        at = np.int64(1)
        if end > 1 and data[1] == 1:
            octets, length = axdr_length(data, 2, end)
            if octets == 0:
                return False
            at += octets + length
        return _object(memory, names, at + 1, end, row, False, True)
    if tag == 198 or end < 3:
        return False
    choice = np.int64(data[1])
    row.seq = data[2] & 0x0F
    good = True
    if tag <= 195:
        good = _request(memory, names, end, row, tag, choice)
        _remember(memory, row, tag)
    else:
        _recall(memory, row, tag)
        good = _response(memory, end, row, tag, choice)
    return good


@kernel
def _request(memory: Any, names: Any, end: int, row: Any, tag: int, choice: int) -> bool:
    data = memory.fragment
    action = tag == 195
    if choice == 1:
        row.count = 1
        return _object(memory, names, 3, end, row, action, tag == 193)
    first_block = (tag == 193 and choice == 2) or (action and choice == 4)
    listed = (choice == 3 and tag != 193) or (tag == 193 and choice >= 4) or (action and choice == 5)
    if first_block:
        row.count = 1
        return _object(memory, names, 3, end, row, action, False)
    if listed and choice <= 5:
        octets, length = axdr_length(data, 3, end)
        if octets == 0:
            return False
        row.count = min(length, 0x7FFFFFFF)
        return length == 0 or _object(memory, names, 3 + octets, end, row, action, False)
    last = 2 if tag == 192 else (3 if tag == 193 else 6)
    return 2 <= choice <= last and end >= 7


@kernel
def _object(memory: Any, names: Any, at: int, end: int, row: Any, action: bool, valued: bool) -> bool:
    """Class, logical name, attribute or method: the point; the value behind it where one can stand."""
    data = memory.fragment
    if at + 9 > end:
        return False
    row.point = _label(memory, names, at, action)
    at += 9
    if not valued:
        return True
    if row.kind == 193:
        if at >= end:
            return False
        if data[at]:
            return True  # selective access: parameters of any kind stand before the value
        at += 1
    if at >= end:
        return False
    row.value = dlms_number(data, at, end)
    if row.value == row.value:
        add_point(memory, row, data[at], row.point, row.value, np.int64(-1))
    return True


@kernel
def _label(memory: Any, names: Any, at: int, action: bool) -> int:
    """Text id of "3/1.0.1.8.0.255/2": class, OBIS code, attribute ("m1": method)."""
    data = memory.fragment
    key = memory.scratch
    size = _digits(key, 0, be16(data, at))
    key[size] = 47
    size += 1
    for i in range(6):
        size = _digits(key, size, np.int64(data[at + 2 + i]))
        key[size] = 46
        size += 1
    key[size - 1] = 47
    if action:
        key[size] = 109
        size += 1
    size = _digits(key, size, np.int64(data[at + 8]))
    return intern(names.texts, key, 0, size)


@kernel
def _digits(key: Any, size: int, number: int) -> int:
    """Append a number of at most five digits; returns the new size."""
    begin = size
    scale = np.int64(10_000)
    while scale > 0:
        if number >= scale or scale == 1 or size > begin:
            key[size] = 48 + number // scale % 10
            size += 1
        scale //= 10
    return size


@kernel
def _key(memory: Any, row: Any, service: int) -> Any:
    """Of a transaction: connection or conversation, client and invoke id, service."""
    stream = row.stream if row.stream >= 0 else np.int64(_DATAGRAMS) + row.conv
    return request_key(stream, row.aux & 0xFFFF, row.seq, service)


@kernel
def _remember(memory: Any, row: Any, tag: int) -> None:
    """A request for the next block goes on with the object of the first."""
    if row.flags & np.uint32(_RETRANSMITTED) or row.role != ROLE_CLIENT:
        return
    key = _key(memory, row, tag)
    if row.point < 0:
        found = recall(memory.requests, key)
        if found >= 0:
            row.point = memory.requests[found].point
    remember(memory.requests, key, row.ts, row.frame, row.point, row.count)


@kernel
def _recall(memory: Any, row: Any, tag: int) -> None:
    """Join a response (196, 197, 199) with its request (192, 193, 195)."""
    found = recall(memory.requests, _key(memory, row, tag - 4))
    if found < 0:
        row.flags |= np.uint32(_UNANSWERED)
        return
    row.state = memory.requests[found].frame
    row.point = memory.requests[found].point


@kernel
def _response(memory: Any, end: int, row: Any, tag: int, choice: int) -> bool:
    data = memory.fragment
    if end < 4:
        return False
    if choice == 1:
        row.count = 1
        if tag == 196:
            return _answer(memory, 3, end, row)
        _result(row, np.int64(data[3]))
        if tag == 199 and end >= 6 and data[4] == 1:
            return _answer(memory, 5, end, row)
        return True
    if tag == 196 and choice == 2:
        if end < 9:
            return False
        if data[8] == 1:
            if end < 10:
                return False
            _result(row, np.int64(data[9]))
        return True
    if (tag == 196 and choice == 3) or (tag == 197 and choice == 5) or (tag == 199 and choice == 3):
        octets, length = axdr_length(data, 3, end)
        if octets:
            row.count = min(length, 0x7FFFFFFF)
        return octets > 0
    if tag == 197 and choice == 3:
        _result(row, np.int64(data[3]))
    return 2 <= choice <= (4 if tag != 196 else 3)


@kernel
def _answer(memory: Any, at: int, end: int, row: Any) -> bool:
    """Choice of data (0) or result (1)."""
    data = memory.fragment
    if at + 1 >= end:
        return False
    if data[at] == 1:
        _result(row, np.int64(data[at + 1]))
        return True
    row.value = dlms_number(data, at + 1, end)
    if row.value == row.value and row.point >= 0:
        add_point(memory, row, data[at + 1], row.point, row.value, np.int64(-1))
    return data[at] == 0


@kernel
def _result(row: Any, result: int) -> None:
    row.cause = result
    if result:
        row.flags |= np.uint32(_NEGATIVE)
