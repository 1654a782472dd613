"""Who talks to whom: the busiest and the suspected conversations as lines between two columns.

Senders stand left, receivers right; a line is as thick as its traffic (by order of magnitude) and
carries the level of the loudest alert between the two. Bounded to :data:`MOST` hosts a side; what does
not fit is counted, and hosts with alerts are drawn before busy ones.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

from sensor.report import words
from sensor.report.charts import WIDE
from sensor.report.markup import Html, escape, join, tag, visible
from sensor.result import LEVELS, Result, level_rank

MOST: Final = 14
ROW: Final = 24

Pair = tuple[str, str]


@dataclass(slots=True)
class Picture:
    """What is drawn: hosts a side in order, messages and loudest level (-1 none) per pair."""

    left: list[str]
    right: list[str]
    pairs: dict[Pair, tuple[int, int]]
    unseen: int


def picture(result: Result) -> Picture:
    """Choose what to draw: loudest first, then busiest."""
    messages: Counter[Pair] = Counter()
    for row in result.conversations:
        messages[row["src"], row["dst"]] += row["messages"]
    loudest: dict[Pair, int] = {}
    for alert in result.alerts:
        if alert.src and alert.dst:
            pair = _oriented(alert.src, alert.dst, messages)
            loudest[pair] = max(loudest.get(pair, -1), level_rank(alert.level))
            messages[pair] += 0
    ranked = sorted(messages, key=lambda pair: (-loudest.get(pair, -1), -messages[pair], pair))
    left: list[str] = []
    right: list[str] = []
    pairs = {}
    for source, target in ranked:
        if _fits(source, left) and _fits(target, right):
            left += [source] if source not in left else []
            right += [target] if target not in right else []
            pairs[source, target] = (messages[source, target], loudest.get((source, target), -1))
    return Picture(left, right, pairs, len(messages) - len(pairs))


def draw(chosen: Picture, width: int) -> Html:
    """The picture as SVG."""
    wide = width >= WIDE
    edge = 300 if wide else 118
    rows = max(len(chosen.left), len(chosen.right), 1)
    height = ROW * rows + 26
    ys = {
        "left": {host: _y(i, len(chosen.left), rows) for i, host in enumerate(chosen.left)},
        "right": {host: _y(i, len(chosen.right), rows) for i, host in enumerate(chosen.right)},
    }
    lines = sorted(chosen.pairs.items(), key=lambda item: item[1][1])
    parts = [_line(*pair, *facts, ys, edge + 8, width - edge - 8) for pair, facts in lines]
    parts.append(tag("text", "sends or asks", x=edge, y=12, text_anchor="end", class_="tick"))
    parts.append(tag("text", "receives or answers", x=width - edge, y=12, class_="tick"))
    longest = 40 if wide else 17
    for host, y in ys["left"].items():
        parts.append(_host(host, edge, y, "end", longest))
    for host, y in ys["right"].items():
        parts.append(_host(host, width - edge, y, "start", longest))
    label = f"{len(chosen.pairs)} pairs of hosts that talk to each other"
    return tag("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=label, class_="chart")


def _oriented(source: str, target: str, known: Counter[Pair]) -> Pair:
    """An alert may be about an answer: draw it on the conversation that exists."""
    return (
        (target, source) if (source, target) not in known and (target, source) in known else (source, target)
    )


def _fits(host: str, side: list[str]) -> bool:
    return host in side or len(side) < MOST


def _y(index: int, count: int, rows: int) -> float:
    return 26 + ROW / 2 + (rows - count) * ROW / 2 + index * ROW


def _line(
    source: str,
    target: str,
    messages: int,
    level: int,
    ys: dict[str, dict[str, float]],
    left: float,
    right: float,
) -> Html:
    y1, y2 = ys["left"][source], ys["right"][target]
    bend = (right - left) / 2.2
    path = f"M{left},{y1} C{left + bend:.0f},{y1} {right - bend:.0f},{y2} {right},{y2}"
    thickness = f"{1 + 0.9 * math.log10(messages + 1):.1f}"
    name = LEVELS[level] if level >= 0 else "plain"
    alerts = f", loudest alert: {name}" if level >= 0 else ""
    title = f"{source} → {target}: {words.counted(messages, 'message')}{alerts}"
    return tag("path", tag("title", title), d=path, stroke_width=thickness, class_=f"link {name}")


def _host(host: str, x: float, y: float, anchor: str, longest: int) -> Html:
    shown = visible(host)
    if len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return join(
        [
            tag("circle", cx=x + (8 if anchor == "end" else -8), cy=y, r=3, class_="dot"),
            tag(
                "text",
                tag("title", escape(host)),
                shown,
                x=x,
                y=y + 4,
                text_anchor=anchor,
                class_="host",
                direction="ltr",
                unicode_bidi="isolate",
            ),
        ]
    )
