"""Redundant networks: their supervision messages, and the second copy of a frame, which is not decoded.

A sensor that hears both LANs of PRP, both directions of an HSR ring, or two mirrored ports, gets every frame
twice. A second copy is known by a hash over the whole frame without its LAN: a sender who only reuses the
number of another frame hides nothing. One table, direct-mapped: a collision costs a copy that is decoded,
nothing else.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import (
    COPY_SLOTS,
    DROP_COPIES,
    KEEP_COPIES,
    PRP_SUPERVISION,
    ROLE_PUBLISHER,
    WATCH_COPIES,
    Count,
    conversation,
    open_row,
)
from sensor.track.table import intern
from sensor.wire.octets import be16, be32, be64
from sensor.wire.redundancy import HSR_TAG, TYPE_HSR, lan_field, parse_supervision
from sensor.wire.status import FOREIGN, MALFORMED, OK

DUPLICATE_NS: Final = 400_000_000
"""EntryForgetTime of IEC 62439-3: a sequence number is not used again before."""

COPY_NS: Final = 1_000_000
"""Mirrored ports give copies within this; nothing sends equal frames so fast."""

WATCHED: Final = 1024
EVERY: Final = 16
"""Whether a capture has copies is looked for in one of so many blocks of so many frames."""

SHARE: Final = 10
"""One copy in so many frames of a watched block shows that two ports are mirrored."""

LEAST: Final = 46
"""Shorter frames are on no wire; Ethernet pads them."""

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_DUPLICATES = int(Count.DUPLICATES)
_COPIES, _KEPT = int(Count.COPIES), int(Count.COPIES_KEPT)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@kernel
def is_copy(memory: Any, buf: Any, begin: int, end: int) -> bool:
    """Was this whole Ethernet frame here before? Counts it when so, remembers it when not."""
    field = lan_field(buf, begin, end)
    if field < 0:
        if end - begin < LEAST or not _looks(memory):
            return False
        slot = be32(buf, end - 4) ^ (be32(buf, begin + 38) * 5) ^ (be32(buf, end - 8) * 25)
        h = _mix(memory, buf, begin, end, np.uint64(end - begin))
    else:
        slot = be32(buf, begin + 8) * 5 + be16(buf, field - 2 if field == end - 4 else field + 2)
        h = _mix(memory, buf, begin, field, np.uint64(end - begin))
        h = _mix(memory, buf, field + 2, end, h)
    # which slot is no secret, so that the same capture always gives the same rows
    slot ^= slot >> 15
    entry = memory.copies[slot & (COPY_SLOTS - 1)]
    ts = memory.context.ts
    same = entry.hash == h and abs(ts - entry.ts) <= (DUPLICATE_NS if field >= 0 else COPY_NS)
    if not same:
        entry.hash = h
        entry.ts = ts
    elif field >= 0:
        memory.counters[_DUPLICATES] += 1
    elif memory.drop_copies == WATCH_COPIES:
        memory.counters[_KEPT] += 1
        memory.watched[1] += 1
        same = False
    else:
        memory.counters[_COPIES] += 1
    return same


@kernel
def _looks(memory: Any) -> bool:
    """Is this frame compared with those before it? At the end of a watched block copies may begin to go.

    Counted in frames of the capture, so that batches change nothing.
    """
    if memory.drop_copies != WATCH_COPIES:
        return bool(memory.drop_copies != KEEP_COPIES)
    seen = memory.watched[0]
    if seen == WATCHED and memory.watched[1] * SHARE >= WATCHED:
        memory.drop_copies = DROP_COPIES
        return True
    if seen == WATCHED * EVERY:
        memory.watched[0] = memory.watched[1] = seen = 0
    memory.watched[0] += 1
    return bool(seen < WATCHED)


@kernel
def _mix(memory: Any, buf: Any, at: int, end: int, h: Any) -> Any:
    """Hash with the run's secret, eight octets at a time: a sender cannot make two frames look equal."""
    key = memory.copy_key
    factor = key[1]
    h = (h ^ key[0]) * factor
    while end - at >= 8:
        h = (h ^ be64(buf, at)) * factor
        h ^= h >> np.uint64(32)
        at += 8
    word = np.uint64(0)
    while at < end:
        word = (word << np.uint64(8)) | np.uint64(buf[at])
        at += 1
    h = (h ^ word) * factor
    return h ^ (h >> np.uint64(29))


@kernel
def emit_supervision(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    """One frame behind its ethertype; False when nothing is in it."""
    context = memory.context
    context.role = ROLE_PUBLISHER
    context.stream = -1
    row = open_row(memory, PRP_SUPERVISION, 0)
    status, station = parse_supervision(buf, at, end, row)
    if status == FOREIGN:
        memory.cursor[0] -= 1
        return False
    if status != OK and wire_end > end:
        row.flags |= np.uint32(_TRUNCATED)
    elif status == MALFORMED or row.kind < 0:
        row.flags |= np.uint32(_MALFORMED)
    row.size = wire_end - at
    if at >= 22 and be16(buf, at - 8) == TYPE_HSR:
        row.size += HSR_TAG
    if station >= 0:
        key = memory.scratch
        for i in range(6):
            octet = np.int64(buf[station + i])
            key[3 * i] = _DIGITS[octet >> 4]
            key[3 * i + 1] = _DIGITS[octet & 15]
            key[3 * i + 2] = 0x3A
        row.point = intern(names.texts, key, 0, 17)
    row.conv = conversation(memory, names, PRP_SUPERVISION, context.src, context.dst, 0, 0, vlan)
    return True
