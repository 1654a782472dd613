"""Synchrophasors: kinds, checksum, configuration and what data mean under it, every cut, TCP and UDP."""

from __future__ import annotations

import math

import pytest

from grid_profiles.vocabulary import Flag
from tests.lab import c37118 as c
from tests.lab import frames as f
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, shots

PDC, PMU = "10.0.0.1", "10.0.0.2"
FLOATS = 0b1110


def rows(frames: list[f.Stamped], snaplen: int = 1 << 20) -> list[Message]:
    return [row for row in Native().feed(shots(frames, snaplen)) if row.proto == "c37118"]


def talk_rows(*sent: tuple[int, bytes]) -> list[Message]:
    """Messages of a TCP connection; each segment with the side that sends it (0 the data concentrator)."""
    talk = f.Talk(PDC, PMU, 4712)
    talk.open(0)
    for number, (side, data) in enumerate(sent, 1):
        (talk.server if side else talk.client)(number, data)
    return rows(talk.frames)


def points(row: Message) -> list[tuple[int, object, float, int]]:
    return [(p.kind, p.point, p.value, p.quality) for p in row.points]


def test_a_session() -> None:
    data = c.frame(0, c.block(FLOATS, 2, 50.5, -0.25, [1.5], 1, 0x4200), quality=3)
    ask, answer, on, first = talk_rows(
        (0, c.command(5)), (1, c.config([c.pmu(FLOATS, 2, 1, 1)])), (0, c.command(2)), (1, data)
    )
    assert [r.kind for r in (ask, answer, on, first)] == [1029, 3, 1026, 0]
    assert [r.role for r in (ask, answer)] == [CLIENT, SERVER]
    assert ask.conv == answer.conv == ("c37118", PDC, PMU, 4712, "PMU 7", 0)
    assert (answer.count, answer.aux, answer.name, answer.flags) == (1, 50, "STATION A", 0)
    assert (first.point, first.seq, first.state, first.size) == (7, 500_000, 3, len(data))
    assert (first.cause, first.value, first.flags) == (1, 50.5, Flag.TEST)
    base = 7 << 16
    assert points(first) == [(1, base | 1, 50.5, 1), (3, base | 3, -0.25, 1), (4, base | 4, 1.5, 1)]


def test_integers_and_several_pmus() -> None:
    pmus = [c.pmu(0, 1, 2, 0), c.pmu(FLOATS, 0, 0, 2, "B", 8)]
    body = c.block(0, 1, -20, 150, [3, -4]) + c.block(FLOATS, 0, 49.5, 1.0, (), 2, 0x8000)
    _, row = talk_rows((1, c.config(pmus)), (1, c.frame(0, body)))
    first, second = 7 << 16, 1 << 32 | 7 << 16
    assert points(row) == [
        (2, first | 2, -20, 0),
        (3, first | 3, 1.5, 0),
        (4, first | 4, 3, 0),
        (4, first | 0x104, -4, 0),
        (1, second | 1, 49.5, 2),
        (3, second | 3, 1.0, 2),
    ]
    assert math.isnan(row.value)


def test_configuration_3() -> None:
    """Names with lengths of their own; kept as a configuration 2 is; of one in several frames the count."""
    pmus = [c.pmu3(0, 1, 2, 0, "NORTH"), c.pmu3(FLOATS, 0, 0, 2, "", 8)]
    body = c.block(0, 1, -20, 150, [3, -4]) + c.block(FLOATS, 0, 49.5, 1.0, (), 2, 0x8000)
    told, row = talk_rows((1, c.config3(pmus, 25)), (1, c.frame(0, body)))
    assert (told.kind, told.count, told.aux, told.name, told.flags) == (5, 2, 25, "NORTH", 0)
    assert [p.value for p in row.points] == [-20, 1.5, 3, -4, 49.5, 1.0]
    part, row = talk_rows((1, c.config3(pmus, more=1)), (1, c.frame(0, body)))
    assert (part.count, part.aux, part.name, row.points) == (2, -1, "", [])
    whole = b"".join(pmus)
    for size in range(len(whole)):
        broken, row = talk_rows((1, c.config3([whole[:size], b""])), (1, c.frame(0, body)))
        assert (broken.flags, row.points) == (Flag.MALFORMED, []), size


def test_data_need_a_configuration_of_their_size() -> None:
    body = c.block(FLOATS, 2, 50.5, 0.0, status=0xC000)
    assert talk_rows((1, c.frame(0, body)))[0].cause == 3
    for other in ([c.pmu(FLOATS, 3, 0, 0)], [c.pmu(FLOATS, 2, 0, 0)] * 2, []):
        assert talk_rows((1, c.config(other)), (1, c.frame(0, body)))[1].points == []
    one, zero = c.config([c.pmu(FLOATS, 2, 0, 0)]), c.config([c.pmu(FLOATS, 2, 0, 0)], kind=2)
    assert talk_rows((1, zero), (1, c.frame(0, body)))[1].points == []
    assert len(talk_rows((1, one), (1, c.frame(0, body, ident=9)))[1].points) == 0
    assert len(talk_rows((1, one), (1, c.frame(0, body)))[1].points) == 2


@pytest.mark.parametrize(
    "sent",
    [
        c.frame(0, c.block(0, 0, 0, 0), bad=True),
        c.command(1, bad=True),
        c.frame(4, b""),
        c.frame(4, b"\0"),
        c.config([c.pmu(0, 1, 1, 1)], count=2),
        c.config([c.pmu(0, 1, 1, 1)], count=65535),
        c.config([c.pmu(0, 1, 1, 1), b"x"], count=1),
        c.frame(3, b"\0\0\0"),
    ],
)
def test_malformed(sent: bytes) -> None:
    (row,) = talk_rows((1, sent))
    assert row.flags == Flag.MALFORMED
    assert row.kind < 1024
    assert row.points == []


def test_a_configuration_that_breaks_off_is_forgotten() -> None:
    good, bad = [c.pmu(FLOATS, 0, 0, 0)], [c.pmu(FLOATS, 0, 0, 0)[:20]]
    data = (1, c.frame(0, c.block(FLOATS, 0, 50, 0)))
    assert talk_rows((1, c.config(good)), (1, c.config(bad, count=1)), data)[2].points == []


def test_slow_streams_have_no_rate() -> None:
    assert talk_rows((1, c.config([], rate=-5)))[0].aux == -1


def test_segments_with_several_frames_and_frames_over_segments() -> None:
    sent = c.config([c.pmu(FLOATS, 1, 0, 0)]) + 2 * c.frame(0, c.block(FLOATS, 1, 50, 0))
    whole = talk_rows((1, sent))
    assert [len(row.points) for row in whole] == [0, 2, 2]
    for cut in range(1, len(sent), 7):
        parts = talk_rows((1, sent[:cut]), (1, sent[cut:]))
        assert [(r.kind, r.size, r.seq, len(r.points)) for r in parts] == [
            (r.kind, r.size, r.seq, len(r.points)) for r in whole
        ]


def test_udp_and_every_cut() -> None:
    setting = c.config([c.pmu(FLOATS, 1, 0, 1)])
    data = c.frame(0, c.block(FLOATS, 1, 50, 0, (), 1))
    frames = [f.udp_frame(PMU, PDC, 4713, 4712, setting), f.udp_frame(PMU, PDC, 4713, 4712, data)]
    config, row = rows([(0, one) for one in frames])
    assert config.conv == row.conv == ("c37118", PDC, PMU, 4713, "PMU 7", 0)
    assert len(row.points) == 2
    (asked,) = rows([(0, f.udp_frame(PDC, PMU, 4712, 4713, c.command(1)))])
    assert (asked.role, asked.kind, asked.conv) == (CLIENT, 1025, ("c37118", PDC, PMU, 4713, "PMU 7", 0))
    for snap in range(42, len(frames[1])):
        got = rows([(0, frames[1])], snap)
        assert len(got) == (snap >= 42 + 14)
        assert all(r.flags == Flag.TRUNCATED and r.points == [] for r in got)
    for size in range(17, len(data)):
        (short,) = rows([(0, f.udp_frame(PMU, PDC, 4713, 4712, data[:size]))])
        assert short.flags == Flag.MALFORMED
    assert rows([(0, f.udp_frame(PMU, PDC, 4713, 4712, b"hello, this is something else"))]) == []
    assert rows([(0, f.udp_frame(PMU, PDC, 4713, 4712, data + b"\0"))])[0].flags == Flag.MALFORMED


def test_foreign_bytes_on_the_port() -> None:
    assert talk_rows((1, b"GET / HTTP/1.1\r\n\r\n"), (1, b"\xaa\x01\x00\x0fshort frame")) == []
