"""One captured frame as the simulator sees it: where its headers lie, and the same frame with other contents.

It reads Ethernet with VLAN tags, IPv4, IPv6 without extension headers, TCP and UDP; whatever else, or
whatever is cut short, stays a packet of which only time and bytes are known. Nothing here raises on what a
frame holds.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sensor.frames import LINK_ETHERNET
from sensor.simulate.build.net import checksum, transport_sum

TCP, UDP = 6, 17
TAGS: Final = (0x8100, 0x88A8)
IPV4, IPV6 = 0x0800, 0x86DD
SACK: Final = 5


@dataclass(slots=True)
class Packet:
    """A frame and the places of its headers.

    Attributes
    ----------
    ts : int
        Capture time, ns since 1970 UTC.
    data : bytes
        As captured, without FCS.
    wirelen, link : int
        Length on the wire; LINKTYPE_.
    ethertype, net : int
        Type behind the VLAN tags and the offset of what follows it; 0 when there is none.
    proto : int
        IP protocol, -1 when it is no complete, unfragmented IP packet.
    src, dst : bytes
        IP addresses.
    transport, body, end : int
        Offsets of the transport header, of its data, and of the end of the IP packet.
    sport, dport, seq, ack, flags : int
    mark : str
        Id of the attack that made or changed the frame, "" for an original one.
    """

    ts: int
    data: bytes
    wirelen: int
    link: int
    ethertype: int = 0
    net: int = 0
    proto: int = -1
    src: bytes = b""
    dst: bytes = b""
    transport: int = 0
    body: int = 0
    end: int = 0
    sport: int = -1
    dport: int = -1
    seq: int = 0
    ack: int = 0
    flags: int = 0
    mark: str = ""

    @property
    def payload(self) -> bytes:
        """Data of the transport layer."""
        return self.data[self.body : self.end]

    @property
    def size(self) -> int:
        """Bytes of :attr:`payload`."""
        return self.end - self.body

    @property
    def content(self) -> bytes:
        """What follows the EtherType, padding included."""
        return self.data[self.net :]

    @property
    def source(self) -> bytes:
        """Source MAC address."""
        return self.data[6:12]

    @property
    def target(self) -> bytes:
        """Destination MAC address."""
        return self.data[:6]

    @property
    def length(self) -> int:
        """Sequence numbers that a TCP segment takes up."""
        return self.size + bool(self.flags & 1) + bool(self.flags & 2)


def dissect(ts: int, data: bytes, wirelen: int = -1, link: int = LINK_ETHERNET, mark: str = "") -> Packet:
    """A packet from captured bytes."""
    packet = Packet(ts, data, len(data) if wirelen < 0 else wirelen, link, mark=mark)
    if link == LINK_ETHERNET and packet.wirelen == len(data):
        _ethernet(packet)
    return packet


def _ethernet(packet: Packet) -> None:
    data, at = packet.data, 12
    while at + 4 <= len(data) and int.from_bytes(data[at : at + 2], "big") in TAGS:
        at += 4
    if at + 2 > len(data):
        return
    packet.ethertype, packet.net = int.from_bytes(data[at : at + 2], "big"), at + 2
    if packet.ethertype == IPV4:
        _ipv4(packet)
    elif packet.ethertype == IPV6:
        _ipv6(packet)


def _ipv4(packet: Packet) -> None:
    data, at = packet.data, packet.net
    if len(data) < at + 20 or data[at] >> 4 != 4:
        return
    head, total = (data[at] & 15) * 4, int.from_bytes(data[at + 2 : at + 4], "big")
    fragment = int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF
    if head < 20 or total < head or len(data) < at + total or fragment:
        return
    packet.src, packet.dst, packet.proto = data[at + 12 : at + 16], data[at + 16 : at + 20], data[at + 9]
    packet.transport, packet.body, packet.end = at + head, at + head, at + total
    _transport(packet)


def _ipv6(packet: Packet) -> None:
    data, at = packet.data, packet.net
    if len(data) < at + 40 or data[at] >> 4 != 6:
        return
    total = int.from_bytes(data[at + 4 : at + 6], "big")
    if len(data) < at + 40 + total:
        return
    packet.src, packet.dst, packet.proto = data[at + 8 : at + 24], data[at + 24 : at + 40], data[at + 6]
    packet.transport, packet.body, packet.end = at + 40, at + 40, at + 40 + total
    _transport(packet)


def _transport(packet: Packet) -> None:
    data, at = packet.data, packet.transport
    if packet.proto == UDP and packet.end - at >= 8:
        packet.sport, packet.dport = struct.unpack_from("!HH", data, at)
        packet.body = at + 8
    elif packet.proto == TCP and packet.end - at >= 20:
        ports = struct.unpack_from("!HHIIBB", data, at)
        head = (ports[4] >> 4) * 4
        if head < 20 or head > packet.end - at:
            packet.proto = -1
            return
        packet.sport, packet.dport, packet.seq, packet.ack, _, packet.flags = ports
        packet.body = at + head
    elif packet.proto in (TCP, UDP):
        packet.proto = -1


def rebuilt(
    packet: Packet,
    *,
    ts: int | None = None,
    body: bytes | None = None,
    seq: int | None = None,
    ack: int | None = None,
    flags: int | None = None,
    sack: int = 0,
    fresh: bool = False,
    mark: str = "",
) -> Packet:
    """A TCP or UDP packet with another time, payload or numbers; lengths and checksums are made right.

    Parameters
    ----------
    packet : Packet
        With ``proto`` TCP or UDP.
    ts, body, seq, ack, flags : optional
        What is not given stays.
    sack : int
        Distance by which the numbers of the other direction moved: edges of SACK blocks move along.
    fresh : bool
        A packet of its own: the IPv4 identification counts on.
    mark : str
        Who changed it; the old mark stays when empty.
    """
    data, net, at = bytearray(packet.data), packet.net, packet.transport
    content = packet.payload if body is None else body
    segment = bytearray(data[at : packet.body]) + content
    if packet.proto == TCP:
        head = packet.seq if seq is None else seq, packet.ack if ack is None else ack
        struct.pack_into("!II", segment, 4, head[0] & 0xFFFFFFFF, head[1] & 0xFFFFFFFF)
        segment[13] = packet.flags if flags is None else flags
        _shift_sack(segment, packet.body - at, sack)
    else:
        struct.pack_into("!H", segment, 4, len(segment))
    place = 16 if packet.proto == TCP else 6
    segment[place : place + 2] = b"\0\0"
    total = transport_sum(packet.src, packet.dst, packet.proto, bytes(segment))
    if packet.proto == UDP and total == 0:
        total = 0xFFFF
    struct.pack_into("!H", segment, place, total)
    if packet.ethertype == IPV4:
        struct.pack_into("!H", data, net + 2, at - net + len(segment))
        if fresh:
            ident = int.from_bytes(data[net + 4 : net + 6], "big")
            struct.pack_into("!H", data, net + 4, (ident + 1) & 0xFFFF if ident else 0)
        data[net + 10 : net + 12] = b"\0\0"
        struct.pack_into("!H", data, net + 10, checksum(bytes(data[net:at])))
    else:
        struct.pack_into("!H", data, net + 4, len(segment))
    made = bytes(data[:at]) + bytes(segment) + _behind(packet, fresh)
    return dissect(packet.ts if ts is None else ts, made, link=packet.link, mark=mark or packet.mark)


def _behind(packet: Packet, fresh: bool) -> bytes:
    """Trailer behind the IP packet: padding stays with the frame, a new frame gets none."""
    return b"" if fresh else packet.data[packet.end :]


def _shift_sack(segment: bytearray, end: int, distance: int) -> None:
    """Move the edges of SACK blocks (RFC 2018), which name numbers of the other direction."""
    at = 20
    while distance and at + 1 < end and segment[at] != 0:
        if segment[at] == 1:
            at += 1
            continue
        size = segment[at + 1]
        if size < 2 or at + size > end:
            return
        if segment[at] == SACK:
            for edge in range(at + 2, at + size - 3, 4):
                (number,) = struct.unpack_from("!I", segment, edge)
                struct.pack_into("!I", segment, edge, (number + distance) & 0xFFFFFFFF)
        at += size


def with_content(packet: Packet, content: bytes, *, ts: int | None = None, mark: str = "") -> Packet:
    """A layer-2 packet with other octets behind its EtherType, padded to the least frame."""
    data = (packet.data[: packet.net] + content).ljust(60, b"\0")
    return dissect(packet.ts if ts is None else ts, data, link=packet.link, mark=mark or packet.mark)


def moved(packet: Packet, ts: int, mark: str = "") -> Packet:
    """The same packet at another time."""
    return dissect(ts, packet.data, packet.wirelen, packet.link, mark or packet.mark)


def with_macs(packet: Packet, source: bytes | None = None, target: bytes | None = None) -> Packet:
    """The same packet between other MAC addresses."""
    data = (target or packet.target) + (source or packet.source) + packet.data[12:]
    return dissect(packet.ts, data, packet.wirelen, packet.link, packet.mark)


def before(first: int, second: int) -> bool:
    """Whether one TCP sequence number lies before another (RFC 1982)."""
    return (first - second) & 0x80000000 != 0
