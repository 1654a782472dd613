"""What protocol rules are made of: a rule, the habits of a site, counts within a time, promises.

Three things keep a rule quiet where nothing is wrong. What learning hit again and again between the same two
hosts is a habit of the site and told at info from then on (it stands in the summary of ``learn``, before a
baseline is accepted); what a host is rather than what happened to it, as a historian that subscribes to
everything, is a habit from the first time. Bursts are told once per window. And rows are selected by column
before anything looks at them one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, news, runs
from detectors.loss import Losses
from detectors.rules.common import (
    Bounded,
    Columns,
    fresh_columns,
    fresh_rows,
    message_finding,
    protocol_columns,
    protocol_rows,
)

K = TypeVar("K", bound=Hashable)
Rows = npt.NDArray[Any]

MAX_KEYS: Final = 4_096
MAX_ITEMS: Final = 512
MAX_PAIRS: Final = 65_536
MAX_GROUPS: Final = 1_000
"""Groups of rows of one slice that one rule looks at; of a flood of invented hosts the rest go unread."""

SYN: Final = 1  # kind of the tcp row that opens a connection
PAUSE: Final = 30 * SECOND
"""ns without any slice after which nobody knows what followed what."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its id, how loud it is, how it reads, which technique it may show.

    Parameters
    ----------
    ident : str
        Stable; ``docs/rules.md`` lists it with the clause it comes from.
    level : Level
        As it usually is.
    scores : mapping of str to float
        Weights of fault, operation, attack, visibility.
    technique : str
        ATT&CK for ICS, "" none fits.
    habit : int
        Findings between the same two hosts while learning that make it a habit.
    """

    ident: str
    level: Level
    scores: Mapping[str, float]
    technique: str = ""
    habit: int = 3


@dataclass(slots=True)
class Count:
    """What one key did since its window began."""

    start: int
    count: int = 0
    items: dict[Hashable, int] = field(default_factory=dict)
    told: bool = False

    def crosses(self, limit: int) -> bool:
        """True once per window, when the count reaches the limit."""
        if self.told or self.count < limit:
            return False
        self.told = True
        return True

    def spreads(self, limit: int) -> bool:
        """True once per window, when the different items reach the limit."""
        if self.told or len(self.items) < limit:
            return False
        self.told = True
        return True


class Tally(Generic[K]):
    """Counts per key in windows of capture time, each of which begins with its first event; bounded."""

    def __init__(self, seconds: float, limit: int = MAX_KEYS) -> None:
        self.window = round(seconds * SECOND)
        self._counts: Bounded[K, Count] = Bounded(limit)

    @property
    def evicted(self) -> int:
        """Keys forgotten because the table was full."""
        return self._counts.evicted

    def add(self, key: K, ts: int, count: int = 1, items: Iterable[tuple[Hashable, int]] = ()) -> Count:
        """Count events of a key; ``items`` are (what, frame number), of which the different ones count."""
        entry = self._counts.get(key)
        if entry is None or not 0 <= ts - entry.start < self.window:
            entry = self._counts.put(key, Count(ts))
        entry.count += count
        for item, frame in items:
            if len(entry.items) >= MAX_ITEMS:
                break
            entry.items.setdefault(item, frame)
        return entry


class Promises(Generic[K]):
    """What has to follow within a time: the finding is held back, and given when it did not."""

    def __init__(self, seconds: float, limit: int = MAX_KEYS) -> None:
        self.patience = round(seconds * SECOND)
        self.evicted = 0
        self._limit = limit
        self._open: dict[K, tuple[int, Finding]] = {}
        self._clock = -1

    def wait(self, key: K, finding: Finding) -> None:
        """Expect that :meth:`keep` comes for this key; the first of several counts."""
        if key in self._open:
            return
        if len(self._open) >= self._limit:
            self.evicted += 1
            return
        self._open[key] = (finding.ts + self.patience, finding)

    def keep(self, key: K) -> None:
        """It followed."""
        self._open.pop(key, None)

    def due(self, piece: Slice) -> list[Finding]:
        """Findings whose time was over before this slice began; forgotten after a pause of the capture."""
        if self._clock >= 0 and piece.start - self._clock > PAUSE:
            self._open.clear()
        self._clock = piece.end
        late = [key for key, (due, _) in self._open.items() if due <= piece.start]
        found = []
        for key in late:
            due, finding = self._open.pop(key)
            finding.ts = due
            found.append(finding)
        return found


class Openings:
    """Connections whose opening these rules saw themselves, by the SYN in their stream."""

    def __init__(self, lens: Lens) -> None:
        self._tcp = lens.protocol("tcp")
        self._seen: Bounded[int, bool] = Bounded(2 * MAX_KEYS)

    def take(self, piece: Slice) -> None:
        """Note what opens in a slice."""
        columns = protocol_columns(piece, self._tcp)
        for stream in columns["stream"][columns["kind"] == SYN][: 2 * MAX_KEYS].tolist():
            self._seen.put(stream, True)

    def saw(self, stream: int) -> bool:
        """Was this connection opened while these rules watched?"""
        return self._seen.get(stream) is not None


class Habits:
    """What a baseline says about one protocol: who speaks it with whom, what kinds, what rules were hit."""

    def __init__(self, baseline: Baseline | None, protocol: str) -> None:
        self.learned = baseline is not None
        self.pairs: set[tuple[str, str]] = set()
        self.kinds: set[tuple[str, str, int, int]] = set()
        self.points: dict[tuple[str, str], set[tuple[int, str]]] = {}
        self._hits: dict[tuple[str, str, str], int] = {}
        if baseline is None:
            return
        self._hits = {(row.rule, row.src, row.dst): int(row.count) for row in baseline.rows("rule_hits")}
        for row in baseline.spoken("conversations", protocol):
            self.pairs.add((row.client, row.server))
        for row in baseline.spoken("kinds", protocol):
            self.kinds.add((row.client, row.server, int(row.role), int(row.kind)))
        for row in baseline.spoken("points", protocol):
            self.points.setdefault((row.client, row.server), set()).add((int(row.kind), row.point))

    def hits(self, rule: str, src: str, dst: str) -> int:
        """How often learning hit this rule between these hosts."""
        return self._hits.get((rule, src, dst), 0)

    def did(self, client: str, server: str, kinds: Iterable[int]) -> bool:
        """Did learning see one of these kinds between the two, from either side?"""
        return any((client, server, role, kind) in self.kinds for kind in kinds for role in range(5))


class ProtocolRules:
    """One protocol's rules over slices: a subclass names the protocol and fills :meth:`check`.

    Subclasses call :meth:`say` for each finding; ``late`` takes promises whose time is watched here.
    """

    protocol: ClassVar[str] = ""
    keep_repeated: ClassVar[bool] = False
    by_column: ClassVar[bool] = False
    """Whether a subclass fills :meth:`check_columns` instead."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        self.lens = lens
        self.names = lens.names
        self.proto = lens.protocol(self.protocol)
        self.habits = Habits(baseline, self.protocol)
        self.found: list[Finding] = []
        self.losses = Losses()
        self.promises: list[Promises[Any]] = []
        self.bounded: list[Any] = []
        self.openings: Openings | None = None
        self._familiar: set[tuple[int, int]] = set()

    def check(self, rows: Rows, piece: Slice) -> None:
        """Look at the protocol's rows of one slice, in order of arrival; there is at least one."""
        raise NotImplementedError

    def check_columns(self, columns: Columns, piece: Slice) -> None:
        """Look at their columns, of messages by the thousand; there is at least one."""
        raise NotImplementedError

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        self.found = []
        self.losses.see(piece)
        if self.openings is not None:
            self.openings.take(piece)
        for promise in self.promises:
            self.found += promise.due(piece)
        columns = protocol_columns(piece, self.proto)
        if not len(columns):
            return self.found
        if self.by_column:
            fresh = columns if self.keep_repeated else fresh_columns(piece, self.proto)
            if len(fresh):
                self.check_columns(fresh, piece)
            return self.found
        rows = protocol_rows(piece, self.proto) if self.keep_repeated else fresh_rows(piece, self.proto)
        if len(rows):
            self.check(rows, piece)
        return self.found

    def counters(self) -> dict[str, int]:
        """What was given up because a table was full."""
        return {
            f"{self.protocol}_rule_state_evicted": sum(b.evicted for b in (*self.bounded, *self.promises))
        }

    def opened(self, stream: int) -> bool:
        """Was this connection opened while these rules watched? Ask for :class:`Openings` when made."""
        return self.openings is not None and self.openings.saw(stream)

    def tally(self, seconds: float) -> Tally[Any]:
        """A tally whose losses are counted."""
        made: Tally[Any] = Tally(seconds)
        self.bounded.append(made)
        return made

    def table(self, limit: int = MAX_KEYS) -> Bounded[Any, Any]:
        """A bounded table whose losses are counted."""
        made: Bounded[Any, Any] = Bounded(limit)
        self.bounded.append(made)
        return made

    def promise(self, seconds: float) -> Promises[Any]:
        """Promises whose time is watched."""
        made: Promises[Any] = Promises(seconds)
        self.promises.append(made)
        return made

    def make(
        self,
        rule: Rule,
        rows: Rows,
        summary: str,
        expected: str,
        observed: str,
        group: str = "",
        level: Level | None = None,
        pair: bool = False,
    ) -> Finding:
        """A finding about some rows; a habit of the site is told at info."""
        if level is None:
            level = rule.level
        first = rows[0]
        src, dst = self.host(first["src"]), self.host(first["dst"])
        if self.habits.hits(rule.ident, src, dst) >= rule.habit:
            level = Level.INFO
        made = message_finding(
            self.protocol,
            rule.ident,
            level,
            rows,
            summary,
            expected,
            observed,
            dict(rule.scores),
            rule.technique,
            group,
        )
        made.count, made.pair = len(rows), pair
        made.until = int(rows["ts"][-1]) if len(rows) > 1 else 0
        return made

    def say(self, rule: Rule, rows: Rows, summary: str, expected: str, observed: str, **more: Any) -> None:
        """Note a finding; ``more`` as in :meth:`make`."""
        self.found.append(self.make(rule, rows, summary, expected, observed, **more))

    def miss(
        self, rule: Rule, rows: Rows, summary: str, expected: str, observed: str, frames: int, **more: Any
    ) -> None:
        """Note that ``frames`` never came within the last second; losses of the sensor may explain it."""
        made = self.make(rule, rows, summary, expected, observed, **more)
        self.found.append(self.losses.weigh(made, made.ts - SECOND, frames))

    def host(self, ident: int) -> str:
        """Address of an endpoint."""
        return self.names.endpoint(int(ident))

    def kind(self, row: Any) -> str:
        """Kind of a row in words."""
        return self.names.kind(int(row["proto"]), int(row["kind"]))

    def point(self, row: Any) -> str:
        """Object of a row in words."""
        return self.lens.point(int(row["proto"]), int(row["point"]))

    def sides(self, row: Any) -> tuple[str, str]:
        """(client, server) of a row's conversation."""
        key = self.lens.conv(int(row["conv"]))
        return key[1], key[2]

    def refusals(self, rule: Rule, tally: Tally[Any], rows: Rows, limit: int, what: str = "refused") -> None:
        """``limit`` refusals of one host by another within the tally's window."""
        for mine in grouped(rows, "src", "dst"):
            first = mine[0]
            entry = tally.add((int(first["src"]), int(first["dst"])), int(first["ts"]), len(mine))
            if not entry.crosses(limit):
                continue
            self.say(
                rule,
                mine,
                f"{self.host(first['src'])} {what} {self.host(first['dst'])} {entry.count} times within "
                f"{tally.window // SECOND} s, last {self.kind(mine[-1])}{reason(mine[-1])}",
                f"fewer than {limit} within {tally.window // SECOND} s",
                f"{entry.count}",
                pair=True,
            )
            self.found[-1].count = 1  # one burst, however many messages this slice had of it

    def sweep(self, rule: Rule, tally: Tally[Any], rows: Rows, limit: int, what: str) -> None:
        """One host that turns to ``limit`` others within the window, with which it never spoke before.

        While learning every host is new, so that nothing is said.
        """
        if not self.habits.learned or self.familiar(rows["src"].tolist(), rows["dst"].tolist()):
            return
        for mine in grouped(rows, "src", "dst"):
            first = mine[0]
            src, dst = self.host(first["src"]), self.host(first["dst"])
            if (src, dst) in self.habits.pairs:
                continue
            entry = tally.add(int(first["src"]), int(first["ts"]), 1, [(dst, int(first["frame"]))])
            if not entry.spreads(limit):
                continue
            self.say(
                rule,
                mine,
                f"{src} {what} {len(entry.items)} devices within {tally.window // SECOND} s",
                "known devices only",
                f"{len(entry.items)} devices",
                group=src,
            )
            self.found[-1].conv, self.found[-1].count = -1, 1
            self.found[-1].frames = list(entry.items.values())[:20]

    def familiar(self, src: list[int], dst: list[int]) -> bool:
        """Whether all of these endpoints spoke to each other while learning; remembered."""
        for pair in set(zip(src, dst, strict=True)) - self._familiar:
            if (self.host(pair[0]), self.host(pair[1])) not in self.habits.pairs:
                return False
            if len(self._familiar) < MAX_PAIRS:
                self._familiar.add(pair)
        return True


def reason(row: Any) -> str:
    """The code of a refusal, as text to append."""
    return f" (code {int(row['cause'])})" if int(row["cause"]) >= 0 else ""


def grouped(rows: Rows, *columns: str) -> list[Rows]:
    """Rows of each combination of some columns, in order of arrival, at most :data:`MAX_GROUPS`."""
    if len(rows) < 2:
        return [rows] if len(rows) else []
    rows = rows.take(np.lexsort([rows[name] for name in reversed(columns)]))
    first, sizes = runs(*(rows[name] for name in columns))
    parts = zip(first[:MAX_GROUPS].tolist(), sizes[:MAX_GROUPS].tolist(), strict=True)
    return [rows[at : at + size] for at, size in parts]


def changes(rows: Rows, *columns: str) -> Rows:
    """The first row of each conversation and those that differ from the one before in one of the columns.

    What stays the same all the while is so looked at once per slice, however often it comes.
    """
    if not len(rows):
        return rows
    ordered = rows.take(np.argsort(rows["conv"], kind="stable"))
    return ordered.compress(news(ordered["conv"], *(ordered[name] for name in columns)))


def has(rows: Rows | Columns, flag: int) -> npt.NDArray[np.bool_]:
    """Where a flag is set."""
    return np.asarray(rows["flags"] & np.uint32(flag) != 0, bool)


def one(row: Any) -> Rows:
    """A single row as rows."""
    return np.array([row])
