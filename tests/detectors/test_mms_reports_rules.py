"""Numbers of MMS reports: each rule is broken once and kept by what servers do (IEC 61850-8-1, 17.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, S

from detectors.base import Level, Reading
from detectors.rules.mms_reports import MmsReportRules
from grid_profiles.vocabulary import Flag

WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
RCB = "LD0/LLN0$BR$brcb01"
Rows = list[np.void]


class Server(Bench):
    """Reports of one server to one client."""

    def __init__(self) -> None:
        super().__init__("mms", MmsReportRules)

    def report(self, ts: float, seq: int, parts: int = -1, flags: int = 0, **more: Any) -> np.void:
        given: dict[str, Any] = {"ident": RCB, "name": "LD0/LLN0$ds", "point": "RPT"} | more
        return self.row(ts, 768, S, seq=seq, aux=parts, flags=flags, **given)

    def reports(self, *numbers: int, start: float = 1, **more: Any) -> Rows:
        return [self.report(start + place, number, **more) for place, number in enumerate(numbers)]

    def enable(self, ts: float, item: str = f"{RCB}$RptEna") -> np.void:
        return self.row(ts, 5, point=item, name=item, value=1.0)


def broken(b: Server) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    return {
        "skips": (b.reports(4, 5, 6, 9, 10), ("mms-report-gap", WARNING)),
        "goes back": (b.reports(4, 5, 6, 4, 7), ("mms-report-order", WARNING)),
        "again": (b.reports(4, 5, 6, 6, 7), ("mms-report-order", WARNING)),
        "0 in the midst": (b.reports(14, 15, 16, 0, 17), ("mms-report-order", WARNING)),
        "one number ahead": (b.reports(14, 15, 16, 40, 17), ("mms-report-gap", WARNING)),
        "the same part again": (
            [*b.reports(4, 5, 6), b.report(8, 7, 2), b.report(9, 7, 1 << 2 | 2), b.report(10, 7, 1 << 2)],
            ("mms-report-order", WARNING),
        ),
        "a part behind the last": (
            [*b.reports(4, 5, 6), b.report(8, 7, 0), b.report(9, 7, 1 << 2)],
            ("mms-report-order", WARNING),
        ),
        "overflow": (
            [b.report(1, 4, 0), b.report(2, 5, 1), b.report(3, 6, 1)],
            ("mms-report-overflow", NOTICE),
        ),
    }


def kept(b: Server) -> dict[str, Rows]:
    return {
        "counting": b.reports(*range(30)),
        "an unbuffered block comes round": b.reports(253, 254, 255, 0, 1, 2),
        "a buffered block comes round": b.reports(65533, 65534, 65535, 0, 1, 2),
        "a block that begins at 1 again": b.reports(65533, 65534, 65535, 1, 2, 3),
        "enabled again": [*b.reports(4, 5, 6), b.enable(4.5), *b.reports(0, 1, 2, start=5)],
        "resumed by its entry": [
            *b.reports(4, 5, 6),
            b.enable(4.5, f"{RCB}$EntryID"),
            *b.reports(60, 61, start=5),
        ],
        "another association": [*b.reports(4, 5, 6), *b.reports(0, 1, 2, start=5, stream=1)],
        "another block": [*b.reports(4, 5, 6), *b.reports(90, 91, start=5, ident="LD0/LLN0$RP$urcb")],
        "another data set": [*b.reports(4, 5, 6), *b.reports(90, 91, start=5, name="LD0/LLN0$other")],
        "segments": [*b.reports(4, 5), *(b.report(4 + n, 6, n << 2 | 2 * (n < 3)) for n in range(4)),
                     *b.reports(7, 8, start=9)],
        "a server that does not count": b.reports(0, 0, 0, 0, 0, 0),
        "two counters under one name": b.reports(5, 105, 6, 106, 7, 107, 8, 108),
        "repeated by TCP": [*b.reports(4, 5, 6), b.report(4.5, 6, flags=int(Flag.RETRANSMITTED))],
        "reports without a number": b.reports(-1, -1, -1, -1),
        "overflow from the beginning": [b.report(1, 4, 1), b.report(2, 5, 1), b.report(3, 6, 0)],
    }  # fmt: skip


@pytest.mark.parametrize("case", broken(Server()))
def test_broken(case: str) -> None:
    bench = Server()
    rows, expected = broken(bench)[case]
    assert bench.said(rows) == [expected]


@pytest.mark.parametrize("case", kept(Server()))
def test_kept(case: str) -> None:
    bench = Server()
    assert bench.said(kept(bench)[case]) == []


def test_a_hole_in_the_capture_is_no_missing_report() -> None:
    bench = Server()
    rows = [*bench.reports(4, 5, 6), bench.report(9, 8, flags=int(Flag.GAP)), *bench.reports(9, 10, start=10)]
    (found,) = bench.findings(rows)
    assert (found.rule, found.level, found.reading) == ("mms-report-gap", INFO, Reading.VISIBILITY)
    assert found.technique == ""


def test_a_hole_before_another_message_explains_it_too_and_only_once() -> None:
    bench = Server()
    answer = bench.row(3.5, 260, S, flags=int(Flag.GAP))
    rows = [*bench.reports(4, 5, 6), answer, *bench.reports(8, 9, 12, 13, start=5)]
    assert bench.said(rows) == [("mms-report-gap", INFO), ("mms-report-gap", WARNING)]


def test_a_late_segment_is_out_of_order_and_no_news() -> None:
    bench = Server()
    late = bench.report(5, 7, flags=int(Flag.LATE))
    rows = [*bench.reports(4, 5, 6), bench.report(4.5, 8, flags=int(Flag.GAP)), late, bench.report(6, 9)]
    assert bench.said(rows) == [("mms-report-gap", INFO)]


def test_an_injected_report_leaves_the_sequence_where_it_was() -> None:
    bench = Server()
    assert len(bench.said(bench.reports(4, 5, 6, 2, 7, 8, 9, 10))) == 1
    assert len(bench.said(bench.reports(4, 5, 6, 20, 21, 22, 23))) == 1


def test_what_learning_met_is_a_habit() -> None:
    bench = Server()
    rows = bench.reports(4, 5, 6, 9, 10, 11, 14, 15, 16, 19, 20)
    baseline = bench.learned(rows)
    assert set(bench.said(rows, baseline=baseline)) == {("mms-report-gap", INFO)}
