"""Attacks on S7comm (as Wireshark reads it) inside a connection that exists."""

from __future__ import annotations

import struct

from sensor.simulate.attacks import common
from sensor.simulate.build import iso
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT = 102
NEEDS = "an S7comm connection (TCP port 102) with jobs and answers"
JOB, ANSWER, WRITE, STOP = 1, 3, 5, 0x29


def controller(stage: Stage) -> Connection:
    """The busiest S7comm connection in the time of the attack."""
    for talk in stage.scene.talks(PORT):
        if stage.rows(talk.rows) and any(stage.scene.packets[r].payload[7:8] == b"\x32" for r in talk.rows):
            return talk
    raise NotOffered(NEEDS)


def _job(stage: Stage, talk: Connection, ts: int, parameters: bytes, data: bytes, done: bytes) -> None:
    at, ref = stage.gap(talk, ts, 40 * MS), 0x6600 + stage.random.randrange(256)
    stage.speak(talk, 0, at, iso.s7(JOB, ref, parameters, data))
    answer = b"\xff" if parameters[0] == WRITE else b""
    stage.speak(talk, 1, at + 4 * MS, iso.s7(ANSWER, ref, done, answer))
    stage.acknowledge(talk, 0, at + 5 * MS)


@attack(
    "s7comm-write",
    "command",
    "T0855",
    "The known client writes a data block, inside its own connection",
    NEEDS,
)
def write(stage: Stage) -> None:
    talk = controller(stage)
    parameters = iso.s7_items(WRITE, iso.s7_item(0x84, 66, 0))
    data = struct.pack("!BBH", 0, 3, 1) + b"\x01"  # one bit
    _job(stage, talk, stage.begin, parameters, data, bytes([WRITE, 1]))
    stage.label(talk.client, talk.server, "write of DB66.DBX0.0 in the client's name")


@attack("s7comm-stop", "restart", "T0881", "The known client stops the controller (PLC Stop)", NEEDS)
def stop(stage: Stage) -> None:
    talk = controller(stage)
    _job(stage, talk, stage.begin, iso.s7_text(STOP, 5, "P_PROGRAM"), b"", bytes([STOP]))
    stage.label(talk.client, talk.server, "PLC Stop in the client's name")


@attack(
    "s7comm-download", "download", "T0843", "The known client downloads a block (functions 1A to 1C)", NEEDS
)
def download(stage: Stage) -> None:
    talk = controller(stage)
    name = "_0800001P"
    for function, ts in zip((0x1A, 0x1C), stage.times(2, 2.0), strict=True):
        parameters = bytes([function, 0]) + bytes(6) + bytes([len(name)]) + name.encode()
        if function == 0x1A:
            parameters += b"\x0d1000202000152"
        _job(stage, talk, ts, parameters, b"", bytes([function]))
    stage.label(talk.client, talk.server, "download of OB1 in the client's name")


@attack("s7comm-suppress", "suppression", "T0815", "What the controller answers never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, controller(stage), "the controller's answers are taken out")
