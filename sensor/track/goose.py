"""GOOSE messages: a frame becomes a row, the leaves of its dataset become points."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import ANY_POINT, Flag
from sensor.jit import kernel
from sensor.track.state import GOOSE, ROLE_PUBLISHER, add_point, conversation, open_row
from sensor.track.table import intern
from sensor.wire.goose import goose_entries, goose_value, parse_goose
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, OK, TRUNCATED

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_ANY = int(ANY_POINT)


@kernel
def emit_goose(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    """One frame behind its ethertype; ``wire_end`` is what was sent. False when it is no goosePdu."""
    context = memory.context
    context.role = ROLE_PUBLISHER
    context.stream = -1
    row = open_row(memory, GOOSE, 0)
    where = memory.where
    status = parse_goose(buf, at, end, row, where)
    if status == FOREIGN:
        memory.cursor[0] -= 1
        return False
    if status == TRUNCATED and wire_end > end:
        row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)
        if row.size > 0:
            row.size = min(be16(buf, at + 2), wire_end - at)
    elif status != OK:
        row.flags |= np.uint32(_MALFORMED)
    reference = intern(names.texts, buf, where[0], where[1]) if where[0] >= 0 else 0
    row.name = intern(names.texts, buf, where[2], where[3]) if where[2] >= 0 else 0
    row.ident = intern(names.texts, buf, where[4], where[5]) if where[4] >= 0 else 0
    appid = be16(buf, at) if end - at >= 2 else 0
    row.conv = conversation(memory, names, GOOSE, context.src, context.dst, appid, reference, vlan)
    if where[0] >= 0:
        row.point = (np.int64(reference) << 16) | _ANY
    if where[6] >= 0:
        _entries(memory, names, buf, row, reference)
    return True


@kernel
def _entries(memory: Any, names: Any, buf: Any, row: Any, reference: int) -> None:
    where = memory.where
    count, status = goose_entries(
        buf, where[6], where[7], len(memory.tags), memory.tags, memory.begins, memory.ends
    )
    if status != OK:
        row.flags |= np.uint32(_MALFORMED)
    for i in range(count):
        value, quality = goose_value(buf, memory.tags[i], memory.begins[i], memory.ends[i])
        point = (np.int64(reference) << 16) | i
        add_point(memory, row, memory.tags[i], point, value, quality)
