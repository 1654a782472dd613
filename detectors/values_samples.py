"""Values of many points side by side in time: what groups of points are learned from and judged on.

Every :data:`STEP` seconds of capture time the last value of each point is taken. While learning at most
:data:`MAX_ROWS` such rows are kept, thinned evenly over time when there are more, of the first
:data:`MAX_POINTS` points; those that moved like measured quantities are written to the table ``samples``,
one cell per point and capture.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, ConvKey, Lens, column
from detectors.tables import TABLES, Origin, conv_fields, conv_of
from detectors.values_process import View

STEP: Final = 10 * SECOND
MAX_ROWS: Final = 1_024
MAX_POINTS: Final = 512
MAX_CAPTURES: Final = 16
"""Captures, the latest, that groups are made of; a merged baseline may have more."""

MIN_ROWS: Final = 90
MIN_DISTINCT: Final = 8
"""Different values below which a point is a state or a set-point, no measured quantity."""

Floats = npt.NDArray[np.float64]


class SampleLearner:
    """Collects values side by side."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.refused: Counter[str] = Counter()
        self._place = np.full(1_024, -2, np.int64)  # by the run's number of a point; -1 no room
        self._words: list[tuple[ConvKey, str]] = []
        self._last = np.full(MAX_POINTS, np.nan)
        self._rows: dict[int, Floats] = {}
        self._stride = 1
        self._number = -1

    def learn(self, piece: Slice, view: View) -> None:
        """Take one slice."""
        number = piece.start // STEP
        if self._number >= 0 and number > self._number and number % self._stride == 0:
            self._rows[number] = self._last[: len(self._words)].copy()
            while len(self._rows) > MAX_ROWS:
                self._stride *= 2
                self._rows = {n: row for n, row in self._rows.items() if n % self._stride == 0}
        self._number = max(self._number, number)
        if not len(view.rows):
            return
        numbers = view.numbers[view.firsts]
        self._place = column(self._place, numbers, -2)
        for index in np.flatnonzero(self._place[numbers] == -2).tolist():
            self._place[numbers[index]] = self._meet(view.rows[view.firsts[index]])
        places = self._place[numbers]
        kept = places >= 0
        self._last[places[kept]] = view.rows["value"][(view.firsts + view.sizes - 1)[kept]]

    def _meet(self, row: Any) -> int:
        if len(self._words) >= MAX_POINTS:
            self.refused["sampled_points"] += 1
            return -1
        words = (
            self.lens.conv(int(row["conv"])),
            self.lens.names.point(int(row["proto"]), int(row["point"])),
        )
        self._words.append(words)
        return len(self._words) - 1

    def finish(self, baseline: Baseline) -> None:
        """Write the table ``samples``."""
        numbers = sorted(self._rows)
        table = np.full((len(numbers), len(self._words)), np.nan)
        for i, number in enumerate(numbers):
            row = self._rows[number]
            table[i, : len(row)] = row
        made: dict[tuple[ConvKey, str], dict[str, Any]] = {}
        for place, (conv, point) in enumerate(self._words):
            if len(numbers) >= MIN_ROWS and _quantity(table[:, place]):
                made[conv, point] = conv_fields(conv) | {
                    "point": point,
                    "start": numbers[0] * (STEP / SECOND),
                    "step_s": self._stride * (STEP / SECOND),
                    "sample_blocks": ";".join(f"{value:.6g}" for value in table[:, place].tolist()),
                    "origin": Origin.LEARNED.value,
                }
        baseline.tables["samples"] = TABLES["samples"].frame(list(made.values()))


def _quantity(values: Floats) -> bool:
    """Does it move like something measured, up and down?"""
    seen = values[np.isfinite(values)]
    if len(seen) < MIN_ROWS or len(np.unique(seen)) < MIN_DISTINCT:
        return False
    steps = np.diff(seen)
    return bool((steps > 0).any() and (steps < 0).any())


class Sampled:
    """Values side by side, rows in order of time.

    Attributes
    ----------
    points : list of (ConvKey, str)
    values : ndarray of float64, shape (rows, points)
        NaN where a point had not spoken.
    stride : float
        Steps of :data:`STEP` between two rows.
    """

    def __init__(self, baseline: Baseline) -> None:
        rows = list(baseline.rows("samples"))
        captures = sorted({(row.start, row.step_s) for row in rows})[-MAX_CAPTURES:]
        self.points = sorted({(conv_of(row), row.point) for row in rows})[: 2 * MAX_POINTS]
        place = {key: i for i, key in enumerate(self.points)}
        blocks: dict[tuple[float, float], dict[int, Floats]] = {key: {} for key in captures}
        for row in rows:
            at = place.get((conv_of(row), row.point))
            if at is not None and (row.start, row.step_s) in blocks:
                cells = row.sample_blocks.split(";", MAX_ROWS)[:MAX_ROWS]
                blocks[row.start, row.step_s][at] = np.array([float(cell) for cell in cells if cell])
        parts = [_block(block, len(self.points)) for block in blocks.values() if block]
        self.values = np.vstack(parts) if parts else np.zeros((0, 0))
        self.stride = max([1.0, *(step * SECOND / STEP for _, step in captures)])


def _block(columns: dict[int, Floats], points: int) -> Floats:
    """Rows of one capture; columns of unequal length (damaged) end with the shortest."""
    made = np.full((min(len(cells) for cells in columns.values()), points), np.nan)
    for place, cells in columns.items():
        made[:, place] = cells[: len(made)]
    return made
