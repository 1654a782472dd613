"""DLMS/COSEM: associations refused, weaker authentication, access denied, repeated counters, mass commands.

Standards followed: IEC 62056-5-3 (AARQ and AARE, authentication mechanisms, data access results, invocation
counters that only go up), IEC 62056-6-2 (classes: 8 clock, 18 image transfer, 64 security setup, 70
disconnect control). One command to one meter is the allow-list's; the same to many within minutes is told
here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, among
from detectors.rules.common import MAX_READ
from detectors.rules.shared import ProtocolRules, Rows, Rule, grouped, has
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "dlms"
AARQ, AARE = 96, 97
SET, ACTION = 193, 195
CIPHERED: Final = (33, 37, 38, 40, 44, 45, *range(200, 216), 219, 220, 221)
MASS: Final = {
    "70": "switches supplies",
    "18": "loads images",
    "64": "changes keys or security",
    "8": "sets clocks",
    "71": "changes limits",
}
REFUSALS, DENIALS, METERS = 3, 5, 5

REFUSED = Rule("dlms-association", Level.WARNING, {"attack": 0.65, "operation": 0.25, "fault": 0.1}, "T0859")
WEAKER = Rule("dlms-authentication", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0830")
DENIED = Rule("dlms-denied", Level.WARNING, {"attack": 0.6, "operation": 0.25, "fault": 0.15}, "T0888")
COUNTER = Rule("dlms-counter", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0830")
MANY = Rule("dlms-mass-command", Level.ALARM, {"attack": 0.6, "operation": 0.4}, "T0855", habit=1)


class DlmsRules(ProtocolRules):
    """Checks DLMS services of meters."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._refused, self._denied, self._meters = self.tally(60), self.tally(10), self.tally(300)
        self._counters = self.table()
        self._mechanisms: dict[tuple[str, str], int] = {}
        if baseline is not None:
            for row in baseline.spoken("kinds", NAME):
                if row.kind == AARQ and row.cause >= 0:
                    pair = (row.client, row.server)
                    self._mechanisms[pair] = min(int(row.cause), self._mechanisms.get(pair, 99))

    def check(self, rows: Rows, piece: Slice) -> None:
        """By number, counters by column."""
        kinds = rows["kind"]
        negative = rows.compress(has(rows, Flag.NEGATIVE) & (rows["role"] == Role.SERVER))
        refused = negative["kind"] == AARE
        self.refusals(REFUSED, self._refused, negative.compress(refused), REFUSALS, "refused associations of")
        self.refusals(DENIED, self._denied, negative.compress(~refused), DENIALS, "denied access to")
        self._weaker(rows.compress((kinds == AARQ) & (rows["role"] == Role.CLIENT)))
        self._mass(rows.compress(among(kinds, (SET, ACTION)) & (rows["role"] == Role.CLIENT)))
        self._replayed(rows.compress(among(kinds, CIPHERED) & (rows["seq"] >= 0)))

    def _weaker(self, rows: Rows) -> None:
        for mine in grouped(rows, "conv", "cause"):
            pair, mechanism = self.sides(mine[0]), int(mine[0]["cause"])
            usual = self._mechanisms.get(pair, -1)
            if 0 <= mechanism < usual:
                text = f"{pair[0]} associates with {pair[1]} by mechanism {mechanism}; learned was {usual}"
                self.say(WEAKER, mine, text, f"mechanism {usual}", f"mechanism {mechanism}", pair=True)

    def _mass(self, rows: Rows) -> None:
        """One kind of dangerous object at many meters."""
        for row in rows.compress(rows["point"] > 0)[:MAX_READ]:
            group = self.point(row).partition("/")[0]
            if group not in MASS:
                continue
            _, client, server, _, sub, _ = self.lens.conv(int(row["conv"]))
            key = (int(row["src"]), group)
            entry = self._meters.add(key, int(row["ts"]), 1, [((server, sub), int(row["frame"]))])
            if entry.spreads(METERS):
                text = f"{client} {MASS[group]} at {len(entry.items)} meters within 5 min (class {group})"
                mine = np.array([row])
                self.say(
                    MANY, mine, text, "meter by meter", f"{len(entry.items)} meters", group=client + group
                )
                self.found[-1].frames = list(entry.items.values())[:20]

    def _replayed(self, rows: Rows) -> None:
        """Invocation counters that do not go up."""
        for mine in grouped(rows, "conv", "role"):
            key = (int(mine[0]["conv"]), int(mine[0]["role"]))
            numbers, before = mine["seq"].astype(np.int64), self._counters.get(key)
            top = np.maximum.accumulate(np.r_[numbers[0] - 1 if before is None else before, numbers])
            back = numbers <= top[:-1]
            self._counters.put(key, int(top[-1]))
            if back.any():
                row, due = mine[back][0], int(top[:-1][back][0]) + 1
                text = f"{self.host(row['src'])} used invocation counter {row['seq']} again; {due} was due"
                self.say(COUNTER, mine[back], text, f"at least {due}", str(int(row["seq"])))
