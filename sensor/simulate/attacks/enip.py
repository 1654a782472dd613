"""Attacks on EtherNet/IP and CIP (ODVA, The CIP Networks Library volumes 1 and 2).

What an engineering station says while it downloads a program is the vendors' own; here it is the services
of the program and routine objects as they were seen (0x4B and on), with invented contents.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sensor.simulate.attacks import common
from sensor.simulate.build import enip as e
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage, Visit

PORT = 44_818
NEEDS = "an EtherNet/IP connection (TCP port 44818) with data both ways"
REGISTER, RR_DATA = 0x65, 0x6F
START, STOP, WRITE_TAG = 0x06, 0x07, 0x4D
PROGRAM, ROUTINE, MODE, FILE = 0x68, 0x6D, 0x8E, 0x37


@dataclass(slots=True)
class Controller:
    """A connection, the handle of its session, and a tag that is read or written in it."""

    talk: Connection
    session: int
    tag: bytes


def controller(stage: Stage) -> Controller:
    """The busiest EtherNet/IP connection in the time of the attack."""
    talk = common.busiest(stage, PORT, "EtherNet/IP")
    session, tag = 0, e.tag("Setpoint")
    for row in talk.rows:
        body = stage.scene.packets[row].payload
        if len(body) >= 24 and body[:2] in (b"\x65\0", b"\x6f\0", b"\x70\0"):
            session = int.from_bytes(body[4:8], "little") or session
            tag = _tag(body) or tag
    if not session:
        raise NotOffered("an EtherNet/IP session (RegisterSession or what follows it)")
    return Controller(talk, session, tag)


def _tag(body: bytes) -> bytes:
    """Path of the tag that a message reads or writes, empty when there is none."""
    for service in (b"\x4c", b"\x4d", b"\x52", b"\x53"):
        at = body.find(service, 30)
        if at > 0 and at + 3 < len(body) and body[at + 2] == 0x91:
            return body[at + 2 : at + 2 + 2 * body[at + 1]]
    return b""


def _rr(session: int, message: bytes, number: int) -> bytes:
    data = bytes(6) + e.items((0, b""), (0xB2, message))
    return e.pdu(RR_DATA, data, struct.pack("<Q", number), session=session)


def _exchange(stage: Stage, found: Controller, ts: int, message: bytes, data: bytes = b"") -> None:
    """An unconnected message and its response inside the client's own session."""
    at, number = stage.gap(found.talk, ts), stage.random.getrandbits(32)
    stage.speak(found.talk, 0, at, _rr(found.session, message, number))
    stage.speak(found.talk, 1, at + 4 * MS, _rr(found.session, e.response(message[0], data), number))
    stage.acknowledge(found.talk, 0, at + 5 * MS)


class Guest:
    """A client that was never there before; it registers a session."""

    def __init__(self, stage: Stage, talk: Connection) -> None:
        self.intruder = stage.intruder(talk.server)
        self.visit: Visit = stage.visit(self.intruder, talk.server, PORT, stage.begin)
        self._session, self._number = stage.random.getrandbits(31) | 1, 0
        version = struct.pack("<HH", 1, 0)
        self.visit.ask(
            e.pdu(REGISTER, version, bytes(8), session=0),
            e.pdu(REGISTER, version, bytes(8), session=self._session),
        )

    def ask(self, message: bytes, data: bytes = b"", wait: float = 0.2) -> None:
        """A message and its response."""
        self._number += 1
        answer = e.response(message[0], data)
        asks, tells = (_rr(self._session, part, self._number) for part in (message, answer))
        self.visit.ask(asks, tells, wait=wait)


@attack("enip-write-stranger", "command", "T0836", "A new client writes a tag of the controller", NEEDS)
def write_stranger(stage: Stage) -> None:
    found = controller(stage)
    guest = Guest(stage, found.talk)
    for value in (0.0, 9999.0, 0.0):
        guest.ask(e.request(WRITE_TAG, found.tag, struct.pack("<HHf", 0xCA, 1, value)), wait=2.0)
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, "a new client writes a tag three times")


@attack(
    "enip-stop", "restart", "T0858",
    "The known client stops the controller (service Stop of its mode object)", NEEDS,
)  # fmt: skip
def stop(stage: Stage) -> None:
    found = controller(stage)
    _exchange(stage, found, stage.begin, e.request(STOP, e.path(MODE, 1)))
    stage.label(found.talk.client, found.talk.server, "Stop in the client's name")


@attack(
    "enip-program-download", "download", "T0843",
    "The known client stops the controller, writes program and routines, and starts it", NEEDS,
)  # fmt: skip
def program_download(stage: Stage) -> None:
    found = controller(stage)
    steps = [e.request(STOP, e.path(MODE, 1)), e.request(0x4B, e.path(PROGRAM, 1), bytes(4))]
    steps += [
        e.request(
            0x4D, e.path(ROUTINE, 1), struct.pack("<IH", block * 200, 200) + stage.random.randbytes(200)
        )
        for block in range(8)
    ]
    steps += [e.request(0x4C, e.path(PROGRAM, 1), bytes(4)), e.request(START, e.path(MODE, 1))]
    for step, ts in zip(steps, stage.times(len(steps), 1.0), strict=True):
        _exchange(stage, found, ts, step)
    stage.label(found.talk.client, found.talk.server, "a program is downloaded in the client's name")


@attack("enip-firmware", "download", "T0857", "A new client writes a file (File object, firmware)", NEEDS)
def firmware(stage: Stage) -> None:
    found = controller(stage)
    guest = Guest(stage, found.talk)
    where = e.path(FILE, 1)
    begin = struct.pack("<IH", 4_000, 1) + bytes([8]) + b"FIRM.BIN"
    guest.ask(e.request(0x4C, where, begin), struct.pack("<IBB", 100, 0, 200))
    for block in range(20):
        if guest.visit.late:
            break
        guest.ask(e.request(0x50, where, bytes([block]) + stage.random.randbytes(200)), bytes([block]))
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, "a new client writes a file of the controller")


@attack("enip-flood", "flood", "T0814", "A new client sends requests without waiting for answers", NEEDS, 10)
def flood(stage: Stage) -> None:
    found = controller(stage)
    note = "a new client floods the controller with requests"
    identity = e.request(1, e.path(1, 1))
    common.flood(stage, found.talk, lambda n: _rr(found.session, identity, n), 100.0, note)


@attack("enip-suppress", "suppression", "T0815", "What the controller answers never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, controller(stage).talk, "the controller's answers are taken out")
