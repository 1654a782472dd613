"""From the link header to the transport header: IEEE 802.3, 802.1Q, RFC 791, RFC 8200.

Every parser takes what was captured and returns None when that is not enough to go on, or raises
:class:`Broken` when it contradicts its standard.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

TAGS = (0x8100, 0x88A8, 0x9100)
IPV4, IPV6, GOOSE = 0x0800, 0x86DD, 0x88B8
RAW_LINKS = (12, 14, 101, 228, 229)
MAX_TAGS = 4
MAX_EXTENSIONS = 8
SKIPPED_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options
FRAGMENT = 44


class Broken(Exception):
    """Contradicts its standard."""


@dataclass
class Link:
    """What is behind a link header."""

    ethertype: int
    payload: bytes
    src: str = ""
    dst: str = ""
    vlan: int = 0
    ethernet: bool = False


@dataclass
class Packet:
    """An IP packet. ``sent`` is how long its payload was on the wire, which may be more than captured."""

    src: str
    dst: str
    proto: int
    payload: bytes
    sent: int
    fragment: bool = False


def mac_text(octets: bytes) -> str:
    return ":".join(f"{octet:02x}" for octet in octets)


def link_layer(frame: bytes, link: int) -> Link | None:
    """Ethernet (1), raw IP, BSD null (0, 108), Linux cooked (113, 276)."""
    if link == 1:
        return _ethernet(frame)
    if link in RAW_LINKS:
        return Link(_by_version(frame[0]), frame) if frame else None
    if link in (0, 108):
        return Link(_by_version(frame[4]), frame[4:]) if len(frame) >= 5 else None
    if link == 113:
        return _tagged(frame[14:], Link(0, b"")) if len(frame) >= 16 else None
    if link == 276:
        return _tagged(frame[0:2] + frame[20:], Link(0, b"")) if len(frame) >= 20 else None
    return None


def _by_version(octet: int) -> int:
    return IPV6 if octet >> 4 == 6 else IPV4


def _ethernet(frame: bytes) -> Link | None:
    if len(frame) < 14:
        return None
    return _tagged(frame[12:], Link(0, b"", mac_text(frame[6:12]), mac_text(frame[0:6]), ethernet=True))


def _tagged(data: bytes, found: Link) -> Link | None:
    """Fills ``found`` from an ethertype on: tags, or a length with LLC and SNAP (RFC 1042), may follow."""
    kind = int.from_bytes(data[0:2], "big")
    at = 2
    tags = 0
    while kind in TAGS:
        if tags == MAX_TAGS:
            raise Broken
        if len(data) < at + 4:
            return None
        tag, kind = struct.unpack_from("!HH", data, at)
        found.vlan = tag & 0xFFF
        at += 4
        tags += 1
    if kind < 0x600:
        snap = data[at : at + 6] == b"\xaa\xaa\x03\0\0\0" and len(data) >= at + 8
        kind = int.from_bytes(data[at + 6 : at + 8], "big") if snap else 0
        at += 8 if snap else 0
    found.ethertype, found.payload = kind, data[at:]
    return found


def ipv4(data: bytes) -> Packet | None:
    """RFC 791. A total length of 0 means "all there is" (segmentation offload)."""
    if len(data) < 20:
        return None
    header = (data[0] & 15) * 4
    total = int.from_bytes(data[2:4], "big") or len(data)
    if data[0] >> 4 != 4 or header < 20 or total < header:
        raise Broken
    if len(data) < header:
        return None
    flags_and_offset = int.from_bytes(data[6:8], "big")
    return Packet(
        src=str(ipaddress.IPv4Address(data[12:16])),
        dst=str(ipaddress.IPv4Address(data[16:20])),
        proto=data[9],
        payload=data[header:],
        sent=total - header,
        fragment=bool(flags_and_offset & 0x3FFF),  # more fragments, or not the first
    )


def ipv6(data: bytes) -> Packet | None:
    """RFC 8200. A payload length of 0 means "all there is"."""
    if len(data) < 40:
        return None
    if data[0] >> 4 != 6:
        raise Broken
    sent = int.from_bytes(data[4:6], "big") or len(data) - 40
    packet = Packet(
        src=str(ipaddress.IPv6Address(data[8:24])),
        dst=str(ipaddress.IPv6Address(data[24:40])),
        proto=data[6],
        payload=data[40:],
        sent=sent,
    )
    for _ in range(MAX_EXTENSIONS):
        if packet.proto == FRAGMENT:
            packet.fragment = True
            return packet
        if packet.proto not in SKIPPED_EXTENSIONS:
            return packet
        if min(packet.sent, len(packet.payload)) < 8:
            return None
        size = (packet.payload[1] + 1) * 8
        packet.proto = packet.payload[0]
        packet.payload = packet.payload[size:]
        packet.sent -= size
        if packet.sent < 0:
            raise Broken
    raise Broken
