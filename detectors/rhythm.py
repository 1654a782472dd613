"""Rhythm of day and week: what is done at an hour at which it never was, and what did not come as every day.

``rhythm-hour``
    An activity (``rhythm_learner``) at a local hour that was observed at least twice, in which and beside
    which it never was. Had its A hours been spread over the day by chance, none of them would lie within
    these three hours with (1 - 3/24)^A: notice below :data:`SURE` for what changes the plant, info below
    :data:`LIKELY` and for everything else.
``rhythm-weekday``
    The same for a day of the week that was observed at least twice, N times, without the activity, while it
    was there on a share s of those days of the week on which it ever is: chance (1 - s)^N.
``job-missed``
    What came on at least four of five days, always within the same :data:`JOB_HOURS` hours, did not come
    until an hour after them, while the sensor watched all the time. When the week is learned, days of the
    week on which it never comes are left out.

Nothing is said before the hours concerned were learned; an activity that goes on is told once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice, likeliest
from detectors.baseline import Baseline
from detectors.calendar import HOUR, WEEKDAYS, Calendar, Slot
from detectors.detector import LinkFinding
from detectors.groups import SECOND, Groups, Lens, frames_of, grouped
from detectors.rhythm_learner import (
    CONNECTION,
    INTERROGATION,
    OBSERVED,
    TRAFFIC,
    TWICE,
    ZONE,
    Activities,
    Activity,
    Rhythm,
    Watch,
    rhythm_of,
)
from detectors.tables import conv_of

NAME: Final = "rhythm"
SURE: Final = 0.001
LIKELY: Final = 0.05
FULL_DAY: Final = 20
"""Observed hours that make a day count as seen."""

JOB_HOURS: Final = 3
JOB_DAYS: Final = 5
JOB_SHARE: Final = 0.8
HOLD: Final = 600.0
HARMLESS: Final = frozenset({TRAFFIC, CONNECTION, INTERROGATION})
ODD_SCORES: Final = {"attack": 0.45, "operation": 0.45, "fault": 0.1}
MISSED_SCORES: Final = {"fault": 0.6, "operation": 0.25, "attack": 0.15}
WORDS: Final = {
    TRAFFIC: "traffic",
    CONNECTION: "a connection was opened",
    INTERROGATION: "an interrogation",
}


@dataclass(frozen=True, slots=True)
class Job:
    """What comes every day: between which hours, on which days of the week (all when empty)."""

    activity: Activity
    begin: int
    length: int
    weekdays: frozenset[int]
    days: int
    of: int


class RhythmDetector:
    """Holds the hours of activities against those learned."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self._calendar = Calendar(str(baseline.params.get(ZONE, "UTC")))
        self._rhythms: dict[Activity, Rhythm] = {}
        self._observed = Rhythm()
        for row in baseline.rows("rhythm"):
            if row.activity == OBSERVED:
                self._observed = rhythm_of(row)
            else:
                self._rhythms[conv_of(row), row.activity] = rhythm_of(row)
        self._full = {day for day, hours in self._observed.days.items() if hours >= FULL_DAY}
        self._judges = any(self._observed.at(hour) >= TWICE for hour in range(24))
        self._jobs = self._all_jobs() if self._judges else []
        self._activities = Activities(lens)
        self._watch = Watch()
        self._slot: Slot | None = None
        self._seen: set[int] = set()
        self._last: dict[Activity, int] = {}
        self._told: dict[Activity, int] = {}

    def counters(self) -> dict[str, int]:
        """Nothing is refused: what this run may hold is bounded by the baseline."""
        return {}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if not self._judges:
            return []
        self._watch.step(piece)
        found: list[Finding] = []
        slot = self._calendar.slot(piece.start)
        if slot != self._slot:
            if self._slot is not None:
                found += self._missed(piece.start, slot)
            self._slot = slot
            self._seen.clear()
        if len(piece.messages):
            self._new(piece, grouped(piece), slot, found)
        return found

    # --- odd hours ----------------------------------------------------------------------------------

    def _new(self, piece: Slice, groups: Groups, slot: Slot, found: list[Finding]) -> None:
        """Activities that are there for the first time in this hour."""
        keys = groups.keys.tolist()
        for index, key in enumerate(keys):
            if key in self._seen:
                continue
            self._seen.add(key)
            for activity in self._activities.of(key):
                rhythm = self._rhythms.get(activity)
                if rhythm is None:
                    continue
                self._last[activity] = piece.end
                finding = self._judged(activity, rhythm, slot)
                if finding is None:
                    continue
                hour = slot.day * 24 + slot.hour
                goes_on = hour - self._told.get(activity, -2) <= 1
                self._told[activity] = hour
                if not goes_on:
                    found.append(_shown(finding, piece.messages[groups.rows(index)]))

    def _judged(self, activity: Activity, rhythm: Rhythm, slot: Slot) -> LinkFinding | None:
        return self._by_hour(activity, rhythm, slot) or self._by_weekday(activity, rhythm, slot)

    def _by_hour(self, activity: Activity, rhythm: Rhythm, slot: Slot) -> LinkFinding | None:
        times = self._observed.at(slot.hour)
        if times < TWICE or any(rhythm.at(slot.hour + step) for step in (-1, 0, 1)):
            return None
        chance = float((1 - 3 / 24) ** rhythm.times)
        usual = ", ".join(str(hour) for hour in range(24) if rhythm.at(hour))
        return self._made(
            "rhythm-hour",
            activity,
            chance,
            f"at {self._when(slot)}: never at this hour on {times} days",
            f"hours of the day: {usual} ({rhythm.times} hours on {len(rhythm.days)} days)",
            self._when(slot),
        )

    def _by_weekday(self, activity: Activity, rhythm: Rhythm, slot: Slot) -> LinkFinding | None:
        mine = [day for day in self._full if Slot(day, 0).weekday == slot.weekday]
        active = {Slot(day, 0).weekday for day in rhythm.days}
        others = [day for day in self._full if Slot(day, 0).weekday in active]
        if len(mine) < TWICE or slot.weekday in active:
            return None
        there = sum(day in rhythm.days for day in others)
        chance = float((1 - (there + 0.5) / (len(others) + 1)) ** len(mine))
        return self._made(
            "rhythm-weekday",
            activity,
            chance,
            f"on a {WEEKDAYS[slot.weekday]}: never on {len(mine)} of them",
            f"{', '.join(WEEKDAYS[day] for day in sorted(active))}: on {there} of {len(others)} of them",
            self._when(slot),
        )

    def _made(
        self, rule: str, activity: Activity, chance: float, when: str, expected: str, observed: str
    ) -> LinkFinding | None:
        if chance > LIKELY:
            return None
        what = activity[1]
        level = Level.NOTICE if chance <= SURE and what not in HARMLESS else Level.INFO
        words = WORDS.get(what, f"a message that changes the plant ({what})")
        summary = f"{words} {when}, {_link(activity)}"
        made = self._finding(rule, level, activity, summary, expected, observed, ODD_SCORES)
        made.p_value = chance
        made.technique = "T0855" if level is Level.NOTICE else ""
        return made

    def _when(self, slot: Slot) -> str:
        return f"{slot.hour:02d} h on {WEEKDAYS[slot.weekday]} ({self._calendar.name})"

    # --- jobs ---------------------------------------------------------------------------------------

    def _all_jobs(self) -> list[Job]:
        """One job per conversation; a connection only where nothing else of the two hosts is one."""
        rank = {TRAFFIC: 0, CONNECTION: 2}
        chosen: dict[Any, Job] = {}
        for activity in sorted(self._rhythms, key=lambda each: (rank.get(each[1], 1), each)):
            link = activity[0]
            pair = (link[1], link[2]) if activity[1] == CONNECTION else link
            if pair in chosen or (pair == link and any(job.activity[0] == link for job in chosen.values())):
                continue
            job = self._job(activity, self._rhythms[activity])
            if job is not None:
                chosen[pair] = job
                chosen.setdefault((link[1], link[2]), job)
        return list({job.activity: job for job in chosen.values()}.values())

    def _job(self, activity: Activity, rhythm: Rhythm) -> Job | None:
        hours = [hour for hour in range(24) if rhythm.at(hour)]
        window = _window(hours)
        if window is None:
            return None
        weekdays = self._working(rhythm)
        days = [day for day in self._full if not weekdays or Slot(day, 0).weekday in weekdays]
        there = sum(day in rhythm.days for day in days)
        if len(days) < JOB_DAYS or there < JOB_SHARE * len(days):
            return None
        return Job(activity, *window, weekdays, there, len(days))

    def _working(self, rhythm: Rhythm) -> frozenset[int]:
        """Days of the week on which it comes, when all were observed twice and it leaves some out."""
        seen, there = np.zeros(7, np.int64), np.zeros(7, np.int64)
        for day in self._full:
            seen[Slot(day, 0).weekday] += 1
            there[Slot(day, 0).weekday] += day in rhythm.days
        if seen.min() < TWICE or there.min() > 0:
            return frozenset()
        return frozenset(np.flatnonzero(there > 0).tolist())

    def _missed(self, now: int, slot: Slot) -> list[Finding]:
        """Jobs whose hours ended an hour ago, in which the sensor watched and they did not come."""
        found: list[Finding] = []
        for job in self._jobs:
            if (job.begin + job.length + 1) % 24 != slot.hour:
                continue
            began = self._calendar.begin(now) - (job.length + 1) * HOUR * SECOND
            day = self._calendar.slot(began).weekday
            watched = 0 <= self._watch.since <= began
            due = not job.weekdays or day in job.weekdays
            if watched and due and self._last.get(job.activity, -1) < began - HOUR * SECOND:
                found.append(self._absent(job, now))
        return found

    def _absent(self, job: Job, now: int) -> Finding:
        what = WORDS.get(job.activity[1], job.activity[1]).replace("a connection was opened", "connection")
        between = f"{job.begin:02d} h to {(job.begin + job.length) % 24:02d} h ({self._calendar.name})"
        made = self._finding(
            "job-missed",
            Level.NOTICE,
            job.activity,
            f"{what} that comes every day between {between} did not come, {_link(job.activity)}",
            f"between {between}; so on {job.days} of {job.of} days",
            f"none until {(job.begin + job.length + 1) % 24:02d} h",
            MISSED_SCORES,
        )
        made.ts = now
        return made

    def _finding(
        self,
        rule: str,
        level: Level,
        activity: Activity,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
    ) -> LinkFinding:
        link, what = activity
        proto = self.lens.protocol(link[0])
        return LinkFinding(
            link=link,
            ts=0,
            detector=NAME,
            rule=rule,
            level=level,
            reading=likeliest(scores),
            proto=proto,
            conv=-1,
            src=-1,
            dst=-1,
            summary=summary,
            expected=expected,
            observed=observed,
            group=what,
            scores=scores,
            hold=HOLD,
            pair=True,
            item=link[4],
        )


def _shown(finding: LinkFinding, rows: Any) -> LinkFinding:
    """With the messages that show it."""
    first = rows[0]
    finding.ts, finding.conv = int(first["ts"]), int(first["conv"])
    finding.src, finding.dst = int(first["src"]), int(first["dst"])
    finding.kind, finding.point, finding.frames = int(first["kind"]), int(first["point"]), frames_of(rows)
    return finding


def _link(activity: Activity) -> str:
    protocol, client, server, _, sub, _ = activity[0]
    return f"{client} to {server} ({protocol}{' ' + sub if sub else ''})"


def _window(hours: list[int]) -> tuple[int, int] | None:
    """(first hour, number of hours) around the clock that hold all of them; None when that is too long."""
    for length in range(1, JOB_HOURS + 1):
        for begin in hours:
            if all((hour - begin) % 24 < length for hour in hours):
                return begin, length
    return None
