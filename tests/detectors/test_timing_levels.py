"""What timing says of connections that end, of acknowledgements and of answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from rule_bench import at, learned

from detectors.base import Finding
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import Lens
from detectors.timing import Timing
from sensor.engines import open_engine
from sensor.slices import Slicer
from tests.lab import frames as f

READ, ANSWER = f.mb_read(3, 0, 2), f.mb_read_response(3, [1, 2])
PERIOD, LEARNED = 1.0, 180


def polls(talk: f.Talk, start: float, count: int, extra: float = 0.0) -> None:
    """One request a second with its answer; one answer more ``extra`` seconds after the last one."""
    for n in range(count):
        ts = start + n * PERIOD
        talk.client(at(ts), f.modbus_adu(n + 1, 1, READ))
        talk.server(at(ts + 0.02), f.modbus_adu(n + 1, 1, ANSWER))
    if extra:
        talk.server(at(start + (count - 1) * PERIOD + 0.02 + extra), f.modbus_adu(count, 1, ANSWER))


def opened(port: int = 40_000, start: float = 0.0) -> f.Talk:
    made = f.Talk("10.0.0.1", "10.0.0.2", 502, sport=port)
    made.open(at(start))
    return made


def others(until: float) -> list[f.Stamped]:
    """Somebody else, so that time goes on."""
    made = f.Talk("10.0.0.8", "10.0.0.9", 502)
    made.open(at(0))
    polls(made, 0.5, int(until))
    return made.frames


def found(path: Path, frames: list[f.Stamped], baseline: Baseline) -> list[Finding]:
    f.write_pcap(path, sorted(frames))
    decoded = open_engine([path], "native")
    timing = Timing(baseline, Lens(decoded.names), Budget())
    return [one for piece in Slicer().run(decoded) for one in timing.detect(piece)]


@pytest.fixture
def known(tmp_path: Path) -> Baseline:
    talk = opened()
    polls(talk, 1.0, LEARNED)
    return learned(tmp_path / "known.pcap", [*talk.frames, *others(LEARNED)])


@pytest.mark.parametrize(("ends", "pause", "silences"), [(True, 15.0, 0), (True, 60.0, 1), (False, 15.0, 1)])
def test_who_lost_the_connection_has_time_to_open_it_again(
    tmp_path: Path, known: Baseline, ends: bool, pause: float, silences: int
) -> None:
    first = opened()
    polls(first, 1.0, 60)
    if ends:
        first.close(at(61.5))
    again = opened(40_001, 61.5 + pause)
    polls(again, 62.0 + pause, 20)
    said = found(tmp_path / "a.pcap", [*first.frames, *again.frames, *others(80 + pause)], known)
    assert len([one for one in said if one.rule == "silence"]) == silences


def test_an_answer_is_as_early_as_its_request(tmp_path: Path, known: Baseline) -> None:
    talk = opened()
    polls(talk, 1.0, 60, extra=0.1)
    said = found(tmp_path / "a.pcap", [*talk.frames, *others(60)], known)
    assert [one.rule for one in said if one.rule == "early"] == []
