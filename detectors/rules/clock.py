"""Clocks that step: the time that a message tells, against the capture's clock and what was told before.

A difference to the capture's clock that stays says nothing: the sensor's own clock may be wrong. A step does,
unless the sensor's clock made it, which all frames show: set forwards it leaves a hole in the whole capture,
set back its frames run backwards (:class:`CaptureClock`). One odd time between good ones is one step, not
two: the old difference stays the reference until the new one comes twice (:class:`Difference`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens
from detectors.rules.shared import ProtocolRules

DRIFT: Final = 0.0005
"""Share of the time passed that a clock may gain: 500 ppm, the most that NTP corrects (RFC 5905, 11.3)."""

SLACK: Final = 0.9
SHORTEST: Final = 45 * SECOND // 100
"""ns; jumps of the capture's time below are not kept: nobody tells steps that they could explain."""

MAX_JUMPS: Final = 10_000
"""Over an hour of a network on which a frame comes twice a second."""


_Seen = tuple[list[tuple[int, int]], int, int]  # jumps, and number and ns of the latest frame


class CaptureClock:
    """Where the capture's own clock may have been set: jumps of time from one frame to the next."""

    def __init__(self) -> None:
        self._frame, self._stamp = -1, 0
        self._jumps: list[tuple[int, int]] = []  # (number of the frame behind it, ns)

    def watch(self, piece: Slice) -> None:
        """Take all messages of a slice; late ones of tshark, before the latest frame, are left out.

        All that watch a run have seen the same, so that a slice is looked at once.
        """
        seen: _Seen | None = piece.cache.get("clock")
        if seen is None:
            seen = piece.cache["clock"] = self._look(piece.messages)
        jumps, self._frame, self._stamp = seen
        self._jumps += jumps
        del self._jumps[:-MAX_JUMPS]

    def _look(self, messages: npt.NDArray[Any]) -> _Seen:
        frames, stamps = messages["frame"], messages["ts"]
        if len(frames) and (int(frames[0]) <= self._frame or (frames[1:] < frames[:-1]).any()):
            order = np.argsort(frames, kind="stable")
            order = order[frames[order] > self._frame]
            frames, stamps = frames[order], stamps[order]
        if not len(frames):
            return [], self._frame, self._stamp
        steps = np.diff(stamps, prepend=stamps[0] if self._frame < 0 else self._stamp)
        at = np.flatnonzero(np.abs(steps) >= SHORTEST)[-MAX_JUMPS:]
        jumps = list(zip(frames[at].tolist(), steps[at].tolist(), strict=True))
        return jumps, int(frames[-1]), int(stamps[-1])

    def made(self, step: float, since: int, until: int) -> bool:
        """Whether it may itself be what makes another clock seem to step by so many seconds.

        Parameters
        ----------
        step : float
            s, how much later the other clock shows than before.
        since, until : int
            Frames of the message before, and of this one.
        """
        against = [-jump if step > 0 else jump for frame, jump in self._jumps if since < frame <= until]
        return max(against, default=0) >= abs(step) * SLACK * SECOND


@dataclass(slots=True)
class Difference:
    """How far one sender's time is from the capture's, in seconds."""

    offset: float
    ts: int
    frame: int
    odd: float = np.nan  # the last one that stepped
    former: float = np.nan  # the reference before this one

    def step(self, offset: float, ts: int, frame: int, limit: float) -> float:
        """Seconds by which the time steps beyond a limit, 0.0 when it does not; then it is the reference."""
        allowed = limit + DRIFT * abs(ts - self.ts) / SECOND
        step = offset - self.offset
        if abs(step) > allowed and not abs(offset - self.odd) <= allowed:
            self.odd = offset
            return step
        self.take(offset, ts, frame, stepped=abs(step) > allowed)
        return 0.0

    def returned(self, offset: float, limit: float) -> bool:
        """Whether an offset is what the reference was before it stepped."""
        return abs(offset - self.former) <= limit

    def take(self, offset: float, ts: int, frame: int, *, stepped: bool = False) -> None:
        """Make it the reference; what it was before is kept when it stepped."""
        if stepped:
            self.former = self.offset
        self.offset, self.ts, self.frame, self.odd = offset, ts, frame, np.nan


class Step(NamedTuple):
    """A time that stepped."""

    size: float  # s
    before: float  # s from the capture's clock
    frames: list[int]  # of the message before, and of this one
    back: bool  # to what it was earlier

    @property
    def level(self) -> Level | None:
        """Information when it is again as it was, else as the rule says."""
        return Level.INFO if self.back else None


class ClockRules(ProtocolRules):
    """Rules about the time that messages tell, each conversation's against its own earlier ones."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self.known = self.table()
        self._clock = CaptureClock()

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        self._clock.watch(piece)
        return super().detect(piece)

    def stepped(self, row: Any, limit: float, excused: Callable[[float], bool]) -> Step | None:
        """Hold a time against the one before; None when it fits, is the first one, or is explained.

        Parameters
        ----------
        row : record of MESSAGE
            ``value`` is the time it tells, epoch seconds.
        limit : float
            Seconds from which a difference is a step.
        excused : callable
            Whether the protocol explains a step of so many seconds.
        """
        conv, now, frame = int(row["conv"]), int(row["ts"]), int(row["frame"])
        offset, known = offset_of(row), self.known.get(conv)
        if known is None:
            self.known.put(conv, Difference(offset, now, frame))
            return None
        before, since = known.offset, known.frame
        size = known.step(offset, now, frame, limit)
        if size == 0.0:
            return None
        if excused(size) or self._clock.made(size, since, frame):
            known.take(offset, now, frame)
            return None
        return Step(size, before, [since, frame], known.returned(offset, limit))


def offset_of(row: Any) -> float:
    """Seconds by which the time in a message is later than the capture's clock."""
    return float(row["value"]) - int(row["ts"]) / SECOND
