"""DNP3: internal indications, select before operate, sequence numbers, roles, broadcasts, scans.

Standard followed: IEEE 1815-2012, clauses 4.2.2 (internal indications; application sequence: a response
carries that of its request, each further fragment one more, as does the next request), 4.4 (an operate
follows its select with the next sequence number and the same objects) and 9.2 (link frames, addresses, CRC).

Single commands that a site never used are the allow-list's. Here stands what needs the frames before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.iec104_clock import FARTHEST, SUMMER, beside_zones
from detectors.rules.shared import ProtocolRules, Rows, Rule, changes, grouped, has, one
from grid_profiles.vocabulary import DANGEROUS, Flag, Role

NAME: Final = "dnp3"
SELECT, OPERATE, WRITE = 3, 4, 2
COLD, WARM = 13, 14
ENABLE, DISABLE = 20, 21
RESPONSE, UNSOLICITED = 129, 130
CONTROLS: Final = (3, 4, 5, 6)
NO_ANSWER: Final = 6
"""Direct operate, no acknowledgement."""

SELECT_TIME: Final = 60 * SECOND
"""ns for which a select is believed to stand; devices hold it for 10 s or so."""

IN_TURN: Final = 16
"""Requests in a row, each numbered one above the last, from which a master is known to count so."""

UNSOLICITED_BACK: Final = 120.0
RESTARTED: Final = 300 * SECOND
REFUSALS: Final = 3
BAD_FRAMES: Final = 3
ADDRESSES: Final = 8
TIME_OBJECTS: Final = (0x3201, 0x3203)  # g50v1 time and date, g50v3 last recorded time
RIGHT: Final = 2.0
"""s by which a time that is set may differ from the capture's clock, or from what was set before."""

START_UP: Final = 60 * SECOND
"""ns after a connection came up, or a restart was told, in which a master sets an outstation up."""


NEED_TIME, LOCAL, TROUBLE, RESTART = 0x1000, 0x2000, 0x4000, 0x8000
OVERFLOW, CORRUPT = 0x0008, 0x0020
REFUSED_BITS: Final = 0x0007

REBOOT = Rule("dnp3-restarted", Level.NOTICE, {"fault": 0.5, "operation": 0.3, "attack": 0.2}, "T0816")
EVENTS = Rule("dnp3-overflow", Level.NOTICE, {"fault": 0.7, "attack": 0.3}, "T0814")
CONFIG = Rule("dnp3-config-corrupt", Level.WARNING, {"fault": 0.6, "attack": 0.4}, "T0836")
DEVICE = Rule("dnp3-trouble", Level.NOTICE, {"fault": 0.9, "attack": 0.1})
BY_HAND = Rule("dnp3-local", Level.NOTICE, {"operation": 0.8, "fault": 0.1, "attack": 0.1})
REFUSED = Rule("dnp3-refused", Level.WARNING, {"attack": 0.6, "operation": 0.2, "fault": 0.2}, "T0888")
CONTROL_REFUSED = Rule("dnp3-control-refused", Level.NOTICE, {"attack": 0.4, "operation": 0.3, "fault": 0.3})
UNSELECTED = Rule("dnp3-unselected", Level.WARNING, {"attack": 0.7, "fault": 0.2, "operation": 0.1}, "T0855")
MISMATCH = Rule("dnp3-select-mismatch", Level.WARNING, {"attack": 0.8, "fault": 0.2}, "T0855")
SILENCED = Rule(
    "dnp3-unsolicited-off", Level.WARNING, {"attack": 0.5, "operation": 0.4, "fault": 0.1}, "T0804"
)
TO_ALL = Rule("dnp3-broadcast", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0855", habit=1)
ROLES = Rule("dnp3-role", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0848")
MASTER = Rule("dnp3-master", Level.WARNING, {"attack": 0.75, "operation": 0.25}, "T0848")
UNASKED = Rule("dnp3-unasked", Level.NOTICE, {"attack": 0.45, "visibility": 0.35, "fault": 0.2}, "T0856")
TURN = Rule("dnp3-sequence", Level.NOTICE, {"attack": 0.6, "fault": 0.3, "visibility": 0.1}, "T0855")
BLIND = Rule("dnp3-no-answer", Level.NOTICE, {"attack": 0.7, "operation": 0.3}, "T0855")
CRC = Rule("dnp3-crc", Level.NOTICE, {"fault": 0.5, "attack": 0.5}, "T0814")
SCAN = Rule("dnp3-scan", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
CLOCK = Rule("dnp3-time", Level.WARNING, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0832")

INDICATIONS: Final = (
    (RESTART, REBOOT, "reports that it restarted"),
    (OVERFLOW, EVENTS, "lost events: its event buffer ran over"),
    (CORRUPT, CONFIG, "reports a corrupt configuration"),
    (TROUBLE, DEVICE, "reports device trouble"),
    (LOCAL, BY_HAND, "was switched to local control at some points"),
)


@dataclass(slots=True)
class _Link:
    """One master and outstation."""

    iin: int = -1
    asked: list[int] = field(default_factory=list)  # sequence numbers of the last requests
    answered: int = -1
    commanded: int = -(1 << 62)  # ns of the last restart command
    selected: tuple[int, int, int, float] | None = None  # ns, sequence, point, operation
    operated: tuple[int, int] = (-1, -1)  # sequence and point; a master may repeat what nobody answered
    master: int = -1
    stream: int = -1
    in_turn: int = 0  # requests in a row whose numbers follow each other
    controlled: bool = False  # by a control that is answered
    offset: float = np.nan  # s by which the time that was set last is later than the capture's
    begun: int = -(1 << 62)  # ns since when its connection is known, or of the last restart


class Dnp3Rules(ProtocolRules):
    """Checks DNP3 fragments against the ones before them."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._links = self.table()
        self._pairs = self.table()
        self._refused, self._crc, self._asked = self.tally(10), self.tally(10), self.tally(60)
        self._off = self.promise(UNSOLICITED_BACK)
        self._times: dict[int, float] = {}
        self._addresses: set[tuple[str, str, str]] = set()
        if baseline is not None:
            for row in baseline.spoken("conversations", NAME):
                self._addresses.add((row.client, row.server, row.sub))

    def check(self, rows: Rows, piece: Slice) -> None:
        """What is rare by column, requests and responses in their order."""
        self._damaged(rows)
        # an object that cannot be is in a frame that a device acts on all the same; a bad header is not
        whole = rows.compress((rows["kind"] >= 0) & ~has(rows, Flag.TRUNCATED))
        self._roles(whole)
        self._scan(whole)
        self._broadcast(whole)
        negative = whole.compress(has(whole, Flag.NEGATIVE) & (whole["role"] == Role.SERVER))
        self._refusals(negative)
        fragments, _ = thinned(whole.compress(whole["kind"] < 512), MAX_READ)
        self._times = self._written(piece) if (fragments["kind"] == WRITE).any() else {}
        for row in fragments:
            self._fragment(row)

    def _written(self, piece: Slice) -> dict[int, float]:
        """Times in the slice, epoch seconds, by frame."""
        points = piece.points
        mine = points[(points["proto"] == self.proto) & among(points["kind"], TIME_OBJECTS)][:MAX_READ]
        frames = piece.messages["frame"][mine["message"]].tolist()
        return dict(zip(frames, mine["value"].tolist(), strict=True))

    def _damaged(self, rows: Rows) -> None:
        bad = rows.compress(has(rows, Flag.MALFORMED) & ~has(rows, Flag.TRUNCATED))
        for mine in grouped(bad, "src", "dst"):
            first = mine[0]
            entry = self._crc.add((int(first["src"]), int(first["dst"])), int(first["ts"]), len(mine))
            if entry.crosses(BAD_FRAMES):
                text = f"{entry.count} damaged frames from {self.host(first['src'])} within 10 s"
                self.say(CRC, mine, text, "good CRCs and objects", f"{entry.count} bad", pair=True)

    def _roles(self, rows: Rows) -> None:
        """A station that another one commands begins to command that one."""
        for row in changes(rows.compress(rows["role"] == Role.CLIENT), "src"):
            client, server = self.host(row["src"]), self.host(row["dst"])
            turned = self._pairs.get((server, client)) or (server, client) in self.habits.pairs
            both = (client, server) in self.habits.pairs
            if turned and not both and not self._pairs.get((client, server)):
                text = f"{client} speaks to {server} as a master; it is an outstation of it"
                self.say(ROLES, one(row), text, "outstations answer", self.kind(row), pair=True)
            self._pairs.put((client, server), True)

    def _scan(self, rows: Rows) -> None:
        """Outstation addresses asked for that nobody knows; what learning meets is all new."""
        if not self.habits.learned:
            return
        for mine in grouped(rows.compress(rows["role"] == Role.CLIENT), "conv"):
            first = mine[0]
            _, client, server, _, sub, _ = self.lens.conv(int(first["conv"]))
            if (client, server, sub) in self._addresses:
                continue
            entry = self._asked.add(
                int(first["src"]), int(first["ts"]), 1, [((server, sub), int(first["frame"]))]
            )
            if entry.spreads(ADDRESSES):
                text = f"{client} asked {len(entry.items)} link addresses within a minute"
                self.say(SCAN, mine, text, "known outstations", f"{len(entry.items)} addresses", group=client)
                self.found[-1].frames = list(entry.items.values())[:20]

    def _broadcast(self, rows: Rows) -> None:
        for mine in grouped(
            rows.compress(has(rows, Flag.BROADCAST) & (rows["role"] == Role.CLIENT)), "conv", "kind"
        ):
            first = mine[0]
            if self.lens.kind_class(self.proto, int(first["kind"])) in DANGEROUS:
                text = f"{self.host(first['src'])} sent {self.kind(first)} to every outstation at once"
                self.say(
                    TO_ALL, mine, text, "commands to one outstation", "broadcast", group=self.kind(first)
                )

    def _refusals(self, rows: Rows) -> None:
        probing = rows.compress((rows["cause"] >= 0) & (rows["cause"] & REFUSED_BITS != 0))
        self.refusals(REFUSED, self._refused, probing, REFUSALS, "refused requests of")
        for row in rows.compress((rows["cause"] >= 0) & (rows["cause"] & REFUSED_BITS == 0))[:MAX_READ]:
            text = f"{self.host(row['src'])} refused a control of {self.point(row) or 'an output'}"
            self.say(CONTROL_REFUSED, one(row), text, "control status 0", "control refused")

    def _fragment(self, row: Any) -> None:
        conv, role = int(row["conv"]), int(row["role"])
        link = self._links.get(conv) or self._links.put(conv, _Link())
        if role == Role.CLIENT:
            self._request(row, link)
        elif role == Role.SERVER and int(row["kind"]) in (RESPONSE, UNSOLICITED):
            self._indications(row, link)
            self._sequence(row, link)

    def _request(self, row: Any, link: _Link) -> None:
        kind, now = int(row["kind"]), int(row["ts"])
        self._master(row, link)
        if kind == 0:
            return  # a confirmation carries the number of what it confirms
        self._turn(row, link)
        link.asked = [*link.asked[-3:], int(row["seq"])]
        link.answered = -1
        if kind in (COLD, WARM):
            link.commanded = now
        elif kind == SELECT:
            link.operated = (-1, -1)
            link.selected = (now, int(row["seq"]), int(row["point"]), float(row["value"]))
        elif kind == OPERATE:
            self._operate(row, link)
        elif kind == NO_ANSWER:
            self._unanswerable(row, link)
        elif kind == DISABLE:
            self._disabled(row, link)
        elif kind == ENABLE:
            self._off.keep(int(row["conv"]))
        elif kind == WRITE and int(row["frame"]) in self._times:
            self._set_clock(row, link, self._times[int(row["frame"])])
        link.controlled |= kind in CONTROLS and kind != NO_ANSWER

    def _turn(self, row: Any, link: _Link) -> None:
        """A request out of the order that its master keeps: a foreign one, or an old one again.

        A master may repeat the number of what nobody answered, and begins anew on a new connection.
        """
        seq, stream, last = int(row["seq"]), int(row["stream"]), link.asked[-1] if link.asked else -1
        same, link.stream = stream == link.stream, stream
        if not same:
            link.begun = int(row["ts"])
        if not same or last < 0 or int(row["flags"]) & int(Flag.GAP | Flag.MIDSTREAM):
            link.in_turn = 0
            return
        due = (last + 1) % 16
        if seq == due or (seq == last and link.answered < 0):
            link.in_turn += seq == due
            return
        steady, link.in_turn = link.in_turn >= IN_TURN, 0
        if steady:
            why = " again, which was answered" if seq == last else f"; {due} was due"
            text = f"{self.host(row['src'])} sent {self.kind(row)} with sequence {seq}{why}"
            missing = max(1, (seq - due) % 16)
            self.miss(TURN, one(row), text, f"sequence {due}", f"sequence {seq}", missing)

    def _unanswerable(self, row: Any, link: _Link) -> None:
        """A control whose result nobody will hear of, by a master that so far let them be answered."""
        pair = self.sides(row)
        if self.habits.did(*pair, (NO_ANSWER,)):
            return
        if link.controlled or self.habits.did(*pair, CONTROLS):
            text = f"{self.host(row['src'])} controls {self.point(row) or 'an output'} without an answer"
            self.say(BLIND, one(row), text, "controls that are answered", self.kind(row), pair=True)

    def _master(self, row: Any, link: _Link) -> None:
        master = int(row["aux"])
        if master >= 0 and link.master >= 0 and master != link.master:
            text = (
                f"{self.host(row['src'])} speaks to {self._station(row)} as master {master}; "
                f"so far it was {link.master}"
            )
            self.say(MASTER, one(row), text, f"master {link.master}", f"master {master}", group=str(master))
        elif master >= 0:
            link.master = master

    def _operate(self, row: Any, link: _Link) -> None:
        now = (int(row["seq"]), int(row["point"]))
        again, link.operated = link.operated == now, now
        if again:
            return
        selected, link.selected = link.selected, None
        src, point = self.host(row["src"]), self.point(row) or "an output"
        if selected is None or int(row["ts"]) - selected[0] > SELECT_TIME:
            if int(row["flags"]) & int(Flag.GAP | Flag.MIDSTREAM):
                return
            text = f"{src} operates {point} without a select before it"
            self.say(UNSELECTED, one(row), text, "select, then operate", "operate alone")
            return
        _, seq, target, operation = selected
        same = int(row["point"]) == target and _equal(float(row["value"]), operation)
        if not same or int(row["seq"]) != (seq + 1) % 16:
            wanted = self.names.point(self.proto, target) or "another output"
            text = f"{src} operates {point}, but what it selected was {wanted}" if not same else (
                f"{src} operates {point} with sequence {row['seq']}; {(seq + 1) % 16} follows its select"
            )  # fmt: skip
            self.say(MISMATCH, one(row), text, f"{wanted}, sequence {(seq + 1) % 16}",
                     f"{point}, sequence {row['seq']}")  # fmt: skip

    def _station(self, row: Any) -> str:
        return self.lens.conv(int(row["conv"]))[4] or self.host(row["dst"])

    def _silenced(self, row: Any) -> Finding:
        text = (
            f"{self.host(row['src'])} disabled unsolicited responses of {self._station(row)} "
            f"and did not enable them within {UNSOLICITED_BACK:.0f} s: events are not reported"
        )
        return self.make(SILENCED, one(row), text, "enabled again after start-up", "left disabled")

    def _disabled(self, row: Any, link: _Link) -> None:
        """A master disables them while it sets an outstation up, and enables them in the end."""
        if int(row["ts"]) - link.begun <= START_UP:
            self._off.wait(int(row["conv"]), self._silenced(row))
            return
        text = (
            f"{self.host(row['src'])} disabled unsolicited responses of {self._station(row)} in the midst of "
            "their connection: no restart was told"
        )
        self.say(SILENCED, one(row), text, "only while an outstation is set up", "disabled")

    def _set_clock(self, row: Any, link: _Link, time: float) -> None:
        """A time that is neither the capture's, in whatever zone, nor as far from it as the one before."""
        offset, before = time - int(row["ts"]) / SECOND, link.offset
        link.offset = offset
        if abs(beside_zones(offset)) <= RIGHT and (np.isnan(before) or abs(offset - before) < FARTHEST):
            step = 0.0 if np.isnan(before) else offset - before
            if abs(step) <= RIGHT or any(abs(abs(step) - summer) <= RIGHT for summer in SUMMER):
                return
        elif abs(offset - before) <= RIGHT:
            return
        level = Level.NOTICE if np.isnan(before) and abs(offset) <= FARTHEST else None
        text = (
            f"{self.host(row['src'])} set the clock of {self.host(row['dst'])} to a time {offset:+.1f} s "
            "from the capture's"
        )
        expected = "the time of day" if np.isnan(before) else f"{before:+.1f} s from the capture's, as before"
        self.say(CLOCK, one(row), text, expected, f"{offset:+.1f} s", level=level, pair=True)

    def _indications(self, row: Any, link: _Link) -> None:
        iin = int(row["cause"])
        if iin < 0:
            return
        risen = iin & ~link.iin if link.iin >= 0 else 0
        link.iin = iin
        if iin & RESTART:
            link.begun = int(row["ts"])
        for bit, rule, what in INDICATIONS:
            if not risen & bit:
                continue
            asked = rule is REBOOT and int(row["ts"]) - link.commanded < RESTARTED
            text = f"{self.host(row['src'])} {what}{' on command' if asked else ''}"
            self.say(rule, one(row), text, "bit clear", "bit set", level=Level.INFO if asked else None)

    def _sequence(self, row: Any, link: _Link) -> None:
        """A response that belongs to no request of this link."""
        if int(row["kind"]) != RESPONSE or not link.asked:
            return
        seq, flags = int(row["seq"]), int(row["flags"])
        further = link.answered >= 0 and seq == (link.answered + 1) % 16
        known = seq in link.asked or further or seq == link.answered
        link.answered = seq
        if known or flags & int(Flag.GAP | Flag.MIDSTREAM | Flag.UNANSWERED):
            return
        text = f"{self.host(row['src'])} answered with sequence {seq}, which nobody asked for"
        self.say(UNASKED, one(row), text, f"sequence {link.asked[-1]}", f"sequence {seq}")


def _equal(one_value: float, other: float) -> bool:
    return one_value == other or bool(np.isnan(one_value) and np.isnan(other))
