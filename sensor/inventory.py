"""What a capture holds: protocols, assets, conversations. Feeds ``inspect``, the report and the store.

Fed batch by batch; keeps counts per (conversation, kind), never messages.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.groups import news, order_of, runs
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
        self._kinds: dict[tuple[int, int, int], int] = {}
        self._waiting: list[npt.NDArray[Any]] = []
        self._rows = 0
        self._conversations: dict[int, list[int]] = {}
        self._frames: dict[int, int] = {}
        self._protocols: dict[int, int] = {}
        self._roles: dict[int, dict[int, int]] = {}  # by endpoint and protocol

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
            own = np.sort(points.compress(protos == proto))
            self._points.update((proto, point) for point in own[news(own)].tolist())

    def _add_kinds(self, rows: npt.NDArray[Any]) -> None:
        keys, counts = _counted(_packed(rows["conv"], rows["role"], rows["kind"]))
        for conv, role, kind, count in zip(*_unpacked(keys), counts.tolist(), strict=True):
            key = (conv, role, kind)
            if key in self._kinds or len(self._kinds) < MAX_KINDS:
                self._kinds[key] = self._kinds.get(key, 0) + count
        senders, _ = _counted(_packed(rows["src"], rows["role"], rows["proto"].astype(np.int32)))
        for src, role, proto in zip(*_unpacked(senders), strict=True):
            bits = self._roles.setdefault(src, {})
            bits[proto] = bits.get(proto, 0) | (1 << role)

    def _add_conversations(self, rows: npt.NDArray[Any]) -> None:
        order = order_of(rows["conv"])
        convs, ts = rows["conv"].take(order), rows["ts"].take(order)
        begin, _ = runs(convs)
        sizes = np.add.reduceat(rows["size"].take(order).astype(np.int64), begin)
        first, last = np.minimum.reduceat(ts, begin), np.maximum.reduceat(ts, begin)
        columns = (column.tolist() for column in (convs[begin], sizes, first, last))
        for conv, size, begun, ended in zip(*columns, strict=True):
            known = self._conversations.setdefault(conv, [0, begun, ended])
            known[0] += size
            known[1] = min(known[1], begun)
            known[2] = max(known[2], ended)

    def _add_frames(self, rows: npt.NDArray[Any]) -> None:
        protos, frames = (np.ascontiguousarray(rows[name]) for name in ("proto", "frame"))
        here = np.sort(protos)
        for proto in here[news(here)].tolist():
            own = frames.compress(protos == proto)  # ascending, and a frame never spans batches
            self._protocols[proto] = self._protocols.get(proto, 0) + len(own)
            self._frames[proto] = self._frames.get(proto, 0) + int(np.count_nonzero(news(own)))

    def protocols(self) -> list[ProtocolRow]:
        """Most frames first. ``packets`` counts frames that hold at least one message of it."""
        self._count()
        names = self.decoded.names
        counters = self.decoded.native.counters
        rows: dict[str, ProtocolRow] = {}
        speak = Counter(names.conversation_ids(conv)[0] for conv in self._conversations)
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
        for (conv, _, kind), count in self._kinds.items():
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
        size, first, last = self._conversations[conv]
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


def _packed(first: Any, role: Any, last: Any) -> npt.NDArray[np.int64]:
    """Three columns as one number each row (27, 3 and 32 bits): sorting records is slow."""
    low = last.astype(np.int64) & 0xFFFFFFFF
    keys: npt.NDArray[np.int64] = (first.astype(np.int64) << 35) | (role.astype(np.int64) << 32) | low
    return keys


def _counted(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different keys in ascending order, and how often each is there."""
    keys = np.sort(keys)
    first, counts = runs(keys)
    return keys[first], counts


def _unpacked(keys: npt.NDArray[np.int64]) -> tuple[list[int], list[int], list[int]]:
    last = (keys & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return (keys >> 35).tolist(), ((keys >> 32) & 7).tolist(), last.tolist()


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
