"""Synchrophasor messages: a frame becomes a row, a stream's configuration tells what its data mean."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import (
    C37118,
    PMU_STREAMS,
    PMUS,
    ROLE_CLIENT,
    ROLE_SERVER,
    add_point,
    conversation,
    open_row,
)
from sensor.track.table import intern
from sensor.wire.c37118 import (
    COMMAND,
    CONFIG1,
    CONFIG2,
    CONFIG3,
    DATA,
    HEADER,
    SYNC,
    next_pmu,
    next_pmu3,
    number,
    parse_c37118,
    pmu_shape,
)
from sensor.wire.octets import be16, signed

FREQUENCY, DEVIATION, CHANGE, ANALOG = 1, 2, 3, 4
"""Kinds of point: Hz, mHz from nominal, Hz/s, and what the analog channel measures."""
SMALLEST_DATAGRAM: Final = 17

_MALFORMED = int(Flag.MALFORMED)
_TEST = int(Flag.TEST)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_TRUNCATED = int(Flag.TRUNCATED)


@kernel
def emit_c37118_datagram(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One UDP payload; False when it is no synchrophasor frame."""
    if wire_end - at < SMALLEST_DATAGRAM or end - at < HEADER or buf[at] != SYNC:
        return False
    row = memory.cursor[0]
    emit_c37118(memory, names, buf, at, end)
    if end < wire_end:
        memory.messages[row].flags |= np.uint32(_TRUNCATED)
    return True


@kernel
def emit_c37118(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One frame ``buf[at:end]``, or its head, of the frame in ``memory.context``."""
    context = memory.context
    if end - at < HEADER:
        return
    kind = (np.int64(buf[at + 1]) >> 4) & 7
    if kind <= CONFIG3:
        _take_sides(context, kind == COMMAND)
    sub = _stream_text(memory, names, be16(buf, at + 4))
    conv = conversation(memory, names, C37118, context.client, context.server, context.port, sub, 0)
    row = open_row(memory, C37118, conv)
    readable = parse_c37118(buf, at, end, context.pdu, row)
    if kind == DATA and end - at >= HEADER + 4:
        _status(buf, at, row)
    if not readable:
        return
    if kind == CONFIG1 or kind == CONFIG2:
        _configuration(memory, names, buf, at + HEADER, end - 2, row)
    elif kind == CONFIG3 and end - at >= HEADER + 10:
        _configuration3(memory, names, buf, at + HEADER, end - 2, row)
    elif kind == DATA:
        _data(memory, buf, at + HEADER, end - 2, row)


@kernel
def _take_sides(context: Any, command: bool) -> None:
    """Commands go to the PMU, all else comes from it, whoever opened the connection and on which port."""
    if command:
        context.role = ROLE_CLIENT
        context.client, context.server, context.port = context.src, context.dst, context.dport
    else:
        context.role = ROLE_SERVER
        context.client, context.server, context.port = context.dst, context.src, context.sport


@kernel
def _stream_text(memory: Any, names: Any, ident: int) -> int:
    """Text id of "PMU N"."""
    key = memory.scratch
    key[0], key[1], key[2], key[3] = 0x50, 0x4D, 0x55, 0x20
    digits = 1 + (ident >= 10) + (ident >= 100) + (ident >= 1000) + (ident >= 10000)
    for i in range(digits):
        key[4 + digits - 1 - i] = 0x30 + ident % 10
        ident //= 10
    return intern(names.texts, key, 0, 4 + digits)


@kernel
def _status(buf: Any, at: int, row: Any) -> None:
    """STAT of the first PMU: it stands there whether or not the configuration was seen."""
    if row.flags & np.uint32(_MALFORMED):
        return
    row.cause = be16(buf, at + HEADER) >> 14
    if buf[at + HEADER] & 2:
        row.flags |= np.uint32(_TEST)


@kernel
def _configuration(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Read a configuration 1 or 2; the second is kept, since it says what data frames carry."""
    if end - at < 8:
        row.flags |= np.uint32(_MALFORMED)
        return
    count = be16(buf, at + 4)
    row.count = count
    at += 6
    keep = row.kind == CONFIG2 and not row.flags & np.uint32(_RETRANSMITTED)
    entry = memory.pmus[row.conv % PMU_STREAMS]
    if count > 0 and end - at >= 16:
        row.name = intern(names.texts, buf, at, _trimmed(buf, at))
    for i in range(count):
        shape, at = next_pmu(buf, at, end - 2)
        if shape < 0:
            row.flags |= np.uint32(_MALFORMED)
            if keep and entry.conv == row.conv:
                entry.count = 0
            return
        if keep and i < PMUS:
            entry.shapes[i] = shape
    _settle(entry, keep, buf, at, end, row)


@kernel
def _configuration3(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Read a configuration 3 and keep it; of one in several frames (CONT_IDX) only the number of PMUs."""
    row.count = be16(buf, at + 6)
    if be16(buf, at) != 0:
        return
    at += 8
    keep = not row.flags & np.uint32(_RETRANSMITTED)
    entry = memory.pmus[row.conv % PMU_STREAMS]
    for i in range(row.count):
        shape, at, name, octets = next_pmu3(buf, at, end - 2)
        if shape < 0:
            row.flags |= np.uint32(_MALFORMED)
            if keep and entry.conv == row.conv:
                entry.count = 0
            return
        if i == 0 and octets > 0:
            row.name = intern(names.texts, buf, name, octets)
        if keep and i < PMUS:
            entry.shapes[i] = shape
    _settle(entry, keep, buf, at, end, row)


@kernel
def _settle(entry: Any, keep: bool, buf: Any, at: int, end: int, row: Any) -> None:
    """What stands behind the last PMU: the rate."""
    if keep:
        entry.conv = row.conv
        entry.count = row.count if row.count <= PMUS else 0
    if end - at != 2:
        row.flags |= np.uint32(_MALFORMED)
    row.aux = max(signed(be16(buf, at), np.int64(16)), -1)


@kernel
def _trimmed(buf: Any, at: int) -> int:
    """Length of a station name of 16 octets without the blanks and NULs that fill it."""
    size = 16
    while size > 0 and (buf[at + size - 1] == 0x20 or buf[at + size - 1] == 0):
        size -= 1
    return size


@kernel
def _data(memory: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Points of all PMUs, when the configuration is known and describes a frame of this size."""
    entry = memory.pmus[row.conv % PMU_STREAMS]
    if entry.conv != row.conv or entry.count == 0:
        return
    total = 0
    for i in range(entry.count):
        total += pmu_shape(entry.shapes[i])[4]
    if total != end - at:
        return
    for i in range(entry.count):
        at = _pmu(memory, buf, at, i, entry.shapes[i], row)


@kernel
def _pmu(memory: Any, buf: Any, at: int, place: int, shape: int, row: Any) -> int:
    """Points of one PMU; returns where the next begins."""
    freq, octets, analog, step, size = pmu_shape(shape)
    quality = be16(buf, at) >> 14
    base = (np.int64(place) << 32) | (row.point << 16)
    value = number(buf, at + freq, octets)
    kind = FREQUENCY if octets == 4 else DEVIATION
    if octets == 4 and place == 0:
        row.value = value
    add_point(memory, row, kind, base | kind, value, quality)
    change = number(buf, at + freq + octets, octets) / (1.0 if octets == 4 else 100.0)
    add_point(memory, row, CHANGE, base | CHANGE, change, quality)
    for i in range((shape >> 16) & 0xFFFF):
        point = base | ((i & 0xFF) << 8) | ANALOG
        add_point(memory, row, ANALOG, point, number(buf, at + analog + step * i, step), quality)
    return at + size
