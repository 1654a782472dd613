"""A time server's step is told once; a sensor whose own clock is wrong or set is not (RFC 5905)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from row_bench import START, Bench, C, S

from detectors.base import Finding, Level
from detectors.groups import Lens
from detectors.rules.ntp import NtpRules
from grid_profiles.vocabulary import MESSAGE

SHIFT = ("ntp-shift", Level.WARNING)
Rows = list[np.void]
EPOCH = START // 1_000_000_000


class Time(Bench):
    def __init__(self) -> None:
        super().__init__("ntp", NtpRules)

    def answer(self, ts: float, shift: float = 0.0, **more: Any) -> np.void:
        """What a server tells at ``ts`` s of the capture's clock."""
        fields: dict[str, Any] = {"aux": 0, "cause": 2, "value": EPOCH + ts + shift}
        return self.row(ts, 4, S, **(fields | more))

    def findings(self, rows: Sequence[np.void], *args: Any, **more: Any) -> list[Finding]:
        """As always, with frames numbered as they come."""
        rows = sorted(rows, key=lambda row: int(row["ts"]))
        for number, row in enumerate(rows, 1):
            row["frame"] = number
        return super().findings(rows, *args, **more)

    def other(self, start: int, end: int) -> Rows:
        """Traffic of others, five messages a second."""
        rows = [self.row(n / 5, 3, C, src="10.0.0.7") for n in range(5 * start, 5 * end)]
        for row in rows:
            row["proto"] = self.names.protocol_id("iec104")
        return rows


@pytest.mark.parametrize("shift", [-3600.0, 3600.0, -1.2, 0.8, 86_400.0 * 365])
@pytest.mark.parametrize("wrong", [0.0, -5e8, 17.3])
def test_a_step_is_told_once(shift: float, wrong: float) -> None:
    """Whatever the difference was before: the sensor's clock may be wrong by years."""
    b = Time()
    rows = [b.answer(64 * n + 1, wrong + (shift if n >= 5 else 0.0)) for n in range(10)]
    assert b.said([*rows, *b.other(0, 650)]) == [SHIFT]


def test_there_and_back_and_a_single_forged_answer() -> None:
    b = Time()
    shifts = [0.0] * 3 + [9.0] * 3 + [0.0] * 3
    there = [b.answer(10 * n, shift) for n, shift in enumerate(shifts)]
    assert b.said([*there, *b.other(0, 100)]) == [SHIFT, ("ntp-shift", Level.INFO)]
    forged = [b.answer(10 * n, 9.0 if n == 4 else 0.0) for n in range(9)]
    (found,) = b.findings([*forged, *b.other(0, 100)])
    assert found.frames == [forged[3]["frame"], forged[4]["frame"]]


def test_each_client_is_told_for_itself() -> None:
    b = Time()
    rows = [b.answer(10 * n, 5.0 * client, src=f"10.0.0.{client}") for n in range(9) for client in (3, 4)]
    assert b.said([*rows, *b.other(0, 100)]) == []


def kept(b: Time) -> dict[str, Rows]:
    every = b.other(0, 1_000)
    drift = [b.answer(64 * n, 0.02 * n) for n in range(15)]
    leap = [b.answer(64 * n, -1.0 if n > 8 else 0.0, aux=1 if n == 8 else 0) for n in range(12)]
    jitter = [b.answer(16 * n, 0.2 * (n % 3)) for n in range(40)]
    asleep = [b.answer(64 * n, 40.0 * n, aux=3 if n % 2 else 0) for n in range(12)]
    kiss = [b.answer(64 * n, 40.0 if n == 3 else 0.0, cause=0 if n == 3 else 2) for n in range(6)]
    unknown = [b.answer(64 * n, value=np.nan if n == 3 else EPOCH + 64 * n) for n in range(6)]
    asked = [b.row(16 * n, 3, C, aux=0, cause=2, value=EPOCH + 7.0 * n * n) for n in range(9)]
    return {
        name: [*rows, *every]
        for name, rows in {
            "drift": drift,
            "announced leap": leap,
            "jitter": jitter,
            "unsynchronised between": asleep,
            "kiss of death": kiss,
            "no time": unknown,
            "a client's own time": asked,
        }.items()
    }


@pytest.mark.parametrize("case", kept(Time()))
def test_kept(case: str) -> None:
    b = Time()
    assert b.said(kept(b)[case]) == []


def test_a_leap_that_nobody_announced_is_a_step() -> None:
    b = Time()
    rows = [b.answer(64 * n, -1.0 if n > 8 else 0.0) for n in range(12)]
    assert b.said([*rows, *b.other(0, 800)]) == [SHIFT]


def test_the_sensor_s_clock_is_set() -> None:
    """Forwards the whole capture pauses and the server seems to be late; backwards frames run back."""
    b = Time()
    later = [b.answer(n, 0.0 if n < 100 else -50.0) for n in (10, 40, 90, 160, 190)]
    assert b.said([*later, *b.other(0, 100), *b.other(150, 200)]) == []
    assert b.said([*later, *b.other(0, 200)]) == [SHIFT]


def test_the_sensor_s_clock_is_set_back() -> None:
    """Until its time has caught up all frames are of one slice."""
    b = Time()

    def said(frames: Rows) -> list[str]:
        rules = NtpRules(Lens(b.names))
        for number, row in enumerate(frames, 1):
            row["frame"] = number
        (piece,) = b.slices(frames[:1])
        piece.messages = np.array(frames, MESSAGE)
        return [found.rule for found in rules.detect(piece)]

    before = [*b.other(0, 60), b.answer(60, 0.0), *b.other(60, 61)]
    after = [*b.other(41, 45), b.answer(45, 20.0), *b.other(45, 70), b.answer(70, 20.0)]
    assert said([*before, *after]) == []
    assert said([*before, *[row for row in after if row["ts"] > START + 61 * 10**9]]) == ["ntp-shift"]
