"""Points that show a few whole numbers, and when they changed for good.

A change counts when it has lasted :data:`SETTLE`: a breaker on its way shows an intermediate state, contacts
bounce. Devices report the same thing one after the other, so that a settled change is told :data:`WAIT`
after it, when everybody had the time to tell theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Slice
from detectors.groups import SECOND, column
from detectors.values_process import View

SETTLE: Final = 5 * SECOND
WAIT: Final = 30 * SECOND
"""Devices that are polled tell a change late, now by a second, now by ten: shorter is false."""
MOST: Final = 15.0
"""Largest number of a state; what shows more is a quantity or a counter."""

MAX_CHANGED: Final = 64
"""Points that are followed: those that change first."""


@dataclass(slots=True)
class State:
    """A point that has changed: what it shows, since when, and its last settled change."""

    number: int
    row: Any
    value: float
    since: int
    settled: float
    changed: int = -(1 << 62)
    """Time of the last settled change."""

    src: int = -1
    """Endpoint that reports it."""


@dataclass(frozen=True, slots=True)
class Change:
    """A settled change, told when the others had their time."""

    state: State
    ts: int
    value: float
    row: Any
    """The row of POINT that showed it."""


class Discrete:
    """Follows states: all that change, or those that ``wanted`` names, from their first value on."""

    def __init__(self, wanted: Callable[[Any], bool] | None = None) -> None:
        self._wanted = wanted
        self._last = np.full(1_024, np.nan)
        self._quantity = np.zeros(1_024, bool)
        self.states: dict[int, State] = {}
        self._moving: dict[int, tuple[int, Any]] = {}
        self._due: list[Change] = []
        self.refused = 0

    def take(self, piece: Slice, view: View) -> list[Change]:
        """Move on by one slice; changes whose time of waiting is over."""
        if len(view.rows):
            self._see(piece, view)
        for number in [n for n, (since, _) in self._moving.items() if piece.start - since >= SETTLE]:
            began, row = self._moving.pop(number)
            state = self.states[number]
            if state.value != state.settled:
                state.settled, state.changed = state.value, began
                self._due.append(Change(state, began, state.value, row))
        over = [change for change in self._due if piece.start - change.ts >= WAIT]
        if over:
            self._due = [change for change in self._due if piece.start - change.ts < WAIT]
        return over

    def _see(self, piece: Slice, view: View) -> None:
        numbers = view.numbers[view.firsts]
        self._last = column(self._last, numbers, np.nan)
        self._quantity = column(self._quantity, numbers, False)
        values = view.rows["value"]
        other = (values < 0) | (values > MOST) | (values != np.floor(values))
        if other.any():
            self._quantity[numbers[np.logical_or.reduceat(other, view.firsts)]] = True
        ends = view.firsts + view.sizes - 1
        now, before = values[ends], self._last[numbers]
        self._last[numbers] = now
        changed = (now != before) & ~self._quantity[numbers]
        if self._wanted is None:
            changed &= ~np.isnan(before)
        for index in np.flatnonzero(changed).tolist():
            row, number = view.rows[ends[index]], int(numbers[index])
            self._change(number, float(before[index]), float(now[index]), row)
            if number in self.states:
                self.states[number].src = int(piece.messages["src"][int(row["message"])])

    def _change(self, number: int, before: float, now: float, row: Any) -> None:
        state = self.states.get(number)
        ts = int(row["ts"])
        if state is None:
            if self._wanted is not None and not self._wanted(row):
                self._quantity[number] = True
                return
            if len(self.states) >= MAX_CHANGED:
                self.refused += 1
                self._quantity[number] = True
                return
            state = self.states[number] = State(number, row, before, ts, before)
        state.value, state.since, state.row = now, ts, row
        began = self._moving.get(number, (ts, row))[0]
        self._moving[number] = began, row

    def still_state(self, number: int) -> bool:
        """Has it shown states only so far?"""
        return not bool(self._quantity[number])
