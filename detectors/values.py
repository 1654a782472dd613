"""Process values: range, step, standing still, per point.

Learned per (conversation, point): count, moments, extremes, the largest step between neighbours and the
extremes of successive blocks of time. A point is judged only after :data:`MIN_COUNT` values in
:data:`MIN_BLOCKS` blocks of time. Points that only ever rise (or only fall) are counters and exempt;
points whose extremes were still wandering in the held-back part of the time are exempt from the range.
Limits lie half the range, and at least the largest step, beyond what was seen, farther where the blocks
vary (``calibration.upper_limit``).

How loud: the range of some hours is no limit of the plant, so leaving it is a notice. A load wanders for a
day before it has shown its range, and its range grows with the root of time as that of a random walk
does: after less than a day, what stays within the range expected of a day (``Limits.room``) is kept at
info, unless it leapt there in a step that dwarfs every step seen; what a client writes to a set-point, which
does not wander, only up to one range beyond. A warning needs a gross violation: many ranges beyond, or some
ranges beyond in such a leap. A GOOSE dataset exists to tell changes: what moves in it with a new state number
is no news (rules judge the order of these numbers), what moves in a repetition is; elsewhere what stood still
is news when it did so for :data:`FULL` or longer, and none in octets whose type nobody names
(``values_untyped.py``).

A feeder that is switched off shows 0, whatever learning saw. So a value that fell to about 0, or left its
range by little, waits 5 s for a change of state of its device, or looks 10 s back for one or for a command
(``values_switched.py``), and is kept at info then: who switched it is the question of other detectors.

How it reads: a value alone cannot tell a process upset from a forged one. When a state of the same device
(a breaker, an alarm) changes with it, or it is one value only, a fault is likelier; when several values
jump at once and no state knows of it, a forgery is. What stays outside is one alert.

References
----------
Wolsing et al., "IPAL SIMPLE" (ESORICS 2022): minimum/maximum, gradient and steady-time detectors are on
par with far heavier ones on process values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading, Slice, likeliest
from detectors.baseline import Baseline
from detectors.calibration import DAY, Blocks, Budget, upper_limit, wanders
from detectors.groups import SECOND, ConvKey, Ints, Lens, column, runs
from detectors.points import Points, Value
from detectors.saturation import FULL, doubt
from detectors.tables import TABLES, Origin, conv_fields, conv_of, numbers_text, text_numbers
from detectors.values_meaning import Meaning, Words
from detectors.values_switched import AFTERWARDS, Switched
from detectors.values_untyped import same_octets, untyped
from grid_profiles.vocabulary import Role

NAME: Final = "values"
MAX_POINTS: Final = 100_000
MIN_COUNT: Final = 50
MIN_BLOCKS: Final = 4
FEW: Final = 5
"""Values from which one that is out of all proportion is told; fewer than :data:`MIN_COUNT` give no range."""

MAX_FINDINGS: Final = 100
FAR: Final = 3.0
"""So many learned ranges beyond the limit, a value that jumped there is called grossly wrong ..."""

JUMP: Final = 5.0
"""... when its step is so many times the largest step ever seen, ..."""

LEAPT: Final = 0.5
"""Least distance beyond the limit of a value that leapt there, learned ranges."""

MANY: Final = 50
"""Values of a point that say how far it steps."""

VERY_FAR: Final = 10.0
"""... and however it came there from so many ranges on."""

SELDOM: Final = 0.02
"""Share of its values at which a point changes that somebody sets now and then."""

COUNTS: Final = 20
"""Rises, and no fall, from which whole numbers count."""

BEGUN_AGAIN: Final = 0.1
"""A counter that is lower than this share of what it was began again, from 0 or from its other end."""

TURN: Final = 3.0
"""Largest learned steps by which a counter must go back: a measurement that only rose turns more gently."""

STATES: Final = 3.0
"""A point that only ever showed whole numbers from 0 to this is a state (single, double point, enum)."""

SEVERAL: Final = 2
MAX_HOLD: Final = 600.0

GOES_ON: Final = 60 * SECOND
"""ns between two values outside the range that are one excursion, with the reason of the first."""

WAITS: Final = 10.0
"""Seconds by which what waits may come later than what it goes on from: the wait, two slices and a pause."""

NOTHING: Final = 0.02
"""Share of the largest value learned that counts as 0: converters have an offset."""

NEVER: Final = -(1 << 62)
FORGED: Final = "; other values jumped with it and no state changed"
SWITCHED_SCORES: Final = {"operation": 0.7, "fault": 0.2, "attack": 0.1}
FAULT_SCORES: Final = {"fault": 0.55, "attack": 0.3, "operation": 0.15}
FORGED_SCORES: Final = {"attack": 0.5, "fault": 0.35, "operation": 0.15}
MILD_SCORES: Final = {"fault": 0.5, "operation": 0.3, "attack": 0.2}

ValueKey = tuple[ConvKey, str]
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Track:
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    last: float = float("nan")
    step: float = 0.0
    rises: int = 0
    falls: int = 0
    highs: Blocks | None = None
    lows: Blocks | None = None

    def add(self, ts: int, values: npt.NDArray[np.float64]) -> None:
        steps = np.diff(values) if np.isnan(self.last) else np.diff(values, prepend=self.last)
        if self.highs is None or self.lows is None:
            self.highs, self.lows = Blocks(), Blocks(sign=-1)
        high, low = float(values.max()), float(values.min())
        self.count += len(values)
        self.total += float(values.sum())
        self.squares += float((values**2).sum())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.highs.add(ts, high)
        self.lows.add(ts, low)
        if len(steps):
            self.step = max(self.step, float(np.abs(steps).max()))
            self.rises += int((steps > 0).sum())
            self.falls += int((steps < 0).sum())
        self.last = float(values[-1])


class ValueLearner:
    """Collects the statistics of each point."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._meaning = Meaning(lens)
        self.refused: Counter[str] = Counter()
        self._tracks: dict[tuple[int, int], _Track] = {}
        self._words: dict[tuple[int, int], ValueKey] = {}

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        points, numbers = self._meaning.values(piece)
        for start, size in zip(*(part.tolist() for part in runs(numbers)), strict=True):
            first, end = points[start], start + size
            key = (int(first["conv"]), int(first["point"]))
            track = self._tracks.get(key)
            if track is None:
                if len(self._tracks) >= MAX_POINTS:
                    self.refused["points"] += 1
                    continue
                track = self._tracks[key] = _Track()
                self._words[key] = (
                    self.lens.conv(key[0]),
                    self.lens.names.point(int(first["proto"]), key[1]),
                )
            track.add(int(first["ts"]), points["value"][start:end])

    def finish(self, baseline: Baseline) -> None:
        """Write the statistics into the baseline."""
        rows = {self._words[key]: self._row(*self._words[key], track) for key, track in self._tracks.items()}
        baseline.tables["values"] = TABLES["values"].frame(list(rows.values()))

    def _row(self, conv: ConvKey, point: str, track: _Track) -> dict[str, Any]:
        assert track.highs is not None
        assert track.lows is not None
        return conv_fields(conv) | {
            "point": point,
            "count": track.count,
            "total": track.total,
            "squares": track.squares,
            "low": track.low,
            "high": track.high,
            "step": track.step,
            "falls": track.falls,
            "rises": track.rises,
            "high_blocks": numbers_text(track.highs.values),
            "low_blocks": numbers_text(track.lows.values),
            "block_s": track.highs.length / 1e9,
            "origin": Origin.LEARNED.value,
        }


ROOM: Final = 1_024
"""Points that the columns of a run hold at first."""

UNKNOWN: Final = -2
"""Band of a point that was not met yet."""

NOBODY: Final = -1
"""In the place of a device: what waits for none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The band of one point; ``constant`` says that it never moved while learning.

    ``step`` is the largest step seen, ``period`` the mean time between values, ``learned`` the time it
    was watched, s.
    """

    low: float
    high: float
    spread: float
    seen: tuple[float, float]
    constant: bool
    step: float = 0.0
    period: float = 0.0
    learned: float = DAY
    counter: bool = False
    """It only ever rose; there is no range, but a way back."""

    chosen: bool = False
    """It changed seldom, as what somebody sets; it does not wander."""

    @property
    def room(self) -> float:
        """Ranges beyond the limit that are still no news: the range of a day is as the root of time wider."""
        return max(0.0, math.sqrt(DAY / max(self.learned, 1.0)) - 1)

    @property
    def state(self) -> bool:
        """Does it show states rather than quantities?"""
        whole = self.seen[0] == int(self.seen[0]) and self.seen[1] == int(self.seen[1])
        return whole and 0 <= self.seen[0] <= self.seen[1] <= STATES

    def beyond(self, value: float) -> float:
        """Learned ranges beyond the limit; at most 0 inside."""
        return max(self.low - value, value - self.high) / max(self.spread, 1e-12)


class Values:
    """Holds process values against their learned band."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._goose, self._sv = lens.protocol("goose"), lens.protocol("sv")
        self._meaning = Meaning(lens)
        self.limits = value_limits(baseline, budget)
        self._bands: list[Limits] = []  # of this run's points, by number
        self._band = np.full(ROOM, UNKNOWN, np.int64)  # by point of this run; -1 has no limits
        self._low, self._high, self._last, self._turns = (np.full(ROOM, np.nan) for _ in range(4))
        self._states = np.zeros(ROOM, bool)
        self._refused = 0
        self._words = Words(lens)
        self._switched = Switched(lens)
        self._held: list[tuple[Finding, int]] = []
        self._explained: dict[tuple[int, int], int] = {}  # ns of the latest such value by point

    def counters(self) -> dict[str, int]:
        """Findings beyond the bound per slice."""
        return {"value_findings": self._refused}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice; those that a change of state may explain wait for it."""
        self._switched.see(piece)
        found = self._outside(piece)
        for one, device in found:
            if device != NOBODY:
                one.hold += WAITS
                self._held.append((one, device))
        return [one for one, device in found if device == NOBODY] + self._due(piece.start - AFTERWARDS)

    def _awaited(self, finding: Finding, outside: _Outside, piece: Slice) -> int:
        """Device whose change of state may explain it, :data:`NOBODY` for what is absurd, and not nothing.

        What a command sets is its receiver's, and the command explains that it no longer stands still.
        """
        constant = finding.rule == "constant-changed"
        absurd = outside.gross and not outside.nothing
        if finding.level == Level.INFO or absurd or (constant and finding.proto == self._goose):
            return NOBODY
        asked = piece.messages["role"][int(outside.row["message"])] == Role.CLIENT
        return finding.dst if constant and asked else finding.src

    def rest(self) -> list[Finding]:
        """What waits when nothing comes any more."""
        return self._due(np.iinfo(np.int64).max)

    def _due(self, before: int) -> list[Finding]:
        """Findings of this time or older, with what was switched around them."""
        due = [one for one in self._held if one[0].ts <= before]
        if due:
            self._held = [one for one in self._held if one[0].ts > before]
        for finding, device in due:
            point = (finding.conv, finding.point)
            goes_on = 0 <= finding.ts - self._explained.get(point, NEVER) <= GOES_ON
            commanded = finding.rule == "constant-changed"  # it may be the very state that changed
            if goes_on or self._switched.near(device, finding.ts, commanded):
                if point in self._explained or len(self._explained) < MAX_POINTS:
                    self._explained[point] = finding.ts
                finding.level, finding.reading, finding.technique = Level.INFO, Reading.OPERATION, ""
                finding.scores = SWITCHED_SCORES
                finding.summary = (
                    finding.summary.removesuffix(FORGED) + "; a state of its device changed with it"
                )
        return [finding for finding, _ in due]

    def _outside(self, piece: Slice) -> list[tuple[Finding, int]]:
        """Findings of one slice, each with the device for which it waits."""
        points, places = self._meaning.values(piece)
        firsts, lengths = runs(places)
        bands = self._resolve(points, places[firsts], firsts)
        watched = bands >= 0
        if not watched.any():
            return []
        numbers, starts, sizes = bands[watched], firsts[watched], lengths[watched]
        values = points["value"]
        lowest, highest = (most.reduceat(values, firsts)[watched] for most in (np.minimum, np.maximum))
        before, self._last[numbers] = self._last[numbers], values[starts + sizes - 1]
        back = self._backwards(numbers, starts, sizes, values, before)
        changed = self._states[numbers] & ~np.isnan(before) & ((lowest != before) | (highest != before))
        moved = {_device(points[start], piece) for start in starts[changed].tolist()}
        for device in moved:
            self._switched.note(device, piece.end)
        out = (lowest < self._low[numbers]) | (highest > self._high[numbers])
        outside = [
            self._worst(points[starts[i] : starts[i] + sizes[i]], self._bands[numbers[i]], float(before[i]))
            for i in np.flatnonzero(out).tolist()
        ]
        self._refused += max(0, len(outside) - MAX_FINDINGS)
        gross = Counter(_device(o.row, piece) for o in outside if o.gross)
        forged = {device for device, count in gross.items() if count >= SEVERAL and device not in moved}
        made = [(self._finding(o, piece, _device(o.row, piece) in forged), o) for o in outside[:MAX_FINDINGS]]
        found = [(finding, self._awaited(finding, o, piece)) for finding, o in made]
        return found + [(self._back(points[at], prior, piece), NOBODY) for at, prior in back[:MAX_FINDINGS]]

    def _backwards(
        self, numbers: Ints, starts: Ints, sizes: Ints, values: Floats, before: Floats
    ) -> list[tuple[int, float]]:
        """Places of counters far below the one before them, which is given; not where one began again."""
        turns = self._turns[numbers]
        counted = ~np.isnan(turns)
        if not counted.any():
            return []
        starts, sizes = starts[counted], sizes[counted]
        first = np.cumsum(sizes) - sizes
        at = np.repeat(starts - first, sizes) + np.arange(sizes.sum())
        mine = values[at]
        prior = np.r_[np.nan, mine[:-1]]
        prior[first] = before[counted]
        lower = mine < prior - np.repeat(turns[counted], sizes)
        lower &= mine > np.where(prior < 0, prior / BEGUN_AGAIN, BEGUN_AGAIN * prior)
        return [(int(at[i]), float(prior[i])) for i in np.flatnonzero(lower)]

    def _back(self, row: Any, before: float, piece: Slice) -> Finding:
        text, words = self._words.of(int(row["proto"]), int(row["point"]))
        value = float(row["value"])
        return point_finding(
            "counter-back",
            Level.NOTICE,
            row,
            piece,
            f"{words} went back from {before:g} to {value:g}; all through learning it only rose",
            f"{before:g} or more",
            f"{value:g}",
            {"attack": 0.5, "fault": 0.4, "operation": 0.1},
            technique="T0856",
            group=text,
            hold=MAX_HOLD / 10,
        )

    @staticmethod
    def _worst(points: npt.NDArray[Any], limits: Limits, before: float) -> _Outside:
        """The value farthest out."""
        values = points["value"]
        worst = int(np.argmax(np.maximum(limits.low - values, values - limits.high)))
        return _Outside(points[worst], limits, before if worst == 0 else float(values[worst - 1]))

    def _resolve(self, points: Points, places: Ints, firsts: Ints) -> Ints:
        """Number of the band of each group of values, -1 without one; ``places`` are the run's points."""
        self._band = column(self._band, places, UNKNOWN)
        for index in np.flatnonzero(self._band[places] == UNKNOWN).tolist():
            first = points[firsts[index]]
            self._band[places[index]] = self._number(
                (int(first["conv"]), int(first["point"])), int(first["proto"])
            )
        return self._band[places]

    def _number(self, key: tuple[int, int], proto: int) -> int:
        """Number of a point met for the first time; -1 without limits or room."""
        conv, text = self.lens.conv(key[0]), self.lens.names.point(proto, key[1])
        limits = self.limits.get((conv, same_octets(text))) or self.limits.get((conv, text))
        number = len(self._bands) if limits and len(self._bands) < MAX_POINTS else -1
        if limits and number >= 0:
            self._bands.append(limits)
            if number >= len(self._low):
                self._grow()
            self._low[number], self._high[number] = limits.low, limits.high
            self._states[number] = limits.state
            self._turns[number] = TURN * limits.step if limits.counter else np.nan
        return number

    def _grow(self) -> None:
        more = np.full(len(self._low), np.nan)
        columns = (self._low, self._high, self._last, self._turns)
        self._low, self._high, self._last, self._turns = (np.r_[column, more] for column in columns)
        self._states = np.r_[self._states, np.zeros(len(more), bool)]

    def _finding(self, outside: _Outside, piece: Slice, forged: bool) -> Finding:
        row, limits = outside.row, outside.limits
        value = float(row["value"])
        text, words = self._words.of(int(row["proto"]), int(row["point"]))
        low, high = limits.seen
        hold = min(3 * limits.period, MAX_HOLD)
        if limits.constant:
            level, why = (Level.NOTICE, "") if limits.learned >= FULL else (Level.INFO, doubt(limits.learned))
            if low and abs(value) > VERY_FAR * abs(low):
                level, why = Level.NOTICE, ", out of all proportion"
            if untyped(text):
                level, why = Level.INFO, "; nobody says what these octets mean"
            if int(row["proto"]) == self._goose:
                level, why = (
                    Level.INFO,
                    "",
                )  # GOOSE tells changes; goose-data those without a new stNum
            return point_finding(
                "constant-changed",
                level,
                row,
                piece,
                f"{words} is {value:g}; it stood at {low:g} all through learning{why}",
                f"{low:g}",
                f"{value:g}",
                {"operation": 0.6, "fault": 0.2, "attack": 0.2},
                group=text,
                hold=hold,
            )
        scores = MILD_SCORES
        if outside.gross:
            scores = FORGED_SCORES if forged else FAULT_SCORES
        more = FORGED if outside.gross and forged else ""
        level = Level.WARNING if outside.gross else Level.NOTICE
        written = limits.chosen and int(piece.messages["role"][int(row["message"])]) == Role.CLIENT
        room = min(limits.room, 1.0) if written else limits.room
        if not outside.gross and not outside.leapt and limits.beyond(value) <= room:
            level, more = Level.INFO, f"; {limits.learned / 60:.0f} min of learning are no day"
        elif int(row["proto"]) == self._sv and limits.learned < DAY:
            # load, motor and short circuit; what electricity does not allow, the rules of sampled values know
            level, scores = Level.INFO, MILD_SCORES
            more = f"; a grid's load and faults go beyond what {limits.learned / 60:.0f} min showed"
        made = point_finding(
            "out-of-range",
            level,
            row,
            piece,
            f"{words} is {value:g}; learned {low:g} to {high:g}, {limits.beyond(value):.1f} ranges beyond "
            f"the limit{more}",
            f"{limits.low:g} to {limits.high:g}",
            f"{value:g}",
            scores,
            group=text,
            hold=hold,
        )
        made.technique = "T0856" if outside.gross else ""
        return made


def point_finding(
    rule: str,
    level: Level,
    row: Any,
    piece: Slice,
    summary: str,
    expected: str,
    observed: str,
    scores: dict[str, float],
    **more: Any,
) -> Finding:
    """A finding about one value of a slice (``row`` of POINT); ``more`` goes into the finding as it is."""
    value = Value(*row.item())
    return Finding(
        ts=value.ts,
        detector=NAME,
        rule=rule,
        level=level,
        reading=likeliest(scores),
        proto=value.proto,
        conv=value.conv,
        src=int(piece.column("src")[value.message]),
        dst=int(piece.column("dst")[value.message]),
        summary=summary,
        kind=int(piece.column("kind")[value.message]),
        point=value.point,
        expected=expected,
        observed=observed,
        frames=[value.frame],
        scores=scores,
        **more,
    )


@dataclass(frozen=True, slots=True)
class _Outside:
    """One value outside its band, and the value before it (NaN unknown)."""

    row: Any
    limits: Limits
    before: float

    @property
    def nothing(self) -> bool:
        """Is it about 0, as what is switched off shows?"""
        return abs(float(self.row["value"])) <= NOTHING * max(abs(seen) for seen in self.limits.seen)

    @property
    def gross(self) -> bool:
        """Far beyond anything seen: by distance alone, or in a jump that dwarfs every step seen."""
        if self.limits.constant:
            return False
        value = float(self.row["value"])
        beyond = self.limits.beyond(value)
        return beyond > max(VERY_FAR, self.limits.room) or (beyond > FAR and self._dwarfs)

    @property
    def leapt(self) -> bool:
        """Did it come in a step that dwarfs many learned ones? A day drifts farther, but leaps no more."""
        many = self.limits.learned >= MANY * self.limits.period > 0
        return many and self.limits.beyond(float(self.row["value"])) > LEAPT and self._dwarfs

    @property
    def _dwarfs(self) -> bool:
        jump = abs(float(self.row["value"]) - self.before) if not np.isnan(self.before) else 0.0
        return jump > JUMP * self.limits.step


def _device(row: Any, piece: Slice) -> int:
    """Endpoint that sent a value."""
    return int(piece.messages["src"][int(row["message"])])


def value_limits(
    baseline: Baseline, budget: Budget, points: Collection[str] | None = None
) -> dict[ValueKey, Limits]:
    """Band of each point that was seen often enough; counters and wandering points have none."""
    learned = float(baseline.params.get("learned_s", 0.0))
    seldom = [row for row in baseline.rows("values") if FEW <= row.count < MIN_COUNT]
    rows = [row for row in baseline.rows("values") if row.count >= MIN_COUNT]
    watched = len(rows)
    if points is not None:
        seldom, rows = ([row for row in some if row.point in points] for some in (seldom, rows))
    made = {(conv_of(row), row.point): _proportion(row, learned) for row in seldom}
    made |= {(conv_of(row), row.point): _limits(row, budget, watched) for row in rows}
    return {key: limits for key, limits in made.items() if limits is not None}


def _limits(row: Any, budget: Budget, points: int) -> Limits | None:
    highs, lows = text_numbers(row.high_blocks), text_numbers(row.low_blocks)
    if len(highs) < MIN_BLOCKS or len(lows) < MIN_BLOCKS:
        return None
    seen, spread = (row.low, row.high), row.high - row.low
    learned = len(highs) * row.block_s
    period = learned / row.count
    if spread == 0:
        return Limits(row.low, row.high, max(abs(row.high), 1.0), seen, True, 0.0, period, learned)
    if (row.falls == 0 or row.rises == 0) and row.rises + row.falls > 2:
        # one that rises but seldom may be a measurement of a rising load
        whole = row.low == int(row.low) and row.high == int(row.high)
        if row.falls or row.rises < COUNTS or not whole:
            return None
        return Limits(-math.inf, math.inf, spread, seen, False, row.step, period, learned, counter=True)
    if wanders(highs, lows):
        return None
    probability = budget.probability(budget.values / 2, row.block_s, points)
    margin = max(0.5 * spread, row.step)
    high = upper_limit(highs, probability, margin)
    low = -upper_limit([-value for value in lows], probability, margin)
    chosen = row.rises + row.falls <= SELDOM * row.count
    return Limits(low, high, spread, seen, False, row.step, period, learned, chosen=chosen)


def _proportion(row: Any, learned: float) -> Limits | None:
    """What is out of all proportion to a few values, such as a set-point's: they show no range."""
    spread = max(row.high - row.low, 0.2 * max(abs(row.low), abs(row.high)))
    if spread <= 0 or (0 <= row.low <= row.high <= STATES) or row.falls == 0 or row.rises == 0:
        return None
    low, high = row.low - VERY_FAR * spread, row.high + VERY_FAR * spread
    period = learned / row.count
    return Limits(low, high, spread, (row.low, row.high), False, row.step, period, learned)
