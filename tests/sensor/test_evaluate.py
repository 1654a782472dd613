"""Evaluation: the matching rule, case by case, and the figures' own arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_samples import alert
from scipy.stats import poisson

from detectors.base import Alert, Level
from sensor.evaluate import Evaluation, Rule, evaluate, normal_host, poisson_interval, pool, share_interval
from sensor.labels import ATTACK, DISTURBANCE, Event
from sensor.result import AssetRow, Result

ATTACKER, VICTIM, OTHER = "10.0.0.66", "10.0.0.1", "10.0.0.2"
HOUR = 3600.0


def seen(at: float, number: int = 1, **changes: object) -> Alert:
    """An alert of the attacker's at a time."""
    fields: dict[str, object] = {"start": at, "end": at, "src": ATTACKER, "dst": VICTIM}
    return alert(number, **(fields | changes))


def attack(start: float, end: float) -> Event:
    return Event(start, end, ATTACK, "T0855", ATTACKER, VICTIM)


def judge(alerts: list[Alert], events: list[Event], span: float = 24 * HOUR, **rule: object) -> Evaluation:
    result = Result(start=0, end=span, packets=1_000_000, alerts=alerts)
    return evaluate(result, events, Rule(**rule))  # type: ignore[arg-type]


def test_an_alert_in_the_event_is_a_hit_with_its_delay() -> None:
    found = judge([seen(103.0)], [attack(100, 110)])
    assert (found.events, found.detected, found.fresh, found.recall) == (1, 1, 1, 1.0)
    assert found.median_delay_s == pytest.approx(3.0)
    assert (found.false_incidents, found.false_alarms_per_day) == (0, 0.0)
    outcome = found.per_event[0]
    assert (outcome.detected, outcome.alerts, outcome.level, outcome.reading) == (
        True,
        ["a00001"],
        "warning",
        "attack",
    )


@pytest.mark.parametrize(
    ("at", "hit"), [(99.0, False), (100, True), (110, True), (115, True), (115.01, False)]
)
def test_time_with_five_seconds_of_grace_after_the_event_only(at: float, hit: bool) -> None:
    found = judge([seen(at)], [attack(100, 110)])
    assert found.detected == hit
    assert found.false_incidents == (not hit)


def test_an_event_of_no_length_shows_at_the_next_frame() -> None:
    assert judge([seen(102.0)], [attack(100, 100)]).median_delay_s == pytest.approx(2.0)


def test_grace_is_an_option() -> None:
    assert judge([seen(140.0)], [attack(100, 110)], grace=30.0).detected == 1
    assert judge([seen(111.0)], [attack(100, 110)], grace=0.0).detected == 0


@pytest.mark.parametrize(
    ("src", "dst", "hit"),
    [
        (ATTACKER, "", True),
        ("", VICTIM, True),
        (VICTIM, OTHER, True),
        (OTHER, ATTACKER, True),
        (OTHER, "", False),
        ("", "", False),
    ],
)
def test_a_hit_names_a_host_of_the_label_on_either_side(src: str, dst: str, hit: bool) -> None:
    found = judge([seen(105, src=src, dst=dst)], [attack(100, 110)])
    assert (found.detected, found.false_incidents) == (hit, not hit)


def test_a_label_without_hosts_asks_for_time_only() -> None:
    assert judge([seen(105, src="", dst="")], [Event(100, 110, ATTACK)]).detected == 1


def test_hosts_are_compared_in_one_spelling_and_by_alias() -> None:
    event = Event(100, 110, ATTACK, src="FE80::0:1", dst="AA-BB-CC-00-11-22")
    assert judge([seen(105, src="fe80::1%eth0", dst="")], [event]).detected == 1
    assert judge([seen(105, src="", dst="aa:bb:cc:00:11:22")], [event]).detected == 1
    result = Result(end=HOUR, alerts=[seen(105, src="aa:bb:cc:00:11:22", dst="")])
    result.assets = [
        AssetRow(
            mac="aa:bb:cc:00:11:22", ip=[ATTACKER], vendor="", roles=[], protocols=[], first=0.0, last=1.0
        )
    ]
    assert evaluate(result, [attack(100, 110)]).detected == 1
    result.assets[0]["ip"].append(OTHER)  # a router stands for nobody
    assert evaluate(result, [attack(100, 110)]).detected == 0
    assert normal_host(" 10.0.0.1/24 ") == "10.0.0.1"


def test_levels_below_the_least_do_not_count_and_all_levels_are_tabled() -> None:
    alerts = [seen(105, 1, level="notice"), seen(500, 2, level="info"), seen(600, 3, level="alarm")]
    found = judge(alerts, [attack(100, 110)])
    assert (found.detected, found.false_incidents, found.alerts) == (1, 1, 2)
    assert [(row.level, row.detected, row.false_incidents) for row in found.levels] == [
        ("notice", 1, 1),
        ("warning", 0, 1),
        ("alarm", 0, 1),
    ]
    strict = judge(alerts, [attack(100, 110)], min_level=Level.WARNING)
    assert (strict.detected, strict.min_level) == (0, "warning")


def test_an_alert_that_rang_before_counts_as_detected_but_not_as_fresh() -> None:
    found = judge([seen(50, end=300)], [attack(100, 110), attack(200, 210)])
    assert (found.detected, found.fresh, found.median_delay_s) == (2, 0, None)
    assert found.alerted_share == pytest.approx(250 / (24 * HOUR))


def test_missed_events_stay_missed_and_out_of_the_median() -> None:
    found = judge([seen(101, 1), seen(305, 2)], [attack(100, 101), attack(200, 201), attack(300, 301)])
    assert (found.detected, found.recall) == (2, pytest.approx(2 / 3))
    assert (found.median_delay_s, found.worst_delay_s) == (pytest.approx(3.0), pytest.approx(5.0))
    assert found.per_event[1].delay_s is None


def test_an_incident_is_false_only_when_all_its_alerts_are() -> None:
    alerts = [
        seen(105, 1, incident="x"),
        seen(900, 2, incident="x"),
        seen(2000, 3, incident="y"),
        seen(2001, 4, incident="y"),
        seen(3000, 5),
        seen(3001, 6),
    ]
    found = judge(alerts, [attack(100, 110)])
    assert (found.incidents, found.false_incidents) == (4, 3)
    assert found.false_alarms_per_day == pytest.approx(3.0)
    assert found.false_per_million_packets == pytest.approx(3.0)


def test_a_disturbance_may_be_reported_but_not_called_an_attack() -> None:
    trip = Event(100, 110, DISTURBANCE, src=VICTIM)
    fault = judge([seen(105, reading="fault")], [trip])
    assert (fault.disturbances, fault.disturbances_alerted, fault.disturbances_called_attack) == (1, 1, 0)
    assert (fault.false_incidents, fault.events, fault.recall) == (0, 0, None)
    called = judge([seen(105, reading="attack")], [trip])
    assert (called.disturbances_called_attack, called.false_incidents) == (1, 1)


def test_readings_of_detected_attacks_are_counted() -> None:
    found = judge([seen(105, reading="fault", level="alarm"), seen(106, 2)], [attack(100, 110)])
    assert found.readings == {"fault": 1, "operation": 0, "attack": 0, "visibility": 0}


def test_labels_of_another_capture_are_noticed() -> None:
    assert "outside the capture's time span" in judge([], [attack(9e8, 9e8 + 1)]).notes[0]
    assert "recall is undefined" in judge([], []).notes[0]


def test_without_time_there_is_no_rate() -> None:
    found = judge([], [], span=0.0)
    assert (found.false_alarms_per_day, found.false_alarms_interval, found.alerted_share) == (
        None,
        None,
        None,
    )


def test_zero_in_an_hour_and_a_half_says_only_below_forty_eight_a_day() -> None:
    interval = judge([], [], span=1.5 * HOUR).false_alarms_interval
    assert interval == (0.0, pytest.approx(47.9, abs=0.1))


@given(st.integers(1, 5_000))
def test_poisson_interval_is_garwoods(count: int) -> None:
    interval = poisson_interval(count, 1.0)
    assert interval is not None
    low, high = interval
    assert low < count < high
    assert 1 - poisson.cdf(count - 1, low) == pytest.approx(0.025, rel=1e-6)
    assert poisson.cdf(count, high) == pytest.approx(0.025, rel=1e-6)


@given(st.integers(0, 500), st.integers(0, 500))
def test_share_interval_holds_the_share(hits: int, misses: int) -> None:
    interval = share_interval(hits, hits + misses)
    if hits + misses == 0:
        assert interval is None
        return
    assert interval is not None
    assert 0 <= interval[0] <= hits / (hits + misses) <= interval[1] <= 1


def test_pool_adds_counts_and_takes_rates_anew() -> None:
    one = judge([seen(101, 1), seen(900, 2)], [attack(100, 110)], span=12 * HOUR)
    two = judge([], [attack(100, 110)], span=12 * HOUR)
    both = pool([one, two])
    assert (both.events, both.detected, both.recall, both.false_incidents) == (2, 1, 0.5, 1)
    assert (both.hours, both.false_alarms_per_day, both.median_delay_s) == (24.0, 1.0, pytest.approx(1.0))
    assert pool([]).recall is None


TIMES = st.floats(0, 1000, allow_nan=False)


@given(
    st.lists(st.tuples(TIMES, TIMES, st.sampled_from([ATTACKER, OTHER, ""])), max_size=12),
    st.lists(st.tuples(TIMES, TIMES, st.sampled_from([ATTACK, DISTURBANCE])), max_size=8),
)
def test_counts_agree_with_a_plain_double_loop(
    rung: list[tuple[float, float, str]], happened: list[tuple[float, float, str]]
) -> None:
    alerts = [
        seen(min(a, b), i, end=max(a, b), src=src, dst="", id=str(i)) for i, (a, b, src) in enumerate(rung)
    ]
    events = [Event(min(a, b), max(a, b), label, src=ATTACKER) for a, b, label in happened]
    found = judge(alerts, events)
    hit: set[str] = set()
    detected = 0
    for event in events:
        touching = {
            a.id
            for a in alerts
            if a.src == ATTACKER and a.start <= event.end + 5.0 and a.end >= event.start - 0.001
        }
        if event.label == ATTACK:
            hit |= touching
            detected += bool(touching)
    assert found.detected == detected
    assert found.false_incidents == len(alerts) - len(hit)
    assert 0 <= found.fresh <= found.detected <= found.events
    json.dumps(found.record(), allow_nan=False)


def test_the_record_is_json_and_has_the_promised_keys() -> None:
    record = judge([seen(103.0)], [attack(100, 110)]).record()
    keys = {
        "events",
        "detected",
        "recall",
        "false_incidents",
        "false_alarms_per_day",
        "median_delay_s",
        "per_event",
    }
    assert keys <= set(record)
    assert np.isfinite(json.loads(json.dumps(record))["hours"])
