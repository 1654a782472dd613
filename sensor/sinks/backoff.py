"""How long to wait before a sink is tried again: doubling, bounded, and never in step with other sensors."""

from __future__ import annotations

import random
from typing import Final

MAX_DOUBLINGS: Final = 40
MAX_ASKED: Final = 3_600.0
"""Seconds that a sink may ask us to wait (``Retry-After``) and be heard."""


class Backoff:
    """Delays between tries.

    Parameters
    ----------
    first, most : float
        Seconds: the first delay, and the bound.
    dice : random.Random or None
        Source of the jitter.
    """

    def __init__(self, first: float, most: float, dice: random.Random | None = None) -> None:
        self._first, self._most = first, most
        self._dice = dice or random.Random()  # noqa: S311  spreads load, keeps no secret
        self._failures = 0

    def next(self, asked: float | None = None) -> float:
        """Seconds to wait after another failure: half to all of the doubled delay, or what was asked."""
        delay = min(self._most, self._first * 2.0 ** min(self._failures, MAX_DOUBLINGS))
        self._failures += 1
        jittered = delay * (0.5 + self._dice.random() / 2)
        return jittered if asked is None else max(jittered, min(asked, MAX_ASKED))

    def reset(self) -> None:
        """The sink took something."""
        self._failures = 0
