"""I/O connections of EtherNet/IP: outputs that a second originator takes, packets of a foreign sender.

Standard followed: ODVA CIP Networks Library, volume 1, 3-6.4 (an exclusive owner sends the outputs of a
connection point; a device refuses a second one) and volume 2, 2-4.6 (I/O on UDP). The decoder says by which
forward open an I/O packet's connection was made (``state``) and who may send in it (``aux``). A connection
whose opening was not seen is unknown, which is how every sensor meets a running site, and nothing is said of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import REPEATED, SECOND, Lens, among
from detectors.rules.common import MAX_READ, protocol_rows
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, one
from grid_profiles.vocabulary import Role

IO: Final = 65_536
FORWARD_OPEN: Final = (1620, 1627)
FORWARD_CLOSE: Final = 1614
ALIVE: Final = 10 * SECOND
"""ns after its opening or its last packet in which an owner counts as one; devices give up sooner."""

NOBODY: Final = 1
"""Highest endpoint number that stands for no host in particular."""

TAKEN = Rule("cip-owner", Level.WARNING, {"attack": 0.55, "operation": 0.3, "fault": 0.15}, "T0848")
SOURCE = Rule("enip-io-source", Level.WARNING, {"attack": 0.75, "fault": 0.25}, "T0855")


@dataclass(slots=True)
class _Owner:
    """Who owns the outputs of one connection point."""

    originator: int
    ident: int  # O->T connection id
    frame: int  # of the request that opened it
    heard: int  # ns, of its opening or its last packet


class EnipIoRules(ProtocolRules):
    """Checks openings of I/O connections one by one, their packets by column."""

    protocol = "enip"

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._cip = lens.protocol("cip")
        self._owners, self._places, self._requests = self.table(), self.table(), self.table()
        self._targets, self._told = self.table(), self.table()

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        self.found = []
        services = protocol_rows(piece, self._cip)
        services = services.compress(among(services["kind"], (*FORWARD_OPEN, FORWARD_CLOSE)))
        services = services.compress(services["flags"] & np.uint32(REPEATED) == 0)
        packets = protocol_rows(piece, self.proto)
        packets = packets.compress((packets["kind"] == IO) & (packets["state"] >= 0))
        own = packets["aux"] == packets["src"]
        for row in services[:MAX_READ]:
            self._service(row, packets.compress(own))
        self._hear(packets.compress(own))
        foreign = ~own & (packets["aux"] > NOBODY) & (packets["src"] > NOBODY)
        for mine in grouped(packets.compress(foreign), "src", "dst", "point"):
            self._foreign(mine)
        return self.found

    def _service(self, row: Any, packets: Rows) -> None:
        if int(row["role"]) == Role.CLIENT:
            self._requests.put((int(row["stream"]), int(row["frame"])), row)
            return
        target, accepted = int(row["src"]), int(row["cause"]) == 0
        if int(row["kind"]) == FORWARD_CLOSE:
            if accepted:
                self._closed(target, int(row["aux"]))
            return
        if accepted:
            self._targets.put(int(row["state"]), target)
        if int(row["name"]):
            self._opened(row, (target, int(row["name"])), accepted, packets)

    def _closed(self, target: int, ident: int) -> None:
        place = self._places.get((target, ident))
        self._places.drop((target, ident))
        owner = None if place is None else self._owners.get(place)
        if place is not None and owner is not None and owner.ident == ident:
            self._owners.drop(place)

    def _opened(self, row: Any, place: tuple[int, int], accepted: bool, packets: Rows) -> None:
        """An answer to who wants to own outputs alone."""
        now, originator = int(row["ts"]), int(row["dst"])
        owner = self._owners.get(place)
        if owner is not None and owner.originator != originator:
            before = packets["ts"][(packets["state"] == owner.frame) & (packets["ts"] <= now)]
            owner.heard = max(owner.heard, int(before.max(initial=0)))
            if now - owner.heard <= ALIVE:
                self._taken(row, place, owner, accepted)
        if accepted:
            self._owners.put(place, _Owner(originator, int(row["aux"]), int(row["state"]), now))
            self._places.put((place[0], int(row["aux"])), place)

    def _taken(self, row: Any, place: tuple[int, int], owner: _Owner, accepted: bool) -> None:
        target, thief = self.host(place[0]), self.host(row["dst"])
        if not accepted:
            if self._told.get((place, int(row["dst"]))):
                return
            self._told.put((place, int(row["dst"])), True)
        asked = self._requests.get((int(row["stream"]), int(row["state"])))
        point, known = self.names.text(place[1]), self.host(owner.originator)
        verb = "took" if accepted else "tried to take"
        text = f"{thief} {verb} the outputs {point} of {target}, which {known} owns"
        self.say(
            TAKEN,
            one(row if asked is None else asked),
            text,
            f"{known} alone sends outputs {point}",
            f"{thief}, {'accepted' if accepted else 'refused'}",
            group=f"{target} {point}",
            level=None if accepted else Level.NOTICE,
        )

    def _hear(self, packets: Rows) -> None:
        """When owners sent last."""
        if not len(self._owners) or not len(packets):
            return
        last = dict(zip(packets["state"].tolist(), packets["ts"].tolist(), strict=True))
        for owner in self._owners.values():
            owner.heard = max(owner.heard, last.get(owner.frame, 0))

    def _foreign(self, rows: Rows) -> None:
        """Packets of a connection that somebody else may send in."""
        first = rows[0]
        sender, true = self.host(first["src"]), self.host(first["aux"])
        to_target = self._targets.get(int(first["state"])) == int(first["dst"])
        what = "outputs" if to_target else "inputs"
        text = f"{sender} sends {what} to {self.host(first['dst'])} in a connection of {true}"
        ident = f"0x{int(first['point']):08x}"
        self.say(SOURCE, rows, text, f"connection {ident} carries packets of {true}", sender, group=ident)
        self.found[-1].technique = "T0855" if to_target else "T0856"
