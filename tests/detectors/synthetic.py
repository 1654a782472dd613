"""Messages made by hand for detector tests: a tiny Names and a few builders."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.base import Conversation, Slice
from grid_profiles.vocabulary import MESSAGE, POINT, KindClass, Role

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
PROTOCOLS = ["", "iec104", "modbus", "goose", "tcp", "arp"]
IEC104, MODBUS, GOOSE, TCP, ARP = 1, 2, 3, 4, 5
CLASSES = {
    (IEC104, 50): KindClass.SETPOINT,
    (IEC104, 45): KindClass.CONTROL,
    (IEC104, 100): KindClass.READ,
    (IEC104, 13): KindClass.REPORT,
    (MODBUS, 3): KindClass.READ,
    (MODBUS, 6): KindClass.CONTROL,
}


class FakeNames:
    """Names of a run with hosts ``10.0.0.<id>``; conversations are added with :meth:`conv`."""

    def __init__(self) -> None:
        self.conversations: list[Conversation] = []

    def conv(self, protocol: str, client: int, server: int, port: int = 2404, sub: str = "") -> int:
        made = Conversation(protocol, self.endpoint(client), self.endpoint(server), port, sub)
        if made not in self.conversations:
            self.conversations.append(made)
        return self.conversations.index(made)

    def endpoint(self, ident: int) -> str:
        return f"10.0.0.{ident}"

    def text(self, ident: int) -> str:
        return f"text{ident}" if ident else ""

    def conversation(self, ident: int) -> Conversation:
        return self.conversations[ident]

    def protocol(self, ident: int) -> str:
        return PROTOCOLS[ident]

    def protocol_id(self, name: str) -> int:
        if name not in PROTOCOLS:
            raise KeyError(name)
        return PROTOCOLS.index(name)

    def point(self, proto: int, point: int) -> str:
        return "" if point < 0 else f"point {point}"

    def kind(self, proto: int, kind: int) -> str:
        return f"kind {kind}"

    def kind_class(self, proto: int, kind: int) -> str:
        return str(CLASSES.get((proto, kind), ""))


def message(ts: float, **fields: Any) -> np.void:
    """One message ``ts`` seconds after START; fields not given are missing."""
    row = np.zeros(1, MESSAGE)
    for name in MESSAGE.names or ():
        row[name] = np.nan if name == "value" else 0 if name in ("flags", "name", "ident") else -1
    row["ts"] = START + round(ts * SECOND)
    row["frame"] = 1 + round(ts * 1000)
    for name, value in fields.items():
        row[name] = value
    return row[0]


def messages(rows: list[np.void]) -> np.ndarray[Any, Any]:
    """Rows as one array."""
    return np.array(rows, MESSAGE) if rows else np.zeros(0, MESSAGE)


def piece(rows: list[np.void], start: float = 0.0, points: Any = None, length: float = 1.0) -> Slice:
    """A slice that begins ``start`` seconds after START."""
    begin = START + round(start * SECOND)
    made = messages(rows)
    return Slice(
        begin,
        begin + round(length * SECOND),
        made,
        np.zeros(0, POINT) if points is None else points,
        max(1, len(rows)),
    )


def i_frame(conv: int, ts: float, role: Role, ns: int, nr: int, **more: Any) -> np.void:
    """An IEC-104 I-frame between hosts 1 (client) and 2 (server)."""
    server = role == Role.SERVER
    fields = {"kind": 13, "cause": 3, "point": 7, "count": 1} if server else {"kind": 100, "cause": 6}
    hosts = {"src": 2, "dst": 1} if server else {"src": 1, "dst": 2}
    link = {"proto": IEC104, "role": role, "conv": conv, "stream": 0, "size": 20}
    return message(ts, **(link | hosts | fields | {"seq": ns, "state": nr} | more))


def s_frame(conv: int, ts: float, nr: int, **more: Any) -> np.void:
    """An IEC-104 S-frame of the client."""
    fields = {"proto": IEC104, "role": Role.CLIENT, "src": 1, "dst": 2, "conv": conv, "stream": 0}
    return message(ts, **(fields | {"kind": 256, "size": 6, "state": nr} | more))
