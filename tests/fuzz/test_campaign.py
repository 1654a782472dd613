"""A share of the campaign in every test run."""

from __future__ import annotations

import os

import numpy as np

from tests.fuzz.campaign import Seeds, families, run, spoil

SCALE = int(os.environ.get("GRIDWARDEN_FUZZ", "1"))


def test_every_decoder_survives_spoiled_frames() -> None:
    known = families()
    assert {
        "modbus",
        "iec104",
        "goose",
        "sv",
        "mms",
        "dnp3",
        "opcua",
        "mqtt",
        "dlms",
        "ptp",
        "enip",
        "cip",
        "http",
    } <= set(known)
    for name, frames in known.items():
        told = run(frames, 20_000 * SCALE, seed=5)
        assert told["frames"] == 20_000 * SCALE, name


def test_frames_are_spoiled_in_every_way_and_the_same_each_time() -> None:
    seeds = Seeds.of(families()["modbus"])
    one, two = (spoil(seeds, np.random.default_rng(3), 2_000, 1) for _ in range(2))
    assert (one.data == two.data).all()
    assert (one.caplen == two.caplen).all()
    assert (one.caplen < one.wirelen).any()
    assert (one.caplen == one.wirelen).any()
    pick = np.random.default_rng(3).integers(len(seeds.size), size=2_000)
    good = seeds.data[np.repeat(seeds.begin[pick] - one.offset, seeds.size[pick]) + np.arange(len(one.data))]
    assert 1_000 < np.count_nonzero(good != one.data) < len(good) // 2
