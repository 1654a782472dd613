"""Early-warning margins: how far a conversation is from the limits that its own protocol sets.

=================  ====  ===========================================================================
margin.goose_tal   1     least share of timeAllowedtoLive that was left when the next GOOSE message
                         came, or is left at the end of the window: 1 just repeated, 0 expired,
                         below 0 overdue (IEC 61850-8-1, 18.1)
margin.iec104_k    1     most I-frames of one side that the other had not acknowledged; the sender
                         stops at k = 12, the receiver acknowledges after w = 8 at the latest
                         (IEC 60870-5-104, 5.5)
margin.iec104_t1   s     longest time from an I-frame to its acknowledgement, those still waiting
                         included; the sender closes the connection at t1 = 15 s
                         (IEC 60870-5-104, 5.2)
margin.sv_pause    s     longest pause between two frames of a sampled value stream
margin.sv_lost     1     samples missing, per second, at most
=================  ====  ===========================================================================

Everything is computed once per window over the rows that its slices brought; what is carried from window to
window is bounded and counted. Times are capture times.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.base import Names, Slice
from detectors.rules.common import protocol_columns
from grid_profiles.vocabulary import Role

SECOND: Final = 1_000_000_000
MAX_ROWS: Final = 500_000
MAX_STREAMS: Final = 10_000
MAX_UNACKNOWLEDGED: Final = 64
FORGET: Final = 10.0
"""A GOOSE stream that is overdue by so many of its times to live has ended."""

SV_LOST, SV_PAUSE = 0xFF01, 0xFF03
S_FRAME: Final = 256
LAST_TYPE: Final = 127
MODULUS: Final = 1 << 15
GONE: Final = 120 * SECOND
"""An I-frame that has waited for so long belongs to a connection that is gone."""

_COLUMNS: Final = ("ts", "proto", "role", "conv", "stream", "kind", "seq", "state", "aux")

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Margin(NamedTuple):
    """One margin of one conversation in one window."""

    name: str
    unit: str
    conv: int
    value: float


def goose_left(conv: Ints, ts: Ints, tal_ms: Ints) -> tuple[Ints, Floats]:
    """Least share of its time to live that each stream had left when its next message came.

    Parameters
    ----------
    conv, ts, tal_ms : ndarray of int64, shape (n,)
        GOOSE messages in order of arrival; ns; timeAllowedtoLive in ms, above 0.

    Returns
    -------
    (convs, left) : ndarray of int64 and float64, shape (m,)
        Streams with at least two messages, ascending.
    """
    order = np.argsort(conv, kind="stable")
    conv, ts, tal_ms = conv[order], ts[order], tal_ms[order]
    same = conv[1:] == conv[:-1]
    gaps = np.maximum(np.diff(ts), 0)[same]
    left = 1.0 - gaps / (tal_ms[:-1][same] * 1e6)
    convs, index = np.unique(conv[1:][same], return_inverse=True)
    least = np.full(len(convs), np.inf)
    np.minimum.at(least, index, left)
    return convs, least


def unacknowledged(sent_at: Ints, sent: Ints, heard_at: Ints, heard: Ints) -> Ints:
    """I-frames that were under way when each one was sent, that one included.

    Parameters
    ----------
    sent_at, sent : ndarray of int64, shape (n,)
        Place in the order of arrival and N(S) of one side's I-frames.
    heard_at, heard : ndarray of int64, shape (m,)
        Place and N(R) of the other side's I- and S-frames.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 where no acknowledgement came before, or where the numbers contradict each other (frames were lost).
    """
    before = np.searchsorted(heard_at, sent_at, side="left") - 1
    known = before >= 0
    under_way = (sent + 1 - heard[np.maximum(before, 0)]) % MODULUS if len(heard) else np.zeros_like(sent)
    return np.where(known & (under_way < MODULUS // 2), under_way, 0)


def acknowledged_after(sent_ts: Ints, sent: Ints, heard_ts: Ints, heard: Ints) -> tuple[Floats, int]:
    """Seconds that the oldest I-frame had waited, at each acknowledgement that covers a new one.

    Parameters
    ----------
    sent_ts, sent : ndarray of int64, shape (n,)
        ns and N(S) of one side's I-frames, in order.
    heard_ts, heard : ndarray of int64, shape (m,)
        ns and N(R) of the other side's I- and S-frames, in order.

    Returns
    -------
    (waited, covered) : ndarray of float64, int
        One entry for each acknowledgement of something new; how many of the I-frames are covered at the end.
    """
    if not len(sent):
        return np.zeros(0), 0
    base = int(sent[0])
    numbers = np.maximum.accumulate((sent - base) % MODULUS)
    upto = (heard - base) % MODULUS
    upto = np.where(upto <= int(numbers[-1]) + 1, upto, 0)  # of frames from before, or never seen
    covered = np.maximum.accumulate(np.searchsorted(numbers, upto, side="left"))
    earlier = np.r_[0, covered[:-1]]
    fresh = covered > earlier
    waited = np.maximum(heard_ts[fresh] - sent_ts[earlier[fresh]], 0) / SECOND
    return np.asarray(waited, np.float64), int(covered[-1]) if len(covered) else 0


@dataclass(slots=True)
class Margins:
    """Gathers slices, gives the margins of a window.

    Attributes
    ----------
    left_out : int
        Rows and streams for which there was no room.
    """

    names: Names
    left_out: int = 0
    _rows: list[npt.NDArray[Any]] = field(default_factory=list)
    _points: list[npt.NDArray[Any]] = field(default_factory=list)
    _count: int = 0
    _goose: OrderedDict[int, tuple[int, int]] = field(default_factory=OrderedDict)
    _waiting: OrderedDict[tuple[int, int, int], tuple[Ints, Ints, int]] = field(default_factory=OrderedDict)
    _ids: dict[str, int] = field(default_factory=dict)

    def push(self, piece: Slice) -> None:
        """Take one slice."""
        messages = piece.messages
        goose, iec104 = (protocol_columns(piece, self._id(name)) for name in ("goose", "iec104"))
        parts = [goose.numbers[goose["aux"] > 0]] if len(goose) else []
        if len(iec104):
            parts.append(iec104.numbers[(iec104["kind"] <= S_FRAME) & (iec104["kind"] > 0)])
        chosen = np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.intp)
        room = max(0, MAX_ROWS - self._count)
        self.left_out += max(0, len(chosen) - room)
        if len(chosen) and room:
            rows = messages.take(chosen[:room])
            kept = np.empty(len(rows), [(name, np.int64) for name in _COLUMNS])
            for name in _COLUMNS:
                kept[name] = rows[name]
            self._rows.append(kept)
            self._count += len(kept)
        sv = piece.point_column("proto") == self._id("sv")
        if sv.any():
            self._points.append(piece.points[["conv", "point", "value"]][sv].copy())

    def close(self, end: int) -> list[Margin]:
        """Margins of the window that ends at ``end`` (ns); forgets its rows."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros(0, [(n, np.int64) for n in _COLUMNS])
        points, self._points = self._points, []
        self._rows, self._count = [], 0
        found = self._goose_margins(rows.compress(rows["proto"] == self._id("goose")), end)
        found += self._iec104_margins(rows.compress(rows["proto"] == self._id("iec104")), end)
        if points:
            found += _sv_margins(np.concatenate(points))
        return found

    def _id(self, protocol: str) -> int:
        known = self._ids.get(protocol)
        if known is None:
            try:
                known = self.names.protocol_id(protocol)
            except KeyError:
                known = -1
            self._ids[protocol] = known
        return known

    # --- GOOSE --------------------------------------------------------------------------------------

    def _goose_margins(self, rows: npt.NDArray[Any], end: int) -> list[Margin]:
        convs = np.unique(rows["conv"]).tolist()
        before = [(conv, *self._goose[conv]) for conv in convs if conv in self._goose]
        carried = np.array(before, np.int64).reshape(-1, 3)
        columns = (np.r_[carried[:, at], rows[name]] for at, name in enumerate(("conv", "ts", "aux")))
        found, least = goose_left(*columns)
        left = dict(zip(found.tolist(), least.tolist(), strict=True))
        for conv, ts, aux in zip(*(rows[name].tolist() for name in ("conv", "ts", "aux")), strict=True):
            self._goose[conv] = (ts, aux)
        for conv, (ts, tal) in list(self._goose.items()):
            now = 1.0 - max(0, end - ts) / (tal * 1e6)
            if now < -FORGET:
                del self._goose[conv]
                continue
            left[conv] = min(left.get(conv, 1.0), now)
        while len(self._goose) > MAX_STREAMS:
            self._goose.popitem(last=False)
            self.left_out += 1
        return [Margin("margin.goose_tal", "1", conv, value) for conv, value in sorted(left.items())]

    # --- IEC 60870-5-104 ----------------------------------------------------------------------------

    def _iec104_margins(self, rows: npt.NDArray[Any], end: int) -> list[Margin]:
        """Connection by connection: numbers begin anew with each; a conversation has the worst of its own."""
        worst: dict[int, tuple[int, float]] = {}
        rows = rows.take(
            np.lexsort((rows["stream"], rows["conv"]))
        )  # stable: in order of arrival inside each
        edges = np.flatnonzero((np.diff(rows["conv"]) != 0) | (np.diff(rows["stream"]) != 0)) + 1
        parts = {
            (int(part["conv"][0]), int(part["stream"][0])): part
            for part in np.split(rows, edges)
            if len(part)
        }
        speaking = {conv for conv, _ in parts}
        for conv, stream, role in list(self._waiting):
            if conv in speaking and (conv, stream) not in parts:
                del self._waiting[conv, stream, role]  # another connection has taken its place
        silent = {key[:2] for key in self._waiting} - parts.keys()
        for conv, stream in [*parts, *sorted(silent)]:
            part = parts.get((conv, stream), rows[:0])
            had = worst.get(conv, (0, 0.0))
            for sender, receiver in ((Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)):
                some, longest = self._direction((conv, stream, int(sender)), part, int(receiver), end)
                had = (max(had[0], some), max(had[1], longest))
            worst[conv] = had
        found: list[Margin] = []
        for conv, (under_way, waited) in worst.items():
            found.append(Margin("margin.iec104_k", "1", conv, float(under_way)))
            found.append(Margin("margin.iec104_t1", "s", conv, waited))
        while len(self._waiting) > MAX_STREAMS:
            self._waiting.popitem(last=False)
            self.left_out += 1
        return found

    def _direction(
        self, key: tuple[int, int, int], rows: npt.NDArray[Any], receiver: int, end: int
    ) -> tuple[int, float]:
        old_ts, old, last = self._waiting.pop(key, (_NONE, _NONE, -1))
        sent_at = np.flatnonzero((rows["role"] == key[2]) & (rows["kind"] <= LAST_TYPE))
        heard_at = np.flatnonzero((rows["role"] == receiver) & (rows["state"] >= 0))
        sent, heard = rows["seq"][sent_at], rows["state"][heard_at]
        if last >= 0:
            heard_at, heard = np.r_[-1, heard_at], np.r_[last, heard]
        under_way = unacknowledged(sent_at, sent, heard_at, heard)
        fresh = slice(1 if last >= 0 else 0, None)
        all_ts, numbers = np.r_[old_ts, rows["ts"][sent_at]], np.r_[old, sent]
        waits, covered = acknowledged_after(
            all_ts, numbers, rows["ts"][heard_at[fresh]], heard[fresh].astype(np.int64)
        )
        rest_ts, rest = all_ts[covered:][-MAX_UNACKNOWLEDGED:], numbers[covered:][-MAX_UNACKNOWLEDGED:]
        longest = float(waits.max()) if len(waits) else 0.0
        if len(rest_ts):
            age = max(0, end - int(rest_ts[0]))
            if age > GONE:
                rest_ts = rest = _NONE
            else:
                longest = max(longest, age / SECOND)
        last = int(heard[-1]) if len(heard) else last
        if len(rest) or len(rows):
            self._waiting[key] = (rest_ts, rest, last)
        return int(under_way.max()) if len(under_way) else 0, longest


_NONE: Final[Ints] = np.zeros(0, np.int64)


def _sv_margins(points: npt.NDArray[Any]) -> list[Margin]:
    """Longest pause and most missing samples of each stream, from the sums of its seconds."""
    found: list[Margin] = []
    for what, name, unit in ((SV_PAUSE, "margin.sv_pause", "s"), (SV_LOST, "margin.sv_lost", "1")):
        mine = points[((points["point"] & 0xFFFF) == what) & np.isfinite(points["value"])]
        convs, index = np.unique(mine["conv"], return_inverse=True)
        most = np.full(len(convs), -np.inf)
        np.maximum.at(most, index, mine["value"])
        found += [Margin(name, unit, c, v) for c, v in zip(convs.tolist(), most.tolist(), strict=True)]
    return found
