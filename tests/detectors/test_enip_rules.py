"""EtherNet/IP and CIP rules: each is broken once and kept once (ODVA, volumes 1 and 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.enip import CipRules, EnipRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
BAD = int(Flag.NEGATIVE)
Rows = list[np.void]


class Encapsulation(Bench):
    def __init__(self) -> None:
        super().__init__("enip", EnipRules)

    def session(self, handle: int = 7, used: int = 7, start: float = 0.0) -> Rows:
        return [
            self.row(start, 101, C, aux=0),
            self.row(start + 0.1, 101, S, aux=handle),
            *[self.row(start + 1 + n, 112, C, aux=used) for n in range(4)],
        ]


class Services(Bench):
    def __init__(self) -> None:
        super().__init__("cip", CipRules)

    def refuse(self, count: int, kind: int = 14, cause: int = 5, step: float = 0.1) -> Rows:
        return [self.row(1 + n * step, kind, S, cause=cause, flags=BAD) for n in range(count)]

    def polls(self, start: int, end: int) -> Rows:
        return [self.row(n, 76, C) for n in range(start, end)]


def enip_broken(b: Encapsulation) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    return {
        "refused": (
            [b.row(1 + n, 111, S, cause=100, flags=BAD) for n in range(3)],
            ("enip-refused", WARNING),
        ),
        "storm": ([b.row(n, 101, C) for n in range(12)], ("enip-session-storm", WARNING)),
        "foreign handle": (b.session(used=9), ("enip-session", WARNING)),
    }


def cip_broken(b: Services) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    return {
        "services": (b.refuse(5), ("cip-refused", WARNING)),
        "connections": (b.refuse(3, 1620, 1, 5.0), ("cip-connection-refused", NOTICE)),
        "privilege": (b.refuse(1, cause=15), ("cip-privilege", WARNING)),
        "factory settings": ([b.row(1, 5, C, point="0x01/0x01", aux=1)], ("cip-reset", ALARM)),
        "left stopped": ([b.row(1, 7, C, point="0x8e/0x01"), *b.polls(2, 310)], ("cip-stopped", WARNING)),
    }


@pytest.mark.parametrize("case", enip_broken(Encapsulation()))
def test_encapsulation_broken(case: str) -> None:
    bench = Encapsulation()
    rows, expected = enip_broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


def test_encapsulation_kept() -> None:
    bench = Encapsulation()
    kept: dict[str, Any] = {
        "a session": bench.session(),
        "one after the other": [*bench.session(7, 7), *bench.session(8, 8, 20.0)],
        "no beginning": [bench.row(n, 112, C, aux=5) for n in range(9)],
        "two refusals": [bench.row(1 + n, 111, S, cause=100, flags=BAD) for n in range(2)],
    }
    assert {case: said for case, rows in kept.items() if (said := bench.said(rows))} == {}


@pytest.mark.parametrize("case", cip_broken(Services()))
def test_services_broken(case: str) -> None:
    bench = Services()
    rows, expected = cip_broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


def test_services_kept() -> None:
    bench = Services()
    kept = {
        "polls": bench.polls(0, 9),
        "stop and start": [bench.row(1, 7, C), bench.row(9, 6, C), *bench.polls(10, 310)],
        "power cycles": [bench.row(1, 5, C, point="0x01/0x01", aux=0), bench.row(9, 5, C)],
        "four refusals": bench.refuse(4),
        "a connection refused": bench.refuse(2, 1620, 1, 5.0),
    }
    assert {case: said for case, rows in kept.items() if (said := bench.said(rows))} == {}


def test_discovery() -> None:
    bench = Encapsulation()
    baseline = bench.learned(bench.session())
    lists = [bench.row(1 + n, 99, C) for n in range(12)]
    assert bench.said(lists, baseline=baseline) == [("enip-identity-scan", NOTICE)]
    assert bench.said(lists, baseline=bench.learned(lists[:2])) == []
    sweep = [bench.row(1 + n / 10, 99, C, dst=f"10.0.0.{n}") for n in range(20, 30)]
    assert bench.said(sweep, baseline=baseline) == [("enip-sweep", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []
