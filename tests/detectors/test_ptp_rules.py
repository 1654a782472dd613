"""PTP rules: each is broken once and kept once (IEEE 1588, IEC/IEEE 61850-9-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import SECOND, START, Bench, P

from detectors.base import Level
from detectors.groups import Lens
from detectors.rules.ptp import PtpRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
GROUP, GM, ROGUE = "01:1b:19:00:00:00", "00:b0:ae:01:f9:20", "00:b0:ae:66:66:66"
Rows = list[np.void]


def clock(source: str) -> str:
    return "0x" + source.replace(":", "") + "0000"


class Time(Bench):
    def __init__(self) -> None:
        super().__init__("ptp", PtpRules)

    def message(self, ts: float, kind: int, source: str = GM, vlan: int = 0, **more: Any) -> np.void:
        name = clock(source)
        fields: dict[str, Any] = {"point": name, "sub": f"domain 0/{name}", "state": 0, "stream": -1}
        return self.row(ts, kind, P, src=source, dst=GROUP, vlan=vlan, **(fields | more))

    def announce(self, ts: float, source: str = GM, **more: Any) -> np.void:
        fields: dict[str, Any] = {"ident": clock(source), "cause": 6, "aux": 128, "count": 0}
        return self.message(ts, 11, source, **(fields | more))

    def steady(self, start: int, end: int, source: str = GM, **more: Any) -> Rows:
        return [self.announce(n, source, **more) for n in range(start, end)]

    def syncs(self, values: list[float], start: float = 0.0) -> Rows:
        return [self.message(start + n / 8, 0, value=value) for n, value in enumerate(values)]


QUIET = [300.0 + n % 7 for n in range(60)]


def broken(b: Time) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    return {
        "priority": ([*b.steady(0, 5), b.announce(5, aux=1)], ("ptp-priority", WARNING)),
        "unlocked": ([*b.steady(0, 5), b.announce(5, cause=7)], ("ptp-clock-class", NOTICE)),
        "free running": ([*b.steady(0, 5), b.announce(5, cause=187)], ("ptp-clock-class", WARNING)),
        "another master": ([*b.steady(0, 5), *b.steady(8, 12, ROGUE)], ("ptp-grandmaster", WARNING)),
        "too many steps": ([b.announce(0, count=255)], ("ptp-steps", NOTICE)),
        "a step more": ([*b.steady(0, 5), b.announce(5, count=1)], ("ptp-steps", INFO)),
        "no more announcements": (
            [*b.steady(0, 15), *b.syncs([300.0] * 80, start=15.0)],
            ("ptp-announce-timeout", NOTICE),
        ),
        "correction": (b.syncs([*QUIET, 400_000.0]), ("ptp-correction", WARNING)),
        "malformed": (
            [b.announce(n, flags=int(Flag.MALFORMED)) for n in range(3)],
            ("ptp-malformed", WARNING),
        ),
    }


def kept(b: Time) -> dict[str, Rows]:
    return {
        "one grandmaster": b.steady(0, 20),
        "locked again": [*b.steady(0, 5, cause=7), *b.steady(5, 9, cause=6)],
        "a boundary clock passes it on": [*b.steady(0, 5), *b.steady(0, 5, ROGUE, ident=clock(GM), count=1)],
        "another VLAN": [*b.steady(0, 9), *b.steady(0, 9, ROGUE, vlan=7)],
        "another domain": [*b.steady(0, 9), *b.steady(0, 9, ROGUE, state=3)],
        "corrections": b.syncs([*QUIET, *[900.0] * 9]),
        "a clock whose corrections vary": b.syncs([n * 9_000.0 for n in range(40)] + [350_000.0] * 3),
        "an announcement that comes late": [*b.steady(0, 15), *b.steady(17, 30)],
        "an interval not known yet": [*b.steady(0, 5), *b.syncs([300.0] * 80, start=5.0)],
        "one malformed": [b.announce(0, flags=int(Flag.MALFORMED))],
    }


@pytest.mark.parametrize("case", broken(Time()))
def test_broken(case: str) -> None:
    bench = Time()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Time()))
def test_kept(case: str) -> None:
    bench = Time()
    assert bench.said(kept(bench)[case]) == []


def test_two_in_turn_are_an_alarm() -> None:
    bench = Time()
    rows = [row for n in range(5) for row in (bench.announce(n), bench.announce(n + 0.5, ROGUE, aux=1))]
    assert ("ptp-second-grandmaster", ALARM) in bench.said(rows)


def test_grandmasters_that_learning_knew() -> None:
    bench = Time()
    both = [*bench.steady(0, 9), *bench.steady(20, 29, ROGUE)]
    assert bench.said(bench.steady(0, 5, ROGUE), baseline=bench.learned(both)) == []
    one = bench.learned(bench.steady(0, 9))
    assert bench.said(bench.steady(0, 5, ROGUE), baseline=one) == [("ptp-grandmaster", WARNING)]
    change = [*bench.steady(0, 5), *bench.steady(8, 12, ROGUE)]
    said = bench.said(change, baseline=bench.learned(both))
    assert {rule for rule, _ in said} == {"ptp-grandmaster"}
    assert all(level <= NOTICE for _, level in said)


def test_a_pause_of_the_capture_is_no_silence() -> None:
    bench = Time()
    pieces = bench.slices([*bench.steady(0, 15), *bench.steady(90, 99)])
    rules = PtpRules(Lens(bench.names))
    heard = [piece for piece in pieces if len(piece.messages)]
    assert [found for piece in heard for found in rules.detect(piece)] == []


def test_a_silence_of_the_grandmaster_is_told_once_and_when_it_began() -> None:
    bench = Time()
    found = bench.findings([*bench.steady(0, 15), *bench.syncs([300.0] * 400, start=15.0)])
    assert [(f.rule, f.ts) for f in found] == [("ptp-announce-timeout", START + 17 * SECOND)]
