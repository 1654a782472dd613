"""A baseline and a bad day's bundles, made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors.base import Alert
from detectors.baseline import Baseline
from sensor.bundle.keep import Folder
from sensor.bundle.layout import Bundle
from sensor.bundle.origin import Origin, origin_from
from sensor.bundle.ring import FrameRing
from sensor.bundle.sign import Signer
from sensor.bundle.write import Job, write_bundle
from sensor.capture.pcapfile import CaptureFile
from sensor.engines import open_engine
from sensor.pipeline import detect
from sensor.sinks.secret import Secret
from tests.bundle.samples import key_file
from tests.daemon.process import DEMO, lab_baseline


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from the short quiet capture."""
    return lab_baseline(tmp_path_factory.mktemp("baseline"))


@pytest.fixture(scope="session")
def found(baseline: Path) -> list[Alert]:
    """Alerts of the bad day."""
    decoded = open_engine([DEMO / "bad_day.pcap.gz"], "native")
    return detect(decoded, decoded.names, Baseline.load(baseline)).alerts


@pytest.fixture(scope="session")
def origin(baseline: Path) -> Origin:
    return origin_from(baseline, Baseline.load(baseline), "native", (), "lab", "s1")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(Secret(file=key_file(tmp_path / "sign.key")))


Make = Callable[..., Bundle]


@pytest.fixture(scope="session")
def whole_day() -> FrameRing:
    """All frames of the bad day."""
    ring = FrameRing(1 << 30)
    for batch in CaptureFile(DEMO / "bad_day.pcap.gz").batches():
        ring.add(batch)
    return ring


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "evidence")
    made.open()
    yield made
    shutil.rmtree(made.path, ignore_errors=True)


@pytest.fixture
def make(folder: Folder, whole_day: FrameRing, found: list[Alert], origin: Origin) -> Make:
    """Writes the bundle of one of the alerts."""

    def write(number: int = 0, now: float = 1_800_000_000.0, signer: Signer | None = None) -> Bundle:
        alert = replace([one for one in found if one.frames][number])
        at = round(alert.start * 1e9)
        cut = whole_day.cut(at - 10**10, at + 5 * 10**9, 1 << 24, 1 << 18)
        assert len(cut.numbers) > np.int64(0)
        job = Job([alert], cut, origin, 10.0, 5.0, 1 << 18)
        return write_bundle(folder, job, now, signer, "not asked for")

    return write
