"""Native engine against the reference on real captures: every column of every row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference.run import compare_capture

DEMO = Path(__file__).resolve().parents[2] / "sensor" / "data" / "demo"
PATTERNS = (
    "protocols/modbus__*",
    "protocols/iec104__*",
    "protocols/goose__*",
    "protocols/bg-*",
    "modbus-lemay/*.pcap",
    "iec104-energy/*.pcap",
)
MOST_OCTETS = 500_000  # of a capture; the longer ones say the same again


@pytest.mark.corpus
@pytest.mark.parametrize("pattern", PATTERNS)
def test_corpus(corpus: Path, pattern: str) -> None:
    files = sorted(path for path in corpus.glob(pattern) if path.stat().st_size <= MOST_OCTETS)
    assert files, f"no capture in the corpus matches {pattern}"
    for path in files:
        _, _, told = compare_capture(path)
        assert not told, f"{path.name}: {told}"


@pytest.mark.parametrize("path", sorted(DEMO.glob("*.pcap*")), ids=lambda path: path.name)
def test_bundled(path: Path) -> None:
    messages, points, told = compare_capture(path)
    assert not told, told
    assert messages
    assert points
