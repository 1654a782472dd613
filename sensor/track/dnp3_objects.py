"""Objects of a DNP3 application fragment: the message's first object, and a point for every index."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import add_point
from sensor.track.table import intern
from sensor.wire.dnp3 import (
    BIT,
    CONTROL,
    NOTHING,
    OCTET,
    TWO_BITS,
    UNKNOWN,
    dnp3_number,
    dnp3_object,
    dnp3_range,
    dnp3_value,
    dnp3_what,
)
from sensor.wire.octets import le16

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)

MAX_POINTS: Final = 12_000
"""Points of one fragment; the usual largest fragment, 2048 octets of packed bits, has 16,000 at most."""
_NO_INDEX: Final = -1


@kernel
def emit_objects(memory: Any, names: Any, at: int, end: int, row: Any, function: int) -> None:
    """Object headers ``memory.fragment[at:end]`` of a fragment with this function."""
    data = memory.fragment
    told = (
        memory.where
    )  # [0] first object, [1] its prefix, [2] index under prefix, [3] index without, [4] points
    told[0], told[1], told[2], told[3], told[4] = -1, 0, _NO_INDEX, _NO_INDEX, 0
    ranged = np.int64(-1)
    while end - at >= 2:
        group, variation = np.int64(data[at]), np.int64(data[at + 1])
        code = group << 8 | (0 if group == 110 or group == 111 else variation)
        fresh = told[0] < 0
        if fresh:
            told[0] = code
        if group and dnp3_object(group, variation) == UNKNOWN:
            row.flags |= np.uint32(_MALFORMED)
        if end - at < 3:
            row.flags |= np.uint32(_MALFORMED)
            break
        prefix = (np.int64(data[at + 2]) >> 4) & 7
        if fresh:
            told[1] = prefix
        octets, first, count, how = dnp3_range(data, at + 3, end, np.int64(data[at + 2] & 0x0F))
        if octets < 0 or prefix == 7:
            row.flags |= np.uint32(_MALFORMED)
            break
        if how == 2 and row.count < 0 and count < 0x80000000:
            row.count = count
        elif how == 1 and ranged < 0:
            ranged = count
        at += 3 + octets
        if count < 0 or count >= 0x80000000:
            row.flags |= np.uint32(_MALFORMED)
            break
        if prefix == 0 and _asks(function, group):
            continue
        at = _points(
            memory, names, at, end, row, group, variation, prefix, first, count, _asks(function, group)
        )
        if at < 0:
            break
    if end - at == 1 and at >= 0:
        row.flags |= np.uint32(_MALFORMED)
    if row.count < 0 and 0 <= ranged < 0x80000000:
        row.count = ranged
    _point(memory, names, row)


@kernel
def _asks(function: int, group: int) -> bool:
    """Do object headers stand alone in a request of this function? A time at which to freeze does not."""
    if function == 11 or function == 12:
        return group != 50
    return function == 1 or 7 <= function <= 10 or function == 15 or function == 22


@kernel
def _point(memory: Any, names: Any, row: Any) -> None:
    """Point of the message: its first object and the first index told in the way of its header."""
    told = memory.where
    if told[0] < 0:
        return
    index = np.int64(_NO_INDEX)
    if told[1] == 0:
        index = told[3]
    elif told[1] <= 3:
        index = told[2]
    row.point = _label(memory, names, told[0], index)


@kernel
def _label(memory: Any, names: Any, code: int, index: int) -> int:
    """Text id of "0x0c01/5", or without an index "0x0c01"."""
    key = memory.scratch
    key[0], key[1] = 48, 120
    for i in range(4):
        digit = (code >> (12 - 4 * i)) & 0x0F
        key[2 + i] = digit + (48 if digit < 10 else 87)
    size = 6
    if index >= 0:
        key[6] = 47
        size = 7
        scale = np.int64(1_000_000_000)
        while scale > 0:
            if index >= scale or scale == 1 or size > 7:
                key[size] = 48 + index // scale % 10
                size += 1
            scale //= 10
    return intern(names.texts, key, 0, size)


@kernel
def _points(
    memory: Any,
    names: Any,
    at: int,
    end: int,
    row: Any,
    group: int,
    variation: int,
    prefix: int,
    first: int,
    count: int,
    asks: bool,
) -> int:
    """Objects behind one header; returns where the next header begins, -1 when it cannot be found."""
    data = memory.fragment
    code = group << 8 | (0 if group == 110 or group == 111 else variation)
    width = np.int64(0)
    if prefix:
        width = np.int64(1) << ((prefix - 1) % 3)
    what = dnp3_what(group, variation)
    size = dnp3_object(group, variation)
    packed = (what == BIT or what == TWO_BITS) and not asks
    bits = 2 if what == TWO_BITS else 1
    place = np.int64(0)  # bit in the octet at ``at``
    for i in range(count):
        if at + width > end or at >= end:
            row.flags |= np.uint32(_MALFORMED)
            return -1
        index = first + i
        if prefix:
            index = dnp3_number(data, at, width)
        at += width
        if prefix > 3:
            at = _sized(memory, names, at, end, row, code, index)
            if at < 0:
                return -1
            continue
        told = memory.where
        told[2 if prefix else 3] = (
            index if told[2 if prefix else 3] == _NO_INDEX else told[2 if prefix else 3]
        )
        if asks:
            _add(memory, names, row, code, index, np.nan, np.int64(-1))
            continue
        if packed:
            value = np.nan
            if at < end:
                value = np.float64((np.int64(data[at]) >> place) & (3 if bits == 2 else 1))
            _add(memory, names, row, code, index, value, np.int64(-1))
            if at >= end:
                row.flags |= np.uint32(_MALFORMED)
                return -1
            place += bits
            if prefix or place >= 8 or i + 1 == count:
                at += 1
                place = np.int64(0)
            continue
        if group == 0:
            size = _attribute(data, at, end)
        _valued(memory, names, at, end, row, code, index, what)
        if size == 0 and what == NOTHING:
            return at  # nothing more to read: an index without an object
        if size < 0:
            return -1
        if at + size > end:
            row.flags |= np.uint32(_MALFORMED)
            return -1
        at += size
    return at


@kernel
def _add(memory: Any, names: Any, row: Any, code: int, index: int, value: float, quality: int) -> None:
    told = memory.where
    told[4] += 1
    if told[4] <= MAX_POINTS:
        add_point(memory, row, code, _label(memory, names, code, index), value, quality)


@kernel
def _valued(memory: Any, names: Any, at: int, end: int, row: Any, code: int, index: int, what: int) -> None:
    """A point with the value of the object at ``at``, as far as it is there."""
    if what == NOTHING:
        _add(memory, names, row, code, index, np.nan, np.int64(-1))
        return
    octet = np.int64(OCTET[(code >> 8) * 16 + (code & 0x0F)])
    value, quality, status = dnp3_value(memory.fragment, at, end, what, octet)
    if what == CONTROL and row.value != row.value:
        row.value = value
    if 1 <= status <= 19:
        row.flags |= np.uint32(_NEGATIVE)
    _add(memory, names, row, code, index, value, quality)


@kernel
def _attribute(data: Any, at: int, end: int) -> int:
    """Octets of a device attribute: type, length, value (annex A, group 0)."""
    if at + 2 > end:
        return 2
    return 2 + np.int64(data[at + 1])


@kernel
def _sized(memory: Any, names: Any, at: int, end: int, row: Any, code: int, size: int) -> int:
    """An object behind its own size; of a file command and a file description the name is kept."""
    if at + size > end:
        row.flags |= np.uint32(_MALFORMED)
        return -1
    if row.name == 0 and ((code == 0x4603 and size > 26) or (code == 0x4607 and size > 20)):
        data = memory.fragment
        name = at + (26 if code == 0x4603 else 20)
        length = min(le16(data, at + 2), at + size - name)
        for i in range(length):
            if data[name + i] == 0:
                length = i
                break
        row.name = intern(names.texts, data, name, length)
    return at + size
