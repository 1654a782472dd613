"""Streams of sampled values: a bounded table, and what is remembered of each.

Set-associative: a newcomer takes the place of the stream of its bucket that was heard least recently. The
keys stand apart from the rest, so that a look-up and the search for a second source of an svID stay short.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be64

BUCKETS: Final = 256
WAYS: Final = 4
CHANNELS: Final = 32
"""Values of a sample that are followed; IEC 61869-9 allows more, nobody sends them."""

SHAPE: Final = 192
"""Octets before the sample that a shape may have."""

RECENT: Final = 1024

SV_KEY: Final = np.dtype(
    [
        ("ends", "u8"),  # source and destination, endpoint ids
        ("place", "u8"),  # APPID, VLAN, and bit 63: in use
        ("ident", "u8"),  # seeded hash of the svID
        ("last", "i8"),  # ts of its last frame
    ]
)

SV_STREAM: Final = np.dtype(
    [
        ("conv", "i8"),
        ("ident", "i8"),  # text id of the svID
        ("name", "i8"),  # text id of the dataset, 0 none
        ("count", "i8"),  # last smpCnt, -1 unknown
        ("wrap", "i8"),  # smpCnt returns to 0 here, 0 unknown
        ("revision", "i8"),
        ("synch", "i8"),
        ("naming", "i8"),  # length of datSet, -1 absent
        ("asdus", "i8"),  # in one frame
        ("layout", "i8"),  # bytes of a sample
        ("simulated", "i8"),  # simulation bit of the last frame
        ("quality", "i8"),  # of the last sample, all channels or-ed
        ("fault", "i8"),  # status of the last frame
        ("flags", "i8"),  # of the last frame
        # the window
        ("second", "i8"),  # its number: whole seconds of capture time
        ("first", "i8"),  # ts of its first frame
        ("end", "i8"),  # ts of its last frame
        ("frames", "i8"),
        ("bytes", "i8"),
        ("samples", "i8"),
        ("sampled", "i8"),  # samples that went into the energy
        ("lost", "i8"),
        ("repeats", "i8"),
        ("longest", "i8"),  # ns between two frames
        ("states", "i8"),  # quality, or-ed
        ("told", "i8"),  # event rows
        # zero crossings of one channel
        ("lead", "i8"),
        ("armed", "i8"),  # it was clearly below zero
        ("at", "i8"),  # number of this sample in the window
        ("crossings", "i8"),
        ("before", "f8"),
        ("level", "f8"),  # what is clearly below zero
        ("opening", "f8"),  # where it first crossed, in samples
        ("closing", "f8"),  # where last
        ("energy", "f8", (CHANNELS,)),
        ("channel", "i8", (CHANNELS,)),  # quality of each channel, or-ed
        ("latest", "i8", (CHANNELS,)),  # quality of each channel in the last sample
        # its frames' shape (see svshape), offsets behind the ethertype
        ("shape_end", "i8"),  # length of such a frame, 0 unknown
        ("shape_count", "i8"),  # of smpCnt
        ("shape_data", "i8"),  # of the sample
        ("shape_set", "i8"),  # of datSet, -1 absent
        ("shape_set_length", "i8"),
        ("shape_size", "i8"),  # bytes of the message
        ("shape", "u1", (SHAPE,)),
    ]
)

SV_TABLE: Final = np.dtype(
    [
        ("keys", SV_KEY, (BUCKETS * WAYS,)),
        ("streams", SV_STREAM, (BUCKETS * WAYS,)),
        ("recent", "i8", (RECENT,)),  # row of the stream that last had a shape, by source and place
        ("head", "i8", (6,)),
        ("asdu", "i8", (11,)),
        ("seq", "i8"),  # smpCnt of the frame's first ASDU
        ("set", "i8"),  # offset of its datSet, -1 absent
        ("set_length", "i8"),
        ("amount", "f8", (16,)),  # of each kind of event in this frame
        ("was", "i8", (16,)),
    ]
)
"""All streams and the room in which a frame is taken apart, one record."""


@kernel
def id_hash(buf: Any, at: int, length: int, seed: int) -> Any:
    """Seeded hash of an svID, eight octets at a time."""
    h = np.uint64(seed) ^ (np.uint64(length) * np.uint64(0x9E3779B97F4A7C15))
    end = at + length
    while end - at >= 8:
        h = (h ^ be64(buf, at)) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
        at += 8
    word = np.uint64(0)
    while at < end:
        word = (word << np.uint64(8)) | np.uint64(buf[at])
        at += 1
    h = (h ^ word) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@kernel
def stream_key(src: int, dst: int, place: int) -> tuple[Any, Any]:
    """Columns ``ends`` and ``place`` of a stream's key."""
    ends = (np.uint64(src) << np.uint64(32)) | np.uint64(dst)
    return ends, np.uint64(place) | (np.uint64(1) << np.uint64(63))


@kernel
def find_stream(table: Any, src: int, dst: int, place: int, ident: Any, ts: int) -> tuple[int, int, bool]:
    """(row, ts of its last frame or -1 for a new one, did an old stream give way to it)."""
    ends, used = stream_key(src, dst, place)
    h = (ends * np.uint64(0x9E3779B97F4A7C15)) ^ (used * np.uint64(0xC2B2AE3D27D4EB4F)) ^ ident
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    base = np.int64((h >> np.uint64(32)) & np.uint64(BUCKETS - 1)) * WAYS
    oldest = base
    for way in range(WAYS):
        key = table.keys[base + way]
        if key.ident == ident and key.ends == ends and key.place == used:
            last = key.last
            key.last = ts
            return base + way, last, False
        if key.place == 0:
            oldest = base + way
            break
        if key.last < table.keys[oldest].last:
            oldest = base + way
    key = table.keys[oldest]
    evicted = key.place != 0
    key.ends, key.place, key.ident, key.last = ends, used, ident, ts
    return oldest, np.int64(-1), evicted


@kernel
def other_source(table: Any, found: int, since: int) -> int:
    """Row of another stream with the same svID from another source that was heard since then, -1 none."""
    mine = table.keys[found]
    for i in range(len(table.keys)):
        key = table.keys[i]
        same = key.ident == mine.ident and key.place != 0 and key.last >= since
        if same and key.ends >> np.uint64(32) != mine.ends >> np.uint64(32):
            return np.int64(i)
    return np.int64(-1)


@kernel
def clear_window(stream: Any) -> None:
    """Begin a window; what is known of the stream itself stays."""
    stream.frames = 0
    stream.bytes = 0
    stream.samples = 0
    stream.sampled = 0
    stream.lost = 0
    stream.repeats = 0
    stream.longest = 0
    stream.states = 0
    stream.told = 0
    stream.at = 0
    stream.crossings = 0
    stream.armed = 0
    energy, channel = stream.energy, stream.channel
    for i in range(CHANNELS):
        energy[i] = 0.0
        channel[i] = 0
