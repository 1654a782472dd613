"""The same alerts whatever the batch size, with the native decoders, on the bundled bad day."""

from __future__ import annotations

import gzip
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import sensor
from detectors.baseline import Baseline
from sensor.engines import open_engine
from sensor.pipeline import detect, learn

DEMO = Path(sensor.__file__).parent / "data" / "demo"
PART = 260_000
"""Bytes of the capture that are held against the baseline: the scan, and a little after it."""


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first minutes; the cut falls inside a frame, as it does when a disk is full."""
    path = tmp_path_factory.mktemp("batches") / "bad.pcap"
    with gzip.open(DEMO / "bad_day.pcap.gz") as stream:
        path.write_bytes(stream.read(PART))
    return path


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    decoded = open_engine([DEMO / "quiet_test.pcap.gz"], "native")
    return learn(decoded, decoded.names)


def result(part: Path, baseline: Baseline, batch: int) -> dict[str, Any]:
    decoded = open_engine([part], "native", batch=batch)
    made = detect(decoded, decoded.names, baseline)
    return {
        "alerts": [asdict(alert) for alert in made.alerts],
        "incidents": [asdict(incident) for incident in made.incidents],
        "scores": {key: str(rows.tolist()) for key, rows in made.scores.by_key().items()},
        "notes": made.notes,
    }


def test_batches_of_any_size_give_the_same_alerts(part: Path, baseline: Baseline) -> None:
    whole = result(part, baseline, 1 << 20)
    assert any(alert["rule"] == "new-command-source" for alert in whole["alerts"])
    for size in (1, 7):
        assert result(part, baseline, size) == whole
