"""Sampled values: sample counter, rate, source, synchronisation, quality, waveforms that cannot be.

Standards followed: IEC 61850-9-2:2011 (smpCnt, confRev, smpSynch, simulation bit), UCA 9-2LE (80 samples a
cycle, quality of a channel as IEC 61850-7-3) and IEC 61869-9 (sample rates; smpCnt begins at 0 each second).
The decoder has reduced a stream to its events and a row a second, so that every row is looked at.

A waveform is frozen when the RMS of a channel was alive, second by second, and then repeats to the last
digit: test sets that repeat one cycle for ever were never alive, and say nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import ProtocolRules, Rows, Rule, changes, one
from detectors.sv_seconds import WINDOW, seconds
from grid_profiles.vocabulary import Flag

NAME: Final = "sv"
MAX_STREAMS: Final = 1_024
FIRST, _, GAP, REPEATED, SYNCH, SOURCE, CONFIGURATION, QUALITY, UNREADABLE = range(1, 10)
BURST: Final = 3
"""Samples missing in a row from which protection functions usually block (IEC 61869-9 leaves it to them)."""

VALIDITY: Final = 0x3
INVALID: Final = 0x1
TEST_BIT: Final = 0x800
FEW: Final = 5
"""Seconds of life, and of standstill after it, that make a waveform frozen."""

LOW_HZ, HIGH_HZ = 40.0, 70.0
RATE_SHARE: Final = 0.02
FLOOD_SHARE: Final = 1.5
PRESENT: Final = 0.2
"""Share of a stream's strongest RMS below which it has no frequency."""

DEAD: Final = 1e-3
"""Share of its former RMS below which a channel is gone."""

SYNCH_TEXT: Final = {0: "none", 1: "local clock", 2: "global clock"}

LOST = Rule("sv-gap", Level.NOTICE, {"visibility": 0.4, "fault": 0.4, "attack": 0.2}, "T0804")
AGAIN = Rule("sv-repeat", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0856")
SECOND_SOURCE = Rule("sv-source", Level.ALARM, {"attack": 0.85, "operation": 0.15}, "T0856")
SYNCH_LOST = Rule("sv-synch", Level.WARNING, {"fault": 0.65, "attack": 0.35}, "T0832")
CHANGED = Rule("sv-configuration", Level.WARNING, {"operation": 0.5, "attack": 0.5}, "T0836")
BAD = Rule("sv-invalid", Level.WARNING, {"fault": 0.8, "operation": 0.1, "attack": 0.1})
TEST = Rule("sv-test", Level.WARNING, {"operation": 0.6, "attack": 0.4}, "T0856", habit=1)
BROKEN = Rule("sv-unreadable", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0814")
RATE = Rule("sv-rate", Level.WARNING, {"attack": 0.5, "fault": 0.4, "visibility": 0.1}, "T0856")
FLOOD = Rule("sv-flood", Level.ALARM, {"attack": 0.75, "fault": 0.25}, "T0814")
FROZEN = Rule("sv-frozen", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0856")
NOTHING = Rule("sv-dead", Level.NOTICE, {"fault": 0.6, "operation": 0.25, "attack": 0.15})
FREQUENCY = Rule("sv-frequency", Level.WARNING, {"fault": 0.5, "attack": 0.5}, "T0856")


@dataclass(slots=True)
class _Stream:
    """What is usual for one stream, second by second."""

    rate: float = -1.0
    seconds: int = 0
    rms: dict[int, float] = field(default_factory=dict)
    alive: dict[int, int] = field(default_factory=dict)  # seconds in which a channel moved
    still: dict[int, int] = field(default_factory=dict)  # seconds for which it repeats since
    lived: bool = False
    dead: bool = False
    plausible: int = 0
    odd: int = 0
    strongest: float = 0.0  # RMS while the frequency was plausible
    test: bool = False


class SvRules(ProtocolRules):
    """Checks the events and the seconds of sampled value streams."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._streams = self.table(MAX_STREAMS)
        self._sources: dict[str, set[str]] = {}
        if baseline is not None:
            for row in baseline.spoken("conversations", NAME):
                self._sources.setdefault(row.sub, set()).add(row.client)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Events one by one, seconds with their points."""
        self._simulated(rows)
        for row in changes(rows.compress(rows["kind"] == FIRST), "ident")[:MAX_READ]:
            self._foreign(row)
        events, _ = thinned(rows.compress(rows["kind"] > WINDOW), MAX_READ)
        for row in events:
            self._event(row)
        self._seconds(piece)

    def _seconds(self, piece: Slice) -> None:
        """The closed second of each stream, with what its channels measured."""
        for second in seconds(piece, self.proto):
            row, now = second.row, second.rms
            stream = self._streams.get(second.conv) or self._streams.put(second.conv, _Stream())
            self._rate(row, stream, second.rate, second.samples)
            most = max(now.values(), default=0.0)
            self._frozen(row, stream, now)
            self._dead(row, stream, now, most)
            self._frequency(row, stream, second.hertz, most)
            stream.rms = now
            stream.seconds += 1

    def _simulated(self, rows: Rows) -> None:
        """The simulation bit of the frame or the test bit of a channel, told when it appears."""
        for row in changes(rows, "flags")[:MAX_READ]:
            stream = self._streams.get(int(row["conv"])) or self._streams.put(int(row["conv"]), _Stream())
            test = bool(int(row["flags"]) & int(Flag.TEST))
            if test and not stream.test:
                text = f"{self.point(row)} carries the simulation bit or the test quality"
                self.say(TEST, one(row), text, "bit clear in operation", "bit set", group=self.point(row))
            stream.test = test

    def _foreign(self, row: Any) -> None:
        """The first frame of a stream whose svID belongs to somebody else."""
        ident, source = self.names.text(int(row["ident"])), self.host(row["src"])
        known = self._sources.get(ident)
        if known and source not in known:
            self._second(row, source, ", ".join(sorted(known)))

    def _second(self, row: Any, source: str, owner: str) -> None:
        text = f"{source} publishes {self.point(row)}, whose source is {owner}"
        self.say(SECOND_SOURCE, one(row), text, owner, source, group=self.point(row))

    def _event(self, row: Any) -> None:
        kind, was, point = int(row["kind"]), int(row["aux"]), self.point(row)
        now = float(row["value"]) if np.isfinite(row["value"]) else float("nan")
        if kind == GAP:
            missing = int(now) if now == now else 0
            text = f"{missing} samples of {point} before smpCnt {row['seq']} never came by"
            level = Level.WARNING if missing >= BURST else Level.NOTICE
            counts = (f"smpCnt {was}", f"smpCnt {row['seq']}")
            self.miss(LOST, one(row), text, *counts, max(1, missing), group=point, level=level)
        elif kind == REPEATED:
            text = f"{point} went back to smpCnt {row['seq']}; due was {was}"
            self.say(AGAIN, one(row), text, f"smpCnt {was}", f"smpCnt {row['seq']}", group=point)
        elif kind == SOURCE:
            other = self.lens.conv(was)[1] if was >= 0 else "another station"
            self._second(row, self.host(row["src"]), other)
        elif kind == SYNCH and now == now:
            self._synchronisation(row, was, int(now), point)
        elif kind == CONFIGURATION:
            text = f"{point} changed its configuration: confRev {was} before, {row['cause']} now"
            self.say(CHANGED, one(row), text, f"confRev {was}", f"confRev {row['cause']}", group=point)
        elif kind == QUALITY and now == now:
            self._validity(row, was, int(now), point)
        elif kind == UNREADABLE and int(row["flags"]) & int(Flag.MALFORMED):
            text = f"frames of {point or self.host(row['src'])} cannot be read"
            self.say(BROKEN, one(row), text, "IEC 61850-9-2 coding", "malformed", group=point)

    def _synchronisation(self, row: Any, was: int, now: int, point: str) -> None:
        words = [SYNCH_TEXT.get(value, f"area clock {value}") for value in (was, now)]
        worse = _rank(now) < _rank(was)
        text = f"{point} {'lost' if worse else 'changed'} its synchronisation: {words[0]}, now {words[1]}"
        self.say(
            SYNCH_LOST, one(row), text, words[0], words[1], group=point, level=None if worse else Level.INFO
        )

    def _validity(self, row: Any, was: int, now: int, point: str) -> None:
        if not now & VALIDITY or now & VALIDITY == was & VALIDITY:
            return
        bad = "invalid" if now & VALIDITY == INVALID else "questionable"
        level = Level.WARNING if bad == "invalid" else Level.NOTICE
        text = f"a channel of {point} became {bad} (quality 0x{now:04x})"
        self.say(BAD, one(row), text, "validity good", bad, group=point, level=level)

    def _rate(self, row: Any, stream: _Stream, rate: float, samples: int) -> None:
        """Samples a second against the stream's own; losses are told as such."""
        if rate <= 0 or samples < 50:
            return
        if stream.rate < 0:
            if stream.seconds >= 1:  # the first second is cut short
                stream.rate = rate
            return
        share = rate / stream.rate
        if abs(share - 1) <= RATE_SHARE:
            return
        point = self.point(row)
        expected, observed = f"{stream.rate:.0f} samples/s", f"{rate:.0f} samples/s"
        if share > FLOOD_SHARE:
            text = f"{point} carries {rate:.0f} samples/s instead of {stream.rate:.0f}"
            self.say(FLOOD, one(row), text, expected, observed, group=point)
        else:
            text = f"{point} runs at {rate:.0f} samples/s instead of {stream.rate:.0f}"
            self.say(RATE, one(row), text, expected, observed, group=point)

    def _frozen(self, row: Any, stream: _Stream, now: dict[int, float]) -> None:
        for channel, value in now.items():
            before = stream.rms.get(channel)
            if before is None or value <= 0:
                continue
            if value != before:
                stream.alive[channel] = stream.alive.get(channel, 0) + 1
                stream.still[channel] = 0
                continue
            stream.still[channel] = stream.still.get(channel, 0) + 1
            if stream.still[channel] == FEW and stream.alive.get(channel, 0) >= FEW:
                stream.alive[channel] = 0
                name = self.names.point(self.proto, channel)
                text = f"{name} repeats the same waveform for {FEW} s (RMS {value:.6g}); it was alive before"
                self.say(FROZEN, one(row), text, "a measured value moves", "it stands still", group=name)

    def _dead(self, row: Any, stream: _Stream, now: dict[int, float], most: float) -> None:
        """Every channel of a stream fell to nothing at once."""
        before = max(stream.rms.values(), default=0.0)
        if before > 0 and now and most < DEAD * before:
            text = f"all channels of {self.point(row)} fell to zero within a second"
            self.say(NOTHING, one(row), text, f"RMS near {before:.4g}", f"{most:.4g}", group=self.point(row))

    def _frequency(self, row: Any, stream: _Stream, hertz: float, rms: float) -> None:
        """Frequency of a stream that had a plausible one; that of noise on a dead line says nothing."""
        if hertz != hertz or rms <= PRESENT * stream.strongest or rms <= 0:
            return
        if LOW_HZ <= hertz <= HIGH_HZ:
            stream.plausible, stream.odd = stream.plausible + 1, 0
            stream.strongest = max(stream.strongest, rms)
            return
        stream.odd += 1
        if stream.odd == 2 and stream.plausible >= FEW:
            text = f"{self.point(row)} has {hertz:.2f} Hz for 2 s, which no grid has"
            self.say(
                FREQUENCY, one(row), text, f"{LOW_HZ:.0f} to {HIGH_HZ:.0f} Hz", f"{hertz:.2f} Hz",
                group=self.point(row),
            )  # fmt: skip


def _rank(synch: int) -> int:
    """How much a synchronisation is worth: global before an area's clock (5 to 254) before none."""
    return 3 if synch == 2 else 0 if synch == 0 else 1
