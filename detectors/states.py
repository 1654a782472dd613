"""Operating states: maintenance and test, for a time, by a name, on some hosts.

A window lowers what such work brings with it (:data:`OPERATIONAL`) to ``info`` on the hosts that it names,
while it lasts and not longer: a window without an end does not exist. A stranger stays as loud as it is: who
acts must be known to the baseline, and who was never heard commanding must be named in the window.
Windows stand in ``params.json`` of a baseline (``states``), every change of them in its audit trail. Their
times are held against the capture's, never against a clock.

What was learned in a state (``gridwarden learn --state test``) is an allow-list of its own that counts only
while a window of that state is on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from detectors.acceptance import link_of
from detectors.allowlist import Allowlist
from detectors.base import Event, Finding, Level, Reading, Slice
from detectors.baseline import Baseline, BaselineError
from detectors.compare import merge
from detectors.events import BEHAVIOUR
from detectors.groups import SECOND, Lens, is_group_address
from detectors.tables import TABLES, records

STATES: Final = ("maintenance", "test")
MAX_WINDOWS: Final = 256
MAX_HOSTS: Final = 256
MAX_LENGTH: Final = 30 * 86_400.0
"""Seconds that a window may last at most."""

MAX_ROWS: Final = 20_000
"""Rows that the allow-list of a state may hold."""

WINDOWS: Final = "states"
LISTS: Final = "state_lists"
LIST_TABLES: Final = ("assets", "conversations", "kinds", "points", "review")

NAMED_ONLY: Final = frozenset({"new-host", "new-command-source", "modbus-writer"})
"""Rules about somebody who never did so: only who is named in the window is meant by it."""

OPERATIONAL: Final = NAMED_ONLY | {
    "new-kind",
    "new-point",
    "new-conversation",
    "new-command",
    "new-command-point",
    "silence",
    "rate",
    "early",
    BEHAVIOUR,
    "constant-changed",
    "out-of-range",
    "goose-restart",
    "goose-expired",
    "goose-test",
    "goose-bits",
    "goose-configuration",
    "sv-test",
    "sv-dead",
    "sv-configuration",
    "iec104-no-test",
    "iec104-test-unanswered",
    "iec104-refused",
    "modbus-exception",
    "modbus-unpaired",
    "response-slow",
    "response-missing",
    "sequence-new",
    "rhythm-hour",
    "rhythm-weekday",
    "job-missed",
}
"""Rules that maintenance lowers unless a window names others (``behaviour`` stands for all its models)."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window: ``since`` and ``until`` in epoch seconds of capture time; no hosts are all known ones."""

    state: str
    since: float
    until: float
    who: str
    why: str
    hosts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    id: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise BaselineError(f"no state {self.state!r}: there are {', '.join(STATES)}")
        if not 0 < self.until - self.since <= MAX_LENGTH:
            raise BaselineError("a window ends after it begins, and at most 30 days later")
        if not self.who.strip() or not self.why.strip():
            raise BaselineError("a window needs who orders it and why")
        if len(self.hosts) > MAX_HOSTS:
            raise BaselineError(f"a window names at most {MAX_HOSTS} hosts")
        unknown = set(self.rules) - OPERATIONAL
        if unknown:
            raise BaselineError(
                f"{', '.join(sorted(unknown))}: maintenance does not lower this rule; it may be narrowed to "
                f"some of {', '.join(sorted(OPERATIONAL))}"
            )

    @property
    def ident(self) -> str:
        """Its id, made of what it says."""
        text = "\0".join([self.state, str(self.since), str(self.until), self.who, self.why, *self.hosts])
        return self.id or hashlib.sha256(f"window\0{text}".encode()).hexdigest()[:12]

    def record(self) -> dict[str, Any]:
        """As it stands in ``params.json``."""
        return asdict(self) | {"id": self.ident, "hosts": list(self.hosts), "rules": list(self.rules)}


def window_from(record: Any) -> Window:
    """The window of a record; raises BaselineError."""
    if not isinstance(record, dict):
        raise BaselineError("a window is a table of state, since, until, who, why, hosts, rules")
    try:
        state, who, why, ident = (str(record.get(name, "")) for name in ("state", "who", "why", "id"))
        lists = [record.get(name, []) for name in ("hosts", "rules")]
        if not all(isinstance(one, list) for one in lists):
            raise BaselineError("hosts and rules of a window are lists of texts")
        hosts, rules = (tuple(str(word).lower() for word in one) for one in lists)
        since, until = float(record["since"]), float(record["until"])
        return Window(state, since, until, who, why, hosts, rules, ident)
    except (KeyError, TypeError, ValueError) as error:
        raise BaselineError(f"a window that cannot be read ({error}): {str(record)[:200]}") from error


def windows_of(baseline: Baseline) -> list[Window]:
    """Windows of a baseline by beginning; what cannot be read is left out."""
    stored = baseline.params.get(WINDOWS, [])
    found = []
    for record in stored[:MAX_WINDOWS] if isinstance(stored, list) else ():
        try:
            found.append(window_from(record))
        except BaselineError:
            continue
    return sorted(found, key=lambda window: (window.since, window.ident))


def set_state(baseline: Baseline, window: Window, when: str) -> None:
    """Add a window; the oldest of those that ended give way when there are many."""
    kept = [*windows_of(baseline), window]
    baseline.params[WINDOWS] = [one.record() for one in sorted(kept, key=lambda w: w.until)[-MAX_WINDOWS:]]
    hosts = ", ".join(window.hosts) or "all known hosts"
    what = f"{hosts}, {window.until - window.since:.0f} s from {window.since:.0f}"
    baseline.note(when, window.ident, f"state {window.state}", window.who, window.why, "", what)


def clear_state(
    baseline: Baseline, at: float, who: str, why: str, when: str, ident: str = ""
) -> list[Window]:
    """End the windows that are on at a time, or the one of an id (a beginning will do); returns them."""
    kept, ended = [], []
    for window in windows_of(baseline):
        meant = window.ident.startswith(ident) if ident else window.since <= at < window.until
        if not meant or window.until <= at:
            kept.append(window.record())
            continue
        ended.append(window)
        if window.since < at:
            kept.append(window.record() | {"until": at})
        baseline.note(
            when, window.ident, "state normal", who, why, "", f"{window.state} ended before its time"
        )
    baseline.params[WINDOWS] = kept
    return ended


def keep_list(baseline: Baseline, state: str, learned: Baseline) -> int:
    """Keep what was learned in a state as its allow-list; returns its rows. Raises BaselineError."""
    if state not in STATES:
        raise BaselineError(f"no state {state!r}: there are {', '.join(STATES)}")
    tables = {name: records(learned.tables[name]) for name in LIST_TABLES}
    rows = sum(len(table) for table in tables.values())
    if rows > MAX_ROWS:
        raise BaselineError(f"{rows:,} rows, the list of a state holds {MAX_ROWS:,}: learn from less traffic")
    baseline.params[LISTS] = baseline.params.get(LISTS, {}) | {state: tables}
    return rows


def list_of(baseline: Baseline, state: str) -> Baseline | None:
    """The baseline together with what was learned in a state, None where nothing was."""
    stored = baseline.params.get(LISTS, {})
    tables = stored.get(state) if isinstance(stored, dict) else None
    if not isinstance(tables, dict):
        return None
    extra = Baseline()
    try:
        for name in LIST_TABLES:
            extra.tables[name] = TABLES[name].frame(tables.get(name, []))
    except (ValueError, TypeError, KeyError) as error:
        raise BaselineError(f"params.json: the list of state {state} cannot be read ({error})") from error
    return merge(baseline, extra)


@dataclass(slots=True)
class _Running:
    """A window in this run."""

    window: Window
    lowered: Counter[str] = field(default_factory=Counter)
    seen: bool = False
    told: bool = False


class States:
    """Knows which windows are on, and lowers what they are about."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self._running = [_Running(window) for window in windows_of(baseline)]
        self._known = {str(row.address).lower() for row in baseline.rows("assets")}

    def state(self, ts: int) -> str:
        """``normal``, or the state of the window that began last and is on (ns)."""
        on = [one.window.state for one in self._on(ts)]
        return on[-1] if on else "normal"

    def _on(self, ts: int) -> list[_Running]:
        at = ts / SECOND
        return [one for one in self._running if one.window.since <= at < one.window.until]

    def weigh(self, findings: list[Finding]) -> list[Finding]:
        """Lower what windows are about, in place; returns the findings."""
        if self._running:
            for finding in findings:
                if finding.level > Level.INFO:
                    self._lower(finding)
        return findings

    def _lower(self, finding: Finding) -> None:
        rule = BEHAVIOUR if finding.detector == BEHAVIOUR else finding.rule
        for one in self._on(finding.ts):
            window = one.window
            if rule not in (window.rules or OPERATIONAL) or not self._meant(window, rule, finding):
                continue
            finding.level, finding.reading, finding.technique = Level.INFO, Reading.OPERATION, ""
            finding.scores = {Reading.OPERATION.value: 1.0}
            finding.summary += f" ({window.state} by {window.who} until {_moment(window.until)})"
            finding.event = window.ident
            one.lowered[finding.rule] += finding.count
            return

    def _meant(self, window: Window, rule: str, finding: Finding) -> bool:
        """Is one of the hosts named, and nobody a stranger?"""
        names = self.lens.names
        acting = names.endpoint(finding.src).lower() if finding.src >= 0 else ""
        hosts = {host.lower() for host in link_of(finding, self.lens)[1:3] if host}
        hosts |= {names.endpoint(ident).lower() for ident in (finding.src, finding.dst) if ident >= 0}
        hosts = {host for host in hosts if not is_group_address(host)}
        named = set(window.hosts) or self._known
        if not hosts & named or not hosts <= self._known | set(window.hosts):
            return False
        return rule not in NAMED_ONLY or acting in window.hosts

    def tick(self, start: int) -> list[Event]:
        """Records of windows that ended before ``start`` (ns); of those that this run has seen."""
        for one in self._on(start):
            one.seen = True
        over = [
            one for one in self._running if one.seen and not one.told and one.window.until <= start / SECOND
        ]
        return [self._told(one) for one in over]

    def close(self) -> list[Event]:
        """Records of the windows that are on when the run ends."""
        return [self._told(one) for one in self._running if one.seen and not one.told]

    def _told(self, one: _Running) -> Event:
        one.told = True
        window = one.window
        return Event(
            id=window.ident,
            what=window.state,
            start=window.since,
            end=window.until,
            summary=f"{window.state} by {window.who} until {_moment(window.until)}: {window.why}",
            hosts=list(window.hosts),
            protocols=[],
            explained=dict(sorted(one.lowered.items())),
        )


class StateLists:
    """The allow-list, and those that count in a state; one of them judges a slice."""

    def __init__(self, baseline: Baseline, lens: Lens, states: States) -> None:
        self._states = states
        self._lists = {"normal": Allowlist(baseline, lens)}
        for state in STATES:
            both = list_of(baseline, state)
            if both is not None:
                self._lists[state] = Allowlist(both, lens)

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of the list that is in force."""
        state = self._states.state(piece.start)
        return self._lists.get(state, self._lists["normal"]).detect(piece)

    def counters(self) -> dict[str, int]:
        """What the bounded tables of all lists refused."""
        total: Counter[str] = Counter()
        for one in self._lists.values():
            total.update(one.counters())
        return dict(total)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
