"""TCP connections: bounded table, order of segments, bytes of a PDU that spans segments.

A set-associative table: each bucket holds :data:`WAYS` connections, a newcomer takes the place of one that
never carried data, else of the one heard least recently. A flood of invented connections costs old
connections of the same buckets and no memory. Sequence arithmetic is RFC 9293 section 3.4 (modulo 2**32).

Waiting bytes live in a pool of fixed slots. Of a PDU longer than a slot the head is read and the rest
skipped by its length; an empty pool gives the bytes up and counts them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

WAYS: Final = 8
SLOT: Final = 16_384

TAIL: Final = 64
"""Last bytes of each direction that are kept to compare a repetition with."""

WINDOW: Final = 1 << 20
"""Bytes that a segment may be away from its place. Farther off it is believed only when a second follows
it: a forged segment would otherwise lead the sensor away from a stream that the device goes on reading."""

BUCKETS: Final = 4096
SLOTS: Final = 2048

HOLES: Final = 64
"""Holes that are kept until late segments fill them; each has a slot of its own (``sensor.track.holes``)."""

FLOW: Final = np.dtype(
    [
        ("key1", "u8"),  # the two endpoint ids, smaller side first
        ("key2", "u8"),  # the two ports, same order, plus bit 63: in use
        ("last", "i8"),  # ts of the last segment
        ("stream", "i8"),  # number of the connection
        ("conv", "i8"),  # conversation id of proto, -1 not yet known
        ("tcp", "i8"),  # conversation id under protocol "tcp"
        ("proto", "i8"),  # native protocol that owns a port of it, 0 none
        ("client", "i8"),  # direction (0 or 1) in which the side that opened it sends
        ("master", "i8"),  # direction in which the protocol's client sends: not the owner of its port
        ("opened", "i8"),  # a SYN was seen
        ("told", "i8"),  # its first data were reported
        ("heard", "i8"),  # it carried data
        ("holed", "i8"),  # bytes of it are missing, and not yet acknowledged
        ("app", "i8", (4,)),  # for the protocol's decoder, zero when the connection begins
    ]
)

HALF: Final = np.dtype(
    [
        ("next", "i8"),  # sequence number expected, -1 unknown
        ("slot", "i8"),  # pool slot with waiting bytes, 0 none
        ("have", "i8"),  # how many wait
        ("gap", "i8"),  # bytes before the next message are missing
        ("hole", "i8"),  # where the latest missing bytes begin
        ("missing", "i8"),  # how many they are, 0 none
        ("unseen", "i8"),  # bytes of all holes that nobody acknowledged yet and no late segment filled
        ("edge", "i8"),  # sequence number behind the latest of them
        ("since", "i8"),  # ts of the segment that showed it
        ("other", "i8"),  # sequence number that follows on a segment far outside the window, -1 none
        ("recent", "i8"),  # bytes before ``next`` that ``tail`` holds
        ("tail", "u1", (TAIL,)),
        ("skip", "i8"),  # bytes that still belong to a PDU too long to keep, whose head was read
        ("part", "i8"),  # pool slot in which the protocol's decoder gathers fragments, 0 none
        ("parts", "i8"),  # bytes gathered there
        ("mode", "i8"),  # what the protocol's decoder expects next, 0 a message
        ("mend", "i8"),  # 1 + the hole that is kept, 0 none
        ("dull", "i8"),  # the latest hole lies in bytes that would have been skipped
    ]
)

HOLE: Final = np.dtype(
    [
        ("owner", "i8"),  # 1 + row of halves, 0 free
        ("ts", "i8"),  # when the segment behind it came
        ("seq", "i8"),  # sequence number of the first byte of its slot
        ("first", "i8"),  # places in the slot, see sensor.track.holes
        ("hole", "i8"),
        ("stop", "i8"),
        ("end", "i8"),
        ("edge", "i8"),  # where the segment that was kept last begins
        ("open", "i8"),  # no PDU was read behind it yet
        ("cut", "i8"),  # the segment that was kept last was not kept whole
        ("front", "i8"),  # the segment that came late last follows on what is before the hole
        ("skip", "i8"),  # as in HALF, at ``first``
        ("mode", "i8"),
    ]
)

STREAMS: Final = np.dtype(
    [
        ("flows", FLOW, (BUCKETS * WAYS,)),
        ("halves", HALF, (2 * BUCKETS * WAYS,)),  # two for each flow, by direction
        ("holes", HOLE, (HOLES,)),
        ("pool", "u1", ((1 + SLOTS + HOLES) * SLOT,)),  # the first slot is nobody's
        ("free", "i8", (SLOTS + 1,)),  # stack of free slots; [0] is its height
        ("serial", "i8", (1,)),  # connections numbered so far
    ]
)
"""State of all connections, one record."""


def clear_streams(streams: Any) -> None:
    """Make a zeroed STREAMS record ready for use; pages of connections that never come stay untouched."""
    streams["free"][0] = SLOTS
    streams["free"][1:] = np.arange(1, SLOTS + 1)


@kernel
def release(streams: Any, half: Any) -> None:
    """Give up the waiting bytes of one direction."""
    if half.slot > 0:
        streams.free[0] += 1
        streams.free[streams.free[0]] = half.slot
        half.slot = 0
    half.have = 0


@kernel
def gather(streams: Any, half: Any, buf: Any, at: int, end: int) -> bool:
    """Add a fragment to what the protocol's decoder gathers; False (and all given up) without room."""
    if half.part == 0:
        if streams.free[0] == 0:
            return False
        half.part = streams.free[streams.free[0]]
        streams.free[0] -= 1
        half.parts = 0
    size = end - at
    if half.parts + size > SLOT:
        drop_parts(streams, half)
        return False
    base = half.part * SLOT + half.parts
    for i in range(size):
        streams.pool[base + i] = buf[at + i]
    half.parts += size
    return True


@kernel
def drop_parts(streams: Any, half: Any) -> None:
    """Forget the fragments of one direction."""
    if half.part > 0:
        streams.free[0] += 1
        streams.free[streams.free[0]] = half.part
        half.part = 0
    half.parts = 0


@kernel
def restart(streams: Any, index: int) -> None:
    """Begin a new connection in place of the old one with the same addresses and ports."""
    flow = streams.flows[index]
    flow.stream = streams.serial[0]
    streams.serial[0] += 1
    flow.opened = 0
    flow.told = 0
    flow.heard = 0
    flow.holed = 0
    flow.conv = -1
    flow.tcp = -1
    flow.proto = 0
    for i in range(len(flow.app)):
        flow.app[i] = 0
    for side in range(2):
        half = streams.halves[2 * index + side]
        release(streams, half)
        drop_parts(streams, half)
        half.next = -1
        half.gap = 0
        half.skip = 0
        half.missing = 0
        half.unseen = 0
        half.other = -1
        half.recent = 0
        half.mode = 0
        half.mend = 0
        half.dull = 0


@kernel
def find_flow(streams: Any, src: int, dst: int, sport: int, dport: int, ts: int) -> tuple[int, int, bool]:
    """(row of the connection, direction of this segment, is it new)."""
    side = 0
    if src > dst or (src == dst and sport > dport):
        side = 1
        src, dst, sport, dport = dst, src, dport, sport
    key1 = (np.uint64(src) << np.uint64(32)) | np.uint64(dst)
    key2 = (np.uint64(1) << np.uint64(63)) | (np.uint64(sport) << np.uint64(16)) | np.uint64(dport)
    h = (key1 * np.uint64(0x9E3779B97F4A7C15)) ^ (key2 * np.uint64(0xC2B2AE3D27D4EB4F))
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    base = np.int64(h & np.uint64(BUCKETS - 1)) * WAYS
    oldest = base
    for way in range(WAYS):
        flow = streams.flows[base + way]
        if flow.key1 == key1 and flow.key2 == key2:
            flow.last = ts
            return base + way, side, False
        if flow.key2 == 0:
            oldest = base + way
            break
        rival = streams.flows[oldest]
        if flow.heard < rival.heard or (flow.heard == rival.heard and flow.last < rival.last):
            oldest = base + way
    restart(streams, oldest)
    flow = streams.flows[oldest]
    flow.key1 = key1
    flow.key2 = key2
    flow.last = ts
    return oldest, side, True


@kernel
def order(half: Any, seq: int, length: int) -> tuple[int, int]:
    """Where a segment with data stands in its direction.

    Returns
    -------
    (int, int)
        (verdict, bytes to skip): 0 in order; 1 first ever; 2 bytes before it are missing; 3 all of it was
        here before; 4 its tail is new, skip the head; 5 it fills a hole left before; 6 far outside the
        window; 7 it was here before but for the hole, which it covers. State is moved on.
    """
    after = (seq + length) & 0xFFFFFFFF
    if half.next < 0:
        half.next = after
        return 1, 0
    ahead = (seq - half.next) & 0xFFFFFFFF
    if ahead == 0:
        half.next = after
        half.other = -1
        return 0, 0
    behind = 0x100000000 - ahead
    if min(ahead, behind) > WINDOW:
        if half.other != seq:
            half.other = after
            return 6, 0
        half.missing = 0
        half.other = -1
        half.next = after
        return 2, 0
    if ahead < 0x80000000:
        half.hole = half.next
        half.missing = ahead
        half.next = after
        return 2, 0
    if length <= behind:
        return (5, np.int64(0)) if _fills(half, seq, length) else _covers(half, seq, length)
    half.next = after
    return 4, behind


@kernel
def _covers(half: Any, seq: int, length: int) -> tuple[int, int]:
    """(7, bytes before the hole) when a repetition holds all of a hole and more, else (3, 0)."""
    before = (half.hole - seq) & 0xFFFFFFFF
    if half.missing > 0 and before + half.missing <= length:
        return 7, before
    return 3, 0


@kernel
def _fills(half: Any, seq: int, length: int) -> bool:
    """Does a late segment lie inside the hole? What stays open is the part before it."""
    begin = (seq - half.hole) & 0xFFFFFFFF
    if half.missing == 0 or begin + length > half.missing:
        return False
    if begin == 0:
        half.hole = (seq + length) & 0xFFFFFFFF
        half.missing -= length
    else:
        half.missing = begin
    return True


@kernel
def differs(half: Any, seq: int, buf: Any, at: int, end: int) -> bool:
    """Do bytes that were here before differ from what was here? Only the last :data:`TAIL` are known."""
    known = (half.next - half.recent) & 0xFFFFFFFF
    first = (seq - known) & 0xFFFFFFFF
    if first >= 0x80000000:
        at += 0x100000000 - first
        first = 0
    while at < end and first < half.recent:
        if buf[at] != half.tail[first]:
            return True
        at += 1
        first += 1
    return False


@kernel
def remember_tail(half: Any, buf: Any, at: int, end: int, joined: bool) -> None:
    """Keep the last bytes before ``half.next``; ``joined``: they follow on those that are kept."""
    size = end - at
    old = half.recent if joined else 0
    if size >= TAIL:
        at, size, old = end - TAIL, TAIL, 0
    drop = max(0, old + size - TAIL)
    for i in range(old - drop):
        half.tail[i] = half.tail[i + drop]
    old -= drop
    for i in range(size):
        half.tail[old + i] = buf[at + i]
    half.recent = old + size


@kernel
def keep(streams: Any, half: Any, buf: Any, at: int, end: int) -> bool:
    """Add bytes to those that wait; False (and all given up) when there is no room."""
    if half.slot == 0:
        if streams.free[0] == 0:
            return False
        half.slot = streams.free[streams.free[0]]
        streams.free[0] -= 1
        half.have = 0
    size = end - at
    if half.have + size > SLOT:
        release(streams, half)
        return False
    base = half.slot * SLOT + half.have
    for i in range(size):
        streams.pool[base + i] = buf[at + i]
    half.have += size
    return True
