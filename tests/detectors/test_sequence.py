"""What follows what: transitions that never were, bursts of improbable ones, and what cuts a chain."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pytest
from synthetic import GOOSE, IEC104, MODBUS, FakeNames, message, piece

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.chains import PROCEDURE, Chains, spelled, symbol
from detectors.compare import merge
from detectors.groups import Lens
from detectors.sequence import Sequence
from detectors.sequence_learner import SequenceLearner
from grid_profiles.vocabulary import Flag, Role

CYCLE = [3, 4, 1, 2]
"""Function codes that a master polls, over and over."""


def request(ts: float, kind: int, conv: int = 0, **more: Any) -> np.void:
    fields = {
        "proto": MODBUS,
        "role": Role.CLIENT,
        "src": 1,
        "dst": 2,
        "conv": conv,
        "stream": 0,
        "kind": kind,
    }
    return message(ts, **(fields | more))


def slices(kinds: Iterable[int], start: int = 0, **more: Any) -> Iterator[Slice]:
    """Four requests a second."""
    rows = [request(start + n / 4, kind, **more) for n, kind in enumerate(kinds)]
    for at in range(0, len(rows), 4):
        yield piece(rows[at : at + 4], start + at // 4)


@cache
def learned(kinds: tuple[int, ...]) -> tuple[FakeNames, Baseline]:
    names = FakeNames()
    names.conv("modbus", 1, 2, 502)
    learner = SequenceLearner(Lens(names))
    for cut in slices(kinds):
        learner.learn(cut)
    baseline = Baseline()
    learner.finish(baseline)
    return names, baseline


def detected(kinds: Iterable[int], trained: Iterable[int] = CYCLE * 500, **more: Any) -> list[Finding]:
    names, baseline = learned(tuple(trained))
    names.conv("modbus", 1, 3, 502)
    detector = Sequence(baseline, Lens(names), Budget())
    return [one for cut in slices(kinds, 10_000, **more) for one in detector.detect(cut)]


def test_the_same_cycle_says_nothing() -> None:
    assert detected(CYCLE * 100) == []


def test_a_new_transition_between_known_kinds() -> None:
    found = detected([*CYCLE * 10, 3, 1, 2, *CYCLE * 10])
    assert [(one.rule, one.level) for one in found] == [("sequence-new", Level.NOTICE)]
    assert "kind 1 right after kind 3" in found[0].summary
    assert found[0].expected == "after kind 3: kind 4 (100%)"
    assert found[0].observed == "kind 1, kind 2, kind 3, kind 1"
    assert len(found[0].frames) == 2


def test_a_burst_of_improbable_transitions() -> None:
    found = detected([*CYCLE * 10, 3, 1, 4, 2, 1, 3, *CYCLE * 10])
    bursts = [one for one in found if one.rule == "sequence-burst"]
    assert [one.level for one in bursts] == [Level.WARNING]
    assert "improbable transitions within 10 s" in bursts[0].summary


@pytest.mark.parametrize("new", [[3, 99, 4], [99, 98, 97, 99, 97]])
def test_a_new_kind_is_the_allow_lists(new: list[int]) -> None:
    assert detected([*CYCLE * 10, *new, 1, 2, *CYCLE * 10]) == []


def test_a_new_conversation_is_the_allow_lists() -> None:
    assert detected([3, 1, 4, 2] * 30, conv=1) == []


def test_independent_streams_may_meet_in_any_order() -> None:
    """Two polls with timers of their own: their order is chance, and rare meetings are no news."""
    dice = random.Random(1)
    mixed = [dice.choices([3, 4, 1], [0.6, 0.35, 0.05])[0] for _ in range(3_000)]
    later = [dice.choices([3, 4, 1], [0.6, 0.35, 0.05])[0] for _ in range(3_000)]
    assert detected(later, trained=mixed) == []


def test_an_order_that_was_still_being_learned_is_not_judged() -> None:
    trained = [*CYCLE * 450, *[4, 3, 2, 1] * 2, *CYCLE * 50]
    assert [one.rule for one in detected([*CYCLE * 10, 3, 1, 2, *CYCLE], trained)] == []


def test_a_short_training_is_not_judged() -> None:
    assert detected([3, 1, 4, 2, 1, 3], trained=CYCLE * 20) == []


def test_what_other_conversations_do_is_no_news() -> None:
    names, baseline = learned((*CYCLE * 500,))
    other = names.conv("modbus", 1, 3, 502)
    learner = SequenceLearner(Lens(names))
    for cut in slices([3, 1, 2, 4] * 500, conv=other):
        learner.learn(cut)
    second = Baseline()
    learner.finish(second)
    for known, rules in ((baseline, ["sequence-new"]), (merge(baseline, second), [])):
        detector = Sequence(known, Lens(names), Budget())
        cuts = slices([*CYCLE * 10, 3, 1, 2, *CYCLE * 10], 10_000)
        assert [one.rule for cut in cuts for one in detector.detect(cut)] == rules


@pytest.mark.parametrize(
    "cause", ["missing bytes", "late segment", "new connection", "lost frames", "repeated", "answer"]
)
def test_what_cuts_a_chain(cause: str) -> None:
    names, baseline = learned((*CYCLE * 500,))
    detector = Sequence(baseline, Lens(names), Budget())
    rows = [request(10_000 + n / 4, kind) for n, kind in enumerate([3, 4, 1, 2, 3, 1, 2, 3, 4, 1])]
    odd = rows[5]
    if cause == "missing bytes":
        odd["flags"] = Flag.GAP
    elif cause == "late segment":
        odd["flags"] = Flag.LATE
        rows[6]["kind"], rows[7]["kind"] = 3, 4
        rows[8:] = []
    elif cause == "new connection":
        for row in rows[5:]:
            row["stream"] = 1
    elif cause == "repeated":
        odd["flags"] = Flag.RETRANSMITTED
        rows[6]["kind"], rows[7]["kind"] = 4, 1
        rows[8:] = []
    elif cause == "answer":
        odd["role"] = Role.SERVER
        rows[6]["kind"], rows[7]["kind"] = 4, 1
        rows[8:] = []
    cut = piece(rows, 10_000, length=4)
    cut.lost = 1 if cause == "lost frames" else 0
    assert detector.detect(cut) == []


def test_slices_of_any_length_say_the_same() -> None:
    names, baseline = learned((*CYCLE * 500,))
    rows = [
        request(10_000 + n / 100, kind) for n, kind in enumerate([*CYCLE * 5, 3, 1, 2, 3, 4, 2, 1, *CYCLE])
    ]

    def said(size: int) -> list[tuple[str, int, str]]:
        detector = Sequence(baseline, Lens(names), Budget())
        cuts = [piece(rows[at : at + size], 10_000) for at in range(0, len(rows), size)]
        found = [one for cut in cuts for one in detector.detect(cut)]
        return [(one.rule, one.ts, one.observed) for one in found if one.rule == "sequence-new"]

    assert said(1) == said(5) == sorted(said(len(rows)), key=lambda one: one[1])
    assert len(said(1)) >= 3


def procedure(ts: float, cause: int, point: int = 7, **more: Any) -> np.void:
    server = cause in (7, 10)
    hosts = {"src": 2, "dst": 1} if server else {"src": 1, "dst": 2}
    role = Role.SERVER if server else Role.CLIENT
    fields = {
        "proto": IEC104,
        "conv": 0,
        "stream": 0,
        "kind": 45,
        "cause": cause,
        "point": point,
        "role": role,
    }
    return message(ts, **(fields | hosts | more))


def commands(start: int, number: int, *causes: int) -> Iterator[Slice]:
    """Commands on two objects side by side, each with its own confirmation and termination."""
    ticks = count()
    for n in range(number):
        rows = [procedure(start + n + next(ticks) % 9 / 10, cause, p) for cause in causes for p in (7, 8)]
        yield piece(rows, start + n)


def test_procedures_of_different_objects_do_not_disturb_each_other() -> None:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    learner = SequenceLearner(Lens(names))
    for cut in commands(0, 400, 6, 7, 10):
        learner.learn(cut)
    baseline = Baseline()
    learner.finish(baseline)
    found = {
        (row.before_name, row.after_name) for row in baseline.rows("transitions") if row.chain == PROCEDURE
    }
    assert found == {
        ("kind 45 activation", "kind 45 confirmation"),
        ("kind 45 confirmation", "kind 45 termination"),
        ("kind 45 termination", "kind 45 activation"),
    }
    quiet, odd = (Sequence(baseline, Lens(names), Budget()) for _ in range(2))
    assert [one for cut in commands(9_000, 50, 6, 7, 10) for one in quiet.detect(cut)] == []
    # a second activation that nobody let end: what a replayed command looks like
    said = [one for cut in commands(9_000, 2, 6, 7, 6, 7, 10) for one in odd.detect(cut)]
    new = [one for one in said if one.rule == "sequence-new"]
    assert new
    assert "kind 45 activation right after kind 45 confirmation" in new[0].summary
    assert new[0].technique == "T0855"


def test_publishers_have_no_chain() -> None:
    names = FakeNames()
    names.conv("goose", 1, 2)
    rows = [message(n / 10, proto=GOOSE, role=Role.PUBLISHER, conv=0, kind=1 + n % 2) for n in range(9)]
    assert len(Chains(Lens(names)).push(piece(rows)).row) == 0


def test_symbols_can_be_read_back() -> None:
    one = np.array([1], np.int64)
    for role, kind, cause, select in ((1, 45, 6, 1), (2, 0xFFFFF, -1, 0), (4, 0, 0, 1)):
        code = int(symbol(one * role, one * kind, one * cause, one * select)[0])
        assert spelled(code) == (role, kind, cause, select)


def test_flood_of_conversations_is_bounded() -> None:
    names = FakeNames()
    convs = [names.conv("modbus", 1, 2 + n, 502) for n in range(3)]
    lens = Lens(names)
    chains = Chains(lens)
    rows = [request(n / 1e6, 3, conv=convs[n % 3], stream=n) for n in range(70_000)]
    chains.push(piece(rows))
    chains.push(piece([request(2, 3, conv=0, stream=n + 70_000) for n in range(10)], 2))
    assert chains.evicted >= 1


def test_merging_adds_counts_and_survives_the_archive() -> None:
    (_, one), (_, other) = learned((*CYCLE * 100,)), learned((*CYCLE * 50,))
    merged = merge(one, other)
    assert sum(row.count for row in merged.rows("transitions")) == 399 + 199
    again = Baseline.from_bytes(merged.to_bytes())
    assert again.tables["transitions"].equals(merged.tables["transitions"])
