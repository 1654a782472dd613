"""GOOSE rules, frame by frame: each is broken once and kept once (IEC 61850-8-1, 18.1.2.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_bench import at, learned, said

from detectors.base import Level
from detectors.rules.goose import GooseRules
from tests.lab import frames as f

GROUP, IED, OTHER = "01:0c:cd:01:00:01", "00:0c:29:00:00:07", "00:0c:29:00:00:66"
ALARM, WARNING, NOTICE = Level.ALARM, Level.WARNING, Level.NOTICE


def goose(
    seconds: float,
    state: int,
    number: int,
    source: str = IED,
    changed: float = 0.0,
    revision: int = 1,
    simulation: bool = False,
    incomplete: bool = False,
    trip: bool = False,
) -> f.Stamped:
    """One frame of the block; time allowed to live 2 s."""
    body = f.goose_pdu(
        "IED7LD0/LLN0$GO$gcb1",
        2000,
        "IED7LD0/LLN0$ds",
        "trip",
        at(changed),
        state,
        number,
        [f.g_bool(trip)],
        conf_rev=revision,
        simulation=simulation,
        nds_com=incomplete,
    )
    return at(seconds), f.goose_frame(GROUP, source, 0x3001, body)


def beat(
    count: int, state: int = 5, first: int = 1, start: float = 0.0, step: float = 1.0
) -> list[f.Stamped]:
    """A healthy heartbeat."""
    return [goose(n * step, state, first + n) for n in range(count)]


def quiet(first: int, last: int) -> list[f.Stamped]:
    """Another block beats each second while this one is silent."""
    return [
        (ts, frame.replace(b"gcb1", b"gcb2")) for ts, frame in (goose(n, 1, n) for n in range(first, last))
    ]


BROKEN = {
    "second publisher": ([*beat(3), goose(2.5, 5, 4, OTHER)], ("goose-second-publisher", ALARM)),
    "state goes back": ([*beat(3), goose(3, 4, 9)], ("goose-replay", ALARM)),
    "sequence goes back": ([*beat(3), goose(3, 5, 2)], ("goose-replay", ALARM)),
    "same frame, late": ([*beat(3), goose(2.5, 5, 3)], ("goose-replay", ALARM)),
    "state skips": ([*beat(3), goose(3, 8, 0, changed=3)], ("goose-state-jump", WARNING)),
    "state far ahead": ([*beat(3), goose(3, 900, 0, changed=3)], ("goose-state-jump", ALARM)),
    "sequence skips": ([*beat(3), goose(3, 5, 7)], ("goose-gap", NOTICE)),
    "change without its first frames": ([*beat(3), goose(3, 6, 4, changed=3)], ("goose-gap", NOTICE)),
    "restart": ([*beat(3), goose(3, 1, 1, changed=3)], ("goose-restart", NOTICE)),
    "late frame": ([*beat(3), goose(4.5, 5, 4)], ("goose-expired", Level.INFO)),
    "very late frame": ([*beat(3), goose(6.5, 5, 4)], ("goose-expired", WARNING)),
    "one frame lost": ([*beat(3), goose(4, 5, 5)], ("goose-gap", Level.INFO)),
    "moved time of change": ([*beat(3), goose(3, 5, 4, changed=2)], ("goose-time", WARNING)),
    "simulation": ([*beat(3), goose(3, 5, 4, simulation=True)], ("goose-test", WARNING)),
    "ndsCom": ([*beat(3), goose(3, 5, 4, incomplete=True)], ("goose-commissioning", NOTICE)),
    "flood": (beat(600, step=0.001), ("goose-flood", ALARM)),
}

KEPT = {
    "heartbeat": beat(10),
    "change with burst": [*beat(3), *(goose(2.5 + 0.004 * n, 6, n, changed=2.5) for n in range(5))],
    "two changes in a row": [*beat(3), goose(2.5, 6, 0, changed=2.5), goose(2.51, 7, 0, changed=2.51)],
    "mirrored frame": [*beat(3), goose(2.001, 5, 3), goose(3, 5, 4)],
    "sequence wraps to 1": [goose(0, 5, (1 << 32) - 1), goose(1, 5, 1)],
    "state wraps to 1": [goose(0, (1 << 32) - 1, 4), goose(1, 1, 0, changed=1)],
    "busy block": beat(400, step=0.002),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path: Path, case: str) -> None:
    frames, expected = BROKEN[case]
    assert set(said(tmp_path / "x.pcap", GooseRules, frames)) == {expected}


@pytest.mark.parametrize("case", KEPT)
def test_kept(tmp_path: Path, case: str) -> None:
    assert said(tmp_path / "x.pcap", GooseRules, KEPT[case]) == []


@pytest.mark.parametrize("milliseconds", [250, 1000, 2000])
def test_a_flood_is_counted_by_the_second_however_long_a_slice_is(tmp_path: Path, milliseconds: int) -> None:
    def found(frames: list[f.Stamped]) -> list[tuple[str, Level]]:
        return said(tmp_path / "x.pcap", GooseRules, frames, length=milliseconds * 1_000_000)

    assert found(beat(1_600, step=0.0025)) == []  # 400 a second for four seconds
    assert found(beat(1_800, step=1 / 600)) == [("goose-flood", ALARM)] * 3


def test_a_silence_is_told_while_it_lasts_and_once(tmp_path: Path) -> None:
    clock = [goose(n, 1, n, OTHER) for n in range(1, 12)]
    for index, (ts, frame) in enumerate(clock):  # another block that goes on
        clock[index] = (ts, frame.replace(b"gcb1", b"gcb2"))
    found = said(tmp_path / "x.pcap", GooseRules, [*beat(3), *clock])
    assert found == [("goose-expired", WARNING)]


def test_configuration_and_publisher_are_held_against_learning(tmp_path: Path) -> None:
    baseline = learned(tmp_path / "learn.pcap", beat(20))
    changed = [goose(n, 5, n, revision=2) for n in range(3)]
    assert set(said(tmp_path / "x.pcap", GooseRules, changed, baseline)) == {("goose-configuration", WARNING)}
    foreign = [goose(n, 5, n, OTHER) for n in range(3)]
    assert ("goose-second-publisher", ALARM) in said(tmp_path / "y.pcap", GooseRules, foreign, baseline)
    assert said(tmp_path / "z.pcap", GooseRules, beat(5), baseline) == []


def test_a_restart_at_the_first_state_is_no_replay(tmp_path: Path) -> None:
    silent = [*beat(20, state=1), *quiet(20, 45)]
    told = {rule for rule, _ in said(tmp_path / "x.pcap", GooseRules, [*silent, goose(45, 1, 0, changed=45)])}
    assert told == {"goose-expired", "goose-restart"}
    old = {rule for rule, _ in said(tmp_path / "y.pcap", GooseRules, [*silent, goose(45, 1, 1)])}
    assert old == {"goose-expired", "goose-replay"}


def test_a_second_lost_frame_within_minutes_is_told(tmp_path: Path) -> None:
    rows = [*beat(3), goose(4, 5, 5), goose(5, 5, 6), goose(7, 5, 8)]
    gaps = [level for rule, level in said(tmp_path / "x.pcap", GooseRules, rows) if rule == "goose-gap"]
    assert gaps == [Level.INFO, NOTICE]


def test_a_stranger_heard_first_does_not_take_the_place_of_the_publisher(tmp_path: Path) -> None:
    baseline = learned(tmp_path / "learn.pcap", beat(20))
    rows = [goose(0, 5, 1, OTHER), goose(0.1, 5, 8), goose(1, 5, 2, OTHER), goose(1.1, 5, 9)]
    found = said(tmp_path / "x.pcap", GooseRules, rows, baseline)
    assert found == [("goose-second-publisher", ALARM)] * 2


def test_an_ied_that_always_moves_its_time_of_change_is_a_habit(tmp_path: Path) -> None:
    moving = [goose(n, 5, n + 1, changed=n) for n in range(20)]
    baseline = learned(tmp_path / "learn.pcap", moving)
    assert set(said(tmp_path / "x.pcap", GooseRules, moving, baseline)) == {("goose-time", Level.INFO)}
    assert set(said(tmp_path / "y.pcap", GooseRules, moving)) == {("goose-time", WARNING)}
