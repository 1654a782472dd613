"""Attacks on S7comm (as Wireshark reads it) inside a connection that exists.

Data blocks and program blocks are those that the connection names; else usual ones.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from sensor.simulate.attacks import common
from sensor.simulate.attacks.common import Number
from sensor.simulate.attacks.mmsvalues import tpkts
from sensor.simulate.build import iso
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT = 102
NEEDS = "an S7comm connection (TCP port 102) with jobs and answers"
JOB, ANSWER, READ, WRITE, STOP = 1, 3, 4, 5, 0x29
DATA_BLOCK: Final = 0x84
REAL: Final = 7
GOOD: Final = 0xFF
IN_BITS: Final = (3, 4, 5)
"""Transport sizes whose length counts bits; the others count octets."""

BLOCK: Final = re.compile(rb"_0[0-9A-F]\d{5}[AP]")
"""Name of a block of a program: type, number, file system."""


def controller(stage: Stage) -> Connection:
    """The busiest S7comm connection in the time of the attack."""
    for talk in stage.scene.talks(PORT):
        if stage.rows(talk.rows) and any(stage.scene.packets[r].payload[7:8] == b"\x32" for r in talk.rows):
            return talk
    raise NotOffered(NEEDS)


def messages(payload: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """(ROSCTR, offset of the parameters, of the data, end, function) of the messages of a segment."""
    for at, end in tpkts(payload):
        head = at + 7
        if payload[at + 4 : at + 8] != b"\x02\xf0\x80\x32" or head + 10 > end:
            continue
        kind = payload[head + 1]
        parameters = head + (12 if kind in (2, 3) else 10)
        sizes = struct.unpack_from("!HH", payload, head + 6)
        data = parameters + sizes[0]
        if sizes[0] and data + sizes[1] <= end:
            yield kind, parameters, data, data + sizes[1], payload[parameters]


def with_numbers(payload: bytes, change: Number) -> bytes:
    """A segment in which what is read is changed: REALs, and words of 16 bits with a sign in all else."""
    out = bytearray(payload)
    for kind, _, at, end, function in messages(payload):
        while kind == ANSWER and function == READ and at + 4 <= end:
            code, sort, size = struct.unpack_from("!BBH", payload, at)
            octets = (size + 7) // 8 if sort in IN_BITS else size
            if code == GOOD and at + 4 + octets <= end:
                _item(out, at + 4, octets, sort, change)
            at += 4 + octets + octets % 2
    return bytes(out)


def _item(out: bytearray, at: int, size: int, sort: int, change: Number) -> None:
    form, width = ("!f", 4) if sort == REAL else ("!h", 2)
    for place in range(at, at + size - width + 1, width):
        (value,) = struct.unpack_from(form, out, place)
        made = change((len(out), place), value)
        if sort == REAL:
            struct.pack_into(form, out, place, max(-3e38, min(3e38, made)))
        else:
            struct.pack_into(form, out, place, max(-32_768, min(32_767, round(made))))


def _blocks(stage: Stage, talk: Connection) -> tuple[int, str]:
    """A data block that the client reads, and a program block that was moved; else 66 and OB1."""
    data, program = 66, "_0800001P"
    for row in talk.rows:
        payload = stage.scene.packets[row].payload
        for kind, at, end, _, function in messages(payload):
            named = BLOCK.search(payload, at, end)
            program = named.group().decode() if named else program
            while kind == JOB and function == READ and at + 14 <= end:
                if payload[at + 2 : at + 5] == b"\x12\x0a\x10" and payload[at + 10] == DATA_BLOCK:
                    data = int.from_bytes(payload[at + 8 : at + 10], "big")
                at += 12
    return data, program


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
    block, _ = _blocks(stage, talk)
    parameters = iso.s7_items(WRITE, iso.s7_item(DATA_BLOCK, block, 0))
    data = struct.pack("!BBH", 0, 4, 8) + b"\x01"  # one octet
    _job(stage, talk, stage.begin, parameters, data, bytes([WRITE, 1]))
    stage.label(talk.client, talk.server, f"write of DB{block}.DBB0 in the client's name")


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
    _, name = _blocks(stage, talk)
    name = name[:-1] + "P"
    for function, ts in zip((0x1A, 0x1C), stage.times(2, 2.0), strict=True):
        parameters = bytes([function, 0]) + bytes(6) + bytes([len(name)]) + name.encode()
        if function == 0x1A:
            parameters += b"\x0d1000202000152"
        _job(stage, talk, ts, parameters, b"", bytes([function]))
    stage.label(talk.client, talk.server, f"download of block {name} in the client's name")


common.register_values("s7comm", "variables", NEEDS, controller, with_numbers)


@attack("s7comm-suppress", "suppression", "T0815", "What the controller answers never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, controller(stage), "the controller's answers are taken out")
