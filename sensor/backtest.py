"""Back-test: the alerts of two baselines (or settings) over the same captures, held against each other.

Alerts match when rule, conversation, kind and point are equal and their times overlap. The behaviour models'
rules count as one, so that a change of model shows what it changes and not its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from detectors.base import Alert, Level
from detectors.baseline import Baseline
from detectors.behaviour import MODELS
from sensor.errors import UsageError
from sensor.result import level_rank

SLACK: Final = 1.0
"""Seconds between two alerts that still count as overlapping."""

SETTINGS: Final = ("false_alarms_per_day", "model", "seed")

Key = tuple[str, str, str, str, str, str]


@dataclass(slots=True)
class Change:
    """An alert that appears, vanishes, or is told at another level (``before`` and ``after``)."""

    what: str
    before: str
    after: str
    alert: Alert

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        names = ("id", "start", "end", "rule", "protocol", "src", "dst", "kind", "point", "count", "summary")
        head = {"change": self.what, "before": self.before, "after": self.after}
        return head | {name: getattr(self.alert, name) for name in names}


@dataclass(slots=True)
class Backtest:
    """What would change; ``old`` and ``new`` count the alerts compared."""

    old: int = 0
    new: int = 0
    unchanged: int = 0
    changes: list[Change] = field(default_factory=list)
    old_incidents: int = 0
    new_incidents: int = 0

    def of(self, what: str) -> list[Change]:
        """Changes of one sort: ``appears``, ``vanishes`` or ``level``."""
        return [change for change in self.changes if change.what == what]

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        head = {name: value for name, value in asdict(self).items() if name != "changes"}
        counts = {what: len(self.of(what)) for what in ("appears", "vanishes", "level")}
        return head | counts | {"changes": [change.record() for change in self.changes]}


def compare(old: Sequence[Alert], new: Sequence[Alert], min_level: Level = Level.NOTICE) -> Backtest:
    """Alerts of the new run held against those of the old one, both in order of time.

    An alert counts when it, or the one that it matches, is at least of ``min_level``.
    """
    waiting: dict[Key, list[Alert]] = {}
    for alert in new:
        waiting.setdefault(_key(alert), []).append(alert)
    found = Backtest(sum(_loud(a, min_level) for a in old), sum(_loud(a, min_level) for a in new))
    for alert in old:
        twin = _take(waiting.get(_key(alert), []), alert)
        if twin is None:
            if _loud(alert, min_level):
                found.changes.append(Change("vanishes", alert.level, "", alert))
        elif _loud(alert, min_level) or _loud(twin, min_level):
            if twin.level == alert.level:
                found.unchanged += 1
            else:
                found.changes.append(Change("level", alert.level, twin.level, twin))
    left = [alert for alerts in waiting.values() for alert in alerts if _loud(alert, min_level)]
    found.changes += [Change("appears", "", alert.level, alert) for alert in left]
    found.changes.sort(key=lambda change: (change.alert.start, change.what, change.alert.id))
    return found


def with_settings(baseline: Baseline, settings: Sequence[str]) -> Baseline:
    """A baseline with other settings, each ``key=value``.

    Raises
    ------
    UsageError
    """
    changed = Baseline(baseline.tables, dict(baseline.params), list(baseline.created_from), baseline.tool)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in SETTINGS:
            raise UsageError(f"--set {setting}: give KEY=VALUE with KEY one of {', '.join(SETTINGS)}")
        changed.params[key] = _value(key, text)
    return changed


def _value(key: str, text: str) -> float | int | str:
    try:
        value = text if key == "model" else int(text) if key == "seed" else float(text)
    except ValueError:
        raise UsageError(f"--set {key}={text}: {text!r} is not a number") from None
    if key == "model" and value not in MODELS:
        raise UsageError(f"--set model={text}: no such model; choose one of {', '.join(MODELS)}")
    if isinstance(value, float) and not 0 < value <= 1e6:
        raise UsageError(f"--set {key}={text}: must be above 0 and at most 1,000,000")
    return value


def _loud(alert: Alert, least: Level) -> bool:
    return level_rank(alert.level) >= least


def _take(waiting: list[Alert], alert: Alert) -> Alert | None:
    """The first waiting alert that overlaps in time, removed from the list."""
    for number, other in enumerate(waiting):
        if other.start <= alert.end + SLACK and other.end >= alert.start - SLACK:
            return waiting.pop(number)
    return None


def _key(alert: Alert) -> Key:
    rule = "behaviour" if alert.rule.startswith("behaviour-") else alert.rule
    return rule, alert.protocol, alert.src, alert.dst, alert.kind, alert.point
