"""Spoiled frames through the native engine: nothing raises, rows keep their promises, the reference agrees.

``GRIDWARDEN_FUZZ=N`` multiplies the number of frames; ``python -m pytest tests/fuzz`` with 100 takes about
half an hour on two cores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from grid_profiles.loader import NATIVE_IDS
from grid_profiles.vocabulary import NO_TEXT, Flag, Role
from sensor.frames import FrameBatch
from sensor.messages import MessageBatch
from sensor.track.table import COUNT
from tests.fuzz.decoders import decoder_frames
from tests.fuzz.mutate import Mutator, good_frames
from tests.reference.decoder import Reference
from tests.reference.rows import comparable, difference, native_rows
from tests.reference.run import Native, Shot, frame_batch

SCALE = int(os.environ.get("GRIDWARDEN_FUZZ", "1"))
BATCH = 5_000
ALL_FLAGS = int(np.bitwise_or.reduce([int(flag) for flag in Flag]))


def batches(seed: int, frames: int, seeds: list[bytes]) -> Iterator[FrameBatch]:
    """Spoiled frames in batches, numbered through."""
    mutator = Mutator(seeds, seed)
    for first in range(0, frames, BATCH):
        shots = []
        for number in range(first, min(first + BATCH, frames)):
            data, wire = mutator.next()
            shots.append(Shot(1_000_000 * number, data, wire))
        yield frame_batch(shots, first + 1)


def check(decoded: MessageBatch, batch: FrameBatch, native: Native) -> None:
    """What holds for any rows, whatever was on the wire."""
    rows, points, names = decoded.messages, decoded.points, native.names
    assert np.isin(rows["frame"], batch.number).all()
    assert (np.diff(rows["frame"]) >= 0).all()
    place = rows["frame"] - batch.number[0]
    assert (rows["ts"] == batch.ts[place]).all()
    assert (rows["size"] >= 0).all()
    assert np.isin(rows["proto"], list(NATIVE_IDS.values())).all()
    assert np.isin(rows["role"], [int(role) for role in Role]).all()
    assert (rows["flags"] & ~np.uint32(ALL_FLAGS) == 0).all()
    for column in ("kind", "cause", "count", "stream", "seq", "state", "aux", "point"):
        assert (rows[column] >= -1).all(), column
    for column, table in (
        ("src", names.endpoints),
        ("dst", names.endpoints),
        ("conv", names.conversations),
        ("name", names.texts),
        ("ident", names.texts),
    ):
        assert (rows[column] >= NO_TEXT).all(), column
        assert (rows[column] < table["meta"][COUNT]).all(), column
    assert (points["message"] >= 0).all()
    assert (points["message"] < len(rows)).all()
    assert (np.diff(points["message"]) >= 0).all()
    parents = rows[points["message"]]
    for column in ("ts", "frame", "proto", "conv"):
        assert (points[column] == parents[column]).all(), column
    assert (points["kind"] >= 0).all()
    assert (points["point"] >= 0).all()
    assert len(native.engine.unclaimed) == len(batch)


@pytest.mark.parametrize("seed", [1, 2])
def test_invariants(seed: int) -> None:
    native = Native()
    for batch in batches(seed, 20_000 * SCALE, good_frames() + decoder_frames()):
        check(native.engine.decode(batch), batch, native)
    counters = native.counters
    assert counters["frames"] == 20_000 * SCALE
    for name in ("malformed", "truncated", "foreign", "gaps", "overlaps", "retransmitted"):
        assert counters[name], name


@pytest.mark.parametrize("seed", [11, 12])
def test_reference_agrees(seed: int) -> None:
    """Column by column. Fewer connections than the engine has room for, so that nothing is forgotten."""
    native, reference = Native(), Reference()
    for batch in batches(seed, 5_000 * SCALE, good_frames()):
        ours = native_rows(native.engine.decode(batch), native.names)
        theirs = [
            row
            for i in range(len(batch))
            for row in reference.frame(
                int(batch.ts[i]), int(batch.number[i]), batch.frame(i), int(batch.wirelen[i])
            )
        ]
        told = difference(*comparable(ours, theirs))
        assert not told, told
        if native.names.counters()["endpoints"] > 50_000:
            native, reference = Native(), Reference()
