"""One detect run from capture files to a Result: what detect, evaluate and demo all do.

Decodes, holds the messages against a baseline, and collects beside the alerts what the store and the
report show: inventory, window scores, and the values of points that have findings. Everything kept is
bounded; what was left out is said in ``Result.notes``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from grid_profiles.vocabulary import POINT
from sensor import __version__
from sensor.engines import Decoded
from sensor.errors import CaptureError
from sensor.inventory import Inventory
from sensor.messages import MessageBatch
from sensor.result import PointSeries, Result, Series

if TYPE_CHECKING:
    from detectors.base import Alert
    from detectors.baseline import Baseline
    from sensor.pipeline import Detection

MAX_SAMPLES: Final = 250_000
"""Values held back for the plots of points with findings; thinned evenly when there are more."""

MAX_PLOTS: Final = 40
MAX_SERIES: Final = 200
FLOOR: Final = 1e-12
"""Smallest p-value that a score distinguishes; -log10 of it is a score of 1."""

_VALUE: Final = np.dtype([(name, POINT[name]) for name in ("ts", "proto", "conv", "kind", "point", "value")])


class Samples:
    """Process values seen in a run, at most :data:`MAX_SAMPLES` of them, evenly thinned."""

    def __init__(self, limit: int = MAX_SAMPLES, seed: int = 1) -> None:
        self._limit = limit
        self._share = 1.0
        self._random = np.random.default_rng(seed)
        self._parts: list[npt.NDArray[Any]] = []
        self._count = 0

    @property
    def thinned(self) -> bool:
        """Whether values were left out."""
        return self._share < 1.0

    def add(self, points: npt.NDArray[Any]) -> None:
        """Take the points of a batch."""
        if self._share < 1.0:
            points = points.compress(self._random.random(len(points), np.float32) < self._share)
        part = _values(points)
        finite = np.isfinite(part["value"])
        part = part if finite.all() else part.compress(finite)
        if len(part):
            self._parts.append(part)
            self._count += len(part)
        while self._count > self._limit:
            self._share /= 2
            self._parts = [part.compress(self._random.random(len(part)) < 0.5) for part in self._parts]
            self._count = sum(map(len, self._parts))

    def rows(self, protocols: Collection[int] | None = None) -> npt.NDArray[Any]:
        """Everything kept, in order of arrival; or what is kept of some protocols."""
        parts = self._parts
        if protocols is not None:
            parts = [part.compress(np.isin(part["proto"], list(protocols))) for part in parts]
        return np.concatenate(parts) if parts else np.zeros(0, _VALUE)


def _values(points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What is kept of points; columns that are neighbours in both layouts are copied as one piece."""
    kept = np.empty(len(points), _VALUE)
    for first, last in (("ts", "ts"), ("proto", "value")):
        _piece(kept, first, last)[:] = _piece(points, first, last)
    return kept


def _piece(rows: npt.NDArray[Any], first: str, last: str) -> npt.NDArray[Any]:
    """The octets of records from one column to another, to write to as well."""
    fields: Any = rows.dtype.fields
    begin, end = fields[first][1], fields[last][1] + fields[last][0].itemsize
    layout: Any = {
        "names": ["octets"],
        "formats": [f"V{end - begin}"],
        "offsets": [begin],
        "itemsize": rows.itemsize,
    }
    octets: npt.NDArray[Any] = rows.view(np.dtype(layout))["octets"]
    return octets


def run_detect(
    decoded: Decoded,
    baseline: Baseline,
    captures: Sequence[str],
    name: str = "",
    on_alert: Callable[[Alert], None] | None = None,
    through: Callable[[Iterable[MessageBatch]], Iterable[MessageBatch]] | None = None,
) -> Result:
    """Hold captures against a baseline.

    Parameters
    ----------
    decoded : Decoded
        Open captures; iterated here.
    baseline : Baseline
    captures : sequence of str
        As the user named them; the files they led to stand in the result.
    name : str
        Name of the baseline for the report.
    on_alert : callable, optional
        Told each alert once, when it closes: nothing can extend it any more. Its incident is not known yet.
    through : callable, optional
        Changes the batches before they are judged.

    Raises
    ------
    CaptureError
        When not a single frame could be read.
    """
    from sensor.pipeline import Detection

    began = time.monotonic()
    inventory, samples = Inventory(decoded, point_limit=0), Samples()
    detection = Detection(decoded.names, baseline)
    batches = tap(decoded, inventory, samples)
    for alert in detection.run(through(batches) if through else batches):
        if on_alert is not None:
            on_alert(alert)
    if decoded.first is None and decoded.problems:
        raise decoded.problems[0]
    result = _result(decoded, inventory, detection, captures)
    result.baseline = name
    result.point_series = _point_series(detection, decoded, samples)
    result.notes = _notes(decoded.problems, [*decoded.notes, *detection.notes], samples)
    result.false_alarms_per_day = float(baseline.params.get("false_alarms_per_day", 1.0))
    result.duration = time.monotonic() - began
    return result


def tap(batches: Iterable[MessageBatch], inventory: Inventory, samples: Samples) -> Iterator[MessageBatch]:
    """Pass batches on, and count what goes by."""
    for batch in batches:
        inventory.add(batch)
        samples.add(batch.points)
        yield batch


def _result(decoded: Decoded, inventory: Inventory, detection: Detection, captures: Sequence[str]) -> Result:
    counters = decoded.native.counters
    return Result(
        captures=[file.shown for file in decoded.files] or list(captures),
        start=(decoded.first or 0) / 1e9,
        end=decoded.last / 1e9,
        packets=counters["frames"],
        bytes=counters["bytes"],
        messages=inventory.messages,
        malformed=inventory.malformed + counters["malformed"],
        undecoded=decoded.undecoded,
        alerts=detection.alerts,
        incidents=detection.incidents,
        events=sorted(detection.events, key=lambda event: (event.start, event.id)),
        protocols=inventory.protocols(),
        assets=inventory.assets(),
        conversations=inventory.conversations(),
        series=_series(detection),
        timeline=_timeline(detection),
        lost=decoded.dropped,
        engine=decoded.engine,
        version=__version__,
    )


def _notes(problems: list[CaptureError], notes: list[str], samples: Samples) -> list[str]:
    found = [str(problem) for problem in problems] + notes
    if samples.thinned:
        found.append("more process values than the plots keep: they are drawn from an even sample")
    return found


def score_of(p_value: float) -> float:
    """A p-value as a score from 0 (normal) to 1 (below :data:`FLOOR`); NaN stays NaN."""
    return float(scores_of(np.float64(p_value)))


def scores_of(p_values: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
    """The same for any number of p-values."""
    share = np.log(np.maximum(p_values, FLOOR)) / np.log(FLOOR)
    return np.asarray(np.clip(share, 0.0, 1.0), np.float64)


def _timeline(detection: Detection) -> Series | None:
    """The strangest conversation's score, window by window."""
    starts, _, p_values = detection.scores.columns()
    scored = np.isfinite(p_values)
    if not scored.any():
        return None
    times, which = np.unique(starts[scored], return_inverse=True)
    worst = np.ones(len(times))
    np.minimum.at(worst, which, p_values[scored])
    return Series("score", "", "", "1", times, scores_of(worst))


def _series(detection: Detection) -> list[Series]:
    """Messages per window and score of each scored conversation, the busiest ones."""
    rows = sorted(detection.scores.by_key().items(), key=lambda row: -row[1].shape[1])
    made: list[Series] = []
    for key, (times, messages, p_values) in rows[: MAX_SERIES // 2]:
        protocol, client, server, _, sub, _ = key
        label = " ".join(part for part in (f"{client} → {server}", sub) if part)
        made.append(Series("messages", label, protocol, "1/window", times, messages))
        made.append(Series("score", label, protocol, "1", times, scores_of(p_values)))
    return made + _margin_series(detection, MAX_SERIES)


def _margin_series(detection: Detection, most: int) -> list[Series]:
    """Margins of each conversation, those with a trend first."""
    rows = sorted(
        detection.margins.by_key().items(),
        key=lambda row: (row[0][0].count(".") < 2, -row[1].shape[1], row[0]),
    )
    made = []
    for (name, unit, key), (times, values) in rows[:most]:
        label = " ".join(part for part in (f"{key[1]} → {key[2]}", key[4]) if part)
        made.append(Series(name, label, key[0], unit, times, values))
    return made


def _point_series(detection: Detection, decoded: Decoded, samples: Samples) -> list[PointSeries]:
    """Values of the points that have findings, with the band that the baseline expects."""
    from detectors.stations import plain_point

    wanted = {(alert.protocol, plain_point(alert.point)) for alert in detection.alerts if alert.point}
    if not wanted:
        return []
    rows = samples.rows({detection.lens.protocol(protocol) for protocol, _ in wanted})
    rows = rows.compress(_named(rows, wanted, decoded))
    if not len(rows):
        return []
    bands = _bands(detection, {point for _, point in wanted})
    made: list[PointSeries] = []
    rows = rows.take(np.lexsort((rows["point"], rows["proto"], rows["conv"])))
    edges = [np.diff(rows[column]) != 0 for column in ("conv", "proto", "point")]
    for own in np.split(rows, np.flatnonzero(np.logical_or.reduce(edges)) + 1):
        key = own[0]
        protocol = decoded.names.protocol(int(key["proto"]))
        point = decoded.names.point(int(key["proto"]), int(key["point"]))
        if (protocol, point) not in wanted or len(made) == MAX_PLOTS:
            continue
        conversation = decoded.names.conversation(int(key["conv"]))
        low, high = bands.get((conversation.key, point), (float("nan"), float("nan")))
        label = f"{conversation.client} → {conversation.server}"
        ts = own["ts"] / 1e9
        made.append(PointSeries(point, protocol, label, ts, own["value"].copy(), low, high))
    return made


def _named(rows: npt.NDArray[Any], wanted: set[tuple[str, str]], decoded: Decoded) -> npt.NDArray[np.bool_]:
    """Rows of points with findings: what is left out need not be sorted."""
    found = np.zeros(len(rows), np.bool_)
    names = decoded.names
    for proto in np.unique(rows["proto"]).tolist():
        mine = rows["proto"] == proto
        points = np.unique(rows["point"][mine]).tolist()
        named = [point for point in points if (names.protocol(proto), names.point(proto, point)) in wanted]
        found |= mine & np.isin(rows["point"], named)
    return found


def _bands(detection: Detection, points: set[str]) -> dict[Any, tuple[float, float]]:
    from detectors.values import value_limits
    from sensor.pipeline import budget_of

    limits = value_limits(detection.baseline, budget_of(detection.baseline), points)
    return {key: (band.low, band.high) for key, band in limits.items()}
