"""Incidents and alerts of the report, loudest first and bounded; the rest is counted by rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from detectors.base import Alert, Incident
from detectors.explain.catalogue import load_catalogue
from detectors.explain.explanation import check_of
from grid_profiles.attack import technique_label
from sensor.report import words
from sensor.report.charts import level_icon, share_bar
from sensor.report.markup import Html, join, tag, wire
from sensor.result import LEVELS, Result, level_rank

MOST_INCIDENTS: Final = 40
MOST_PER_INCIDENT: Final = 12
MOST_LOOSE: Final = 40
MOST_RULES: Final = 20
OPEN_INCIDENTS: Final = 3
"""Incidents that are unfolded when the page opens; the loudest."""

READINGS: Final = ("fault", "operation", "attack")
CHECKS: Final = {
    "fault": "Compare with the relay's event record and the state of the link.",
    "operation": "Ask the control centre: is there a switching order or a work permit for this time?",
    "attack": "Verify the sender: is it the machine it claims to be, and who was logged in? "
    "Keep the capture.",
    "visibility": "Check the mirror port and the sensor's load before judging the traffic.",
}


def incidents_section(result: Result) -> Html:
    """Incident cards, then alerts that belong to none."""
    if not result.alerts:
        return tag("p", "No alerts.", class_="quiet")
    by_incident: dict[str, list[Alert]] = {}
    for alert in result.alerts:
        by_incident.setdefault(alert.incident, []).append(alert)
    known = sorted(result.incidents, key=lambda i: (-level_rank(i.level), i.start))
    parts = [
        _incident_card(incident, by_incident.pop(incident.id, []), result.captures, place < OPEN_INCIDENTS)
        for place, incident in enumerate(known[:MOST_INCIDENTS])
    ]
    hidden = [alert for incident in known[MOST_INCIDENTS:] for alert in by_incident.pop(incident.id, [])]
    if len(known) > MOST_INCIDENTS:
        title = f"{words.counted(len(known) - MOST_INCIDENTS, 'further incident')}, not shown one by one"
        parts.append(_remainder(title, hidden))
    loose = [alert for alerts in by_incident.values() for alert in alerts]
    if loose:
        parts.append(_loose(loose, result.captures, folded=bool(known)))
    return join(parts)


def _loose(alerts: list[Alert], captures: Sequence[str], *, folded: bool) -> Html:
    """Alerts that belong to no incident; folded away when there are incidents to look at first."""
    listed = _alert_list(alerts, captures, MOST_LOOSE)
    title = f"{words.counted(len(alerts), 'alert')} outside incidents" if folded else "Alerts"
    if not folded:
        return tag("div", tag("h3", title, class_="loose"), listed, class_="single")
    return tag("details", tag("summary", title), tag("div", listed, class_="single"), class_="rest")


def level_filter() -> Html:
    """Radio buttons that hide quieter alerts; the style sheet does the hiding, no script."""
    choices = [("all", "All"), ("warning", "Warnings and alarms"), ("alarm", "Alarms only")]
    return tag(
        "fieldset",
        tag("legend", "Show"),
        *(
            tag(
                "label",
                tag("input", type="radio", name="show", id=f"show-{key}", checked=key == "all"),
                tag("span", text),
            )
            for key, text in choices
        ),
        class_="filter",
    )


def level_badge(level: str) -> Html:
    """Mark and name of a level."""
    known = level if level_rank(level) >= 0 else LEVELS[0]
    return tag("span", level_icon(level), tag("span", level), class_=f"badge {known}")


def _incident_card(incident: Incident, alerts: list[Alert], captures: Sequence[str], unfolded: bool) -> Html:
    hosts = join((wire(host) for host in incident.hosts[:6]), ", ")
    rest = len(incident.hosts) - 6
    facts = [
        tag("time", f"{words.moment(incident.start)} UTC"),
        tag("span", words.lasting(incident.end - incident.start)),
        tag("span", words.counted(len(alerts), "alert")),
        tag("span", ", ".join(incident.protocols)) if incident.protocols else Html(),
        tag("span", f"reads as {incident.reading}", class_="reading") if incident.reading else Html(),
    ]
    head = tag(
        "summary",
        level_badge(incident.level),
        tag("h3", tag("bdi", incident.summary)),
        tag("p", *facts, class_="facts"),
        tag("p", hosts, f" and {rest} more" if rest > 0 else "", class_="hosts") if hosts else Html(),
    )
    check = CHECKS.get(incident.reading, "")
    first_step = tag("p", tag("b", "First check: "), check, class_="check") if check else Html()
    body = tag("div", first_step, _alert_list(alerts, captures, MOST_PER_INCIDENT), class_="body")
    return tag("details", head, body, class_=f"card incident {_shown(incident.level)}", open=unfolded)


def _alert_list(alerts: list[Alert], captures: Sequence[str], most: int) -> Html:
    """The loudest ``most`` alerts in order of time, and a count of the others by rule."""
    ranked = sorted(alerts, key=lambda a: (-level_rank(a.level), a.start))
    shown = sorted(ranked[:most], key=lambda a: a.start)
    items = [tag("li", _alert_card(alert, captures)) for alert in shown]
    rest = ranked[most:]
    more = _remainder(f"{words.counted(len(rest), 'further alert')}, not shown one by one", rest)
    return join([tag("ol", *items, class_="alerts"), more if rest else Html()])


def _alert_card(alert: Alert, captures: Sequence[str]) -> Html:
    seen = f"seen {words.number(alert.count)} times" if alert.count > 1 else ""
    until = f" – {words.clock(alert.end, 3)}" if alert.end - alert.start >= 0.001 else ""
    head = tag(
        "header",
        level_badge(alert.level),
        tag("time", f"{words.moment(alert.start, 3)}{until} UTC"),
        tag("span", seen, class_="seen") if seen else Html(),
    )
    return tag(
        "article",
        head,
        tag("p", tag("bdi", alert.summary), class_="summary"),
        tag("div", _facts(alert, captures), _readings(alert), class_="evidence"),
        tag("p", tag("b", "What tells them apart: "), check_of(alert, load_catalogue()), class_="check"),
        class_=f"alert {_shown(alert.level)}",
    )


def _facts(alert: Alert, captures: Sequence[str]) -> Html:
    arrow = [wire(alert.src), " → " if alert.dst else "", wire(alert.dst)] if alert.src or alert.dst else []
    rule = f"{alert.detector} / {alert.rule}" if alert.detector else alert.rule
    chance = words.chance(alert.p_value)
    rows: list[tuple[str, Html]] = [
        ("Expected", tag("bdi", alert.expected) if alert.expected else Html()),
        ("Observed", tag("bdi", alert.observed) if alert.observed else Html()),
        ("Between", join(arrow)),
        ("Message", join([wire(part) for part in (alert.protocol, alert.kind) if part], " ")),
        ("Point", wire(alert.point) if alert.point else Html()),
        ("Technique", tag("span", technique_label(alert.technique)) if alert.technique else Html()),
        ("Says", join([wire(rule), f", {chance}" if chance else ""])),
        ("Frames", wire(words.frames(alert, captures)) if alert.frames else Html()),
    ]
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows if value]
    return tag("dl", *pairs)


def _readings(alert: Alert) -> Html:
    """The three readings as bars; the alert's own one marked."""
    weights = {str(name): float(weight) for name, weight in alert.readings.items()}
    if not any(weight > 0 for weight in weights.values()):
        return tag("p", f"Reads as {alert.reading}.", class_="reads") if alert.reading else Html()
    names = [*READINGS, *(name for name in weights if name not in READINGS and weights[name] > 0)]
    total = sum(weight for weight in weights.values() if math.isfinite(weight) and weight > 0) or 1.0
    rows = []
    for name in names[:4]:
        share = max(0.0, weights.get(name, 0.0)) / total
        share = share if math.isfinite(share) else 0.0
        mine = name == alert.reading
        rows.append(
            tag(
                "li",
                tag("span", name, class_="name"),
                share_bar(share, "fill mine" if mine else "fill"),
                tag("span", f"{share:.0%}", class_="share"),
                class_="mine" if mine else None,
            )
        )
    return tag("ul", *rows, class_="readings", aria_label="How likely each reading is")


def _remainder(title: str, alerts: Sequence[Alert]) -> Html:
    """What is not shown one by one: how many alerts of which rule and level."""
    counts = Counter((alert.detector, alert.rule, alert.level) for alert in alerts)
    rows = [
        tag("tr", tag("td", wire(f"{detector} / {rule}")), tag("td", level), tag("td", words.number(count)))
        for (detector, rule, level), count in counts.most_common(MOST_RULES)
    ]
    head = tag("tr", *(tag("th", name, scope="col") for name in ("Rule", "Level", "Alerts")))
    hidden = len(counts) - len(rows)
    note = tag("p", f"and {words.counted(hidden, 'more rule')}", class_="quiet") if hidden > 0 else Html()
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), note, class_="scroll")
    return tag("details", tag("summary", title), table, class_="rest")


def _shown(level: str) -> str:
    return level if level_rank(level) >= 0 else LEVELS[0]
