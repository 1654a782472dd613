"""Grouping of message rows, and the run's identifiers in words: what every detector needs first.

Keys pack (conversation, role, kind, cause) into one int64, so that a slice is grouped by one sort
instead of one dictionary look-up per message.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from detectors.base import Names, Slice
from detectors.lookup import Lookup
from detectors.points import Points
from grid_profiles.vocabulary import DANGEROUS, TIME_TAG, Flag, Role

Ints = npt.NDArray[np.int64]
ConvKey = tuple[str, str, str, int, str, int]

SECOND: Final = 1_000_000_000
CAUSE_BITS: Final = 16
KIND_BITS: Final = 20
ROLE_BITS: Final = 3
REPEATED: Final = int(Flag.RETRANSMITTED | Flag.DUPLICATE)
MAX_FRAMES: Final = 20
FEW_CODES, FEW_ROWS = 8, 64

HOUSEKEEPING: Final = frozenset(
    [
        "arp",
        "bootp",
        "dhcp",
        "dhcpv6",
        "dns",
        "icmp",
        "icmpv6",
        "igmp",
        "lldp",
        "llmnr",
        "mdns",
        "mld",
        "nbdgm",
        "nbns",
        "ntp",
        "ssdp",
        "stp",
    ]
)
"""Protocols that every host speaks to its surroundings now and then; news among them is seldom news."""

HOUSEKEEPING_PORTS: Final = frozenset([53, 67, 68, 123, 137, 138, 546, 547, 1900, 5353, 5355])
"""UDP ports (IANA) of the same protocols, for an engine that does not decode them."""


class Groups(NamedTuple):
    """Rows of equal key: ``order[starts[i]:starts[i] + counts[i]]`` are the rows of ``keys[i]``, in order."""

    keys: Ints
    order: Ints
    starts: Ints
    counts: Ints

    def rows(self, index: int) -> Ints:
        """Row numbers of one group, in order of arrival."""
        start = int(self.starts[index])
        return self.order[start : start + int(self.counts[index])]


class Key(NamedTuple):
    """One unpacked group key, in the run's identifiers."""

    conv: int
    role: int
    kind: int
    cause: int


def pack(messages: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], cause: bool = True) -> Ints:
    """Group keys of messages (or of their columns), int64 of shape (m,); without ``cause`` that reads -1."""
    keys = messages["conv"].astype(np.int64) << (ROLE_BITS + KIND_BITS + CAUSE_BITS)
    keys |= (messages["role"].astype(np.int64) & ((1 << ROLE_BITS) - 1)) << (KIND_BITS + CAUSE_BITS)
    keys |= (messages["kind"].astype(np.int64) & ((1 << KIND_BITS) - 1)) << CAUSE_BITS
    if not cause:
        return keys | ((1 << CAUSE_BITS) - 1)
    return keys | (messages["cause"].astype(np.int64) & ((1 << CAUSE_BITS) - 1))


def unpack(key: int) -> Key:
    """Fields of one group key."""
    conv = key >> (ROLE_BITS + KIND_BITS + CAUSE_BITS)
    role = (key >> (KIND_BITS + CAUSE_BITS)) & ((1 << ROLE_BITS) - 1)
    return Key(conv, role, _signed(key >> CAUSE_BITS, KIND_BITS), _signed(key, CAUSE_BITS))


def conv_part(keys: Ints) -> Ints:
    """Conversations of group keys."""
    return keys >> (ROLE_BITS + KIND_BITS + CAUSE_BITS)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return -1 if value == (1 << bits) - 1 else value


def order_of(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Order by key, of equal ones that of arrival; ``keys`` are integers of any size."""
    return in_order(keys)[0]


def in_order(keys: npt.NDArray[Any]) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
    """(:func:`order_of`, the keys in that order).

    Where a key and the row's number fit 63 bits together, they are sorted as one number: numpy sorts numbers
    with vector instructions, and orders of numbers without.
    """
    bits = len(keys).bit_length()
    most = 1 << 62 - bits
    # 16 bits have a radix sort
    few = len(keys) < FEW_ROWS or keys.dtype.itemsize < 4
    if few or (keys.dtype.itemsize > 4 and not -most < int(keys.min()) <= int(keys.max()) < most):
        order = np.argsort(keys, kind="stable")
        return order, keys.take(order)
    packed = keys.astype(np.int64)
    packed <<= bits
    packed |= np.arange(len(keys))
    packed.sort()
    ordered = packed >> bits
    packed &= (1 << bits) - 1
    return packed, ordered


def group(keys: Ints) -> Groups:
    """Sort rows by key, keeping the order of arrival inside each."""
    order, ordered = in_order(keys)
    starts, counts = runs(ordered)
    return Groups(ordered[starts], order.astype(np.int64, copy=False), starts, counts)


def grouped(piece: Slice) -> Groups:
    """Groups of a slice's messages by (conversation, role, kind, cause), made once for all who ask."""
    made = piece.cache.get("groups")
    if made is None:
        columns = {name: piece.column(name) for name in ("conv", "role", "kind", "cause")}
        made = piece.cache["groups"] = group(pack(columns))
    return cast("Groups", made)


def conversations(piece: Slice) -> Groups:
    """Groups of a slice's messages by conversation, made once for all who ask."""
    made = piece.cache.get("conversations")
    if made is None:
        made = piece.cache["conversations"] = group(piece.column("conv").astype(np.int64))
    return cast("Groups", made)


def repetitions(piece: Slice) -> npt.NDArray[np.bool_] | None:
    """Which messages of a slice are repetitions, found once for all who ask; None when none is."""
    if "repetitions" not in piece.cache:
        again = piece.column("flags") & np.uint32(REPEATED) != 0
        piece.cache["repetitions"] = again if again.any() else None
    return cast("npt.NDArray[np.bool_] | None", piece.cache["repetitions"])


def news(*columns: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a row differs from the one before in one of the columns; the first always does."""
    new = np.ones(len(columns[0]), bool)
    np.not_equal(columns[0][1:], columns[0][:-1], out=new[1:])
    for values in columns[1:]:
        new[1:] |= values[1:] != values[:-1]
    return new


def distinct(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The different ones of some integers, ascending; for the few of a slice ``np.unique`` is slow."""
    ordered = np.sort(values)
    return ordered[news(ordered)]


def runs(*columns: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """(first rows, sizes) of the runs of rows that are equal in all columns."""
    first = np.flatnonzero(news(*columns))
    sizes = np.empty_like(first)
    np.subtract(first[1:], first[:-1], out=sizes[:-1])
    sizes[-1:] = len(columns[0]) - first[-1:]
    return first, sizes


def among(values: npt.NDArray[Any], codes: Collection[int]) -> npt.NDArray[np.bool_]:
    """Where a column has one of some codes; a slice holds few rows, for which ``np.isin`` is slow."""
    if len(codes) <= FEW_CODES:
        found = np.zeros(len(values), bool)
        for code in codes:
            found |= values == code
        return found
    if len(values) <= FEW_ROWS:
        return np.array([value in codes for value in values.tolist()], bool)
    return np.asarray(np.isin(values, list(codes)), bool)


def column(values: npt.NDArray[Any], at: Ints, fill: Any) -> npt.NDArray[Any]:
    """``values``, made longer by ``fill`` until it has a place for every number in ``at``."""
    most = int(at.max(initial=-1))
    if most < len(values):
        return values
    longer = np.full(max(2 * len(values), most + 1), fill, values.dtype)
    longer[: len(values)] = values
    return longer


def addressing(messages: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows that ask for or publish an object: answers repeat what the request said."""
    return messages.compress(_addresses(messages))


def _addresses(columns: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    asked = (columns["point"] >= 0) & (columns["flags"] & np.uint32(Flag.NEGATIVE) == 0)
    polled = (columns["role"] == Role.SERVER) & (columns["state"] >= 0) & (columns["cause"] < 0)
    return np.asarray(asked & ~polled, np.bool_)


def addressed(piece: Slice) -> Ints:
    """Rows of a slice's messages that :func:`addressing` would take."""
    columns = {name: piece.column(name) for name in ("point", "flags", "role", "state", "cause")}
    return np.flatnonzero(_addresses(columns))


def objects(rows: npt.NDArray[Any]) -> list[tuple[int, int, int, int, Any]]:
    """(conv, kind, point, rows, first row) for each object addressed in some messages."""
    if not len(rows):
        return []
    order = np.lexsort((rows["point"], rows["kind"], rows["conv"]))
    ordered = rows.take(order)
    starts, counts = runs(ordered["point"], ordered["kind"], ordered["conv"])
    firsts = ordered.take(starts)
    columns = (firsts[name].tolist() for name in ("conv", "kind", "point"))
    return list(zip(*columns, counts.tolist(), firsts, strict=True))


def frames_of(messages: npt.NDArray[Any]) -> list[int]:
    """First frame numbers of some messages, each once, at most :data:`MAX_FRAMES`."""
    frames = messages["frame"][: 4 * MAX_FRAMES].tolist()
    return list(dict.fromkeys(frames))[:MAX_FRAMES] if len(frames) > 1 else frames


def is_group_address(address: str) -> bool:
    """True for broadcast and multicast addresses, Ethernet and IP."""
    if address.count(":") == 5 and len(address) == 17:
        return bool(int(address[:2], 16) & 1)
    if ":" in address:
        return address.lower().startswith("ff")
    head = address.partition(".")[0]
    return address.endswith(".255") or (head.isdigit() and 224 <= int(head) <= 255)


def is_ip(address: str) -> bool:
    """True for an IPv4 or IPv6 address, False for a MAC address."""
    return "." in address or address.count(":") != 5 or "::" in address


OBJECT_BITS: Final = 46


def _fits(convs: Ints, points: Ints) -> npt.NDArray[np.bool_]:
    """Pairs that one int64 holds."""
    fits: npt.NDArray[np.bool_] = (
        (points >= 0) & (points >> OBJECT_BITS == 0) & (convs >= 0) & (convs < 1 << 63 - OBJECT_BITS)
    )
    return fits


def _by_object(convs: Ints, points: Ints) -> tuple[npt.NDArray[np.intp], Ints, Ints]:
    """(order, first places, sizes) by conversation and point; equal ones stay in the order of arrival."""
    width = int(points.max()).bit_length()
    if min(int(points.min()), int(convs.min())) >= 0 and width + int(convs.max()).bit_length() < 63:
        keys = convs << width
        keys |= points  # one sort, as both fit one key
        order, keys = in_order(keys)
        return order, *runs(keys)
    order = np.lexsort((points, convs))
    return order, *runs(convs.take(order), points.take(order))


class PointRows(NamedTuple):
    """Points with a value, sorted by conversation and point; ``numbers[i]`` is the run's number of row i."""

    rows: Points
    numbers: Ints


MAX_POINTS: Final = 200_000
"""Points of one run that get a number."""


class Numbered:
    """Numbers for pairs (conversation, point) in order of their coming; bounded.

    Keys that fit 63 bits are found all at once; the dictionary is asked for the others, and for what is new.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._known: dict[tuple[int, int], int] = {}
        self._fitting = Lookup(self._of_key, 2 * limit)

    def numbers(self, convs: Ints, points: Ints) -> Ints:
        """The number of each pair, int64 of shape (n,); -1 for those beyond the limit."""
        fits = _fits(convs, points)
        if fits.all():
            return self._fitting.of(convs << OBJECT_BITS | points)
        found = np.empty(len(convs), np.int64)
        found[fits] = self._fitting.of(convs[fits] << OBJECT_BITS | points[fits])
        rest = zip(convs[~fits].tolist(), points[~fits].tolist(), strict=True)
        found[~fits] = [self._number(pair) for pair in rest]
        return found

    def _of_key(self, key: int) -> int:
        return self._number((key >> OBJECT_BITS, key & (1 << OBJECT_BITS) - 1))

    def _number(self, pair: tuple[int, int]) -> int:
        number = self._known.get(pair)
        if number is None and len(self._known) < self.limit:
            number = self._known[pair] = len(self._known)
        return -1 if number is None else number


class Lens:
    """Words for the identifiers of one run, remembered; bounded as the run's own tables are."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._conv: dict[int, ConvKey] = {}
        self._points = Numbered(MAX_POINTS)
        self._class: dict[tuple[int, int], str] = {}
        self._point: dict[tuple[int, int], str] = {}

    def protocol(self, name: str) -> int:
        """Number of a protocol, -1 when this run has none of that name."""
        try:
            return self.names.protocol_id(name)
        except KeyError:
            return -1

    def conv(self, ident: int) -> ConvKey:
        """Identity of a conversation across runs."""
        found = self._conv.get(ident)
        if found is None:
            found = self._conv[ident] = _stable(self.names.conversation(ident).key)
        return found

    def kind_class(self, proto: int, kind: int) -> str:
        """Class of a kind of message, "" unknown."""
        if len(self._class) > 65_536:
            self._class.clear()
        found = self._class.get((proto, kind))
        if found is None:
            found = self._class[proto, kind] = self.names.kind_class(proto, kind)
        return found

    def point(self, proto: int, point: int) -> str:
        """An object in words, "" none."""
        if len(self._point) > 65_536:
            self._point.clear()
        found = self._point.get((proto, point))
        if found is None:
            found = self.names.point(proto, point)
            if found:  # a text may still get its number
                self._point[proto, point] = found
        return found

    def dangerous(self, proto: int, kind: int, role: int) -> bool:
        """Does a message of this kind change the plant? Answers of the controlled side do not."""
        return role != Role.SERVER and self.kind_class(proto, kind) in DANGEROUS

    def points(self, piece: Slice) -> PointRows:
        """The values of a slice, made once for all who ask."""
        made = piece.cache.get("points")
        if made is None:
            made = piece.cache["points"] = self._number(piece)
        return cast("PointRows", made)

    def _number(self, piece: Slice) -> PointRows:
        valued = np.isfinite(piece.point_column("value")) & (piece.point_column("kind") < TIME_TAG)
        finite = np.flatnonzero(valued)
        if not len(finite):
            return PointRows(Points(piece, finite), np.zeros(0, np.int64))
        convs, points = piece.point_column("conv"), piece.point_column("point")
        if len(finite) < len(convs):
            convs, points = convs.take(finite), points.take(finite)
        convs = convs.astype(np.int64)
        order, first, sizes = _by_object(convs, points)
        heads = order[first]
        numbers = np.repeat(self._points.numbers(convs[heads], points[heads]), sizes)
        return PointRows(Points(piece, finite.take(order)), numbers)

    def link(self, ident: int) -> str:
        """A conversation in a few words: ``10.0.0.1 to 10.0.0.2 (modbus unit 1)``."""
        protocol, client, server, _, sub, _ = self.conv(ident)
        return f"{client} to {server} ({protocol}{' ' + sub if sub else ''})"


EPHEMERAL: Final = 32_768
"""Ports from here on are handed out by the system (RFC 6335 and Linux); they name no service."""


def _stable(key: ConvKey) -> ConvKey:
    """A connection without a service of its own differs in its port every time: port 0 stands for all."""
    protocol, client, server, port, sub, vlan = key
    return (protocol, client, server, 0, sub, vlan) if protocol == "tcp" and port >= EPHEMERAL else key
