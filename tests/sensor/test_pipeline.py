"""Learn and detect on synthetic IEC-104 traffic: what must be said, what must not, whatever the batches."""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "detectors"))

from synthetic import IEC104, SECOND, START, TCP, FakeNames, i_frame, message, messages, s_frame

from detectors.base import Alert, Slice
from detectors.baseline import Baseline
from detectors.behaviour import MODELS, Behaviour
from detectors.groups import Lens
from grid_profiles.vocabulary import MESSAGE, POINT, Role
from sensor.messages import MessageBatch
from sensor.pipeline import MAX_BURST, Detection, LearnOptions, budget_of, bursts, detect, learn


def traffic(names: FakeNames, seconds: int, start: float = 0.0, stream: int = 0) -> list[Any]:
    """A cyclic report every 2 s, its acknowledgement, a set-point every 30 s."""
    conv = names.conv("iec104", 1, 2)
    rng = np.random.default_rng(int(start) + 1)
    rows, ns, nr = [], 0, 0
    for n in range(seconds // 2):
        ts = start + 2 * n + rng.uniform(0, 0.02)
        rows.append(i_frame(conv, ts, Role.SERVER, ns, nr, value=20 + rng.normal(), stream=stream))
        ns += 1
        rows.append(s_frame(conv, ts + 0.1, ns, stream=stream))
        if n % 15 == 7:
            rows.append(
                i_frame(conv, ts + 0.5, Role.CLIENT, nr, ns, kind=50, point=9, value=5.0, stream=stream)
            )
            nr += 1
            rows.append(
                i_frame(conv, ts + 0.6, Role.SERVER, ns, nr, kind=50, cause=7, point=9, stream=stream)
            )
            ns += 1
    return rows


def batch(rows: list[Any]) -> MessageBatch:
    """Messages with their values as points; each message is one frame."""
    made = messages(rows)
    valued = np.flatnonzero(np.isfinite(made["value"]))
    points = np.zeros(len(valued), POINT)
    for name in ("ts", "frame", "proto", "conv", "kind", "point", "value"):
        points[name] = made[name][valued]
    points["message"] = valued
    return MessageBatch(made, points, made["ts"].astype(np.int64))


def chopped(rows: list[Any], size: int) -> list[MessageBatch]:
    return [batch(rows[i : i + size]) for i in range(0, len(rows), size)]


@pytest.fixture(scope="module")
def learned() -> Baseline:
    names = FakeNames()
    made = learn([batch(traffic(names, 1800))], names)
    return Baseline.from_bytes(made.to_bytes())


def test_silence_is_noticed_on_an_idle_network_when_the_clock_moves_on(learned: Baseline) -> None:
    names = FakeNames()
    rows = traffic(names, 200)
    end = START + 200 * SECOND
    idle = [MessageBatch.empty(end + n * SECOND // 4) for n in range(4 * 90)]
    detection = Detection(names, learned)
    told = list(detection.run([batch(rows), *idle]))
    silent = [alert for alert in told if alert.rule == "silence"]
    assert silent
    assert "capture-pause" not in rules(detection.alerts)
    assert START / SECOND + 200 < silent[0].start < START / SECOND + 290
    # a capture that ends, or stands still without saying that time passed, is no silence
    for still in ([], [MessageBatch.empty()] * 9):
        assert "silence" not in rules(detect([batch(rows), *still], names, learned).alerts)


def alerts(rows: list[Any], names: FakeNames, baseline: Baseline, size: int = 10**6) -> list[Alert]:
    return detect(chopped(rows, size), names, baseline).alerts


def rules(found: list[Alert]) -> set[str]:
    return {alert.rule for alert in found}


def test_normal_traffic_is_quiet_but_for_approval(learned: Baseline) -> None:
    names = FakeNames()
    found = alerts(traffic(names, 600, 90_000), names, learned)
    assert [(alert.rule, alert.level) for alert in found] == [("not-approved", "info")]


def test_approved_commands_are_quiet(learned: Baseline) -> None:
    approved = Baseline.from_bytes(learned.to_bytes())
    approved.approve(None, "me", "test", "now")
    names = FakeNames()
    assert alerts(traffic(names, 600, 90_000), names, approved) == []


@pytest.mark.parametrize("size", [1, 7, 100])
def test_batches_change_nothing(learned: Baseline, size: int) -> None:
    whole, parts = FakeNames(), FakeNames()
    rows = attack(traffic(whole, 300, 90_000), whole)
    other = attack(traffic(parts, 300, 90_000), parts)
    one = detect([batch(rows)], whole, learned)
    two = detect(chopped(other, size), parts, learned)
    assert [asdict(alert) for alert in one.alerts] == [asdict(alert) for alert in two.alerts]
    assert [asdict(incident) for incident in one.incidents] == [asdict(i) for i in two.incidents]


def test_slices_judged_together_and_one_by_one_say_the_same(
    learned: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, alone = FakeNames(), FakeNames()
    one = detect([batch(attack(traffic(together, 300, 90_000), together))], together, learned)
    monkeypatch.setattr("sensor.pipeline.MAX_BURST", 0)
    two = detect([batch(attack(traffic(alone, 300, 90_000), alone))], alone, learned)
    assert one.alerts
    assert [asdict(alert) for alert in one.alerts] == [asdict(alert) for alert in two.alerts]
    assert one.margins == two.margins


def test_slices_of_one_window_are_judged_together_unless_there_are_many_rows() -> None:
    def piece(second: int, rows: int) -> Slice:
        return Slice(second * SECOND, (second + 2) * SECOND, np.zeros(rows, MESSAGE), np.zeros(0, POINT))

    sparse = [piece(second, 3) for second in range(0, 24, 2)]
    assert [len(burst) for burst in bursts(sparse)] == [5, 5, 2]
    dense = [piece(0, 3), piece(2, MAX_BURST + 1), piece(4, MAX_BURST), piece(6, 1), piece(8, 0)]
    assert [[len(one.messages) for one in burst] for burst in bursts(dense)] == [
        [3], [MAX_BURST + 1], [MAX_BURST], [1, 0]
    ]  # fmt: skip


def attack(rows: list[Any], names: FakeNames) -> list[Any]:
    """A stranger sends a command in the middle, then the report's value runs away."""
    conv = names.conv("iec104", 66, 2)
    ts = float(rows[len(rows) // 2]["ts"] - rows[0]["ts"]) / 1e9 + 90_000
    more = {"proto": IEC104, "role": Role.CLIENT, "src": 66, "dst": 2, "conv": conv, "stream": 9}
    evil = message(ts, **(more | {"kind": 45, "cause": 6, "point": 3, "size": 16, "seq": 0, "state": 0}))
    made = [*rows, evil]
    for row in rows[-6:]:
        if row["kind"] == 13:
            row["value"] = 5000.0
    return sorted(made, key=lambda row: int(row["ts"]))


def test_stranger_with_a_command_is_an_alarm_and_values_are_seen(learned: Baseline) -> None:
    names = FakeNames()
    detection = detect([batch(attack(traffic(names, 300, 90_000), names))], names, learned)
    found = {alert.rule: alert for alert in detection.alerts}
    command = found["new-command-source"]
    assert (command.level, command.src, command.dst, command.reading) == (
        "alarm",
        "10.0.0.66",
        "10.0.0.2",
        "attack",
    )
    assert "out-of-range" in found
    assert any(command.id in incident.alerts for incident in detection.incidents)


def test_silence_is_told_by_other_traffic(learned: Baseline) -> None:
    names = FakeNames()
    rows = traffic(names, 100, 90_000)
    arp = names.conv("arp", 3, 4, 0)
    rows += [
        message(90_100 + n, proto=5, role=Role.PEER, src=3, dst=4, conv=arp, kind=1, size=28)
        for n in range(120)
    ]
    found = [alert for alert in alerts(rows, names, learned) if alert.rule == "silence"]
    assert found
    assert {alert.src for alert in found} == {"10.0.0.1"}
    assert found[0].reading == "fault"


def test_a_pause_of_the_whole_capture_is_a_matter_of_visibility(learned: Baseline) -> None:
    names = FakeNames()
    rows = traffic(names, 100, 90_000) + traffic(names, 100, 900_000, stream=1)
    found = alerts(rows, names, learned)
    assert rules(found) == {"not-approved", "capture-pause"}
    assert {alert.reading for alert in found} == {"operation", "visibility"}


def test_early_message_of_a_cycle(learned: Baseline) -> None:
    names = FakeNames()
    rows = traffic(names, 100, 90_000)
    ts = 90_050.06
    rows.append(i_frame(0, ts, Role.SERVER, 3, 0, value=20.0, stream=0))
    found = alerts(sorted(rows, key=lambda row: int(row["ts"])), names, learned)
    assert {"early", "iec104-sequence-repeat"} <= rules(found)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_fits_and_scores_a_row_by_itself(learned: Baseline, model: str) -> None:
    chosen = Baseline.from_bytes(learned.to_bytes())
    chosen.params["model"] = model
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing for an operator's terminal
        behaviour = Behaviour(chosen, Lens(FakeNames()), budget_of(chosen))
    fitted = behaviour.models["iec104"]
    rows = np.random.default_rng(1).normal(size=(8, len(next(iter(behaviour.normals.values())).median)))
    together, _ = fitted.p_value(rows)
    alone = np.concatenate([fitted.p_value(rows[i : i + 1])[0] for i in range(len(rows))])
    assert np.allclose(together, alone)
    again = Behaviour(chosen, Lens(FakeNames()), budget_of(chosen)).models["iec104"]
    assert np.array_equal(again.p_value(rows)[0], together)


def test_short_learning_says_so() -> None:
    names = FakeNames()
    made = learn([batch(traffic(names, 60))], names, LearnOptions(false_alarms_per_day=5))
    assert any("limits are wide" in note for note in made.params["notes"])
    assert any("for approval" in note for note in made.remarks())
    made.approve(None, "me", "test", "now")
    assert not any("for approval" in note for note in made.remarks())


def test_learning_is_deterministic() -> None:
    one, two = FakeNames(), FakeNames()
    first = learn(chopped(traffic(one, 200), 3), one)
    second = learn([batch(traffic(two, 200))], two)
    assert first.to_bytes() == second.to_bytes()


def learned_in_test(learned: Baseline) -> Baseline:
    """The baseline with a window of state test from second 90,050 to 90,150, and a list for it."""
    from detectors.states import Window, keep_list, set_state

    names = FakeNames()
    baseline = Baseline.from_bytes(learned.to_bytes())
    keep_list(baseline, "test", learn([batch(with_counter(traffic(names, 600), names, 0))], names))
    begin = START / SECOND + 90_050
    set_state(baseline, Window("test", begin, begin + 100, "me", "relay test", ("10.0.0.77",)), "now")
    return baseline


def with_counter(rows: list[Any], names: FakeNames, start: float) -> list[Any]:
    """A counter interrogation every 20 s, which normal operation does not know."""
    conv = names.conv("iec104", 1, 2)
    extra = [
        message(
            start + 20 * n + 0.7, proto=IEC104, role=Role.CLIENT, conv=conv, src=1, dst=2, kind=101, cause=6
        )
        for n in range(9)
    ]
    return sorted([*rows, *extra], key=lambda row: int(row["ts"]))


def test_what_a_state_learned_counts_only_while_it_is_on(learned: Baseline) -> None:
    names = FakeNames()
    rows = with_counter(traffic(names, 200, 90_000), names, 90_000)
    found = [a for a in alerts(rows, names, learned_in_test(learned)) if a.rule == "new-kind"]
    told = sorted(round(alert.start - START / SECOND - 90_000.7) for alert in found)
    # one alert goes on for a minute: before the window from 0 on, and after it from 160 on
    assert told == [0, 160]
    assert all(
        alert.end < START / SECOND + 90_050 or alert.start > START / SECOND + 90_150 for alert in found
    )


def reconnect(names: FakeNames, attacked: bool) -> list[Any]:
    """200 s of traffic, an orderly end and a new connection 10 s later; a stranger commands meanwhile."""
    conv, link = names.conv("iec104", 1, 2), names.conv("tcp", 1, 2)
    rows = traffic(names, 200, 90_000)
    rows += [
        message(at, proto=TCP, role=Role.CLIENT, conv=link, src=1, dst=2, stream=stream, kind=kind)
        for at, kind, stream in ((90_200.0, 3, 0), (90_210.0, 1, 1))
    ]
    rows += [
        message(at, proto=IEC104, role=role, conv=conv, src=src, dst=3 - src, stream=1, kind=kind)
        for at, kind, role, src in ((90_210.1, 513, Role.CLIENT, 1), (90_210.2, 514, Role.SERVER, 2))
    ]
    rows += traffic(names, 100, 90_212, stream=1)
    if attacked:
        rogue = names.conv("iec104", 9, 2)
        rows.append(i_frame(rogue, 90_215.5, Role.CLIENT, 0, 0, src=9, kind=50, cause=6, point=9, stream=2))
    return sorted(rows, key=lambda row: int(row["ts"]))


@pytest.mark.parametrize("attacked", [False, True])
def test_a_reconnect_is_an_event_and_hides_no_attack(learned: Baseline, attacked: bool) -> None:
    names = FakeNames()
    found = detect([batch(reconnect(names, attacked))], names, learned)
    (event,) = [one for one in found.events if one.what == "reconnect"]
    assert "was opened again after 11.9 s" in event.summary
    assert ("nothing is explained by it from then on" in event.summary) is attacked
    loud = [alert for alert in found.alerts if alert.level == "alarm"]
    assert [alert.rule for alert in loud] == (["new-command-source"] if attacked else [])
    if not attacked:
        assert {incident.reading for incident in found.incidents} <= {"fault"}  # told before the reconnect


@pytest.mark.parametrize("size", [1, 13])
def test_batches_change_no_event_and_no_margin(learned: Baseline, size: int) -> None:
    whole, parts = FakeNames(), FakeNames()
    one = detect([batch(reconnect(whole, True))], whole, learned)
    two = detect(chopped(reconnect(parts, True), size), parts, learned)
    assert [asdict(event) for event in one.events] == [asdict(event) for event in two.events]
    assert one.margins == two.margins
    names = {name for name, _, _ in one.margins.by_key()}
    assert names == {"margin.iec104_k", "margin.iec104_t1", "margin.response_left"}
