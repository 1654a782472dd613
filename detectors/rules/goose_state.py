"""GOOSE: what changes of state tell: time of change, schedule, time allowed to live, address, bits.

Standard followed: IEC 61850-8-1:2011, clause 18: ``t`` is the time at which stNum was raised; after a change
the repetitions follow each other closely and then ever slower; a control block has one destination, APPID and
VLAN; ``simulation`` is for a test set, ``ndsCom`` for a publisher that is not configured. Counters and second
publishers are in ``goose.py``.

Plain repetitions are left out by column; what is looked at is each block's first frame of a slice and those
in which something changed, with the one after a change of state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import ProtocolRules, Rows, Rule, one
from grid_profiles.vocabulary import Flag

NAME: Final = "goose"
CLOCK: Final = 2.0
"""Seconds by which t may lie elsewhere, against the capture's time, than at the block's first change."""

STRETCH: Final = 10
"""Times the longest timeAllowedtoLive so far: nobody would miss the publisher for that long."""

STEADY: Final = 5
STRETCHED: Final = 2
"""The same, of a publisher that allowed the same time in so many frames, within one state: while stNum stays,
the schedule only slows down to its end, and is there."""

SLOW: Final = 10.0
SOON: Final = 250_000_000
BURSTS: Final = 5
"""Changes with a prompt first repetition after which a slow one is odd."""

_BOTH: Final = int(Flag.TEST | Flag.COMMISSIONING)
_SKIP = Flag.DUPLICATE | Flag.TRUNCATED | Flag.MALFORMED

STALE = Rule("goose-stale", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0856")
CLOCKS = Rule("goose-clock", Level.NOTICE, {"fault": 0.6, "attack": 0.4}, "T0832")
LIFETIME = Rule("goose-lifetime", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0804")
SCHEDULE = Rule("goose-schedule", Level.NOTICE, {"attack": 0.45, "fault": 0.35, "visibility": 0.2}, "T0856")
ADDRESS = Rule("goose-address", Level.WARNING, {"attack": 0.5, "operation": 0.5}, "T0856")
BITS = Rule("goose-bits", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0856", habit=1)


@dataclass(slots=True)
class _Block:
    """What was usual at one control block of one publisher."""

    state: int
    changed: float  # t, epoch seconds; NaN unknown
    conv: int
    longest: int  # timeAllowedtoLive, ms
    steady: int = 0  # frames looked at that allowed the same time as the one before
    allowed: int = -1  # by the last frame looked at, ms
    offset: float = float("nan")  # capture time minus t at the first change seen, s
    since: int = -1  # ns of a change whose first repetition is awaited
    prompt: int = -1  # ns; the slowest of the prompt first repetitions
    bursts: int = 0
    odd: bool = False
    bits: bool = False


class GooseStateRules(ProtocolRules):
    """Checks changes of state, addresses and bits of control blocks."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._blocks = self.table()
        self._known = set()
        if baseline is not None:
            for row in baseline.spoken("conversations", NAME):
                self._known.add((row.sub, row.client, row.server, int(row.port), int(row.vlan)))

    def check(self, rows: Rows, piece: Slice) -> None:
        """Frames that are no plain repetition."""
        rows = rows.compress(rows["flags"] & np.uint32(_SKIP) == 0)
        rows = thinned(_telling(rows), MAX_READ)[0]
        columns = (rows[name].tolist() for name in ("point", "src", "state", "seq", "aux", "conv", "flags"))
        for at, (point, src, *values) in enumerate(zip(*columns, strict=True)):
            block = self._blocks.get((point, src))
            if block is None or not _quiet(block, *values):
                self._frame(rows[at])

    def _frame(self, row: Any) -> None:
        key, state, t = (int(row["point"]), int(row["src"])), int(row["state"]), float(row["value"])
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks.put(key, _Block(state, t, int(row["conv"]), max(int(row["aux"]), 0)))
            self._bits(row, block)
            self._lifetime(row, block)
            return
        self._bits(row, block)
        self._lifetime(row, block)
        self._address(row, block)
        if state > block.state:
            self._change(row, block, t)
        elif state == block.state and block.since >= 0 and int(row["seq"]) == 1:
            self._repetition(row, block)
        if state != block.state:
            block.state, block.changed = state, t

    def _change(self, row: Any, block: _Block, t: float) -> None:
        block.since = int(row["ts"]) if int(row["seq"]) == 0 else -1
        if not t > 0 or not block.changed > 0:
            return  # a publisher without a clock
        if t < block.changed - 1e-3 or t == block.changed:
            moved = "went back" if t < block.changed else "stayed"
            text = f"{self.point(row)} raised stNum to {row['state']}, and its time of change {moved}"
            self._tell(STALE, row, text, f"t after {block.changed:.3f}", f"t {t:.3f}")
            return
        offset = int(row["ts"]) / SECOND - t
        if int(row["seq"]) > 0:
            return
        if np.isnan(block.offset):
            block.offset = offset
        elif abs(offset - block.offset) > CLOCK and not block.odd:
            text = (
                f"{self.point(row)} changed with a time of change that lies {offset - block.offset:+.1f} s "
                "from where its earlier ones lay: its clock jumped, or an old frame was played again"
            )
            self._tell(CLOCKS, row, text, f"within {CLOCK:.0f} s", f"{offset - block.offset:+.1f} s")
        block.odd = abs(offset - block.offset) > CLOCK

    def _repetition(self, row: Any, block: _Block) -> None:
        """First repetition after a change, against those before."""
        after, block.since = int(row["ts"]) - block.since, -1
        if block.bursts >= BURSTS and after > max(SOON, SLOW * block.prompt):
            text = (
                f"{self.point(row)} repeated a change after {after / 1e6:.0f} ms; "
                f"so far it took at most {block.prompt / 1e6:.0f} ms"
            )
            self._tell(SCHEDULE, row, text, f"{block.prompt / 1e6:.0f} ms", f"{after / 1e6:.0f} ms")
            return
        if after >= 0:
            block.prompt, block.bursts = max(block.prompt, after), block.bursts + 1

    def _lifetime(self, row: Any, block: _Block) -> None:
        allowed = int(row["aux"])
        most = STRETCHED if block.steady >= STEADY and int(row["state"]) == block.state else STRETCH
        if allowed == 0 or (block.longest > 0 and allowed > most * block.longest):
            what = "none" if allowed == 0 else f"{allowed} ms"
            text = f"{self.point(row)} allows {what} to live; the longest so far was {block.longest} ms"
            self._tell(LIFETIME, row, text, f"up to {block.longest} ms", what)
            return
        block.steady = block.steady + 1 if allowed == block.allowed else 0
        block.longest, block.allowed = max(block.longest, allowed), allowed

    def _address(self, row: Any, block: _Block) -> None:
        """Another destination, APPID or VLAN for a block of the same publisher."""
        conv = int(row["conv"])
        if conv == block.conv:
            return
        old, new = self.lens.conv(block.conv), self.lens.conv(conv)
        block.conv = conv
        words = [f"{key[2]} APPID 0x{key[3]:04x} VLAN {key[5]}" for key in (old, new)]
        if (new[4], new[1], new[2], new[3], new[5]) in self._known:
            return
        text = f"{self.point(row)} is sent to {words[1]}; so far to {words[0]}"
        self._tell(ADDRESS, row, text, words[0], words[1])

    def _bits(self, row: Any, block: _Block) -> None:
        set_now = int(row["flags"]) & _BOTH == _BOTH
        if set_now and not block.bits:
            text = f"{self.point(row)} is simulated and says that it is not configured, both at once"
            self._tell(BITS, row, text, "ndsCom clear in a test", "simulation and ndsCom")
        block.bits = set_now

    def _tell(self, rule: Rule, row: Any, text: str, expected: str, observed: str) -> None:
        self.say(rule, one(row), text, expected, observed, group=self.point(row))


def _quiet(block: _Block, state: int, seq: int, allowed: int, conv: int, flags: int) -> bool:
    """Nothing is to be said of a frame of a known block; then it is taken."""
    if state != block.state or conv != block.conv or block.bits or flags & _BOTH == _BOTH:
        return False
    most = STRETCHED if block.steady >= STEADY else STRETCH
    if (block.since >= 0 and seq == 1) or allowed == 0 or allowed > most * block.longest > 0:
        return False
    block.steady = block.steady + 1 if allowed == block.allowed else 0
    block.longest, block.allowed = max(block.longest, allowed), allowed
    return True


def _telling(rows: Rows) -> Rows:
    """Each block's first frame, those that differ from the one before, and those after a change of state."""
    if not len(rows):
        return rows
    ordered = rows.take(np.lexsort((rows["src"], rows["point"])))
    same = np.zeros(len(rows), bool)
    same[1:] = (ordered["point"][1:] == ordered["point"][:-1]) & (ordered["src"][1:] == ordered["src"][:-1])
    plain = same.copy()
    for name in ("state", "aux", "conv", "flags"):
        plain[1:] &= ordered[name][1:] == ordered[name][:-1]
    change = same & ~plain
    plain[1:] &= ~(change[:-1] | (ordered["seq"][1:] == 1))
    return ordered.compress(~plain)
