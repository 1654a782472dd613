"""Process values beyond their range: one learner and one detector for what ``values_*.py`` know.

- ``values_motion``: jumps inside the range, values and conversations that stand still.
- ``values_groups``: points that move together, and one that departs from the others (PyOD).
- ``values_states``: pairs of states that exclude each other; ``values_feedback``: what a command leads to.

They share one view of a slice (:class:`Measured`): values that devices report, without commands, clocks
and repetitions. The values' part of the false-alarm budget is divided by :data:`SHARES`. Nothing here
speaks when fewer than :data:`MIN_LEARNED` seconds were learned; a note of the run says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import REPEATED, ConvKey, Ints, Lens, column, runs
from detectors.points import Points
from detectors.tables import conv_of
from detectors.values_meaning import LARGEST, Meaning
from grid_profiles.vocabulary import DANGEROUS, Role

SHARES: Final = {"range": 0.4, "motion": 0.3, "groups": 0.3}
"""Parts of the values' budget: band of each point (``values.py``), motion, groups. States and feedback are
rules that learning must have covered; they do not draw on it."""

MIN_LEARNED: Final = 1_200.0
"""Seconds of learning below which how values move is not judged: minutes say too little about it."""

HOUR: Final = 3_600.0
NEVER: Final = -(1 << 62)
STATES: Final = 3.0
"""A point that only ever showed whole numbers from 0 to this is a state (single, double point, enum)."""

SELDOM: Final = 120.0
"""Seconds between two changes of a state, on the mean, from which on its change is a switching operation."""

PointKey = tuple[ConvKey, str]
UNKNOWN, REPORTED, COMMANDED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class View:
    """Reported values of a slice, sorted by point, in order of arrival.

    Attributes
    ----------
    rows : Points, n of them
    numbers : ndarray of int64, shape (n,)
        The run's number of each row's point (:class:`~detectors.groups.PointRows`).
    firsts, sizes : ndarray of int64, shape (k,)
        Runs of rows of one point.
    """

    rows: Points
    numbers: Ints
    firsts: Ints
    sizes: Ints
    orders: npt.NDArray[Any]
    """Rows of POINT that clients send: commands and set-points, in no particular order."""

    switched: int = NEVER
    """Start of the last slice, ns, in which a state of the site changed; only while detecting."""

    novel: int = NEVER
    """The same of a state that did not change while learning."""


class Measured:
    """Values that devices report: no commands or their mirrored confirmations, no clocks, no repetitions."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._status = np.full(1_024, UNKNOWN, np.int8)  # by the run's number of a point
        self._meaning = Meaning(lens)

    def of(self, piece: Slice) -> View:
        """The reported values of a slice."""
        points, numbers = self._meaning.values(piece)
        orders = self._orders(piece)
        if len(orders):
            kept = piece.column("role")[points["message"]] != Role.CLIENT
            points, numbers = points.compress(kept), numbers[kept]
        firsts, sizes = runs(numbers)
        self._status = column(self._status, numbers, UNKNOWN)
        status = self._status[numbers[firsts]]
        if (status == UNKNOWN).any():
            for index in np.flatnonzero(status == UNKNOWN).tolist():
                status[index] = self._judge(points[firsts[index]], piece)
            self._status[numbers[firsts]] = status
        if (status == COMMANDED).any():
            keep = np.repeat(status == REPORTED, sizes)
            points, numbers = points.compress(keep), numbers[keep]
            firsts, sizes = runs(numbers)
        return View(points, numbers, firsts, sizes, orders)

    def _orders(self, piece: Slice) -> npt.NDArray[Any]:
        """First-time values that clients send, whatever they mean."""
        points, numbers = self.lens.points(piece)
        ordered = (piece.column("role") == Role.CLIENT) & (piece.column("flags") & np.uint32(REPEATED) == 0)
        told = np.flatnonzero(ordered[points["message"]] & (numbers >= 0))
        told = told[np.abs(points["value"][told]) < LARGEST]
        return points.take(told).records()

    def _judge(self, row: Any, piece: Slice) -> int:
        """A point that is first met in a message that changes the plant is a command's, not a reading."""
        kind = int(piece.messages["kind"][int(row["message"])])
        return COMMANDED if self.lens.kind_class(int(row["proto"]), kind) in DANGEROUS else REPORTED


class Switching:
    """When a state of the site changed last: with another topology, values jump and relations change."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        seconds = float(baseline.params.get("learned_s", 0.0))
        restless = {
            (conv_of(row), row.point)
            for row in baseline.rows("motion")
            if row.changes > max(4.0, seconds / SELDOM)
        }
        self._states = states_of(baseline) - restless
        self._moved = {(conv_of(row), row.point) for row in baseline.rows("motion")}
        self._last = np.full(1_024, np.nan)  # by the run's number of a point
        self._known = np.full(1_024, UNKNOWN, np.int8)
        self.latest = self.novel = NEVER

    def see(self, piece: Slice, view: View) -> View:
        """The view, with the time of the last change."""
        if len(view.rows) and self._states:
            numbers = view.numbers[view.firsts]
            self._known = column(self._known, numbers, UNKNOWN)
            self._last = column(self._last, numbers, np.nan)
            for index in np.flatnonzero(self._known[numbers] == UNKNOWN).tolist():
                row = view.rows[view.firsts[index]]
                self._known[numbers[index]] = REPORTED if self._key(row) in self._states else COMMANDED
            mine = np.flatnonzero(self._known[numbers] == REPORTED)
            if len(mine):
                ends = (view.firsts + view.sizes - 1)[mine]
                values, before = view.rows["value"][ends], self._last[numbers[mine]]
                changed = (values != before) & ~np.isnan(before)
                if changed.any():
                    self.latest = max(self.latest, piece.start)
                    rows = view.rows.take(ends[changed]).records()
                    if any(self._key(row) not in self._moved for row in rows):
                        self.novel = max(self.novel, piece.start)
                self._last[numbers[mine]] = values
        return replace(view, switched=self.latest, novel=self.novel)

    def _key(self, row: Any) -> PointKey:
        return self.lens.conv(int(row["conv"])), self.lens.names.point(int(row["proto"]), int(row["point"]))


def states_of(baseline: Baseline) -> set[PointKey]:
    """Points that only ever showed a few whole numbers: single and double points, modes."""
    return {
        (conv_of(row), row.point)
        for row in baseline.rows("values")
        if 0 <= row.low <= row.high <= STATES and row.low == int(row.low) and row.high == int(row.high)
    }


def counters_of(baseline: Baseline) -> set[PointKey]:
    """Points that only ever rise or only fall: they start again some day, in one large step."""
    return {
        (conv_of(row), row.point)
        for row in baseline.rows("values")
        if (row.falls == 0 or row.rises == 0) and row.rises + row.falls > 2
    }


class ProcessPart(Protocol):
    """A detector of process values, one of several that share a view."""

    def detect(self, piece: Slice, view: View) -> list[Finding]: ...
    def counters(self) -> dict[str, int]: ...


class ProcessLearning(Protocol):
    """The learner beside it."""

    def learn(self, piece: Slice, view: View) -> None: ...
    def finish(self, baseline: Baseline) -> None: ...


def too_short(baseline: Baseline) -> bool:
    """Was too little learned to judge how values move?"""
    return float(baseline.params.get("learned_s", 0.0)) < MIN_LEARNED


def width(baseline: Baseline) -> float:
    """Factor on margins: an hour is the measure; what was learned in half of it has limits twice as wide."""
    return max(1.0, HOUR / max(float(baseline.params.get("learned_s", 0.0)), 1.0))


def share(budget: Budget, name: str) -> Budget:
    """The budget of one part of the values' detectors."""
    return replace(budget, values=budget.values * SHARES[name])
