"""Sampled values against what electricity allows: steps, played recordings, streams that stop.

Standards followed: UCA 9-2LE (eight channels: currents of phases 1 to 3 and neutral, voltages likewise),
IEC 61850-9-2:2011, 8.5 (one sample each 1/smpRate, without end). What is compared are seconds (RMS of each
channel, frequency), each with the ones before it and with the other streams of the site.

- A load, a motor, a short circuit change the phases alike at most by chance, and the neutral current in a way
  of its own. Whoever multiplies samples changes phases and neutral by one factor, noise included.
- Where one phase alone changes, the neutral current has to change with it (Kirchhoff).
- A phase current of several times the load pulls down its own voltage.
- Noise never repeats: seconds that are equal to the last digit to earlier ones were recorded. Where a
  recording ends and another begins, the phase jumps, and with it the frequency of that one second, at
  constant RMS.
- All streams of a station see one frequency; it does not jump by hertz within a second.

What a breaker does (a GOOSE state change at that time) is told at info: lines take over the load of another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens
from detectors.rules.common import Bounded, protocol_columns
from detectors.rules.shared import ProtocolRules, Rule, one
from detectors.sv_seconds import Second, seconds
from detectors.sv_steps import ALIKE, step_of, unmoved

NAME: Final = "sv"
MAX_STREAMS: Final = 256
SEEN: Final = 600
"""Seconds of each stream that are remembered to be recognised."""

LIVELY: Final = 10
"""Seconds in a row, all different, before a repeated one means something."""

STOPPED: Final = 3 * SECOND
LASTED: Final = 10
"""Seconds in a row that a stream must have had; test sets send bursts."""

RARE: Final = 60 * SECOND
"""A GOOSE block that changed its state within this time before tells measurements, not switching."""

CHANGES: Final = 64
SHIFT_HZ: Final = 0.03
"""Deviation of one second's frequency from its neighbours: 360 degrees times it is the phase jump."""

ALONE_HZ: Final = 0.08
"""The same where no other stream says that the grid was quiet."""

QUIETER: Final = 8.0
JUMP_HZ: Final = 2.0
STILL: Final = 0.02
TOLD: Final = 10
"""Seconds for which a rule says nothing more of a stream."""

SCALED = Rule("sv-scaled", Level.WARNING, {"attack": 0.65, "fault": 0.2, "operation": 0.15}, "T0856")
NEUTRAL = Rule("sv-neutral", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0856")
OVER = Rule("sv-overcurrent", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0856")
NO_VOLTAGE = Rule("sv-voltage-lost", Level.NOTICE, {"fault": 0.6, "attack": 0.3, "operation": 0.1}, "T0856")
NO_CURRENT = Rule("sv-zero", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0856")
REPLAYED = Rule("sv-replay", Level.WARNING, {"attack": 0.75, "fault": 0.25}, "T0856")
PHASE = Rule("sv-phase", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0856")
HERTZ = Rule("sv-frequency-step", Level.WARNING, {"attack": 0.55, "fault": 0.45}, "T0856")
SILENT = Rule("sv-stopped", Level.WARNING, {"fault": 0.5, "attack": 0.4, "visibility": 0.1}, "T0804")


@dataclass(slots=True)
class _Life:
    """What is remembered of one stream."""

    row: Any
    ts: int
    past: deque[tuple[int, Second]] = field(default_factory=lambda: deque(maxlen=6))
    ring: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SEEN, np.int64))
    lasted: int = 0  # seconds without a pause
    lively: int = 0
    offset: int = 0  # seconds between the last second and its twin
    noise: float = 0.0  # Hz; how far a second's frequency usually lies from its neighbours
    told: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    def at(self, number: int) -> Second | None:
        """The second of that number."""
        return next((second for when, second in self.past if when == number), None)


class SvWaveRules(ProtocolRules):
    """Watches the seconds of each stream."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._lives: Bounded[int, _Life] = self.table(MAX_STREAMS)
        self._goose = lens.protocol("goose")
        self._changed: deque[int] = deque(maxlen=CHANGES)
        self._latest: Bounded[int, int] = self.table()

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice; also of streams that are not in it any more."""
        self._switching(piece)
        found = super().detect(piece)
        if len(piece.messages):
            self._silent(piece.end)
        return found

    def counters(self) -> dict[str, int]:
        """What was given up because a table was full."""
        return {"sv_wave_state_evicted": sum(table.evicted for table in self.bounded)}

    def check(self, rows: npt.NDArray[Any], piece: Slice) -> None:
        """Each closed second, in order."""
        for second in seconds(piece, self.proto):
            life = self._lives.get(second.conv)
            if life is None:
                life = self._lives.put(second.conv, _Life(second.row, second.ts))
            if second.ts - life.ts > STOPPED and not life.stopped:
                self._stopped(life)
            number = second.ts // SECOND
            if life.past and number != life.past[-1][0] + 1:
                life.past.clear()
                life.lively = life.lasted = 0
            life.lasted += 1
            life.past.append((number, second))
            life.row, life.ts, life.stopped = second.row, second.ts, False
            self._again(life, number, second)
            if len(life.past) >= 3:
                self._shifted(life, number)
            if len(life.past) >= 5:
                self._stepped(life, number)

    def _tell(
        self,
        life: _Life,
        rule: Rule,
        text: str,
        expected: str,
        observed: str,
        excused: bool = False,
        level: Level | None = None,
    ) -> None:
        """One finding of a rule and stream in a while; ``excused`` is told at info."""
        number = life.past[-1][0]
        if number - life.told.get(rule.ident, -TOLD) < TOLD:
            return
        life.told[rule.ident] = number
        point = self.point(life.row)
        if excused:
            text, level = f"{text}; a breaker or protection changed its state with it", Level.INFO
        self.say(rule, one(life.row), f"{point} {text}", expected, observed, group=point, level=level)

    # --- what was switched ---------------------------------------------------------------------------

    def _switching(self, piece: Slice) -> None:
        """Note GOOSE changes of state of publishers that seldom change."""
        if self._goose < 0:
            return
        columns = protocol_columns(piece, self._goose)
        if not len(columns):
            return
        begins = columns["kind"] == 1
        if not begins.any():
            return
        fresh = columns.where(begins)
        for point, ts in zip(fresh.list("point"), fresh.list("ts"), strict=True):
            last = self._latest.get(point)
            self._latest.put(point, ts)
            if last is None or ts - last > RARE:
                self._changed.append(ts)

    def _switched(self, first: int, last: int) -> bool:
        return any(first <= ts <= last for ts in self._changed)

    # --- seconds that were there before --------------------------------------------------------------

    def _again(self, life: _Life, number: int, second: Second) -> None:
        """A lively stream whose seconds repeat earlier ones to the last digit, two in a row."""
        values = tuple(second.rms.values())
        if sum(value > 0 for value in values) < 3:
            life.lively, life.offset = 0, 0
            return
        mark, place = hash(values) or 1, number % SEEN
        if life.ring[place - 1] == mark:  # it shows no noise
            life.ring[place] = mark
            life.lively = 0
            return
        life.ring[place] = 0
        ages = (number - np.flatnonzero(life.ring == mark)) % SEEN
        life.ring[place] = mark
        if not len(ages):
            life.lively, life.offset = life.lively + 1, 0
        elif life.lively >= LIVELY:
            if life.offset in ages:
                text = f"repeats to the last digit what it measured {life.offset} s before"
                self._tell(life, REPLAYED, text, "noise never repeats", f"again after {life.offset} s")
            else:
                life.offset = int(ages.min())

    # --- phase and frequency -------------------------------------------------------------------------

    def _shifted(self, life: _Life, number: int) -> None:
        """One second whose frequency departs from both neighbours while no RMS moves: the phase jumped."""
        (_, before), (when, middle), (_, after) = list(life.past)[-3:]
        depart = middle.hertz - (before.hertz + after.hertz) / 2
        if depart != depart:
            return
        usual, size = life.noise, abs(depart)
        life.noise = size if usual == 0 else usual + 0.1 * (min(size, 4 * usual) - usual)
        returns = abs(after.hertz - before.hertz) <= size / 4
        if size < max(SHIFT_HZ, QUIETER * usual) or usual == 0 or not returns:
            return
        clean = before.clean and middle.clean and after.clean
        if not clean or not _still(before, middle) or not _still(middle, after):
            return
        others = self._others(life, when, when - 1)
        calm = [abs(one.hertz - prior.hertz) < size / 3 for prior, one in others]
        if any(not quiet for quiet in calm) or (not calm and size < ALONE_HZ):
            return
        degrees = 360 * depart
        text = f"jumped in phase by {degrees:.0f} degrees while its values stayed"
        beside = f"{len(calm)} other streams did not" if calm else "no other stream to compare with"
        self._tell(life, PHASE, f"{text} ({beside})", "a steady phase", f"{degrees:.0f} degrees")

    def _others(self, life: _Life, *numbers: int) -> list[tuple[Second, ...]]:
        """The same seconds of the other streams that have them, latest number last."""
        found = []
        for other in self._lives.values():
            if other is not life:
                mine = [other.at(number) for number in sorted(numbers)]
                if all(one is not None and one.hertz == one.hertz for one in mine):
                    found.append(tuple(one for one in mine if one is not None))
        return found

    # --- steps -----------------------------------------------------------------------------------------

    def _stepped(self, life: _Life, number: int) -> None:
        """What lies behind the second before the last two, against what lay before it."""
        windows = [second for _, second in list(life.past)[-5:]]
        self._hertz(life, number, windows)
        step = None
        if not unmoved(windows[0].electric, windows[4].electric):
            step = step_of([second.electric for second in windows])
        if step is None:
            return
        excused = self._switched(windows[0].ts - SECOND, windows[4].ts)
        if step.factor is not None:
            text = f"changed all its currents by {step.factor:.4g}, the neutral's too, at constant voltage"
            observed = f"one factor of {step.factor:.4g} in all of them"
            self._tell(life, SCALED, text, "a load of its own in each phase", observed, excused=excused)
        elif step.volts is not None and not self._agree(life, number, step.volts):
            text = f"changed all its voltages by {step.volts:.4g} at constant currents"
            observed = f"factor {step.volts:.4g}"
            self._tell(life, SCALED, text, "currents follow voltages", observed, excused=excused)
        elif step.exact is not None:
            text = f"changed its three unequal phase currents by exactly {step.exact:.4g} at constant voltage"
            observed, level = f"factor {step.exact:.4g}", Level.NOTICE
            expected = "a load of its own in each phase"
            self._tell(life, SCALED, text, expected, observed, excused=excused, level=level)
        if step.lonely is not None:
            phase, change, neutral = step.lonely
            text = (
                f"changed the current of phase {phase + 1} alone by {change:.4g} A, the neutral's not with it"
            )
            expected, observed = "phases and neutral sum up to 0", f"{change:.4g} A, neutral {neutral:.4g} A"
            self._tell(life, NEUTRAL, text, expected, observed, excused=excused)
        if step.over is not None:
            phase, factor = step.over
            text = f"has {factor:.3g} times the current in phase {phase + 1}, and its voltage stays"
            observed = f"{factor:.3g} times for seconds"
            self._tell(life, OVER, text, "a short circuit pulls its voltage down", observed, excused=excused)
        if step.blind:
            text = "lost its voltages while its currents go on"
            self._tell(life, NO_VOLTAGE, text, "voltage where current flows", "none", excused=excused)
        if step.zero:
            text = "shows currents of exactly 0; before, they had a value and noise"
            self._tell(life, NO_CURRENT, text, "noise of the converter", "0", excused=excused)

    def _agree(self, life: _Life, number: int, factor: float) -> bool:
        """Did another stream's voltages change by the same factor? Then the grid did."""
        for before, after in self._others(life, number - 4, number - 1):
            pairs = zip(before.electric[4:7], after.electric[4:7], strict=False)
            ratios = [now / then for then, now in pairs if then > 0]
            if ratios and all(abs(ratio / factor - 1) <= ALIKE for ratio in ratios):
                return True
        return False

    def _hertz(self, life: _Life, number: int, windows: list[Second]) -> None:
        """A frequency that stepped by hertz and stays, on a signal that is still there."""
        first, second, _, fourth, last = (one.hertz for one in windows)
        jump = min(abs(fourth - second), abs(last - second))
        if not (abs(second - first) < JUMP_HZ / 10 and jump > JUMP_HZ):
            return
        before, after = (max(one.rms.values(), default=0.0) for one in (windows[0], windows[4]))
        if after < before / 2:
            return
        others = self._others(life, number - 4, number - 1)
        if any(abs(now.hertz - then.hertz) > JUMP_HZ / 2 for then, now in others):
            return
        text = f"stepped from {second:.2f} to {last:.2f} Hz"
        beside = f"; {len(others)} other streams did not" if others else ""
        switched = self._switched(windows[0].ts - SECOND, windows[4].ts) and not others
        expected, observed = f"near {second:.2f} Hz", f"{last:.2f} Hz"
        self._tell(life, HERTZ, text + beside, expected, observed, excused=switched)

    # --- streams that stop -----------------------------------------------------------------------------

    def _silent(self, clock: int) -> None:
        for life in self._lives.values():
            if not life.stopped and clock - life.ts > STOPPED:
                self._stopped(life)

    def _stopped(self, life: _Life) -> None:
        life.stopped = True
        if life.lasted < LASTED:
            return
        point = self.point(life.row)
        text, observed = f"{point} stopped while other traffic goes on", f"none for {STOPPED // SECOND} s"
        made = self.make(SILENT, one(life.row), text, "a sample each 1/smpRate", observed, group=point)
        made.ts, made.frames = life.ts + STOPPED, []
        self.found.append(self.losses.weigh(made, life.ts, max(1, int(life.row["count"]))))


def _still(one: Second, two: Second) -> bool:
    """Did no channel of weight move?"""
    values = list(zip(one.rms.values(), two.rms.values(), strict=False))
    halves = (values[:4], values[4:]) if len(values) == 8 else (values,)
    for half in halves:
        most = max((max(pair) for pair in half), default=0.0)
        if any(abs(a - b) > STILL * max(a, b) for a, b in half if max(a, b) > most / 2):
            return False
    return bool(values)
