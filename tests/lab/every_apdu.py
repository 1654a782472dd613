"""Every function, type and entry of Modbus, IEC 60870-5-104 and GOOSE: what no capture has together."""

from __future__ import annotations

import struct
from random import Random

from sensor.wire.iec104 import ELEMENT_SIZE
from tests.lab import frames as f

STEP = 10_000_000
MASTER, STATION = "10.0.0.1", "10.0.0.2"
GROUP, PUBLISHER = "01:0c:cd:01:00:01", "00:0c:29:00:00:07"

MODBUS_EXCHANGES = (
    ("0100130013", "0103cd6b05"),
    ("0200c40016", "0203acdb35"),
    ("03006b0003", "0306022b00000064"),
    ("0400080001", "0402000a"),
    ("0500acff00", "0500acff00"),
    ("0500ac1234", "8503"),
    ("0600010003", "0600010003"),
    ("07", "076d"),
    ("0b", "0bffff0108"),
    ("0c", "0c080000010801212000"),
    ("0f0013000a02cd01", "0f0013000a"),
    ("100001000204000a0102", "1000010002"),
    ("11", "1103aaff01"),
    ("140e0600040001000206000300090002", "140c05060dfe0020050633cd0040"),
    ("150d0600040007000306af04be100d", "150d0600040007000306af04be100d"),
    ("16000400f20025", "16000400f20025"),
    ("1700030006000e00030600ff00ff00ff", "170c00fe0acd00010003000d00ff"),
    ("1804de", "180006000201b81284"),
    ("2b0e0100", "2b0e01010000030002414201024344020456322e31"),
    ("2b0e0100", "ab01"),
    ("2b0d0000", "2b0d0000"),
    ("5a0002", "5afe00"),
    ("64", "e401"),
    # not as the standard has it
    ("03006b00", "03"),
    ("03006b007e", "0305022b00"),
    ("01006b07d1", "8103"),
    ("0f0013000a01cd", "0f0013"),
    ("10000100", "10000100"),
    ("160004", "160004"),
    ("03ffff0002", "030400010002"),
    ("0300000001", "8300"),
    ("0c", "0c021234ff"),
    ("140000", "140212"),
)


def modbus_frames() -> list[f.Stamped]:
    """All functions with their answers, exceptions, other units, bad lengths, several requests at a time."""
    talk = f.Talk(MASTER, STATION, 502)
    talk.open(0)
    asked = [(bytes.fromhex(ask), bytes.fromhex(told), 1) for ask, told in MODBUS_EXCHANGES]
    asked += [(bytes([function, 0, 0, 0, 1]), bytes([function | 0x80, 1]), 1) for function in range(1, 128)]
    asked += [(f.mb_read(3, 0, 1), f.mb_exception(3, code), 1) for code in range(1, 256)]
    asked += [(struct.pack("!BHH", 8, sub, 0xA537),) * 2 + (1,) for sub in range(22)]
    asked += [(f.mb_read(4, 7, 2), f.mb_read_response(4, [1, 2]), unit) for unit in (0, 2, 17, 247, 255)]
    now = STEP
    for number, (ask, told, unit) in enumerate(asked, 1):
        now += STEP
        talk.client(now, f.modbus_adu(number, unit, ask))
        talk.server(now + STEP // 2, f.modbus_adu(number, unit, told))
    first = len(asked) + 1
    talk.client(now + STEP, b"".join(f.modbus_adu(first + i, 1, f.mb_read(3, i, 1)) for i in range(5)))
    told_later = (f.modbus_adu(first + i, 1, f.mb_read_response(3, [i])) for i in (2, 0, 1, 4, 3))
    talk.server(now + 2 * STEP, b"".join(told_later))
    return talk.frames


def iec104_frames() -> list[f.Stamped]:
    """All types with one and several objects in both structures, all causes, control functions."""
    random = Random(104)
    talk = f.Talk(MASTER, STATION, 2404)
    talk.open(0)
    bodies = []
    for kind in range(1, 256):
        octets = max(int(ELEMENT_SIZE[kind]), 1)
        for number, sequence in ((1, False), (3, False), (1, True), (4, True)):
            if kind >= 100 and number > 1:
                continue  # these have one object each
            address, element = random.randbytes(3), random.randbytes(octets)
            if sequence:
                body = address + element * number
            else:
                body = b"".join(random.randbytes(3) + random.randbytes(octets) for _ in range(number))
            cause = random.choice((3, 6, 7, 10, 20, 37, 44, 47, 0x43, 0x87))
            station = random.choice((1, 300, 65_535))
            head = struct.pack("<BBBBH", kind, number | sequence << 7, cause, random.randrange(4), station)
            bodies.append((kind, head + body))
    single = bytes([0, 1, 0, 0, 1])
    bodies += [(1, bytes([1, 1, cause, 0, 1]) + single) for cause in range(64)]
    bodies += [(1, bytes([1, 0xFF, 3, 0, 1, 0, 1, 0, 0]) + bytes(127)), (1, bytes([1, 0, 3, 0, 1, 0]))]
    bodies += [(125, bytes([125, 1, 13, 0, 1, 0, 1, 0, 0, 1, 0, 1, 16]) + bytes(16))]
    now = STEP
    for number, (kind, body) in enumerate(bodies):
        now += STEP
        say = talk.client if 45 <= kind <= 69 or 100 <= kind <= 107 else talk.server
        say(now, f.apci_i(number, 0, body))
    for function in (1, 2, 4, 8, 16, 32):
        talk.client(now + STEP, f.apci_u(function))
    talk.client(now + STEP, f.apci_s(5))
    several = f.apci_i(1, 2, bytes([1, 1, 3, 0, 1, 0, 1, 0, 0, 1]))
    talk.server(now + 2 * STEP, f.apci_s(32_767) + several * 3)
    return talk.frames


def goose_entries() -> list[bytes]:
    """Every sort of Data in the sizes that devices send."""
    floats = (1.5, float("inf"), float("nan"))
    return [
        *(f.g_bool(value) for value in (True, False)),
        *(f.g_bits(bits) for bits in ("10", "0" * 13, "1" * 40, "")),
        *(f.g_int(value) for value in (0, -1, 2**31 - 1, -(2**31), 2**63 - 1)),
        *(f.g_uint(value) for value in (0, 255, 2**32 - 1)),
        *(f.g_float(value) for value in floats),
        f.ber(0x87, b"\x0b" + struct.pack("!d", 1e300)),
        *(f.g_octets(value) for value in (b"abc", b"")),
        *(f.g_text(value) for value in ("abc", "")),
        f.g_time(10**18 + 123_456_789, 0x2A),
        *(f.ber(0x8C, bytes(size)) for size in (4, 6)),
        f.ber(0x90, "\u00e4".encode()),
        f.ber(0x8D, b"\x12"),
        f.ber(0x85, b"\0\0\0\5"),
        f.ber(0x86, b"\0\0\0\0\5"),
        f.ber(0x83, b"\xff"),
        f.g_struct([f.g_bool(True), f.g_struct([f.g_int(3)])]),
        f.g_array([f.g_float(2.0), f.g_float(3.0)]),
        f.g_struct([]),
    ]


def goose_frames() -> list[f.Stamped]:
    """Every entry alone and all together, every flag, numbers at their ends, lengths in other forms."""
    entries = goose_entries()
    few = entries[:2]

    def frame(
        some: list[bytes], at: int, state: int = 1, seq: int = 5, tal: int = 4000, **more: bool
    ) -> bytes:
        pdu = f.goose_pdu("IED1LD0/LLN0$GO$g1", tal, "IED1LD0/LLN0$ds", "id", at, state, seq, some, **more)
        return f.goose_frame(GROUP, PUBLISHER, 1, pdu)

    made = [frame([entry], number * STEP) for number, entry in enumerate(entries)]
    made += [
        frame(entries, 0),
        frame([], 0),
        frame(few, 0, simulation=True),
        frame(few, 0, nds_com=True),
        frame(few, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        frame(few, 0, seq=0),
        frame([f.g_int(value) for value in range(200)], 0),
    ]
    fields = [
        f.ber(0x80, b"r"),
        f.ber(0x81, b"\x0f\xa0"),
        f.ber(0x82, b"d"),
        f.ber(0x83, b"g"),
        f.ber(0x84, bytes(8)),
        f.ber(0x85, b"\0\0\0\0\1"),
        f.ber(0x86, b"\0\xff\xff\xff\xff"),
        f.ber(0x87, b"\0"),
        f.ber(0x88, b"\1"),
        f.ber(0x89, b"\0"),
        f.ber(0x8A, b"\1"),
        f.ber(0xAB, f.g_bool(True)),
    ]
    whole = b"".join(fields)
    pdus = [f.ber(0x61, b"".join(fields[:gone] + fields[gone + 1 :])) for gone in range(len(fields))]
    pdus += [b"\x61\x82" + struct.pack("!H", len(whole)) + whole]
    pdus += [b"\x61\x84" + struct.pack("!I", len(whole)) + whole]
    pdus += [f.ber(0x61, fields[0] + b"\x81\x82\0\2\x0f\xa0" + b"".join(fields[2:]))]
    made += [f.goose_frame(GROUP, PUBLISHER, 1, pdu) for pdu in pdus]
    made += [f.goose_frame(GROUP, PUBLISHER, 1, pdus[-1], simulation=True, vlan=None)]
    return [(10**18 + number * STEP, data) for number, data in enumerate(made)]
