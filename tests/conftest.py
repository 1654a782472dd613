"""Fixtures that every test may use: the corpus, tshark, a seed for reproducible noise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Kernels compile on first use, so the first example of a property may take seconds.
settings.register_profile("gridwarden", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gridwarden")

os.environ["COLUMNS"] = "200"  # consoles measure themselves once, and pytest-xdist says 80
CORPUS = os.environ.get("GRIDWARDEN_CORPUS", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run."""
    no_corpus = pytest.mark.skip(reason="no corpus: set GRIDWARDEN_CORPUS to its folder")
    no_tshark = pytest.mark.skip(reason="no tshark: sudo apt-get install tshark")
    have_corpus = bool(CORPUS) and Path(CORPUS).is_dir()
    have_tshark = shutil.which("tshark") is not None
    for item in items:
        if not have_corpus and item.get_closest_marker("corpus"):
            item.add_marker(no_corpus)
        if not have_tshark and item.get_closest_marker("tshark"):
            item.add_marker(no_tshark)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Folder of real captures; a test that uses it without the mark skips as well."""
    if not CORPUS or not Path(CORPUS).is_dir():
        pytest.skip("no corpus: set GRIDWARDEN_CORPUS to its folder")
    return Path(CORPUS)


@pytest.fixture
def rng() -> np.random.Generator:
    """Noise that is the same in every run."""
    return np.random.default_rng(20_260_101)
