"""OPC UA messages: a chunk becomes a row; what the first chunk of a message says is told with its last.

``flow.app[0]`` is what is known of the channel, ``flow.app[1 + side]`` the request whose chunks are on the
way, and 1 (0 none). What its first chunk said waits in the table of requests.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import OPCUA, conversation, open_row
from sensor.track.table import intern
from sensor.track.transactions import recall, remember
from sensor.track.uapoints import MONITOR, PUBLISH, READ, READ_ANSWER, WRITE, emit_values, node_text
from sensor.wire.octets import le32
from sensor.wire.opcua import (
    FINAL,
    FIRST,
    HEADER,
    IDENT,
    IDENT_LENGTH,
    MESSAGE,
    MORE_CHUNKS,
    URL,
    URL_LENGTH,
    opcua_body,
    opcua_readable,
    opcua_service,
    parse_opcua,
)

MESSAGE_LETTER: Final = 0x4D

_NEGATIVE = int(Flag.NEGATIVE)
_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_opcua(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One chunk ``buf[at:end]``, or its head."""
    context = memory.context
    flow = memory.streams.flows[context.flow]
    if flow.conv < 0:
        flow.conv = conversation(memory, names, OPCUA, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, OPCUA, flow.conv)
    if end - at < HEADER:
        row.size = end - at
        return
    where = memory.where
    side = context.side
    again = row.flags & np.uint32(_RETRANSMITTED) != 0
    message = buf[at] == MESSAGE_LETTER and end - at >= FIRST
    first = not message or flow.app[1 + side] != le32(buf, at + 20) + 1
    if again and message:
        first = opcua_readable(buf, at + FIRST, end)
    before = row.flags
    security = np.int64(parse_opcua(buf, at, end, at + context.pdu, flow.app[0], first, row, where))
    if again:
        _name(memory, names, buf, row)
        _values(memory, names, buf, at, end, row, True)
        return
    flow.app[0] = security
    if not first:
        if buf[at + 3] != MORE_CHUNKS:
            flow.app[1 + side] = 0
        if buf[at + 3] == FINAL:
            _finish(memory, row, side)
    elif message and buf[at + 3] == MORE_CHUNKS and row.state >= 0:
        if opcua_readable(buf, at + FIRST, end):
            flow.app[1 + side] = row.state + 1
            _begin(memory, names, buf, at + FIRST, end, row, before)
    else:
        _name(memory, names, buf, row)
        _values(memory, names, buf, at, end, row, False)


@kernel
def _values(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, again: bool) -> None:
    """Points of a service in one chunk."""
    kind = row.kind
    if row.state >= 0 and (
        kind == READ or kind == READ_ANSWER or kind == WRITE or kind == MONITOR or kind == PUBLISH
    ):
        body = opcua_body(buf, at + FIRST, end, kind)
        if body >= 0:
            emit_values(memory, names, buf, body, end, row, again)


@kernel
def _key(stream: int, side: int) -> Any:
    """Of the message under way in one direction of a connection."""
    return (np.uint64(stream + 1) << np.uint64(32)) | np.uint64(side)


@kernel
def _begin(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, flags: int) -> None:
    """Keep what the service at ``at`` says for the row of the last chunk; this row is a chunk only."""
    opcua_service(buf, at, end, row, memory.where)
    _name(memory, names, buf, row)
    negative = 1 if row.flags & np.uint32(_NEGATIVE) else 0
    told = (np.int64(row.kind) << 18) | (np.int64(row.cause + 1) << 1) | negative
    key = _key(row.stream, memory.context.side)
    texts = (np.int64(row.name) << 32) | np.int64(row.ident)
    remember(memory.requests, key, row.ts, texts, row.point, told)
    row.kind, row.cause, row.point, row.name, row.ident = MESSAGE, -1, -1, 0, 0
    row.flags = flags


@kernel
def _finish(memory: Any, row: Any, side: int) -> None:
    """The last chunk tells what the first one said."""
    found = recall(memory.requests, _key(row.stream, side))
    if found < 0:
        return
    kept = memory.requests[found]
    row.kind = kept.count >> 18
    row.cause = ((kept.count >> 1) & 0x1FFFF) - 1
    row.point = kept.point
    row.name, row.ident = kept.frame >> 32, kept.frame & 0xFFFFFFFF
    if kept.count & 1:
        row.flags |= np.uint32(_NEGATIVE)


@kernel
def _name(memory: Any, names: Any, buf: Any, row: Any) -> None:
    """Point, name and ident from ``where``."""
    where = memory.where
    text = node_text(memory, names, buf)
    if text > 0:
        row.point = text
        row.name = text
    elif where[URL] >= 0:
        row.name = intern(names.texts, buf, where[URL], where[URL_LENGTH])
    if where[IDENT] >= 0:
        row.ident = intern(names.texts, buf, where[IDENT], where[IDENT_LENGTH])
