"""EtherNet/IP: an encapsulation header or an I/O packet becomes a row, the CIP message in it rows of CIP.

A response meets its request by the sender's context, on a connection (send unit data) by its sequence count:
the two directions have connection ids of their own, which are not known when the opening was not seen. An I/O
packet names the forward open that made its connection (``state``) and the endpoint that may send (``aux``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.cip import emit_cip
from sensor.track.io_connections import io_packet
from sensor.track.state import ENIP, ROLE_CLIENT, ROLE_PEER, Count, conversation, open_row
from sensor.track.table import intern
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.enip import (
    BROKEN,
    CONNECTED_DATA,
    CONNECTION,
    COUNT,
    DATA,
    DATA_AT,
    DATA_END,
    HEADER,
    INTERFACE,
    LIST_IDENTITY,
    LIST_INTERFACES,
    LIST_SERVICES,
    NAME_AT,
    RR_DATA,
    SENDER,
    SEQUENCE,
    SEQUENCED_ADDRESS,
    SESSION,
    STATUS,
    UNIT_DATA,
    enip_items,
    enip_length,
)
from sensor.wire.octets import be16, le16, le32
from sensor.wire.status import OK

PORT_IO: Final = 2222
KIND_IO: Final = 65_536
CONTEXTS: Final = 0x80
"""Added to the function of a request's key that was made of a sender's context."""

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_NEGATIVE = int(Flag.NEGATIVE)
_UNANSWERED = int(Flag.UNANSWERED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_EVICTED = int(Count.IO_EVICTED)


@kernel
def emit_enip(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One PDU ``buf[at:end]``, or its head; ``memory.context.pdu`` bytes were sent."""
    context = memory.context
    if end - at < HEADER:
        return
    conv = conversation(memory, names, ENIP, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, ENIP, conv)
    command, status = le16(buf, at), le32(buf, at + STATUS)
    row.kind = command
    row.size = HEADER + le16(buf, at + 2)
    row.aux = le32(buf, at + SESSION)
    row.cause = status if status <= 0x7FFFFFFF else -1
    if status:
        row.flags |= np.uint32(_NEGATIVE)
    whole = end - at >= context.pdu
    end = min(end, at + row.size)
    if command == RR_DATA or command == UNIT_DATA:
        _carried(memory, names, buf, at, end, whole, row)
    lists = command == LIST_SERVICES or command == LIST_IDENTITY or command == LIST_INTERFACES
    if lists and end > at + HEADER:  # only answers have items
        _listed(memory, names, buf, at + HEADER, end, whole, row)


@kernel
def _listed(memory: Any, names: Any, buf: Any, at: int, end: int, whole: bool, row: Any) -> None:
    """What an answer lists: number of items, name of the product."""
    where = memory.where
    enip_items(buf, at, end, where)
    row.count = where[COUNT]
    if where[BROKEN] and whole:
        row.flags |= np.uint32(_MALFORMED)
    if where[NAME_AT] >= 0:
        row.ident = intern(names.texts, buf, where[NAME_AT] + 1, np.int64(buf[where[NAME_AT]]))


@kernel
def _carried(memory: Any, names: Any, buf: Any, at: int, end: int, whole: bool, row: Any) -> None:
    """Items of send RR data and send unit data, and the CIP message in them."""
    where = memory.where
    if end - at < HEADER + INTERFACE:
        if whole:
            row.flags |= np.uint32(_MALFORMED)
        return
    cip = le32(buf, at + HEADER) == 0
    enip_items(buf, at + HEADER + INTERFACE, end, where)
    row.count = where[COUNT]
    row.point = where[CONNECTION]
    row.seq = where[SEQUENCE]
    if where[BROKEN] and whole:
        row.flags |= np.uint32(_MALFORMED)
    begin, stop = where[DATA_AT], where[DATA_END]
    count = np.int64(-1)
    if where[DATA] == CONNECTED_DATA and stop - begin >= 2:
        count = le16(buf, begin)
        begin += 2
        if row.seq < 0:
            row.seq = count
    key = _transaction(buf, at, count, row.stream)
    _join(memory, row, key)
    if cip and begin >= 0 and stop - begin >= 2:
        emit_cip(memory, names, buf, begin, stop, whole, count, key)


@kernel
def _transaction(buf: Any, at: int, count: int, stream: int) -> Any:
    """Key of what this PDU asks or answers."""
    if count >= 0:
        return request_key(stream, count, 0, UNIT_DATA)
    context = (np.uint64(le32(buf, at + SENDER)) << np.uint64(32)) | np.uint64(le32(buf, at + SENDER + 4))
    mixed = (context ^ (context >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(0x7FFFFF))
    return request_key(stream, mixed & 0xFFFF, 0, CONTEXTS | mixed >> 16)


@kernel
def _join(memory: Any, row: Any, key: Any) -> None:
    """Remember a request by its frame, give a response the frame of its request."""
    if row.stream < 0:
        return
    if row.role == ROLE_CLIENT:
        if not row.flags & np.uint32(_RETRANSMITTED):
            remember(memory.requests, key, row.ts, row.frame, -1, 0)
        return
    found = recall(memory.requests, key)
    if found < 0:
        row.flags |= np.uint32(_UNANSWERED)
    else:
        row.state = memory.requests[found].frame


@kernel
def emit_enip_datagram(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One UDP payload, an I/O packet or PDUs one behind the other; False when it begins with neither."""
    context = memory.context
    sport, dport = be16(buf, at - 8), be16(buf, at - 6)
    if sport == dport:
        context.role = ROLE_PEER
        context.client, context.server, context.port = context.src, context.dst, dport
    if sport == PORT_IO or dport == PORT_IO:
        return _cyclic(memory, names, buf, at, end, wire_end)
    status, need = enip_length(buf, at, end)
    if status != OK or end - at < HEADER:
        return False
    while status == OK and end - at >= HEADER:
        row = memory.messages[memory.cursor[0]]
        context.pdu = wire_end - at
        emit_enip(memory, names, buf, at, end)
        if need > wire_end - at:
            row.flags |= np.uint32(_MALFORMED)
        elif need > end - at:
            row.flags |= np.uint32(_TRUNCATED)
        at += need
        if at < end:
            status, need = enip_length(buf, at, end)
            if status != OK or wire_end - at < HEADER:
                row.flags |= np.uint32(_MALFORMED)  # of what follows nothing can be told
    return True


@kernel
def _cyclic(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """An I/O packet: connection, sequence number, data that only its two ends understand."""
    if end - at < 14 or le16(buf, at + 2) != SEQUENCED_ADDRESS or le16(buf, at + 4) != 8:
        return False
    context = memory.context
    context.role = ROLE_PEER
    conv = conversation(memory, names, ENIP, context.src, context.dst, be16(buf, at - 6), 0, 0)
    row = open_row(memory, ENIP, conv)
    row.kind = KIND_IO
    row.count = le16(buf, at)
    row.point = le32(buf, at + 6)
    row.seq = le32(buf, at + 10)
    row.size = wire_end - at
    place, evicted = io_packet(memory.io, row.ts, row.src, row.dst, row.point)
    memory.counters[_EVICTED] += evicted
    if place >= 0:
        row.state = memory.io[place].frame
        row.aux = memory.io[place].sender
    wrong = row.count != 2 or wire_end - at < 18
    if not wrong and end - at >= 18:
        wrong = le16(buf, at + 14) != CONNECTED_DATA or le16(buf, at + 16) > wire_end - at - 18
    if end < wire_end:
        row.flags |= np.uint32(_TRUNCATED)
    elif wrong:
        row.flags |= np.uint32(_MALFORMED)
    return True
