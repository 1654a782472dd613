"""OPC UA as the attacks need it (IEC 62541-6): chunks in a segment, what a channel tells, a guest."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sensor.simulate.attacks import common
from sensor.simulate.build import opcua as u
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage, Visit

PORT: Final = 4840
NEEDS: Final = "an OPC UA connection (TCP port 4840) whose services can be read"
HIDDEN: Final = "an OPC UA channel (TCP port 4840) opened with encryption"
URL: Final = "opc.tcp://server:4840"
HEAD: Final = 24
"""Octets of a MSG chunk before its body: message header, channel, token, sequence number, request id."""

READ: Final = 631
NODE_SIZES: Final = {0: 2, 1: 4, 2: 7, 4: 19}
VALUE: Final = 13
GOOD: Final = struct.pack("<I", 0)


def chunks(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, chunk) of the whole chunks that begin in a segment."""
    at = 0
    while at + 8 <= len(payload) and payload[at + 3 : at + 4] in (b"F", b"C", b"A"):
        (size,) = struct.unpack_from("<I", payload, at + 4)
        if size < 8 or at + size > len(payload):
            return
        yield at, payload[at : at + size]
        at += size


def _sequence_at(chunk: bytes) -> int:
    """Offset of the sequence number of a chunk, -1 when it has none that can be read."""
    if chunk[:3] in (b"MSG", b"CLO"):
        return HEAD - 8 if len(chunk) >= HEAD else -1
    at = 12
    if chunk[:3] != b"OPN" or policy(chunk) != u.NONE:
        return -1
    for _ in range(3):  # policy, certificate, thumbprint
        if at + 4 > len(chunk):
            return -1
        at += 4 + max(0, int.from_bytes(chunk[at : at + 4], "little", signed=True))
    return at if at + 8 <= len(chunk) else -1


def policy(chunk: bytes) -> bytes:
    """Security policy of an OPN chunk, empty for others."""
    size = int.from_bytes(chunk[12:16], "little", signed=True)
    return chunk[16 : 16 + size] if chunk[:3] == b"OPN" and size > 0 else b""


def _node(data: bytes, at: int) -> int:
    """End of the NodeId at an offset, -1 when it cannot be read."""
    if at < 0 or at >= len(data):
        return -1
    size = NODE_SIZES.get(data[at])
    if size is None and data[at] in (3, 5) and at + 7 <= len(data):
        size = 7 + max(0, int.from_bytes(data[at + 3 : at + 7], "little", signed=True))
    return -1 if size is None or at + size > len(data) else at + size


@dataclass(frozen=True, slots=True)
class Asked:
    """A ReadRequest: token of the session, first node."""

    token: bytes
    node: bytes


def asked(chunk: bytes) -> Asked | None:
    """What a chunk asks to read; None when it is no readable ReadRequest."""
    body = chunk[HEAD:]
    if chunk[:3] != b"MSG" or body[:4] != u.service(READ):
        return None
    end = _node(body, 4)
    if end < 0 or end + 16 > len(body):
        return None
    token, at = body[4:end], end + 16  # time stamp, handle, diagnostics
    at += 8 + max(0, int.from_bytes(body[at : at + 4], "little", signed=True))  # audit entry, timeout
    at = _node(body, at) + 1 + 16  # additional header; age, time stamps, count
    end = _node(body, at)
    return None if at < 18 or end < 0 else Asked(token, body[at:end])


@dataclass(slots=True)
class Channel:
    """A connection whose services can be read, and a read of its client."""

    talk: Connection
    read: Asked


def channel(stage: Stage) -> Channel:
    """The busiest readable connection in the time of the attack.

    Raises
    ------
    NotOffered
    """
    for talk in stage.scene.talks(PORT):
        if not stage.rows(talk.rows):
            continue
        for row in talk.rows:
            for _, chunk in chunks(stage.scene.packets[row].payload):
                read = asked(chunk)
                if read is not None:
                    return Channel(talk, read)
    raise NotOffered(NEEDS)


def encrypted(stage: Stage) -> Connection:
    """The busiest connection whose channel was opened with another policy than None.

    Raises
    ------
    NotOffered
    """
    for talk in stage.scene.talks(PORT):
        policies = {
            policy(chunk)
            for row in talk.rows
            for _, chunk in chunks(stage.scene.packets[row].payload)
            if chunk[:3] == b"OPN"
        }
        if policies - {u.NONE, b""}:
            return talk
    raise NotOffered(HIDDEN)


def exchange(stage: Stage, found: Channel, ts: int, request: bytes, answer: bytes) -> None:
    """A request and its answer inside a client's channel; sequence numbers behind it move on by one."""
    at = stage.gap(found.talk, ts)
    last: dict[int, bytes] = {}
    for row, side in zip(found.talk.rows, found.talk.sides, strict=True):
        packet = stage.scene.packets[row]
        for _, chunk in chunks(packet.payload):
            if chunk[:3] == b"MSG" and len(chunk) >= HEAD and (packet.ts <= at or side not in last):
                last[side] = chunk
    if len(last) < 2:
        raise NotOffered(NEEDS)
    ident = struct.unpack_from("<I", last[0], 20)[0] + 1
    for side, body in ((0, request), (1, answer)):
        ends = struct.unpack_from("<III", last[side], 8)
        head = struct.pack("<IIII", ends[0], ends[1], ends[2] + 1 & 0xFFFFFFFF, ident & 0xFFFFFFFF)
        stage.speak(found.talk, side, at + side * 4 * MS, u.message(b"MSG", head + body))
    stage.acknowledge(found.talk, 0, at + 5 * MS)
    _move(stage, found.talk, at)


def _move(stage: Stage, talk: Connection, since: int) -> None:
    """Move sequence numbers and request ids behind an exchange that was put in."""
    for row in talk.rows:
        if stage.scene.packets[row].ts <= since or not stage.packet(row).size:
            continue
        body = bytearray(stage.packet(row).payload)
        for at, chunk in chunks(bytes(body)):
            place = _sequence_at(chunk)
            if place >= 0:
                for offset in (place, place + 4):
                    (number,) = struct.unpack_from("<I", body, at + offset)
                    struct.pack_into("<I", body, at + offset, number + 1 & 0xFFFFFFFF)
        stage.adjust(row, bytes(body))


class Guest:
    """A client that opens a channel without security, a session, and asks."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self._number = visit, 1
        token = struct.pack("<IIIqI", 0, 7, 3, 0, 3_600_000) + u.string(None)
        ask = struct.pack("<III", 0, 0, 1) + u.string(None) + struct.pack("<I", 3_600_000)
        visit.ask(u.hello(URL), u.ACK)
        visit.ask(u.opening(1, u.request(446, ask, u.node(0))), u.opening(1, u.response(449, token)))
        self.ask(u.create_session(URL, "urn:client"), u.create_session_response(URL, "urn:server"))

    def activate(self) -> None:
        """Give an identity: nobody."""
        who = u.extension(321, u.string("anonymous"))
        nothing = u.string(None) + u.string(None)
        answer = u.response(470, u.string(b"n" * 32) + u.array() + u.array())
        self.ask(u.request(467, nothing + u.array() + u.array() + who + nothing), answer)

    def ask(self, request: bytes, answer: bytes, wait: float = 0.0) -> None:
        """A service and its answer."""
        self._number += 1
        asks, tells = (u.msg(self._number, self._number, body) for body in (request, answer))
        self.visit.ask(asks, tells, wait=wait)


def number(value: float) -> bytes:
    """DataValue of a Double."""
    return u.data_value(u.variant(11, struct.pack("<d", value)))


def written(node: bytes, value: float, token: bytes) -> bytes:
    """WriteRequest of the attribute Value."""
    item = node + struct.pack("<I", VALUE) + u.string(None) + number(value)
    return u.request(673, u.array(item), token)


def accepted() -> bytes:
    """WriteResponse: good."""
    return u.response(676, u.array(GOOD) + u.array())


def busiest(stage: Stage) -> Connection:
    """The connection to an OPC UA server with the most packets, readable or not."""
    return common.busiest(stage, PORT, "OPC UA")
