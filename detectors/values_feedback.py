"""What a command leads to: a report of the same device that follows it, always, with the same outcome.

Learned for every commanded value and every point of the same conversation that changes: the state that the
point has :data:`WAIT` later. Where that was the same each time, :data:`COMMANDS` times or more in all for
the two points, and changed to it at least :data:`MOVED` times, the point is the feedback of the command. It
is told when the feedback does not come, or is another. Selections, refused commands and commands that
another one follows at once are no cases; while frames were lost a missing feedback is a note.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import SECOND, ConvKey, Lens
from detectors.tables import TABLES, Origin, conv_fields, conv_of
from detectors.values import NAME
from detectors.values_discrete import Discrete
from detectors.values_process import View, too_short
from grid_profiles.vocabulary import Flag, KindClass

WAIT: Final = 10 * SECOND
COMMANDS: Final = 4
MOVED: Final = 2
MAX_PENDING: Final = 256
MAX_PAIRS: Final = 4_096
HOLD: Final = 60.0
MISSING: Final = {"fault": 0.55, "attack": 0.3, "operation": 0.15}
WRONG: Final = {"attack": 0.45, "fault": 0.45, "operation": 0.1}

Order = tuple[int, int, float]
"""Conversation, point and value of a command, in the run's identifiers."""


@dataclass(slots=True)
class Pending:
    """A command whose feedback is waited for; ``before``: what the points of its conversation showed."""

    order: Order
    ts: int
    row: Any
    src: int
    dst: int
    kind: int
    before: dict[int, float]
    lost: int = 0


class Orders:
    """Commands of a run, handed out when their feedback must have come."""

    def __init__(self, lens: Lens, discrete: Discrete) -> None:
        self.lens = lens
        self._discrete = discrete
        self._pending: dict[tuple[int, int], Pending] = {}  # by conversation and point

    def take(self, piece: Slice, view: View) -> list[Pending]:
        """Move on by one slice; a refused command, or one that another follows, is dropped."""
        for pending in self._pending.values():
            pending.lost += piece.lost
        over = [key for key, one in self._pending.items() if piece.start - one.ts >= WAIT]
        done = [self._pending.pop(key) for key in over]
        if self._pending:
            self._refused(piece)
        for row in view.orders:
            self._add(row, piece)
        return done

    def _refused(self, piece: Slice) -> None:
        messages = piece.messages
        for at in np.flatnonzero(messages["flags"] & np.uint32(Flag.NEGATIVE)).tolist():
            self._pending.pop((int(messages["conv"][at]), int(messages["point"][at])), None)

    def _add(self, row: Any, piece: Slice) -> None:
        message = piece.messages[int(row["message"])]
        proto, kind = int(message["proto"]), int(message["kind"])
        if self.lens.kind_class(proto, kind) != KindClass.CONTROL:
            return
        if int(message["flags"]) & int(Flag.SELECT | Flag.NEGATIVE | Flag.TEST):
            return
        conv, point = int(row["conv"]), int(row["point"])
        if (conv, point) in self._pending or len(self._pending) >= MAX_PENDING:
            self._pending.pop((conv, point), None)
            return
        shown = {n: s.value for n, s in self._discrete.states.items() if int(s.row["conv"]) == conv}
        self._pending[conv, point] = Pending(
            (conv, point, float(row["value"])),
            int(row["ts"]),
            row,
            int(message["src"]),
            int(message["dst"]),
            kind,
            shown,
        )


class FeedbackLearner:
    """Collects what points show after commands."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._discrete = Discrete()
        self._orders = Orders(lens, self._discrete)
        self._commands: Counter[Order] = Counter()
        self._after: dict[tuple[Order, int], Counter[tuple[float, bool]]] = {}
        self._words: dict[tuple[int, int], tuple[ConvKey, str]] = {}

    def learn(self, piece: Slice, view: View) -> None:
        """Take one slice."""
        self._discrete.take(piece, view)
        for one in self._orders.take(piece, view):
            conv, point, _ = one.order
            self._commands[one.order] += 1
            self._words.setdefault((conv, point), _words(self.lens, one.row))
            for number, state in self._discrete.states.items():
                if int(state.row["conv"]) == conv and len(self._after) < MAX_PAIRS:
                    moved = one.before.get(number, state.settled) != state.value and state.since >= one.ts
                    self._after.setdefault((one.order, number), Counter())[state.value, moved] += 1

    def finish(self, baseline: Baseline) -> None:
        """Write the table ``feedback``: points that changed after a command at least once."""
        made = {}
        for (order, number), after in self._after.items():
            moves = {value for (value, moved), _ in after.items() if moved}
            if not moves or not self._discrete.still_state(number):
                continue
            conv, command = self._words[order[0], order[1]]
            point = _words(self.lens, self._discrete.states[number].row)[1]
            shows = max(sorted(moves), key=lambda value: after[value, True])
            made[conv, command, order[2], point] = conv_fields(conv) | {
                "command": command,
                "value": order[2],
                "point": point,
                "count": self._commands[order],
                "followed": after[shows, True] + after[shows, False],
                "moved": after[shows, True],
                "shows": shows,
                "origin": Origin.LEARNED.value,
            }
        baseline.tables["feedback"] = TABLES["feedback"].frame(list(made.values()))


def _words(lens: Lens, row: Any) -> tuple[ConvKey, str]:
    return lens.conv(int(row["conv"])), lens.names.point(int(row["proto"]), int(row["point"]))


class Feedback:
    """Tells commands whose feedback does not come, or is another than learned."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._expected: dict[tuple[ConvKey, str, float], list[tuple[str, float]]] = {}
        self._points: set[tuple[ConvKey, str]] = set()
        for row in [] if too_short(baseline) else _sure(baseline):
            self._expected.setdefault((conv_of(row), row.command, row.value), []).append(
                (row.point, row.shows)
            )
            self._points.add((conv_of(row), row.point))
        self._discrete = Discrete(lambda row: _words(lens, row) in self._points)
        self._orders = Orders(lens, self._discrete)

    def counters(self) -> dict[str, int]:
        """Points that found no room."""
        return {"feedback_points": self._discrete.refused}

    def detect(self, piece: Slice, view: View) -> list[Finding]:
        """Findings of one slice."""
        if not self._expected:
            return []
        self._discrete.take(piece, view)
        found = []
        for one in self._orders.take(piece, view):
            conv, command = _words(self.lens, one.row)
            for point, shows in self._expected.get((conv, command, one.order[2]), []):
                finding = self._judge(one, command, point, shows, piece.start)
                found += [finding] if finding is not None else []
        return found

    def _judge(self, one: Pending, command: str, point: str, shows: float, now: int) -> Finding | None:
        for state in self._discrete.states.values():
            if int(state.row["conv"]) == one.order[0] and _words(self.lens, state.row)[1] == point:
                if state.value == shows:
                    return None
                moved = state.since >= one.ts
                return self._finding(one, command, point, shows, state.value, moved, now)
        return None

    def _finding(
        self, one: Pending, command: str, point: str, shows: float, value: float, moved: bool, now: int
    ) -> Finding:
        rule = "feedback-wrong" if moved else "feedback-missing"
        lost = one.lost > 0
        scores = WRONG if moved else MISSING
        done = f"went to {value:g} instead of {shows:g}" if moved else f"still is {value:g}, not {shows:g}"
        return Finding(
            ts=now,
            detector=NAME,
            rule=rule,
            level=Level.INFO if lost else Level.NOTICE,
            reading=Reading.VISIBILITY if lost else Reading.FAULT,
            proto=int(one.row["proto"]),
            conv=one.order[0],
            src=one.src,
            dst=one.dst,
            summary=f"{WAIT // SECOND} s after {command} was commanded to {one.order[2]:g}, {point} {done}"
            + (f"; {one.lost} frames were lost meanwhile" if lost else ""),
            kind=one.kind,
            point=one.order[1],
            expected=f"{point} {shows:g}",
            observed=f"{value:g}",
            technique="T0855" if moved and not lost else "",
            frames=[int(one.row["frame"])],
            group=command,
            scores={} if lost else scores,
            hold=HOLD,
        )


def _sure(baseline: Baseline) -> list[Any]:
    """Rows of the points that followed every command, often enough."""
    rows = list(baseline.rows("feedback"))
    total: Counter[tuple[ConvKey, str, str]] = Counter()
    broken = set()
    for row in rows:
        key = (conv_of(row), row.command, row.point)
        total[key] += row.count
        if row.followed < row.count:
            broken.add(key)
    sure = {key for key, count in total.items() if count >= COMMANDS and key not in broken}
    return [row for row in rows if (conv_of(row), row.command, row.point) in sure and row.moved >= MOVED]
