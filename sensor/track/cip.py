"""CIP messages: each service becomes a row, also inside unconnected sends and multiple service packets.

A response has no path. It takes class and point from its request, which it meets by the encapsulation's
transaction and its place in the packet. The answer to an unconnected send is that of the message in it; the
router answers itself only when it could not pass it on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.io_connections import io_closed, io_opened
from sensor.track.sides import as_client, as_server
from sensor.track.state import CIP, Count, add_point, conversation, open_row
from sensor.track.table import intern
from sensor.track.transactions import recall, remember
from sensor.wire.cip import (
    ATTRIBUTE,
    BROKEN,
    CLASS,
    CONNECTION_MANAGER,
    FIRST_OWN,
    FORWARD_CLOSE,
    FORWARD_OPEN,
    GET_LIST,
    IDENTITY,
    INSTANCE,
    LARGE_FORWARD_OPEN,
    LAST_OWN,
    MULTIPLE,
    PARTIAL,
    RESET,
    RESPONSE,
    SET_LIST,
    SYMBOL,
    TAG,
    TEXT,
    UNCONNECTED_SEND,
    add_attribute,
    cip_data,
    cip_path,
    product_name,
    tag_value,
)
from sensor.wire.cip_open import ANSWER_TRIAD, IO, MULTICAST, OWNER, TRIAD, open_shape, output_point
from sensor.wire.octets import le16, le32

TAGGED: Final = 1 << 33
"""Class of a path that names a tag; higher than any class number."""

INSIDE: Final = 255
"""Place of the message in an unconnected send; 0 is the outer one, 1 to 254 those of a multiple packet."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_UNANSWERED = int(Flag.UNANSWERED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)
_EVICTED = int(Count.IO_EVICTED)


@kernel
def emit_cip(
    memory: Any,
    names: Any,
    buf: Any,
    at: int,
    end: int,
    whole: bool,
    count: int,
    key: Any,
) -> None:
    """The message ``buf[at:end]`` (two octets at least) and the services inside it.

    Parameters
    ----------
    whole : bool
        Nothing of it is missing behind ``end``.
    count : int
        Sequence count of the connection, -1 unconnected.
    key : uint64
        Under which the outer request is remembered; those inside it follow by their place.
    """
    context = memory.context
    role, client, server, port = context.role, context.client, context.server, context.port
    outer = memory.messages[memory.cursor[0]]
    data, group = _service(memory, names, buf, at, end, whole, key, 0)
    outer.seq = count
    code = np.int64(buf[at])
    if code == UNCONNECTED_SEND and group == CONNECTION_MANAGER and end - data >= 4:
        size = le16(buf, data + 2)
        if data + 4 + size > end and whole:
            outer.flags |= np.uint32(_MALFORMED)
        end = min(end, data + 4 + size)
        at = data + 4
        code = np.int64(0)
        if end - at >= 2:
            outer = memory.messages[memory.cursor[0]]
            data, group = _service(memory, names, buf, at, end, whole, key, INSIDE)
            code = np.int64(buf[at])
    if code & 0x7F == MULTIPLE and end - data >= 2:
        _multiple(memory, names, buf, data, end, whole, key, outer)
    context.role, context.client, context.server, context.port = role, client, server, port


@kernel
def _multiple(
    memory: Any,
    names: Any,
    buf: Any,
    at: int,
    end: int,
    whole: bool,
    key: Any,
    outer: Any,
) -> None:
    """Services of a multiple service packet, one behind the other; an offset that goes back ends it."""
    services = le16(buf, at)
    outer.count = services
    last = at + 1 + 2 * services
    for i in range(services):
        here = at + 2 + 2 * i
        if here + 2 > end:
            break
        begin, stop = at + le16(buf, here), end
        if i + 1 < services and here + 4 <= end:
            stop = at + le16(buf, here + 2)
        if begin + 2 > end and not whole:
            return
        if begin <= last or stop - begin < 2 or (stop > end and whole):
            outer.flags |= np.uint32(_MALFORMED)
            return
        last = stop - 1
        place = i + 1 if i + 1 < INSIDE else -1
        _service(memory, names, buf, begin, min(stop, end), whole, key, place)
    if at + 2 + 2 * services > end and whole:
        outer.flags |= np.uint32(_MALFORMED)


@kernel
def _service(
    memory: Any,
    names: Any,
    buf: Any,
    at: int,
    end: int,
    whole: bool,
    key: Any,
    place: int,
) -> tuple[int, int]:
    """One row; (begin of its data, class that it addresses: TAGGED a tag, -1 unknown)."""
    context = memory.context
    answers = buf[at] & RESPONSE != 0
    if answers:
        as_server(context)
    else:
        as_client(context)
    conv = conversation(memory, names, CIP, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, CIP, conv)
    row.size = end - at
    data = cip_data(buf, at, end)
    if answers:
        group = _answer(memory, names, buf, at, end, data, row, key, place)
    else:
        group = _request(memory, names, buf, at, end, data, row, key, place)
    service = np.int64(buf[at]) & 0x7F
    own = FIRST_OWN <= service <= LAST_OWN and 0 <= group < TAGGED
    row.kind = (group << 8 | service) if own and group < 1 << 23 else service
    if (data > end or (answers and end - at < 4)) and whole:
        row.flags |= np.uint32(_MALFORMED)
    if group == TAGGED or group == SYMBOL:
        _value(memory, buf, at, data, end, row)
    if group == CONNECTION_MANAGER and (service == FORWARD_OPEN or service == LARGE_FORWARD_OPEN):
        begin = data if answers else data + 2
        if row.cause <= 0 and end - begin >= 4:
            row.aux = le32(buf, begin)
    return data, group


@kernel
def _request(
    memory: Any,
    names: Any,
    buf: Any,
    at: int,
    end: int,
    data: int,
    row: Any,
    key: Any,
    place: int,
) -> int:
    """Point of a request, which is remembered; returns the class."""
    where, service = memory.where, np.int64(buf[at])
    cip_path(buf, at + 2, min(data, end), where, memory.text)
    if where[BROKEN] and data <= end:
        row.flags |= np.uint32(_MALFORMED)
    listed = (service == GET_LIST or service == SET_LIST) and end - data >= 4
    if listed and where[INSTANCE] >= 0 and where[ATTRIBUTE] < 0 and not where[TAG]:
        add_attribute(le16(buf, data + 2), where, memory.text)
    group = TAGGED if where[TAG] else where[CLASS]
    if where[TEXT] > 0:
        row.point = intern(names.texts, memory.text, 0, where[TEXT])
        if group == TAGGED:
            row.name = row.point
    if service == RESET and group == IDENTITY and end > data:
        row.aux = buf[data]
    shape = np.int64(0)
    if group == CONNECTION_MANAGER and (service == FORWARD_OPEN or service == LARGE_FORWARD_OPEN):
        shape = _opens(memory, names, buf, data, end, row, service == LARGE_FORWARD_OPEN)
    if place >= 0 and row.stream >= 0 and not row.flags & np.uint32(_RETRANSMITTED):
        attribute = where[ATTRIBUTE] + 1 if 0 <= where[ATTRIBUTE] < 255 else 0
        said = (group + 1) | service << 40 | attribute << 48 | shape << 56
        kept = row.point | np.int64(row.name) << 32 if shape & OWNER else row.point
        remember(memory.requests, _placed(key, place), row.ts, row.frame, kept, said)
    return group


@kernel
def _answer(
    memory: Any,
    names: Any,
    buf: Any,
    at: int,
    end: int,
    data: int,
    row: Any,
    key: Any,
    place: int,
) -> int:
    """Status of a response and the point of its request; returns the class."""
    service = np.int64(buf[at]) & 0x7F
    if end - at >= 3:
        row.cause = buf[at + 2]
        if row.cause != 0 and row.cause != PARTIAL:
            row.flags |= np.uint32(_NEGATIVE)
    found = np.int64(-1)
    if row.stream >= 0 and place >= 0:
        found = _asked(memory, service, key, place)
    if found < 0:
        row.flags |= np.uint32(_UNANSWERED)
        return -1
    entry = memory.requests[found]
    group = (entry.count & ((1 << 40) - 1)) - 1
    row.state = entry.frame
    row.point = entry.point
    if (entry.count >> 56) & OWNER:
        row.point, row.name = entry.point & 0xFFFFFFFF, entry.point >> 32
    if group == TAGGED and entry.point >= 0:
        row.name = entry.point
    if group == IDENTITY and row.cause == 0:
        begin = product_name(buf, data, end, service, (entry.count >> 48 & 0xFF) - 1)
        if begin >= 0:
            row.ident = intern(names.texts, buf, begin + 1, np.int64(buf[begin]))
    if group == CONNECTION_MANAGER and row.cause == 0 and not row.flags & np.uint32(_RETRANSMITTED):
        _connection(memory, buf, data, end, row, service, entry.count >> 56)
    return group


@kernel
def _placed(key: Any, place: int) -> Any:
    """Key of the message at a place inside the one of ``key``."""
    return key | np.uint64(place) << np.uint64(8)


@kernel
def _opens(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, large: bool) -> int:
    """What a forward open asks for; who wants to own outputs alone says where they lie."""
    shape = open_shape(buf, at, end, large)
    if shape & OWNER:
        row.name = intern(names.texts, memory.text, 0, output_point(buf, at, end, large, memory.text))
    return shape


@kernel
def _connection(memory: Any, buf: Any, at: int, end: int, row: Any, service: int, shape: int) -> None:
    """A connection that was opened or closed; the closing tells the O->T id of its I/O."""
    context = memory.context
    if service == FORWARD_CLOSE and end - at >= TRIAD:
        row.aux = io_closed(memory.io, buf, at, context.server)
    elif shape & IO and end - at >= ANSWER_TRIAD + TRIAD:
        memory.counters[_EVICTED] += io_opened(
            memory.io, buf, at, row.ts, row.state, context.client, context.server, shape & MULTICAST != 0
        )


@kernel
def _asked(memory: Any, service: int, key: Any, place: int) -> int:
    """The request that this is the answer to; -1 none with the same service."""
    found = recall(memory.requests, _placed(key, place))
    if found >= 0 and memory.requests[found].count == 0:
        return -1
    if found >= 0 and place == 0:
        said = memory.requests[found].count
        routed = said >> 40 & 0xFF == UNCONNECTED_SEND and (said & ((1 << 40) - 1)) == CONNECTION_MANAGER + 1
        inside = np.int64(-1)
        if routed:
            inside = recall(memory.requests, _placed(key, INSIDE))
        if inside >= 0 and memory.requests[inside].frame != memory.requests[found].frame:
            inside = np.int64(-1)
        if inside >= 0 and memory.requests[inside].count >> 40 & 0xFF == service:
            return inside
    if found >= 0 and memory.requests[found].count >> 40 & 0xFF != service:
        return -1
    return found


@kernel
def _value(memory: Any, buf: Any, at: int, data: int, end: int, row: Any) -> None:
    """The first number that a tag is written or was read with."""
    if row.cause > 0 and row.cause != PARTIAL:
        return
    kind, value = tag_value(buf, data, end, np.int64(buf[at]))
    if kind >= 0:
        row.value = value
        if row.point >= 0:
            add_point(memory, row, kind, row.point, value, -1)
