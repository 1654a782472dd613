"""Local time of a site: which day, weekday and hour a capture time falls in.

A zone is a name of the IANA database (``Europe/Zurich``, with its daylight saving time) or an offset
(``+08:00``). What cannot be read counts as UTC when it comes from a baseline, and is refused when a person
gives it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from detectors.groups import SECOND

HOUR: Final = 3_600
QUARTER: Final = 900
DAY: Final = 86_400
EPOCH_WEEKDAY: Final = 3  # 1 January 1970 was a Thursday
OFFSET: Final = re.compile(r"([+-])(\d{1,2}):?([0-5]\d)?")
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Slot(NamedTuple):
    """One hour of local time: days since 1970, hour of the day."""

    day: int
    hour: int

    @property
    def weekday(self) -> int:
        """0 Monday."""
        return (self.day + EPOCH_WEEKDAY) % 7

    @property
    def of_week(self) -> int:
        """Hour of the week, 0 Monday 0 h."""
        return self.weekday * 24 + self.hour


def zone_of(name: str) -> tzinfo:
    """A time zone by name or offset; ValueError for what is neither."""
    if name in ("", "UTC"):
        return UTC
    given = OFFSET.fullmatch(name)
    if given:
        minutes = int(given[2]) * 60 + int(given[3] or 0)
        if minutes <= 14 * 60:
            return timezone(timedelta(minutes=minutes if given[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r}; give a name as Europe/Zurich or an offset as +08:00"
        ) from error


class Calendar:
    """Local time, looked up once per quarter of an hour: no zone changes its offset in between."""

    def __init__(self, name: str = "UTC") -> None:
        self.name = name or "UTC"
        try:
            self._zone = zone_of(self.name)
        except ValueError:
            self._zone, self.name = UTC, "UTC"
        self._quarter, self._offset = -1, 0

    def slot(self, ts: int) -> Slot:
        """The local hour of a capture time in ns."""
        seconds = ts // SECOND
        if seconds // QUARTER != self._quarter:
            self._quarter = seconds // QUARTER
            self._offset = self._at(seconds)
        local = seconds + self._offset
        return Slot(local // DAY, local % DAY // HOUR)

    def begin(self, ts: int) -> int:
        """ns at which the local hour of a capture time began."""
        self.slot(ts)
        return ts - ts % SECOND - (ts // SECOND + self._offset) % HOUR * SECOND

    def _at(self, seconds: int) -> int:
        try:
            offset = datetime.fromtimestamp(seconds, self._zone).utcoffset()
        except (OverflowError, OSError, ValueError):  # a capture may claim any year
            return 0
        return int(offset.total_seconds()) if offset is not None else 0
