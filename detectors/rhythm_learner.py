"""Learning the rhythm of day and week: in which local hours something is done.

An *activity* of a conversation is one of: ``traffic`` (any message), a class of message that changes the
plant (``control``, ``file`` ...), sent by the controlling side, ``interrogation`` (IEC-104), ``connection``
(TCP). For each it is counted in how many hours, by hour of the week, it was there, with how many messages,
and in how many hours of which days. The activity ``observed`` of no conversation says the same of the sensor:
an hour counts when capture time went by without a longer pause for most of it. Everything adds up when
baselines are merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.calendar import Calendar, Slot
from detectors.compare import histogram_text, text_histogram
from detectors.groups import HOUSEKEEPING, SECOND, ConvKey, Groups, Lens, grouped, is_group_address, unpack
from detectors.tables import TABLES, Origin, conv_fields
from grid_profiles.vocabulary import Role

OBSERVED: Final = "observed"
TRAFFIC: Final = "traffic"
CONNECTION: Final = "connection"
INTERROGATION: Final = "interrogation"
NOBODY: Final[ConvKey] = ("", "", "", 0, "", 0)
ZONE: Final = "time_zone"
"""Parameter of a baseline: the zone in whose hours it counts."""

PAUSE: Final = 300 * SECOND
"""ns without a frame that still count as observed."""

MOST_OF_AN_HOUR: Final = 3_000 * SECOND
TWICE: Final = 2
"""Times that an hour of the day (of the week) must have been observed before it is judged."""

MAX_ACTIVITIES: Final = 20_000
MAX_KEYS: Final = 100_000
MAX_DAYS: Final = 400

Activity = tuple[ConvKey, str]


class Activities:
    """What each group of messages does, by the run's keys; bounded."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._known: dict[int, tuple[Activity, ...]] = {}

    def of(self, key: int) -> tuple[Activity, ...]:
        """Activities of a group of messages (``groups.pack``)."""
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_KEYS:
                self._known.clear()
            found = self._known[key] = tuple(self._found(key))
        return found

    def _found(self, key: int) -> Iterator[Activity]:
        part = unpack(key)
        link = self.lens.conv(part.conv)
        protocol = link[0]
        if protocol == "tcp":
            if part.kind == 1:
                yield link, CONNECTION
            return
        if protocol in HOUSEKEEPING or (is_group_address(link[2]) and part.role != Role.PUBLISHER):
            return
        yield link, TRAFFIC
        try:
            proto = self.lens.names.protocol_id(protocol)
        except KeyError:
            return
        if self.lens.dangerous(proto, part.kind, part.role):
            yield link, self.lens.kind_class(proto, part.kind)
        elif protocol == "iec104" and part.role == Role.CLIENT and part.kind in (100, 101):
            yield link, INTERROGATION


class Watch:
    """How much of each hour the sensor saw: capture time that went by without a long pause."""

    def __init__(self) -> None:
        self.since = self.until = -1

    def step(self, piece: Slice) -> int:
        """Take one slice; returns the ns that went by, 0 after a pause (and then ``since`` is new)."""
        if self.until < 0 or piece.start - self.until > PAUSE:
            self.since = self.until = piece.start
        passed = max(0, piece.end - self.until)
        self.until = max(self.until, piece.end)
        return passed


@dataclass(slots=True)
class Rhythm:
    """One activity: hours of the week to times it was there and to messages; days to hours."""

    hours: Counter[int] = field(default_factory=Counter)
    messages: Counter[int] = field(default_factory=Counter)
    days: Counter[int] = field(default_factory=Counter)

    def add(self, slot: Slot, messages: int) -> None:
        """It was there in one more hour."""
        self.hours[slot.of_week] += 1
        self.messages[slot.of_week] += messages
        if len(self.days) < MAX_DAYS or slot.day in self.days:
            self.days[slot.day] += 1

    def at(self, hour: int) -> int:
        """Times that it was there at an hour of the day."""
        return sum(self.hours[day * 24 + hour % 24] for day in range(7))

    @property
    def times(self) -> int:
        """Hours in which it was there."""
        return sum(self.hours.values())


class RhythmLearner:
    """Collects the rhythm; hours are local ones of ``time_zone``."""

    def __init__(self, lens: Lens, time_zone: str = "UTC") -> None:
        self._calendar = Calendar(time_zone)
        self._activities = Activities(lens)
        self._rhythms: dict[Activity, Rhythm] = {}
        self._watch = Watch()
        self._slot: Slot | None = None
        self._seen: Counter[int] = Counter()
        self._observed = 0
        self.refused = 0

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        slot = self._calendar.slot(piece.start)
        if slot != self._slot:
            self._flush()
            self._slot = slot
        self._observed += self._watch.step(piece)
        if len(piece.messages):
            _count(self._seen, grouped(piece))

    def _flush(self) -> None:
        """The hour is over."""
        if self._slot is None:
            return
        done: Counter[Activity] = Counter()
        for key, count in self._seen.items():
            for activity in self._activities.of(key):
                done[activity] += count
        if self._observed >= MOST_OF_AN_HOUR:
            done[NOBODY, OBSERVED] = 1
        for activity, count in done.items():
            if activity not in self._rhythms and len(self._rhythms) >= MAX_ACTIVITIES:
                self.refused += 1
                continue
            self._rhythms.setdefault(activity, Rhythm()).add(self._slot, count)
        self._seen.clear()
        self._observed = 0

    def finish(self, baseline: Baseline) -> None:
        """Write the counts into the baseline."""
        self._flush()
        self._slot = None
        baseline.params[ZONE] = self._calendar.name
        rows: list[dict[str, Any]] = [
            conv_fields(link)
            | {
                "activity": activity,
                "hours": histogram_text(rhythm.hours),
                "messages": histogram_text(rhythm.messages),
                "days": histogram_text(rhythm.days),
                "origin": Origin.LEARNED.value,
            }
            for (link, activity), rhythm in self._rhythms.items()
        ]
        baseline.tables["rhythm"] = TABLES["rhythm"].frame(rows)


def _count(seen: Counter[int], groups: Groups) -> None:
    for key, count in zip(groups.keys.tolist(), groups.counts.tolist(), strict=True):
        seen[key] += count


def rhythm_of(row: Any) -> Rhythm:
    """The rhythm in a row of the table; what is no hour of a week is left out."""
    hours = {hour: n for hour, n in text_histogram(row.hours).items() if 0 <= hour < 168 and n > 0}
    messages, days = text_histogram(row.messages), text_histogram(row.days)
    return Rhythm(Counter(hours), messages, days)


@dataclass(frozen=True, slots=True)
class Learned:
    """How far the rhythm is learned.

    Attributes
    ----------
    hours : int
        Whole hours observed.
    day_more, week_more : int
        Hours that must still be observed until each hour of the day, of the week was seen twice.
    zone : str
    """

    hours: int
    day_more: int
    week_more: int
    zone: str

    @property
    def sentence(self) -> str:
        """For an engineer."""
        if self.day_more:
            return (
                f"no rhythm of the day yet: {self.hours} whole hours seen, {self.day_more} more are needed "
                f"to have each hour of the day twice, {self.week_more} for the week (time zone {self.zone})"
            )
        if self.week_more:
            return (
                f"rhythm of the day learned from {self.hours} hours; {self.week_more} more are needed to "
                f"have each hour of the week twice (time zone {self.zone})"
            )
        return f"rhythm of day and week learned from {self.hours} hours (time zone {self.zone})"


def learned_rhythm(baseline: Baseline) -> Learned:
    """How far a baseline, merged ones too, knows day and week."""
    seen = Rhythm()
    for row in baseline.rows("rhythm"):
        if row.activity == OBSERVED:
            seen = rhythm_of(row)
    day = sum(max(0, TWICE - seen.at(hour)) for hour in range(24))
    week = sum(max(0, TWICE - seen.hours[hour]) for hour in range(168))
    return Learned(seen.times, day, week, str(baseline.params.get(ZONE, "UTC")))
