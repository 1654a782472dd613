"""GOOSE: data that change while stNum stays (IEC 61850-8-1, 18.1.2.5), frame by frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_bench import learned, said
from test_goose_rules import IED, OTHER
from test_goose_rules import goose as frame

from detectors.base import Level
from detectors.rules.goose_data import GooseDataRules
from tests.lab import frames as f

TOLD = ("goose-data", Level.WARNING)


def goose(
    seconds: float, state: int, number: int, trip: bool, source: str = IED, simulation: bool = False
) -> f.Stamped:
    """One frame of a block with one boolean."""
    return frame(seconds, state, number, source, simulation=simulation, trip=trip)


def beat(count: int, trip: bool = False) -> list[f.Stamped]:
    return [goose(n, 5, n + 1, trip) for n in range(count)]


BROKEN = {
    "in a repetition": [*beat(3), goose(3, 5, 4, True)],
    "across slices": [*beat(3), goose(30, 5, 4, True)],
    "a second frame with the same counters": [*beat(3), goose(2.002, 5, 3, True)],
}

KEPT = {
    "heartbeat": beat(5),
    "a change": [*beat(3), goose(3, 6, 0, True), goose(3.004, 6, 1, True)],
    "a restart with other data": [goose(n, 1, n + 2, False) for n in range(3)] + [goose(30, 1, 0, True)],
    "a test set beside it": [*beat(3), goose(2.5, 5, 3, True, simulation=True), goose(3, 5, 4, False)],
    "another publisher": [*beat(3), goose(2.5, 5, 3, True, OTHER), goose(3, 5, 4, False)],
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path: Path, case: str) -> None:
    assert said(tmp_path / "x.pcap", GooseDataRules, BROKEN[case])[0] == TOLD


@pytest.mark.parametrize("case", KEPT)
def test_kept(tmp_path: Path, case: str) -> None:
    assert said(tmp_path / "x.pcap", GooseDataRules, KEPT[case]) == []


def test_a_publisher_that_refreshes_in_repetitions_is_a_habit(tmp_path: Path) -> None:
    lax = [goose(n, 5, n + 1, bool(n % 2)) for n in range(12)]
    baseline = learned(tmp_path / "learn.pcap", lax)
    assert {level for _, level in said(tmp_path / "x.pcap", GooseDataRules, lax, baseline)} == {Level.INFO}
    assert {level for _, level in said(tmp_path / "y.pcap", GooseDataRules, lax)} == {Level.WARNING}
