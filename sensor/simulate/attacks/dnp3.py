"""Attacks on DNP3 over TCP (IEEE 1815-2012): link frames with their CRCs, one fragment each."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sensor.simulate.attacks import common, fragments
from sensor.simulate.build import dnp3 as d
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT = 20000
NEEDS = "a DNP3 connection (TCP port 20000) with requests and responses"
DIRECT_OPERATE, COLD_RESTART, WRITE, STOP_APPLICATION, DISABLE, OPEN_FILE = 5, 13, 2, 18, 21, 25


@dataclass(slots=True)
class Outstation:
    """A connection and the link addresses of its ends."""

    talk: Connection
    master: int
    address: int


def outstation(stage: Stage) -> Outstation:
    """The busiest outstation in the time of the attack."""
    talk = common.busiest(stage, PORT, "DNP3")
    for row in talk.rows:
        body = stage.scene.packets[row].payload
        if len(body) >= 10 and body[:2] == b"\x05\x64" and body[3] & 0x80:
            target, source = struct.unpack_from("<HH", body, 4)
            return Outstation(talk, source, target)
    raise NotOffered(NEEDS)


def _request(found: Outstation, function: int, objects: bytes = b"", seq: int = 7) -> bytes:
    return d.request(function, objects, seq=seq, dst=found.address, src=found.master)


def _response(found: Outstation, objects: bytes = b"", seq: int = 7) -> bytes:
    return d.response(objects, seq=seq, dst=found.master, src=found.address)


def _exchange(stage: Stage, found: Outstation, ts: int, function: int, objects: bytes = b"") -> None:
    """A request and its response inside the master's own connection."""
    at = stage.gap(found.talk, ts)
    stage.speak(found.talk, 0, at, _request(found, function, objects))
    stage.speak(found.talk, 1, at + 4 * MS, _response(found, objects if function == DIRECT_OPERATE else b""))
    stage.acknowledge(found.talk, 0, at + 5 * MS)


def _crob(index: int) -> bytes:
    return d.indexed(12, 1, (index, d.crob(0x41)))


@attack(
    "dnp3-operate-master",
    "command",
    "T0855",
    "The known master trips an output, inside its own connection",
    NEEDS,
)
def operate_master(stage: Stage) -> None:
    found = outstation(stage)
    _exchange(stage, found, stage.begin, DIRECT_OPERATE, _crob(66))
    stage.label(found.talk.client, found.talk.server, "direct operate of binary output 66")


@attack("dnp3-operate-stranger", "rogue", "T0848", "A new host operates one output after the other", NEEDS)
def operate_stranger(stage: Stage) -> None:
    found = outstation(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for index in range(10):
        request, answer = (make(found, seq=index) for make in (_read_all, _answer))
        if index:
            request = _request(found, DIRECT_OPERATE, _crob(index), index)
            answer = _response(found, _crob(index), index)
        visit.ask(request, answer, wait=0.5)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host reads all, then operates outputs 1 to 9")


def _read_all(found: Outstation, seq: int) -> bytes:
    return _request(found, 1, d.everything(60, 1), seq)


def _answer(found: Outstation, seq: int) -> bytes:
    return _response(found, b"", seq)


@attack(
    "dnp3-cold-restart", "restart", "T0816", "The known master restarts the outstation (function 13)", NEEDS
)
def cold_restart(stage: Stage) -> None:
    found = outstation(stage)
    _exchange(stage, found, stage.begin, COLD_RESTART)
    stage.label(found.talk.client, found.talk.server, "cold restart in the master's name")


@attack(
    "dnp3-stop-application", "restart", "T0858", "The known master stops an application (function 18)", NEEDS
)
def stop_application(stage: Stage) -> None:
    found = outstation(stage)
    _exchange(stage, found, stage.begin, STOP_APPLICATION)
    stage.label(found.talk.client, found.talk.server, "stop application in the master's name")


@attack(
    "dnp3-disable-unsolicited",
    "suppression",
    "T0804",
    "The known master switches reports off (function 21)",
    NEEDS,
)
def disable(stage: Stage) -> None:
    found = outstation(stage)
    classes = b"".join(d.everything(60, variation) for variation in (2, 3, 4))
    _exchange(stage, found, stage.begin, DISABLE, classes)
    stage.label(found.talk.client, found.talk.server, "disable unsolicited responses")


@attack("dnp3-time", "time", "T0855", "The known master sets the outstation's clock back by a day", NEEDS)
def wrong_time(stage: Stage) -> None:
    found = outstation(stage)
    ms = max(0, stage.begin // MS - 86_400_000)
    _exchange(stage, found, stage.begin, WRITE, bytes([50, 1, 7, 1]) + d.time(ms))
    stage.label(found.talk.client, found.talk.server, "time and date written, one day back")


@attack("dnp3-file", "download", "T0843", "A new host opens a file of the outstation for writing", NEEDS)
def file(stage: Stage) -> None:
    found = outstation(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    objects = d.free(70, 3, d.file_command(b"/config/firmware.bin", mode=2))
    visit.ask(_request(found, OPEN_FILE, objects), _response(found), wait=0.5)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host opens a file for writing")


@attack("dnp3-flood", "flood", "T0814", "A new host sends class polls without waiting", NEEDS, 10)
def flood(stage: Stage) -> None:
    found = outstation(stage)
    note = "a new host floods the outstation with reads"
    common.flood(stage, found.talk, lambda n: _read_all(found, n & 15), 100.0, note)


common.register_values(
    "dnp3", "analog inputs", NEEDS, lambda stage: outstation(stage).talk, fragments.with_numbers
)


@attack("dnp3-suppress", "suppression", "T0815", "What the outstation answers never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, outstation(stage).talk, "the outstation's answers are taken out")
