"""Names of a run: endpoints, texts and conversations behind the small numbers in the batches.

One :class:`Names` belongs to one run. Its tables are bounded (settings of :class:`Limits`); what does
not fit any more shares the number FULL and is shown as "(table full)".
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from detectors.base import Conversation
from grid_profiles.loader import Registry
from grid_profiles.vocabulary import ANY_POINT, MISSING
from sensor.s7words import s7_words
from sensor.track.table import COUNT, FULL, REFUSED, intern, lookup, make_table
from sensor.wire.s7values import ELEMENT

MAC, IPV4, IPV6 = 1, 4, 6
MAC_TEXT = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
CONVERSATION = struct.Struct("<hiiHiH")  # proto, client, server, port, sub (text id), vlan
TABLE_FULL = "(table full)"
SV_METRICS = {
    0xFF00: "frequency",
    0xFF01: "samples lost",
    0xFF02: "samples repeated",
    0xFF03: "longest pause",
    0xFF04: "quality",
}
MODBUS_TABLES = {0: "coil", 1: "discrete input", 3: "input register", 4: "holding register"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run may remember; at most 65,536 entries and 4 MiB of text a table."""

    endpoints: int = 32_768
    texts: int = 65_536
    text_bytes: int = 4 << 20
    conversations: int = 32_768


def printable(raw: bytes) -> str:
    """Text from the wire made safe to show: UTF-8 where valid, control characters escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Names:
    """Interner and resolver of one run; implements ``detectors.base.Names``."""

    def __init__(self, registry: Registry, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.registry = registry
        self.limits = limits
        self.endpoints = make_table(limits.endpoints)
        self.texts = make_table(limits.texts, limits.text_bytes)
        self.conversations = make_table(limits.conversations)
        self._endpoint_text: dict[int, str] = {}
        self._text: dict[int, str] = {}
        self._conversation: dict[int, Conversation] = {}

    def intern_endpoint(self, text: str) -> int:
        """Number of an IPv4, IPv6 or MAC address given as text; 0 for ""."""
        return _intern(self.endpoints, _endpoint_key(text)) if text else 0

    def intern_text(self, text: str) -> int:
        """Number of a text; 0 for ""."""
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a surrogate pair, as JSON may spell it
            raw = text.encode("utf-8", "backslashreplace")
        return _intern(self.texts, raw)

    def intern_conversation(
        self, proto: int, client: int, server: int, port: int, sub: int = 0, vlan: int = 0
    ) -> int:
        """Number of the conversation between two endpoints (numbers) over one protocol."""
        return _intern(
            self.conversations, CONVERSATION.pack(proto, client, server, port & 0xFFFF, sub, vlan & 0xFFFF)
        )

    def endpoint(self, ident: int) -> str:
        """Address as text; "" for none."""
        known = self._endpoint_text.get(ident)
        if known is None:
            known = TABLE_FULL if ident == FULL else _endpoint_text(lookup(self.endpoints, ident))
            self._endpoint_text[ident] = known
        return known

    def is_mac(self, ident: int) -> bool:
        """Is this endpoint a MAC address (and not an IPv6 address with as many colons)?"""
        return lookup(self.endpoints, ident)[:1] == bytes([MAC])

    def text(self, ident: int) -> str:
        """Interned text, printable."""
        known = self._text.get(ident)
        if known is None:
            known = TABLE_FULL if ident == FULL else printable(lookup(self.texts, ident))
            if known or ident == 0:
                self._text[ident] = known  # at most as many as the table holds
        return known

    def conversation(self, ident: int) -> Conversation:
        """The conversation behind a number."""
        known = self._conversation.get(ident)
        if known is None:
            known = self._conversation[ident] = self._resolve(ident)
        return known

    def _resolve(self, ident: int) -> Conversation:
        raw = lookup(self.conversations, ident)
        if len(raw) != CONVERSATION.size:
            return Conversation(TABLE_FULL if ident == FULL else "", "", "", 0, "")
        proto, client, server, port, sub, vlan = CONVERSATION.unpack(raw)
        return Conversation(
            self.protocol(proto), self.endpoint(client), self.endpoint(server), port, self.text(sub), vlan
        )

    def conversation_ids(self, ident: int) -> tuple[int, int, int, int, int, int]:
        """(proto, client, server, port, sub, vlan) as numbers."""
        raw = lookup(self.conversations, ident)
        if len(raw) != CONVERSATION.size:
            return (0, 0, 0, 0, 0, 0)
        return CONVERSATION.unpack(raw)

    def protocol(self, ident: int) -> str:
        """Profile name of a protocol number."""
        try:
            return self.registry.by_id(ident).name
        except KeyError:
            return ""

    def protocol_id(self, name: str) -> int:
        """Protocol number of a profile name; raises KeyError."""
        return self.registry.id_of(name)

    def kind(self, proto: int, kind: int) -> str:
        """Name of a kind of message, "kind 77" for one the profile does not know."""
        if kind == MISSING:
            return ""
        try:
            return self.registry.by_id(proto).kind_name(kind)
        except KeyError:
            return f"kind {kind}"

    def kind_class(self, proto: int, kind: int) -> str:
        """Class of a kind of message, "" unknown."""
        try:
            return str(self.registry.by_id(proto).kind_class(kind))
        except KeyError:
            return ""

    def point(self, proto: int, point: int) -> str:
        """An object's code in the words of its protocol; "" for none."""
        if point == MISSING:
            return ""
        try:
            style = self.registry.by_id(proto).points_format
        except KeyError:
            style = "number"
        if style == "iec104":
            return f"CA {point >> 24} IOA {point & 0xFFFFFF}"
        if style == "modbus":
            table = MODBUS_TABLES.get((point >> 16) & 0xFF, f"table {(point >> 16) & 0xFF}")
            return f"unit {point >> 24} {table} {point & 0xFFFF}"
        if style in ("goose", "sv"):
            base, entry = self.text(point >> 16), point & 0xFFFF
            metric = SV_METRICS.get(entry, str(entry)) if style == "sv" else str(entry)
            return base if entry == ANY_POINT else f"{base} [{metric}]"
        if style == "s7comm" and point >= ELEMENT:
            return s7_words(point)
        return self.text(point) if style in ("text", "s7comm") else str(point)

    def counters(self) -> dict[str, int]:
        """Entries in each table and how many more were refused."""
        tables = {"endpoints": self.endpoints, "texts": self.texts, "conversations": self.conversations}
        counts = {name: int(table["meta"][COUNT]) - 2 for name, table in tables.items()}
        return counts | {f"{name}_refused": int(table["meta"][REFUSED]) for name, table in tables.items()}


def _intern(table: Any, key: bytes) -> int:
    return int(intern(table, np.frombuffer(key or b"\0", np.uint8), 0, len(key)))


@lru_cache(maxsize=65_536)
def _endpoint_key(text: str) -> bytes:
    if MAC_TEXT.fullmatch(text):
        return bytes([MAC]) + bytes.fromhex(text.replace(":", ""))
    address = ipaddress.ip_address(text.partition("%")[0])
    return bytes([address.version]) + address.packed


def _endpoint_text(key: bytes) -> str:
    if len(key) == 7 and key[0] == MAC:
        return ":".join(f"{octet:02x}" for octet in key[1:])
    if len(key) in (5, 17):
        return str(ipaddress.ip_address(key[1:]))
    return ""
