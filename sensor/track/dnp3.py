"""DNP3 messages: a link frame becomes a row, the objects of the fragment that it completes become points.

Segments of a fragment are gathered for one pair of link addresses in each direction (IEEE 1815-2012 8.3): a
first segment begins anew, a wrong sequence number or a lost frame gives the gathered ones up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.dnp3_objects import emit_objects
from sensor.track.state import DNP3, ROLE_CLIENT, ROLE_SERVER, Count, conversation, open_row
from sensor.track.streams import drop_parts, find_flow, gather
from sensor.track.table import intern
from sensor.wire.dnp3 import HEADER, MIN_LENGTH, dnp3_header, dnp3_length, dnp3_unblock
from sensor.wire.octets import be16, le16
from sensor.wire.status import OK

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_NEGATIVE = int(Flag.NEGATIVE)
_SELECT = int(Flag.SELECT)
_BROADCAST = int(Flag.BROADCAST)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_REASSEMBLED = int(Flag.REASSEMBLED)
_LOST_WAITING = int(Count.LOST_WAITING)

LINK_KINDS: Final = 512
_DATAGRAMS: Final = 1 << 40  # added to a port: not a TCP connection with the same ports


@kernel
def emit_dnp3(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One link frame ``buf[at:end]`` of a TCP stream."""
    context = memory.context
    flow = memory.streams.flows[context.flow]
    low, high = (
        np.int64((flow.key2 >> np.uint64(16)) & np.uint64(0xFFFF)),
        np.int64(flow.key2 & np.uint64(0xFFFF)),
    )
    if context.side == 0:
        _frame(memory, names, buf, at, end, low, high)
    else:
        _frame(memory, names, buf, at, end, high, low)


@kernel
def emit_dnp3_datagram(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """Link frames of one UDP payload; False when it does not begin with one."""
    context = memory.context
    sport, dport = be16(buf, at - 8), be16(buf, at - 6)
    rows = memory.cursor[0]
    while True:
        status, need = dnp3_length(buf, at, end)
        if status != OK:
            break
        context.pdu = need
        context.flow = -1
        last = memory.cursor[0]
        _frame(memory, names, buf, at, min(end, at + need), sport, dport)
        at += need
        if at > end:
            row = memory.messages[last]
            if at > wire_end:
                row.flags |= np.uint32(_MALFORMED)
            else:
                row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)
            break
    return memory.cursor[0] > rows


@kernel
def _frame(memory: Any, names: Any, buf: Any, at: int, end: int, sport: int, dport: int) -> None:
    context = memory.context
    if not dnp3_header(buf, at):
        conv = conversation(memory, names, DNP3, context.client, context.server, context.port, 0, 0)
        row = open_row(memory, DNP3, conv)
        row.size = HEADER
        row.flags |= np.uint32(_MALFORMED)
        return
    control = np.int64(buf[at + 3])
    destination, source = le16(buf, at + 4), le16(buf, at + 6)
    master = control & 0x80 != 0
    sub = _outstation(memory, names, destination if master else source)
    if master:
        conv = conversation(memory, names, DNP3, context.src, context.dst, dport, sub, 0)
    else:
        conv = conversation(memory, names, DNP3, context.dst, context.src, sport, sub, 0)
    row = open_row(memory, DNP3, conv)
    row.role = ROLE_CLIENT if master else ROLE_SERVER
    row.size = np.int64(buf[at + 2]) + 5
    row.aux = source if master else destination
    if destination >= 65533:
        row.flags |= np.uint32(_BROADCAST)
    _link(row, control, np.int64(buf[at + 2]))
    if _carries(control) and end - at > HEADER:
        row.state = np.int64(buf[at + HEADER]) & 0x3F
        _user_data(memory, names, buf, at, end, row, source << 16 | destination, sport, dport)


@kernel
def _outstation(memory: Any, names: Any, address: int) -> int:
    """Text id of "outstation N"."""
    key = memory.scratch
    key[0], key[1], key[2], key[3], key[4], key[5] = 111, 117, 116, 115, 116, 97
    key[6], key[7], key[8], key[9], key[10] = 116, 105, 111, 110, 32
    size = 11
    scale = np.int64(10_000)
    while scale > 0:
        if address >= scale or scale == 1 or size > 11:
            key[size] = 48 + address // scale % 10
            size += 1
        scale //= 10
    return intern(names.texts, key, 0, size)


@kernel
def _carries(control: int) -> bool:
    """May a frame of this link function carry user data? Status and reset frames do not."""
    function = control & 0x0F
    return function != 0 and function != 9 and function != 11


@kernel
def _link(row: Any, control: int, length: int) -> None:
    """Kind of a link frame, and what the standard allows in it (tables 9-1 and 9-2)."""
    primary, function = (control >> 6) & 1, control & 0x0F
    row.kind = LINK_KINDS + 16 * primary + function
    if primary:
        known = function <= 4 or function == 9
        data = function == 3 or function == 4
    else:
        known = function <= 1 or function == 11 or function >= 14
        data = False
        if function == 1 or function >= 14:
            row.flags |= np.uint32(_NEGATIVE)
    if not known or data != (length > MIN_LENGTH) or length < MIN_LENGTH:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _user_data(
    memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, pair: int, sport: int, dport: int
) -> None:
    if end - at < memory.context.pdu:
        return  # cut by the capture
    size, right = dnp3_unblock(buf, at + HEADER, end, memory.fragment)
    if not right:
        row.flags |= np.uint32(_MALFORMED)
        return
    begin = np.int64(1)
    control = np.int64(memory.fragment[0])
    if control & 0xC0 != 0xC0:
        if row.flags & np.uint32(_RETRANSMITTED):
            return
        begin, size = _gathered(memory, control, size, pair, sport, dport)
        if begin < 0:
            return
        row.flags |= np.uint32(_REASSEMBLED)
    elif memory.context.flow >= 0:
        flow = memory.streams.flows[memory.context.flow]
        if flow.app[2 * memory.context.side] == pair and not row.flags & np.uint32(_RETRANSMITTED):
            drop_parts(memory.streams, memory.streams.halves[2 * memory.context.flow + memory.context.side])
    _application(memory, names, begin, size, row)


@kernel
def _gathered(memory: Any, control: int, size: int, pair: int, sport: int, dport: int) -> tuple[int, int]:
    """Add a transport segment: (begin, end) of a complete fragment in ``memory.fragment``, else -1."""
    context = memory.context
    streams = memory.streams
    index, side = context.flow, context.side
    if index < 0:
        index, side, _ = find_flow(
            streams, context.src, context.dst, sport + _DATAGRAMS, dport + _DATAGRAMS, context.ts
        )
    flow, half = streams.flows[index], streams.halves[2 * index + side]
    sequence = control & 0x3F
    if control & 0x40:
        drop_parts(streams, half)
        flow.app[2 * side] = pair
    elif half.part == 0 or flow.app[2 * side] != pair:
        return -1, 0
    elif sequence == (flow.app[2 * side + 1] - 1) & 0x3F:
        return -1, 0  # the segment before, once more
    elif sequence != flow.app[2 * side + 1]:
        memory.counters[_LOST_WAITING] += 1
        drop_parts(streams, half)
        return -1, 0
    flow.app[2 * side + 1] = (sequence + 1) & 0x3F
    if not gather(streams, half, memory.fragment, 1, size):
        memory.counters[_LOST_WAITING] += 1
        return -1, 0
    if control & 0x80 == 0:
        return -1, 0
    total = half.parts
    base = half.part * len(memory.fragment)
    for i in range(total):
        memory.fragment[i] = streams.pool[base + i]
    drop_parts(streams, half)
    return 0, total


@kernel
def _application(memory: Any, names: Any, at: int, end: int, row: Any) -> None:
    """The fragment ``memory.fragment[at:end]``."""
    data = memory.fragment
    if end - at < 2:
        row.flags |= np.uint32(_MALFORMED)
        return
    function = np.int64(data[at + 1])
    row.kind = function
    row.seq = data[at] & 0x0F
    if function == 3:
        row.flags |= np.uint32(_SELECT)
    if 33 < function < 129 or function > 131:
        row.flags |= np.uint32(_MALFORMED)
        return
    at += 2
    if function >= 129:
        if end - at < 2:
            row.flags |= np.uint32(_MALFORMED)
            return
        row.cause = be16(data, at)
        if data[at + 1] & 0x07:
            row.flags |= np.uint32(_NEGATIVE)
        at += 2
    emit_objects(memory, names, at, end, row, function)
