"""GOOSE: data that change while stNum stays.

Standard followed: IEC 61850-8-1:2011, clause 18.1.2.5: a change of a member of the data set raises stNum;
what repeats a state repeats its data. Other data under the same stNum, be it in the next repetition or in a
second frame with the very same counters, were rewritten on the way or made up. There are publishers that
refresh measurements in repetitions; learning met them (a habit).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Ints, Lens, column, runs
from detectors.rules.shared import ProtocolRules, Rows, Rule, one
from grid_profiles.vocabulary import ANY_POINT, Flag

NAME: Final = "goose"
MAX_TOLD: Final = 50
"""Control blocks of one slice that are named."""

ROOM: Final = 1_024
NOTHING: Final = -1
_SKIP: Final = np.uint32(Flag.DUPLICATE | Flag.TRUNCATED | Flag.MALFORMED | Flag.TEST)

DATA = Rule("goose-data", Level.WARNING, {"attack": 0.65, "fault": 0.35}, "T0856")


class GooseDataRules(ProtocolRules):
    """Compares each member of a data set with what it was under the same stNum."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._value = np.full(ROOM, np.nan)  # last value and stNum, by number of the point in this run
        self._state = np.full(ROOM, NOTHING, np.int64)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Values of one slice, each against the one before it."""
        points, numbers = self.lens.points(piece)
        at = np.flatnonzero((points["proto"] == self.proto) & (numbers >= 0))
        of = points["message"][at]
        fit = piece.column("flags")[of] & _SKIP == 0
        if not fit.any():
            return
        if not fit.all():
            at, of = at[fit], of[fit]
        numbers = numbers[at]
        states, seq = (piece.column(name)[of] for name in ("state", "seq"))
        # the first frames of a restarted publisher carry the old stNum 1 again, and say what is now
        states = np.where((states == 1) & (seq <= 1), NOTHING, states)
        odd = self._changed(points["value"][at], states, numbers)
        if odd.any():
            self._tell_all(points.take(at[odd]).records(), piece)

    def _changed(self, values: npt.NDArray[Any], states: Ints, numbers: Ints) -> npt.NDArray[np.bool_]:
        """Where a value differs from the one before it of the same stNum; ``numbers`` are in runs."""
        self._value = column(self._value, numbers, np.nan)
        self._state = column(self._state, numbers, NOTHING)
        start, size = runs(numbers)
        before, known = np.empty_like(values), np.empty_like(states)
        before[1:], known[1:] = values[:-1], states[:-1]
        before[start], known[start] = self._value[numbers[start]], self._state[numbers[start]]
        end = start + size - 1
        self._value[numbers[end]], self._state[numbers[end]] = values[end], states[end]
        return np.asarray((states == known) & (states != NOTHING) & (values != before), bool)

    def _tell_all(self, points: npt.NDArray[Any], piece: Slice) -> None:
        """One finding for each control block of the slice, about its first odd value."""
        _, first = np.unique(points["point"] | ANY_POINT, return_index=True)
        for at in first[:MAX_TOLD].tolist():
            point, row = points[at], piece.messages[int(points["message"][at])]
            member = self.names.point(self.proto, int(point["point"]))
            text = (
                f"{member} is {float(point['value']):g} in a frame that repeats stNum {int(row['state'])}: "
                "other data without a new stNum"
            )
            self.say(DATA, one(row), text, "data stay while stNum stays", "other data", group=self.point(row))
