"""DLMS rules: each is broken once and kept once (IEC 62056-5-3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.dlms import DlmsRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, INFO = Level.ALARM, Level.WARNING, Level.INFO
SUPPLY = "70/0.0.96.3.10.255/m1"
Rows = list[np.void]


class Meters(Bench):
    def __init__(self) -> None:
        super().__init__("dlms", DlmsRules)

    def ask(self, ts: float, kind: int, meter: int = 2, **more: Any) -> np.void:
        return self.row(ts, kind, C, dst=f"10.0.0.{meter}", sub="device 1", **more)

    def refuse(self, count: int, kind: int, step: float) -> Rows:
        bad = int(Flag.NEGATIVE)
        return [self.row(1 + n * step, kind, S, sub="device 1", cause=1, flags=bad) for n in range(count)]

    def ciphered(self, counters: list[int], kind: int = 200) -> Rows:
        return [self.ask(1 + n, kind, seq=number) for n, number in enumerate(counters)]


def test_associations() -> None:
    b = Meters()
    assert b.said(b.refuse(3, 97, 9.0)) == [("dlms-association", WARNING)]
    assert b.said(b.refuse(2, 97, 9.0)) == []


def test_denied() -> None:
    b = Meters()
    assert b.said(b.refuse(5, 196, 0.5)) == [("dlms-denied", WARNING)]
    assert b.said(b.refuse(4, 196, 0.5)) == []


def test_authentication() -> None:
    b = Meters()
    high = b.learned([b.ask(1, 96, cause=5)])
    assert b.said([b.ask(1, 96, cause=1)], baseline=high) == [("dlms-authentication", WARNING)]
    assert b.said([b.ask(1, 96, cause=5)], baseline=high) == []
    both = b.learned([b.ask(1, 96, cause=5), b.ask(2, 96, cause=0)])
    assert b.said([b.ask(1, 96, cause=1)], baseline=both) == []


def test_counters() -> None:
    b = Meters()
    assert b.said(b.ciphered([5, 6, 7, 6])) == [("dlms-counter", WARNING)]
    assert b.said(b.ciphered([5, 6, 6])) == [("dlms-counter", WARNING)]
    assert b.said(b.ciphered([5, 6, 9, 20])) == []
    assert b.said(b.ciphered([5, 6, 6], kind=192)) == []  # an invoke id


def test_many_meters() -> None:
    b = Meters()
    off = [b.ask(1 + n, 195, 10 + n, point=SUPPLY) for n in range(6)]
    assert b.said(off) == [("dlms-mass-command", ALARM)]
    assert b.said(off[:4]) == []
    assert b.said([b.ask(1 + n, 195, 10, point=SUPPLY) for n in range(6)]) == []
    assert b.said([b.ask(1 + n, 195, 10 + n, point="15/0.0.40.0.0.255/m1") for n in range(6)]) == []
