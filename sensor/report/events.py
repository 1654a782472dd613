"""Events of the report: a table, those that explain most first, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from detectors.base import Event
from sensor.report import words
from sensor.report.markup import Html, join, tag, wire
from sensor.report.traffic import table

MOST: Final = 60


def events_section(events: Sequence[Event]) -> Html:
    """One row per event: when, what, and what it explains."""
    ranked = sorted(events, key=lambda event: (-sum(event.explained.values()), event.start))
    shown = sorted(ranked[:MOST], key=lambda event: event.start)
    rows = [_cells(event) for event in shown]
    rest = len(ranked) - len(shown)
    more = tag("p", f"{words.counted(rest, 'further event')} not shown.", class_="quiet") if rest else Html()
    return join([table(("from (UTC)", "lasts", "what", "explains"), rows), more])


def _cells(event: Event) -> list[Html | str]:
    explained = ", ".join(f"{count} {rule}" for rule, count in event.explained.items())
    return [
        words.moment(event.start),
        words.lasting(event.end - event.start),
        wire(event.summary),
        explained or "nothing",
    ]
