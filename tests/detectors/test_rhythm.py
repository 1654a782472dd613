"""Rhythm of day and week, on made-up weeks of traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from synthetic import IEC104, MODBUS, SECOND, TCP, FakeNames, message

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calendar import Calendar, Slot, zone_of
from detectors.compare import merge
from detectors.groups import Lens
from detectors.rhythm import RhythmDetector
from detectors.rhythm_learner import RhythmLearner, learned_rhythm
from grid_profiles.vocabulary import POINT, Role
from sensor.errors import UsageError
from sensor.pipeline import LearnOptions

HOUR, DAY = 3_600, 86_400
MONDAY = 1_700_438_400  # 20 November 2023, 0 h UTC
STEP = 240
"""Seconds between two slices: as long as a network may be quiet and still count as watched."""

Plan = Callable[[Slot], list[str]]


def rows(ts: int, what: list[str]) -> list[np.void]:
    """A message of each sort at a time in epoch seconds."""
    made = []
    for each in what:
        sort: dict[str, Any] = {
            "poll": {"proto": MODBUS, "conv": 0, "src": 1, "dst": 2, "kind": 3},
            "command": {"proto": IEC104, "conv": 1, "src": 1, "dst": 3, "kind": 45, "cause": 6},
            "job": {"proto": MODBUS, "conv": 2, "src": 4, "dst": 2, "kind": 3},
            "connection": {"proto": TCP, "conv": 3, "src": 5, "dst": 2, "kind": 1},
        }[each]
        row = message(0, role=Role.CLIENT, **sort)
        row["ts"], row["frame"] = ts * SECOND, 1
        made.append(row)
    return made


def slices(begin: int, end: int, plan: Plan, zone: str = "UTC") -> Iterator[Slice]:
    """A second of traffic every four minutes; polls always, the rest as the plan says of each hour."""
    calendar = Calendar(zone)
    told: Slot | None = None
    for ts in range(begin, end, STEP):
        slot = calendar.slot(ts * SECOND)
        what = ["poll", *(plan(slot) if slot != told else [])]
        told = slot
        made = np.array(rows(ts, what))
        yield Slice(ts * SECOND, (ts + 1) * SECOND, made, np.zeros(0, POINT), packets=len(made))


def names() -> FakeNames:
    made = FakeNames()
    made.conv("modbus", 1, 2, 502)
    made.conv("iec104", 1, 3, 2404)
    made.conv("modbus", 4, 2, 502)
    made.conv("tcp", 5, 2, 22)
    return made


def office(slot: Slot) -> list[str]:
    """Commands from 8 to 15 h on working days; a job every night; a connection on Monday mornings."""
    what = ["command"] if 8 <= slot.hour < 16 and slot.weekday < 5 else []
    return what + (["job"] if slot.hour == 2 else [])


def learned(days: int, plan: Plan = office, begin: int = MONDAY, zone: str = "UTC") -> Baseline:
    learner = RhythmLearner(Lens(names()), zone)
    for cut in slices(begin, begin + days * DAY, plan, zone):
        learner.learn(cut)
    baseline = Baseline()
    learner.finish(baseline)
    return baseline


@pytest.fixture(scope="module")
def weeks() -> Baseline:
    return learned(21)


def detected(baseline: Baseline, day: int, plan: Plan, hours: int = 24, zone: str = "UTC") -> list[Finding]:
    """What is said of some hours from the begin of a day, counted from a Monday."""
    detector = RhythmDetector(baseline, Lens(names()))
    begin = MONDAY + (28 + day) * DAY
    cuts = slices(begin, begin + hours * HOUR, plan, zone)
    return [one for cut in cuts for one in detector.detect(cut)]


def at(*hours: int) -> Plan:
    return lambda slot: office(slot) + (["command"] if slot.hour in hours else [])


def said(found: list[Finding]) -> list[tuple[str, Level, str]]:
    return [(one.rule, one.level, one.group) for one in found]


def test_days_like_those_learned_say_nothing(weeks: Baseline) -> None:
    assert detected(weeks, 0, office, 7 * 24) == []


def test_a_command_at_night(weeks: Baseline) -> None:
    found = detected(weeks, 1, at(22))
    (one,) = [one for one in found if one.group == "control"]
    assert (one.rule, one.level) == ("rhythm-hour", Level.NOTICE)
    assert (
        "at 22 h on Tuesday (UTC): never at this hour on 21 days, 10.0.0.1 to 10.0.0.3 (iec104)"
        in one.summary
    )
    assert one.expected == "hours of the day: 8, 9, 10, 11, 12, 13, 14, 15 (120 hours on 15 days)"
    assert one.p_value < 0.001
    assert (one.technique, one.frames) == ("T0855", [1])
    # the traffic of that conversation is as unusual, and harmless
    assert [two.level for two in found if two.group == "traffic"] == [Level.INFO]


def test_next_to_the_usual_hours_is_usual(weeks: Baseline) -> None:
    assert detected(weeks, 1, at(16)) == []
    assert ("rhythm-hour", Level.NOTICE, "control") in said(detected(weeks, 1, at(17)))


def test_what_goes_on_is_told_once(weeks: Baseline) -> None:
    found = detected(weeks, 1, at(19, 20, 21, 23))
    assert said(found).count(("rhythm-hour", Level.NOTICE, "control")) == 2


def test_a_command_on_a_sunday(weeks: Baseline) -> None:
    found = [one for one in detected(weeks, 6, at(10)) if one.group == "control"]
    assert said(found) == [("rhythm-weekday", Level.NOTICE, "control")]
    assert "on a Sunday: never on 3 of them" in found[0].summary


def test_a_job_that_did_not_come(weeks: Baseline) -> None:
    found = detected(weeks, 2, lambda slot: [one for one in office(slot) if one != "job"])
    assert said(found) == [("job-missed", Level.NOTICE, "traffic")]
    assert found[0].summary == (
        "traffic that comes every day between 02 h to 03 h (UTC) did not come, 10.0.0.4 to 10.0.0.2 (modbus)"
    )
    assert found[0].ts == (MONDAY + 30 * DAY + 4 * HOUR) * SECOND


def test_nobody_misses_what_he_could_not_see(weeks: Baseline) -> None:
    detector = RhythmDetector(weeks, Lens(names()))
    begin = MONDAY + 28 * DAY
    cuts = [
        *slices(begin, begin + HOUR, office),
        *slices(begin + 5 * HOUR // 2, begin + 6 * HOUR, lambda _: []),
    ]
    assert [one for cut in cuts for one in detector.detect(cut)] == []


def test_a_job_of_working_days_is_not_missed_on_sunday() -> None:
    backup: Plan = lambda slot: ["job"] if slot.hour == 2 and slot.weekday < 5 else []  # noqa: E731
    baseline = learned(21, backup)
    assert detected(baseline, 5, lambda _: [], 48) == []
    assert [one.rule for one in detected(baseline, 0, lambda _: [])] == ["job-missed"]


def test_a_connection_that_comes_daily_is_a_job() -> None:
    daily: Plan = lambda slot: ["connection"] if slot.hour == 5 else []  # noqa: E731
    baseline = learned(6, daily)
    assert said(detected(baseline, 0, lambda _: [])) == [("job-missed", Level.NOTICE, "connection")]
    odd = detected(baseline, 0, lambda slot: ["connection"] if slot.hour in (5, 15) else [])
    assert odd == []  # six hours of evidence are too few


@pytest.mark.parametrize("days", [0.1, 1])
def test_before_two_days_nothing_is_said(days: float) -> None:
    learner = RhythmLearner(Lens(names()))
    for cut in slices(MONDAY, MONDAY + int(days * DAY), office):
        learner.learn(cut)
    baseline = Baseline()
    learner.finish(baseline)
    assert detected(baseline, 1, at(22, 3)) == []


def test_how_much_is_still_needed(weeks: Baseline) -> None:
    one = learned_rhythm(learned(1))
    assert (one.hours, one.day_more, one.week_more) == (24, 24, 312)
    assert "no rhythm of the day yet: 24 whole hours seen, 24 more are needed" in one.sentence
    assert "rhythm of the day learned from 72 hours; 264 more" in learned_rhythm(learned(3)).sentence
    assert learned_rhythm(weeks).sentence == "rhythm of day and week learned from 504 hours (time zone UTC)"
    assert learned_rhythm(Baseline()).day_more == 48


def test_merging_days_adds_up() -> None:
    whole = learned(4)
    parts = merge(learned(2), learned(2, begin=MONDAY + 2 * DAY))
    assert parts.tables["rhythm"].equals(whole.tables["rhythm"])
    assert Baseline.from_bytes(parts.to_bytes()).tables["rhythm"].equals(whole.tables["rhythm"])


def test_hours_are_those_of_the_site() -> None:
    baseline = learned(14, zone="Asia/Shanghai")
    assert baseline.params["time_zone"] == "Asia/Shanghai"
    assert detected(baseline, 1, office, 24, "Asia/Shanghai") == []
    found = detected(baseline, 1, at(22), 24, "Asia/Shanghai")
    assert "at 22 h on Tuesday (Asia/Shanghai)" in found[0].summary


def test_zones() -> None:
    night = MONDAY * SECOND
    assert Calendar("+05:30").slot(night) == Slot(MONDAY // DAY, 5)
    assert Calendar("-3").slot(night) == Slot(MONDAY // DAY - 1, 21)
    assert Calendar("+05:30").begin(night) == (MONDAY - 1_800) * SECOND
    summer, winter = 1_688_169_600, 1_701_388_800  # 0 h UTC in July and in December 2023
    assert [Calendar("Europe/Zurich").slot(ts * SECOND).hour for ts in (summer, winter)] == [2, 1]
    assert Slot(MONDAY // DAY, 0).weekday == 0
    assert Calendar("UTC").slot(2**62).hour >= 0
    assert Calendar("no/such").name == "UTC"  # what a baseline says is not trusted
    for bad in ("no/such", "../etc/passwd", "+15:00", "+1:99"):
        with pytest.raises(ValueError, match="no time zone"):
            zone_of(bad)
        with pytest.raises(UsageError, match="--time-zone"):
            LearnOptions(time_zone=bad).check()


def test_an_older_archive_has_no_such_tables(weeks: Baseline, tmp_path: Any) -> None:
    import hashlib
    import json
    import zipfile

    source, target = tmp_path / "new.baseline", tmp_path / "old.baseline"
    weeks.save(source)
    with zipfile.ZipFile(source) as new, zipfile.ZipFile(target, "w") as old:
        kept = [name for name in new.namelist() if "rhythm" not in name and name != "manifest.json"]
        manifest = json.loads(new.read("manifest.json"))
        manifest["sha256"] = {name: hashlib.sha256(new.read(name)).hexdigest() for name in kept}
        old.writestr("manifest.json", json.dumps(manifest))
        for name in kept:
            old.writestr(name, new.read(name))
    assert len(Baseline.load(target).tables["rhythm"]) == 0


def test_a_cell_that_is_no_histogram_is_refused(weeks: Baseline) -> None:
    from detectors.baseline import BaselineError

    broken = Baseline(dict(weeks.tables), dict(weeks.params))
    broken.tables["rhythm"] = weeks.tables["rhythm"].assign(hours="1:2 three:4")
    with pytest.raises(BaselineError, match="hours: no counts by bin"):
        Baseline.from_bytes(broken.to_bytes())
