"""IEC-104 rules, frame by frame: each is broken once and kept once (IEC 60870-5-104, clause 5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rule_bench import at, said

from detectors.base import Level
from detectors.rules.iec104 import Iec104Rules
from tests.lab import frames as f

WARNING, NOTICE = Level.WARNING, Level.NOTICE


class Station(f.Talk):
    """A connection to an outstation that keeps its own N(S) and N(R)."""

    def __init__(self, sport: int = 40_000) -> None:
        super().__init__("10.0.0.1", "10.0.0.2", 2404, sport)
        self.sent = [0, 0]

    def start(self, seconds: float = 0.0) -> Station:
        self.open(at(seconds))
        self.client(at(seconds + 0.01), f.apci_u(f.STARTDT_ACT))
        self.server(at(seconds + 0.02), f.apci_u(f.STARTDT_CON))
        return self

    def put(self, seconds: float, side: int, data: bytes) -> None:
        (self.server if side else self.client)(at(seconds), data)

    def report(self, seconds: float, side: int = 1, cause: int = 3) -> None:
        self.data(seconds, side, f.asdu(13, cause, 1, [(1001, f.e_float(20.0))]))

    def command(self, seconds: float, side: int = 0, cause: int = 6, **more: bool) -> None:
        self.data(seconds, side, f.asdu(45, cause, 1, [(4001, f.e_single_command(True))], **more))

    def data(self, seconds: float, side: int, body: bytes, acknowledge: int | None = None) -> None:
        number = self.sent[1 - side] if acknowledge is None else acknowledge
        self.put(seconds, side, f.apci_i(self.sent[side], number, body))
        self.sent[side] += 1

    def ack(self, seconds: float, number: int | None = None) -> None:  # type: ignore[override]
        self.put(seconds, 0, f.apci_s(self.sent[1] if number is None else number))

    def reports(self, count: int, start: float = 1.0) -> Station:
        for n in range(count):
            self.report(start + n)
            self.ack(start + n + 0.1)
        return self


def lost(s: Station) -> None:
    s.report(9)
    s.frames.pop()  # its bytes never came by
    s.report(9.5)


def jump(s: Station) -> None:
    s.sent[1] += 1
    s.report(9)


def again(s: Station) -> None:
    s.sent[1] -= 2
    s.report(9)


def old_bytes(s: Station) -> None:
    _, frame = next(entry for entry in s.frames if entry[0] == at(2))
    s.reports(3, 9)
    s.frames.append((at(12.5), frame))


def orphan(s: Station) -> None:
    other = Station(50_000)
    other.sent = [7, 7]
    other.report(9)
    s.frames += other.frames


def ahead(s: Station) -> None:
    s.ack(9, 40)


def back(s: Station) -> None:
    s.ack(9, 1)


def window(s: Station) -> None:
    for n in range(14):
        s.report(9 + n / 100)
    s.data(10, 0, f.asdu(100, 6, 1, [(0, f.e_interrogation())]), acknowledge=s.sent[1] - 14)


def foreign_start(s: Station) -> None:
    s.put(9, 1, f.apci_u(f.STARTDT_ACT))


def unknown_u(s: Station) -> None:
    s.put(9, 0, f.apci_u(63))


def client_reports(s: Station) -> None:
    s.report(9, side=0)


def wrong_cause(s: Station) -> None:
    s.report(9, cause=6)


def server_commands(s: Station) -> None:
    s.command(9, side=1, cause=6)


def negative(s: Station) -> None:
    s.command(9)
    s.command(9.1, side=1, cause=7, negative=True)


def test_bit(s: Station) -> None:
    s.command(9, test=True)


test_bit.__test__ = False  # type: ignore[attr-defined]


def second(s: Station) -> None:
    other = Station(50_000).start(9)
    other.command(9.1)
    s.report(9.5)
    s.frames += other.frames


BROKEN: dict[str, tuple[Callable[[Station], None], str, Level]] = {
    "bytes missing": (lost, "iec104-gap", WARNING),
    "numbers skipped": (jump, "iec104-sequence-jump", WARNING),
    "number used again": (again, "iec104-sequence-repeat", WARNING),
    "old bytes": (old_bytes, "iec104-replay", WARNING),
    "out of the middle": (orphan, "iec104-orphan", WARNING),
    "acknowledged before it was sent": (ahead, "iec104-ack-ahead", WARNING),
    "acknowledgement goes back": (back, "iec104-ack-back", WARNING),
    "more than k open": (window, "iec104-window", NOTICE),
    "outstation starts": (foreign_start, "iec104-u-frame", WARNING),
    "unknown U-frame": (unknown_u, "iec104-u-frame", WARNING),
    "master sends measurements": (client_reports, "iec104-illegal", WARNING),
    "measurement as activation": (wrong_cause, "iec104-illegal", WARNING),
    "outstation commands": (server_commands, "iec104-illegal", WARNING),
    "refused command": (negative, "iec104-refused", NOTICE),
    "test bit": (test_bit, "iec104-test", NOTICE),
    "two connections in use": (second, "iec104-second-connection", WARNING),
}


def confirmed(s: Station) -> None:
    for n, (side, cause) in enumerate([(0, 6), (1, 7), (1, 10)]):
        s.command(9 + n / 10, side, cause)


def repeated_by_tcp(s: Station) -> None:
    s.report(9)
    ts, frame = s.frames[-1]
    s.frames.append((ts + 200_000_000, frame))
    s.ack(9.4)


def reconnect(s: Station) -> None:
    s.frames += Station(50_000).start(9).reports(3, 10).frames


def stand_by(s: Station) -> None:
    """A second connection that is kept open with test frames only."""
    other = Station(50_000)
    other.open(at(8))
    other.client(at(8.1), f.apci_u(f.TESTFR_ACT))
    other.server(at(8.2), f.apci_u(f.TESTFR_CON))
    s.reports(2, 9)
    s.frames += other.frames


def eight_open(s: Station) -> None:
    for n in range(8):
        s.report(9 + n / 100)
    s.ack(9.5)


KEPT = [confirmed, repeated_by_tcp, reconnect, stand_by, eight_open]


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path: Path, case: str) -> None:
    change, rule, level = BROKEN[case]
    station = Station().start().reports(5)
    change(station)
    assert said(tmp_path / "x.pcap", Iec104Rules, station.frames) == [(rule, level)]


@pytest.mark.parametrize("change", KEPT)
def test_kept(tmp_path: Path, change: Callable[[Station], None]) -> None:
    station = Station().start().reports(5)
    change(station)
    assert said(tmp_path / "x.pcap", Iec104Rules, station.frames) == []
