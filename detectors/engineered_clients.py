"""MMS clients held against a station description: who may talk to an IED's server.

Engineered are the clients of report control blocks and the associations of a server (IEC 61850-6:2009,
9.3). A server for which the description names no client is left to its described neighbours.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.described import NAME
from detectors.groups import Lens
from detectors.news import observed, technique
from detectors.rules.common import message_finding, protocol_rows
from detectors.tables import Origin

MMS: Final = "mms"
PORT: Final = 102
CARRIERS: Final = frozenset({MMS, "cotp", "tcp"})
HOLD: Final = 60.0
MAX_FINE: Final = 65_536
NEWS: Final = frozenset({"new-host", "new-conversation", "new-kind"})


class Clients:
    """Judges MMS conversations by their two addresses."""

    def __init__(self, baseline: Baseline, lens: Lens) -> None:
        self.lens = lens
        self._proto = lens.protocol(MMS)
        self._servers = {
            row.address: row.ied for row in baseline.rows("devices") if row.server and row.address
        }
        self._devices = {row.address: row.ied for row in baseline.rows("devices") if row.address}
        self._allowed: dict[str, dict[str, str]] = {}
        for row in baseline.rows("associations"):
            self._allowed.setdefault(row.server, {})[row.client] = row.client_ied
        self._known = {
            (row.client, row.server)
            for row in baseline.rows("conversations")
            if row.protocol == MMS and row.origin != Origin.PROPOSED.value
        }
        self._fine: set[int] = set()

    def engineered(self, client: str, server: str) -> bool:
        """Does the description provide for this client?"""
        named = self._allowed.get(server)
        return client in named if named else client in self._devices

    def explains(self, rule: str, protocol: str, client: str, server: str, port: int) -> bool:
        """Is this news of the allow-lists provided for, or said here in better words?"""
        if protocol not in CARRIERS or port != PORT or server not in self._servers:
            return False
        if self.engineered(client, server):
            return rule in NEWS
        return protocol == MMS and rule in ("new-host", "new-conversation", "new-command-source")

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if not self._servers:
            return []
        rows = protocol_rows(piece, self._proto)
        found = []
        for conv in np.unique(rows["conv"]).tolist():
            if conv in self._fine:
                continue
            _, client, server, *_ = self.lens.conv(conv)
            fine = server not in self._servers or (client, server) in self._known
            if fine or self.engineered(client, server):
                if len(self._fine) < MAX_FINE:
                    self._fine.add(conv)
                continue
            found.append(self._stranger(rows[rows["conv"] == conv], client, server))
        return found

    def _stranger(self, rows: npt.NDArray[Any], client: str, server: str) -> Finding:
        danger = [
            self.lens.dangerous(self._proto, kind, role)
            for kind, role in zip(rows["kind"].tolist(), rows["role"].tolist(), strict=True)
        ]
        told = rows[np.array(danger)] if any(danger) else rows
        kind = int(told[0]["kind"])
        known, ied = self._devices.get(client), self._servers[server]
        named = sorted(set(self._allowed.get(server, {}).values()))
        due = f"clients of {ied}: {', '.join(named[:6]) or 'devices of the station description'}"
        what = (
            f"{known}, which is not engineered as a client of it" if known else "a host that is not described"
        )
        made = message_finding(
            NAME,
            "scl-client",
            Level.ALARM if any(danger) else Level.NOTICE if known else Level.WARNING,
            told,
            f"{client} ({what}) talks MMS to {ied} at {server}"
            + (
                f" and sends {observed(self.lens, told, self.lens.names.kind(self._proto, kind))}"
                if any(danger)
                else ""
            ),
            due,
            observed(self.lens, told, self.lens.names.kind(self._proto, kind)),
            {"attack": 0.7, "operation": 0.3}
            if any(danger) or not known
            else {"operation": 0.6, "attack": 0.4},
            technique(self.lens, self._proto, kind) if any(danger) else "T0886",
        )
        made.hold = HOLD
        return made
