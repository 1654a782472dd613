"""Allow-lists: who talks to whom, in which messages. What is not on a list is said as long as it goes on.

How loud: a dangerous message that was never seen is an alarm; news from a conversation that seldom
brings news (Good and Turing's estimate of the chance of a new species) is a warning; news from one that
was still bringing some at the end of learning is a notice; what belongs to a protocol's ordinary life
(``news.LIFE``) and housekeeping between known hosts is kept at ``info``. Findings about one pair of hosts
and protocol fold into one alert, which lists units, ports and kinds.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.allowlist_learner import MAX_KINDS, KindKey
from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import news_rate
from detectors.groups import (
    HOUSEKEEPING,
    HOUSEKEEPING_PORTS,
    REPEATED,
    SECOND,
    ConvKey,
    Groups,
    Key,
    Lens,
    grouped,
    is_group_address,
    is_ip,
    unpack,
)
from detectors.mms_life import MmsLife
from detectors.news import (
    LIFE,
    MATURE,
    Sweeps,
    news_finding,
    object_text,
    observed,
    ordinary,
    sender,
    technique,
)
from detectors.objects import Objects
from detectors.rules.common import protocol_columns
from detectors.saturation import FULL, Saturation, doubt, lowered
from detectors.tables import Origin, conv_of
from grid_profiles.vocabulary import Flag, KindClass, Role

MAX_JUDGED: Final = 1_000
"""Unknown conversations of one slice that are looked at."""

MAX_NEW: Final = 50
"""Findings of one rule and slice that are named one by one; the rest is summed up."""

OPERATES: Final = frozenset({KindClass.CONTROL, KindClass.SETPOINT})
"""What a control room does all day; restarts, programs, configuration and files are no operation."""

SET_UP: Final = {"dnp3": frozenset({20, 21})}
"""Commands with which a master sets a station up after its connection was opened (IEEE 1815, 4.4: unsolicited
responses are disabled, and enabled in the end; ``dnp3-unsolicited-off`` tells when they are not)."""

AGAIN: Final = 3_600 * SECOND
"""ns in which a stranger who goes on asking around is told once."""

WIDELY: Final = 2
"""Stations that a client commands in one way, from which it commands others so too."""

SELECTS: Final = {("dnp3", 4): 3}
"""The kind of the select that goes before an execute of a kind of its own: one operation, told once."""

SETTING_UP: Final = 60 * SECOND
SYN: Final = 1
RESTART_BIT: Final = "0x5001"
"""Writes to DNP3's group 80 take back the indication that the outstation restarted (IEEE 1815, 4.2.2)."""

TIME_AND_DATE: Final = "0x32"
DNP3_WRITE: Final = 2
CLOCKS_JUDGED: Final = frozenset({"dnp3", "iec104"})
"""Protocols of which a rule judges the time that is set."""

CARRIERS: Final = frozenset({"tcp", "cotp"})

NETBIOS_SESSION: Final = 139
"""Hosts that share files ask each other for their lists every 12 minutes or so (MS-BRWS): between two that
already talk it is no news before learning has met it or had the time to."""

TRANSPORT: Final = frozenset({"tcp", "udp", "ip"})
"""Signalling and what no decoder claimed; news between hosts that already talk is a notice."""

UNSPECIFIED: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - nothing is bound
"""Who has no address yet (RFC 1122, 3.2.1.3; RFC 4291, 2.5.2) is nobody: a stranger is told by its first."""

BROWSED: Final = TRANSPORT | {"smb"}
"""What a session on :data:`NETBIOS_SESSION` is told as."""


class Allowlist:
    """Holds traffic against the lists of a baseline."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self.refused: Counter[str] = Counter()
        self._hosts = {row.address for row in baseline.rows("assets")}
        self._convs = {conv_of(row) for row in baseline.rows("conversations")}
        self._protocol_pairs = {(conv[0], frozenset(conv[1:3])) for conv in self._convs}
        self._served = {conv[1:4] for conv in self._convs}
        self._pairs = {frozenset(conv[1:3]) for conv in self._convs}
        self._kinds: set[KindKey] = set()
        self._causeless: set[tuple[ConvKey, int, int]] = set()
        self._senders: set[tuple[str, str, int]] = set()
        self._operators: set[tuple[str, str]] = set()
        self._stations: Counter[tuple[str, str, int]] = Counter()  # that each client sends a kind to
        self._full = Saturation(baseline)
        self._sweeps: Sweeps[tuple[str, str], tuple[ConvKey, int]] = Sweeps()
        self._news: dict[ConvKey, float] = {}
        self._proposed = {
            (conv_of(row), row.kind, row.cause): row.id
            for row in baseline.rows("review")
            if row.origin == Origin.PROPOSED.value
        }
        self._told: set[str] = set()
        self._mms = MmsLife(lens)
        self._commanders = {row.client for row in baseline.rows("review")}
        self._load_kinds(baseline)
        self._fine: set[int] = set()
        self._objects = Objects(baseline, lens, self._full)
        self._opened: dict[tuple[str, str, int], int] = {}
        self._tcp = lens.protocol("tcp")
        self._asked: dict[tuple[str, str], int] = {}

    def _load_kinds(self, baseline: Baseline) -> None:
        counts: dict[ConvKey, list[int]] = {}
        reached: set[tuple[str, str, int, ConvKey]] = set()
        for row in baseline.rows("kinds"):
            conv = conv_of(row)
            self._kinds.add((conv, row.role, row.kind, row.cause))
            self._causeless.add((conv, row.role, row.kind))
            if row.role == Role.CLIENT:
                self._senders.add((conv[0], conv[1], row.kind))
                reached.add((conv[0], conv[1], row.kind, conv))
                if self._operates(conv[0], row.kind):
                    self._operators.add(conv[:2])
            counts.setdefault(conv, []).append(row.count)
        self._stations.update(key[:3] for key in reached)
        self._news = {conv: news_rate(found) for conv, found in counts.items()}

    def _operates(self, protocol: str, kind: int) -> bool:
        proto = self.lens.protocol(protocol)
        return proto >= 0 and self.lens.kind_class(proto, kind) in OPERATES

    def counters(self) -> dict[str, int]:
        """What the bounded tables refused."""
        return dict(self.refused)

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        messages = piece.messages
        if not len(messages):
            return []
        self._see_openings(piece)
        found: dict[str, list[Finding]] = {}
        self._mms.see(piece)
        unknown = self._kind_findings(messages, grouped(piece), found)
        for conv, kind, point, row in self._objects.unknown(piece):
            if conv not in unknown:
                sample = messages[row]
                finding = self._objects.judge(conv, kind, point, sample)
                if finding is not None and self.lens.conv(conv)[0] == "mms":
                    finding.level = self._mms.object_level(finding.level, sample)
                _keep(finding, found)
        return [finding for rule in found for finding in self._bounded(found[rule])]

    def _see_openings(self, piece: Slice) -> None:
        columns = protocol_columns(piece, self._tcp)
        opened = np.flatnonzero(columns["kind"] == SYN)[:MAX_JUDGED]
        for conv, ts in zip(columns["conv"][opened].tolist(), columns["ts"][opened].tolist(), strict=True):
            key = self.lens.conv(conv)[1:4]
            if key in self._opened or len(self._opened) < MAX_KINDS:
                self._opened[key] = ts

    def _sets_up(self, conv: ConvKey, kind: int, ts: int) -> bool:
        """Is it what a known master does after it opened its connection?"""
        opened = self._opened.get(conv[1:4])
        return opened is not None and kind in SET_UP.get(conv[0], ()) and 0 <= ts - opened <= SETTING_UP

    def _sets_clock(self, conv: ConvKey, rows: npt.NDArray[Any]) -> bool:
        first = rows[0]
        if conv[0] == "dnp3" and int(first["kind"]) == DNP3_WRITE:
            return all(object_text(self.lens, row).startswith(TIME_AND_DATE) for row in rows[:8])
        return self.lens.kind_class(int(first["proto"]), int(first["kind"])) == KindClass.TIME

    def _kind_findings(
        self, messages: npt.NDArray[Any], groups: Groups, found: dict[str, list[Finding]]
    ) -> set[int]:
        """Findings about conversations and kinds; returns conversations that are unknown."""
        unknown: dict[int, list[int]] = {}
        dangers: dict[int, int] = {}
        keys = groups.keys.tolist()
        for index, packed in enumerate(keys) if not self._fine.issuperset(keys) else ():
            if packed in self._fine:
                continue
            key = unpack(packed)
            if self.lens.conv(key.conv) not in self._convs:
                first = int(groups.rows(index)[0])
                unknown.setdefault(key.conv, []).append(index)
                if self.lens.dangerous(int(messages["proto"][first]), key.kind, key.role):
                    dangers[key.conv] = min(first, dangers.get(key.conv, first))
                continue
            finding = None
            if not self._as_learned(key):
                finding = self._judge_kind(messages.take(groups.rows(index)), key)
            if finding is None and len(self._fine) < MAX_KINDS:
                self._fine.add(packed)
            _keep(finding, found)
        for conv in self._most_telling(unknown, dangers):
            rows = messages.take(np.sort(np.concatenate([groups.rows(i) for i in unknown[conv]])))
            danger = messages[dangers[conv]] if conv in dangers else None
            _keep(self._new_conversation(conv, rows, danger), found)
        return set(unknown)

    def _most_telling(self, unknown: dict[int, list[int]], dangers: dict[int, int]) -> list[int]:
        """Unknown conversations to judge; of a flood of invented ones those with commands, and the first."""
        if len(unknown) <= MAX_JUDGED:
            return list(unknown)
        self.refused["new_conversations_not_judged"] += len(unknown) - MAX_JUDGED
        commanding = [conv for conv in unknown if conv in dangers]
        others = [conv for conv in unknown if conv not in dangers]
        return (commanding + others)[:MAX_JUDGED]

    def _as_learned(self, key: Key) -> bool:
        """Is it a kind that learning met, and nothing that waits for approval?"""
        conv = self.lens.conv(key.conv)
        return (conv, *key[1:]) in self._kinds and (conv, key.kind, key.cause) not in self._proposed

    def _judge_kind(self, rows: npt.NDArray[Any], key: Key) -> Finding | None:
        conv, proto = self.lens.conv(key.conv), int(rows[0]["proto"])
        if (conv, *key[1:]) in self._kinds:
            return self._not_approved(conv, key, rows)
        fresh = rows.compress(rows["flags"] & np.uint32(REPEATED) == 0)
        if not len(fresh) or conv[0] in HOUSEKEEPING:
            return None
        if self.lens.dangerous(proto, key.kind, key.role):
            return self._new_command(conv, key, fresh)
        kind = self.lens.names.kind(proto, key.kind)
        cause = f" with cause {key.cause}" if key.cause >= 0 else ""
        level, quiet = self._kind_level(conv, key, fresh), self._full.conversation(conv)
        why = doubt(quiet) if level > Level.INFO else ""
        return news_finding(
            "new-kind",
            lowered(level, quiet),
            fresh,
            f"{sender(self.lens, fresh)} sent {kind}{cause}, new for {self.lens.link(key.conv)}{why}",
            expected="kinds and causes learned for this conversation",
            observed=observed(self.lens, fresh, kind),
            scores={"operation": 0.5, "attack": 0.3, "fault": 0.2},
            group=f"{key.role}/{key.kind}/{key.cause}",
            pair=True,
            item=conv[4],
        )

    def _kind_level(self, conv: ConvKey, key: Key, rows: npt.NDArray[Any]) -> Level:
        """How loud a harmless kind is that this conversation never carried."""
        kind_class = self.lens.kind_class(int(rows[0]["proto"]), key.kind)
        told = self.lens.dangerous(int(rows[0]["proto"]), key.kind, Role.CLIENT) or _refused(conv, rows)
        again = (conv, key.role, key.kind) in self._causeless and kind_class == KindClass.REPORT
        if ordinary(self.lens, conv[0], rows) or (key.role == Role.SERVER and (again or told)):
            return Level.INFO
        if conv[0] == "mms" and self._mms.ordinary(rows):
            return Level.INFO
        quiet = key.role == Role.SERVER or kind_class in (KindClass.SESSION, KindClass.ERROR)
        if quiet or conv[0] == "tcp" or self._news.get(conv, 1.0) >= MATURE:
            return Level.NOTICE
        return Level.WARNING

    def _new_command(self, conv: ConvKey, key: Key, rows: npt.NDArray[Any]) -> Finding:
        proto = int(rows[0]["proto"])
        kind, operates = self.lens.names.kind(proto, key.kind), False
        level, why = Level.ALARM, ""
        quiet = self._full.commander(conv[1])
        if conv[0] == "mms" and (most := self._mms.most(rows)) is not None:
            level, operates = most, True
        elif conv[0] == "mms" and self._mms.selected(rows):
            level = self._selected_level(conv, key.kind, int(rows["ts"][0]))
            operates = level < Level.ALARM
            why = doubt(quiet) if operates else ""
        elif self._sets_clock(conv, rows):
            # clocks are set after a reconnect; by whom nobody else's clock is set, that is a question
            level = Level.NOTICE if (conv[0], conv[1], key.kind) in self._senders else Level.WARNING
            if quiet < FULL and conv[0] in CLOCKS_JUDGED:
                level, operates = Level.INFO, True  # to which time, is the question that its own rule answers
        elif self._sets_up(conv, key.kind, int(rows["ts"][0])) or _restart_bit(self.lens, conv, rows):
            level, operates = Level.INFO, True
        elif key.kind in LIFE.get(conv[0], ()):
            level, operates = Level.INFO, True  # a client that starts the stream it is known to take
        elif self.lens.kind_class(proto, key.kind) in OPERATES:
            level = self._operation_level(conv, key.kind, int(rows["ts"][0]))
            operates = level < Level.WARNING
            why = doubt(quiet) if level < Level.ALARM else ""
        return news_finding(
            "new-command",
            level,
            rows,
            f"{sender(self.lens, rows)} sent {kind}, which was never seen from {conv[1]} to {conv[2]}{why}",
            expected="no such command between these hosts",
            observed=observed(self.lens, rows, kind),
            scores={"operation": 0.6, "attack": 0.4} if operates else {"attack": 0.6, "operation": 0.4},
            technique=technique(self.lens, proto, key.kind),
            group=str(key.kind),
            pair=True,
            item=conv[4],
        )

    def _selected_level(self, conv: ConvKey, kind: int, ts: int) -> Level:
        """How loud a first command is that was selected first by a control centre: an operator's, at info.

        Not where learning was long and never saw this host command, nor several stations within a minute.
        """
        swept = self._sweeps.add((conv[0], conv[1]), (conv, kind), ts)
        stranger = conv[:2] not in self._operators and self._full.commander(conv[1]) >= FULL
        return Level.ALARM if swept or stranger else Level.INFO

    def _operation_level(self, conv: ConvKey, kind: int, ts: int) -> Level:
        """How loud a first switching command or set-point is, from the client of a known conversation.

        An alarm, unless learning ended while the client's list of commands was still growing: then a host
        that commands gives a notice, once for each kind, none where it sends that kind to two other stations,
        and one that never did a warning, once. Several stations within a minute are a sweep whoever sends
        them.
        """
        swept = self._sweeps.add((conv[0], conv[1]), (conv, kind), ts)
        if swept or self._full.commander(conv[1]) >= FULL:
            return Level.ALARM
        # who sends it to other stations has it to send; what was told once is told
        sent = (*conv[:2], SELECTS.get((conv[0], kind), kind))
        again = self._stations[sent] >= WIDELY
        if len(self._stations) < MAX_KINDS:
            self._stations[sent] = WIDELY
        if conv[:2] in self._operators:
            return Level.INFO if again else Level.NOTICE
        if len(self._operators) < MAX_KINDS:
            self._operators.add(conv[:2])
        return Level.WARNING

    def _not_approved(self, conv: ConvKey, key: Key, rows: npt.NDArray[Any]) -> Finding | None:
        """A command at a place where learning met it; a new place has its own finding."""
        ident = self._proposed.get((conv, key.kind, key.cause))
        if ident is None or key.role == Role.SERVER or ident in self._told:
            return None
        self._told.add(ident)
        kind = self.lens.names.kind(int(rows[0]["proto"]), key.kind)
        return news_finding(
            "not-approved",
            Level.INFO,
            rows,
            f"{sender(self.lens, rows)} sent {kind}: seen while learning, not approved yet (entry {ident})",
            expected="approved by a person: gridwarden baseline approve",
            observed=observed(self.lens, rows, kind),
            scores={"operation": 0.8, "attack": 0.2},
            group=ident,
        )

    def _new_conversation(self, conv: int, rows: npt.NDArray[Any], danger: Any) -> Finding:
        key, first = self.lens.conv(conv), rows[0]
        if danger is not None:
            return self._command_source(key, rows, danger)
        strangers = [
            h
            for h in key[1:3]
            if h and h not in self._hosts and not is_group_address(h) and h not in UNSPECIFIED
        ]
        rule, code = ("new-host", "T0864") if strangers else ("new-conversation", "T0886")
        if int(first["role"]) == Role.CLIENT and not strangers:
            code = "T0888"
        kind = self.lens.names.kind(int(first["proto"]), int(first["kind"]))
        who = f"{' and '.join(strangers)}: never seen before; " if strangers else ""
        finding = news_finding(
            rule,
            self._conversation_level(key, strangers, int(first["role"]) == Role.PUBLISHER),
            rows,
            f"{who}{self.lens.link(conv)} port {key[3]} is no known conversation",
            expected=f"{len(self._convs)} known conversations",
            observed=f"{len(rows)} messages to begin with, first {kind}",
            scores={"attack": 0.6, "operation": 0.4},
            technique=code,
            pair=True,
            item=key[4] or f"port {key[3]}",
        )
        if _background(key):  # a host that asks around: one alert, whomever it asks
            finding.conv, finding.group, finding.item = -1, f"{key[0]}/{key[1]}", key[2]
            told = self._asked.get(key[:2])
            if told is not None and 0 <= finding.ts - told < AGAIN:
                finding.level = Level.INFO
            elif finding.level > Level.INFO and len(self._asked) < MAX_KINDS:
                self._asked[key[:2]] = finding.ts
        return finding

    def _conversation_level(self, key: ConvKey, strangers: list[str], publisher: bool) -> Level:
        if _background(key):
            level = Level.NOTICE if any(is_ip(host) for host in strangers) else Level.INFO
            return lowered(level, self._full.site)
        if key[0] in CARRIERS and key[1:4] in self._served:
            return Level.INFO  # the connection under what was learned in its midst
        asked_all = is_group_address(key[2]) and not publisher
        talking = frozenset(key[1:3]) in self._pairs
        if talking and key[0] in BROWSED and key[3] == NETBIOS_SESSION and self._full.site < FULL:
            return Level.INFO
        known_pair = talking and key[0] in TRANSPORT
        other_port = not key[4] and (key[0], frozenset(key[1:3])) in self._protocol_pairs
        return Level.NOTICE if asked_all or known_pair or other_port else Level.WARNING

    def _command_source(self, key: ConvKey, rows: npt.NDArray[Any], danger: Any) -> Finding:
        sent = rows.compress((rows["kind"] == danger["kind"]) & (rows["src"] == danger["src"]))
        proto, code = int(danger["proto"]), int(danger["kind"])
        kind = self.lens.names.kind(proto, code)
        return news_finding(
            "new-command-source",
            Level.ALARM,
            sent,
            f"{sender(self.lens, sent)} sent {kind} to {key[2]}; these hosts never spoke {key[0]} before",
            expected="commands only from " + (", ".join(sorted(self._commanders)[:4]) or "nobody"),
            observed=observed(self.lens, sent, kind),
            scores={"attack": 0.8, "operation": 0.2},
            technique=technique(self.lens, proto, code),
            group=str(code),
            pair=True,
            item=observed(self.lens, sent, kind),
        )

    def _bounded(self, findings: list[Finding]) -> list[Finding]:
        if len(findings) <= MAX_NEW:
            return findings
        rest = findings[MAX_NEW:]
        self.refused["findings"] += len(rest)
        last = rest[-1]
        last.level = max(finding.level for finding in rest)
        last.conv, last.group = -1, "many"
        last.summary = f"{len(rest)} more of {last.rule} at the same time, among them: {last.summary}"
        return [*findings[:MAX_NEW], last]


def _restart_bit(lens: Lens, conv: ConvKey, rows: npt.NDArray[Any]) -> bool:
    """Does a DNP3 master only take back the indication of a restart?"""
    written = conv[0] == "dnp3" and int(rows[0]["kind"]) == DNP3_WRITE
    return written and all(object_text(lens, row).startswith(RESTART_BIT) for row in rows[:8])


def _background(key: ConvKey) -> bool:
    """Housekeeping, or a frame of no protocol that anybody knows."""
    named = key[0] in HOUSEKEEPING or key[0] == "ethernet"
    # "smb" on port 138 is the browser's announcement in a NetBIOS datagram
    return named or (key[0] in ("udp", "smb") and key[3] in HOUSEKEEPING_PORTS)


def _refused(conv: ConvKey, rows: npt.NDArray[Any]) -> bool:
    """A Modbus exception has a rule of its own."""
    return conv[0] == "modbus" and bool(int(rows[0]["flags"]) & Flag.NEGATIVE)


def _keep(finding: Finding | None, found: dict[str, list[Finding]]) -> None:
    if finding is not None:
        found.setdefault(finding.rule, []).append(finding)
