"""BACnet rules: each is broken once and kept once (ASHRAE 135)."""

from __future__ import annotations

from typing import Any

import numpy as np
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.choices import MAX_CHOICES
from detectors.compare import merge
from detectors.groups import Lens
from detectors.rules.bacnet import BacnetRules, PriorityLearner
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


def test_priority_of_writes() -> None:
    b = Building()

    def write(ts: float, priority: int = -1, kind: int = 15, **more: Any) -> np.void:
        return b.row(ts, kind, C, state=priority, point="1/2/85", **more)

    usual = b.learned([write(1, 8), write(2), write(3, 8)])
    told = ("bacnet-priority", WARNING)
    assert b.said([write(1, 1), write(2, 1), write(3, 2, 16)], baseline=usual) == [told] * 2
    assert b.said([write(1, 8), write(2, 16), write(3)], baseline=usual) == []
    assert b.said([write(1, 6)], baseline=usual) == [("bacnet-priority", NOTICE)]
    assert b.said([write(1, 12)], baseline=usual) == [("bacnet-priority", INFO)]
    # who did it while learning does it; who never wrote is the allow-list's but for life safety
    assert b.said([write(1, 2)], baseline=b.learned([write(1, 2)])) == []
    assert b.said([write(1, 5, src="10.0.0.9")], baseline=usual) == []
    assert b.said([write(1, 1, src="10.0.0.9")], baseline=usual) == [told]
    assert b.said([write(1, 1)]) == [("bacnet-priority", NOTICE)]
    assert b.said([write(1, 9)]) == []
    # the answer and other services have no priority
    assert b.said([b.row(1, 527, S), b.row(2, 12, C, state=1)], baseline=usual) == []


def test_learned_priorities_are_merged_and_bounded() -> None:
    b = Building()
    rows = [b.row(n, 15, C, state=n, point="1/2/85") for n in (8, 9, 9)]
    one, other = b.learned(rows[:1]), b.learned(rows[1:])
    table = merge(one, other).tables["choices"]
    assert table[["what", "value", "count"]].to_numpy().tolist() == [["priority", 8, 1], ["priority", 9, 2]]
    learner = PriorityLearner(Lens(b.names))
    for number in range(MAX_CHOICES + 5):
        row = b.row(1, 15, C, dst=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", state=8)
        (piece,) = b.slices([row])[1:]
        learner.learn(piece)
    assert learner.refused == 5


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
