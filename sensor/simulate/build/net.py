"""Ethernet, ARP, IP, TCP and UDP (IEEE 802.3/802.1Q, RFC 791/793/768/826/8200), and TCP connections.

Examples
--------
>>> from sensor.simulate.build.modbus import mb_read, mb_read_response, modbus_adu
>>> talk = Talk("10.0.0.1", "10.0.0.2", 502)
>>> talk.open(0)
>>> talk.client(1_000_000, modbus_adu(1, 1, mb_read(3, 100, 2)))
>>> talk.server(3_000_000, modbus_adu(1, 1, mb_read_response(3, [7, 8])))
>>> len(talk.frames)
5
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

Stamped = tuple[int, bytes]
"""A frame with its capture time, ns since 1970 UTC."""

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_GOOSE, ETH_SV = 0x0800, 0x0806, 0x86DD, 0x88B8, 0x88BA
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


class Vlan(NamedTuple):
    """One 802.1Q tag; ``tpid`` 0x88A8 makes it the outer tag of QinQ."""

    vid: int
    pcp: int = 0
    tpid: int = 0x8100


def mac(text: str | bytes) -> bytes:
    """Six octets of ``00:0c:29:aa:bb:cc`` (or with dashes); bytes pass through."""
    return text if isinstance(text, bytes) else bytes.fromhex(text.replace(":", "").replace("-", ""))


def ip(text: str | bytes) -> bytes:
    """Four or sixteen octets of an address in text; bytes pass through."""
    return text if isinstance(text, bytes) else ipaddress.ip_address(text).packed


def eth(
    dst: str | bytes,
    src: str | bytes,
    ethertype: int,
    payload: bytes,
    vlans: Sequence[Vlan | int] = (),
    pad: bool = False,
) -> bytes:
    """Ethernet II frame without FCS; ``vlans`` outermost first; ``pad`` fills to 60 octets."""
    tags = b""
    for tag in vlans:
        vlan = Vlan(tag) if isinstance(tag, int) else tag
        tags += struct.pack("!HH", vlan.tpid, vlan.pcp << 13 | vlan.vid)
    frame = mac(dst) + mac(src) + tags + struct.pack("!H", ethertype) + payload
    return frame.ljust(60, b"\0") if pad else frame


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    src: str | bytes,
    dst: str | bytes,
    proto: int,
    payload: bytes,
    *,
    ident: int = 0,
    ttl: int = 64,
    frag_offset: int = 0,
    more_fragments: bool = False,
    options: bytes = b"",
    total_length: int | None = None,
) -> bytes:
    """IPv4 packet; ``frag_offset`` in octets (a multiple of 8); ``options`` in whole words."""
    header_len = 20 + len(options)
    length = header_len + len(payload) if total_length is None else total_length
    fragment = (0x2000 if more_fragments else 0) | frag_offset >> 3
    if not fragment:
        fragment = 0x4000  # do not fragment, as every modern stack sets it
    head = struct.pack("!BBHHHBB", 0x40 | header_len >> 2, 0, length, ident, fragment, ttl, proto)
    tail = ip(src) + ip(dst) + options
    return head + struct.pack("!H", checksum(head + b"\0\0" + tail)) + tail + payload


def ipv6(
    src: str | bytes, dst: str | bytes, next_header: int, payload: bytes, *, hop_limit: int = 64
) -> bytes:
    """IPv6 packet; extension headers, if any, are the caller's part of ``payload``."""
    return (
        struct.pack("!IHBB", 0x60000000, len(payload), next_header, hop_limit) + ip(src) + ip(dst) + payload
    )


def transport_sum(src: str | bytes, dst: str | bytes, proto: int, segment: bytes) -> int:
    source, target = ip(src), ip(dst)
    if len(source) == 4:
        pseudo = source + target + struct.pack("!BBH", 0, proto, len(segment))
    else:
        pseudo = source + target + struct.pack("!II", len(segment), proto)
    return checksum(pseudo + segment)


def tcp(
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes = b"",
    *,
    window: int = 64240,
    options: bytes = b"",
    src: str | bytes | None = None,
    dst: str | bytes | None = None,
) -> bytes:
    """TCP segment; with ``src`` and ``dst`` addresses its checksum is filled in, else zero."""
    offset = 5 + (len(options) + 3) // 4
    head = struct.pack(
        "!HHIIBBH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset << 4, flags, window
    )
    tail = b"\0\0" + options.ljust((offset - 5) * 4, b"\0") + payload
    total = 0 if src is None or dst is None else transport_sum(src, dst, 6, head + b"\0\0" + tail)
    return head + struct.pack("!H", total) + tail


def udp(
    sport: int,
    dport: int,
    payload: bytes,
    *,
    src: str | bytes | None = None,
    dst: str | bytes | None = None,
    length: int | None = None,
) -> bytes:
    """UDP datagram; with ``src`` and ``dst`` addresses its checksum is filled in, else zero."""
    head = struct.pack("!HHH", sport, dport, 8 + len(payload) if length is None else length)
    total = 0
    if src is not None and dst is not None:
        total = transport_sum(src, dst, 17, head + b"\0\0" + payload) or 0xFFFF
    return head + struct.pack("!H", total) + payload


def lab_mac(address: str) -> str:
    """Locally administered MAC address that belongs to an IP address in a test."""
    return "02:" + ":".join(f"{octet:02x}" for octet in (b"\0" + ip(address))[-5:])


def ip_frame(
    src: str,
    dst: str,
    proto: int,
    payload: bytes,
    vlans: Sequence[Vlan | int] = (),
    macs: tuple[str | bytes, str | bytes] | None = None,
) -> bytes:
    """Ethernet frame of an IPv4 or IPv6 packet; ``macs``: source, destination, else :func:`lab_mac`."""
    source, target = macs or (lab_mac(src), lab_mac(dst))
    if ":" in src:
        return eth(target, source, ETH_IPV6, ipv6(src, dst, proto, payload), vlans)
    return eth(target, source, ETH_IPV4, ipv4(src, dst, proto, payload), vlans)


def tcp_frame(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes = b"",
    vlans: Sequence[Vlan | int] = (),
    macs: tuple[str | bytes, str | bytes] | None = None,
) -> bytes:
    """Whole TCP frame between two IP addresses, checksums right."""
    segment = tcp(sport, dport, seq, ack, flags, payload, src=src, dst=dst)
    return ip_frame(src, dst, 6, segment, vlans, macs)


def udp_frame(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    payload: bytes,
    vlans: Sequence[Vlan | int] = (),
    macs: tuple[str | bytes, str | bytes] | None = None,
) -> bytes:
    """Whole UDP frame between two IP addresses, checksums right."""
    return ip_frame(src, dst, 17, udp(sport, dport, payload, src=src, dst=dst), vlans, macs)


def arp(operation: int, sender_mac: str, sender_ip: str, target_mac: str, target_ip: str) -> bytes:
    """ARP body for IPv4 over Ethernet; operation 1 asks, 2 answers."""
    fixed = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, operation)
    return fixed + mac(sender_mac) + ip(sender_ip) + mac(target_mac) + ip(target_ip)


class Talk:
    """One TCP connection whose sequence numbers are kept; frames collect in ``frames``.

    Parameters
    ----------
    client, server
        Addresses in text, IPv4 or IPv6.
    port
        The server's port.
    sport
        The client's port.
    vlans
        Tags on every frame.
    isn
        First sequence numbers of client and server (set near 2**32 to test wrap-around).
    macs
        MAC addresses of client and server; of the lab when left out.
    """

    def __init__(
        self,
        client: str,
        server: str,
        port: int,
        sport: int = 40000,
        vlans: Sequence[Vlan | int] = (),
        isn: tuple[int, int] = (1000, 5000),
        macs: tuple[str | bytes, str | bytes] | None = None,
    ) -> None:
        self._ends = ((client, sport), (server, port))
        self._next = [isn[0], isn[1]]
        self._vlans = vlans
        self._macs = macs or (lab_mac(client), lab_mac(server))
        self.frames: list[Stamped] = []

    def segment(self, ts: int, side: int, flags: int, data: bytes = b"", seq: int | None = None) -> None:
        """Add one segment of ``side`` (0 client, 1 server); ``seq`` set means: do not advance."""
        (src, sport), (dst, dport) = self._ends[side], self._ends[1 - side]
        at = self._next[side] if seq is None else seq
        ack = self._next[1 - side] if flags & ACK else 0
        macs = (self._macs[side], self._macs[1 - side])
        self.frames.append((ts, tcp_frame(src, dst, sport, dport, at, ack, flags, data, self._vlans, macs)))
        if seq is None:
            self._next[side] = (at + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF

    def open(self, ts: int, gap: int = 100_000) -> None:
        """Three-way handshake, ``gap`` ns between its frames."""
        self.segment(ts, 0, SYN)
        self.segment(ts + gap, 1, SYN | ACK)
        self.segment(ts + 2 * gap, 0, ACK)

    def client(self, ts: int, data: bytes) -> None:
        """Data from the client."""
        self.segment(ts, 0, PSH | ACK, data)

    def server(self, ts: int, data: bytes) -> None:
        """Data from the server."""
        self.segment(ts, 1, PSH | ACK, data)

    def ack(self, ts: int, side: int) -> None:
        """Bare acknowledgement."""
        self.segment(ts, side, ACK)

    def close(self, ts: int, gap: int = 100_000) -> None:
        """FIN from the client, FIN from the server, last ACK."""
        self.segment(ts, 0, FIN | ACK)
        self.segment(ts + gap, 1, FIN | ACK)
        self.segment(ts + 2 * gap, 0, ACK)

    def reset(self, ts: int, side: int = 0) -> None:
        """RST from one side."""
        self.segment(ts, side, RST | ACK)
