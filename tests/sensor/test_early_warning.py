"""Levels rise at once and fall slowly; what is silent is said; tables are bounded."""

from __future__ import annotations

import pytest

from detectors.base import Alert, Level, Reading
from sensor.config.schema import WarningConfig
from sensor.daemon.own_alerts import own_alert
from sensor.store.live import Pending
from sensor.warning.early import EarlyWarning, WindowFacts
from sensor.warning.levels import Level as Held
from sensor.warning.levels import Levels

WINDOW = 10_000_000_000
KEY = ("modbus", "10.0.0.1", "10.0.0.2", 502, "unit 1", 0)
NAN = float("nan")


def alert(level: str = "alarm", ident: str = "a", src: str = "10.0.0.1", reading: str = "attack") -> Alert:
    made = own_alert("rule-x", Level.ALARM, "", "words", 1.0)
    made.id, made.level, made.reading = ident, level, reading
    made.protocol, made.src, made.dst = "modbus", src, "10.0.0.2"
    return made


def facts(number: int, spoke: bool = True, p_value: float = NAN) -> WindowFacts:
    made = WindowFacts(number * WINDOW)
    if spoke:
        made.spoke[KEY] = (5, 0.25)
        made.p_values[KEY] = p_value
    return made


def level_of(out: Pending, scope: str) -> int:
    return next(row.level for row in out.levels.values() if row.scope == scope)


def test_a_level_rises_at_once_and_falls_step_by_step() -> None:
    held = Held()
    assert held.step(10, NAN, 3, "rule", 2)
    assert (held.level, held.cause, held.since) == (3, "rule", 10)
    levels = []
    for number in range(2, 9):
        held.step(10.0 * number, NAN, 0, "", 2)
        levels.append(held.level)
    assert levels == [3, 2, 2, 1, 1, 0, 0]
    assert held.cause == ""


def test_a_score_that_lasts_is_a_level_and_hysteresis_holds_it() -> None:
    held = Held()
    held.step(1, 1.0, 0, "", 1)
    assert held.level == 1  # half of it, smoothed
    held.step(2, 1.0, 0, "", 1)
    assert (held.level, held.cause) == (2, "score")
    assert held.trend > 0
    held.fast = 0.6  # below what raises a warning, above what lets it fall
    assert not held.step(3, 0.6, 0, "", 1)
    assert held.level == 2
    for number in range(4, 40):
        held.step(number, 0.0, 0, "", 1)
    assert held.level == 0
    assert held.trend < 0


def test_an_alert_lifts_conversation_assets_and_site_until_it_is_over() -> None:
    early = EarlyWarning("here", WarningConfig(calm_windows=1))
    early.window(facts(0))
    early.alert(alert(), is_open=True)
    out = early.window(facts(1))
    assert {scope: level_of(out, scope) for scope in ("site", "asset", "conversation")} == {
        "site": 3, "asset": 3, "conversation": 3,
    }  # fmt: skip
    assert ("conversation", "modbus", "10.0.0.1 → 10.0.0.2 unit 1") in out.levels
    early.alert(alert(), is_open=False)
    assert level_of(early.window(facts(2)), "site") == 3  # it still counts in the window in which it closed
    assert [level_of(early.window(facts(n)), "site") for n in range(3, 7)] == [2, 1, 0, 0]


def test_a_blind_sensor_is_no_trouble_of_the_plant() -> None:
    early = EarlyWarning("here", WarningConfig())
    early.alert(alert(reading=Reading.VISIBILITY.value), is_open=True)
    assert level_of(early.window(facts(0)), "site") == 0


def test_scores_and_signs_of_life_are_series() -> None:
    early = EarlyWarning("here", WarningConfig())
    out = early.window(facts(0, p_value=1e-12))
    samples = {key[:3]: value for key, _, value in out.samples}
    assert samples["score", "modbus", "10.0.0.1 → 10.0.0.2 unit 1"] == pytest.approx(0.5)
    assert samples["asset.score", "", "10.0.0.1"] == pytest.approx(0.5)
    assert samples["score", "", ""] == pytest.approx(0.5)
    assert samples["margin.response", "modbus", "10.0.0.1 → 10.0.0.2 unit 1"] == 0.25
    assert {ts for _, ts, _ in out.samples} == {10.0}


def test_who_falls_silent_is_told_once_and_who_comes_back_too() -> None:
    early = EarlyWarning("here", WarningConfig(silent_after_s=25))
    early.window(facts(0))
    told = [early.window(facts(number, spoke=False)) for number in range(1, 6)]
    assert [[row.silent for row in out.links.values()] for out in told] == [[], [], [True], [], []]
    assert sorted(told[2].assets) == ["10.0.0.1", "10.0.0.2"]
    back = early.window(facts(6))
    (link,) = back.links.values()
    assert (link.silent, link.last, link.first, link.messages) == (False, 70.0, 10.0, 10)


def test_tables_are_bounded_and_refusals_counted() -> None:
    early = EarlyWarning("here", WarningConfig(max_conversations=3, max_assets=3))
    flood = WindowFacts(0)
    for number in range(100):
        key = ("modbus", f"10.1.0.{number}", f"10.2.0.{number}", 502, "", 0)
        flood.spoke[key], flood.p_values[key] = (1, -1.0), 0.5
    out = early.window(flood)
    assert len(out.links) == 3
    assert len(out.assets) == 3
    assert len(out.levels) <= 3 + 3 + 1
    assert early.figures()["warning_refused"] > 90


def test_what_is_raised_keeps_its_place_in_a_full_table() -> None:
    levels = Levels(2)
    loud = levels.get(("", "a"))
    assert loud is not None
    loud.step(1, NAN, 3, "rule", 6)
    assert levels.get(("", "b")) is not None
    assert levels.get(("", "c")) is None  # the oldest is raised: nobody is pushed out
    assert levels.refused == 1
    assert levels.get(("", "a")) is loud
    assert levels.get(("", "c")) is not None  # now the oldest is normal
