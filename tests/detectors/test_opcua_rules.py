"""OPC UA rules: each is broken once and kept once (IEC 62541-4, -6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.opcua import OpcuaRules
from grid_profiles.vocabulary import Flag

WARNING, NOTICE, INFO = Level.WARNING, Level.NOTICE, Level.INFO
READ, READ_ANSWER, FAULT, BROWSE = 631, 634, 397, 527
Rows = list[np.void]


class Server(Bench):
    def __init__(self) -> None:
        super().__init__("opcua", OpcuaRules)

    def polls(self, start: int, end: int, first: int = 1) -> Rows:
        return [self.row(n, READ, C, seq=first + n - start, aux=9) for n in range(start, end)]

    def refuse(self, count: int, cause: int, step: float = 0.1) -> Rows:
        bad = int(Flag.NEGATIVE)
        return [self.row(1 + n * step, FAULT, S, cause=cause, flags=bad) for n in range(count)]

    def many(self, count: int, kind: int, step: float = 0.1, **more: Any) -> Rows:
        return [self.row(1 + n * step, kind, C, **more) for n in range(count)]


def broken(b: Server) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    return {
        "identity": (b.refuse(3, 0x801F, 9.0), ("opcua-auth", WARNING)),
        "untrusted certificate": (b.refuse(3, 0x801A, 9.0), ("opcua-auth", WARNING)),
        "errors": (b.refuse(10, 0x8034), ("opcua-refused", WARNING)),
        "sessions used up": (b.refuse(1, 0x8056), ("opcua-exhausted", NOTICE)),
        "storm": (b.many(20, 1), ("opcua-session-storm", WARNING)),
        "number again": ([*b.polls(0, 5), b.row(5, READ, C, seq=5, aux=9)], ("opcua-sequence", WARNING)),
        "number back": ([*b.polls(0, 5), b.row(5.5, READ, C, seq=2, aux=9)], ("opcua-sequence", WARNING)),
    }


def kept(b: Server) -> dict[str, Rows]:
    top = (1 << 32) - 1
    return {
        "polls": b.polls(0, 20),
        "two refused identities": b.refuse(2, 0x801F, 9.0),
        "a few errors": b.refuse(9, 0x8034),
        "reconnects": b.many(19, 1, 1.0),
        "numbers that skip": [b.row(n, READ, C, seq=1 + 7 * n, aux=9) for n in range(5)],
        "numbers that wrap": [b.row(0, READ, C, seq=top - 3, aux=9), b.row(1, READ, C, seq=1, aux=9)],
        "another channel": [*b.polls(0, 5), b.row(5, READ, C, seq=1, aux=10)],
        "another direction": [*b.polls(0, 5), b.row(5, READ_ANSWER, S, seq=1, aux=9)],
    }


@pytest.mark.parametrize("case", broken(Server()))
def test_broken(case: str) -> None:
    bench = Server()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Server()))
def test_kept(case: str) -> None:
    bench = Server()
    assert bench.said(kept(bench)[case]) == []


def test_encryption_that_is_gone() -> None:
    bench = Server()
    hidden = [bench.row(n, 6, C, seq=1 + n, aux=9, flags=int(Flag.ENCRYPTED)) for n in range(5)]
    baseline = bench.learned(hidden)
    assert bench.said(bench.polls(0, 5), baseline=baseline) == [("opcua-unprotected", WARNING)]
    assert bench.said(hidden, baseline=baseline) == []
    assert bench.said(bench.many(3, 428), baseline=baseline) == []  # discovery is readable anywhere
    assert bench.said(bench.polls(0, 5), baseline=bench.learned(bench.polls(0, 5))) == []


def test_scans() -> None:
    bench = Server()
    baseline = bench.learned(bench.polls(0, 5))
    browse = bench.many(60, BROWSE)
    assert bench.said(browse, baseline=baseline) == [("opcua-browse-scan", NOTICE)]
    assert bench.said(browse, baseline=bench.learned([*bench.polls(0, 5), browse[0]])) == []
    sweep = [bench.row(1 + n / 10, 1, C, dst=f"10.0.0.{n}") for n in range(20, 30)]
    assert bench.said(sweep, baseline=baseline) == [("opcua-sweep", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []
