"""HTTP messages: a header section becomes a row, a response is joined with its request.

Requests and responses of a connection are counted: the n-th final response is that of the n-th request
(RFC 9112 9.3.2), and only with it is known whether a body follows (6.3). ``flow.app``: requests, final
responses, and whether HTTP was read at all.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.holes import drop_hole
from sensor.track.sides import as_client, as_server
from sensor.track.state import HTTP, Count, conversation, open_row
from sensor.track.streams import release
from sensor.track.table import intern_spare
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.http import (
    AGENT,
    AGENT_END,
    BAD,
    CHUNK,
    CHUNKED,
    CODED,
    ENDED,
    HOST,
    HOST_END,
    LENGTH,
    MAX_HEADER,
    MESSAGE,
    OPAQUE,
    RESPONSE,
    TARGET,
    TARGET_END,
    TRAILER,
    UPGRADE,
    chunk_line,
    http_begins,
    http_head,
    http_length,
    parse_http,
)
from sensor.wire.status import OK
from sensor.wire.text import put_octets

HEAD: Final = 2
CONNECT: Final = 6
UNTIL_CLOSE: Final = 1 << 50
ASKS_UPGRADE: Final = 256
"""Added to the method that waits with a request."""

REQUESTS, RESPONSES, SEEN = range(3)
"""Places in ``flow.app``."""

MOST: Final = 0x7FFFFFFF
SLASH, QUESTION, AT = 0x2F, 0x3F, 0x40

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_UNANSWERED = int(Flag.UNANSWERED)
_REASSEMBLED = int(Flag.REASSEMBLED)
_BROKEN_ORDER = int(Flag.GAP | Flag.MIDSTREAM)
_LONG_HEADERS = int(Count.LONG_HEADERS)


@kernel
def switch_to_http(flow: Any, half: Any, buf: Any, at: int, end: int) -> None:
    """Read a connection on a port of no protocol as HTTP from here on, when this segment begins so."""
    if at < end and 0x41 <= buf[at] <= 0x5A and http_begins(buf, at, end) == OK:
        flow.proto = HTTP
        half.mode = MESSAGE
        for i in range(len(flow.app)):
            flow.app[i] = 0


@kernel
def emit_stray_http(memory: Any, names: Any, buf: Any, at: int, end: int) -> bool:
    """A message on the port of another protocol, which the connection keeps; its head in one segment.

    Changing over for it would hide what the port's own protocol says next: some devices pass over what they
    do not understand.
    """
    status, need = http_length(buf, at, end, MESSAGE)
    if status != OK:
        return False
    memory.context.pdu = need
    emit_http(memory, names, buf, at, at + need)
    return True


@kernel
def emit_http(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """A header section ``buf[at:end]``, its head, or what frames the chunks of a body.

    ``context.body`` and ``context.mode`` say what follows.
    """
    context = memory.context
    mode = context.mode
    context.mode = MESSAGE
    whole = end - at >= context.pdu
    if mode != MESSAGE:
        context.flags &= ~np.int64(_REASSEMBLED)  # which is not said of the next message
    if mode == CHUNK and whole:
        _, _, size = chunk_line(buf, at, end)
        context.mode = CHUNK if size else TRAILER
        context.body = size + 2 if size else size  # with the CR LF behind its data
    elif mode == MESSAGE and (whole or http_head(buf, at, end)):
        _message(memory, names, buf, at, end)


@kernel
def _message(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    context, where = memory.context, memory.where
    flow = memory.streams.flows[context.flow]
    row = open_row(memory, HTTP, 0)
    bits = parse_http(buf, at, end, where, row)
    if bits & RESPONSE:
        as_server(context)
    else:
        as_client(context)
    row.role = context.role
    row.conv = conversation(memory, names, HTTP, context.client, context.server, context.port, 0, 0)
    row.ident = intern_spare(names.texts, buf, where[AGENT], where[AGENT_END] - where[AGENT])
    if where[LENGTH] >= 0:
        row.count = min(where[LENGTH], MOST)
    if bits & BAD:
        row.flags |= np.uint32(_MALFORMED)
    if context.pdu >= MAX_HEADER and not bits & ENDED:
        memory.counters[_LONG_HEADERS] += 1
    moves = flow.proto == HTTP and not context.apart
    wanted = np.int64(0)
    if not bits & RESPONSE:
        _name(memory, names, buf, row)
        if moves:
            _asked(memory, flow, row, bits)
    else:
        if row.kind >= 400:
            row.flags |= np.uint32(_NEGATIVE)
        if moves:
            wanted = _answered(memory, flow, row)
    if bits & ENDED:
        body = _body(bits, row.kind, wanted & 0xFF, where[LENGTH])
        context.mode = CHUNK if body < 0 else MESSAGE
        context.body = max(body, np.int64(0))
    known = context.body if context.body < UNTIL_CLOSE else np.int64(0)
    row.size = min(end - at + known, MOST)
    if moves:
        flow.app[SEEN] = 1
        if bits & RESPONSE and _changes_over(row.kind, wanted):
            _leave(memory)


@kernel
def _body(bits: int, kind: int, method: int, length: int) -> int:
    """Octets behind the header section (RFC 9112 6.3), -1 chunks; ``method`` that of a response's request."""
    response = bits & RESPONSE
    tunnel = method == CONNECT and kind < 300
    if response and (kind < 200 or kind == 204 or kind == 304 or method == HEAD or tunnel):
        return 0
    if bits & CHUNKED:
        return -1
    if length >= 0 and not bits & CODED:
        return length
    return UNTIL_CLOSE if response and length != -2 else 0


@kernel
def _changes_over(kind: int, wanted: int) -> bool:
    """Does another protocol follow on this response (RFC 9110 7.8, 9.3.6)?

    A 101 that nobody asked for is not believed: the client goes on with HTTP.
    """
    return (kind == 101 and wanted & ASKS_UPGRADE != 0) or (wanted & 0xFF == CONNECT and 200 <= kind < 300)


@kernel
def _find(buf: Any, at: int, end: int, octet: int) -> int:
    """Where an octet stands first, ``end`` nowhere."""
    while at < end and buf[at] != octet:
        at += 1
    return at


@kernel
def _name(memory: Any, names: Any, buf: Any, row: Any) -> None:
    """Path without its query, and host with path; a user's name and password in a target are left out."""
    where = memory.where
    if where[TARGET] < 0:
        return
    at, host, host_end = where[TARGET], where[HOST], where[HOST_END]
    stop = _find(buf, at, where[TARGET_END], QUESTION)
    if row.kind == CONNECT:
        at = _behind_user(buf, at, stop)
        host, host_end = at, at
    elif buf[at] != SLASH:
        begin = _find(buf, at, stop, SLASH)
        if stop - begin > 2 and buf[begin + 1] == SLASH:
            # absolute form: what Host says does not count (RFC 9112 3.2.2)
            at = _find(buf, begin + 2, stop, SLASH)
            host, host_end = _behind_user(buf, begin + 2, at), at
    path = intern_spare(names.texts, buf, at, stop - at)
    if path > 0:
        row.point = path
    used = np.int64(0)
    if host >= 0:
        used = put_octets(memory.text, used, buf, host, host_end)
    used = put_octets(memory.text, used, buf, at, stop)
    row.name = intern_spare(names.texts, memory.text, 0, used)


@kernel
def _behind_user(buf: Any, at: int, end: int) -> int:
    """Where the host begins in an authority that may name a user before it (RFC 3986 3.2.1)."""
    begin = _find(buf, at, end, AT)
    while begin < end:
        at = begin + 1
        begin = _find(buf, at, end, AT)
    return at


@kernel
def _asked(memory: Any, flow: Any, row: Any, bits: int) -> None:
    """Count a request and keep what its response needs."""
    if row.flags & np.uint32(_BROKEN_ORDER):
        flow.app[RESPONSES] = flow.app[REQUESTS]  # which earlier ones are still to be answered is not known
    key = request_key(row.stream, flow.app[REQUESTS] & 0xFFFF, 0, 0)
    wants = row.kind + (ASKS_UPGRADE if bits & UPGRADE else 0)
    remember(memory.requests, key, row.ts, row.frame, row.name, wants)
    flow.app[REQUESTS] += 1


@kernel
def _answered(memory: Any, flow: Any, row: Any) -> int:
    """Join a response with its request; gives what that wanted, 0 unknown."""
    if row.flags & np.uint32(_BROKEN_ORDER) and flow.app[REQUESTS] > flow.app[RESPONSES]:
        flow.app[RESPONSES] = flow.app[REQUESTS] - 1
    found = np.int64(-1)
    if flow.app[RESPONSES] < flow.app[REQUESTS]:
        found = recall(memory.requests, request_key(row.stream, flow.app[RESPONSES] & 0xFFFF, 0, 0))
        if row.kind >= 200 or row.kind == 101:
            flow.app[RESPONSES] += 1
    if found < 0:
        row.flags |= np.uint32(_UNANSWERED)
        return 0
    request = memory.requests[found]
    row.state = request.frame
    row.name = request.point
    return request.count


@kernel
def _leave(memory: Any) -> None:
    """From here on the connection speaks another protocol."""
    context, streams = memory.context, memory.streams
    streams.flows[context.flow].proto = 0
    context.mode = OPAQUE
    context.body = 0
    for side in range(2):
        which = 2 * context.flow + side
        drop_hole(streams, which)
        if side != context.side:
            release(streams, streams.halves[which])
            streams.halves[which].skip = 0
            streams.halves[which].mode = MESSAGE
