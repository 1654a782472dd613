"""Frames of several sources as one traffic, in order of time.

A TAP gives each direction on a port of its own, and a request is only paired with its answer when one decoder
sees both. So sources are joined before anything is decoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sensor.frames import FrameBatch


def join_frames(batches: Sequence[FrameBatch]) -> FrameBatch:
    """Batches as one, ordered by time; frames of equal time stay in the order of the batches."""
    if len(batches) == 1:
        return batches[0]
    edges = np.cumsum([0, *(len(batch.data) for batch in batches[:-1])])
    data = np.concatenate([batch.data for batch in batches])
    data.flags.writeable = False
    whole = FrameBatch(
        data,
        np.concatenate([batch.offset + edge for batch, edge in zip(batches, edges, strict=True)]),
        np.concatenate([batch.caplen for batch in batches]),
        np.concatenate([batch.wirelen for batch in batches]),
        np.concatenate([batch.ts for batch in batches]),
        np.concatenate([batch.link for batch in batches]),
        np.concatenate([batch.number for batch in batches]),
        lost=_lost(batches),
    )
    joined = whole.take(np.argsort(whole.ts, kind="stable"))
    joined.lost_after = sum(batch.lost_after for batch in batches)
    return joined


def _lost(batches: Sequence[FrameBatch]) -> npt.NDArray[np.int64] | None:
    """Losses before each frame of all batches; None when nothing is known to be lost."""
    if all(batch.lost is None for batch in batches):
        return None
    return np.concatenate(
        [np.zeros(len(batch), np.int64) if batch.lost is None else batch.lost for batch in batches]
    )


def split_at(batch: FrameBatch, horizon: int) -> tuple[FrameBatch, FrameBatch]:
    """(frames up to the first one later than ``horizon`` (ns), the rest)."""
    later = np.flatnonzero(batch.ts > horizon)
    cut = int(later[0]) if len(later) else len(batch)
    first, rest = batch.take(slice(0, cut)), batch.take(slice(cut, None))
    (rest if len(rest) else first).lost_after = batch.lost_after
    return first, rest


def pieces(batch: FrameBatch, most: int) -> list[FrameBatch]:
    """A batch cut so that no piece has more than ``most`` frames; a batch without frames is one piece."""
    if len(batch) <= most:
        return [batch]
    cut = [batch.take(slice(start, start + most)) for start in range(0, len(batch), most)]
    cut[-1].lost_after = batch.lost_after
    return cut


def drained(waiting: deque[FrameBatch]) -> Iterator[FrameBatch]:
    """Take out one after another; what a consumer that leaves has not had stays for the next."""
    while waiting:
        yield waiting.popleft()


def merged(streams: Sequence[Iterator[FrameBatch]]) -> Iterator[FrameBatch]:
    """Captures that were taken at the same time, frame by frame in order of time.

    Each stream's own order is kept, also where its clock runs backwards.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    heads = {
        index: batch for index, stream in enumerate(streams) if (batch := next_frames(stream)) is not None
    }
    while heads:
        horizon = min(int(batch.ts.max()) for batch in heads.values())
        ready: list[FrameBatch] = []
        for index, batch in sorted(heads.items()):
            first, rest = split_at(batch, horizon)
            if len(first):
                ready.append(first)
            heads[index] = rest
        yield join_frames(ready)
        for index in [index for index, batch in heads.items() if not len(batch)]:
            following = next_frames(streams[index])
            if following is None:
                del heads[index]
            else:
                heads[index] = following


def next_frames(stream: Iterator[FrameBatch]) -> FrameBatch | None:
    """The next batch that holds frames; None at the end."""
    for batch in stream:
        if len(batch):
            return batch
    return None
