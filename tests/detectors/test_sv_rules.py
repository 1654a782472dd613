"""Sampled value rules: each is broken once and kept once (IEC 61850-9-2, IEC 61869-9)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import SECOND, START, Bench, P

from detectors.base import Level
from detectors.rules.sv import SvRules
from grid_profiles.vocabulary import POINT, Flag

MU, OTHER, GROUP = "00:0c:29:00:00:07", "00:0c:29:00:00:66", "01:0c:cd:04:00:01"
ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
FIRST, WINDOW, GAP, AGAIN, SYNCH, SOURCE, CONF, QUALITY, UNREADABLE = range(1, 10)


class Streams(Bench):
    """Rows of one stream, and the points of its seconds."""

    def __init__(self) -> None:
        super().__init__("sv", SvRules)
        self.points: list[np.void] = []
        self.made = 0

    def sv(self, ts: float, kind: int, source: str = MU, **columns: Any) -> np.void:
        self.made += 1
        fields: dict[str, Any] = {"role": P, "sub": "MU01", "point": "MU01", "ident": "MU01", "cause": 1}
        fields |= {"port": 0x4000, "state": 2, "stream": -1}
        return self.row(ts, kind, src=source, dst=GROUP, **(fields | columns))

    def second(
        self, number: int, rms: float = 100.0, hertz: float = 50.0, rate: int = 4000, **columns: Any
    ) -> np.void:
        point = np.zeros(1, POINT)
        point["ts"], point["message"], point["proto"] = START + number * SECOND, self.made, self.proto
        point["kind"], point["value"], point["quality"] = 1, rms, 0
        point["point"] = self.names.intern_text("MU01") << 16
        self.points.append(point[0])
        return self.sv(number + 0.01, WINDOW, count=rate, aux=rate, value=hertz, **columns)

    def seconds(self, rms: list[float], start: int = 0, **columns: Any) -> list[np.void]:
        return [self.second(start + n, value, **columns) for n, value in enumerate(rms)]


ALIVE = [100.0 + n / 7 for n in range(8)]


def events(bench: Streams) -> dict[str, tuple[list[np.void], tuple[str, Level]]]:
    event, seconds = bench.sv, bench.seconds
    return {
        "one sample missing": ([event(1, GAP, seq=11, aux=10, value=1)], ("sv-gap", NOTICE)),
        "three samples missing": ([event(1, GAP, seq=13, aux=10, value=3)], ("sv-gap", WARNING)),
        "counter goes back": ([event(1, AGAIN, seq=5, aux=10, value=5)], ("sv-repeat", WARNING)),
        "second source": ([event(1, SOURCE, OTHER, aux=0)], ("sv-source", ALARM)),
        "synchronisation lost": ([event(1, SYNCH, aux=2, value=0)], ("sv-synch", WARNING)),
        "revision": ([event(1, CONF, aux=1, value=64, cause=2)], ("sv-configuration", WARNING)),
        "invalid": ([event(1, QUALITY, aux=0, value=1)], ("sv-invalid", WARNING)),
        "questionable": ([event(1, QUALITY, aux=0, value=3)], ("sv-invalid", NOTICE)),
        "simulation": ([event(1, FIRST, flags=int(Flag.TEST))], ("sv-test", WARNING)),
        "unreadable": ([event(1, UNREADABLE, flags=int(Flag.MALFORMED))], ("sv-unreadable", WARNING)),
        "flood": ([*seconds(ALIVE), bench.second(8, 101.3, rate=9000)], ("sv-flood", ALARM)),
        "slow": ([*seconds(ALIVE), bench.second(8, 101.3, rate=3000)], ("sv-rate", WARNING)),
        "frozen": (seconds([*ALIVE, *[99.5] * 6]), ("sv-frozen", WARNING)),
        "dead": (seconds([*ALIVE, 0.0]), ("sv-dead", NOTICE)),
        "frequency": (
            [*seconds(ALIVE), *seconds([101.5, 101.7, 101.6], 8, hertz=12.0)],
            ("sv-frequency", WARNING),
        ),
    }


def healthy(bench: Streams) -> dict[str, list[np.void]]:
    event, seconds = bench.sv, bench.seconds
    return {
        "seconds": [event(0, FIRST), *seconds(ALIVE)],
        "a test set that repeats one cycle": seconds([57.7] * 20),
        "standing still for a moment": seconds([*ALIVE, *[99.5] * 3, *ALIVE]),
        "a rate within jitter": [*seconds(ALIVE), bench.second(8, 101.3, rate=4010)],
        "a weaker current": seconds([*ALIVE, 40.0, 39.0, 38.5]),
        "no signal, no frequency": seconds([0.0] * 8, hertz=float("nan")),
        "another quality bit": [event(1, QUALITY, aux=0, value=0x1000)],
        "cut by the capture": [event(1, UNREADABLE, flags=int(Flag.TRUNCATED))],
    }


@pytest.mark.parametrize("case", events(Streams()))
def test_broken(case: str) -> None:
    bench = Streams()
    rows, expected = events(bench)[case]
    assert set(bench.said(rows, points=_of(bench, rows))) == {expected}


@pytest.mark.parametrize("case", healthy(Streams()))
def test_kept(case: str) -> None:
    bench = Streams()
    rows = healthy(bench)[case]
    assert bench.said(rows, points=_of(bench, rows)) == []


def _of(bench: Streams, rows: list[np.void]) -> list[np.void]:
    """The points of these rows, numbered by them."""
    frames = {int(row["frame"]): number for number, row in enumerate(rows)}
    found = []
    for point in bench.points:
        frame = int(point["message"]) + 1
        if frame in frames:
            own = point.copy()
            own["message"] = frames[frame]
            found.append(own)
    return found


def test_synchronisation_that_comes_back_is_information() -> None:
    bench = Streams()
    assert bench.said([bench.sv(1, SYNCH, aux=0, value=2)]) == [("sv-synch", INFO)]


def test_the_learned_source_keeps_its_name() -> None:
    bench = Streams()
    baseline = bench.learned([bench.sv(0, FIRST), *bench.seconds(ALIVE)])
    assert bench.said([bench.sv(0, FIRST, OTHER)], baseline=baseline) == [("sv-source", ALARM)]
    assert bench.said([bench.sv(0, FIRST)], baseline=baseline) == []


def test_what_learning_met_is_a_habit() -> None:
    bench = Streams()
    losses = [bench.sv(n, GAP, seq=11, aux=10, value=1) for n in range(3)]
    baseline = bench.learned(losses)
    assert set(bench.said(losses, baseline=baseline)) == {("sv-gap", INFO)}
