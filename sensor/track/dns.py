"""DNS, multicast DNS and LLMNR messages: one row each, named by the first question."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import DNS, ROLE_CLIENT, ROLE_SERVER, conversation, open_row
from sensor.track.table import intern_spare
from sensor.wire.dns import ANSWER, HEADER, UPDATE, dns_whole, put_name
from sensor.wire.octets import be16

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_NEGATIVE = int(Flag.NEGATIVE)
ROOT = np.frombuffer(b"<Root>", np.uint8)


@kernel
def emit_dns(
    memory: Any, names: Any, proto: int, buf: Any, at: int, end: int, sport: int, dport: int, cut: bool
) -> bool:
    """One message ``buf[at:end]``; ``cut`` when the capture holds only its head. False: too short for one."""
    if end - at < HEADER:
        return False
    context = memory.context
    bits = be16(buf, at + 2)
    answer = bits & 0x8000 != 0
    context.role = ROLE_SERVER if answer else ROLE_CLIENT
    if answer:
        conv = conversation(memory, names, proto, context.dst, context.src, sport, 0, 0)
    else:
        conv = conversation(memory, names, proto, context.src, context.dst, dport, 0, 0)
    row = open_row(memory, proto, conv)
    row.size = context.pdu
    row.kind = ((bits >> 11) & 15) + (ANSWER if answer else 0)
    row.seq = be16(buf, at)
    if row.kind & 15 != UPDATE:
        row.count = be16(buf, at + 6)
    if answer:
        row.cause = bits & 15
        if 1 <= row.cause <= 5:
            row.flags |= np.uint32(_NEGATIVE)
    if be16(buf, at + 4):
        _question(memory, names, buf, at, end, row, cut)
    if cut:
        row.flags |= np.uint32(_TRUNCATED)
    elif not dns_whole(buf, at, end):
        row.flags |= np.uint32(_MALFORMED)
    return True


@kernel
def _question(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, cut: bool) -> None:
    used = put_name(memory.text, buf, at, at + HEADER, end)
    if used > 0:
        row.name = intern_spare(names.texts, memory.text, 0, used)
    elif used == 0:
        row.name = intern_spare(names.texts, ROOT, 0, len(ROOT))
    elif not cut:
        row.flags |= np.uint32(_MALFORMED)
    if row.name:
        row.point = row.name


@kernel
def emit_dns_tcp(memory: Any, names: Any, buf: Any, at: int, end: int) -> None:
    """One message of a TCP stream behind its length; the sides are those of the connection."""
    context = memory.context
    server = context.port
    emit_dns(memory, names, np.int64(DNS), buf, at + 2, end, server, server, end - at < context.pdu)
