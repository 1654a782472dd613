"""IEC-104 rules about connections and commands: each is broken once and kept once (IEC 60870-5-104)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.iec104_link import Iec104LinkRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE = Level.ALARM, Level.WARNING, Level.NOTICE
MIDDLE = int(Flag.MIDSTREAM)
START, STARTED, STOPPED, TEST, TESTED = 513, 514, 520, 528, 544
Rows = list[np.void]


class Link(Bench):
    def __init__(self) -> None:
        super().__init__("iec104", Iec104LinkRules)

    def data(self, ts: float, number: int, ack: int = 0, **more: Any) -> np.void:
        return self.row(ts, 13, S, **({"seq": number, "state": ack, "cause": 3, "point": 1 << 24 | 7} | more))

    def ack(self, ts: float, number: int, **more: Any) -> np.void:
        return self.row(ts, 256, C, state=number, **more)

    def u(self, ts: float, kind: int, role: Any = C, **more: Any) -> np.void:
        return self.row(ts, kind, role, **more)

    def opened(self) -> Rows:
        return [self.syn(0), self.u(0.01, START), self.u(0.1, STARTED, S)]

    def reports(self, start: int, end: int, late: float = 0.2) -> Rows:
        rows = [self.data(n, n - start) for n in range(start, end)]
        return [*rows, *[self.ack(n + late, n - start + 1) for n in range(start, end)]]

    def order(self, ts: float, select: bool, point: int = 7, **more: Any) -> np.void:
        flags = int(Flag.SELECT) if select else 0
        fields = {"cause": 6, "point": 1 << 24 | point, "flags": flags, "stream": 9}
        return self.row(ts, 45, C, **(fields | more))

    def switched(self, ts: float, point: int = 7, **more: Any) -> Rows:
        return [self.order(ts, True, point, **more), self.order(ts + 1, False, point, **more)]

    def custom(self) -> Rows:
        return [self.order(0, True, flags=MIDDLE | int(Flag.SELECT)), *self.switched(3), *self.switched(9)]


def broken(b: Link) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    silent = [b.data(1 + n, n) for n in range(20)]
    return {
        "t1": ([*b.opened(), *silent], ("iec104-late-ack", WARNING)),
        "t2": ([*b.opened(), *b.reports(1, 2, late=12.5)], ("iec104-late-ack", Level.INFO)),
        "test unanswered": (
            [*b.opened(), b.u(1, TEST), *b.reports(2, 30)],
            ("iec104-test-unanswered", NOTICE),
        ),
        "no test": (
            [*b.opened(), b.u(1, TEST), b.u(1.1, TESTED, S), b.data(60, 0)],
            ("iec104-no-test", NOTICE),
        ),
        "sent on and on": (
            [*b.opened(), *[b.data(1 + n / 10, n) for n in range(30)]],
            ("iec104-unacknowledged", NOTICE),
        ),
        "not started": ([b.syn(0), *b.reports(1, 5)], ("iec104-not-started", WARNING)),
        "not waited for": (
            [b.syn(0), b.u(0.01, START), b.row(0.02, 100, C, cause=6, seq=0, state=0), b.u(0.1, STARTED, S)],
            ("iec104-not-started", Level.INFO),
        ),
        "stopped": (
            [*b.opened(), *b.reports(1, 3), b.u(4, STOPPED, S), b.data(5, 2)],
            ("iec104-not-started", WARNING),
        ),
        "execute alone": ([*b.custom(), b.order(20, False)], ("iec104-unselected", WARNING)),
        "execute another's": (
            [*b.custom(), b.order(20, True), b.order(21, False, src="10.0.0.66", flags=0)],
            ("iec104-select-stolen", ALARM),
        ),
        "probing": (
            [b.row(1 + n, 45, S, cause=47, seq=n, state=0, flags=MIDDLE) for n in range(5)],
            ("iec104-probing", WARNING),
        ),
        "a command to all": (
            [b.order(1, False, flags=MIDDLE | int(Flag.BROADCAST))],
            ("iec104-broadcast", WARNING),
        ),
    }


def kept(b: Link) -> dict[str, Rows]:
    return {
        "reports": [*b.opened(), *b.reports(1, 40)],
        "twenty frames, then an acknowledgement": [
            *b.opened(),
            *[
                row
                for n in range(5)
                for row in (
                    *[b.data(n + 1 + i / 40, 20 * n + i) for i in range(20)],
                    b.ack(n + 1.9, 20 * n + 20),
                )
            ],
        ],
        "an acknowledgement for eight": [
            *b.opened(),
            *[b.data(1 + n / 2, n) for n in range(8)],
            b.ack(5, 8),
        ],
        "a connection that ended": [*b.opened(), b.data(1, 0)],
        "tests": [
            *b.opened(),
            *[row for n in range(1, 90, 20) for row in (b.u(n, TEST), b.u(n + 0.1, TESTED, S))],
        ],
        "acknowledged by what TCP repeated": [
            *b.opened(),
            b.row(1, 100, C, cause=6, seq=0, state=0),
            b.data(1.5, 0, ack=1, flags=int(Flag.RETRANSMITTED)),
            *[b.ack(2 + n, 0) for n in range(30)],
        ],
        "one direction captured": [b.data(0, 0, flags=MIDDLE), *[b.data(1 + n, 1 + n) for n in range(40)]],
        "idle where nobody tests": [*b.opened(), b.data(1, 0), b.data(100, 1)],
        "rules that begin in between": b.reports(1, 5),
        "a capture that begins in between": [b.data(1, 50, flags=MIDDLE), b.data(2, 51)],
        "select and execute": [*b.custom(), *b.switched(20)],
        "commands that are never selected": [
            b.order(0, False, flags=MIDDLE),
            *[b.order(n, False) for n in range(9)],
        ],
        "both styles": [b.order(0, False, flags=MIDDLE), *b.custom(), b.order(20, False)],
        "an interrogation of all": [
            b.row(1, 100, C, cause=6, seq=0, state=0, flags=MIDDLE | int(Flag.BROADCAST)),
        ],
        "four refusals": [b.row(1 + n, 45, S, cause=47, seq=n, state=0, flags=MIDDLE) for n in range(4)],
        "numbers that wrap": [
            b.data(1, 32767, flags=MIDDLE),
            *[b.data(2 + n, n) for n in range(20)],
            *[b.ack(1.5 + n, n) for n in range(20)],
        ],
    }


@pytest.mark.parametrize("case", broken(Link()))
def test_broken(case: str) -> None:
    bench = Link()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Link()))
def test_kept(case: str) -> None:
    bench = Link()
    assert bench.said(kept(bench)[case]) == []


def test_scans() -> None:
    bench = Link()
    baseline = bench.learned([*bench.opened(), *bench.reports(1, 5)])
    scan = [
        bench.row(1 + n, 100, C, cause=6, seq=n, state=0, flags=MIDDLE, point=n << 24) for n in range(2, 9)
    ]
    assert bench.said(scan, baseline=baseline) == [("iec104-address-scan", WARNING)]
    assert bench.said(scan, baseline=bench.learned(scan)) == []
    sweep = [bench.u(1 + n / 10, TEST, dst=f"10.0.0.{n}", stream=n) for n in range(20, 30)]
    assert bench.said(sweep, baseline=baseline) == [("iec104-sweep", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []


def test_who_selected_while_learning_is_known_from_the_first_command_on() -> None:
    bench = Link()
    selects = bench.learned([*bench.switched(3), *bench.switched(9)])
    assert bench.said([bench.order(1, False)], baseline=selects) == [("iec104-unselected", WARNING)]
    assert bench.said(bench.switched(1), baseline=selects) == []
    direct = bench.learned([*bench.switched(3), *[bench.order(9 + n, False) for n in range(4)]])
    assert bench.said([bench.order(1, False)], baseline=direct) == []


@pytest.mark.parametrize(
    ("count", "every", "points", "told"), [(10, 0.2, 1, 1), (10, 2.0, 1, 0), (10, 0.2, 5, 0), (4, 0.2, 1, 0)]
)
def test_one_system_command_over_and_over(count: int, every: float, points: int, told: int) -> None:
    bench = Link()
    rows = [
        bench.row(1 + n * every, 100, C, cause=6, point=(1 + n % points) << 24, flags=MIDDLE)
        for n in range(count)
    ]
    assert bench.said(rows) == told * [("iec104-storm", WARNING)]
