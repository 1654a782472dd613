"""IEC 60870-5-104: acknowledgement in time, tests answered, start before data, selects, refusals, sweeps.

Standards followed: IEC 60870-5-104:2006, clauses 5.2 and 9.6 (t1 15 s for an acknowledgement, t2 10 s for
sending one, t3 20 s until a test; sites may choose others, which is their habit), 5.3 (no I-frame before
STARTDT is confirmed), IEC 60870-5-101, 7.2.4 (which types may use the broadcast address) and IEC 60870-5-5
(select, then execute).

Times are judged when the next frame of a connection comes, never by a clock: a connection that simply ended
is no breach. Sequence numbers, causes and directions are in ``iec104.py``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.common import MAX_READ, protocol_columns, thinned
from detectors.rules.iec104_habits import learned_styles
from detectors.rules.shared import PAUSE, Openings, ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "iec104"
MODULUS: Final = 32_768
HALF: Final = MODULUS // 2
KIND_S, KIND_U = 256, 512
START_ACT, START_CON, STOP_CON, TEST_ACT, TEST_CON = 513, 514, 520, 528, 544
MARGIN: Final = SECOND
T1, T2, T3 = 15 * SECOND, 10 * SECOND, 20 * SECOND
OPEN: Final = 64
"""Unacknowledged frames of one direction that are remembered; k is 12."""

MANY: Final = 24
"""Frames without any acknowledgement that are told: twice k, which sites may choose otherwise."""

COMMANDS: Final = (*range(45, 52), *range(58, 65))
TO_ALL: Final = (100, 101, 103, 105)
ACTIVATION: Final = 6
SELECT_TIME: Final = 60 * SECOND
HABIT: Final = 2
"""Selects of one kind, and no direct command, after which a direct one is odd."""

UNKNOWN: Final = (44, 45, 46, 47)
SYSTEM: Final = (100, 101, 103, 104, 105, 106, 107)
"""Interrogation, counters, clock, test, reset, delay: one procedure each (IEC 60870-5-5, 6)."""

REPEATS: Final = 8
PROBES, ADDRESSES, STATIONS = 5, 5, 5

LATE = Rule("iec104-late-ack", Level.NOTICE, {"fault": 0.6, "attack": 0.25, "visibility": 0.15}, "T0804")
UNHEARD = Rule("iec104-unacknowledged", Level.NOTICE, {"fault": 0.5, "attack": 0.5}, "T0814")
TEST = Rule("iec104-test-unanswered", Level.NOTICE, {"fault": 0.7, "visibility": 0.2, "attack": 0.1})
IDLE = Rule("iec104-no-test", Level.NOTICE, {"fault": 0.6, "visibility": 0.3, "attack": 0.1})
EARLY = Rule("iec104-not-started", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0830")
UNSELECTED = Rule(
    "iec104-unselected", Level.WARNING, {"attack": 0.7, "operation": 0.2, "fault": 0.1}, "T0855"
)
STOLEN = Rule("iec104-select-stolen", Level.ALARM, {"attack": 0.85, "operation": 0.15}, "T0855")
PROBING = Rule("iec104-probing", Level.WARNING, {"attack": 0.75, "operation": 0.25}, "T0888")
ALL = Rule("iec104-broadcast", Level.WARNING, {"attack": 0.8, "fault": 0.2}, "T0855", habit=1)
STATION = Rule("iec104-address-scan", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
SWEEP = Rule("iec104-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")

STORM = Rule("iec104-storm", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")

_COLUMNS: Final = ["stream", "role", "kind", "seq", "state", "ts", "flags"]
_GAP, _REPEATED = int(Flag.GAP), int(Flag.RETRANSMITTED)
_CLIENT: Final = int(Role.CLIENT)
_MIDDLE: Final = int(Flag.MIDSTREAM | Flag.GAP)


@dataclass(slots=True)
class _Side:
    """One direction: what waits for an acknowledgement."""

    waiting: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=OPEN))  # N(S), ns
    told: bool = False
    many: bool = False  # was told to send on without an acknowledgement
    heard: bool = False  # the other side was
    test: int = -1  # ns of a TESTFR act that nobody answered


@dataclass(slots=True)
class _Link:
    """One TCP connection."""

    started: bool | None  # None: its beginning was not seen
    last: int
    early: bool = False
    asked: bool = False  # STARTDT act came by
    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))


class Iec104LinkRules(ProtocolRules):
    """Checks connections and commands in order of arrival."""

    protocol = NAME
    keep_repeated = True  # a repeated segment acknowledges all the same

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._links, self._selects, self._styles = self.table(), self.table(), self.table()
        self._tested, self.openings = self.table(), Openings(lens)
        self._probes, self._stations, self._servers = self.tally(60), self.tally(60), self.tally(60)
        self._storms = self.tally(10)
        for style, counts in learned_styles(baseline).items():
            self._styles.put(style, counts)
        self._addresses: set[tuple[str, str, str]] = set()
        for pair, points in self.habits.points.items():
            self._addresses |= {(*pair, point.partition(" IOA")[0]) for _, point in points}

    def check(self, rows: Rows, piece: Slice) -> None:
        """Connections frame by frame, commands and refusals where there are some."""
        columns = protocol_columns(piece, self.proto)
        odd = (columns["flags"] & np.uint32(Flag.DUPLICATE) != 0) | (columns["stream"] < 0)
        if odd.any() or len(rows) > MAX_READ:
            rows = rows.compress(~has(rows, Flag.DUPLICATE))
            read, left = thinned(rows.compress(rows["stream"] >= 0), MAX_READ)
            self._follow(read, [read[name].tolist() for name in _COLUMNS])
        else:
            left = rows[:0]
            self._follow(rows, [columns.list(name) for name in _COLUMNS])
        for stream in set(left["stream"].tolist()):
            self._links.drop(int(stream))  # what waits there is not known any more
        kinds, role = columns["kind"], columns["role"]
        fresh = columns["flags"] & np.uint32(Flag.DUPLICATE | Flag.RETRANSMITTED) == 0
        client = fresh & (role == Role.CLIENT)
        asked = columns.rows(client & (kinds >= 45) & (kinds < 128))
        orders = asked.compress(among(asked["kind"], COMMANDS) & (asked["cause"] == ACTIVATION))
        for row in orders[:MAX_READ]:
            self._command(row)
        self._storm(columns.rows(client & among(kinds, SYSTEM) & (columns["cause"] == ACTIVATION)))
        refused = columns.rows(
            fresh & (role == Role.SERVER) & (kinds < KIND_S) & among(columns["cause"], UNKNOWN)
        )
        self.refusals(PROBING, self._probes, refused, PROBES, "knows no such type, cause or address of")
        self._broadcast(asked.compress(has(asked, Flag.BROADCAST) & ~among(asked["kind"], TO_ALL)))
        self._scan(asked)
        if not self.familiar(columns["src"][client].tolist(), columns["dst"][client].tolist()):
            self.sweep(SWEEP, self._servers, columns.rows(client), STATIONS, "turned to")

    def _follow(self, rows: Rows, columns: list[list[int]]) -> None:
        """All frames in order; ordinary ones are taken for a third of what :meth:`_message` costs."""
        known: dict[int, _Link] = {}
        streams, begin = columns[0], 0
        for number, values in enumerate(zip(*columns, strict=True)):
            stream, role, kind, seq, state, ts, flags = values
            link = known.get(stream)
            if link is None:
                link = self._links.peek(stream)
                if link is None:  # another connection may have to give way
                    self._links.touch(streams[begin:number])
                    self._message(rows, number, values)
                    known.clear()
                    begin = number
                    continue
                known[stream] = link
            client, server = link.sides
            mine, other = (client, server) if role == _CLIENT else (server, client)
            data = kind < KIND_S and seq >= 0 and not flags & _REPEATED
            telling = data and (
                (link.started is False and not link.early)
                or (len(mine.waiting) >= MANY - 1 and not mine.many)
            )
            if telling or not 0 <= kind < KIND_U or flags & _GAP or ts - link.last > PAUSE:
                self._message(rows, number, values)
                continue
            link.last, other.heard = ts, True
            if state >= 0 and other.waiting:
                self._take(rows, number, other, state, ts)
            if data:
                mine.waiting.append((seq, ts))
            due = ts - T1 - MARGIN
            if (
                client.test >= 0
                or server.test >= 0
                or (client.waiting and client.waiting[0][1] < due)
                or (server.waiting and server.waiting[0][1] < due)
            ):
                self._overdue(rows, number, link, mine, ts)
        self._links.touch(streams[begin:])

    def _message(self, rows: Rows, number: int, values: tuple[int, ...]) -> None:
        """One frame of a connection; ``rows[number]`` is asked only when there is something to say."""
        stream, role, kind, seq, state, ts, flags = values
        link = self._links.get(stream)
        if link is None:
            seen = self.opened(stream) and not flags & _MIDDLE
            link = self._links.put(stream, _Link(False if seen else None, ts))
        if ts - link.last > PAUSE:
            self._idle(rows[number : number + 1], link)
        link.last = ts
        mine, other = link.sides if role == Role.CLIENT else link.sides[::-1]
        other.heard = True
        if flags & _GAP:
            link.started = None
        if kind >= KIND_U:
            self._unnumbered(rows[number : number + 1], link, kind, mine, other)
        elif kind >= 0:
            if state >= 0 and other.waiting:
                self._take(rows, number, other, state, ts)
            if kind < KIND_S and seq >= 0 and not flags & _REPEATED:
                if link.started is False and not link.early:
                    self._too_early(rows[number : number + 1], link)
                mine.waiting.append((seq, ts))
                if len(mine.waiting) >= MANY and mine.heard and not mine.many:
                    self._unheard(rows[number : number + 1], mine)
        self._overdue(rows, number, link, mine, ts)

    def _overdue(self, rows: Rows, number: int, link: _Link, mine: _Side, ts: int) -> None:
        """What waits for an acknowledgement or a confirmation for longer than t1."""
        for side in link.sides:
            if side.waiting and ts - side.waiting[0][1] > T1 + MARGIN and side.heard and not side.told:
                self._tell_late(
                    rows[number : number + 1], side is mine, ts - side.waiting[0][1], Level.WARNING
                )
                side.told = True
            if side.test >= 0 and ts - side.test > T1 + MARGIN:
                self._untested(rows[number : number + 1], side is mine, ts - side.test)
                side.test = -1

    def _idle(self, rows: Rows, link: _Link) -> None:
        """Nothing for longer than t3 and t1 on a connection of stations that test theirs."""
        idle = int(rows[0]["ts"]) - link.last
        pair = self.sides(rows[0])
        if idle > T3 + T1 + MARGIN and (
            self._tested.get(pair) or self.habits.did(*pair, (TEST_ACT, TEST_CON))
        ):
            text = f"{self.lens.link(int(rows[0]['conv']))} was idle for {idle / SECOND:.0f} s without a test"
            self.say(IDLE, rows, text, "TESTFR after t3 = 20 s", f"{idle / SECOND:.0f} s")
        for side in link.sides:  # what happened meanwhile nobody knows
            side.waiting.clear()
            side.test = -1

    def _unnumbered(self, rows: Rows, link: _Link, kind: int, mine: _Side, other: _Side) -> None:
        if kind == START_ACT:
            link.asked = True
        elif kind in (START_CON, STOP_CON):
            link.started = kind == START_CON
            link.asked &= kind == START_CON
        elif kind in (TEST_ACT, TEST_CON):
            self._tested.put(self.sides(rows[0]), True)
            if kind == TEST_CON:
                other.test = -1
            elif mine.test < 0:
                mine.test = int(rows[0]["ts"])

    def _too_early(self, rows: Rows, link: _Link) -> None:
        row, link.early = rows[0], True
        text = f"{self.host(row['src'])} sent {self.kind(row)} before STARTDT was confirmed"
        # widespread stacks (lib60870's examples) do not wait for the confirmation of their own request
        hasty = link.asked and int(row["role"]) == Role.CLIENT
        # a station that is known to speak here more likely lost its way than its key
        known = self.sides(rows[0]) in self.habits.pairs
        level = Level.INFO if hasty else Level.NOTICE if known else EARLY.level
        self.say(EARLY, rows, text, "STARTDT act, STARTDT con, then data", self.kind(row), level=level)

    def _untested(self, rows: Rows, by_sender: bool, waited: int) -> None:
        who = self.host(rows[0]["dst" if by_sender else "src"])
        text = f"{who} did not confirm a test for {waited / SECOND:.0f} s, and the connection goes on"
        self.say(TEST, rows, text, "TESTFR con within t1 = 15 s", f"{waited / SECOND:.0f} s")

    def _take(self, rows: Rows, number: int, side: _Side, state: int, ts: int) -> None:
        """Drop what N(R) ``state`` acknowledges; the oldest of it tells how long that took."""
        waiting, oldest = side.waiting, -1
        while waiting and 0 < (state - waiting[0][0]) % MODULUS < HALF:
            sent = waiting.popleft()[1]
            oldest = sent if oldest < 0 else oldest
        if oldest < 0:
            return
        if ts - oldest > T2 + MARGIN and not side.told:
            self._tell_late(rows[number : number + 1], False, ts - oldest, Level.INFO)
        side.told = side.many = False

    def _unheard(self, rows: Rows, side: _Side) -> None:
        side.many = True
        src, dst = self.host(rows[0]["src"]), self.host(rows[0]["dst"])
        text = f"{src} sent {len(side.waiting)} frames, of which {dst} acknowledged none, and sends on"
        self.say(UNHEARD, rows, text, "a stop after k = 12 frames", f"{len(side.waiting)} frames", group=src)

    def _tell_late(self, rows: Rows, by_sender: bool, waited: int, level: Level) -> None:
        """``by_sender``: the row at hand comes from the side whose frame waits."""
        src, dst = self.host(rows[0]["src"]), self.host(rows[0]["dst"])
        sender, other = (src, dst) if by_sender else (dst, src)
        limit = "t1 = 15 s, then the connection is closed" if level == Level.WARNING else "t2 = 10 s"
        text = f"{other} left a frame of {sender} unacknowledged for {waited / SECOND:.0f} s"
        self.say(LATE, rows, text, limit, f"{waited / SECOND:.0f} s", level=level, group=sender)

    def _command(self, row: Any) -> None:
        """Select and execute, where selecting is the custom."""
        client, server = self.sides(row)
        now, kind, select = int(row["ts"]), int(row["kind"]), int(row["flags"]) & int(Flag.SELECT)
        key, style = (server, int(row["point"]), kind), (client, server, kind)
        selected, direct = self._styles.get(style) or (0, 0)
        held = self._selects.get(key)
        if select:
            self._selects.put(key, (client, now))
            self._styles.put(style, (selected + 1, direct))
            return
        self._selects.drop(key)
        fresh = held is not None and now - held[1] <= SELECT_TIME
        if fresh and held is not None and held[0] != client:
            text = f"{client} executes {self.kind(row)} at {self.point(row)}, which {held[0]} selected"
            self.say(STOLEN, one(row), text, f"executed by {held[0]}", client, group=self.point(row))
        elif not fresh and selected >= HABIT and not direct and not int(row["flags"]) & int(Flag.GAP):
            what = f"{self.kind(row)} at {self.point(row)}"
            text = f"{client} executes {what} without the select that it always sent"
            self.say(
                UNSELECTED, one(row), text, "select, then execute", "execute alone", group=self.point(row)
            )
            return
        if not fresh:
            self._styles.put(style, (selected, direct + 1))

    def _storm(self, rows: Rows) -> None:
        """One system command to one station over and over: no procedure repeats it before it has ended."""
        for mine in grouped(rows, "conv", "kind", "point"):
            key = (int(mine[0]["conv"]), int(mine[0]["kind"]), int(mine[0]["point"]))
            entry = self._storms.add(key, int(mine[0]["ts"]), len(mine))
            if entry.crosses(REPEATS):
                station = self.point(mine[0]).partition(" IOA")[0] or self.host(mine[0]["dst"])
                kind = self.kind(mine[0])
                text = f"{self.host(mine[0]['src'])} sent {kind} to {station} {entry.count} times in 10 s"
                self.say(STORM, mine, text, "one at a time", f"{entry.count} in 10 s", group=kind)

    def _broadcast(self, rows: Rows) -> None:
        for mine in grouped(rows, "conv", "kind"):
            text = f"{self.host(mine[0]['src'])} sent {self.kind(mine[0])} to all common addresses"
            self.say(ALL, mine, text, "types 100, 101, 103 and 105 only", self.kind(mine[0]), pair=True)

    def _scan(self, rows: Rows) -> None:
        """Common addresses asked for that learning did not know."""
        if not self.habits.learned:
            return
        for mine in grouped(rows.compress(rows["point"] >= 0), "conv", "point"):
            client, server = self.sides(mine[0])
            station = self.point(mine[0]).partition(" IOA")[0]
            if (client, server, station) in self._addresses:
                continue
            item = ((server, station), int(mine[0]["frame"]))
            entry = self._stations.add(int(mine[0]["src"]), int(mine[0]["ts"]), 1, [item])
            if entry.spreads(ADDRESSES):
                text = f"{client} asked {len(entry.items)} unknown common addresses within a minute"
                self.say(STATION, mine, text, "known stations", f"{len(entry.items)} addresses", group=client)
                self.found[-1].frames = list(entry.items.values())[:20]
