"""SNMP messages: a row each, named by the first object identifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import ROLE_CLIENT, ROLE_PEER, ROLE_SERVER, SNMP, conversation, open_row
from sensor.track.table import intern_spare
from sensor.wire.snmp import (
    ENCRYPTED,
    FIRST,
    FIRST_END,
    KIND,
    REQUEST,
    STATUS,
    VARIABLES,
    parse_snmp,
    put_oid,
)
from sensor.wire.status import FOREIGN, OK

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_NEGATIVE = int(Flag.NEGATIVE)
_ENCRYPTED = int(Flag.ENCRYPTED)


@kernel
def emit_snmp(
    memory: Any, names: Any, buf: Any, at: int, end: int, sport: int, dport: int, cut: bool
) -> bool:
    """One message ``buf[at:end]``; ``cut`` when the capture holds only its head. False: it is none."""
    where = memory.where
    status = parse_snmp(buf, at, end, where)
    if status == FOREIGN:
        return False
    context = memory.context
    kind = where[KIND]
    if kind == 2 or kind == 4 or kind == 6 or kind == 7:
        context.role = ROLE_SERVER
    elif 0 <= kind <= 5:
        context.role = ROLE_CLIENT
    elif sport == dport:
        context.role = ROLE_PEER
    if context.role == ROLE_SERVER:
        conv = conversation(memory, names, SNMP, context.dst, context.src, sport, 0, 0)
    else:
        conv = conversation(memory, names, SNMP, context.src, context.dst, dport, 0, 0)
    row = open_row(memory, SNMP, conv)
    row.size = context.pdu
    row.kind = np.int32(kind)
    row.seq = where[REQUEST]
    row.cause = np.int32(min(where[STATUS], np.int64(0x7FFFFFFF)))
    row.count = np.int32(where[VARIABLES])
    if 1 <= row.cause <= 18:
        row.flags |= np.uint32(_NEGATIVE)
    if kind == ENCRYPTED:
        row.flags |= np.uint32(_ENCRYPTED)
    if where[FIRST] >= 0:
        row.name = intern_spare(
            names.texts, memory.text, 0, put_oid(memory.text, buf, where[FIRST], where[FIRST_END])
        )
        if row.name:
            row.point = row.name
    if cut:
        row.flags |= np.uint32(_TRUNCATED)
    elif status != OK:
        row.flags |= np.uint32(_MALFORMED)
    return True
