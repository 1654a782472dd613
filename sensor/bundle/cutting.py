"""Which stretch of traffic belongs to which alert, and when it can be cut: pure capture time, no I/O.

An alert asks for the frames from ``before`` its deciding frame until ``after`` its last one. Alerts that come
while such a stretch is open join it, so that one attack is one bundle; a storm is held to so many bundles an
hour. What was asked for is cut when capture time has passed its end, or at the end of the traffic.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from detectors.base import Alert
from sensor.bundle.origin import Origin
from sensor.bundle.ring import Cut, FrameRing
from sensor.frames import FrameBatch
from sensor.result import level_rank

SECOND: Final = 1_000_000_000
HOUR: Final = 3_600 * SECOND
SPREAD: Final = 60 * SECOND
"""Longest time between the first and the last frame of a bundle's alerts."""

LAG: Final = 60 * SECOND
"""How much further back than a slice frames are kept: verdicts over windows come late."""

MAX_ALERTS: Final = 64
"""Alerts of one bundle; the next one begins another."""

MAX_KNOWN: Final = 20_000
"""Alerts that are known to have a bundle."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is kept of which alerts.

    Attributes
    ----------
    level : int
        Alerts of this rank and above.
    before, after : int
        ns.
    max_bytes : int
        Of one slice.
    snaplen : int
    per_hour : int
        Bundles begun in an hour of capture time, at most.
    """

    level: int
    before: int
    after: int
    max_bytes: int
    snaplen: int
    per_hour: int


@dataclass(slots=True)
class Open:
    """A stretch that was asked for and not cut yet."""

    start: int
    end: int
    focus: int
    alerts: list[Alert]
    origin: Origin


@dataclass(slots=True)
class Cutter:
    """Frames and alerts in, alerts with their slice out; belongs to one thread.

    Attributes
    ----------
    done : callable
        Takes the alerts of a bundle, their slice, and what judged.
    origin : Origin
        What judges now; alerts of two do not share a bundle.
    given_up : Counter
        Alerts without a bundle: ``hour``.
    """

    wish: Wish
    ring: FrameRing
    done: Callable[[list[Alert], Cut, Origin], None]
    origin: Origin
    given_up: Counter[str] = field(default_factory=Counter)
    name: str = ""
    comment: str = ""
    _earlier: set[str] = field(default_factory=set)
    _open: list[Open] = field(default_factory=list)
    _known: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _begun: deque[int] = field(default_factory=deque)

    def know(self, alerts: list[str]) -> None:
        """These have a bundle already."""
        for ident in alerts[-MAX_KNOWN:]:
            self._remember(ident)

    def earlier(self, alerts: Iterable[str]) -> None:
        """These began in an earlier run, whose frames had numbers of their own."""
        self._earlier.update(alerts)

    def frames(self, batch: FrameBatch) -> None:
        """Keep frames for what may be asked."""
        self.ring.add(batch)

    def alerts(self, alerts: list[Alert], clock: int) -> None:
        """Ask for the slices of alerts that are new and loud enough.

        Parameters
        ----------
        alerts : list of Alert
            That opened, grew or closed.
        clock : int
            Capture time up to which everything was judged, ns.
        """
        fresh = [
            replace(alert, frames=[]) if alert.id in self._earlier else alert
            for alert in alerts
            if level_rank(alert.level) >= self.wish.level and alert.id not in self._known
        ]
        if not fresh:
            return
        times = self.ring.times(frame for alert in fresh for frame in alert.frames)
        for alert in sorted(fresh, key=lambda one: (one.start, one.id)):
            about = replace(alert, start=alert.end) if alert.id in self._earlier else alert
            self._ask(alert, *_anchor(about, times), round(about.start * SECOND))

    def tick(self, clock: int) -> None:
        """Cut what is due at a capture time (ns), and forget frames that nobody can ask for any more."""
        due = [one for one in self._open if one.end < clock]
        for one in due:
            self._cut(one, "")
        oldest = min((one.start for one in self._open), default=clock)
        self.ring.forget(min(clock - LAG, oldest) - self.wish.before - self.wish.after)

    def finish(self, why: str) -> None:
        """Cut everything now; ``why`` the frames after the alerts are not there."""
        for one in list(self._open):
            self._cut(one, why)

    def _ask(self, alert: Alert, first: int, last: int, focus: int) -> None:
        self._remember(alert.id)
        start, end = first - self.wish.before, last + self.wish.after
        for one in self._open:
            joined = max(one.end, end) - min(one.start, start) - self.wish.before - self.wish.after
            near = start <= one.end and one.start <= end
            near = near and one.origin is self.origin
            if near and joined <= SPREAD and len(one.alerts) < MAX_ALERTS:
                one.start, one.end = min(one.start, start), max(one.end, end)
                one.alerts.append(alert)
                return
        while self._begun and not 0 <= first - self._begun[0] <= HOUR:
            self._begun.popleft()
        if len(self._begun) >= self.wish.per_hour:
            self.given_up["hour"] += 1
            return
        self._begun.append(first)
        self._open.append(Open(start, end, focus, [alert], self.origin))

    def _cut(self, one: Open, why: str) -> None:
        self._open.remove(one)
        wish = self.wish
        cut = self.ring.cut(
            one.start, one.end, wish.max_bytes, wish.snaplen, one.focus, self.name, self.comment
        )
        if why:
            cut.incomplete.append(why)
        self.done(one.alerts, cut, one.origin)

    def _remember(self, ident: str) -> None:
        self._known[ident] = None
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


def _anchor(alert: Alert, times: dict[int, int]) -> tuple[int, int]:
    """First and last moment (ns) that shows an alert: its frames, its beginning (an expiry has no frame)."""
    start = round(alert.start * SECOND)
    known = [times[frame] for frame in alert.frames if frame in times]
    end = min(round(alert.end * SECOND), max([start, *known]) + SPREAD // 2)
    near = [time for time in (*known, end) if abs(time - start) <= SPREAD // 2]
    return min([start, *near]), max([start, *near])
