"""Incidents while they happen: which of the latest alerts belong together.

The rule is that of finished runs (``detectors.alerts.incidents_of``), over the alerts of the last minute and
what they continue. An incident is known by its first alert, so that it keeps its id while it grows.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from detectors.alerts import INCIDENT_GAP, by_start, incidents_of
from detectors.base import Alert, Incident

MAX_RECENT: Final = 2_000
"""Alerts looked at together; the oldest leave when there are more."""


class Incidents:
    """Alerts in, incidents out. Attribute ``left_out`` counts alerts that left early."""

    def __init__(self) -> None:
        self._recent: dict[str, Alert] = {}
        self._ids: dict[str, str] = {}
        self.left_out = 0

    def update(self, alerts: list[Alert], clock: float) -> tuple[list[Alert], dict[str, Incident]]:
        """Take alerts that opened, grew or closed.

        Parameters
        ----------
        alerts : list of Alert
        clock : float
            Capture time, epoch seconds.

        Returns
        -------
        (alerts, incidents)
            The alerts given, and others whose incident changed, each with its incident; the incidents that
            hold one of them, by id.
        """
        for alert in alerts:
            self._recent[alert.id] = replace(alert)
        before = {ident: alert.incident for ident, alert in self._recent.items()}
        # grouped as copies: what was handed out before may be on its way into the store, in another thread
        groups = incidents_of(by_start([replace(alert) for alert in self._recent.values()]))
        named: dict[str, Incident] = {}
        for group in groups:
            known = next((self._ids[one] for one in group.alerts if one in self._ids), None)
            ident = known or hashlib.sha256(f"incident\0{group.alerts[0]}".encode()).hexdigest()[:12]
            if ident in named:  # two that were told apart before have met
                ident = hashlib.sha256(f"incident\0{group.alerts[0]}".encode()).hexdigest()[:12]
            for one in group.alerts:
                self._ids[one] = ident
                self._recent[one].incident = ident
            named[ident] = replace(group, id=ident)
        given = {alert.id for alert in alerts}
        told = [
            replace(alert)
            for ident, alert in self._recent.items()
            if ident in given or alert.incident != before[ident]
        ]
        touched = {alert.incident for alert in told if alert.incident}
        self._forget(clock, named)
        return told, {ident: incident for ident, incident in named.items() if ident in touched}

    def _forget(self, clock: float, named: dict[str, Incident]) -> None:
        """Alerts that nothing can join any more."""
        going_on = {
            ident
            for incident in named.values()
            if clock - incident.end <= INCIDENT_GAP
            for ident in incident.alerts
        }
        self._recent = {
            ident: alert
            for ident, alert in self._recent.items()
            if ident in going_on or abs(clock - alert.end) <= INCIDENT_GAP
        }
        while len(self._recent) > MAX_RECENT:
            del self._recent[next(iter(self._recent))]
            self.left_out += 1
        self._ids = {ident: known for ident, known in self._ids.items() if ident in self._recent}
