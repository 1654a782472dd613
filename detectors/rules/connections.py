"""Connections of one client to one server: two used side by side, and one opened again and again.

A controlling station, an HMI or a PLC keeps one connection to each device (or one per unit). A second one
that carries requests in turn with the first is a second program: a tool on the same host, or another host
under its address. After an end or a time-out a client may leave the old connection and use the next; it does
not come back to the old one (RFC 9293, 3.3.2, knows no such thing as moving). IEC 60870-5-104 has a rule of
its own for this (``iec104-second-connection``). What learning met is the site's habit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Level, Slice
from detectors.baseline import Baseline
from detectors.groups import Lens, news, order_of
from detectors.rules.common import Columns, protocol_columns
from detectors.rules.shared import ProtocolRules, Rows, Rule, one
from grid_profiles.vocabulary import Role

PROTOCOLS: Final = ("modbus", "s7comm", "dnp3")
SYN: Final = 1
STORM: Final = 5
"""Openings by one client of one service within a minute ..."""

USUAL: Final = 1.0
"""... where learning saw fewer than so many a minute."""

MAX_SWITCHES: Final = 256
"""Changes from one connection to another that are looked at per slice and protocol."""

PARALLEL = Rule(
    "second-connection", Level.NOTICE, {"attack": 0.5, "operation": 0.4, "fault": 0.1}, "T0855", habit=1
)
REOPENED = Rule(
    "reconnect-storm", Level.NOTICE, {"fault": 0.5, "attack": 0.4, "operation": 0.1}, "T0814", habit=1
)


@dataclass(slots=True)
class _Used:
    """The connections that one client used last: the one before, and the newest."""

    before: int
    newest: int
    first: int  # frame in which the newest began
    told: bool = False


class ConnectionRules(ProtocolRules):
    """Checks which connections carry requests, and how often they are opened."""

    protocol = "tcp"

    def __init__(self, lens: Lens, baseline: Baseline | None = None) -> None:
        super().__init__(lens, baseline)
        self._used = self.table()
        self._opened = self.tally(60)
        self._protos = [proto for name in PROTOCOLS if (proto := lens.protocol(name)) >= 0]
        self._usual: dict[tuple[str, str, int], float] = {}
        minutes = max(1.0, float(baseline.params.get("learned_s", 0.0)) / 60) if baseline is not None else 1.0
        for row in baseline.spoken("kinds", "tcp") if baseline is not None else ():
            if row.kind == SYN:
                self._usual[row.client, row.server, int(row.port)] = row.count / minutes
        self._services = {
            (row.client, row.server, int(row.port))
            for row in (baseline.rows("conversations") if baseline is not None else ())
            if row.protocol not in ("tcp", "udp") and row.port > 0
        }

    def detect(self, piece: Slice) -> list[Any]:
        """Findings of one slice."""
        found = super().detect(piece)
        for proto in self._protos:
            columns = protocol_columns(piece, proto)
            if len(columns):
                self._requests(columns.where((columns["role"] == Role.CLIENT) & (columns["stream"] >= 0)))
        return found

    def check(self, rows: Rows, piece: Slice) -> None:
        """Openings of known services, the client's own repetitions left out."""
        if not self.habits.learned:
            return
        for row in rows.compress(rows["kind"] == SYN)[:MAX_SWITCHES]:
            key = self.lens.conv(int(row["conv"]))[1:4]
            if key not in self._services or self._usual.get(key, 0.0) >= USUAL:
                continue
            entry = self._opened.add(key, int(row["ts"]), 1, [(int(row["stream"]), int(row["frame"]))])
            if entry.spreads(STORM):
                text = f"{key[0]} opened {STORM} connections to port {key[2]} of {key[1]} within a minute"
                self.say(REOPENED, one(row), text, "one that lasts", f"{STORM} openings", pair=True)
                self.found[-1].frames = list(entry.items.values())[:20]

    def _requests(self, columns: Columns) -> None:
        """Rows at which a conversation goes on on another connection than the one used before."""
        if not len(columns):
            return
        order = order_of(columns["conv"])
        convs, streams = columns["conv"][order], columns["stream"][order]
        at = np.flatnonzero(news(convs, streams))[:MAX_SWITCHES]
        places, frames = order[at].tolist(), columns["frame"][order[at]].tolist()
        rows = zip(places, convs[at].tolist(), streams[at].tolist(), frames, strict=True)
        for place, conv, stream, frame in rows:
            used = self._used.get(conv)
            if used is None:
                self._used.put(conv, _Used(-1, stream, frame))
            elif stream == used.newest:
                continue
            elif stream != used.before or used.told:
                used.before, used.newest, used.first = used.newest, stream, frame
            else:
                used.told = True
                self._in_turn(columns.rows(slice(place, place + 1)), [used.first, frame])

    def _in_turn(self, rows: Rows, frames: list[int]) -> None:
        """A request on the connection before the newest one."""
        text = (
            f"{self.lens.link(int(rows[0]['conv']))} carries requests on two connections in turn: a second "
            f"program on {self.host(rows[0]['src'])}, or somebody under its address"
        )
        self.say(PARALLEL, rows, text, "one connection", "two", pair=True)
        self.found[-1].frames = frames
