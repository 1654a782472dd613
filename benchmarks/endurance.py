"""Memory over a long run: ``python -m benchmarks.endurance loop|flood --packets N``.

``loop``: the substation mix over and over on one clock, through decoding and detection with a baseline of
the same traffic. ``flood``: the same with one frame of four from an address that nobody ever used before.
Learning runs in a process of its own, as in a station. Prints a JSON line every so many packets: packets,
alerts, resident and peak memory in MiB; the frames in memory, which a sensor has not, are told first.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.generate import merge as generate
from benchmarks.generate import substation, write_substation
from benchmarks.stages import learn_apart
from sensor.frames import FrameBatch
from sensor.messages import MessageBatch
from sensor.names import Names
from sensor.native import NativeEngine

PIECE = 250_000
"""Packets that are made once and then come again and again."""

LEARNED = 1_500_000
REPORT = 5_000_000
IP_SOURCE, IP_TYPE = 26, 12


def looped(packets: int) -> Iterator[FrameBatch]:
    """The mix, ``packets`` frames of it; the clock goes on from lap to lap."""
    pieces = list(generate(substation(), PIECE))
    octets = sum(sum(column.nbytes for column in _columns(piece)) for piece in pieces)
    print(json.dumps({"frames_mib": round(octets / 2**20, 1)}), flush=True)
    lap = int(pieces[-1].ts[-1] - pieces[0].ts[0]) + 1_000_000
    done, shift = 0, 0
    while done < packets:
        for piece in pieces:
            taken = piece.take(slice(0, packets - done)) if len(piece) > packets - done else piece
            yield FrameBatch(
                taken.data,
                taken.offset,
                taken.caplen,
                taken.wirelen,
                taken.ts + shift,
                taken.link,
                done + 1 + np.arange(len(taken), dtype=np.int64),
            )
            done += len(taken)
            if done >= packets:
                return
        shift += lap


def _columns(piece: FrameBatch) -> list[npt.NDArray[Any]]:
    return [piece.data, piece.offset, piece.caplen, piece.wirelen, piece.ts, piece.link, piece.number]


def flooded(packets: int) -> Iterator[FrameBatch]:
    """The mix, in which every fourth frame comes from a source address of its own."""
    used = 0
    for batch in looped(packets):
        data = batch.data.copy()
        at = np.arange(0, len(batch), 4)
        forged = (used + np.arange(len(at))).astype(np.uint32)
        used += len(at)
        kind = data[batch.offset[at] + IP_TYPE].astype(np.int64) << 8 | data[batch.offset[at] + IP_TYPE + 1]
        where = batch.offset[at] + np.where(kind == 0x0800, IP_SOURCE, 8)  # IPv4, or the source MAC
        for octet in range(4):
            data[where + octet] = (forged >> np.uint32(24 - 8 * octet)).astype(np.uint8)
        batch.data = data
        yield batch


def _messages(engine: NativeEngine, batches: Iterator[FrameBatch], begin: float) -> Iterator[MessageBatch]:
    told = 0
    for batch in batches:
        decoded = engine.decode(batch)
        decoded.frame_ts = batch.ts
        yield decoded
        done = int(batch.number[-1])
        if done // REPORT > told:
            told = done // REPORT
            _tell(done, begin)


def _tell(packets: int, begin: float, **more: object) -> None:
    resident = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmRSS")
    )
    seconds = time.perf_counter() - begin
    record = {
        "packets": packets,
        "packets_per_s": round(packets / seconds),
        "rss_mib": round(resident / 1024, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(record | more), flush=True)


@click.command()
@click.argument("kind", type=click.Choice(["loop", "flood"]))
@click.option("--packets", default=100_000_000, show_default=True)
def main(kind: str, packets: int) -> None:
    """Run and report."""
    from grid_profiles.loader import load_registry
    from sensor.cli.baseline import load
    from sensor.pipeline import Detection

    with tempfile.TemporaryDirectory() as folder:
        learning, path = Path(folder) / "learn.pcap", Path(folder) / "site.baseline"
        write_substation(learning, LEARNED)
        learn_apart(learning, path)
        baseline = load(path)
    names = Names(load_registry())
    detection = Detection(names, baseline)
    begin = time.perf_counter()
    source = looped(packets) if kind == "loop" else flooded(packets)
    alerts = sum(1 for _ in detection.run(_messages(NativeEngine(names), source, begin)))
    _tell(packets, begin, alerts=alerts, notes=detection.notes)


if __name__ == "__main__":
    main()
