"""PROFINET DCP rules: each is broken once and kept once (IEC 61158-6-10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.profinet import DcpRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
TOOL, DEVICE, OTHER = "00:0c:29:00:00:01", "00:0c:29:00:00:07", "00:0c:29:00:00:08"


class Cell(Bench):
    def __init__(self) -> None:
        super().__init__("profinet_dcp", DcpRules)

    def dcp(self, ts: float, kind: int, role: Any = C, device: str = DEVICE, **more: Any) -> np.void:
        return self.row(ts, kind, role, src=TOOL, dst=device, **({"stream": -1} | more))

    def named(self, ts: float, name: str, device: str = DEVICE) -> np.void:
        return self.dcp(ts, 1281, S, device, name=name, point=name)


def test_reset() -> None:
    b = Cell()
    assert b.said([b.dcp(1, 1024, aux=0x0505)]) == [("dcp-reset", ALARM)]
    assert b.said([b.dcp(1, 1024, aux=0x0506)]) == [("dcp-reset", ALARM)]
    assert b.said([b.dcp(1, 1024, aux=0x0503)]) == []  # signal: a lamp blinks


def test_addresses() -> None:
    b = Cell()
    blink = b.learned([b.dcp(1, 1024, aux=0x0503)])
    assert b.said([b.dcp(1, 1024, aux=0x0102, point="10.0.0.9")], baseline=blink) == [
        ("dcp-address", WARNING)
    ]
    assert b.said([b.dcp(1, 1024, aux=0x0503)], baseline=blink) == []
    nothing = b.learned([b.named(1, "pump")])
    assert b.said([b.dcp(1, 1024, aux=0x0102)], baseline=nothing) == []  # the allow-list's


def test_names() -> None:
    b = Cell()
    assert b.said([b.named(1, "pump"), b.named(2, "pump", OTHER)]) == [("dcp-name-conflict", WARNING)]
    assert b.said([b.named(1, "pump"), b.named(2, "fan", OTHER), b.named(3, "pump")]) == []
    assert b.said([b.named(1, "pump"), b.named(200, "pump", OTHER)]) == []  # exchanged


def test_refusals() -> None:
    b = Cell()
    refused = [b.dcp(1 + n, 1025, S, cause=1, flags=int(Flag.NEGATIVE)) for n in range(3)]
    assert b.said(refused) == [("dcp-refused", WARNING)]
    assert b.said(refused[:2]) == []


def test_discovery() -> None:
    b = Cell()
    scan = [b.dcp(1 + n, 1280) for n in range(10)]
    assert b.said(scan, baseline=b.learned([b.named(1, "pump")])) == [("dcp-identify-scan", NOTICE)]
    assert b.said(scan[:9], baseline=b.learned([b.named(1, "pump")])) == []
    assert b.said(scan, baseline=b.learned(scan[:1])) == []
