"""Tens of millions of spoiled frames per decoder: ``python -m tests.fuzz.campaign [PROTOCOL …] --frames N``.

The tests in this folder spoil frame by frame and hold each against the slow reference; this spoils whole
batches at once, so that numbers which a CI run cannot afford are reached, and looks for what a sensor may
never do: raise, hang, read out of bounds (which raises, since bounds are checked), or write rows that break
their promises. Seeded: what it finds, it finds again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import click
import numpy as np
import numpy.typing as npt

from sensor.frames import FrameBatch
from tests.fuzz.base import base_frames
from tests.fuzz.decoders import decoder_frames
from tests.fuzz.enip import enip_frames
from tests.fuzz.iiot import iiot_frames
from tests.fuzz.mutate import NASTY, good_frames
from tests.fuzz.stations import station_frames
from tests.fuzz.test_fuzz_native import check
from tests.fuzz.web import http_frames
from tests.reference.run import Native, Shot, frame_batch

BATCH = 50_000
HEADERS = 34
"""Octets before which little is spoiled: a frame whose addresses are noise reaches no decoder."""

CHECKED = 20
"""One batch of so many is looked at row by row; all are decoded."""

STEP = 50_000
"""ns between two frames."""

Octets = npt.NDArray[np.uint8]


@dataclass
class Seeds:
    """Good frames of one protocol, end to end."""

    data: Octets
    begin: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]

    @staticmethod
    def of(frames: list[bytes]) -> Seeds:
        """From frames as they stand on the wire."""
        size = np.array([len(frame) for frame in frames], np.int64)
        return Seeds(np.frombuffer(b"".join(frames), np.uint8), np.cumsum(size) - size, size)


def families() -> dict[str, list[bytes]]:
    """Seeds by the protocol whose rows they lead to."""
    frames = good_frames() + base_frames() + decoder_frames() + iiot_frames() + station_frames()
    frames += [data for _, data in enip_frames() + http_frames()]
    native = Native()
    rows = native.engine.decode(frame_batch([Shot(number, data) for number, data in enumerate(frames, 1)]))
    found: dict[str, list[bytes]] = {}
    for number, proto in zip(rows.messages["frame"].tolist(), rows.messages["proto"].tolist(), strict=True):
        found.setdefault(native.names.protocol(proto), []).append(frames[number - 1])
    return {name: sorted(set(own)) for name, own in sorted(found.items())}


def spoil(seeds: Seeds, random: np.random.Generator, count: int, first: int) -> FrameBatch:
    """A batch of spoiled frames: octets changed, tails cut, noise behind the headers."""
    pick = random.integers(len(seeds.size), size=count)
    size = seeds.size[pick]
    offset = np.cumsum(size) - size
    data = seeds.data[np.repeat(seeds.begin[pick] - offset, size) + np.arange(int(size.sum()))]
    _change(data, offset, size, random, 2 * count)
    noisy = np.flatnonzero(random.random(count) < 0.03)
    for frame in noisy.tolist():
        data[offset[frame] + min(HEADERS, size[frame]) : offset[frame] + size[frame]] = random.integers(
            256, size=max(0, int(size[frame]) - HEADERS), dtype=np.uint8
        )
    kept = np.where(random.random(count) < 0.1, (random.random(count) * (size + 1)).astype(np.int64), size)
    wire = np.where(random.random(count) < 0.5, kept, size)
    return FrameBatch(
        data,
        offset,
        kept.astype(np.int32),
        wire.astype(np.int32),
        STEP * (first + np.arange(count, dtype=np.int64)),
        np.ones(count, np.int32),
        first + np.arange(count, dtype=np.int64),
    )


def _change(
    data: Octets,
    offset: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    random: np.random.Generator,
    changes: int,
) -> None:
    """Flip bits and set octets to values that lie about lengths and kinds, mostly behind the headers."""
    frame = random.integers(len(size), size=changes)
    low = np.where(random.random(changes) < 0.9, np.minimum(HEADERS, size[frame] - 1), 0)
    at = offset[frame] + low + (random.random(changes) * (size[frame] - low)).astype(np.int64)
    flip = random.random(changes) < 0.5
    data[at[flip]] ^= np.uint8(1) << random.integers(8, size=int(flip.sum()), dtype=np.uint8)
    data[at[~flip]] = random.choice(np.array(NASTY, np.uint8), int((~flip).sum()))


def run(frames: list[bytes], count: int, seed: int) -> dict[str, float]:
    """Feed one engine with ``count`` spoiled versions of some frames; raises what the engine raises."""
    seeds, random, native = Seeds.of(frames), np.random.default_rng(seed), Native()
    begin, rows, slowest = time.perf_counter(), 0, 0.0
    for number, first in enumerate(range(1, count + 1, BATCH)):
        batch = spoil(seeds, random, min(BATCH, count + 1 - first), first)
        before = time.perf_counter()
        decoded = native.engine.decode(batch)
        slowest = max(slowest, time.perf_counter() - before)
        rows += len(decoded.messages)
        if number % CHECKED == 0:
            check(decoded, batch, native)
    return {
        "frames": native.counters["frames"],
        "messages": rows,
        "malformed": native.counters["malformed"],
        "seconds": round(time.perf_counter() - begin, 1),
        "slowest_batch_s": round(slowest, 3),
    }


def _chosen(names: tuple[str, ...]) -> Iterator[tuple[str, list[bytes]]]:
    known = families()
    for name in names or tuple(known):
        if name not in known:
            raise click.UsageError(f"no seeds for {name!r}; there are: {', '.join(known)}")
        yield name, known[name]


@click.command()
@click.argument("protocols", nargs=-1)
@click.option("--frames", default=1_000_000, show_default=True, help="For each protocol.")
@click.option("--seed", default=1, show_default=True)
def main(protocols: tuple[str, ...], frames: int, seed: int) -> None:
    """Spoil frames of each protocol and decode them; one JSON line each, exit code 1 when something broke."""
    broken = 0
    for name, seeds in _chosen(protocols):
        try:
            told = {"protocol": name, "seeds": len(seeds), **run(seeds, frames, seed)}
        except Exception as error:  # what a decoder raises is what this looks for
            told, broken = {"protocol": name, "error": repr(error)}, broken + 1
        print(json.dumps(told), flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
