"""The page that ``gridwarden tune`` writes: recall of each model over false alarms per day, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sensor.report.charts import both, drawing
from sensor.report.html import page, write_page
from sensor.report.markup import Html, join, tag

if TYPE_CHECKING:
    from sensor.tune import ModelRow, Tuning

HEIGHT: Final = 260
LINE: Final = 14
DASHES: Final = (None, "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4", "6 2 1 2")
"""Every model its own pattern: they must be told apart without colour."""


def write_tuning(path: str | Path, found: Tuning) -> None:
    """Write the page.

    Raises
    ------
    MissingToolError
        As for the report.
    """
    title = "Which behaviour model: Gridwarden tune"
    best = found.rows[0]
    head = (
        f"{best.model} finds {best.found} of {found.attacks} simulated attacks at the site's budget of "
        f"{found.budget_per_day:g} false alarms per day ({found.hours:.2f} h held back, "
        f"{found.windows:,} windows)."
    )
    content = tag(
        "main",
        tag("h1", title),
        tag("p", head),
        both(lambda width: curves(found.rows, width)),
        tag(
            "p",
            "Across: false alarms per day that the held-back normal windows would give. Up: share of the "
            "simulated attacks found at that threshold.",
            class_="quiet",
        ),
        _table(found.rows),
    )
    write_page(path, page(title, content))


def curves(rows: list[ModelRow], width: int) -> Html:
    """Recall over false alarms per day, one stepped line per model; the solid one is the chosen."""
    left, right, top = 44, width - 84, 10
    most = max((x for row in rows for x, _ in row.curve), default=1.0) or 1.0

    def x(value: float) -> float:
        return round(left + (right - left) * float(np.sqrt(value / most)), 1)

    def y(value: float) -> float:
        return round(top + HEIGHT * (1 - value), 1)

    parts: list[Html] = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(tag("line", x1=left, x2=right, y1=y(share), y2=y(share), class_="grid"))
        parts.append(
            tag("text", f"{share:.0%}", x=left - 6, y=y(share) + 4, text_anchor="end", class_="tick")
        )
    parts += [
        tag("text", f"{mark:.3g}", x=x(mark), y=top + HEIGHT + 16, text_anchor="middle", class_="tick")
        for mark in (0.0, most / 16, most / 4, most)
    ]
    reached = -1.0
    for number, row in sorted(enumerate(rows), key=lambda item: -(item[1].curve or [(0, 0)])[-1][1]):
        parts.append(_line(row, number, x, y))
        end = max(y((row.curve or [(0.0, 0.0)])[-1][1]) + 4, reached + LINE)
        reached = end
        parts.append(tag("text", row.model, x=right + 8, y=end, class_="tick"))
    label = "Recall over false alarms per day: " + ", ".join(f"{r.model} {r.best_recall:.0%}" for r in rows)
    return drawing(width, top + HEIGHT + 24, label, parts)


def _line(row: ModelRow, number: int, x: object, y: object) -> Html:
    assert callable(x)
    assert callable(y)
    points: list[str] = []
    for step, (per_day, recall) in enumerate(row.curve):
        if step:
            points.append(f"{x(per_day)},{y(row.curve[step - 1][1])}")
        points.append(f"{x(per_day)},{y(recall)}")
    return tag(
        "polyline",
        tag("title", row.model),
        points=Html(" ".join(points)),
        class_="curve",
        stroke_dasharray=DASHES[number % len(DASHES)],
    )


def _table(rows: list[ModelRow]) -> Html:
    head = ("model", "found", "recall", "recall at best", "false alarms", "false alarms per day", "missed")
    lines = [
        tag(
            "tr",
            *(
                tag("td", cell)
                for cell in (
                    row.model,
                    row.found,
                    f"{row.recall:.1%}",
                    f"{row.best_recall:.1%}",
                    row.false_alarms,
                    f"{row.false_alarms_per_day:.3g}",
                    ", ".join(row.missed),
                )
            ),
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))),
        tag("tbody", join(lines)),
    )
