"""BACnet/IP: refusals, passwords, discovery, sweeps.

Standard followed: ASHRAE 135, clause 16 (deviceCommunicationControl and reinitializeDevice may ask for a
password; who-Has, who-Is), clause 18 (error, reject and abort codes), annex J (BACnet/IP link results).
Writes, restarts and silencing that a site never used are the allow-list's; the priority of a write is not
decoded.
"""

from __future__ import annotations

from typing import Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, among
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "bacnet"
LINK: Final = 131_072
BVLC_RESULT: Final = LINK
PASSWORD_FAILURE: Final = 26
WHO: Final = (263, 264, 65_536, 131_074, 131_078)
REQUESTS: Final = 33  # confirmed requests are numbered below
REFUSALS, LINK_REFUSALS, QUESTIONS, DEVICES = 5, 3, 20, 8

REFUSED = Rule("bacnet-refused", Level.WARNING, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0888")
PASSWORD = Rule("bacnet-password", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0859")
ROUTING = Rule("bacnet-link-refused", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0848")
SCAN = Rule("bacnet-discovery", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0846")
SWEEP = Rule("bacnet-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")


class BacnetRules(ProtocolRules):
    """Checks BACnet answers and discovery by number."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._link = self.tally(10), self.tally(60)
        self._asked, self._devices = self.tally(60), self.tally(60)

    def check(self, rows: Rows, piece: Slice) -> None:
        """By number."""
        kinds, negative = rows["kind"], rows[has(rows, Flag.NEGATIVE)]
        link, password = negative["kind"] == BVLC_RESULT, negative["cause"] == PASSWORD_FAILURE
        password &= ~link
        self.refusals(REFUSED, self._refused, negative[~link & ~password], REFUSALS, "refused requests of")
        self.refusals(ROUTING, self._link, negative[link], LINK_REFUSALS, "refused link functions of")
        for mine in grouped(negative[password], "conv"):
            text = f"{self.host(mine[0]['src'])} refused the password of {self.host(mine[0]['dst'])}"
            self.say(PASSWORD, mine, text, "the right password", "password failure", pair=True)
        self._discovery(rows[among(kinds, WHO)])
        asked = rows[(rows["role"] == Role.CLIENT) & (kinds >= 0) & (kinds < REQUESTS)]
        self.sweep(SWEEP, self._devices, asked, DEVICES, "turned to")

    def _discovery(self, rows: Rows) -> None:
        """Who-is and its like, from a host that did not ask while learning."""
        if not self.habits.learned:
            return
        for mine in grouped(rows, "src", "dst"):
            client, server = self.host(mine[0]["src"]), self.host(mine[0]["dst"])
            if self.habits.did(client, server, WHO):
                continue
            entry = self._asked.add(int(mine[0]["src"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(QUESTIONS):
                text = f"{client} asked who is there {entry.count} times within a minute"
                self.say(SCAN, mine, text, "no discovery by this host", f"{entry.count} requests", pair=True)
