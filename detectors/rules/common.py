"""What rule files share: a finding from one message row, and bounded state by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from detectors.base import Finding, Level, Slice, likeliest
from detectors.groups import frames_of, news, order_of, repetitions, runs

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


Ints = npt.NDArray[np.int64]

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

    def peek(self, key: K) -> V | None:
        """Entry of a key or None; it does not count as used."""
        return self._entries.get(key)

    def touch(self, keys: Sequence[K]) -> None:
        """Count what was used as used; ``keys`` in that order, repeated ones too."""
        for key in reversed(dict.fromkeys(reversed(keys))):
            if key in self._entries:
                self._entries.move_to_end(key)

    def drop(self, key: K) -> None:
        """Forget one entry."""
        self._entries.pop(key, None)

    def names(self) -> list[K]:
        """All keys, the least recently used first."""
        return list(self._entries)

    def values(self) -> list[V]:
        """All entries, the least recently used first. Nothing counts as used by that."""
        return list(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


class Message(NamedTuple):
    """One row of MESSAGE as plain numbers: ``Message(*row)`` of what ``rows.tolist()`` gives."""

    ts: int
    frame: int
    proto: int
    role: int
    src: int
    dst: int
    conv: int
    stream: int
    kind: int
    cause: int
    point: int
    value: float
    count: int  # type: ignore[assignment]
    size: int
    seq: int
    state: int
    aux: int
    name: int
    ident: int
    flags: int


class Recent:
    """Numbers by key, of which the last ``limit`` are kept; a column at a time. ``evicted`` counts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.evicted = 0
        self._keys = self._numbers = np.zeros(0, np.int64)
        self._most = int(np.iinfo(np.int64).min)

    def first(self, keys: Ints, numbers: Ints) -> Ints:
        """What each key had, int64 of shape (n,); those that had nothing get their number, and have -1."""
        had = np.full(len(keys), -1, np.int64)
        if not len(keys):
            return had
        order = order_of(keys)
        begin = news(keys[order])
        fresh = np.zeros(len(keys), bool)
        fresh[order[begin]] = True
        if keys[order[0]] <= self._most or not begin.all():  # else all are new: keys mostly go up
            known = np.argsort(self._keys)
            at = np.minimum(np.searchsorted(self._keys, keys, sorter=known), max(len(known) - 1, 0))
            found = self._keys[known[at]] == keys if len(known) else np.zeros(len(keys), bool)
            had[order] = numbers[order[begin]][np.cumsum(begin) - 1]
            had[fresh] = -1
            had[found] = self._numbers[known[at[found]]] if len(known) else 0
            fresh &= ~found
        self._most = max(self._most, int(keys[order[-1]]))
        self._keys = np.concatenate((self._keys, keys[fresh]))
        self._numbers = np.concatenate((self._numbers, numbers[fresh]))
        over = max(0, len(self._keys) - self.limit)
        self.evicted += over
        self._keys, self._numbers = self._keys[over:], self._numbers[over:]
        return had


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
        protos = piece.column("proto")
        order = np.argsort(protos, kind="stable")
        first, sizes = runs(protos[order])
        parts = {
            int(protos[order[at]]): order[at : at + size]
            for at, size in zip(first.tolist(), sizes.tolist(), strict=True)
        }
        piece.cache["protocols"] = parts
    numbers: npt.NDArray[np.intp] = parts.get(proto, _NONE)
    return numbers


class Columns:
    """Columns of the messages of one protocol in a slice, in order of arrival, each taken out once.

    Attributes
    ----------
    numbers : ndarray of intp
        Where the messages stand in the slice.
    """

    __slots__ = ("_lists", "_piece", "_taken", "numbers")

    def __init__(self, piece: Slice, numbers: npt.NDArray[np.intp]) -> None:
        self.numbers = numbers
        self._piece = piece
        self._taken: dict[str, npt.NDArray[Any]] = {}
        self._lists: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        taken = self._taken.get(name)
        if taken is None:
            taken = self._taken[name] = self._piece.column(name).take(self.numbers)
        return taken

    def __len__(self) -> int:
        return len(self.numbers)

    def where(self, mask: npt.NDArray[np.bool_]) -> Columns:
        """Those of some of the messages."""
        return Columns(self._piece, self.numbers[mask])

    def list(self, name: str) -> list[Any]:
        """A column as plain numbers."""
        made = self._lists.get(name)
        if made is None:
            made = self._lists[name] = self[name].tolist()
        return made

    def rows(self, where: npt.NDArray[Any] | slice) -> npt.NDArray[Any]:
        """Whole messages, copied; by a mask, places or a slice."""
        return self._piece.messages.take(self.numbers[where])


def protocol_columns(piece: Slice, proto: int) -> Columns:
    """Columns of :func:`protocol_rows`."""
    kept = piece.cache.setdefault("columns", {})
    made: Columns | None = kept.get(proto)
    if made is None:
        made = kept[proto] = Columns(piece, protocol_numbers(piece, proto))
    return made


def fresh_rows(piece: Slice, proto: int) -> npt.NDArray[Any]:
    """:func:`protocol_rows` without what came before: retransmissions and copies."""
    kept = piece.cache.setdefault("fresh", {})
    if proto not in kept:
        again, rows = repetitions(piece), protocol_rows(piece, proto)
        kept[proto] = rows if again is None else rows.compress(~again.take(protocol_numbers(piece, proto)))
    made: npt.NDArray[Any] = kept[proto]
    return made


def fresh_columns(piece: Slice, proto: int) -> Columns:
    """Columns of :func:`fresh_rows`."""
    kept = piece.cache.setdefault("fresh columns", {})
    made: Columns | None = kept.get(proto)
    if made is None:
        made = protocol_columns(piece, proto)
        again = repetitions(piece)
        if again is not None:
            made = made.where(~again.take(made.numbers))
        kept[proto] = made
    return made


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
    keep = thinned_places(rows["conv"], limit)
    return rows[keep], rows[~keep]


def thinned_places(convs: npt.NDArray[Any], limit: int) -> npt.NDArray[np.bool_]:
    """Where the first ``limit`` rows of each conversation are."""
    order = np.argsort(convs, kind="stable")
    first, sizes = runs(convs[order])
    rank = np.arange(len(convs)) - np.repeat(first, sizes)
    keep = np.ones(len(convs), bool)
    keep[order] = rank < limit
    return keep


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
        reading=likeliest(scores),
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
