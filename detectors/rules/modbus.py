"""Modbus/TCP: refusals, pairing of requests and responses, writers, limits.

Standard followed: MODBUS Application Protocol 1.1b3 (quantities, section 6; exception codes, section 7)
and Messaging on TCP/IP Guide 1.0b (transaction identifiers). Vectorised over the slice; only what is odd
is looked at row by row.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among, distinct, order_of, runs
from detectors.loss import Losses, not_seen
from detectors.rules.common import (
    MAX_READ,
    Bounded,
    Columns,
    Recent,
    by_conversation,
    fresh_columns,
    message_finding,
    thinned,
    thinned_places,
)
from detectors.rules.shared import Tally
from detectors.saturation import FULL, Saturation, doubt
from detectors.tables import conv_of
from grid_profiles.vocabulary import Flag, Role

NAME: Final = "modbus"
MAX_CONVS: Final = 65_536
MAX_JUDGED: Final = 2_000
"""Conversations of one slice that are looked at."""

MAX_OPEN: Final = 4_096
WINDOW: Final = 10 * SECOND
HOLD: Final = 30.0
"""Seconds within which the same trouble between two hosts is one alert, whatever the unit."""

ASKS_AGAIN: Final = 5 * SECOND
"""ns in which a client whose request was not captured is expected to ask on, with the gap before it."""

UNANSWERED_MIN: Final = 10
"""Requests per 10 s that must be without response before it is said (a lost response is not a story)."""

QUANTITY_LIMITS: Final = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123, 23: 125}
WRITES: Final = (5, 6, 15, 16, 21, 22, 23)
ECHOED: Final = (5, 6)
"""Writes whose normal response is an echo of the request (6.5, 6.6)."""


EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge, still busy",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}
PROBING: Final = frozenset({1, 2, 3})
BUSY: Final = frozenset({5, 6})
"""Come back later (7): every device says so now and then."""

OFTEN: Final = 3
"""Refusals of one conversation within :data:`WINDOW` from which being busy is trouble."""

FAULTS: Final = frozenset({4, 6, 8, 10, 11})

_MOST = np.array([QUANTITY_LIMITS.get(kind, 0) for kind in range(max(QUANTITY_LIMITS) + 2)], np.int64)
"""Most objects that a request of each kind may ask for, 0 unlimited."""

_UNPAIRED = np.uint32(Flag.UNANSWERED)


class ModbusRules:
    """Checks Modbus messages of a slice."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        self.lens = lens
        self._proto = lens.protocol(NAME)
        self._known_refusals: set[tuple[Any, int, int]] = set()
        self._known_unpaired: set[Any] = set()
        self._writers: set[str] = set()
        self._clients: set[str] = set()
        self._told: set[str] = set()
        self._full = Saturation(baseline or Baseline())
        self._reads: set[Any] = set()
        self._known_echoes: set[Any] = set()
        self._paired = Recent(MAX_OPEN)
        self._busy: Tally[int] = Tally(WINDOW / SECOND, MAX_OPEN)
        self._wrote: Bounded[int, float] = Bounded(MAX_OPEN)
        self._asked: Counter[int] = Counter()
        self._answered: Counter[int] = Counter()
        self._losses = Losses()
        self._lone: list[tuple[Finding, int]] = []
        self._window = -1
        self._unread = 0
        self._window_rows: dict[int, Any] = {}
        self._learning = baseline is None
        if baseline is not None:
            self._ask(baseline)

    def _ask(self, baseline: Baseline) -> None:
        for row in baseline.spoken("kinds", "modbus"):
            self._clients.add(row.client)
            if row.cause >= 0:
                self._known_refusals.add((conv_of(row), row.kind, row.cause))
            if row.kind in WRITES and row.role == Role.CLIENT:
                self._writers.add(row.client)
        self._known_unpaired, self._known_echoes = (
            {(row.src, row.dst) for row in baseline.rows("rule_hits") if row.rule == rule}
            for rule in ("modbus-unpaired", "modbus-echo")
        )

    def counters(self) -> dict[str, int]:
        """Requests forgotten because a table was full, and answers of a flood that were not looked at."""
        evicted = self._paired.evicted + self._wrote.evicted + self._busy.evicted
        return {"modbus_evicted": evicted, "modbus_unread": self._unread}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        rows = fresh_columns(piece, self._proto)
        self._losses.see(piece)
        found = self._tick(piece.start // WINDOW)
        if not len(rows):
            return found + self._explained(rows, piece.start)
        # by number, the oldest first: of a flood of invented conversations the latest go unread
        for mine in by_conversation(rows.rows(self._odd(rows)))[:MAX_JUDGED]:
            self._refusals(mine, found)
            self._pairing(mine, found)
            self._limits(mine, found)
            self._writes(mine, found)
        self._second_responses(rows, found)
        self._echoes(rows.rows(among(rows["kind"], ECHOED)), found)
        self._count(rows)
        return found + self._explained(rows, piece.start)

    def rest(self) -> list[Finding]:
        """Lone answers after which nobody asked any more."""
        waiting, self._lone = self._lone, []
        return [finding for finding, _ in waiting]

    def _explained(self, rows: Columns, now: int) -> list[Finding]:
        """Lone answers of which the client's next request tells whether their own was captured."""
        due: list[Finding] = []
        waiting, self._lone = self._lone, []
        for finding, stream in waiting:
            asked = rows.rows(
                (rows["stream"] == stream) & (rows["role"] == Role.CLIENT) & (rows["ts"] > finding.ts)
            )
            if not len(asked) and now - finding.ts < ASKS_AGAIN:
                self._lone.append((finding, stream))
                continue
            if len(asked) and int(asked[0]["flags"]) & int(Flag.GAP):
                not_seen(finding)
                finding.summary += "; the bytes of its client just before the next request were not captured"
            due.append(finding)
        return due

    def _odd(self, rows: Columns) -> npt.NDArray[np.bool_]:
        """Rows that one of the checks by conversation has something to say of; all but a few are none."""
        flags, client = rows["flags"], rows["role"] == Role.CLIENT
        odd = (flags & np.uint32(Flag.NEGATIVE) != 0) & (rows["cause"] >= 0)
        odd |= (rows["role"] == Role.SERVER) & (flags & _UNPAIRED != 0)
        most = _MOST[np.clip(rows["kind"], 0, len(_MOST) - 1)]
        odd |= client & (most > 0) & (rows["count"] >= 0) & ((rows["count"] > most) | (rows["count"] == 0))
        if not self._learning:
            wrote = np.flatnonzero(client & among(rows["kind"], WRITES))
            names = self.lens.names
            senders = distinct(rows["src"][wrote]).tolist()
            new = [src for src in senders if names.endpoint(src) not in self._writers]
            odd[wrote] |= among(rows["src"][wrote], new)
        return np.asarray(odd, np.bool_)

    def _refusals(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        refused = rows.compress((rows["flags"] & np.uint32(Flag.NEGATIVE) != 0) & (rows["cause"] >= 0))
        for code in np.unique(refused["cause"]).tolist():
            mine = refused.compress(refused["cause"] == code)
            first = mine[0]
            known = (self.lens.conv(int(first["conv"])), int(first["kind"]), code) in self._known_refusals
            if known:
                continue
            text = EXCEPTIONS.get(code, f"exception {code}")
            probing = code in PROBING
            often = self._busy.add(int(first["conv"]), int(first["ts"]), len(mine)).count >= OFTEN
            level = Level.INFO if code in BUSY and not often else Level.NOTICE
            found.append(
                self._finding(
                    "modbus-exception",
                    Level.WARNING if probing and len(mine) >= 3 else level,
                    mine,
                    f"{self._src(first)} refused {self._kind(first)}{_times(len(mine))}: {text}",
                    "no such refusal while learning",
                    f"exception {code}, {text}",
                    {"attack": 0.6, "operation": 0.2, "fault": 0.2}
                    if probing
                    else {"fault": 0.8, "operation": 0.1, "attack": 0.1},
                    "T0888" if probing else "",
                    group=str(code),
                )
            )

    def _pairing(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        answers = rows.compress(rows["role"] == Role.SERVER)
        lone = answers.compress(
            (answers["flags"] & _UNPAIRED != 0) & (answers["flags"] & np.uint32(Flag.MIDSTREAM) == 0)
        )
        if len(lone) and not self._learned_unpaired(lone[0]):
            finding = self._finding(
                "modbus-unpaired",
                Level.NOTICE,
                lone,
                f"{self._src(lone[0])} answered{_times(len(lone))} what nobody asked",
                "a response for each request",
                f"transaction {lone[0]['seq']} without request",
                {"attack": 0.45, "visibility": 0.35, "fault": 0.2},
                "T0856",
            )
            finding = self._losses.weigh(finding, finding.ts - WINDOW, len(lone))
            if len(lone) == 1 and len(self._lone) < MAX_OPEN:
                self._lone.append((finding, int(lone[0]["stream"])))
            else:
                found.append(finding)

    def _second_responses(self, rows: Columns, found: list[Finding]) -> None:
        """Two answers in new TCP bytes to one request."""
        at = np.flatnonzero((rows["role"] == Role.SERVER) & (rows["state"] >= 0))
        if len(at) > MAX_READ:
            kept = thinned_places(rows["conv"][at], MAX_READ)
            self._unread += len(at) - int(np.count_nonzero(kept))
            at = at[kept]
        numbers = rows["seq"][at].astype(np.int64)
        requests = rows["state"][at].astype(np.int64) * 64 + numbers % 64
        again = np.flatnonzero((self._paired.first(requests, numbers) == numbers) & (numbers >= 0))
        found += [self._second_response(rows.rows(at[place : place + 1])) for place in again.tolist()]

    def _second_response(self, rows: npt.NDArray[Any]) -> Finding:
        number = rows[0]["seq"]
        return self._finding(
            "modbus-second-response",
            Level.WARNING,
            rows,
            f"{self._src(rows[0])} answered transaction {number} a second time in new TCP bytes",
            "one response for each request",
            f"transaction {number} twice",
            {"attack": 0.7, "fault": 0.3},
            "T0856",
        )

    def _echoes(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        """Responses to a write of one object that repeat another value than was asked for."""
        rows, left = thinned(rows.compress(rows["flags"] & np.uint32(Flag.NEGATIVE) == 0), MAX_READ)
        self._unread += len(left)
        for at, row in enumerate(rows):
            asks = row["role"] == Role.CLIENT
            request = int(row["frame" if asks else "state"]) * 64 + int(row["seq"]) % 64
            if asks:
                self._wrote.put(request, float(row["value"]))
                continue
            wrote = self._wrote.get(request)
            if wrote is not None and wrote != row["value"] == row["value"] and wrote == wrote:
                self._wrote.drop(request)
                if self._ends(row) not in self._known_echoes:
                    found.append(self._other_echo(rows[at : at + 1], wrote))

    def _other_echo(self, rows: npt.NDArray[Any], wrote: float) -> Finding:
        row = rows[0]
        point = self.lens.names.point(int(row["proto"]), int(row["point"]))
        return self._finding(
            "modbus-echo",
            Level.WARNING,
            rows,
            f"{self._src(row)} was told to set {point} to {wrote:g} and confirmed {row['value']:g}",
            f"an echo of {wrote:g}",
            f"{row['value']:g}",
            {"attack": 0.6, "fault": 0.35, "operation": 0.05},
            "T0831",
            group=point,
        )

    def _learned_unpaired(self, row: Any) -> bool:
        return self._ends(row) in self._known_unpaired

    def _ends(self, row: Any) -> tuple[str, str]:
        names = self.lens.names
        return names.endpoint(int(row["src"])), names.endpoint(int(row["dst"]))

    def _limits(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        asked = rows.compress((rows["role"] == Role.CLIENT) & (rows["count"] >= 0))
        for kind, limit in QUANTITY_LIMITS.items():
            over = asked.compress(
                (asked["kind"] == kind) & ((asked["count"] > limit) | (asked["count"] == 0))
            )
            if len(over):
                found.append(
                    self._finding(
                        "modbus-quantity",
                        Level.WARNING,
                        over,
                        f"{self._src(over[0])} asked {over[0]['count']} objects of {self._kind(over[0])}",
                        f"1 to {limit}",
                        str(over[0]["count"]),
                        {"attack": 0.6, "fault": 0.4},
                        "T0814",
                        group=str(kind),
                    )
                )

    def _writes(self, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        if self._learning:
            return
        wrote = rows.compress((rows["role"] == Role.CLIENT) & among(rows["kind"], WRITES))
        sources = dict.fromkeys(wrote["src"].tolist())
        new = [src for src in sources if self.lens.names.endpoint(src) not in self._writers]
        found += [self._writer(wrote.compress(wrote["src"] == src)) for src in new]

    def _writer(self, wrote: npt.NDArray[Any]) -> Finding:
        """A host that never wrote; from a known client after a short learning a warning, once."""
        host, level, why = self._src(wrote[0]), Level.ALARM, ""
        quiet = self._full.commander(host)
        if quiet < FULL and host in self._clients:
            level, why = Level.INFO if host in self._told else Level.WARNING, doubt(quiet)
            self._told.add(host)
        return self._finding(
            "modbus-writer",
            level,
            wrote,
            f"{host} writes ({self._kind(wrote[0])}); it never wrote before{why}",
            "writes only from " + (", ".join(sorted(self._writers)[:4]) or "nobody"),
            self._kind(wrote[0]),
            {"attack": 0.75, "operation": 0.25},
            "T0855",
        )

    def _count(self, rows: Columns) -> None:
        """Requests and responses per conversation in this window."""
        role, counted = rows["role"], self._window_rows
        order = order_of(rows["conv"])
        ordered = rows["conv"][order]
        starts, _ = runs(ordered)
        firsts = order[starts]
        asked, answered = (
            np.add.reduceat((role == side).astype(np.int64)[order], starts).tolist()
            for side in (Role.CLIENT, Role.SERVER)
        )
        convs = ordered[starts].tolist()
        new = [at for at, conv in enumerate(convs) if conv not in counted][: MAX_CONVS - len(counted)]
        examples = rows.rows(firsts[np.array(new, np.intp)])
        for place, at in enumerate(new):
            counted[convs[at]] = examples[place : place + 1]
        for conv, some, others in zip(convs, asked, answered, strict=True):
            if conv in counted:
                self._asked[conv] += some
                self._answered[conv] += others

    def _tick(self, window: int) -> list[Finding]:
        found: list[Finding] = []
        if window == self._window:
            return found
        for conv, rows in sorted(self._window_rows.items()):
            missing = self._asked[conv] - self._answered[conv]
            if (missing >= UNANSWERED_MIN and missing > 0.5 * self._asked[conv] and self._answered[conv]) or (
                missing >= UNANSWERED_MIN and not self._answered[conv]
            ):
                finding = self._unanswered(rows, missing, self._asked[conv])
                since = self._window * WINDOW
                found.append(self._losses.weigh(finding, since, missing, since + WINDOW - 1))
        self._window = window
        self._window_rows.clear()
        self._asked.clear()
        self._answered.clear()
        return found

    def _unanswered(self, rows: npt.NDArray[Any], missing: int, asked: int) -> Finding:
        return self._finding(
            "modbus-unanswered",
            Level.NOTICE,
            rows,
            f"{missing} of {asked} requests in 10 s unanswered: {self.lens.link(int(rows[0]['conv']))}",
            "a response for each request",
            f"{missing} missing",
            {"fault": 0.55, "attack": 0.25, "visibility": 0.2},
            "T0814",
        )

    def _kind(self, row: Any) -> str:
        return self.lens.names.kind(int(row["proto"]), int(row["kind"]))

    def _src(self, row: Any) -> str:
        return self.lens.names.endpoint(int(row["src"]))

    def _finding(
        self,
        rule: str,
        level: Level,
        rows: npt.NDArray[Any],
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str = "",
        group: str = "",
    ) -> Finding:
        made = message_finding(NAME, rule, level, rows, summary, expected, observed, scores, technique, group)
        made.hold, made.pair, made.item = HOLD, True, self.lens.conv(made.conv)[4]
        return made


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""
