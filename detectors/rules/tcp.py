"""TCP below the protocols: sweeps over hosts and ports, refused connections, repetition.

A *sweep* is one host that opens connections to many (server, port) pairs it never spoke to, or is
refused many times, in a short time. Bytes that differ from those sent before for the same sequence
numbers were injected by somebody. Repetition and loss are matters of the network: they are notices and
read as faults, never as attacks (RFC 9293, RFC 6298). What several receivers acknowledge and nobody captured
says that the sensor's own view is incomplete.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.groups import SECOND, Lens, among, order_of, runs
from detectors.loss import CONNECTIONS, by_connection, unseen
from detectors.rules.common import Bounded, message_finding, protocol_rows
from detectors.tables import conv_of
from grid_profiles.vocabulary import Flag

NAME: Final = "tcp"
SYN, SYN_ACK, FIN, RST, MIDSTREAM, CONFLICT = 1, 2, 3, 4, 5, 6
WINDOW: Final = 60 * SECOND
SWEEP: Final = 12
"""New (server, port) pairs of one client within a minute that make a sweep."""

REFUSED: Final = 15
MAX_CLIENTS: Final = 4_096
MAX_TARGETS: Final = 512
MAX_CONFLICTS: Final = 1_000
MIN_ROWS: Final = 50
REPEAT_SHARE: Final = 0.1


class _Client:
    """Targets and refusals of one client within the current minute."""

    __slots__ = ("refused", "start", "targets", "told")

    def __init__(self, start: int) -> None:
        self.start = start
        self.targets: dict[int, int] = {}
        self.refused = 0
        self.told: set[str] = set()


class TcpRules:
    """Checks TCP signalling and repetition."""

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        self.lens = lens
        self._proto = lens.protocol("tcp")
        self._clients: Bounded[int, _Client] = Bounded(MAX_CLIENTS)
        self._known = {conv_of(row)[1:4] for row in baseline.rows("conversations")} if baseline else set()
        self._learning = baseline is None
        self._repeats: dict[int, list[int]] = {}
        self._window = -1
        self._holes: dict[int, int] = {}
        self._lossy_since = -WINDOW
        self._samples: dict[int, Any] = {}
        self._worst: Bounded[int, int] = Bounded(MAX_CLIENTS)
        self._lossy = (
            {conv_of(row): row.repeats / max(row.count, 1) for row in baseline.rows("conversations")}
            if baseline
            else {}
        )

    def counters(self) -> dict[str, int]:
        """Clients forgotten because the table was full."""
        return {"tcp_clients_evicted": self._clients.evicted}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        found: list[Finding] = []
        rows = protocol_rows(piece, self._proto)
        for row in self._strange(rows.compress(rows["kind"] == SYN)):
            self._open(row, piece.start, found)
        for row in rows.compress(rows["kind"] == RST):
            self._reset(row, piece.start, found)
        found += [self._conflict(row) for row in rows.compress(rows["kind"] == CONFLICT)[:MAX_CONFLICTS]]
        self._lacking(unseen(rows), piece.start, found)
        self._repetition(piece, found)
        return found

    def _lacking(self, rows: npt.NDArray[Any], now: int, found: list[Finding]) -> None:
        """Bytes that receivers acknowledge and nobody captured, in several connections: the mirror's loss."""
        if not len(rows):
            return
        if now - self._lossy_since >= WINDOW:
            self._lossy_since = now
            self._holes.clear()
        for stream, count in by_connection(rows).items():
            if stream in self._holes or len(self._holes) < MAX_TARGETS:
                self._holes[stream] = self._holes.get(stream, 0) + count
        if len(self._holes) < CONNECTIONS:
            return
        finding = message_finding(
            NAME,
            "frames-unseen",
            Level.INFO,
            rows[:20],
            f"{len(self._holes)} connections lack at least {sum(self._holes.values()):,} frames that their "
            "receivers acknowledge: the mirror port or tap loses frames",
            "everything that is acknowledged is captured",
            f"{len(self._holes)} connections with holes within a minute",
            {"visibility": 1.0},
        )
        finding.conv, finding.group = -1, "capture"
        found.append(finding)

    def _strange(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Openings of what learning did not meet."""
        if self._learning or not len(rows):
            return rows
        convs = set(rows["conv"].tolist())
        strange = [conv for conv in convs if self.lens.conv(conv)[1:4] not in self._known]
        return rows.compress(among(rows["conv"], strange))

    def _conflict(self, row: Any) -> Finding:
        """A TCP stack repeats what it sent; other bytes for the same place come from somebody else."""
        src, dst = (self.lens.names.endpoint(int(row[side])) for side in ("src", "dst"))
        return message_finding(
            NAME,
            "tcp-conflict",
            Level.ALARM,
            np.array([row]),
            f"{src} sent to {dst} bytes that differ from those sent before for the same place in the stream: "
            "one of them was forged",
            "a repetition has the same bytes (RFC 9293 3.8.1)",
            "other bytes, same sequence numbers",
            {"attack": 0.85, "fault": 0.15},
            "T0830",
        )

    def _client(self, ident: int, now: int) -> _Client:
        client = self._clients.get(ident)
        if client is None or now - client.start >= WINDOW:
            client = self._clients.put(ident, _Client(now))
        return client

    def _open(self, row: Any, now: int, found: list[Finding]) -> None:
        conv = int(row["conv"])
        key = self.lens.conv(conv)
        client = self._client(int(row["src"]), now)
        if len(client.targets) < MAX_TARGETS:
            client.targets[conv] = int(row["frame"])
        if len(client.targets) < SWEEP or "sweep" in client.told:
            return
        if self._learning and len({self.lens.conv(c)[2:4] for c in client.targets}) < SWEEP:
            return
        client.told.add("sweep")
        servers = {self.lens.conv(c)[2] for c in client.targets}
        finding = message_finding(
            NAME,
            "tcp-sweep",
            Level.WARNING,
            np.array([row]),
            f"{key[1]} opened connections to {len(client.targets)} new targets on {len(servers)} hosts",
            "known services only",
            f"{len(client.targets)} new (host, port) pairs",
            {"attack": 0.8, "operation": 0.2},
            "T0846",
        )
        finding.conv = -1
        finding.group = key[1]
        finding.frames = [int(row["frame"]), *list(client.targets.values())[:19]]
        found.append(finding)

    def _reset(self, row: Any, now: int, found: list[Finding]) -> None:
        conv = self.lens.conv(int(row["conv"]))
        if not self._learning and conv[1:4] in self._known:
            return
        if self.lens.names.endpoint(int(row["src"])) != conv[2]:
            return  # only a server refuses; a client's own reset ends a connection
        client = self._client(int(row["dst"]), now)
        client.refused += 1
        if client.refused < REFUSED or "refused" in client.told:
            return
        client.told.add("refused")
        finding = message_finding(
            NAME,
            "tcp-refused",
            Level.NOTICE,
            np.array([row]),
            f"{conv[1]} was refused {client.refused} times within a minute",
            "connections that are accepted",
            f"{client.refused} resets",
            {"attack": 0.6, "fault": 0.4},
            "T0846",
        )
        finding.conv = -1
        finding.group = conv[1]
        found.append(finding)

    def _repetition(self, piece: Slice, found: list[Finding]) -> None:
        """Share of repeated messages per conversation in 10 s, against what was learned."""
        window = piece.start // (10 * SECOND)
        if window != self._window:
            found += self._repetition_findings()
            self._window = window
            self._repeats.clear()
            self._samples.clear()
        messages = piece.messages
        again = messages["flags"] & np.uint32(Flag.RETRANSMITTED) != 0
        if not again.any():
            return
        self._count(messages, again)

    def _count(self, messages: npt.NDArray[Any], again: npt.NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(again)
        rows = rows[order_of(messages["conv"][rows])]
        convs, (first, sizes) = messages["conv"][rows], runs(messages["conv"][rows])
        everybody = np.sort(messages["conv"])
        low, high = (np.searchsorted(everybody, convs[first], side) for side in ("left", "right"))
        columns = (column.tolist() for column in (convs[first], first, sizes, high - low))
        for conv, at, repeated, total in zip(*columns, strict=True):
            if len(self._repeats) >= MAX_CLIENTS and conv not in self._repeats:
                continue
            counts = self._repeats.setdefault(conv, [0, 0])
            counts[0] += repeated
            counts[1] += total
            if conv not in self._samples:
                self._samples[conv] = messages.take(rows[at : at + min(repeated, 20)])

    def _repetition_findings(self) -> list[Finding]:
        found = []
        for conv, (again, total) in sorted(self._repeats.items()):
            usual = self._lossy.get(self.lens.conv(conv), 0.0)
            if total < MIN_ROWS or again < max(REPEAT_SHARE, 5 * usual) * total:
                continue
            # losses come in bursts: one bad window is kept, two of three are told
            before = self._worst.get(conv)
            self._worst.put(conv, self._window)
            lasts = before is not None and self._window - before <= 2
            found.append(
                message_finding(
                    NAME,
                    "tcp-repetition",
                    Level.NOTICE if lasts else Level.INFO,
                    self._samples[conv],
                    f"{again} of {total} messages in 10 s were TCP repetitions in {self.lens.link(conv)}",
                    f"about {usual:.1%}",
                    f"{again / total:.0%}",
                    {"fault": 0.85, "attack": 0.15},
                )
            )
        return found
