"""Good frames of synchrophasors and of what runs over ISO transport."""

from __future__ import annotations

from tests.lab import c37118 as c
from tests.lab import frames as f
from tests.lab import iso as i
from tests.lab.frames import ber
from tests.reference.s7values import Item

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
S7_ITEMS = (
    Item(2, 9, 1, 0x84, 8), Item(8, 1, 2, 0x84, 0), Item(1, 1, 0, 0x83, 3),
    Item(5, 3, 0, 0x81, 0), Item(28, 2, 0, 0x1C, 4), Item(7, 1, 9, 0x84, (1 << 19) - 32),
)  # fmt: skip
S7_DATA = (
    b"\xff\4\0\x48\1\x42\x70\0\0\x42\x71\7\x08\0" + b"\xff\7\0\4\x42\x70\0\0" + b"\xff\3\0\1\1\0"
    b"\xff\5\0\x30\0\1\0\2\xff\xfe" + b"\xff\x09\0\4\0\1\0\2" + b"\xff\6\0\4\0\0\0\1"
)
"""Items of every width, and their data: odd lengths, lengths in bits and in octets."""


def c37118_frames() -> list[f.Stamped]:
    """Every kind over TCP and UDP, several in a segment, floats and integers, one over segment borders."""
    talk = f.Talk(CLIENT, SERVER, 4712)
    talk.open(0)
    pmus = [c.pmu(14, 2, 1, 1), c.pmu(0, 1, 2, 0, "B", 8)]
    data = c.frame(0, c.block(14, 2, 50.1, 0.5, [1.0], 1, 0x4200) + c.block(0, 1, -3, 4, [5, 6]))
    for code in (1, 2, 3, 4, 5, 6):
        talk.client(code, c.command(code))
    talk.client(7, c.command(8, bytes(6)))
    for answer in (
        c.config(pmus),
        c.config(pmus[:1], kind=2),
        c.frame(1, b"hello"),
        c.frame(5, bytes(40)),
        c.config3([c.pmu3(14, 2, 1, 1), c.pmu3(0, 1, 2, 0, "B", 8)]),
        data,
    ):
        talk.server(8, answer)
    talk.server(9, data + data + data[:30])
    talk.server(10, data[30:])
    datagrams = [f.udp_frame(SERVER, CLIENT, 4713, 4712, one) for one in (c.config(pmus), data, data)]
    return talk.frames + [(11, one) for one in datagrams]


def tpkt_frames() -> list[f.Stamped]:
    """Every layer above port 102: association, services, reports, errors; jobs, user data; segmentation."""
    talk = f.Talk(CLIENT, SERVER, 102)
    talk.open(0)
    item = i.item("LD0", "LLN0$ST$Mod")
    names = i.variable_list(item, ber(0x80, b"plain"))
    exchanges = [
        (i.connect(), i.connect(0xD0, called=b"")),
        (i.dt(i.associate(ber(0xA8, ber(0x80, b"\0")))), i.dt(i.associate(ber(0xA9, b""), 0x0E, 0x61))),
        (i.dt(i.associate(ber(0xA8, b""))),
         i.dt(i.associate(ber(0xAA, ber(0xA0, ber(0x88, b"\3"))), 0x0E, 0x61))),
        (i.mms(i.confirmed(0xA0, 1, i.service(5, names + ber(0xA0, ber(0x83, b"\1"))))),
         i.mms(i.confirmed(0xA1, 1, i.service(5, ber(0x81, b"") + ber(0x80, b"\3"))))),
        (i.mms(i.confirmed(0xA0, 2, i.service(4, ber(0xA1, names)))),
         i.mms(i.confirmed(0xA1, 2, i.service(4, ber(0xA0, names) + ber(0xA1, ber(0x80, b"\x0a")))))),
        (i.mms(i.confirmed(0xA0, 3, i.service(72, ber(0xA0, ber(0x19, b"/a.dat"))))),
         i.mms(ber(0xA2, ber(0x80, b"\3") + ber(0xA2, ber(0xA0, ber(0x87, b"\1")))))),
        (i.mms(i.confirmed(0xA0, 4, i.service(1, ber(0xA1, ber(0x81, b"LD0"))))),
         i.mms(i.confirmed(0xA1, 4, i.service(1, ber(0xA0, ber(0x1A, b"a") * 5))))),
        (i.mms(i.confirmed(0xA0, 5, i.service(11, item + ber(0xA0, ber(0x30, ber(0xA0, item)))))),
         i.mms(ber(0xA3, ber(0xA0, names + ber(0xA0, ber(0xA2, ber(0x83, b"\1") * 3)))))),
        (i.mms(i.confirmed(0xA0, 6, i.service(13, ber(0xA1, item)))),
         i.mms(i.confirmed(0xA1, 6, i.service(12, ber(0xA1, ber(0x30, ber(0xA0, item))))))),
        (i.mms(i.confirmed(0xA0, 7, i.service(44, ber(0x80, b"prog")))),
         i.mms(i.confirmed(0xA1, 7, i.service(2, ber(0x80, b"ACME") + ber(0x81, b"X1"))))),
        (i.mms(ber(0x85, b"\6")), i.mms(ber(0xA4, ber(0x80, b"\5") + ber(0x81, b"\1")))),
        (i.s7(1, 2, i.s7_items(4, i.s7_item(0x84, 12, 0x50))), i.s7(3, 2, b"\4\1", b"\xff\3\0\1\1")),
        (i.s7(1, 3, i.s7_items(5, i.s7_item(0x82, 0, 8)), b"\0\4\0\x08\1"), i.s7(3, 3, b"\5\1", b"\x05")),
        (i.s7(1, 6, i.s7_items(4, *(item.octets() for item in S7_ITEMS))),
         i.s7(3, 6, b"\4\6", S7_DATA)),
        (i.s7(1, 7, i.s7_items(5, *(item.octets() for item in S7_ITEMS)), S7_DATA),
         i.s7(3, 7, b"\5\6", b"\xff" * 6)),
        (i.s7(1, 4, i.s7_text(0x28, 7, "_INSE", b"\1\x000A00001P")), i.s7(2, 4, b"", error=0x8104)),
        (i.s7(1, 5, i.s7_text(0x1A, 7, "_0A00001P")), i.s7(3, 5, b"\x1a")),
        (i.s7(7, 1, i.s7_user(4, 4, 1), b"\xff\t\0\4\0\x11\0\0"),
         i.s7(7, 1, i.s7_user(8, 4, 1, 0xD402), b"\x0a\0\0\0")),
        (i.s7(7, 2, i.s7_user(4, 2, 1), b"\xff\t\0\x10\0\1\1\1" + i.s7_item(0x83, 0, 16)), i.dt(b"\x72\1")),
    ]  # fmt: skip
    exchanges += [(i.dt(b""), i.mms(i.report("LD0/LLN0$BR$b1", number, "LD0/LLN0$ds", parts=parts)))
                  for number, parts in ((4, (0, True)), (4, (1, False)), (0xFFFF, None))]  # fmt: skip
    for number, (ask, answer) in enumerate(exchanges, 1):
        talk.client(number, ask)
        talk.server(number, answer + answer)
    message = i.session(i.confirmed(0xA0, 9, i.service(4, ber(0xA1, names))))
    for part in i.segments(message, 40) + i.segments(message * 9, 200):
        talk.client(50, part)
    whole = i.mms(i.confirmed(0xA0, 10, i.service(4, ber(0xA1, names))))
    talk.client(51, whole + whole[:30])
    talk.client(52, whole[30:])
    return talk.frames


def station_frames() -> list[bytes]:
    """All of them, without their times."""
    return [data for _, data in c37118_frames() + tpkt_frames()]
