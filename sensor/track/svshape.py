"""The shape of a stream's frames: what differs only in smpCnt and in the sample is not parsed again.

What a savPdu says depends on its octets alone. When every octet before the sample but smpCnt is as in the
last frame that was parsed as a whole, and the frame is as long, parsing would give the same again: publishers
send 4,000 such frames a second. Only frames with one ASDU that ends with its sample have a shape; all others
(several ASDUs, refrTm, cut frames) are parsed each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.jit import kernel
from sensor.track.svstreams import RECENT, SHAPE, stream_key
from sensor.wire.octets import equal
from sensor.wire.sv import ASDUS, COUNT_AT, DATA, DATA_END, SET, SET_LENGTH, SIZE


@kernel
def known_shape(table: Any, buf: Any, at: int, end: int, src: int, dst: int, place: int) -> int:
    """Row of the stream whose shape this frame has, -1 none. ``at`` is behind the ethertype."""
    ends, used = stream_key(src, dst, place)
    found = np.int64(table.recent[_slot(ends, used)])
    key, stream = table.keys[found], table.streams[found]
    if stream.shape_end == 0 or end - at != stream.shape_end or key.ends != ends or key.place != used:
        return np.int64(-1)
    count = stream.shape_count
    if not equal(buf, at, stream.shape, 0, count):
        return np.int64(-1)
    rest = stream.shape_data - count - 2
    return found if equal(buf, at + count + 2, stream.shape, count + 2, rest) else np.int64(-1)


@kernel
def keep_shape(table: Any, found: int, buf: Any, at: int, end: int) -> None:
    """Remember the shape of a frame that was parsed without fault, if it has one."""
    head, asdu, key, stream = table.head, table.asdu, table.keys[found], table.streams[found]
    data, count = asdu[DATA] - at, asdu[COUNT_AT] - at
    if head[ASDUS] != 1 or asdu[COUNT_AT] < 0 or asdu[DATA_END] != end or data > SHAPE or count + 2 > data:
        return
    for i in range(data):
        stream.shape[i] = buf[at + i]
    stream.shape_end, stream.shape_data, stream.shape_count = end - at, data, count
    stream.shape_size = head[SIZE]
    stream.shape_set = asdu[SET] - at if asdu[SET] >= 0 else np.int64(-1)
    stream.shape_set_length = asdu[SET_LENGTH]
    table.recent[_slot(key.ends, key.place)] = found


@kernel
def _slot(ends: Any, used: Any) -> int:
    h = (ends * np.uint64(0x9E3779B97F4A7C15)) ^ (used * np.uint64(0xC2B2AE3D27D4EB4F))
    return np.int64((h >> np.uint64(40)) & np.uint64(RECENT - 1))
