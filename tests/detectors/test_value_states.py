"""States that contradict, and commands without their feedback."""

from __future__ import annotations

from functools import cache

import pytest
from process_bench import POSITION, Feed, Plant, Say, edit, order, refusal

from detectors.base import Finding, Level, Reading
from detectors.baseline import Baseline
from grid_profiles.vocabulary import Flag

BEGIN = 4_000
COMMANDED, MIRROR, EARTHED, COUNTER = 1, 2, 3, 4


def position(second: int) -> int:
    """Closed (2), opened (1) for 100 s in every 400."""
    return 1 if second % 400 >= 300 else 2


def normal(second: int) -> list[Say]:
    """A breaker that is commanded, its position at two outstations, an earthing switch that follows none."""
    said = []
    if second % 400 in (0, 300):
        said.append(order(0, 101, position(second)))
    now = position(second - 2)
    said += [Say(0, COMMANDED, now, POSITION), Say(1, MIRROR, position(second - 3), POSITION)]
    said.append(Say(1, EARTHED, 1 + (second // 270) % 2, POSITION))
    said.append(Say(1, COUNTER, min(15, second // 300), POSITION))
    return said


@cache
def learned(seconds: int = 3_600) -> Baseline:
    return Plant().learn(normal, seconds)


def found(feed: Feed, baseline: Baseline | None = None, seconds: int = 700, lost: int = 0) -> list[Finding]:
    return Plant().detect(baseline or learned(), feed, BEGIN, seconds, lost)


def swapped(point: int) -> Feed:
    """A position is shown inverted from 200 s on."""

    def feed(second: int) -> list[Say]:
        said = normal(second)
        return edit(said, lambda value: 3 - value, point) if second >= BEGIN + 200 else said

    return feed


def stuck(second: int) -> list[Say]:
    """The breaker does not follow its commands any more."""
    return edit(normal(second), lambda _: 2, COMMANDED, MIRROR)


def test_normal_goes_on_unnoticed() -> None:
    assert found(normal, seconds=3_000) == []


def test_two_places_that_contradict_are_told() -> None:
    given = [one for one in found(swapped(MIRROR)) if one.rule == "states-contradict"]
    assert given
    assert {one.level for one in given} == {Level.NOTICE}
    assert {one.point for one in given} <= {COMMANDED, MIRROR}
    assert "always" not in given[0].summary
    assert "never alone" in given[0].summary


def test_an_intermediate_state_is_no_contradiction() -> None:
    def moving(second: int) -> list[Say]:
        return edit(normal(second), lambda _: 0, COMMANDED) if second % 400 in (302, 2) else normal(second)

    assert found(moving, seconds=1_000) == []


def test_states_that_are_independent_may_meet_as_they_like() -> None:
    def earthed(second: int) -> list[Say]:
        return edit(normal(second), lambda _: 1 + second // 90 % 2, EARTHED)

    assert found(earthed, seconds=2_000) == []


def test_feedback_that_does_not_come_is_told() -> None:
    given = [one for one in found(stuck) if one.rule.startswith("feedback")]
    assert [(one.rule, one.level, one.reading) for one in given] == [
        ("feedback-missing", Level.NOTICE, Reading.FAULT)
    ]


def test_while_frames_were_lost_it_is_a_note_about_visibility() -> None:
    given = [one for one in found(stuck, lost=1) if one.rule == "feedback-missing"]
    assert [(one.level, one.reading) for one in given] == [(Level.INFO, Reading.VISIBILITY)]


def test_the_contrary_feedback_is_told() -> None:
    def contrary(second: int) -> list[Say]:
        return edit(normal(second), lambda value: 3 - value, 101)

    given = [one.rule for one in found(contrary) if one.rule.startswith("feedback")]
    assert given == 3 * ["feedback-wrong"], "one for each of three commands"


@pytest.mark.parametrize("flag", [Flag.SELECT, Flag.TEST])
def test_what_is_no_command_needs_no_feedback(flag: Flag) -> None:
    def selected(second: int) -> list[Say]:
        return [one._replace(flags=int(flag)) if one.point == 101 else one for one in stuck(second)]

    assert not [one for one in found(selected) if one.rule.startswith("feedback")]


def test_a_refused_command_needs_none() -> None:
    def refused(second: int) -> list[Say]:
        said = stuck(second)
        return [*said, refusal(0, 101, 1)] if second % 400 in (1, 301) else said

    assert not [one for one in found(refused) if one.rule.startswith("feedback")]


def test_a_short_training_is_silent() -> None:
    assert found(swapped(MIRROR), learned(1_000)) == []


def test_a_mirror_that_is_polled_and_tells_late_is_no_contradiction() -> None:
    def late(second: int) -> list[Say]:
        return edit(normal(second), lambda _: position(second - 20), MIRROR)

    assert found(late, seconds=1_000) == []
