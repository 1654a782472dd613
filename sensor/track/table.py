"""A bounded table that gives byte strings small numbers: endpoints, texts, conversations.

Numbers are handed out in order of first sight and never change during a run. Two are fixed:
:data:`EMPTY` is the empty string, :data:`FULL` stands for everything that came after the table was
full (counted in ``meta[REFUSED]``), so that a flood costs accuracy for the flood and no memory.

The hash is seeded per process: a sender cannot prepare strings that all fall into one chain.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be64, equal

EMPTY: Final = 0
FULL: Final = 1
COUNT, USED, REFUSED, SEED, CAPACITY, ARENA = range(6)
MAX_KEY: Final = 255
MAX_ENTRIES: Final = 65_536
MAX_ARENA: Final = 4 << 20

TABLE: Final = np.dtype(
    [
        ("slots", "i4", (2 * MAX_ENTRIES,)),  # number of the string in this slot, -1 free
        ("start", "i8", (MAX_ENTRIES + 1,)),  # where string i begins in arena; start[i + 1] is its end
        ("hashes", "u8", (MAX_ENTRIES,)),
        ("arena", "u1", (MAX_ARENA,)),
        ("meta", "i8", (6,)),  # COUNT, USED, REFUSED, SEED, CAPACITY, ARENA
    ]
)
"""One table as one record: a kernel gets it as one pointer, which keeps calls and compilation short."""


def make_table(capacity: int = MAX_ENTRIES, arena: int = MAX_ARENA) -> Any:
    """An empty table (TABLE record) for at most ``capacity`` strings of together ``arena`` bytes."""
    table = np.zeros(1, TABLE)
    table["slots"] = -1
    meta = table["meta"][0]
    meta[COUNT] = 2
    meta[SEED] = secrets.randbits(62)
    meta[CAPACITY] = min(capacity, MAX_ENTRIES)
    meta[ARENA] = min(arena, MAX_ARENA)
    return table[0]


@kernel
def _hash(buf: Any, start: int, length: int, seed: int) -> Any:
    """Octets in words of eight, each mixed in by a multiplication; then a finaliser (splitmix64)."""
    h = np.uint64(14695981039346656037) ^ np.uint64(seed) ^ np.uint64(length)
    at, end = start, start + length
    while at < end:
        word = np.uint64(0)
        if end - at >= 8:
            word = be64(buf, at)
            at += 8
        else:
            while at < end:
                word = (word << np.uint64(8)) | np.uint64(buf[at])
                at += 1
        h = (h ^ word) * np.uint64(0x9E3779B97F4A7C15)
        h ^= h >> np.uint64(29)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@kernel
def intern(table: Any, buf: Any, start: int, length: int) -> int:
    """Number of ``buf[start:start+length]``, given now if it is new; longer keys are cut to 255 bytes."""
    if length <= 0:
        return 0
    length = min(length, MAX_KEY)
    meta = table.meta
    h = _hash(buf, start, length, meta[3])
    mask = len(table.slots) - 1
    slot = np.int64(h & np.uint64(mask))
    while table.slots[slot] >= 0:
        ident = table.slots[slot]
        begin = table.start[ident]
        alike = table.hashes[ident] == h and table.start[ident + 1] - begin == length
        if alike and equal(table.arena, begin, buf, start, length):
            return np.int64(ident)
        slot = (slot + 1) & mask
    ident = meta[0]
    used = meta[1]
    if ident >= meta[4] or used + length > meta[5]:
        meta[2] += 1
        return 1
    for i in range(length):
        table.arena[used + i] = buf[start + i]
    table.start[ident] = used
    table.start[ident + 1] = used + length
    table.hashes[ident] = h
    table.slots[slot] = ident
    meta[0] = ident + 1
    meta[1] = used + length
    return np.int64(ident)


@kernel
def intern_spare(table: Any, buf: Any, start: int, length: int) -> int:
    """As :func:`intern`, but new ones only while the table is not half full.

    For what anybody may make up without end (names asked for, paths, topics): it must not take the names of
    relays and data sets.
    """
    meta = table.meta
    capacity, arena = meta[4], meta[5]
    meta[4], meta[5] = capacity // 2, arena // 2
    ident = intern(table, buf, start, length)
    meta[4], meta[5] = capacity, arena
    return ident


def lookup(table: Any, ident: int) -> bytes:
    """Bytes of one number; ``b""`` for EMPTY, FULL and numbers never given."""
    if ident <= FULL or ident >= int(table["meta"][COUNT]):
        return b""
    return bytes(table["arena"][int(table["start"][ident]) : int(table["start"][ident + 1])])
