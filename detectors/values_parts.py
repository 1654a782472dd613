"""The learner and the detector of process values beyond their range, made of the parts in ``values_*.py``."""

from __future__ import annotations

from collections import Counter
from typing import Final

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import DAY, Budget
from detectors.detector import Holding
from detectors.groups import Lens
from detectors.values_feedback import Feedback, FeedbackLearner
from detectors.values_groups import Groups
from detectors.values_motion import Motion
from detectors.values_motion_learner import MotionLearner
from detectors.values_process import MIN_LEARNED, Measured, ProcessLearning, ProcessPart, Switching, too_short
from detectors.values_samples import SampleLearner
from detectors.values_states import StateLearner, States

LEARNERS: Final = (MotionLearner, SampleLearner, StateLearner, FeedbackLearner)
PARTS: Final = (Motion, Groups, States, Feedback)
FOLLOWS: Final = frozenset({"value-jump", "value-departs"})
"""What the switching of a load brings with it."""


class ProcessLearner:
    """Hands the reported values of each slice to every learner of process values."""

    def __init__(self, lens: Lens) -> None:
        self._measured = Measured(lens)
        self._learners: list[ProcessLearning] = [learner(lens) for learner in LEARNERS]

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        view = self._measured.of(piece)
        for learner in self._learners:
            learner.learn(piece, view)

    def finish(self, baseline: Baseline) -> None:
        """Write their tables."""
        for learner in self._learners:
            learner.finish(baseline)


class Process:
    """Hands the reported values of each slice to every detector of process values."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        young = float(baseline.params.get("learned_s", 0.0)) < DAY
        self._grid = lens.protocol("sv") if young else -1
        self._measured = Measured(lens)
        self._switching = Switching(baseline, lens)
        none = too_short(baseline)  # then none of them would speak
        self._parts: list[ProcessPart] = [] if none else [part(baseline, lens, budget) for part in PARTS]

    def counters(self) -> dict[str, int]:
        """What their bounded tables had to refuse."""
        total: Counter[str] = Counter()
        for part in self._parts:
            total.update(part.counters())
        return dict(total)

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if not self._parts:
            return []
        view = self._switching.see(piece, self._measured.of(piece))
        found = [finding for part in self._parts for finding in part.detect(piece, view)]
        for finding in found:
            self._weigh(finding)
        return found

    def _weigh(self, finding: Finding) -> None:
        """What a merging unit measures follows loads and faults that less than a day has not shown.

        What electricity does not allow, the rules of sampled values tell.
        """
        if finding.proto == self._grid and finding.rule in FOLLOWS and finding.level > Level.INFO:
            finding.level, finding.technique = Level.INFO, ""
            finding.summary += "; less than a day was learned"

    def rest(self) -> list[Finding]:
        """What waits in its parts when nothing comes any more."""
        held = [finding for part in self._parts if isinstance(part, Holding) for finding in part.rest()]
        for finding in held:
            self._weigh(finding)
        return held


def process_notes(baseline: Baseline) -> list[str]:
    """What an engineer must know about these limits."""
    if not too_short(baseline) or not len(baseline.tables["values"]):
        return []
    return [
        "jumps, standing values, groups of values and states are not judged: that takes "
        f"{MIN_LEARNED / 60:.0f} minutes of learning"
    ]
