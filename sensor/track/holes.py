"""Small holes in TCP streams that a late segment may fill.

A segment ahead of a hole is read at once. What that leaves unread on both sides is kept: the beginning of a
PDU before the hole, and behind it the bytes up to the first PDU that was read. When segments that come late
have filled the hole, all of it is one stretch in order, and the PDUs over its borders can be read.

One hole for each direction, of at most :data:`HOLE_MAX` bytes and for :data:`HOLE_WAIT`; :data:`HOLES` in
all, of which the oldest gives way. Each has a slot of the pool behind those for waiting bytes, laid out as
the stream is::

    first       hole            stop            end
    | not read  | missing bytes | kept, not read | first PDU read behind the hole
"""

from __future__ import annotations

from typing import Any, Final

from sensor.jit import kernel
from sensor.track.state import Count
from sensor.track.streams import HOLES, SLOT, SLOTS, keep, release

HOLE_MAX: Final = 8192
HOLE_WAIT: Final = 2_000_000_000
"""ns; the sender of a lost segment repeats it after a second at the latest (RFC 6298 2.1, 2.4)."""

NOTHING: Final = -(1 << 40)
"""No PDU was read."""

_MENDED = int(Count.MENDED)
_LOST_WAITING = int(Count.LOST_WAITING)
_UNDECODED = int(Count.UNDECODED_BYTES)


@kernel
def drop_hole(streams: Any, which: int) -> None:
    """Forget the hole of direction ``which`` (row of ``halves``)."""
    half = streams.halves[which]
    if half.mend > 0 and streams.holes[half.mend - 1].owner == which + 1:
        streams.holes[half.mend - 1].owner = 0
    half.mend = 0


@kernel
def _add(streams: Any, hole: Any, number: int, buf: Any, at: int, end: int, whole: bool) -> None:
    """Keep bytes behind the hole; ``cut``: those that follow will not join them."""
    size = min(end - at, SLOT - hole.end)
    base = (1 + SLOTS + number) * SLOT + hole.end
    for i in range(size):
        streams.pool[base + i] = buf[at + i]
    hole.edge = hole.end
    hole.end += size
    hole.cut = 0 if whole and size == end - at else 1


@kernel
def open_hole(streams: Any, which: int, ts: int, buf: Any, at: int, end: int, whole: bool) -> bool:
    """Remember a hole before ``buf[at:end]`` and what waits before it; False when it is too large."""
    half = streams.halves[which]
    drop_hole(streams, which)
    if half.missing == 0 or half.missing > HOLE_MAX or half.have + half.missing >= SLOT:
        return False
    number = 0
    for i in range(HOLES):
        if streams.holes[i].owner == 0:
            number = i
            break
        if streams.holes[i].ts < streams.holes[number].ts:
            number = i
    hole = streams.holes[number]
    base = (1 + SLOTS + number) * SLOT
    for i in range(half.have):
        streams.pool[base + i] = streams.pool[half.slot * SLOT + i]
    half.mend = number + 1
    hole.owner = which + 1
    hole.ts = ts
    hole.seq = (half.hole - half.have) & 0xFFFFFFFF
    hole.first = 0
    hole.hole = half.have
    hole.stop = half.have + half.missing
    hole.end = hole.stop
    hole.open = 1
    hole.skip = half.skip
    hole.mode = half.mode
    _add(streams, hole, number, buf, at, end, whole)
    return True


@kernel
def follow_hole(streams: Any, which: int, ts: int, buf: Any, at: int, end: int, whole: bool) -> bool:
    """Keep a segment in order while no PDU was read behind the hole; False when nothing is kept."""
    half = streams.halves[which]
    hole = streams.holes[half.mend - 1]
    if hole.owner != which + 1 or ts - hole.ts > HOLE_WAIT:
        drop_hole(streams, which)
        return False
    if not hole.open:
        return False
    _add(streams, hole, half.mend - 1, buf, at, end, whole)
    return True


@kernel
def close_head(streams: Any, which: int, first: int) -> None:
    """After a kept segment was read: where, from its beginning, the first PDU read in it began."""
    if streams.halves[which].mend == 0:
        return  # what was read ended the connection's protocol
    hole = streams.holes[streams.halves[which].mend - 1]
    if first != NOTHING:
        hole.end = min(hole.end, hole.edge + first)
        hole.open = 0
    elif hole.cut:
        hole.open = 0


@kernel
def fill_hole(
    memory: Any, which: int, seq: int, buf: Any, at: int, end: int, whole: bool
) -> tuple[int, int, int]:
    """Put a late segment into its place.

    Returns
    -------
    (int, int, int)
        Of the pool: begin and end of the stretch that can be read now, and where the segment stands in it;
        (0, 0, 0) when the hole is not kept.
    """
    context = memory.context
    streams = memory.streams
    half = streams.halves[which]
    hole = streams.holes[half.mend - 1]
    if hole.owner != which + 1:
        half.mend = 0
        return 0, 0, 0
    place = (seq - hole.seq) & 0xFFFFFFFF
    size = end - at
    late = context.ts - hole.ts > HOLE_WAIT
    if late or not whole or place < hole.hole or place + size > hole.stop:
        drop_hole(streams, which)
        return 0, 0, 0
    base = (SLOTS + half.mend) * SLOT
    for i in range(size):
        streams.pool[base + place + i] = buf[at + i]
    hole.front = 1 if place == hole.hole else 0
    begin, stop = place, place + size
    if hole.front:
        begin = hole.first
        hole.hole = stop
        context.mode, context.left = hole.mode, hole.skip
    if stop == hole.stop:
        stop = hole.end
    if not hole.front:
        hole.edge = hole.stop
        hole.stop = place
    return base + begin, base + stop, base + place


@kernel
def settle_hole(memory: Any, pool: Any, which: int, begin: int, stop: int, first: int, rest: int) -> None:
    """After a stretch was read from ``begin`` up to ``rest``; ``first``: where its first PDU began."""
    streams = memory.streams
    half = streams.halves[which]
    if half.mend == 0:
        return
    hole = streams.holes[half.mend - 1]
    base = (SLOTS + half.mend) * SLOT
    if not hole.front:
        reached = stop - base == hole.end
        if first != NOTHING:
            if hole.open and reached:
                _join(memory, pool, half, rest, stop)
            hole.end = begin - base + first
            hole.open = 0
        elif not reached:
            hole.end = stop - base
            hole.open = 0
    elif hole.hole < hole.stop:
        hole.first = rest - base
        hole.skip, hole.mode = memory.context.left, memory.context.mode
    else:
        memory.counters[_MENDED] += 1
        if hole.open:
            _join(memory, pool, half, rest, stop)
        else:
            memory.counters[_UNDECODED] += stop - rest
        drop_hole(streams, which)


@kernel
def _join(memory: Any, pool: Any, half: Any, rest: int, stop: int) -> None:
    """The stream goes on behind what was read just now, not behind what was thought to be its order."""
    streams = memory.streams
    release(streams, half)
    if rest < stop and not keep(streams, half, pool, rest, stop):
        memory.counters[_LOST_WAITING] += 1
    half.skip, half.mode = memory.context.left, memory.context.mode
    half.gap = 0
