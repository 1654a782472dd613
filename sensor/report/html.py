"""The report: one HTML file that needs nothing but a browser.

No script, no network, no font, no image: the content security policy allows one style sheet, by its
hash, and nothing else. All text from captures passes :func:`sensor.report.markup.escape`. Lists are
bounded, and what is left out is counted, so that the report of a storm still opens. Times are UTC.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import secrets
from importlib import resources
from pathlib import Path
from typing import Final

from sensor.errors import MissingToolError
from sensor.report import words
from sensor.report.alerts import incidents_section, level_badge, level_filter
from sensor.report.charts import both, icon_shapes, level_icon, timeline
from sensor.report.events import events_section
from sensor.report.markup import Html, join, tag, wire
from sensor.report.traffic import assets_section, network_section, points_section, protocols_section
from sensor.result import LEVELS, Result

MOST_NOTES: Final = 50
MOST_CAPTURES: Final = 12

GUIDE: Final = (
    ("Level", "how soon somebody should look: alarm now, warning today, notice when there is time."),
    (
        "Reading",
        "what it most likely is. Fault: a device or link misbehaves. Operation: switching, maintenance or a "
        "test. Attack: somebody does what the plant never does. The bars show how sure the sensor is.",
    ),
    ("Expected, observed", "what the baseline or the standard says, and what was on the wire."),
    ("p", "how often normal traffic looks at least this odd. Rules have none: they state a fact."),
    ("Frames", "numbers of the frames in the capture that show it, as Wireshark counts them."),
)


def write_report(path: str | Path, result: Result) -> None:
    """Write the report of a run; the file is whole or, on an error, as it was before.

    Raises
    ------
    MissingToolError
        The folder is missing or cannot be written, or the disk is full.
    """
    write_page(path, render(result))


def write_page(path: str | Path, text: str) -> None:
    """Write a page; as :func:`write_report`."""
    path = Path(path)
    try:
        _replace(path, text.encode("utf-8"))
    except OSError as error:
        remedy = "Free disk space" if error.errno == errno.ENOSPC else "Name a file in a folder you can write"
        raise MissingToolError(f"{path}: the report cannot be written: {error.strerror}. {remedy}") from error


def render(result: Result) -> str:
    """The report as text."""
    title = f"{words.site(result)}: Gridwarden report"
    return page(title, icon_shapes(), _header(result), tag("main", *_sections(result)), _footer(result))


def page(title: str, *content: Html) -> str:
    """A self-contained page with the report's style and content security policy."""
    style = resources.files("sensor.report").joinpath("style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
    )
    body = tag("body", *content)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(result: Result) -> list[Html]:
    parts = []
    if result.notes or result.lost or result.malformed:
        parts.append(_section("visibility", "What limits the view", _notes(result)))
    if result.packets and result.alerts:
        drawing = both(lambda width: timeline(result, width))
        parts.append(_section("timeline", "Timeline", drawing, "All times are UTC."))
    shown = join([level_filter() if len(result.alerts) > 1 else Html(), incidents_section(result)])
    parts.append(_section("incidents", "Incidents and alerts", shown))
    if result.events:
        note = "Disturbances of a known kind. What they explain is kept at info and is no alert."
        parts.append(_section("events", "Events", events_section(result.events), note))
    if result.point_series:
        note = "The band is what the baseline expects; triangles mark alerts."
        parts.append(_section("points", "Values of points with findings", points_section(result), note))
    parts += [
        _section("network", "Who talks to whom", network_section(result)),
        _section("protocols", "Protocols", protocols_section(result)),
        _section("assets", "Devices", assets_section(result)),
        _section("guide", "How to read this report", _guide()),
    ]
    return parts


def _section(ident: str, title: str, content: Html, note: str = "") -> Html:
    return tag(
        "section",
        tag("h2", title, id=f"{ident}-title"),
        tag("p", note, class_="quiet") if note else Html(),
        content,
        id=ident,
        aria_labelledby=f"{ident}-title",
    )


def _header(result: Result) -> Html:
    headline, sentence = words.verdict(result)
    level = LEVELS[result.worst] if result.worst is not None else "none" if result.packets else "blind"
    chips = [
        tag("li", level_badge(name), tag("b", words.number(count)))
        for name, count in words.level_counts(result).items()
        if count
    ]
    verdict = tag(
        "div",
        level_icon(level) if result.worst is not None else _calm(level),
        tag("div", tag("p", headline, class_="headline"), *_what(result), tag("p", sentence)),
        class_=f"verdict {level}",
    )
    return tag(
        "header",
        tag("p", "Gridwarden", class_="brand"),
        tag("h1", tag("bdi", words.site(result))),
        tag("p", _span(result), class_="span"),
        verdict,
        tag("ul", *chips, class_="chips", aria_label="Alerts by level") if chips else Html(),
        _facts(result),
        class_="page",
    )


def _what(result: Result) -> list[Html]:
    """The loudest incident in its own words."""
    worst = words.loudest(result)
    return [tag("p", tag("bdi", worst.summary), class_="what")] if worst and result.worst else []


def _calm(level: str) -> Html:
    """The mark of a run without alerts: a tick, or an empty ring when there was nothing to see."""
    use = tag("use", href="#icon-none" if level == "none" else "#icon-info")
    return tag("svg", use, class_=f"icon {level}", viewBox="0 0 16 16", aria_hidden="true")


def _facts(result: Result) -> Html:
    rows = [
        ("Frames", words.number(result.packets)),
        ("Bytes", words.size(result.bytes)),
        ("Messages", words.number(result.messages)),
        ("Malformed", words.number(result.malformed)),
        ("Not decoded", words.number(result.undecoded)),
        ("Frames lost", words.number(result.lost)),
        ("Conversations", words.number(len(result.conversations))),
        ("Devices", words.number(len(result.assets))),
    ]
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in rows), class_="facts")


def _notes(result: Result) -> Html:
    notes = list(result.notes[:MOST_NOTES])
    if result.lost:
        notes.insert(0, f"{words.counted(result.lost, 'frame')} known to be lost before the sensor saw them.")
    if result.malformed:
        notes.append(f"{words.counted(result.malformed, 'message')} contradict their own standard.")
    if len(result.notes) > MOST_NOTES:
        notes.append(f"{words.counted(len(result.notes) - MOST_NOTES, 'more note')}.")
    return tag("ul", *(tag("li", tag("bdi", note)) for note in notes), class_="notes")


def _guide() -> Html:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", text)) for name, text in GUIDE), class_="guide")


def _footer(result: Result) -> Html:
    captures = [wire(name) for name in result.captures[:MOST_CAPTURES]]
    if len(result.captures) > MOST_CAPTURES:
        captures.append(Html(words.counted(len(result.captures) - MOST_CAPTURES, "more file")))
    budget = result.false_alarms_per_day
    facts = [
        join(["Captures: ", join(captures, ", ")]) if captures else Html(),
        join(["Baseline: ", wire(result.baseline)]) if result.baseline else Html(),
        f"Budget: {budget:g} false alarms per day" if budget is not None else "",
        f"Engine: {result.engine}, {words.lasting(result.duration)} of work" if result.engine else "",
        f"Gridwarden {result.version}" if result.version else "",
    ]
    return tag("footer", *(tag("p", fact) for fact in facts if fact))


def _span(result: Result) -> str:
    if not result.packets:
        return "empty capture"
    return f"{words.stretch(result.start, result.end)} UTC ({words.lasting(result.span)})"


def _replace(path: Path, data: bytes) -> None:
    """Write beside the target and rename: a reader never sees half a report."""
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
