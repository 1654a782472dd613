"""Learning what follows what: counts of transitions per conversation and chain (``chains``).

Beside the counts, how surprising the traffic was while it was learned: each transition costs minus the
logarithm of its chance, as far as that is above :data:`FREE`, at the counts there were when it came (so the
later part is judged by what was learned before: held back, never shuffled). The largest sum of 10 s in
successive blocks of time goes into the baseline, and :mod:`detectors.sequence` takes its limit from it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.calibration import Blocks
from detectors.chains import SYMBOL_BITS, Chains, Steps
from detectors.groups import SECOND, ConvKey, Ints, Lens, Numbered, column
from detectors.tables import TABLES, Origin, conv_fields, numbers_text

MAX_TRANSITIONS: Final = 100_000
WINDOW: Final = 10 * SECOND
FREE: Final = 3.0
"""Cost of a transition that is not worth speaking of: its chance is about one in twenty."""

PRIOR: Final = 0.5
"""Times that a transition counts as seen before it was."""

Floats = npt.NDArray[np.float64]
ChainKey = tuple[ConvKey, int]


def cost(seen: Any, total: Any) -> Floats:
    """What a transition costs that was seen so often among so many from the same symbol."""
    chance = (np.asarray(seen, np.float64) + PRIOR) / (np.asarray(total, np.float64) + 1.0)
    return np.maximum(-np.log(chance) - FREE, 0.0)


PACKED_BITS: Final = 2 * SYMBOL_BITS + 1
"""Of a transition's chain and both symbols."""


def packed(steps: Steps) -> Ints:
    """Chain and both symbols of each transition as one number."""
    return (steps.chain << SYMBOL_BITS | steps.before) << SYMBOL_BITS | steps.after


class Tallies:
    """Numbers and counts for pairs (conversation, number), as columns; bounded."""

    def __init__(self, limit: int = MAX_TRANSITIONS) -> None:
        self._numbered = Numbered(limit)
        self.counts = np.zeros(0, np.int64)
        self.first, self.last = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.names: list[tuple[int, int, int]] = []
        """(conversation, number, protocol) by place."""

        self.refused = 0

    def places(self, convs: Ints, numbers: Ints, protos: Ints) -> Ints:
        """Place of each pair, -1 without room; new ones are taken in."""
        order = np.lexsort((numbers, convs))
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(convs[order]) != 0) | (np.diff(numbers[order]) != 0)
        heads = order[new]
        found = self._numbered.numbers(convs[heads], numbers[heads])
        self.refused += int(np.count_nonzero(found < 0))
        fresh = np.flatnonzero(found >= len(self.names))
        for row in heads[fresh[np.argsort(found[fresh])]].tolist():
            self.names.append((int(convs[row]), int(numbers[row]), int(protos[row])))
        self.counts = column(self.counts, found, 0)
        self.first = column(self.first, found, np.iinfo(np.int64).max)
        self.last = column(self.last, found, 0)
        places = np.empty(len(order), np.int64)
        places[order] = found[np.cumsum(new) - 1]
        return places

    def add(self, places: Ints, ts: Ints) -> None:
        """Count each place once more."""
        np.add.at(self.counts, places, 1)
        np.minimum.at(self.first, places, ts)
        np.maximum.at(self.last, places, ts)


class SequenceLearner:
    """Collects transitions."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._chains = Chains(lens)
        self._pairs, self._from = Tallies(), Tallies()
        self._scores: dict[tuple[int, int], Blocks] = {}
        self._sums: Counter[tuple[int, int]] = Counter()
        self._window = -1

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        window = piece.start // WINDOW
        if window != self._window:
            self._flush()
            self._window = window
        steps = self._chains.push(piece)
        if not len(steps.row):
            return
        protos = piece.messages["proto"][steps.row].astype(np.int64)
        ts = piece.messages["ts"][steps.row].astype(np.int64)
        pairs = self._pairs.places(steps.conv, packed(steps), protos)
        heads = self._from.places(steps.conv, steps.chain << SYMBOL_BITS | steps.before, protos)
        known = (pairs >= 0) & (heads >= 0)
        pairs, heads, ts, steps = pairs[known], heads[known], ts[known], steps.of(known)
        price = cost(self._pairs.counts[pairs], self._from.counts[heads])
        self._pairs.add(pairs, ts)
        self._from.add(heads, ts)
        which, back = np.unique(steps.conv << 1 | steps.chain, return_inverse=True)
        sums = np.bincount(back, weights=price)
        for key, total in zip(which.tolist(), sums.tolist(), strict=True):
            self._sums[key >> 1, key & 1] += total

    def _flush(self) -> None:
        for key, total in self._sums.items():
            self._scores.setdefault(key, Blocks()).add(self._window * WINDOW, total)
        self._sums.clear()

    def finish(self, baseline: Baseline) -> None:
        """Write the counts into the baseline."""
        self._flush()
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        spans: dict[ChainKey, dict[str, Any]] = {}
        mask = (1 << SYMBOL_BITS) - 1
        for place, (conv, number, proto) in enumerate(self._pairs.names):
            chain, before, after = number >> 2 * SYMBOL_BITS, number >> SYMBOL_BITS & mask, number & mask
            link, codes = self.lens.conv(conv), self._chains.codes
            seen = {
                "first": int(self._pairs.first[place]) / SECOND,
                "last": int(self._pairs.last[place]) / SECOND,
                "count": int(self._pairs.counts[place]),
            }
            row = conv_fields(link) | {"chain": chain, "before": codes[before], "after": codes[after]}
            words = {
                "before_name": self._chains.words(before, proto),
                "after_name": self._chains.words(after, proto),
            }
            _join(rows, (link, chain, codes[before], codes[after]), row | words | seen)
            _join(spans, (link, chain), conv_fields(link) | {"chain": chain} | seen)
        for (conv, chain), blocks in self._scores.items():
            span = spans.get((self.lens.conv(conv), chain))
            if span is not None:
                span |= {"score_blocks": numbers_text(blocks.values), "block_s": blocks.length / SECOND}
        learned = {"origin": Origin.LEARNED.value}
        empty: dict[str, Any] = {"score_blocks": "", "block_s": WINDOW / SECOND}
        baseline.tables["transitions"] = TABLES["transitions"].frame([row | learned for row in rows.values()])
        baseline.tables["sequences"] = TABLES["sequences"].frame(
            [empty | row | learned for row in spans.values()]
        )


def _join(rows: dict[Any, dict[str, Any]], key: Any, row: dict[str, Any]) -> None:
    """Put a row in, or its counts and times to the one that is there."""
    known = rows.setdefault(key, row | {"count": 0})
    known["count"] += row["count"]
    known["first"], known["last"] = min(known["first"], row["first"]), max(known["last"], row["last"])
