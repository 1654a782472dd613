"""Timing: how often messages of one kind come, and when what used to speak falls silent.

What is learned stands in ``timing_learner``. A series is *cyclic* when the middle of its histogram is
narrow; everything else is spontaneous and only ever judged by its extremes. Limits come from
``calibration.upper_limit``: they hold the site's budget of false alarms.

Three statements: ``early`` (a cyclic message far too soon after the one before on the same connection;
a new connection may catch up first), ``rate`` (more in 10 s than normal traffic ever brings) and
``silence`` (nothing for longer than patience allows; said when other traffic moves the clock on, once per
pair of hosts and protocol). What was not heard yet in this run gets three times the patience: nobody
knows where its cycle stood when the sensor began. Acknowledgements, keep-alives and refusals depend on
other messages and are never missed by themselves. When the whole capture stands still, that is a matter
of visibility and is said once; the conversations' clocks are moved on by the pause. Repeated frames (TCP
retransmissions, mirrored copies) are not counted as new messages, but they break a silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading, Slice
from detectors.baseline import Baseline
from detectors.calibration import Budget, upper_limit
from detectors.compare import text_histogram
from detectors.detector import LinkFinding
from detectors.groups import (
    HOUSEKEEPING,
    REPEATED,
    SECOND,
    Lens,
    frames_of,
    group,
    pack,
    unpack,
)
from detectors.tables import conv_of, text_numbers
from detectors.timing_learner import MAX_KEYS, RATE_WINDOW, TimingKey, quantile
from grid_profiles.vocabulary import KindClass, Role

NAME: Final = "timing"

MIN_COUNT: Final = 20
"""Inter-arrival times below which a series is not judged by its timing."""

NARROW: Final = 2.0
"""A series is cyclic when its 90 % quantile of inter-arrival is less than so many times the 10 % one."""

SETTLED: Final = 3
"""Messages of a series on a new connection before its timing is judged: a client catches up first."""

UNHEARD: Final = 3.0
MIN_UNHEARD: Final = 60.0
"""Patience (factor, and least seconds) with what was not heard since the sensor began."""

SILENCE_HOLD: Final = 600.0
RATE_HOLD: Final = 60.0

DEPENDENT: Final = frozenset({KindClass.SESSION, KindClass.DIAGNOSTIC, KindClass.ERROR})

EARLY: Final = 0.3
"""Part of the shortest gap ever seen under which a cyclic message is too early."""

STORM: Final = 10.0
"""So many times its limit makes a rate a flood."""

FLOOD_SCORES: Final = {"attack": 0.5, "fault": 0.3, "operation": 0.2}
BUSY_SCORES: Final = {"operation": 0.5, "fault": 0.3, "attack": 0.2}

MIN_PAUSE: Final = 30.0
"""Seconds without any frame before the sensor calls itself blind."""


@dataclass(slots=True)
class _Limits:
    """What one series may do, and where it stands."""

    key: TimingKey
    cyclic: bool
    period: float
    early: float
    silence: float
    rate: float
    proto: int = -1
    conv: int = -1
    last: int = -1
    previous: int = -1
    stream: int = -2
    settled: int = 0
    heard: bool = False
    silent: bool = False
    window: int = -1
    in_window: int = 0
    told: bool = False

    @property
    def patience(self) -> float:
        """Seconds without a message after which the series is called silent."""
        return self.silence if self.heard else max(UNHEARD * self.silence, MIN_UNHEARD)


class Timing:
    """Holds traffic against learned timing."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._pause = max(MIN_PAUSE, 3 * float(baseline.params.get("max_idle_s", 0.0)))
        learned_s = float(baseline.params.get("learned_s", 0.0))
        rows = [row for row in baseline.rows("timing") if row.count >= MIN_COUNT]
        made = [_limits(row, budget, len(rows), learned_s) for row in rows]
        _spare(made, baseline)
        self._limits: dict[TimingKey, _Limits] = {limits.key: limits for limits in made}
        self._by_run: dict[int, _Limits | None] = {}
        self._order = sorted((x for x in made if np.isfinite(x.silence)), key=lambda x: x.key)
        self._clock = -1
        self._evicted = 0

    def counters(self) -> dict[str, int]:
        """How often the table of this run's series was emptied."""
        return {"series_evicted": self._evicted}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        found = self._advance(piece)
        messages = piece.messages
        if len(messages):
            window = piece.start // RATE_WINDOW
            fresh = messages["flags"] & np.uint32(REPEATED) == 0
            self._series(messages, fresh, group(pack(messages)), window, found, whole=False)
            self._series(messages, fresh, group(messages["conv"].astype(np.int64)), window, found, whole=True)
        self._silences(piece.end, found)
        return found

    def _advance(self, piece: Slice) -> list[Finding]:
        """Move the clock on; a pause of the whole capture shifts every series."""
        found: list[Finding] = []
        if self._clock < 0:
            self._start(piece.start)
        pause = (piece.start - self._clock) / SECOND if self._clock >= 0 else 0.0
        if pause > self._pause:
            found.append(_blind(piece, pause, self._pause))
            self._start(piece.start)
        self._clock = max(self._clock, piece.end)
        return found

    def _start(self, ts: int) -> None:
        for limits in self._order:
            limits.last, limits.silent, limits.heard = ts, False, False

    def _series(
        self,
        messages: npt.NDArray[Any],
        fresh: npt.NDArray[np.bool_],
        groups: Any,
        window: int,
        found: list[Finding],
        whole: bool,
    ) -> None:
        for index, packed in enumerate(groups.keys.tolist()):
            run_key = -1 - packed if whole else packed
            if run_key not in self._by_run:
                self._resolve(run_key, packed, whole)
            limits = self._by_run[run_key]
            if limits is None:
                continue
            rows = groups.rows(index)
            limits.conv = packed if whole else unpack(packed).conv
            limits.proto = int(messages["proto"][rows[0]])
            new = rows[fresh[rows]]
            if len(new):
                self._early(limits, messages[new], found)
                self._rate(limits, messages[new], window, found)
            limits.last = max(limits.last, int(messages["ts"][rows].max()))
            limits.silent, limits.heard = False, True

    def _resolve(self, run_key: int, packed: int, whole: bool) -> None:
        if len(self._by_run) >= MAX_KEYS:
            self._by_run.clear()
            self._evicted += 1
        if whole:
            key: TimingKey = (self.lens.conv(packed), -1, -1, -1)
        else:
            fields = unpack(packed)
            key = (self.lens.conv(fields.conv), *fields[1:])
        self._by_run[run_key] = self._limits.get(key)

    def _early(self, limits: _Limits, rows: npt.NDArray[Any], found: list[Finding]) -> None:
        if not limits.cyclic or limits.early <= 0:
            return
        ts = rows["ts"].astype(np.int64)
        gaps = np.diff(ts, prepend=limits.previous) / SECOND
        near = (gaps >= 0) & (gaps < limits.early) & _settled(limits, rows["stream"])
        limits.previous = int(ts[-1])
        at = np.flatnonzero(near)
        if len(at):
            gap = float(gaps[at[0]])
            found.append(
                self._finding(
                    "early",
                    Level.NOTICE,
                    limits,
                    rows[at],
                    f"{self._what(limits)} came {_s(gap)} after the one before; cycle {_s(limits.period)}",
                    f"at least {_s(limits.early)} apart",
                    _s(gap),
                    {"attack": 0.5, "fault": 0.3, "operation": 0.2},
                    "T0856",
                )
            )

    def _rate(self, limits: _Limits, rows: npt.NDArray[Any], window: int, found: list[Finding]) -> None:
        if window != limits.window:
            limits.window, limits.in_window, limits.told = window, 0, False
        limits.in_window += len(rows)
        if limits.in_window <= limits.rate or limits.told:
            return
        storm = limits.in_window > STORM * limits.rate
        limits.told = storm
        found.append(
            self._finding(
                "rate",
                Level.WARNING if storm else Level.NOTICE,
                limits,
                rows,
                f"{self._what(limits)} {limits.in_window} in 10 s, normal is up to {limits.rate:.0f}",
                f"up to {limits.rate:.0f} in 10 s",
                f"{limits.in_window} in 10 s",
                {"attack": 0.5, "fault": 0.3, "operation": 0.2}
                if storm
                else {"operation": 0.5, "fault": 0.3, "attack": 0.2},
                "T0814" if storm else "",
            )
        )

    def _silences(self, clock: int, found: list[Finding]) -> None:
        quiet = [x for x in self._order if not x.silent and (clock - x.last) / SECOND > x.patience]
        if not quiet:
            return
        whole = {x.key[0]: x for x in self._order if x.key[1] == -1}
        for limits in quiet:
            limits.silent = True
            conversation = whole.get(limits.key[0]) if limits.key[1] != -1 else None
            if conversation is None or _speaks(conversation, quiet):
                found.append(self._silence(limits, clock))

    def _silence(self, limits: _Limits, clock: int) -> Finding:
        seconds = (clock - limits.last) / SECOND
        level = Level.WARNING if limits.cyclic and limits.heard else Level.NOTICE
        since = "" if limits.heard else " since the sensor began"
        return self._finding(
            "silence",
            level,
            limits,
            None,
            f"{self._what(limits)} silent for {_s(seconds)}{since}; normal is at most {_s(limits.silence)}",
            f"a message at least every {_s(limits.silence)}",
            f"none for {_s(seconds)}",
            {"fault": 0.6, "attack": 0.25, "operation": 0.15},
            "T0804",
            clock,
        )

    def _what(self, limits: _Limits) -> str:
        conv, role, _, _ = limits.key
        link = f"{conv[1]} to {conv[2]} ({conv[0]}{' ' + conv[4] if conv[4] else ''})"
        if role == -1:
            return link
        return f"{self._kind(limits)} of {conv[2] if role == Role.SERVER else conv[1]}, {link},"

    def _kind(self, limits: _Limits) -> str:
        """Name of the kind of message, "" for a conversation as a whole."""
        if limits.key[1] == -1:
            return ""
        try:
            proto = self.lens.names.protocol_id(limits.key[0][0])
        except KeyError:
            return f"kind {limits.key[2]}"
        return self.lens.names.kind(proto, limits.key[2])

    def _finding(
        self,
        rule: str,
        level: Level,
        limits: _Limits,
        rows: npt.NDArray[Any] | None,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str,
        ts: int = -1,
    ) -> Finding:
        first = rows[0] if rows is not None else None
        conv, role, kind, cause = limits.key
        return LinkFinding(
            link=limits.key[0],
            ts=ts if first is None else int(first["ts"]),
            detector=NAME,
            rule=rule,
            level=level,
            reading=Reading(max(scores, key=lambda name: scores[name])),
            proto=limits.proto,
            conv=limits.conv,
            src=-1 if first is None else int(first["src"]),
            dst=-1 if first is None else int(first["dst"]),
            summary=summary,
            kind=kind,
            expected=expected,
            observed=observed,
            technique=technique,
            frames=[] if rows is None else frames_of(rows),
            group=f"{role}/{kind}/{cause}" if rule == "early" else "",
            scores=scores,
            hold=SILENCE_HOLD if rule == "silence" else RATE_HOLD,
            pair=rule != "early",
            item=" ".join(part for part in (conv[4], self._kind(limits)) if part),
        )


def _limits(row: Any, budget: Budget, series: int, learned_s: float) -> _Limits:
    histogram = text_histogram(row.histogram)
    low, high = quantile(histogram, 0.1), quantile(histogram, 0.9)
    cyclic = high < NARROW * low and row.count >= MIN_COUNT
    period = row.total / row.count
    gaps, rates = text_numbers(row.gap_blocks), text_numbers(row.rate_blocks)
    p_gap = budget.probability(budget.timing / 2, row.gap_block_s, series)
    p_rate = budget.probability(budget.timing / 2, row.rate_block_s, series)
    silence = upper_limit(gaps, p_gap, row.high) if _speaks_often(row, learned_s) else float("inf")
    rate = upper_limit(rates, p_rate, max(5.0, max(rates, default=0.0)))
    if row.protocol in HOUSEKEEPING or row.protocol == "tcp":
        silence = float("inf")
    # a shortest gap far below the usual ones belongs to another rhythm in the same series
    early = EARLY * row.low if row.low > low / NARROW else 0.0
    return _Limits((conv_of(row), row.role, row.kind, row.cause), cyclic, period, early, silence, rate)


def _speaks(conversation: _Limits, quiet: list[_Limits]) -> bool:
    """Is the conversation as a whole alive? When it is not, it says so for all its kinds."""
    return conversation.heard and not conversation.silent and conversation not in quiet


def _settled(limits: _Limits, streams: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which messages have at least :data:`SETTLED` before them on the same connection; moves the state on."""
    before = np.r_[np.int64(limits.stream), streams[:-1].astype(np.int64)]
    changed = before != streams
    at = np.arange(len(streams))
    begun = np.maximum.accumulate(np.where(changed, at, -1))
    run = np.where(begun < 0, limits.settled + at, at - begun)
    limits.stream, limits.settled = int(streams[-1]), int(run[-1]) + 1
    return np.asarray(run >= SETTLED, np.bool_)


def _spare(made: list[_Limits], baseline: Baseline) -> None:
    """No silence for kinds that only follow other messages."""
    dependent = {
        (conv_of(row), row.role, row.kind, row.cause)
        for row in baseline.tables["kinds"].rename(columns={"class": "group"}).itertuples(index=False)
        if row.group in DEPENDENT
    }
    for limits in made:
        if limits.key in dependent:
            limits.silence = float("inf")


def _speaks_often(row: Any, learned_s: float) -> bool:
    """Silence is only judged for what spoke all through the learning, many times over."""
    return bool(
        row.count >= MIN_COUNT and row.high < 0.1 * learned_s and row.last - row.first > 0.7 * learned_s
    )


def _blind(piece: Slice, pause: float, limit: float) -> Finding:
    return Finding(
        ts=piece.start,
        detector=NAME,
        rule="capture-pause",
        level=Level.NOTICE,
        reading=Reading.VISIBILITY,
        proto=-1,
        conv=-1,
        src=-1,
        dst=-1,
        summary=f"no frame at all for {_s(pause)}: the sensor was blind, or two captures were joined",
        expected=f"a frame at least every {_s(limit)}",
        observed=f"none for {_s(pause)}",
        scores={"visibility": 0.8, "fault": 0.2},
    )


def _s(seconds: float) -> str:
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.0f} min"
