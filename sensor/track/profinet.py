"""PROFINET messages: a row for each real-time frame and each DCP service."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import (
    PROFINET_DCP,
    PROFINET_RT,
    ROLE_CLIENT,
    ROLE_PEER,
    ROLE_PUBLISHER,
    ROLE_SERVER,
    conversation,
    open_row,
)
from sensor.track.table import intern
from sensor.wire.octets import be16, be32
from sensor.wire.profinet import (
    ADDRESS,
    DCP_FIRST,
    DCP_HEADER,
    DCP_LAST,
    ERROR,
    OPTION,
    STATION,
    STATION_END,
    VENDOR,
    VENDOR_END,
    parse_dcp,
    profinet_cyclic,
    profinet_kind,
)
from sensor.wire.status import OK, TRUNCATED
from sensor.wire.text import put_decimal, put_ipv4, put_octets

SHORTEST = 6
PREFIX = np.frombuffer(b"frame id ", np.uint8)

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_NEGATIVE = int(Flag.NEGATIVE)


@kernel
def emit_profinet(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    """One frame behind its ethertype; False when not even its frame id and status are there."""
    if end - at < SHORTEST:
        return False
    frame_id = be16(buf, at)
    if DCP_FIRST <= frame_id <= DCP_LAST:
        return _dcp(memory, names, buf, at, end, wire_end, vlan)
    context = memory.context
    context.role = ROLE_PUBLISHER
    text = memory.text
    used = put_octets(text, np.int64(0), PREFIX, np.int64(0), len(PREFIX))
    used = put_decimal(text, used, frame_id)
    sub = intern(names.texts, text, 0, used)
    conv = conversation(memory, names, PROFINET_RT, context.src, context.dst, 0, sub, vlan)
    row = open_row(memory, PROFINET_RT, conv)
    row.kind = profinet_kind(frame_id)
    row.point = frame_id
    row.size = context.payload
    if not profinet_cyclic(frame_id):
        return True
    if wire_end > end:
        row.flags |= np.uint32(_TRUNCATED)
        return True
    row.seq = be16(buf, end - 4)
    row.state = np.int64(buf[end - 2])
    row.cause = np.int64(buf[end - 1])
    return True


@kernel
def _dcp(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    if end - at < DCP_HEADER:
        return False
    context = memory.context
    kind = np.int64(buf[at + 3])
    client, server = context.src, context.dst
    context.role = ROLE_CLIENT if kind == 0 else ROLE_SERVER if kind == 1 or kind == 5 else ROLE_PEER
    if context.role == ROLE_SERVER:
        client, server = server, client
    row = open_row(
        memory, PROFINET_DCP, conversation(memory, names, PROFINET_DCP, client, server, 0, 0, vlan)
    )
    row.kind = be16(buf, at + 2)
    row.seq = be32(buf, at + 4)
    row.count = be16(buf, at + 10)
    row.size = context.payload
    where = memory.where
    status = parse_dcp(buf, at, end, wire_end, where)
    if status != OK:
        row.flags |= np.uint32(_TRUNCATED if status == TRUNCATED else _MALFORMED)
    row.aux = where[OPTION]
    row.cause = np.int32(where[ERROR])
    if kind == 5 or 1 <= row.cause <= 6:
        row.flags |= np.uint32(_NEGATIVE)
    _texts(memory, names, buf, row)
    return True


@kernel
def _texts(memory: Any, names: Any, buf: Any, row: Any) -> None:
    where = memory.where
    if where[STATION] >= 0:
        row.name = intern(names.texts, buf, where[STATION], where[STATION_END] - where[STATION])
    if where[VENDOR] >= 0:
        row.ident = intern(names.texts, buf, where[VENDOR], where[VENDOR_END] - where[VENDOR])
    if row.name:
        row.point = row.name
    elif where[ADDRESS] >= 0:
        used = put_ipv4(memory.text, np.int64(0), buf, where[ADDRESS])
        row.point = intern(names.texts, memory.text, 0, used)
