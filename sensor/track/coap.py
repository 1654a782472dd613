"""CoAP messages: a message becomes a row, a response takes the path of the request with its token.

What was asked, and which message ids were seen, waits in the table of requests (``track.transactions``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import COAP, ROLE_CLIENT, ROLE_PEER, add_point, conversation, open_row
from sensor.track.table import intern_spare
from sensor.track.transactions import recall, remember
from sensor.wire.coap import (
    FORMAT,
    HOST,
    HOST_LENGTH,
    PATH_LENGTH,
    PAYLOAD,
    TOKEN,
    TOKEN_LENGTH,
    parse_coap,
)
from sensor.wire.decimal import text_number
from sensor.wire.octets import be16

EXCHANGE_LIFETIME: Final = 247_000_000_000
"""ns in which a message id stays that of one message (RFC 7252 4.8.2)."""

_TRUNCATED = int(Flag.TRUNCATED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_coap(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One message of a TCP stream, or its head."""
    context = memory.context
    row = open_row(memory, COAP, 0)
    row.size = context.pdu
    parse_coap(buf, at, end, at + context.pdu, True, row, memory.where, memory.text)
    _finish(memory, names, buf, end, row, np.uint64(context.stream), end - at >= context.pdu)


@kernel
def emit_coap_datagram(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One UDP payload; its header stands before it."""
    if at >= end:
        return False
    context = memory.context
    context.stream = -1
    sport, dport = be16(buf, at - 8), be16(buf, at - 6)
    if sport == dport:
        context.role = ROLE_PEER
        context.client, context.server, context.port = context.src, context.dst, dport
    row = open_row(memory, COAP, 0)
    row.size = wire_end - at
    parse_coap(buf, at, end, wire_end, False, row, memory.where, memory.text)
    if wire_end > end:
        row.flags |= np.uint32(_TRUNCATED)
    talk = np.uint64(sport + dport)
    if row.kind > 0 and row.kind <= 7:
        context.port = dport
    if row.seq >= 0 and row.state < 2:
        _seen(memory, row, talk, sport)
    _finish(memory, names, buf, end, row, talk, wire_end == end)
    return True


@kernel
def _key(row: Any, talk: Any, more: Any, bit: int) -> Any:
    """Of an exchange between two ends, either way; bit 63 tells it from the requests of TCP protocols."""
    low, high = min(row.src, row.dst), max(row.src, row.dst)
    h = (np.uint64(low) << np.uint64(32)) ^ np.uint64(high) ^ (talk << np.uint64(16))
    h = (h ^ (more * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    return (h >> np.uint64(2)) | (np.uint64(2 + bit) << np.uint64(62))


@kernel
def _seen(memory: Any, row: Any, talk: Any, sport: int) -> None:
    """A message id that its sender used before, not long ago: the same message again (4.5)."""
    sender = (np.uint64(sport) << np.uint64(48)) | (np.uint64(row.src) << np.uint64(16))
    key = _key(row, talk, sender | np.uint64(row.seq), 0)
    found = recall(memory.requests, key)
    if found >= 0 and row.ts - memory.requests[found].ts < EXCHANGE_LIFETIME:
        row.flags |= np.uint32(_RETRANSMITTED)
    else:
        remember(memory.requests, key, row.ts, row.frame, -1, 0)


@kernel
def _finish(memory: Any, names: Any, buf: Any, end: int, row: Any, talk: Any, whole: bool) -> None:
    """Role, conversation, path, host and value."""
    context = memory.context
    where = memory.where
    request = row.kind > 0 and row.kind < 32
    if request and row.kind <= 7:
        row.role = ROLE_CLIENT
        if context.role != ROLE_CLIENT:
            context.client, context.server = context.src, context.dst
    else:
        row.role = context.role
    row.conv = conversation(memory, names, COAP, context.client, context.server, context.port, 0, 0)
    text = intern_spare(names.texts, memory.text, 0, where[PATH_LENGTH])
    if where[TOKEN_LENGTH] > 0 and row.kind < 192:
        text = _exchange(memory, buf, row, talk, request, text)
    if text > 0:
        row.point = text
        row.name = text
    if where[HOST] >= 0:
        row.ident = intern_spare(names.texts, buf, where[HOST], where[HOST_LENGTH])
    if where[PAYLOAD] >= 0 and where[FORMAT] <= 0 and whole:
        row.value = text_number(buf, where[PAYLOAD], end)
        if text > 0 and row.value == row.value:
            add_point(memory, row, row.kind, text, row.value, -1)


@kernel
def _exchange(memory: Any, buf: Any, row: Any, talk: Any, request: bool, text: int) -> int:
    """Keep the path of a request; find that of a response."""
    where = memory.where
    token = np.uint64(where[TOKEN_LENGTH])
    for i in range(where[TOKEN_LENGTH]):
        token = (token * np.uint64(1099511628211)) ^ np.uint64(buf[where[TOKEN] + i])
    key = _key(row, talk, token, 1)
    if request:
        if not row.flags & np.uint32(_RETRANSMITTED):
            remember(memory.requests, key, row.ts, row.frame, text, 0)
        return text
    found = recall(memory.requests, key)
    return memory.requests[found].point if found >= 0 and text == 0 else text
