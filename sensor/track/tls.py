"""TLS messages: a row for each record, named by the server's name where a client says it,
and by whom a certificate is for."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import TLS, conversation, open_row
from sensor.track.streams import drop_parts, release
from sensor.track.table import intern_spare
from sensor.wire.tls import (
    ALERT,
    APPLICATION,
    CHANGE_CIPHER,
    CLIENT_HELLO,
    HANDSHAKE,
    HEADER,
    certificate_name,
    server_name,
    tls_begins,
    tls_handshake,
)

_ENCRYPTED = int(Flag.ENCRYPTED)


@kernel
def switch_to_tls(memory: Any, flow: Any, half: Any, buf: Any, at: int, end: int) -> None:
    """Read a connection as TLS from here on, when this segment begins so (IEC 62351-3 keeps the port)."""
    if half.have > 0 or half.skip > 0 or not tls_begins(buf, at, end, flow.proto != 0):
        return
    release(memory.streams, half)
    drop_parts(memory.streams, half)
    flow.proto = TLS
    flow.conv = -1
    for i in range(len(flow.app)):
        flow.app[i] = 0


@kernel
def emit_tls(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One record ``buf[at:end]``; ``flow.app[side]`` remembers that this side has begun to encrypt."""
    context = memory.context
    flow = memory.streams.flows[context.flow]
    if flow.conv < 0:
        flow.conv = conversation(memory, names, TLS, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, TLS, flow.conv)
    kind = np.int64(buf[at])
    row.kind = kind
    row.size = context.pdu
    if kind == APPLICATION:
        row.flags |= np.uint32(_ENCRYPTED)
    elif kind == CHANGE_CIPHER:
        flow.app[context.side] = 1
    elif kind == ALERT:
        if context.pdu == HEADER + 2 and end - at >= HEADER + 2:
            row.cause = np.int64(buf[at + HEADER + 1])
    elif kind == HANDSHAKE and not flow.app[context.side]:
        message = tls_handshake(buf, at, end, context.pdu)
        if message >= 0:
            row.kind = 256 + message
            begin, size = certificate_name(buf, at, end)
            row.ident = intern_spare(names.texts, buf, begin, size)
        if message == CLIENT_HELLO:
            begin, size = server_name(buf, at, end)
            row.name = intern_spare(names.texts, buf, begin, size)
            if row.name:
                row.point = row.name
