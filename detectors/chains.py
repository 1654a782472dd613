"""Chains: which messages follow each other for a reason, and what follows what.

Most of what stands side by side on a wire has nothing to do with its neighbour: spontaneous data,
acknowledgements, timers, the answers to several outstanding requests. Two things are sequential:

======  ===============================================================================================
0       what one client asks for, one request after the other, on one connection: read cycles, select
        before operate, set-up before job. Without what timers and counters send (:data:`TIMERS`), and
        without answers: they follow from the requests
1       one procedure of IEC 60870-5-101 (7.2.3) on one object: activation, confirmation, termination, in
        both directions, select and execute told apart. Procedures on other objects run beside it
======  ===============================================================================================

GOOSE and sampled values have no such chain: their order is their counters' (``rules``).

A chain is cut where it is not known what stood between two messages: at missing or late TCP bytes, on a
new connection, and in every slice in which the sensor lost frames. Repeated frames are not in it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.groups import Ints, Lens, Numbered, among, in_order, order_of, runs
from detectors.lookup import Lookup
from detectors.rules.common import fresh_columns
from grid_profiles.vocabulary import Flag, Role

REQUESTS, PROCEDURE = 0, 1

TIMERS: Final[dict[str, tuple[int, ...]]] = {
    "modbus": (),
    "mms": (),
    "s7comm": (),
    "cip": (),
    "dlms": (),
    "dnp3": (0, *range(512, 640)),  # confirmations; frames of the link
    "bacnet": (),
    "iec104": (256, 528, 544),  # acknowledgements, tests
    "opcua": (446, 452, 826),  # secure channel, publish requests
    "mqtt": (4, 5, 6, 7, 12),  # acknowledgements, pings
}
"""Protocols whose clients ask in an order, and the kinds that are sent by timers and counters instead."""

MAX_THREADS: Final = 65_536
MAX_SYMBOLS: Final = 4_096
SYMBOL_BITS: Final = 12
HISTORY: Final = 3
_NOWHERE: Final = np.zeros(0, np.intp)
CUT: Final = np.uint32(Flag.GAP | Flag.LATE | Flag.MIDSTREAM)

CAUSES: Final = {
    6: "activation",
    7: "confirmation",
    8: "deactivation",
    9: "confirmation of deactivation",
    10: "termination",
    44: "unknown type",
    45: "unknown cause",
    46: "unknown station",
    47: "unknown object",
}


class Steps(NamedTuple):
    """Transitions of one slice, in order of arrival; columns of equal length.

    Attributes
    ----------
    row : ndarray of int64
        Message that came after, as its place in the slice.
    conv, chain : ndarray of int64
    before, after : ndarray of int64
        Numbers of :class:`Chains`' symbols.
    frame : ndarray of int64
        Frame of the message before.
    earlier : ndarray of int64, shape (n, HISTORY - 1)
        Symbols before ``before``, the latest last; -1 none.
    """

    row: Ints
    conv: Ints
    chain: Ints
    before: Ints
    after: Ints
    frame: Ints
    earlier: Ints

    def of(self, mask: npt.NDArray[Any]) -> Steps:
        """Some of them."""
        return Steps(*(part[mask] for part in self))


_EMPTY: Final = np.zeros(0, np.int64)
_NO_STEPS: Final = Steps(*(_EMPTY,) * 6, np.zeros((0, HISTORY - 1), np.int64))


def symbol(role: Ints | np.int64, kind: Ints, cause: Ints | np.int64, select: Ints) -> Ints:
    """Code of a symbol, the same in every run: role, kind, cause + 1 and the select bit."""
    codes: Ints = ((role << 20 | kind & 0xFFFFF) << 17 | (cause + 1) & 0xFFFF) << 1 | select
    return codes


class Spelled(NamedTuple):
    """The parts of a symbol's code; ``cause`` -1 none."""

    role: int
    kind: int
    cause: int
    select: int


def spelled(code: int) -> Spelled:
    """What :func:`symbol` packed."""
    return Spelled(code >> 38, code >> 18 & 0xFFFFF, (code >> 1 & 0xFFFF) - 1, code & 1)


class Chains:
    """Finds the transitions of each slice.

    Attributes
    ----------
    evicted : int
        Times that the table of open chains was full and begun anew.
    refused : int
        Messages whose kind found no room.
    """

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.evicted = self.refused = 0
        self.codes: list[int] = []
        self._symbols = Lookup(self._symbol, MAX_SYMBOLS)
        self._known: dict[int, int] = {}
        self._protocols: list[tuple[int, tuple[int, ...], bool]] = []
        for name, timers in TIMERS.items():
            if (proto := lens.protocol(name)) >= 0:
                self._protocols.append((proto, timers, name == "iec104"))
        self._begin()

    def _begin(self) -> None:
        self._threads = (Numbered(MAX_THREADS), Numbered(MAX_THREADS))
        none = np.full((MAX_THREADS, HISTORY), -1, np.int16)
        self._past = (none, none.copy())
        self._stream, self._frame = (
            tuple(np.full(MAX_THREADS, -1, np.int64) for _ in range(2)) for _ in range(2)
        )

    def words(self, number: int, proto: int) -> str:
        """A symbol as people say it."""
        part = spelled(self.codes[number])
        text = self.lens.names.kind(proto, part.kind)
        if part.select:
            text += " (select)"
        return f"{text} {CAUSES.get(part.cause, f'cause {part.cause}')}" if part.cause >= 0 else text

    def push(self, piece: Slice) -> Steps:
        """Take one slice."""
        made = [steps for steps in (self._requests(piece), self._procedures(piece)) if steps is not _NO_STEPS]
        if piece.lost > 0:  # nobody knows where in it something is missing
            for past in self._past:
                past[:] = -1
            made = [steps.of(np.zeros(len(steps.row), bool)) for steps in made]
        if not made:
            return _NO_STEPS
        steps = Steps(*(np.concatenate(parts) for parts in zip(*made, strict=True)))
        return steps.of(order_of(steps.row)) if len(steps.row) else steps

    def _requests(self, piece: Slice) -> Steps:
        chosen = []
        for proto, timers, _ in self._protocols:
            columns = fresh_columns(piece, proto)
            if not len(columns):
                continue
            kind = columns["kind"]
            mine = (columns["role"] == Role.CLIENT) & (kind >= 0)
            if len(timers):
                mine &= ~among(kind, timers)
            chosen.append(columns.numbers[mine])
        at = np.concatenate(chosen) if chosen else _NOWHERE
        if not len(at):
            return _NO_STEPS
        at = np.sort(at) if len(chosen) > 1 else at
        kind = piece.column("kind")[at].astype(np.int64)
        codes = symbol(np.int64(Role.CLIENT), kind, np.int64(-1), _selected(piece, at))
        return self._steps(REQUESTS, piece, at, codes, piece.column("stream")[at] + np.int64(1))

    def _procedures(self, piece: Slice) -> Steps:
        chosen = []
        for proto, _, procedures in self._protocols:
            columns = fresh_columns(piece, proto)
            if procedures and len(columns):
                kind, cause = columns["kind"], columns["cause"]
                mine = ((kind >= 45) & (kind <= 69)) | ((kind >= 100) & (kind <= 106))
                mine &= ((cause >= 6) & (cause <= 10)) | ((cause >= 44) & (cause <= 47))
                mine &= columns["point"] >= 0
                chosen.append(columns.numbers[mine])
        at = np.concatenate(chosen) if chosen else _NOWHERE
        if not len(at):
            return _NO_STEPS
        kind, cause, role = (piece.column(name)[at].astype(np.int64) for name in ("kind", "cause", "role"))
        codes, point = symbol(role, kind, cause, _selected(piece, at)), piece.column("point")[at]
        # 45 to 69 and 100 to 106 differ in their last six bits; common address and object have 40
        return self._steps(PROCEDURE, piece, at, codes, (kind & 63) << 40 | point & (1 << 40) - 1)

    def _steps(self, chain: int, piece: Slice, at: Any, codes: Ints, thread: Ints) -> Steps:
        convs = piece.column("conv")[at].astype(np.int64)
        order, heads = self._threads_of(chain, convs, thread)
        first, sizes = runs(heads)
        at, convs, symbols = at[order], convs[order], self._symbols.of(codes)[order]
        if len(symbols) and min(int(symbols.min()), int(heads.min())) < 0:
            kept = (symbols >= 0) & (heads >= 0)
            at, convs, symbols, heads = at[kept], convs[kept], symbols[kept], heads[kept]
            first, sizes = runs(heads)
        numbers, heads, past = heads, heads[first], self._past[chain]
        streams, frames = piece.column("stream")[at].astype(np.int64), piece.column("frame")[at]
        before, stream, frame = (_shifted(v) for v in (symbols, streams, frames))
        before[first], stream[first] = past[heads, -1], self._stream[chain][heads]
        frame[first] = self._frame[chain][heads]
        flags = piece.column("flags")[at]
        earlier = _look_back(symbols, first, sizes, past[heads])
        made = Steps(at, convs, np.full(len(at), chain, np.int64), before, symbols, frame, earlier)
        ends = first + sizes - 1
        past[heads] = np.column_stack((earlier[ends, 1:], before[ends], symbols[ends]))
        late = flags & np.uint32(Flag.LATE) != 0
        past[numbers[ends[late[ends]]]] = -1
        self._stream[chain][heads], self._frame[chain][heads] = streams[ends], frames[ends]
        cut = (flags & CUT != 0) | (stream != streams)
        cut[1:] |= late[:-1] & (numbers[1:] == numbers[:-1])  # it belongs somewhere before
        return made.of(~cut & (before >= 0))

    def _symbol(self, code: int) -> int:
        number = self._known.get(code, -1)
        if number < 0 and len(self.codes) < MAX_SYMBOLS:
            number = self._known[code] = len(self.codes)
            self.codes.append(code)
        elif number < 0:
            self.refused += 1
        return number

    def _threads_of(self, chain: int, convs: Ints, threads: Ints) -> tuple[Ints, Ints]:
        """(order that brings the messages of each thread together, number of each in that order)."""
        if chain == REQUESTS:
            order, keys = in_order(convs << 32 | threads)
            first, sizes = runs(keys)
        else:
            order = np.lexsort((threads, convs))
            first, sizes = runs(convs[order], threads[order])
        heads = order[first]
        numbers = self._threads[chain].numbers(convs[heads], threads[heads])
        if numbers.min(initial=0) < 0:
            self.evicted += 1
            self._begin()
            numbers = self._threads[chain].numbers(convs[heads], threads[heads])
        return order.astype(np.int64), np.repeat(numbers, sizes)


def _selected(piece: Slice, at: Any) -> Ints:
    return np.asarray(piece.column("flags")[at] & np.uint32(Flag.SELECT) != 0, np.int64)


def _shifted(values: Ints) -> Ints:
    """The value of the row before; what belongs before the first of each group is filled in by the caller."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    return before


def _look_back(symbols: Ints, first: Ints, sizes: Ints, past: npt.NDArray[Any]) -> Ints:
    """Symbols that stood before the one before, from this slice and from what is remembered."""
    earlier = np.empty((len(symbols), HISTORY - 1), np.int64)
    place = np.arange(len(symbols)) - np.repeat(first, sizes)
    group = np.repeat(np.arange(len(first)), sizes)
    for column in range(HISTORY - 1):
        back = HISTORY - column  # so many rows before the row itself
        inside = place >= back
        earlier[inside, column] = symbols[np.flatnonzero(inside) - back]
        earlier[~inside, column] = past[group[~inside], HISTORY - back + place[~inside]]
    return earlier
