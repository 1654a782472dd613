"""OPC UA: refused identities, security that was there and is gone, storms, browsing, sequence numbers.

Standards followed: IEC 62541-6, clause 6.7 (sequence numbers of a secure channel go up; only close to 2^32 do
they begin again below 1024), IEC 62541-4 (services) and its status codes: 0x8012 to 0x8021 are certificates,
identities and access.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, among, in_order, news, runs
from detectors.rules.common import Columns
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "opcua"
HELLO, OPEN, MESSAGE = 1, 5, 6
FIRST_SERVICE: Final = 300
DISCOVERY: Final = (397, 422, 425, 428, 431, 437, 440, 446, 449)
"""Faults, discovery and the opening of channels, which are readable on any server."""

CREATE_SESSION: Final = 461
BROWSING: Final = (527, 533, 615, 621)
SECURITY: Final = (*range(0x8012, 0x8022), 0x8054, 0x8055, 0x8057, 0x8058, 0x810D)
EXHAUSTED: Final = {
    0x8056: "too many sessions",
    0x8077: "too many subscriptions",
    0x807D: "server too busy",
    0x80DB: "too many operations",
}
WRAP_FROM, WRAP_TO = (1 << 32) - 1 - 1024, 1024
DENIED, ERRORS, STORM, BROWSED, SERVERS = 3, 10, 20, 50, 5

AUTH = Rule("opcua-auth", Level.WARNING, {"attack": 0.65, "operation": 0.25, "fault": 0.1}, "T0859")
REFUSED = Rule("opcua-refused", Level.WARNING, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0888")
FULL = Rule("opcua-exhausted", Level.NOTICE, {"attack": 0.5, "fault": 0.5}, "T0814")
CLEAR = Rule("opcua-unprotected", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0830")
STORMS = Rule("opcua-session-storm", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")
BROWSE = Rule("opcua-browse-scan", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0861")
SWEEP = Rule("opcua-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")
SEQUENCE = Rule("opcua-sequence", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0830")


class OpcuaRules(ProtocolRules):
    """Checks OPC UA messages by number, protection and sequence."""

    protocol = NAME
    by_column = True

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._denied, self._errors, self._full = self.tally(60), self.tally(10), self.tally(60)
        self._storms, self._browsed, self._servers = self.tally(10), self.tally(60), self.tally(60)
        self._clear = self.tally(600)
        self._numbers = self.table()
        self._protected, self._open = self._protection()

    def _protection(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Pairs of hosts whose messages could not be read while learning, and those whose could."""
        hidden, plain = set(), set()
        for client, server, _, kind in self.habits.kinds:
            if kind == MESSAGE:
                hidden.add((client, server))
            elif kind >= FIRST_SERVICE and kind not in DISCOVERY:
                plain.add((client, server))
        return hidden, plain

    def check_columns(self, columns: Columns, piece: Slice) -> None:
        """By number; sequence and protection by column."""
        kinds, client = columns["kind"], columns["role"] == Role.CLIENT
        answers = columns.rows((columns["role"] == Role.SERVER) & has(columns, Flag.NEGATIVE))
        security, full = among(answers["cause"], SECURITY), among(answers["cause"], EXHAUSTED)
        self.refusals(AUTH, self._denied, answers.compress(security), DENIED, "refused identity or access of")
        self.refusals(
            REFUSED, self._errors, answers.compress(~security & ~full), ERRORS, "refused services of"
        )
        self.refusals(FULL, self._full, answers.compress(full), 1, "is exhausted and refused")
        opened = columns.rows(client & among(kinds, (HELLO, CREATE_SESSION)))
        self.refusals(STORMS, self._storms, opened, STORM, "opened channels or sessions with")
        self.sweep(SWEEP, self._servers, opened.compress(opened["kind"] == HELLO), SERVERS, "turned to")
        if self.habits.learned:
            self._browsing(columns.rows(client & among(kinds, BROWSING)))
        if self._protected:
            self._unprotected(columns.rows(client & (kinds >= FIRST_SERVICE) & ~among(kinds, DISCOVERY)))
        numbered = columns["aux"] > 0
        self._sequence(columns.where((columns["seq"] >= 0) & numbered & (columns["stream"] >= 0)))

    def _browsing(self, rows: Rows) -> None:
        for mine in grouped(rows, "conv"):
            client, server = self.sides(mine[0])
            if self.habits.did(client, server, BROWSING):
                continue
            entry = self._browsed.add(int(mine[0]["conv"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(BROWSED):
                text = f"{client} browses {server}: {entry.count} requests within a minute"
                self.say(BROWSE, mine, text, "no browsing by this client", f"{entry.count} requests")

    def _unprotected(self, rows: Rows) -> None:
        """Services in clear between hosts whose channel was encrypted while learning."""
        for mine in grouped(rows, "conv"):
            pair = self.sides(mine[0])
            if pair not in self._protected or pair in self._open:
                continue
            if self._clear.add(pair, int(mine[0]["ts"])).crosses(1):
                text = f"{pair[0]} speaks to {pair[1]} without encryption; while learning it was encrypted"
                self.say(CLEAR, mine, text, "security mode sign and encrypt", self.kind(mine[0]), pair=True)

    def _sequence(self, columns: Columns) -> None:
        """Sequence numbers of a channel that repeat or go back in new TCP bytes."""
        order = _by_channel(columns)
        if not len(order):
            return
        stream, role, aux, numbers = (columns[name].take(order) for name in ("stream", "role", "aux", "seq"))
        first, sizes = runs(stream, role, aux)
        numbers = numbers.astype(np.int64)
        old = np.empty_like(numbers)
        old[1:] = numbers[:-1]
        keys = list(zip(*(values[first].tolist() for values in (stream, role, aux)), strict=True))
        before = [self._numbers.peek(key) for key in keys]
        begun = (numbers[first] - 1).tolist()
        old[first] = [start if last is None else last for start, last in zip(begun, before, strict=True)]
        back = (numbers <= old) & ~((old >= WRAP_FROM) & (numbers < WRAP_TO))
        back &= ~has(columns, Flag.LATE).take(order)
        top = np.maximum(np.maximum.reduceat(numbers, first), old[first])
        wrong = np.logical_or.reduceat(back, first)
        last = np.where(wrong, top, numbers[first + sizes - 1])
        for key, number in zip(keys, last.tolist(), strict=True):
            self._numbers.put(key, number)
        for at in np.flatnonzero(wrong).tolist():
            mine = np.arange(first[at], first[at] + sizes[at])
            odd = mine[back[mine]]
            self._gone_back(columns.rows(order[odd]), int(old[odd[0]]))

    def _gone_back(self, rows: Rows, before: int) -> None:
        row: Any = rows[0]
        src, channel = self.host(row["src"]), int(row["aux"])
        text = f"{src} sent sequence number {row['seq']} after {before} on channel {channel}"
        self.say(SEQUENCE, rows, text, f"above {before}", str(int(row["seq"])))


def _by_channel(columns: Columns) -> npt.NDArray[np.intp]:
    """Order by connection, side and channel; as a rule a connection has one channel."""
    stream, role, aux = columns["stream"], columns["role"], columns["aux"]
    order, sides = in_order(stream.astype(np.int64) << 3 | role)
    channel = aux.take(order)
    if bool((news(sides, channel) != news(sides)).any()):
        return np.lexsort((aux, role, stream))
    return order
