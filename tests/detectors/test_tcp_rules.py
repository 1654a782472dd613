"""TCP rules, frame by frame: scans are found, a bad link is a fault and never an attack."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_bench import at, learned, said

from detectors.base import Level
from detectors.rules.tcp import TcpRules
from tests.lab import frames as f

WARNING, NOTICE = Level.WARNING, Level.NOTICE


def syn(seconds: float, server: str, port: int, refused: bool = False) -> list[f.Stamped]:
    made = f.Talk("10.0.0.66", server, port, sport=40_000 + round(seconds * 100) % 20_000)
    made.segment(at(seconds), 0, f.SYN)
    if refused:
        made.reset(at(seconds + 0.001), 1)
    return made.frames


def scan(count: int, step: float, refused: bool = False) -> list[f.Stamped]:
    return [frame for n in range(count) for frame in syn(n * step, f"10.0.1.{n + 1}", 502, refused)]


def knock(count: int, step: float = 1.0) -> list[f.Stamped]:
    """One closed port, tried again and again."""
    return [frame for n in range(count) for frame in syn(n * step, "10.0.1.1", 502, refused=True)]


def link(repeated: int, total: int = 60, windows: tuple[int, ...] = (0,)) -> list[f.Stamped]:
    """Polling; TCP sends the first requests of some windows of 10 s twice. A last window closes the count."""
    made = f.Talk("10.0.0.1", "10.0.0.2", 502)
    made.open(at(0))
    for n in [100 * window + n for window in windows for n in range(total)]:
        data = f.modbus_adu(n, 1, f.mb_read(3, 0, 2))
        made.client(at(0.1 + n / 10), data)
        if n % 100 < repeated:
            ts, frame = made.frames[-1]
            made.frames.append((ts + 20_000_000, frame))
        made.server(at(0.15 + n / 10), f.modbus_adu(n, 1, f.mb_read_response(3, [1, 2])))
    made.client(at(10 * windows[-1] + 15), f.modbus_adu(999, 1, f.mb_read(3, 0, 2)))
    return made.frames


def injected(same: bool) -> list[f.Stamped]:
    """A forged command comes first, the true one carries the same sequence numbers."""
    made = f.Talk("10.0.0.1", "10.0.0.2", 502)
    made.open(at(0))
    made.client(at(1), f.modbus_adu(1, 1, f.mb_read(3, 0, 2)))
    true = f.modbus_adu(2, 1, f.mb_read(3, 0, 2))
    made.client(at(2), true if same else f.modbus_adu(2, 1, f.mb_write_coil(7, True)))
    made.segment(at(2.01), 0, f.ACK, true, seq=1001 + len(true))
    return made.frames


BROKEN = {
    "injection": (injected(same=False), ("tcp-conflict", Level.ALARM)),
    "sweep over hosts": (scan(12, 0.5), ("tcp-sweep", WARNING)),
    "refused again and again": (knock(15), ("tcp-refused", NOTICE)),
}
KEPT = {
    "repetition": injected(same=True),
    "a few new services": scan(11, 0.5),
    "many, over hours": scan(24, 200.0),
    "a service that is down for a while": knock(14),
    "a repetition now and then": link(3),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path: Path, case: str) -> None:
    frames, expected = BROKEN[case]
    assert said(tmp_path / "x.pcap", TcpRules, frames) == [expected]


def test_one_window_of_repetitions_is_kept_two_of_three_are_told(tmp_path: Path) -> None:
    one, two = ("tcp-repetition", Level.INFO), ("tcp-repetition", NOTICE)
    for windows, expected in (
        ((0,), [one]),
        ((0, 1), [one, two]),
        ((0, 2), [one, two]),
        ((0, 3), [one, one]),
    ):
        assert said(tmp_path / "x.pcap", TcpRules, link(30, windows=windows)) == expected


@pytest.mark.parametrize("case", KEPT)
def test_kept(tmp_path: Path, case: str) -> None:
    assert said(tmp_path / "x.pcap", TcpRules, KEPT[case]) == []


def test_known_services_and_usual_losses_are_quiet(tmp_path: Path) -> None:
    for number, habits in enumerate((scan(12, 0.5), link(30))):
        baseline = learned(tmp_path / f"learn{number}.pcap", habits)
        assert said(tmp_path / f"x{number}.pcap", TcpRules, habits, baseline) == []
