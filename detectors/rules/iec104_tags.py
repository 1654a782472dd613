"""IEC 60870-5-104: time tags of values and of commands against what was told before, and the time of arrival.

Standard followed: IEC 60870-5-101:2003, 7.2.6.18 (CP56Time2a; IV marks a time that its station does not
trust, such a tag is left out; SU summer time) and IEC 60870-5-104:2006, 8 (types 58 to 64: commands with a
time tag, so that a station can tell one that is too old). Zones and clocks that nobody sets make a tag differ
from the time of arrival by any amount; what counts is that the amount stays.

- **Values** (types 30 to 40, spontaneous, cyclic and background): a station sends what happened to one object
  in order of time. A tag older than one that came before for this object, and the very tag that came once
  already, is an old message played again; not within half a minute of STARTDT, when a station may send again
  what nobody acknowledged. Buffered events are old, but new, and say nothing.
- **Clock**: tags that come from a later time than before, or go back without having been there, are a clock
  that stepped or tags that somebody made. An opened connection, summer time, a step of the capture's clock,
  and a clock command whose time they then show, explain it.
- **Commands** (activation): older than a command that the same master sent before, the very tag again after
  a while, or farther from the time of arrival than commands of this master ever were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.choices import learned_choices
from detectors.groups import REPEATED, SECOND, Lens, Numbered, among, order_of, runs
from detectors.rules.clock import CaptureClock, offset_of
from detectors.rules.common import MAX_READ
from detectors.rules.iec104_clock import CLOCK, SUMMER, beside_zones
from detectors.rules.shared import ProtocolRules, Rows, Rule
from grid_profiles.vocabulary import TIME_TAG, Role

NAME: Final = "iec104"
TAGS: Final = "time tag"
"""Name of what learning keeps of commands' time tags among its choices (``iec104_habits.py``)."""

TOLD: Final = (1, 2, 3, 11, 12)
"""Causes of values that are sent when they happen: periodic, background, spontaneous, return information."""

ACTIVATION: Final = 6
FIRST_COMMAND, LAST_COMMAND = 58, 64
STARTDT: Final = (513, 514)
INVALID, SUMMER_TIME = 0x80, 0x40
HOUR_MS: Final = 3_600_000

BACK_MS: Final = 1_000
"""ms by which a tag must be older; what happens at once may be told in any order."""

RESENT: Final = 30 * SECOND
"""ns after STARTDT in which what was not acknowledged may come again."""

EXPLAINED: Final = 120 * SECOND
"""ns for which STARTDT explains a step: a station that started has its clock set."""

STEP: Final = 30.0
"""s from which tags or commands are off; modems and buffers take seconds."""

STEADY: Final = 20
"""Values that agree on how far their clock is off, before a step of it is told."""

FITS: Final = 5.0
SEVERAL: Final = 3
AGAIN: Final = 60.0
"""s after which the same tag is no longer the execute of its select."""

MAX_POINTS: Final = 100_000
SLOTS: Final = 1 << 17
REPLAYED = Rule("iec104-value-replayed", Level.NOTICE, {"attack": 0.65, "fault": 0.35}, "T0856")
STEPPED = Rule("iec104-tag-step", Level.NOTICE, {"fault": 0.5, "attack": 0.35, "operation": 0.15}, "T0832")
OLD = Rule("iec104-command-old", Level.WARNING, {"attack": 0.7, "fault": 0.2, "operation": 0.1}, "T0855")

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class _Clock:
    """How far the tags of one conversation's values are behind their arrival, s."""

    delay: float
    frame: int
    agreed: int = 0


class Tags:
    """Valid time tags of a slice, in order of arrival.

    Attributes
    ----------
    rows, messages : ndarray of POINT and of MESSAGE, shape (n,)
    ms : ndarray of int64, shape (n,)
        Time tags, ms since 1970, an hour less where they are marked as summer time.
    delays : ndarray of float64, shape (n,)
        How much later they arrived, s.
    """

    __slots__ = ("delays", "messages", "ms", "rows")

    def __init__(self, rows: Rows, messages: Rows) -> None:
        self.rows, self.messages = rows, messages
        summer = rows["quality"] & SUMMER_TIME != 0
        self.ms: Ints = np.round(rows["value"] * 1000).astype(np.int64) - HOUR_MS * summer
        self.delays = rows["ts"] / SECOND - self.ms / 1000

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, mask: npt.NDArray[Any]) -> Tags:
        """Some of them."""
        return Tags(self.rows[mask], self.messages[mask])


def tags_of(piece: Slice, proto: int) -> Tags:
    """Time tags of a slice that their stations trust, without repetitions."""
    points = piece.points
    rows = points.compress((points["kind"] >= TIME_TAG) & (points["proto"] == proto))
    rows = rows[(rows["quality"] & INVALID == 0) & (rows["value"] > 0)]
    messages = piece.messages.take(rows["message"])
    fresh = messages["flags"] & np.uint32(REPEATED) == 0
    return Tags(rows[fresh], messages[fresh])


def commands_of(tags: Tags) -> npt.NDArray[np.bool_]:
    """Which of them belong to commands that a master sends."""
    kind, cause = tags.messages["kind"], tags.messages["cause"]
    found = (tags.messages["role"] == Role.CLIENT) & (cause == ACTIVATION)
    return np.asarray(found & (kind >= FIRST_COMMAND) & (kind <= LAST_COMMAND), bool)


class Iec104TagRules(ProtocolRules):
    """Checks time tags: columns of a slice at once, odd ones by one."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._numbered = Numbered(MAX_POINTS)
        self._latest = np.zeros(1_024, np.int64)  # ms of the newest tag by number of the point
        self._seen = np.zeros(SLOTS, np.uint64)
        self._clocks, self._started, self._set = self.table(), self.table(), self.table()
        self._newest, self._usual, self._sent = self.table(), self.table(), self.table()
        self._replays = self.tally(60)
        self._capture = CaptureClock()
        self._learned = learned_choices(baseline, NAME, TAGS)

    def detect(self, piece: Slice) -> list[Any]:
        """Findings of one slice."""
        self._capture.watch(piece)
        return super().detect(piece)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Note what explains a step, then the values, then the commands."""
        for row in rows.compress(among(rows["kind"], STARTDT))[:MAX_READ]:
            self._started.put(int(row["conv"]), int(row["ts"]))
        for row in rows.compress(rows["kind"] == CLOCK)[:MAX_READ]:
            self._set.put(int(row["conv"]), -offset_of(row))
        tags = tags_of(piece, self.proto)
        if not len(tags):
            return
        told = (tags.messages["role"] == Role.SERVER) & among(tags.messages["cause"], TOLD)
        if told.any():
            self._values(tags.where(told))
        ordered = np.flatnonzero(commands_of(tags))
        for index in ordered[:MAX_READ].tolist():
            self._command(tags, index)

    # --- values -----------------------------------------------------------------------------

    def _values(self, tags: Tags) -> None:
        numbers = self._numbered.numbers(tags.rows["conv"].astype(np.int64), tags.rows["point"])
        if (numbers < 0).any():
            tags, numbers = tags.where(numbers >= 0), numbers[numbers >= 0]
        if not len(tags):
            return
        newest = self._before(numbers, tags.ms)
        back = tags.ms < newest - BACK_MS
        known = self._known(numbers, tags.ms)
        played = back & known
        if played.any():
            self._played(tags.where(played), newest[played])
        rest = ~played
        self._step(tags.where(rest), back[rest])
        behind = np.flatnonzero(back & rest)  # the clock of this object goes on from here
        self._latest[numbers[behind]] = tags.ms[behind]

    def _before(self, numbers: Ints, ms: Ints) -> Ints:
        """The newest tag of each row's point before it, ms; afterwards ``latest`` knows these rows too."""
        if int(numbers.max()) >= len(self._latest):
            longer = np.zeros(2 * (int(numbers.max()) + 1), np.int64)
            longer[: len(self._latest)] = self._latest
            self._latest = longer
        order = order_of(numbers)
        ordered, tags = numbers[order], ms[order]
        first, sizes = runs(ordered)
        group = np.repeat(np.arange(len(first), dtype=np.int64), sizes) << 45
        most = (np.maximum.accumulate(group | np.maximum(tags, 0))) & ((1 << 45) - 1)
        before = np.r_[np.int64(0), most[:-1]]
        before[first] = 0
        before = np.maximum(before, self._latest[ordered])
        ends = first + sizes - 1
        self._latest[ordered[ends]] = np.maximum(self._latest[ordered[ends]], most[ends])
        found = np.empty_like(before)
        found[order] = before
        return found

    def _known(self, numbers: Ints, ms: Ints) -> npt.NDArray[np.bool_]:
        """Which tags came before for their point; from now on these did. The oldest are forgotten."""
        keys = (numbers.astype(np.uint64) << np.uint64(45)) ^ ms.astype(np.uint64) ^ np.uint64(1 << 63)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
        places = (keys >> np.uint64(20)) & np.uint64(SLOTS - 1)
        known = self._seen[places] == keys
        self._seen[places] = keys
        return np.asarray(known, bool)

    def _played(self, tags: Tags, newest: Ints) -> None:
        """Values whose tag came before, behind newer ones."""
        for conv in np.unique(tags.messages["conv"]).tolist():
            mine = tags.messages["conv"] == conv
            rows, first = tags.messages[mine], int(np.flatnonzero(mine)[0])
            started = self._started.get(conv)
            if started is not None and 0 <= int(rows[0]["ts"]) - started <= RESENT:
                continue
            entry = self._replays.add(conv, int(rows[0]["ts"]), len(rows))
            level = Level.WARNING if entry.count >= SEVERAL else None
            old = (int(newest[first]) - int(tags.ms[first])) / 1000
            words = self.names.point(self.proto, int(tags.rows[first]["point"]))
            text = (
                f"{self.host(rows[0]['src'])} told {words} with the very time tag that it had before, "
                f"{old:.1f} s older than the newest of this object"
            )
            self.say(REPLAYED, rows, text, "tags that go on", f"{old:.1f} s back, seen before", level=level)

    def _step(self, tags: Tags, back: npt.NDArray[np.bool_]) -> None:
        """Does the clock behind the values of a conversation step?"""
        for conv in np.unique(tags.messages["conv"]).tolist():
            mine = np.flatnonzero(tags.messages["conv"] == conv)
            delay, row = float(np.median(tags.delays[mine])), tags.messages[mine[-1]]
            clock = self._clocks.get(conv)
            if clock is None:
                self._clocks.put(conv, _Clock(delay, int(row["frame"]), len(mine)))
                continue
            step = clock.delay - delay  # later than before: positive
            behind = bool(back[mine].mean() > 0.5)
            if abs(step) <= STEP:
                clock.agreed += len(mine)
            elif step < 0 and not behind:
                continue  # a buffer of old events
            elif clock.agreed >= STEADY and not self._excused(conv, row, step, delay, clock):
                text = (
                    f"the time tags of {self.host(row['src'])} step by {step:+.1f} s against their arrival, "
                    "and nobody set its clock"
                )
                self.say(
                    STEPPED, tags.messages[mine[-1:]], text, f"{-clock.delay:+.1f} s", f"{-delay:+.1f} s"
                )
                clock.agreed = 0
            clock.delay, clock.frame = delay, int(row["frame"])

    def _excused(self, conv: int, row: Any, step: float, delay: float, clock: _Clock) -> bool:
        started, given = self._started.get(conv), self._set.get(conv)
        if started is not None and 0 <= int(row["ts"]) - started <= EXPLAINED:
            return True
        if given is not None and abs(delay - given) <= FITS:  # the clock shows what it was set to
            return True
        if any(abs(abs(step) - change) <= FITS for change in SUMMER):
            return True
        # what was old before, and is now as a clock of some zone shows it, was a buffer
        caught_up = step > 0 and abs(beside_zones(-delay)) <= FITS < abs(beside_zones(-clock.delay))
        return caught_up or self._capture.made(step, clock.frame, int(row["frame"]))

    # --- commands ---------------------------------------------------------------------------

    def _command(self, tags: Tags, index: int) -> None:
        row, ms, delay = tags.messages[index], int(tags.ms[index]), float(tags.delays[index])
        conv, ts = int(row["conv"]), int(row["ts"])
        src, dst = self.host(row["src"]), self.host(row["dst"])
        what = (
            f"{src} sent {self.kind(row)} to {self.names.point(self.proto, int(tags.rows[index]['point']))}"
        )
        newest, sent = self._newest.get(conv), self._sent.get((conv, ms))
        usual = self._usual.get(conv) or self._usually(src, dst)
        rows = tags.messages[index : index + 1]
        if sent is not None and ts - sent > AGAIN * SECOND:
            ago = (ts - sent) / SECOND
            self.say(
                OLD, rows, f"{what} with the very time tag of {ago:.0f} s before", "a new tag", "used before"
            )
        elif newest is not None and ms < newest - 1000 * STEP:
            back = (newest - ms) / 1000
            text = f"{what} with a time tag {back:.0f} s older than that of a command before"
            self.say(OLD, rows, text, "tags that go on", f"{back:.0f} s back")
        elif usual is not None and not usual[0] - STEP <= delay <= usual[1] + STEP:
            self._late(rows, what, delay, usual)
        if sent is None:
            self._sent.put((conv, ms), ts)
        self._newest.put(conv, max(ms, newest or 0))
        low, high = usual or (delay, delay)
        self._usual.put(conv, (min(low, delay), max(high, delay)))

    def _usually(self, src: str, dst: str) -> tuple[float, float] | None:
        """Least and most s by which commands of a master were behind their arrival while learning."""
        learned = self._learned.get((src, dst))
        return (float(min(learned)), float(max(learned))) if learned else None

    def _late(self, rows: Rows, what: str, delay: float, usual: tuple[float, float]) -> None:
        off = delay - usual[1] if delay > usual[1] else delay - usual[0]
        if any(abs(abs(off) - change) <= FITS for change in SUMMER):
            return
        told = "older" if off > 0 else "later"
        self.say(
            OLD,
            rows,
            f"{what} with a time tag {abs(off):.0f} s {told} than its commands had on arrival",
            f"{usual[0]:.0f} to {usual[1]:.0f} s before arrival",
            f"{delay:.0f} s before arrival",
            level=None if off > 0 else Level.NOTICE,
        )
