"""IEC 60870-5-104 messages: an APDU becomes a row, its information objects become points."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import TIME_TAG
from sensor.jit import kernel
from sensor.track.state import IEC104, add_point, conversation, open_row
from sensor.wire.iec104 import (
    CLOCK,
    ELEMENT_SIZE,
    cp56_time,
    iec104_element,
    iec104_objects,
    iec104_tagged,
    mark_select,
    parse_iec104,
    tag_quality,
)
from sensor.wire.octets import le16, le24


@kernel
def emit_iec104(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One complete APDU ``buf[at:end]`` of the frame in ``state.context``."""
    context = memory.context
    flow = memory.streams.flows[context.flow]
    if flow.conv < 0:
        flow.conv = conversation(memory, names, IEC104, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, IEC104, flow.conv)
    parse_iec104(buf, at, end, row)
    row.size = context.pdu
    if row.kind < 0:
        return
    count, step, element = iec104_objects(buf, at, end)
    if count == 0:
        return
    common = le16(buf, at + 10) << 24
    sequence = buf[at + 7] & 0x80 != 0
    address = le24(buf, at + 12)
    tag = np.int64(ELEMENT_SIZE[row.kind]) - 7 if iec104_tagged(row.kind) else np.int64(-1)
    for i in range(count):
        here = element + i * step
        if not sequence:
            address = le24(buf, here - 3)
        value, quality, select = iec104_element(buf, here, row.kind)
        if i == 0:
            row.value = value
            if select:
                mark_select(row)
        point = common | (address & 0xFFFFFF)
        add_point(memory, row, row.kind, point, np.float64(value), quality)
        if tag >= 0:
            time = here + tag
            add_point(memory, row, TIME_TAG | row.kind, point, cp56_time(buf, time), tag_quality(buf, time))
        if sequence:
            address += 1
    if row.kind == CLOCK:  # a time is no process value: the message has it, its point has not
        row.value = cp56_time(buf, element)
