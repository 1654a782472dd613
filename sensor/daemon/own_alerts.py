"""Alerts that the sensor raises about itself: blind, behind, off, its store in trouble, its clock set.

Their detector is ``sensor`` and their reading *visibility*: they say what could not be seen, not what was.
docs/rules.md lists them.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field, replace

from detectors.base import Alert, Level, Reading, blank_alert
from sensor.store.live import AlertChange

DETECTOR = "sensor"


def own_alert(rule: str, level: Level, source: str, summary: str, start: float, observed: str = "") -> Alert:
    """An alert about the sensor; its id depends on rule, source and start."""
    ident = hashlib.sha256("\0".join(("sensor", rule, source, f"{start:.3f}")).encode()).hexdigest()[:12]
    return replace(
        blank_alert(rule),
        id=ident,
        start=start,
        end=start,
        level=level.name.lower(),
        reading=Reading.VISIBILITY.value,
        detector=DETECTOR,
        point=source,
        summary=summary,
        observed=observed,
        count=1,
        frames=[],
        readings={Reading.VISIBILITY.value: 1.0},
    )


@dataclass(slots=True)
class OwnAlerts:
    """Those that are going on; at most one for each rule and source. Used by several threads."""

    _open: dict[tuple[str, str], Alert] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(
        self, rule: str, level: Level, source: str, summary: str, now: float, observed: str = ""
    ) -> AlertChange:
        """It began, or still goes on: then its end, its words and its count move."""
        with self._lock:
            before = self._open.get((rule, source))
            if before is None:
                alert = own_alert(rule, level, source, summary, now, observed)
            else:
                alert = replace(
                    before,
                    end=max(before.end, now),
                    summary=summary,
                    observed=observed,
                    count=before.count + 1,
                )
            self._open[rule, source] = alert
            return AlertChange(alert, open=True)

    def end(self, rule: str, source: str, now: float, summary: str = "") -> AlertChange | None:
        """It is over; None when it was not going on."""
        with self._lock:
            alert = self._open.pop((rule, source), None)
        if alert is None:
            return None
        closed = replace(alert, end=max(alert.end, now), summary=summary or alert.summary)
        return AlertChange(closed, open=False)

    def going_on(self, rule: str, source: str) -> bool:
        """Whether such an alert is open."""
        with self._lock:
            return (rule, source) in self._open

    def close_all(self, now: float) -> list[AlertChange]:
        """What was going on when the sensor ends."""
        with self._lock:
            left, self._open = self._open, {}
        return [AlertChange(replace(alert, end=max(alert.end, now)), open=False) for alert in left.values()]
