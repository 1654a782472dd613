"""Every service of MMS that substations use, and every job and user data of S7comm, with their answers."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sensor.simulate.build import iso as i
from sensor.simulate.build.ber import ber
from tests.lab import frames as f

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
STEP = 10_000_000
TRUE, FALSE, ONE = ber(0x83, b"\1"), ber(0x83, b"\0"), ber(0x85, b"\1")
HALF = ber(0x87, b"\x08" + struct.pack("!f", 0.5))
VALUES = (
    ONE,
    HALF,
    TRUE,
    ber(0x8A, b"abc"),
    ber(0x8A, b""),
    ber(0x84, b"\3\0\0"),
    ber(0x91, bytes(8)),
    ber(0x8C, bytes(6)),
    ber(0x89, b"abc"),
    ber(0x90, b"abc"),
    ber(0x86, b"\0\xff"),
    ber(0x85, bytes(8)),
    ber(0xA2, ONE + HALF + ber(0xA2, TRUE + ber(0x91, bytes(8)))),
    ber(0xA1, ONE + ONE),
    ber(0xA2, b""),
    ber(0x87, b"\x0b" + struct.pack("!d", 2.5)),
    *(ber(0x80, bytes([error])) for error in range(12)),
)
ITEM, OTHER, PLAIN, OWN = i.item("LD0", "LLN0$ST$Mod"), i.item("LD1", "x"), ber(0x80, b"v"), ber(0x82, b"@v")
LISTED = ber(0x30, ber(0xA0, ITEM)) + ber(0x30, ber(0xA0, OTHER))
FILE = ber(0x19, b"/COMTRADE/1.cfg")
ENTRY = ber(0x30, ber(0x30, ber(0xA0, FILE) + ber(0xA1, ber(0x80, b"\x10") + ber(0x81, b"20200101000000Z"))))


def _reads() -> Iterator[tuple[int, bytes, bytes]]:
    for value in VALUES:
        yield 4, ber(0xA1, i.variable_list(ITEM)), ber(0xA1, value)
    yield 4, ber(0xA1, i.variable_list(ITEM, OTHER, PLAIN)), ber(0xA1, ONE + ber(0x80, b"\x0a") + HALF)
    yield 4, ber(0xA1, i.variable_list(PLAIN)), ber(0xA1, ONE)
    yield 4, ber(0xA1, i.variable_list(OWN)), ber(0xA1, ONE)
    yield 4, ber(0x80, b"\0") + ber(0xA1, ber(0xA1, ITEM)), ber(0xA1, ONE + TRUE + ber(0x80, b"\3") + HALF)
    yield 4, ber(0xA1, ber(0xA1, PLAIN)), ber(0xA1, b"")
    yield (
        4,
        ber(0x80, b"\xff") + ber(0xA1, i.variable_list(ITEM)),
        (ber(0xA0, i.variable_list(ITEM)) + ber(0xA1, ONE)),
    )
    element = ber(0xA0, ber(0x30, ber(0xA0, ITEM) + ber(0xA5, ber(0x81, b"\2"))))
    yield 4, ber(0xA1, element), ber(0xA1, ONE)
    done = ber(0x81, b"")
    yield 5, i.variable_list(ITEM) + ber(0xA0, TRUE), done
    yield 5, i.variable_list(ITEM) + ber(0xA0, TRUE), ber(0x80, b"\2")
    yield 5, i.variable_list(ITEM, OTHER) + ber(0xA0, ONE + HALF), done + ber(0x80, b"\7")
    yield 5, i.variable_list(PLAIN) + ber(0xA0, ONE), done
    yield 5, ber(0xA1, ITEM) + ber(0xA0, ONE + ONE), done + done


def _names() -> Iterator[tuple[int, bytes, bytes]]:
    names = ber(0xA0, ber(0x1A, b"a") + ber(0x1A, b"b$c")) + ber(0x81, b"\xff")
    for sort in range(12):
        for scope in (ber(0x80, b""), ber(0x81, b"LD0"), ber(0x82, b"")):
            yield 1, ber(0xA0, ber(0x80, bytes([sort]))) + ber(0xA1, scope), names
    after = ber(0xA0, ber(0x80, b"\0")) + ber(0xA1, ber(0x81, b"LD0")) + ber(0x82, b"a")
    yield 1, after, ber(0xA0, b"") + ber(0x81, b"\0")
    structure = ber(0xA2, ber(0xA1, ber(0x30, ber(0x80, b"q") + ber(0xA1, ber(0x84, b"\x0d")))))
    for name in (ITEM, PLAIN, OWN):
        yield 6, ber(0xA0, name), ber(0x80, b"\0") + ber(0xA2, structure)
        yield 11, name + ber(0xA0, LISTED), b""
        yield 12, name, ber(0x80, b"\0") + ber(0xA1, LISTED)
        yield 13, ber(0x80, b"\0") + ber(0xA1, name), ber(0x80, b"\1") + ber(0x81, b"\1")
    yield 13, ber(0xA1, ITEM + OTHER), ber(0x80, b"\0") + ber(0x81, b"\0")
    yield 13, ber(0x80, b"\2") + ber(0x82, b"LD0"), ber(0x80, b"\1") + ber(0x81, b"\1")


def _files_and_programs() -> Iterator[tuple[int, bytes, bytes]]:
    yield 46, ber(0xA1, FILE) + ber(0xA2, ber(0x19, b"copy")), b""
    yield 72, ber(0xA0, FILE) + ber(0x81, b"\0"), ber(0x80, b"\1") + ber(0xA1, ber(0x80, b"\x10"))
    yield 75, ber(0xA0, FILE) + ber(0xA1, ber(0x19, b"new")), b""
    yield 76, FILE, b""
    yield 77, ber(0xA0, ber(0x19, b"/")), ber(0xA0, ENTRY) + ber(0x81, b"\0")
    yield 77, b"", ber(0xA0, ber(0x30, b""))
    journal = ber(0xA0, i.item("LD0", "LLN0$LG$Log"))
    yield 65, journal + ber(0xA1, ber(0x80, bytes(6))) + ber(0xA2, ber(0x80, bytes(6))), ber(0xA0, b"")
    yield 68, ITEM, ber(0x80, b"\5") + ber(0x81, b"\xff")
    yield 26, ber(0x80, b"DOM") + ber(0xA1, ber(0x1A, b"c")) + ber(0x82, b"\0"), b""
    yield 28, ber(0x80, b"DOM"), b""
    for number in range(40, 45):
        yield number, ber(0x80, b"PROG"), b""
    yield 71, b"", ber(0xA0, ber(0x1A, b"c")) + ber(0x81, b"\0")


PRIMITIVES: tuple[tuple[int, bytes, bytes], ...] = (
    (0, b"\0", ber(0x80, b"\0") + ber(0x81, b"\0")),
    (2, b"", ber(0x80, b"ACME") + ber(0x81, b"X1") + ber(0x82, b"1.5")),
    (27, b"DOM", ber(0x80, b"data") + ber(0x81, b"\0")),
    (29, b"DOM", ber(0x80, b"\1") + ber(0xA1, ber(0x1A, b"c"))),
    (30, b"\1", ber(0x80, b"data") + ber(0x81, b"\0")),
    (36, b"DOM", b""),
    (39, b"PROG", b""),
    (73, b"\1", ber(0x80, b"x" * 300) + ber(0x81, b"\0")),
    (74, b"\1", b""),
)
EMPTY_ANSWERS = {11, 26, 28, 36, 39, 40, 41, 42, 43, 44, 46, 74, 75, 76}


def mms_pdus() -> Iterator[tuple[bool, bytes]]:
    """(does the server say it, PDU): each service asked and answered, refusals, reports, rejects, cancels."""
    asked = [(*one, False) for one in (*_names(), *_reads(), *_files_and_programs())]
    asked += [(*one, True) for one in PRIMITIVES]
    for invoke, (number, body, told, primitive) in enumerate(asked, 1):
        yield False, i.confirmed(0xA0, invoke, i.service(number, body, primitive))
        yield True, i.confirmed(0xA1, invoke, i.service(number, told, number in EMPTY_ANSWERS))
    for group in range(13):
        yield False, i.confirmed(0xA0, 900 + group, i.service(12, ITEM))
        error = ber(0xA2, ber(0xA0, ber(0x80 | group, b"\1")))
        yield True, ber(0xA2, ber(0x80, struct.pack("!H", 900 + group)) + error)
    yield True, i.report("LD0/LLN0$RP$r1", None, values=[ONE, HALF])
    yield True, i.report("LD0/LLN0$BR$b1", 7, "LD0/LLN0$ds", values=[ONE], overflow=False, entry=bytes(8))
    yield True, i.report("LD0/LLN0$BR$b1", 8, "LD0/LLN0$ds", values=[ONE], parts=(1, True))
    command = i.item("LD0", "CSWI1$CO$Pos$Oper")
    error = ber(0xA2, ber(0x8A, b"LD0/CSWI1$CO$Pos$Oper") + ONE)
    for names, values in (((ber(0x80, b"LastApplError"), command), error + TRUE), ((command,), TRUE)):
        yield True, ber(0xA3, ber(0xA0, i.variable_list(*names) + ber(0xA0, values)))
    yield True, ber(0xA3, ber(0xA0, ber(0xA1, i.item("ICC1", "DS1")) + ber(0xA0, ONE + ber(0x80, b"\x0a"))))
    yield True, ber(0xA3, i.service(1, ber(0x80, b"\0") + ber(0x81, b"\0")))
    for reason in range(1, 12):
        yield True, ber(0xA4, ber(0x80, b"\5") + ber(0x80 | reason, b"\1"))
    yield from ((False, ber(0x85, b"\5")), (True, ber(0x86, b"\5")), (False, b"\x8b\0"), (True, b"\x8c\0"))


def mms_frames() -> list[f.Stamped]:
    """All of :func:`mms_pdus` in one association."""
    talk = _connected()
    initiate = ber(0x80, b"\0\xfd\xe8") + ber(0x81, b"\5") + ber(0x82, b"\5")
    talk.client(STEP, i.dt(i.associate(ber(0xA8, initiate), contexts=i.CONTEXTS)))
    talk.server(STEP, i.dt(i.associate(ber(0xA9, initiate), 0x0E, 0x61)))
    for number, (told, pdu) in enumerate(mms_pdus(), 2):
        (talk.server if told else talk.client)(number * STEP, i.mms(pdu))
    return talk.frames


def _connected() -> f.Talk:
    talk = f.Talk(CLIENT, SERVER, 102)
    talk.open(0)
    talk.client(1, i.connect())
    talk.server(2, i.connect(0xD0))
    return talk


JOBS = (
    ("f0000001000101e0", "f0000001000100f0"),
    ("1d00000000000000095f3038303030303141", "1d00010000000007"),
    ("1e00000000000007", "1e00"),
    ("1f00000000000007", "1f"),
    ("1a00010000000000095f30413030303031500d31303030333430303030323438", "1a"),
    ("1b00010000000000095f3041303030303150", "1b00"),
    ("1c00000000000000095f3041303030303150", "1c"),
    ("29000000000009505f50524f4752414d", "29"),
    ("28000000000000fd000009505f50524f4752414d", "28"),
    ("0000", "00"),
    ("0100", "01"),
)
ADDRESSES = tuple(
    i.s7_item(area, block, address)
    for area, block, address in (
        *((0x84, 1, 0), (0x85, 2, 9), (0x83, 0, 0x7FFFFF), (0x81, 0, 8), (0x82, 0, 1), (0x1C, 0, 3)),
        *((0x1D, 0, 4), (0x80, 0, 8), (0x86, 0, 2), (0x87, 0, 1), (3, 0, 0), (5, 0, 0), (6, 0, 0)),
    )
)
OTHER_ADDRESSES = (
    bytes.fromhex("1207b0010200010008"),
    bytes.fromhex("12088241003a00017f01"),
    bytes.fromhex("120eb2ff000000010000000000000000"),
)


def _s7_messages() -> Iterator[tuple[bool, bytes]]:
    """(does the server say it, packet)."""
    listing, refused = b"\xff\t\0\x28" + bytes(range(48, 88)), b"\x0a\0\0\0"
    for group in range(16):
        for sub in range(24):
            if (group, sub) == (2, 8):
                continue  # read record: how many items is told by tshark alone
            for body in (listing, refused):
                yield False, i.s7(7, sub, i.s7_user(4, group, sub), body)
                yield True, i.s7(7, sub, i.s7_user(8, group, sub, 0 if body is listing else 0xD401), body)
            yield True, i.s7(7, sub, i.s7_user(0, group, sub), listing)
    for number, (ask, told) in enumerate(JOBS, 1):
        yield False, i.s7(1, number, bytes.fromhex(ask))
        yield True, i.s7(3, number, bytes.fromhex(told))
        yield True, i.s7(2, number, b"", error=0x8104)
    for name in ("_INSE", "_DELE", "_GARB", "_MODU"):
        yield False, i.s7(1, 30, i.s7_text(0x28, 7, name, b"\1\x000A00001P"))
        yield True, i.s7(3, 30, b"\x28")
    for address in (*ADDRESSES, *OTHER_ADDRESSES):
        yield False, i.s7(1, 40, i.s7_items(4, address))
        yield True, i.s7(3, 40, b"\4\1", b"\xff\4\0\x10\1\2")
        yield False, i.s7(1, 41, i.s7_items(4, address, ADDRESSES[0]))
        yield True, i.s7(3, 41, b"\4\2", b"\xff\4\0\x10\1\2\xff\4\0\x10\1\2")
    for code in (0, 1, 3, 5, 6, 7, 8, 9, 10, 0x20, 0xFE):
        yield False, i.s7(1, 50, i.s7_items(4, *ADDRESSES[:2]))
        yield True, i.s7(3, 50, b"\4\2", b"\xff\4\0\x08\1\0" + bytes([code, 0, 0, 0]))
        yield False, i.s7(1, 51, i.s7_items(5, *ADDRESSES[:2]), b"\0\4\0\x08\1\0\0\4\0\x08\2")
        yield True, i.s7(3, 51, b"\5\2", bytes([code, 0xFF]))
    for group in (0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0xD2):
        yield True, i.s7(3, 60, b"\4\1", error=group << 8 | 4)


def s7_frames() -> list[f.Stamped]:
    """All of it in one connection."""
    talk = _connected()
    for number, (told, message) in enumerate(_s7_messages(), 2):
        (talk.server if told else talk.client)(number * STEP, message)
    return talk.frames
