"""Frames in, rule ids out: what the rule tables of the tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from detectors.base import Level
from detectors.baseline import Baseline
from detectors.detector import Detector, Holding
from detectors.groups import Lens
from sensor.engines import open_engine
from sensor.pipeline import learn
from sensor.slices import LENGTH, Slicer
from tests.lab import frames as f

T0 = 1_700_000_000
Rule = Callable[[Lens, Baseline | None], Detector]


def at(seconds: float) -> int:
    """ns of a moment after the start of the test's capture."""
    return (T0 * 1_000_000 + round(seconds * 1e6)) * 1000


def learned(path: Path, frames: Sequence[f.Stamped]) -> Baseline:
    """A baseline of these frames."""
    f.write_pcap(path, sorted(frames))
    decoded = open_engine([path], "native")
    return learn(decoded, decoded.names)


def said(
    path: Path,
    rule: Rule,
    frames: Sequence[f.Stamped],
    baseline: Baseline | None = None,
    length: int = LENGTH,
) -> list[tuple[str, Level]]:
    """(rule id, level) of every finding of one rule file, in order; ``length`` of a slice in ns."""
    f.write_pcap(path, sorted(frames))
    decoded = open_engine([path], "native")
    made = rule(Lens(decoded.names), baseline)
    found = [one for piece in Slicer(length).run(decoded) for one in made.detect(piece)]
    rest = made.rest() if isinstance(made, Holding) else []
    return [(one.rule, one.level) for one in found + rest]
