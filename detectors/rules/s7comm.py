"""S7comm: a PLC left stopped, downloads left open, block services by name, refusals, passwords, sweeps.

Followed: S7comm as Wireshark's dissector describes it (Siemens does not publish it): PI service names
(``P_PROGRAM`` starts, ``_INSE`` activates, ``_DELE`` deletes, ``_GARB`` compresses, ``_MODU`` copies RAM to
ROM), error classes and return codes of answers. The allow-list sees one kind of job for all PI services;
their names are told apart here.
"""

from __future__ import annotations

from typing import Any, Final

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, among
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "s7comm"
SETUP: Final = 496
DOWNLOAD, DOWNLOAD_ENDED = 282, (284, 796)
SERVICE, STOP = 296, (297, 459780)
PASSWORD: Final = 460033
INFORMATION: Final = (459521, 459522, 459523, 459777)
USER_DATA: Final = 7 << 16
START_SERVICE: Final = "P_PROGRAM"
BLOCK_SERVICES: Final = {
    "_INSE": "activates a block",
    "_INS2": "activates a block",
    "_DELE": "deletes a block",
    "_GARB": "compresses the memory",
    "_MODU": "copies RAM to ROM, which makes a change permanent",
}
STARTED_AGAIN: Final = 300.0
DOWNLOADED: Final = 120.0
REFUSALS, PASSWORDS, QUESTIONS, SERVERS, STORM, LONE = 5, 3, 15, 5, 10, 3

STOPPED = Rule("s7-stopped", Level.WARNING, {"attack": 0.5, "operation": 0.4, "fault": 0.1}, "T0858")
OPEN_DOWNLOAD = Rule("s7-download-open", Level.NOTICE, {"fault": 0.5, "attack": 0.5}, "T0843")
BLOCKS = Rule("s7-block-service", Level.WARNING, {"attack": 0.5, "operation": 0.5}, "T0889", habit=1)
REFUSED = Rule("s7-refused", Level.WARNING, {"attack": 0.6, "fault": 0.2, "operation": 0.2}, "T0888")
GUESSED = Rule("s7-password", Level.WARNING, {"attack": 0.7, "operation": 0.3}, "T0859")
ASKED = Rule("s7-information-scan", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0888")
SWEEP = Rule("s7-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
SESSIONS = Rule("s7-session-storm", Level.NOTICE, {"fault": 0.5, "attack": 0.5}, "T0814")
UNASKED = Rule("s7-unasked", Level.NOTICE, {"attack": 0.45, "visibility": 0.35, "fault": 0.2}, "T0856")


class S7Rules(ProtocolRules):
    """Checks S7comm jobs by what has to follow them, and answers by their number."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._stopped, self._downloads = self.promise(STARTED_AGAIN), self.promise(DOWNLOADED)
        self._refused, self._passwords, self._lone = self.tally(10), self.tally(60), self.tally(10)
        self._asked, self._servers, self._sessions = self.tally(60), self.tally(60), self.tally(60)

    def check(self, rows: Rows, piece: Slice) -> None:
        """Jobs that change the program in their order; the rest by number."""
        kinds, client = rows["kind"], rows["role"] == Role.CLIENT
        rare = among(kinds, (DOWNLOAD, SERVICE, *DOWNLOAD_ENDED, *STOP))
        for row in rows.compress(rare)[:MAX_READ]:
            self._program(row)
        # user data without data says return code 10, which is no refusal; its errors stand in the header
        error = (kinds < USER_DATA) | (rows["cause"] > 0)
        answers = rows.compress((rows["role"] == Role.SERVER) & has(rows, Flag.NEGATIVE) & error)
        self.refusals(REFUSED, self._refused, answers, REFUSALS, "refused jobs of")
        tries = rows.compress(client & (kinds == PASSWORD))
        self.refusals(GUESSED, self._passwords, tries, PASSWORDS, "offered passwords to")
        opened = rows.compress(client & (kinds == SETUP))
        self.refusals(SESSIONS, self._sessions, opened, STORM, "set up communication with")
        self.sweep(SWEEP, self._servers, opened, SERVERS, "set up communication with")
        self._information(rows.compress(client & among(kinds, INFORMATION)))
        lone = has(rows, Flag.UNANSWERED) & ~has(rows, Flag.MIDSTREAM | Flag.GAP)
        self.refusals(UNASKED, self._lone, rows.compress(lone), LONE, "answered what was not asked by")

    def _program(self, row: Any) -> None:
        kind, (client, server) = int(row["kind"]), self.sides(row)
        if kind in STOP and int(row["role"]) == Role.CLIENT:
            text = (
                f"{client} stopped {server}, and nobody started it again within {STARTED_AGAIN / 60:.0f} min"
            )
            self._stopped.wait(server, self.make(STOPPED, one(row), text, "started again", "stopped"))
        elif kind == DOWNLOAD:
            text = f"{client} began to load a block into {server} and did not end"
            finding = self.make(OPEN_DOWNLOAD, one(row), text, "download ended", "left open")
            self._downloads.wait((client, server), finding)
        elif kind in DOWNLOAD_ENDED:
            self._downloads.keep((client, server))
        elif kind == SERVICE:
            self._service(row, client, server)

    def _service(self, row: Any, client: str, server: str) -> None:
        name = self.names.text(int(row["name"])).strip()
        if name.endswith(START_SERVICE):
            self._stopped.keep(server)
            return
        what = next((text for key, text in BLOCK_SERVICES.items() if key in name), "")
        news = self.habits.learned and not self.habits.did(client, server, (SERVICE,))
        if what and not news:  # a client that never used a PI service is told by the allow-list
            text = f"{client} calls PI service {name} of {server}: {what}"
            self.say(BLOCKS, one(row), text, "services used while learning", name, pair=True, group=name)

    def _information(self, rows: Rows) -> None:
        """System lists and block lists asked for by a client that never did."""
        if not self.habits.learned:
            return
        for mine in grouped(rows, "conv"):
            client, server = self.sides(mine[0])
            if self.habits.did(client, server, INFORMATION):
                continue
            entry = self._asked.add(int(mine[0]["conv"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(QUESTIONS):
                text = (
                    f"{client} asks {server} what it is: {entry.count} system and block lists within a minute"
                )
                self.say(ASKED, mine, text, "no such requests by this client", f"{entry.count} requests")
