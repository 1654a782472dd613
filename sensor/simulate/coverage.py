"""What a baseline catches: every attack that a capture offers, rendered, detected and judged one by one.

An attack counts as detected by the matching rule of :mod:`sensor.evaluate`, with one more condition: alerts
that the capture raises without the attack are set aside, so that nothing is found by luck.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from detectors.base import Alert
from detectors.baseline import Baseline
from sensor.engines import open_engine
from sensor.evaluate import Rule, aliases_of, evaluate
from sensor.result import Result
from sensor.run import run_detect
from sensor.simulate.registry import Attack
from sensor.simulate.render import Rendered, render_one, write_capture
from sensor.simulate.scene import Scene
from sensor.simulate.stage import NotOffered

SAME: Final = 1.0
"""Seconds within which an alert of the benign capture counts as the same one."""


@dataclass(slots=True)
class Row:
    """What became of one attack; ``delay_s`` is None and the texts are empty when it was missed."""

    attack: str
    protocol: str
    family: str
    technique: str
    detected: bool
    delay_s: float | None
    level: str
    reading: str
    rule: str
    alerts: int
    false_incidents: int


@dataclass(slots=True)
class Coverage:
    """The matrix of one baseline and capture.

    Attributes
    ----------
    rows : list of Row
    skipped : dict of str to str
        Attacks that the capture does not offer, and what is missing.
    benign_incidents : int
        Incidents that the capture raises without any attack.
    hours : float
        Length of the capture.
    min_level : str
    """

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    benign_incidents: int = 0
    hours: float = 0.0
    min_level: str = "notice"

    @property
    def detected(self) -> int:
        """Attacks that were detected."""
        return sum(row.detected for row in self.rows)

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        techniques: dict[str, dict[str, int]] = {}
        for row in self.rows:
            counts = techniques.setdefault(row.technique, {"attacks": 0, "detected": 0})
            counts["attacks"] += 1
            counts["detected"] += row.detected
        share = self.detected / len(self.rows) if self.rows else None
        return asdict(self) | {
            "attacks": len(self.rows),
            "detected": self.detected,
            "recall": share,
            "techniques": dict(sorted(techniques.items())),
        }


class Range:
    """Runs detection over scenes, through a private file, so that every engine can read them."""

    def __init__(self, baseline: Baseline, engine: str = "auto", profiles: Sequence[Path] = ()) -> None:
        self._baseline, self._engine, self._profiles = baseline, engine, tuple(profiles)

    def detect(self, rendered: Rendered) -> Result:
        """Alerts of a scene."""
        with TemporaryDirectory(prefix="gridwarden-simulate-") as folder:
            path = str(Path(folder) / "simulated.pcapng")
            write_capture(path, rendered)
            return run_detect(open_engine([path], self._engine, self._profiles), self._baseline, [path])


def coverage(
    scene: Scene,
    attacks: Sequence[Attack],
    where: Range,
    rule: Rule | None = None,
    seed: int = 1,
    on_step: Callable[[str], None] | None = None,
) -> Coverage:
    """Render each attack alone, detect, and judge.

    Parameters
    ----------
    scene : Scene
        Benign traffic that the baseline knows the like of.
    attacks : sequence of Attack
    where : Range
        With the baseline.
    rule : Rule, optional
        Least level and grace; aliases are those of each run.
    seed : int
        Of the attacks.
    on_step : callable, optional
        Told the id of each attack when it is done.
    """
    rule = rule or Rule()
    benign = where.detect(Rendered(scene))
    matched = Rule(rule.min_level, rule.grace, aliases_of(benign))
    quiet = evaluate(benign, [], matched)
    found = Coverage(benign_incidents=quiet.false_incidents, hours=quiet.hours, min_level=quiet.min_level)
    for attack in attacks:
        try:
            rendered = render_one(scene, attack, seed)
        except NotOffered as missing:
            found.skipped[attack.id] = str(missing)
        else:
            found.rows.append(_judge(attack, rendered, where.detect(rendered), benign.alerts, rule))
        if on_step:
            on_step(attack.id)
    return found


def _judge(attack: Attack, rendered: Rendered, result: Result, benign: list[Alert], rule: Rule) -> Row:
    result.alerts = _news(result.alerts, benign)
    outcome = evaluate(
        result, [rendered.events[attack.id]], Rule(rule.min_level, rule.grace, aliases_of(result))
    )
    event = outcome.per_event[0]
    by_id = {alert.id: alert for alert in result.alerts}
    hits = [by_id[ident] for ident in event.alerts]
    fresh = [alert for alert in hits if alert.start >= event.start - 0.001]
    return Row(
        attack.id,
        attack.protocol,
        attack.family,
        attack.technique,
        event.fresh,
        event.delay_s,
        event.level if event.fresh else "",
        event.reading if event.fresh else "",
        fresh[0].rule if fresh else "",
        len(hits),
        outcome.false_incidents,
    )


def _news(alerts: list[Alert], benign: list[Alert]) -> list[Alert]:
    """Alerts without those that the capture raises anyway."""
    known: dict[tuple[str, ...], list[float]] = {}
    for alert in benign:
        known.setdefault(_key(alert), []).append(alert.start)
    return [
        alert
        for alert in alerts
        if not any(abs(alert.start - start) <= SAME for start in known.get(_key(alert), ()))
    ]


def _key(alert: Alert) -> tuple[str, ...]:
    return alert.rule, alert.protocol, alert.src, alert.dst, alert.kind, alert.point
