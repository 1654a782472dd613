"""IEEE C37.118 synchrophasors: source, rate, configuration, time, data errors, streams switched off.

Standard followed: IEEE C37.118.2-2011, clause 6: common words (ID code, time quality of FRACSEC, check word),
data frame (STAT: data error), configuration frame (DATA_RATE) and command frame.

A stream sends up to 120 frames a second: they are counted and compared by column, and only what changed is
looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, changes, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "c37118"
DATA: Final = 0
CONFIGURATIONS: Final = (2, 3, 5)
OFF, ON = 1025, 1026
ON_AGAIN: Final = 60.0
BAD_FRAMES: Final = 3
WINDOW: Final = 10
"""Seconds over which frames are counted; the first and the one after a pause are cut short."""

TOO_FEW, TOO_MANY = 0.9, 1.1
OTHER_SOURCE: Final = 10 * SECOND
LOW_HZ, HIGH_HZ = 40.0, 70.0
UNLOCKED, CLOCK_FAILED = 1, 15
ERRORS: Final = {1: "PMU error, no information about the data", 2: "test mode or absent data", 3: "PMU error"}

CHECK = Rule("c37118-checksum", Level.WARNING, {"fault": 0.5, "attack": 0.5}, "T0814")
STATUS = Rule("c37118-data-error", Level.NOTICE, {"fault": 0.7, "operation": 0.2, "attack": 0.1})
TIME = Rule("c37118-time", Level.NOTICE, {"fault": 0.7, "attack": 0.3}, "T0832")
SOURCE = Rule("c37118-source", Level.ALARM, {"attack": 0.85, "operation": 0.15}, "T0856")
RATE = Rule("c37118-rate", Level.NOTICE, {"fault": 0.5, "visibility": 0.3, "attack": 0.2}, "T0804")
EXTRA = Rule("c37118-extra-frames", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0856")
CHANGED = Rule("c37118-configuration", Level.WARNING, {"operation": 0.6, "attack": 0.4}, "T0836")
SWITCHED_OFF = Rule("c37118-off", Level.WARNING, {"attack": 0.5, "operation": 0.5}, "T0815")
FREQUENCY = Rule("c37118-frequency", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0856")


@dataclass(slots=True)
class _Stream:
    """One ID code from one source."""

    status: int = -1
    time: int = -1
    rate: int = 0
    configuration: tuple[int, int, int, str] | None = None
    begun: int = 0  # ns; where counting began
    frames: int = 0
    last: int = 0
    odd: bool = False


class C37118Rules(ProtocolRules):
    """Checks synchrophasor frames of a slice, stream by stream."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._streams, self._sources = self.table(), self.table()
        self._bad = self.tally(10)
        self._off = self.promise(ON_AGAIN)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Damage, then commands, configurations, and data by column."""
        self.refusals(
            CHECK, self._bad, rows.compress(has(rows, Flag.MALFORMED)), BAD_FRAMES, "sent damaged frames to"
        )
        rows = rows.compress(~has(rows, Flag.MALFORMED | Flag.TRUNCATED))
        for row in rows.compress(among(rows["kind"], (OFF, ON)))[:MAX_READ]:
            self._command(row)
        for row in changes(rows.compress(among(rows["kind"], CONFIGURATIONS)), "kind", "aux", "count")[
            :MAX_READ
        ]:
            self._configuration(row)
        for mine in grouped(rows.compress(rows["kind"] == DATA), "conv"):
            conv = int(mine[0]["conv"])
            stream = self._streams.get(conv) or self._streams.put(conv, _Stream())
            self._source(mine)
            self._count(mine, stream)
            for row in changes(mine, "cause", "state")[:MAX_READ]:
                self._state(row, stream)
            self._values(mine, stream)

    def _command(self, row: Any) -> None:
        client, server = self.sides(row)
        key = (server, int(row["point"]))
        if int(row["kind"]) == ON:
            self._off.keep(key)
            return
        text = (
            f"{client} switched off the data of {server}, and nobody switched it on within {ON_AGAIN:.0f} s"
        )
        self._off.wait(key, self.make(SWITCHED_OFF, one(row), text, "data on", "data off"))

    def _configuration(self, row: Any) -> None:
        conv = int(row["conv"])
        stream = self._streams.get(conv) or self._streams.put(conv, _Stream())
        now = (int(row["kind"]), int(row["aux"]), int(row["count"]), self.names.text(int(row["name"])))
        old, stream.configuration = stream.configuration, now
        if int(row["aux"]) > 0:
            stream.rate = int(row["aux"])
        if old is None or old[0] != now[0] or old == now:
            return
        words = [f"{c[1]} frames/s, {c[2]} PMUs, {c[3] or 'no name'}" for c in (old, now)]
        text = f"{self.host(row['src'])} changed the configuration of ID code {row['point']}: {words[1]}"
        self.say(CHANGED, one(row), text, words[0], words[1])

    def _source(self, rows: Rows) -> None:
        """One ID code that arrives from two sources at one receiver."""
        for row in changes(rows, "src", "dst"):
            if int(row["role"]) != Role.SERVER:
                continue
            key, source, now = (int(row["point"]), int(row["dst"])), int(row["src"]), int(row["ts"])
            known = self._sources.get(key)
            if known and known[0] != source and now - known[1] < OTHER_SOURCE:
                text = (
                    f"{self.host(source)} sends data of ID code {row['point']}, as {self.host(known[0])} does"
                )
                self.say(
                    SOURCE, one(row), text, self.host(known[0]), self.host(source), group=str(row["point"])
                )
                continue
            self._sources.put(key, (source, int(rows["ts"][-1])))

    def _count(self, rows: Rows, stream: _Stream) -> None:
        """Data frames of ten seconds against the configured rate."""
        first, last = int(rows["ts"][0]), int(rows["ts"][-1])
        if not stream.begun or first - stream.last > 2 * SECOND:
            stream.begun, stream.frames = first, 0
        stream.frames += len(rows)
        stream.last = last
        spent = (last - stream.begun) / SECOND
        if spent < WINDOW or stream.rate <= 0:
            return
        rate = (stream.frames - 1) / spent
        stream.begun, stream.frames = last, 1
        if rate > TOO_MANY * stream.rate:
            text = (
                f"ID code {rows[0]['point']} sends {rate:.1f} frames/s; its configuration says {stream.rate}"
            )
            self.say(EXTRA, rows[-1:], text, f"{stream.rate} frames/s", f"{rate:.1f}")
        elif rate < TOO_FEW * stream.rate:
            text = (
                f"ID code {rows[0]['point']} sends {rate:.1f} frames/s; its configuration says {stream.rate}"
            )
            self.say(RATE, rows[-1:], text, f"{stream.rate} frames/s", f"{rate:.1f}")

    def _state(self, row: Any, stream: _Stream) -> None:
        status, quality = int(row["cause"]), int(row["state"]) & 0xF if int(row["state"]) >= 0 else -1
        if stream.status == 0 and status > 0:
            error = ERRORS.get(status, "data error")
            text = f"PMU of ID code {row['point']} at {self.host(row['src'])}: {error}"
            self.say(STATUS, one(row), text, "data error 0", f"data error {status}")
        if stream.time >= 0 and quality > stream.time:
            failed = quality == CLOCK_FAILED
            text = f"time quality of ID code {row['point']} fell from {stream.time} to {quality}" + (
                ": its clock failed" if failed else ": its clock is not locked"
            )
            level = Level.WARNING if failed else None
            self.say(TIME, one(row), text, f"time quality {stream.time}", str(quality), level=level)
        stream.status = status if status >= 0 else stream.status
        stream.time = quality if quality >= 0 else stream.time

    def _values(self, rows: Rows, stream: _Stream) -> None:
        values = rows["value"]
        odd = (values == values) & ((values < LOW_HZ) | (values > HIGH_HZ)) & (rows["cause"] <= 0)
        if odd.any() and not stream.odd:
            row = rows[odd][0]
            text = f"ID code {row['point']} reports {float(row['value']):.3f} Hz as good, which no grid has"
            self.say(
                FREQUENCY, rows[odd], text, f"{LOW_HZ:.0f} to {HIGH_HZ:.0f} Hz", f"{row['value']:.3f} Hz"
            )
        stream.odd = bool(odd.any())
