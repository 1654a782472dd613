"""Result: everything one detect run found out, for the store, the report and the JSON output.

The pipeline fills it, everything behind it (store, report, evaluation, command line) reads it and
nothing else. It holds text and epoch seconds only: identifiers of a run (endpoint numbers, interned
texts) end here. Lists are bounded by whoever fills them; what was left out is said in ``notes``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypedDict

import numpy as np
import numpy.typing as npt

from detectors.base import Alert, Event, Incident, Level

Floats = npt.NDArray[np.float64]

LEVELS: Final = ("info", "notice", "warning", "alarm")
"""Names of the levels as they stand in ``Alert.level``, quietest first."""


HEAD: Final = (
    "captures",
    "baseline",
    "start",
    "end",
    "packets",
    "bytes",
    "messages",
    "malformed",
    "undecoded",
    "lost",
    "notes",
    "engine",
    "version",
    "duration",
    "false_alarms_per_day",
)
"""Fields of :class:`Result` that describe the run as a whole."""


def level_rank(name: str) -> int:
    """Rank of a level's name, 0 (info) to 3 (alarm); -1 for a name that is no level."""
    return LEVELS.index(name) if name in LEVELS else -1


def _floats() -> Floats:
    return np.zeros(0, np.float64)


class ProtocolRow(TypedDict):
    """Share of one protocol in the traffic."""

    name: str
    packets: int
    messages: int
    conversations: int


class AssetRow(TypedDict):
    """One device; ``first`` and ``last`` in epoch seconds."""

    mac: str
    ip: list[str]
    vendor: str
    roles: list[str]
    protocols: list[str]
    first: float
    last: float


class ConversationRow(TypedDict):
    """One conversation; ``kinds`` counts messages by name, ``classes`` by class of message."""

    src: str
    dst: str
    protocol: str
    port: int
    sub: str
    messages: int
    bytes: int
    first: float
    last: float
    kinds: dict[str, int]
    classes: dict[str, int]


@dataclass(slots=True)
class Series:
    """One measured line over time.

    Attributes
    ----------
    name : str
        What is measured: ``score``, ``messages``, ``margin``...
    conversation : str
        Label of the conversation, "" for the whole site.
    protocol : str
        Profile name, "" for all.
    unit : str
        ``1/s``, ``ms``, ``1`` (no unit)...
    ts : ndarray of float64, shape (n,)
        Epoch seconds, ascending.
    values : ndarray of float64, shape (n,)
        NaN where nothing was measured.
    """

    name: str
    conversation: str
    protocol: str
    unit: str
    ts: Floats
    values: Floats


@dataclass(slots=True)
class PointSeries:
    """Values of one point that has findings, with the band its baseline expects.

    ``ts`` (epoch seconds) and ``values`` have shape (n,); ``low`` and ``high`` are NaN when the
    baseline knows no limit on that side.
    """

    point: str
    protocol: str
    conversation: str
    ts: Floats
    values: Floats
    low: float = float("nan")
    high: float = float("nan")


@dataclass(slots=True)
class Result:
    """What one run of detect produced.

    Attributes
    ----------
    captures : list of str
        Files as the user named them, in order; frame numbers carry the file's index above
        ``sensor.frames.FILE_SHIFT``.
    baseline : str
        Name of the baseline (site).
    start, end : float
        Capture time of the first and last frame, epoch seconds; both 0 for an empty capture.
    packets, bytes, messages, malformed, undecoded : int
        Frames; their bytes on the wire; decoded messages; those that contradict their standard;
        frames that no decoder took.
    alerts : list of Alert
        Sorted by start.
    incidents : list of Incident
        Sorted by start.
    events : list of Event
        Disturbances of a known kind, sorted by start.
    series : list of Series
        Window scores and rates.
    point_series : list of PointSeries
        Only points with findings.
    timeline : Series or None
        One score line for the whole site, 0 (normal) to 1.
    notes : list of str
        What limits the sensor's view: lost frames, a truncated file, a table that was full.
    lost : int
        Frames known to be lost.
    engine : str
        ``native``, ``tshark`` or ``auto``.
    version : str
        Of the sensor.
    duration : float
        Seconds of work (not of capture).
    false_alarms_per_day : float or None
        The budget that the baseline was calibrated to.
    """

    captures: list[str] = field(default_factory=list)
    baseline: str = ""
    start: float = 0.0
    end: float = 0.0
    packets: int = 0
    bytes: int = 0
    messages: int = 0
    malformed: int = 0
    undecoded: int = 0
    alerts: list[Alert] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    protocols: list[ProtocolRow] = field(default_factory=list)
    assets: list[AssetRow] = field(default_factory=list)
    conversations: list[ConversationRow] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    point_series: list[PointSeries] = field(default_factory=list)
    timeline: Series | None = None
    notes: list[str] = field(default_factory=list)
    lost: int = 0
    engine: str = ""
    version: str = ""
    duration: float = 0.0
    false_alarms_per_day: float | None = None

    @property
    def span(self) -> float:
        """Seconds of capture time between the first and the last frame, never negative."""
        return max(0.0, self.end - self.start)

    @property
    def worst(self) -> Level | None:
        """Loudest level among the alerts, None without alerts."""
        ranks = [level_rank(alert.level) for alert in self.alerts]
        return Level(max([0, *ranks])) if ranks else None


def alert_record(alert: Alert) -> dict[str, Any]:
    """One alert as the JSON object of ``gridwarden detect --json``; non-finite numbers become null."""
    record = asdict(alert)
    record["p_value"] = _number(alert.p_value)
    return record


def incident_record(incident: Incident) -> dict[str, Any]:
    """One incident as a JSON object."""
    return asdict(incident)


def event_record(event: Event) -> dict[str, Any]:
    """One event as a JSON object; ``record`` tells it from an alert."""
    return {"record": "event"} | asdict(event)


def summary_record(result: Result) -> dict[str, Any]:
    """The run's head figures as a JSON object, without alerts and series."""
    record: dict[str, Any] = {name: getattr(result, name) for name in HEAD}
    counts = dict.fromkeys(LEVELS, 0)
    for alert in result.alerts:
        counts[alert.level] = counts.get(alert.level, 0) + 1
    return record | {"alerts": counts, "incidents": len(result.incidents), "events": len(result.events)}


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
