"""BACnet/IP: refusals, passwords, discovery, sweeps, priorities of writes.

Standard followed: ASHRAE 135, clause 16 (deviceCommunicationControl and reinitializeDevice may ask for a
password; who-Has, who-Is), clause 18 (error, reject and abort codes), annex J (BACnet/IP link results).
Writes, restarts and silencing that a site never used are the allow-list's. A write names the priority at
which it commands (19.2.1): the highest holds until its writer takes it back, and 1 and 2 are those of life
safety.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.choices import ChoiceLearner, learned_choices
from detectors.groups import Lens, among
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "bacnet"
WRITTEN_AT: Final = "priority"
LINK: Final = 131_072
BVLC_RESULT: Final = LINK
PASSWORD_FAILURE: Final = 26
WHO: Final = (263, 264, 65_536, 131_074, 131_078)
REQUESTS: Final = 33  # confirmed requests are numbered below
WRITES: Final = (15, 16)
LIFE_SAFETY: Final = {1: "manual life safety", 2: "automatic life safety"}
DEFAULT_PRIORITY: Final = 16
REFUSALS, LINK_REFUSALS, QUESTIONS, DEVICES = 5, 3, 20, 8

REFUSED = Rule("bacnet-refused", Level.WARNING, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0888")
PASSWORD = Rule("bacnet-password", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0859")
ROUTING = Rule("bacnet-link-refused", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0848")
SCAN = Rule("bacnet-discovery", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0846")
PRIORITY = Rule("bacnet-priority", Level.WARNING, {"attack": 0.5, "operation": 0.5}, "T0855")
SWEEP = Rule("bacnet-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")


class BacnetRules(ProtocolRules):
    """Checks BACnet answers and discovery by number."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._link = self.tally(10), self.tally(60)
        self._asked, self._devices = self.tally(60), self.tally(60)
        self._used = learned_choices(baseline, NAME, WRITTEN_AT)
        self._told = self.table()

    def check(self, rows: Rows, piece: Slice) -> None:
        """By number."""
        kinds, negative = rows["kind"], rows.compress(has(rows, Flag.NEGATIVE))
        link, password = negative["kind"] == BVLC_RESULT, negative["cause"] == PASSWORD_FAILURE
        password &= ~link
        self.refusals(
            REFUSED, self._refused, negative.compress(~link & ~password), REFUSALS, "refused requests of"
        )
        self.refusals(
            ROUTING, self._link, negative.compress(link), LINK_REFUSALS, "refused link functions of"
        )
        for mine in grouped(negative.compress(password), "conv"):
            text = f"{self.host(mine[0]['src'])} refused the password of {self.host(mine[0]['dst'])}"
            self.say(PASSWORD, mine, text, "the right password", "password failure", pair=True)
        self._discovery(rows.compress(among(kinds, WHO)))
        asked = rows.compress((rows["role"] == Role.CLIENT) & (kinds >= 0) & (kinds < REQUESTS))
        self.sweep(SWEEP, self._devices, asked, DEVICES, "turned to")
        self._priorities(asked.compress(among(asked["kind"], WRITES)))

    def _priorities(self, rows: Rows) -> None:
        """Writes at a priority that this writer never used; once each."""
        for mine in grouped(rows, "src", "dst", "state"):
            writer, device = self.host(mine[0]["src"]), self.host(mine[0]["dst"])
            priority = priority_of(mine[0])
            used = self._used.get((writer, device), set())
            news = priority not in used and (bool(used) or priority in LIFE_SAFETY)
            if not news or self._told.get((writer, device, priority)):
                continue
            self._told.put((writer, device, priority), True)
            level = Level.NOTICE if used and priority < min(used) else Level.INFO
            if priority in LIFE_SAFETY:
                level = Level.WARNING if self.habits.learned else Level.NOTICE
            meant = f", {LIFE_SAFETY[priority]}" if priority in LIFE_SAFETY else ""
            text = f"{writer} writes {self.point(mine[0])} of {device} at priority {priority}{meant}"
            known = ", ".join(map(str, sorted(used))) or "none of life safety"
            expected, observed = f"priority {known}", f"priority {priority}"
            self.say(PRIORITY, mine, text, expected, observed, group=str(priority), level=level)

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


class PriorityLearner(ChoiceLearner):
    """Learns at which priorities each host writes."""

    protocol, what = NAME, WRITTEN_AT

    def choices(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Writes by host, device and priority."""
        writes = rows.compress((rows["role"] == Role.CLIENT) & among(rows["kind"], WRITES))
        for mine in grouped(writes, "src", "dst", "state"):
            yield mine, priority_of(mine[0])


def priority_of(row: Any) -> int:
    """Priority of a write; without one it counts as the lowest."""
    return int(row["state"]) if int(row["state"]) > 0 else DEFAULT_PRIORITY
