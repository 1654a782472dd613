"""The made-up captures: reproducible, on time, and without a flaw that a decoder would see."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.generate import KINDS, iiot, merge, process_bus, substation
from sensor.engines import open_engine

PACKETS = 30_000


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_equal_seeds_give_equal_captures(kind: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.pcap" for n in range(3)]
    for path, seed in zip(paths, (5, 5, 6), strict=True):
        assert KINDS[kind](path, 5_000, seed=seed) == 5_000
    first, again, other = (path.read_bytes() for path in paths)
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_native_engine_finds_no_flaw(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mix.pcap"
    KINDS[kind](path, PACKETS)
    run = open_engine([path], "native")
    protocols: Counter[str] = Counter()
    last = 0
    for batch in run:
        assert (np.diff(batch.frame_ts) >= 0).all()
        assert batch.frame_ts[0] >= last
        last = int(batch.frame_ts[-1])
        assert (batch.messages["flags"] == 0).all()
        protocols.update(run.names.protocol(proto) for proto in batch.messages["proto"].tolist())
    counters = run.native.counters
    assert counters["frames"] == PACKETS
    for flaw in ("malformed", "truncated", "gaps", "retransmitted", "overlaps", "foreign", "undecoded_bytes"):
        assert counters[flaw] == 0, flaw
    wanted = {
        "substation": {"sv", "goose", "modbus", "iec104"},
        "process_bus": {"sv", "goose"},
        "iiot": {"modbus"},
    }
    assert wanted[kind] <= set(protocols)


def test_merging_units_keep_time() -> None:
    batches = list(merge(process_bus(units=2, publishers=0), 20_000))
    ts = np.concatenate([batch.ts for batch in batches])
    span = (int(ts[-1]) - int(ts[0])) / 1e9
    assert span == pytest.approx(20_000 / 8_000, abs=0.01)


@pytest.mark.tshark
@pytest.mark.parametrize("sources", [substation, iiot])
def test_wireshark_finds_no_flaw(sources: object, tmp_path: Path) -> None:
    if not shutil.which("tshark"):
        pytest.skip("no tshark here")
    path = tmp_path / "mix.pcap"
    KINDS[sources.__name__](path, 10_000)  # type: ignore[attr-defined]
    checks = [f"{name}.check_checksum:TRUE" for name in ("ip", "tcp", "udp")]
    command = ["tshark", "-n", "-r", str(path), "-q", "-z", "expert,warn"]
    for check in checks:
        command += ["-o", check]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Warns" not in done.stdout, done.stdout
    assert "Errors" not in done.stdout, done.stdout
