"""TCP segments: connection rows, order, PDUs over segment borders (RFC 9293).

What a device would see is decoded: in-order bytes once. A segment that was there before is decoded on its
own and marked RETRANSMITTED, so that a replay is visible and moves no state; when its bytes differ from the
first, the row is marked CONFLICT and the connection gets one of kind 6. A segment that comes after its
successor is decoded then, marked LATE. One far outside the window is marked GAP and moves nothing until a
second follows it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import inlined, kernel
from sensor.track.dispatch import emit_pdu, next_start, pdu_head, pdu_length
from sensor.track.state import (
    CLAIMED,
    FRAMING,
    OPEN,
    ROLE_CLIENT,
    ROLE_SERVER,
    TCP,
    TLS,
    Count,
    conversation,
    open_row,
)
from sensor.track.streams import (
    SLOT,
    differs,
    drop_parts,
    find_flow,
    keep,
    order,
    release,
    remember_tail,
    restart,
)
from sensor.track.tls import switch_to_tls
from sensor.wire.octets import be16, be32
from sensor.wire.status import MORE, OK

KIND_SYN: Final = 1
KIND_SYNACK: Final = 2
KIND_FIN: Final = 3
KIND_RST: Final = 4
KIND_MIDSTREAM: Final = 5
KIND_CONFLICT: Final = 6
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

_RETRANSMITTED = int(Flag.RETRANSMITTED)
_TRUNCATED = int(Flag.TRUNCATED)
_MALFORMED = int(Flag.MALFORMED)
_CONFLICT = int(Flag.CONFLICT)
_LATE = int(Flag.LATE)
_REASSEMBLED = int(Flag.REASSEMBLED)
_MIDSTREAM = int(Flag.MIDSTREAM)
_GAP = int(Flag.GAP)
_GAPS = int(Count.GAPS)
_RETRANSMISSIONS = int(Count.RETRANSMITTED)
_OVERLAPS = int(Count.OVERLAPS)
_LOST_WAITING = int(Count.LOST_WAITING)
_FOREIGN = int(Count.FOREIGN)
_CONFLICTS = int(Count.CONFLICTS)
_REORDERED = int(Count.REORDERED)
_OUTSIDE = int(Count.OUTSIDE)
_UNDECODED = int(Count.UNDECODED_BYTES)
_CUT = int(Count.TRUNCATED)
_BAD = int(Count.MALFORMED)


@inlined
def on_tcp(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int, wire_end: int) -> int:
    """One segment; ``end`` is what was captured, ``wire_end`` what was sent.

    ``pool`` is ``memory.streams.pool`` seen read-only, so that a PDU decodes by the same machine code
    whether it stands in a frame or was put together.

    Returns
    -------
    int
        OPEN (another engine should read its data), CLAIMED (no data, or they were ours) or FRAMING
        (no data, but it opens or ends a connection that another engine follows).
    """
    counters = memory.counters
    if min(end, wire_end) - at < 20:
        counters[_CUT if wire_end > end else _BAD] += 1
        return OPEN
    header = (np.int64(buf[at + 12]) >> 4) * 4
    if header < 20 or at + header > wire_end:
        counters[_BAD] += 1
        return OPEN
    sport, dport, seq = be16(buf, at), be16(buf, at + 2), be32(buf, at + 4)
    bits = np.int64(buf[at + 13])
    context = memory.context
    index, side, fresh = find_flow(memory.streams, context.src, context.dst, sport, dport, context.ts)
    half = memory.streams.halves[2 * index + side]
    answer = bits & ACK and memory.streams.flows[index].opened and half.next < 0
    if bits & SYN and not fresh and not answer and half.next != (seq + 1) & 0xFFFFFFFF:
        # same addresses and ports, another connection
        restart(memory.streams, index)
        fresh = True
    if fresh:
        _set_sides(memory, index, side, sport, dport, bits)
    flow = memory.streams.flows[index]
    context.flow = index
    context.stream = flow.stream
    context.side = side
    context.sport, context.dport = sport, dport
    _point_context(memory, flow.client == side, sport, dport)
    size = wire_end - at - header
    _connection_rows(memory, names, index, half, bits, seq, size)
    if size <= 0:
        return FRAMING if flow.proto == 0 and bits & (SYN | FIN | RST) else CLAIMED
    _point_context(memory, flow.master == side, sport, dport)
    if bits & SYN:
        seq = (seq + 1) & 0xFFFFFFFF  # the SYN itself takes the first number (RFC 9293 3.4)
    ours = _data(memory, names, pool, buf, at + header, min(end, wire_end), wire_end, seq, index, half)
    if bits & FIN and half.next == (seq + size) & 0xFFFFFFFF:
        half.next = (half.next + 1) & 0xFFFFFFFF
        half.recent = 0
    return CLAIMED if ours else OPEN


@kernel
def _set_sides(memory: Any, index: int, side: int, sport: int, dport: int, bits: int) -> None:
    """Who opened a new connection: by SYN, else by a port of ours, else the lower port serves.

    A protocol's own port tells who serves in it even when that side opened the connection.
    """
    flow = memory.streams.flows[index]
    ours, theirs = memory.ports[sport], memory.ports[dport]
    if bits & SYN:
        flow.client = 1 - side if bits & ACK else side
    elif theirs and not ours:
        flow.client = side
    elif ours and not theirs:
        flow.client = 1 - side
    else:
        flow.client = side if dport <= sport else 1 - side
    flow.master = flow.client
    flow.proto = theirs if flow.client == side else ours
    if ours and not theirs:
        flow.master = 1 - side
        flow.proto = ours
    elif theirs and not ours:
        flow.master = side
        flow.proto = theirs


@kernel
def _point_context(memory: Any, client_sends: bool, sport: int, dport: int) -> None:
    """Client, server and role of what this segment says."""
    context = memory.context
    if client_sends:
        context.role = ROLE_CLIENT
        context.client, context.server, context.port = context.src, context.dst, dport
    else:
        context.role = ROLE_SERVER
        context.client, context.server, context.port = context.dst, context.src, sport


@kernel
def _tcp_row(memory: Any, names: Any, index: int, kind: int, size: int) -> None:
    context = memory.context
    flow = memory.streams.flows[index]
    if flow.tcp < 0:
        flow.tcp = conversation(memory, names, TCP, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, TCP, flow.tcp)
    row.kind = kind
    row.size = size


@kernel
def _connection_rows(memory: Any, names: Any, index: int, half: Any, bits: int, seq: int, size: int) -> None:
    flow = memory.streams.flows[index]
    if bits & SYN:
        flow.opened = 1
        half.next = (seq + 1) & 0xFFFFFFFF
        half.recent = 0
        _tcp_row(memory, names, index, KIND_SYNACK if bits & ACK else KIND_SYN, size)
    elif size > 0 and not flow.opened and not flow.told:
        flow.told = 1
        memory.context.flags = np.int64(_MIDSTREAM)
        _tcp_row(memory, names, index, KIND_MIDSTREAM, size)
    if bits & RST:
        _tcp_row(memory, names, index, KIND_RST, size)
        for side in range(2):
            release(memory.streams, memory.streams.halves[2 * index + side])
    elif bits & FIN:
        _tcp_row(memory, names, index, KIND_FIN, size)


@inlined
def _data(
    memory: Any,
    names: Any,
    pool: Any,
    buf: Any,
    at: int,
    end: int,
    wire_end: int,
    seq: int,
    index: int,
    half: Any,
) -> bool:
    context = memory.context
    counters = memory.counters
    flow = memory.streams.flows[index]
    flow.heard = 1
    probe = wire_end - at == 1 and half.next >= 0 and (half.next - seq) & 0xFFFFFFFF == 1
    if probe:
        return True  # keep-alive (RFC 1122 4.2.3.6): one old byte, which may be anything; no message
    differ = half.recent > 0 and differs(half, seq, buf, at, end)
    verdict, skip = order(half, seq, wire_end - at)
    in_order = verdict < 3 or verdict == 4
    if differ and verdict >= 3:
        counters[_CONFLICTS] += 1
        context.flags |= np.int64(_CONFLICT)
        _point_context(memory, flow.client == context.side, context.sport, context.dport)
        _tcp_row(memory, names, index, KIND_CONFLICT, wire_end - at)
        _point_context(memory, flow.master == context.side, context.sport, context.dport)
    if verdict == 3:
        counters[_RETRANSMISSIONS] += 1
        context.flags |= np.int64(_RETRANSMITTED)
    elif verdict == 5:
        counters[_REORDERED] += 1
        context.flags |= np.int64(_LATE)
    elif verdict == 6:
        counters[_OUTSIDE] += 1
        context.flags |= np.int64(_GAP)
    elif verdict == 2:
        counters[_GAPS] += 1
        half.gap = 1
        if half.slot >= 0:
            counters[_LOST_WAITING] += 1
            release(memory.streams, half)
        drop_parts(memory.streams, half)
        half.skip = 0
    elif verdict == 4:
        counters[_OVERLAPS] += 1
        at = min(at + skip, end)
    if in_order and flow.proto != TLS:
        switch_to_tls(memory, flow, half, buf, at, end)
    if in_order and flow.proto:
        if wire_end > end:
            half.recent = 0
        else:
            remember_tail(half, buf, at, end, verdict == 0 or verdict == 4)
    if flow.proto == 0:
        half.gap = 0
        return False
    if half.gap and in_order:
        context.flags |= np.int64(_GAP)
    rows = memory.cursor[0]
    _pdus(memory, names, pool, buf, at, end, wire_end, flow.proto, half, in_order)
    if memory.cursor[0] > rows:
        if in_order:
            half.gap = 0
        return True
    if half.have > 0 or half.skip > 0:
        return True
    counters[_FOREIGN] += 1
    return False


@inlined
def _emit(memory: Any, names: Any, pool: Any, proto: int, buf: Any, at: int, end: int, size: int) -> None:
    memory.context.pdu = size
    emit_pdu(memory, names, pool, proto, buf, at, end)
    # what is said about the first message of a segment is not true of the others
    memory.context.flags &= np.int64(_RETRANSMITTED | _LATE | _CONFLICT)


@inlined
def _pdus(
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
) -> None:
    """All PDUs that end in this segment; the head of one that does not is kept for the next."""
    if in_order and half.skip > 0:
        skipped = min(half.skip, wire_end - at)
        half.skip -= skipped
        at = min(at + skipped, end)
    if in_order and half.have > 0:
        at = _continue(memory, names, pool, buf, at, end, proto, half)
        if half.have > 0 and wire_end > end:
            # the capture cut this segment: what comes next does not follow on what waits
            memory.counters[_LOST_WAITING] += 1
            release(memory.streams, half)
    while at < end:
        status, need = pdu_length(proto, buf, at, end)
        if status == OK and at + need <= end:
            _emit(memory, names, pool, proto, buf, at, at + need, need)
            at += need
        elif status == OK or status == MORE:
            if wire_end > end:
                _cut(memory, names, pool, buf, at, end, proto, need)
                if in_order and status == OK:
                    half.skip = max(0, at + need - wire_end)
            elif in_order and not keep(memory.streams, half, buf, at, end):
                _long(memory, names, pool, buf, at, end, proto, half, status, need)
            return
        else:
            begin = at
            at = next_start(proto, buf, at + 1, end)
            memory.counters[_UNDECODED] += at - begin


@inlined
def _long(
    memory: Any,
    names: Any,
    pool: Any,
    buf: Any,
    at: int,
    end: int,
    proto: int,
    half: Any,
    status: int,
    need: int,
) -> None:
    """A PDU whose bytes cannot wait: read the head that is here, skip the rest."""
    if status != OK:
        memory.counters[_LOST_WAITING] += 1
        return
    _emit(memory, names, pool, proto, buf, at, end, need)
    half.skip = at + need - end


@inlined
def _cut(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int, proto: int, need: int) -> None:
    """A PDU whose tail the capture does not hold: its head is still worth a row."""
    memory.counters[_CUT] += 1
    if end - at < pdu_head(proto):
        return
    rows = memory.cursor[0]
    points = memory.cursor[1]
    _emit(memory, names, pool, proto, buf, at, end, max(need, end - at + 1))
    memory.cursor[1] = points
    if memory.cursor[0] > rows:
        row = memory.messages[rows]
        row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)


@inlined
def _continue(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int, proto: int, half: Any) -> int:
    """Complete the PDU that waits; returns where the segment goes on."""
    while at < end and half.have > 0:
        base = half.slot * SLOT
        status, need = pdu_length(proto, pool, base, base + half.have)
        if status != OK and status != MORE:
            memory.counters[_UNDECODED] += half.have
            release(memory.streams, half)
            return at
        if status == MORE:
            need = half.have + 1  # until its header is complete
        take = min(min(need, SLOT) - half.have, end - at)
        if take > 0:
            keep(memory.streams, half, buf, at, at + take)
            at += take
        if status == OK and half.have >= min(need, SLOT):
            memory.context.flags |= np.int64(_REASSEMBLED)
            _emit(memory, names, pool, proto, pool, base, base + half.have, need)
            skipped = min(need - half.have, end - at)
            half.skip = need - half.have - skipped
            at += skipped
            release(memory.streams, half)
        elif half.have >= SLOT:  # a header that never completes
            memory.counters[_UNDECODED] += half.have
            release(memory.streams, half)
    return at
