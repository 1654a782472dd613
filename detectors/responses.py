"""Responses: answers that have become slow, and requests that nobody answers any more.

What is learned stands in ``responses_learner``. Two statements per (conversation, kind of request):

- ``response-slow``: three of five answers in a row took longer than they are expected to once within the
  site's budget. The limit comes from the largest sustained response time of successive
  blocks of learning (``calibration.upper_limit``), at least :data:`SLOW` times the largest seen and
  :data:`LEAST`. Said once until the answers are quick again.
- ``response-missing``: of the requests of a minute so many had no answer as chance gives, at the learned
  share or that of the worst minute learned, less often than the budget allows (binomial test).

While TCP bytes of a conversation are missing nothing is said about missing answers, and what the sensor lost
itself lowers the finding (``loss``). Requests that learning hardly ever saw answered are not judged: some
want no answer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from detectors.base import Finding, Level, Slice, likeliest
from detectors.baseline import Baseline
from detectors.calibration import Budget, upper_limit
from detectors.exchanges import PATIENCE, Exchanges, gaps_in
from detectors.groups import MAX_FRAMES, SECOND, ConvKey, Ints, Lens, in_order, runs
from detectors.loss import Losses
from detectors.responses_learner import RUN, WINDOW, SeriesNumbers, sustained
from detectors.tables import conv_of, text_numbers

NAME: Final = "responses"
SHARE: Final = 0.25
"""Part of the budget for order in time, for each of the two statements."""

MIN_COUNT: Final = 30
"""Answers below which a series is not judged."""

SLOW: Final = 3.0
"""Least number of times the largest sustained response time learned that is slow."""

LEAST: Final = 0.05
"""s; whoever answers within it is not slow, whatever was learned."""

MISSING_MIN: Final = 5
MOST_UNANSWERED: Final = 0.5
HOLD: Final = 120.0
MARGIN: Final = "margin.response_left"
T1: Final = 15.0
"""s; IEC 60870-5-104, 9.6: time-out of sent APDUs and of test APDUs."""

SLOW_SCORES: Final = {"fault": 0.5, "attack": 0.3, "operation": 0.2}
MISSING_SCORES: Final = {"fault": 0.55, "attack": 0.3, "operation": 0.15}


class _Series:
    """Limits of all series, and where each stands in this run, as columns."""

    def __init__(self, rows: list[Any], budget: Budget) -> None:
        n = len(rows)
        self.limit, self.worst, self.longest = np.full(n, np.inf), np.ones(n), np.ones(n)
        for at, row in enumerate(rows):
            p = budget.probability(SHARE * budget.order, row.block_s, n)
            blocks = text_numbers(row.run_blocks)
            most = max(blocks, default=0.0)
            # load comes and goes: three times the slowest stretch learned is not its daily rise
            limit = upper_limit(blocks, p, (SLOW - 1) * most)
            self.limit[at] = max(limit, LEAST) if most > 0 else np.inf
            usual = (row.unanswered + 1) / (row.count + row.unanswered + 2)
            self.worst[at] = max(usual, row.worst)
            self.longest[at] = T1 if row.protocol == "iec104" and row.kind >= 512 else max(row.high, LEAST)
        self.p_missing = budget.probability(SHARE * budget.order, WINDOW / SECOND, n)
        self.last = np.zeros((n, RUN - 1))
        self.slow, self.dirty = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        self.asked, self.missed, self.conv = np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, -1)
        self.took = np.full(n, -1.0)


class Responses:
    """Holds answers against what was learned about them."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        rows = [row for row in baseline.rows("responses") if row.count >= MIN_COUNT]
        rows = [row for row in rows if row.unanswered <= MOST_UNANSWERED * (row.count + row.unanswered)]
        self._rows = rows
        self._series = _Series(rows, budget)
        known = {(conv_of(row), int(row.kind)): at for at, row in enumerate(rows)}
        self._numbers = SeriesNumbers(lens, known)
        self._exchanges = Exchanges(lens.names)
        self._losses = Losses()
        self._window = -1
        self._examples: dict[int, Any] = {}

    def counters(self) -> dict[str, int]:
        """Requests given up because too many waited."""
        return {"requests_evicted": self._exchanges.evicted}

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if not self._rows:
            return []
        self._losses.see(piece)
        found = self._close(piece) if piece.start // WINDOW != self._window else []
        asked, answered, missed = self._exchanges.push(piece)
        if len(asked):
            numbers = self._numbers.of(asked["conv"], asked["kind"])
            known = numbers >= 0
            self._answered(asked.compress(known), answered.compress(known), numbers[known], found)
        if len(missed):
            self._missed(missed)
        odd = gaps_in(piece)
        if len(odd):
            self._series.dirty |= np.isin(self._series.conv, odd)
        return found

    def margins(self) -> list[tuple[str, str, ConvKey, float]]:
        """(name, unit, conversation, share left) since last asked, of each conversation that answered.

        The share of the longest permissible response time that the slowest answer left: of t1 for the
        unnumbered APDUs of IEC-104, else of the longest answer learned, below 0 beyond that.
        """
        series = self._series
        heard = np.flatnonzero(series.took >= 0)
        left: dict[ConvKey, float] = {}
        for at in heard.tolist():
            key = conv_of(self._rows[at])
            left[key] = min(left.get(key, 1.0), 1.0 - float(series.took[at] / series.longest[at]))
        series.took[heard] = -1.0
        return [(MARGIN, "1", key, value) for key, value in left.items()]

    def _answered(
        self,
        asked: npt.NDArray[Any],
        answered: npt.NDArray[Any],
        numbers: Ints,
        found: list[Finding],
    ) -> None:
        if not len(numbers):
            return
        order, of = in_order(numbers)
        took = np.maximum(answered["ts"] - asked["ts"], 0)[order] / SECOND
        first, sizes = runs(of)
        at, series = of[first], self._series
        median, series.last[at] = sustained(took, first, sizes, series.last[at])
        series.conv[at] = asked["conv"][order[first]]
        series.asked[at] += sizes
        series.took[at] = np.maximum(series.took[at], np.maximum.reduceat(took, first))
        over = median > series.limit[of]
        # one finding per series and slice, for the first answer that completes a slow run
        for index in np.flatnonzero(np.logical_or.reduceat(over, first)).tolist():
            number, begin = int(at[index]), int(first[index])
            place = begin + int(np.argmax(over[begin : begin + int(sizes[index])]))
            if not series.slow[number]:
                row, answer = asked[order[place]], answered[order[place]]
                found.append(self._slow(number, row, answer, took[place], median[place]))
        series.slow[at] = over[first + sizes - 1]

    def _missed(self, missed: npt.NDArray[Any]) -> None:
        numbers = self._numbers.of(missed["conv"], missed["kind"])
        series, rows = self._series, missed.compress(numbers >= 0)
        numbers = numbers[numbers >= 0]
        np.add.at(series.asked, numbers, 1)
        np.add.at(series.missed, numbers, 1)
        series.conv[numbers] = rows["conv"]
        _, first = np.unique(numbers, return_index=True)
        for at in first.tolist():
            self._examples.setdefault(int(numbers[at]), rows[at].copy())

    def _close(self, piece: Slice) -> list[Finding]:
        """Judge the minute that ended."""
        series = self._series
        self._window = piece.start // WINDOW
        enough = np.flatnonzero((series.missed >= MISSING_MIN) & ~series.dirty)
        p_values = bdtrc(series.missed[enough] - 1, series.asked[enough], series.worst[enough])
        found = [
            self._missing(number, float(p), piece.start)
            for number, p in zip(enough.tolist(), p_values.tolist(), strict=True)
            if p < series.p_missing and not self._told_by_rule(number)
        ]
        series.asked[:], series.missed[:], series.dirty[:] = 0, 0, False
        self._examples.clear()
        return found

    def _told_by_rule(self, number: int) -> bool:
        """Modbus has a rule of its own for ten lost answers in ten seconds."""
        dense = int(self._series.missed[number]) >= WINDOW // SECOND
        return dense and str(self._rows[number].protocol) == "modbus"

    def _slow(self, number: int, asked: Any, answered: Any, took: float, median: float) -> Finding:
        row, limit = self._rows[number], float(self._series.limit[number])
        usual = row.total / row.count
        return self._finding(
            "response-slow",
            number,
            answered,
            f"answers to {row.name} have become slow, {self.lens.link(int(asked['conv']))}: most of the "
            f"last {RUN} took {_s(median)} or longer, usual is {_s(usual)}",
            f"a median of {RUN} in a row of up to {_s(limit)}",
            f"a median of {_s(median)}, the last {_s(took)}",
            SLOW_SCORES,
            [int(answered["frame"]), int(asked["frame"])],
        )

    def _missing(self, number: int, p_value: float, now: int) -> Finding:
        series, row, example = self._series, self._rows[number], self._examples[number]
        missed, asked = int(series.missed[number]), int(series.asked[number])
        finding = self._finding(
            "response-missing",
            number,
            example,
            f"{missed} of {asked} requests ({row.name}) had no answer in a minute, "
            f"{self.lens.link(int(example['conv']))}",
            f"at most {series.worst[number]:.1%} without an answer",
            f"{missed / max(asked, 1):.0%}, {missed} of {asked}",
            MISSING_SCORES,
            [int(example["frame"])],
        )
        finding.p_value, finding.ts = p_value, now
        return self._losses.weigh(finding, now - WINDOW - PATIENCE, missed)

    def _finding(
        self,
        rule: str,
        number: int,
        row: Any,
        summary: str,
        expected: str,
        observed: str,
        scores: dict[str, float],
        frames: list[int],
    ) -> Finding:
        learned = self._rows[number]
        return Finding(
            ts=int(row["ts"]),
            detector=NAME,
            rule=rule,
            level=Level.NOTICE,
            reading=likeliest(scores),
            proto=int(row["proto"]),
            conv=int(row["conv"]),
            src=int(row["src"]),
            dst=int(row["dst"]),
            summary=summary,
            kind=int(learned.kind),
            expected=expected,
            observed=observed,
            technique="T0814",
            frames=frames[:MAX_FRAMES],
            scores=scores,
            hold=HOLD,
            pair=True,
            item=" ".join(part for part in (learned.sub, learned.name) if part),
        )


def _s(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
