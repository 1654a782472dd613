"""News after a short learning: lowered, with the reason; strangers and what restarts a device never."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic import CLASSES, GOOSE, IEC104, TCP, FakeNames, message, piece

from detectors.allowlist import Allowlist
from detectors.base import Conversation, Finding, Level
from detectors.baseline import Baseline
from detectors.compare import merge
from detectors.groups import ConvKey, Lens
from detectors.saturation import FULL, Saturation, doubt
from detectors.tables import TABLES, conv_fields
from grid_profiles.vocabulary import Flag, KindClass, Role

SERVERS = range(2, 8)
SHORT, LONG = 300.0, 2 * FULL
SWITCH, SETPOINT, RESET, REPORT, TEST = 45, 50, 105, 13, 107
Kind = tuple[ConvKey, int, int, float]  # conversation, role, kind, when first met


def link(server: int, protocol: str = "iec104", port: int = 2404) -> ConvKey:
    return (protocol, "10.0.0.1", f"10.0.0.{server}", port, "", 0)


@pytest.fixture(autouse=True)
def _classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLASSES, (IEC104, RESET), KindClass.RESTART)


def made(learned_s: float, *kinds: Kind, points: dict[str, int] | None = None) -> Baseline:
    """A client that heard reports of six servers from the first second on, and ``kinds``."""
    span: dict[str, Any] = {"count": 1000, "first": 0.0, "last": learned_s, "origin": "learned"}
    rows = [(link(n), int(Role.SERVER), REPORT, 0.0) for n in SERVERS] + list(kinds)
    baseline = Baseline(params={"learned_s": learned_s})
    convs = dict.fromkeys(row[0] for row in rows)
    tables = baseline.tables
    tables["conversations"] = TABLES["conversations"].frame(
        [conv_fields(conv) | span | {"gaps": 0, "repeats": 0, "midstream": 0} for conv in convs]
    )
    tables["assets"] = TABLES["assets"].frame([{"address": f"10.0.0.{n}"} | span for n in (1, *SERVERS)])
    words = {"name": "", "class": ""}
    tables["kinds"] = TABLES["kinds"].frame(
        [
            conv_fields(conv) | words | span | {"role": role, "kind": kind, "cause": 3, "first": first}
            for conv, role, kind, first in rows
        ]
    )
    people = {"id": "x", "points": "", "who": "", "why": "", "when": "", "cause": 3}
    tables["review"] = TABLES["review"].frame(
        [
            conv_fields(conv) | words | span | people | {"kind": kind, "first": first}
            for conv, role, kind, first in rows
            if role == Role.CLIENT
        ]
    )
    tables["points"] = TABLES["points"].frame(
        [
            conv_fields(link(2))
            | {"kind": SWITCH, "point": point, "code": 1, "most": 1, "count": count, "origin": "learned"}
            for point, count in (points or {}).items()
        ]
    )
    return baseline


def told(baseline: Baseline, *rows: dict[str, Any]) -> list[Finding]:
    """Findings about messages of host 1 to the server that ``server`` names, one a second."""
    names = FakeNames()
    lists = Allowlist(baseline, Lens(names))
    found = []
    for at, given in enumerate(rows):
        row = {"proto": IEC104, "role": Role.CLIENT, "src": 1, "kind": SWITCH, "cause": 3} | given
        server = row.pop("server", 2)
        protocol, port = row.pop("link", ("iec104", 2404))
        conv = names.conv(protocol, row["src"], server, port)
        found += lists.detect(piece([message(at + 0.5, conv=conv, dst=server, **row)], at))
    return found


def levels(found: list[Finding]) -> list[tuple[str, Level]]:
    return [(finding.rule, finding.level) for finding in found]


COMMANDS = (link(2), int(Role.CLIENT), SWITCH, 0.0)


def test_harmless_news_is_one_level_less_and_says_why() -> None:
    (short,) = told(made(SHORT), {"kind": TEST})
    (long,) = told(made(LONG), {"kind": TEST})
    assert (short.rule, short.level, long.level) == ("new-kind", Level.NOTICE, Level.WARNING)
    assert "5 min without news here, 30 min are needed" in short.summary
    assert "needed" not in long.summary


def test_it_is_the_time_without_news_that_counts_not_the_time_learned() -> None:
    late = (link(2), int(Role.SERVER), 30, LONG - 60.0)
    assert told(made(LONG, late), {"kind": TEST})[0].level == Level.NOTICE
    assert told(made(LONG, late), {"kind": TEST, "server": 3})[0].level == Level.WARNING


def test_a_host_that_never_commanded_stays_a_warning_once() -> None:
    first, second = told(made(SHORT), {}, {"server": 3})
    assert (first.level, second.level) == (Level.WARNING, Level.INFO)
    assert "needed" in first.summary
    assert levels(told(made(LONG), {}, {"server": 3})) == 2 * [("new-command", Level.ALARM)]


def test_a_new_command_of_a_control_room_is_a_notice_at_first() -> None:
    assert levels(told(made(SHORT, COMMANDS), {"server": 3})) == [("new-command", Level.NOTICE)]
    assert levels(told(made(SHORT, COMMANDS), {"kind": SETPOINT})) == [("new-command", Level.NOTICE)]
    # and no more so when its commands brought nothing new for long
    assert levels(told(made(LONG, COMMANDS), {"server": 3})) == [("new-command", Level.ALARM)]


def test_commands_to_many_within_a_minute_are_a_sweep_however_short_learning_was() -> None:
    found = told(made(SHORT, COMMANDS), *({"server": server} for server in range(3, 8)))
    assert [finding.level for finding in found] == [Level.NOTICE] + 2 * [Level.INFO] + 2 * [Level.ALARM]


def test_who_commands_two_stations_so_commands_a_third() -> None:
    both = (COMMANDS, (link(3), int(Role.CLIENT), SWITCH, 0.0))
    assert levels(told(made(SHORT, *both), {"server": 4})) == [("new-command", Level.INFO)]
    assert levels(told(made(LONG, *both), {"server": 4})) == [("new-command", Level.ALARM)]


def test_who_has_no_address_yet_is_no_stranger() -> None:
    cases = (
        ("0.0.0.0", LONG, Level.INFO),
        ("10.0.0.66", LONG, Level.NOTICE),
        ("10.0.0.66", SHORT, Level.INFO),
    )
    for address, learned_s, level in cases:
        names = FakeNames()
        lists = Allowlist(made(learned_s), Lens(names))
        names.conversations.append(Conversation("dhcp", address, "255.255.255.255", 67, ""))
        row = message(0.5, proto=IEC104, conv=0, src=66, dst=9, role=Role.CLIENT, kind=1)
        assert [one.level for one in lists.detect(piece([row]))] == [level]


def test_a_stranger_who_asks_around_is_told_once_an_hour() -> None:
    names = FakeNames()
    lists = Allowlist(made(LONG), Lens(names))
    names.conversations.append(Conversation("dhcp", "10.0.0.66", "255.255.255.255", 67, ""))
    found = []
    for second in (0, 900, 1800, 3700):
        row = message(second + 0.5, proto=IEC104, conv=0, src=66, dst=9, role=Role.CLIENT, kind=1)
        found += [one.level for one in lists.detect(piece([row], second))]
    assert found == [Level.NOTICE, Level.INFO, Level.INFO, Level.NOTICE]


@pytest.mark.parametrize("learned_s", [SHORT, LONG])
def test_restarts_and_strangers_are_never_lowered(learned_s: float) -> None:
    known = made(learned_s, COMMANDS)
    assert levels(told(known, {"kind": RESET})) == [("new-command", Level.ALARM)]
    assert levels(told(known, {"src": 66})) == [("new-command-source", Level.ALARM)]
    assert levels(told(known, {"src": 66, "kind": 100})) == [("new-host", Level.WARNING)]


@pytest.mark.parametrize(
    ("points", "level", "swept"),
    [
        ({"point 1": 1, "point 2": 2}, Level.INFO, Level.WARNING),  # half of the commands went to new objects
        ({"point 1": 30}, Level.INFO, Level.ALARM),  # one in thirty may, after five minutes
        ({"point 1": 80}, Level.NOTICE, Level.ALARM),
        ({"point 1": 800}, Level.NOTICE, Level.ALARM),  # an output written twice a second says no more
    ],
)
def test_objects_never_commanded(points: dict[str, int], level: Level, swept: Level) -> None:
    found = told(made(SHORT, COMMANDS, points=points), *({"point": 100 + n} for n in range(4)))
    news = [finding.level for finding in found if finding.rule == "new-command-point"]
    assert (news[0], news[-1]) == (level, swept)


def test_the_answer_to_a_command_has_no_object_of_its_own() -> None:
    known = made(LONG, COMMANDS, (link(2), int(Role.SERVER), SWITCH, 0.0), points={"point 1": 1000})
    answer = {"role": Role.SERVER, "src": 2, "server": 2, "point": 9}
    names = FakeNames()
    conv = names.conv("iec104", 1, 2)
    row = message(
        0.5, **({"proto": IEC104, "kind": SWITCH, "cause": 3, "conv": conv, "dst": 1} | answer_of(answer))
    )
    found = Allowlist(known, Lens(names)).detect(piece([row]))
    assert levels(found) == [("new-point", Level.INFO)]


def answer_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "server"}


def test_a_change_of_state_is_the_life_of_goose() -> None:
    stream = ("goose", "10.0.0.1", "10.0.0.9", 2404, "", 0)
    known = made(LONG, (stream, int(Role.PUBLISHER), 2, 0.0))
    change = {"proto": GOOSE, "role": Role.PUBLISHER, "kind": 1, "server": 9, "link": ("goose", 2404)}
    assert levels(told(known, change)) == [("new-kind", Level.INFO)]
    assert told(known, change | {"flags": int(Flag.TEST)})[0].level > Level.INFO


def test_the_connection_under_what_was_learned_in_its_midst_is_no_news() -> None:
    tcp = {"proto": TCP, "kind": 1, "cause": -1}
    assert levels(told(made(LONG), tcp | {"link": ("tcp", 2404)})) == [("new-conversation", Level.INFO)]
    assert levels(told(made(LONG), tcp | {"link": ("tcp", 80)})) == [("new-conversation", Level.NOTICE)]


def test_lists_of_shared_files_come_every_twelve_minutes() -> None:
    share = {"proto": TCP, "kind": 1, "cause": -1, "link": ("tcp", 139)}
    pair = (link(2, "tcp", 502), int(Role.CLIENT), 1, 0.0)
    assert told(made(SHORT, pair), share)[0].level == Level.INFO
    assert told(made(LONG, pair), share)[0].level == Level.NOTICE
    assert told(made(SHORT, pair), share | {"src": 66})[0].level == Level.WARNING


def test_a_baseline_that_does_not_say_is_believed() -> None:
    known = made(SHORT)
    del known.params["learned_s"]
    full = Saturation(known)
    assert doubt(full.conversation(link(2))) == doubt(full.commander("10.0.0.1")) == ""


def test_merging_adds_the_time_and_news_of_the_second_part_counts() -> None:
    one, other = made(1000.0), made(1000.0)
    for name in ("kinds", "conversations", "assets"):
        other.tables[name][["first", "last"]] += 50_000.0
    assert Saturation(merge(one, other)).conversation(link(2)) == 2000.0
    news = made(1000.0, (link(2), int(Role.SERVER), 30, 900.0))
    for name in ("kinds", "conversations", "assets"):
        news.tables[name][["first", "last"]] += 50_000.0
    merged = Saturation(merge(one, news))
    assert (merged.conversation(link(2)), merged.conversation(link(3))) == (100.0, 2000.0)
