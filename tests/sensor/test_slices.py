"""Slices depend on the frames and their order, never on how they were batched."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Slice
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.messages import MessageBatch
from sensor.slices import SECOND, Slicer

Frame = tuple[int, int]  # (step of the clock in ms, messages in the frame)


def batches(frames: list[Frame], cuts: set[int]) -> list[MessageBatch]:
    """Frames as batches that end before each frame number in ``cuts`` (0-based)."""
    clock, made, part = 5_000 * SECOND, [], []
    for index, (step, count) in enumerate(frames):
        clock += step * 1_000_000
        if index in cuts and part:
            made.append(_batch(part))
            part = []
        part.append((index + 1, clock, count))
    return [*made, _batch(part)] if part else made


def _batch(part: list[tuple[int, int, int]]) -> MessageBatch:
    rows = [(number, ts) for number, ts, count in part for _ in range(count)]
    messages, points = np.zeros(len(rows), MESSAGE), np.zeros(2 * len(rows), POINT)
    for i, (number, ts) in enumerate(rows):
        messages[i]["frame"], messages[i]["ts"] = number, ts
        points["message"][2 * i : 2 * i + 2] = i
        points["frame"][2 * i : 2 * i + 2] = number
    lost = np.array([number % 5 if ts % 3 == 0 else 0 for number, ts, _ in part], np.int64)
    return MessageBatch(messages, points, np.array([ts for _, ts, _ in part], np.int64), lost=lost)


def plain(pieces: list[Slice]) -> list[tuple[Any, ...]]:
    return [(p.start, p.end, p.messages.tobytes(), p.points.tobytes(), p.packets, p.lost) for p in pieces]


FRAMES = st.lists(st.tuples(st.integers(-3000, 3000), st.integers(0, 3)), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(FRAMES, st.sets(st.integers(0, 30)), st.integers(1, 7))
def test_any_chopping_gives_equal_slices(frames: list[Frame], cuts: set[int], limit: int) -> None:
    whole = list(Slicer(SECOND, limit).run(batches(frames, set())))
    chopped = list(Slicer(SECOND, limit).run(batches(frames, cuts)))
    single = list(Slicer(SECOND, limit).run(batches(frames, set(range(99)))))
    assert plain(whole) == plain(chopped) == plain(single)
    assert sum(p.packets for p in whole) == len(frames)
    assert sum(len(p.messages) for p in whole) == sum(count for _, count in frames)
    assert all(len(p.messages) <= limit for p in whole)


@settings(max_examples=100, deadline=None)
@given(FRAMES)
def test_time_never_goes_back_and_points_stay_with_their_message(frames: list[Frame]) -> None:
    pieces = list(Slicer(SECOND).run(batches(frames, {3, 7})))
    assert all(a.start <= b.start for a, b in pairwise(pieces))
    for piece in pieces:
        assert np.array_equal(piece.messages["frame"][piece.points["message"]], piece.points["frame"])


def test_a_jump_of_years_costs_one_slice() -> None:
    decade = 10 * 365 * 86_400_000
    assert len(list(Slicer(SECOND).run(batches([(0, 1), (decade, 1), (-decade, 1)], set())))) == 2


def test_frames_without_messages_move_the_clock() -> None:
    pieces = list(Slicer(SECOND).run(batches([(0, 1), (1500, 0), (1500, 0)], set())))
    assert [(len(p.messages), p.packets) for p in pieces] == [(1, 1), (0, 1), (0, 1)]


def test_the_last_slice_ends_with_the_last_frame() -> None:
    last = list(Slicer(10 * SECOND).run(batches([(0, 1), (1500, 1)], set())))[-1]
    assert (last.end - last.start) / SECOND < 10
    assert last.start <= int(last.messages["ts"][-1]) < last.end


def test_batches_without_frame_times_use_the_messages() -> None:
    batch = batches([(0, 1), (2000, 1)], set())[0]
    batch.frame_ts = np.zeros(0, np.int64)
    assert [len(p.messages) for p in Slicer(SECOND).run([batch])] == [1, 1]


def test_two_files_count_their_frames_anew() -> None:
    first, second = batches([(0, 1), (10, 1)], set())[0], batches([(3000, 1), (10, 1)], set())[0]
    pieces = list(Slicer(SECOND).run([first, second]))
    assert [(len(p.messages), p.packets) for p in pieces] == [(2, 2), (2, 2)]


def test_time_that_passes_without_frames_closes_slices() -> None:
    first, idle = batches([(0, 1), (4000, 1)], set())[0], MessageBatch.empty
    slicer = Slicer(SECOND)
    start = 5_000 * SECOND
    pieces = [*slicer.push(idle(start - SECOND)), *slicer.push(first)]
    pieces += [*slicer.push(idle(start + 5 * SECOND)), *slicer.push(idle(start + 7 * SECOND))]
    assert [(p.start // SECOND - 5_000, len(p.messages), p.packets) for p in pieces] == [
        (-1, 0, 0), (0, 1, 1), (4, 1, 1), (5, 0, 0)
    ]  # fmt: skip
    # a clock that says nothing new, and frames from before it: nothing closes, nothing is reopened
    assert [*slicer.push(idle(start)), *slicer.push(idle(0))] == []
    assert [*slicer.push(first)] == []
    assert [(p.start // SECOND - 5_000, p.packets) for p in slicer.close()] == [(7, 2)]


def test_losses_count_with_the_frame_behind_them() -> None:
    made = batches([(0, 1), (1500, 1), (0, 1), (1500, 0)], set())
    made[0].lost = np.array([0, 7, 2, 0], np.int64)
    end = MessageBatch.empty(lost_after=5)
    assert [p.lost for p in Slicer(SECOND).run([*made, end])] == [0, 9, 5]


def test_late_rows_belong_to_the_slice_that_is_open() -> None:
    made = batches([(0, 1), (3000, 1)], {1})
    late = batches([(0, 2)], set())[0]
    late.late = True
    pieces = list(Slicer(SECOND).run([*made, late, late]))
    assert [(len(p.messages), p.packets) for p in pieces] == [(1, 1), (5, 1)]
    assert len(list(Slicer(SECOND).run([late]))) == 1
