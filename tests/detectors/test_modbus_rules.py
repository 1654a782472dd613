"""Modbus rules, frame by frame: each is broken once and kept once."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_bench import at, learned, said

from detectors.base import Level
from detectors.rules.modbus import ModbusRules
from tests.lab import frames as f

INFO, NOTICE, WARNING, ALARM = Level
READ, ANSWER = f.mb_read(3, 0, 2), f.mb_read_response(3, [1, 2])


def talk(*steps: tuple[float, str, int, bytes], client: str = "10.0.0.1") -> list[f.Stamped]:
    """A connection from its opening: (seconds, "?" request or "!" response, transaction, PDU)."""
    made = f.Talk(client, "10.0.0.2", 502)
    made.open(at(0))
    for seconds, side, number, pdu in steps:
        (made.client if side == "?" else made.server)(at(seconds), f.modbus_adu(number, 1, pdu))
    return made.frames


def polls(count: int, answered: bool = True, step: float = 0.5) -> list[tuple[float, str, int, bytes]]:
    asked = [(1 + n * step, "?", n + 1, READ) for n in range(count)]
    replies = [(1.02 + n * step, "!", n + 1, ANSWER) for n in range(count)] if answered else []
    return sorted([*asked, *replies])


LATER = (21.0, "?", 99, READ)
REFUSAL = [(2, "?", 9, READ), (2.1, "!", 9, f.mb_exception(3, 2))]

BUSY = [
    step
    for n in range(3)
    for step in ((2 + n, "?", 9 + n, READ), (2.1 + n, "!", 9 + n, f.mb_exception(3, 6)))
]

BROKEN = {
    "busy all the time": (talk(*BUSY), ("modbus-exception", NOTICE)),
    "exception": (talk(*REFUSAL), ("modbus-exception", NOTICE)),
    "answer to nobody": (
        talk((1, "?", 1, READ), (1.1, "!", 1, ANSWER), (2, "!", 77, ANSWER)),
        ("modbus-unpaired", NOTICE),
    ),
    "two answers": (
        talk((1, "?", 1, READ), (1.1, "!", 1, ANSWER), (1.2, "!", 1, ANSWER)),
        ("modbus-second-response", WARNING),
    ),
    "another value confirmed": (
        talk((1, "?", 1, f.mb_write_register(5, 7)), (1.1, "!", 1, f.mb_write_register(5, 14))),
        ("modbus-echo", WARNING),
    ),
    "another state confirmed": (
        talk((1, "?", 1, f.mb_write_coil(5, True)), (1.1, "!", 1, f.mb_write_coil(5, False))),
        ("modbus-echo", WARNING),
    ),
    "no answers": (talk(*polls(12, answered=False), LATER), ("modbus-unanswered", NOTICE)),
    "too many registers": (talk((1, "?", 1, f.mb_read(3, 0, 126))), ("modbus-quantity", WARNING)),
    "no coil at all": (talk((1, "?", 1, f.mb_read(1, 0, 0))), ("modbus-quantity", WARNING)),
}

KEPT = {
    "polling": talk(*polls(12), LATER),
    "values confirmed, one never": talk(
        *[(1 + n, "?", n, f.mb_write_register(5, n)) for n in range(4)],
        *[(1.1 + n, "!", n, f.mb_write_register(5, n)) for n in range(3)],
        *[(6, "?", 9, f.mb_write_register(5, 1)), (6.1, "!", 9, f.mb_write_register(5, 1))],
    ),
    "the most registers": talk((1, "?", 1, f.mb_read(3, 0, 125))),
    "a few lost answers": talk(*polls(12), *[(8 + n / 10, "?", 50 + n, READ) for n in range(5)], LATER),
    "transaction numbers used again": talk(*polls(4), (8, "?", 1, READ), (8.1, "!", 1, ANSWER)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken(tmp_path: Path, case: str) -> None:
    frames, expected = BROKEN[case]
    assert expected in said(tmp_path / "x.pcap", ModbusRules, frames)


@pytest.mark.parametrize("case", KEPT)
def test_kept(tmp_path: Path, case: str) -> None:
    assert said(tmp_path / "x.pcap", ModbusRules, KEPT[case]) == []


def test_three_probing_refusals_in_a_second_are_a_warning(tmp_path: Path) -> None:
    steps = [
        step
        for n in range(3)
        for step in ((2.1 + n / 10, "?", n, READ), (2.15 + n / 10, "!", n, f.mb_exception(3, 2)))
    ]
    assert said(tmp_path / "x.pcap", ModbusRules, talk(*steps)) == [("modbus-exception", WARNING)]


def test_learned_refusals_and_writers_are_quiet(tmp_path: Path) -> None:
    write = [(3, "?", 1, f.mb_write_register(5, 1)), (3.1, "!", 1, f.mb_write_register(5, 1))]
    habits = talk(*REFUSAL, *write)
    baseline = learned(tmp_path / "learn.pcap", habits)
    assert said(tmp_path / "x.pcap", ModbusRules, habits, baseline) == []
    stranger = talk(*write, client="10.0.0.66")
    assert said(tmp_path / "y.pcap", ModbusRules, stranger, baseline) == [("modbus-writer", ALARM)]
    readers = learned(tmp_path / "readers.pcap", talk(*polls(4)))
    again = [(9, "?", 2, f.mb_write_register(5, 1)), (9.1, "!", 2, f.mb_write_register(5, 1))]
    told = said(tmp_path / "z.pcap", ModbusRules, talk(*write, *again), readers)
    assert told == [("modbus-writer", WARNING), ("modbus-writer", INFO)], (
        "seconds of learning: once, and milder"
    )
    readers.params["learned_s"] = 3600.0
    told = said(tmp_path / "z.pcap", ModbusRules, talk(*write, *again), readers)
    assert told == 2 * [("modbus-writer", ALARM)]


def test_a_stranger_that_writes_behind_a_known_writer_is_seen(tmp_path: Path) -> None:
    write = [(3, "?", 1, f.mb_write_register(5, 1)), (3.1, "!", 1, f.mb_write_register(5, 1))]
    forged = [(3.2, "?", 1, f.mb_write_register(5, 9)), (3.3, "!", 1, f.mb_write_register(5, 9))]
    baseline = learned(tmp_path / "learn.pcap", talk(*write))
    both = [*talk(*write), *talk(*forged, client="10.0.0.66")]
    assert said(tmp_path / "x.pcap", ModbusRules, both, baseline) == [("modbus-writer", ALARM)]


def test_a_device_that_is_busy_once_is_no_news(tmp_path: Path) -> None:
    assert said(tmp_path / "a.pcap", ModbusRules, talk(*BUSY[:2])) == [("modbus-exception", INFO)]


def test_an_answer_whose_request_was_not_captured(tmp_path: Path) -> None:
    frames = talk(*polls(6))
    lost = [frame for n, frame in enumerate(frames) if n != 7]  # the third request, after the handshake
    assert said(tmp_path / "a.pcap", ModbusRules, lost) == [("modbus-unpaired", INFO)]
