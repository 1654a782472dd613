"""An alert explained: what happened, why it matters, three readings, and what to do first.

Pure: an alert, what the profile says of its kind of message, and the alerts of the same incident go in,
sentences come out. Names from packets are part of the sentences as they are; whoever shows them escapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detectors.base import Alert
from detectors.explain.catalogue import Catalogue
from grid_profiles.attack import technique_name

READINGS: Final = ("fault", "operation", "attack")
VISIBILITY: Final = "visibility"
ABSENT: Final = frozenset({"silence", "link", "sensor"})
"""Families about messages that did not come: what such a message can do is beside the point."""
COMPANIONS: Final = 3
"""Alerts of the same incident that are named per reading."""


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a profile says of a kind of message: its danger class and what it does, in English."""

    danger: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Companion:
    """A rule that spoke in the same incident, how often, and what it says of the first such alert."""

    rule: str
    count: int
    what: str


@dataclass(frozen=True, slots=True)
class ReadingPart:
    """One reading of an alert.

    Attributes
    ----------
    name : str
        ``fault``, ``operation``, ``attack`` or ``visibility``.
    weight : float
        0 to 1; the weights of an alert add up to 1, all 0 for a rule without an alert.
    evidence : str
        What speaks for it.
    companions : tuple of Companion
        Other alerts of the same incident that are read this way.
    more : int
        Rules of such alerts beyond those named.
    """

    name: str
    weight: float
    evidence: str
    companions: tuple[Companion, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that ``gridwarden explain`` says of one alert, in one language.

    Attributes
    ----------
    what : str
        What the rule found, in an engineer's words.
    danger : str
        What messages of this class can do; "" when the alert is about none.
    effect : str
        What this very kind of message does; "" where unknown in this language.
    why : str
        Why it matters.
    check : str
        The check that tells the readings apart.
    technique, technique_text : str
        ATT&CK for ICS: id with name, and what it is; "" for none.
    steps : tuple of str
        What to check first, in order.
    fields : tuple of str
        tshark's names of the deciding fields.
    """

    what: str
    danger: str
    effect: str
    why: str
    readings: tuple[ReadingPart, ...]
    check: str
    technique: str
    technique_text: str
    steps: tuple[str, ...]
    fields: tuple[str, ...]


def explained(
    alert: Alert,
    catalogue: Catalogue,
    kind: KindFacts | None = None,
    incident: Sequence[Alert] = (),
    lost: int = 0,
) -> Explanation:
    """Explain an alert.

    Parameters
    ----------
    alert : Alert
    catalogue : Catalogue
    kind : KindFacts, optional
        Of the alert's kind of message.
    incident : sequence of Alert
        Alerts of the same incident; the alert itself among them is passed over.
    lost : int
        Frames known to be lost in the run, which speak for a lack of sight.
    """
    values = values_of(alert)
    rule = alert.rule
    came = catalogue.entry(rule).family not in ABSENT
    facts = kind if kind is not None and came else KindFacts()
    return Explanation(
        what=catalogue.about(rule, "what", values),
        danger=catalogue.maybe(f"danger.{facts.danger}") if facts.danger else "",
        effect=_effect(catalogue, facts.effect),
        why=catalogue.about(rule, "why", values),
        readings=_readings(alert, catalogue, values, incident, lost),
        check=catalogue.about(rule, "check", values),
        technique=_technique(catalogue, alert.technique),
        technique_text=catalogue.maybe(f"technique.{alert.technique}.text") if alert.technique else "",
        steps=catalogue.steps(rule, values),
        fields=catalogue.fields(rule, alert.protocol),
    )


def check_of(alert: Alert, catalogue: Catalogue) -> str:
    """Only the check that tells the readings of an alert apart."""
    return catalogue.about(alert.rule, "check", values_of(alert))


def values_of(alert: Alert) -> dict[str, str]:
    """What the sentences about an alert may name."""
    return {name: getattr(alert, name) for name in ("src", "dst", "protocol", "kind", "point")}


def _effect(catalogue: Catalogue, effect: str) -> str:
    """The profile's own words in English; a translation elsewhere, never a mixture."""
    if catalogue.language == "en":
        return effect
    text = catalogue.texts.get(f"effect.{effect}", "")
    return text if isinstance(text, str) else ""


def _technique(catalogue: Catalogue, ident: str) -> str:
    """``T0855 Unauthorized Command Message``, with the name in the reader's language behind it."""
    if not ident:
        return ""
    name = technique_name(ident)
    own = catalogue.maybe(f"technique.{ident}.name")
    both = f"{name} ({own})" if own and own != name else name
    return f"{ident} {both}".strip()


def _readings(
    alert: Alert, catalogue: Catalogue, values: dict[str, str], incident: Sequence[Alert], lost: int
) -> tuple[ReadingPart, ...]:
    weights = {name: w for name, w in alert.readings.items() if math.isfinite(w) and w > 0}
    total = sum(weights.values()) or 1.0
    shown = [*READINGS]
    if weights.get(VISIBILITY) or alert.reading == VISIBILITY or lost:
        shown.append(VISIBILITY)
    parts = []
    for name in shown:
        evidence = catalogue.about(alert.rule, name, values)
        if name == VISIBILITY and lost:
            evidence = f"{evidence} {catalogue.say('ui.lost', count=lost)}".strip()
        companions, more = _companions(alert, catalogue, name, incident)
        parts.append(ReadingPart(name, weights.get(name, 0.0) / total, evidence, companions, more))
    return tuple(sorted(parts, key=lambda part: -part.weight))


def _companions(
    alert: Alert, catalogue: Catalogue, reading: str, incident: Sequence[Alert]
) -> tuple[tuple[Companion, ...], int]:
    """Other rules of the incident that are read this way, the most frequent first."""
    grouped: dict[str, list[Alert]] = {}
    for other in incident:
        if other.id != alert.id and other.reading == reading:
            grouped.setdefault(other.rule, []).append(other)
    ranked = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    named = [
        Companion(rule, len(found), catalogue.about(rule, "what", values_of(found[0])))
        for rule, found in ranked[:COMPANIONS]
    ]
    return tuple(named), max(0, len(ranked) - COMPANIONS)
