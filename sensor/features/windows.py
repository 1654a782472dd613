"""Window features: one row per conversation and window of 10 s.

Columns (``detectors.tables.FEATURES``), all float64:

================  ====================================================================================
messages          messages in the window (repeated frames included)
bytes             their bytes, with the protocol's own header
client_share      share sent by the controlling side or a publisher
read_share        share of class read, likewise report, session, error (refusals included)
command_share     share of classes that change the plant (``vocabulary.DANGEROUS``)
kinds             distinct (role, kind, cause)
kind_entropy      Shannon entropy of (role, kind, cause), bits
points            distinct objects addressed
gap_mean          mean time between messages, s; window length when there is one message or none
gap_std, gap_max  likewise deviation and longest
response_mean     mean time from a message of the client to the next of the server, s; -1 none
response_max      longest such time, s; -1 none
repeated_share    share of TCP repetitions, gaps and refusals
value_changes     share of process values that differ from the value before of the same point
================  ====================================================================================

A window belongs to absolute time (multiples of its length). Conversations that are known but silent get
rows of zeros as long as they are asked for. A window keeps at most :data:`MAX_ROWS` messages; what comes
after them in the same window is counted in ``truncated`` and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.groups import REPEATED, SECOND, Lens, column, conv_part, distinct, news, order_of, pack, runs
from detectors.tables import FEATURES
from grid_profiles.vocabulary import DANGEROUS, Flag, KindClass, Role

WINDOW: Final = 10 * SECOND
MAX_ROWS: Final = 500_000

_COLUMNS: Final = ["ts", "proto", "role", "conv", "kind", "cause", "point", "size", "flags"]
_READ, _REPORT, _COMMAND, _SESSION, _ERROR, _OTHER = range(6)
_TROUBLE = np.uint32(REPEATED | Flag.GAP | Flag.NEGATIVE)
_CLASSES: Final = {
    KindClass.READ: _READ,
    KindClass.REPORT: _REPORT,
    KindClass.SESSION: _SESSION,
    KindClass.DIAGNOSTIC: _SESSION,
    KindClass.ERROR: _ERROR,
    **dict.fromkeys(DANGEROUS, _COMMAND),
}

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Columns = Mapping[str, npt.NDArray[Any]]
"""Columns by name: one array each, or records."""


@dataclass(slots=True)
class Window:
    """Features of one closed window.

    Attributes
    ----------
    start : int
        ns since 1970 UTC.
    convs, protos : ndarray of int64, shape (n,)
        The run's conversations that said something, ascending, and their protocols.
    values : ndarray of float64, shape (n, len(FEATURES))
    """

    start: int
    convs: Ints
    protos: Ints
    values: Floats

    def column(self, name: str) -> Floats:
        """One of :data:`FEATURES`."""
        return self.values[:, FEATURES.index(name)]


@dataclass(slots=True)
class Windower:
    """Gathers slices into windows; a window closes when a slice of a later one comes."""

    lens: Lens
    length: int = WINDOW
    truncated: int = 0
    _number: int | None = None
    _rows: list[Columns] = field(default_factory=list)
    _count: int = 0
    _changes: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    _last: Floats = field(default_factory=lambda: np.full(1_024, np.nan))  # by point of the run

    def push(self, piece: Slice) -> Window | None:
        """Take one slice; the window before it, when this slice begins another."""
        number = piece.start // self.length
        closed = self.close() if self._number is not None and number != self._number else None
        self._number = number
        room = MAX_ROWS - self._count
        self.truncated += max(0, len(piece.messages) - room)
        if len(piece.messages) and room > 0:
            self._rows.append({name: piece.column(name)[:room] for name in _COLUMNS})
            self._count += min(room, len(piece.messages))
            self._value_changes(piece)
        return closed

    def close(self) -> Window | None:
        """The window that is open, None when there is none."""
        if self._number is None:
            return None
        start = self._number * self.length
        parts, changes = self._rows, self._changes
        self._rows, self._count, self._number, self._changes = [], 0, None, []
        if not parts:
            none = np.zeros(0, np.int64)
            return Window(start, none, none, np.zeros((0, len(FEATURES))))
        rows = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}
        return features(start, rows, self.lens, self.length, _joined(changes))

    def _value_changes(self, piece: Slice) -> None:
        """Count, per conversation, values that differ from the one before of the same point."""
        points, numbers = self.lens.points(piece)
        if numbers.min(initial=0) < 0:
            points, numbers = points.compress(numbers >= 0), numbers[numbers >= 0]
        if not len(points):
            return
        self._last = column(self._last, numbers, np.nan)
        values = points["value"]
        first, sizes = runs(numbers)
        before = self._last[numbers[first]]
        changed = news(values)
        changed[first] = ~np.isnan(before) & (before != values[first])
        compared = np.ones(len(values), bool)
        compared[first] = ~np.isnan(before)
        self._last[numbers[first]] = values[first + sizes - 1]
        begin, _ = runs(points["conv"])
        moved = np.add.reduceat(changed, begin, dtype=np.int64)
        total = np.add.reduceat(compared, begin, dtype=np.int64)
        self._changes.append((points["conv"][begin], moved, total))


def _joined(changes: list[tuple[Ints, Ints, Ints]]) -> dict[int, tuple[int, int]]:
    """(values that changed, values compared) by conversation, of several slices."""
    if not changes:
        return {}
    convs, moved, total = (np.concatenate(columns) for columns in zip(*changes, strict=True))
    order = order_of(convs)
    first, _ = runs(convs[order])
    sums = (np.add.reduceat(counts[order], first).tolist() for counts in (moved, total))
    return dict(zip(convs[order[first]].tolist(), zip(*sums, strict=True), strict=True))


def silent_row(length: int = WINDOW) -> dict[str, float]:
    """Features of a conversation that said nothing in a window."""
    row = dict.fromkeys(FEATURES, 0.0)
    seconds = length / SECOND
    return row | {
        "gap_mean": seconds,
        "gap_max": seconds,
        "response_mean": -1.0,
        "response_max": -1.0,
    }


def features(
    start: int,
    rows: Columns,
    lens: Lens,
    length: int = WINDOW,
    changes: dict[int, tuple[int, int]] | None = None,
) -> Window:
    """Features of the messages of one window, vectorised over its conversations.

    Parameters
    ----------
    start : int
        Of the window, ns since 1970 UTC.
    rows : mapping or ndarray
        Messages, at least one; columns ts, proto, role, conv, kind, cause, point, size, flags.
    lens : Lens
        Gives the class of each kind.
    length : int
        Window length, ns.
    changes : dict, optional
        (values that changed, values compared) by conversation id.
    """
    order = order_of(rows["conv"])
    rows = {name: rows[name].take(order) for name in _COLUMNS}
    first, sizes = runs(rows["conv"])
    convs, n, total = rows["conv"][first], len(first), sizes.astype(np.float64)
    index = np.repeat(np.arange(n), sizes)
    sent = (rows["role"] == Role.CLIENT) | (rows["role"] == Role.PUBLISHER)
    classes = _class_codes(rows, lens)
    refused = rows["flags"] & np.uint32(Flag.NEGATIVE) != 0
    trouble = rows["flags"] & _TROUBLE != 0

    def share(mask: npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(index[mask], minlength=n) / total

    gap_mean, gap_std, gap_max = _gaps(rows["ts"], index, n, length / SECOND)
    kinds, entropy = _diversity(rows, convs, total)
    response_mean, response_max = _responses(rows["ts"], sent, index, n)
    columns = {
        "messages": total,
        "bytes": np.bincount(index, weights=np.maximum(rows["size"], 0), minlength=n),
        "client_share": share(sent),
        "read_share": share(classes == _READ),
        "report_share": share(classes == _REPORT),
        "command_share": share((classes == _COMMAND) & sent),
        "session_share": share(classes == _SESSION),
        "error_share": share((classes == _ERROR) | refused),
        "kinds": kinds,
        "kind_entropy": entropy,
        "points": _distinct(rows["point"], index, n),
        "gap_mean": gap_mean,
        "gap_std": gap_std,
        "gap_max": gap_max,
        "response_mean": response_mean,
        "response_max": response_max,
        "repeated_share": share(trouble),
        "value_changes": _changed_share(changes or {}, convs),
    }
    protos = rows["proto"][first].astype(np.int64)
    values = np.column_stack([columns[name] for name in FEATURES])
    return Window(start, convs.astype(np.int64), protos, values)


def _changed_share(changes: dict[int, tuple[int, int]], convs: npt.NDArray[Any]) -> Floats:
    pairs = [changes.get(conv, (0, 0)) for conv in convs.tolist()]
    return np.array([some / max(total, 1) for some, total in pairs], np.float64)


def _class_codes(rows: Columns, lens: Lens) -> npt.NDArray[np.int64]:
    pairs = rows["proto"].astype(np.int64) << 32 | (rows["kind"].astype(np.int64) & 0xFFFFFFFF)
    here = distinct(pairs)
    codes = np.array([_class_code(pair, lens) for pair in here.tolist()], np.int64)
    return codes.take(np.searchsorted(here, pairs))


def _class_code(pair: int, lens: Lens) -> int:
    kind = pair & 0xFFFFFFFF
    name = lens.kind_class(pair >> 32, kind - (1 << 32) if kind >> 31 else kind)
    return _CLASSES.get(KindClass(name), _OTHER) if name else _OTHER


def _gaps(
    ts: npt.NDArray[np.int64], index: npt.NDArray[np.intp], n: int, alone: float
) -> tuple[Floats, Floats, Floats]:
    """Mean, deviation and longest time between messages of one conversation, in order of arrival."""
    same = index[1:] == index[:-1]
    gaps = np.maximum(np.diff(ts)[same], 0) / SECOND
    owner = index[1:][same]
    count = np.bincount(owner, minlength=n)
    some = np.maximum(count, 1)
    mean = np.bincount(owner, weights=gaps, minlength=n) / some
    variance = np.bincount(owner, weights=(gaps - mean[owner]) ** 2, minlength=n) / some
    none = count == 0
    return np.where(none, alone, mean), np.sqrt(variance), np.where(none, alone, _longest(gaps, owner, n))


def _longest(times: Floats, owner: npt.NDArray[np.intp], n: int) -> Floats:
    """The longest time of each owner, 0 without one; owners ascend."""
    longest = np.zeros(n)
    if len(times):
        first, _ = runs(owner)
        longest[owner[first]] = np.maximum.reduceat(times, first)
    return longest


def _diversity(rows: Columns, convs: npt.NDArray[Any], total: Floats) -> tuple[Floats, Floats]:
    """Number and entropy (bits) of kinds per conversation."""
    keys = np.sort(pack(rows))  # the conversation is their first part
    first, counts = runs(keys)
    owner = np.searchsorted(convs, conv_part(keys[first]))
    p = counts / total[owner]
    entropy = np.bincount(owner, weights=-p * np.log2(p), minlength=len(convs))
    return np.bincount(owner, minlength=len(convs)).astype(np.float64), np.maximum(entropy, 0.0)


def _distinct(values: npt.NDArray[np.int64], index: npt.NDArray[np.intp], n: int) -> Floats:
    """Different values from 0 of each owner; owners ascend."""
    valid = values >= 0
    mine, owner = values[valid], index[valid]
    width = int(mine.max(initial=0)).bit_length()
    if width + n.bit_length() < 63:
        keys = np.sort(owner << width | mine)
        owner = keys[news(keys)] >> width if len(keys) else owner
    else:
        order = np.lexsort((mine, owner))
        owner = owner[order][news(owner[order], mine[order])]
    return np.bincount(owner, minlength=n).astype(np.float64)


def _responses(
    ts: npt.NDArray[np.int64], sent: npt.NDArray[np.bool_], index: npt.NDArray[np.intp], n: int
) -> tuple[Floats, Floats]:
    """Mean and longest time from a client's message to the server's next, per conversation; -1 none."""
    at = np.flatnonzero((index[1:] == index[:-1]) & sent[:-1] & ~sent[1:]) + 1
    took = np.maximum(ts[at] - ts[at - 1], 0) / SECOND
    count = np.bincount(index[at], minlength=n)
    mean = np.bincount(index[at], weights=took, minlength=n) / np.maximum(count, 1)
    none = count == 0
    return np.where(none, -1.0, mean), np.where(none, -1.0, _longest(took, index[at], n))
