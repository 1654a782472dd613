"""DLMS/COSEM messages: an APDU becomes a row, in wrapper or HDLC; a response meets its request.

Who is client is told by the service, whoever opened the connection: a meter that pushes to its head-end is
the server still.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.dlms_apdu import read_apdu
from sensor.track.state import DLMS, ROLE_CLIENT, ROLE_SERVER, Count, conversation, open_row
from sensor.track.streams import drop_parts, gather
from sensor.track.table import intern
from sensor.wire.dlms import FLAG, WRAPPER, dlms_asks, dlms_length, hdlc_address, hdlc_crc
from sensor.wire.octets import be16
from sensor.wire.status import OK

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_REASSEMBLED = int(Flag.REASSEMBLED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_LOST_WAITING = int(Count.LOST_WAITING)

HDLC_KINDS: Final = 512
UNNUMBERED: Final = (0x83, 0x43)


@kernel
def emit_dlms(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One wrapper or HDLC frame ``buf[at:end]``, or its head."""
    if end - at < 3:
        return  # an idle flag
    if buf[at] == FLAG:
        _hdlc(memory, names, buf, at, end)
        return
    size = memory.context.pdu
    source, destination = be16(buf, at + 2), be16(buf, at + 4)
    length = _copy(memory, buf, at + WRAPPER, end)
    asks = dlms_asks(np.int64(memory.fragment[0])) if length else 0
    row = _row(memory, names, asks, source, destination)
    row.size = size
    if length:
        read_apdu(memory, names, length, row, end - at >= size)


@kernel
def emit_dlms_datagram(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """Wrappers or HDLC frames of one UDP payload; False when it does not begin with one."""
    context = memory.context
    rows = memory.cursor[0]
    context.flow = -1
    while True:
        status, need = dlms_length(buf, at, end)
        if status != OK:
            break
        last = memory.cursor[0]
        context.pdu = need
        emit_dlms(memory, names, buf, at, min(end, at + need))
        at += need
        if at > end:
            if memory.cursor[0] > last:
                row = memory.messages[last]
                if at > wire_end:
                    row.flags |= np.uint32(_MALFORMED)
                else:
                    row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)
            break
    return memory.cursor[0] > rows


@kernel
def _copy(memory: Any, buf: Any, at: int, end: int) -> int:
    size = min(end - at, len(memory.fragment))
    for i in range(size):
        memory.fragment[i] = buf[at + i]
    return max(size, 0)


@kernel
def _row(memory: Any, names: Any, asks: int, source: int, destination: int) -> Any:
    """A row whose roles the service tells (1 client sends, 2 server), else the port."""
    context = memory.context
    client = context.role == ROLE_CLIENT if asks == 0 else asks == 1
    sub = _device(memory, names, destination if client else source)
    ends = (context.src, context.dst) if client else (context.dst, context.src)
    conv = conversation(memory, names, DLMS, ends[0], ends[1], context.port, sub, 0)
    row = open_row(memory, DLMS, conv)
    row.role = ROLE_CLIENT if client else ROLE_SERVER
    row.aux = source if client else destination
    return row


@kernel
def _device(memory: Any, names: Any, number: int) -> int:
    """Text id of "device N"."""
    key = memory.scratch
    key[0], key[1], key[2], key[3], key[4], key[5], key[6] = 100, 101, 118, 105, 99, 101, 32
    size = 7
    scale = np.int64(10_000)
    while scale > 0:
        if number >= scale or scale == 1 or size > 7:
            key[size] = 48 + number // scale % 10
            size += 1
        scale //= 10
    return intern(names.texts, key, 0, size)


@kernel
def _hdlc(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """Addresses, control and information of a frame that begins with its flag."""
    pdu = memory.context.pdu
    length = be16(buf, at + 1) & 0x7FF
    last = min(end, at + 1 + length)  # behind its FCS
    whole = end - at >= pdu
    first, destination = hdlc_address(buf, at + 3, last)
    second, source = hdlc_address(buf, at + 3 + first, last) if first else (0, 0)
    place = at + 3 + first + second
    if second == 0 or place >= last:
        row = _row(memory, names, 0, 0, 0)
        row.size = pdu
        row.flags |= np.uint32(_MALFORMED)
        return
    control = np.int64(buf[place])
    asks = _direction(memory, buf, control, place + 3, last)
    row = _row(memory, names, asks, source, destination)
    row.size = pdu
    row.kind = HDLC_KINDS
    if control & 1:
        row.kind += control & 0x0F if control & 3 == 1 else control & 0xEF
    if not whole:
        return
    closed = end - at < length + 2 or buf[at + 1 + length] == FLAG
    if not closed or not hdlc_crc(buf, at + 1, last):
        # no line noise gets through TCP or UDP: what somebody sent is read as far as it can be
        row.flags |= np.uint32(_MALFORMED)
    place += 1
    if last - place <= 2 or control & 0x03 == 1 or control & 0xEF in UNNUMBERED or control & 0xEF == 0x63:
        return
    if last - place < 4 or not hdlc_crc(buf, at + 1, place + 2):
        row.flags |= np.uint32(_MALFORMED)
        return
    _information(memory, names, buf, place + 2, last - 2, row, be16(buf, at + 1) & 0x800 != 0)


@kernel
def _direction(memory: Any, buf: Any, control: int, at: int, end: int) -> int:
    """Who sends: by link service, by LLC, else as in the frame before (1 client, 2 server, 0 unknown)."""
    context = memory.context
    known = 0
    kind = control & 0xEF
    if kind == 0x83 or kind == 0x43:
        known = 1
    elif kind == 0x63 or kind == 0x0F:
        known = 2
    elif control & 1 == 0 and at + 3 <= end and buf[at] == 0xE6:
        known = 1 if buf[at + 1] == 0xE6 else 2
    if context.flow < 0:
        return known
    flow = memory.streams.flows[context.flow]
    if known:
        flow.app[0] = 1 + (context.side if known == 1 else 1 - context.side)
    elif flow.app[0]:
        known = 1 if flow.app[0] == 1 + context.side else 2
    return known


@kernel
def _information(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, segmented: bool) -> None:
    """An APDU, or a segment of one (TCP only: a datagram keeps nothing)."""
    context = memory.context
    length = _copy(memory, buf, at, end)
    if context.flow >= 0:
        half = memory.streams.halves[2 * context.flow + context.side]
        if row.flags & np.uint32(_RETRANSMITTED):
            if segmented or half.part > 0:
                return
        elif segmented or half.part > 0:
            if not gather(memory.streams, half, memory.fragment, 0, length):
                memory.counters[_LOST_WAITING] += 1
                return
            if segmented:
                return
            length = half.parts
            base = half.part * len(memory.fragment)
            for i in range(length):
                memory.fragment[i] = memory.streams.pool[base + i]
            drop_parts(memory.streams, half)
            row.flags |= np.uint32(_REASSEMBLED)
    elif segmented:
        return
    data = memory.fragment
    if length < 4 or data[0] != 0xE6 or (data[1] != 0xE6 and data[1] != 0xE7):
        return  # what goes on from a segment that was not seen
    for i in range(length - 3):
        data[i] = data[i + 3]
    read_apdu(memory, names, length - 3, row, True)
