"""Was enough learned to wonder? How long each conversation, and each commanding host, brought no news.

What was never met is evidence only as far as learning had the time to meet it. A thing that comes by chance
once in a while, and did not come in q seconds of learning, may still be expected once in q seconds (the rule
of Laplace; ``completeness`` says the same of the whole site). So the time without news at the end of learning
is what counts, not the number of messages: a poll repeated a thousand times in five minutes says nothing
about the sixth minute's operator.

Below :data:`FULL` a finding about harmless news in a known conversation is lowered by one level, and
says so. Strangers, and messages that restart, reprogram or reconfigure a device, are never lowered.
"""

from __future__ import annotations

import math
from typing import Final

from detectors.base import Level
from detectors.baseline import Baseline
from detectors.groups import ConvKey
from detectors.tables import conv_of

FULL: Final = 1_800.0
"""Seconds of learning without news from which its absence counts."""

EXPECTED: Final = 0.1
"""From this chance on (Good and Turing) that the next one is new, a new one is no surprise."""


class Saturation:
    """Seconds without news at the end of learning; infinite where the baseline does not say."""

    def __init__(self, baseline: Baseline) -> None:
        self._learned = float(baseline.params.get("learned_s", math.inf))
        self._end = -math.inf
        self._kinds: dict[ConvKey, float] = {}
        for row in baseline.rows("kinds"):
            conv = conv_of(row)
            self._kinds[conv] = max(self._kinds.get(conv, -math.inf), row.first)
            self._end = max(self._end, row.last)
        self._newest = max((row.first for row in baseline.rows("conversations")), default=None)
        self._commands: dict[str, float] = {}
        for row in baseline.rows("review"):
            self._commands[row.client] = max(self._commands.get(row.client, -math.inf), row.first)

    def conversation(self, conv: ConvKey) -> float:
        """Since the last new kind of message of a conversation."""
        return self._quiet(self._kinds.get(conv))

    @property
    def site(self) -> float:
        """Since the last new conversation."""
        return self._quiet(self._newest)

    def commander(self, host: str) -> float:
        """Since a host first sent one of its commands to somebody; all of learning when it sent none."""
        return self._quiet(self._commands.get(host))

    def _quiet(self, newest: float | None) -> float:
        if newest is None or math.isinf(self._learned):
            return self._learned
        return min(self._learned, max(0.0, self._end - newest))


def lowered(level: Level, quiet: float) -> Level:
    """One level less for what so short a time without news says."""
    return Level(max(Level.INFO, level - 1)) if quiet < FULL else level


def doubt(quiet: float) -> str:
    """Why a finding is lowered, to be put behind its summary; "" when it is not."""
    if quiet >= FULL:
        return ""
    time = f"{quiet / 60:.0f} min" if quiet >= 90 else f"{quiet:.0f} s"
    return f"; learning ended after {time} without news here, {FULL / 60:.0f} min are needed to be sure"
