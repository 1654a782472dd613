"""Detectors that anybody would think of first: what is not better than these is not needed.

- ``new host``: an address that learning never met sends or receives.
- ``3 sigma on rate``: frames per 10 s further than three deviations from their mean while learning.
- ``LOF on gaps``: PyOD's local outlier factor on pairs of successive times between frames (logarithms),
  fitted on the first 70 % of the learning time; the limit is the highest score of the rest.

They get what help there is: rate and gaps name no host, and count for an event by time alone; findings of the
same kind within 10 s are one alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.alerts import incidents_of
from detectors.base import Alert, blank_alert
from detectors.behaviour import local_outliers
from detectors.groups import is_group_address
from sensor.labels import Event
from sensor.messages import MessageBatch
from sensor.names import Names
from sensor.result import Result

NAMES: Final = ("new host", "3 sigma on rate", "LOF on gaps")
WINDOW: Final = 10.0
SIGMAS: Final = 3.0
NEIGHBOURS: Final = 20
MAX_FITTED: Final = 5_000
SHORTEST: Final = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Traffic:
    """What the trivial detectors look at: times of all frames, when each host was first seen (epoch s)."""

    times: Floats
    hosts: dict[str, float]


@dataclass(slots=True)
class Watched:
    """Collects :class:`Traffic` from the batches of a run that pass by."""

    names: Names
    _times: list[Floats] = field(default_factory=list)
    _hosts: dict[str, float] = field(default_factory=dict)

    def batches(self, batches: Iterable[MessageBatch]) -> Iterable[MessageBatch]:
        """The same batches."""
        for batch in batches:
            self._times.append(np.asarray(batch.frame_ts, np.float64) / 1e9)
            rows = batch.messages
            for side in ("src", "dst"):
                idents, first = np.unique(rows[side], return_index=True)
                for ident, at in zip(idents.tolist(), first.tolist(), strict=True):
                    self._hosts.setdefault(self.names.endpoint(ident), float(rows["ts"][at]) / 1e9)
            yield batch

    def traffic(self) -> Traffic:
        """Everything seen so far."""
        times = np.concatenate(self._times) if self._times else np.zeros(0)
        hosts = {host: ts for host, ts in self._hosts.items() if host and not is_group_address(host)}
        return Traffic(np.sort(times), hosts)


def judge(name: str, learned: Traffic, seen: Traffic, result: Result) -> Result:
    """The run of a trivial detector; ``name`` is one of :data:`NAMES`, ``result`` gives span and assets."""
    found = {"new host": _new_hosts, "3 sigma on rate": _rates, "LOF on gaps": _gaps}[name](learned, seen)
    alerts = [_alert(i, name, *span) for i, span in enumerate(sorted(found))]
    return replace(result, alerts=alerts, incidents=incidents_of(alerts))


def fitting(name: str, events: Sequence[Event]) -> list[Event]:
    """Labels that a detector is held against: without hosts where it names none."""
    return list(events) if name == "new host" else [replace(event, src="", dst="") for event in events]


def _new_hosts(learned: Traffic, seen: Traffic) -> list[tuple[float, float, str]]:
    return [(ts, ts, host) for host, ts in seen.hosts.items() if host not in learned.hosts]


def _rates(learned: Traffic, seen: Traffic) -> list[tuple[float, float, str]]:
    normal = _per_window(learned.times)[1]
    numbers, counts = _per_window(seen.times)
    if len(normal) < 3:
        return []
    odd = numbers[np.abs(counts - normal.mean()) > SIGMAS * max(float(normal.std()), 1e-9)]
    return _merged([(number * WINDOW, (number + 1) * WINDOW) for number in odd.tolist()])


def _per_window(times: Floats) -> tuple[Floats, Floats]:
    """(numbers, frames) of the whole windows between the first and the last frame."""
    if not len(times):
        return np.zeros(0), np.zeros(0)
    first, last = int(times[0] // WINDOW) + 1, int(times[-1] // WINDOW)
    counts, _ = np.histogram(times, bins=np.arange(first, last + 1) * WINDOW) if last > first else ([], 0)
    return np.arange(first, max(first, last), dtype=np.float64), np.asarray(counts, np.float64)


def _gaps(learned: Traffic, seen: Traffic) -> list[tuple[float, float, str]]:
    normal, test = _pairs(learned.times), _pairs(seen.times)
    cut = int(0.7 * len(normal))
    if cut <= NEIGHBOURS or not len(test):
        return []
    step = -(-cut // MAX_FITTED)
    model: Any = local_outliers(NEIGHBOURS).fit(normal[:cut:step])
    limit = float(model.decision_function(normal[cut:]).max())
    odd = np.flatnonzero(model.decision_function(test) > limit)
    return _merged([(ts, ts) for ts in seen.times[odd + 2].tolist()])


def _pairs(times: Floats) -> Floats:
    """Each time between frames with the one before, logarithms; shape (frames - 2, 2)."""
    gaps = np.log(np.maximum(np.diff(times), SHORTEST))
    return np.column_stack((gaps[1:], gaps[:-1])) if len(gaps) > 1 else np.zeros((0, 2))


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float, str]]:
    merged: list[tuple[float, float, str]] = []
    for begin, end in spans:
        if merged and begin - merged[-1][1] <= WINDOW:
            merged[-1] = (merged[-1][0], end, "")
        else:
            merged.append((begin, end, ""))
    return merged


def _alert(number: int, name: str, start: float, end: float, host: str) -> Alert:
    return replace(
        blank_alert(name),
        id=f"trivial-{number}",
        start=start,
        end=end,
        level="warning",
        reading="attack",
        detector="trivial",
        src=host,
        summary=name,
        count=1,
        frames=[],
        readings={"attack": 1.0},
    )
