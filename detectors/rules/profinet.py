"""PROFINET DCP: resets and addresses set among other set services, double names, refusals, discovery.

Standard followed: IEC 61158-6-10, DCP: options and suboptions of a block (1/2 IP, 2/2 name of station, 5/5
factory reset, 5/6 reset to factory), block errors, names of station unique in a network. The allow-list sees
one kind of set request, whatever it sets.
"""

from __future__ import annotations

from typing import Any, Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, changes, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "profinet_dcp"
SET, IDENTIFY, IDENTIFIED, HELLO = 1024, 1280, 1281, 1536
RESETS: Final = (0x0505, 0x0506)
ADDRESSES: Final = {0x0102: "the IP address", 0x0103: "the IP address", 0x0202: "the name of station"}
TOGETHER: Final = 60 * SECOND
REFUSALS, QUESTIONS = 3, 10

RESET = Rule("dcp-reset", Level.ALARM, {"attack": 0.6, "operation": 0.4}, "T0816")
ADDRESS = Rule("dcp-address", Level.WARNING, {"operation": 0.5, "attack": 0.5}, "T0836", habit=1)
NAMES = Rule("dcp-name-conflict", Level.WARNING, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0849")
REFUSED = Rule("dcp-refused", Level.WARNING, {"attack": 0.5, "operation": 0.3, "fault": 0.2}, "T0888")
SCAN = Rule("dcp-identify-scan", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0846")


class DcpRules(ProtocolRules):
    """Checks DCP services; they are rare."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._asked = self.tally(60), self.tally(60)
        self._stations = self.table()

    def check(self, rows: Rows, piece: Slice) -> None:
        """Sets one by one, names where they change, the rest by number."""
        kinds = rows["kind"]
        for row in rows.compress((kinds == SET) & (rows["role"] == Role.CLIENT))[:MAX_READ]:
            self._set(row)
        named = rows.compress(among(kinds, (IDENTIFIED, HELLO)) & (rows["name"] > 0))
        for row in changes(named, "name")[:MAX_READ]:
            self._named(row)
        self.refusals(REFUSED, self._refused, rows.compress(has(rows, Flag.NEGATIVE)), REFUSALS)
        self._discovery(rows.compress(kinds == IDENTIFY))

    def _set(self, row: Any) -> None:
        client, server, block = *self.sides(row), int(row["aux"])
        if block in RESETS:
            text = f"{client} resets {server} to factory settings"
            self.say(RESET, one(row), text, "no reset in operation", "reset to factory", pair=True)
        elif block in ADDRESSES and (not self.habits.learned or self.habits.did(client, server, (SET,))):
            what = ADDRESSES[block]  # a host that never set anything is the allow-list's
            text = f"{client} sets {what} of {server} to {self.point(row) or 'another'}"
            self.say(ADDRESS, one(row), text, "addresses stay in operation", what, pair=True, group=what)

    def _named(self, row: Any) -> None:
        """Two stations that answer to one name."""
        name, src, now = int(row["name"]), int(row["src"]), int(row["ts"])
        owner = self._stations.get(name)
        if owner is not None and owner[0] != src and now - owner[1] <= TOGETHER:
            text = f"{self.host(src)} answers to {self.names.text(name)}, as {self.host(owner[0])} does"
            group = self.names.text(name)
            self.say(NAMES, one(row), text, self.host(owner[0]), self.host(src), group=group)
        self._stations.put(name, (src, now))

    def _discovery(self, rows: Rows) -> None:
        if not self.habits.learned:
            return
        for mine in grouped(rows, "src", "dst"):
            client, server = self.host(mine[0]["src"]), self.host(mine[0]["dst"])
            if self.habits.did(client, server, (IDENTIFY,)):
                continue
            entry = self._asked.add(int(mine[0]["src"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(QUESTIONS):
                text = f"{client} sent {entry.count} identify requests within a minute"
                self.say(SCAN, mine, text, "no discovery by this host", f"{entry.count} requests", pair=True)
