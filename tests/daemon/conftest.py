"""What several tests of the daemon need: a baseline, and processes that are ended whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.process import Daemon, lab_baseline


@pytest.fixture(scope="session")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from the short quiet capture."""
    return lab_baseline(tmp_path_factory.mktemp("baseline"))


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
