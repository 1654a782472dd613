"""Sequence rules of IEC-104: what is an attack, what is TCP's own doing."""

from __future__ import annotations

from typing import Any

from synthetic import IEC104, FakeNames, i_frame, message, piece, s_frame

from detectors.base import Level
from detectors.groups import Lens
from detectors.rules.iec104 import Iec104Rules
from grid_profiles.vocabulary import Flag, Role

C, S = Role.CLIENT, Role.SERVER


def found(rows_by_second: list[list[Any]]) -> list[tuple[str, Level]]:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    rules = Iec104Rules(Lens(names))
    out = []
    for second, rows in enumerate(rows_by_second):
        out += [(f.rule, f.level) for f in rules.detect(piece(rows, second))]
    return out


def healthy(count: int = 6, start: int = 0) -> list[Any]:
    rows = []
    for n in range(start, start + count):
        rows += [i_frame(0, n / 10, S, n, 0), s_frame(0, n / 10 + 0.05, n + 1)]
    return rows


def test_healthy_exchange_says_nothing() -> None:
    assert found([healthy()]) == []


def test_wrap_around_is_healthy() -> None:
    assert found([[i_frame(0, 0, S, 32767, 0), i_frame(0, 0.1, S, 0, 0), s_frame(0, 0.2, 1)]]) == []


def test_missing_frame_with_missing_bytes_is_a_gap() -> None:
    assert found([[*healthy(3), i_frame(0, 0.9, S, 4, 0, flags=Flag.GAP)]]) == [("iec104-gap", Level.WARNING)]


def test_missing_frame_without_missing_bytes_is_a_jump() -> None:
    assert found([[*healthy(3), i_frame(0, 0.9, S, 5, 0)]]) == [("iec104-sequence-jump", Level.WARNING)]


def test_number_sent_again_in_new_bytes() -> None:
    assert found([[*healthy(3), i_frame(0, 0.9, S, 1, 0)]]) == [("iec104-sequence-repeat", Level.WARNING)]


def test_tcp_retransmission_is_no_finding() -> None:
    again = i_frame(0, 0.4, S, 2, 0, flags=Flag.RETRANSMITTED)
    assert found([[*healthy(3), again, *healthy(3, start=3)]]) == []


def test_old_bytes_long_after_their_acknowledgement_are_a_replay() -> None:
    alive = [[i_frame(0, 1 + n, S, 6 + n, 0), s_frame(0, 1.1 + n, 7 + n)] for n in range(6)]
    replay = i_frame(0, 7, S, 2, 0, flags=Flag.RETRANSMITTED)
    assert found([healthy(6), *alive, [replay]]) == [("iec104-replay", Level.WARNING)]


def test_a_hole_filled_long_after_it_was_acknowledged_is_a_replay() -> None:
    """The frame was there, the sensor did not see it; TCP does not send it again."""
    start = [*healthy(3), i_frame(0, 0.8, S, 4, 0, flags=Flag.GAP), s_frame(0, 0.9, 5)]
    alive = [[i_frame(0, 1 + n, S, 5 + n, 0), s_frame(0, 1.1 + n, 6 + n)] for n in range(6)]
    gap, replay = ("iec104-gap", Level.WARNING), ("iec104-replay", Level.WARNING)
    assert found([start, *alive, [i_frame(0, 7, S, 3, 0, flags=Flag.LATE)]]) == [gap, replay]
    assert found([start, *alive[:1], [i_frame(0, 2.2, S, 3, 0, flags=Flag.LATE)]]) == [gap]


def test_repetition_after_an_outage_is_no_replay() -> None:
    """The other side was silent all the while: TCP repeats because the link was down."""
    late = i_frame(0, 20, S, 5, 0, flags=Flag.RETRANSMITTED)
    assert found([healthy(6), [late]]) == []


def test_acknowledging_what_was_never_sent() -> None:
    assert found([[*healthy(3), s_frame(0, 0.9, 9)]]) == [("iec104-ack-ahead", Level.WARNING)]


def test_acknowledgement_that_goes_back() -> None:
    assert found([[*healthy(4), s_frame(0, 0.9, 2)]]) == [("iec104-ack-back", Level.WARNING)]


def test_new_session_at_zero_is_normal_without_its_opening() -> None:
    session = [i_frame(0, 5, C, 0, 0, stream=1, flags=Flag.MIDSTREAM), i_frame(0, 5.1, S, 0, 1, stream=1)]
    assert found([healthy(), session]) == []


def test_lone_frame_on_a_connection_never_opened() -> None:
    orphan = i_frame(0, 5, S, 12, 4, stream=1, flags=Flag.MIDSTREAM)
    begins = [i_frame(0, 9, C, 0, 0, stream=1), i_frame(0, 9.1, S, 0, 1, stream=1, flags=Flag.RETRANSMITTED)]
    assert found([healthy(), [orphan], begins]) == [("iec104-orphan", Level.WARNING)]


ORPHAN = ("iec104-orphan", Level.WARNING)
OLD = Flag.RETRANSMITTED


def test_old_bytes_that_never_came_by_on_a_connection_that_is_not_in_use() -> None:
    orphan = i_frame(0, 1, S, 12, 4, stream=1, flags=Flag.MIDSTREAM)
    goes_on = [[i_frame(0, 2 + n, S, 6 + n, 0), s_frame(0, 2.1 + n, 7 + n)] for n in range(3)]
    older = i_frame(0, 5, S, 3, 1, stream=1, flags=OLD)
    both = ("iec104-second-connection", Level.WARNING)
    assert found([healthy(), [orphan], *goes_on, [older]]) == [ORPHAN, both, ORPHAN]
    seen = i_frame(0, 5, S, 12, 4, stream=1, flags=OLD)  # which is what TCP repeats
    assert found([healthy(), [orphan], *goes_on, [seen]]) == [ORPHAN, both]


def test_repetitions_on_a_connection_that_died_are_none() -> None:
    """A capture begins in the middle; the master reconnects, the outstation does not know it yet."""
    begins = [
        i_frame(0, 0, S, 812, 4, flags=Flag.MIDSTREAM),
        s_frame(0, 0.1, 813),
        i_frame(0, 0.2, S, 813, 4),
    ]
    fresh = [i_frame(0, 2, C, 0, 0, stream=1), i_frame(0, 2.1, S, 0, 1, stream=1)]
    dead = [i_frame(0, 3, S, 813, 4, flags=OLD), i_frame(0, 3.5, S, 813, 4, flags=OLD)]
    assert found([begins, fresh, dead]) == []


def test_a_replay_is_told_while_the_stations_talk_on_another_connection_in_bytes_that_tcp_calls_old() -> None:
    session = [
        [
            i_frame(0, 10 + n, C, n, n, stream=1, flags=OLD),
            i_frame(0, 10.1 + n, S, n, n + 1, stream=1, flags=OLD),
        ]
        for n in range(6)
    ]
    replay = i_frame(0, 17, S, 2, 0, flags=OLD)
    assert found([healthy(6), *session, [replay]]) == [("iec104-replay", Level.WARNING)]


def test_first_frames_of_a_connection_that_never_came_by() -> None:
    asks = i_frame(0, 5, C, 0, 0, stream=1, flags=Flag.MIDSTREAM)
    second = i_frame(0, 5.1, S, 1, 1, stream=1)
    assert found([healthy(), [asks, second]]) == [("iec104-gap", Level.WARNING)]
    answer = i_frame(0, 5.1, S, 0, 1, stream=1, flags=Flag.MIDSTREAM)
    assert found([healthy(), [answer]]) == [("iec104-ack-ahead", Level.WARNING)]
    # a capture that begins in between knows no better
    assert found([[asks, second]]) == []
    assert found([[answer]]) == []


def test_capture_that_begins_in_the_middle_is_normal() -> None:
    assert found([[i_frame(0, 0, S, 812, 4, flags=Flag.MIDSTREAM), i_frame(0, 0.1, S, 813, 4)]]) == []


def test_illegal_cause_and_direction() -> None:
    wrong = i_frame(0, 0, C, 0, 0, cause=3)
    forged = i_frame(0, 0.1, C, 1, 0, kind=13, cause=3)
    assert [rule for rule, _ in found([[wrong, forged]])] == ["iec104-illegal", "iec104-illegal"]


def test_files_have_causes_of_their_own() -> None:
    legal = [i_frame(0, n / 10, S, n, 0, kind=120 + n, cause=13) for n in range(6)]
    assert found([legal]) == []
    assert found([[i_frame(0, 0, S, 0, 0, kind=125, cause=6)]]) == [("iec104-illegal", Level.WARNING)]


def test_outstation_must_not_start_transfer() -> None:
    u = message(0, proto=IEC104, role=S, src=2, dst=1, conv=0, stream=0, kind=513, size=6)
    assert found([[u]]) == [("iec104-u-frame", Level.WARNING)]


def test_refusal_is_a_notice() -> None:
    row = i_frame(0, 0, S, 0, 0, kind=45, cause=47, flags=Flag.NEGATIVE)
    assert found([[row]]) == [("iec104-refused", Level.NOTICE)]


def test_segments_that_changed_places_are_no_gap_and_no_repetition() -> None:
    """N(S) 4 overtakes N(S) 3; a second gap of the same second is still told."""
    swapped = [i_frame(0, 0.8, S, 4, 0, flags=Flag.GAP), i_frame(0, 0.81, S, 3, 0, flags=Flag.LATE)]
    assert found([[*healthy(3), *swapped, i_frame(0, 0.9, S, 5, 0), s_frame(0, 0.95, 6)]]) == []
    again = i_frame(0, 0.9, S, 7, 0, flags=Flag.GAP)
    assert found([[*healthy(3), *swapped, again]]) == [("iec104-gap", Level.WARNING)]
