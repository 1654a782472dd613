"""PDUs of a TCP stream: where each begins and ends, which wait for more, and what is skipped.

The caller says with ``context.mode`` and ``context.left`` where in the protocol the bytes begin, and finds
there where they end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import inlined
from sensor.track.dispatch import emit_pdu, next_start, pdu_head, pdu_length
from sensor.track.holes import NOTHING
from sensor.track.state import HTTP, Count
from sensor.track.streams import SLOT, keep, release
from sensor.wire.status import MORE, OK

_LOST_WAITING = int(Count.LOST_WAITING)
_UNDECODED = int(Count.UNDECODED_BYTES)
_CUT = int(Count.TRUNCATED)
_TRUNCATED = int(Flag.TRUNCATED)
_MALFORMED = int(Flag.MALFORMED)
_REASSEMBLED = int(Flag.REASSEMBLED)
_STAYS = int(Flag.RETRANSMITTED | Flag.LATE | Flag.CONFLICT)


@inlined
def read_pdus(
    memory: Any,
    names: Any,
    pool: Any,
    buf: Any,
    at: int,
    end: int,
    wire_end: int,
    proto: int,
    half: Any,
    in_order: bool,
    own: int,
    own_end: int,
) -> tuple[int, int]:
    """All PDUs that end in ``buf[at:end]``; the head of one that does not is kept for the next segment.

    Parameters
    ----------
    own, own_end : int
        The bytes of this segment; others were kept from before.

    Returns
    -------
    (int, int)
        Where the first PDU begins, counted from ``at`` (negative: in what waited; NOTHING: none was read),
        and what of ``buf`` is left that belongs to no PDU yet.
    """
    context = memory.context
    begin = at
    first = np.int64(NOTHING)
    if context.left > 0:
        skipped = min(context.left, wire_end - at)
        context.left -= skipped
        at = min(at + skipped, end)
    if in_order and half.have > 0:
        waited = half.have
        at, done = _continue(memory, names, pool, buf, at, end, wire_end, proto, half)
        if done:
            first = -waited
        if half.have > 0 and wire_end > end:
            # the capture cut this segment: what comes next does not follow on what waits
            memory.counters[_LOST_WAITING] += 1
            release(memory.streams, half)
    while at < end:
        status, need = pdu_length(proto, context.mode, buf, at, end)
        if status == OK and at + need <= end:
            if at < own or (at < own_end and at + need > own_end):
                context.flags |= np.int64(_REASSEMBLED)
            if first == NOTHING:
                first = at - begin
            _emit(memory, names, pool, proto, buf, at, at + need, need)
            at += need
            if context.body > 0:
                context.left = max(0, context.body - (wire_end - at))
                at += min(context.body, end - at)
        elif status == OK or status == MORE:
            if wire_end > end:
                rows = memory.cursor[0]
                _cut(memory, names, pool, buf, at, end, proto, need)
                if memory.cursor[0] > rows and first == NOTHING:
                    first = at - begin
                if in_order and status == OK:
                    context.left = max(0, at + need - wire_end)
            elif in_order and not keep(memory.streams, half, buf, at, end):
                if status == OK:  # a PDU whose bytes cannot wait: read the head that is here, skip the rest
                    if first == NOTHING:
                        first = at - begin
                    _emit(memory, names, pool, proto, buf, at, end, need)
                    context.left = at + need - end
                else:
                    memory.counters[_LOST_WAITING] += 1
            break
        else:
            before = at
            at = next_start(proto, buf, at + 1, end)
            memory.counters[_UNDECODED] += at - before
            context.mode = 0
    return first, at


@inlined
def _emit(memory: Any, names: Any, pool: Any, proto: int, buf: Any, at: int, end: int, size: int) -> None:
    context = memory.context
    context.pdu = size
    context.body = 0
    rows = memory.cursor[0]
    emit_pdu(memory, names, pool, proto, buf, at, end)
    if memory.cursor[0] > rows:
        # what is said about the first message of a segment is not true of the others
        context.flags &= np.int64(_STAYS)


@inlined
def _cut(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int, proto: int, need: int) -> None:
    """A PDU whose tail the capture does not hold: its head is still worth a row."""
    memory.counters[_CUT] += 1
    if end - at >= pdu_head(proto):
        rows = memory.cursor[0]
        points = memory.cursor[1]
        _emit(memory, names, pool, proto, buf, at, end, max(need, end - at + 1))
        memory.cursor[1] = points
        if memory.cursor[0] > rows:
            row = memory.messages[rows]
            row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)


@inlined
def _continue(
    memory: Any,
    names: Any,
    pool: Any,
    buf: Any,
    at: int,
    end: int,
    wire_end: int,
    proto: int,
    half: Any,
) -> tuple[int, bool]:
    """Complete the PDU that waits; returns where the segment goes on, and whether it was read."""
    context = memory.context
    base = half.slot * SLOT
    begin = at
    done = False
    while half.have > 0:
        status, need = pdu_length(proto, context.mode, pool, base, base + half.have)
        if status != OK and status != MORE:
            # what waited begins no PDU, but this segment may: senders begin segments with them
            half.have -= at - begin
            at = begin
            memory.counters[_UNDECODED] += half.have
            release(memory.streams, half)
            context.mode = 0
            break
        if status == OK and half.have >= min(need, SLOT):
            if half.have > need:  # text ends where its end is seen; what is behind goes back
                at -= half.have - need
                half.have = need
            context.flags |= np.int64(_REASSEMBLED)
            _emit(memory, names, pool, proto, pool, base, base + half.have, need)
            rest = need - half.have + context.body
            context.left = max(0, rest - (wire_end - at))
            at += min(rest, end - at)
            release(memory.streams, half)
            done = True
            break
        if at >= end:
            break
        if status == MORE:
            # until its header is complete; of text as much as there is
            need = np.int64(SLOT) if proto == HTTP else half.have + 1
        take = min(min(need, SLOT) - half.have, end - at)
        if take <= 0:  # a header that never completes
            memory.counters[_UNDECODED] += half.have
            release(memory.streams, half)
            break
        keep(memory.streams, half, buf, at, at + take)
        at += take
    return at, done
