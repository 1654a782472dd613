"""IEC 60870-5-104: the time that a clock command (C_CS_NA_1) sets.

Standard followed: IEC 60870-5-101:2003, 7.3.4.4 (C_CS_NA_1) and 7.2.6.18 (CP56Time2a, which may be any zone's
time). Against the capture's clock a time may be off by whole quarters of an hour, as zones are. How far it
was off before, by the same master for the same station, is what the next one is held against (``clock.py``);
an hour or half an hour more or less is summer time. A first command that does not fit is told quietly, as the
sensor's clock may be the wrong one, and louder when that clock agrees with other masters' or for other
stations. A master that sets the same time again and again has none; its commands are told at info.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.rules.clock import ClockRules, offset_of
from detectors.rules.common import MAX_READ
from detectors.rules.shared import Rows, Rule, one
from grid_profiles.vocabulary import Role

NAME: Final = "iec104"
CLOCK: Final = 103
ACTIVATION: Final = 6
QUARTER: Final = 900.0
FARTHEST: Final = 14.25 * 3_600
"""s; zones lie between UTC-12 and UTC+14."""

SUMMER: Final = (3_600.0, 1_800.0)
STEP: Final = 2.0
"""s, from which on a time steps; a command takes its time through modems."""

OFF: Final = 5.0
FITS: Final = "clock"
"""Name of what learning keeps of clock commands among its choices (``iec104_habits.py``)."""

VALUE = Rule("iec104-clock-value", Level.WARNING, {"attack": 0.5, "fault": 0.35, "operation": 0.15}, "T0832")


def beside_zones(offset: float) -> float:
    """Seconds that an offset lies beside the nearest quarter of an hour; all of it when no zone is so far."""
    return offset - QUARTER * round(offset / QUARTER) if abs(offset) <= FARTHEST else offset


class Iec104ClockRules(ClockRules):
    """Checks clock commands one by one."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._same = self.table()
        self._fit = clocks_fit(baseline)
        self._agrees: set[int] = set()  # two conversations at most whose commands fit the capture's clock

    def check(self, rows: Rows, piece: Slice) -> None:
        """Commands that set a clock."""
        chosen = (rows["kind"] == CLOCK) & (rows["cause"] == ACTIVATION) & (rows["role"] == Role.CLIENT)
        for row in rows.compress(chosen & (rows["count"] > 0))[:MAX_READ]:
            if np.isnan(row["value"]):
                src, dst = self.host(row["src"]), self.host(row["dst"])
                text = f"{src} sets the clock of {dst} to a time that is none"
                self.say(VALUE, one(row), text, "a date and a time", "an impossible one", level=Level.NOTICE)
            else:
                self._set(row)

    def _set(self, row: Any) -> None:
        conv, time, offset = int(row["conv"]), float(row["value"]), offset_of(row)
        known, same = self.known.get(conv), self._same.get(conv)
        self._same.put(conv, time)
        if known is not None and same == time:
            known.take(offset, int(row["ts"]), int(row["frame"]))
            self._tell(row, offset, "the very time of the command before", "a later time", Level.INFO)
            return
        zone = abs(offset) <= FARTHEST
        step = self.stepped(
            row, STEP, lambda size: zone and any(abs(abs(size) - change) <= STEP for change in SUMMER)
        )
        if known is None:
            self._first(row, offset)
        elif step is not None:
            what = f"{step.size:+.1f} s from what it set before" + (
                ", as it was earlier" if step.back else ""
            )
            self._tell(row, offset, what, f"{step.before:+.1f} s from the capture's clock", step.level)
            self.found[-1].frames = step.frames

    def _first(self, row: Any, offset: float) -> None:
        """The first command of a master to a station, of which nobody knows how far it is off as a rule."""
        conv, beside = int(row["conv"]), beside_zones(offset)
        if abs(beside) <= OFF:
            if len(self._agrees) < 2:
                self._agrees.add(conv)
            return
        sure = self._fit or bool(self._agrees - {conv})
        far = abs(offset) > FARTHEST
        level = (Level.WARNING if sure else Level.NOTICE) if far else (Level.NOTICE if sure else Level.INFO)
        what = (
            f"{offset:+.1f} s from the capture's clock, where no zone is"
            if far
            else f"{beside:+.1f} s beside any zone"
        )
        self._tell(row, offset, what, "the time of a zone", level)

    def _tell(self, row: Any, offset: float, what: str, expected: str, level: Level | None) -> None:
        time = datetime.fromtimestamp(float(row["value"]), UTC).strftime("%Y-%m-%d %H:%M:%S")
        station = self.host(row["dst"])
        text = f"{self.host(row['src'])} sets the clock of {station} to {time}: {what}"
        observed = f"{offset:+.1f} s from the capture's clock"
        self.say(VALUE, one(row), text, expected, observed, group=station, level=level)


def clocks_fit(baseline: Baseline | None) -> bool:
    """Did learning see clock commands that fit the capture's time, and none that did not?"""
    fits = {
        int(row.value)
        for row in (baseline.rows("choices") if baseline is not None else ())
        if (row.protocol, row.what) == (NAME, FITS)
    }
    return fits == {1}
