"""Cuts a stream of message batches into slices of capture time.

The clock is the running maximum of the capture times of *all* frames, decoded or not: a clock that runs
backwards never reopens a slice, one that jumps by years costs one step. A slice holds what arrived
while the clock stood inside it. What comes out depends on the frames and their order only, not on how
they were batched. It refuses nothing; a slice with very many messages is cut at a fixed number of rows
into several slices of the same time (the frames are counted in the last of them).

Lost frames count in the slice of the frame that comes after them; what is told behind the last frame counts
in the slice that is open. Late rows (of a live capture's second engine) are added to the slice that is open.

A live capture on which nothing comes sends batches that only move the clock on: then slices close without
a later frame, and there are slices without frames. A file never does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.messages import MessageBatch, joined

SECOND: Final = 1_000_000_000
LENGTH: Final = 2 * SECOND
"""Of a slice of a capture; a live one is judged more often, because somebody waits. It divides a window."""

ROW_LIMIT: Final = 65_536
"""Messages of a slice: more at once outgrow the caches, and take half a GiB with their points and columns."""

Ints = npt.NDArray[np.int64]


class Slicer:
    """Feeds on batches, gives slices.

    Parameters
    ----------
    length : int
        ns of capture time per slice; slices start at its multiples.
    limit : int
        Most messages in one slice.
    """

    def __init__(self, length: int = LENGTH, limit: int = ROW_LIMIT) -> None:
        self.length = length
        self.limit = limit
        self._clock = int(np.iinfo(np.int64).min)
        self._number: int | None = None
        self._parts: list[tuple[npt.NDArray[Any], npt.NDArray[Any], int]] = []
        self._rows = 0
        self._packets = 0
        self._lost = 0
        self._next_frame = 1

    def push(self, batch: MessageBatch) -> Iterator[Slice]:
        """Take one batch; yield the slices that are now complete."""
        messages, (points, owners) = batch.messages, _sorted_points(batch.points)
        if batch.late:
            yield from self._late(messages, points, owners)
            return
        frame_ts, position = self._timeline(batch)
        if not len(frame_ts):
            self._lost += batch.lost_after
            yield from self._tick(batch.clock)
            return
        clock = np.maximum(np.maximum.accumulate(frame_ts), self._clock)
        self._clock = int(clock[-1])
        numbers = clock // self.length
        borders, lost = np.flatnonzero(np.diff(numbers)) + 1, batch.lost
        if lost is not None:
            borders = np.union1d(borders, np.flatnonzero(lost[1:]) + 1)
        borders = np.concatenate(([0], borders, [len(numbers)]))
        rows = np.searchsorted(position, borders).tolist()
        for at, (first, last) in enumerate(pairwise(borders.tolist())):
            yield from self._enter(int(numbers[first]))
            self._lost += int(lost[first]) if lost is not None else 0
            self._packets += last - first
            yield from self._add(messages, points, owners, rows[at], rows[at + 1])
        self._lost += batch.lost_after

    def close(self) -> Iterator[Slice]:
        """Give the last slice. It ends with the last frame: nobody was silent after that."""
        if self._number is not None:
            last = self._emit(self._rows)
            last.end = min(last.end, max(self._clock + 1, last.start))
            yield last
        self._number = None

    def run(self, batches: Iterable[MessageBatch]) -> Iterator[Slice]:
        """All slices of a stream of batches."""
        for batch in batches:
            yield from self.push(batch)
        yield from self.close()

    def _timeline(self, batch: MessageBatch) -> tuple[Ints, Ints]:
        """(times of the frames, position of each message among them)."""
        messages, frame_ts = batch.messages, np.asarray(batch.frame_ts, np.int64)
        first, self._next_frame = self._next_frame, self._next_frame + len(frame_ts)
        if not len(messages):
            return frame_ts, np.zeros(0, np.int64)
        for base in (first, *_candidates(messages, frame_ts)):
            position = messages["frame"] - base
            if _fits(position, messages["ts"], frame_ts):
                self._next_frame = base + len(frame_ts)
                return frame_ts, position
        return messages["ts"].astype(np.int64), np.arange(len(messages), dtype=np.int64)

    def _late(self, messages: npt.NDArray[Any], points: npt.NDArray[Any], owners: Ints) -> Iterator[Slice]:
        if self._number is None:  # nothing has been seen since the start: their own time must do
            self._number = int(messages["ts"][0]) // self.length if len(messages) else None
        yield from self._add(messages, points, owners, 0, len(messages))

    def _tick(self, clock: int) -> Iterator[Slice]:
        """Time passed without frames up to ``clock``; 0 or a time that has been says nothing."""
        if clock > max(self._clock, 0):
            self._clock = clock
            yield from self._enter(clock // self.length)

    def _enter(self, number: int) -> Iterator[Slice]:
        if self._number is not None and number != self._number:
            yield self._emit(self._rows)
        self._number = number

    def _add(
        self, messages: npt.NDArray[Any], points: npt.NDArray[Any], owners: Ints, low: int, high: int
    ) -> Iterator[Slice]:
        """Take messages ``low`` to ``high`` and their points; ``owners`` is ``points["message"]``."""
        while low < high:
            take = min(high - low, self.limit - self._rows)
            begin, end = np.searchsorted(owners, [low, low + take])
            self._parts.append((messages[low : low + take], points[begin:end], self._rows - low))
            self._rows += take
            low += take
            if self._rows >= self.limit:
                yield self._emit(self._rows, final=False)

    def _emit(self, rows: int, final: bool = True) -> Slice:
        assert self._number is not None
        messages = joined([messages for messages, *_ in self._parts]) if rows else np.zeros(0, MESSAGE)
        points = self._points() if rows else np.zeros(0, POINT)
        packets = self._packets if final else 0
        lost, self._lost = self._lost, 0
        if final:
            self._packets = 0
        self._parts, self._rows = [], 0
        start = self._number * self.length
        return Slice(start, start + self.length, messages, points, packets, lost)

    def _points(self) -> npt.NDArray[Any]:
        """All points of the open slice; their message numbers are those of its messages."""
        points = joined([part for _, part, _ in self._parts])
        edge = 0
        for _, part, shift in self._parts:
            points["message"][edge : edge + len(part)] += shift
            edge += len(part)
        return points


def _sorted_points(points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """(points by message, messages that they belong to)."""
    owners = np.ascontiguousarray(points["message"])
    if len(owners) > 1 and bool((owners[1:] < owners[:-1]).any()):
        order = np.argsort(owners, kind="stable")
        return points.take(order), owners.take(order)
    return points, owners


def _candidates(messages: npt.NDArray[Any], frame_ts: Ints) -> list[int]:
    """Numbers that the first frame of a batch may have, when counting on from the last batch fails.

    That is at the start of another file, whose frames count from 1 again.
    """
    number = int(messages["frame"][0])
    at = np.flatnonzero(frame_ts == messages["ts"][0])[:64]
    return [number - int(index) for index in at]


def _fits(position: Ints, ts: Ints, frame_ts: Ints) -> bool:
    if position.min() < 0 or position.max() >= len(frame_ts) or bool(np.any(np.diff(position) < 0)):
        return False
    return bool(np.array_equal(frame_ts[position], ts))
