"""Attacks on Modbus/TCP (Modbus Application Protocol 1.1b3)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sensor.simulate.attacks import common
from sensor.simulate.build import modbus as m
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection
from sensor.simulate.stage import SECOND, NotOffered, Stage

PORT = 502
NEEDS = "a Modbus connection (TCP port 502) with requests and responses"
WRITES = (5, 6, 15, 16)


def adus(payload: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(offset, transaction id, unit, PDU) of the whole ADUs that begin in a segment."""
    at = 0
    while at + 8 <= len(payload):
        tid, protocol, length = struct.unpack_from("!HHH", payload, at)
        if protocol or not 2 <= length <= 254 or at + 6 + length > len(payload):
            return
        yield at, tid, payload[at + 6], payload[at + 7 : at + 6 + length]
        at += 6 + length


@dataclass(slots=True)
class Device:
    """What a capture tells about one Modbus server: its connection, reads, writes and register values."""

    talk: Connection
    unit: int = 1
    tid: int = 1
    reads: list[tuple[int, int, int, int]] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)
    values: dict[tuple[int, int], int] = field(default_factory=dict)

    def answer(self, function: int, address: int, count: int) -> bytes:
        """The device's response to a read: values that it gave before, 0 for others."""
        values = [self.values.get((function, address + i), 0) for i in range(count)]
        if function in (1, 2):
            return m.mb_bits_response(function, values)
        return m.mb_read_response(function, values)


def device(stage: Stage) -> Device:
    """The busiest Modbus server in the time of the attack."""
    found = Device(common.busiest(stage, PORT, "Modbus"))
    sides = dict(zip(found.talk.rows, found.talk.sides, strict=True))
    asked: dict[int, tuple[int, int, int]] = {}
    for row in found.talk.rows:
        for _, tid, unit, pdu in adus(stage.scene.packets[row].payload):
            if sides[row] == 0:
                found.unit, found.tid = unit, tid
                _request(found, asked, tid, unit, pdu)
            elif tid in asked:
                _response(found, asked.pop(tid), pdu)
    if not found.reads:
        raise NotOffered(NEEDS)
    return found


def _request(found: Device, asked: dict[int, tuple[int, int, int]], tid: int, unit: int, pdu: bytes) -> None:
    if pdu[0] in (1, 2, 3, 4) and len(pdu) == 5:
        address, count = struct.unpack_from("!HH", pdu, 1)
        asked[tid] = (pdu[0], address, count)
        if (unit, *asked[tid]) not in found.reads:
            found.reads.append((unit, *asked[tid]))
    elif pdu[0] in WRITES:
        found.writes.append(pdu)


def _response(found: Device, asked: tuple[int, int, int], pdu: bytes) -> None:
    function, address, count = asked
    if pdu[0] != function or len(pdu) < 2:
        return
    data = pdu[2:]
    for i in range(count):
        if function in (1, 2) and i // 8 < len(data):
            found.values[function, address + i] = data[i // 8] >> i % 8 & 1
        elif function in (3, 4) and 2 * i + 2 <= len(data):
            found.values[function, address + i] = int.from_bytes(data[2 * i : 2 * i + 2], "big")


def exchange(stage: Stage, found: Device, ts: int, request: bytes, answer: bytes) -> None:
    """A request and its answer inside the master's own connection, in its next quiet moment."""
    at = stage.gap(found.talk, ts)
    tid = (found.tid + 0x4000 + stage.random.randrange(0x1000)) & 0xFFFF
    stage.speak(found.talk, 0, at, m.modbus_adu(tid, found.unit, request))
    stage.speak(found.talk, 1, at + 3_000_000, m.modbus_adu(tid, found.unit, answer))
    stage.acknowledge(found.talk, 0, at + 4_000_000)


def register(found: Device) -> int:
    """A holding register that the device has: one that is read, else the first."""
    return next((address for _, function, address, _ in found.reads if function == 3), 0)


# --- scans ------------------------------------------------------------------------------------------------


@attack("modbus-scan-units", "scan", "T0846", "A new host asks every unit identifier for a register", NEEDS)
def scan_units(stage: Stage) -> None:
    found, intruder = device(stage), stage.intruder(common.busiest(stage, PORT, "Modbus").server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for unit in range(1, 33):
        if visit.late:
            break
        known = unit == found.unit
        answer = found.answer(3, 0, 1) if known else m.mb_exception(3, 11)
        visit.ask(m.modbus_adu(unit, unit, m.mb_read(3, 0, 1)), m.modbus_adu(unit, unit, answer), wait=0.2)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host asks unit after unit for holding register 0")


@attack(
    "modbus-scan-functions", "scan", "T0888", "A new host tries function codes and reads the identity", NEEDS
)
def scan_functions(stage: Stage) -> None:
    found = device(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    identity = m.mb_device_id_response([(0, b"Vendor"), (1, b"Device"), (2, b"1.0")])
    for tid, function in enumerate((1, 2, 3, 4, 7, 8, 11, 12, 17, 20, 24, 43, 65, 90, 100), 1):
        pdu = m.mb_device_id() if function == 43 else bytes([function, 0, 0, 0, 1])
        answer = identity if function == 43 else m.mb_exception(function, 1)
        answer = found.answer(function, 0, 1) if function in (3, 4) else answer
        unit = found.unit
        visit.ask(m.modbus_adu(tid, unit, pdu), m.modbus_adu(tid, unit, answer), wait=0.3)
    visit.close()
    stage.label(
        intruder.ip, found.talk.server, "a new host tries function codes, then reads the identity (43/14)"
    )


@attack(
    "modbus-scan-registers", "scan", "T0861",
    "The known master walks over registers that it never read, inside its own connection", NEEDS, 120,
)  # fmt: skip
def scan_registers(stage: Stage) -> None:
    found = device(stage)
    used = {address + i for _, _, address, count in found.reads for i in range(count)}
    start = max(used, default=0) + 32
    for number, ts in enumerate(stage.times(24, 2.0)):
        address = (start + 8 * number) & 0xFFFF
        exchange(stage, found, ts, m.mb_read(3, address, 8), m.mb_exception(3, 2))
    stage.label(found.talk.client, found.talk.server, "the master reads registers that it never read")


# --- commands ---------------------------------------------------------------------------------------------


@attack("modbus-write-stranger", "command", "T0855", "A new host writes registers", NEEDS)
def write_stranger(stage: Stage) -> None:
    found = device(stage)
    intruder, address = stage.intruder(found.talk.server), register(found)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for tid in range(1, 4):
        request, answer = m.mb_write_registers(address, [0, 0]), m.mb_write_response(16, address, 2)
        visit.ask(m.modbus_adu(tid, found.unit, request), m.modbus_adu(tid, found.unit, answer), wait=2)
    visit.close()
    stage.label(intruder.ip, found.talk.server, f"a new host writes 0 to holding registers {address} and on")


@attack(
    "modbus-write-master", "command", "T0836",
    "The known master writes a register that it only read so far, inside its own connection", NEEDS,
)  # fmt: skip
def write_master(stage: Stage) -> None:
    found = device(stage)
    written = {int.from_bytes(pdu[1:3], "big") for pdu in found.writes if len(pdu) >= 3}
    address = next((a for _, f, a, _ in found.reads if f == 3 and a not in written), 0x1000)
    for ts in stage.times(2, 5.0):
        pdu = m.mb_write_register(address, 0)
        exchange(stage, found, ts, pdu, pdu)
    stage.label(found.talk.client, found.talk.server, f"the master writes holding register {address}")


@attack(
    "modbus-brute-io", "command", "T0806", "A new host switches coils on and off as fast as it can", NEEDS, 20
)
def brute_io(stage: Stage) -> None:
    found = device(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for tid in range(1, 201):
        if visit.late:
            break
        pdu = m.mb_write_coil(tid % 8, tid % 16 < 8)
        visit.ask(m.modbus_adu(tid, found.unit, pdu), m.modbus_adu(tid, found.unit, pdu), wait=0.05)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host switches coils 0 to 7 on and off")


@attack(
    "modbus-slow-write", "slow", "T0836",
    "The known master writes one register an hour (a few times in a short capture), inside its connection",
    NEEDS, 86_400,
)  # fmt: skip
def slow_write(stage: Stage) -> None:
    found = device(stage)
    address = register(found)
    value = found.values.get((3, address), 100)
    for number, ts in enumerate(stage.times(max(3, min(24, int(stage.span // 3600))), 3600.0), 1):
        pdu = m.mb_write_register(address, max(0, value - number))
        exchange(stage, found, ts, pdu, pdu)
    stage.label(
        found.talk.client, found.talk.server, f"now and then the master lowers holding register {address}"
    )


# --- replay, second master --------------------------------------------------------------------------------


@attack(
    "modbus-replay", "replay", "T0855", "Recorded requests come again from the master's address", NEEDS, 30
)
def replay(stage: Stage) -> None:
    common.replay_requests(stage, device(stage).talk, "recorded requests of the master in a new connection")


@attack("modbus-second-master", "rogue", "T0848", "A new host polls exactly as the master does", NEEDS)
def second_master(stage: Stage) -> None:
    found = device(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for tid in range(1, 301):
        if visit.late:
            break
        unit, function, address, count = found.reads[tid % len(found.reads)]
        answer = m.modbus_adu(tid, unit, found.answer(function, address, count))
        visit.ask(m.modbus_adu(tid, unit, m.mb_read(function, address, count)), answer, wait=0.5)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host polls as the master does")


# --- values changed in flight -----------------------------------------------------------------------------


def _registers(payload: bytes, change: Callable[[int, int], int]) -> bytes:
    """Responses of FC 3 and 4 with other registers; ``change`` gets (index in the response, value)."""
    out = bytearray(payload)
    for at, _, _, pdu in adus(payload):
        if pdu[0] in (3, 4) and len(pdu) >= 2 and pdu[1] == len(pdu) - 2 and pdu[1] % 2 == 0:
            for i in range(pdu[1] // 2):
                value = int.from_bytes(pdu[2 + 2 * i : 4 + 2 * i], "big")
                struct.pack_into("!H", out, at + 9 + 2 * i, max(0, min(65_535, change(i, value))))
    return bytes(out)


@attack(
    "modbus-value-shift",
    "middle",
    "T0832",
    "Registers are raised by two fifths on their way to the master",
    NEEDS,
)
def value_shift(stage: Stage) -> None:
    found = device(stage)
    common.change_values(
        stage,
        found.talk,
        lambda body, _: _registers(body, lambda i, v: round(v * 1.4)),
        "registers × 1.4 in flight",
    )


@attack(
    "modbus-value-freeze", "frozen", "T0832", "The master gets the same registers again and again", NEEDS, 180
)
def value_freeze(stage: Stage) -> None:
    found, first = device(stage), dict[tuple[int, int], int]()

    def frozen(body: bytes, _: int) -> bytes:
        size = len(body)
        return _registers(body, lambda i, v: first.setdefault((size, i), v))

    common.change_values(stage, found.talk, frozen, "registers stand still in flight (old responses again)")


@attack(
    "modbus-value-drift", "frozen", "T0832", "Registers creep away on their way to the master", NEEDS, 300
)
def value_drift(stage: Stage) -> None:
    found, span = device(stage), max(1.0, stage.span)

    def drifting(body: bytes, age: int) -> bytes:
        return _registers(body, lambda i, v: round(v * (1 + 0.5 * age / SECOND / span)))

    common.change_values(stage, found.talk, drifting, "registers creep up to × 1.5 in flight")


@attack(
    "modbus-command-change", "middle", "T0831",
    "Values that the master writes are changed on the way; the device's answer is put right again",
    "a Modbus write (function 6 or 16) during the attack", 86_400,
)  # fmt: skip
def command_change(stage: Stage) -> None:
    found = device(stage)
    for row in stage.rows(found.talk.rows):
        packet = stage.packet(row)
        body = bytearray(packet.payload)
        for at, _, _, pdu in adus(packet.payload):
            if (
                pdu[0] == 6
                and len(pdu) == 5
                and dict(zip(found.talk.rows, found.talk.sides, strict=True))[row] == 0
            ):
                struct.pack_into("!H", body, at + 10, int.from_bytes(pdu[3:5], "big") // 2)
            elif pdu[0] == 16 and len(pdu) > 7:
                struct.pack_into("!H", body, at + 13, int.from_bytes(pdu[6:8], "big") // 2)
        stage.rewrite(row, bytes(body))
    stage.label(found.talk.client, found.talk.server, "written values are halved in flight")


# --- flood, suppression, delay ----------------------------------------------------------------------------


@attack("modbus-flood", "flood", "T0814", "A new host sends requests without waiting for answers", NEEDS, 10)
def flood(stage: Stage) -> None:
    found = device(stage)
    common.flood(
        stage,
        found.talk,
        lambda n: m.modbus_adu(n & 0xFFFF, found.unit, m.mb_read(3, 0, 125)),
        200.0,
        "a new host floods the device with requests",
    )


@attack(
    "modbus-suppress",
    "suppression",
    "T0815",
    "What the device answers never arrives; the attacker keeps the connection alive",
    NEEDS,
)
def suppress(stage: Stage) -> None:
    common.suppress(stage, device(stage).talk, "the device's answers are taken out")


@attack("modbus-delay", "delay", "T0814", "Answers of the device arrive late and irregularly", NEEDS)
def delay(stage: Stage) -> None:
    common.delay(stage, device(stage).talk, 0.1, 0.6, "answers come 0.1 to 0.6 s late")


# --- files, restart ---------------------------------------------------------------------------------------


@attack("modbus-file-write", "download", "T0843", "A new host writes file records (function 21)", NEEDS)
def file_write(stage: Stage) -> None:
    found = device(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    for record in range(20):
        if visit.late:
            break
        words = [stage.random.getrandbits(16) for _ in range(64)]
        part = struct.pack("!BHHH", 6, 4, record * 64, len(words)) + struct.pack("!64H", *words)
        pdu = m.modbus_adu(record + 1, found.unit, bytes([21, len(part)]) + part)
        visit.ask(pdu, pdu, wait=0.2)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host writes records of file 4")


@attack("modbus-umas", "download", "T0843", "A new host downloads a program over UMAS (function 90)", NEEDS)
def umas(stage: Stage) -> None:
    found = device(stage)
    intruder = stage.intruder(found.talk.server)
    visit = stage.visit(intruder, found.talk.server, PORT, stage.begin)
    steps = [b"\x00\x02", b"\x00\x10" + bytes(8), b"\x01\x30" + bytes(4)]  # identify, reserve, begin download
    steps += [
        b"\x01\x31" + struct.pack("<HH", block, 200) + stage.random.randbytes(200) for block in range(1, 9)
    ]
    steps += [b"\x01\x32" + bytes(4), b"\x01\x40\xff\x00"]  # end download, start
    for tid, step in enumerate(steps, 1):
        answer = m.modbus_adu(tid, found.unit, b"\x5a" + step[:1] + b"\xfe")
        visit.ask(m.modbus_adu(tid, found.unit, b"\x5a" + step), answer, wait=0.3)
    visit.close()
    stage.label(intruder.ip, found.talk.server, "a new host downloads a program (function 90)")


@attack(
    "modbus-restart", "restart", "T0816",
    "The known master restarts the device's communication and sends it into listen-only mode (function 8)",
    NEEDS,
)  # fmt: skip
def restart(stage: Stage) -> None:
    found = device(stage)
    for ts, sub in zip(stage.times(2, 3.0), (1, 4), strict=False):
        pdu = struct.pack("!BHH", 8, sub, 0)
        exchange(stage, found, ts, pdu, pdu)
    stage.label(found.talk.client, found.talk.server, "function 8: restart communications, force listen only")
