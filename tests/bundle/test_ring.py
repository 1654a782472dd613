"""The memory of the latest frames: bounded, and honest about what it no longer holds."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sensor.bundle.ring import Cut, FrameRing
from sensor.capture.pcapfile import CaptureFile
from tests.bundle.samples import SECOND, frames
from tests.daemon.process import DEMO

PLENTY = 1 << 30


def cut(ring: FrameRing, start: float, end: float, most: int = PLENTY, snaplen: int = 1 << 18) -> Cut:
    return ring.cut(round(start * SECOND), round(end * SECOND), most, snaplen)


def read(made: Cut, path: Path) -> list[bytes]:
    path.write_bytes(made.pcapng)
    return [batch.frame(row) for batch in CaptureFile(path).batches() for row in range(len(batch))]


def test_a_stretch_of_time_is_cut_frame_by_frame(tmp_path: Path) -> None:
    ring = FrameRing(PLENTY)
    ring.add(frames([0, 1, 2], first=1))
    ring.add(frames([3, 4, 5], first=4))
    made = cut(ring, 2, 4)
    assert made.numbers.tolist() == [3, 4, 5]
    assert (made.first, made.last) == (2 * SECOND, 4 * SECOND)
    assert made.incomplete == []
    assert [frame[0] for frame in read(made, tmp_path / "a.pcapng")] == [3, 4, 5]


def test_batches_cut_anywhere_give_the_same_slice() -> None:
    whole = next(CaptureFile(DEMO / "bad_day.pcap.gz").batches(max_frames=5_000))
    start, end = int(whole.ts[1_000]), int(whole.ts[3_500])
    one = FrameRing(PLENTY)
    one.add(whole)
    wanted = one.cut(start, end, PLENTY, 96)
    order = random.Random(7)
    for _ in range(5):
        ring = FrameRing(PLENTY)
        edges = sorted({0, len(whole), *order.sample(range(len(whole)), 40)})
        for begin, stop in pairwise(edges):
            ring.add(whole.take(slice(begin, stop)))
        made = ring.cut(start, end, PLENTY, 96)
        assert made.pcapng == wanted.pcapng
        assert made.numbers.tolist() == wanted.numbers.tolist()


def test_memory_is_bounded_by_bytes_and_the_oldest_goes_first() -> None:
    ring = FrameRing(100_000)
    for number in range(400):
        ring.add(frames([number], size=1_500, first=number + 1))
        assert ring.bytes <= 100_000
    assert ring.dropped > 300
    held = cut(ring, 0, 400).numbers.tolist()
    assert held == list(range(401 - len(held), 401))
    assert ring.dropped + len(held) == 400


def test_buffers_shared_by_batches_count_once_and_until_the_last() -> None:
    ring = FrameRing(PLENTY)
    whole = frames([float(n) for n in range(100)], size=10_000)
    ring.add(whole)
    alone = ring.bytes
    ring.add(whole.take(slice(0, 50)))
    ring.add(whole.take(slice(50, 100)))
    assert ring.bytes < alone + 20_000
    ring.forget(200 * SECOND)
    assert ring.bytes == 0


def test_what_was_dropped_makes_a_slice_incomplete_only_where_it_was() -> None:
    ring = FrameRing(20_000)
    for number in range(40):
        ring.add(frames([number], size=1_000, first=number + 1))
    assert "did not reach back" in cut(ring, 0, 39).incomplete[0]
    assert cut(ring, 38, 39).incomplete == []


def test_time_before_the_first_frame_was_not_watched() -> None:
    ring = FrameRing(PLENTY)
    ring.add(frames([100, 101]))
    assert "had not been watching" in cut(ring, 95, 101).incomplete[0]
    assert cut(ring, 100, 101).incomplete == []
    assert "had not been watching" in cut(FrameRing(10), 1, 2).incomplete[0]


@pytest.mark.parametrize("batches", [1, 10])
def test_a_slice_has_a_largest_size_and_keeps_what_it_is_about(batches: int) -> None:
    ring = FrameRing(PLENTY)
    step = 100 // batches
    for begin in range(0, 100, step):
        ring.add(frames([float(n) for n in range(begin, begin + step)], size=1_000, first=begin + 1))
    for focus, low, high in ((50, 42, 58), (0, 0, 8), (99, 84, 99)):
        made = ring.cut(0, 100 * SECOND, 22_000, 1 << 18, focus * SECOND)
        assert len(made.pcapng) <= 22_000
        assert "was cut at 22,000 bytes" in made.incomplete[0]
        assert made.numbers.tolist() == list(range(made.numbers[0], made.numbers[-1] + 1))
        assert focus + 1 in made.numbers
        assert made.numbers[0] - 1 <= low + 1
        assert made.numbers[-1] - 1 >= high - 1


def test_snaplen_shortens_frames_and_keeps_their_length_on_the_wire(tmp_path: Path) -> None:
    ring = FrameRing(PLENTY)
    ring.add(frames([0, 1], size=1_000))
    made = cut(ring, 0, 1, snaplen=64)
    path = tmp_path / "a.pcapng"
    assert [len(frame) for frame in read(made, path)] == [64, 64]
    batch = next(iter(CaptureFile(path).batches()))
    assert batch.wirelen.tolist() == [1_000, 1_000]


def test_losses_of_the_capture_are_told() -> None:
    ring = FrameRing(PLENTY)
    ring.add(frames([0, 1], lost=7))
    assert cut(ring, 0, 1).lost == 7
    assert cut(ring, 1, 1).lost == 0


@pytest.mark.parametrize("wanted", [[], [5], [1, 6, 99]])
def test_times_of_frames_that_are_still_there(wanted: list[int]) -> None:
    ring = FrameRing(PLENTY)
    ring.add(frames([0, 1, 2], first=1))
    ring.add(frames([3, 4, 5], first=4))
    assert ring.times(wanted) == {n: (n - 1) * SECOND for n in wanted if n <= 6}
    assert np.array(list(ring.times(wanted))).size == len([n for n in wanted if n <= 6])
