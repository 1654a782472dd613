"""Pairs of states that never go together: interlocks, and the same position told by two devices.

Learned for every two points that changed: the joint states that they settled in, with how often each was
entered, and how often they changed together (within 5 s) or alone. A joint state never seen is told when
both values were seen and learning covers the pair: it should have been entered :data:`EXPECTED` times if the
two were independent, or the two always changed together, :data:`TOGETHER` times or more. 64 points at most.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.compare import histogram_text, text_histogram
from detectors.groups import ConvKey, Lens
from detectors.tables import TABLES, Origin, conv_fields, conv_of
from detectors.values import NAME
from detectors.values_discrete import SETTLE, Change, Discrete, State
from detectors.values_process import PointKey, View, counters_of, too_short

EXPECTED: Final = 8.0
TOGETHER: Final = 3
OFTEN: Final = 2
"""Times that both values must have been entered: each number of a counter comes once."""

HOLD: Final = 60.0
BASE: Final = 16
SCORES: Final = {"fault": 0.45, "attack": 0.4, "operation": 0.15}


def _key(lens: Lens, row: Any) -> PointKey:
    return lens.conv(int(row["conv"])), lens.names.point(int(row["proto"]), int(row["point"]))


def _together(change: Change, other: State) -> bool:
    return abs(change.ts - other.changed) <= SETTLE


class StateLearner:
    """Collects the joint states of points that change."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._discrete = Discrete()
        self._entered: dict[tuple[int, int], Counter[int]] = {}
        self._moves: dict[tuple[int, int], list[int]] = {}

    def learn(self, piece: Slice, view: View) -> None:
        """Take one slice."""
        for change in self._discrete.take(piece, view):
            for other in self._discrete.states.values():
                if other is not change.state:
                    self._enter(change, other)

    def _enter(self, change: Change, other: State) -> None:
        first, second = sorted((change.state, other), key=lambda state: state.number)
        pair = (first.number, second.number)
        moves = self._moves.setdefault(pair, [0, 0])
        joint = _together(change, other)
        if joint and change.state is second and change.state.changed == change.ts:
            return  # both changed: counted once, with the first of them
        moves[0 if joint else 1] += 1
        code = int(first.settled) * BASE + int(second.settled)
        self._entered.setdefault(pair, Counter())[code] += 1

    def finish(self, baseline: Baseline) -> None:
        """Write the table ``states``."""
        states, made = self._discrete.states, []
        for (one, other), entered in self._entered.items():
            if self._discrete.still_state(one) and self._discrete.still_state(other):
                first, second = _key(self.lens, states[one].row), _key(self.lens, states[other].row)
                made.append(self._row(first, second, entered, self._moves[one, other]))
        unique = {(conv_of_row(row), row["point"], row["other_conv"], row["other"]): row for row in made}
        baseline.tables["states"] = TABLES["states"].frame(list(unique.values()))

    @staticmethod
    def _row(first: PointKey, second: PointKey, entered: Counter[int], moves: list[int]) -> dict[str, Any]:
        return conv_fields(first[0]) | {
            "point": first[1],
            "other_conv": conv_text(second[0]),
            "other": second[1],
            "entered": histogram_text(entered),
            "together": moves[0],
            "alone": moves[1],
            "origin": Origin.LEARNED.value,
        }


def conv_of_row(row: dict[str, Any]) -> tuple[Any, ...]:
    """Identity of the conversation in a record."""
    return tuple(row[name] for name in ("protocol", "client", "server", "port", "sub", "vlan"))


def conv_text(conv: ConvKey) -> str:
    """A conversation as one cell."""
    return "|".join(str(part) for part in conv)


class States:
    """Tells joint states that were never seen of pairs that learning covers."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        counters = {(conv_text(conv), point) for conv, point in counters_of(baseline)}
        rows = [] if too_short(baseline) else [row for row in baseline.rows("states") if covered(row)]
        rows = [row for row in rows if _ends(row).isdisjoint(counters)]
        self._pairs = {(conv_of(row), row.point, row.other_conv, row.other): row for row in rows}
        self._texts = {f"{conv_text(conv)}|{point}" for conv, point, _, _ in self._pairs}
        self._texts |= {f"{conv}|{point}" for _, _, conv, point in self._pairs}
        self._discrete = Discrete(self._wanted)

    def counters(self) -> dict[str, int]:
        """Points that found no room."""
        return {"state_points": self._discrete.refused}

    def _wanted(self, row: Any) -> bool:
        conv, point = _key(self.lens, row)
        return f"{conv_text(conv)}|{point}" in self._texts

    def detect(self, piece: Slice, view: View) -> list[Finding]:
        """Findings of one slice."""
        if not self._pairs:
            return []
        found = []
        for change in self._discrete.take(piece, view):
            if change.value != change.state.settled:
                continue
            for other in self._discrete.states.values():
                finding = self._judge(change, other, piece.start) if other is not change.state else None
                found += [finding] if finding is not None else []
        return found

    def _judge(self, change: Change, other: State, now: int) -> Finding | None:
        if other.settled != other.settled:  # not known yet
            return None
        mine, its = _key(self.lens, change.row), _key(self.lens, other.row)
        row = self._pairs.get((*mine, conv_text(its[0]), its[1]))
        swapped = row is None
        row = self._pairs.get((*its, conv_text(mine[0]), mine[1])) if row is None else row
        if row is None:
            return None
        first, second = (other, change.state) if swapped else (change.state, other)
        entered = text_histogram(row.entered)
        code = int(first.settled) * BASE + int(second.settled)
        why = None if code in entered else unseen(entered, code, row.together, row.alone)
        return None if why is None else self._finding(change, other, mine, its, why, now)

    def _finding(
        self, change: Change, other: State, mine: PointKey, its: PointKey, why: str, now: int
    ) -> Finding:
        row = change.row
        where = "" if mine[0] == its[0] else f" of {its[0][1]} to {its[0][2]} ({its[0][0]})"
        return Finding(
            ts=now,
            detector=NAME,
            rule="states-contradict",
            level=Level.NOTICE,
            reading=Reading.FAULT,
            proto=int(row["proto"]),
            conv=int(row["conv"]),
            src=change.state.src,
            dst=other.src if other.src != change.state.src else -1,
            summary=f"{mine[1]} is {change.value:g} while {its[1]}{where} is {other.settled:g}: never seen "
            f"together, though {why}",
            point=int(row["point"]),
            expected="a joint state that was learned",
            observed=f"{change.value:g} and {other.settled:g}",
            technique="T0832",
            frames=[int(row["frame"])],
            group="",
            item=mine[1],
            scores=SCORES,
            hold=HOLD,
        )


def _ends(row: Any) -> set[tuple[str, str]]:
    """The two points of a pair."""
    return {(conv_text(conv_of(row)), row.point), (row.other_conv, row.other)}


def covered(row: Any) -> bool:
    """Can a joint state that was never seen be told of this pair at all?"""
    entered = text_histogram(row.entered)
    firsts, seconds = {code // BASE for code in entered}, {code % BASE for code in entered}
    codes = {one * BASE + other for one in firsts for other in seconds} - set(entered)
    return any(unseen(entered, code, row.together, row.alone) for code in codes)


def unseen(entered: Counter[int], code: int, together: int, alone: int) -> str | None:
    """Why a joint state that was never entered is remarkable, in words; None when it is not."""
    total = sum(entered.values())
    first = sum(count for known, count in entered.items() if known // BASE == code // BASE)
    second = sum(count for known, count in entered.items() if known % BASE == code % BASE)
    if min(first, second) < OFTEN:
        return None
    if together >= TOGETHER and not alone:
        return f"the two changed together {together} times and never alone"
    expected = first * second / total
    return f"by chance it would have come {expected:.0f} times" if expected >= EXPECTED else None
