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

from detectors.base import Finding, Level, Reading, Slice, likeliest
from detectors.baseline import Baseline
from detectors.calibration import Budget, upper_limit
from detectors.compare import text_histogram
from detectors.detector import LinkFinding
from detectors.groups import (
    HOUSEKEEPING,
    SECOND,
    Groups,
    Ints,
    Lens,
    conversations,
    distinct,
    frames_of,
    grouped,
    repetitions,
    runs,
    unpack,
)
from detectors.lookup import Lookup
from detectors.loss import Losses
from detectors.rules.common import protocol_columns
from detectors.tables import TABLES, conv_of, text_numbers
from detectors.timing_learner import MAX_KEYS, RATE_WINDOW, TimingKey, quantile
from grid_profiles.vocabulary import KindClass, Role

NAME: Final = "timing"

MIN_COUNT: Final = 20
"""Inter-arrival times below which a series is not judged by its timing."""

MIN_LEARNED: Final = 60.0
"""Seconds of learning below which no timing is judged: every pause and burst of a minute is yet to come."""

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

EVENT_DRIVEN: Final = frozenset({"goose"})
"""Protocols that say a change again at once, after milliseconds and then ever slower (IEC 61850-8-1,
18.1.2.5): the heartbeat of a calm hour is no promise. Their own rules know the curve, and a flood."""

ANSWERING: Final = frozenset({"dnp3", "modbus", "s7comm"})
"""Protocols whose servers speak when asked: an answer is as early as its request, which is judged itself.
What nobody asked for, their own rules know."""

SUMMED: Final = frozenset({"sv"})
"""Protocols of which a row is a sum or an event, at any distance; their own rules count the frames."""

GENERAL: Final = frozenset({"dnp3", "s7comm"})
"""Protocols in which one kind reads, or writes, everything: the poll, and what comes between two."""

REOPENS: Final = 30.0
"""Seconds in which a client whose connection ended may open it again (t0 of IEC 60870-5-104, 9.6)."""

FIN, RST = 3, 4
MAX_ENDS: Final = 10_000

BURST: Final = 40.0
"""Messages in 10 s that such changes may add to anything seen: three or four of them."""

Floats = npt.NDArray[np.float64]

FLOOD_SCORES: Final = {"attack": 0.5, "fault": 0.3, "operation": 0.2}
BUSY_SCORES: Final = {"operation": 0.5, "fault": 0.3, "attack": 0.2}

MIN_PAUSE: Final = 30.0
"""Seconds without any frame before the sensor calls itself blind."""


@dataclass(slots=True)
class _Limits:
    """What one series may do."""

    key: TimingKey
    cyclic: bool
    period: float
    early: float
    silence: float
    rate: float


class _Series:
    """All series as columns, one place each: limits, and where each stands in this run.

    What is judged is judged for all series of a slice at once; a Python loop per series would cost more than
    all decoding.
    """

    def __init__(self, made: list[_Limits]) -> None:
        n = len(made)
        self.early = np.array([x.early if x.cyclic else 0.0 for x in made])
        self.rate = np.array([x.rate for x in made])
        self.silence = np.array([x.silence for x in made])
        self.unheard = np.maximum(UNHEARD * self.silence, MIN_UNHEARD)
        self.proto, self.conv, self.last, self.previous = (np.full(n, -1, np.int64) for _ in range(4))
        self.stream = np.full(n, -2, np.int64)
        self.settled = np.zeros(n, np.int64)
        self.heard, self.silent, self.told = (np.zeros(n, np.bool_) for _ in range(3))
        self.window = np.full(n, -1, np.int64)
        self.in_window = np.zeros(n, np.int64)

    def patience(self, at: Ints) -> Floats:
        """Seconds without a message after which a series is called silent."""
        return np.asarray(np.where(self.heard[at], self.silence[at], self.unheard[at]), np.float64)


class Timing:
    """Holds traffic against learned timing."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._pause = max(MIN_PAUSE, 3 * float(baseline.params.get("max_idle_s", 0.0)))
        learned_s = float(baseline.params.get("learned_s", 0.0))
        brief = 0 < learned_s < MIN_LEARNED
        rows = [row for row in baseline.rows("timing") if row.count >= MIN_COUNT and not brief]
        self._limits = [_limits(row, budget, len(rows), learned_s) for row in rows]
        _spare(self._limits, baseline)
        self._series = _Series(self._limits)
        self._numbers: dict[TimingKey, int] = {limits.key: at for at, limits in enumerate(self._limits)}
        self._of_kinds = Lookup(self._kind_series, MAX_KEYS)
        self._of_convs = Lookup(self._whole_series, MAX_KEYS)
        order = sorted(
            (at for at, limits in enumerate(self._limits) if np.isfinite(limits.silence)),
            key=lambda at: self._limits[at].key,
        )
        self._order = np.array(order, np.int64)
        self._whole = {self._limits[at].key[0]: at for at in order if self._limits[at].key[1] == -1}
        self._losses = Losses()
        self._clock = -1
        self._tcp = lens.protocol("tcp")
        self._ends: dict[tuple[str, str, int], int] = {}

    def counters(self) -> dict[str, int]:
        """How often the table of this run's series was emptied."""
        return {"series_evicted": self._of_kinds.forgotten + self._of_convs.forgotten}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        self._losses.see(piece)
        found = self._advance(piece)
        if len(piece.messages):
            self._see_ends(piece)
            window = piece.start // RATE_WINDOW
            self._judge(piece, grouped(piece), window, found, whole=False)
            self._judge(piece, conversations(piece), window, found, whole=True)
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
        series = self._series
        series.last[self._order] = ts
        series.silent[self._order] = series.heard[self._order] = False

    def _judge(self, piece: Slice, groups: Groups, window: int, found: list[Finding], whole: bool) -> None:
        numbers = (self._of_convs if whole else self._of_kinds).of(groups.keys)
        known = numbers >= 0
        if not known.any():
            return
        here, rows = numbers[known], groups.order
        if len(here) < len(numbers):
            rows = rows[np.repeat(known, groups.counts)]
        of = np.repeat(here, groups.counts[known])
        # run keys of one series (connections whose port is of no meaning) are one group, in order of arrival
        if len(distinct(here)) < len(here):
            order = np.lexsort((rows, of))
            rows, of = rows[order], of[order]
        first, _ = runs(of)
        at, series = of[first], self._series
        ts = piece.column("ts").take(rows)
        series.conv[at] = piece.column("conv").take(rows[first])
        series.proto[at] = piece.column("proto").take(rows[first])
        again = repetitions(piece)
        fresh = slice(None) if again is None else ~again.take(rows)
        self._fresh(piece, rows[fresh], of[fresh], ts[fresh], window, found)
        series.last[at] = np.maximum(series.last[at], np.maximum.reduceat(ts, first))
        series.silent[at], series.heard[at] = False, True

    def _kind_series(self, packed: int) -> int:
        """Series of a group of this run, -1 when it is not judged."""
        key = unpack(packed)
        return self._numbers.get((self.lens.conv(key.conv), *key[1:]), -1)

    def _whole_series(self, conv: int) -> int:
        """The same of a conversation."""
        return self._numbers.get((self.lens.conv(conv), -1, -1, -1), -1)

    def _fresh(self, piece: Slice, rows: Ints, of: Ints, ts: Ints, window: int, found: list[Finding]) -> None:
        """Judge messages that are no repetitions; ``of`` gives the series of each, equal ones together."""
        if not len(rows):
            return
        first, counts = runs(of)
        cyclic = np.repeat(self._series.early[of[first]] > 0, counts)
        told = self._early(piece, rows[cyclic], of[cyclic], ts[cyclic]) if cyclic.any() else []
        told += self._rate(piece.messages, rows, of[first], first, counts, window)
        if told:
            rank = {number: place for place, number in enumerate(of[first].tolist())}
            found += [finding for _, finding in sorted(told, key=lambda entry: rank[entry[0]])]

    def _early(self, piece: Slice, rows: Ints, of: Ints, ts: Ints) -> list[tuple[int, Finding]]:
        told: list[tuple[int, Finding]] = []
        series = self._series
        first, counts = runs(of)
        at, last = of[first], first + counts - 1
        before = np.r_[np.int64(0), ts[:-1]]
        before[first] = series.previous[at]
        gaps = (ts - before) / SECOND
        settled = self._settled(piece.column("stream").take(rows).astype(np.int64), of, first, last)
        near = (gaps >= 0) & (gaps < series.early[of]) & settled
        series.previous[at] = ts[last]
        for number in np.unique(of[near]).tolist():
            mine = near & (of == number)
            limits, gap = self._limits[number], float(gaps[mine][0])
            finding = self._finding(
                "early",
                Level.NOTICE,
                number,
                piece.messages.take(rows[mine]),
                f"{self._what(limits)} came {_s(gap)} after the one before; cycle {_s(limits.period)}",
                f"at least {_s(limits.early)} apart",
                _s(gap),
                {"attack": 0.5, "fault": 0.3, "operation": 0.2},
                "T0856",
            )
            told.append((number, finding))
        return told

    def _settled(self, streams: Ints, of: Ints, first: Ints, last: Ints) -> npt.NDArray[np.bool_]:
        """Which messages have :data:`SETTLED` or more before them on their connection; moves the state on.

        ``first`` and ``last`` are the rows at which the messages of one series begin and end.
        """
        series, at = self._series, of[first]
        before = np.r_[np.int64(0), streams[:-1]]
        before[first] = series.stream[at]
        place = np.arange(len(streams))
        # where the connection of a message began: a row of this slice, or so many rows before its first one
        begun = np.where(before != streams, place, np.iinfo(np.int64).min)
        begun[first] = np.where(before[first] != streams[first], first, first - series.settled[at])
        # each series' rows are lifted above all rows before, so that one running maximum serves all of them
        lift = np.repeat(np.arange(len(first)) * (len(streams) + SETTLED + 1), last - first + 1)
        begun = np.maximum.accumulate(np.where(begun > np.iinfo(np.int64).min, begun + lift, begun)) - lift
        run = place - begun
        series.stream[at] = streams[last]
        series.settled[at] = np.minimum(run[last] + 1, SETTLED)
        return np.asarray(run >= SETTLED, np.bool_)

    def _rate(
        self,
        messages: npt.NDArray[Any],
        rows: Ints,
        at: Ints,
        first: Ints,
        counts: Ints,
        window: int,
    ) -> list[tuple[int, Finding]]:
        series = self._series
        begins = series.window[at] != window
        series.window[at] = window
        series.in_window[at] = np.where(begins, 0, series.in_window[at]) + counts
        series.told[at] &= ~begins
        over = (series.in_window[at] > series.rate[at]) & ~series.told[at]
        told: list[tuple[int, Finding]] = []
        for index in np.flatnonzero(over).tolist():
            number, start = int(at[index]), int(first[index])
            mine = messages[rows[start : start + int(counts[index])]]
            told.append((number, self._rate_finding(number, mine)))
        return told

    def _rate_finding(self, number: int, rows: npt.NDArray[Any]) -> Finding:
        limits, count = self._limits[number], int(self._series.in_window[number])
        storm = count > STORM * limits.rate
        self._series.told[number] = storm
        return self._finding(
            "rate",
            Level.WARNING if storm else Level.NOTICE,
            number,
            rows,
            f"{self._what(limits)} {count} in 10 s, normal is up to {limits.rate:.0f}",
            f"up to {limits.rate:.0f} in 10 s",
            f"{count} in 10 s",
            FLOOD_SCORES if storm else BUSY_SCORES,
            "T0814" if storm else "",
        )

    def _see_ends(self, piece: Slice) -> None:
        """When connections ended: a client without one is silent until it has opened the next."""
        columns = protocol_columns(piece, self._tcp)
        ended = np.flatnonzero((columns["kind"] == FIN) | (columns["kind"] == RST))[: 2 * MAX_ENDS]
        for conv, ts in zip(columns["conv"][ended].tolist(), columns["ts"][ended].tolist(), strict=True):
            key = self.lens.conv(conv)[1:4]
            if key in self._ends or len(self._ends) < MAX_ENDS:
                self._ends[key] = max(ts, self._ends.get(key, 0))

    def _reopens(self, number: int, clock: int) -> bool:
        """Did the last connection of a series end with its last message, and not long ago?"""
        ended = self._ends.get(self._limits[number].key[0][1:4], -1)
        return ended >= self._series.last[number] and (clock - ended) / SECOND < REOPENS

    def _silences(self, clock: int, found: list[Finding]) -> None:
        series, order = self._series, self._order
        since = (clock - series.last[order]) / SECOND
        quiet = order[~series.silent[order] & (since > series.patience(order))]
        if len(quiet) and self._ends:
            quiet = quiet[[not self._reopens(number, clock) for number in quiet.tolist()]]
        if not len(quiet):
            return
        asleep = set(quiet.tolist())
        for number in quiet.tolist():
            series.silent[number] = True
            key = self._limits[number].key
            conversation = self._whole.get(key[0]) if key[1] != -1 else None
            if conversation is None or self._speaks(conversation, asleep):
                found.append(self._silence(number, clock))

    def _speaks(self, conversation: int, quiet: set[int]) -> bool:
        """Is the conversation as a whole alive? When it is not, it says so for all its kinds."""
        series = self._series
        alive = bool(series.heard[conversation]) and not series.silent[conversation]
        return alive and conversation not in quiet

    def _silence(self, number: int, clock: int) -> Finding:
        limits, heard = self._limits[number], bool(self._series.heard[number])
        seconds = float(clock - self._series.last[number]) / SECOND
        level = Level.WARNING if limits.cyclic and heard else Level.NOTICE
        since = "" if heard else " since the sensor began"
        finding = self._finding(
            "silence",
            level,
            number,
            None,
            f"{self._what(limits)} silent for {_s(seconds)}{since}; normal is at most {_s(limits.silence)}",
            f"a message at least every {_s(limits.silence)}",
            f"none for {_s(seconds)}",
            {"fault": 0.6, "attack": 0.25, "operation": 0.15},
            "T0804",
            clock,
        )
        due = max(1, int(seconds / max(limits.period, 1e-9)))
        return self._losses.weigh(finding, int(self._series.last[number]), due)

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
        number: int,
        rows: npt.NDArray[Any] | None,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        technique: str,
        ts: int = -1,
    ) -> Finding:
        first = rows[0] if rows is not None else None
        limits = self._limits[number]
        conv, role, kind, cause = limits.key
        return LinkFinding(
            link=limits.key[0],
            ts=ts if first is None else int(first["ts"]),
            detector=NAME,
            rule=rule,
            level=level,
            reading=likeliest(scores),
            proto=int(self._series.proto[number]),
            conv=int(self._series.conv[number]),
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
    bursts = row.protocol in EVENT_DRIVEN
    rate = upper_limit(rates, p_rate, max(BURST if bursts else 5.0, max(rates, default=0.0)))
    if row.protocol in HOUSEKEEPING or row.protocol == "tcp":
        silence = float("inf")
    # a shortest gap far below the usual ones belongs to another rhythm in the same series
    judged = not bursts and not (row.role == Role.SERVER and row.protocol in ANSWERING)
    judged &= row.protocol not in GENERAL | SUMMED
    early = EARLY * row.low if row.low > low / NARROW and judged else 0.0
    return _Limits((conv_of(row), row.role, row.kind, row.cause), cyclic, period, early, silence, rate)


def _spare(made: list[_Limits], baseline: Baseline) -> None:
    """No silence, and nothing too early, for kinds that only follow other messages."""
    at = list(TABLES["kinds"].columns).index("class")  # no name for an attribute
    dependent = {
        (conv_of(row), row.role, row.kind, row.cause)
        for row in baseline.rows("kinds")
        if row[at] in DEPENDENT
    }
    for limits in made:
        if limits.key in dependent:
            limits.silence, limits.cyclic = float("inf"), False


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
