"""Quiet captures of one client and one server per protocol: what simulated attacks are put into.

Polls at a steady pace, values that swing as measurements do; deterministic. Frames come in order of time.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable

from sensor.simulate.build import dnp3, enip, iso, opcua
from sensor.simulate.build.ber import ber
from sensor.simulate.build.net import Stamped, Talk, udp_frame

SECOND = 1_000_000_000
MS = 1_000_000
BEGIN = 1_700_000_000 * SECOND
CLIENT, SERVER = "10.5.0.10", "10.5.0.20"
DOMAIN = "BAY1LD0"
SWITCH, LIMIT, POWER = "Q1CSWI1$CO$Pos$Oper", "F50PTOC1$SP$StrVal$setMag$f", "MMXU1$MX$TotW$mag$f"

Turn = Callable[[int], tuple[bytes, bytes]]
"""Number of a poll to its request and response."""


def swing(number: int, middle: float = 100.0, width: float = 10.0, seed: int = 1) -> float:
    """A measurement: two slow waves and a little noise."""
    noise = random.Random(number * 31 + seed).gauss(0, 0.05)
    return middle + width * (0.6 * math.sin(number / 37 + seed) + 0.3 * math.sin(number / 11) + noise)


def polled(port: int, turn: Turn, polls: int, opening: tuple[tuple[bytes, bytes], ...] = ()) -> list[Stamped]:
    """A connection: an opening, then a poll a second."""
    talk = Talk(CLIENT, SERVER, port, 40_000 + port % 1_000)
    talk.open(BEGIN)
    pairs = [(BEGIN + (n + 1) * 5 * MS, pair) for n, pair in enumerate(opening)]
    pairs += [(BEGIN + (n + 1) * SECOND, turn(n)) for n in range(polls)]
    for ts, (request, response) in pairs:
        talk.client(ts, request)
        talk.server(ts + 2 * MS, response)
        talk.ack(ts + 3 * MS, 0)
    return talk.frames


def dnp3_turn(number: int) -> tuple[bytes, bytes]:
    """A class poll and what the outstation measures: a breaker, three analogs of other sizes, a counter."""
    analogs = dnp3.span(30, 1, 0, 0, b"\1" + struct.pack("<i", round(swing(number, 10_000, 900))))
    analogs += dnp3.span(30, 5, 1, 1, b"\1" + struct.pack("<f", swing(number, 50.0, 0.05, 2)))
    analogs += dnp3.indexed(30, 4, (2, struct.pack("<h", round(swing(number, 400, 30, 3)))))
    counter = dnp3.span(20, 1, 0, 0, b"\1" + struct.pack("<I", 1_000 + 3 * number))
    objects = dnp3.span(1, 2, 0, 0, b"\x81") + analogs + counter
    read = dnp3.everything(60, 1)
    return dnp3.request(1, read, seq=number & 15), dnp3.response(objects, seq=number & 15)


def dnp3_tcp(polls: int = 120, turn: Turn = dnp3_turn) -> list[Stamped]:
    """DNP3 over TCP."""
    return polled(20_000, turn, polls)


def dnp3_udp(polls: int = 120) -> list[Stamped]:
    """DNP3 over UDP."""
    frames: list[Stamped] = []
    for number in range(polls):
        ts, (request, response) = BEGIN + number * SECOND, dnp3_turn(number)
        frames.append((ts, udp_frame(CLIENT, SERVER, 20_000, 20_000, request)))
        frames.append((ts + 3 * MS, udp_frame(SERVER, CLIENT, 20_000, 20_000, response)))
    return frames


def mms(polls: int = 120) -> list[Stamped]:
    """MMS: two measured values a poll, now and then the position of a switch and a setting are read."""

    def turn(number: int) -> tuple[bytes, bytes]:
        invoke, seldom = number + 1, number % 20
        items = {3: SWITCH, 7: LIMIT}.get(seldom, POWER)
        value = ber(0x87, b"\x08" + struct.pack("!f", swing(number)))
        data = value if seldom not in (3, 7) else ber(0x85, b"\x02")
        request = iso.service(4, ber(0xA1, iso.variable_list(iso.item(DOMAIN, items))))
        answer = iso.service(4, ber(0xA1, data))
        return iso.mms(iso.confirmed(0xA0, invoke, request)), iso.mms(iso.confirmed(0xA1, invoke, answer))

    pair = _association(0x0D, 0x60, 0xA8), _association(0x0E, 0x61, 0xA9)
    opening = ((iso.connect(), iso.connect(0xD0)), pair)
    return polled(102, turn, polls, opening)


def _association(spdu: int, acse: int, initiate: int) -> bytes:
    """Session connect or accept: presentation contexts of ACSE (1) and MMS (3), ACSE, initiate."""
    syntax = ber(0x30, bytes.fromhex("06025101"))
    names = ((1, bytes.fromhex("060452010001")), (3, bytes.fromhex("060528ca220201")))
    contexts = b"".join(ber(0x30, ber(2, bytes([number])) + name + syntax) for number, name in names)
    mode = ber(0x81, b"\0\0\0\1") + ber(0x82, b"\0\0\0\1") + ber(0xA4, contexts)
    result = b""
    if spdu == 0x0E:
        mode = ber(0x83, b"\0\0\0\1") + ber(0xA5, 2 * bytes.fromhex("300780010081025101"))
        result = bytes.fromhex("a203020100a305a103020100")
    detail = ber(0xA4, bytes.fromhex("800101810305f100820c03ee1c00000408000079ef18"))
    pdu = ber(initiate, bytes.fromhex("800300fde881010582010583010a") + detail)
    user = ber(0xBE, ber(0x28, ber(2, b"\3") + ber(0xA0, pdu)))
    data = ber(acse, bytes.fromhex("a107060528ca220203") + result + user)
    normal = mode + ber(0x61, ber(0x30, ber(2, b"\1") + ber(0xA0, data)))
    shown = ber(0x31, ber(0xA0, ber(0x80, b"\1")) + ber(0xA2, normal))
    options = bytes.fromhex("0506130100160102140200023302000134020001")
    return iso.dt(
        bytes([spdu, len(options) + 2 + len(shown)]) + options + b"\xc1" + bytes([len(shown)]) + shown
    )


def s7comm(polls: int = 120) -> list[Stamped]:
    """S7comm: a REAL and a word of DB 10 a poll."""

    def turn(number: int) -> tuple[bytes, bytes]:
        items = iso.s7_items(4, iso.s7_item(0x84, 10, 0), iso.s7_item(0x84, 10, 32))
        real = struct.pack("!BBHf", 255, 7, 4, swing(number))
        word = struct.pack("!BBHh", 255, 4, 16, round(swing(number, 500, 40)))
        return iso.s7(1, number + 1, items), iso.s7(3, number + 1, b"\4\2", real + word)

    setup = b"\xf0\0\0\1\0\1\1\xe0"
    return polled(
        102, turn, polls, ((iso.connect(), iso.connect(0xD0)), (iso.s7(1, 0, setup), iso.s7(3, 0, setup)))
    )


def cip(polls: int = 120) -> list[Stamped]:
    """EtherNet/IP: a session in which a tag is read."""
    session = 0x77

    def turn(number: int) -> tuple[bytes, bytes]:
        messages = (
            enip.request(0x4C, enip.tag("FIT101"), b"\1\0"),
            enip.response(0x4C, struct.pack("<Hf", 0xCA, swing(number))),
        )
        request, response = (
            enip.pdu(
                0x6F,
                bytes(6) + enip.items((0, b""), (0xB2, message)),
                struct.pack("<Q", number),
                session=session,
            )
            for message in messages
        )
        return request, response

    version = struct.pack("<HH", 1, 0)
    opening = (
        (enip.pdu(0x65, version, bytes(8), session=0), enip.pdu(0x65, version, bytes(8), session=session)),
    )
    return polled(44_818, turn, polls, opening)


def opcua_clear(polls: int = 120) -> list[Stamped]:
    """OPC UA without security: a node is read."""

    def turn(number: int) -> tuple[bytes, bytes]:
        value = opcua.data_value(opcua.variant(11, struct.pack("<d", swing(number))))
        bodies = opcua.read(opcua.node(77, 2)), opcua.read_response(value)
        request, response = (opcua.msg(number + 2, number + 2, body) for body in bodies)
        return request, response

    return polled(4840, turn, polls, ((opcua.hello("opc.tcp://plc:4840"), opcua.ACK), _opening(opcua.NONE)))


def opcua_encrypted(polls: int = 120) -> list[Stamped]:
    """OPC UA whose services cannot be read."""

    def turn(number: int) -> tuple[bytes, bytes]:
        noise = random.Random(number)
        head = struct.pack("<II", 7, 3)
        request, response = (opcua.message(b"MSG", head + noise.randbytes(size)) for size in (160, 112))
        return request, response

    return polled(4840, turn, polls, ((opcua.hello("opc.tcp://plc:4840"), opcua.ACK), _opening(opcua.BASIC)))


def _opening(policy: bytes) -> tuple[bytes, bytes]:
    ask = opcua.request(
        446, struct.pack("<III", 0, 0, 1) + opcua.string(None) + struct.pack("<I", 3_600_000), opcua.node(0)
    )
    answer = opcua.response(449, struct.pack("<IIIqI", 0, 7, 3, 0, 3_600_000) + opcua.string(None))
    return opcua.opening(1, ask, policy), opcua.opening(1, answer, policy)


CAPTURES: dict[str, Callable[[], list[Stamped]]] = {
    "dnp3": dnp3_tcp,
    "dnp3-udp": dnp3_udp,
    "mms": mms,
    "s7comm": s7comm,
    "enip": cip,
    "opcua": opcua_clear,
    "opcua-encrypted": opcua_encrypted,
}
