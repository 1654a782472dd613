"""Parts of the daemon in one process: joining sources, open alerts that outlive a run, incidents, the bus."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alerts import Folder
from detectors.base import Alert, Conversation, Finding, Level, Reading
from detectors.groups import Lens
from sensor.daemon.incidents import Incidents
from sensor.daemon.joining import join_frames, merged, pieces, split_at
from sensor.daemon.notify import Notifier
from sensor.daemon.own_alerts import OwnAlerts
from sensor.frames import FILE_SHIFT, FrameBatch

SECOND = 1_000_000_000


class OneName:
    """Names of a run with one conversation."""

    def conversation(self, ident: int) -> Conversation:
        return Conversation("modbus", "10.0.0.1", f"10.0.0.{2 + ident}", 502, "")

    def endpoint(self, ident: int) -> str:
        return f"10.0.0.{ident}"

    def protocol(self, ident: int) -> str:
        return "modbus"

    def kind(self, proto: int, kind: int) -> str:
        return ""

    def point(self, proto: int, point: int) -> str:
        return ""


def finding(ts: float, level: Level = Level.WARNING, conv: int = 0, **more: object) -> Finding:
    fields = {"rule": "r", "hold": 60.0} | more
    return Finding(
        round(ts * SECOND), "d", str(fields["rule"]), level, Reading.ATTACK, 1, conv, 1, 2 + conv, f"at {ts}",
        hold=60.0, item=f"unit {ts}", frames=[int(ts)],
    )  # fmt: skip


def folder(**limits: float) -> Folder:
    return Folder(Lens(OneName()), **limits)  # type: ignore[arg-type]


# --- alerts that open -----------------------------------------------------------------------------------


def test_an_alert_is_told_when_it_opens_again_when_it_grows_and_at_its_end() -> None:
    fold = folder()
    fold.add(finding(100))
    (opened,) = fold.changed(100)
    assert (opened[0].count, opened[0].end) == (1, 100)
    fold.add(finding(101))
    assert fold.changed(101) == []  # not for every message
    fold.add(finding(102, Level.ALARM))
    (louder,) = fold.changed(102)
    assert (louder[0].level, louder[0].id, louder[0].count) == ("alarm", opened[0].id, 3)
    (grown,) = [fold.add(finding(103)), fold.changed(110)][1]
    assert grown[0].count == 4
    assert fold.changed(120) == []
    (closed,) = fold.tick(1000)
    assert (closed.id, closed.count) == (opened[0].id, 4)
    assert "unit 103" in closed.observed
    assert fold.changed(1001) == []


def test_telling_an_alert_early_changes_nothing_of_it() -> None:
    asked, plain = folder(), folder()
    for ts in range(100, 160, 3):
        for one in (asked, plain):
            one.add(finding(ts))
        asked.changed(ts)
    assert asked.close() == plain.close()


@pytest.mark.parametrize("cut", range(1, 12))
def test_an_open_alert_goes_on_in_the_next_run_as_if_there_had_been_one(cut: int) -> None:
    """Killed after any finding, the next run ends with the same alert."""
    times = [100 + 5 * n for n in range(12)]
    whole = folder()
    for ts in times:
        whole.add(finding(ts))
    first, second = folder(), folder()
    for ts in times[:cut]:
        first.add(finding(ts))
    (told,) = first.changed(float("inf"))
    assert second.restore(told[1]) == told[0].id
    assert second.restore(told[1]) == ""  # twice is once
    for ts in times[cut:]:
        second.add(finding(ts))
    assert second.close() == whole.close()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key": 1}', "null", json.dumps({"key": ["a", "b", "c"]})])
def test_what_is_no_open_alert_is_not_taken_over(text: str) -> None:
    assert folder().restore(text) == ""


def test_a_limit_of_alerts_is_one_for_each_day() -> None:
    fold = folder(most=3, horizon=86_400.0)
    fold.tick(0)
    for number in range(10):
        fold.add(finding(10, conv=number))
    assert fold.dropped == 7
    assert len(fold.tick(2000)) == 3
    fold.add(finding(3000))
    assert fold.dropped == 8
    fold.tick(90_000)
    fold.add(finding(90_000))
    assert len(fold.close()) == 1
    assert fold.dropped == 8


# --- incidents --------------------------------------------------------------------------------------------


def alert(ident: str, start: float, end: float, src: str = "10.0.0.1", level: str = "alarm") -> Alert:
    words = ["", "", "", ""]
    return Alert(
        ident, start, end, level, "attack", "d", "r", "", "modbus", src, "10.0.0.9", *words, "", None, 1, [],
        readings={"attack": 1.0},
    )  # fmt: skip


def test_an_incident_keeps_its_id_while_it_grows() -> None:
    incidents = Incidents()
    told, first = incidents.update([alert("a", 0, 5)], 5)
    (ident,) = first
    assert [one.incident for one in told] == [ident]
    told, second = incidents.update([alert("b", 30, 40)], 40)
    assert list(second) == [ident]
    assert second[ident].alerts == ["a", "b"]
    assert [one.id for one in told] == ["b"]
    _, third = incidents.update([alert("c", 500, 501)], 501)  # long after
    assert ident not in third
    assert len(third) == 1


def test_what_is_quiet_is_no_incident_until_it_meets_something_loud() -> None:
    incidents = Incidents()
    told, none = incidents.update([alert("a", 0, 5, level="notice")], 5)
    assert (none, told[0].incident) == ({}, "")
    told, some = incidents.update([alert("b", 8, 9)], 9)
    assert {one.id for one in told} == {"a", "b"}
    assert len(some) == 1


def test_incidents_look_at_a_bounded_number_of_alerts() -> None:
    incidents = Incidents()
    for number in range(30):
        incidents.update(
            [alert(f"{number}-{n}", number, number, f"10.1.{number}.{n}") for n in range(100)], number
        )
    assert incidents.left_out >= 1_000


def test_own_alerts_begin_once_and_end() -> None:
    own = OwnAlerts()
    first = own.begin("sensor-blind", Level.WARNING, "eth1", "blind", 10.0)
    again = own.begin("sensor-blind", Level.WARNING, "eth1", "still blind", 20.0)
    assert first.alert.id == again.alert.id
    assert (again.alert.start, again.alert.end, again.open) == (10.0, 20.0, True)
    other = own.begin("sensor-blind", Level.WARNING, "eth2", "blind", 10.0)
    assert other.alert.id != first.alert.id
    over = own.end("sensor-blind", "eth1", 30.0)
    assert over is not None
    assert (over.open, over.alert.end) == (False, 30.0)
    assert own.end("sensor-blind", "eth1", 40.0) is None
    assert len(own.close_all(50.0)) == 1


# --- joining ----------------------------------------------------------------------------------------------


def frames(times: list[int], source: int = 0) -> FrameBatch:
    n = len(times)
    data = np.frombuffer(bytes(f"{source}" * n, "ascii"), np.uint8) if n else np.zeros(0, np.uint8)
    ones = np.ones(n, np.int32)
    number = np.arange(1, n + 1, dtype=np.int64) + (source << FILE_SHIFT)
    return FrameBatch(data, np.arange(n, dtype=np.int64), ones, ones, np.array(times, np.int64), ones, number)


TIMES = st.lists(st.integers(0, 60), max_size=30).map(sorted)


def cut(batch: FrameBatch, at: list[int]) -> Iterator[FrameBatch]:
    edges = [0, *sorted(min(place, len(batch)) for place in at), len(batch)]
    for low, high in pairwise(edges):
        yield batch.take(slice(low, high))


@settings(max_examples=150)
@given(TIMES, TIMES, st.lists(st.integers(0, 30), max_size=4), st.lists(st.integers(0, 30), max_size=4))
def test_captures_of_the_same_time_are_read_in_order_however_they_are_cut(
    one: list[int], two: list[int], cuts: list[int], other: list[int]
) -> None:
    out = list(merged([cut(frames(one), cuts), cut(frames(two, 1), other)]))
    rows = [(int(b.ts[i]), int(b.number[i]), b.frame(i)) for b in out for i in range(len(b))]
    wanted = [(ts, n + 1, b"0") for n, ts in enumerate(one)]
    wanted += [(ts, (1 << FILE_SHIFT) + n + 1, b"1") for n, ts in enumerate(two)]
    assert sorted(rows) == sorted(wanted)
    assert [ts for ts, _, _ in rows] == sorted(ts for ts, _, _ in rows)


def test_a_stream_whose_clock_runs_backwards_keeps_its_own_order() -> None:
    out = list(merged([iter([frames([5, 1, 6])]), iter([frames([2, 7], 1)])]))
    mine = [int(b.number[i]) for b in out for i in range(len(b)) if int(b.number[i]) < 1 << FILE_SHIFT]
    assert sorted(mine) == [1, 2, 3]
    first, rest = split_at(frames([5, 1, 6, 2]), 5)
    assert (first.ts.tolist(), rest.ts.tolist()) == ([5, 1], [6, 2])
    assert join_frames([frames([1, 3]), frames([2], 1)]).ts.tolist() == [1, 2, 3]


def test_losses_go_the_way_of_their_frames() -> None:
    """What the kernel lost before a frame stays before it, whatever the sources are joined and cut into."""
    one, other = frames([1, 3, 5]), frames([2, 4], 1)
    one.lost, one.lost_after = np.array([0, 7, 0], np.int64), 2
    joined = join_frames([one, other])
    assert joined.lost is not None
    assert joined.lost.tolist() == [0, 0, 7, 0, 0]
    assert joined.lost_after == 2
    first, rest = split_at(joined, int(joined.ts[2]))
    assert first.lost is not None
    assert (int(first.lost.sum()), first.lost_after, rest.lost_after) == (7, 0, 2)
    cut = pieces(joined, 2)
    assert [part.lost_after for part in cut] == [0, 0, 2]
    assert sum(int(part.lost.sum()) for part in cut if part.lost is not None) == 7


# --- the service manager ----------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"gw-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        notifier = Notifier()
        assert notifier.watchdog_s == 3.0
        notifier.tell(READY=1, STATUS="two\nlines")
        assert manager.recv(4096) == b"READY=1\nSTATUS=two lines"
        notifier.alive()
        assert manager.recv(4096) == b"WATCHDOG=1"
        notifier.alive()  # not due yet
        notifier.status("x")
        notifier.status("x")
        assert manager.recv(4096) == b"STATUS=x"
        notifier.reloading()
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))  # meant for another process
    notifier = Notifier()
    assert not notifier.tell(READY=1)
    assert notifier.watchdog_s == 0.0
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not Notifier().tell(READY=1)
