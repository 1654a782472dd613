"""Levels: one number of four for each conversation, asset and the site, with hysteresis.

A level rises at once, when an alert opens or the score of the windows stays high, and falls by one step after
``calm_windows`` windows without cause. The score is 0 (normal) to 1 (``sensor.run.score_of`` of the window's
p-value), smoothed over three windows; the trend is that mean less the one over thirty.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

NORMAL, NOTICE, WARNING, ALARM = range(4)
NAMES: Final = ("normal", "notice", "warning", "alarm")

FAST: Final = 2 / (3 + 1)
SLOW: Final = 2 / (30 + 1)
RISE: Final = {NOTICE: 0.4, WARNING: 0.7}
"""Smoothed score from which a level is reached without any alert: 0.4 is a p-value of 1.6e-5, lasting."""

FALL: Final = 0.8
"""A level is held down to this share of the score that raised it."""


@dataclass(slots=True)
class Level:
    """The level of one thing."""

    level: int = NORMAL
    since: float = 0.0
    ts: float = 0.0
    fast: float = 0.0
    slow: float = 0.0
    cause: str = ""
    _calm: int = 0
    _started: bool = False

    @property
    def trend(self) -> float:
        """Above 0 it gets worse."""
        return self.fast - self.slow

    def step(self, ts: float, score: float, held: int, cause: str, calm_windows: int) -> bool:
        """One window.

        Parameters
        ----------
        ts : float
            Its end, epoch seconds.
        score : float
            0 to 1; NaN when it was not scored.
        held : int
            Level that alerts hold it at, and ``cause`` their rule.
        calm_windows : int

        Returns
        -------
        bool
            Whether the level changed.
        """
        self.ts = ts
        if not self._started:
            self._started, self.since = True, ts
        if score == score:
            self.fast += FAST * (score - self.fast)
            self.slow += SLOW * (score - self.slow)
        wanted = max(held, self._of_score())
        if wanted > self.level:
            self._move(wanted, ts, cause if held == wanted else "score")
            return True
        if wanted == self.level:
            self._calm = 0
            if held == wanted and held:
                self.cause = cause
            return False
        self._calm += 1
        if self._calm < calm_windows:
            return False
        self._move(self.level - 1, ts, self.cause if self.level > NOTICE else "")
        return True

    def _of_score(self) -> int:
        reached = NORMAL
        for level, limit in RISE.items():
            if self.fast >= (limit * FALL if self.level >= level else limit):
                reached = level
        return reached

    def _move(self, level: int, ts: float, cause: str) -> None:
        self.level, self.since, self.cause, self._calm = level, ts, cause, 0


@dataclass(slots=True)
class Levels:
    """A bounded table of levels by name; what was heard longest ago and is normal makes room.

    Attributes
    ----------
    refused : int
        Times that something new had no room.
    """

    most: int
    refused: int = 0
    _table: OrderedDict[tuple[str, str], Level] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._table)

    def get(self, key: tuple[str, str]) -> Level | None:
        """The level of one, made when there is room for it."""
        found = self._table.get(key)
        if found is not None:
            self._table.move_to_end(key)
            return found
        if len(self._table) >= self.most:
            oldest = next(iter(self._table))
            if self._table[oldest].level > NORMAL:
                self.refused += 1
                return None
            del self._table[oldest]
        found = self._table[key] = Level()
        return found

    def items(self) -> list[tuple[tuple[str, str], Level]]:
        """All of them."""
        return list(self._table.items())
