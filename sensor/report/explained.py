"""An explanation for the terminal and as JSON.

Every sentence of the catalogue has names from packets in it, so everything goes through
:func:`sensor.report.markup.visible` and becomes ``rich.text.Text``: no escape sequence and no markup acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detectors.base import Alert
from detectors.explain.catalogue import Catalogue
from detectors.explain.explanation import Explanation, ReadingPart
from sensor.capture.tshark_dissect import Dissection, Line
from sensor.evidence import Piece
from sensor.frames import FILE_SHIFT
from sensor.report import words
from sensor.report.markup import visible
from sensor.report.text import STYLES
from sensor.result import alert_record

LONGEST: Final = 1500
"""Characters of one sentence."""
LINES: Final = 40
"""Lines of one frame that are shown because their protocol is the alert's; deciding ones always are."""
MARK: Final = "►"
NUMBER: Final = (1 << FILE_SHIFT) - 1


@dataclass(slots=True)
class Shown:
    """What of the evidence is shown.

    Attributes
    ----------
    pieces : list of Piece
    nodes : frozenset of str
        tshark's names of the protocols that are opened: the alert's own.
    remarks : list of str
        What could not be shown, and why.
    """

    pieces: list[Piece] = field(default_factory=list)
    nodes: frozenset[str] = frozenset()
    remarks: list[str] = field(default_factory=list)


def explanation_text(
    alert: Alert, explanation: Explanation, catalogue: Catalogue, shown: Shown, size: int = 0
) -> Group:
    """The explanation as a rich renderable; ``size`` is the number of alerts of its incident."""
    say = catalogue.say
    parts: list[RenderableType] = [_title(alert, catalogue)]
    if alert.rule not in catalogue.entries:
        parts.append(_sentence(say("ui.unknown-rule", rule=alert.rule), "yellow"))
    facts = [_facts(alert, catalogue, size)] if alert.id else []
    parts += _section(say("ui.what"), [_sentence(explanation.what), *facts])
    why = [explanation.danger, _effect(alert, explanation), explanation.why]
    parts += _section(say("ui.why"), [_sentence(text) for text in why if text])
    if alert.expected or alert.observed:
        table = _pairs([(say("ui.expected"), alert.expected), (say("ui.observed"), alert.observed)])
        parts += _section(f"{say('ui.expected')} / {say('ui.observed')}", [table])
    parts += _section(say("ui.readings"), [_reading(part, alert, catalogue) for part in explanation.readings])
    parts += _section(say("ui.check"), [_sentence(explanation.check, "bold")])
    if explanation.technique:
        technique = [_sentence(explanation.technique), _sentence(explanation.technique_text)]
        parts += _section(say("ui.technique"), technique)
    steps = [_sentence(f"{place}. {step}") for place, step in enumerate(explanation.steps, 1)]
    parts += _section(say("ui.steps"), steps)
    parts += _section(say("ui.evidence"), list(_evidence(explanation.fields, catalogue, shown)))
    return Group(*parts)


def explanation_record(
    alert: Alert, explanation: Explanation, catalogue: Catalogue, shown: Shown
) -> dict[str, Any]:
    """The explanation as a JSON object; its keys are English in every language."""
    readings = [
        {
            "reading": part.name,
            "name": catalogue.say(f"reading.{part.name}"),
            "weight": round(part.weight, 3),
            "evidence": part.evidence,
            "same_incident": [
                {"rule": one.rule, "alerts": one.count, "what": one.what} for one in part.companions
            ],
        }
        for part in explanation.readings
    ]
    return {
        "alert": alert_record(alert) if alert.id else None,
        "rule": alert.rule,
        "language": catalogue.language,
        "known": alert.rule in catalogue.entries,
        "what": explanation.what,
        "danger": explanation.danger,
        "effect": explanation.effect,
        "why": explanation.why,
        "expected": alert.expected,
        "observed": alert.observed,
        "readings": readings,
        "check": explanation.check,
        "technique": explanation.technique,
        "technique_text": explanation.technique_text,
        "steps": list(explanation.steps),
        "fields": list(explanation.fields),
        "evidence": [_piece_record(piece, explanation.fields, shown.nodes) for piece in shown.pieces],
        "remarks": shown.remarks,
    }


def chosen_lines(
    dissection: Dissection, fields: Iterable[str], nodes: frozenset[str], most: int = LINES
) -> tuple[list[tuple[Line, bool]], int]:
    """Lines worth showing, each with whether it decided, and how many of the opened protocols were left out.

    Each protocol has its head line; the lines below it are shown when it is one of ``nodes``, or decided.
    """
    marks = frozenset(fields)
    chosen: list[tuple[Line, bool]] = []
    room, left_out = most, dissection.left_out
    for line in dissection.lines:
        marked = line.name in marks
        if line.depth == 0 or marked:
            chosen.append((line, marked))
        elif line.protocol in nodes:
            room -= 1
            if room >= 0:
                chosen.append((line, False))
            else:
                left_out += 1
    return chosen, left_out


def _title(alert: Alert, catalogue: Catalogue) -> Text:
    if not alert.id:
        return Text(visible(catalogue.say("ui.rule", rule=alert.rule)), "bold")
    level = catalogue.maybe(f"level.{alert.level}") or alert.level
    head = Text(visible(catalogue.say("ui.alert", id=alert.id)), "bold")
    head.append("  ").append(visible(level), STYLES.get(alert.level, ""))
    reading = catalogue.maybe(f"reading.{alert.reading}") or alert.reading
    return head.append("  ").append(visible(reading), "bold")


def _section(title: str, body: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(title, "bold underline"), *(Padding(part, (0, 0, 0, 2)) for part in body)]


def _facts(alert: Alert, catalogue: Catalogue, size: int) -> RenderableType:
    say = catalogue.say
    start, end = words.moment(alert.start, 3), words.moment(alert.end, 3)
    when = say("ui.at", start=start) if start == end else say("ui.until", start=start, end=end)
    between = f"{alert.src} → {alert.dst}" if alert.dst else alert.src
    return _pairs(
        [
            (say("ui.said"), alert.summary),
            (say("ui.time"), when),
            (say("ui.between"), between),
            (say("ui.message"), f"{alert.protocol} {alert.kind}".strip()),
            (say("ui.point"), alert.point),
            (say("ui.rule-name"), f"{alert.detector} / {alert.rule}" if alert.detector else alert.rule),
            (say("ui.times"), say("ui.count", count=alert.count) if alert.count > 1 else ""),
            (say("ui.chance"), words.chance(alert.p_value)),
            (say("ui.incident"), say("ui.others", incident=alert.incident, count=size) if size > 1 else ""),
        ]
    )


def _effect(alert: Alert, explanation: Explanation) -> str:
    return f"{alert.kind}: {explanation.effect}." if explanation.effect else ""


def _reading(part: ReadingPart, alert: Alert, catalogue: Catalogue) -> RenderableType:
    """Name and weight, what speaks for it, and what else of the incident is read so."""
    style = "bold" if part.name == alert.reading else ""
    head = Text(f"{catalogue.say(f'reading.{part.name}')}", style)
    if alert.readings:
        head.append(f"  {part.weight:.0%}", style)
    body = [_sentence(catalogue.say("ui.speaks", text=part.evidence))] if part.evidence else []
    for one in part.companions:
        told = catalogue.say("ui.companion", rule=one.rule, count=one.count, text=one.what)
        body.append(_sentence(told, "dim"))
    if part.more:
        body.append(_sentence(catalogue.say("ui.more-rules", count=part.more), "dim"))
    return Group(head, *(Padding(line, (0, 0, 0, 2)) for line in body))


def _evidence(fields: Sequence[str], catalogue: Catalogue, shown: Shown) -> Iterable[RenderableType]:
    for piece in shown.pieces:
        head = catalogue.say("evidence.head", number=piece.number, file=piece.capture)
        yield _sentence(head, "bold")
        chosen, left_out = chosen_lines(piece.dissection, fields, shown.nodes)
        for line, marked in chosen:
            mark = f"{MARK} " if marked else "  "
            text = f"{mark}{'  ' * line.depth}{visible(line.text)}"
            yield Text(text, "bold" if marked else "dim" if line.depth else "")
        if left_out:
            yield _sentence("    " + catalogue.say("evidence.left-out", count=left_out), "dim")
    if shown.pieces:
        yield _sentence(catalogue.say("evidence.decided"), "dim")
    for remark in shown.remarks:
        yield _sentence(remark, "yellow")


def _piece_record(piece: Piece, fields: Sequence[str], nodes: frozenset[str]) -> dict[str, Any]:
    chosen, left_out = chosen_lines(piece.dissection, fields, nodes)
    lines = [
        {
            "protocol": line.protocol,
            "field": line.name,
            "text": visible(line.text),
            "depth": line.depth,
            "marked": marked,
        }
        for line, marked in chosen
    ]
    return {"capture": visible(piece.capture), "frame": piece.number, "lines": lines, "left_out": left_out}


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1, overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(Text(name), _sentence(value))
    return table


def _sentence(text: str, style: str = "") -> Text:
    return Text(visible(text, LONGEST), style)
