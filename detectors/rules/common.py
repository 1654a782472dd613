"""What rule files share: a finding from one message row, and bounded state by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Reading, Slice
from detectors.groups import frames_of, runs

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


_NONE: Final = np.zeros(0, np.intp)

MAX_READ: Final = 2_000
"""Messages of one conversation in one second that a rule looks at one by one."""


class Bounded(Generic[K, V]):
    """A mapping that forgets what was used least recently; ``evicted`` counts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Entry of a key, now the most recently used, or None."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: K, value: V) -> V:
        """Set an entry; the oldest gives way when the table is full."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.limit:
            self._entries.popitem(last=False)
            self.evicted += 1
        return value

    def first(self, keys: list[K], values: list[V]) -> list[V | None]:
        """What each key had; those that had nothing get their value. Nothing counts as used by that."""
        entries = self._entries
        if len(set(keys)) < len(keys):
            return [self.first([key], [value])[0] for key, value in zip(keys, values, strict=True)]
        before = [entries.get(key) for key in keys]
        new = zip(keys, values, before, strict=True)
        entries.update((key, value) for key, value, had in new if had is None)
        while len(entries) > self.limit:
            entries.popitem(last=False)
            self.evicted += 1
        return before

    def drop(self, key: K) -> None:
        """Forget one entry."""
        self._entries.pop(key, None)

    def values(self) -> list[V]:
        """All entries, the least recently used first. Nothing counts as used by that."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def protocol_rows(piece: Slice, proto: int) -> npt.NDArray[Any]:
    """Messages of one protocol in order of arrival, for reading; none when its profile is unknown (-1)."""
    kept = piece.cache.setdefault("rows", {})
    if proto not in kept:
        numbers = protocol_numbers(piece, proto)
        kept[proto] = piece.messages.take(numbers) if len(numbers) else piece.messages[:0]
    rows: npt.NDArray[Any] = kept[proto]
    return rows


def protocol_numbers(piece: Slice, proto: int) -> npt.NDArray[np.intp]:
    """Where the messages of one protocol stand in a slice, as :func:`protocol_rows`.

    The slice is sorted by protocol once, for all rules.
    """
    parts = piece.cache.get("protocols")
    if parts is None:
        protos = piece.messages["proto"]
        order = np.argsort(protos, kind="stable")
        first, sizes = runs(protos[order])
        parts = {
            int(protos[order[at]]): order[at : at + size]
            for at, size in zip(first.tolist(), sizes.tolist(), strict=True)
        }
        piece.cache["protocols"] = parts
    numbers: npt.NDArray[np.intp] = parts.get(proto, _NONE)
    return numbers


def by_conversation(rows: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Rows of each conversation, in order of arrival."""
    if not len(rows):
        return []
    rows = rows.take(np.argsort(rows["conv"], kind="stable"))
    first, sizes = runs(rows["conv"])
    return [rows[at : at + size] for at, size in zip(first.tolist(), sizes.tolist(), strict=True)]


def thinned(rows: npt.NDArray[Any], limit: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(rows to look at one by one, rows given up): each conversation keeps its first ``limit`` of a slice.

    A flood must not starve what watches the others; that it is one, the rates say.
    """
    if len(rows) <= limit:
        return rows, rows[:0]
    order = np.argsort(rows["conv"], kind="stable")
    first, sizes = runs(rows["conv"][order])
    rank = np.arange(len(rows)) - np.repeat(first, sizes)
    keep = np.ones(len(rows), bool)
    keep[order] = rank < limit
    return rows[keep], rows[~keep]


def message_finding(
    detector: str,
    rule: str,
    level: Level,
    rows: npt.NDArray[Any],
    summary: str,
    expected: str,
    observed: str,
    scores: dict[str, float],
    technique: str = "",
    group: str = "",
) -> Finding:
    """A finding about one or more messages of a conversation; the first row decides who and when."""
    first = rows[0]
    return Finding(
        ts=int(first["ts"]),
        detector=detector,
        rule=rule,
        level=level,
        reading=Reading(max(scores, key=lambda name: scores[name])),
        proto=int(first["proto"]),
        conv=int(first["conv"]),
        src=int(first["src"]),
        dst=int(first["dst"]),
        summary=summary,
        kind=int(first["kind"]),
        point=int(first["point"]),
        expected=expected,
        observed=observed,
        technique=technique,
        frames=frames_of(rows),
        group=group,
        scores=scores,
    )
