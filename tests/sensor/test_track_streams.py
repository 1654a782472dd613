"""TCP: PDUs over segments, order, gaps, repetitions, connections; each also against the reference."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from grid_profiles.vocabulary import Flag
from sensor.track.streams import HOLES
from tests.lab import frames as f
from tests.reference.rows import CLIENT, SERVER, Message
from tests.reference.run import Native, decode, shots

S = 1_000_000_000
A, B = "10.0.0.1", "10.0.0.2"
COMMAND = f.apci_i(1, 2, f.asdu(45, 6, 1, [(4005, f.e_single_command(True))]))
FLOAT = f.apci_i(2, 2, f.asdu(13, 3, 1, [(7, f.e_float(1.5))]))
TEST = f.apci_u(f.TESTFR_ACT)
READ = f.modbus_adu(7, 1, f.mb_read(3, 100, 2))
ANSWER = f.modbus_adu(7, 1, f.mb_read_response(3, [7, 8]))
PDUS = [(2404, "iec104", COMMAND + TEST), (502, "modbus", READ + READ)]


def talk(port: int = 2404, opened: bool = True, isn: tuple[int, int] = (1000, 5000)) -> f.Talk:
    new = f.Talk(A, B, port, isn=isn)
    if opened:
        new.open(0)
    else:
        new._next = list(isn)
    return new


def messages(rows: list[Message], proto: str) -> list[Message]:
    return [row for row in rows if row.proto == proto]


@pytest.mark.parametrize(("port", "proto", "octets"), PDUS)
@pytest.mark.parametrize("isn", [(1000, 5000), (2**32 - 9, 2**32 - 3)])
def test_two_pdus_cut_anywhere(port: int, proto: str, octets: bytes, isn: tuple[int, int]) -> None:
    """Over two segments and over three: the same messages, each in the frame of its last octet.

    Every pair of cuts is a connection of its own, so that one pass decodes them all.
    """
    cuts = [(one, two) for one in range(1, len(octets)) for two in range(one, len(octets) + 1)]
    frames: list[f.Stamped] = []
    ends: list[list[int]] = []  # of the segments, in octets
    begins: list[int] = []  # number of the frame before the first segment
    for number, (one, two) in enumerate(cuts):
        cut = f.Talk(A, B, port, sport=10_000 + number, isn=isn)
        cut.open(0)
        begins.append(len(frames) + len(cut.frames))
        parts = [part for part in (octets[:one], octets[one:two], octets[two:]) if part]
        ends.append([sum(map(len, parts[: i + 1])) for i in range(len(parts))])
        for part in parts:
            cut.client(S, part)
        frames += cut.frames
    rows = messages(decode(frames), proto)
    assert len(rows) == 2 * len(cuts)
    size = rows[0].size
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        borders = ends[number]
        assert first.frame == begins[number] + 1 + next(i for i, end in enumerate(borders) if end >= size)
        assert second.frame == begins[number] + len(borders)
        split = [any(0 < end < size for end in borders), any(size < end < len(octets) for end in borders)]
        assert [bool(row.flags & Flag.REASSEMBLED) for row in (first, second)] == split
        assert (first.kind, first.point, first.seq) == (rows[0].kind, rows[0].point, rows[0].seq)
        assert (second.kind, second.point, second.size) == (rows[1].kind, rows[1].point, rows[1].size)


def test_octet_by_octet() -> None:
    for port, proto, octets in PDUS:
        slow = talk(port)
        for number in range(len(octets)):
            slow.client((1 + number) * S, octets[number : number + 1])
        assert len(messages(decode(slow.frames), proto)) == 2


def test_many_apdus_in_a_segment() -> None:
    busy = talk()
    busy.server(S, (FLOAT + f.apci_s(3) + TEST) * 40)
    rows = messages(decode(busy.frames), "iec104")
    assert [row.kind for row in rows] == [13, 256, 512 + 16] * 40
    assert {row.frame for row in rows} == {4}


def test_retransmission_is_flagged_and_moves_nothing() -> None:
    again = talk(502)
    again.client(S, READ)
    again.segment(2 * S, 0, f.ACK | f.PSH, READ, seq=1001)
    again.server(3 * S, ANSWER)
    again.segment(4 * S, 1, f.ACK | f.PSH, ANSWER, seq=5001)
    request, repeated, response, late = messages(decode(again.frames), "modbus")
    assert (request.flags, response.flags) == (0, 0)
    assert repeated.flags == late.flags == Flag.RETRANSMITTED
    assert response.state == request.frame == late.state


def test_gap_is_flagged_once_on_the_next_message() -> None:
    lossy = talk()
    lossy.client(S, COMMAND)
    lossy._next[0] += 100  # never captured
    lossy.client(2 * S, TEST + TEST)
    lossy.client(3 * S, TEST)
    rows = messages(decode(lossy.frames), "iec104")
    assert [row.flags for row in rows] == [0, Flag.GAP, 0, 0]


def test_gap_waits_for_a_message() -> None:
    """The segment behind the hole holds only the head of an APDU: the flag comes with its end."""
    lossy = talk()
    lossy._next[0] += 7
    lossy.client(S, COMMAND[:5])
    lossy.client(2 * S, COMMAND[5:])
    (row,) = messages(decode(lossy.frames), "iec104")
    assert row.flags == Flag.GAP | Flag.REASSEMBLED


def test_gap_gives_up_what_waits() -> None:
    lossy = talk()
    lossy.client(S, COMMAND[:9])
    lossy._next[0] += 50
    lossy.client(2 * S, TEST)
    native = Native()
    (row,) = messages(native.feed(shots(lossy.frames)), "iec104")
    assert (row.kind, row.flags) == (512 + 16, Flag.GAP)
    assert (native.counters["gaps"], native.counters["lost_waiting"]) == (1, 1)
    decode(lossy.frames)


@pytest.mark.parametrize("old", range(1, len(COMMAND)))
def test_overlap_skips_what_was_read(old: int) -> None:
    """A segment that repeats the last octets and goes on: the new ones are read once."""
    over = talk()
    over.client(S, COMMAND)
    over.segment(2 * S, 0, f.ACK, COMMAND[-old:] + TEST, seq=1001 + len(COMMAND) - old)
    rows = messages(decode(over.frames), "iec104")
    assert [(row.kind, row.flags) for row in rows] == [(45, 0), (512 + 16, 0)]


def test_keep_alive_is_no_message() -> None:
    idle = talk()
    idle.client(S, TEST)
    idle.segment(2 * S, 0, f.ACK, TEST[-1:], seq=1000 + len(TEST))
    idle.segment(3 * S, 0, f.ACK, b"", seq=1000 + len(TEST))
    native = Native()
    assert len(messages(native.feed(shots(idle.frames)), "iec104")) == 1
    assert native.counters["retransmitted"] == 0
    assert not native.engine.unclaimed[-2:].any()
    decode(idle.frames)


def test_connection_rows() -> None:
    life = talk(9999)
    life.client(S, b"not ours")
    life.close(2 * S)
    rows = decode(life.frames)
    assert [(row.kind, row.role) for row in rows] == [
        (1, CLIENT), (2, SERVER), (3, CLIENT), (3, SERVER),
    ]  # fmt: skip
    assert {row.conv for row in rows} == {("tcp", A, B, 9999, "", 0)}
    assert {row.stream for row in rows} == {0}


def test_reset() -> None:
    dead = talk()
    dead.reset(S, side=1)
    assert [(row.kind, row.role) for row in decode(dead.frames)][-1] == (4, SERVER)


@pytest.mark.parametrize("side", [0, 1])
def test_start_in_the_middle(side: int) -> None:
    """The owner of the port serves, whoever is heard first; the first message says how it began."""
    late = talk(opened=False)
    (late.server if side else late.client)(S, FLOAT + TEST)
    (late.client if side else late.server)(2 * S, TEST)
    rows = decode(late.frames)
    assert [(row.proto, row.kind) for row in rows][:2] == [("tcp", 5), ("iec104", 13)]
    assert [bool(row.flags & Flag.MIDSTREAM) for row in rows] == [True, True, False, False]
    assert [row.role for row in rows] == ([SERVER] * 3 + [CLIENT] if side else [CLIENT] * 3 + [SERVER])
    assert {row.conv[1:3] for row in rows} == {(A, B)}


def test_the_controlled_side_may_open() -> None:
    """An outstation that dials in from port 2404 stays the server of the protocol."""
    inward = f.Talk(B, A, 40000, sport=2404)
    inward.open(0)
    inward.client(S, FLOAT)
    rows = decode(inward.frames)
    assert rows[0].role == CLIENT
    assert (rows[-1].role, rows[-1].conv) == (SERVER, ("iec104", A, B, 2404, "", 0))


def test_ports_are_used_again() -> None:
    first, second = talk(502), talk(502, isn=(900_000, 700_000))
    first.client(S, READ)
    first.client(S, ANSWER[:5])
    second.client(3 * S, READ)
    second.server(4 * S, ANSWER)
    later = [(ts + 2 * S, data) for ts, data in second.frames]
    rows = decode(first.frames + later)
    assert [row.stream for row in rows if row.proto == "modbus"] == [0, 1, 1]
    assert rows[-1].state == rows[-2].frame
    assert rows[-2].flags == 0


def test_a_repeated_handshake_is_one_connection() -> None:
    slow = talk(opened=False)
    slow.segment(0, 0, f.SYN)
    slow.segment(1, 0, f.SYN, seq=1000)
    slow.segment(2, 1, f.SYN | f.ACK)
    slow.segment(3, 1, f.SYN | f.ACK, seq=5000)
    slow.client(S, TEST)
    rows = decode(slow.frames)
    assert [row.kind for row in rows] == [1, 1, 2, 2, 512 + 16]
    assert {row.stream for row in rows} == {0}
    assert rows[-1].flags == 0


def test_data_in_the_syn() -> None:
    fast = talk(opened=False)
    fast.segment(0, 0, f.SYN, TEST)
    fast._next[0] = 1001 + len(TEST)
    fast.client(S, COMMAND)
    rows = messages(decode(fast.frames), "iec104")
    assert [(row.kind, row.flags) for row in rows] == [(512 + 16, 0), (45, 0)]


def test_data_behind_a_fin() -> None:
    end = talk()
    end.segment(S, 0, f.FIN | f.ACK, TEST)
    end.segment(2 * S, 0, f.FIN | f.ACK, TEST, seq=1001)
    rows = messages(decode(end.frames), "iec104")
    assert [row.flags for row in rows] == [0, Flag.RETRANSMITTED]


def test_a_length_that_lies_does_not_hold_the_stream() -> None:
    """An ADU that claims 60,000 octets is not waited for; the stream is read on."""
    liar = talk(502)
    liar.client(S, f.modbus_adu(1, 1, bytes(600), length=60_000))
    liar.client(2 * S, bytes(600))
    liar.client(3 * S, READ)
    native = Native()
    rows = messages(native.feed(shots(liar.frames)), "modbus")
    assert [row.seq for row in rows] == [7]
    assert native.counters["undecoded_bytes"] > 600
    decode(liar.frames)


@pytest.mark.parametrize(("port", "proto", "octets"), PDUS)
def test_snap_length_in_the_middle_of_a_stream(port: int, proto: str, octets: bytes) -> None:
    """Cut segments give truncated heads; nothing is joined over what the capture left out."""
    cut = talk(port)
    for number in range(4):
        cut.client((2 + number) * S, octets[:-3])
        cut.client((2 + number) * S + 1, octets[-3:] + octets)
    full = max(len(data) for _, data in cut.frames)
    for snaplen in range(54, full):
        rows = messages(decode(shots(cut.frames, snaplen)), proto)
        for row in rows:
            if row.flags & Flag.TRUNCATED:
                assert row.points == []
                assert not row.flags & Flag.MALFORMED


def test_waiting_octets_are_not_joined_over_a_cut() -> None:
    frames = talk()
    frames.client(S, COMMAND[:4])
    frames.client(2 * S, COMMAND[4:10])
    frames.client(3 * S, COMMAND[10:] + TEST)
    captured = shots(frames.frames)
    captured[-2].data = captured[-2].data[:-2]
    rows = messages(decode(captured), "iec104")
    assert [row.kind for row in rows if not row.flags] == [512 + 16]
    assert 45 not in [row.kind for row in rows]


SEGMENTS = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(-30, 30), st.integers(1, 40), st.sampled_from([16, 24, 17, 20, 2, 18])
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


@given(SEGMENTS, st.sampled_from([502, 2404, 7777]), st.booleans())
@example([(1, 0, 5, 16), (1, 30, 1, 17), (1, 0, 16, 2)], 502, False)
@example(
    [(0, 0, n, flags) for n, flags in ((1, 16), (1, 16), (22, 16), (32, 16), (1, 2), (15, 2))], 502, False
)
def test_any_order_of_segments(segments: list[tuple[int, int, int, int]], port: int, opened: bool) -> None:
    """Segments that start before, at or behind what is expected, with any flags."""
    streams = {
        502: (READ * 30, ANSWER * 30),
        2404: (COMMAND * 40, (FLOAT + TEST) * 30),
        7777: (bytes(999),) * 2,
    }
    wild = talk(port, opened)
    place = [0, 0]
    for number, (side, shift, size, flags) in enumerate(segments):
        at = max(0, place[side] + (shift if shift % 3 == 0 else 0))
        data = streams[port][side][at : at + size]
        wild.segment((1 + number) * S, side, flags, data, seq=(1001, 5001)[side] + at)
        place[side] = max(place[side], at + len(data))
    decode(wild.frames)


def test_a_forged_segment_does_not_lead_the_sensor_away() -> None:
    """Far outside the window it is read and marked; the stream goes on as if it had not been."""
    wild = talk(502)
    wild.client(S, READ)
    wild.segment(2 * S, 0, f.ACK, READ, seq=1_500_000_000)
    wild.client(3 * S, READ)
    rows = messages(decode(wild.frames), "modbus")
    assert [row.flags for row in rows] == [0, Flag.GAP, 0]


def test_a_stream_that_really_moved_is_followed() -> None:
    wild = talk(502)
    wild.client(S, READ)
    for number in range(3):
        wild.segment(2 * S + number, 0, f.ACK, READ, seq=1_500_000_000 + number * len(READ))
    rows = messages(decode(wild.frames), "modbus")
    assert [row.flags for row in rows] == [0, Flag.GAP, Flag.GAP, 0]


def test_a_late_segment_is_no_repetition() -> None:
    wild = talk(502)
    wild.client(S, READ)
    wild.segment(2 * S, 0, f.ACK, READ, seq=1001 + 2 * len(READ))
    wild.segment(3 * S, 0, f.ACK, READ, seq=1001 + len(READ))
    wild.segment(4 * S, 0, f.ACK, READ, seq=1001 + len(READ))
    native = Native()
    rows = messages(native.feed(shots(wild.frames)), "modbus")
    assert [row.flags for row in rows] == [0, Flag.GAP, Flag.LATE, Flag.RETRANSMITTED]
    assert native.counters["reordered"] == 1
    decode(wild.frames)


def test_other_bytes_for_the_same_place() -> None:
    wild = talk(502)
    wild.client(S, READ)
    wild.segment(2 * S, 0, f.ACK, READ[:-1] + b"\x09", seq=1001)
    every = decode(wild.frames)
    assert [row.flags for row in messages(every, "modbus")] == [0, Flag.RETRANSMITTED | Flag.CONFLICT]
    assert [row.kind for row in messages(every, "tcp")][-1] == 6


def seen(*kept: int, acked: int = 3, after: int = S, again: bool = False) -> list[tuple[int, int, int]]:
    """(frame, size, count) of the rows about unseen bytes, of three requests of which some were captured.

    ``acked``: how many the server got; ``again``: it says so a second time.
    """
    wild = talk(502)
    for number in range(3):
        if number == acked:  # the network lost the rest: the server goes on acknowledging what it has
            wild.ack(S + after, 1)
        wild.client(S + number, READ)
    if acked == 3:
        wild.ack(S + after, 1)
    if again:
        wild.ack(S + 2 * after, 1)
    sent = [number for number, (_, data) in enumerate(wild.frames) if len(data) > 60]
    answers = [number for number in range(sent[0], len(wild.frames)) if number not in sent]
    order = [*range(sent[0]), *(sent[number] for number in kept), *answers]
    assert answers
    frames = [wild.frames[number] for number in order]
    native = Native()
    native.feed(shots(frames))
    rows = [row for row in messages(decode(frames), "tcp") if row.kind == 7]
    assert native.counters["unseen"] == sum(row.count for row in rows)
    assert all(row.src == B for row in rows)
    return [(row.frame, row.size, row.count) for row in rows]


def test_bytes_that_the_receiver_has_and_the_capture_lacks() -> None:
    assert seen(0, 2) == [(6, len(READ), 1)]
    assert seen(0, 2, again=True) == [(6, len(READ), 1)]
    assert seen(0, 1, 2) == []
    assert seen(0, 1) == []  # nothing came behind it: there may have been an end


def test_bytes_that_nobody_acknowledged_were_lost_on_their_way() -> None:
    assert seen(0, 2, acked=1) == []


def test_a_hole_that_was_filled_is_none() -> None:
    assert seen(0, 2, 1) == []


def test_frames_of_several_queues_may_come_out_of_order() -> None:
    assert seen(0, 2, after=10_000_000) == []
    assert seen(0, 2, after=15_000_000, again=True) == [(7, len(READ), 1)]


def moved(parts: list[bytes], order: list[int], port: int = 2404, gap: int = 1000) -> f.Talk:
    """Segments of one side, captured in another order than they were sent; those left out are lost."""
    begins = [sum(map(len, parts[:number])) for number in range(len(parts))]
    wild = talk(port)
    for place, number in enumerate(order):
        wild.segment(S + place * gap, 0, f.ACK, parts[number], seq=1001 + begins[number])
    return wild


def cuts(octets: bytes, *places: int) -> list[bytes]:
    """Octets cut at these places."""
    edges = [0, *places, len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


LONG = FLOAT + COMMAND + TEST + FLOAT
"""Of 18, 16, 6 and 18 octets."""


@pytest.mark.parametrize("first", range(1, len(LONG) - 1, 3))
@pytest.mark.parametrize("size", [1, 5, 16, 29])
@pytest.mark.parametrize("gap", [1000, 900_000_000])
def test_swapped_segments_lose_nothing(first: int, size: int, gap: int) -> None:
    """Wherever they are cut: what lies over the borders of the hole comes with the segment that fills it."""
    parts = cuts(LONG, first, min(first + size, len(LONG) - 1))
    rows = messages(decode(moved(parts, [0, 2, 1], gap=gap).frames), "iec104")
    assert sorted(row.kind for row in rows) == [13, 13, 45, 512 + 16]
    for row in rows:
        assert bool(row.flags & Flag.LATE) == (row.frame == 6)


@pytest.mark.parametrize("port", [502, 2404])
@pytest.mark.parametrize(
    "order", [[0, 3, 2, 1], [0, 3, 1, 2], [0, 2, 3, 1], [0, 2, 1, 4, 3], [0, 4, 1, 3, 2]]
)
def test_several_segments_in_a_hole(port: int, order: list[int]) -> None:
    octets = READ * 5 if port == 502 else LONG
    for shift in range(1, 8):
        parts = cuts(octets, *(shift + 11 * number for number in range(1, 5)))
        order_ = [number for number in order if number < 5]
        order_ += [number for number in range(5) if number not in order_]
        every = messages(decode(moved(parts, order_, port).frames), PDUS[port == 502][1])
        assert len(every) == (5 if port == 502 else 4), (shift, order_)


def test_what_comes_right_stays_where_it_was() -> None:
    """PDUs that are whole on their own are read in their own frames, ahead of the hole and in it."""
    wild = moved([FLOAT, COMMAND, TEST + FLOAT, TEST], [0, 2, 3, 1])
    rows = messages(decode(wild.frames), "iec104")
    assert [(row.kind, row.frame) for row in rows] == [(13, 4), (528, 5), (13, 5), (528, 6), (45, 7)]
    assert [row.flags for row in rows] == [0, Flag.GAP, 0, 0, Flag.LATE]


def test_flags_over_the_borders() -> None:
    parts = cuts(LONG, 10, 30)  # FLOAT's head | its tail, head of COMMAND | the rest
    rows = messages(decode(moved(parts, [0, 2, 1]).frames), "iec104")
    over = Flag.LATE | Flag.REASSEMBLED
    assert [(row.kind, row.flags) for row in rows] == [(528, Flag.GAP), (13, 0), (13, over), (45, over)]


def test_a_repetition_that_covers_the_hole() -> None:
    """What a sender repeats as one segment after its time-out: only the missing octets are news."""
    parts = cuts(LONG, 10, 30)
    wild = moved(parts, [0, 2])
    wild.segment(2 * S, 0, f.ACK, LONG, seq=1001)
    native = Native()
    rows = messages(native.feed(shots(wild.frames)), "iec104")
    assert sorted(row.kind for row in rows) == [13, 13, 45, 528]
    assert (native.counters["mended"], native.counters["retransmitted"]) == (1, 0)
    decode(wild.frames)


@pytest.mark.parametrize("gap", [3 * S, 1000])
def test_a_hole_that_is_not_filled(gap: int) -> None:
    """Nothing is held back for it, and after two seconds what was kept is forgotten."""
    parts = cuts(LONG, 10, 30)
    lost = moved(parts, [0, 2], gap=gap)
    rows = messages(decode(lost.frames), "iec104")
    assert [(row.kind, row.flags) for row in rows] == [(528, Flag.GAP), (13, 0)]
    if gap > S:
        late = moved(parts, [0, 2, 1], gap=gap)
        native = Native()
        assert len(messages(native.feed(shots(late.frames)), "iec104")) < 4
        assert native.counters["mended"] == 0
        decode(late.frames)


def test_a_stream_without_start_octets_finds_its_place() -> None:
    """Modbus behind a hole that ends inside of a PDU: nothing could be read there until it is filled."""
    parts = cuts(READ * 4, 15, 30, 40)
    wild = moved(parts, [0, 2, 3, 1], 502)
    rows = messages(decode(wild.frames), "modbus")
    assert len(rows) == 4
    after = moved([*parts, READ], [0, 2, 3, 1, 4], 502)
    last = messages(decode(after.frames), "modbus")[-1]
    assert (last.frame, last.flags) == (8, 0)


@pytest.mark.parametrize("rest", [b"\1", b"\1\1\x23", b"\0\0\0\0\0"])
@pytest.mark.parametrize("pieces", [(12,), (9, 3), (6, 1, 5)])
def test_octets_too_many_do_not_hide_the_next_message(rest: bytes, pieces: tuple[int, ...]) -> None:
    """A sender whose message is longer than its length says: the next segment begins with a message again."""
    odd = talk(502)
    odd.client(S, READ + rest)
    at = 0
    for number, size in enumerate(pieces, 2):
        odd.client(number * S, READ[at : at + size])
        at += size
    rows = messages(decode(odd.frames), "modbus")
    assert [row.kind for row in rows] == [3, 3]


def test_holes_are_bounded() -> None:
    """More holes at a time than are kept: the oldest are forgotten, the others still filled."""
    talks, frames = [], []
    for number in range(HOLES + 9):
        wild = f.Talk(A, B, 2404, sport=10_000 + number)
        wild.open(0)
        frames += wild.frames
        talks.append(wild)
    for place, begin, end in ((0, 0, 10), (1, 30, 58), (2, 10, 30)):
        for number, wild in enumerate(talks):
            wild.segment(S + place * 10**6 + number, 0, f.ACK, LONG[begin:end], seq=1001 + begin)
            frames.append(wild.frames[-1])
    native = Native()
    native.feed(shots(frames))
    assert native.counters["mended"] == HOLES


def test_the_rest_of_a_long_message_is_not_foreign() -> None:
    """Of a PDU longer than what waits the head is read; segments of its rest are the protocol's too."""
    long = f.Talk(A, B, 443)
    long.open(0)
    record = b"\x17\x03\x03" + (16_640).to_bytes(2, "big") + bytes(16_640)
    for begin in range(0, len(record), 1000):
        long.client(S + begin, record[begin : begin + 1000])
    long.client(2 * S, b"\x17\x03\x03\x00\x02xx")
    native = Native()
    rows = messages(native.feed(shots(long.frames)), "tls")
    assert [row.size for row in rows] == [16_645, 7]
    assert native.counters["foreign"] == 0
    assert not native.engine.unclaimed[3:].any()


def test_missing_bytes_of_a_message_that_is_skipped() -> None:
    """Their length is known, so that the next message is found; when they come late nobody reads them."""
    long = f.Talk(A, B, 443)
    long.open(0)
    record = b"\x17\x03\x03" + (18_000).to_bytes(2, "big") + b"\x17\x03\x03\x00\x01x" * 3000
    parts = [record[begin : begin + 1000] for begin in range(0, len(record), 1000)]
    for number, part in enumerate(parts):
        if number == 17:
            long._next[0] += 1000
        else:
            long.client(S + number, part)
    long.segment(2 * S, 0, f.ACK, parts[17], seq=1001 + 17_000)
    long.client(3 * S, b"\x17\x03\x03\x00\x02xx")
    native = Native()
    rows = messages(native.feed(shots(long.frames)), "tls")
    assert [(row.size, row.flags & Flag.GAP) for row in rows] == [(18_005, 0), (7, Flag.GAP)]
    assert (native.counters["gaps"], native.counters["reordered"]) == (1, 1)
