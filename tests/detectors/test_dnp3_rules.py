"""DNP3 rules: each is broken once and kept once (IEEE 1815-2012)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.dnp3 import Dnp3Rules
from grid_profiles.vocabulary import POINT, Flag

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
CROB = "0x0c01/5"
Rows = list[np.void]


class Line(Bench):
    """One master and one outstation."""

    def __init__(self) -> None:
        super().__init__("dnp3", Dnp3Rules)

    def ask(self, ts: float, kind: int, seq: int, **more: Any) -> np.void:
        return self.row(ts, kind, **({"role": C, "sub": "outstation 4", "aux": 1, "seq": seq} | more))

    def answer(self, ts: float, seq: int, iin: int = 0, **more: Any) -> np.void:
        return self.row(
            ts, 129, **({"role": S, "sub": "outstation 4", "aux": 1, "seq": seq, "cause": iin} | more)
        )

    def polls(self, count: int = 5, iin: int = 0) -> Rows:
        return [
            row for n in range(count) for row in (self.ask(n, 1, n % 16), self.answer(n + 0.1, n % 16, iin))
        ]

    def refusals(self, count: int) -> Rows:
        return [self.answer(5 + n / 10, 4, 0x0001, flags=int(Flag.NEGATIVE)) for n in range(count)]


def broken(b: Line) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    mismatch = ("dnp3-select-mismatch", WARNING)
    ask, answer, polls = b.ask, b.answer, b.polls
    select = ask(6, 3, 6, point=CROB, value=3.0)
    station = {"sub": "outstation 9"}
    return {
        "restart bit": ([*polls(), ask(6, 1, 6), answer(6.1, 6, 0x8000)], ("dnp3-restarted", NOTICE)),
        "overflow": ([*polls(), ask(6, 1, 6), answer(6.1, 6, 0x0008)], ("dnp3-overflow", NOTICE)),
        "corrupt": ([*polls(), ask(6, 1, 6), answer(6.1, 6, 0x0020)], ("dnp3-config-corrupt", WARNING)),
        "trouble": ([*polls(), ask(6, 1, 6), answer(6.1, 6, 0x4000)], ("dnp3-trouble", NOTICE)),
        "local": ([*polls(), ask(6, 1, 6), answer(6.1, 6, 0x2000)], ("dnp3-local", NOTICE)),
        "probing": ([*polls(), *b.refusals(3)], ("dnp3-refused", WARNING)),
        "control status": (
            [*polls(), ask(6, 5, 6), answer(6.1, 6, flags=int(Flag.NEGATIVE))],
            ("dnp3-control-refused", NOTICE),
        ),
        "operate alone": ([*polls(), ask(6, 4, 6, point=CROB, value=3.0)], ("dnp3-unselected", WARNING)),
        "operate long after": ([select, ask(90, 4, 7, point=CROB, value=3.0)], ("dnp3-unselected", WARNING)),
        "other object": (
            [select, ask(6.5, 4, 7, point="0x0c01/6", value=3.0)],
            ("dnp3-select-mismatch", WARNING),
        ),
        "other operation": ([select, ask(6.5, 4, 7, point=CROB, value=4.0)], mismatch),
        "other sequence": ([select, ask(6.5, 4, 9, point=CROB, value=3.0)], mismatch),
        "left silent": ([ask(1, 21, 1), *[ask(n, 1, n % 16) for n in range(2, 140)]],
                        ("dnp3-unsolicited-off", WARNING)),
        "broadcast": (
            [ask(1, 13, 1, sub="outstation 65535", flags=int(Flag.BROADCAST))],
            ("dnp3-broadcast", WARNING),
        ),
        "outstation commands": (
            [*polls(), ask(6, 1, 0, src="10.0.0.2", dst="10.0.0.1", **station)],
            ("dnp3-role", WARNING),
        ),
        "second master": ([*polls(), ask(6, 1, 6, aux=77)], ("dnp3-master", WARNING)),
        "not asked": ([*polls(), answer(6, 11)], ("dnp3-unasked", NOTICE)),
        "damaged": (
            [b.row(1 + n / 10, -1, flags=int(Flag.MALFORMED)) for n in range(3)],
            ("dnp3-crc", NOTICE),
        ),
        "out of turn": ([*polls(20), ask(21, 1, 9)], ("dnp3-sequence", NOTICE)),
        "again although answered": ([*polls(20), ask(21, 1, 3)], ("dnp3-sequence", NOTICE)),
        "control without answer": (
            [*polls(), ask(6, 5, 5, point=CROB), answer(6.1, 5), ask(8, 6, 6, point=CROB)],
            ("dnp3-no-answer", NOTICE),
        ),
        "silenced in the midst": ([*polls(80), ask(90, 21, 0)], ("dnp3-unsolicited-off", WARNING)),
    }  # fmt: skip


def kept(b: Line) -> dict[str, Rows]:
    ask, answer, polls = b.ask, b.answer, b.polls
    select = ask(6, 3, 6, point=CROB, value=3.0)
    return {
        "polls": polls(40),
        "a bit that was set all along": polls(20, iin=0x8000),
        "two refusals": [*polls(), *b.refusals(2)],
        "select and operate": [select, answer(6.1, 6), ask(6.2, 4, 7, point=CROB, value=3.0)],
        "operate repeated": [
            select,
            ask(6.2, 4, 7, point=CROB, value=3.0),
            ask(9.2, 4, 7, point=CROB, value=3.0),
        ],
        "start-up": [ask(1, 21, 1), ask(3, 20, 2), *[ask(n, 1, n % 16) for n in range(4, 140)]],
        "broadcast of a read": [ask(1, 1, 1, flags=int(Flag.BROADCAST))],
        "a response of several fragments": [ask(1, 1, 3), *[answer(1 + n / 10, 3 + n) for n in range(4)]],
        "unsolicited runs by itself": [*polls(), b.row(6, 130, S, sub="outstation 4", seq=13, cause=0)],
        "silenced after a restart": [*polls(80, iin=0x8000), ask(81, 21, 0), ask(82, 20, 1)],
        "asked again, as nobody answered": [*polls(20), ask(21, 1, 4), ask(26, 1, 4), answer(26.1, 4)],
        "a master that counts otherwise": [
            row for n in range(40) for row in (ask(n, 1, n * 7 % 16), answer(n + 0.1, n * 7 % 16))
        ],
        "a new connection begins anew": [
            *polls(20),
            ask(21, 1, 0, stream=1),
            answer(21.1, 0),
            ask(22, 1, 1, stream=1),
        ],
        "lost on the way": [*polls(20), ask(21, 1, 9, flags=int(Flag.GAP)), answer(21.1, 9)],
        "confirmations count with what they confirm": [
            row
            for n in range(20)
            for row in (ask(n, 1, n % 16), answer(n + 0.1, n % 16), ask(n + 0.2, 0, n % 16))
        ],
        "never an answer to a control": [*polls(), *[ask(6 + n, 6, 5 + n, point=CROB) for n in range(5)]],
        "one damaged frame": [b.row(1, -1, flags=int(Flag.MALFORMED)), *polls()],
        "sequence wraps": [b.ask(1, 3, 15, point=CROB), b.ask(1.5, 4, 0, point=CROB)],
    }


@pytest.mark.parametrize("case", broken(Line()))
def test_broken(case: str) -> None:
    bench = Line()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Line()))
def test_kept(case: str) -> None:
    bench = Line()
    assert bench.said(kept(bench)[case]) == []


def test_a_restart_on_command_is_information() -> None:
    bench = Line()
    rows = [*bench.polls(), bench.ask(6, 13, 6), bench.ask(9, 1, 7), bench.answer(9.1, 7, 0x8000)]
    assert bench.said(rows) == [("dnp3-restarted", INFO)]


def test_a_scan_of_addresses_is_told_once_and_known_ones_are_not() -> None:
    bench = Line()
    sweep = [bench.ask(1 + n / 10, 1, n, sub=f"outstation {n}") for n in range(10, 30)]
    baseline = bench.learned(bench.polls())
    assert bench.said(sweep, baseline=baseline) == [("dnp3-scan", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []


def test_controls_without_answer_that_learning_knew() -> None:
    bench = Line()
    learned = [*bench.polls(), bench.ask(6, 5, 5, point=CROB), bench.ask(8, 6, 6, point=CROB)]
    rows = [bench.ask(1, 5, 1, point=CROB), bench.answer(1.1, 1), bench.ask(2, 6, 2, point=CROB)]
    assert bench.said(rows, baseline=bench.learned(learned)) == []
    waits = bench.learned([*bench.polls(), bench.ask(6, 5, 5, point=CROB)])
    assert bench.said([bench.ask(2, 6, 2, point=CROB)], baseline=waits) == [("dnp3-no-answer", NOTICE)]


DAY = 86_400.0


@pytest.mark.parametrize(
    ("offsets", "levels"),
    [
        ((0.3, -0.2), []),  # the capture's own time
        ((7_200.4, 7_200.1), []),  # local time, which should not be but is
        ((0.0, 3_600.2), []),  # summer time
        ((312.0,), [NOTICE]),  # beside any zone; the capture's clock may be the wrong one
        ((312.0, 312.5), [NOTICE]),  # and again
        ((0.0, 312.0), [WARNING]),
        ((0.0, -DAY), [WARNING]),
        ((-DAY,), [WARNING]),
    ],
)
def test_the_time_that_a_master_sets(offsets: tuple[float, ...], levels: list[Level]) -> None:
    bench = Line()
    rows = [bench.ask(100 * n, 2, n, point="0x3201/0") for n in range(len(offsets))]
    points = np.zeros(len(rows), POINT)
    for n, offset in enumerate(offsets):
        points[n]["ts"], points[n]["message"], points[n]["proto"] = rows[n]["ts"], n, bench.proto
        points[n]["kind"], points[n]["value"] = 0x3201, int(rows[n]["ts"]) / 1e9 + offset
    assert bench.said(rows, points=points) == [("dnp3-time", level) for level in levels]
