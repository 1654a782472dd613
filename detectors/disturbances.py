"""How events are recognised: from the messages of known conversations, slice by slice.

=============  ==============================================================================================
reconnect      a connection between hosts that are known to speak the protocol, or a session of S7, MMS,
               EtherNet/IP, MQTT or OPC UA, is opened after silence, an end or a reset; IEC 60870-5-104
               goes on with STARTDT, interrogation and clock (clause 5.3, IEC 60870-5-5). Not where opening
               connections is everyday life
interrogation  C_IC_NA_1 of a known master, until its end is told or a minute has passed
switch-over    another master that is known too opens or starts its connection to a station whose first
               master has closed, stopped or fallen silent (IEC 60870-5-104, clause 10)
standby        an IEC-104 connection that is tested in both directions and carried no data since the sensor
               began, without anybody having stopped it (clause 10)
state-change   a known GOOSE publisher raises stNum by one and repeats with growing distances
               (IEC 61850-8-1, 18.1.2.5); other publishers and spontaneous reports close to it belong to it
control        a known MMS client selects or operates an object (IEC 61850-8-1, clause 20)
file-transfer  a known MMS client reads disturbance records (IEC 61850-8-1, clause 23)
grid-fault     a merging unit sees current rise and voltage fall, or voltage dip (``grid_faults.py``)
pause          no frame at all, from nobody, for longer than learning ever saw
=============  ==============================================================================================

Only conversations of the baseline take part: a stranger has no disturbances.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Event, Finding, Slice
from detectors.baseline import Baseline
from detectors.events import Events, Open, Pair
from detectors.grid_faults import GridFaults
from detectors.groups import SECOND, Lens, among, conversations, is_ip
from detectors.mms_life import CONTINUED, OPEN, READ, WRITE, is_record
from detectors.rules.common import Bounded, Columns, protocol_columns
from detectors.rules.mms import control_of
from detectors.state_changes import StateChanges
from detectors.timing import MIN_PAUSE, REOPENS
from grid_profiles.vocabulary import Role

SYN, FIN, RST = 1, 3, 4
START_CON, STOP_ACT, STOP_CON, TEST_ACT, TEST_CON = 514, 516, 520, 528, 544
INTERROGATION, CLOCK, ACTIVATION, TERMINATION = 100, 103, 6, 10

SETTLING: Final = 60 * SECOND
"""Time after a connection was opened, or an interrogation asked for, in which its effects are expected."""

AFTER: Final = 11 * SECOND
"""What is over shows in a window that ends up to 10 s later."""

WINDOW: Final = 10 * SECOND
"""ns by which what is counted in windows may be dated earlier."""

FILE_AFTER: Final = 21 * SECOND
"""ns behind a block of a file: the next block, and windows that end later."""

BROKEN: Final = 5 * SECOND
"""Silence from which an opening is a reconnect; shorter ones had an end or a reset."""

GONE: Final = 10 * SECOND
"""Silence of a first master from which another one takes over."""

TAKEN_OVER: Final = 600 * SECOND
SESSIONS: Final = frozenset({("s7comm", 496), ("mms", 2048), ("enip", 101), ("mqtt", 1), ("opcua", 446)})
"""Set up communication, initiate, register session, CONNECT, open secure channel."""

EVERYDAY: Final = 4
"""Openings while learning from which they are everyday life of a pair."""

MAX_ROWS: Final = 512
MAX_PAIRS: Final = 10_000


@dataclass(slots=True)
class _Link:
    """One known pair and what is known of it in this run."""

    heard: int = -1  # ns; before the slice at hand
    closed: int = -1  # ns of an end, a reset or a stop
    data: bool = False
    stopped: bool = False
    tested: int = 0  # bit 1: client to server, bit 2: server to client
    again: Open | None = None
    said: str = ""


class Disturbances:
    """Recognises events and has them explain findings."""

    def __init__(self, lens: Lens, baseline: Baseline) -> None:
        self.lens = lens
        self.events = Events(lens)
        self._pause = round(max(MIN_PAUSE, 3 * float(baseline.params.get("max_idle_s", 0.0))) * SECOND)
        self._clock = -1
        self._known: set[Pair] = set()
        self._services: dict[tuple[str, str, int], str] = {}
        self._masters: dict[tuple[str, str], list[str]] = {}
        self._links: OrderedDict[Pair, _Link] = OrderedDict()
        self._pairs: list[Pair | None] = []
        self._of_conv: dict[int, _Link] = {}  # the pair's link, until one is forgotten
        self._ids = {name: lens.protocol(name) for name in ("tcp", "iec104", "goose", "mms")}
        self._openings = self._sessions_of(baseline)
        self._learn(baseline)
        self._changes = StateChanges(lens, baseline, self.events)
        self._faults = GridFaults(lens, baseline, self.events)
        self._reading: Bounded[int, bool] = Bounded(MAX_PAIRS)  # associations that read a disturbance record

    def _learn(self, baseline: Baseline) -> None:
        everyday = {
            (row.client, row.server, row.port)
            for row in baseline.spoken("kinds", "tcp")
            if row.kind == SYN and row.count >= EVERYDAY
        }
        for row in baseline.rows("conversations"):
            if row.protocol in ("tcp", "udp") or not is_ip(row.client) or row.port <= 0:
                continue
            self._known.add((row.protocol, row.client, row.server))
            service = (row.client, row.server, int(row.port))
            if service not in everyday:
                self._services[service] = row.protocol
            masters = self._masters.setdefault((row.protocol, row.server), [])
            if row.client not in masters:
                masters.append(row.client)

    def see(self, piece: Slice) -> None:
        """Look at a slice before its findings are weighed."""
        self._look_for_pause(piece)
        if len(piece.messages):
            self._connections(protocol_columns(piece, self._ids["tcp"]))
            self._sessions(piece)
            self._iec104(protocol_columns(piece, self._ids["iec104"]))
            self._mms(protocol_columns(piece, self._ids["mms"]))
            self._faults.see(piece)
            self._changes.see(piece, self._reports(piece))
            self._heard(piece)

    def weigh(self, findings: list[Finding]) -> list[Finding]:
        """Lower what events explain."""
        return self.events.weigh(findings)

    def tick(self, clock: int) -> list[Event]:
        """Events that ended before ``clock`` (ns)."""
        self.events.tick(clock)
        return self.events.ended()

    def close(self) -> list[Event]:
        """Events that go on when nothing comes any more."""
        self.events.close()
        return self.events.ended()

    def counters(self) -> dict[str, int]:
        """What there was no room for."""
        return {"events_left_out": self.events.dropped}

    # --- who was heard ------------------------------------------------------------------------------

    def _look_for_pause(self, piece: Slice) -> None:
        pause = piece.start - self._clock
        if self._clock >= 0 and pause > self._pause:
            words = f"no frame at all for {_span(pause)}: what is missing from this time was not seen"
            self.events.begin(Open("pause", self._clock, piece.start + AFTER, self._clock, words, set()))
            for link in self._links.values():
                link.heard = piece.start if link.heard >= 0 else -1
        self._clock = max(self._clock, piece.end)

    def _pair(self, conv: int) -> Pair | None:
        """The known pair of a conversation of this run, None when it is none."""
        while len(self._pairs) <= conv:
            key = self.lens.conv(len(self._pairs))
            self._pairs.append(key[:3] if key[:3] in self._known else None)
        return self._pairs[conv] if conv >= 0 else None

    def _heard(self, piece: Slice) -> None:
        groups = conversations(piece)
        heads = groups.order[groups.starts]
        come = np.argsort(heads)  # in order of arrival
        last = groups.order[groups.starts + groups.counts - 1]
        times = piece.column("ts")[last[come]].tolist()
        self._pair(int(groups.keys.max()))  # so that all of them are in the list
        pairs, links = self._pairs, self._of_conv
        for conv, ts in zip(groups.keys[come].tolist(), times, strict=True):
            link = links.get(conv)
            if link is None:
                pair = pairs[conv] if conv >= 0 else None
                if pair is None:
                    continue
                link = self._link(pair)
                links[conv] = link
            if link.heard < ts:
                link.heard = ts

    def _link(self, pair: Pair) -> _Link:
        link = self._links.get(pair)
        if link is None:
            link = self._links[pair] = _Link()
            if len(self._links) > MAX_PAIRS:
                self._links.popitem(last=False)
                self._of_conv.clear()
        return link

    def _reports(self, piece: Slice) -> npt.NDArray[Any]:
        """Spontaneous single and double points of known stations."""
        columns = protocol_columns(piece, self._ids["iec104"])
        rows = columns.rows(
            (columns["role"] == Role.SERVER) & (columns["cause"] == 3) & (columns["kind"] <= 31)
        )
        convs = rows["conv"].tolist()
        known = {conv: self._pair(conv) is not None for conv in set(convs)}
        found: npt.NDArray[Any] = rows.compress(np.array([known[conv] for conv in convs], bool))
        return found

    # --- connections --------------------------------------------------------------------------------

    def _connections(self, columns: Columns) -> None:
        """Openings and ends of connections to known services."""
        told = np.flatnonzero(among(columns["kind"][:MAX_ROWS], (SYN, FIN, RST)))
        parts = (columns[name][told].tolist() for name in ("conv", "kind", "ts"))
        for conv, kind, ts in zip(*parts, strict=True):
            key = self.lens.conv(conv)
            protocol = self._services.get(key[1:4])
            if protocol is not None:
                self._tcp((protocol, key[1], key[2]), kind, ts)

    def _tcp(self, pair: Pair, kind: int, now: int) -> None:
        link, protocol = self._link(pair), pair[0]
        if kind in (FIN, RST):
            link.closed = now
            self._ended(pair, now)
        elif kind == SYN:
            silence = now - link.heard if link.heard >= 0 else 0
            if link.heard < 0 or silence > BROKEN or link.closed >= 0:
                self._opened(pair, link, now, silence)
            self._taken_over(pair, now, protocol != "iec104")
            link.closed = -1

    def _ended(self, pair: Pair, now: int) -> None:
        """What is odd about a connection that ended, until it is opened again or should have been."""
        words = f"{pair[1]} to {pair[2]} ({pair[0]}) was ended"
        pairs = {pair, ("tcp", *pair[1:]), ("cotp", *pair[1:])}
        until = now + round(REOPENS * SECOND)
        self.events.begin(Open("reconnect", now, until, now, words, pairs, recorded=False))

    def _sessions_of(self, baseline: Baseline) -> list[tuple[int, int]]:
        """Kinds that open a session, with their protocols; none of a protocol that does so every day."""
        everyday = {
            (row.protocol, row.kind) for row in baseline.rows("kinds") if row.count >= EVERYDAY
        } & SESSIONS
        ids = [(self.lens.protocol(protocol), kind) for protocol, kind in sorted(SESSIONS - everyday)]
        return [(proto, kind) for proto, kind in ids if proto >= 0]

    def _sessions(self, piece: Slice) -> None:
        """Sessions that known clients open; the same as a TCP opening, which filtered captures leave out."""
        spoken = ((protocol_columns(piece, proto), kind) for proto, kind in self._openings)
        opened = [columns.numbers[columns["kind"] == kind] for columns, kind in spoken if len(columns)]
        numbers = np.sort(np.concatenate(opened)) if opened else np.zeros(0, np.intp)
        for row in piece.messages.take(numbers[:MAX_ROWS]):
            pair, now = self._pair(int(row["conv"])), int(row["ts"])
            link = self._link(pair) if pair is not None else None
            if pair is None or link is None or now - link.heard <= BROKEN:
                continue
            if link.again is None or link.again.until < now:
                self._opened(pair, link, now, now - link.heard if link.heard >= 0 else 0)

    def _opened(self, pair: Pair, link: _Link, now: int, silence: int) -> None:
        before = link.heard >= 0
        after = f"again after {_span(silence)} of silence" if before else "for the first time in this run"
        link.said = f"{pair[1]} to {pair[2]} ({pair[0]}) was opened {after}"
        pairs = {pair, ("tcp", *pair[1:]), ("cotp", *pair[1:])}
        event = Open("reconnect", now, now + SETTLING, now - silence, link.said, pairs, recorded=before)
        link.again = self.events.begin(event)

    def _mms(self, columns: Columns) -> None:
        """What a known client does now and then: controls, and disturbance records that it reads."""
        if not len(columns):
            return
        kinds, points = columns["kind"], columns["point"]
        asks = (columns["role"] == Role.CLIENT) & ((kinds == READ) | (kinds == WRITE)) & (points > 0)
        telling = [point for point in set(points[asks].tolist()) if self._control(point)]
        if telling:
            for row in columns.rows(asks & among(points, telling))[:MAX_ROWS]:
                pair, now = self._pair(int(row["conv"])), int(row["ts"])
                if pair is not None:
                    words = f"{pair[1]} operates {pair[2]}"
                    event = Open("control", now, now + SETTLING, now, words, {pair}, recorded=False)
                    self.events.begin(event)
        self._files(columns)

    def _control(self, point: int) -> bool:
        """Is it a control, or the select of one?"""
        return bool(control_of(self.lens.point(self._ids["mms"], point))[0])

    def _files(self, columns: Columns) -> None:
        """Disturbance records that a known client opens and goes on reading."""
        kinds = columns["kind"]
        asks = (columns["role"] == Role.CLIENT) & ((kinds == OPEN) | among(kinds, tuple(CONTINUED)))
        if not asks.any():
            return
        for row in columns.rows(asks)[:MAX_ROWS]:
            stream, pair = int(row["stream"]), self._pair(int(row["conv"]))
            if pair is None:
                continue
            if int(row["kind"]) == OPEN:
                self._reading.put(stream, is_record(self.lens.names.text(int(row["name"]))))
            if self._reading.get(stream):
                now = int(row["ts"])
                words = f"{pair[1]} read disturbance records of {pair[2]}"
                pairs = {pair, ("tcp", *pair[1:]), ("cotp", *pair[1:])}
                self.events.begin(Open("file-transfer", now - WINDOW, now + FILE_AFTER, now, words, pairs))

    def _iec104(self, columns: Columns) -> None:
        if not len(columns):
            return
        kinds = columns["kind"]
        telling = (kinds > 512) | (kinds == INTERROGATION) | (kinds == CLOCK)
        for row in columns.rows(telling)[:MAX_ROWS]:
            pair = self._pair(int(row["conv"]))
            if pair is not None:
                self._telling(row, pair, self._link(pair))
        sent = columns["conv"][(kinds < 256) & (kinds > 0) & (columns["role"] == Role.SERVER)]
        for conv in set(sent.tolist()):
            pair = self._pair(conv)
            if pair is not None:
                self._link(pair).data = True

    def _telling(self, row: Any, pair: Pair, link: _Link) -> None:
        """A frame of connection control, an interrogation, a clock command."""
        kind, now, cause = int(row["kind"]), int(row["ts"]), int(row["cause"])
        if kind in (STOP_ACT, STOP_CON):
            link.closed, link.stopped = now, True
        elif kind == START_CON:
            link.data = True
            self._add(link, now, "transfer started")
            self._taken_over(pair, now, True)
            link.closed = -1
        elif kind in (TEST_ACT, TEST_CON):
            self._tested(pair, link, int(row["role"]), now)
        elif kind == CLOCK and cause == ACTIVATION:
            self._add(link, now, "clock set")
        elif kind == INTERROGATION and cause == ACTIVATION and int(row["role"]) == Role.CLIENT:
            self._add(link, now, "interrogated")
            words = f"{pair[1]} interrogated {pair[2]}"
            event = Open("interrogation", now, now + SETTLING, now, words, {pair}, recorded=False)
            self.events.begin(event)

    def _add(self, link: _Link, now: int, words: str) -> None:
        """One more step of a connection that was opened again."""
        if link.again is not None and now <= link.again.until and words not in link.said:
            link.said = f"{link.said}, {words}"
            link.again.summary = link.said

    def _tested(self, pair: Pair, link: _Link, role: int, now: int) -> None:
        link.tested |= 1 if role == Role.CLIENT else 2
        if link.data or link.stopped or link.tested != 3:
            return
        words = f"{pair[1]} to {pair[2]} (iec104) is tested by both sides and was not started in this run"
        event = Open("standby", now, now + SETTLING, now, words, {pair}, recorded=False)
        self.events.begin(event)

    def _taken_over(self, pair: Pair, now: int, starts: bool) -> None:
        """Does a known second master take the place of a first one?"""
        if not starts:
            return
        protocol, client, server = pair
        for other in self._masters.get((protocol, server), ()):
            first = self._links.get((protocol, other, server))
            if other == client or first is None or first.heard < 0:
                continue
            if now - first.heard < GONE and not 0 <= now - first.closed <= SETTLING:
                continue
            words = f"{client} took over {server} ({protocol}) from {other}"
            pairs = {(name, host, server) for name in (protocol, "tcp") for host in (client, other)}
            self.events.begin(Open("switch-over", now, now + TAKEN_OVER, now, words, pairs))


def _span(ns: int) -> str:
    seconds = ns / SECOND
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.0f} min"
