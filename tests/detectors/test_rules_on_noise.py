"""Every rule on rows that no decoder would write: nothing raises, nothing grows without end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors import responses, rhythm, rhythm_learner, sequence, sequence_learner
from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import Lens
from detectors.responses_learner import ResponseLearner
from detectors.rhythm_learner import RhythmLearner
from detectors.sequence_learner import SequenceLearner
from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.names import Names
from sensor.pipeline import RULES, Learning

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
DAY = 86_400 * SECOND
PROTOCOLS = [
    "iec104",
    "modbus",
    "goose",
    "tcp",
    "sv",
    "dnp3",
    "mms",
    "s7comm",
    "enip",
    "cip",
    "c37118",
    "opcua",
    "mqtt",
    "ptp",
    "bacnet",
    "profinet_dcp",
    "dlms",
    "coap",
    "arp",
]
EXTREME = np.array([-1, 0, 1, 2, 255, 65_535, (1 << 31) - 1, (1 << 32) - 1, (1 << 62), -(1 << 62)])
TEXTS = ["", "a", "#", "$SYS/#", "LD0/CSWI1$CO$Pos$Oper", "LD0$CO$", "70/x", "0.0.0.0", "\ud800", "x" * 300]


class Noise:
    """A run's names, and slices of rows without sense."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.names = Names(load_registry())
        self.protos = [self.names.protocol_id(name) for name in PROTOCOLS]
        hosts = [self.names.intern_endpoint(f"10.0.0.{n}") for n in range(1, 4)]
        hosts += [self.names.intern_endpoint(f"02:00:00:00:00:0{n}") for n in range(1, 3)]
        self.hosts = np.array(hosts)
        self.texts = np.array([self.names.intern_text(text) for text in TEXTS])
        self.kinds = {
            proto: np.array([*self.names.registry.by_id(proto).kinds, -1, 1 << 20]) for proto in self.protos
        }

    def rows(self, count: int, start: int, protos: list[int]) -> Any:
        rng, rows = self.rng, np.zeros(count, MESSAGE)
        rows["ts"] = np.sort(start + rng.integers(-SECOND, SECOND, count))
        rows["frame"] = np.arange(count) + 1
        rows["proto"] = rng.choice(protos, count)
        rows["kind"] = [rng.choice(self.kinds[int(proto)]) for proto in rows["proto"]]
        rows["role"] = rng.integers(0, 5, count)
        rows["src"], rows["dst"] = rng.choice(self.hosts, count), rng.choice(self.hosts, count)
        rows["conv"] = [
            self.names.intern_conversation(
                int(proto), int(src), int(dst), int(rng.integers(0, 3)), int(rng.choice(self.texts))
            )
            for proto, src, dst in rows[["proto", "src", "dst"]].tolist()
        ]
        for name in ("point", "seq", "state", "aux"):
            rows[name] = rng.choice([*EXTREME, *self.texts], count)
        for name in ("cause", "count", "size", "stream"):
            rows[name] = rng.choice(EXTREME[:7], count)
        rows["name"], rows["ident"] = rng.choice(self.texts, count), rng.choice(self.texts, count)
        rows["value"] = rng.choice([0.0, np.nan, np.inf, -np.inf, 1e300, 50.0, START / SECOND], count)
        rows["value"][(rows["proto"] == self.protos[2]) & np.isinf(rows["value"])] = (
            np.nan
        )  # a GOOSE time is none
        rows["flags"] = rng.integers(0, 1 << 16, count) & rng.integers(0, 1 << 16, count)
        return rows

    def slices(self, count: int) -> list[Slice]:
        found = []
        for second in range(count):
            one = [self.protos[second // 2 % len(self.protos)]]  # two seconds of one protocol, then the next
            rows = self.rows(400, START + second * SECOND, one if second % 5 else self.protos)
            points = np.zeros(200, POINT)
            points["message"] = np.sort(self.rng.integers(0, len(rows), len(points)))
            points["kind"] = self.rng.integers(0, 3, len(points))
            points["value"] = self.rng.choice([0.0, np.nan, np.inf, 1.0], len(points))
            points["point"] = self.rng.choice(EXTREME, len(points))
            points["proto"] = rows["proto"][points["message"]]
            begin = START + second * SECOND
            found.append(Slice(begin, begin + SECOND, rows, points, len(rows)))
        return found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_rules_take_anything(seed: int) -> None:
    noise = Noise(seed)
    pieces = noise.slices(2 * len(PROTOCOLS))
    learning = Learning(noise.names)
    with np.errstate(all="ignore"):
        for piece in noise.slices(6):
            learning.add(piece)
        baselines: list[Baseline | None] = [None, learning.finish()]
    said: set[str] = set()
    for baseline in baselines:
        lens = Lens(noise.names)
        rules = [rule(lens, baseline) for rule in RULES]
        for piece in pieces:
            for rule in rules:
                said |= {found.rule for found in rule.detect(piece)}
        for rule in rules:
            assert all(number >= 0 for number in rule.counters().values())
    assert len(said) > 60, sorted(said)  # noise breaks most rules: what was not reached was not tried


def crowded(pieces: list[Slice], first: dict[int, int]) -> list[Slice]:
    """The same rows in one conversation of each protocol and on two connections, so that they meet."""
    for piece in pieces:
        rows = piece.messages
        for proto in np.unique(rows["proto"]).tolist():
            mine = rows["proto"] == proto
            rows["conv"][mine] = first.setdefault(proto, int(rows["conv"][mine][0]))
        rows["stream"] &= 1
        rows["seq"] &= 3
        rows["flags"][::2] = 0
    return pieces


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(3))
def test_order_in_time_takes_anything(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, transitions and rhythm learn noise and are held against other noise, judging all they know."""
    for module, name in ((responses, "MIN_COUNT"), (sequence, "MIN_STEPS"), (sequence, "WELL_KNOWN")):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(responses, "MOST_UNANSWERED", 1.0)
    monkeypatch.setattr(rhythm_learner, "MOST_OF_AN_HOUR", 0)
    for module in (responses, sequence):
        monkeypatch.setattr(module, "upper_limit", lambda *_: 0.0)
    monkeypatch.setattr(sequence, "MIN_BLOCKS", 0)
    monkeypatch.setattr(sequence_learner, "FREE", 0.0)
    monkeypatch.setattr(rhythm, "LIKELY", 1.0)
    met: dict[int, int] = {}
    noise = Noise(seed)
    lens = Lens(noise.names)
    learners = [ResponseLearner(lens), SequenceLearner(lens), RhythmLearner(lens)]
    for piece in crowded(noise.slices(2 * len(PROTOCOLS)), met):
        for learner in learners:
            learner.learn(piece)
    baseline = Baseline()
    for learner in learners:
        learner.finish(baseline)
    baseline = Baseline.from_bytes(baseline.to_bytes())
    assert len(baseline.tables["responses"]) > 0
    assert min(len(baseline.tables[name]) for name in ("transitions", "rhythm")) > 10
    detectors = [
        responses.Responses(baseline, lens, Budget(1e6)),
        sequence.Sequence(baseline, lens, Budget(1e6)),
        rhythm.RhythmDetector(baseline, lens),
    ]
    said: set[str] = set()
    for piece in crowded(noise.slices(2 * len(PROTOCOLS)), met):
        for shifted in (piece, Slice(piece.start + DAY, piece.end + DAY, piece.messages, piece.points, 1)):
            for detector in detectors:
                said |= {found.rule for found in detector.detect(shifted)}
    assert {"response-slow", "sequence-burst"} <= said
    assert all(number >= 0 for detector in detectors for number in detector.counters().values())
