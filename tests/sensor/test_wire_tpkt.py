"""ISO transport, MMS and S7comm: kinds, names, pairing, segmentation, every cut."""

from __future__ import annotations

import pytest

from grid_profiles.vocabulary import Flag
from tests.lab import frames as f
from tests.lab import iso as i
from tests.lab.frames import ber
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

HMI, IED = "10.0.0.1", "10.0.0.2"
ITEM = i.item("LD0", "LLN0$ST$Mod")
NAME = "LD0/LLN0$ST$Mod"
READ = i.confirmed(0xA0, 7, i.service(4, ber(0xA1, i.variable_list(ITEM, i.item("LD0", "b")))))
RESULTS = i.confirmed(0xA1, 7, i.service(4, ber(0xA1, ber(0x83, b"\1") + ber(0x80, b"\x0a"))))


def rows(frames: list[f.Stamped], snaplen: int = 1 << 20) -> list[Message]:
    return [row for row in Native().feed(shots(frames, snaplen)) if row.proto in ("cotp", "mms", "s7comm")]


def talk(*sent: tuple[int, bytes]) -> f.Talk:
    """A connection; each segment with the side that sends it (0 the client)."""
    made = f.Talk(HMI, IED, 102)
    made.open(0)
    for number, (side, data) in enumerate(sent, 1):
        (made.server if side else made.client)(number, data)
    return made


def talk_rows(*sent: tuple[int, bytes]) -> list[Message]:
    return rows(talk(*sent).frames)


def named(row: Message) -> tuple[str, int, int, str]:
    return row.proto, row.kind, row.count, row.name


def test_connecting() -> None:
    ask, answer, bye, error = talk_rows(
        (0, i.connect(calling=b"PG", called=b"\x03\x02")),
        (1, i.connect(0xD0, calling=bytes(40), called=b"")),
        (0, i.tpkt(b"\x06\x80\0\0\0\1\0")),
        (1, i.tpkt(b"\x04\x70\0\0\1")),
    )
    assert (ask.kind, ask.name, ask.ident, ask.role) == (14, "0x0302", "PG", CLIENT)
    assert (answer.kind, answer.name, answer.ident, answer.role) == (13, "", "0x" + "00" * 40, SERVER)
    assert (bye.kind, bye.flags, error.kind, error.flags) == (8, 0, 7, Flag.NEGATIVE)
    assert ask.conv == ("cotp", HMI, IED, 102, "", 0)


def test_association_and_conclusion() -> None:
    kinds = [2048, 2304, 2560, 2816, 3072, 3328]
    sent = [
        i.dt(i.associate(ber(0xA8, ber(0x80, b"\0")))),
        i.dt(i.associate(ber(0xA9, ber(0x80, b"\0")), 0x0E, 0x61)),
        i.dt(i.associate(ber(0xAA, ber(0xA0, ber(0x88, b"\3"))), 0x0E, 0x61)),
        i.mms(b"\x8b\0"),
        i.mms(b"\x8c\0"),
        i.mms(ber(0xAD, ber(0xA0, ber(0x85, b"\1")))),
    ]
    got = talk_rows(*((number % 2, one) for number, one in enumerate(sent)))
    assert [(r.proto, r.kind, r.size) for r in got] == [
        ("mms", kind, len(one)) for kind, one in zip(kinds, sent, strict=True)
    ]
    assert [r.cause for r in got] == [-1, -1, 8, -1, -1, 5]
    assert got[2].flags == Flag.NEGATIVE


def test_read_and_its_pairing() -> None:
    ask, answer, stray = talk_rows(
        (0, i.mms(READ)), (1, i.mms(RESULTS)), (1, i.mms(i.confirmed(0xA1, 9, b"")))
    )
    assert named(ask) == ("mms", 4, 2, NAME)
    assert (ask.seq, ask.role, ask.flags) == (7, CLIENT, 0)
    assert named(answer) == ("mms", 260, 2, "")
    assert (answer.cause, answer.flags) == (10, Flag.NEGATIVE)
    assert (answer.state, answer.point) == (ask.frame, ask.point)
    assert (stray.kind, stray.flags) == (511, Flag.UNANSWERED)


def values(row: Message) -> list[tuple[int, float]]:
    return [(p.kind, p.value) for p in row.points]


def test_values_of_writes_reports_and_single_reads() -> None:
    oper = ber(0xA2, ber(0x83, b"\1") + ber(0x85, b"\2"))
    write = i.service(5, i.variable_list(ITEM, ber(0x80, b"v")) + ber(0xA0, oper + ber(0x86, b"\7")))
    report = ber(
        0xA0, i.variable_list(ITEM, ITEM) + ber(0xA0, ber(0x80, b"\3") + ber(0x87, b"\x08?\x80\0\0"))
    )
    by_list = ber(0xA0, ber(0xA1, ber(0x80, b"RPT")) + ber(0xA0, ber(0x8A, b"id") + ber(0x85, b"\5")))
    single = i.service(4, ber(0xA1, i.variable_list(ITEM)))
    result = i.service(4, ber(0xA1, ber(0xA2, ber(0x84, b"\6\x80"))))
    got = talk_rows(
        (0, i.mms(i.confirmed(0xA0, 1, write))),
        (1, i.mms(ber(0xA3, report))),
        (1, i.mms(ber(0xA3, by_list))),
        (0, i.mms(i.confirmed(0xA0, 2, single))),
        (1, i.mms(i.confirmed(0xA1, 2, result))),
        (1, i.mms(i.confirmed(0xA1, 9, result))),
    )
    assert [values(r) for r in got] == [
        [(0x83, 1.0), (0x86, 7.0)], [(0x87, 1.0)], [], [], [(0x84, 2.0)], [],
    ]  # fmt: skip
    assert got[0].value == 1.0
    assert got[4].value == got[5].value == 2.0
    assert got[0].points[0].point == got[0].point == got[1].points[0].point == got[4].points[0].point
    for cut in range(60, len(i.mms(i.confirmed(0xA0, 1, write)))):
        rows(talk((0, i.mms(i.confirmed(0xA0, 1, write)))).frames[-1:], cut)


def test_both_sides_may_ask_with_the_same_number() -> None:
    first, other, answer = talk_rows((0, i.mms(READ)), (1, i.mms(READ)), (0, i.mms(RESULTS)))
    assert (first.role, other.role, answer.role) == (CLIENT, CLIENT, SERVER)
    assert answer.state == other.frame
    assert other.conv[1:4] == (IED, HMI, 40000)


REQUESTS = [
    (1, ber(0xA0, ber(0x80, b"\0")) + ber(0xA1, ber(0x81, b"LD0")), -1, "LD0"),
    (5, i.variable_list(ITEM) + ber(0xA0, ber(0x83, b"\1")), 1, NAME),
    (5, ber(0xA1, ber(0x82, b"mine")), -1, "mine"),
    (6, ber(0xA0, ITEM), -1, NAME),
    (6, ber(0xA0, ber(0x80, b"vmd")), -1, "vmd"),
    (4, ber(0xA1, i.variable_list(ber(0x80, b"plain"), ITEM)), 2, NAME),
    (4, ber(0xA1, i.variable_list(ber(0x80, b"plain"))), 1, "plain"),
    (11, ITEM + ber(0xA0, ber(0x30, ber(0xA0, ITEM)) * 3), 3, NAME),
    (12, ITEM, -1, NAME),
    (13, ber(0x80, b"\0") + ber(0xA1, ber(0x80, b"ds")), -1, "ds"),
    (13, ber(0x80, b"\2") + ber(0x82, b"dom"), -1, "dom"),
    (26, ber(0x80, b"dom"), -1, "dom"),
    (44, ber(0x80, b"prog"), -1, "prog"),
    (72, ber(0xA0, ber(0x19, b"/COMTRADE/1.dat")), -1, "/COMTRADE/1.dat"),
    (76, ber(0x19, b"x"), -1, "x"),
    (0, b"\0", -1, ""),
]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: f"{case[0]}-{case[3]}")
def test_what_requests_name(case: tuple[int, bytes, int, str]) -> None:
    number, body, count, name = case
    (row,) = talk_rows((0, i.mms(i.confirmed(0xA0, 1, i.service(number, body)))))
    assert named(row) == ("mms", number, count, name)
    assert row.flags == 0


def test_other_pdus() -> None:
    report = ber(0xA3, ber(0xA0, ber(0xA1, ber(0x80, b"rpt")) + ber(0xA0, ber(0x83, b"\1") * 3)))
    listed = ber(0xA3, ber(0xA0, i.variable_list(ITEM) + ber(0xA0, ber(0x83, b"\1"))))
    refused = ber(0xA2, ber(0x80, b"\7") + ber(0xA2, ber(0xA0, ber(0x87, b"\1"))))
    got = talk_rows(
        (1, i.mms(report)),
        (1, i.mms(listed)),
        (1, i.mms(ber(0xA3, ber(0xA1, b"")))),
        (1, i.mms(refused)),
        (1, i.mms(ber(0xA4, ber(0x80, b"\5") + ber(0x81, b"\1")))),
        (0, i.mms(ber(0x85, b"\6"))),
        (1, i.mms(ber(0x86, b"\6"))),
        (1, i.mms(ber(0xA7, ber(0x80, b"\6") + ber(0xA1, ber(0xA0, ber(0x8A, b"\0")))))),
        (1, i.mms(i.confirmed(0xA1, 3, i.service(2, ber(0x80, b"ACME") + ber(0x81, b"X1"))))),
        (1, i.mms(i.confirmed(0xA1, 3, i.service(1, ber(0xA0, ber(0x1A, b"a") * 5))))),
        (1, i.mms(i.confirmed(0xA1, 3, i.service(5, ber(0x81, b"") + ber(0x80, b"\3"))))),
    )
    assert [r.kind for r in got] == [768, 768, 769, 512, 1024, 1280, 1536, 1792, 258, 257, 261]
    assert [r.cause for r in got] == [-1, -1, -1, 7, 1, -1, -1, 10, -1, -1, 3]
    assert [r.seq for r in got] == [-1, -1, -1, 7, 5, 6, 6, 6, 3, 3, 3]
    assert [r.count for r in got[:2]] == [3, 1]
    assert [r.name for r in got[:2]] == ["rpt", NAME]
    assert got[8].ident == "ACME/X1"
    assert got[9].count == 5
    assert [bool(r.flags & Flag.NEGATIVE) for r in got] == [False] * 3 + [True] * 2 + [False] * 5 + [True]


def test_mms_right_above_the_transport() -> None:
    assert named(talk_rows((0, i.dt(READ)))[0]) == ("mms", 4, 2, NAME)


def test_several_pdus_in_one_presentation() -> None:
    body = ber(0x30, ber(2, b"\3") + ber(0xA0, READ))
    got = talk_rows((0, i.dt(b"\1\0\1\0" + ber(0x61, body * 3))))
    assert [r.kind for r in got] == [4] * 3


def test_segmented_messages() -> None:
    whole = i.session(READ)
    for step in (1, 7, 30, len(whole) - 1):
        parts = i.segments(whole, step)
        got = talk_rows(*((0, part) for part in parts))
        assert [named(r) for r in got[:-1]] == [("cotp", 15, -1, "")] * (len(parts) - 1)
        assert named(got[-1]) == ("mms", 4, 2, NAME)
        assert got[-1].flags == Flag.REASSEMBLED
        assert got[-1].size == sum(map(len, parts))
        joined = talk_rows((0, b"".join(parts)))
        assert [named(r) for r in joined] == [named(r) for r in got]
    # both directions at once, an empty unit, and a message alone afterwards
    first, second = i.segments(whole, len(whole) // 2 + 1)
    got = talk_rows((0, first), (1, i.dt(b"", False)), (1, i.mms(RESULTS)), (0, second), (0, i.mms(READ)))
    assert [r.kind for r in got] == [15, 15, 260, 4, 4]


def test_a_message_too_long_to_keep_is_read_by_its_head() -> None:
    data = ber(0xA0, ber(0x89, bytes(40_000)))
    pdu = i.confirmed(0xA0, 1, i.service(5, i.variable_list(ITEM) + data))
    got = talk_rows(*((0, part) for part in i.segments(i.session(pdu), 1000)), (0, i.mms(READ)))
    assert named(got[-2]) == ("mms", 5, 1, NAME)
    assert not got[-2].flags & Flag.MALFORMED
    assert got[-2].size > 40_000
    assert named(got[-1]) == ("mms", 4, 2, NAME)


def test_a_gap_drops_what_was_gathered() -> None:
    made = talk((0, i.segments(i.session(READ), 20)[0]))
    del made.frames[-1]
    whole = rows(made.frames + talk((0, i.dt(b"", False)), (0, i.mms(READ))).frames[-1:])
    assert named(whole[-1]) == ("mms", 4, 2, NAME)


def test_s7comm_exchange() -> None:
    got = talk_rows(
        (0, i.s7(1, 1, b"\xf0\0\0\1\0\1\1\xe0")),
        (1, i.s7(3, 1, b"\xf0\0\0\1\0\1\0\xf0")),
        (0, i.s7(1, 2, i.s7_items(4, b"\x12\x04\x99\0\0\0", i.s7_item(0x84, 12, 0x50)))),
        (1, i.s7(3, 2, b"\4\2", b"\xff\3\0\1\1\0\x0a\0\0\0")),
        (0, i.s7(1, 3, i.s7_items(5, i.s7_item(0x82, 0, 8)), b"\0\4\0\x08\1")),
        (1, i.s7(3, 3, b"\5\1", b"\x05")),
        (0, i.s7(1, 4, i.s7_text(0x29, 5, "P_PROGRAM"))),
        (1, i.s7(2, 4, b"", error=0x8104)),
    )
    assert [r.kind for r in got] == [496, 1008, 260, 772, 261, 773, 297, 512]
    assert [r.role for r in got] == [CLIENT, SERVER] * 4
    assert [r.count for r in got] == [-1, -1, 2, 2, 1, 1, -1, -1]
    assert [r.aux for r in got] == [-1, -1, -1, 255, 0, 5, -1, -1]
    assert [r.cause for r in got] == [-1, 0, -1, 0, -1, 0, -1, 0x8104]
    assert [r.state for r in got[1::2]] == [r.frame for r in got[::2]]
    assert got[3].point == got[2].point > 0
    assert got[5].point == got[4].point != got[3].point
    assert [r.name for r in got] == [""] * 6 + ["P_PROGRAM", ""]
    assert [r.flags for r in got] == [0] * 5 + [Flag.NEGATIVE, 0, Flag.NEGATIVE]
    assert got[2].conv == ("s7comm", HMI, IED, 102, "", 0)


def test_s7comm_addresses_are_readable() -> None:
    native = Native()
    frames = talk((0, i.s7(1, 2, i.s7_items(4, i.s7_item(0x84, 120, 0x50))))).frames
    row = native.feed(shots(frames))[-1]
    assert native.names.text(int(row.point)) == "0x84/120/0x000050"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameters", "kind", "name"),
    [
        (i.s7_text(0x28, 7, "_INSE", b"\1\x000A00001P"), 296, "_INSE"),
        (i.s7_text(0x28, 7, "P_PROGRAM"), 296, "P_PROGRAM"),
        (i.s7_text(0x1A, 7, "_0A00001P") + b"\x0d1000216000088", 282, "_0A00001P"),
        (i.s7_text(0x1D, 7, "_0B00000A"), 285, "_0B00000A"),
        (b"\x1e\0\0\0\0\0\0\7", 286, ""),
        (b"\x28", 296, ""),
        (b"\x28\0\0\0\0\0\0\0\xff\xff", 296, ""),
        (b"\x29\0\0\0\0\0\xff", 297, ""),
    ],
)
def test_s7comm_jobs_with_names(parameters: bytes, kind: int, name: str) -> None:
    (row,) = talk_rows((0, i.s7(1, 9, parameters)))
    assert (row.kind, row.name, row.flags) == (kind, name, 0)


def test_s7comm_user_data() -> None:
    got = talk_rows(
        (0, i.s7(7, 1, i.s7_user(4, 4, 1), b"\xff\t\0\4\0\x11\0\0")),
        (1, i.s7(7, 1, i.s7_user(8, 4, 1, 0xD402), b"\x0a\0\0\0")),
        (1, i.s7(7, 0, i.s7_user(0, 4, 3), b"\xff\t\0\0")),
        (0, i.s7(7, 2, i.s7_user(4, 2, 1), b"\xff\t\0\x10\0\1\1\1" + i.s7_item(0x83, 0, 16))),
        (1, i.s7(7, 9, i.s7_user(8, 7, 2, 0), b"\xff\t\0\0")),
        (1, i.s7(7, 9, b"\0\1\x12")),
    )
    base = 7 << 16
    assert [r.kind for r in got] == [base + k for k in (0x401, 0x401, 0x403, 0x201, 0x702)] + [7 << 8]
    assert [r.role for r in got[:5]] == [CLIENT, SERVER, SERVER, CLIENT, SERVER]
    assert (got[1].cause, got[1].state, got[1].aux) == (0xD402, got[0].frame, 10)
    assert [r.flags for r in got] == [0, Flag.NEGATIVE, 0, 0, Flag.UNANSWERED, Flag.MALFORMED]
    assert (got[3].count, got[3].point > 0) == (1, True)


def test_s7comm_plus_and_unknown_protocols_are_rows() -> None:
    plus, other, empty = talk_rows((0, i.dt(b"\x72\x03\0\0")), (0, i.dt(b"hello")), (0, i.dt(b"")))
    assert (plus.proto, plus.kind, plus.aux) == ("cotp", 114, 3)
    assert [(r.proto, r.kind, r.flags) for r in (other, empty)] == [("cotp", 15, 0)] * 2


def test_malformed_packets() -> None:
    for bad, kind in (
        (b"\0\x0f\x80", -1),
        (b"\xff\xe0\0", 14),
        (b"\1\xf0\x80", 15),
        (b"\x02\x00\x80", 0),
        (b"\x09\xf0\x80abc", 15),
    ):
        (row,) = talk_rows((0, i.tpkt(bad)))
        assert (row.proto, row.kind, row.flags) == ("cotp", kind, Flag.MALFORMED), bad
    assert talk_rows((0, i.tpkt(b"ab", length=6)), (0, b"GET / HTTP/1.1")) == []
    (long,) = talk_rows((0, i.dt(b"\x32\1\0\0\0\1\0\xff\0\0\4\1")))
    assert long.flags == Flag.MALFORMED
    (inner,) = talk_rows((0, i.mms(ber(0xA0, ber(2, b"\1") + b"\xa4\x20\0"))[:-1] + b"\0"))
    assert inner.kind in (4, 255)
    (empty,) = talk_rows((0, i.dt(b"\x0e\x02\xc1\x00")))
    assert empty.flags == Flag.MALFORMED


GOOD = [
    i.connect(),
    i.dt(i.associate(ber(0xA8, ber(0x80, b"\0")))),
    i.mms(READ),
    i.mms(RESULTS),
    i.dt(READ),
    i.s7(1, 2, i.s7_items(4, i.s7_item(0x84, 12, 0x50), i.s7_item(1, 2, 3))),
    i.s7(3, 2, b"\4\2", b"\xff\3\0\1\1\0\x0a\0\0\0"),
    i.s7(7, 1, i.s7_user(8, 4, 1, 0xD402), b"\x0a\0\0\0"),
    i.s7(1, 4, i.s7_text(0x28, 7, "_INSE", b"\1\x000A00001P")),
]


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_every_cut_of_packet_frame_and_segment(good: bytes) -> None:
    """A short packet, a snap length, a segment border: never an exception, never two rows."""
    (whole,) = talk_rows((0, good))
    for size in range(7, len(good), 3):
        cut = good[:2] + size.to_bytes(2, "big") + good[4:size]
        assert len(talk_rows((0, cut))) <= 1
    frame = talk((0, good)).frames[-1:]
    for snap in range(54, 54 + len(good)):
        got = rows(frame, snap)
        assert len(got) == (snap >= 54 + 7)
        assert all(r.flags & Flag.TRUNCATED and not r.flags & Flag.MALFORMED for r in got)
    for border in range(1, len(good), 3):
        (split,) = talk_rows((0, good[:border]), (0, good[border:]))
        assert (named(split), split.seq, split.size) == (named(whole), whole.seq, whole.size)
