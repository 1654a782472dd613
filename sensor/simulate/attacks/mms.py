"""Attacks on MMS (ISO 9506, IEC 61850-8-1) inside an association that exists."""

from __future__ import annotations

from sensor.simulate.attacks import common
from sensor.simulate.build import iso
from sensor.simulate.build.ber import ber
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT = 102
NEEDS = "an MMS association (TCP port 102) with requests and responses"
READ, WRITE, NAMES, DELETE = 4, 5, 1, 76
DOMAIN = "LD0"


def association(stage: Stage) -> Connection:
    """The busiest MMS association in the time of the attack."""
    for talk in stage.scene.talks(PORT):
        if not stage.rows(talk.rows):
            continue
        payloads = (stage.scene.packets[row].payload for row in talk.rows)
        if any(body[4:7] == b"\x02\xf0\x80" and body[7:11] == b"\1\0\1\0" for body in payloads):
            return talk
    raise NotOffered(NEEDS)


def _exchange(stage: Stage, talk: Connection, ts: int, request: bytes, answer: bytes) -> None:
    at, invoke = stage.gap(talk, ts), 0x6600 + stage.random.randrange(256)
    stage.speak(talk, 0, at, iso.mms(iso.confirmed(0xA0, invoke, request)))
    stage.speak(talk, 1, at + 4 * MS, iso.mms(iso.confirmed(0xA1, invoke, answer)))
    stage.acknowledge(talk, 0, at + 5 * MS)


@attack(
    "mms-operate",
    "command",
    "T0855",
    "The known client operates a switch (Oper), inside its own association",
    NEEDS,
)
def operate(stage: Stage) -> None:
    talk = association(stage)
    names = iso.variable_list(iso.item(DOMAIN, "CSWI1$CO$Pos$Oper$ctlVal"))
    request = iso.service(WRITE, names + ber(0xA0, ber(0x83, b"\x01")))
    _exchange(stage, talk, stage.begin, request, iso.service(WRITE, ber(0x81, b"")))
    stage.label(talk.client, talk.server, "write of CSWI1$CO$Pos$Oper$ctlVal in the client's name")


@attack(
    "mms-setting",
    "command",
    "T0836",
    "The known client writes a protection setting, inside its association",
    NEEDS,
)
def setting(stage: Stage) -> None:
    talk = association(stage)
    names = iso.variable_list(iso.item(DOMAIN, "PTOC1$SP$StrVal$setMag$f"))
    request = iso.service(WRITE, names + ber(0xA0, ber(0x87, bytes.fromhex("0847c35000"))))
    _exchange(stage, talk, stage.begin, request, iso.service(WRITE, ber(0x81, b"")))
    stage.label(talk.client, talk.server, "write of PTOC1$SP$StrVal in the client's name")


@attack(
    "mms-scan-names",
    "scan",
    "T0861",
    "The known client walks over the names of a server that it knows",
    NEEDS,
)
def scan_names(stage: Stage) -> None:
    talk = association(stage)
    for kind, ts in zip((9, 0, 2, 8), stage.times(4, 2.0), strict=True):
        scope = ber(0x80, b"") if kind == 9 else ber(0x81, DOMAIN.encode())
        request = iso.service(NAMES, ber(0xA0, ber(0x80, bytes([kind]))) + ber(0xA1, scope))
        answer = iso.service(NAMES, ber(0xA0, ber(0x1A, b"LLN0")) + ber(0x81, b"\0"))
        _exchange(stage, talk, ts, request, answer)
    stage.label(talk.client, talk.server, "getNameList over domains, variables, lists and journals")


@attack("mms-file-delete", "download", "T0809", "The known client deletes a file of the server", NEEDS)
def file_delete(stage: Stage) -> None:
    talk = association(stage)
    request = iso.service(DELETE, ber(0x19, b"COMTRADE/fault.dat"))
    _exchange(stage, talk, stage.begin, request, iso.service(DELETE, b"", primitive=True))
    stage.label(talk.client, talk.server, "fileDelete of COMTRADE/fault.dat")


@attack("mms-suppress", "suppression", "T0804", "What the server answers and reports never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, association(stage), "the server's answers are taken out")


@attack("mms-delay", "delay", "T0814", "What the server answers arrives late and irregularly", NEEDS)
def delay(stage: Stage) -> None:
    common.delay(stage, association(stage), 0.1, 0.8, "answers come 0.1 to 0.8 s late")
