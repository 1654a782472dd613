"""What a capture holds: protocols, assets, conversations. Feeds ``inspect``, the report and the store.

Fed batch by batch; keeps counts per (conversation, kind), never messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.groups import column, distinct, news
from detectors.lookup import Lookup
from grid_profiles.vocabulary import Flag, Role
from sensor.engines import Decoded
from sensor.messages import MessageBatch, joined
from sensor.result import AssetRow, ConversationRow, ProtocolRow

TRANSPORT: Final = {
    "ethernet": "eth",
    "ip": "ip",
    "ipv6": "ipv6",
    "arp": "arp",
    "tcp": "tcp",
    "udp": "udp",
    "icmp": "icmp",
    "icmpv6": "icmpv6",
    "vlan": "vlan",
}
"""Protocols whose frames the native engine counts itself, and the counter."""

ROLE_NAMES: Final = {Role.CLIENT: "client", Role.SERVER: "server", Role.PUBLISHER: "publisher"}
ROUTER_ADDRESSES: Final = 4
"""A MAC address that sends for more IP addresses than this is a router's; its hosts stand alone."""


ENOUGH: Final = 25_000
"""Messages that are counted at once."""

MAX_KINDS: Final = 200_000
"""Kinds of message over all conversations; a flood of invented ones is counted under what came first."""


PROTOCOL_BITS: Final = 16
_LAST: Final = int(np.iinfo(np.int64).max)


class Tallies:
    """How often each key came, of the first ``limit`` keys."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._numbers: dict[int, int] = {}
        self._lookup = Lookup(self._number, 2 * limit)
        self._counts = np.zeros(1_024, np.int64)

    def add(self, keys: npt.NDArray[np.int64]) -> None:
        """Count keys, int64 of shape (n,)."""
        numbers = self._lookup.of(keys)
        self._counts = column(self._counts, numbers, 0)
        found = np.bincount(numbers + 1)[1:]  # before them: what found no room
        self._counts[: len(found)] += found

    def items(self) -> Iterator[tuple[int, int]]:
        """Keys, in the order in which they came, and how often each did."""
        return zip(self._numbers, self._counts.tolist(), strict=False)

    def _number(self, key: int) -> int:
        number = self._numbers.get(key)
        if number is None and len(self._numbers) < self._limit:
            number = self._numbers[key] = len(self._numbers)
        return -1 if number is None else number


class Inventory:
    """Counts over everything decoded.

    Attributes
    ----------
    messages, malformed : int
    points : set of (proto, point)
        Bounded by ``point_limit``; 0 for whoever does not ask for them: they take half of the time.
    """

    def __init__(self, decoded: Decoded, point_limit: int = 200_000) -> None:
        self.decoded = decoded
        self.messages = 0
        self.point_limit = point_limit
        self._malformed = 0
        self._points: set[tuple[int, int]] = set()
        self._kinds = Tallies(MAX_KINDS)
        self._waiting: list[npt.NDArray[Any]] = []
        self._rows = 0
        self._octets = np.zeros(1_024, np.int64)  # by conversation, as are the next two
        self._first = np.full(1_024, _LAST, np.int64)
        self._last = np.full(1_024, -_LAST, np.int64)
        self._frames: dict[int, int] = {}
        self._protocols: dict[int, int] = {}
        self._roles: dict[int, dict[int, int]] = {}  # by endpoint and protocol
        self._senders = Lookup(self._sends, MAX_KINDS)

    def add(self, batch: MessageBatch) -> None:
        """Take one batch; sparse ones are counted together, which costs as much as counting one."""
        if not len(batch.messages):
            return
        self.messages += len(batch.messages)
        self._waiting.append(batch.messages)
        self._rows += len(batch.messages)
        self._add_points(batch.points)
        if self._rows >= ENOUGH:
            self._count()

    @property
    def malformed(self) -> int:
        """Messages that their decoder found broken."""
        self._count()
        return self._malformed

    @property
    def points(self) -> set[tuple[int, int]]:
        """(proto, point) seen."""
        return self._points

    def _count(self) -> None:
        if not self._waiting:
            return
        rows = self._waiting[0] if len(self._waiting) == 1 else joined(self._waiting)
        self._waiting, self._rows = [], 0
        self._malformed += int(np.count_nonzero(rows["flags"] & int(Flag.MALFORMED)))
        self._add_kinds(rows)
        self._add_conversations(rows)
        self._add_frames(rows)

    def _add_points(self, rows: npt.NDArray[Any]) -> None:
        if not len(rows) or len(self._points) >= self.point_limit:
            return
        protos, points = (np.ascontiguousarray(rows[name]) for name in ("proto", "point"))
        for proto in np.flatnonzero(np.bincount(protos)).tolist():
            own = distinct(points.compress(protos == proto))
            self._points.update((proto, point) for point in own.tolist())

    def _add_kinds(self, rows: npt.NDArray[Any]) -> None:
        roles = rows["role"].astype(np.int64)
        self._kinds.add(_packed(rows["conv"], roles, rows["kind"]))
        self._senders.of(_packed(rows["src"], roles, rows["proto"]))

    def _sends(self, key: int) -> int:
        """Note a sender's role in a protocol, when it is met for the first time."""
        src, role, proto = _unpacked(key)
        bits = self._roles.setdefault(src, {})
        bits[proto] = bits.get(proto, 0) | (1 << role)
        return 0

    def _add_conversations(self, rows: npt.NDArray[Any]) -> None:
        convs, ts = rows["conv"].astype(np.int64), np.ascontiguousarray(rows["ts"])
        self._octets = column(self._octets, convs, 0)
        self._first, self._last = column(self._first, convs, _LAST), column(self._last, convs, -_LAST)
        np.add.at(self._octets, convs, rows["size"].astype(np.int64))
        np.minimum.at(self._first, convs, ts)
        np.maximum.at(self._last, convs, ts)

    def _add_frames(self, rows: npt.NDArray[Any]) -> None:
        protos, starts = rows["proto"].astype(np.int64), news(np.ascontiguousarray(rows["frame"]))
        alone = starts.copy()  # in its frame, which never spans batches
        alone[:-1] &= starts[1:]
        frames = np.cumsum(starts)[~alone]
        shared = distinct(frames << PROTOCOL_BITS | protos[~alone]) & (1 << PROTOCOL_BITS) - 1
        frames_of = np.bincount(np.concatenate((protos[alone], shared))).tolist()
        for proto, messages in enumerate(np.bincount(protos).tolist()):
            if messages:
                self._protocols[proto] = self._protocols.get(proto, 0) + messages
                self._frames[proto] = self._frames.get(proto, 0) + frames_of[proto]

    def protocols(self) -> list[ProtocolRow]:
        """Most frames first. ``packets`` counts frames that hold at least one message of it."""
        self._count()
        names = self.decoded.names
        counters = self.decoded.native.counters
        rows: dict[str, ProtocolRow] = {}
        convs = np.flatnonzero(self._last >= self._first).tolist()
        speak = Counter(names.conversation_ids(conv)[0] for conv in convs)
        for proto, messages in self._protocols.items():
            rows[names.protocol(proto)] = ProtocolRow(
                name=names.protocol(proto),
                packets=self._frames[proto],
                messages=messages,
                conversations=speak[proto],
            )
        for name, counter in TRANSPORT.items():
            if counters[counter]:
                row = rows.setdefault(name, ProtocolRow(name=name, packets=0, messages=0, conversations=0))
                row["packets"] = counters[counter]
        return sorted(rows.values(), key=lambda row: (-row["packets"], row["name"]))

    def conversations(self) -> list[ConversationRow]:
        """Busiest first."""
        self._count()
        names = self.decoded.names
        rows: dict[int, ConversationRow] = {}
        for key, count in self._kinds.items():
            conv, _, kind = _unpacked(key)
            proto = names.conversation_ids(conv)[0]
            row = rows.get(conv)
            if row is None:
                row = rows[conv] = self._conversation(conv)
            name, cls = names.kind(proto, kind), names.kind_class(proto, kind)
            row["messages"] += count
            row["kinds"][name] = row["kinds"].get(name, 0) + count
            if cls:
                row["classes"][cls] = row["classes"].get(cls, 0) + count
        return sorted(rows.values(), key=lambda row: (-row["messages"], row["src"], row["dst"]))

    def _conversation(self, conv: int) -> ConversationRow:
        words = self.decoded.names.conversation(conv)
        size, first, last = (int(values[conv]) for values in (self._octets, self._first, self._last))
        return ConversationRow(
            src=words.client,
            dst=words.server,
            protocol=words.protocol,
            port=words.port,
            sub=words.sub,
            messages=0,
            bytes=size,
            first=first / 1e9,
            last=last / 1e9,
            kinds={},
            classes={},
        )

    def assets(self) -> list[AssetRow]:
        """Devices that sent something: one per MAC address with its IP addresses, routers apart."""
        self._count()
        names = self.decoded.names
        hosts = self.decoded.native.hosts()
        by_mac: dict[int, list[int]] = {}
        alone: list[int] = []
        for ident in np.flatnonzero(hosts["sent"]).tolist():
            if names.is_mac(ident):
                by_mac.setdefault(ident, [])
            elif hosts[ident]["mac"]:
                by_mac.setdefault(int(hosts[ident]["mac"]), []).append(ident)
            else:
                alone.append(ident)
        rows = []
        for mac, addresses in by_mac.items():
            if len(addresses) > ROUTER_ADDRESSES:
                rows.append(self._asset(mac, [], ["router"]))
                rows.extend(self._asset(0, [ident], []) for ident in addresses)
            else:
                rows.append(self._asset(mac, addresses, []))
        rows.extend(self._asset(0, [ident], []) for ident in alone)
        return sorted(rows, key=lambda row: (not row["ip"], row["ip"], row["mac"]))

    def _asset(self, mac: int, addresses: list[int], roles: list[str]) -> AssetRow:
        names = self.decoded.names
        hosts = self.decoded.native.hosts()
        idents = ([mac] if mac else []) + addresses
        own = [(proto, bits) for ident in idents for proto, bits in self._roles.get(ident, {}).items()]
        for proto, bits in own:
            roles += [
                f"{names.protocol(proto)} {word}" for role, word in ROLE_NAMES.items() if bits & (1 << role)
            ]
        text = names.endpoint(mac) if mac else ""  # "(table full)" for all that came too late
        return AssetRow(
            mac=text,
            ip=[names.endpoint(ident) for ident in addresses],
            vendor=vendor(text),
            roles=sorted(set(roles)),
            protocols=sorted({names.protocol(proto) for _, proto in own}),
            first=min(int(hosts[ident]["first"]) for ident in idents) / 1e9,
            last=max(int(hosts[ident]["last"]) for ident in idents) / 1e9,
        )


def _packed(first: Any, role: npt.NDArray[np.int64], last: Any) -> npt.NDArray[np.int64]:
    """Three columns as one number each row (27, 3 and 32 bits)."""
    keys: npt.NDArray[np.int64] = first.astype(np.int64)
    keys <<= 35
    keys |= role << 32
    keys |= last.astype(np.int64) & 0xFFFFFFFF
    return keys


def _unpacked(key: int) -> tuple[int, int, int]:
    last = key & 0xFFFFFFFF
    return key >> 35, (key >> 32) & 7, last - (1 << 32) if last >> 31 else last


@lru_cache(maxsize=8192)
def vendor(mac: str) -> str:
    """Who registered a MAC address with the IEEE; "" unknown or locally administered."""
    if ":" not in mac or int(mac[:2], 16) & 3:
        return ""
    from netaddr import EUI, NotRegisteredError

    try:
        return str(EUI(mac).oui.registration().org)
    except NotRegisteredError:
        return ""
