"""What every detector has in common.

A detector is one file and one entry in the pipeline's list. It sees slices, keeps bounded state, does no
I/O, and knows nothing of other detectors. The same object either learns (``learn`` for each slice, then
``finish`` into the baseline) or detects (made from a baseline, ``detect`` for each slice).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from detectors.base import Finding, Slice
from detectors.baseline import Baseline
from detectors.groups import ConvKey


@dataclass(slots=True)
class LinkFinding(Finding):
    """A finding about a conversation that may not have spoken in this run, and so has no number."""

    link: ConvKey = ("", "", "", 0, "", 0)


class Learner(Protocol):
    """Collects what is normal."""

    def learn(self, piece: Slice) -> None: ...
    def finish(self, baseline: Baseline) -> None: ...


class Detector(Protocol):
    """Says what is not normal. ``counters`` tells what its bounded tables had to refuse."""

    def detect(self, piece: Slice) -> list[Finding]: ...
    def counters(self) -> dict[str, int]: ...


@runtime_checkable
class Holding(Protocol):
    """A detector, or a part of one, that keeps findings back for what may explain them."""

    def rest(self) -> list[Finding]:
        """What it still holds when nothing comes any more."""
        ...
