"""GOOSE rules about changes of state: each is broken once and kept once (IEC 61850-8-1, clause 18)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import SECOND, START, Bench, P

from detectors.base import Level
from detectors.rules.goose_state import GooseStateRules
from grid_profiles.vocabulary import Flag

WARNING, NOTICE = Level.WARNING, Level.NOTICE
IED, GROUP, REF = "00:0c:29:00:00:07", "01:0c:cd:01:00:01", "IED7LD0/LLN0$GO$gcb1"
Rows = list[np.void]


class Publisher(Bench):
    def __init__(self) -> None:
        super().__init__("goose", GooseStateRules)

    def goose(self, ts: float, state: int, seq: int, changed: float, **more: Any) -> np.void:
        fields: dict[str, Any] = {"role": P, "sub": REF, "point": REF, "port": 0x3001, "aux": 2000}
        fields |= {"state": state, "seq": seq, "value": START / SECOND + changed, "stream": -1}
        fields |= {"src": IED, "dst": GROUP}
        return self.row(ts, 2 if seq else 1, **(fields | more))

    def burst(self, ts: float, state: int, first: float = 0.004, **more: Any) -> Rows:
        """A change at ``ts`` with its repetitions."""
        times = [0.0, first, first + 0.01, first + 0.05, first + 1.0]
        changed = {"changed": ts} | more
        return [self.goose(ts + after, state, n, **changed) for n, after in enumerate(times)]

    def beat(self, start: int, end: int, state: int = 5, **more: Any) -> Rows:
        return [self.goose(n, state, n + 1, **({"changed": -100.0} | more)) for n in range(start, end)]


def broken(b: Publisher) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    prompt = [*b.burst(1, 6), *b.burst(5, 7)]
    prompts = [row for n in range(6) for row in b.burst(1 + 4 * n, 6 + n)]
    return {
        "t goes back": ([*b.beat(0, 3), *b.burst(3.5, 6, changed=-200.0)], ("goose-stale", WARNING)),
        "t stays": ([*b.beat(0, 3), *b.burst(3.5, 6, changed=-100.0)], ("goose-stale", WARNING)),
        "clock jumps": ([*prompt, *b.burst(9, 8, changed=70.0)], ("goose-clock", NOTICE)),
        "an old time": ([*prompt, *b.burst(19, 8, changed=6.0)], ("goose-clock", NOTICE)),
        "no time to live": ([*b.beat(0, 3), *b.beat(3, 4, aux=0)], ("goose-lifetime", WARNING)),
        "long to live": ([*b.beat(0, 3), *b.beat(3, 4, aux=60_000)], ("goose-lifetime", WARNING)),
        "longer to live than it kept to": (
            [*b.beat(0, 20), *b.beat(20, 24, aux=5000)],
            ("goose-lifetime", WARNING),
        ),
        "a slow burst": ([*prompts, *b.burst(40, 16, first=0.8)], ("goose-schedule", NOTICE)),
        "another VLAN": ([*b.beat(0, 3), *b.beat(3, 6, vlan=7)], ("goose-address", WARNING)),
        "another APPID": ([*b.beat(0, 3), *b.beat(3, 6, port=0x3002)], ("goose-address", WARNING)),
        "both bits": (b.beat(0, 3, flags=int(Flag.TEST | Flag.COMMISSIONING)), ("goose-bits", WARNING)),
    }


def kept(b: Publisher) -> dict[str, Rows]:
    return {
        "heartbeat": b.beat(0, 20),
        "changes": [*b.burst(1, 6), *b.burst(5, 7), *b.burst(9, 8), *b.burst(13, 9)],
        "two changes at once": [*b.beat(0, 3), b.goose(3.5, 6, 0, 3.5), *b.burst(3.502, 7)],
        "a publisher without a clock": [
            row for n in range(4) for row in b.burst(1 + 4 * n, 6 + n, changed=-START / SECOND)
        ],
        "a clock that is wrong all along": [
            row for n in range(4) for row in b.burst(1 + 4 * n, 6 + n, changed=4 * n - 900.0)
        ],
        "time to live follows the schedule": [*b.beat(0, 3), *b.burst(3.5, 6, aux=40), *b.beat(6, 9, 6)],
        "slow from the start": [row for n in range(9) for row in b.burst(1 + 4 * n, 6 + n, first=0.9)],
        "a restart": [*b.beat(0, 3), *b.burst(3.5, 1, changed=-9000.0)],
        "simulation": b.beat(0, 3, flags=int(Flag.TEST)),
    }


@pytest.mark.parametrize("case", broken(Publisher()))
def test_broken(case: str) -> None:
    bench = Publisher()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Publisher()))
def test_kept(case: str) -> None:
    bench = Publisher()
    assert bench.said(kept(bench)[case]) == []


def test_an_address_that_learning_knew() -> None:
    bench = Publisher()
    both = [*bench.beat(0, 3), *bench.beat(3, 6, vlan=7)]
    assert bench.said(both, baseline=bench.learned(both)) == []


def test_plain_repetitions_are_not_read_one_by_one() -> None:
    from detectors.rules.goose_state import _telling

    bench = Publisher()
    rows = np.array([*bench.beat(2, 500), *bench.burst(600, 6)])
    # the first, the change, its first repetition, and those whose sequence number is 1
    assert len(_telling(rows)) == 3
