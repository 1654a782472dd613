"""EtherNet/IP and CIP: sessions, refusals, resets to factory settings, devices left stopped, sweeps.

Standards followed: ODVA CIP Networks Library, volume 2, chapter 2 (encapsulation: a session is registered and
its handle echoed; status codes) and volume 1 (general status codes, connection manager, identity object).
Resets, downloads and writes that a site never used are the allow-list's.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, among
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, changes, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES = 4, 99, 100
REGISTER, SEND_RR, SEND_UNIT = 101, 111, 112
RESET, START, STOP = 5, 6, 7
TO_FACTORY: Final = {1: "out of the box", 2: "out of the box but for its communication"}
"""Types of a reset of the identity object that lose the configuration; 0 is a power cycle."""

FORWARD_OPEN: Final = (1620, 1627)
PRIVILEGE: Final = 15
STARTED_AGAIN: Final = 300.0
REFUSALS, SERVICES_REFUSED, OPENS_REFUSED, SERVERS, QUESTIONS, STORM = 3, 5, 3, 5, 10, 10

REFUSED = Rule("enip-refused", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0888")
SWEEP = Rule("enip-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
IDENTITY = Rule("enip-identity-scan", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0846")
STORM_OF = Rule("enip-session-storm", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")
HANDLE = Rule("enip-session", Level.WARNING, {"attack": 0.65, "fault": 0.35}, "T0830")

SERVICES = Rule("cip-refused", Level.WARNING, {"attack": 0.55, "fault": 0.25, "operation": 0.2}, "T0888")
OPENING = Rule(
    "cip-connection-refused", Level.NOTICE, {"fault": 0.6, "attack": 0.3, "operation": 0.1}, "T0813"
)
RIGHTS = Rule("cip-privilege", Level.WARNING, {"attack": 0.65, "operation": 0.35}, "T0859")
FACTORY = Rule("cip-reset", Level.ALARM, {"attack": 0.75, "operation": 0.25}, "T0816", habit=1)
STOPPED = Rule("cip-stopped", Level.WARNING, {"attack": 0.5, "operation": 0.4, "fault": 0.1}, "T0858")


class EnipRules(ProtocolRules):
    """Checks encapsulation commands: sessions, refusals, discovery."""

    protocol = "enip"

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._sessions = self.tally(10), self.tally(60)
        self._servers, self._asked = self.tally(60), self.tally(60)
        self._handles = self.table()

    def check(self, rows: Rows, piece: Slice) -> None:
        """By number, and session handles where they change."""
        kinds, client = rows["kind"], rows["role"] == Role.CLIENT
        answers = rows.compress((rows["role"] == Role.SERVER) & has(rows, Flag.NEGATIVE))
        self.refusals(REFUSED, self._refused, answers, REFUSALS, "refused encapsulation commands of")
        opened = rows.compress(client & (kinds == REGISTER))
        self.refusals(STORM_OF, self._sessions, opened, STORM, "registered sessions with")
        lists = rows.compress(client & among(kinds, (LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES)))
        asked = rows.compress(
            client & among(kinds, (LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES, REGISTER))
        )
        self.sweep(SWEEP, self._servers, asked, SERVERS, "turned to")
        self._identity(lists)
        self._session(rows, kinds)

    def _identity(self, rows: Rows) -> None:
        """Discovery again and again by a host that did none while learning."""
        if not self.habits.learned:
            return
        for mine in grouped(rows, "conv"):
            client, server = self.sides(mine[0])
            if self.habits.did(client, server, (LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES)):
                continue
            entry = self._asked.add(int(mine[0]["conv"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(QUESTIONS):
                text = f"{client} asked {server} for identities {entry.count} times within a minute"
                self.say(IDENTITY, mine, text, "no discovery by this host", f"{entry.count} requests")

    def _session(self, rows: Rows, kinds: Rows) -> None:
        """A client that uses another handle than the one it was given on this connection."""
        given = rows.compress((kinds == REGISTER) & (rows["role"] == Role.SERVER) & (rows["stream"] >= 0))
        used = rows.compress(
            among(kinds, (SEND_RR, SEND_UNIT)) & (rows["role"] == Role.CLIENT) & (rows["stream"] >= 0)
        )
        both = np.concatenate([given[:MAX_READ], changes(used, "aux", "stream")[:MAX_READ]])
        for row in both.take(np.argsort(both["frame"], kind="stable")):
            stream, handle = int(row["stream"]), int(row["aux"])
            if int(row["role"]) == Role.SERVER:
                self._handles.put(stream, handle)
                continue
            known = self._handles.get(stream)
            if known is not None and handle >= 0 and handle != known:
                text = f"{self.host(row['src'])} uses session 0x{handle:08x}; it was given 0x{known:08x}"
                self.say(HANDLE, one(row), text, f"session 0x{known:08x}", f"session 0x{handle:08x}")


class CipRules(ProtocolRules):
    """Checks answers of CIP services, and devices that were stopped."""

    protocol = "cip"

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._opens = self.tally(10), self.tally(60)
        self._stopped = self.promise(STARTED_AGAIN)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Refusals by number, stops in their order."""
        kinds = rows["kind"]
        answers = rows.compress((rows["role"] == Role.SERVER) & has(rows, Flag.NEGATIVE))
        opens = among(answers["kind"], FORWARD_OPEN)
        rights = answers["cause"] == PRIVILEGE
        self.refusals(
            SERVICES,
            self._refused,
            answers.compress(~opens & ~rights),
            SERVICES_REFUSED,
            "refused services of",
        )
        self.refusals(
            OPENING, self._opens, answers.compress(opens & ~rights), OPENS_REFUSED, "refused connections of"
        )
        for mine in grouped(answers.compress(rights), "conv"):
            text = f"{self.host(mine[0]['src'])} refused {self.kind(mine[0])}: privilege violation"
            self.say(RIGHTS, mine, text, "services the client may use", "general status 0x0f", pair=True)
        for row in rows.compress(among(kinds, (RESET, START, STOP)) & (rows["role"] == Role.CLIENT))[
            :MAX_READ
        ]:
            client, server = self.sides(row)
            if int(row["kind"]) == RESET and int(row["aux"]) in TO_FACTORY:
                what = TO_FACTORY[int(row["aux"])]
                text = f"{client} resets {server} to its state {what}: its configuration is lost"
                self.say(FACTORY, one(row), text, "reset of type 0 at most", f"type {row['aux']}", pair=True)
            if int(row["kind"]) != STOP:
                self._stopped.keep(server)
                continue
            text = f"{client} stopped {server} ({self.point(row)}), and nobody started it within 5 min"
            self._stopped.wait(server, self.make(STOPPED, one(row), text, "started again", "stopped"))
