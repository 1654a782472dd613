"""Synchrophasor rules: each is broken once and kept once (IEEE C37.118.2-2011)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.c37118 import C37118Rules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE = Level.ALARM, Level.WARNING, Level.NOTICE
Rows = list[np.void]


class Pmu(Bench):
    """One stream of 50 frames a second from 10.0.0.2 to 10.0.0.1."""

    def __init__(self) -> None:
        super().__init__("c37118", C37118Rules)

    def send(self, ts: float, kind: int = 0, role: Any = S, **more: Any) -> np.void:
        fields: dict[str, Any] = {"sub": "PMU 7", "point": 7, "cause": 0 if kind == 0 else -1, "state": 0}
        return self.row(ts, kind, role, **(fields | more))

    def conf(self, ts: float, rate: int = 50, pmus: int = 1) -> np.void:
        return self.send(ts, 3, aux=rate, count=pmus, name="STATION A")

    def data(self, start: float, end: float, rate: int = 50, **more: Any) -> Rows:
        return [self.send(start + n / rate, **more) for n in range(int((end - start) * rate))]


def broken(b: Pmu) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    off = b.send(1, 1025, C)
    return {
        "check word": (b.data(0, 0.1, flags=int(Flag.MALFORMED)), ("c37118-checksum", WARNING)),
        "data error": ([*b.data(0, 2), *b.data(2, 3, cause=3)], ("c37118-data-error", NOTICE)),
        "not locked": ([*b.data(0, 2), *b.data(2, 3, state=5)], ("c37118-time", NOTICE)),
        "clock failed": ([*b.data(0, 2), *b.data(2, 3, state=15)], ("c37118-time", WARNING)),
        "second source": ([*b.data(0, 3), *b.data(1, 2, dst="10.0.0.66")], ("c37118-source", ALARM)),
        "frames missing": ([b.conf(0), *b.data(0, 12, rate=25)], ("c37118-rate", NOTICE)),
        "frames added": ([b.conf(0), *b.data(0, 12, rate=80)], ("c37118-extra-frames", WARNING)),
        "configuration": ([b.conf(0), *b.data(0, 3), b.conf(3, pmus=2)], ("c37118-configuration", WARNING)),
        "left off": ([off, *[b.send(n, 1027, C) for n in range(2, 70)]], ("c37118-off", WARNING)),
        "frequency": ([*b.data(0, 1, value=50.01), b.send(1, value=91.0)], ("c37118-frequency", WARNING)),
    }


def kept(b: Pmu) -> dict[str, Rows]:
    return {
        "a stream": [b.conf(0), *b.data(0, 25, value=49.99)],
        "a stream that begins late": [b.conf(0), *b.data(5.3, 17)],
        "an interrupted one": [b.conf(0), *b.data(0, 6), *b.data(10, 16)],
        "off and on": [b.send(1, 1025, C), b.send(5, 1026, C), *b.data(6, 75)],
        "data error all along": b.data(0, 3, cause=2),
        "not good and not believed": b.data(0, 2, cause=3, value=0.0),
        "two receivers": [*b.data(0, 2), *b.data(0, 2, src="10.0.0.9")],
        "two damaged frames": b.data(0, 0.04, flags=int(Flag.MALFORMED)),
        "the same configuration again": [b.conf(0), b.conf(5), b.conf(9)],
    }


@pytest.mark.parametrize("case", broken(Pmu()))
def test_broken(case: str) -> None:
    bench = Pmu()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Pmu()))
def test_kept(case: str) -> None:
    bench = Pmu()
    assert bench.said(kept(bench)[case]) == []
