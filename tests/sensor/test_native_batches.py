"""However a capture is cut into batches, the rows are the same, byte by byte."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.frames import FrameBatch
from sensor.messages import join_rows
from sensor.names import Names
from sensor.native import NativeEngine
from tests.lab import frames as f
from tests.reference.run import Native, Shot, frame_batch, registry, shots

S = 1_000_000_000


@lru_cache(maxsize=1)
def mixed() -> FrameBatch:
    """Every protocol, PDUs over segments, losses and repetitions, interleaved."""
    modbus = f.Talk("10.0.0.1", "10.0.0.2", 502)
    modbus.open(0)
    iec104 = f.Talk("10.0.0.1", "10.0.0.3", 2404, isn=(2**32 - 20, 2**32 - 40))
    iec104.open(5)
    frames: list[f.Stamped] = []
    for number in range(12):
        now = (1 + number) * S
        modbus.client(now, f.modbus_adu(number, 1, f.mb_read(3, 10 * number, 3)))
        modbus.server(now + 7, f.modbus_adu(number, 1, f.mb_read_response(3, [number, 2, 3])))
        apdu = f.apci_i(number, 0, f.asdu(13, 3, 1, [(number, f.e_float(number / 3))]))
        iec104.server(now + 8, apdu[: 3 + number] if number % 2 else apdu + apdu[:4])
        iec104.server(now + 9, apdu[3 + number :] if number % 2 else apdu[4:])
        if number == 5:
            modbus._next[0] += 40  # lost
        if number == 8:
            iec104.segment(now + 10, 1, f.ACK, apdu, seq=0xFFFFFFD9)
        entries = [f.g_bool(number > 6), f.g_struct([f.g_float(1.5), f.g_time(now)])]
        pdu = f.goose_pdu("LD/LLN0$GO$g", 2000, "LD/LLN0$d", "g", now, number // 3 + 1, number % 3, entries)
        frames.append((now + 11, f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:07", 1, pdu)))
        frames.append((now + 12, f.udp_frame("10.0.0.1", f"10.0.9.{number}", 5000, 53, b"?")))
    modbus.close(20 * S)
    frames = sorted(frames + modbus.frames + iec104.frames, key=lambda item: item[0])
    return frame_batch(shots(frames))


def rows_of(batches: list[FrameBatch]) -> tuple[bytes, bytes, dict[str, int], list[bool]]:
    names = Names(registry())
    engine = NativeEngine(names)
    parts, claimed = [], []
    for batch in batches:
        decoded = engine.decode(batch)
        assert (decoded.frame_ts == batch.ts).all()
        parts.append((decoded.messages, decoded.points))
        claimed += engine.unclaimed.tolist()
    messages, points = join_rows(parts)
    texts = np.array([names.conversation(i).key for i in messages["conv"].tolist()], object)
    assert len(texts) == len(messages)
    return messages.tobytes(), points.tobytes(), engine.counters, claimed


@lru_cache(maxsize=1)
def whole() -> tuple[bytes, bytes, dict[str, int], list[bool]]:
    return rows_of([mixed()])


def test_the_mix_is_a_mix() -> None:
    _, _, counters, _ = whole()
    assert counters["gaps"]
    assert counters["retransmitted"]
    assert min(len(part) for part in whole()[:2]) > 0


def test_frame_by_frame() -> None:
    batch = mixed()
    assert rows_of([batch.take(slice(i, i + 1)) for i in range(len(batch))]) == whole()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 200), max_size=20))
def test_any_chopping(cuts: list[int]) -> None:
    """Empty batches too."""
    batch = mixed()
    edges = [0, *sorted(min(cut, len(batch)) for cut in cuts), len(batch)]
    assert rows_of([batch.take(slice(a, b)) for a, b in pairwise(edges)]) == whole()


def test_a_batch_of_copied_bytes() -> None:
    """Frames that lie anywhere in their buffer, in any order of bytes."""
    batch = mixed()
    order = np.random.default_rng(1).permutation(len(batch))
    offset = np.zeros(len(batch), np.int64)
    data = b""
    for row in order:
        offset[row] = len(data)
        data += batch.frame(int(row)) + b"\xff" * 5
    moved = FrameBatch(
        np.frombuffer(data, np.uint8), offset, batch.caplen, batch.wirelen, batch.ts, batch.link, batch.number
    )
    assert rows_of([moved]) == whole()


def test_times_that_run_backwards_are_counted_whatever_the_batches() -> None:
    times = [5, 9, 7, 8, 9, 10, 1]
    frames = [Shot(ts, f.udp_frame("10.0.0.1", "10.0.0.2", 7, 9_999, bytes(30))) for ts in times]
    for size in (1, 3, 7):
        native = Native()
        for start in range(0, len(frames), size):
            native.feed(frames[start : start + size])
        assert native.counters["backwards"] == 3
