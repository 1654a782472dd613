"""Sampled values: what gets a row, what a second's summary says, and lengths that lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from grid_profiles.vocabulary import ANY_POINT, Flag
from tests.lab.bus import sv_asdu, sv_data, sv_frame, sv_pdu, sv_wave
from tests.reference.rows import PUBLISHER, Message, difference
from tests.reference.run import Native, Shot

STEP = 250_000
FIRST, WINDOW, GAP, REPEAT, SYNCH, SECOND, CONFIG, QUALITY, UNREADABLE = range(1, 10)
SOURCE, TARGET = "00:0c:29:00:00:51", "01:0c:cd:04:00:01"
BEGIN = 10**18


def le(count: int, quality: int = 0, **more: object) -> bytes:
    """One 9-2LE frame."""
    return sv_frame(sv_pdu([sv_asdu(count, sv_data(sv_wave(count), quality), **more)]))  # type: ignore[arg-type]


def shots(counts: Iterable[int], build: Callable[[int], bytes] = le, step: float = STEP) -> list[Shot]:
    return [Shot(BEGIN + round(place * step), build(count)) for place, count in enumerate(counts)]


def kinds(rows: Iterable[Message]) -> list[int]:
    return [row.kind for row in rows]


def read(frames: list[Shot]) -> list[Message]:
    return Native().feed(frames)


def measured(row: Message) -> dict[int, tuple[float, int]]:
    """Points by entry."""
    return {
        point.point[1]: (point.value, point.quality) for point in row.points if isinstance(point.point, tuple)
    }


def test_the_first_frame_has_every_field() -> None:
    body = sv_pdu([sv_asdu(7, sv_data(sv_wave(7)), dataset="MU01/LLN0$PhsMeas1", revision=3, rate=4000)])
    (row,) = read([Shot(5, sv_frame(body, vlan=9))])
    assert (row.proto, row.role, row.src, row.dst, row.stream) == ("sv", PUBLISHER, SOURCE, TARGET, -1)
    assert row.conv == ("sv", SOURCE, TARGET, 0x4000, "MU01", 9)
    assert (row.kind, row.cause, row.count, row.seq, row.state, row.aux) == (FIRST, 3, 1, 7, 2, 4000)
    assert (row.point, row.name, row.ident) == (("MU01", ANY_POINT), "MU01/LLN0$PhsMeas1", "MU01")
    assert (row.size, row.flags, math.isnan(row.value)) == (8 + len(body), 0, True)
    assert row.points == []


def test_a_second_is_one_row_with_rms_frequency_and_losses() -> None:
    rows = read(shots(count % 4000 for count in range(8010)))
    assert kinds(rows) == [FIRST, WINDOW, WINDOW]
    second = rows[2]
    assert (second.frame, second.ts) == (8001, BEGIN + 8000 * STEP)
    assert (second.count, second.seq, second.state, second.aux) == (4000, 3999, 2, 4000)
    assert second.size == 4000 * (len(le(0)) - 18)
    assert second.value == pytest.approx(50.0, abs=1e-4)
    points = measured(second)
    for channel in range(8):
        expected = 0.0 if channel in (3, 7) else (100.0 if channel < 4 else 1e4)
        assert points[channel] == (pytest.approx(expected, abs=0.01), 0)
    assert points[0xFF00][0] == second.value
    assert [points[0xFF01 + i][0] for i in range(4)] == [0.0, 0.0, 0.00025, 0.0]
    assert {point.kind for point in second.points} == {1, 2}


def test_frequency_does_not_need_the_nominal_one() -> None:
    def build(count: int) -> bytes:
        return sv_frame(sv_pdu([sv_asdu(count, sv_data(sv_wave(count, hertz=49.7)))]))

    rows = read(shots(range(4001), build))
    assert rows[-1].value == pytest.approx(49.7, abs=0.01)


def test_two_samples_a_frame_and_another_layout() -> None:
    """IEC 61869-9: F4800S2I4U4, here with six channels, so that values stay counts."""

    def build(count: int) -> bytes:
        values = [sv_data(sv_wave(n, 4800)[:6], 1) for n in (count, count + 1)]
        return sv_frame(sv_pdu([sv_asdu(count + i, data) for i, data in enumerate(values)]))

    rows = read(shots((2 * n % 4800 for n in range(4802)), build, 1e9 / 2400))
    assert kinds(rows) == [FIRST, WINDOW, WINDOW]
    assert rows[0].count == 2
    assert (rows[2].count, rows[2].seq, rows[2].aux) == (2400, 4799, 4800)
    points = measured(rows[2])
    assert points[0] == (pytest.approx(1e5, rel=1e-4), 1)
    assert sorted(points)[:7] == [0, 1, 2, 3, 4, 5, 0xFF00]


@pytest.mark.parametrize(
    ("counts", "kind", "due", "amount"),
    [
        ([0, 1, 2, 5, 6], GAP, 3, 2),
        ([0, 1, 2, 2, 3], REPEAT, 3, 0),
        ([0, 1, 2, 1, 2], REPEAT, 3, 1),
        ([3997, 3998, 3999, 0, 1, 3999], REPEAT, 2, 2),
        ([3998, 3999, 0, *range(1, 4000), 1], GAP, 0, 1),
        ([65_534, 65_535, 1], GAP, 0, 1),
        ([10, 11, 0], REPEAT, 12, 11),
    ],
)
def test_smpcnt_out_of_order(counts: list[int], kind: int, due: int, amount: int) -> None:
    first, event = read(shots(counts, step=100_000))
    assert first.kind == FIRST
    assert (event.kind, event.aux, event.value) == (kind, due, amount)


def test_a_lost_last_sample_is_noticed_and_a_wrong_belief_mended() -> None:
    counts = [*range(3000, 3999), *range(3999), 3999, *range(4000), 0]
    rows = read(shots(counts, step=100_000))
    assert kinds(rows) == [FIRST]


def test_events_of_one_stream() -> None:
    frames = [
        le(0), le(1, synch=1), le(2, synch=1), le(3, synch=1, quality=0x800), le(4, synch=1, quality=0x800),
        le(5, synch=1), le(6, synch=1, revision=2), le(7, synch=1, revision=2, sv_id="MU02"),
    ]  # fmt: skip
    rows = read([Shot(place, data) for place, data in enumerate(frames)])
    assert kinds(rows) == [FIRST, SYNCH, QUALITY, QUALITY, CONFIG, FIRST]
    assert (rows[1].state, rows[1].aux, rows[1].value) == (1, 2, 1)
    assert (rows[2].aux, rows[2].value, rows[2].flags) == (0, 0x800, Flag.TEST)
    assert (rows[3].aux, rows[3].value, rows[3].flags) == (0x800, 0, 0)
    assert (rows[4].cause, rows[4].aux) == (2, 1)
    assert rows[5].ident == "MU02"


def test_simulation_is_a_change_of_quality() -> None:
    body = [sv_pdu([sv_asdu(n, sv_data(sv_wave(n)))]) for n in range(2)]
    rows = read([Shot(0, sv_frame(body[0])), Shot(1, sv_frame(body[1], simulation=True))])
    assert [(row.kind, row.flags) for row in rows] == [(FIRST, 0), (QUALITY, Flag.TEST)]


def test_a_second_source_of_the_same_id() -> None:
    body = [sv_pdu([sv_asdu(n, sv_data(sv_wave(n)))]) for n in range(3)]
    frames = [sv_frame(body[0]), sv_frame(body[1], src="02:00:00:00:00:66"), sv_frame(body[2])]
    rows = read([Shot(place, data) for place, data in enumerate(frames)])
    assert [(row.kind, row.src) for row in rows] == [
        (FIRST, SOURCE),
        (SECOND, "02:00:00:00:00:66"),
        (GAP, SOURCE),
    ]


def test_a_source_that_takes_over_long_after_is_no_second_one() -> None:
    rows = read(
        [Shot(0, le(0)), Shot(3 * 10**9, sv_frame(sv_pdu([sv_asdu(0, b"")]), src="02:00:00:00:00:66"))]
    )
    assert kinds(rows) == [FIRST, FIRST]


def test_after_silence_a_stream_begins_anew() -> None:
    rows = read([Shot(0, le(5)), Shot(1, le(6)), Shot(3 * 10**9, le(100)), Shot(3 * 10**9 + 1, le(101))])
    assert kinds(rows) == [FIRST, WINDOW, FIRST]
    assert rows[1].count == 2


def test_a_clock_that_is_set_back_begins_anew() -> None:
    rows = read([*shots(range(10)), *(Shot(place * STEP, le(place)) for place in range(8000))])
    assert kinds(rows) == [FIRST, WINDOW, FIRST, WINDOW]
    late = [Shot(BEGIN + 10**9 + place * STEP - place % 2 * 10**6, le(place)) for place in range(10)]
    assert kinds(read(late)) == [FIRST]


def test_a_flood_of_events_is_counted_and_told_once_in_a_while() -> None:
    rows = read([*shots([n % 2 * 10 for n in range(1000)], step=100_000), Shot(BEGIN + 10**9, le(0))])
    assert 30 < len(rows) < 70
    window = next(row for row in rows if row.kind == WINDOW)
    points = measured(window)
    assert window.count == 1000
    assert points[0xFF01][0] == 9 * 500
    assert points[0xFF02][0] == 499


@pytest.mark.parametrize(
    "data",
    [
        sv_frame(b"\x60\x00"),
        sv_frame(sv_pdu([], 0)),
        sv_frame(sv_pdu([sv_asdu(1, b"")], 2)),
        sv_frame(sv_pdu([sv_asdu(1, bytes(64))]) + b"\0\0"),
        sv_frame(sv_pdu([sv_asdu(1, bytes(64))[:-3]])),
        sv_frame(sv_pdu([b"\x31\0"])),
        sv_frame(b"\x60\x84\0\0\0\1\0"),
        sv_frame(b"\x60\x80\0\0"),
    ],
)
def test_malformed(data: bytes) -> None:
    rows = read([Shot(1, data), Shot(2, data)])
    assert {row.flags for row in rows} == {Flag.MALFORMED}
    assert UNREADABLE in kinds(rows)


def test_every_truncation() -> None:
    data = sv_frame(sv_pdu([sv_asdu(n, sv_data(sv_wave(n))) for n in (0, 1)]))
    native = Native()
    rows = native.feed([Shot(1, data[:size], len(data)) for size in range(18, len(data))])
    told = [row for row in rows if row.proto == "sv"]
    assert len(told) > 3
    assert all(row.flags == Flag.TRUNCATED for row in told)
    assert not any(row.points for row in told)


def test_a_snap_length_hides_samples_but_no_gap() -> None:
    def build(count: int) -> bytes:
        return sv_frame(sv_pdu([sv_asdu(count + i, sv_data(sv_wave(count))) for i in range(2)]))

    frames = shots((2 * n % 4000 for n in range(4000)), build)
    cut = [Shot(shot.ts, shot.data[:64], len(shot.data)) for shot in frames]
    assert kinds(read(cut)) == [FIRST, UNREADABLE]


def test_not_a_savpdu_stays_open() -> None:
    native = Native()
    (row,) = native.feed([Shot(1, sv_frame(b"\x61\x02\0\0"))])
    assert (row.proto, native.engine.open[0]) == ("ethernet", True)


def test_rows_do_not_depend_on_batches() -> None:
    counts = [n % 4000 for n in range(4100) if n % 1000 != 999]
    frames = shots(counts)
    whole = read(frames)
    native = Native()
    parts = [row for begin in range(0, len(frames), 37) for row in native.feed(frames[begin : begin + 37])]
    assert [str(row) for row in whole] == [str(row) for row in parts]


def test_the_table_of_streams_is_bounded() -> None:
    rng = np.random.default_rng(1)
    native = Native()
    for _ in range(3):
        ids = rng.integers(0, 10**9, 1000)
        native.feed([Shot(1, sv_frame(sv_pdu([sv_asdu(0, bytes(8), sv_id=f"X{n}")]))) for n in ids])
    assert native.counters["sv_frames"] == 3000
    assert native.counters["sv_evicted"] > 1500


def test_what_is_not_parsed_again_is_read_as_if_it_were() -> None:
    """Frames of the shape of the last one take a short way; the rows must be those of the long one."""
    random = np.random.default_rng(7)
    frames, ts, count = [], BEGIN, 0
    for _ in range(6_000):
        ts += int(
            random.choice([STEP, STEP, STEP, 30_000_000, 3_000_000_000], p=[0.5, 0.3, 0.17, 0.02, 0.01])
        )
        count = (count + int(random.choice([1, 1, 1, 0, 2, 300]))) % 4000
        quality = int(random.choice([0, 0, 0, 0, 0x800, 0x10]))
        data = bytearray(le(count, quality if random.random() < 0.1 else 0))
        if random.random() < 0.05:
            data[int(random.integers(12, len(data)))] ^= int(random.integers(1, 256))
        if random.random() < 0.01:
            del data[int(random.integers(14, len(data))) :]
        cut = int(random.integers(20, 90)) if random.random() < 0.01 else len(data)
        frames.append(Shot(ts, bytes(data[:cut]), len(data)))
    fast, slow = Native(), Native()
    expected: list[Message] = []
    for shot in frames:
        slow.engine._memory["sv"]["streams"]["shape_end"] = 0
        expected += slow.feed([shot])
    rows = fast.feed(frames)
    assert len(rows) > 1_000
    assert difference(rows, expected) == ""
    assert fast.counters == slow.counters
