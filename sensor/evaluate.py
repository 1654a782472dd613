"""Evaluation: alerts held against what really happened, event by event.

The matching rule (docs/evaluation.md gives the reasons):

- An alert **hits** an event when its time from start to end overlaps the event's, prolonged by a grace
  time after it, *and* the alert names one of the hosts that the label names, on either side. A label
  without hosts asks for time only.
- An attack event is **detected** when an alert of at least the wanted level hits it, **fresh** when such
  an alert also *began* in it. The delay is counted for fresh ones only: an alert that was already
  ringing proves little.
- An alert is **false** when it hits no event. One that hits only benign disturbances is false when it
  calls them an attack, and right when it calls them anything else.
- An incident is **false** when all its alerts of that level are. An alert in no incident is its own.

Nothing is point-adjusted, nothing is weighted. This module does no I/O and refuses nothing: odd labels
(outside the capture's time) end up in ``notes``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, chi2

from detectors.base import Alert, Level, Reading
from sensor.labels import ATTACK, Event
from sensor.result import LEVELS, Result, level_rank

GRACE: Final = 5.0
"""Seconds after an event in which an alert still counts as its own. Removed and swapped frames show at
the next legitimate frame, up to 2 s later in the captures this was measured on; a window closes later."""

CLOCK_SLACK: Final = 0.001
"""Seconds by which a label may be rounded against the capture's clock."""

CONFIDENCE: Final = 0.95
DAY: Final = 86_400.0
HOUR: Final = 3_600.0
MAX_IDS: Final = 20


@dataclass(slots=True)
class EventOutcome:
    """What became of one event. ``delay_s`` is None when missed or when no alert began in the event."""

    start: float
    end: float
    label: str
    technique: str
    detected: bool
    fresh: bool
    delay_s: float | None
    level: str
    reading: str
    called_attack: bool
    alerts: list[str]
    note: str = ""


@dataclass(slots=True)
class LevelRow:
    """The figures at one least level."""

    level: str
    events: int
    detected: int
    fresh: int
    recall: float | None
    false_incidents: int
    false_alarms_per_day: float | None
    median_delay_s: float | None


@dataclass(slots=True)
class Evaluation:
    """All figures of one capture (or of several, see :func:`pool`) at one least level.

    ``recall`` is None without attack events, ``false_alarms_per_day`` without observed time. Intervals
    are 95 %: Clopper-Pearson for the recall, exact Poisson (Garwood) for the rate.
    """

    events: int
    detected: int
    fresh: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    false_incidents: int
    false_alarms_per_day: float | None
    false_alarms_interval: tuple[float, float] | None
    false_per_million_packets: float | None
    median_delay_s: float | None
    worst_delay_s: float | None
    hours: float
    packets: int
    alerts: int
    incidents: int
    alerted_share: float | None
    readings: dict[str, int]
    disturbances: int
    disturbances_called_attack: int
    disturbances_alerted: int
    min_level: str
    grace_s: float
    levels: list[LevelRow] = field(default_factory=list)
    per_event: list[EventOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """As a JSON object; no NaN in it."""
        return asdict(self)


@dataclass(slots=True)
class Rule:
    """How alerts are matched: least level, grace (s), and other names of a host (MAC to IP)."""

    min_level: Level = Level.NOTICE
    grace: float = GRACE
    aliases: Mapping[str, str] = field(default_factory=dict)


def evaluate(result: Result, events: Sequence[Event], rule: Rule | None = None) -> Evaluation:
    """Hold one run against the labels of its capture.

    Parameters
    ----------
    result : Result
        ``alerts``, ``start``, ``end`` and ``packets`` are used; incidents are taken from
        ``Alert.incident``.
    events : sequence of Event
    rule : Rule, optional
        Default: alerts from ``notice`` up, 5 s grace, aliases from the run's assets.
    """
    rule = rule or Rule(aliases=aliases_of(result))
    found = _at_level(result, events, rule)
    found.levels = [
        _level_row(_at_level(result, events, Rule(level, rule.grace, rule.aliases)))
        for level in (Level.NOTICE, Level.WARNING, Level.ALARM)
    ]
    found.notes = _notes(result, events)
    return found


def aliases_of(result: Result) -> dict[str, str]:
    """MAC to IP of every device that used exactly one address; a router's MAC stands for nobody."""
    return {
        asset["mac"].lower(): normal_host(asset["ip"][0])
        for asset in result.assets
        if asset["mac"] and len(asset["ip"]) == 1
    }


def normal_host(text: str) -> str:
    """An address in one spelling: lower case, IPv6 shortened, zone and prefix dropped."""
    text = text.strip().lower().partition("%")[0].partition("/")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.replace("-", ":") if text.count("-") == 5 else text


def poisson_interval(count: int, exposure: float) -> tuple[float, float] | None:
    """Exact 95 % interval of a rate; None without exposure.

    Two-sided after Garwood (1936). With a count of 0 it is one-sided: (0, 2.996 / exposure), the "rule
    of three", because nothing lies below.
    """
    if exposure <= 0:
        return None
    if count == 0:
        return 0.0, float(chi2.ppf(CONFIDENCE, 2)) / 2 / exposure
    tail = (1 - CONFIDENCE) / 2
    low, high = chi2.ppf(tail, 2 * count) / 2, chi2.ppf(1 - tail, 2 * count + 2) / 2
    return float(low) / exposure, float(high) / exposure


def share_interval(hits: int, total: int) -> tuple[float, float] | None:
    """Clopper-Pearson 95 % interval of a share; None without trials."""
    if total <= 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, total - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, total - hits)) if hits < total else 1.0
    return low, high


def pool(parts: Sequence[Evaluation]) -> Evaluation:
    """Figures over several captures: counts and hours added, rates and medians taken anew.

    ``per_event`` and ``notes`` are left to the parts. All parts must use the same rule.
    """
    outcomes = [outcome for part in parts for outcome in part.per_event]
    first = parts[0] if parts else None
    return _figures(
        outcomes,
        false_incidents=sum(part.false_incidents for part in parts),
        hours=sum(part.hours for part in parts),
        packets=sum(part.packets for part in parts),
        alerts=sum(part.alerts for part in parts),
        incidents=sum(part.incidents for part in parts),
        alerted_s=sum((part.alerted_share or 0.0) * part.hours * HOUR for part in parts),
        min_level=first.min_level if first else LEVELS[Level.NOTICE],
        grace=first.grace_s if first else GRACE,
    )


def _at_level(result: Result, events: Sequence[Event], rule: Rule) -> Evaluation:
    alerts = [alert for alert in result.alerts if level_rank(alert.level) >= rule.min_level]
    hits = _match(alerts, events, rule)
    outcomes = [_outcome(event, [alerts[i] for i in rows]) for event, rows in zip(events, hits, strict=True)]
    false = _false_alerts(alerts, events, hits)
    incidents = _incidents(alerts)
    return _figures(
        outcomes,
        false_incidents=sum(all(false[i] for i in rows) for rows in incidents.values()),
        hours=result.span / HOUR,
        packets=result.packets,
        alerts=len(alerts),
        incidents=len(incidents),
        alerted_s=_covered(alerts, result.start, result.end),
        min_level=LEVELS[rule.min_level],
        grace=rule.grace,
    )


def _match(alerts: Sequence[Alert], events: Sequence[Event], rule: Rule) -> list[list[int]]:
    """Rows of the alerts that hit each event, by start."""
    start = np.array([alert.start for alert in alerts], np.float64)
    end = np.maximum(start, np.array([alert.end for alert in alerts], np.float64))
    hosts = [_hosts(alert, rule.aliases) for alert in alerts]
    matched = []
    for event in events:
        wanted = {rule.aliases.get(host, host) for host in map(normal_host, event.hosts)}
        near = (start <= event.end + rule.grace) & (end >= event.start - CLOCK_SLACK)
        rows = [int(i) for i in np.flatnonzero(near) if not wanted or hosts[i] & wanted]
        matched.append(sorted(rows, key=lambda i: start[i]))
    return matched


def _hosts(alert: Alert, aliases: Mapping[str, str]) -> set[str]:
    hosts = {normal_host(host) for host in (alert.src, alert.dst) if host}
    return {aliases.get(host, host) for host in hosts}


def _outcome(event: Event, alerts: list[Alert]) -> EventOutcome:
    """``level`` and ``reading`` are those of the loudest alert, the earliest among equals."""
    fresh = [alert for alert in alerts if alert.start >= event.start - CLOCK_SLACK]
    loudest = max(alerts, key=lambda alert: level_rank(alert.level), default=None)
    return EventOutcome(
        start=event.start,
        end=event.end,
        label=event.label,
        technique=event.technique,
        detected=bool(alerts),
        fresh=bool(fresh),
        delay_s=max(0.0, fresh[0].start - event.start) if fresh else None,
        level=loudest.level if loudest else "",
        reading=str(loudest.reading) if loudest else "",
        called_attack=any(alert.reading == Reading.ATTACK for alert in alerts),
        alerts=[alert.id for alert in alerts[:MAX_IDS]],
        note=event.note,
    )


def _false_alerts(
    alerts: Sequence[Alert], events: Sequence[Event], hits: Sequence[Sequence[int]]
) -> npt.NDArray[np.bool_]:
    false = np.ones(len(alerts), np.bool_)
    for event, rows in zip(events, hits, strict=True):
        for i in rows:
            if event.label == ATTACK or alerts[i].reading != Reading.ATTACK:
                false[i] = False
    return false


def _incidents(alerts: Sequence[Alert]) -> dict[str, list[int]]:
    """Rows of the alerts in each incident; an alert in none is its own."""
    groups: dict[str, list[int]] = {}
    for i, alert in enumerate(alerts):
        groups.setdefault(alert.incident or f"\0{i}", []).append(i)
    return groups


def _covered(alerts: Sequence[Alert], start: float, end: float) -> float:
    """Seconds of the capture during which at least one alert lasted."""
    total, reached = 0.0, start
    for alert in sorted(alerts, key=lambda alert: alert.start):
        low, high = max(alert.start, reached), min(alert.end, end)
        if high > low:
            total, reached = total + high - low, high
    return total


def _figures(
    outcomes: Sequence[EventOutcome],
    *,
    false_incidents: int,
    hours: float,
    packets: int,
    alerts: int,
    incidents: int,
    alerted_s: float,
    min_level: str,
    grace: float,
) -> Evaluation:
    attacks = [outcome for outcome in outcomes if outcome.label == ATTACK]
    benign = [outcome for outcome in outcomes if outcome.label != ATTACK]
    detected = [outcome for outcome in attacks if outcome.detected]
    delays = [outcome.delay_s for outcome in attacks if outcome.delay_s is not None]
    days = hours * HOUR / DAY
    return Evaluation(
        events=len(attacks),
        detected=len(detected),
        fresh=sum(outcome.fresh for outcome in attacks),
        recall=len(detected) / len(attacks) if attacks else None,
        recall_interval=share_interval(len(detected), len(attacks)),
        false_incidents=false_incidents,
        false_alarms_per_day=false_incidents / days if days > 0 else None,
        false_alarms_interval=poisson_interval(false_incidents, days),
        false_per_million_packets=false_incidents / packets * 1e6 if packets else None,
        median_delay_s=median(delays) if delays else None,
        worst_delay_s=max(delays) if delays else None,
        hours=hours,
        packets=packets,
        alerts=alerts,
        incidents=incidents,
        alerted_share=min(1.0, alerted_s / (hours * HOUR)) if hours > 0 else None,
        readings={reading: sum(o.reading == reading for o in detected) for reading in Reading},
        disturbances=len(benign),
        disturbances_called_attack=sum(o.called_attack for o in benign),
        disturbances_alerted=sum(o.detected for o in benign),
        min_level=min_level,
        grace_s=grace,
        per_event=list(outcomes),
    )


def _level_row(found: Evaluation) -> LevelRow:
    return LevelRow(
        found.min_level,
        found.events,
        found.detected,
        found.fresh,
        found.recall,
        found.false_incidents,
        found.false_alarms_per_day,
        found.median_delay_s,
    )


def _notes(result: Result, events: Sequence[Event]) -> list[str]:
    outside = sum(event.end < result.start or event.start > result.end for event in events)
    notes = []
    if outside:
        notes.append(
            f"{outside} of {len(events)} events lie outside the capture's time span "
            "and cannot be detected: do these labels belong to this capture?"
        )
    if not any(event.label == ATTACK for event in events):
        notes.append("no attack events: recall is undefined, only false alarms are measured")
    return notes
