"""Opening captures: engines, batch sizes, the merge with rows of a second engine."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.vocabulary import MESSAGE, POINT
from sensor import engines
from sensor.engines import open_engine
from sensor.errors import CaptureError, UsageError
from sensor.frames import FILE_SHIFT
from sensor.messages import Rows, interleave, join_rows, select
from tests.lab import frames as f

S = 1_000_000_000


def capture(tmp_path: Path, name: str = "one.pcap") -> Path:
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(S)
    for number in range(20):
        talk.client((2 + number) * S, f.modbus_adu(number, 1, f.mb_read(3, 0, 2)))
        talk.server((2 + number) * S + 1, f.modbus_adu(number, 1, f.mb_read_response(3, [1, number])))
    path = tmp_path / name
    f.write_pcap(path, [*talk.frames, (99 * S, f.udp_frame("10.0.0.1", "10.0.0.9", 7777, 7777, b"?"))])
    return path


@pytest.mark.parametrize("batch", [1, 2, 7, 10_000])
def test_batch_size_changes_nothing(tmp_path: Path, batch: int) -> None:
    path = capture(tmp_path)
    whole = join_rows([(b.messages, b.points) for b in open_engine([path], "native")])
    cut = join_rows([(b.messages, b.points) for b in open_engine([path], "native", batch=batch)])
    assert [part.tobytes() for part in cut] == [part.tobytes() for part in whole]


@pytest.mark.parametrize("frames", [6, 7, 8, 13, 14, 20])
def test_batches_of_dense_traffic_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    path = capture(tmp_path)
    whole = [(b.messages, b.points) for b in open_engine([path], "native")]
    monkeypatch.setattr(engines, "DENSE", 6)
    batches = list(open_engine([path], "native", batch=frames))
    sizes = [len(batch.frame_ts) for batch in batches]
    assert sum(sizes) == 44
    assert max(sizes[1:]) <= 6  # the first is not yet known to be dense
    cut = [(b.messages, b.points) for b in batches]
    assert [part.tobytes() for part in join_rows(cut)] == [part.tobytes() for part in join_rows(whole)]


def test_counts_and_clock(tmp_path: Path) -> None:
    decoded = open_engine([capture(tmp_path)], "native")
    told: list[float] = []
    decoded.on_progress = told.append
    frames = sum(len(batch.frame_ts) for batch in decoded)
    assert frames == 44
    assert (decoded.first, decoded.last) == (S, 99 * S)
    assert decoded.undecoded == 1
    assert (decoded.problems, decoded.dropped) == ([], 0)
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_frames_of_several_files(tmp_path: Path) -> None:
    paths = [capture(tmp_path, name) for name in ("a.pcap", "b.pcap")]
    rows = np.concatenate([batch.messages for batch in open_engine(paths, "native")])
    assert sorted(set((rows["frame"] >> FILE_SHIFT).tolist())) == [0, 1]
    assert rows["frame"].max() & ((1 << FILE_SHIFT) - 1) == 44


def test_no_such_engine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"quick.*native"):
        open_engine([tmp_path], "quick")


def test_no_such_capture(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        open_engine([tmp_path / "none.pcap"], "native")


ROWS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3)), max_size=25).map(sorted)


def rows(plan: list[tuple[int, int]], mark: int) -> Rows:
    """Messages with the given frames and numbers of points; each point tells its message's mark."""
    messages = np.zeros(len(plan), MESSAGE)
    messages["frame"] = [frame for frame, _ in plan]
    messages["seq"] = mark + np.arange(len(plan))
    points = np.zeros(sum(count for _, count in plan), POINT)
    points["message"] = np.repeat(np.arange(len(plan)), [count for _, count in plan])
    points["point"] = mark + points["message"]
    return messages, points


@given(ROWS, ROWS)
def testinterleave_keeps_points_with_their_messages(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    messages, points = interleave(rows(first, 0), rows(second, 1000))
    assert messages["frame"].tolist() == sorted(frame for frame, _ in first + second)
    assert (messages["seq"][points["message"]] == points["point"]).all()
    assert (np.diff(points["message"]) >= 0).all()
    for one, other in pairwise(messages):
        assert one["frame"] < other["frame"] or one["seq"] < other["seq"]


@given(ROWS, st.data())
def testselect_keeps_points_with_their_messages(plan: list[tuple[int, int]], data: st.DataObject) -> None:
    keep = np.array([data.draw(st.booleans()) for _ in plan], bool)
    messages, points = select(*rows(plan, 0), keep)
    assert messages["seq"].tolist() == np.flatnonzero(keep).tolist()
    assert (messages["seq"][points["message"]] == points["point"]).all()
    assert len(points) == sum(count for (_, count), kept in zip(plan, keep, strict=True) if kept)
