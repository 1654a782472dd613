"""S7comm messages: a message becomes a row, an answer meets its job, values become points."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.s7values import answer_items, ask_items, write_items
from sensor.track.sides import as_client, as_server
from sensor.track.state import S7COMM, conversation, open_row
from sensor.track.table import intern
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.octets import be16
from sensor.wire.s7comm import (
    ACK,
    ANSWER,
    ASKS,
    CYCLIC,
    JOB,
    READ,
    USERDATA,
    WRITE,
    parse_s7comm,
    s7comm_item,
    s7comm_name,
    s7comm_parts,
)

_UNANSWERED = int(Flag.UNANSWERED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_MALFORMED = int(Flag.MALFORMED)


@kernel
def emit_s7comm(memory: Any, names: Any, buf: Any, at: int, end: int, size: int) -> None:
    """One message ``buf[at:end]``, of which ``size`` bytes were sent; at least its header is here."""
    context = memory.context
    row = open_row(memory, S7COMM, 0)
    sort = parse_s7comm(buf, at, end, size, row)
    kind = buf[at + 1]
    if kind == JOB or (kind == USERDATA and sort >> 4 == ASKS):
        as_client(context)
    elif kind != USERDATA or sort >> 4 == 8 or (sort >= 0 and sort >> 4 == 0):
        as_server(context)
    row.role = context.role
    row.conv = conversation(memory, names, S7COMM, context.client, context.server, context.port, 0, 0)
    parameters, data, behind = s7comm_parts(buf, at, end)
    if kind == JOB:
        place, octets = s7comm_name(buf, parameters, data)
        if place >= 0:
            row.name = intern(names.texts, buf, place, octets)
        if row.count > 0:
            _address(memory, names, buf, s7comm_item(buf, parameters + 2, data, row.count), row)
    elif kind == USERDATA and sort == (ASKS << 4 | CYCLIC) and row.count > 0:
        _address(memory, names, buf, s7comm_item(buf, data + 8, behind, row.count), row)
    _pair(memory, row, kind, sort)
    if row.count > 0 and not row.flags & np.uint32(_MALFORMED):
        _values(memory, buf, parameters, data, behind, row)


@kernel
def _values(memory: Any, buf: Any, parameters: int, data: int, behind: int, row: Any) -> None:
    side = memory.context.side
    if row.kind == JOB << 8 | READ:
        if not row.flags & np.uint32(_RETRANSMITTED):
            ask_items(memory, buf, parameters + 2, data, row, side)
    elif row.kind == JOB << 8 | WRITE:
        write_items(memory, buf, parameters + 2, data, data, behind, row)
    elif row.kind == ANSWER << 8 | READ and row.state >= 0:
        answer_items(memory, buf, data, behind, row, 1 - side, row.state)


@kernel
def _pair(memory: Any, row: Any, kind: int, sort: int) -> None:
    """Join an answer with its request; the point asked for is the point answered."""
    asks = kind == JOB or (kind == USERDATA and sort >> 4 == ASKS)
    answers = kind == ANSWER or kind == ACK or (kind == USERDATA and sort >> 4 == 8)
    # an acknowledge names no function; both sides may ask
    side = memory.context.side if asks else 1 - memory.context.side
    function = row.kind & 0xFF if kind == USERDATA else 0
    group = side << 6 | (0x80 | (sort & 15) if kind == USERDATA else 0)
    key = request_key(row.stream, row.seq, group, function)
    if asks:
        if not row.flags & np.uint32(_RETRANSMITTED):
            remember(memory.requests, key, row.ts, row.frame, row.point, row.count)
    elif answers:
        found = recall(memory.requests, key)
        if found < 0:
            row.flags |= np.uint32(_UNANSWERED)
            return
        row.state = memory.requests[found].frame
        if kind != USERDATA:
            row.point = memory.requests[found].point


@kernel
def _digit(value: int) -> int:
    return value + (0x30 if value < 10 else 0x57)


@kernel
def _address(memory: Any, names: Any, buf: Any, at: int, row: Any) -> None:
    """Point text of an item: ``area/block/address``, such as 0x84/1/0x000050."""
    if at < 0:
        return
    text = memory.text
    text[0], text[1] = 0x30, 0x78
    text[2], text[3] = _digit(np.int64(buf[at + 8]) >> 4), _digit(np.int64(buf[at + 8]) & 15)
    text[4] = 0x2F
    block = be16(buf, at + 6)
    digits = 1 + (block >= 10) + (block >= 100) + (block >= 1000) + (block >= 10000)
    for i in range(digits):
        text[5 + digits - 1 - i] = 0x30 + block % 10
        block //= 10
    used = 5 + digits
    text[used], text[used + 1], text[used + 2] = 0x2F, 0x30, 0x78
    for i in range(3):
        octet = np.int64(buf[at + 9 + i])
        text[used + 3 + 2 * i], text[used + 4 + 2 * i] = _digit(octet >> 4), _digit(octet & 15)
    row.point = intern(names.texts, text, 0, used + 9)
