"""The pipeline: batches of messages in, a baseline or alerts out.

One place wires slices, windows and detectors together, for learning and for detecting, whatever the
batches came from. Everything runs on capture time; the same frames give the same outcome however they
were batched. A detector is one entry in :data:`RULES` or in ``Learning``/``Detection``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.acceptance import Accepted
from detectors.alerts import Folder, by_start, incidents_of
from detectors.allowlist_learner import AllowlistLearner
from detectors.base import Alert, Event, Finding, Incident, Names, Slice
from detectors.baseline import Baseline
from detectors.behaviour import DEFAULT_MODEL, MODELS, Behaviour
from detectors.calendar import zone_of
from detectors.calibration import Budget, news_rate
from detectors.detector import Detector, Holding, Learner
from detectors.disturbances import Disturbances
from detectors.engineered import Engineered
from detectors.evidence import Evidence
from detectors.groups import HOUSEKEEPING, SECOND, ConvKey, Lens
from detectors.responses import Responses
from detectors.responses_learner import ResponseLearner
from detectors.rhythm import RhythmDetector
from detectors.rhythm_learner import RhythmLearner
from detectors.rules.arp import ArpRules
from detectors.rules.bacnet import BacnetRules, PriorityLearner
from detectors.rules.c37118 import C37118Rules
from detectors.rules.coap import CoapRules
from detectors.rules.connections import ConnectionRules
from detectors.rules.dlms import DlmsRules
from detectors.rules.dnp3 import Dnp3Rules
from detectors.rules.enip import CipRules, EnipRules
from detectors.rules.enip_io import EnipIoRules
from detectors.rules.goose import GooseRules, PublisherLearner
from detectors.rules.goose_data import GooseDataRules
from detectors.rules.goose_state import GooseStateRules
from detectors.rules.iec104 import Iec104Rules
from detectors.rules.iec104_clock import Iec104ClockRules
from detectors.rules.iec104_habits import ClockLearner, SelectLearner, TagLearner
from detectors.rules.iec104_link import Iec104LinkRules
from detectors.rules.iec104_tags import Iec104TagRules
from detectors.rules.mms import MmsRules
from detectors.rules.mms_reports import MmsReportRules
from detectors.rules.modbus import ModbusRules
from detectors.rules.modbus_frames import ModbusFrameRules
from detectors.rules.mqtt import MqttRules
from detectors.rules.ntp import NtpRules
from detectors.rules.opcua import OpcuaRules
from detectors.rules.profinet import DcpRules
from detectors.rules.ptp import PtpRules
from detectors.rules.s7comm import S7Rules
from detectors.rules.sv import SvRules
from detectors.rules.sv_waves import SvWaveRules
from detectors.rules.tcp import TcpRules
from detectors.sequence import Sequence
from detectors.sequence_learner import SequenceLearner
from detectors.states import StateLists, States
from detectors.stations import StationNames
from detectors.tables import FEATURES, TABLES, conv_fields, conv_of
from detectors.timing import Timing
from detectors.timing_learner import TimingLearner
from detectors.trends import MarginLearner, MarginTrends, learned_margins
from detectors.values import ValueLearner, Values, value_limits
from detectors.values_parts import Process, ProcessLearner, process_notes
from detectors.values_process import share
from detectors.values_untyped import settle
from sensor import __version__
from sensor.ahead import ahead
from sensor.errors import UsageError
from sensor.features.windows import WINDOW, Window, Windower, silent_row
from sensor.history import History
from sensor.messages import MessageBatch
from sensor.slices import Slicer
from sensor.warning.margin_sources import MarginSources

RULES: Final[tuple[Callable[[Lens, Baseline | None], Detector], ...]] = (
    Iec104Rules,
    ModbusRules,
    GooseRules,
    TcpRules,
    SvRules,
    Dnp3Rules,
    MmsRules,
    S7Rules,
    EnipRules,
    CipRules,
    EnipIoRules,
    C37118Rules,
    OpcuaRules,
    MqttRules,
    PtpRules,
    BacnetRules,
    DcpRules,
    DlmsRules,
    CoapRules,
    ArpRules,
    GooseStateRules,
    GooseDataRules,
    SvWaveRules,
    MmsReportRules,
    Iec104LinkRules,
    Iec104ClockRules,
    Iec104TagRules,
    NtpRules,
    ConnectionRules,
    ModbusFrameRules,
)
"""Protocol rules; each is made with a baseline, or without one while learning."""

UNSCORED: Final = HOUSEKEEPING | {"tcp", "udp", "ip", "ethernet"}
"""Protocols without windows of their own: signalling, and what no decoder claimed."""

MAX_FEATURE_ROWS: Final = 20_000
MAX_HITS: Final = 2_000
MAX_WINDOW_CONVS: Final = 5_000
MAX_SCORES: Final = 1_000_000
MAX_MARGINS: Final = 500_000
MAX_BURST: Final = 4_096
"""Messages of the slices that are judged together."""

SHORT: Final = 3_600.0
"""Seconds of learning below which the summary warns that limits are wide."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class LearnOptions:
    """What an engineer may choose when learning."""

    false_alarms_per_day: float = 1.0
    model: str = DEFAULT_MODEL
    seed: int = 1
    time_zone: str = "UTC"
    created_from: list[dict[str, Any]] = field(default_factory=list)

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        if not 0 < self.false_alarms_per_day <= 1e6:
            raise UsageError("--false-alarms-per-day must be above 0 and at most 1,000,000")
        if self.model not in MODELS:
            raise UsageError(f"no model {self.model!r}; choose one of {', '.join(MODELS)}")
        try:
            zone_of(self.time_zone)
        except ValueError as error:
            raise UsageError(f"--time-zone: {error}") from error


class _FeatureTable:
    """Window features kept for refitting; thinned evenly over time when there are too many."""

    def __init__(self, limit: int = MAX_FEATURE_ROWS) -> None:
        self.limit = limit
        self.stride = 1
        self._rows: dict[int, dict[ConvKey, Floats]] = {}
        self._count = 0
        self._seen: dict[ConvKey, None] = {}

    def add(self, window: Window, lens: Lens) -> None:
        """Take one window; conversations seen before and silent now get rows too."""
        rows = window_rows(window, lens)
        known = tuple(self._seen)
        for key in rows:
            if len(self._seen) < MAX_WINDOW_CONVS:
                self._seen.setdefault(key)
        number = window.start // WINDOW
        if number % self.stride:
            return
        # the window in which a conversation begins is cut short and says nothing
        mine = {key: rows.get(key, _SILENT) for key in known}
        self._rows[number] = mine
        self._count += len(mine)
        while self._count > self.limit and len(self._rows) > 1:
            self.stride *= 2
            self._rows = {n: r for n, r in self._rows.items() if n % self.stride == 0}
            self._count = sum(len(r) for r in self._rows.values())

    def finish(self, baseline: Baseline) -> None:
        """Write the rows into the baseline."""
        baseline.tables["features"] = TABLES["features"].frame(
            [
                conv_fields(key)
                | {"start": number * (WINDOW / SECOND)}
                | dict(zip(FEATURES, values.tolist(), strict=True))
                for number, rows in self._rows.items()
                for key, values in rows.items()
            ]
        )


_SILENT: Final[Floats] = np.array([silent_row()[name] for name in FEATURES], np.float64)


def window_rows(window: Window, lens: Lens) -> dict[ConvKey, Floats]:
    """Features by conversation identity, without protocols that are not scored."""
    keys = [lens.conv(conv) for conv in window.convs.tolist()]
    return {key: window.values[i] for i, key in enumerate(keys) if key[0] not in UNSCORED}


class Learning:
    """Collects a baseline from slices."""

    def __init__(self, names: Names, options: LearnOptions | None = None) -> None:
        self.options = options or LearnOptions()
        self.options.check()
        self.lens = Lens(names)
        self._learners: list[Learner] = [
            learner(self.lens)
            for learner in (
                AllowlistLearner,
                TimingLearner,
                ValueLearner,
                ProcessLearner,
                PublisherLearner,
                ResponseLearner,
                SequenceLearner,
                PriorityLearner,
                SelectLearner,
                ClockLearner,
                TagLearner,
            )
        ]
        self._learners.append(RhythmLearner(self.lens, self.options.time_zone))
        self._rules = [rule(self.lens, None) for rule in RULES]
        self._windower = Windower(self.lens)
        self._features = _FeatureTable()
        self._margins, self._worst = MarginSources(names), MarginLearner()
        self._folder = Folder(self.lens)
        self._hits: list[Alert] = []
        self._active = 0
        self._packets = 0
        self._messages = 0
        self._span = [0, 0]

    def add(self, piece: Slice) -> None:
        """Take one slice."""
        for learner in self._learners:
            learner.learn(piece)
        for rule in self._rules:
            for finding in rule.detect(piece):
                self._keep(self._folder.add(finding))
        window = self._windower.push(piece)
        if window is not None:
            self._features.add(window, self.lens)
            self._worst.add(self._margins.close(window.start + WINDOW, self.lens))
        self._margins.push(piece)
        piece.cache.clear()  # its columns know the slice: only a full collection would free the two
        self._packets += piece.packets
        self._messages += len(piece.messages)
        self._span = [self._span[0] or piece.start, max(self._span[1], piece.end)]
        self._active += piece.end - piece.start if piece.packets else 0

    def _keep(self, alerts: list[Alert]) -> None:
        self._hits += alerts[: max(0, MAX_HITS - len(self._hits))]

    def finish(self) -> Baseline:
        """The baseline."""
        baseline = Baseline(created_from=list(self.options.created_from), tool=__version__)
        window = self._windower.close()
        if window is not None and len(window.convs):
            self._features.add(window, self.lens)
        self._keep(self._folder.close())
        learned_s = (self._span[1] - self._span[0]) / SECOND
        baseline.params = {
            "false_alarms_per_day": self.options.false_alarms_per_day,
            "model": self.options.model,
            "seed": self.options.seed,
            "learned_s": learned_s,
            "packets": self._packets,
            "messages": self._messages,
            "window_s": WINDOW / SECOND,
            "first": self._span[0] / SECOND,
            "last": self._span[1] / SECOND,
        }
        for learner in self._learners:
            learner.finish(baseline)
        settle(baseline)
        self._features.finish(baseline)
        self._worst.finish(baseline)
        self._write_hits(baseline)
        counts = [int(count) for count in baseline.tables["kinds"]["count"]]
        baseline.params["maturity"] = 1.0 - news_rate(counts)
        baseline.params["notes"] = learn_notes(baseline, self.lens)
        return baseline

    def _write_hits(self, baseline: Baseline) -> None:
        hits: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        for alert in by_start(self._hits):
            key = (alert.rule, alert.protocol, alert.src, alert.dst)
            row = hits.setdefault(
                key,
                dict(zip(("rule", "protocol", "src", "dst"), key, strict=True))
                | {"summary": alert.summary, "first": alert.start, "last": alert.end, "count": 0},
            )
            row["count"] += alert.count
            row["last"] = max(row["last"], alert.end)
        baseline.tables["rule_hits"] = TABLES["rule_hits"].frame(list(hits.values()))


def learn_notes(baseline: Baseline, lens: Lens) -> list[str]:
    """What an engineer must know before trusting a baseline, in sentences."""
    notes = []
    seconds = float(baseline.params["learned_s"])
    if seconds < SHORT:
        notes.append(
            f"only {seconds / 60:.0f} minutes of traffic: limits are wide and false alarms per day cannot be "
            "verified; merge captures of a working day or more"
        )
    news = 1.0 - float(baseline.params["maturity"])
    notes.append(f"about 1 message in {round(1 / max(news, 1e-9)):,} is expected to be of a kind never seen")
    behaviour = Behaviour(baseline, lens, budget_of(baseline))
    notes += [f"no behaviour model for {protocol}: {why}" for protocol, why in behaviour.skipped.items()]
    limits = len(value_limits(baseline, budget_of(baseline)))
    total = len(baseline.tables["values"])
    if total:
        notes.append(f"{limits} of {total} process values have limits; the others were too few or drift")
    notes += process_notes(baseline)
    hits = int(baseline.tables["rule_hits"]["count"].sum())
    if hits:
        notes.append(f"protocol rules were broken {hits} times while learning: look before you trust it")
    return notes


def budget_of(baseline: Baseline) -> Budget:
    """The site's budget of false alarms."""
    return Budget(float(baseline.params.get("false_alarms_per_day", 1.0)))


def learn(batches: Iterable[MessageBatch], names: Names, options: LearnOptions | None = None) -> Baseline:
    """Learn a baseline from messages.

    Parameters
    ----------
    batches : iterable of MessageBatch
        In capture order.
    names : Names
        Of the same run.
    options : LearnOptions, optional
    """
    learning = Learning(names, options)
    for piece in Slicer().run(ahead(batches)):
        learning.add(piece)
    return learning.finish()


def bursts(pieces: Iterable[Slice]) -> Iterator[list[Slice]]:
    """Slices that are judged together: of one window, and with few rows.

    Between two slices of sparse traffic a file's decoding takes the processor's caches; a detector that
    judges some in turn finds its own state and code there. Nothing that is said depends on it.
    """
    held: list[Slice] = []
    rows = 0
    for piece in pieces:
        if held and (
            rows + len(piece.messages) > MAX_BURST or piece.start // WINDOW != held[0].start // WINDOW
        ):
            yield held
            held, rows = [], 0
        held.append(piece)
        rows += len(piece.messages)
        if rows > MAX_BURST:  # a dense one waits for nobody
            yield held
            held, rows = [], 0
    if held:
        yield held


class Detection:
    """Holds traffic against a baseline.

    Attributes
    ----------
    alerts, incidents : list
        Complete and sorted when :meth:`run` has ended.
    events : list of Event
        Disturbances of a known kind, in the order in which they ended.
    scores : History
        Conversation to begin of a window (epoch seconds), its messages, its p-value (NaN where it was not
        scored), in order of time; the first :data:`MAX_SCORES`.
    margins : History
        (name, unit, conversation) to end of a window (epoch seconds), value; the first :data:`MAX_MARGINS`.
    notes : list of str
        What limits the view.
    """

    def __init__(self, names: Names, baseline: Baseline, margins: bool = True) -> None:
        self.baseline = baseline
        self.lens = Lens(names)
        self._margins = MarginSources(names) if margins else None
        self._budget = budget = budget_of(baseline)
        self._engineered = Engineered(baseline, self.lens)
        self._accepted = Accepted(baseline, self.lens)
        self._disturbances = Disturbances(self.lens, baseline)
        self._station = StationNames(baseline, self._engineered.names)
        # a station description alone is no list of everybody who may speak
        self._states = States(baseline, self.lens)
        lists: list[Detector] = [StateLists(baseline, self.lens, self._states)] if baseline.learned else []
        known = baseline if baseline.learned else None
        self._responses = Responses(baseline, self.lens, budget)
        self._detectors: list[Detector] = [
            *lists,
            self._engineered,
            *(rule(self.lens, known) for rule in RULES),
            Timing(baseline, self.lens, budget),
            Values(baseline, self.lens, share(budget, "range")),
            Process(baseline, self.lens, budget),
            self._responses,
            Sequence(baseline, self.lens, budget),
            RhythmDetector(baseline, self.lens),
        ]
        self._behaviour = Behaviour(baseline, self.lens, budget)
        self._evidence = Evidence(self._behaviour, baseline, budget)
        self._windower = Windower(self.lens)
        self._trends = MarginTrends(budget, learned_margins(baseline))
        self._folder = Folder(self.lens)
        self._convs: dict[ConvKey, int] = {}
        self.alerts: list[Alert] = []
        self.incidents: list[Incident] = []
        self.events: list[Event] = []
        self.scores: History[ConvKey] = History(3, MAX_SCORES)
        self.notes: list[str] = []
        self.margins: History[tuple[str, str, ConvKey]] = History(2, MAX_MARGINS)

    def run(self, batches: Iterable[MessageBatch]) -> Iterator[Alert]:
        """Yield alerts as they close (not sorted); afterwards the attributes hold everything."""
        for burst in bursts(Slicer().run(ahead(batches))):
            yield from self._keep(self._burst(burst))
        yield from self._keep(self._close())
        self.alerts = by_start(self.alerts)
        self.incidents = incidents_of(self.alerts)
        self._tell_counters()

    def _keep(self, alerts: list[Alert]) -> list[Alert]:
        self.alerts += [self._station.apply(alert) for alert in alerts]
        return alerts

    def _slice(self, piece: Slice) -> list[Alert]:
        return self._burst([piece])

    def _burst(self, pieces: list[Slice]) -> list[Alert]:
        """Judge slices of one window: each detector takes them in turn, then each slice is told in turn."""
        window = self._windower.push(pieces[0])
        found: list[list[Finding]] = [[] for _ in pieces]
        found[0] += self._window(window) if window is not None else []
        for piece in pieces[1:]:
            self._windower.push(piece)
        for detector in self._detectors:
            for piece, findings in zip(pieces, found, strict=True):
                findings += [f for f in detector.detect(piece) if not self._engineered.explains(f)]
        return [alert for args in zip(pieces, found, strict=True) for alert in self._told(*args)]

    def _told(self, piece: Slice, findings: list[Finding]) -> list[Alert]:
        """Weigh and fold what was found in a slice; alerts that closed."""
        closed: list[Alert] = []
        self._disturbances.see(piece)
        for finding in self._weighed(findings):
            closed += self._folder.add(finding)
        if self._margins is not None:
            self._margins.push(piece)
        self.events += self._disturbances.tick(piece.start) + self._states.tick(piece.start)
        piece.cache.clear()  # its columns know the slice: only a full collection would free the two
        return closed + self._folder.tick(piece.start / SECOND)

    def _close(self) -> list[Alert]:
        """What is open at the end; the last window is cut short and not scored."""
        self._windower.close()
        closed: list[Alert] = []
        rest = [one for part in self._detectors if isinstance(part, Holding) for one in part.rest()]
        for finding in self._weighed(rest):
            closed += self._folder.add(finding)
        self.events += self._disturbances.close() + self._states.close()
        return closed + self._folder.close()

    def _weighed(self, findings: list[Finding]) -> list[Finding]:
        """Without what a person accepted, lowered by events and windows, by time."""
        findings = [finding for finding in findings if not self._accepted.covers(finding)]
        findings = self._states.weigh(self._disturbances.weigh(findings))
        return sorted(findings, key=lambda finding: finding.ts)

    def _window(self, window: Window) -> list[Finding]:
        rows = window_rows(window, self.lens)
        convs = {self.lens.conv(conv): conv for conv in window.convs.tolist()}
        running = {key for key in rows if key in self._convs}
        self._convs |= {key: convs[key] for key in rows if len(self._convs) < MAX_WINDOW_CONVS}
        for key in self._behaviour.known:
            if key in self._convs and key not in rows:  # never heard in this run: timing says so
                rows[key] = _SILENT
                running.add(key)
        # the window in which a conversation begins is cut short and is not scored
        p_values = self._behaviour.score(window.start, {key: rows[key] for key in running})
        self._remember(window.start, rows, p_values)
        slow = self._evidence.add(window.start + WINDOW, rows, p_values, self._convs)
        return (
            self._margin_findings(window.start)
            + slow
            + self._behaviour.findings(window.start + WINDOW, rows, p_values, self._convs)
        )

    def _margin_findings(self, start: int) -> list[Finding]:
        """Margins of the window that began at ``start``, and those that are running out."""
        if self._margins is None:
            return []
        end = start + WINDOW
        made = self._margins.close(end, self.lens) + self._responses.margins()
        found = self._trends.add(end, made)
        self._keep_margins(end, made + self._trends.assessed)
        return found

    def _keep_margins(self, end: int, margins: list[tuple[str, str, ConvKey, float]]) -> None:
        """For the report's series."""
        for name, unit, conv, value in margins:
            self.margins.add((name, unit, conv), end / SECOND, value)

    def _remember(self, start: int, rows: dict[ConvKey, Floats], p_values: dict[ConvKey, float]) -> None:
        """For the report's plots."""
        for key, values in rows.items():
            self.scores.add(key, start / SECOND, float(values[0]), p_values.get(key, math.nan))

    def _tell_counters(self) -> None:
        counters: Counter[str] = Counter()
        for detector in self._detectors:
            counters.update(detector.counters())
        counters.update(self._disturbances.counters())
        counters.update(self._trends.counters())
        counters["margins_left_out"] = self._margins.left_out if self._margins is not None else 0
        counters["scores_not_plotted"] = self.scores.left_out
        counters["margins_not_plotted"] = self.margins.left_out
        counters["findings_dropped"] = self._folder.dropped
        counters["window_messages_truncated"] = self._windower.truncated
        self.notes += [f"{name.replace('_', ' ')}: {n}" for name, n in sorted(counters.items()) if n]
        self.notes += [f"no behaviour model for {p}: {why}" for p, why in self._behaviour.skipped.items()]
        if self._evidence.note:
            self.notes.append(self._evidence.note)
        silenced = sum(self._accepted.silenced.values())
        if silenced:
            rules = ", ".join(sorted(self._accepted.silenced))
            self.notes.append(
                f"{silenced} messages stayed silent because a person accepted the same before: {rules}"
            )
        if not self.baseline.learned:
            self.notes.append(
                "nothing was learned: judged by the station description (GOOSE, sampled values, MMS clients) "
                "and by the protocols' rules only"
            )
        waiting = sum(alert.rule == "not-approved" for alert in self.alerts)
        if waiting:
            self.notes.append(
                f"{waiting} dangerous kinds of message were seen while learning, came again, and wait for "
                "approval: gridwarden baseline approve"
            )


def detect(batches: Iterable[MessageBatch], names: Names, baseline: Baseline) -> Detection:
    """Hold all batches against a baseline; everything found is in the returned object."""
    detection = Detection(names, baseline)
    for _ in detection.run(batches):
        pass
    return detection


def known_conversations(baseline: Baseline) -> set[ConvKey]:
    """Identities of all conversations of a baseline."""
    return {conv_of(row) for row in baseline.rows("conversations")}
