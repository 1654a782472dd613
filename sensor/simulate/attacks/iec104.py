"""Attacks on IEC 60870-5-104 (edition 2006; elements from 60870-5-101)."""

from __future__ import annotations

from sensor.simulate.attacks import common
from sensor.simulate.attacks.apdus import (
    DOUBLE,
    FLOAT,
    MEASURED,
    NEEDS,
    PORT,
    SINGLE,
    Link,
    Station,
    apdus,
    commanded,
    is_i,
    scaled,
    station,
    with_elements,
)  # fmt: skip
from sensor.simulate.build import iec104 as i
from sensor.simulate.registry import attack
from sensor.simulate.stage import SECOND, NotOffered, Stage, Visit

ACT, ACT_CON, ACT_TERM, REQUEST = 6, 7, 10, 5
UNKNOWN_CA, UNKNOWN_IOA = 46, 47
DAY = 86_400 * SECOND


class Guest:
    """A controlling station that was never there before: it opens a connection and starts data transfer."""

    def __init__(self, stage: Stage, found: Station) -> None:
        self.intruder = stage.intruder(found.talk.server)
        self.visit: Visit = stage.visit(self.intruder, found.talk.server, PORT, stage.begin)
        self._sent = self._received = 0
        self.visit.ask(i.apci_u(i.STARTDT_ACT), i.apci_u(i.STARTDT_CON))

    def ask(self, asdu: bytes, *answers: bytes, wait: float = 0.1) -> None:
        """An ASDU and what the station answers."""
        request = i.apci_i(self._sent, self._received, asdu)
        self._sent += 1
        frames = [i.apci_i(self._received + n, self._sent, answer) for n, answer in enumerate(answers)]
        self._received += len(answers)
        self.visit.ask(request, b"".join(frames), wait=wait)


def _command(
    found: Station, kind: int, ioa: int, element: bytes, cot: int = ACT, negative: bool = False
) -> bytes:
    return i.asdu(kind, cot, found.ca, [(ioa, element)], oa=found.oa, negative=negative)


# --- scans ------------------------------------------------------------------------------------------------


@attack(
    "iec104-scan-ca", "scan", "T0846", "A new host interrogates one common address after the other", NEEDS
)
def scan_ca(stage: Stage) -> None:
    found = station(stage)
    guest = Guest(stage, found)
    for ca in range(1, 41):
        if guest.visit.late:
            break
        ask = i.asdu(100, ACT, ca, [(0, i.e_interrogation())])
        known = ca == found.ca
        answer = i.asdu(
            100, ACT_CON if known else UNKNOWN_CA, ca, [(0, i.e_interrogation())], negative=not known
        )
        guest.ask(ask, answer, wait=0.3)
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, "a new host interrogates common addresses 1 to 40")


@attack("iec104-scan-ioa", "scan", "T0861", "A new host reads object addresses one by one (C_RD_NA_1)", NEEDS)
def scan_ioa(stage: Stage) -> None:
    found = station(stage)
    guest = Guest(stage, found)
    start = max(1, min(found.points) - 20)
    for ioa in range(start, start + 80):
        if guest.visit.late:
            break
        answer = i.asdu(102, UNKNOWN_IOA, found.ca, [(ioa, b"")], negative=True)
        if found.points.get(ioa) in FLOAT:
            answer = i.asdu(13, REQUEST, found.ca, [(ioa, i.e_float(0.0))])
        guest.ask(i.asdu(102, REQUEST, found.ca, [(ioa, b"")]), answer, wait=0.2)
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, f"a new host reads IOA {start} and on")


# --- commands ---------------------------------------------------------------------------------------------


@attack(
    "iec104-command-stranger", "rogue", "T0848",
    "A rogue master: a new host starts data transfer, interrogates, and opens what answers", NEEDS,
)  # fmt: skip
def command_stranger(stage: Stage) -> None:
    found = station(stage)
    guest = Guest(stage, found)
    general = [(0, i.e_interrogation())]
    answers = [i.asdu(100, cot, found.ca, general) for cot in (ACT_CON, ACT_TERM)]
    guest.ask(i.asdu(100, ACT, found.ca, general), *answers, wait=2.0)
    for ioa in range(4001, 4009):
        for select in (True, False):
            element = i.e_double_command(1, select)
            guest.ask(
                i.asdu(46, ACT, found.ca, [(ioa, element)]), i.asdu(46, ACT_CON, found.ca, [(ioa, element)])
            )
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, "rogue master: STARTDT, interrogation, double commands")


@attack(
    "iec104-command-master", "command", "T0855",
    "The known master commands an object that it never commanded, inside its own connection", NEEDS,
)  # fmt: skip
def command_master(stage: Stage) -> None:
    found = station(stage)
    used = {int.from_bytes(asdu[6:9], "little") for asdu in found.commands}
    ioa = next(n for n in range(max(found.points) + 1, max(found.points) + 99) if n not in used)
    link, (ts,) = Link(stage, found.talk), stage.times(1, 1.0)
    for select in (True, False):
        element = i.e_double_command(2, select)
        link.exchange(ts, _command(found, 46, ioa, element), _command(found, 46, ioa, element, ACT_CON))
        ts += 2 * SECOND
    link.settle()
    stage.label(found.talk.client, found.talk.server, f"the master switches CA {found.ca} IOA {ioa} on")


@attack(
    "iec104-slow-command", "slow", "T0855",
    "The known master sends one set-point an hour (a few times in a short capture), inside its connection",
    NEEDS, 86_400,
)  # fmt: skip
def slow_command(stage: Stage) -> None:
    found = station(stage)
    link, ioa = Link(stage, found.talk), max(found.points) + 7
    for number, ts in enumerate(stage.times(max(3, min(24, int(stage.span // 3600))), 3600.0), 1):
        element = i.e_setpoint_float(50.0 - number)
        link.exchange(ts, _command(found, 50, ioa, element), _command(found, 50, ioa, element, ACT_CON))
    link.settle()
    stage.label(found.talk.client, found.talk.server, f"now and then a set-point to IOA {ioa}")


@attack(
    "iec104-replay-command", "replay", "T0855",
    "A recorded command comes again inside the master's connection, with numbers that fit",
    "an IEC 60870-5-104 command (types 45 to 69)",
)  # fmt: skip
def replay_command(stage: Stage) -> None:
    found = commanded(stage)
    link = Link(stage, found.talk)
    for asdu, ts in zip(found.commands[-2:], stage.times(2, 3.0), strict=False):
        link.exchange(ts, asdu, asdu[:2] + bytes([asdu[2] & 0xC0 | ACT_CON]) + asdu[3:])
    link.settle()
    stage.label(found.talk.client, found.talk.server, "recorded commands again, with fresh numbers")


@attack(
    "iec104-replay", "replay", "T0855",
    "A recorded session comes again from the master's address, byte by byte", NEEDS, 30,
)  # fmt: skip
def replay(stage: Stage) -> None:
    common.replay_requests(stage, station(stage).talk, "recorded APDUs of the master in a new connection")


# --- values changed in flight -----------------------------------------------------------------------------


@attack(
    "iec104-value-shift", "middle", "T0832", "Measured values are raised by two fifths in flight", NEEDS, 180
)
def value_shift(stage: Stage) -> None:
    found = station(stage)
    common.change_values(
        stage,
        found.talk,
        lambda body, _: with_elements(body, lambda kind, _, e: scaled(kind, e, lambda v: v * 1.4)),
        "measured values × 1.4 in flight",
    )


@attack(
    "iec104-value-freeze",
    "frozen",
    "T0832",
    "Measured values stand still on their way to the master",
    NEEDS,
    300,
)
def value_freeze(stage: Stage) -> None:
    found, kept = station(stage), dict[tuple[int, int], bytes]()

    def frozen(kind: int, ioa: int, element: bytes) -> bytes:
        if kind not in MEASURED:
            return element
        size = 4 if kind in FLOAT else 2
        return kept.setdefault((kind, ioa), element[:size]) + element[size:]

    common.change_values(
        stage,
        found.talk,
        lambda body, _: with_elements(body, frozen),
        "measured values stand still in flight",
    )


@attack(
    "iec104-value-drift",
    "frozen",
    "T0832",
    "Measured values creep away on their way to the master",
    NEEDS,
    300,
)
def value_drift(stage: Stage) -> None:
    found, span = station(stage), max(1.0, stage.span)

    def drifting(body: bytes, age: int) -> bytes:
        factor = 1 + 0.5 * age / SECOND / span
        return with_elements(body, lambda kind, _, e: scaled(kind, e, lambda v: v * factor))

    common.change_values(stage, found.talk, drifting, "measured values creep up to × 1.5 in flight")


@attack("iec104-status-flip", "middle", "T0832", "Positions are shown inverted to the master", NEEDS, 600)
def status_flip(stage: Stage) -> None:
    found = station(stage)

    def flipped(kind: int, _: int, element: bytes) -> bytes:
        if kind in SINGLE:
            return bytes([element[0] ^ 1]) + element[1:]
        if kind in DOUBLE and element[0] & 3 in (1, 2):
            return bytes([element[0] ^ 3]) + element[1:]
        return element

    common.change_values(
        stage, found.talk, lambda body, _: with_elements(body, flipped), "single and double points inverted"
    )


# --- flood, suppression, delay ----------------------------------------------------------------------------


@attack(
    "iec104-flood", "flood", "T0814", "A new host sends interrogations without waiting for answers", NEEDS, 10
)
def flood(stage: Stage) -> None:
    found = station(stage)
    asdu = i.asdu(100, ACT, found.ca, [(0, i.e_interrogation())])
    common.flood(
        stage,
        found.talk,
        lambda n: i.apci_i(n - 1, 0, asdu) if n else i.apci_u(i.STARTDT_ACT),
        100.0,
        "a new host floods the station with general interrogations",
    )


@attack(
    "iec104-block-reports", "suppression", "T0804",
    "Spontaneous and cyclic reports are taken out, the numbers behind them put right", NEEDS, 180,
)  # fmt: skip
def block_reports(stage: Stage) -> None:
    found = station(stage)
    link, blocked = Link(stage, found.talk), 0
    for row in common.payload_rows(stage, found.talk, 1):
        inside = [apdu for _, apdu in apdus(stage.packet(row).payload)]
        if inside and all(is_i(apdu) and apdu[6] < 45 and apdu[8] & 63 in (1, 2, 3) for apdu in inside):
            link.block(row, len(inside))
            blocked += 1
    if not blocked:
        raise NotOffered("spontaneous or cyclic reports during the attack")
    link.settle()
    stage.label(found.talk.server, found.talk.client, "reports are taken out of the connection")


@attack(
    "iec104-stopdt",
    "suppression",
    "T0804",
    "Somebody stops data transfer in the master's name (STOPDT)",
    NEEDS,
    30,
)
def stopdt(stage: Stage) -> None:
    found = station(stage)
    link = Link(stage, found.talk)
    link.control(stage.begin, i.STOPDT_ACT, i.STOPDT_CON)
    link.control(stage.begin + 5 * SECOND, i.STARTDT_ACT, i.STARTDT_CON)
    stage.label(found.talk.client, found.talk.server, "STOPDT, later STARTDT, in the master's name")


@attack("iec104-delay", "delay", "T0814", "What the station sends arrives late and irregularly", NEEDS, 120)
def delay(stage: Stage) -> None:
    common.delay(stage, station(stage).talk, 1.0, 6.0, "the station's segments come 1 to 6 s late")


# --- restart, clock, files --------------------------------------------------------------------------------


@attack(
    "iec104-reset", "restart", "T0816", "The known master resets the station's process (C_RP_NA_1)", NEEDS
)
def reset(stage: Stage) -> None:
    found = station(stage)
    link = Link(stage, found.talk)
    link.exchange(stage.begin, _command(found, 105, 0, b"\x01"), _command(found, 105, 0, b"\x01", ACT_CON))
    link.settle()
    stage.label(found.talk.client, found.talk.server, "C_RP_NA_1 in the master's name")


@attack(
    "iec104-clock",
    "time",
    "T0855",
    "The known master sets the station's clock back by a day (C_CS_NA_1)",
    NEEDS,
)
def clock(stage: Stage) -> None:
    found = station(stage)
    link, wrong = Link(stage, found.talk), i.cp56(max(0, stage.begin - DAY))
    link.exchange(stage.begin, _command(found, 103, 0, wrong), _command(found, 103, 0, wrong, ACT_CON))
    link.settle()
    stage.label(found.talk.client, found.talk.server, "clock command one day back in the master's name")


@attack(
    "iec104-file", "download", "T0843", "A new host transfers a file to the station (types 120 to 125)", NEEDS
)
def file(stage: Stage) -> None:
    found = station(stage)
    guest = Guest(stage, found)
    name = b"\x01\x00"
    ready = name + (2_000).to_bytes(3, "little") + b"\x00"

    def part(kind: int, body: bytes) -> bytes:
        return i.asdu(kind, 13, found.ca, [(1, body)])

    guest.ask(part(120, ready), part(122, name + b"\x00\x02"))  # file ready; request
    guest.ask(part(121, name + b"\x01" + ready[2:]), part(122, name + b"\x01\x06"))  # section ready; request
    for _ in range(10):
        octets = stage.random.randbytes(200)
        guest.ask(part(125, name + b"\x01" + bytes([len(octets)]) + octets), wait=0.05)
    guest.ask(part(123, name + b"\x01\x03\x00"), part(124, name + b"\x01\x03"))  # last segment; acknowledge
    guest.visit.close()
    stage.label(guest.intruder.ip, found.talk.server, "a new host transfers a file to the station")
