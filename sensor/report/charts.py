"""Drawings of the report as inline SVG: timeline, value plots, conversations, bars.

Every drawing takes the width it is made for, so that text keeps its size on a phone: the page carries
a wide and a narrow one and shows the one that fits. Data is reduced to at most one bucket per two
pixels before it is drawn. Colours are classes of the style sheet; meaning never hangs on colour alone
(levels have their own lane and their own mark).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from sensor.report import words
from sensor.report.markup import Html, join, tag
from sensor.result import LEVELS, Floats, PointSeries, Result, Series, level_rank

WIDE: Final = 1040
NARROW: Final = 336

LANE: Final = 26
AXIS: Final = 22
SCORE: Final = 70
PLOT: Final = 150
STEPS: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 604_800, 2_592_000, 31_536_000),
)
"""Distances of time marks, s."""


class Axis:
    """A time axis: epoch seconds to pixels."""

    def __init__(self, start: float, end: float, left: float, right: float) -> None:
        span = end - start
        drawable = np.isfinite(span) and abs(start) <= words.LATEST and span <= words.LATEST
        self.start, self.span = (start, max(span, 1e-3)) if drawable else (0.0, 1.0)
        self.left, self.right = left, right

    def x(self, ts: float) -> float:
        """Pixel of a time, clipped to the axis."""
        share = (ts - self.start) / self.span
        share = share if np.isfinite(share) else 0.0
        return round(self.left + (self.right - self.left) * min(1.0, max(0.0, share)), 1)

    def marks(self) -> list[float]:
        """Times of the labelled marks, about one in 90 pixels."""
        most = max(2, int((self.right - self.left) / 90))
        step = next((s for s in STEPS if self.span / s <= most), self.span / most)
        first = float(np.ceil(self.start / step)) * step
        count = int(np.floor((self.start + self.span - first) / step)) + 1
        return [first + i * step for i in range(max(0, min(count, most + 1)))]

    def draw(self, top: float, bottom: float) -> Html:
        """Grid lines and labels below ``bottom``."""
        marks = self.marks()
        step = marks[1] - marks[0] if len(marks) > 1 else self.span
        parts = []
        for ts in marks:
            x = self.x(ts)
            parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
            anchor = "start" if x < self.left + 24 else "end" if x > self.right - 24 else "middle"
            parts.append(tag("text", _mark(ts, step), x=x, y=bottom + 15, text_anchor=anchor, class_="tick"))
        return join(parts)


def both(draw: Callable[[int], Html]) -> Html:
    """A drawing for wide and one for narrow screens; the style sheet shows one."""
    return join(
        [tag("div", draw(WIDE), class_="drawing wide"), tag("div", draw(NARROW), class_="drawing narrow")]
    )


def timeline(result: Result, width: int) -> Html:
    """Alerts per level over time, one lane each, and the site's score below."""
    axis = Axis(result.start, result.end, 78, width - 8)
    lanes = [level for level, count in words.level_counts(result).items() if count or level != "info"]
    parts: list[Html] = []
    top = 4.0
    bottom = top + LANE * len(lanes) + (SCORE + 14 if _has_values(result.timeline) else 0)
    parts.append(axis.draw(top, bottom))
    for level in lanes:
        parts.append(_lane(result, level, axis, top))
        top += LANE
    if result.timeline is not None and _has_values(result.timeline):
        parts.append(_score(result.timeline, axis, top + 12))
    counts = ", ".join(f"{count} {level}" for level, count in words.level_counts(result).items())
    return drawing(width, bottom + AXIS, f"Alerts over time by level: {counts}", parts)


def _lane(result: Result, level: str, axis: Axis, top: float) -> Html:
    """Marks of one level; taller where more alerts fall on the same pixels."""
    base = top + LANE - 3
    parts = [
        tag("text", level, x=0, y=base - 5, class_="lane"),
        tag("line", x1=axis.left, x2=axis.right, y1=base, y2=base, class_="base"),
    ]
    buckets: dict[int, list[float]] = {}
    for alert in result.alerts:
        if alert.level == level:
            buckets.setdefault(int(axis.x(alert.start) / 4), []).append(alert.start)
    for bucket, starts in sorted(buckets.items()):
        height = min(LANE - 6.0, 9 + 5 * float(np.log2(len(starts))))
        title = f"{words.counted(len(starts), level + ' alert')} at {words.moment(min(starts))} UTC"
        parts.append(
            tag(
                "rect",
                tag("title", title),
                x=min(bucket * 4, axis.right - 3),
                y=round(base - height, 1),
                width=3,
                height=round(height, 1),
                rx=1,
                class_=f"mark {_class(level)}",
            )
        )
    return join(parts)


def _score(series: Series, axis: Axis, top: float) -> Html:
    bottom = top + SCORE
    ts, _, high = reduce(series.ts, series.values, int((axis.right - axis.left) / 2))
    high = np.clip(high, 0, 1)
    points = " ".join(
        f"{axis.x(t)},{bottom - SCORE * v:.1f}" for t, v in zip(ts.tolist(), high.tolist(), strict=True)
    )
    area = f"M{axis.x(float(ts[0]))},{bottom} L{points} L{axis.x(float(ts[-1]))},{bottom} Z"
    return join(
        [
            tag("text", "score", x=0, y=top + 12, class_="lane"),
            tag("text", "1", x=axis.left - 6, y=top + 8, text_anchor="end", class_="tick"),
            tag("text", "0", x=axis.left - 6, y=bottom, text_anchor="end", class_="tick"),
            tag("path", d=Html(area), class_="area"),
            tag("polyline", points=Html(points), class_="curve"),
            tag("line", x1=axis.left, x2=axis.right, y1=bottom, y2=bottom, class_="base"),
        ]
    )


def point_plot(series: PointSeries, alerts: Sequence[tuple[float, str]], width: int) -> Html:
    """Values of one point, its expected band, and the times of its alerts (start, level)."""
    ok = np.isfinite(series.ts) & np.isfinite(series.values)
    ts, values = series.ts[ok], series.values[ok]
    axis = Axis(float(ts[0]), float(ts[-1]), 58, width - 8)
    limits = [limit for limit in (series.low, series.high) if np.isfinite(limit)]
    low = float(min([values.min(), *limits]))
    high = float(max([values.max(), *limits]))
    margin = (high - low) * 0.08 or max(abs(high) * 0.05, 0.5)
    low, high = low - margin, high + margin
    if not np.isfinite(high - low):  # values near the ends of the doubles' range
        return tag("p", "The values span more than can be drawn.", class_="quiet")

    def y(value: float) -> float:
        return round(8 + PLOT * (1 - (min(high, max(low, value)) - low) / (high - low)), 1)

    parts = [axis.draw(8, 8 + PLOT), _band(series, axis, y, low, high)]
    shown = [series.low, series.high] if len(limits) == 2 else [low + margin, high - margin]
    parts += [
        tag("text", f"{v:.4g}", x=axis.left - 6, y=y(v) + 4, text_anchor="end", class_="tick")
        for v in sorted({*shown, float(values.min()), float(values.max())})
        if all(v == other or abs(y(v) - y(other)) > 12 or v in shown for other in shown)
    ]
    parts.append(_curve(ts, values, axis, y))
    for start, level in alerts:
        x = axis.x(start)
        title = tag("title", f"{level} at {words.moment(start)} UTC")
        d = f"M{x},{12} L{x - 5},{3} L{x + 5},{3} Z"
        parts.append(tag("line", x1=x, x2=x, y1=8, y2=8 + PLOT, class_=f"flag {_class(level)}"))
        parts.append(tag("path", title, d=d, class_=f"mark {_class(level)}"))
    label = f"Values of {series.point} from {values.min():.4g} to {values.max():.4g}"
    return drawing(width, PLOT + 8 + AXIS, label, parts)


def _band(series: PointSeries, axis: Axis, y: Callable[[float], float], low: float, high: float) -> Html:
    if not (np.isfinite(series.low) or np.isfinite(series.high)):
        return Html()
    top = y(series.high if np.isfinite(series.high) else high)
    bottom = y(series.low if np.isfinite(series.low) else low)
    width = axis.right - axis.left
    return tag("rect", x=axis.left, y=top, width=width, height=max(1.0, bottom - top), class_="band")


def _curve(ts: Floats, values: Floats, axis: Axis, y: Callable[[float], float]) -> Html:
    if len(ts) == 1:
        return tag("circle", cx=axis.x(float(ts[0])), cy=y(float(values[0])), r=3, class_="dot")
    times, low, high = reduce(ts, values, int((axis.right - axis.left) / 2))
    points: list[str] = []
    for t, small, large in zip(times.tolist(), low.tolist(), high.tolist(), strict=True):
        points.append(f"{axis.x(t)},{y(small)}")
        if large != small:
            points.append(f"{axis.x(t)},{y(large)}")
    return tag("polyline", points=Html(" ".join(points)), class_="curve")


def reduce(ts: Floats, values: Floats, buckets: int) -> tuple[Floats, Floats, Floats]:
    """Smallest and largest value per bucket of time.

    Parameters
    ----------
    ts, values : ndarray of float64, shape (n,)
    buckets : int

    Returns
    -------
    ts, low, high : ndarray of float64, shape (m,), m <= buckets
        Time of the first sample of each bucket that has one; NaN values are left out.
    """
    ok = np.isfinite(ts) & np.isfinite(values)
    ts, values = ts[ok], values[ok]
    if len(ts) <= buckets:
        return ts, values, values
    span = max(float(ts[-1] - ts[0]), 1e-9)
    index = np.clip(((ts - ts[0]) / span * buckets).astype(np.int64), 0, buckets - 1)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(index), prepend=-1))
    return ts[first], np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)


def share_bar(share: float, class_: str = "fill") -> Html:
    """A bar that is ``share`` (0 to 1) full."""
    percent = f"{100 * min(1.0, max(0.0, share)):.1f}%"
    return tag(
        "svg",
        tag("rect", width="100%", height="100%", rx=3, class_="track"),
        tag("rect", width=percent, height="100%", rx=3, class_=class_),
        class_="bar",
        aria_hidden="true",
    )


def level_icon(level: str) -> Html:
    """Mark of a level; its shape tells it from the others without colour."""
    return tag(
        "svg",
        tag("use", href=f"#icon-{_class(level)}"),
        class_=f"icon {_class(level)}",
        viewBox="0 0 16 16",
        aria_hidden="true",
    )


def icon_shapes() -> Html:
    """Definitions of the levels' marks, once per page."""
    shapes = {
        "alarm": "M5 1h6l4 4v6l-4 4H5l-4-4V5z M7.1 4v5h1.8V4z M7.1 10.4v1.8h1.8v-1.8z",
        "warning": "M8 1l7.5 13.5H.5z M7.1 6v4.4h1.8V6z M7.1 11.4v1.7h1.8v-1.7z",
        "notice": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1z M7.1 4v1.8h1.8V4z M7.1 7v5h1.8V7z",
        "info": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1z M8 2.8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8z",
        "none": "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1z M4.6 8l1.2-1.2 1.6 1.6 3-3.2 1.2 1.1-4.2 4.5z",
    }
    symbols = [
        tag("symbol", tag("path", d=d, fill_rule="evenodd"), id=f"icon-{name}", viewBox="0 0 16 16")
        for name, d in shapes.items()
    ]
    return tag("svg", *symbols, class_="shapes", aria_hidden="true", width=0, height=0)


def drawing(width: float, height: float, label: str, parts: Iterable[Html]) -> Html:
    """An SVG of that size; ``label`` says in words what it shows."""
    return tag("svg", *parts, viewBox=f"0 0 {width} {height:g}", role="img", aria_label=label, class_="chart")


def _class(level: str) -> str:
    return level if level_rank(level) >= 0 else LEVELS[0]


def _mark(ts: float, step: float) -> str:
    if step >= 86_400:
        return words.moment(ts)[5:10]
    if step >= 60:
        return words.clock(ts)[:5]
    return words.clock(ts) if step >= 1 else words.clock(ts, 3)[3:]


def _has_values(series: Series | None) -> bool:
    return series is not None and bool(np.any(np.isfinite(series.ts) & np.isfinite(series.values)))
