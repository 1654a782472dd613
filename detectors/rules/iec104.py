"""IEC 60870-5-104: sequence numbers, acknowledgements, start/stop, direction and cause.

State is kept per TCP connection and direction. Standard followed: IEC 60870-5-104:2006, clauses 5.1
(sequence numbers modulo 32768, at most k unacknowledged), 5.3 (STARTDT/STOPDT) and IEC 60870-5-101
table 14 (causes of transmission). A repetition that TCP itself made (same bytes, flag RETRANSMITTED) is
no repetition of the application. A connection that begins while its opening was not seen is normal at
the start of a capture; later, and not at N(S) 0, it is not.

A pair of stations may hold several connections, of which one is started (clause 10, redundancy): data on
two of them in turn mean a second controlling station under the address of the first. A connection that
died says nothing more, so a reconnect after an outage is not that.

Segments that changed places on the way (flag LATE: the bytes fill a hole that TCP's count left) are neither a
gap nor a repetition.

How gaps are read: bytes missing by TCP's own count that the other side acknowledges did arrive, the
sensor did not see them (visibility); bytes that nobody acknowledges were removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, ConvKey, Lens
from detectors.loss import Losses
from detectors.rules.common import (
    MAX_READ,
    Bounded,
    message_finding,
    protocol_columns,
    protocol_rows,
    thinned,
)
from detectors.rules.iec104_causes import CONTROL, UNKNOWN_CAUSES, illegal
from detectors.rules.iec104_state import HALF, MODULUS, Link, Run, Side
from detectors.tables import conv_of
from grid_profiles.vocabulary import MESSAGE, Flag, Role

NAME: Final = "iec104"
K_LIMIT: Final = 12
STALE: Final = 3_000_000_000
"""ns after an acknowledgement from which a repetition is no time-out of TCP (RFC 6298: 1 s, doubled once)."""

ALIVE: Final = 60_000_000_000
"""ns after its last data in which a connection counts as in use (t3 + t1 + t2, with a margin)."""

MAX_STREAMS: Final = 8_192
MAX_LEGAL: Final = 4_096
KIND_S: Final = 256
KIND_U: Final = 512
TESTFR = (KIND_U + 16, KIND_U + 32)
START_ACT, START_CON, STOP_ACT, STOP_CON = KIND_U + 1, KIND_U + 2, KIND_U + 4, KIND_U + 8
U_KINDS: Final = frozenset({START_ACT, START_CON, STOP_ACT, STOP_CON, *TESTFR})

QUIET_GAPS: Final = 0.001
"""Share of messages with TCP bytes missing, while learning, from which a gap is everyday loss."""

_GAP, _LATE = int(Flag.GAP), int(Flag.LATE)
_REPEATED = int(Flag.RETRANSMITTED | Flag.DUPLICATE)
_OTHER: Final = {int(Role.CLIENT): int(Role.SERVER), int(Role.SERVER): int(Role.CLIENT)}
_ODD: Final = int(
    Flag.RETRANSMITTED | Flag.DUPLICATE | Flag.GAP | Flag.LATE | Flag.MIDSTREAM | Flag.NEGATIVE | Flag.TEST
)
_MIDSTREAM, _NEGATIVE, _TEST = int(Flag.MIDSTREAM), int(Flag.NEGATIVE), int(Flag.TEST)


FIELDS: Final = (
    *("ts", "frame", "proto", "role", "src", "conv"),
    *("stream", "kind", "cause", "point", "seq", "state", "flags"),
)

Row = dict[str, int]
"""One message: FIELDS, and "at", its place among the rows of the slice."""


class Iec104Rules:
    """Checks IEC-104 messages one by one, in order of arrival."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        self.lens = lens
        self._proto = lens.protocol("iec104")
        self._links: Bounded[int, Link] = Bounded(MAX_STREAMS)
        self._convs: Counter[int] = Counter()
        self._heard: Bounded[tuple[int, int], int] = Bounded(2 * MAX_STREAMS)
        self._lossy: set[ConvKey] = set()
        self._active: Bounded[int, tuple[int, int, int, int]] = Bounded(MAX_STREAMS)
        self._parallel: Bounded[tuple[int, int], bool] = Bounded(MAX_STREAMS)
        self._spoken: Bounded[int, tuple[tuple[int, int], ...]] = Bounded(MAX_STREAMS)
        self._losses = Losses()
        self._late: Counter[tuple[int, int]] = Counter()
        self._unread = 0
        self._legal: set[tuple[int, int, int]] = set()
        self._runs: dict[tuple[int, int], Run] = {}
        self._rows = np.zeros(0, MESSAGE)
        if baseline is not None:
            self._ask(baseline)

    def _ask(self, baseline: Baseline) -> None:
        for row in baseline.spoken("conversations", "iec104"):
            if row.gaps > QUIET_GAPS * row.count:
                self._lossy.add(conv_of(row))

    def counters(self) -> dict[str, int]:
        """What was given up because a table was full or a flood too dense."""
        return {
            "iec104_streams_evicted": self._links.evicted,
            "iec104_flood_messages_not_read": self._unread,
        }

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        rows, left = thinned(protocol_rows(piece, self._proto), MAX_READ)
        if not len(rows):
            self._rows, self._late = rows, Counter()
            self._losses.see(piece)
            return []
        found: list[Finding] = []
        self._rows = rows
        self._losses.see(piece)
        all_rows = protocol_columns(piece, self._proto)
        late = rows.compress(rows["flags"] & np.uint32(_LATE) != 0)
        self._late = Counter(zip(late["stream"].tolist(), late["role"].tolist(), strict=True))
        # plain numbers: reading fields of a record costs more than all that is done with them
        columns = (rows[name].tolist() if len(left) else all_rows.list(name) for name in FIELDS)
        self._read(columns, found)
        for stream in set(left["stream"].tolist()):
            self._links.drop(int(stream))  # where its numbers stand is not known any more
        self._unread += len(left)
        return found

    def _read(self, columns: Iterable[list[int]], found: list[Finding]) -> None:
        """All messages in order; one that no rule speaks of is taken for a tenth of what a look costs."""
        runs, known = self._runs, self._legal
        for at, values in enumerate(zip(*columns, strict=True)):
            ts, frame, _, role, _, conv, stream, kind, cause, _, seq, state, flags = values
            odd = flags & _ODD or kind > KIND_S
            run = None if odd else runs.get((stream, conv)) or self._run(stream, conv)
            if run is not None and role in (sides := run.link.sides):
                side, other = sides[role], sides[_OTHER[role]]
                unacknowledged = (other.expected - state) % MODULUS if other.expected >= 0 else 0
                forward = (state - side.acked) % MODULUS if side.acked >= 0 else 0
                due = kind == KIND_S or (
                    seq == side.expected
                    and run.newest
                    and ((kind, cause, role) in known or self._is_legal(kind, cause, role))
                )
                if due and state >= 0 and unacknowledged <= K_LIMIT and forward <= HALF:
                    if kind < KIND_S:
                        run.spoke, run.frame = ts, frame
                        side.expected = (seq + 1) % MODULUS
                    if state != side.acked:
                        side.acks.append((state, ts))
                        side.acked = state
                    run.heard[role] = side.last = ts
                    run.count += 1
                    continue
            if runs:
                self._settle()
            self._message(dict(zip(FIELDS, values, strict=True)) | {"at": at}, found)
        self._settle()

    def _run(self, stream: int, conv: int) -> Run | None:
        """Begin a run of ordinary messages; None on a connection that is new or doubtful."""
        link = self._links.get(stream)
        if link is None or link.doubtful:
            return None
        newest = self._active.get(conv)
        run = self._runs[stream, conv] = Run(link, newest is not None and newest[0] == stream)
        return run

    def _settle(self) -> None:
        """Put down what the runs of ordinary messages leave behind."""
        for (stream, conv), run in self._runs.items():
            if run.spoke >= 0:
                self._active.put(conv, (stream, run.link.begun, run.spoke, run.frame))
                self._speaks(conv, stream, run.spoke)
            for role, ts in run.heard.items():
                self._heard.put((conv, role), ts)
            self._convs[conv] += run.count
        self._runs.clear()

    def _is_legal(self, kind: int, cause: int, role: int) -> bool:
        """Nothing in :meth:`_content` speaks of such a message, its flags aside; remembered."""
        legal = not illegal(kind, cause, role) and cause not in UNKNOWN_CAUSES
        if legal and len(self._legal) < MAX_LEGAL:
            self._legal.add((kind, cause, role))
        return legal

    def _speaks(self, conv: int, stream: int, ts: int) -> None:
        """Data of a conversation came on this connection; the one before it is remembered too."""
        others = [entry for entry in self._spoken.get(conv) or () if entry[0] != stream]
        self._spoken.put(conv, (*others[-1:], (stream, ts)))

    def _message(self, row: Row, found: list[Finding]) -> None:
        flags, role, kind = row["flags"], row["role"], row["kind"]
        if flags & int(Flag.DUPLICATE) or role not in (Role.CLIENT, Role.SERVER):
            return
        self._content(row, flags, role, kind, found)
        stream = row["stream"]
        link = self._links.get(stream)
        if link is None:
            watched = self._convs[row["conv"]] > 0
            link = self._links.put(stream, Link(begun=row["ts"], watched=watched))
            self._begin(row, link, flags, kind, found)
        self._stale(row, link, flags, role, kind, found)
        self._gap(row, link, flags, role, kind, found)
        if kind >= KIND_U:
            self._unnumbered(row, link, role, kind, found)
        else:
            if kind < KIND_S:
                self._old_bytes(row, link, flags, role, found)
                self._send_sequence(row, link, flags, role, found)
                self._second_connection(row, stream, flags, found)
            self._receive_sequence(row, link, flags, role, found)
        link.sides[role].last = row["ts"]
        self._convs[row["conv"]] += 1
        if len(self._convs) > MAX_STREAMS:
            self._convs.clear()

    def _begin(self, row: Row, link: Link, flags: int, kind: int, found: list[Finding]) -> None:
        """First message of a connection: in the middle of one is odd once the conversation is under way."""
        middle = (kind < KIND_S and row["seq"] > 0) or (kind == KIND_S and row["state"] > 0)
        link.doubtful = middle
        under_way = self._convs[row["conv"]] > 0
        if not middle or not under_way or not flags & _MIDSTREAM:
            return
        number = f"N(S) {row['seq']}" if kind < KIND_S else f"N(R) {row['state']}"
        self._tell_orphan(row, number, found)

    def _old_bytes(self, row: Row, link: Link, flags: int, role: int, found: list[Finding]) -> None:
        """Bytes before the first that was ever seen of a connection, while data go over another one.

        By TCP's count they are a repetition, but of nothing that came by.
        """
        side, conv, stream, now = link.sides[role], row["conv"], row["stream"], row["ts"]
        if flags & _REPEATED and link.doubtful and 0 < (side.first - row["seq"]) % MODULUS < HALF:
            spoken = self._spoken.get(conv) or ()
            if side.first >= 0 and any(s != stream and link.begun < ts >= now - ALIVE for s, ts in spoken):
                self._tell_orphan(row, f"N(S) {row['seq']}", found)
            return
        self._speaks(conv, stream, now)

    def _tell_orphan(self, row: Row, number: str, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "iec104-orphan",
                Level.WARNING,
                row,
                f"{self._kind(row)} with {number} on a connection that was never opened, while "
                f"{self.lens.link(int(row['conv']))} runs on another",
                "a new connection starts with STARTDT and N(S) 0",
                number,
                {"attack": 0.6, "visibility": 0.25, "fault": 0.15},
                "T0856" if row["role"] == Role.SERVER else "T0855",
            )
        )

    def _second_connection(self, row: Row, stream: int, flags: int, found: list[Finding]) -> None:
        """Data on a connection that is not the one that began last, though that one carries data too."""
        if flags & _REPEATED or stream < 0:
            return
        conv, now = row["conv"], row["ts"]
        newest, link = self._active.get(conv), self._links.get(stream)
        if link is None:
            return
        if newest is None or newest[0] == stream or link.begun >= newest[1] or now - newest[2] > ALIVE:
            self._active.put(conv, (stream, link.begun, now, row["frame"]))
            return
        if self._parallel.get((stream, newest[0])):
            return
        self._parallel.put((stream, newest[0]), True)
        finding = self._finding(
            "iec104-second-connection",
            Level.WARNING,
            row,
            f"{self.lens.link(conv)} carries data on two connections at once: a second controlling station "
            "may be using the address of the first",
            "one started connection at a time",
            "data on two",
            {"attack": 0.7, "fault": 0.15, "operation": 0.15},
            "T0855",
        )
        finding.frames = [row["frame"], newest[3]]
        found.append(finding)

    def _stale(self, row: Row, link: Link, flags: int, role: int, kind: int, found: list[Finding]) -> None:
        """Bytes repeated long after they had arrived, on a link that was alive all the while.

        So are bytes that fill a hole long after the other side had acknowledged what was in it.

        TCP repeats within its time-out what nobody acknowledged. When the link is down the other side is
        silent, so its fresh messages in between tell a replay from an outage.
        """
        side = link.sides[role]
        other = link.sides[_OTHER[role]]
        now = row["ts"]
        due = kind < KIND_S and row["seq"] == side.expected  # new to the station, whatever TCP counts
        if not flags & _REPEATED or due:
            self._heard.put((row["conv"], role), now)
            if due or not flags & _LATE:
                return
        if kind < KIND_S:
            since = other.acked_at(row["seq"]) if row["seq"] != side.expected else -1
        elif kind == KIND_S and row["state"] != side.acked:
            since = side.acked_at(row["state"])
        else:
            return
        answered = self._heard.get((row["conv"], _OTHER[role]))
        if since < 0 or now - since < STALE or answered is None or answered < since + STALE:
            return
        number = f"N(S) {row['seq']}" if kind < KIND_S else f"N(R) {row['state']}"
        found.append(
            self._finding(
                "iec104-replay",
                Level.WARNING,
                row,
                f"{self._kind(row)} with {number} from {self._src(row)} came again "
                f"{(now - since) / 1e9:.1f} s after it had been acknowledged",
                "TCP repeats only what was not acknowledged",
                number,
                {"attack": 0.7, "fault": 0.3},
                "T0856" if role == Role.SERVER else "T0855",
                group=str(role),
            )
        )

    def _gap(self, row: Row, link: Link, flags: int, role: int, kind: int, found: list[Finding]) -> None:
        if not flags & _GAP:
            return
        if self._late[(row["stream"], role)] > 0:
            self._late[(row["stream"], role)] -= 1
            return  # what was missing came a moment later: two segments changed places on the way
        side = link.sides[role]
        skipped = kind < KIND_S and side.expected >= 0 and row["seq"] != side.expected
        self._tell_missing(row, side, row["seq"] - side.expected if skipped else 0, side.expected, found)

    def _tell_missing(self, row: Row, side: Side, frames: int, expected: int, found: list[Finding]) -> None:
        """Bytes never came by; ``frames`` of them by N(S), 0 when that does not tell."""
        lossy = self.lens.conv(row["conv"]) in self._lossy
        skipped = frames != 0
        what = "an I-frame" if skipped else "bytes"
        finding = self._finding(
            "iec104-gap",
            Level.NOTICE if lossy else Level.WARNING,
            row,
            f"{what} from {self._src(row)} before this {self._kind(row)} never came by: "
            "lost by the sensor, or removed on the way",
            "TCP bytes without a gap" + (" (this site loses some)" if lossy else ""),
            f"N(S) {row['seq']} instead of {expected}" if skipped else "TCP bytes missing",
            {"visibility": 0.6, "fault": 0.2, "attack": 0.2}
            if lossy
            else {"attack": 0.4, "visibility": 0.35, "fault": 0.25},
            "T0803" if row["role"] == Role.CLIENT else "T0804",
            group=str(row["role"]),
        )
        found.append(self._excused(finding, side, frames if skipped else 1))

    def _excused(self, finding: Finding, side: Side, frames: int) -> Finding:
        """Loss explains that ``frames`` of one side never came by."""
        since = side.last if side.last >= 0 else finding.ts - SECOND
        return self._losses.weigh(finding, since, frames % MODULUS)

    def _send_sequence(self, row: Row, link: Link, flags: int, role: int, found: list[Finding]) -> None:
        side, number = link.sides[role], row["seq"]
        fresh, expected = self._fresh_start(link, row), side.expected
        if fresh or expected < 0 or number == expected:
            if expected < 0 or fresh:
                side.first = number
                self._first_frames(row, link, role, found)
            side.expected = (number + 1) % MODULUS
            return
        ahead = (number - expected) % MODULUS
        if ahead >= HALF:
            if not flags & (_REPEATED | _LATE):
                self._repeated(row, expected, found)
            return
        side.expected = (number + 1) % MODULUS
        if not flags & _GAP:
            found.append(
                self._finding(
                    "iec104-sequence-jump",
                    Level.WARNING,
                    row,
                    f"{self._src(row)} went from N(S) {expected - 1} to {number}, no TCP byte is missing",
                    f"N(S) {expected}",
                    f"N(S) {number}",
                    {"attack": 0.65, "fault": 0.35},
                    "T0830",
                    group=str(role),
                )
            )

    def _first_frames(self, row: Row, link: Link, role: int, found: list[Finding]) -> None:
        """A connection that began while the stations were watched, and whose first frames never came by.

        The other side had received none and this one is not number 0; or this one is, and the other side,
        of which nothing came by, already sent some.
        """
        other = link.sides[_OTHER[role]]
        number, received = row["seq"], row["state"]
        if not link.watched or row["flags"] & (_REPEATED | _LATE):
            return
        if 0 < number < HALF and other.acked == 0:
            self._tell_missing(row, link.sides[role], number, 0, found)
        elif number == 0 and 0 < received < HALF and other.expected < 0:
            other.expected = 0  # which the acknowledgement of this frame is then ahead of

    def _fresh_start(self, link: Link, row: Row) -> bool:
        """N(S) 0 on a connection whose first message was out of place: its real beginning."""
        if link.doubtful and row["seq"] == 0 and row["state"] <= 1:
            link.doubtful = False
            link.begun = row["ts"]
            for side in link.sides.values():
                side.expected = side.acked = -1
                side.acks.clear()
            return True
        return False

    def _repeated(self, row: Row, expected: int, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "iec104-sequence-repeat",
                Level.WARNING,
                row,
                f"{self._src(row)} sent N(S) {row['seq']} again in new TCP bytes; {expected} was due",
                f"N(S) {expected}",
                f"N(S) {row['seq']}",
                {"attack": 0.7, "fault": 0.3},
                "T0856" if row["role"] == Role.SERVER else "T0855",
                group=str(row["role"]),
            )
        )

    def _receive_sequence(self, row: Row, link: Link, flags: int, role: int, found: list[Finding]) -> None:
        side, number = link.sides[role], row["state"]
        other = link.sides[_OTHER[role]]
        if number < 0 or flags & (_REPEATED | _LATE):
            return
        if other.expected >= 0:
            ahead = (number - other.expected) % MODULUS
            if 0 < ahead < HALF:
                self._ack_ahead(row, number, other, found)
            elif ahead >= HALF and MODULUS - ahead > K_LIMIT:
                self._ack_late(row, number, other.expected, found)
        if side.acked >= 0 and 0 < (side.acked - number) % MODULUS < HALF and not link.doubtful:
            self._ack_back(row, number, side.acked, found)
            return
        if number != side.acked:
            side.acks.append((number, row["ts"]))
        side.acked = number

    def _ack_ahead(self, row: Row, number: int, other: Side, found: list[Finding]) -> None:
        sent = other.expected
        finding = self._finding(
            "iec104-ack-ahead",
            Level.WARNING,
            row,
            f"{self._src(row)} acknowledges up to N(S) {number - 1}, of which the sensor saw "
            f"only up to {sent - 1}",
            f"N(R) at most {sent}",
            f"N(R) {number}",
            {"attack": 0.4, "visibility": 0.4, "fault": 0.2},
            "T0830",
            group=str(row["role"]),
        )
        found.append(self._excused(finding, other, number - sent))

    def _ack_late(self, row: Row, number: int, sent: int, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "iec104-window",
                Level.NOTICE,
                row,
                f"{self._src(row)} leaves {(sent - number) % MODULUS} frames unacknowledged; k is {K_LIMIT}",
                f"at most {K_LIMIT}",
                str((sent - number) % MODULUS),
                {"fault": 0.7, "attack": 0.3},
                group=str(row["role"]),
            )
        )

    def _ack_back(self, row: Row, number: int, before: int, found: list[Finding]) -> None:
        found.append(
            self._finding(
                "iec104-ack-back",
                Level.WARNING,
                row,
                f"{self._src(row)} acknowledged N(R) {before} before, now {number}: reordered or foreign",
                f"N(R) at least {before}",
                f"N(R) {number}",
                {"attack": 0.6, "fault": 0.4},
                "T0830",
                group=str(row["role"]),
            )
        )

    def _unnumbered(self, row: Row, link: Link, role: int, kind: int, found: list[Finding]) -> None:
        if kind == STOP_CON:
            link.stopped = True
        if kind in (START_ACT, START_CON):
            link.stopped = False
            link.doubtful = False
        wrong = kind not in U_KINDS or (kind in (START_ACT, STOP_ACT) and role == Role.SERVER)
        wrong |= kind in (START_CON, STOP_CON) and role == Role.CLIENT
        if wrong:
            found.append(
                self._finding(
                    "iec104-u-frame",
                    Level.WARNING,
                    row,
                    f"{self._src(row)} sent {self._kind(row)}, which is not its to send",
                    "STARTDT and STOPDT act by the controlling station, con by the outstation",
                    self._kind(row),
                    {"attack": 0.6, "fault": 0.4},
                    "T0830",
                )
            )

    def _content(self, row: Row, flags: int, role: int, kind: int, found: list[Finding]) -> None:
        """Direction, cause, test bit and refusal of one ASDU."""
        if kind >= KIND_S:
            return
        cause = row["cause"]
        problem = illegal(kind, cause, role)
        if problem:
            found.append(
                self._finding(
                    "iec104-illegal",
                    Level.WARNING,
                    row,
                    f"{self._src(row)} sent {self._kind(row)} with cause {cause}: {problem}",
                    "IEC 60870-5-101 table 14",
                    f"cause {cause}",
                    {"attack": 0.6, "fault": 0.4},
                    "T0855" if kind in CONTROL else "T0856",
                    group=f"{kind}/{cause}",
                )
            )
        if role == Role.SERVER and kind in CONTROL and (flags & _NEGATIVE or cause in UNKNOWN_CAUSES):
            why = f"unknown {UNKNOWN_CAUSES[cause]}" if cause in UNKNOWN_CAUSES else "negative confirmation"
            found.append(
                self._finding(
                    "iec104-refused",
                    Level.NOTICE,
                    row,
                    f"{self._src(row)} refused {self._kind(row)} for "
                    f"{self.lens.names.point(int(row['proto']), int(row['point']))}: {why}",
                    "positive confirmation",
                    why,
                    {"attack": 0.45, "operation": 0.3, "fault": 0.25},
                    "T0888" if cause in UNKNOWN_CAUSES else "",
                    group=str(cause),
                )
            )
        if flags & _TEST and role == Role.CLIENT:
            found.append(
                self._finding(
                    "iec104-test",
                    Level.NOTICE,
                    row,
                    f"{self._src(row)} sent {self._kind(row)} with the test bit set",
                    "test bit clear in operation",
                    "test bit set",
                    {"operation": 0.7, "attack": 0.3},
                )
            )

    def _kind(self, row: Row) -> str:
        return self.lens.names.kind(row["proto"], row["kind"])

    def _src(self, row: Row) -> str:
        return self.lens.names.endpoint(row["src"])

    def _finding(
        self,
        rule: str,
        level: Level,
        row: Row,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str = "",
        group: str = "",
    ) -> Finding:
        rows = self._rows[row["at"] : row["at"] + 1]
        return message_finding(NAME, rule, level, rows, summary, expected, observed, scores, technique, group)
