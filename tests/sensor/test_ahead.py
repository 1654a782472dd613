"""Decoding ahead: the same items in the same order, errors where they belong, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from sensor.ahead import ROOM, ahead
from sensor.engines import open_engine
from sensor.pipeline import detect, learn
from sensor.result import alert_record

DEMO = Path(str(files("sensor") / "data" / "demo"))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "decoding"]


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_same_items_in_the_same_order(count: int, cores: int) -> None:
    assert list(ahead(iter(range(count)), cores)) == list(range(count))
    assert not threads()


def test_it_is_another_thread_that_makes_them() -> None:
    def idents() -> Iterator[int]:
        for _ in range(5):
            yield threading.get_ident()

    assert set(ahead(idents(), 1)) == {threading.get_ident()}
    (maker,) = set(ahead(idents(), 2))
    assert maker != threading.get_ident()


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_comes_behind_the_items_before_it(cores: int) -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    items = ahead(broken(), cores)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert not threads()


def test_no_more_than_a_few_are_made_before_somebody_takes_them() -> None:
    made = 0

    def count() -> Iterator[int]:
        nonlocal made
        while made < 1_000:
            made += 1
            yield made

    for item in ahead(count(), 2):
        assert made <= item + ROOM + 2


def test_whoever_stops_early_ends_the_thread_and_closes_what_it_read() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    items = ahead(endless(), 2)
    assert next(items) == 1
    items.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert not threads()


@pytest.mark.parametrize("batch", [500, 100_000])
def test_alerts_and_baseline_are_the_same(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cores in (1, 2):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)))
        quiet = open_engine([DEMO / "quiet_test.pcap.gz"], "native", batch=batch)
        baseline = learn(quiet, quiet.names)
        bad = open_engine([DEMO / "bad_day.pcap.gz"], "native", batch=batch)
        detection = detect(bad, bad.names, baseline)
        found.append(([alert_record(alert) for alert in detection.alerts], detection.scores, baseline.tables))
    (alerts, scores, tables), (others, other_scores, other_tables) = found
    assert len(alerts) > 20
    assert alerts == others
    assert scores == other_scores
    assert np.all([tables[name].equals(other_tables[name]) for name in tables])
