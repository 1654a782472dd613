"""ARP rules: each is broken once and kept once (RFC 826, RFC 5227)."""

from __future__ import annotations

from typing import Any

import numpy as np
from row_bench import PEER, Bench

from detectors.base import Level
from detectors.rules.arp import ArpRules

ALARM, WARNING, INFO = Level.ALARM, Level.WARNING, Level.INFO
A, B, ALL = "00:0c:29:00:00:07", "00:0c:29:00:00:66", "ff:ff:ff:ff:ff:ff"
IP, PEER_IP = "10.0.0.2", "10.0.0.1"


class Lan(Bench):
    def __init__(self) -> None:
        super().__init__("arp", ArpRules)

    def arp(self, ts: float, kind: int, source: str, sender: str, target: str, **more: Any) -> np.void:
        fields: dict[str, Any] = {"name": sender, "ident": source, "point": target, "stream": -1}
        return self.row(ts, kind, PEER, src=source, dst=ALL if kind == 1 else A, **(fields | more))

    def ask(self, ts: float, source: str = A, sender: str = IP, target: str = PEER_IP) -> np.void:
        return self.arp(ts, 1, source, sender, target)


def test_an_address_that_moves() -> None:
    b = Lan()
    assert b.said([b.ask(1), b.ask(9, B)]) == [("arp-moved", WARNING)]
    assert b.said([b.ask(1), b.ask(9)]) == []
    assert b.said([b.ask(1), b.ask(9, B, "10.0.0.3")]) == []
    assert b.said([b.ask(1, A, "0.0.0.0"), b.ask(9, B, "0.0.0.0")]) == []  # probes
    moved = [b.ask(1), b.ask(9, B)]
    assert b.said(moved, baseline=b.learned(moved)) == [("arp-moved", WARNING)]
    often = [b.ask(100 * n, (A, B)[n % 2]) for n in range(8)]
    assert b.said(moved, baseline=b.learned(often)) == [("arp-moved", INFO)]


def test_an_address_with_two_owners() -> None:
    b = Lan()
    turns = [b.ask(1), b.ask(5, B), b.ask(9), b.ask(13, B)]
    said = b.said(turns)
    assert said == [("arp-moved", WARNING), ("arp-conflict", ALARM), ("arp-conflict", ALARM)]
    assert {rule for rule, _ in b.said([b.ask(1), b.ask(200, B), b.ask(400)])} == {"arp-moved"}


def test_answers_that_nobody_asked_for() -> None:
    b = Lan()
    replies = [b.arp(1 + 2 * n, 2, B, "10.0.0.9", IP) for n in range(12)]
    assert b.said(replies) == [("arp-unasked", WARNING)]
    assert b.said(replies[:9]) == []
    asked = [row for n in range(12) for row in (b.ask(1 + 2 * n, target="10.0.0.9"), replies[n])]
    assert b.said(asked) == []
    assert b.said([b.arp(1 + 2 * n, 2, B, "10.0.0.9", "10.0.0.9") for n in range(12)]) == []  # announcements


def test_forged_sender() -> None:
    b = Lan()
    forged = b.arp(1, 2, B, "10.0.0.9", IP, ident=A)
    assert b.said([forged]) == [("arp-forged-sender", WARNING)]
    assert b.said([b.arp(1, 2, B, "10.0.0.9", IP)]) == []


def test_scan() -> None:
    b = Lan()
    scan = [b.ask(1 + n / 10, target=f"10.0.0.{n}") for n in range(10, 45)]
    quiet = b.learned([b.ask(1)])
    assert b.said(scan, baseline=quiet) == [("arp-scan", WARNING)]
    assert b.said(scan[:29], baseline=quiet) == []
    assert b.said(scan, baseline=b.learned(scan)) == []
