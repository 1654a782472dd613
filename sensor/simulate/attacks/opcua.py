"""Attacks on OPC UA (IEC 62541-4, -6): channels without security, sessions, writes, browsing."""

from __future__ import annotations

import struct

from sensor.simulate.attacks import common
from sensor.simulate.attacks import uachunks as c
from sensor.simulate.build import opcua as u
from sensor.simulate.registry import attack
from sensor.simulate.stage import SECOND, NotOffered, Stage

ANY = "an OPC UA connection (TCP port 4840) with data both ways"
OBJECTS = 85
"""The folder in which every address space begins (IEC 62541-5)."""


def _node(stage: Stage) -> bytes:
    """A node that a client reads; where nothing can be read, one with a usual number."""
    try:
        return c.channel(stage).read.node
    except NotOffered:
        return u.node(1001, 2)


@attack("opcua-write-stranger", "command", "T0836", "A new client writes a node", ANY)
def write_stranger(stage: Stage) -> None:
    talk = c.busiest(stage)
    intruder, node = stage.intruder(talk.server), _node(stage)
    guest = c.Guest(stage.visit(intruder, talk.server, c.PORT, stage.begin))
    guest.activate()
    for value in (0.0, 9999.0, 0.0):
        guest.ask(c.written(node, value, u.node(1001)), c.accepted(), wait=2.0)
    guest.visit.close()
    stage.label(intruder.ip, talk.server, "a new client writes a node three times")


@attack(
    "opcua-write-client", "command", "T0836",
    "The known client writes a node that it reads, inside its own channel", c.NEEDS,
)  # fmt: skip
def write_client(stage: Stage) -> None:
    found = c.channel(stage)
    request = c.written(found.read.node, 9999.0, found.read.token)
    c.exchange(stage, found, stage.begin, request, c.accepted())
    stage.label(found.talk.client, found.talk.server, "a write in the client's name")


@attack("opcua-browse", "scan", "T0861", "A new client walks through the address space", ANY)
def browse(stage: Stage) -> None:
    talk = c.busiest(stage)
    intruder = stage.intruder(talk.server)
    guest = c.Guest(stage.visit(intruder, talk.server, c.PORT, stage.begin))
    guest.activate()
    nothing = c.GOOD + u.string(None) + u.array()
    for ident in range(OBJECTS, OBJECTS + 80):
        if guest.visit.late:
            break
        guest.ask(u.browse(u.node(ident)), u.response(530, u.array(nothing) + u.array()), wait=0.2)
    guest.visit.close()
    stage.label(intruder.ip, talk.server, "a new client browses node after node")


@attack("opcua-session-flood", "flood", "T0814", "A new client opens sessions and leaves them open", ANY, 10)
def session_flood(stage: Stage) -> None:
    talk = c.busiest(stage)
    intruder, ts = stage.intruder(talk.server), stage.begin
    for number in range(60):
        guest = c.Guest(
            stage.visit_from(intruder, talk.server, c.PORT, ts)
            if number
            else stage.visit(intruder, talk.server, c.PORT, ts)
        )
        ts = guest.visit.ts + round(stage.random.uniform(0.02, 0.08) * SECOND)
        if ts >= stage.until:
            break
    stage.label(intruder.ip, talk.server, "sessions are opened and never closed")


@attack(
    "opcua-downgrade", "middle", "T0830",
    "A client whose channels are encrypted comes back without security, and reads and writes", c.HIDDEN,
)  # fmt: skip
def downgrade(stage: Stage) -> None:
    talk = c.encrypted(stage)
    guest = c.Guest(stage.visit_as(talk.client, talk.server, c.PORT, stage.begin))
    guest.activate()
    node = u.node(1001, 2)
    for _ in range(3):
        guest.ask(u.read(node), u.read_response(c.number(20.0)), wait=1.0)
    guest.ask(c.written(node, 0.0, u.node(1001)), c.accepted(), wait=1.0)
    guest.visit.close()
    stage.label(talk.client, talk.server, "a channel without security between hosts that encrypt")


@attack("opcua-suppress", "suppression", "T0815", "What the server answers never arrives", ANY)
def suppress(stage: Stage) -> None:
    common.suppress(stage, c.busiest(stage), "the server's answers are taken out")


@attack(
    "opcua-value-shift", "middle", "T0832",
    "Double values are raised by two fifths on their way to the client", c.NEEDS, 180,
)  # fmt: skip
def value_shift(stage: Stage) -> None:
    common.change_values(stage, c.channel(stage).talk, _raised, "values × 1.4 in flight")


def _raised(payload: bytes, _: int) -> bytes:
    """Doubles of ReadResponses with one value, raised."""
    out = bytearray(payload)
    for at, chunk in c.chunks(payload):
        place = _double(chunk)
        if place > 0:
            (value,) = struct.unpack_from("<d", chunk, place)
            struct.pack_into("<d", out, at + place, value * common.RAISED)
    return bytes(out)


def _double(chunk: bytes) -> int:
    """Offset of the Double that a ReadResponse holds first, 0 when there is none."""
    at = c.HEAD + 4 + 16  # service; time stamp, handle, result
    if chunk[:3] != b"MSG" or chunk[c.HEAD : c.HEAD + 4] != u.service(634) or len(chunk) < at + 14:
        return 0
    if chunk[at]:  # diagnostics
        return 0
    at += 1
    if int.from_bytes(chunk[at : at + 4], "little", signed=True) > 0:  # string table
        return 0
    at += 4 + 3  # additional header: null
    if at + 14 > len(chunk) or chunk[at + 4] & 1 == 0 or chunk[at + 5] != 11:
        return 0
    return at + 6
