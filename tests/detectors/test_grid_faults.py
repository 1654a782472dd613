"""Events of the grid and of files: short circuits, dips and disturbance records, and what they explain."""

from __future__ import annotations

from typing import Any

import numpy as np
from row_bench import SECOND, START, Bench, C, P, S

from detectors.base import Event, Finding, Level, Reading
from detectors.disturbances import Disturbances
from detectors.groups import Lens
from grid_profiles.vocabulary import POINT

LOAD = np.array([420.0, 413.7, 425.0, 10.0, 63_100.0, 63_110.0, 63_120.0, 1_500.0])
MU, GROUP = "00:0c:29:00:00:07", "01:0c:cd:04:00:01"


class Grid(Bench):
    """One merging unit, and the events of a site that knows it."""

    def __init__(self) -> None:
        super().__init__("sv", None)
        self.rows: list[np.void] = []
        self.points: list[np.void] = []

    def second(self, number: int, rms: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        base = self.names.intern_text("MU01") << 16
        for channel, value in enumerate(rms.tolist()):
            point = np.zeros(1, POINT)
            point["message"], point["proto"], point["kind"] = len(self.rows), self.proto, 1
            point["point"], point["value"] = base | channel, value
            self.points.append(point[0])
        fields: dict[str, Any] = {"role": P, "sub": "MU01", "point": "MU01", "port": 0x4000}
        fields |= {"src": MU, "dst": GROUP, "count": 4000, "aux": 4000}
        self.rows.append(self.row(number + 0.001, 2, **fields))

    def events(self, found: list[Finding]) -> list[Event]:
        """Events of the rows; findings are weighed at the second in which they are."""
        made = Disturbances(Lens(self.names), self.learned(self.rows[:5]))
        told: list[Event] = []
        for piece in self.slices(self.rows, points=self.points):
            made.see(piece)
            made.weigh([one for one in found if piece.start <= one.ts < piece.end])
            told += made.tick(piece.end)
        return told + made.close()

    def outside(self, second: int) -> Finding:
        row = self.rows[second]
        scores = {"fault": 1.0}
        return Finding(
            START + round((second + 0.5) * SECOND), "values", "out-of-range", Level.WARNING, Reading.FAULT,
            self.proto, int(row["conv"]), int(row["src"]), int(row["dst"]), "x", scores=scores,
        )  # fmt: skip


def told(change: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[list[str], Level]:
    """Events of a second with other values, and the level of what leaves its range meanwhile."""
    grid = Grid()
    for number in range(30):
        grid.second(number, LOAD + change if number == 15 else LOAD)
    finding = grid.outside(16)
    return [event.what for event in grid.events([finding])], finding.level


def test_a_short_circuit_is_an_event_that_explains_values() -> None:
    assert told(np.array([1_000.0, 0, 0, 1_000, -2_300, 0, 0, 9_000])) == (["grid-fault"], Level.INFO)
    assert told(np.array([0.0, 0, 0, 0, -3_000, -3_000, -3_000, 0])) == (["grid-fault"], Level.INFO)


def test_loads_and_scaled_currents_are_none() -> None:
    for change in (
        LOAD * 0,
        LOAD * np.r_[np.full(4, 5.0), np.zeros(4)],
        LOAD * np.r_[np.full(4, 0.5), np.full(4, -0.005)],
    ):
        assert told(change) == ([], Level.WARNING)


def test_a_disturbance_record_explains_the_rate_of_its_reading() -> None:
    b = Bench("mms", None)
    poll = [b.row(n, 4, C, point="LD0/x", name="LD0/x", port=102) for n in range(60)]
    poll += [b.row(n + 0.1, 260, S, port=102) for n in range(60)]
    made = {name: _reading(b, poll, name) for name in ("COMTRADE/0007.dat", "config.cid")}
    assert made["COMTRADE/0007.dat"] == (["file-transfer"], Level.INFO)
    assert made["config.cid"] == ([], Level.NOTICE)


def _reading(b: Bench, poll: list[np.void], name: str) -> tuple[list[str], Level]:
    site = Disturbances(Lens(b.names), b.learned(poll))
    rows = [b.row(20, 72, C, point=name, name=name, port=102)]
    rows += [b.row(20.1 + n / 10, 73, C, port=102) for n in range(30)]
    row = rows[0]
    finding = Finding(
        START + 12 * SECOND, "timing", "rate", Level.NOTICE, Reading.ATTACK,
        b.proto, int(row["conv"]), int(row["src"]), int(row["dst"]), "x", scores={"attack": 1.0},
    )  # fmt: skip
    for piece in b.slices(rows):
        site.see(piece)
    site.weigh([finding])
    return [event.what for event in site.close()], finding.level
