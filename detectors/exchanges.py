"""Requests and their answers, paired by what each protocol gives: who waited how long, and who for ever.

==================  ===================================================================================
modbus, mms,        the answer names the frame of its request (``state``), and both carry one number
s7comm              (transaction, invokeID, PDU reference: ``seq``)
enip, cip, dlms     the answer names the frame of its request
dnp3                application sequence; requests that want no answer (direct operate, freeze and confirm
                    without acknowledgement; IEEE 1815, 4.4) are none
bacnet              invoke id of a confirmed request; an error, a reject and an abort are answers
opcua               request id of the secure channel (``state``)
mqtt                CONNECT, PUBLISH with QoS 1, SUBSCRIBE, UNSUBSCRIBE, PINGREQ and what acknowledges each
iec104              activation and its confirmation, by type and object (IEC 60870-5-101, 7.2.3); STARTDT,
                    STOPDT and TESTFR act and con (IEC 60870-5-104, 5.2, 5.3)
dns, snmp, coap     transaction, request and message id
==================  ===================================================================================

A request with the number of one that still waits takes its place: the older one got no answer. One that
waited for :data:`PATIENCE` got none either. Repeated frames (TCP retransmissions, copies) are neither.
All of a slice is paired at once; what still waits is carried on, bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.base import Names, Slice
from detectors.groups import SECOND, Ints, among, order_of
from detectors.rules.common import Columns, fresh_columns
from grid_profiles.vocabulary import Flag, Role

PATIENCE: Final = 20 * SECOND
"""ns after which a request counts as unanswered: longer than any protocol here waits (IEC-104: t1 = 15 s)."""

MAX_WAITING: Final = 32_768
COMMANDS: Final = 45
"""First type id of IEC-104 in control direction."""

EXCHANGE: Final = np.dtype(
    [
        ("key", "i8"),  # mixed from all that pairs; equal for a request and its answer
        ("tag", "i8"),  # the protocol's own number
        ("conv", "i8"),
        ("proto", "i8"),
        ("kind", "i8"),
        ("src", "i8"),
        ("dst", "i8"),
        ("ts", "i8"),
        ("frame", "i8"),
        ("asks", "?"),
    ],
    align=True,
)
"""One request or answer."""

Rows = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


class Parts(NamedTuple):
    """Which messages of one protocol ask, which answer, and the number that makes a pair of two."""

    asks: Flags
    answers: Flags
    tag: Ints


class Outcome(NamedTuple):
    """What one slice brought.

    Attributes
    ----------
    asked, answered : ndarray of EXCHANGE, shape (n,)
        Pairs: row i of one belongs to row i of the other; in order of the answers' arrival.
    missed : ndarray of EXCHANGE, shape (m,)
        Requests that nobody answered, decided in this slice.
    """

    asked: Rows
    answered: Rows
    missed: Rows


def _roles(rows: Columns) -> tuple[Flags, Flags]:
    role = rows["role"]
    return role == Role.CLIENT, role == Role.SERVER


def _by_frame(rows: Columns) -> Parts:
    client, server = _roles(rows)
    state = rows["state"]
    return Parts(client, server & (state >= 0), np.where(client, rows["frame"], state))


def _by_frame_and_number(rows: Columns) -> Parts:
    parts = _by_frame(rows)
    return parts._replace(tag=parts.tag << 16 | rows["seq"] & 0xFFFF)


def _by_number(rows: Columns) -> Parts:
    client, server = _roles(rows)
    known = rows["seq"] >= 0
    return Parts(client & known, server & known, rows["seq"])


def _opcua(rows: Columns) -> Parts:
    client, server = _roles(rows)
    known = rows["state"] >= 0
    return Parts(client & known, server & known, rows["state"])


def _dnp3(rows: Columns) -> Parts:
    client, server = _roles(rows)
    kind = rows["kind"]
    asks = client & (kind >= 1) & (kind <= 127) & ~among(kind, (6, 8, 10, 12))
    return Parts(asks, server & (kind == 129), rows["seq"] & 0xF)


def _bacnet(rows: Columns) -> Parts:
    pdu = rows["kind"] >> 8
    plain = (rows["kind"] >= 0) & (rows["kind"] < 1 << 16) & (rows["seq"] >= 0)
    return Parts(plain & (pdu == 0), plain & among(pdu, (2, 3, 5, 6, 7)), rows["seq"])


def _mqtt(rows: Columns) -> Parts:
    kind = rows["kind"]
    asks = among(kind, (1, 8, 10, 12)) | ((kind == 3) & (rows["aux"] & 3 == 1))
    answers = among(kind, (2, 4, 9, 11, 13))
    return Parts(asks, answers, np.where(answers, kind - 1, kind) << 20 | rows["seq"] + 1 & 0xFFFFF)


def _iec104(rows: Columns) -> Parts:
    client, server = _roles(rows)
    kind, cause = rows["kind"].astype(np.int64), rows["cause"]
    command = (kind >= COMMANDS) & (kind <= 107)
    asks = client & command & ((cause == 6) | (cause == 8))
    answers = server & command & ((cause == 7) | (cause == 9) | ((cause >= 44) & (cause <= 47)))
    act, con = among(kind, (513, 516, 528)), among(kind, (514, 520, 544))
    # who confirmed is told from who asked: both sides may test at once
    from_client = np.where(act, client, server)
    unnumbered = (1 << 50) + (np.where(act, 2 * (kind - 512), kind - 512) << 1 | from_client)
    tag = np.where(act | con, unnumbered, kind << 40 | rows["point"] & (1 << 40) - 1)
    return Parts(asks | act, answers | con, tag)


PAIRING: Final[dict[str, Callable[[Columns], Parts]]] = {
    "modbus": _by_frame_and_number,
    "mms": _by_frame_and_number,
    "s7comm": _by_frame_and_number,
    "enip": _by_frame,
    "cip": _by_frame,
    "dlms": _by_frame,
    "dnp3": _dnp3,
    "bacnet": _bacnet,
    "opcua": _opcua,
    "mqtt": _mqtt,
    "iec104": _iec104,
    "dns": _by_number,
    "snmp": _by_number,
    "coap": _by_number,
}

_ODD_1, _ODD_2 = np.int64(-7046029254386353131), np.int64(-4417276706812531889)
_NONE: Final = np.zeros(0, EXCHANGE)
PAIRED_BY: Final = ("key", "tag", "conv", "asks")


def _together(keys: Ints) -> Ints:
    """An order in which equal keys are neighbours, in order of arrival.

    The row's number takes the place of a key's last bits, so that one number is sorted: keys are mixed from
    all that pairs, and those that differ in these bits alone would have to come at once to be torn apart.
    """
    last = np.int64((1 << len(keys).bit_length()) - 1)
    packed = (keys & ~last) | np.arange(len(keys))
    packed.sort()
    return packed & last


class Exchanges:
    """Pairs requests with answers, slice after slice.

    Attributes
    ----------
    evicted : int
        Requests that were given up because too many waited.
    """

    def __init__(self, names: Names, limit: int = MAX_WAITING) -> None:
        self.limit = limit
        self.evicted = 0
        self._ways: list[tuple[int, Callable[[Columns], Parts]]] = []
        self._waiting = _NONE
        for protocol, way in PAIRING.items():
            try:
                self._ways.append((names.protocol_id(protocol), way))
            except KeyError:
                continue

    def push(self, piece: Slice) -> Outcome:
        """Take one slice."""
        rows, pairing = self._with_fresh(piece)
        if len(rows) == len(self._waiting):
            return Outcome(_NONE, _NONE, self._age(rows, piece.start) if len(rows) else _NONE)
        order = _together(pairing["key"])
        key, tag, conv, asks = (pairing[name].take(order) for name in PAIRED_BY)
        same = (key[1:] == key[:-1]) & (tag[1:] == tag[:-1]) & (conv[1:] == conv[:-1])
        paired = np.flatnonzero(same & asks[:-1] & ~asks[1:])
        again = rows.take(order[:-1][same & asks[:-1] & asks[1:]])
        last = asks.copy()
        last[:-1] &= ~same
        late = self._age(rows.take(np.sort(order[last])), piece.start)  # in order of arrival again
        asked, answered = order[paired], order[paired + 1]
        arrived = order_of(answered)
        missed = np.concatenate((again, late)) if len(again) else late
        return Outcome(rows.take(asked[arrived]), rows.take(answered[arrived]), missed)

    def _with_fresh(self, piece: Slice) -> tuple[Rows, dict[str, npt.NDArray[Any]]]:
        """What waits, and behind it what this slice asks and answers; by what it is paired, by column."""
        made: list[tuple[Ints, Parts]] = []
        for proto, way in self._ways:
            columns = fresh_columns(piece, proto)
            if way is _iec104:  # what stations report is most of it, and no part of any exchange
                columns = columns.where(columns["kind"] >= COMMANDS)
            if not len(columns):
                continue
            parts = way(columns)
            chosen = np.flatnonzero((parts.asks | parts.answers) & (columns["kind"] >= 0))
            if len(chosen):
                asks, answers, tag = parts
                made.append((columns.numbers[chosen], Parts(asks[chosen], answers[chosen], tag[chosen])))
        if not made:
            return self._waiting, {}
        at = np.concatenate([numbers for numbers, _ in made])
        rows = np.empty(len(self._waiting) + len(at), EXCHANGE)
        rows[: len(self._waiting)] = self._waiting
        fresh = rows[len(self._waiting) :]
        for name in ("proto", "kind", "src", "dst", "ts", "frame"):
            fresh[name] = piece.column(name).take(at)
        tag = np.concatenate([parts.tag for _, parts in made])
        conv = piece.column("conv").take(at).astype(np.int64)
        link = conv << 32 | piece.column("stream").take(at) + np.int64(1)
        asks = np.concatenate([parts.asks for _, parts in made])
        pairing = {}
        for name, values in zip(PAIRED_BY, ((tag * _ODD_1) ^ (link * _ODD_2), tag, conv, asks), strict=True):
            fresh[name] = values
            pairing[name] = np.concatenate((self._waiting[name], values)) if len(self._waiting) else values
        return rows, pairing

    def _age(self, rows: Rows, now: int) -> Rows:
        """Keep what may still be answered; returns what waited too long."""
        over = rows["ts"] < now - PATIENCE
        kept = rows.compress(~over)
        if len(kept) > self.limit:
            self.evicted += len(kept) - self.limit
            kept = kept[-self.limit :]
        self._waiting = kept
        return rows.compress(over)


def gaps_in(piece: Slice) -> Ints:
    """Conversations in which TCP bytes are missing in this slice, int64 of shape (n,), ascending."""
    odd = piece.column("flags") & np.uint32(Flag.GAP | Flag.LATE) != 0
    return np.unique(piece.column("conv")[odd]).astype(np.int64) if odd.any() else np.zeros(0, np.int64)
