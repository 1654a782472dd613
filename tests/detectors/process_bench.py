"""A made-up plant, second by second: what it reports is learned, then changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from synthetic import IEC104, SECOND, START, FakeNames, message

from detectors.base import Finding, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import Lens
from detectors.values import ValueLearner
from detectors.values_parts import Process, ProcessLearner
from grid_profiles.vocabulary import POINT, Flag, Role

MEASURED, POSITION, COMMAND, SETPOINT = 13, 31, 45, 50


class Say(NamedTuple):
    """One value in one second: conversation, point, value, and what kind of message carries it."""

    conv: int
    point: int
    value: float
    kind: int = MEASURED
    role: Role = Role.SERVER
    flags: int = 0


Feed = Callable[[int], list[Say]]
"""What is said in a second (since the start)."""


def edit(said: list[Say], change: Callable[[float], float], *points: int) -> list[Say]:
    """The same with the values of some points changed, commands to them too."""
    return [one._replace(value=change(one.value)) if one.point in points else one for one in said]


def order(conv: int, point: int, value: float, flags: int = 0) -> Say:
    """A command of the client."""
    return Say(conv, point, value, COMMAND, Role.CLIENT, flags)


def refusal(conv: int, point: int, value: float) -> Say:
    """The device declines a command."""
    return Say(conv, point, value, COMMAND, Role.SERVER, int(Flag.NEGATIVE))


class Plant:
    """Two outstations, conversations 0 and 1."""

    def __init__(self) -> None:
        self.names = FakeNames()
        self.names.conv("iec104", 1, 2)
        self.names.conv("iec104", 1, 3)

    def slices(self, feed: Feed, begin: int, end: int, lost: int = 0) -> Iterator[Slice]:
        """Slices of a second each."""
        for second in range(begin, end):
            said: dict[tuple[int, int, Role, int], list[Say]] = defaultdict(list)
            for one in feed(second):
                said[one.conv, one.kind, one.role, one.flags].append(one)
            rows, points = [], []
            for number, ((conv, kind, role, flags), group) in enumerate(said.items()):
                ends = {"src": 2 + conv, "dst": 1} if role == Role.SERVER else {"src": 1, "dst": 2 + conv}
                row = message(
                    second + 0.1, proto=IEC104, conv=conv, role=role, kind=kind, flags=flags, **ends
                )
                row["point"] = group[0].point
                rows.append(row)
                for one in group:
                    cell = np.zeros(1, POINT)
                    cell["ts"], cell["frame"], cell["message"] = row["ts"], row["frame"], number
                    cell["proto"], cell["conv"], cell["kind"] = IEC104, conv, kind
                    cell["point"], cell["value"] = one.point, one.value
                    points.append(cell)
            start = START + second * SECOND
            yield Slice(
                start,
                start + SECOND,
                np.array(rows) if rows else np.zeros(0, message(0).dtype),
                np.concatenate(points) if points else np.zeros(0, POINT),
                packets=len(rows),
                lost=lost,
            )

    def learn(self, feed: Feed, seconds: int = 3_600) -> Baseline:
        """A baseline of the first ``seconds``."""
        lens = Lens(self.names)
        learners = [ValueLearner(lens), ProcessLearner(lens)]
        for piece in self.slices(feed, 0, seconds):
            for learner in learners:
                learner.learn(piece)
        made = Baseline(params={"learned_s": float(seconds), "seed": 1})
        for learner in learners:
            learner.finish(made)
        return Baseline.from_bytes(made.to_bytes())

    def detect(
        self, baseline: Baseline, feed: Feed, begin: int, seconds: int, lost: int = 0
    ) -> list[Finding]:
        """Findings of ``seconds`` from ``begin`` on."""
        process = Process(baseline, Lens(self.names), Budget())
        pieces = self.slices(feed, begin, begin + seconds, lost)
        return [finding for piece in pieces for finding in process.detect(piece)]
