"""Rules about I/O connections: each is broken once and kept once (ODVA, volumes 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from row_bench import PEER, Bench, C, S, Said

from detectors.base import Level
from detectors.rules.enip_io import EnipIoRules
from grid_profiles.vocabulary import Flag

WARNING, NOTICE = Level.WARNING, Level.NOTICE
SCANNER, OTHER, DEVICE, GROUP = "10.0.0.1", "10.0.0.66", "10.0.0.2", "239.192.1.2"
TAKEN, TRIED = ("cip-owner", WARNING), ("cip-owner", NOTICE)
FOREIGN = ("enip-io-source", WARNING)
OUTPUTS = "1.5/100"
Rows = list[np.void]


class Io(Bench):
    def __init__(self) -> None:
        super().__init__("enip", EnipIoRules)
        self.cip = self.names.protocol_id("cip")

    def service(self, ts: float, kind: int, role: Any, src: str, **more: Any) -> np.void:
        row = self.row(ts, kind, role, src=src, dst=DEVICE, **({"cause": 0} if role == S else {}) | more)
        row["proto"] = self.cip
        return row

    def opens(self, ts: float, who: str = SCANNER, ot: int = 1, **more: Any) -> Rows:
        """A forward open and its answer."""
        kind, cause, name = more.get("kind", 1620), more.get("cause", 0), more.get("name", OUTPUTS)
        asked = self.service(ts, kind, C, who, name=name)
        told: dict[str, Any] = (
            {"aux": -1, "cause": cause, "flags": int(Flag.NEGATIVE)} if cause else {"aux": ot}
        )
        return [asked, self.service(ts + 0.1, kind, S, who, name=name, state=int(asked["frame"]), **told)]

    def closes(self, ts: float, who: str = SCANNER, ot: int = 1) -> Rows:
        return [self.service(ts, 1614, C, who), self.service(ts + 0.1, 1614, S, who, aux=ot)]

    def packets(
        self, opened: Rows, start: int, end: int, src: str = SCANNER, dst: str = DEVICE, owner: str = SCANNER
    ) -> Rows:
        """Ten packets a second of a connection in which ``owner`` may send."""
        may, state = self.names.intern_endpoint(owner), int(opened[0]["frame"])
        return [
            self.row(n / 10, 65_536, PEER, src=src, dst=dst, aux=may, state=state, point=7)
            for n in range(10 * start, 10 * end)
        ]

    def told(self, *rows: Sequence[np.void]) -> Said:
        return self.said([row for part in rows for row in part])


def test_outputs_are_taken_while_their_owner_sends() -> None:
    b = Io()
    first = b.opens(1)
    second = b.opens(60, OTHER, 2, kind=1627)
    (found,) = b.findings([*first, *b.packets(first, 2, 60), *second])
    assert (found.rule, found.level) == TAKEN
    assert (b.names.endpoint(found.src), b.names.endpoint(found.dst)) == (OTHER, DEVICE)
    assert OUTPUTS in found.summary
    assert SCANNER in found.summary


@pytest.mark.parametrize("gap", [0.5, 5.0])
def test_outputs_are_taken_just_after_the_opening(gap: float) -> None:
    b = Io()
    assert b.told(b.opens(1), b.opens(1 + gap, OTHER, 2)) == [TAKEN]


def test_the_device_refuses_a_second_owner() -> None:
    b = Io()
    first = b.opens(1)
    tries = [row for n in range(5) for row in b.opens(10 + n, OTHER, cause=1)]
    assert b.told(first, b.packets(first, 2, 20), tries) == [TRIED]


def test_owners_kept() -> None:
    b = Io()
    first, again = b.opens(1), b.opens(30, ot=2)
    kept = {
        "one": [*first, *b.packets(first, 2, 9)],
        "again by the same": [*first, *b.packets(first, 2, 30), *again],
        "closed before": [*first, *b.packets(first, 2, 9), *b.closes(10), *b.opens(11, OTHER, 2)],
        "timed out": [*first, *b.packets(first, 2, 9), *b.opens(40, OTHER, 2)],
        "other outputs": [*first, *b.opens(2, OTHER, 2, name="1.6/100")],
        "inputs only": [*first, *b.opens(2, OTHER, 2, name="")],
        "nobody had it": b.opens(2, OTHER, 2, cause=1),
        "opening not seen": [*b.packets(first, 2, 9), *b.opens(9, OTHER, 2)],
    }
    assert {case: said for case, rows in kept.items() if (said := b.told(rows))} == {}


def test_an_old_closing_ends_no_later_opening() -> None:
    b = Io()
    rows = [*b.opens(1), *b.opens(2, ot=2), *b.closes(3, ot=1), *b.opens(4, OTHER, 3)]
    assert b.told(rows) == [TAKEN]


SENT = [(DEVICE, SCANNER, "T0855"), (SCANNER, DEVICE, "T0856"), (GROUP, DEVICE, "T0856")]


@pytest.mark.parametrize(("dst", "owner", "technique"), SENT)
def test_packets_of_a_foreign_sender(dst: str, owner: str, technique: str) -> None:
    b = Io()
    opened = b.opens(1)
    (found,) = b.findings([*opened, *b.packets(opened, 3, 4, OTHER, dst, owner)])
    assert (found.rule, found.level) == FOREIGN
    assert (found.technique, found.count) == (technique, 10)
    assert b.names.endpoint(found.src) == OTHER


def test_packets_of_who_may_send_and_of_unknown_connections() -> None:
    b = Io()
    opened = b.opens(1)
    unknown = [b.row(n, 65_536, PEER, src=OTHER, point=9) for n in range(2, 9)]
    mine = b.packets(opened, 2, 9)
    theirs = b.packets(opened, 2, 9, DEVICE, SCANNER, DEVICE)
    assert b.told(opened, unknown, mine, theirs) == []


def test_habits_and_bounds() -> None:
    b = Io()
    first = b.opens(1)
    fight = [row for n in range(6) for row in b.opens(2 + n, OTHER if n % 2 == 0 else SCANNER, 2 + n)]
    baseline = b.learned([*first, *fight])
    assert {level for _, level in b.said([*first, *b.opens(2, OTHER, 2)], baseline=baseline)} == {Level.INFO}
