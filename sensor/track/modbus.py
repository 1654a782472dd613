"""Modbus messages: an ADU becomes a row, a response meets its request, values become points."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import MODBUS, ROLE_CLIENT, add_point, conversation, open_row
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.modbus import modbus_point, modbus_table, modbus_values, parse_modbus
from sensor.wire.octets import be16

_UNANSWERED = int(Flag.UNANSWERED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_modbus(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One complete ADU ``buf[at:end]`` of the frame in ``state.context``."""
    context = memory.context
    unit = np.int64(buf[at + 6])
    conv = conversation(
        memory, names, MODBUS, context.client, context.server, context.port, memory.unit_text[unit], 0
    )
    row = open_row(memory, MODBUS, conv)
    request = context.role == ROLE_CLIENT
    parse_modbus(buf, at, end, request, row)
    row.size = context.pdu
    key = request_key(context.stream, row.seq, unit, row.kind)
    base = np.int64(-1)
    if request:
        if not row.flags & np.uint32(_RETRANSMITTED):
            _remember(memory, buf, at, end, key, row, unit)
    else:
        base = _answer(memory, key, row)
    _values(memory, buf, at, end, request, row, base)


@kernel
def _remember(memory: Any, buf: Any, at: int, end: int, key: Any, row: Any, unit: int) -> None:
    """FC 23 answers with what it reads, so that is the point kept."""
    point, count = row.point, row.count
    if row.kind == 23 and end - at >= 12:
        point = modbus_point(unit, modbus_table(23), be16(buf, at + 8))
        count = be16(buf, at + 10)
    remember(memory.requests, key, row.ts, row.frame, point, count)


@kernel
def _answer(memory: Any, key: Any, row: Any) -> int:
    """Join a response with its request; returns the first point read, -1 unknown."""
    found = recall(memory.requests, key)
    if found < 0:
        row.flags |= np.uint32(_UNANSWERED)
        return -1
    request = memory.requests[found]
    row.state = request.frame
    if row.point < 0:
        row.point = request.point
    coils = row.kind == 1 or row.kind == 2
    if coils and request.count > 0 and row.count >= request.count and row.count - request.count < 8:
        row.count = request.count
    return request.point


@kernel
def _values(memory: Any, buf: Any, at: int, end: int, request: bool, row: Any, base: int) -> None:
    if row.kind == 5 or row.kind == 6:
        if row.value == row.value:
            add_point(memory, row, (row.point >> 16) & 0xFF, row.point, row.value, -1)
        return
    begin, count, point, bits = modbus_values(buf, at, end, request, row, base)
    if count > 0 and begin + ((count + 7) // 8 if bits else 2 * count) > end:
        return
    table = (point >> 16) & 0xFF
    for i in range(count):
        if bits:
            value = (np.int64(buf[begin + i // 8]) >> (i % 8)) & 1
        else:
            value = be16(buf, begin + 2 * i)
        # addresses wrap inside their table: 65535 is the last
        add_point(
            memory, row, table, (point & ~np.int64(0xFFFF)) | ((point + i) & 0xFFFF), np.float64(value), -1
        )
