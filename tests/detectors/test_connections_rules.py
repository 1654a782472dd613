"""Connections beside each other and one after the other; requests that share a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from row_bench import Bench, C
from rule_bench import at, learned, said

from detectors.base import Level
from detectors.rules.connections import ConnectionRules
from detectors.rules.modbus_frames import ModbusFrameRules
from tests.lab import frames as f

NOTICE, INFO = Level.NOTICE, Level.INFO
READ, ANSWER = f.mb_read(3, 0, 2), f.mb_read_response(3, [1, 2])
Rows = list[np.void]


def asked(*streams: int, protocol: str = "modbus") -> tuple[Bench, Rows]:
    """One request a second, on these connections."""
    bench = Bench(protocol, ConnectionRules)
    return bench, [bench.row(n, 3, C, stream=stream) for n, stream in enumerate(streams)]


@pytest.mark.parametrize("protocol", ["modbus", "s7comm", "dnp3"])
@pytest.mark.parametrize(
    ("streams", "told"),
    [
        ((1, 1, 2, 1, 2, 1), 1),  # in turn, told once
        ((1, 1, 2, 2, 3, 3), 0),  # one after the other
        ((1, 1, 1), 0),
    ],
)
def test_two_connections_in_turn(protocol: str, streams: tuple[int, ...], told: int) -> None:
    bench, rows = asked(*streams, protocol=protocol)
    assert bench.said(rows) == told * [("second-connection", NOTICE)]


def test_a_client_that_always_used_two_goes_on() -> None:
    bench, rows = asked(1, 2, 1, 2)
    assert bench.said(rows, baseline=bench.learned(rows)) == [("second-connection", INFO)]


def openings(bench: Bench, count: int, every: float) -> Rows:
    rows = []
    for n in range(count):
        row = bench.row(n * every, 1, C, stream=10 + n)
        row["proto"] = bench.names.protocol_id("tcp")
        row["conv"] = bench.names.intern_conversation(row["proto"], row["src"], row["dst"], 1, 0, 0)
        rows.append(row)
    return rows


@pytest.mark.parametrize(("count", "every", "told"), [(6, 5.0, 1), (4, 5.0, 0), (6, 30.0, 0)])
def test_a_connection_opened_again_and_again(count: int, every: float, told: int) -> None:
    bench, polls = asked(*[1] * 120)
    known = bench.learned(polls)
    assert bench.said(openings(bench, count, every), baseline=known) == told * [("reconnect-storm", NOTICE)]


def test_a_client_that_opens_one_for_each_request_does_so_on() -> None:
    bench, polls = asked(*[1] * 120)
    known = bench.learned([*polls, *openings(bench, 24, 5.0)])
    assert bench.said(openings(bench, 24, 5.0), baseline=known) == []


def talk(requests: int) -> list[f.Stamped]:
    """A connection with one request, then with several in one segment."""
    made = f.Talk("10.0.0.1", "10.0.0.2", 502)
    made.open(at(0))
    made.client(at(1), f.modbus_adu(1, 1, READ))
    made.server(at(1.1), f.modbus_adu(1, 1, ANSWER))
    made.client(at(2), b"".join(f.modbus_adu(2 + n, 1, READ) for n in range(requests)))
    return made.frames


@pytest.mark.parametrize(("requests", "level"), [(5, NOTICE), (1, None)])
def test_requests_in_one_frame(tmp_path: Path, requests: int, level: Level | None) -> None:
    wanted = [("modbus-stacked", level)] if level is not None else []
    assert said(tmp_path / "a.pcap", ModbusFrameRules, talk(requests)) == wanted


def test_a_client_that_always_stacked_them_goes_on(tmp_path: Path) -> None:
    known = learned(tmp_path / "b.pcap", talk(5))
    assert said(tmp_path / "a.pcap", ModbusFrameRules, talk(5), known) == [("modbus-stacked", INFO)]
