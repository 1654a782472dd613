"""Changes of state of GOOSE publishers, as a protection trip brings them: recognised by a sound burst.

Standard followed: IEC 61850-8-1:2011, 18.1.2.5: a change raises stNum by one, starts sqNum at 0, and is
repeated at once and then ever more slowly until the distance of quiet times is reached.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.events import Events, Open, Pair
from detectors.groups import SECOND, Lens
from detectors.rules.common import protocol_columns
from detectors.rules.goose import ALONE, LONE
from grid_profiles.vocabulary import Flag

FIRST: Final = SECOND
"""Longest distance to the first repetition of a change that is made in a burst."""

SHRINK: Final = 0.5
"""Distances of repetitions grow; one may be shorter than the one before by this factor (jitter)."""

REPETITIONS: Final = 2
"""Sound repetitions after which a change is believed to be one."""

QUIET: Final = 2 * SECOND
"""Distance of repetitions from which times are quiet again."""

TOGETHER: Final = 2 * SECOND
REPORTED: Final = 5 * SECOND
AFTER: Final = 11 * SECOND
STARTS: Final = (0, 1)
"""sqNum of a change: 0 by the standard, 1 from publishers that count the frames of a state."""

MAX_BLOCKS: Final = 10_000
MAX_ROWS: Final = 2_000
_ODD: Final = int(Flag.DUPLICATE | Flag.TRUNCATED | Flag.MALFORMED | Flag.TEST)


@dataclass(slots=True)
class _Block:
    """Where one control block of one publisher stands."""

    state: int
    seq: int
    last: int  # ns
    since: int = -1  # ns of a change whose repetitions are watched
    gap: int = 0
    missed: int = -ALONE  # ns when a frame was last missing
    sound: int = 0


class StateChanges:
    """Watches known publishers; begins and prolongs events."""

    def __init__(self, lens: Lens, baseline: Baseline, events: Events) -> None:
        self.lens, self._events = lens, events
        self._proto = lens.protocol("goose")
        self._known = {(row.client, row.server, row.sub) for row in baseline.spoken("conversations", "goose")}
        self._blocks: OrderedDict[int, _Block | None] = OrderedDict()
        self._event: Open | None = None
        self._changed = -1
        self._reports: tuple[int, set[Pair]] = (-1, set())

    def see(self, piece: Slice, reports: npt.NDArray[Any]) -> None:
        """Take a slice, and the spontaneous reports of it."""
        if not self._known:
            return
        columns = protocol_columns(piece, self._proto)
        lists = (columns.list(name)[:MAX_ROWS] for name in ("ts", "conv", "state", "seq", "flags"))
        for row in zip(*lists, strict=True):
            ts, conv, state, seq, flags = row
            block = self._blocks.get(conv)
            if block is None or state != block.state or flags & _ODD or 1 < seq - block.seq <= LONE + 1:
                self._row(*row)
                continue
            if block.since >= 0:
                gap = ts - block.last
                grows = 0 < SHRINK * block.gap <= gap <= QUIET and seq == block.seq + 1
                if not grows or block.sound < REPETITIONS:
                    self._row(*row)
                    continue
                block.gap, block.sound = gap, block.sound + 1
            block.seq, block.last = seq, ts  # a repetition of which nothing follows
        if len(reports):
            self._reported(reports)

    def _row(self, ts: int, conv: int, state: int, seq: int, flags: int) -> None:
        if flags & _ODD:
            return
        block = self._blocks.get(conv)
        if block is None and conv not in self._blocks:
            key = self.lens.conv(conv)
            known = (key[1], key[2], key[4]) in self._known
            self._blocks[conv] = _Block(state, seq, ts) if known else None
            if len(self._blocks) > MAX_BLOCKS:
                self._blocks.popitem(last=False)
            return
        if block is None:
            return
        if state == block.state and 1 < seq - block.seq <= LONE + 1:
            self._missing(conv, block, ts)
        if state != block.state:
            block.since = ts if state == block.state + 1 and seq in STARTS else -1
            block.gap, block.sound = 0, 0
        elif block.since >= 0:
            self._repetition(conv, block, ts, seq)
        block.state, block.seq, block.last = state, seq, ts

    def _missing(self, conv: int, block: _Block, ts: int) -> None:
        """A frame or two did not come by, and none was missing in the minutes before."""
        if ts - block.missed >= ALONE:
            pair = self.lens.conv(conv)[:3]
            text = f"a frame of {pair[1]} is missing in the capture, as its sqNum shows"
            start = block.last
            self._events.begin(Open("lost-frame", start, ts + AFTER, start, text, {pair}, recorded=False))
        block.missed = ts

    def _repetition(self, conv: int, block: _Block, ts: int, seq: int) -> None:
        gap = ts - block.last
        late = gap > FIRST if not block.gap else gap < SHRINK * block.gap
        if late or gap < 0 or seq != block.seq + 1:
            block.since = -1
            return
        block.gap, block.sound = gap, block.sound + 1
        if block.sound == REPETITIONS:
            self._believe(conv, block.since, ts)
        elif block.sound > REPETITIONS and gap > QUIET:
            block.since = -1  # quiet again

    def _believe(self, conv: int, since: int, now: int) -> None:
        pair = self.lens.conv(conv)[:3]
        event = self._event
        if event is not None and abs(since - self._changed) <= TOGETHER and now <= event.until:
            event.pairs.add(pair)
            event.until = max(event.until, now + AFTER)
        else:
            event = Open("state-change", since, now + AFTER, since, "", {pair}, recorded=False)
            event = self._event = self._events.begin(event)
            if abs(self._reports[0] - since) <= REPORTED:
                event.pairs |= self._reports[1]
        self._changed = since
        self._describe(event)

    def _reported(self, rows: npt.NDArray[Any]) -> None:
        """Spontaneous reports: stations that tell of the same."""
        last = int(rows["ts"].max())
        pairs = {self.lens.conv(conv)[:3] for conv in np.unique(rows["conv"]).tolist()}
        self._reports = (last, pairs)
        event = self._event
        if event is not None and 0 <= last - self._changed <= REPORTED and last <= event.until:
            event.pairs |= pairs
            self._describe(event)

    @staticmethod
    def _describe(event: Open) -> None:
        publishers = sorted(pair[1] for pair in event.pairs if pair[0] == "goose")
        stations = sorted({pair[2] for pair in event.pairs if pair[0] != "goose"})
        told = f"; {', '.join(stations)} reported events with it" if stations else ""
        rest = f" and {len(publishers) - 8} more" if len(publishers) > 8 else ""
        shown = ", ".join(publishers[:8]) + rest
        event.summary = f"{shown} changed state and repeated it as the standard says{told}"
        event.recorded = len(publishers) > 1  # one alone is everyday life, unless it explains something
