"""What several tests of the daemon need: a baseline, and processes that are ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sensor.engines import open_engine
from sensor.pipeline import learn
from tests.daemon.process import DEMO, Daemon


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from the short quiet capture."""
    path = tmp_path_factory.mktemp("baseline") / "lab.baseline"
    decoded = open_engine([DEMO / "quiet_test.pcap.gz"], "native")
    learn(decoded, decoded.names).save(path)
    return path


@pytest.fixture
def daemon() -> Iterator[Callable[..., Daemon]]:
    """Starts daemons; those left over are ended."""
    started: list[Daemon] = []

    def start(*arguments: object) -> Daemon:
        made = Daemon(*arguments)  # type: ignore[arg-type]
        started.append(made)
        return made

    yield start
    for one in started:
        one.kill()
