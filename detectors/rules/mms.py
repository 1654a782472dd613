"""MMS: control sequences by item name, reports left off, settings, refusals, storms, sweeps of the model.

Standards followed: IEC 61850-8-1:2011, clause 20 (control: a select, as read of ``SBO`` or write of ``SBOw``,
then ``Oper``, by the same client), clause 17 (``RptEna`` of report control blocks) and setting groups; ISO
9506-2 (reject, cancel, initiate, conclude). What a write does stands in its item: ``LD/LN$CO$Pos$Oper``.

Whether an object is selected first is told by the model of the device; the sensor takes it from what was
seen, while learning and since.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among
from detectors.rules.common import MAX_READ, thinned
from detectors.rules.shared import MAX_GROUPS, ProtocolRules, Rows, Rule, grouped, has, one
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "mms"
READ, WRITE = 4, 5
RESPONSE: Final = 255
"""Kinds below are confirmed requests."""

NAME_LIST, IDENTIFY = 1, 2
DISCOVERY: Final = (1, 2, 6, 12, 71)
REJECT, CANCEL, CANCEL_ERROR = 1024, 1280, 1792
INITIATE, INITIATE_ERROR, CONCLUDE, CONCLUDE_ERROR = 2048, 2560, 2816, 3328
SETTINGS: Final = {"SG": "settings", "SE": "edited settings", "CF": "configuration", "SP": "set points"}
SELECT_TIME: Final = 120 * SECOND
"""ns for which a select is believed to stand; sboTimeout is 30 s in most models."""

REPORTS_BACK: Final = 60.0
COUNTED: Final = 30
"""Requests in a row whose invokeID went up by one: such a client counts, and does not go back."""
REFUSALS: Final = 5
REJECTS: Final = 3
STORM: Final = 10
DISCOVERED: Final = 30
SERVERS: Final = 5

OPERATED: Final = 4
"""Servers on which one client operates within :data:`HURRY` that no operator and few sequences do."""

HURRY: Final = 30.0

UNSELECTED = Rule("mms-unselected", Level.WARNING, {"attack": 0.7, "fault": 0.15, "operation": 0.15}, "T0855")
MODE = Rule("mms-mode", Level.WARNING, {"operation": 0.5, "attack": 0.5}, "T0878", habit=1)
ORDER = Rule("mms-invoke-order", Level.WARNING, {"attack": 0.7, "fault": 0.3}, "T0855")
STOLEN = Rule("mms-select-stolen", Level.ALARM, {"attack": 0.85, "operation": 0.15}, "T0855")
SETTING = Rule("mms-settings", Level.WARNING, {"operation": 0.5, "attack": 0.5}, "T0836", habit=1)
SILENCED = Rule("mms-reports-off", Level.WARNING, {"attack": 0.5, "operation": 0.4, "fault": 0.1}, "T0804")
REFUSED = Rule("mms-refused", Level.WARNING, {"attack": 0.55, "operation": 0.25, "fault": 0.2}, "T0888")
REJECTED = Rule("mms-reject", Level.WARNING, {"attack": 0.5, "fault": 0.5}, "T0814")
CANCELLED = Rule("mms-cancel", Level.NOTICE, {"attack": 0.5, "fault": 0.3, "operation": 0.2}, "T0803")
SESSIONS = Rule("mms-session-storm", Level.WARNING, {"attack": 0.6, "fault": 0.4}, "T0814")
BROWSED = Rule("mms-model-scan", Level.NOTICE, {"attack": 0.5, "operation": 0.5}, "T0861")
MANY = Rule("mms-operate-many", Level.WARNING, {"attack": 0.6, "operation": 0.4}, "T0855", habit=1)
SWEEP = Rule("mms-sweep", Level.WARNING, {"attack": 0.8, "operation": 0.2}, "T0846")


@dataclass(slots=True)
class _Control:
    """One controllable object of a server."""

    selects: bool = False
    holder: int = -1
    since: int = 0


@dataclass(slots=True)
class _Count:
    """How the client of one association numbers its requests."""

    last: int
    row: int = 0  # steps of one in a row


class MmsRules(ProtocolRules):
    """Checks MMS requests by what their items mean, and errors by their number."""

    protocol = NAME

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._controls, self._counts = self.table(), self.table()
        self._refused, self._rejected, self._cancelled = self.tally(10), self.tally(10), self.tally(10)
        self._sessions, self._browsed, self._servers = self.tally(60), self.tally(60), self.tally(60)
        self._operated = self.tally(HURRY)
        self._reports = self.promise(REPORTS_BACK)
        self._selected: set[tuple[str, str]] = set()
        self._selecting: set[tuple[str, str]] = set()  # clients, and the sort of object that they select
        self._direct: set[tuple[str, str]] = set()
        self._written: set[tuple[str, str, str]] = set()
        self._modes: set[tuple[str, str]] = set()
        for (client, server), points in self.habits.points.items():
            self._remember(client, server, points)
        self._selecting -= self._direct

    def _remember(self, client: str, server: str, points: set[tuple[int, str]]) -> None:
        controls = [control_of(item) for _, item in points]
        selected = {base for base, action in controls if action in ("SBO", "SBOw")}
        self._selected |= {(server, base) for base in selected}
        self._selecting |= {(client, sort_of(base)) for base in selected}
        self._direct |= {
            (client, sort_of(base)) for base, action in controls if action == "Oper" and base not in selected
        }
        for kind, item in points:
            base, _ = control_of(item)
            if kind == WRITE and base.endswith("$Mod"):
                self._modes.add((client, server))
            if kind == WRITE:
                self._written.add((client, server, constraint(item)))

    def check(self, rows: Rows, piece: Slice) -> None:
        """Writes and selects in their order; the rest by number."""
        kinds, client = np.ascontiguousarray(rows["kind"]), rows["role"] == Role.CLIENT
        asked = rows.compress(((kinds == WRITE) | (kinds == READ)) & client & (rows["point"] > 0))
        for row in thinned(asked.compress(self._telling(asked)), MAX_READ)[0]:
            self._request(row)
        self._counted(rows, np.flatnonzero(client & (kinds < RESPONSE)))
        rejects = among(kinds, (REJECT, INITIATE_ERROR, CONCLUDE_ERROR))
        self.refusals(REFUSED, self._refused, rows.compress(has(rows, Flag.NEGATIVE) & ~rejects), REFUSALS)
        self.refusals(REJECTED, self._rejected, rows.compress(rejects), REJECTS, "rejected")
        cancels = rows.compress(among(kinds, (CANCEL, CANCEL_ERROR)))
        self.refusals(CANCELLED, self._cancelled, cancels, REJECTS, "cancelled requests to")
        opened = rows.compress(among(kinds, (INITIATE, CONCLUDE)))
        self.refusals(SESSIONS, self._sessions, opened, STORM, "opened or closed associations with")
        self._discovery(rows.compress(client & among(kinds, DISCOVERY)))
        self.sweep(
            SWEEP,
            self._servers,
            rows.compress((kinds == INITIATE) | (kinds == IDENTIFY)),
            SERVERS,
            "turned to",
        )

    def _telling(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Where a request means something here: any write, and a read that selects."""
        found = np.asarray(rows["kind"] == WRITE, bool)
        points = rows["point"].tolist()
        selecting = [point for point in set(points) if self.names.point(self.proto, point).endswith("$SBO")]
        return found | among(rows["point"], selecting) if selecting else found

    def _request(self, row: Any) -> None:
        item = self.point(row)
        base, action = control_of(item)
        if base:
            self._control(row, base, action)
        elif int(row["kind"]) == WRITE:
            if item.endswith("$RptEna"):
                self._reporting(row, item)
            self._setting(row, item)

    def _counted(self, rows: Rows, at: npt.NDArray[np.intp]) -> None:
        """Requests of each connection; those that count on from the one before are taken at once."""
        numbers: dict[int, list[int]] = {}
        places: dict[int, list[int]] = {}
        columns = (values.tolist() for values in (at, rows["stream"][at], rows["seq"][at]))
        for place, stream, seq in zip(*columns, strict=True):
            numbers.setdefault(stream, []).append(seq)
            places.setdefault(stream, []).append(place)
        for stream in sorted(numbers)[:MAX_GROUPS]:
            mine, count = numbers[stream], self._counts.get(stream)
            if count is not None and mine == list(range(count.last + 1, count.last + 1 + len(mine))):
                count.row, count.last = count.row + len(mine), mine[-1]
            else:
                self._numbers(rows.take(places[stream]))

    def _numbers(self, rows: Rows) -> None:
        """A client that counts its requests does not use a number again."""
        stream, seq = int(rows["stream"][0]), rows["seq"]
        count = self._counts.get(stream)
        if count is None:
            count = self._counts.put(stream, _Count(int(seq[0])))
        steps = np.diff(seq, prepend=count.last)
        if np.all(steps == 1):
            count.row, count.last = count.row + len(steps), int(seq[-1])
            return
        for row, step in zip(rows, steps.tolist(), strict=True):
            if step < 0 and count.row >= COUNTED and int(row["seq"]) > 1:
                client, server = self.sides(row)
                text = f"{client} asks {server} with invokeID {int(row['seq'])}, which it used before"
                self.say(ORDER, one(row), text, f"{int(row['seq']) - step + 1}", f"{int(row['seq'])}")
            count.row = count.row + 1 if step == 1 else 0
        count.last = int(seq[-1])

    def _control(self, row: Any, base: str, action: str) -> None:
        client, server = self.sides(row)
        if base.endswith("$Mod") and action == "Oper" and (client, server) not in self._modes:
            node = base.removesuffix("$CO$Mod")
            text = f"{client} sets the mode of {node} of {server}: on, blocked, test or off"
            self.say(MODE, one(row), text, "no change of mode by this client", base, group=base)
        key = (server, base)
        control = self._controls.get(key)
        if control is None:
            control = self._controls.put(key, _Control(selects=key in self._selected))
        now, src = int(row["ts"]), int(row["src"])
        held = control.holder >= 0 and now - control.since <= SELECT_TIME
        if action in ("SBO", "SBOw"):
            control.selects, control.holder, control.since = True, src, now
        elif action == "Cancel":
            control.holder = -1
        elif action == "Oper" and int(row["kind"]) == WRITE:
            if held and control.holder != src:
                owner = self.host(control.holder)
                text = f"{client} operates {base} of {server}, which {owner} has selected"
                self.say(STOLEN, one(row), text, f"operated by {owner}", client, group=base)
            elif control.selects and not held and not int(row["flags"]) & int(Flag.GAP):
                text = f"{client} operates {base} of {server} without selecting it, as was done so far"
                self.say(UNSELECTED, one(row), text, "SBO or SBOw, then Oper", "Oper alone", group=base)
            elif not held and (client, sort_of(base)) in self._selecting:
                text = f"{client} operates {base} of {server} without selecting it, as it does with others"
                expected, level = "SBO or SBOw, then Oper", Level.NOTICE
                self.say(UNSELECTED, one(row), text, expected, "Oper alone", group=base, level=level)
            self._hurry(row, client)
            control.holder = -1

    def _hurry(self, row: Any, client: str) -> None:
        """One client operates on several servers in seconds."""
        key, server = int(row["src"]), (int(row["dst"]), int(row["frame"]))
        entry = self._operated.add(key, int(row["ts"]), items=[server])
        if entry.spreads(OPERATED):
            text = f"{client} operates on {len(entry.items)} servers within {HURRY:.0f} s"
            self.say(MANY, one(row), text, f"fewer than {OPERATED}", f"{len(entry.items)} servers")
            self.found[-1].frames = list(entry.items.values())

    def _reporting(self, row: Any, item: str) -> None:
        """A report control block that is switched off and stays so."""
        client, server = self.sides(row)
        key = (server, item)
        if float(row["value"]) == 0:
            self._reports.wait(key, self._silenced(row, client, server, item))
        else:
            self._reports.keep(key)

    def _silenced(self, row: Any, client: str, server: str, item: str) -> Finding:
        text = f"{client} disabled reports of {item.removesuffix('$RptEna')} at {server} and left them off"
        return self.make(
            SILENCED, one(row), text, f"enabled again within {REPORTS_BACK:.0f} s", "RptEna false", group=item
        )

    def _setting(self, row: Any, item: str) -> None:
        """Settings and configuration, written by a client that never wrote such."""
        client, server = self.sides(row)
        part = constraint(item)
        if part not in SETTINGS or (client, server, part) in self._written:
            return
        text = f"{client} writes {SETTINGS[part]} of {server}: {item}"
        self.say(SETTING, one(row), text, f"no writes to ${part}$", item, pair=True, group=part)

    def _discovery(self, rows: Rows) -> None:
        """A client reads the model of a server which it did not read while learning."""
        if not self.habits.learned:
            return
        for mine in grouped(rows, "conv"):
            client, server = self.sides(mine[0])
            if self.habits.did(client, server, DISCOVERY):
                continue
            entry = self._browsed.add(int(mine[0]["conv"]), int(mine[0]["ts"]), len(mine))
            if entry.crosses(DISCOVERED):
                text = f"{client} reads the model of {server}: {entry.count} requests within a minute"
                self.say(BROWSED, mine, text, "no discovery by this client", f"{entry.count} requests")


@lru_cache(maxsize=4_096)
def control_of(item: str) -> tuple[str, str]:
    """(controllable object, action) of ``LD0/CSWI1$CO$Pos$Oper$ctlVal`` and the like; ("", "") of others."""
    parts = item.split("$")
    if len(parts) < 4 or parts[1] != "CO":
        return "", ""
    for number in range(3, len(parts)):
        if parts[number] in ("SBO", "SBOw", "Oper", "Cancel"):
            return "$".join(parts[:number]), parts[number]
    return "", ""


def sort_of(base: str) -> str:
    """Class of the logical node and data object: ``CSWI$CO$Pos`` of ``LD0/QB1CSWI1$CO$Pos``."""
    node, _, rest = base.rpartition("/")[2].partition("$")
    return f"{node.rstrip('0123456789')[-4:]}${rest.rstrip('0123456789')}"


def constraint(item: str) -> str:
    """Functional constraint of an item, "" none."""
    parts = item.split("$")
    return parts[1] if len(parts) > 2 else ""
