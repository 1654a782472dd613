"""Margins to the protocols' own limits, against plain readings of the standards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import GOOSE, SECOND, START, FakeNames, i_frame, message, piece, s_frame

from grid_profiles.vocabulary import Role
from sensor.features.margins import MODULUS, Margins, acknowledged_after, unacknowledged

END = START + 10 * SECOND


def names() -> FakeNames:
    made = FakeNames()
    made.conv("iec104", 1, 2)
    made.conv("goose", 3, 4)
    return made


def margins(*slices: list[np.void], end: int = END) -> dict[tuple[str, int], float]:
    found = Margins(names())
    for rows in slices:
        found.push(piece(rows))
    return {(name, conv): value for name, _, conv, value in found.close(end)}


def goose(ts: float, tal_ms: int = 2000, conv: int = 1) -> np.void:
    return message(ts, proto=GOOSE, conv=conv, aux=tal_ms, kind=2, role=Role.PUBLISHER)


def test_goose_time_to_live_that_was_left() -> None:
    found = margins([goose(0), goose(0.5)], [goose(2.0), goose(3.0), goose(9.5)], end=START + 10 * SECOND)
    assert found["margin.goose_tal", 1] == pytest.approx(1 - 6.5 / 2)
    assert margins([goose(9), goose(9.5)])["margin.goose_tal", 1] == pytest.approx(0.75)


def test_goose_silence_counts_to_the_end_of_the_window_and_the_next() -> None:
    gathering = Margins(names())
    gathering.push(piece([goose(9)]))
    assert gathering.close(END)[0].value == pytest.approx(0.5)
    assert gathering.close(END + 10 * SECOND)[0].value == pytest.approx(1 - 11 / 2)
    assert gathering.close(END + 90 * SECOND) == []  # it has ended
    gathering.push(piece([goose(101.5)]))
    assert gathering.close(START + 102 * SECOND)[0].value == pytest.approx(0.75)


def test_iec104_frames_under_way_and_the_wait_for_their_acknowledgement() -> None:
    sent = [i_frame(0, 0.1 * n, Role.SERVER, n, 0) for n in range(8)]
    found = margins([s_frame(0, 0.0, 0), *sent, s_frame(0, 2.0, 8)])
    assert found["margin.iec104_k", 0] == 8
    assert found["margin.iec104_t1", 0] == pytest.approx(2.0)


def test_iec104_what_was_never_acknowledged_waits_on_in_the_next_window() -> None:
    gathering = Margins(names())
    gathering.push(piece([s_frame(0, 0, 0), i_frame(0, 8.0, Role.SERVER, 0, 0)]))
    first = {margin.name: margin.value for margin in gathering.close(END)}
    assert first["margin.iec104_t1"] == pytest.approx(2.0)
    gathering.push(piece([i_frame(0, 12.0, Role.SERVER, 1, 0), s_frame(0, 13.0, 2)]))
    second = {margin.name: margin.value for margin in gathering.close(END + 10 * SECOND)}
    assert second["margin.iec104_t1"] == pytest.approx(5.0)
    assert second["margin.iec104_k"] == 2


def test_iec104_another_connection_begins_with_numbers_of_its_own() -> None:
    gathering = Margins(names())
    gathering.push(piece([s_frame(0, 0, 500), i_frame(0, 1.0, Role.SERVER, 500, 0)]))
    gathering.close(END)
    gathering.push(piece([s_frame(0, 11, 0, stream=7), i_frame(0, 11.5, Role.SERVER, 0, 0, stream=7)]))
    found = {margin.name: margin.value for margin in gathering.close(END + 10 * SECOND)}
    assert found["margin.iec104_k"] == 1
    assert found["margin.iec104_t1"] == pytest.approx(8.5)


def test_sums_of_sampled_values() -> None:
    points = np.zeros(3, [("conv", "i4"), ("proto", "i2"), ("point", "i8"), ("value", "f8")])
    points["proto"] = 6
    points["point"] = [9 << 16 | 0xFF03, 9 << 16 | 0xFF03, 9 << 16 | 0xFF01]
    points["value"] = [0.001, 0.25, 4]

    class SvNames(FakeNames):
        def protocol_id(self, name: str) -> int:
            return 6 if name == "sv" else super().protocol_id(name)

    gathering = Margins(SvNames())
    gathering.push(piece([], points=points))
    assert {(m.name, m.value) for m in gathering.close(END)} == {
        ("margin.sv_pause", 0.25), ("margin.sv_lost", 4.0),
    }  # fmt: skip


def slow_connection(events: list[tuple[int, bool]]) -> tuple[int, float]:
    """The same by a queue: (time, True for an I-frame, False for an acknowledgement of all so far)."""
    waiting: list[int] = []
    most, longest, heard = 0, 0.0, False
    for at, is_sent in events:
        if is_sent:
            waiting.append(at)
            most = max(most, len(waiting) if heard else 0)
        else:
            if waiting:
                longest = max(longest, (at - waiting[0]) / SECOND)
            waiting, heard = [], True
    return most, longest


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.booleans()), min_size=1, max_size=60),
    base=st.integers(0, MODULUS - 1),
)
def test_kernels_agree_with_a_queue_also_where_numbers_wrap(steps: list[tuple[int, bool]], base: int) -> None:
    events, now, number = [], 0, 0
    sent: list[tuple[int, int, int]] = []
    heard: list[tuple[int, int, int]] = []
    for place, (wait, is_sent) in enumerate(steps):
        now += wait
        events.append((now, is_sent))
        if is_sent:
            sent.append((place, now, (base + number) % MODULUS))
            number += 1
        else:
            heard.append((place, now, (base + number) % MODULUS))

    def column(rows: list[tuple[int, int, int]], at: int) -> Any:
        return np.array([row[at] for row in rows], np.int64)

    under_way = unacknowledged(column(sent, 0), column(sent, 2), column(heard, 0), column(heard, 2))
    waited, _ = acknowledged_after(column(sent, 1), column(sent, 2), column(heard, 1), column(heard, 2))
    most, longest = slow_connection(events)
    assert max(under_way.tolist(), default=0) == most
    assert max(waited.tolist(), default=0.0) == pytest.approx(longest)
