"""Detection that never ends: alerts when they open, grow and close, windows as they close, bounded state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Event, Finding, Names, Slice
from detectors.baseline import Baseline
from detectors.groups import ConvKey
from sensor.features.windows import Window
from sensor.messages import MessageBatch
from sensor.pipeline import Detection
from sensor.slices import Slicer
from sensor.store.live import AlertChange
from sensor.warning.early import WindowFacts

DAY: Final = 86_400.0
SECOND: Final = 1_000_000_000


@dataclass(slots=True)
class Step:
    """What one slice brought.

    Attributes
    ----------
    clock : int
        Its end, ns.
    changes : list of AlertChange
    window : WindowFacts or None
        The window that closed with it.
    messages, malformed : int
    events : list of Event
        Disturbances that ended.
    """

    clock: int
    changes: list[AlertChange] = field(default_factory=list)
    window: WindowFacts | None = None
    messages: int = 0
    malformed: int = 0
    events: list[Event] = field(default_factory=list)


class LiveDetection(Detection):
    """Holds traffic against a baseline for as long as it comes.

    Parameters
    ----------
    names : Names
    baseline : Baseline
    length : int
        ns of capture time per slice.
    alerts_per_day : int
        Most alerts in a day of capture time; what comes beyond is counted.
    margins : bool
        Whether early-warning margins are computed.
    """

    def __init__(
        self, names: Names, baseline: Baseline, length: int, alerts_per_day: int, margins: bool = True
    ) -> None:
        super().__init__(names, baseline, margins)
        self.names = names
        self.slicer = Slicer(length)
        self._folder.most, self._folder.horizon = alerts_per_day, DAY
        self._facts: WindowFacts | None = None
        self._p_values: dict[ConvKey, float] = {}
        self._window_margins: list[tuple[str, str, ConvKey, float]] = []

    def feed(self, batch: MessageBatch) -> Iterator[Step]:
        """Take a batch; give what each slice that is now complete brought."""
        for piece in self.slicer.push(batch):
            yield self._step(piece)

    def flush(self) -> Iterator[Step]:
        """The slice that is open, as if it were complete."""
        for piece in self.slicer.close():
            yield self._step(piece)

    def finish(self) -> Step:
        """Close what is open: nothing will come any more."""
        step = Step(0)
        step.changes = [AlertChange(alert, open=False) for alert in self._close()]
        step.events, self.events = self.events, []
        return step

    def leave_open(self) -> Step:
        """What is open as it stands, so that another run can let it grow on."""
        changes = [AlertChange(alert, True, fold) for alert, fold in self._folder.changed(float("inf"))]
        step = Step(0, changes)
        step.events = self._disturbances.close()
        return step

    def take_over(self, other: LiveDetection) -> None:
        """Go on where another detection of the same names stops: clock, windows and open alerts."""
        for fold in other._folder.open_alerts():
            self._folder.restore(fold)
        self.events += other._disturbances.close()
        if other.names is self.names:
            self.slicer, self._windower, self._convs = other.slicer, other._windower, other._convs
            if self._margins is not None and other._margins is not None:
                self._margins, self._trends = other._margins, other._trends

    def restore(self, folds: list[str]) -> list[str]:
        """Take over open alerts of an earlier run; returns the ids of those that were taken."""
        return [ident for fold in folds if (ident := self._folder.restore(fold))]

    def counters_now(self) -> dict[str, float]:
        """What bounded tables had to refuse so far."""
        refused = sum(count for detector in self._detectors for count in detector.counters().values())
        left_out = self._margins.left_out if self._margins is not None else 0
        return {
            "findings_dropped": float(self._folder.dropped),
            "conversations_moved": float(self._evidence.moved),
            "conversations_watched": float(self._evidence.watched),
            "detector_refused": float(refused + self._windower.truncated + left_out),
        }

    def _step(self, piece: Slice) -> Step:
        self._facts = None
        closed = self._slice(piece)
        clock = piece.end / SECOND
        step = Step(piece.end, window=self._facts, messages=len(piece.messages))
        step.events, self.events = self.events, []
        step.changes = [AlertChange(alert, open=False) for alert in closed]
        step.changes += [AlertChange(alert, True, fold) for alert, fold in self._folder.changed(clock)]
        step.malformed = int((piece.messages["flags"] & np.uint32(1)).astype(bool).sum())
        return step

    def _window(self, window: Window) -> list[Finding]:
        findings = super()._window(window)
        facts = WindowFacts(window.start, p_values=self._p_values, margins=self._window_margins)
        counts, responses = (window.column(name).tolist() for name in ("messages", "response_max"))
        for conv, count, response in zip(window.convs.tolist(), counts, responses, strict=True):
            key = self.lens.conv(int(conv))
            had, slowest = facts.spoke.get(key, (0, -1.0))
            facts.spoke[key] = (had + int(count), max(slowest, response))
        self._facts = facts
        return findings

    def _keep_margins(self, end: int, margins: list[tuple[str, str, ConvKey, float]]) -> None:
        """Into the store with the window."""
        self._window_margins = margins

    def _remember(
        self, start: int, rows: dict[ConvKey, npt.NDArray[np.float64]], p_values: dict[ConvKey, float]
    ) -> None:
        """Instead of keeping scores for the report: they go into the store with the window."""
        self._p_values = p_values

    def _keep(self, alerts: list[Any]) -> list[Any]:
        return alerts
