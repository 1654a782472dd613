"""Values of S7comm: what a job writes, and what an answer says of the items that its job asked for.

An answer holds values without addresses. The items of a read wait under connection, PDU reference and
place in the table of requests, beside the job itself; they count only as long as that job does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.track.state import add_point
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.s7values import (
    ADDRESS_BITS,
    AREA_BITS,
    BIT,
    BLOCK_BITS,
    BYTE,
    COUNTER,
    ELEMENT,
    GOOD,
    MAX_OCTETS,
    PAIR,
    QUAD,
    TIMER,
    is_real,
    s7_asked,
    s7_data,
    s7_number,
    s7_width,
)

MAX_ITEMS: Final = 96
"""Items of a job whose values are given; a PDU of 1,200 octets asks for no more."""

_TYPE_SHIFT = AREA_BITS + BLOCK_BITS + ADDRESS_BITS
_ADDRESS = (1 << ADDRESS_BITS) - 1


@kernel
def ask_items(memory: Any, buf: Any, at: int, end: int, row: Any, side: int) -> None:
    """Keep the items that a read job asks for."""
    for place in range(min(row.count, MAX_ITEMS)):
        if at >= end:
            break
        point, at = s7_asked(buf, at, end)
        if point >= 0:
            key = request_key(row.stream, row.seq, side << 6, 1 + place)
            remember(memory.requests, key, row.ts, row.frame, point, row.count)


@kernel
def write_items(memory: Any, buf: Any, at: int, end: int, data: int, behind: int, row: Any) -> None:
    """Points of what a write job writes: items at ``at``, their data at ``data``."""
    for place in range(min(row.count, MAX_ITEMS)):
        if at >= end or data >= behind:
            break
        point, at = s7_asked(buf, at, end)
        _, octets, following = s7_data(buf, data, behind, place == row.count - 1)
        if point >= 0 and octets > 0:
            _elements(memory, buf, data + 4, octets, row, point)
        data = following


@kernel
def answer_items(memory: Any, buf: Any, data: int, behind: int, row: Any, side: int, asked: int) -> None:
    """Points of what a read answer says; ``asked`` is the frame of its job."""
    for place in range(min(row.count, MAX_ITEMS)):
        if data >= behind:
            break
        code, octets, following = s7_data(buf, data, behind, place == row.count - 1)
        if code == GOOD and octets > 0:
            found = recall(memory.requests, request_key(row.stream, row.seq, side << 6, 1 + place))
            if found >= 0 and memory.requests[found].frame == asked:
                _elements(memory, buf, data + 4, octets, row, memory.requests[found].point)
        data = following


@kernel
def _elements(memory: Any, buf: Any, at: int, octets: int, row: Any, point: int) -> None:
    """Points of one item with ``octets`` octets, which are complete."""
    kind, address = point >> _TYPE_SHIFT, point & _ADDRESS
    base = point & ~np.int64(_ADDRESS)
    octets = min(octets, MAX_OCTETS)
    if kind == BIT:
        add_point(memory, row, BIT, point, s7_number(buf, at, BIT), -1)
        return
    if kind == BYTE:
        _untyped(memory, buf, at, octets, row, base & (np.int64(ELEMENT) - 1), address)
        return
    width = s7_width(kind)
    step = np.int64(1) if kind == COUNTER or kind == TIMER else 8 * width
    for i in range(octets // width):
        place = address + i * step
        if place > _ADDRESS:
            break
        value = s7_number(buf, at + i * width, kind)
        add_point(memory, row, kind, base | place, value, -1)


@kernel
def _untyped(memory: Any, buf: Any, at: int, octets: int, row: Any, base: int, address: int) -> None:
    """An array of BYTE: words at even addresses, the octets beside them, and what looks like a REAL."""
    end = at + octets
    while at < end and address <= _ADDRESS:
        if address >> 3 & 1 or end - at < 2:
            add_point(
                memory, row, BYTE, np.int64(BYTE) << _TYPE_SHIFT | base | address, np.float64(buf[at]), -1
            )
            at += 1
            address += 8
            continue
        place = base | address
        add_point(memory, row, PAIR, np.int64(PAIR) << _TYPE_SHIFT | place, s7_number(buf, at, PAIR), -1)
        if end - at >= 4 and is_real(buf, at):
            add_point(memory, row, QUAD, np.int64(QUAD) << _TYPE_SHIFT | place, s7_number(buf, at, QUAD), -1)
        at += 2
        address += 16
