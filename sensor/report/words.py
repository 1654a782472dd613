"""Numbers and times as people read them. All times are UTC and say so once per place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from detectors.base import Alert, Incident, Level
from sensor.frames import FILE_SHIFT
from sensor.result import LEVELS, Result, level_rank

FRAMES_SHOWN: Final = 12
LATEST: Final = 253_402_300_799.0
BYTE_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def moment(seconds: float, digits: int = 0) -> str:
    """``2026-11-23 22:41:07`` (UTC), with ``digits`` of a second; a dash for what is no time."""
    if not math.isfinite(seconds) or not 0 < seconds <= LATEST:
        return "–"
    at = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{at.microsecond:06d}"[: digits + 1] if digits else ""
    return at.strftime("%Y-%m-%d %H:%M:%S") + fraction


def clock(seconds: float, digits: int = 0) -> str:
    """``22:41:07`` (UTC)."""
    return moment(seconds, digits).partition(" ")[2] or "–"


def stretch(start: float, end: float) -> str:
    """``2026-11-23 22:41:07 – 23:05:00``; the second date only where it differs."""
    first, last = moment(start), moment(end)
    if first == last:
        return first
    return f"{first} – {clock(end) if first[:10] == last[:10] else last}"


def lasting(seconds: float) -> str:
    """A duration in its two largest units: ``3 d 4 h``, ``12 min 5 s``, ``0.42 s``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def number(value: float) -> str:
    """A count with thin spaces between thousands; a fraction with four digits."""
    if not math.isfinite(value):
        return "–"
    if value == int(value):
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.4g}"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in BYTE_UNITS:
        if count < 1000 or unit == BYTE_UNITS[-1]:
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def counted(count: int, one: str, many: str = "") -> str:
    """``1 alert``, ``3 alerts``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def chance(p_value: float | None) -> str:
    """A p-value in words, "" for a rule."""
    if p_value is None or math.isnan(p_value):
        return ""
    return f"p = {p_value:.2g}" if p_value > 0 else "p < 1e-300"


def frames(alert: Alert, captures: Sequence[str]) -> str:
    """Evidence frames by number; by file and number when the run read several files."""
    shown = []
    for frame in alert.frames[:FRAMES_SHOWN]:
        index, within = frame >> FILE_SHIFT, frame & ((1 << FILE_SHIFT) - 1)
        name = captures[index].rpartition("/")[2] if len(captures) > 1 and index < len(captures) else ""
        shown.append(f"{name} {within}".strip())
    rest = len(alert.frames) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def level_counts(result: Result) -> dict[str, int]:
    """Alerts per level, loudest first; levels without alerts included."""
    counts = Counter(alert.level for alert in result.alerts)
    return {level: counts.get(level, 0) for level in reversed(LEVELS)}


def site(result: Result) -> str:
    """Name of the site, which is its baseline's without folder and suffix."""
    name = result.baseline.replace("\\", "/").rpartition("/")[2].removesuffix(".baseline")
    return name or "Site without a name"


def loudest(result: Result) -> Incident | None:
    """The loudest incident, the earliest among equals."""
    return max(result.incidents, key=lambda i: (level_rank(i.level), -i.start), default=None)


def verdict(result: Result) -> tuple[str, str]:
    """Headline and one sentence below it."""
    where = f" against baseline {site(result)}" if result.baseline else ""
    span = f"{lasting(result.span)} of traffic{where}"
    if not result.packets:
        return "No traffic to judge", "The capture holds no frames: silence is not the same as no alerts."
    if result.worst is None:
        return "Nothing stood out", f"No alerts in {span}."
    if result.worst == Level.INFO:
        return "Nothing that needs attention", f"Only informational records in {span}."
    worst = loudest(result)
    word = LEVELS[result.worst]
    headline = {
        "alarm": "Alarm: look at this now",
        "warning": "Warning: look at this today",
        "notice": "Notice: worth a look",
    }[word]
    alerts = counted(sum(level_rank(a.level) > Level.INFO for a in result.alerts), "alert")
    groups = f" in {counted(len(result.incidents), 'incident')}" if result.incidents else ""
    reading = f" The loudest incident reads as {worst.reading}." if worst and worst.reading else ""
    return headline, f"{alerts}{groups} in {span}.{reading}"
