"""Sequence: what follows what, and when that is new or strange (``chains``, ``sequence_learner``).

``sequence-new``
    A transition that never was, between two kinds of message that are both well known in this conversation.
    Were the two sent without regard to each other, it would have come n_a n_b / N times while learning, and
    so not at all with a chance of exp(-n_a n_b / N): said only where that is below the site's budget over all
    such gaps. And only in a conversation whose order is *mature*: Good and Turing's estimate of the chance
    that its next transition is new (things seen once + 1) / (N + 1) is below :data:`NEWS`, and none was
    met for the first time in the last 30 % of what was learned. Not said where other conversations of the
    protocol do it. What is itself new (kind, conversation) is the allow-list's business and cuts the chain.
``sequence-burst``
    Several improbable transitions within 10 s: their cost (minus the logarithm of the chance, above that of
    one in twenty) sums up to more than the limit that the held-back part of learning gives
    (``calibration.upper_limit``). A transition that the protocol's other conversations know costs less.

Windows are those of capture time; each statement about a window is made once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from detectors.base import Finding, Level, Slice
from detectors.baseline import Baseline
from detectors.calibration import FIT_SHARE, Budget, upper_limit
from detectors.chains import SYMBOL_BITS, Chains, Steps
from detectors.groups import SECOND, Ints, Lens, column
from detectors.lookup import Lookup
from detectors.rules.common import message_finding
from detectors.sequence_learner import MAX_TRANSITIONS, PACKED_BITS, WINDOW, ChainKey, Floats, cost, packed
from detectors.tables import conv_of, text_numbers

NAME: Final = "sequence"
SHARE: Final = 0.25
"""Part of the budget for order in time, for each of the two statements."""

NEWS: Final = 0.002
WELL_KNOWN: Final = 20
"""Times that a kind must have been at the one and at the other end of a transition."""

MIN_STEPS: Final = 200
"""Transitions below which a conversation's order is not judged."""

MIN_STRANGE: Final = 3
LEAST_MARGIN: Final = 8.0
MIN_BLOCKS: Final = 8
MAX_CONVS: Final = 20_000
HOLD: Final = 60.0
SCORES: Final = {"attack": 0.45, "operation": 0.35, "fault": 0.2}


NEVER, RARE, UNKNOWN = 2, 1, 0


@dataclass(slots=True)
class _Order:
    """What was learned about one chain of one conversation, or of a protocol (``limit`` unused)."""

    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    before: Counter[int] = field(default_factory=Counter)
    after: Counter[int] = field(default_factory=Counter)
    total: int = 0
    names: dict[int, str] = field(default_factory=dict)
    latest: float = 0.0
    mature: bool = False
    limit: float = float("inf")

    def add(self, row: Any) -> None:
        self.pairs[row.before, row.after] += row.count
        self.before[row.before] += row.count
        self.after[row.after] += row.count
        self.total += row.count
        self.names[row.before], self.names[row.after] = row.before_name, row.after_name
        self.latest = max(self.latest, row.first)

    def settle(self, row: Any, probability: float) -> None:
        """Is it mature, and how much may a window cost?"""
        news = (sum(count == 1 for count in self.pairs.values()) + 1) / (self.total + 1)
        settled = self.latest <= row.first + FIT_SHARE * (row.last - row.first)
        self.mature = self.total >= MIN_STEPS and news < NEWS and settled
        blocks = text_numbers(row.score_blocks)
        if self.total >= MIN_STEPS and len(blocks) >= MIN_BLOCKS:
            held = blocks[round(len(blocks) * (1 - FIT_SHARE)) :]  # what came first was new because all was
            self.limit = upper_limit(held, probability, max(LEAST_MARGIN, *held))

    def gaps(self) -> int:
        """Transitions between well-known kinds that never were."""
        ends = [code for code, count in self.after.items() if count >= WELL_KNOWN]
        heads = [code for code, count in self.before.items() if count >= WELL_KNOWN]
        return sum((one, other) not in self.pairs for one in heads for other in ends)

    def expected(self, before: int, after: int) -> float:
        """Times that a transition would have come without any order."""
        return self.before[before] * self.after[after] / max(self.total, 1)

    def usual(self, before: int) -> str:
        """What follows otherwise, most frequent first."""
        follows = [(count, after) for (one, after), count in self.pairs.items() if one == before]
        total = sum(count for count, _ in follows)
        first = sorted(follows, key=lambda pair: (-pair[0], pair[1]))[:3]
        return ", ".join(f"{self.names[after]} ({count / total:.0%})" for count, after in first)


class Sequence:
    """Holds the order of messages against what was learned."""

    def __init__(self, baseline: Baseline, lens: Lens, budget: Budget) -> None:
        self.lens = lens
        self._chains = Chains(lens)
        self._orders: dict[ChainKey, _Order] = defaultdict(_Order)
        self._pools: dict[tuple[str, int], _Order] = defaultdict(_Order)
        for row in baseline.rows("transitions"):
            self._orders[conv_of(row), row.chain].add(row)
            self._pools[row.protocol, row.chain].add(row)
        share = SHARE * budget.order
        rows = list(baseline.rows("sequences"))
        p_window = budget.probability(share, WINDOW / SECOND, len(rows))
        for row in rows:
            if (conv_of(row), row.chain) in self._orders:
                self._orders[conv_of(row), row.chain].settle(row, p_window)
        gaps = sum(order.gaps() for order in self._orders.values() if order.mature)
        self._needed = -float(np.log(min(budget.per_day * share, 1.0) / max(gaps, 1)))
        self._evicted = -1
        self._forget()
        self._sums: dict[ChainKey, float] = {}
        self._strange: Counter[ChainKey] = Counter()
        self._told: set[ChainKey] = set()
        self._window = -1

    def counters(self) -> dict[str, int]:
        """How often tables of this run were emptied, and kinds without room."""
        return {
            "chains_evicted": self._chains.evicted + self._evicted + self._lookup.forgotten,
            "chain_kinds_refused": self._chains.refused,
        }

    def _forget(self) -> None:
        self._lookup = Lookup(self._place, MAX_TRANSITIONS)
        self._cost: Floats = np.zeros(1)
        self._state: Ints = np.zeros(1, np.int64)
        self._filled = 1
        self._evicted += 1

    def detect(self, piece: Slice) -> list[Finding]:
        """Findings of one slice."""
        if not self._orders:
            return []
        if piece.start // WINDOW != self._window:
            self._window = piece.start // WINDOW
            self._sums.clear()
            self._strange.clear()
            self._told.clear()
        steps = self._chains.push(piece)
        if not len(steps.row):
            return []
        if self._filled > MAX_TRANSITIONS:
            self._forget()
        places = self._lookup.of(steps.conv << PACKED_BITS | packed(steps))
        odd = np.flatnonzero(places)
        if not len(odd):
            return []
        mine = steps.of(odd)
        found = self._news(piece, mine, self._state[places[odd]])
        return found + self._bursts(piece, mine, self._cost[places[odd]])

    def _codes(self, steps: Steps, row: int) -> tuple[ChainKey, int, int]:
        return self._unpacked(int(packed(steps.of(np.array([row])))[0]) | int(steps.conv[row]) << PACKED_BITS)

    def _unpacked(self, key: int) -> tuple[ChainKey, int, int]:
        """(conversation and chain, code before, code after) of a transition's key."""
        codes, mask = self._chains.codes, (1 << SYMBOL_BITS) - 1
        link = self.lens.conv(key >> PACKED_BITS)
        chain = key >> 2 * SYMBOL_BITS & (1 << PACKED_BITS - 2 * SYMBOL_BITS) - 1
        return (link, chain), codes[key >> SYMBOL_BITS & mask], codes[key & mask]

    def _place(self, packed_key: int) -> int:
        """Place of a transition that is met for the first time, in this run's columns; 0 not judged."""
        price, state = self._resolve(*self._unpacked(packed_key))
        if price <= 0:
            return 0
        at = np.array([self._filled])
        self._cost, self._state = column(self._cost, at, 0.0), column(self._state, at, UNKNOWN)
        self._cost[at], self._state[at] = price, state
        self._filled += 1
        return self._filled - 1

    def _resolve(self, key: ChainKey, before: int, after: int) -> tuple[float, int]:
        """(cost, state) of a transition: 0 for what is not ours to judge."""
        order = self._orders.get(key)
        if order is None or order.total < MIN_STEPS:
            return 0.0, UNKNOWN
        if min(order.before[before], order.after[after]) < WELL_KNOWN:
            return 0.0, UNKNOWN
        pool = self._pools[key[0][0], key[1]]
        alone, shared = order.pairs[before, after], pool.pairs[before, after] - order.pairs[before, after]
        price = float(cost(alone, order.before[before]))
        if shared:
            price = min(price, float(cost(shared, pool.before[before])))
        never = alone == 0 and order.mature and order.expected(before, after) >= self._needed
        return price, NEVER if never and not shared else RARE

    def _news(self, piece: Slice, steps: Steps, state: Ints) -> list[Finding]:
        never = np.flatnonzero(state == NEVER)
        if not len(never):
            return []
        keys = np.stack((steps.conv[never], packed(steps)[never]))
        _, first, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
        return [
            self._new(piece, steps, int(never[at]), count)
            for at, count in sorted(zip(first.tolist(), counts.tolist(), strict=True))
        ]

    def _new(self, piece: Slice, steps: Steps, at: int, count: int) -> Finding:
        key, before, after = self._codes(steps, at)
        order = self._orders[key]
        made = self._finding(
            "sequence-new",
            Level.NOTICE,
            piece,
            steps,
            at,
            f"{order.names[after]} right after {order.names[before]}{_times(count)}, "
            f"{self.lens.link(int(steps.conv[at]))}: never in {order.before[before]:,} times while learning",
            f"after {order.names[before]}: {order.usual(before)}",
            "",
        )
        made.group, made.count = f"{before}/{after}", count
        made.p_value = float(np.exp(-order.expected(before, after)))
        return made

    def _bursts(self, piece: Slice, steps: Steps, prices: Floats) -> list[Finding]:
        found = []
        which, first, back = np.unique(steps.conv << 1 | steps.chain, return_index=True, return_inverse=True)
        sums, counts = np.bincount(back, weights=prices), np.bincount(back)
        for group in np.argsort(first).tolist():
            at = int(first[group])
            key = (self.lens.conv(int(which[group]) >> 1), int(which[group]) & 1)
            if key not in self._sums and len(self._sums) >= MAX_CONVS:
                continue
            had, strange = self._sums.get(key, 0.0), self._strange[key]
            self._sums[key] = had + float(sums[group])
            self._strange[key] = strange + int(counts[group])
            limit = self._orders[key].limit
            if self._sums[key] <= limit or self._strange[key] < MIN_STRANGE or key in self._told:
                continue
            self._told.add(key)
            mine = np.flatnonzero(back == group)
            reached = (had + np.cumsum(prices[mine]) > limit) & (
                strange + 1 + np.arange(len(mine)) >= MIN_STRANGE
            )
            at = int(mine[np.argmax(reached)])
            found.append(self._burst(piece, steps, at, key))
        return found

    def _burst(self, piece: Slice, steps: Steps, at: int, key: ChainKey) -> Finding:
        order = self._orders[key]
        _, before, after = self._codes(steps, at)
        return self._finding(
            "sequence-burst",
            Level.WARNING,
            piece,
            steps,
            at,
            f"{self._strange[key]} improbable transitions within 10 s, "
            f"{self.lens.link(int(steps.conv[at]))}; one of them: {order.names[after]} after "
            f"{order.names[before]}",
            f"a cost of up to {order.limit:.1f} in 10 s; after {order.names[before]}: {order.usual(before)}",
            f"{self._sums[key]:.1f}; ",
        )

    def _finding(
        self,
        rule: str,
        level: Level,
        piece: Slice,
        steps: Steps,
        at: int,
        summary: str,
        expected: str,
        observed: str,
    ) -> Finding:
        place = int(steps.row[at])
        rows = piece.messages[place : place + 1]
        observed += self._told_as(steps, at, int(rows[0]["proto"]))
        technique = "T0855" if self._changes_plant(rows[0]) else ""
        made = message_finding(NAME, rule, level, rows, summary, expected, observed, SCORES, technique)
        made.frames.append(int(steps.frame[at]))
        made.hold = HOLD
        return made

    def _changes_plant(self, row: Any) -> bool:
        return self.lens.dangerous(int(row["proto"]), int(row["kind"]), int(row["role"]))

    def _told_as(self, steps: Steps, at: int, proto: int) -> str:
        """The sequence in words, the new message last."""
        numbers = [*(n for n in steps.earlier[at].tolist() if n >= 0), steps.before[at], steps.after[at]]
        return ", ".join(self._chains.words(int(number), proto) for number in numbers)


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""
