"""Our frames against tshark's on captures of the corpus: number, time and both lengths.

tshark needs a second to start, so of classic pcap files with the same header only the largest is compared.
"""

from __future__ import annotations

import os
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from sensor.capture.sources import open_sources

pytestmark = [pytest.mark.corpus, pytest.mark.tshark]
_FIELDS = ("frame.number", "frame.time_epoch", "frame.cap_len", "frame.len")
_ROOT = os.environ.get("GRIDWARDEN_CORPUS", "")


def _one_of_each_kind() -> list[Path]:
    """Every pcapng, and the largest pcap of each header."""
    chosen: dict[bytes, Path] = {}
    for path in sorted(Path(_ROOT).glob("*/*.pcap*"), key=lambda path: path.stat().st_size):
        head = path.open("rb").read(24)
        key = str(path).encode() if head.startswith(b"\x0a\x0d\x0d\x0a") else head
        chosen[key] = path
    return sorted(chosen.values())


FILES = _one_of_each_kind() if _ROOT else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_same_frames_as_tshark(path: Path) -> None:
    fields = [word for field in _FIELDS for word in ("-e", field)]
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        *fields,
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = (line.split("\t") for line in output.splitlines())
    expected = [(int(n), int(Decimal(t) * 10**9), int(have), int(wire)) for n, t, have, wire in rows]
    (file,) = open_sources([str(path)])
    found: list[tuple[int, int, int, int]] = []
    for batch in file.batches(max_frames=1000):
        columns = (batch.number, batch.ts, batch.caplen, batch.wirelen)
        found.extend(zip(*(column.tolist() for column in columns), strict=True))
    assert found == expected
    assert file.problems == []
