"""Answers that become slow or stay away; what pairs a request with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from synthetic import IEC104, MODBUS, SECOND, START, FakeNames, message, piece

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.compare import merge
from detectors.exchanges import Exchanges
from detectors.groups import Lens
from detectors.responses import Responses
from detectors.responses_learner import RUN, ResponseLearner, sustained
from grid_profiles.vocabulary import Flag, Role

C, S = Role.CLIENT, Role.SERVER
Took = Callable[[int], float | None]


def asked(conv: int, ts: float, seq: int, **more: Any) -> np.void:
    fields = {
        "proto": MODBUS,
        "role": C,
        "src": 1,
        "dst": 2,
        "conv": conv,
        "stream": 0,
        "kind": 3,
        "seq": seq,
    }
    return message(ts, **(fields | more))


def answered(conv: int, ts: float, seq: int, request: np.void, **more: Any) -> np.void:
    fields = {
        "proto": MODBUS,
        "role": S,
        "src": 2,
        "dst": 1,
        "conv": conv,
        "stream": 0,
        "kind": 3,
        "seq": seq,
    }
    return message(ts, **(fields | {"state": int(request["frame"])} | more))


def polls(seconds: range, took: Took) -> Iterator[Slice]:
    """A Modbus poll every second; ``took`` says how long its answer takes, None that there is none."""
    for n in seconds:
        request = asked(0, n, n)
        wait = took(n)
        yield piece([request] if wait is None else [request, answered(0, n + wait, n, request)], n)


def usual(n: int) -> float:
    return 0.030 + 0.002 * (n % 7)


@cache
def learned(took: Took = usual, seconds: int = 900) -> tuple[FakeNames, Baseline]:
    names = FakeNames()
    names.conv("modbus", 1, 2, 502, "unit 1")
    learner = ResponseLearner(Lens(names))
    for cut in polls(range(seconds), took):
        learner.learn(cut)
    baseline = Baseline()
    learner.finish(baseline)
    return names, baseline


def detected(
    took: Took, trained: Took = usual, lost: int = 0, seconds: int = 300, **flags: Any
) -> list[Finding]:
    names, baseline = learned(trained)
    detector = Responses(baseline, Lens(names), Budget())
    found = []
    for cut in polls(range(3_600, 3_600 + seconds), took):
        cut.lost = lost
        if flags:
            cut.messages["flags"][:1] = flags["flags"]
        found += detector.detect(cut)
    return found


def test_what_was_learned() -> None:
    _, baseline = learned(lambda n: None if n % 10 == 0 else usual(n))
    (row,) = baseline.rows("responses")
    assert (row.kind, row.name, row.count, row.unanswered) == (3, "kind 3", 810, 88)
    assert row.total / row.count == pytest.approx(0.036, abs=0.001)
    assert row.worst == pytest.approx(0.1, abs=0.05)


def test_slow_answers_are_told_once() -> None:
    (found,) = detected(lambda n: usual(n) + 0.2)
    assert (found.rule, found.level, found.reading) == ("response-slow", Level.NOTICE, Reading.FAULT)
    assert "kind 3" in found.summary
    assert "10.0.0.1 to 10.0.0.2 (modbus unit 1)" in found.summary
    assert len(found.frames) == 2


def test_irregularly_late_answers_are_slow_too() -> None:
    found = detected(lambda n: usual(n) + (0.4 if n % 5 < 3 else 0.0))
    assert {one.rule for one in found} == {"response-slow"}


@pytest.mark.parametrize(
    "took",
    [
        usual,
        lambda n: usual(n) + (0.5 if n % 5 == 0 else 0.0),  # single ones
        lambda n: usual(n) + 0.01,  # a little more load
    ],
)
def test_usual_answers_say_nothing(took: Took) -> None:
    assert detected(took) == []


def test_quick_again_and_slow_again_is_told_twice() -> None:
    found = detected(lambda n: usual(n) + (0.3 if n % 120 >= 90 else 0.0))
    assert [one.rule for one in found] == ["response-slow"] * 2


def test_answers_that_stay_away() -> None:
    found = detected(lambda n: None if n % 2 else usual(n))
    assert {(one.rule, one.level) for one in found} == {("response-missing", Level.NOTICE)}
    assert all(one.p_value < 1e-5 for one in found)
    assert "requests (kind 3) had no answer in a minute" in found[0].summary


def test_a_lost_answer_now_and_then_says_nothing() -> None:
    assert detected(lambda n: None if n % 20 == 0 else usual(n)) == []


def test_what_was_unanswered_while_learning_may_be() -> None:
    half: Took = lambda n: None if n % 3 == 0 else usual(n)  # noqa: E731
    assert detected(half, trained=half) == []


def test_loss_explains_missing_answers() -> None:
    found = detected(lambda n: None if n % 2 else usual(n), lost=2)
    assert {(one.level, one.reading) for one in found} == {(Level.INFO, Reading.VISIBILITY)}


def test_missing_bytes_say_nothing_about_answers() -> None:
    assert detected(lambda n: None if n % 2 else usual(n), flags=Flag.GAP) == []


def test_a_short_training_is_not_judged() -> None:
    names, baseline = learned(seconds=20)
    detector = Responses(baseline, Lens(names), Budget())
    assert [one for cut in polls(range(60, 90), lambda n: 0.9) for one in detector.detect(cut)] == []


def test_margin_is_what_the_slowest_answer_left() -> None:
    names, baseline = learned()
    detector = Responses(baseline, Lens(names), Budget())
    for cut in polls(range(3_600, 3_610), lambda n: 0.021):
        detector.detect(cut)
    ((name, unit, key, left),) = detector.margins()
    assert (name, unit, key[0]) == ("margin.response_left", "1", "modbus")
    assert left == pytest.approx(1 - 0.021 / 0.05, abs=0.01)
    assert detector.margins() == []


def test_merging_adds() -> None:
    (_, one), (_, other) = learned(), learned(seconds=600)
    merged = merge(one, other)
    (row,) = merged.rows("responses")
    assert row.count == 1_500
    assert Baseline.from_bytes(merged.to_bytes()).to_bytes() == merged.to_bytes()


def test_cut_into_slices_it_pairs_the_same() -> None:
    names = FakeNames()
    names.conv("modbus", 1, 2, 502, "unit 1")
    rows: list[np.void] = []
    for n in range(40):
        rows.append(asked(0, n / 10, n))
        if n % 4:
            rows.append(answered(0, n / 10 + 0.3, n, rows[-1]))
    rows.sort(key=lambda row: int(row["ts"]))

    def pairs(size: int) -> list[tuple[int, int]]:
        exchanges, found = Exchanges(names), []
        for at in range(0, len(rows), size):
            first, second, _ = exchanges.push(piece(rows[at : at + size], 0))
            found += list(zip(first["frame"].tolist(), second["frame"].tolist(), strict=True))
        return found

    assert len(pairs(1)) == 30
    assert pairs(1) == pairs(7) == pairs(len(rows))


def test_iec104_confirmations_and_tests() -> None:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    link = {"proto": IEC104, "conv": 0, "stream": 0}
    client, server = link | {"role": C, "src": 1, "dst": 2}, link | {"role": S, "src": 2, "dst": 1}
    rows = [
        message(0.0, **client, kind=45, cause=6, point=7),
        message(0.1, **client, kind=45, cause=6, point=8),
        message(0.2, **server, kind=45, cause=7, point=8),
        message(0.3, **client, kind=528),
        message(0.4, **server, kind=528),  # both sides test at once
        message(0.5, **client, kind=544),
        message(0.6, **server, kind=544),
        message(0.7, **server, kind=45, cause=10, point=8),  # a termination answers nothing
        message(0.8, **server, kind=45, cause=7, point=7, flags=Flag.RETRANSMITTED),
        message(0.9, **server, kind=45, cause=7, point=7),
    ]
    first, second, missed = Exchanges(names).push(piece(rows))
    frames = sorted(zip((first["frame"] - 1).tolist(), (second["frame"] - 1).tolist(), strict=True))
    assert frames == [(0, 900), (100, 200), (300, 600), (400, 500)]
    assert len(missed) == 0


def test_a_number_used_again_leaves_the_older_request_unanswered() -> None:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    act = {"proto": IEC104, "conv": 0, "stream": 0, "role": C, "src": 1, "dst": 2, "kind": 45, "cause": 6}
    exchanges = Exchanges(names)
    _, _, missed = exchanges.push(piece([message(0.0, **act, point=7), message(0.5, **act, point=7)]))
    assert missed["ts"].tolist() == [START]
    _, _, missed = exchanges.push(piece([], 30))
    assert missed["ts"].tolist() == [START + SECOND // 2]


def test_what_waits_is_bounded() -> None:
    names = FakeNames()
    names.conv("modbus", 1, 2, 502)
    exchanges = Exchanges(names, limit=10)
    exchanges.push(piece([asked(0, n / 1000, n) for n in range(25)]))
    assert exchanges.evicted == 15
    _, _, missed = exchanges.push(piece([], 60))
    assert len(missed) == 10


def test_sustained_is_the_median_of_five_in_a_row() -> None:
    took = np.array([1.0, 9.0, 1.0, 8.0, 7.0, 1.0, 3.0])
    first, sizes = np.array([0, 5]), np.array([5, 2])
    before = np.array([[0.0] * (RUN - 1), [3.0, 3.0, 3.0, 9.0]])
    medians, last = sustained(took, first, sizes, before)
    assert medians.tolist() == [0.0, 0.0, 1.0, 1.0, 7.0, 3.0, 3.0]
    assert last.tolist() == [[9.0, 1.0, 8.0, 7.0], [3.0, 9.0, 1.0, 3.0]]
