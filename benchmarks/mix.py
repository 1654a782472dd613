"""The capture to measure on: real captures one after another, over and over, on one clock.

Taken from the folder that ``GRIDWARDEN_CORPUS`` names, else from the bundled captures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import write_pcap
from sensor.frames import LINK_ETHERNET, FrameBatch

FAMILIES = ("modbus", "iec104", "goose", "s7comm", "enip", "dnp3", "synphasor", "mms", "opcua")
NATIVE = ("modbus", "iec104", "goose")
GAP = 1_000_000


def sources(families: tuple[str, ...]) -> list[Path]:
    """Captures to mix, in a fixed order."""
    corpus = os.environ.get("GRIDWARDEN_CORPUS")
    if not corpus:
        return sorted(Path(str(files("sensor") / "data" / "demo")).glob("*.pcap*"))
    root = Path(corpus)
    found = [path for path in sorted((root / "protocols").iterdir()) if path.name.startswith(families)]
    for folder in ("modbus-lemay", "iec104-energy"):
        if folder.startswith(families):
            found += sorted((root / folder).glob("*train.pcap"))
    return found


def loop(paths: list[Path], packets: int) -> Iterator[FrameBatch]:
    """Frames of all captures, again and again until there are ``packets``; time never runs backwards."""
    clock, count = 1_700_000_000 * 10**9, 0
    while True:
        for path in paths:
            for batch in CaptureFile(path).batches():
                batch = batch.take(batch.link == LINK_ETHERNET)
                if not len(batch):
                    continue
                batch = batch.take(slice(0, packets - count))
                # idle time is cut: detection works second by second, and a busy network is the hard case
                steps = np.clip(np.diff(batch.ts, prepend=batch.ts[0]), 0, GAP)
                batch.ts = clock + np.cumsum(steps)
                clock = int(batch.ts[-1]) + 1_000_000
                count += len(batch)
                yield batch
                if count >= packets:
                    return


def write_mix(path: Path, families: tuple[str, ...], packets: int) -> int:
    """Write a mix and return how many packets it has."""
    return write_pcap(path, loop(sources(families), packets))
