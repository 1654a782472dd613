"""A point that departs from the points it always moved with, inside its own range.

Every 10 s of capture time the values of each group (``values_models.py``) are held against what its members
say of each other. What must come together for a finding: a departure that stays as long as the slowest
member takes to be reported, at least :data:`BEYOND` times the largest that stayed while learning (more when
less than an hour was learned), of a size that matters (:data:`SIZE` of the point's range), with a p-value
within the budget.

It is kept at info where something else explains it: a state of the site changed when it began that never
changed while learning (another topology has other relations; of others the departure must be gross), other
members lie outside of what was learned, or the tail of a short
training would have to be believed too far and the departure is not gross (:data:`GROSS`).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice, likeliest
from detectors.baseline import Baseline
from detectors.behaviour import BOLD
from detectors.calibration import Budget
from detectors.groups import SECOND, Lens, column
from detectors.tables import conv_of
from detectors.values import NAME
from detectors.values_models import Floats, Group, groups_of, stayed
from detectors.values_process import View, share, too_short, width
from detectors.values_samples import STEP, Sampled

BEYOND: Final = 2.0
GROSS: Final = 4.0
SIZE: Final = 0.1
OUTSIDE: Final = 0.25
"""Part of its range by which a member may leave it before the group's relations are not believed there."""

FAR: Final = 0.5
"""The same for the point itself: beyond, ``out-of-range`` tells it."""

STALE: Final = 2.0
"""A value older than so many times its longest learned pause says nothing about now."""

SWITCHING: Final = 30 * SECOND
HOLD: Final = 60.0
NONE: Final = -1
UNKNOWN: Final = -2
SHOWN: Final = 3

SCORES: Final = {"fault": 0.45, "attack": 0.4, "operation": 0.15}
EXPLAINED_SCORES: Final = {"operation": 0.6, "fault": 0.25, "attack": 0.15}


@dataclass(slots=True)
class _Watch:
    """One group in this run: residuals of the last rows, and since when something departs."""

    group: Group
    rows: deque[Floats] = field(default_factory=deque)
    began: int = NONE
    switched: bool = False
    novel: bool = False


@dataclass(frozen=True, slots=True)
class _Departure:
    """A group of which something departs: by how much of what stayed while learning, and how rare that is."""

    watch: _Watch
    own: Floats
    beyond: Floats
    p: float
    alpha: float

    @staticmethod
    def of(watch: _Watch, own: Floats, alpha: float, least: float) -> _Departure | None:
        """None where it does not stay, or is not rare enough."""
        rows = stayed(np.array(watch.rows), watch.group.patience)[0]
        beyond = np.abs(rows) / _room(watch.group)
        if beyond.max() <= least:
            return None
        p = watch.group.p_value(rows)
        return _Departure(watch, own, beyond, p, alpha) if p < alpha else None


class Groups:
    """Holds points against the points they move with."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._sampled = Sampled(baseline)
        made = (
            []
            if too_short(baseline)
            else groups_of(baseline, self._sampled, int(baseline.params.get("seed", 1)))
        )
        self.watches = [_Watch(group, deque(maxlen=group.patience)) for group in made]
        self._beyond = BEYOND * width(baseline)
        part = share(budget, "groups")
        self._alphas = [
            part.probability(part.values, w.group.patience * STEP / SECOND, len(made)) for w in self.watches
        ]
        used = sorted({int(j) for w in self.watches for j in w.group.members})
        self._wanted = {self._sampled.points[j]: j for j in used}
        size = len(self._sampled.points)
        gaps = {(conv_of(row), row.point): row.gap for row in baseline.rows("motion")} if made else {}
        self._oldest = np.array([STALE * max(gaps.get(key, 0.0), 10.0) for key in self._sampled.points])
        self._place = np.full(1_024, UNKNOWN, np.int64)
        self._last, self._at = np.full(size, np.nan), np.zeros(size, np.int64)
        self._rows: list[Any] = [None] * size
        self._sides: dict[int, tuple[int, int]] = {}
        self._number = -1

    def counters(self) -> dict[str, int]:
        """Nothing grows with the traffic."""
        return {}

    def detect(self, piece: Slice, view: View) -> list[Finding]:
        """Findings of one slice; groups are judged when a new row of values begins."""
        if not self.watches:
            return []
        number = piece.start // STEP
        found: list[Finding] = []
        if self._number >= 0 and number > self._number:
            found = self._judge(piece.start, view)
        self._number = max(self._number, number)
        if len(view.rows):
            self._take(piece, view)
        return found

    def _take(self, piece: Slice, view: View) -> None:
        """Remember the last value of each point of a group."""
        numbers = view.numbers[view.firsts]
        self._place = column(self._place, numbers, UNKNOWN)
        for index in np.flatnonzero(self._place[numbers] == UNKNOWN).tolist():
            self._place[numbers[index]] = self._meet(view.rows[view.firsts[index]])
        places = self._place[numbers]
        kept = np.flatnonzero(places != NONE)
        ends = (view.firsts + view.sizes - 1)[kept]
        for place, end in zip(places[kept].tolist(), ends.tolist(), strict=True):
            row = view.rows[end]
            self._last[place], self._at[place], self._rows[place] = row["value"], row["ts"], row
            message = piece.messages[int(row["message"])]
            self._sides[place] = int(message["src"]), int(message["dst"])

    def _meet(self, row: Any) -> int:
        """Column of a point of a group, :data:`NONE` for others."""
        key = (self.lens.conv(int(row["conv"])), self.lens.names.point(int(row["proto"]), int(row["point"])))
        return self._wanted.get(key, NONE)

    def _judge(self, now: int, view: View) -> list[Finding]:
        values = np.where((now - self._at) / SECOND <= self._oldest, self._last, np.nan)
        departures: list[_Departure | None] = []
        for watch, alpha in zip(self.watches, self._alphas, strict=True):
            own = values[watch.group.members]
            if not np.isfinite(own).all():
                watch.rows.clear()
                watch.began = NONE
                continue
            residuals = watch.group.residuals(own)
            watch.rows.append(residuals)
            departs = bool((np.abs(residuals) > self._beyond * _room(watch.group)).any())
            if not departs:
                watch.began = NONE
            elif watch.began == NONE:
                watch.began, watch.switched, watch.novel = now, False, False
            if watch.began != NONE:
                watch.switched |= abs(view.switched - watch.began) <= SWITCHING
                watch.novel |= abs(view.novel - watch.began) <= SWITCHING
            stays = departs and len(watch.rows) == watch.group.patience
            departures.append(_Departure.of(watch, own, alpha, self._beyond) if stays else None)
        return self._named([one for one in departures if one is not None], now)

    def _named(self, departures: list[_Departure], now: int) -> list[Finding]:
        """One finding for each point that explains departures: the one that most of them share.

        A point that is wrong makes every group depart in which it is, and none of the others.
        """
        if not departures:
            return []
        found = []
        gone = {id(one.watch) for one in departures}
        quiet = Counter(
            int(j) for watch in self.watches if id(watch) not in gone for j in watch.group.members
        )
        while departures:
            votes: dict[int, tuple[int, float]] = {}
            for one in departures:
                for j, beyond in zip(one.watch.group.members.tolist(), one.beyond.tolist(), strict=True):
                    count, most = votes.get(j, (-quiet[j], 0.0))
                    votes[j] = (count + 1, max(most, beyond))
            point = max(votes, key=lambda j: (votes[j], -j))
            mine = [one for one in departures if point in one.watch.group.members]
            departures = [one for one in departures if point not in one.watch.group.members]
            best = max(mine, key=lambda one: float(one.beyond[one.watch.group.members == point][0]))
            finding = self._departure(best, int(np.flatnonzero(best.watch.group.members == point)[0]), now)
            found += [finding] if finding is not None else []
        return found

    def _departure(self, one: _Departure, worst: int, now: int) -> Finding | None:
        """What to say of one member of a departing group, if anything."""
        watch, own, group = one.watch, one.own, one.watch.group
        expected = group.expected(own)
        width = np.maximum(group.high - group.low, 1e-12)
        if np.abs(own - expected)[worst] < SIZE * width[worst]:
            return None
        if max(group.low[worst] - own[worst], own[worst] - group.high[worst]) > FAR * width[worst]:
            return None
        rest = np.arange(len(own)) != worst
        outside = np.maximum(group.low - own, own - group.high) > OUTSIDE * width
        gross = one.beyond.max() >= GROSS
        why = ""
        if watch.novel or (watch.switched and not gross):
            why = "a state of the site changed when it began"
        elif outside[rest].any():
            why = "others of the group are outside of what was learned"
        elif one.alpha < 1.0 / (BOLD * group.held) and not gross:
            why = "too little was learned to be sure"
        return self._finding(watch, worst, own, expected, one.p, why, now)

    def _finding(
        self, watch: _Watch, worst: int, own: Floats, expected: Floats, p: float, why: str, now: int
    ) -> Finding:
        members = watch.group.members
        place = int(members[worst])
        row = self._rows[place]
        src, dst = self._sides[place]
        name = self._sampled.points[place][1]
        others = [
            f"{_short(self._sampled.points[int(j)], self._sampled.points[place])} {value:g}"
            for j, value in zip(members, own, strict=True)
            if int(j) != place
        ]
        shown = ", ".join(others[:SHOWN])
        if len(others) > SHOWN:
            shown += f" and {len(others) - SHOWN} more"
        scores = EXPLAINED_SCORES if why else SCORES
        noise = float(watch.group.noise[worst] * watch.group.spread[worst])
        return Finding(
            ts=max(int(row["ts"]), now - STEP),
            detector=NAME,
            rule="value-departs",
            level=Level.INFO if why else Level.NOTICE,
            reading=likeliest(scores),
            proto=int(row["proto"]),
            conv=int(row["conv"]),
            src=src,
            dst=dst,
            summary=f"{name} is {own[worst]:g}, but the values it moves with ({shown}) speak for "
            f"{expected[worst]:.4g}" + (f"; {why}" if why else ""),
            point=int(row["point"]),
            expected=f"{expected[worst]:.4g} ± {2 * noise:.2g}",
            observed=f"{own[worst]:g}",
            p_value=p,
            technique="" if why else "T0856",
            frames=[int(row["frame"])],
            group=name,
            scores=scores,
            hold=HOLD,
        )


def _room(group: Group) -> npt.NDArray[np.float64]:
    """Departure that stayed while learning, in units of noise; at least one and a half."""
    return np.maximum(group.largest, 1.5)


def _short(point: tuple[Any, str], other: tuple[Any, str]) -> str:
    """A point's name, with its device where that is another one."""
    return point[1] if point[0] == other[0] else f"{point[1]} of {point[0][2]}"
