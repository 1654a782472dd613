"""MQTT messages: a packet becomes a row, a PUBLISH a point; a connection keeps version and topic aliases."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import MQTT, add_point, conversation, open_row
from sensor.track.table import intern_spare
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.decimal import text_number
from sensor.wire.mqtt import CONNECT, PUBLISH, parse_mqtt

_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_mqtt(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One control packet ``buf[at:end]``, or its head. ``flow.app[0]`` is the connection's version."""
    context = memory.context
    flow = memory.streams.flows[context.flow]
    if flow.conv < 0:
        flow.conv = conversation(memory, names, MQTT, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, MQTT, flow.conv)
    where = memory.where
    parse_mqtt(buf, at, end, at + context.pdu, flow.app[0], row, where)
    again = row.flags & np.uint32(_RETRANSMITTED) != 0
    if not again:
        flow.app[0] = where[6]
    topic = intern_spare(names.texts, buf, where[0], where[1]) if where[0] >= 0 else np.int64(0)
    if row.kind == PUBLISH and where[7] > 0:
        topic = _alias(memory, row, where[7], topic, again)
    if topic > 0:
        row.point = topic
        row.name = topic
    elif row.kind == CONNECT and where[2] >= 0:
        row.name = intern_spare(names.texts, buf, where[2], where[3])
    if where[4] >= 0:
        row.ident = intern_spare(names.texts, buf, where[4], where[5])
    if row.kind == PUBLISH and where[3] > 0:
        if end - at >= context.pdu:
            row.value = text_number(buf, where[2], where[2] + where[3])
        if topic > 0 and buf[where[2]] != 0:  # octets that begin so are no text
            add_point(memory, row, PUBLISH, topic, row.value, -1)


@kernel
def _alias(memory: Any, row: Any, alias: int, topic: int, again: bool) -> int:
    """Topic of a PUBLISH with a topic alias (5.0, 3.3.2.3.4), which holds for one direction."""
    key = request_key(memory.context.stream, alias, memory.context.side, row.kind)
    if topic > 0:
        if not again:
            remember(memory.requests, key, row.ts, row.frame, topic, 0)
        return topic
    found = recall(memory.requests, key)
    return memory.requests[found].point if found >= 0 else np.int64(0)
