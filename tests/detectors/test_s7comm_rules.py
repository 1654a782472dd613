"""S7comm rules: each is broken once and kept once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.s7comm import S7Rules
from grid_profiles.vocabulary import Flag

WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
Rows = list[np.void]


class Plc(Bench):
    """Stations and one PLC."""

    def __init__(self) -> None:
        super().__init__("s7comm", S7Rules)

    def job(self, ts: float, kind: int, **more: Any) -> np.void:
        return self.row(ts, kind, C, **more)

    def answer(self, ts: float, kind: int, flags: int = 0, **more: Any) -> np.void:
        return self.row(ts, kind, S, flags=flags, **more)

    def polls(self, start: int, end: int) -> Rows:
        return [
            row for n in range(start, end) for row in (self.job(n, 260), self.answer(n + 0.1, 772, state=1))
        ]


def broken(b: Plc) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    job, answer = b.job, b.answer
    return {
        "left stopped": ([job(1, 297), *b.polls(2, 310)], ("s7-stopped", WARNING)),
        "download left open": ([job(1, 282), *b.polls(2, 130)], ("s7-download-open", NOTICE)),
        "copy RAM to ROM": ([job(1, 296, name="_MODU")], ("s7-block-service", WARNING)),
        "delete": ([job(1, 296, name="_DELE")], ("s7-block-service", WARNING)),
        "refusals": ([answer(1 + n / 10, 773, Flag.NEGATIVE) for n in range(5)], ("s7-refused", WARNING)),
        "passwords": ([job(n, 460033) for n in range(1, 4)], ("s7-password", WARNING)),
        "storm": ([job(n, 496) for n in range(1, 12)], ("s7-session-storm", NOTICE)),
        "unasked": ([answer(1 + n, 772, Flag.UNANSWERED) for n in range(3)], ("s7-unasked", NOTICE)),
    }


def kept(b: Plc) -> dict[str, Rows]:
    job, answer = b.job, b.answer
    return {
        "polls": b.polls(0, 20),
        "stop and start": [job(1, 297), job(9, 296, name="P_PROGRAM"), *b.polls(10, 310)],
        "download": [job(1, 282), job(3, 284), *b.polls(4, 130)],
        "a few refusals": [answer(1 + n / 10, 773, Flag.NEGATIVE) for n in range(4)],
        "requests without data": [job(1 + n / 10, 459777, flags=int(Flag.NEGATIVE)) for n in range(9)],
        "answers without data": [answer(1 + n / 10, 459268, Flag.NEGATIVE, cause=0) for n in range(9)],
        "a password": [job(1, 460033)],
        "reconnects": [job(n * 10, 496) for n in range(12)],
        "the capture began in between": [answer(1, 772, Flag.UNANSWERED | Flag.MIDSTREAM) for _ in range(5)],
    }


@pytest.mark.parametrize("case", broken(Plc()))
def test_broken(case: str) -> None:
    bench = Plc()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Plc()))
def test_kept(case: str) -> None:
    bench = Plc()
    assert bench.said(kept(bench)[case]) == []


def test_a_service_of_the_site_is_a_habit_and_another_is_not() -> None:
    bench = Plc()
    baseline = bench.learned([bench.job(1, 296, name="P_PROGRAM"), *bench.polls(2, 5)])
    assert bench.said([bench.job(1, 296, name="_DELE")], baseline=baseline) == [("s7-block-service", WARNING)]
    habit = bench.learned([bench.job(1, 296, name="_MODU"), *bench.polls(2, 5)])
    assert bench.said([bench.job(1, 296, name="_MODU")], baseline=habit) == [("s7-block-service", INFO)]
    stranger = [bench.job(1, 296, name="_DELE", src="10.0.0.66")]
    assert bench.said(stranger, baseline=baseline) == []  # the allow-list's


def test_scans() -> None:
    bench = Plc()
    baseline = bench.learned(bench.polls(0, 5))
    lists = [bench.job(1 + n / 10, 459777) for n in range(20)]
    assert bench.said(lists, baseline=baseline) == [("s7-information-scan", NOTICE)]
    assert bench.said(lists, baseline=bench.learned([*bench.polls(0, 5), lists[0]])) == []
    sweep = [bench.job(1 + n / 10, 496, dst=f"10.0.0.{n}") for n in range(20, 30)]
    assert bench.said(sweep, baseline=baseline) == [("s7-sweep", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []
