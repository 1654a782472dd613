"""Sampled values are reduced: a row for what begins or happens, and one per stream and second that sums up.

A merging unit sends 4,000 frames a second and more; a row for each would drown everything else. A row is
written for the first frame of a stream, for every event (at most :data:`MAX_TOLD` in a second and stream; the
summary counts all), and, with the first frame of a later second of capture time, a summary of the second
before it, with RMS, frequency, losses and jitter as points. So the rows do not depend on how frames were
batched, and the last second of a capture has no summary.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import ANY_POINT, Flag
from sensor.jit import kernel
from sensor.track.state import ROLE_PUBLISHER, SV, Count, add_point, conversation, open_row
from sensor.track.svshape import keep_shape, known_shape
from sensor.track.svstreams import CHANNELS, clear_window, find_stream, id_hash, other_source
from sensor.track.table import SEED, intern
from sensor.wire.octets import be16, be32, signed
from sensor.wire.status import FOREIGN, MALFORMED, OK, TRUNCATED
from sensor.wire.sv import (
    ASDUS,
    BEHIND,
    COUNT,
    CUT,
    DATA,
    DATA_END,
    FIRST,
    ID,
    ID_LENGTH,
    LE_BYTES,
    MAX_COUNT,
    PAIR,
    RATE,
    REVISION,
    SET,
    SET_LENGTH,
    SIMULATED,
    SIZE,
    SYNCH,
    next_asdu,
    parse_sv,
)

KIND_FIRST: Final = 1
KIND_WINDOW: Final = 2
KIND_GAP: Final = 3
KIND_REPEAT: Final = 4
KIND_SYNCH: Final = 5
KIND_SECOND_SOURCE: Final = 6
KIND_CONFIG: Final = 7
KIND_QUALITY: Final = 8
KIND_UNREADABLE: Final = 9

POINT_RMS: Final = 1
POINT_METRIC: Final = 2
FREQUENCY, LOST, REPEATED, LONGEST, QUALITY = range(0xFF00, 0xFF05)
"""Kinds of POINT, and the entries of the metrics (``sensor.names`` has their names)."""

MAX_TOLD: Final = 32
SILENCE: Final = 2_000_000_000
"""A stream that was silent for so long (ns) begins anew."""

MAX_UNSEEN: Final = 16
"""Samples of one frame that are counted although the capture does not hold them."""

LEAST_WRAP: Final = 200
"""smpCnt returns to zero once a second; nothing that sends fewer samples measures a waveform."""

SECOND: Final = 1_000_000_000
QUALITY_TEST: Final = 0x800  # IEC 61850-7-3 quality, bit 11 as 9-2LE packs it
AMPERE, VOLT = 0.001, 0.01  # 9-2LE: 1 mA and 10 mV a count

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_TEST = int(Flag.TEST)
_ANY = int(ANY_POINT)
_FRAMES = int(Count.SV_FRAMES)
_EVICTED = int(Count.SV_EVICTED)


@kernel
def emit_sv(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    """One frame behind its ethertype. False when it is no savPdu."""
    table = memory.sv
    context = memory.context
    place = vlan << 16 | (be16(buf, at) if end - at >= 2 else 0)
    if end == wire_end:
        found = known_shape(table, buf, at, end, context.src, context.dst, place)
        if found >= 0 and abs(context.ts - table.keys[found].last) <= SILENCE:
            _again(memory, names, found, buf, at)
            return True
    head, asdu = table.head, table.asdu
    status = parse_sv(buf, at, end, head)
    if status == FOREIGN:
        return False
    memory.counters[_FRAMES] += 1
    here, behind, cut = head[FIRST], head[BEHIND], head[CUT] == 1
    good = np.int64(MALFORMED)
    for i in range(len(asdu)):
        asdu[i] = -1
    if 0 <= here < behind:
        good, here = next_asdu(buf, here, behind, cut, asdu)
    ident = id_hash(buf, max(asdu[ID], 0), max(asdu[ID_LENGTH], 0), names.texts.meta[SEED])
    found, last, evicted = find_stream(table, context.src, context.dst, place, ident, context.ts)
    memory.counters[_EVICTED] += evicted
    stream = table.streams[found]
    stream.shape_end = 0
    if last < 0:
        _introduce(memory, names, stream, buf, place)
    begins = last < 0 or abs(context.ts - last) > SILENCE
    _close_window(memory, stream, last < 0)
    events = _start(memory, stream, found) if begins else np.int64(0)
    _count_frame(stream, context.ts, last, head[SIZE], begins)
    events |= _configuration(table, stream, asdu, head[ASDUS])
    table.seq, table.set, table.set_length = asdu[COUNT], asdu[SET], asdu[SET_LENGTH]
    quality = stream.quality
    changed = stream.simulated != head[SIMULATED]
    stream.simulated = head[SIMULATED]
    asdus = 0
    while good == OK:
        asdus += 1
        events |= _count_sample(table, stream, asdu[COUNT])
        changed |= _measure(stream, buf, asdu[DATA], asdu[DATA_END])
        if here >= behind:
            break
        good, here = next_asdu(buf, here, behind, cut, asdu)
    if cut:
        events |= _count_unseen(table, stream, asdu[COUNT], asdus, head[ASDUS])
    if status == OK and (good != OK or asdus != head[ASDUS]):
        status = MALFORMED
    if status != OK and not (status == TRUNCATED and wire_end > end):
        status = MALFORMED
    stream.flags = _flags(stream, head[SIMULATED], status)
    if changed and asdus and not begins:
        events |= 1 << KIND_QUALITY
        table.was[KIND_QUALITY], table.amount[KIND_QUALITY] = quality, np.float64(stream.quality)
    if status == MALFORMED or status != stream.fault:
        events |= 1 << KIND_UNREADABLE
        table.was[KIND_UNREADABLE], table.amount[KIND_UNREADABLE] = stream.fault, np.float64(status)
    stream.fault = status
    if events:
        _tell(memory, names, stream, buf, events)
    if status == OK:
        keep_shape(table, found, buf, at, end)
    return True


@kernel
def _again(memory: Any, names: Any, found: int, buf: Any, at: int) -> None:
    """A frame of known shape: all that can be new in it is its time, smpCnt and the sample."""
    memory.counters[_FRAMES] += 1
    table, ts = memory.sv, memory.context.ts
    key, stream = table.keys[found], table.streams[found]
    last, key.last = key.last, ts
    _close_window(memory, stream, False)
    _count_frame(stream, ts, last, stream.shape_size, False)
    count, quality = be16(buf, at + stream.shape_count), stream.quality
    events = _count_sample(table, stream, count)
    if _measure(stream, buf, at + stream.shape_data, at + stream.shape_end):
        events |= 1 << KIND_QUALITY
        table.was[KIND_QUALITY], table.amount[KIND_QUALITY] = quality, np.float64(stream.quality)
        stream.flags = _flags(stream, stream.simulated, OK)
    if events:
        table.head[SIZE], table.seq = stream.shape_size, count
        table.set = at + stream.shape_set if stream.shape_set >= 0 else np.int64(-1)
        table.set_length = stream.shape_set_length
        _tell(memory, names, stream, buf, events)


@kernel
def _introduce(memory: Any, names: Any, stream: Any, buf: Any, place: int) -> None:
    """A stream that was never seen: what it is called, once."""
    asdu, context = memory.sv.asdu, memory.context
    stream.ident = intern(names.texts, buf, asdu[ID], asdu[ID_LENGTH]) if asdu[ID] >= 0 else 0
    stream.conv = conversation(
        memory, names, SV, context.src, context.dst, place & 0xFFFF, stream.ident, place >> 16
    )
    stream.lead, stream.level, stream.quality = -1, 0.0, 0
    stream.frames = 0
    stream.wrap = 0
    stream.synch, stream.asdus, stream.name = -1, -1, 0


@kernel
def _start(memory: Any, stream: Any, found: int) -> int:
    """The first frame, ever or after silence; returns its event."""
    table = memory.sv
    stream.count = -1
    stream.revision = -1
    stream.layout = -1
    stream.fault = OK
    stream.quality = 0
    table.amount[KIND_FIRST] = np.nan
    other = other_source(table, found, memory.context.ts - SILENCE) if stream.ident else np.int64(-1)
    if other >= 0:
        table.amount[KIND_SECOND_SOURCE] = np.nan
        table.was[KIND_SECOND_SOURCE] = table.streams[other].conv
        return np.int64(1 << KIND_SECOND_SOURCE)
    table.was[KIND_FIRST] = table.asdu[RATE]
    return np.int64(1 << KIND_FIRST)


@kernel
def _count_frame(stream: Any, ts: int, last: int, size: int, begins: bool) -> None:
    if stream.frames == 0:
        stream.first = ts
    if not begins:
        stream.longest = max(stream.longest, ts - last)
    stream.end = ts
    stream.frames += 1
    stream.bytes += max(size, 0)


@kernel
def _configuration(table: Any, stream: Any, asdu: Any, asdus: int) -> int:
    """Events: what should stay the same for as long as a stream lives, and its synchronisation."""
    if asdu[COUNT] < 0:
        return 0
    events = np.int64(0)
    layout = asdu[DATA_END] - asdu[DATA]
    if stream.revision >= 0 or stream.layout >= 0:
        same = stream.revision == asdu[REVISION] and stream.naming == asdu[SET_LENGTH]
        if not same or stream.layout != layout or stream.asdus != asdus:
            events |= 1 << KIND_CONFIG
            table.was[KIND_CONFIG], table.amount[KIND_CONFIG] = stream.revision, np.float64(layout)
        if stream.synch != asdu[SYNCH]:
            events |= 1 << KIND_SYNCH
            table.was[KIND_SYNCH], table.amount[KIND_SYNCH] = stream.synch, np.float64(asdu[SYNCH])
    stream.revision, stream.layout, stream.asdus = asdu[REVISION], layout, asdus
    stream.synch, stream.naming = asdu[SYNCH], asdu[SET_LENGTH]
    return events


@kernel
def _count_sample(table: Any, stream: Any, count: int) -> int:
    """smpCnt goes up by one and returns to 0 once a second; returns the event when it does not."""
    last = stream.count
    after = last + 1
    stream.count = count
    stream.samples += 1
    stream.at += 1
    if count >= stream.wrap:
        stream.wrap = 0  # it goes higher than was believed
    if last < 0 or count == after:
        return 0
    if count == 0 and (after == stream.wrap or (stream.wrap == 0 and after >= LEAST_WRAP)):
        stream.wrap = after
        return 0
    modulus = stream.wrap if stream.wrap else np.int64(65_536)
    ahead = (count - after) % modulus
    if count != last and ahead < modulus // 2:
        stream.lost += ahead
        stream.at += ahead
        table.was[KIND_GAP], table.amount[KIND_GAP] = after % modulus, np.float64(ahead)
        return 1 << KIND_GAP
    stream.repeats += 1
    stream.crossings = 0
    stream.armed = 0
    table.was[KIND_REPEAT], table.amount[KIND_REPEAT] = after % modulus, np.float64((last - count) % modulus)
    return 1 << KIND_REPEAT


@kernel
def _count_unseen(table: Any, stream: Any, count: int, seen: int, asdus: int) -> int:
    """Samples of a frame that the capture cut: they were sent, so that the next frame goes on behind them."""
    events = np.int64(0)
    if seen == 0:
        if count < 0 or count > MAX_COUNT:
            return events
        events |= _count_sample(table, stream, count)
        seen = 1
    for _ in range(min(asdus, MAX_UNSEEN) - seen):
        after = stream.count + 1
        events |= _count_sample(table, stream, 0 if after == stream.wrap or after > MAX_COUNT else after)
    return events


@kernel
def _measure(stream: Any, buf: Any, at: int, end: int) -> bool:
    """Energy, quality and zero crossings of one sample of pairs; other layouts are left alone.

    Returns whether the quality of a channel changed.
    """
    if (end - at) % PAIR or end == at:
        return False
    channels = min((end - at) // PAIR, CHANNELS)
    if stream.lead < 0 or stream.lead >= channels:
        _follow_largest(stream, buf, at, channels)
    energy, latest = stream.energy, stream.latest
    here = at
    changed = stream.sampled == 0  # a window begins with what is, not with what was or-ed before
    for i in range(channels):
        value = np.float64(signed(be32(buf, here), 32))
        energy[i] += value * value
        if be32(buf, here + 4) != latest[i]:
            changed = True
        here += PAIR
    if changed:
        changed = _qualities(stream, buf, at, channels)
    stream.sampled += 1
    _cross(stream, np.float64(signed(be32(buf, at + PAIR * stream.lead), 32)))
    return changed


@kernel
def _follow_largest(stream: Any, buf: Any, at: int, channels: int) -> None:
    """Until the energy of a window is known, the frequency is that of the largest value."""
    largest = np.int64(-1)
    for i in range(channels):
        value = abs(signed(be32(buf, at + PAIR * i), 32))
        if value > largest:
            largest, stream.lead = value, i


@kernel
def _qualities(stream: Any, buf: Any, at: int, channels: int) -> bool:
    """Note the quality of each channel; returns whether one changed."""
    latest, channel = stream.latest, stream.channel
    changed = False
    stream.quality = 0
    for i in range(channels):
        state = be32(buf, at + PAIR * i + 4)
        changed |= state != latest[i]
        latest[i] = state
        channel[i] |= state
        stream.quality |= state
    stream.states |= stream.quality
    return changed


@kernel
def _cross(stream: Any, value: float) -> None:
    """Note where the leading channel crosses zero upwards, between two samples."""
    if value < -stream.level:
        stream.armed = 1
    elif value >= 0.0 and stream.armed:
        stream.armed = 0
        where = np.float64(stream.at) - value / (value - stream.before) if stream.before < 0.0 else stream.at
        if stream.crossings == 0:
            stream.opening = where
        stream.closing = where
        stream.crossings += 1
    stream.before = value


@kernel
def _flags(stream: Any, simulated: int, status: int) -> int:
    flags = np.int64(0)
    if simulated == 1 or (stream.quality & QUALITY_TEST and stream.layout == LE_BYTES):
        flags |= np.int64(_TEST)
    if status == TRUNCATED:
        flags |= np.int64(_TRUNCATED)
    elif status == MALFORMED:
        flags |= np.int64(_MALFORMED)
    return flags


@kernel
def _row(memory: Any, stream: Any, kind: int) -> Any:
    context = memory.context
    context.role = ROLE_PUBLISHER
    context.stream = -1
    row = open_row(memory, SV, stream.conv)
    row.kind = kind
    row.cause = min(stream.revision, 0x7FFFFFFF)
    row.count = min(stream.asdus, 0x7FFFFFFF)
    row.seq = stream.count
    row.state = stream.synch
    row.name = stream.name
    row.ident = stream.ident
    if stream.ident:
        row.point = (np.int64(stream.ident) << 16) | _ANY
    row.flags |= np.uint32(stream.flags)
    return row


@kernel
def _tell(memory: Any, names: Any, stream: Any, buf: Any, events: int) -> None:
    """A row for each event of this frame, while the window has room for more."""
    table = memory.sv
    stream.name = intern(names.texts, buf, table.set, table.set_length) if table.set >= 0 else 0
    for kind in range(1, 16):
        if not (events >> kind) & 1:
            continue
        if kind != KIND_FIRST and kind != KIND_SECOND_SOURCE:
            if stream.told >= MAX_TOLD:
                continue
            stream.told += 1
        row = _row(memory, stream, kind)
        row.size = max(table.head[SIZE], 0)
        row.seq = table.seq
        row.aux = table.was[kind]
        row.value = table.amount[kind]


@kernel
def _close_window(memory: Any, stream: Any, fresh: bool) -> None:
    """Sum up the second before when this frame belongs to a later one, or the clock was set back."""
    second = memory.context.ts // SECOND
    if not fresh and stream.second - 1 <= second <= stream.second:
        return
    if stream.frames > 0:
        _summary(memory, stream)
    clear_window(stream)
    stream.second = second


@kernel
def _summary(memory: Any, stream: Any) -> None:
    span = stream.end - stream.first
    rate = np.nan
    if span > 0:
        rate = np.float64(stream.samples) * (stream.frames - 1) / stream.frames * SECOND / span
    nominal = np.float64(stream.wrap) if stream.wrap else rate
    frequency = np.nan
    if stream.crossings > 2 and stream.closing > stream.opening:
        frequency = (stream.crossings - 1) * nominal / (stream.closing - stream.opening)
    row = _row(memory, stream, KIND_WINDOW)
    row.count = min(stream.frames, 0x7FFFFFFF)
    row.size = min(stream.bytes, 0x7FFFFFFF)
    row.aux = np.int64(np.round(rate)) if rate == rate else np.int64(-1)
    row.value = frequency
    base = np.int64(stream.ident) << 16
    _effective(memory, stream, row, base)
    add_point(memory, row, POINT_METRIC, base | FREQUENCY, frequency, -1)
    add_point(memory, row, POINT_METRIC, base | LOST, np.float64(stream.lost), -1)
    add_point(memory, row, POINT_METRIC, base | REPEATED, np.float64(stream.repeats), -1)
    add_point(memory, row, POINT_METRIC, base | LONGEST, np.float64(stream.longest) / SECOND, -1)
    add_point(memory, row, POINT_METRIC, base | QUALITY, np.float64(stream.states), -1)


@kernel
def _effective(memory: Any, stream: Any, row: Any, base: int) -> None:
    """Points of the RMS of each channel; the strongest is followed for the frequency from now on."""
    if stream.sampled == 0 or stream.layout <= 0 or stream.layout % PAIR:
        return
    lead, most = np.int64(0), -1.0
    for i in range(min(stream.layout // PAIR, CHANNELS)):
        rms = np.sqrt(stream.energy[i] / stream.sampled)
        if rms > most:
            lead, most = np.int64(i), rms
        scale = 1.0
        if stream.layout == LE_BYTES:
            scale = AMPERE if i < 4 else VOLT
        quality = stream.channel[i]
        add_point(
            memory, row, POINT_RMS, base | i, rms * scale, quality if quality < 0x80000000 else np.int64(-1)
        )
    stream.lead = lead
    stream.level = most / 8.0
