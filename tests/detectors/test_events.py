"""Disturbances of a known kind: what is recognised, what it explains, and what stays as loud as it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import synthetic
from synthetic import GOOSE, IEC104, SECOND, START, TCP, FakeNames, i_frame, message, piece

from detectors.base import Event, Finding, Level, Reading
from detectors.baseline import Baseline
from detectors.disturbances import Disturbances
from detectors.events import EXPLAINS, PER_HOUR
from detectors.groups import Lens
from detectors.tables import TABLES, conv_fields
from grid_profiles.vocabulary import Role

CLIENT, SERVER, OTHER, STRANGER = 1, 2, 3, 9
SYN, FIN, RST = 1, 3, 4
STARTDT_CON, STOPDT_ACT, TEST_ACT, TEST_CON = 514, 516, 528, 544


class Station:
    """A known station, its events, and findings about it."""

    def __init__(self, *known: tuple[str, int, int, int, str]) -> None:
        self.names = FakeNames()
        baseline = Baseline()
        keys = [self.names.conversation(self.names.conv(*one)).key for one in known]
        rows = [conv_fields(key) | {"count": 100, "origin": "learned"} for key in keys]
        table = TABLES["conversations"]
        blank = {name: "" if kind == "str" else 0 for name, (kind, _) in table.columns.items()}
        baseline.tables["conversations"] = table.frame([blank | row for row in rows])
        baseline.params = {"max_idle_s": 1.0}
        self.made = Disturbances(Lens(self.names), baseline)
        self.events: list[Event] = []
        self.now = 0

    def until(self, seconds: int, rows: list[Any] | None = None) -> None:
        """Slices up to a second, with the rows given; seconds without rows have none."""
        by_second: dict[int, list[Any]] = {}
        for row in rows or []:
            by_second.setdefault(int((int(row["ts"]) - START) // SECOND), []).append(row)
        for second in range(self.now, seconds):
            self.made.see(piece(by_second.get(second, []), second))
            self.events += self.made.tick(START + second * SECOND)
        self.now = seconds

    def leap(self, seconds: int) -> None:
        """Nothing is captured until then, not even the seconds."""
        self.now = seconds

    def finding(self, rule: str, level: Level, ts: float, conv: int, **fields: Any) -> Finding:
        made = Finding(
            ts=START + round(ts * SECOND),
            detector=fields.pop("detector", "timing"),
            rule=rule,
            level=level,
            reading=fields.pop("reading", Reading.FAULT),
            proto=IEC104,
            conv=conv,
            src=fields.pop("src", SERVER),
            dst=CLIENT,
            summary=rule,
            scores={"attack": 1.0},
            **fields,
        )
        self.made.weigh([made])
        return made

    def all(self) -> list[Event]:
        return self.events + self.made.close()


def iec(conv: int, ts: float, kind: int, role: Role = Role.CLIENT, **more: Any) -> Any:
    ends = {"src": CLIENT, "dst": SERVER} if role == Role.CLIENT else {"src": SERVER, "dst": CLIENT}
    return message(ts, proto=IEC104, conv=conv, role=role, kind=kind, stream=0, **(ends | more))


def tcp(conv: int, ts: float, kind: int) -> Any:
    return message(ts, proto=TCP, conv=conv, role=Role.CLIENT, kind=kind, src=CLIENT, dst=SERVER, stream=0)


def data(conv: int, ts: float) -> Any:
    return i_frame(conv, ts, Role.SERVER, 0, 0)


@pytest.fixture
def station() -> Station:
    return Station(("iec104", CLIENT, SERVER, 2404, ""), ("tcp", CLIENT, SERVER, 2404, ""))


def reconnected(station: Station) -> tuple[int, int]:
    """Data, a lost link for 100 s, and the orderly way back at 110 s."""
    conv = station.names.conv("iec104", CLIENT, SERVER)
    link = station.names.conv("tcp", CLIENT, SERVER)
    station.until(10, [data(conv, n) for n in range(10)])
    station.until(
        112,
        [
            tcp(link, 110.0, SYN),
            iec(conv, 110.1, 513),
            iec(conv, 110.2, STARTDT_CON, Role.SERVER),
            iec(conv, 110.3, 100, cause=6),
            iec(conv, 110.9, 103, cause=6),
        ],
    )
    return conv, link


def test_a_reconnect_is_told_with_its_steps(station: Station) -> None:
    reconnected(station)
    found = {event.what: event for event in station.all()}
    event = found["reconnect"]
    assert event.start == START / SECOND + 9
    assert "101 s of silence, transfer started, interrogated, clock set" in event.summary
    assert event.hosts == ["10.0.0.1", "10.0.0.2"]
    assert event.level == "info"


@pytest.mark.parametrize(("gap", "count", "events"), [(100, 3, 1), (4, 3, 0), (100, 4, 0)])
def test_a_session_that_opens_after_silence_is_a_reconnect_without_tcp(
    monkeypatch: pytest.MonkeyPatch, gap: int, count: int, events: int
) -> None:
    monkeypatch.setattr(synthetic, "PROTOCOLS", [*synthetic.PROTOCOLS, "s7comm"])
    s7, setup = len(synthetic.PROTOCOLS) - 1, 496
    station = Station(("s7comm", CLIENT, SERVER, 102, ""))
    conv = station.names.conv("s7comm", CLIENT, SERVER, 102)
    kinds = Baseline()
    kind = conv_fields(station.names.conversation(conv).key) | {"kind": setup, "count": count, "role": 1}
    columns = TABLES["kinds"].columns.items()
    blank: dict[str, Any] = {name: "" if of == "str" else 0 for name, (of, _) in columns}
    kinds.tables["kinds"] = TABLES["kinds"].frame([blank | kind])
    station.made._openings = station.made._sessions_of(kinds)
    said = {"proto": s7, "conv": conv, "role": Role.CLIENT, "src": CLIENT, "dst": SERVER}
    station.until(10, [message(n + 0.5, kind=1, **said) for n in range(10)])
    station.until(12 + gap, [message(10.0 + gap, kind=setup, **said), message(10.1 + gap, kind=1, **said)])
    early = station.finding("early", Level.NOTICE, 10.2 + gap, conv)
    assert (early.level, bool(early.event)) == ((Level.INFO, True) if events else (Level.NOTICE, False))
    assert [event.what for event in station.all()] == events * ["reconnect"]


@pytest.mark.parametrize(
    ("rule", "level", "detector", "explained"),
    [
        ("rate", Level.NOTICE, "timing", True),
        ("rate", Level.WARNING, "timing", False),  # a storm
        ("early", Level.NOTICE, "timing", True),
        ("behaviour-knn", Level.WARNING, "behaviour", True),
        ("iec104-no-test", Level.NOTICE, "iec104", True),
        ("iec104-not-started", Level.NOTICE, "iec104", False),  # an order of its own protocol
        ("new-command", Level.NOTICE, "allowlist", False),
        ("new-kind", Level.NOTICE, "allowlist", False),
        ("new-host", Level.NOTICE, "allowlist", False),
        ("out-of-range", Level.NOTICE, "values", False),
        ("iec104-second-connection", Level.WARNING, "iec104", False),
    ],
)
def test_a_reconnect_explains_its_effects_only(
    station: Station, rule: str, level: Level, detector: str, explained: bool
) -> None:
    conv, _ = reconnected(station)
    found = station.finding(rule, level, 115.0, conv, detector=detector)
    assert bool(found.event) is explained
    assert found.level == (Level.INFO if explained else level)
    if explained:
        assert found.reading == Reading.FAULT
        assert found.scores == {"fault": 1.0}
        assert sum(event.explained.get(rule, 0) for event in station.all()) == 1


def test_only_in_its_time_and_among_its_hosts(station: Station) -> None:
    conv, _ = reconnected(station)
    other = station.names.conv("iec104", STRANGER, SERVER)
    assert not station.finding("rate", Level.NOTICE, 109.0, conv).event
    assert not station.finding("rate", Level.NOTICE, 111.0, other).event
    station.until(400)
    assert not station.finding("rate", Level.NOTICE, 400.0, conv).event


@pytest.mark.parametrize("attacker", [CLIENT, SERVER, STRANGER])
def test_an_attack_on_its_hosts_ends_the_benefit_of_the_doubt(station: Station, attacker: int) -> None:
    conv, _ = reconnected(station)
    attack = station.names.conv("iec104", attacker, SERVER)
    assert station.finding("rate", Level.NOTICE, 111.0, conv).event
    told = station.finding(
        "new-command-source", Level.ALARM, 112.0, attack, reading=Reading.ATTACK, src=attacker
    )
    assert told.level == Level.ALARM
    assert not station.finding("rate", Level.NOTICE, 113.0, conv).event
    assert any("new-command-source meanwhile" in event.summary for event in station.all())


def test_an_attack_in_the_same_second_counts_whatever_the_order(station: Station) -> None:
    conv, _ = reconnected(station)
    rate = Finding(START + 112 * SECOND, "timing", "rate", Level.NOTICE, Reading.FAULT, 1, conv, 2, 1, "")
    alarm = Finding(
        START + 113 * SECOND, "allowlist", "new-command", Level.ALARM, Reading.ATTACK, 1, conv, 1, 2, ""
    )
    station.made.weigh([rate, alarm])
    assert rate.level == Level.NOTICE


def test_strangers_have_no_disturbances() -> None:
    station = Station(("iec104", CLIENT, OTHER, 2404, ""))
    conv, _ = reconnected(station)
    assert not station.finding("rate", Level.NOTICE, 111.0, conv).event
    assert station.all() == []


def test_who_reconnects_all_day_is_explained_a_few_times_only(station: Station) -> None:
    conv = station.names.conv("iec104", CLIENT, SERVER)
    link = station.names.conv("tcp", CLIENT, SERVER)
    explained = []
    for n in range(PER_HOUR + 2):
        at = 200 * n
        station.until(at + 20, [data(conv, at), tcp(link, at + 1.0, RST), tcp(link, at + 8.0, SYN)])
        explained.append(bool(station.finding("rate", Level.NOTICE, at + 9.0, conv).event))
    assert explained == [True] * PER_HOUR + [False] * 2


def test_an_interrogation_explains_what_the_station_tells_not_what_is_asked(station: Station) -> None:
    conv = station.names.conv("iec104", CLIENT, SERVER)
    station.until(12, [data(conv, 1.0), iec(conv, 10.0, 100, cause=6)])
    told = station.finding("new-point", Level.NOTICE, 11.0, conv, detector="allowlist", src=SERVER)
    asked = station.finding("new-point", Level.NOTICE, 11.0, conv, detector="allowlist", src=CLIENT)
    assert (told.level, asked.level) == (Level.INFO, Level.NOTICE)
    assert told.reading == Reading.OPERATION


def kept_alive(conv: int, since: int, until: int) -> list[Any]:
    rows = []
    for at in range(since, until, 20):
        rows += [iec(conv, at, TEST_ACT), iec(conv, at + 0.1, TEST_CON, Role.SERVER)]
    return rows


def test_a_connection_in_reserve_is_not_silent(station: Station) -> None:
    conv = station.names.conv("iec104", CLIENT, SERVER)
    station.until(300, kept_alive(conv, 5, 300))
    assert station.finding("silence", Level.NOTICE, 299.0, conv).event


@pytest.mark.parametrize("before", ["data", "stop"])
def test_one_that_was_in_use_or_was_stopped_is(station: Station, before: str) -> None:
    conv = station.names.conv("iec104", CLIENT, SERVER)
    first = data(conv, 1.0) if before == "data" else iec(conv, 1.0, STOPDT_ACT)
    station.until(300, [first, *kept_alive(conv, 5, 300)])
    assert not station.finding("silence", Level.NOTICE, 299.0, conv).event


def masters() -> Station:
    return Station(("iec104", CLIENT, SERVER, 2404, ""), ("iec104", OTHER, SERVER, 2404, ""))


def test_another_known_master_takes_over() -> None:
    station = masters()
    first, second = (station.names.conv("iec104", host, SERVER) for host in (CLIENT, OTHER))
    station.until(10, [data(first, n) for n in range(10)])
    station.until(40, [iec(second, 30.0, STARTDT_CON, Role.SERVER, dst=OTHER)])
    silent = station.finding("silence", Level.WARNING, 39.0, first)
    assert (silent.level, silent.reading) == (Level.INFO, Reading.OPERATION)
    assert [event.summary for event in station.all()] == [
        "10.0.0.3 took over 10.0.0.2 (iec104) from 10.0.0.1"
    ]


def test_a_second_master_beside_a_living_first_one_explains_nothing() -> None:
    station = masters()
    first, second = (station.names.conv("iec104", host, SERVER) for host in (CLIENT, OTHER))
    station.until(40, [data(first, n) for n in range(40)])
    station.until(42, [data(first, 40), iec(second, 41.0, STARTDT_CON, Role.SERVER, dst=OTHER)])
    assert not station.finding("silence", Level.WARNING, 41.5, first).event


def test_a_stranger_never_takes_over() -> None:
    station = masters()
    first, rogue = (station.names.conv("iec104", host, SERVER) for host in (CLIENT, STRANGER))
    station.until(10, [data(first, n) for n in range(10)])
    station.until(40, [iec(rogue, 30.0, STARTDT_CON, Role.SERVER, dst=STRANGER)])
    assert station.finding("silence", Level.WARNING, 39.0, first).level == Level.WARNING


def test_a_pause_explains_what_is_missing_not_what_came(station: Station) -> None:
    conv = station.names.conv("iec104", CLIENT, SERVER)
    station.until(10, [data(conv, n) for n in range(10)])
    station.leap(200)
    station.until(202, [data(conv, 201.0)])
    missing = station.finding("iec104-gap", Level.WARNING, 201.0, conv, detector="iec104")
    came = station.finding("iec104-replay", Level.WARNING, 201.0, conv, detector="iec104")
    assert (missing.level, missing.reading) == (Level.INFO, Reading.VISIBILITY)
    assert came.level == Level.WARNING
    assert [event.what for event in station.all()] == ["pause"]


def goose(conv: int, ts: float, state: int, seq: int, **more: Any) -> Any:
    kind = 1 if seq == 0 else 2
    return message(
        ts, proto=GOOSE, conv=conv, role=Role.PUBLISHER, kind=kind, state=state, seq=seq, src=4, **more
    )


def burst(conv: int, at: float, gaps: tuple[float, ...], state: int = 8) -> list[Any]:
    """A heartbeat in state 7, then a change with repetitions at these distances."""
    rows = [goose(conv, at - 1, 7, 40), goose(conv, at, state, 0)]
    for seq, gap in enumerate(gaps, 1):
        at += gap
        rows.append(goose(conv, at, state, seq))
    return rows


def publishers() -> tuple[Station, int, int]:
    station = Station(("goose", 4, 100, 1, "gcb1"), ("goose", 5, 101, 1, "gcb2"))
    one, two = station.names.conv("goose", 4, 100, 1, "gcb1"), station.names.conv("goose", 5, 101, 1, "gcb2")
    return station, one, two


def test_a_trip_over_two_publishers_is_one_event() -> None:
    station, one, two = publishers()
    rows = burst(one, 5.0, (0.004, 0.008, 0.016, 0.5)) + burst(two, 5.2, (0.004, 0.008, 0.016))
    station.until(6, sorted(rows, key=lambda row: int(row["ts"])))
    assert station.finding("rate", Level.NOTICE, 5.6, one).event
    assert station.finding("behaviour-knn", Level.WARNING, 5.9, two, detector="behaviour").event
    assert station.finding("goose-replay", Level.ALARM, 5.9, two, detector="goose").level == Level.ALARM
    assert station.finding("constant-changed", Level.NOTICE, 5.9, two, detector="values").event == ""
    assert [event.what for event in station.all()] == ["state-change"]


@pytest.mark.parametrize(
    ("gaps", "state"),
    [
        ((0.004, 0.008), 9),  # stNum jumps
        ((0.5, 0.004), 8),  # distances shrink
        ((1.5, 2.0), 8),  # not repeated at once
    ],
)
def test_an_unsound_burst_explains_nothing(gaps: tuple[float, ...], state: int) -> None:
    station, one, _ = publishers()
    station.until(10, burst(one, 5.0, gaps, state))
    assert not station.finding("rate", Level.NOTICE, 6.0, one).event


def test_a_publisher_that_begins_a_state_at_one_makes_a_burst() -> None:
    station, one, _ = publishers()
    rows = burst(one, 5.0, (0.004, 0.008, 0.016))
    for row in rows[1:]:
        row["seq"] += 1
    station.until(6, rows)
    assert station.finding("rate", Level.NOTICE, 5.6, one).event


def test_one_lost_frame_explains_its_window_and_a_second_one_nothing() -> None:
    station, one, two = publishers()
    station.until(6, [goose(one, 1, 7, 40), goose(one, 3, 7, 42)])
    assert station.finding("goose-gap", Level.NOTICE, 3.0, one, detector="goose").event
    assert station.finding("behaviour-knn", Level.NOTICE, 5.0, one, detector="behaviour").event
    assert not station.finding("behaviour-knn", Level.WARNING, 5.0, one, detector="behaviour").event
    assert not station.finding("goose-gap", Level.NOTICE, 3.0, two, detector="goose").event
    station.until(60, [goose(one, 40, 7, 43), goose(one, 42, 7, 45)])
    assert not station.finding("goose-gap", Level.NOTICE, 42.0, one, detector="goose").event


def test_many_frames_missing_at_once_are_no_lost_frame() -> None:
    station, one, _ = publishers()
    station.until(6, [goose(one, 1, 7, 40), goose(one, 3, 7, 47)])
    assert not station.finding("goose-gap", Level.NOTICE, 3.0, one, detector="goose").event


def test_no_event_explains_more_than_a_warning_nor_any_word_of_command() -> None:
    loud = {rule for sort in EXPLAINS.values() for rule, level in sort.rules.items() if level > Level.WARNING}
    assert not loud
    rules = {rule for sort in EXPLAINS.values() for rule in sort.rules}
    assert not any("command" in rule or "host" in rule or "conversation" in rule for rule in rules)


def test_its_own_effects_do_not_count_as_an_attack(station: Station) -> None:
    conv, _ = reconnected(station)
    strange = station.finding(
        "behaviour-knn", Level.WARNING, 112.0, conv, detector="behaviour", reading=Reading.ATTACK
    )
    assert strange.level == Level.INFO
    assert station.finding("rate", Level.NOTICE, 113.0, conv).event
