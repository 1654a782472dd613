"""Attacks on MMS (ISO 9506, IEC 61850-8-1) inside an association that exists.

Objects are those that the association names, where it names any of the kind; else usual names.
"""

from __future__ import annotations

from sensor.simulate.attacks import common
from sensor.simulate.attacks import mmsvalues as v
from sensor.simulate.build import iso
from sensor.simulate.build.ber import ber
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT = 102
NEEDS = "an MMS association (TCP port 102) with requests and responses"
READ, WRITE, NAMES, DELETE = 4, 5, 1, 76
DOMAIN = "LD0"
SWITCH, SETTING, RECORD = "CSWI1$CO$Pos$Oper$ctlVal", "PTOC1$SP$StrVal$setMag$f", "COMTRADE/fault.dat"
OPERATE = ("$Oper", "$Oper$ctlVal")


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


def _write(stage: Stage, constraint: str, ends: tuple[str, ...], usual: str, data: bytes) -> None:
    """Write an item of a functional constraint that the association names, else the usual one."""
    talk = association(stage)
    known = v.names(stage.scene, talk)
    domain = (known.domains or [DOMAIN])[0]
    where, item = known.item(constraint, ends) or (domain, usual)
    if item.endswith("$Oper"):  # the whole structure: value, originator, number, time, test, check
        rest = ber(0xA2, ber(0x85, b"\3") + ber(0x89, b"")) + ber(0x86, b"\0") + ber(0x91, bytes(8))
        data = ber(0xA2, data + rest + ber(0x83, b"\0") + ber(0x84, b"\6\0"))
    request = iso.service(WRITE, iso.variable_list(iso.item(where, item)) + ber(0xA0, data))
    _exchange(stage, talk, stage.begin, request, iso.service(WRITE, ber(0x81, b"")))
    stage.label(talk.client, talk.server, f"write of {where}/{item} in the client's name")


@attack(
    "mms-operate",
    "command",
    "T0855",
    "The known client operates a switch (Oper), inside its own association",
    NEEDS,
)
def operate(stage: Stage) -> None:
    _write(stage, "CO", OPERATE, SWITCH, ber(0x83, b"\x01"))


@attack(
    "mms-setting",
    "command",
    "T0836",
    "The known client writes a protection setting, inside its association",
    NEEDS,
)
def setting(stage: Stage) -> None:
    _write(stage, "SP", ("$f",), SETTING, ber(0x87, bytes.fromhex("0847c35000")))


@attack(
    "mms-scan-names",
    "scan",
    "T0861",
    "The known client walks over the names of a server that it knows",
    NEEDS,
)
def scan_names(stage: Stage) -> None:
    talk = association(stage)
    domains = v.names(stage.scene, talk).domains[:4] or [DOMAIN]
    walk = [(9, "")] + [(kind, domain) for domain in domains for kind in (0, 2, 8)]
    for (kind, domain), ts in zip(walk, stage.times(len(walk), 2.0), strict=True):
        scope = ber(0x81, domain.encode()) if domain else ber(0x80, b"")
        request = iso.service(NAMES, ber(0xA0, ber(0x80, bytes([kind]))) + ber(0xA1, scope))
        answer = iso.service(NAMES, ber(0xA0, ber(0x1A, b"LLN0")) + ber(0x81, b"\0"))
        _exchange(stage, talk, ts, request, answer)
    stage.label(talk.client, talk.server, "getNameList over domains, variables, lists and journals")


@attack("mms-file-delete", "download", "T0809", "The known client deletes a file of the server", NEEDS)
def file_delete(stage: Stage) -> None:
    talk = association(stage)
    name = (v.names(stage.scene, talk).files or [RECORD])[0]
    request = iso.service(DELETE, ber(0x19, name.encode("ascii", "replace")))
    _exchange(stage, talk, stage.begin, request, iso.service(DELETE, b"", primitive=True))
    stage.label(talk.client, talk.server, f"fileDelete of {name}")


common.register_values("mms", "measured values", NEEDS, association, v.with_numbers)


@attack("mms-suppress", "suppression", "T0804", "What the server answers and reports never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    common.suppress(stage, association(stage), "the server's answers are taken out")


@attack("mms-delay", "delay", "T0814", "What the server answers arrives late and irregularly", NEEDS)
def delay(stage: Stage) -> None:
    common.delay(stage, association(stage), 0.1, 0.8, "answers come 0.1 to 0.8 s late")
