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
from detectors.groups import SECOND, Lens
from detectors.rules.common import MAX_READ
from detectors.rules.shared import PAUSE, Openings, ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "iec104"
MODULUS: Final = 32_768
HALF: Final = MODULUS // 2
KIND_S, KIND_U = 256, 512
START_CON, STOP_CON, TEST_ACT, TEST_CON = 514, 520, 528, 544
MARGIN: Final = SECOND
T1, T2, T3 = 15 * SECOND, 10 * SECOND, 20 * SECOND
OPEN: Final = 64
"""Unacknowledged frames of one direction that are remembered; k is 12."""

COMMANDS: Final = (*range(45, 52), *range(58, 65))
TO_ALL: Final = (100, 101, 103, 105)
ACTIVATION: Final = 6
SELECT_TIME: Final = 60 * SECOND
HABIT: Final = 2
"""Selects of one kind, and no direct command, after which a direct one is odd."""

UNKNOWN: Final = (44, 45, 46, 47)
PROBES, ADDRESSES, STATIONS = 5, 5, 5

LATE = Rule("iec104-late-ack", Level.NOTICE, {"fault": 0.6, "attack": 0.25, "visibility": 0.15}, "T0804")
TEST = Rule("iec104-test-unanswered", Level.NOTICE, {"fault": 0.7, "visibility": 0.2, "attack": 0.1})
IDLE = Rule("iec104-no-test", Level.NOTICE, {"fault": 0.6, "visibility": 0.3, "attack": 0.1})
EARLY = Rule("iec104-not-started", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0830")
UNSELECTED = Rule(
    "iec104-unselected", Level.WARNING, {"attack": 0.7, "operation": 0.2, "fault": 0.1}, "T0855"
)
STOLEN = Rule("iec104-select-stolen", Level.ALARM, {"attack": 0.85, "operation": 0.15}, "T0855")
PROBING = Rule("iec104-probing", Level.WARNING, {"attack": 0.75, "operation": 0.25}, "T0888")
ALL = Rule("iec104-broadcast", Level.WARNING, {"attack": 0.8, "fault": 0.2}, "T0855")
STATION = Rule("iec104-address-scan", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
SWEEP = Rule("iec104-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")


@dataclass(slots=True)
class _Side:
    """One direction: what waits for an acknowledgement."""

    waiting: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=OPEN))  # N(S), ns
    told: bool = False
    heard: bool = False  # the other side was
    test: int = -1  # ns of a TESTFR act that nobody answered


@dataclass(slots=True)
class _Link:
    """One TCP connection."""

    started: bool | None  # None: its beginning was not seen
    last: int
    early: bool = False
    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))


class Iec104LinkRules(ProtocolRules):
    """Checks connections slice by slice, commands one by one."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._links, self._selects, self._styles = self.table(), self.table(), self.table()
        self._tested, self.openings = self.table(), Openings(lens)
        self._probes, self._stations, self._servers = self.tally(60), self.tally(60), self.tally(60)
        self._addresses: set[tuple[str, str, str]] = set()
        for pair, points in self.habits.points.items():
            self._addresses |= {(*pair, point.partition(" IOA")[0]) for _, point in points}

    def check(self, rows: Rows, piece: Slice) -> None:
        """Connections by column, commands and refusals where there are some."""
        kinds, client = rows["kind"], rows["role"] == Role.CLIENT
        for mine in grouped(rows[rows["stream"] >= 0], "stream"):
            self._connection(mine)
        orders = rows[client & np.isin(kinds, COMMANDS) & (rows["cause"] == ACTIVATION)]
        for row in orders[:MAX_READ]:
            self._command(row)
        refused = rows[(rows["role"] == Role.SERVER) & (kinds < KIND_S) & np.isin(rows["cause"], UNKNOWN)]
        self.refusals(PROBING, self._probes, refused, PROBES, "knows no such type, cause or address of")
        asked = rows[client & (kinds >= 45) & (kinds < 128)]
        self._broadcast(asked[has(asked, Flag.BROADCAST) & ~np.isin(asked["kind"], TO_ALL)])
        self._scan(asked)
        self.sweep(SWEEP, self._servers, rows[client], STATIONS, "turned to")

    def _connection(self, rows: Rows) -> None:
        stream, first = int(rows[0]["stream"]), rows[0]
        link = self._links.get(stream)
        if link is None:
            seen = self.opened(stream) and not has(rows[:1], Flag.MIDSTREAM | Flag.GAP)[0]
            link = self._links.put(stream, _Link(False if seen else None, int(first["ts"])))
        if int(first["ts"]) - link.last > PAUSE:
            self._idle(first, link)
        self._start(rows, link)
        self._tests(rows, link)
        for role in (Role.CLIENT, Role.SERVER):
            self._acknowledged(rows, link, role)
        link.last = int(rows[-1]["ts"])

    def _idle(self, row: Any, link: _Link) -> None:
        """Nothing for longer than t3 and t1 on a connection of stations that test theirs."""
        idle = int(row["ts"]) - link.last
        pair = self.sides(row)
        if idle > T3 + T1 + MARGIN and (
            self._tested.get(pair) or self.habits.did(*pair, (TEST_ACT, TEST_CON))
        ):
            text = f"{self.lens.link(int(row['conv']))} was idle for {idle / SECOND:.0f} s without a test"
            self.say(IDLE, one(row), text, "TESTFR after t3 = 20 s", f"{idle / SECOND:.0f} s")
        for side in link.sides:  # what happened meanwhile nobody knows
            side.waiting.clear()
            side.test = -1

    def _start(self, rows: Rows, link: _Link) -> None:
        """I-frames while the connection is not started."""
        kinds = rows["kind"]
        turns = np.flatnonzero((kinds == START_CON) | (kinds == STOP_CON))
        data = np.flatnonzero((kinds >= 0) & (kinds < KIND_S))
        if has(rows, Flag.GAP).any():
            link.started = None
        until = int(turns[0]) if len(turns) else len(rows)
        if link.started is False and len(data) and data[0] < until and not link.early:
            row = rows[data[0]]
            text = f"{self.host(row['src'])} sent {self.kind(row)} before STARTDT was confirmed"
            self.say(EARLY, one(row), text, "STARTDT act, STARTDT con, then data", self.kind(row))
            link.early = True
        if len(turns):
            link.started = int(kinds[turns[-1]]) == START_CON

    def _tests(self, rows: Rows, link: _Link) -> None:
        for row in rows[np.isin(rows["kind"], (TEST_ACT, TEST_CON))]:
            mine = 0 if int(row["role"]) == Role.CLIENT else 1
            self._tested.put(self.sides(row), True)
            if int(row["kind"]) == TEST_CON:
                link.sides[1 - mine].test = -1
            elif link.sides[mine].test < 0:
                link.sides[mine].test = int(row["ts"])
        for number, side in enumerate(link.sides):
            waited = int(rows[-1]["ts"]) - side.test
            if side.test >= 0 and waited > T1 + MARGIN:
                who = self.sides(rows[-1])[1 - number]
                text = f"{who} did not confirm a test for {waited / SECOND:.0f} s, and the connection goes on"
                self.say(TEST, rows[-1:], text, "TESTFR con within t1 = 15 s", f"{waited / SECOND:.0f} s")
                side.test = -1

    def _acknowledged(self, rows: Rows, link: _Link, role: int) -> None:
        """I-frames of one side against the N(R) of the other."""
        side = link.sides[0 if role == Role.CLIENT else 1]
        sent = rows[(rows["role"] == role) & (rows["kind"] < KIND_S) & (rows["seq"] >= 0)]
        acks = rows[(rows["role"] != role) & (rows["kind"] <= KIND_S) & (rows["state"] >= 0)]
        side.waiting.extend(zip(sent["seq"][-OPEN:].tolist(), sent["ts"][-OPEN:].tolist(), strict=True))
        side.heard |= bool((rows["role"] != role).any())
        if len(acks):
            self._take(side, acks)
        now = int(rows[-1]["ts"])
        late = bool(side.waiting) and now - side.waiting[0][1] > T1 + MARGIN
        if late and side.heard and not side.told:  # where one direction is captured, nothing is acknowledged
            self._tell_late(rows[-1:], role, now - side.waiting[0][1], Level.WARNING)
            side.told = True

    def _take(self, side: _Side, acks: Rows) -> None:
        """Drop what the last N(R) acknowledges; the oldest of it tells how long that took."""
        number, oldest = int(acks[-1]["state"]), -1
        while side.waiting and 0 < (number - side.waiting[0][0]) % MODULUS < HALF:
            ts = side.waiting.popleft()[1]
            oldest = ts if oldest < 0 else oldest
        if oldest < 0:
            return
        first = acks[np.flatnonzero(acks["ts"] >= oldest)[:1]]
        waited = int(first[0]["ts"]) - oldest if len(first) else 0
        if waited > T2 + MARGIN and not side.told:
            role = Role.SERVER if int(acks[-1]["role"]) == Role.CLIENT else Role.CLIENT
            self._tell_late(acks[-1:], role, waited, Level.NOTICE)
        side.told = False

    def _tell_late(self, rows: Rows, role: int, waited: int, level: Level) -> None:
        client, server = self.sides(rows[0])
        sender, other = (client, server) if role == Role.CLIENT else (server, client)
        limit = "t1 = 15 s, then the connection is closed" if level == Level.WARNING else "t2 = 10 s"
        text = f"{other} left a frame of {sender} unacknowledged for {waited / SECOND:.0f} s"
        self.say(LATE, rows, text, limit, f"{waited / SECOND:.0f} s", level=level, group=str(role))

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

    def _broadcast(self, rows: Rows) -> None:
        for mine in grouped(rows, "conv", "kind"):
            text = f"{self.host(mine[0]['src'])} sent {self.kind(mine[0])} to all common addresses"
            self.say(ALL, mine, text, "types 100, 101, 103 and 105 only", self.kind(mine[0]), pair=True)

    def _scan(self, rows: Rows) -> None:
        """Common addresses asked for that learning did not know."""
        if not self.habits.learned:
            return
        for mine in grouped(rows[rows["point"] >= 0], "conv", "point"):
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
