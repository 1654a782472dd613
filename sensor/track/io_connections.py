"""I/O connections of CIP by the forward open that made them, bounded (set-associative, oldest gives way).

An I/O packet tells a connection id and nothing else. Who receives chooses the id (CIP volume 1, 3-5.5), so
that receiver and id name a connection; of a multicast connection the sender chooses, and its group is learned
from its first packet. A connection ends with its forward close, or when its sender was silent for
:data:`TIMED_OUT`: what comes then may be of an opening that nobody saw.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import le32

BUCKETS: Final = 2_048
WAYS: Final = 4
TIMED_OUT: Final = 60_000_000_000
"""ns; devices wait a few packet intervals, which are under a second but for odd sites."""

IO_CONNECTION: Final = np.dtype(
    [
        ("key", "u8"),  # see below; 0 free
        ("last", "i8"),  # ns, when it was opened or its sender last heard
        ("frame", "i8"),  # of the request that opened it
        ("sender", "i8"),  # endpoint that may send in it
        ("first", "u8"),  # of a triad: key of O->T; of a multicast connection: key of its group
        ("second", "u8"),  # of a triad: key of T->O
        ("ident", "i8"),  # of a triad: O->T id
    ]
)

RECEIVED, SENT, TRIAD_OF = 1, 2, 3
"""What a key is made of: receiver and id, sender and id, target and triad; its two highest bits."""


@kernel
def io_key(sort: int, endpoint: int, ident: int) -> Any:
    """Key of a connection id at an endpoint."""
    low = (np.uint64(endpoint) << np.uint64(32)) | np.uint64(ident)
    return (np.uint64(sort) << np.uint64(62)) | low


@kernel
def triad_key(buf: Any, at: int, server: int) -> Any:
    """Key of the triad ``buf[at:at + 8]`` at a target."""
    h = (np.uint64(le32(buf, at)) << np.uint64(32)) | np.uint64(le32(buf, at + 4))
    h = (h ^ (np.uint64(server) * np.uint64(0xC2B2AE3D27D4EB4F))) * np.uint64(0x9E3779B97F4A7C15)
    h ^= h >> np.uint64(31)
    return (np.uint64(TRIAD_OF) << np.uint64(62)) | (h >> np.uint64(2))


@kernel
def _bucket(key: Any) -> int:
    h = key * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h ^ (h >> np.uint64(31))) & np.uint64(BUCKETS - 1)) * WAYS


@kernel
def io_find(table: Any, key: Any) -> int:
    """Row of a key, -1 none."""
    base = _bucket(key)
    for way in range(WAYS):
        if table[base + way].key == key:
            return base + way
    return -1


@kernel
def _put(table: Any, key: Any, ts: int, frame: int, sender: int) -> tuple[int, int]:
    """(row of a key that is made or replaced, 1 when another one gave way)."""
    base = _bucket(key)
    chosen = base
    for way in range(WAYS):
        entry = table[base + way]
        if entry.key == key or entry.key == 0:
            chosen = base + way
            break
        if entry.last < table[chosen].last:
            chosen = base + way
    entry = table[chosen]
    evicted = 1 if entry.key != 0 and entry.key != key else 0
    entry.key = key
    entry.last = ts
    entry.frame = frame
    entry.sender = sender
    entry.first = 0
    entry.second = 0
    entry.ident = -1
    return chosen, evicted


@kernel
def io_opened(
    table: Any,
    buf: Any,
    at: int,
    ts: int,
    frame: int,
    client: int,
    server: int,
    multicast: bool,
) -> int:
    """Take what the answer ``buf[at:at + 16]`` to a forward open says; returns how many others gave way."""
    ident, back = le32(buf, at), le32(buf, at + 4)
    first = io_key(RECEIVED, server, ident)
    second = io_key(SENT, server, back) if multicast else io_key(RECEIVED, client, back)
    _, one = _put(table, first, ts, frame, client)
    _, two = _put(table, second, ts, frame, server)
    place, three = _put(table, triad_key(buf, at + 8, server), ts, frame, -1)
    entry = table[place]
    entry.first = first
    entry.second = second
    entry.ident = ident
    return one + two + three


@kernel
def io_closed(table: Any, buf: Any, at: int, server: int) -> int:
    """Forget the connection of the triad ``buf[at:at + 8]``; its O->T id, -1 unknown."""
    place = io_find(table, triad_key(buf, at, server))
    if place < 0:
        return -1
    entry = table[place]
    _drop(table, entry.first, entry.frame)
    _drop(table, entry.second, entry.frame)
    entry.key = 0
    return np.int64(entry.ident)


@kernel
def _drop(table: Any, key: Any, frame: int) -> None:
    """Forget one direction, and its group, unless a later opening took its place."""
    place = io_find(table, key)
    if place < 0 or table[place].frame != frame:
        return
    entry = table[place]
    entry.key = 0
    group = io_find(table, entry.first) if entry.first != 0 else -1
    if group >= 0:
        table[group].key = 0


@kernel
def io_packet(table: Any, ts: int, src: int, dst: int, ident: int) -> tuple[int, int]:
    """Row of the connection that a packet belongs to by receiver and id, -1 unknown; how many gave way."""
    evicted = 0
    place = io_find(table, io_key(RECEIVED, dst, ident))
    if place < 0 or ts - table[place].last > TIMED_OUT:
        sent = io_find(table, io_key(SENT, src, ident))
        if sent < 0 or ts - table[sent].last > TIMED_OUT:
            return -1, 0
        key = io_key(RECEIVED, dst, ident)
        frame = table[sent].frame
        table[sent].last = ts
        table[sent].first = key
        place, evicted = _put(table, key, ts, frame, src)
    entry = table[place]
    if entry.sender == src:
        entry.last = ts
    return place, evicted
