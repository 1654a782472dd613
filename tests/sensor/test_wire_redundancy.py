"""PRP and HSR: supervision messages, tags, and second copies that are not decoded twice."""

from __future__ import annotations

import pytest

from grid_profiles.vocabulary import Flag
from sensor.native import NativeEngine
from tests.lab import bus as b
from tests.lab import frames as f
from tests.reference.rows import PUBLISHER, Message
from tests.reference.run import Native, Shot

NODE, GROUP = "02:00:00:00:00:11", "01:15:4e:00:01:00"
MILLI = 1_000_000
BOTH = bytes.fromhex("020000000011020000000012")


def read(*data: bytes) -> list[Message]:
    """Rows of frames half a second apart."""
    return Native().feed([Shot(place * 500 * MILLI, frame) for place, frame in enumerate(data)])


def test_supervision_has_every_field() -> None:
    native = Native()
    (row,) = native.feed([Shot(1, b.prp_supervision(300))])
    assert (row.proto, row.role, row.src, row.dst) == ("prp_supervision", PUBLISHER, NODE, GROUP)
    assert row.conv == ("prp_supervision", NODE, GROUP, 0, "", 0)
    assert (row.kind, row.seq, row.size, row.flags) == (20, 300, 46, 0)
    assert isinstance(row.point, int)
    assert native.names.text(row.point) == NODE


@pytest.mark.parametrize(
    ("frame", "kind", "seq", "named", "flags"),
    [
        (b.prp_supervision(6, 23, BOTH), 23, 6, True, 0),
        (b.prp_supervision(7, 21, more=b"\x1e\6\2\0\0\0\0\x99\0\0"), 21, 7, True, 0),
        (b.prp_supervision(11, 30), 30, 11, False, 0),
        (b.prp_supervision(10, 20, b"\1\2\3"), 20, 10, False, Flag.MALFORMED),
        (b.prp_supervision(0, version=0), 0, -1, False, 0),
        (b.with_hsr(b.prp_supervision(9, 23), 77), 23, 9, True, 0),
        (b.with_trailer(b.prp_supervision(8), 99), 20, 8, True, 0),
        (b.prp_supervision(5, more=b"\x1e\x80"), 20, 5, True, Flag.MALFORMED),
    ],
    ids=["two addresses", "box behind", "box only", "short", "version 0", "hsr", "prp", "overrun"],
)
def test_supervision_variants(frame: bytes, kind: int, seq: int, named: bool, flags: int) -> None:
    (row,) = read(frame)
    assert (row.kind, row.seq, row.point != -1, row.flags) == (kind, seq, named, flags)


def test_supervision_truncations() -> None:
    data = b.prp_supervision(300)[:28]
    for size in range(16, 28):
        (row,) = Native().feed([Shot(1, data[:size], 60)])
        assert row.proto == "prp_supervision"
        assert row.size == 46
        assert row.flags == Flag.TRUNCATED


GOOSE = f.goose_frame(
    "01:0c:cd:01:00:01", NODE, 1, f.goose_pdu("R", 2000, "D", "g", 10**18, 1, 0, [f.g_bool(True)]), vlan=None
)
TAGGED = f.goose_frame(
    "01:0c:cd:01:00:01", NODE, 1, f.goose_pdu("R", 2000, "D", "g", 10**18, 1, 0, [f.g_bool(True)]), vlan=5
)
COPIES = [
    (b.with_trailer(GOOSE, 5, 10), b.with_trailer(GOOSE, 5, 11)),
    (b.with_trailer(TAGGED, 5, 10, tags=1), b.with_trailer(TAGGED, 5, 11, tags=1)),
    (b.with_trailer(TAGGED, 5, 10), b.with_trailer(TAGGED, 5, 11)),
    (b.with_hsr(GOOSE, 5, 0), b.with_hsr(GOOSE, 5, 1)),
]


@pytest.mark.parametrize(("first", "second"), COPIES, ids=["prp", "prp vlan", "prp vlan counted", "hsr"])
def test_the_second_copy_is_not_decoded(first: bytes, second: bytes) -> None:
    native = Native()
    rows = native.feed([Shot(0, first), Shot(3 * MILLI, second), Shot(900 * MILLI, first)])
    assert [(row.proto, row.frame, row.flags) for row in rows] == [("goose", 1, 0), ("goose", 3, 0)]
    assert (native.counters["duplicates"], native.counters["frames"], native.counters["claimed"]) == (1, 3, 3)
    assert not native.engine.unclaimed.any()


def test_a_copied_number_hides_no_other_frame() -> None:
    other = b.with_trailer(GOOSE[:-1] + b"\0", 5, 11)
    rows = read_close(b.with_trailer(GOOSE, 5, 10), other, b.with_trailer(GOOSE, 6, 10))
    assert [row.frame for row in rows] == [1, 2, 3]


def read_close(*data: bytes, engine: Native | None = None) -> list[Message]:
    return (engine or Native()).feed([Shot(place * 100_000, frame) for place, frame in enumerate(data)])


def test_without_a_trailer_equal_frames_are_decoded() -> None:
    assert len(read_close(GOOSE, GOOSE, b.with_trailer(GOOSE, 1, 9), b.with_trailer(GOOSE, 1, 9))) == 4
    wrong_size = GOOSE + b"\0\5\xa0\x07\x88\xfb"
    assert len(read_close(wrong_size, wrong_size)) == 2


def test_mirrored_copies_are_dropped_when_asked() -> None:
    native = Native()
    native.engine = NativeEngine(native.names, copies="drop")
    rows = native.feed([Shot(0, GOOSE), Shot(MILLI // 2, GOOSE), Shot(5 * MILLI, GOOSE)])
    assert [row.frame for row in rows] == [1, 3]
    assert native.counters["copies"] == 1


def beats(count: int, copied: int, first: int = 0) -> list[Shot]:
    """Datagrams 2 ms apart, of which every ``copied``-th comes twice."""
    made = []
    for number in range(first, first + count):
        data = f.udp_frame("10.0.0.1", "10.0.0.2", 7, 9_999, number.to_bytes(4, "big") * 9)
        made += [Shot(2 * MILLI * number, data)] * (2 if copied and number % copied == 0 else 1)
    return made


@pytest.mark.parametrize("batch", [1, 700, 100_000])
def test_copies_go_once_a_tenth_of_the_frames_are_some(batch: int) -> None:
    """The block in which they are noticed is decoded whole, and after it only first copies."""
    shots = beats(3000, 2)
    native = Native()
    native.engine = NativeEngine(native.names, copies="auto")
    rows = [row for n in range(0, len(shots), batch) for row in native.feed(shots[n : n + batch])]
    watched = 1024
    assert native.counters["copies_kept"] == pytest.approx(watched / 3, abs=1)
    assert native.counters["copies"] == 1500 - native.counters["copies_kept"]
    assert len(rows) == 3000 + native.counters["copies_kept"]


def test_few_copies_are_decoded_and_looked_for_again_later() -> None:
    native = Native()
    native.engine = NativeEngine(native.names, copies="auto")
    native.feed(beats(1000, 20))
    native.feed(beats(15_500, 0, first=1000))
    assert native.counters["copies"] == 0
    native.feed(beats(3000, 3, first=16_500))
    assert native.counters["copies"] > 300


def test_frames_cut_by_the_capture_are_no_copies() -> None:
    frame = b.with_trailer(GOOSE, 5, 10)
    native = Native()
    native.engine = NativeEngine(native.names, copies="drop")
    rows = native.feed([Shot(place, frame[:50], len(frame)) for place in range(2)])
    assert len(rows) == 2


def test_what_stands_behind_an_hsr_tag_is_decoded() -> None:
    rows = read(b.with_hsr(GOOSE, 1), b.with_hsr(b.ptp_frame(b.ptp(b.SYNC)), 2))
    assert [row.proto for row in rows] == ["goose", "ptp"]
    nested = b.with_hsr(b.with_hsr(GOOSE, 1), 1)
    native = Native()
    native.feed([Shot(0, nested), Shot(1, b.with_hsr(GOOSE, 1)[:19])])
    assert (native.counters["malformed"], native.counters["truncated"]) == (1, 1)
