"""Values that jump inside their range, and values that stand still.

**Jump.** A change is told when it is larger than any learned, both from one report to the next and per
second: after a pause a value may have gone far, and two reports close together may differ. Slow drift is
not seen here.

**Frozen.** A point that always moved and now repeats the same number, in time and in reports far beyond its
longest learned run, while most other points of its conversation go on moving. A value that rests at 0 is
exempt: what is switched off measures nothing.

**Standstill.** All points of a conversation at once, though reports come as ever: old answers played
again, or a gateway that has lost its field side. That reports stop is ``silence``, not this. So is it when
every measured point stands beyond its own limits while only counters go on: they count the same whether the
measurements beside them are true or not.

Limits are those of the extremes of blocks of time (``calibration.upper_limit``), at least twice what was
learned, for standing values three times; wider when less than an hour was.

References
----------
Wolsing et al., "IPAL SIMPLE" (ESORICS 2022): gradient and steady-time detectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import MIN_BLOCKS, Budget, upper_limit
from detectors.groups import SECOND, Ints, Lens, column
from detectors.tables import conv_of, text_numbers
from detectors.values import point_finding, value_limits
from detectors.values_meaning import point_words
from detectors.values_motion_learner import LEAST
from detectors.values_process import PointKey, View, counters_of, share, states_of, too_short, width

MIN_COUNT: Final = 50
MIN_CHANGES: Final = 50
MIN_STEPS: Final = 20
OFTEN: Final = 10
"""A point always moves when its longest run without a change fits so many times into what was learned."""

LONGER: Final = 2.0
"""Longest runs that a standing value gets beyond the longest: a flat hour differs from a steep one."""

FEW: Final = 5.0
"""Reports more than the longest run that a standing value gets at least."""

MAX_POINTS: Final = 100_000
MAX_FINDINGS: Final = 100
MAX_CANDIDATES: Final = 32
JUMP_HOLD: Final = 60.0
RECENT: Final = 10 * SECOND
"""A state of the site that changed so shortly before, or half as long after it, explains a jump: it is told
when that time is over."""

UNKNOWN: Final = -2
NONE: Final = -1
ROOM: Final = 1_024
INF: Final = float("inf")

JUMP_SCORES: Final = {"fault": 0.4, "attack": 0.35, "operation": 0.25}
SWITCHED_SCORES: Final = {"operation": 0.7, "fault": 0.2, "attack": 0.1}
FROZEN_SCORES: Final = {"fault": 0.55, "attack": 0.3, "operation": 0.15}
STANDSTILL_SCORES: Final = {"attack": 0.45, "fault": 0.45, "operation": 0.1}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one point: change per report, per second; time (s) and reports without a change."""

    step: float = INF
    rate: float = INF
    still: float = INF
    reports: float = INF
    band: tuple[float, float] = (-INF, INF)
    """Where ``values.py`` is quiet: what lies beyond is told there, and no jump."""

    seen: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Largest change and longest time without one that were learned, and the most reports in it."""


def _no_limits(size: int) -> npt.NDArray[np.float64]:
    """Columns of limits: step, rate, time and reports without a change, band."""
    return np.repeat([[INF], [INF], [INF], [INF], [-INF], [INF]], size, axis=1)


class Motion:
    """Holds the motion of values against what was learned."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self.bounds = bounds_of(baseline, budget)
        self.states, self.counted = states_of(baseline), counters_of(baseline)
        self._slot = np.full(ROOM, UNKNOWN, np.int64)  # by the run's number of a point
        self._known: list[Bounds] = []
        self._limits = _no_limits(ROOM)
        self._last = np.full(ROOM, np.nan)
        self._at, self._since, self._run = (np.zeros(ROOM, np.int64) for _ in range(3))
        self._conv, self._told = np.full(ROOM, NONE, np.int64), np.zeros(ROOM, bool)
        self._is_state, self._is_counter = np.zeros(ROOM, bool), np.zeros(ROOM, bool)
        self._of = np.full(ROOM, NONE, np.int64)
        self._whole = _Whole()
        self._waiting: list[tuple[Finding, int]] = []
        self._refused = 0

    def counters(self) -> dict[str, int]:
        """Findings beyond the bound per slice."""
        return {"motion_findings": self._refused}

    def detect(self, piece: Slice, view: View) -> list[Finding]:
        """Findings of one slice."""
        if not self.bounds:
            return []
        due = self._due(piece, view.switched)
        slots = self._resolve(view)
        watched = slots >= 0
        if not watched.any():
            return due
        firsts, sizes, slots = view.firsts[watched], view.sizes[watched], slots[watched]
        edges = np.cumsum(sizes) - sizes
        at = np.repeat(firsts - edges, sizes) + np.arange(sizes.sum())
        of = np.repeat(np.arange(len(slots)), sizes)
        values, stamps = view.rows["value"][at], view.rows["ts"][at]
        before, since = np.r_[np.nan, values[:-1]], np.r_[0, stamps[:-1]]
        before[edges], since[edges] = self._last[slots], self._at[slots]
        changed = (values != before) & ~np.isnan(before)
        jumps = self._jumps(before, values, stamps - since, slots[of])
        self._advance(slots, edges, sizes, values, stamps, changed)
        known = ~np.isnan(before[edges]) | (sizes > 1)
        moved = np.logical_or.reduceat(changed, edges)
        still = self._conversations(slots, known, moved)
        for i in jumps[: max(0, MAX_FINDINGS - len(self._waiting))].tolist():
            jump = self._jump(view.rows[at[i]], before[i], slots[of[i]], piece)
            self._waiting.append((jump, int(since[i])))
        self._refused += max(0, len(jumps) - MAX_FINDINGS)
        frozen, beside = self._frozen(slots)
        found = due + [self._freeze(view.rows[firsts[i]], slots[i], piece) for i in frozen]
        found += [self._beside(view.rows[firsts[i]], slots[i], piece) for i in beside]
        for number in still.tolist():
            first = firsts[np.flatnonzero(self._of[slots] == number)[0]]
            found.append(self._standstill(view.rows[first], number, piece))
        return found

    def rest(self) -> list[Finding]:
        """What waits for a change of state when nothing comes any more."""
        waiting, self._waiting = self._waiting, []
        return [finding for finding, _ in waiting]

    def _due(self, piece: Slice, switched: int) -> list[Finding]:
        """Jumps that waited long enough for a change of state that explains them."""
        due = [one for one in self._waiting if piece.start - one[0].ts >= RECENT // 2]
        if not due:
            return []
        self._waiting = [one for one in self._waiting if piece.start - one[0].ts < RECENT // 2]
        for finding, since in due:
            # it changed at some time after the report before it, and slices are a second long
            if min(since - RECENT // 2, finding.ts - RECENT) <= switched:
                finding.level, finding.reading = Level.INFO, Reading.OPERATION
                finding.scores = SWITCHED_SCORES
                finding.summary += "; a state of the site changed with it"
        return [finding for finding, _ in due]

    def _jumps(
        self, before: npt.NDArray[np.float64], values: npt.NDArray[np.float64], apart: Ints, slots: Ints
    ) -> Ints:
        """Rows whose change is too large, from one place inside the band to another."""
        size = np.abs(values - before)
        step, rate, _, _, low, high = self._limits
        with np.errstate(invalid="ignore"):
            over = np.flatnonzero(size > step[slots])
        if not len(over):
            return over
        mine, old, new = slots[over], before[over], values[over]
        fast = size[over] / np.maximum(apart[over] / SECOND, LEAST) > rate[mine]
        inside = (np.minimum(old, new) >= low[mine]) & (np.maximum(old, new) <= high[mine])
        return np.asarray(over[fast & inside], np.int64)

    def _advance(
        self,
        slots: Ints,
        edges: Ints,
        sizes: Ints,
        values: npt.NDArray[np.float64],
        stamps: Ints,
        changed: npt.NDArray[np.bool_],
    ) -> None:
        """Move last values and runs without a change on."""
        ends = edges + sizes - 1
        place = np.where(changed, np.arange(len(values)), -1)
        latest = np.maximum.reduceat(place, edges)
        fresh = np.isnan(self._last[slots])
        kept = (latest < 0) & ~fresh
        begin = np.where(latest >= 0, latest, edges)
        self._run[slots] = np.where(kept, self._run[slots] + sizes, ends - begin)
        self._since[slots] = np.where(kept, self._since[slots], stamps[begin])
        self._told[slots] &= kept
        self._last[slots], self._at[slots] = values[ends], stamps[ends]

    def _conversations(self, slots: Ints, known: npt.NDArray[np.bool_], moved: npt.NDArray[np.bool_]) -> Ints:
        """Count the conversations of this slice as moving or standing; those that stand still too long."""
        whole, of = self._whole, self._of[slots]
        size = len(whole.at)
        heard = np.bincount(of[known], minlength=size) > 0
        np.maximum.at(whole.at, of[known], self._at[slots[known]])
        alive = np.bincount(of[moved], minlength=size) > 0
        new = heard & ~whole.heard
        restart = (heard & alive) | new
        whole.since[restart], whole.run[restart], whole.told[restart] = whole.at[restart], 0, False
        whole.run[heard & ~restart] += 1
        whole.heard |= heard
        over = heard & ~whole.told & (whole.run > whole.limits[1])
        over &= (whole.at - whole.since) / SECOND > whole.limits[0]
        if over.any():
            quantity = ~self._is_state[slots] & (self._last[slots] != 0)
            over &= np.bincount(of[quantity], minlength=size) > 0
            whole.told |= over
        return np.flatnonzero(over)

    def _frozen(self, slots: Ints) -> tuple[list[int], list[int]]:
        """Places (in ``slots``) of points that stand still: while most of their neighbours move, and while
        of their neighbours only counters do."""
        over = (self._run[slots] > self._limits[3, slots]) & ~self._told[slots] & (self._last[slots] != 0)
        over &= (self._at[slots] - self._since[slots]) / SECOND > self._limits[2, slots]
        out: list[int] = []
        beside: list[int] = []
        for place in np.flatnonzero(over)[:MAX_CANDIDATES].tolist():
            slot = slots[place]
            used = len(self._known)
            near = np.flatnonzero(
                (self._conv[:used] == self._conv[slot]) & np.isfinite(self._limits[3, :used])
            )
            near = near[near != slot]
            moving = self._since[near] > self._since[slot]
            if len(near) and 2 * int(moving.sum()) > len(near):
                self._told[slot] = True
                out.append(place)
            elif moving.any() and not self._told[slot] and self._all_stand(near):
                self._told[near], self._told[slot] = True, True
                beside.append(place)
        return out, beside

    def _all_stand(self, near: Ints) -> bool:
        """Do all measured points of a conversation stand beyond their own limits, at other numbers than 0?"""
        near = near[~self._is_counter[near]]
        over = (self._run[near] > self._limits[3, near]) & (self._last[near] != 0)
        over &= (self._at[near] - self._since[near]) / SECOND > self._limits[2, near]
        return bool(len(near)) and bool(over.all())

    # --- points of this run ---

    def _resolve(self, view: View) -> Ints:
        """Slot of each run of rows, :data:`NONE` without limits."""
        numbers = view.numbers[view.firsts]
        self._slot = column(self._slot, numbers, UNKNOWN)
        for index in np.flatnonzero(self._slot[numbers] == UNKNOWN).tolist():
            row = view.rows[view.firsts[index]]
            self._slot[numbers[index]] = self._number(row)
        return self._slot[numbers]

    def _number(self, row: Any) -> int:
        conv = int(row["conv"])
        key = (self.lens.conv(conv), self.lens.names.point(int(row["proto"]), int(row["point"])))
        bounds = self.bounds.get(key)
        if bounds is None or len(self._known) >= MAX_POINTS:
            return NONE
        slot = len(self._known)
        self._known.append(bounds)
        if slot >= len(self._last):
            self._grow()
        self._limits[:, slot] = (bounds.step, bounds.rate, bounds.still, bounds.reports, *bounds.band)
        self._conv[slot], self._is_state[slot] = conv, key in self.states
        self._is_counter[slot] = key in self.counted
        self._of[slot] = self._whole.number(conv, self.bounds.get((key[0], ""), Bounds()))
        return slot

    def _grow(self) -> None:
        size = len(self._last)
        self._limits = np.hstack([self._limits, _no_limits(size)])
        self._last = np.r_[self._last, np.full(size, np.nan)]
        self._conv, self._of = (np.r_[column, np.full(size, NONE)] for column in (self._conv, self._of))
        self._at, self._since, self._run = (
            np.r_[column, np.zeros(size, np.int64)] for column in (self._at, self._since, self._run)
        )
        self._told, self._is_state, self._is_counter = (
            np.r_[column, np.zeros(size, bool)] for column in (self._told, self._is_state, self._is_counter)
        )

    # --- words ---

    def _jump(self, row: Any, before: float, slot: int, piece: Slice) -> Finding:
        bounds, text, words = (
            self._known[slot],
            self._text(row),
            point_words(self.lens, int(row["proto"]), int(row["point"])),
        )
        step = float(row["value"]) - before
        return point_finding(
            "value-jump",
            Level.NOTICE,
            row,
            piece,
            f"{words} went from {before:g} to {float(row['value']):g} in one step, inside its "
            f"range; the largest learned is {bounds.seen[0]:g}",
            f"changes up to {bounds.step:.4g}",
            f"{step:+.4g}",
            JUMP_SCORES,
            hold=JUMP_HOLD,
            group="",
            item=text,
        )

    def _freeze(self, row: Any, slot: int, piece: Slice) -> Finding:
        bounds, text, words = (
            self._known[slot],
            self._text(row),
            point_words(self.lens, int(row["proto"]), int(row["point"])),
        )
        still = (self._at[slot] - self._since[slot]) / SECOND
        return point_finding(
            "value-frozen",
            Level.NOTICE,
            row,
            piece,
            f"{words} stands at {self._last[slot]:g} for {still:.0f} s ({self._run[slot]} reports) while "
            f"other values of {self.lens.link(int(row['conv']))} move; the longest learned is "
            f"{bounds.seen[1]:.0f} s",
            f"a change within {bounds.still:.0f} s",
            f"none in {still:.0f} s",
            FROZEN_SCORES,
            hold=JUMP_HOLD,
            group="",
            item=text,
        )

    def _standstill(self, row: Any, number: int, piece: Slice) -> Finding:
        whole, bounds = self._whole, self._whole.bounds[number]
        still, (_, longest, reports) = (whole.at[number] - whole.since[number]) / SECOND, bounds.seen
        words = (
            f"no value of {self.lens.link(int(row['conv']))} has changed for {still:.0f} s though reports go "
            f"on; the longest learned is {longest:.0f} s and {reports:.0f} reports"
        )
        observed = f"none in {still:.0f} s ({whole.run[number]} times reported)"
        return self._all_still(row, piece, words, bounds, observed)

    def _beside(self, row: Any, slot: int, piece: Slice) -> Finding:
        bounds, still = self._known[slot], (self._at[slot] - self._since[slot]) / SECOND
        link = self.lens.link(int(row["conv"]))
        words = (
            f"no measured value of {link} has changed for {still:.0f} s though its counters go on; the "
            f"longest learned is {bounds.seen[1]:.0f} s"
        )
        observed = f"none in {still:.0f} s ({self._run[slot]} reports)"
        return self._all_still(row, piece, words, bounds, observed)

    @staticmethod
    def _all_still(row: Any, piece: Slice, words: str, bounds: Bounds, observed: str) -> Finding:
        made = point_finding(
            "values-standstill",
            Level.NOTICE,
            row,
            piece,
            words,
            f"a change within {bounds.still:.0f} s",
            observed,
            STANDSTILL_SCORES,
            hold=JUMP_HOLD,
            group="",
            item="",
        )
        made.point, made.technique = -1, "T0832"
        return made

    def _words(self, row: Any) -> str:
        return point_words(self.lens, int(row["proto"]), int(row["point"]))

    def _text(self, row: Any) -> str:
        return self.lens.names.point(int(row["proto"]), int(row["point"]))


class _Whole:
    """Conversations as one point each, by number: when a value last changed, and reports since."""

    def __init__(self) -> None:
        self.bounds: list[Bounds] = []
        self.numbers: dict[int, int] = {}
        self.limits = np.full((2, ROOM), INF)
        self.since, self.at, self.run = (np.zeros(ROOM, np.int64) for _ in range(3))
        self.heard, self.told = np.zeros(ROOM, bool), np.zeros(ROOM, bool)

    def number(self, conv: int, bounds: Bounds) -> int:
        """Number of a conversation; ``bounds`` are its own."""
        found = self.numbers.get(conv)
        if found is None:
            found = self.numbers[conv] = len(self.bounds)
            self.bounds.append(bounds)
            if found >= len(self.at):
                self.limits = np.hstack([self.limits, np.full(self.limits.shape, INF)])
                self.since, self.at, self.run = (
                    np.r_[column, np.zeros_like(column)] for column in (self.since, self.at, self.run)
                )
                self.heard, self.told = (
                    np.r_[column, np.zeros_like(column)] for column in (self.heard, self.told)
                )
            self.limits[:, found] = bounds.still, bounds.reports
        return found


def bounds_of(baseline: Baseline, budget: Budget) -> dict[PointKey, Bounds]:
    """Limits of each point that was seen often enough; none after a short training."""
    if too_short(baseline):
        return {}
    rows = [row for row in baseline.rows("motion") if row.count >= MIN_COUNT]
    states, counters = states_of(baseline), counters_of(baseline)
    part = share(budget, "motion")
    bands = {key: (one.low, one.high) for key, one in value_limits(baseline, share(budget, "range")).items()}
    made = {}
    for row in rows:
        key = (conv_of(row), row.point)
        made[key] = (
            Bounds() if key in states else _bounds(row, part, len(rows), key in counters, width(baseline))
        )
        made[key] = replace(made[key], band=bands.get(key, (-INF, INF)))
    return made


def _bounds(row: Any, budget: Budget, points: int, counter: bool, wide: float) -> Bounds:
    stills, most = text_numbers(row.still_blocks), text_numbers(row.run_blocks)
    steps, rates = text_numbers(row.step_blocks), text_numbers(row.rate_blocks)
    probability = budget.probability(budget.values / 2, row.block_s, points)
    step = rate = still = reports = INF
    if len(steps) >= MIN_BLOCKS and row.changes >= MIN_STEPS and not counter:
        step = upper_limit(steps, probability, wide * max(steps))
        rate = upper_limit(rates, probability, wide * max(rates))
    longest, run = max(stills, default=0.0), max(most, default=0.0)
    if row.changes >= MIN_CHANGES and len(stills) >= MIN_BLOCKS and OFTEN * run <= row.count:
        period = longest / run if run else 0.0
        still = upper_limit(stills, probability, wide * max(LONGER * longest, FEW * period))
        reports = upper_limit(most, probability, wide * max(LONGER * run, FEW))
    return Bounds(step, rate, still, reports, seen=(max(steps, default=0.0), longest, run))
