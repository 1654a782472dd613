"""Message rows by hand, rule ids out: for rules whose frames would hide what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.detector import Holding
from detectors.groups import Lens
from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import ANY_POINT, MESSAGE, POINT, Role
from sensor.messages import MessageBatch
from sensor.names import Names
from sensor.pipeline import learn

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
C, S, P, PEER = Role.CLIENT, Role.SERVER, Role.PUBLISHER, Role.PEER
Said = list[tuple[str, Level]]


class Bench:
    """Rows of one protocol and what its rules say about them."""

    def __init__(self, protocol: str, rule: Any) -> None:
        self.names = Names(load_registry())
        self.proto = self.names.protocol_id(protocol)
        self.style = self.names.registry.by_id(self.proto).points_format
        self.rule = rule
        self.frame = 0

    def row(
        self,
        ts: float,
        kind: int,
        role: Role = C,
        src: str = "10.0.0.1",
        dst: str = "10.0.0.2",
        sub: str = "",
        port: int = 1,
        vlan: int = 0,
        point: str | int = -1,
        name: str = "",
        ident: str = "",
        **columns: Any,
    ) -> np.void:
        """A row ``ts`` seconds after the start; of a server when ``role`` says so."""
        row = np.zeros(1, MESSAGE)
        for field in MESSAGE.names or ():
            row[field] = np.nan if field == "value" else 0 if field in ("flags", "name", "ident") else -1
        names = self.names
        client, server = names.intern_endpoint(src), names.intern_endpoint(dst)
        ends = (server, client) if role == S else (client, server)
        self.frame += 1
        row["ts"], row["frame"] = START + round(ts * SECOND), self.frame
        row["proto"], row["role"], row["kind"], row["size"] = self.proto, role, kind, 20
        row["src"], row["dst"] = ends
        row["stream"] = 0
        row["conv"] = names.intern_conversation(
            self.proto, client, server, port, names.intern_text(sub), vlan
        )
        row["name"], row["ident"] = names.intern_text(name), names.intern_text(ident)
        row["point"] = self._point(point)
        for field, value in columns.items():
            row[field] = value
        return row[0]

    def syn(self, ts: float, stream: int = 0) -> np.void:
        """The opening of a TCP connection."""
        row = self.row(ts, 1, stream=stream)
        row["proto"] = self.names.protocol_id("tcp")
        return row

    def _point(self, point: str | int) -> int:
        if isinstance(point, int):
            return point
        text = self.names.intern_text(point)
        return text << 16 | ANY_POINT if self.style in ("goose", "sv") else text

    def slices(self, rows: Sequence[np.void], until: float = 0.0, points: Any = None) -> list[Slice]:
        """Slices of a second, up to the last row or ``until`` seconds."""
        made = np.array(rows, MESSAGE)
        order = np.argsort(made["ts"], kind="stable")
        made, number = made[order], (made["ts"][order] - START) // SECOND
        end = max(int(number[-1]), int(until))
        found = []
        for second in range(end + 1):
            here = np.flatnonzero(number == second)
            own = np.zeros(0, POINT)
            if points is not None:
                rank = {int(old): new for new, old in enumerate(order[here])}
                own = np.array([p for p in points if int(p["message"]) in rank], POINT)
                own["message"] = [rank[int(m)] for m in own["message"]]
            begin = START + second * SECOND
            found.append(Slice(begin, begin + SECOND, made[here], own, max(1, len(here))))
        return found

    def findings(
        self,
        rows: Sequence[np.void],
        until: float = 0.0,
        baseline: Baseline | None = None,
        points: Any = None,
    ) -> list[Finding]:
        """Everything the rules find in these rows."""
        rules = self.rule(Lens(self.names), baseline)
        found = [one for piece in self.slices(rows, until, points) for one in rules.detect(piece)]
        return found + rules.rest() if isinstance(rules, Holding) else found

    def said(
        self,
        rows: Sequence[np.void],
        until: float = 0.0,
        baseline: Baseline | None = None,
        points: Any = None,
    ) -> Said:
        """(rule id, level) of each finding, in order."""
        return [(f.rule, f.level) for f in self.findings(rows, until, baseline, points)]

    def learned(self, rows: Sequence[np.void]) -> Baseline:
        """A baseline of these rows."""
        made = np.sort(np.array(rows, MESSAGE), order="ts", kind="stable")
        batch = MessageBatch(made, np.zeros(0, POINT), made["ts"].astype(np.int64))
        return learn([batch], self.names)
