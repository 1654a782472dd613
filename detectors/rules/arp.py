"""ARP: an address that moves between stations, answers that nobody asked for, forged senders, scans.

Standards followed: RFC 826, RFC 5227 (an address belongs to one station; a station announces itself by asking
for its own address). An address that moves once is a new device or a stand-by that took over; one that moves
back and forth has two owners.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, is_group_address
from detectors.rules.common import MAX_READ
from detectors.rules.shared import MAX_ITEMS, ProtocolRules, Rows, Rule, grouped, one

NAME: Final = "arp"
REQUEST, REPLY = 1, 2
NOBODY: Final = "0.0.0.0"  # noqa: S104 (an address of probes, RFC 5227; nothing is bound)
TOGETHER: Final = 60 * SECOND
ASKED: Final = 10 * SECOND
MAX_ADDRESSES: Final = 16_384
MAX_OWNERS: Final = 16
UNASKED, TARGETS = 10, 30

MOVED = Rule("arp-moved", Level.WARNING, {"attack": 0.5, "operation": 0.3, "fault": 0.2}, "T0830")
TWO = Rule("arp-conflict", Level.ALARM, {"attack": 0.7, "fault": 0.3}, "T0830")
UNSOLICITED = Rule("arp-unasked", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0830")
FORGED = Rule("arp-forged-sender", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0830", habit=1)
SCAN = Rule("arp-scan", Level.WARNING, {"attack": 0.7, "operation": 0.3}, "T0846")


class ArpRules(ProtocolRules):
    """Checks who says to own which address."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._owners, self._asked = self.table(MAX_ADDRESSES), self.table(MAX_ADDRESSES)
        self._forged = self.table()
        self._neighbours = {
            sides: {point for _, point in points} for sides, points in self.habits.points.items()
        }
        self._unasked, self._targets = self.tally(60), self.tally(60)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Each pair of address and station once a slice; requests before answers by their time."""
        rows = rows.compress((rows["kind"] == REQUEST) | (rows["kind"] == REPLY))
        claims = rows.compress((rows["name"] > 0) & (rows["ident"] > 0))
        for mine in sorted(grouped(claims, "name", "ident"), key=lambda mine: int(mine[0]["frame"]))[
            :MAX_READ
        ]:
            self._claim(mine)
        self._unsolicited(rows)
        for mine in grouped(rows.compress(rows["kind"] == REQUEST), "src"):
            self._scan(mine)

    def _claim(self, rows: Rows) -> None:
        row, now = rows[0], int(rows[0]["ts"])
        address, station = self.names.text(int(row["name"])), self.names.text(int(row["ident"]))
        if address == NOBODY:
            return
        self._sender(row, address, station)
        owners: dict[str, int] = self._owners.get(address) or self._owners.put(address, {})
        others = [who for who in owners if who != station]
        current = max(owners, key=lambda who: owners[who]) if owners else station
        was, before = owners.get(current, 0), owners.get(station, -TOGETHER)
        owners[station] = int(rows[-1]["ts"])
        if current == station or not others:
            return
        if len(owners) > MAX_OWNERS:
            for who in sorted(owners, key=lambda who: owners[who])[: MAX_OWNERS // 2]:
                del owners[who]
        back = now - before <= TOGETHER and now - was <= TOGETHER
        if back:
            text = f"{address} is claimed by {current} and by {station} in turn"
            self.say(TWO, one(row), text, current, station, group=address)
        else:
            text = f"{address} moved from {current} to {station}"
            self.say(MOVED, one(row), text, current, station, group=address)

    def _sender(self, row: Any, address: str, station: str) -> None:
        """The station in the message is not the one that sent the frame."""
        source = self.host(row["src"])
        if source == station or is_group_address(source) or self._forged.get((source, address, station)):
            return
        self._forged.put((source, address, station), True)
        text = f"{source} says that {address} is at {station}"
        self.say(FORGED, one(row), text, source, station, group=address)

    def _unsolicited(self, rows: Rows) -> None:
        """Answers about an address that nobody asked for; those to oneself are announcements."""
        for mine in grouped(rows.compress((rows["kind"] == REQUEST) & (rows["point"] > 0)), "point"):
            self._asked.put(int(mine[0]["point"]), int(mine[-1]["ts"]))
        replies = rows.compress(
            (rows["kind"] == REPLY) & (rows["name"] != rows["point"]) & (rows["name"] > 0)
        )
        for mine in grouped(replies, "src", "name"):
            asked = self._asked.get(int(mine[0]["name"]))
            if asked is not None and int(mine[0]["ts"]) - asked <= ASKED:
                continue
            entry = self._unasked.add(int(mine[0]["src"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(UNASKED):
                source, address = self.host(mine[0]["src"]), self.names.text(int(mine[0]["name"]))
                text = (
                    f"{source} sent {entry.count} answers within a minute that nobody asked for ({address})"
                )
                self.say(UNSOLICITED, mine, text, "an answer for each question", f"{entry.count}", pair=True)

    def _scan(self, rows: Rows) -> None:
        """Many addresses asked for that this station never asked for."""
        if not self.habits.learned:
            return
        known = self._neighbours.get(self.sides(rows[0]), set())
        points, frames = rows["point"].tolist(), rows["frame"].tolist()
        first = dict(zip(reversed(points), reversed(frames), strict=True))
        words = ((self.lens.point(self.proto, point), first[point]) for point in dict.fromkeys(points))
        asked = list(islice(words, MAX_ITEMS))
        news = [(address, frame) for address, frame in asked if address and address not in known]
        if not news:
            return
        entry = self._targets.add(int(rows[0]["src"]), int(rows[0]["ts"]), len(news), news)
        if entry.spreads(TARGETS):
            source = self.host(rows[0]["src"])
            text = f"{source} asked for {len(entry.items)} addresses within a minute that it never asked for"
            self.say(SCAN, rows[:20], text, "known neighbours", f"{len(entry.items)} addresses", group=source)
