"""Findings become alerts: folded, in text, bounded; alerts become incidents.

Findings of equal (rule, conversation, group) that follow each other within the fold time extend one
alert; a finding may ask to be folded over all conversations of a pair of hosts and protocol (a scan of 40
units is one alert, which lists them). The fold time is what the finding says it holds for, and at least
5 s, so that separate events stay separate; it doubles with every eighth alert of the same group, up to
ten minutes, so that a storm ends in a handful of alerts. Ids depend on what is said about whom and when
only.

A run that ends takes alerts as they close. A daemon also asks what has opened or grown meanwhile
(:meth:`Folder.changed`), and hands open alerts over to the next run (:meth:`Folder.restore`), so that one
story stays one alert when the sensor is started again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from detectors.acceptance import scope_of
from detectors.base import Alert, Finding, Incident, Level
from detectors.detector import LinkFinding
from detectors.groups import MAX_FRAMES, SECOND, Lens, is_group_address

FOLD: Final = 5.0
MAX_FOLD: Final = 600.0
DOUBLING: Final = 8
MAX_GROUPS: Final = 10_000
MAX_ALERTS: Final = 20_000
MAX_ITEMS: Final = 256
TOLD_AGAIN: Final = 5.0
"""Least seconds of capture time between two tellings of an alert that grows."""

SHOWN_ITEMS: Final = 8
INCIDENT_GAP: Final = 60.0
"""Seconds of quiet that end an incident."""

LEVEL_NAMES: Final = {level: level.name.lower() for level in Level}
RANKS: Final = {name: level for level, name in LEVEL_NAMES.items()}


@dataclass(slots=True)
class _Open:
    """An alert that may still grow."""

    alert: Alert
    level: Level
    repeats: int
    weights: dict[str, float] = field(default_factory=dict)
    items: dict[str, None] = field(default_factory=dict)
    hold: float = 0.0
    told: float = float("-inf")
    told_level: int = -1

    @property
    def patience(self) -> float:
        """Seconds after its last finding for which it may still grow."""
        return max(fold_time(self.repeats), self.hold)


@dataclass(slots=True)
class Folder:
    """Takes findings in order of time, gives alerts.

    Attributes
    ----------
    dropped : int
        Findings about new groups that came when ``most`` alerts had been given.
    most : int
        Alerts given, at most.
    horizon : float
        Seconds of capture time after which ``most`` alerts may be given again.
    """

    lens: Lens
    dropped: int = 0
    given: int = 0
    most: int = MAX_ALERTS
    horizon: float = float("inf")
    _since: float = float("-inf")
    _touched: dict[tuple[str, str, str], None] = field(default_factory=dict)
    _open: OrderedDict[tuple[str, str, str], _Open] = field(default_factory=OrderedDict)
    _repeats: OrderedDict[tuple[str, str, str], int] = field(default_factory=OrderedDict)
    _texts: dict[tuple[int, bool], str] = field(default_factory=dict)

    def add(self, finding: Finding) -> list[Alert]:
        """Fold one finding in; returns the alert it closed, if any."""
        key = self._key(finding)
        entry = self._open.get(key)
        closed: list[Alert] = []
        if entry is not None:
            if finding.ts / SECOND - entry.alert.end <= entry.patience:
                self._extend(entry, finding)
                self._touched[key] = None
                return closed
            closed.append(self._finish(key))
        if self.given + len(self._open) >= self.most:
            self.dropped += 1
            return closed
        if len(self._open) >= MAX_GROUPS:
            closed.append(self._finish(next(iter(self._open))))
        self._open[key] = self._new(key, finding)
        self._touched[key] = None
        return closed

    def tick(self, clock: float) -> list[Alert]:
        """Alerts that can no longer grow at ``clock`` (epoch seconds)."""
        if clock - self._since > self.horizon or self._since > clock:
            self._since, self.given = clock, 0
        due = [k for k, entry in self._open.items() if clock - entry.alert.end > entry.patience]
        return [self._finish(key) for key in due]

    def close(self) -> list[Alert]:
        """All alerts still open."""
        return [self._finish(key) for key in list(self._open)]

    def changed(self, clock: float) -> list[tuple[Alert, str]]:
        """Open alerts that are new, louder, or have grown and were not told for a while.

        Returns
        -------
        list of (Alert, str)
            A copy as it stands, and what :meth:`restore` needs to let it grow on.
        """
        out: list[tuple[Alert, str]] = []
        waiting: dict[tuple[str, str, str], None] = {}
        for key in self._touched:
            entry = self._open.get(key)
            if entry is None:
                continue
            if entry.level <= entry.told_level and abs(clock - entry.told) < TOLD_AGAIN:
                waiting[key] = None
                continue
            entry.told, entry.told_level = clock, int(entry.level)
            out.append((_shown(entry), _stored(key, entry)))
        self._touched = waiting
        return out

    def open_alerts(self) -> list[str]:
        """All that is open, for :meth:`restore` of another folder."""
        return [_stored(key, entry) for key, entry in self._open.items()]

    def restore(self, stored: str) -> str:
        """Take over an open alert of an earlier run; its id, "" for what is none or has no room."""
        try:
            record = json.loads(stored)
            key, entry = _unstored(record)
        except (ValueError, TypeError, KeyError):
            return ""
        if len(self._open) >= min(MAX_GROUPS, self.most) or key in self._open:
            return ""
        self._open[key] = entry
        self._repeats[key] = entry.repeats + 1
        return entry.alert.id

    def _key(self, finding: Finding) -> tuple[str, str, str]:
        where = self._texts.get((finding.conv, finding.pair))
        if where is None:
            link = self._link(finding)
            where = "|".join(map(str, link[:3] if finding.pair else link))
            if finding.conv >= 0:
                if len(self._texts) >= MAX_GROUPS:
                    self._texts.clear()
                self._texts[finding.conv, finding.pair] = where
        return (finding.rule, where, finding.group)

    def _link(self, finding: Finding) -> tuple[str, str, str, int, str, int]:
        if finding.conv >= 0:
            return self.lens.conv(finding.conv)
        return finding.link if isinstance(finding, LinkFinding) else ("", "", "", 0, "", 0)

    def _new(self, key: tuple[str, str, str], finding: Finding) -> _Open:
        repeats = self._repeats.get(key, 0)
        self._repeats[key] = repeats + 1
        self._repeats.move_to_end(key)
        if len(self._repeats) > MAX_GROUPS:
            self._repeats.popitem(last=False)
        entry = _Open(self._alert(key, finding), finding.level, repeats)
        self._weigh(entry, finding)
        self._note(entry, finding)
        return entry

    @staticmethod
    def _note(entry: _Open, finding: Finding) -> None:
        """What outlives a single finding: how long it holds, what it adds to the list."""
        entry.hold = max(entry.hold, min(finding.hold, MAX_FOLD))
        if finding.item and len(entry.items) < MAX_ITEMS:
            entry.items[finding.item] = None

    def _extend(self, entry: _Open, finding: Finding) -> None:
        alert = entry.alert
        alert.end = max(alert.end, finding.ts / SECOND, finding.until / SECOND)
        alert.start = min(alert.start, finding.ts / SECOND)
        alert.count += finding.count
        room = MAX_FRAMES - len(alert.frames)
        if room > 0:
            alert.frames += [frame for frame in finding.frames if frame not in alert.frames][:room]
        if not math.isnan(finding.p_value):
            alert.p_value = min(finding.p_value, 1.0 if alert.p_value is None else alert.p_value)
        if finding.level > entry.level:
            entry.level = finding.level
            alert.level = LEVEL_NAMES[finding.level]
            alert.summary, alert.expected, alert.observed = (
                finding.summary,
                finding.expected,
                finding.observed,
            )
            alert.event = finding.event
        self._weigh(entry, finding)
        self._note(entry, finding)

    @staticmethod
    def _weigh(entry: _Open, finding: Finding) -> None:
        for name, weight in (finding.scores or {finding.reading.value: 1.0}).items():
            entry.weights[name] = entry.weights.get(name, 0.0) + weight * finding.count

    def _finish(self, key: tuple[str, str, str]) -> Alert:
        self.given += 1
        self._touched.pop(key, None)
        return _shown(self._open.pop(key))

    def _alert(self, key: tuple[str, str, str], finding: Finding) -> Alert:
        names, link = self.lens.names, self._link(finding)
        proto = finding.proto
        ident = hashlib.sha256("\0".join([*key, str(finding.ts)]).encode()).hexdigest()[:12]
        start = finding.ts / SECOND
        return Alert(
            id=ident,
            start=start,
            end=max(start, finding.until / SECOND),
            level=LEVEL_NAMES[finding.level],
            reading=finding.reading.value,
            detector=finding.detector,
            rule=finding.rule,
            technique=finding.technique,
            protocol=link[0] or (names.protocol(proto) if proto >= 0 else ""),
            src=names.endpoint(finding.src) if finding.src >= 0 else link[1],
            dst=names.endpoint(finding.dst) if finding.dst >= 0 else link[2],
            kind=names.kind(proto, finding.kind) if proto >= 0 and finding.kind >= 0 else "",
            point=names.point(proto, finding.point) if proto >= 0 and finding.point >= 0 else "",
            summary=finding.summary,
            expected=finding.expected,
            observed=finding.observed,
            p_value=None if math.isnan(finding.p_value) else float(finding.p_value),
            count=finding.count,
            frames=finding.frames[:MAX_FRAMES],
            scope=scope_of(finding, self.lens),
            event=finding.event,
        )


def _shown(entry: _Open) -> Alert:
    """The alert as it would be if it closed now; a copy."""
    total = sum(entry.weights.values()) or 1.0
    readings = {name: round(w / total, 3) for name, w in sorted(entry.weights.items())}
    observed = entry.alert.observed
    if len(entry.items) > 1:
        observed = f"{observed}; {_listed(list(entry.items))}"
    return replace(
        entry.alert,
        readings=readings,
        reading=max(readings, key=lambda name: readings[name]),
        observed=observed,
        frames=list(entry.alert.frames),
        scope=entry.alert.scope | {"items": list(entry.items)},
    )


def _stored(key: tuple[str, str, str], entry: _Open) -> str:
    """An open alert as JSON text; ASCII only, so that any text survives."""
    record = {
        "key": key,
        "alert": asdict(entry.alert),
        "repeats": entry.repeats,
        "weights": entry.weights,
        "items": list(entry.items),
        "hold": entry.hold,
    }
    return json.dumps(record, separators=(",", ":"))


def _unstored(record: Mapping[str, Any]) -> tuple[tuple[str, str, str], _Open]:
    rule, link, group = record["key"]
    alert = Alert(**record["alert"])
    level = RANKS[alert.level]
    weights = {str(name): float(weight) for name, weight in record["weights"].items()}
    items = dict.fromkeys(str(item) for item in record["items"][:MAX_ITEMS])
    hold = min(float(record["hold"]), MAX_FOLD)
    entry = _Open(alert, level, int(record["repeats"]), weights, items, hold)
    entry.told, entry.told_level = alert.end, int(level)
    return (str(rule), str(link), str(group)), entry


def _listed(items: list[str]) -> str:
    """Up to eight items by name, the rest by number."""
    rest = len(items) - SHOWN_ITEMS
    return "in all: " + ", ".join(items[:SHOWN_ITEMS]) + (f" and {rest} more" if rest > 0 else "")


def fold_time(repeats: int) -> float:
    """Seconds within which a finding extends an alert that is the group's ``repeats``-th."""
    return float(min(MAX_FOLD, FOLD * 2 ** min(repeats // DOUBLING, 16)))


def by_start(alerts: list[Alert]) -> list[Alert]:
    """Alerts in the order of the JSON output."""
    return sorted(alerts, key=lambda alert: (alert.start, -RANKS[alert.level], alert.id))


def incidents_of(alerts: list[Alert], gap: float = INCIDENT_GAP) -> list[Incident]:
    """Alerts (sorted by start) that share a host and follow each other within ``gap`` seconds.

    Sets ``Alert.incident``. Only what holds at least one warning is an incident. Multicast and
    broadcast addresses join nothing.
    """
    parent = list(range(len(alerts)))
    latest: dict[str, int] = {}
    ends: dict[int, float] = {}
    for index, alert in enumerate(alerts):
        ends[index] = alert.end
        for host in _hosts(alert):
            before = latest.get(host)
            if before is not None and alert.start - ends[_root(parent, before)] <= gap:
                root, mine = _root(parent, before), _root(parent, index)
                if root != mine:
                    parent[mine] = root
                    ends[root] = max(ends[root], ends[mine])
            latest[host] = index
    groups: dict[int, list[Alert]] = {}
    for index, alert in enumerate(alerts):
        groups.setdefault(_root(parent, index), []).append(alert)
    loud = [g for g in groups.values() if max(RANKS[a.level] for a in g) >= Level.WARNING]
    return [_incident(group) for group in loud]


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _hosts(alert: Alert) -> list[str]:
    return [host for host in (alert.src, alert.dst) if host and not is_group_address(host)]


def _incident(group: list[Alert]) -> Incident:
    worst = max(group, key=lambda alert: (RANKS[alert.level], -alert.start))
    weights: dict[str, float] = {}
    for alert in group:
        for name, weight in alert.readings.items():
            weights[name] = weights.get(name, 0.0) + weight * (1 + RANKS[alert.level]) ** 2
    ident = hashlib.sha256("\0".join(alert.id for alert in group).encode()).hexdigest()[:12]
    for alert in group:
        alert.incident = ident
    rest = len(group) - 1
    more = f" and {rest} more alert{'s' if rest > 1 else ''}" if rest else ""
    return Incident(
        id=ident,
        start=min(alert.start for alert in group),
        end=max(alert.end for alert in group),
        level=worst.level,
        reading=max(sorted(weights), key=lambda name: weights[name]),
        summary=f"{worst.summary}{more}",
        hosts=sorted({host for alert in group for host in _hosts(alert)}),
        protocols=sorted({alert.protocol for alert in group if alert.protocol}),
        alerts=[alert.id for alert in group],
    )
