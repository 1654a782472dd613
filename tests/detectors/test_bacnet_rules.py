"""BACnet rules: each is broken once and kept once (ASHRAE 135)."""

from __future__ import annotations

import numpy as np
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.bacnet import BacnetRules
from grid_profiles.vocabulary import Flag, Role

WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
Rows = list[np.void]


class Building(Bench):
    def __init__(self) -> None:
        super().__init__("bacnet", BacnetRules)

    def refuse(
        self, count: int, kind: int = 1292, cause: int = 31, step: float = 0.1, start: float = 1
    ) -> Rows:
        bad = int(Flag.NEGATIVE)
        return [self.row(start + n * step, kind, S, cause=cause, flags=bad) for n in range(count)]

    def who(self, count: int) -> Rows:
        return [self.row(1 + n / 10, 264, Role.PEER, dst="10.0.0.255") for n in range(count)]

    def polls(self) -> Rows:
        return [self.row(n, 12, C) for n in range(5)]


def test_refusals() -> None:
    b = Building()
    assert b.said(b.refuse(5)) == [("bacnet-refused", WARNING)]
    assert b.said(b.refuse(4)) == []
    assert b.said(b.refuse(9, step=20.0)) == []
    assert b.said(b.refuse(5), baseline=b.learned(b.refuse(5))) == [("bacnet-refused", WARNING)]
    often = [row for n in range(4) for row in b.refuse(5, start=20.0 * n)]
    assert b.said(b.refuse(5), baseline=b.learned(often)) == [("bacnet-refused", INFO)]


def test_password() -> None:
    b = Building()
    assert b.said(b.refuse(1, 1300, 26)) == [("bacnet-password", WARNING)]
    assert b.said(b.refuse(1, 1300, 29)) == []


def test_link_functions() -> None:
    b = Building()
    assert b.said(b.refuse(3, 131_072, 48, 5.0)) == [("bacnet-link-refused", WARNING)]
    assert b.said(b.refuse(2, 131_072, 48, 5.0)) == []


def test_discovery() -> None:
    b = Building()
    assert b.said(b.who(20), baseline=b.learned(b.polls())) == [("bacnet-discovery", NOTICE)]
    assert b.said(b.who(19), baseline=b.learned(b.polls())) == []
    assert b.said(b.who(20), baseline=b.learned(b.who(1))) == []


def test_sweep() -> None:
    b = Building()
    sweep = [b.row(1 + n / 10, 12, C, dst=f"10.0.0.{n}") for n in range(20, 30)]
    assert b.said(sweep, baseline=b.learned(b.polls())) == [("bacnet-sweep", WARNING)]
    assert b.said(sweep[:7], baseline=b.learned(b.polls())) == []
    assert b.said(sweep, baseline=b.learned(sweep)) == []
