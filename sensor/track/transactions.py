"""Requests that wait for their response, bounded (set-associative, oldest of a bucket gives way).

A request is known by its connection, transaction number, unit and function.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

BUCKETS: Final = 16_384
WAYS: Final = 4

REQUEST: Final = np.dtype(
    [
        ("key", "u8"),  # stream << 32 | transaction << 16 | unit << 8 | function; 0 free
        ("ts", "i8"),  # of the request
        ("frame", "i8"),  # of the request
        ("point", "i8"),  # first object asked for (the one read, where a function reads and writes)
        ("count", "i8"),  # objects asked for
    ]
)


@kernel
def request_key(stream: int, transaction: int, unit: int, function: int) -> Any:
    low = (np.uint64(transaction) << np.uint64(16)) | (np.uint64(unit) << np.uint64(8)) | np.uint64(function)
    return (np.uint64(stream + 1) << np.uint64(32)) | low


@kernel
def _bucket(requests: Any, key: Any) -> int:
    h = key * np.uint64(0x9E3779B97F4A7C15)
    h ^= h >> np.uint64(31)
    return np.int64(h & np.uint64(BUCKETS - 1)) * WAYS


@kernel
def remember(requests: Any, key: Any, ts: int, frame: int, point: int, count: int) -> None:
    """Store a request; one with the same key is replaced."""
    base = _bucket(requests, key)
    chosen = base
    for way in range(WAYS):
        entry = requests[base + way]
        if entry.key == key or entry.key == 0:
            chosen = base + way
            break
        if entry.ts < requests[chosen].ts:
            chosen = base + way
    entry = requests[chosen]
    entry.key = key
    entry.ts = ts
    entry.frame = frame
    entry.point = point
    entry.count = count


@kernel
def recall(requests: Any, key: Any) -> int:
    """Row of the request with this key, -1 none. It stays: a repeated response finds it again."""
    base = _bucket(requests, key)
    for way in range(WAYS):
        if requests[base + way].key == key:
            return base + way
    return -1
