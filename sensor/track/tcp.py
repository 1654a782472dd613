"""TCP segments: connection rows, order, PDUs over segment borders (RFC 9293).

What a device would see is decoded: in-order bytes once. A segment that was there before is decoded on its
own and marked RETRANSMITTED, so that a replay is visible and moves no state; when its bytes differ from the
first, the row is marked CONFLICT and the connection gets one of kind 6. A segment that comes after its
successor is decoded then, marked LATE. One far outside the window is marked GAP and moves nothing until a
second follows it. Missing bytes that their receiver acknowledges were on the wire, and only the capture lacks
them: that gives a row of kind 7.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import inlined, kernel
from sensor.track.holes import (
    NOTHING,
    close_head,
    drop_hole,
    fill_hole,
    follow_hole,
    open_hole,
    settle_hole,
)
from sensor.track.http import SEEN, emit_stray_http, switch_to_http
from sensor.track.pdus import read_pdus
from sensor.track.state import (
    CLAIMED,
    FRAMING,
    HTTP,
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
    differs,
    drop_parts,
    find_flow,
    order,
    release,
    remember_tail,
    restart,
)
from sensor.track.tls import switch_to_tls
from sensor.wire.octets import be16, be32

KIND_SYN: Final = 1
KIND_SYNACK: Final = 2
KIND_FIN: Final = 3
KIND_RST: Final = 4
KIND_MIDSTREAM: Final = 5
KIND_CONFLICT: Final = 6
KIND_UNSEEN: Final = 7
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

SETTLED: Final = 20_000_000
"""ns after a hole from which an acknowledgement counts: frames of several queues come out of order."""

SEGMENT: Final = 1460
"""Bytes of a full segment on Ethernet: so many missing bytes were at least one frame."""

_RETRANSMITTED = int(Flag.RETRANSMITTED)
_CONFLICT = int(Flag.CONFLICT)
_LATE = int(Flag.LATE)
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
_UNSEEN = int(Count.UNSEEN)
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
    if flow.holed and bits & ACK:
        _acknowledged(memory, names, index, 1 - side, be32(buf, at + 8))
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
            drop_hole(memory.streams, 2 * index + side)
    elif bits & FIN:
        _tcp_row(memory, names, index, KIND_FIN, size)


@kernel
def _acknowledged(memory: Any, names: Any, index: int, side: int, upto: int) -> None:
    """The receiver has everything before ``upto`` (RFC 9293 3.4): was all of it captured?"""
    flow = memory.streams.flows[index]
    half = memory.streams.halves[2 * index + side]
    if half.unseen <= 0 or memory.context.ts - half.since < SETTLED:
        return
    if (upto - half.edge) & 0xFFFFFFFF >= 0x80000000:
        return
    _tcp_row(memory, names, index, KIND_UNSEEN, half.unseen)
    row = memory.messages[memory.cursor[0] - 1]
    row.count = (half.unseen + SEGMENT - 1) // SEGMENT
    memory.counters[_UNSEEN] += row.count
    half.unseen = 0
    flow.holed = memory.streams.halves[2 * index + 1 - side].unseen > 0


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
    which = 2 * index + context.side
    differ = half.recent > 0 and differs(half, seq, buf, at, end)
    verdict, skip = order(half, seq, wire_end - at)
    in_order = verdict < 3 or verdict == 4
    if differ and verdict >= 3:
        counters[_CONFLICTS] += 1
        context.flags |= np.int64(_CONFLICT)
        _point_context(memory, flow.client == context.side, context.sport, context.dport)
        _tcp_row(memory, names, index, KIND_CONFLICT, wire_end - at)
        _point_context(memory, flow.master == context.side, context.sport, context.dport)
    if verdict == 7:
        missing, half.missing = half.missing, 0
        half.unseen = max(half.unseen - missing, 0)
        if half.mend > 0:  # what fills the hole is news, the rest is not read again
            verdict = 5
            seq = (seq + skip) & 0xFFFFFFFF
            at = min(at + skip, end)
            wire_end = at + missing
            end = min(end, wire_end)
        else:
            verdict = 3
    elif verdict == 3 or verdict == 5:
        half.unseen = max(half.unseen - (wire_end - at), 0)
    if verdict == 3:
        counters[_RETRANSMISSIONS] += 1
        context.flags |= np.int64(_RETRANSMITTED)
    elif verdict == 5:
        counters[_REORDERED] += 1
        context.flags |= np.int64(_LATE)
        if half.dull:
            return True  # of a PDU whose rest is not read
    elif verdict == 6:
        counters[_OUTSIDE] += 1
        context.flags |= np.int64(_GAP)
    elif verdict == 4:
        counters[_OVERLAPS] += 1
        at = min(at + skip, end)
    elif verdict == 2:
        counters[_GAPS] += 1
        half.gap = 1
        if half.missing > 0:
            half.unseen += half.missing
            half.edge = seq
            half.since = context.ts
            flow.holed = 1
        drop_parts(memory.streams, half)
        half.dull = half.skip >= half.missing > 0
    if in_order and flow.proto != TLS:
        switch_to_tls(memory, flow, half, buf, at, end)
        if flow.proto == 0:
            switch_to_http(flow, half, buf, at, end)
    if in_order and flow.proto:
        if wire_end > end:
            half.recent = 0
        else:
            remember_tail(half, buf, at, end, verdict == 0 or verdict == 4)
    kept = False
    if verdict == 2:
        kept = _begin_anew(memory, which, half, buf, at, end, wire_end == end, flow.proto)
    if flow.proto == 0:
        half.gap = 0
        return False
    if half.gap and in_order:
        context.flags |= np.int64(_GAP)
    context.mode, context.left = 0, 0
    context.apart = verdict == 3 or verdict == 6
    if in_order:
        context.mode, context.left = half.mode, half.skip
        if half.mend > 0 and verdict != 2:
            kept = follow_hole(memory.streams, which, context.ts, buf, at, end, wire_end == end)
    begin, stop, own, source = at, end, at, buf
    mends = False
    if verdict == 5 and half.mend > 0:
        first, last, place = fill_hole(memory, which, seq, buf, at, end, wire_end == end)
        if last > 0:
            mends = True
            begin, stop, own, source = first, last, place, pool
            wire_end = last
    claimed = kept or mends or context.left > 0
    rows = memory.cursor[0]
    first, rest = read_pdus(
        memory, names, pool, source, begin, stop, wire_end, flow.proto, half, in_order, own, own + end - at
    )
    if in_order:
        half.mode, half.skip = context.mode, context.left
        if flow.proto == 0:  # left just now: should it come back, this half begins with a message too
            half.mode = 0
        if memory.cursor[0] > rows:
            half.gap = 0
        if kept:
            close_head(memory.streams, which, first)
    elif mends:
        settle_hole(memory, pool, which, begin, stop, first, rest)
    if claimed or first != NOTHING or half.have > 0 or half.skip > 0:
        return True
    if flow.proto == HTTP:
        if flow.app[SEEN]:  # of a body that was not skipped, because bytes before it are missing
            return True
    elif emit_stray_http(memory, names, buf, at, end):
        return True
    counters[_FOREIGN] += 1
    return False


@kernel
def _begin_anew(
    memory: Any, which: int, half: Any, buf: Any, at: int, end: int, whole: bool, proto: int
) -> bool:
    """Behind missing bytes; True when what is on both sides of them is kept."""
    if half.dull:
        drop_hole(memory.streams, which)
        half.skip -= half.missing
        return False
    kept = proto != 0 and open_hole(memory.streams, which, memory.context.ts, buf, at, end, whole)
    if half.slot > 0:
        memory.counters[_LOST_WAITING] += 1
        release(memory.streams, half)
    half.skip = 0
    half.mode = 0
    return kept
