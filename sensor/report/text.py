"""Summary of a run for the terminal: the verdict, then incidents and the loudest alerts, bounded.

Text from captures is printed through :func:`sensor.report.markup.visible` as ``rich.text.Text``: neither
escape sequences nor rich's own markup in a name can act on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from detectors.base import Alert, Event, Incident
from grid_profiles.attack import technique_label
from sensor.frames import FILE_SHIFT
from sensor.report import words
from sensor.report.markup import visible
from sensor.result import LEVELS, Result, level_rank

MOST_INCIDENTS: Final = 10
MOST_ALERTS: Final = 20
MOST_NOTES: Final = 8
MOST_EVENTS: Final = 8
LONGEST: Final = 160
WORD: Final = 12
FRAME_MASK: Final = (1 << FILE_SHIFT) - 1

STYLES: Final = {"alarm": "bold red", "warning": "yellow", "notice": "blue", "info": "dim"}


def print_summary(console: Console, result: Result) -> None:
    """Print the summary of a run."""
    console.print(summary(result))


def summary(result: Result) -> Group:
    """The summary as a rich renderable."""
    parts: list[RenderableType] = [_verdict(result)]
    if result.incidents:
        parts += [Text(), _incidents(result.incidents)]
    if result.alerts:
        parts += [Text(), _alerts(result.alerts)]
    if result.events:
        parts += [Text(), _events(result.events)]
    parts += _notes(result)
    return Group(*parts)


def alert_line(alert: Alert) -> Text:
    """One alert on one line, for runs that tell them as they come."""
    style = STYLES.get(alert.level, "")
    head = f"{words.moment(alert.start)} {visible(alert.level, WORD):7} "
    times = f" ({words.number(alert.count)} times)" if alert.count > 1 else ""
    reading = f"{visible(alert.reading, WORD):9} "
    return Text.assemble((head, style), (reading, "bold"), visible(alert.summary, LONGEST), times)


def _verdict(result: Result) -> Text:
    headline, sentence = words.verdict(result)
    style = STYLES.get(LEVELS[result.worst], "") if result.worst is not None else "bold green"
    if not result.packets:
        style = "bold yellow"
    counts = ", ".join(f"{count} {level}" for level, count in words.level_counts(result).items() if count)
    seen = (
        f"{words.counted(result.packets, 'frame')}, {words.counted(result.messages, 'message')}, "
        f"{words.number(result.malformed)} malformed, {words.number(result.undecoded)} not decoded"
    )
    text = Text.assemble((visible(headline), style), "\n", visible(sentence))
    return text.append(f"\n{counts}. {seen}." if counts else f"\n{seen}.", style="dim")


def _incidents(incidents: Sequence[Incident]) -> RenderableType:
    ranked = sorted(incidents, key=lambda i: (-level_rank(i.level), i.start))
    table = _table("Incidents", [incident.start for incident in incidents])
    day = _common_day([incident.start for incident in incidents])
    for incident in ranked[:MOST_INCIDENTS]:
        facts = [
            f"reads as {visible(incident.reading, WORD)}",
            f"lasts {words.lasting(incident.end - incident.start)}",
            words.counted(len(incident.alerts), "alert"),
        ]
        _row(table, incident.level, _when(incident.start, day), incident.summary, facts)
    return _with_rest(table, len(ranked) - MOST_INCIDENTS, "more incident")


def _alerts(alerts: Sequence[Alert]) -> RenderableType:
    ranked = sorted(alerts, key=lambda a: (-level_rank(a.level), a.start))
    table = _table("Alerts", [alert.start for alert in alerts])
    day = _common_day([alert.start for alert in alerts])
    for alert in sorted(ranked[:MOST_ALERTS], key=lambda a: a.start):
        facts = [f"reads as {visible(alert.reading, WORD)}"]
        if alert.technique:
            facts.append(visible(technique_label(alert.technique)))
        if alert.count > 1:
            facts.append(f"{words.number(alert.count)} times")
        if alert.frames:
            facts.append(f"frame {_first_frames(alert)}")
        _row(table, alert.level, _when(alert.start, day), alert.summary, facts)
    return _with_rest(table, len(ranked) - MOST_ALERTS, "more alert")


def _events(events: Sequence[Event]) -> RenderableType:
    table = _table("Events (known disturbances, no alerts)", [event.start for event in events])
    day = _common_day([event.start for event in events])
    ranked = sorted(events, key=lambda event: (-sum(event.explained.values()), event.start))
    for event in sorted(ranked[:MOST_EVENTS], key=lambda event: event.start):
        explained = ", ".join(f"{count} {rule}" for rule, count in event.explained.items())
        facts = [f"lasts {words.lasting(event.end - event.start)}"]
        facts += [f"explains {explained}"] if explained else []
        _row(table, event.level, _when(event.start, day), event.summary, facts)
    return _with_rest(table, len(ranked) - MOST_EVENTS, "more event")


def _row(table: Table, level: str, when: str, summary: str, facts: Sequence[str]) -> None:
    """Two lines: what happened, and how to take it."""
    what = _text(summary).append("\n" + "; ".join(facts), style="dim")
    table.add_row(_level(level), when, what)


def _common_day(starts: Sequence[float]) -> str:
    """The date on which all of it began, "" when there are several."""
    days = {words.moment(start)[:10] for start in starts}
    return days.pop() if len(days) == 1 else ""


def _when(start: float, day: str) -> str:
    return words.clock(start) if day else words.moment(start)


def _first_frames(alert: Alert) -> str:
    shown = [frame & FRAME_MASK for frame in alert.frames[:3]]
    return ", ".join(map(str, shown)) + ("…" if len(alert.frames) > len(shown) else "")


def _notes(result: Result) -> Iterable[RenderableType]:
    notes = list(result.notes[:MOST_NOTES])
    if result.lost:
        notes.insert(0, f"{words.counted(result.lost, 'frame')} known to be lost before the sensor saw them")
    if len(result.notes) > MOST_NOTES:
        notes.append(words.counted(len(result.notes) - MOST_NOTES, "more note"))
    if notes:
        yield Text()
    for note in notes:
        yield Text("Note: ", style="yellow").append(visible(note, LONGEST * 2), style="default")


def _table(title: str, starts: Sequence[float]) -> Table:
    """Three columns, so that it reads at 80 characters; only the last one wraps."""
    day = _common_day(starts)
    table = Table(
        title=f"{title}, {day} UTC" if day else f"{title}, UTC",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=False,
    )
    table.add_column("Level", no_wrap=True)
    table.add_column("Start", no_wrap=True)
    table.add_column("What", ratio=1, overflow="fold")
    return table


def _with_rest(table: Table, rest: int, one: str) -> RenderableType:
    return Group(table, Text(f"and {words.counted(rest, one)}", style="dim")) if rest > 0 else table


def _level(level: str) -> Text:
    return Text(visible(level, WORD), style=STYLES.get(level, ""))


def _text(text: str, longest: int = LONGEST) -> Text:
    return Text(visible(text, longest))
