"""One captured frame: link layer, network layer, and to whom it is handed on.

The loop over a batch is compiled; ``sensor.native`` is its plain front door. Frames that no decoder here
reads get one generic row (``udp``, ``ip``, ``ethernet``) that says who sent to whom.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import inlined, kernel
from sensor.track.dispatch import emit_datagram, emit_ethernet, emit_internet
from sensor.track.redundancy import is_copy
from sensor.track.state import (
    CLAIMED,
    ENOUGH,
    ETHERNET,
    IP,
    MAX_FRAME,
    MESSAGES,
    OPEN,
    POINTS,
    ROLE_CLIENT,
    ROLE_PEER,
    ROLE_SERVER,
    TUNNEL,
    UDP,
    Count,
    conversation,
    keep_shortcut,
    open_row,
    shortcut,
)
from sensor.track.table import intern
from sensor.track.tcp import on_tcp
from sensor.wire.ip import parse_ipv4, parse_ipv6
from sensor.wire.link import TYPE_ARP, TYPE_IPV4, TYPE_IPV6, parse_link
from sensor.wire.load import borrow
from sensor.wire.octets import be16, be32
from sensor.wire.status import MALFORMED, OK, TRUNCATED, UNSUPPORTED
from sensor.wire.tunnel import PORT_VXLAN, PROTO_GRE, parse_gre, parse_vxlan

MAX_TUNNELS: Final = 2
SPARE: Final = 16_384  # points and messages of a PDU that waited

_FRAMES, _BYTES, _ETH, _VLAN = int(Count.FRAMES), int(Count.BYTES), int(Count.ETH), int(Count.VLAN)
_IP4, _IP6, _ARP = int(Count.IP), int(Count.IPV6), int(Count.ARP)
_TCP, _UDP, _ICMP, _ICMP6 = int(Count.TCP), int(Count.UDP), int(Count.ICMP), int(Count.ICMPV6)
_OTHER, _FRAGMENTS = int(Count.OTHER), int(Count.FRAGMENTS)
_TUNNELS, _BACKWARDS = int(Count.TUNNELS), int(Count.BACKWARDS)
_CUT, _BAD, _CLAIMED = int(Count.TRUNCATED), int(Count.MALFORMED), int(Count.CLAIMED)


@inlined
def _room(memory: Any, size: int) -> bool:
    """Is there room for every row that a frame of ``size`` bytes may give?"""
    messages, points = memory.cursor[0], memory.cursor[1]
    return points <= ENOUGH and POINTS - points >= 8 * size + SPARE and MESSAGES - messages >= size + SPARE


@kernel
def decode_frames(
    memory: Any,
    names: Any,
    pool: Any,
    claimed: Any,
    first: int,
    data: Any,
    offset: Any,
    caplen: Any,
    wirelen: Any,
    ts: Any,
    link: Any,
    number: Any,
) -> int:
    """Decode from frame ``first`` on until all are done or room for rows is short; returns the next frame."""
    data, pool = borrow(data), borrow(pool)
    for i in range(first, len(offset)):
        size = min(np.int64(caplen[i]), MAX_FRAME)
        if not _room(memory, size):
            return i
        memory.counters[_FRAMES] += 1
        memory.counters[_BYTES] += wirelen[i]
        context = memory.context
        context.ts = ts[i]
        if ts[i] < memory.latest:
            memory.counters[_BACKWARDS] += 1
        else:
            memory.latest = ts[i]
        context.frame = number[i]
        context.payload = max(np.int64(wirelen[i]) - 14, 0)
        context.flags = 0
        context.stream = -1
        context.src = 0
        context.dst = 0
        begin = np.int64(offset[i])
        if link[i] == 1 and size == wirelen[i] and is_copy(memory, data, begin, begin + size):
            claimed[i] = CLAIMED
            memory.counters[_CLAIMED] += 1
            continue
        taken = _frame(memory, names, pool, data, begin, begin + size, link[i], np.int64(wirelen[i]))
        claimed[i] = taken
        memory.counters[_CLAIMED] += taken == CLAIMED
    return len(offset)


@inlined
def _frame(
    memory: Any, names: Any, pool: Any, data: Any, begin: int, end: int, link: int, wirelen: int
) -> int:
    """A frame, then what tunnels carry in it as if it had been captured itself."""
    context = memory.context
    context.depth = 0
    taken = _layers(memory, names, pool, data, begin, end, np.int64(link), wirelen)
    while taken == TUNNEL:
        memory.counters[_TUNNELS] += 1
        context.depth += 1
        context.src = 0
        context.dst = 0
        begin, end, wirelen = context.inner, context.inner_end, context.inner_wire
        taken = _layers(memory, names, pool, data, begin, end, context.inner_link, wirelen)
    return taken


@kernel
def _tunnel(memory: Any, link: int, at: int, end: int, wire_end: int) -> bool:
    """Keep where the frame inside begins; False when there is none, or too many are around it."""
    context = memory.context
    if link < 0 or context.depth >= MAX_TUNNELS:
        return False
    context.inner, context.inner_end, context.inner_link = at, end, link
    context.inner_wire = wire_end - at
    return True


@kernel
def _layers(
    memory: Any, names: Any, pool: Any, data: Any, begin: int, end: int, link: int, wirelen: int
) -> int:
    counters = memory.counters
    status, kind, at, mac, vlan = parse_link(data, begin, end, link)
    if link == 1 and status != TRUNCATED:
        counters[_ETH] += 1
    if vlan >> 12:
        counters[_VLAN] += 1
    if mac >= 0:
        _macs(memory, names, data, mac, wirelen)
    if status != OK:
        _refuse(memory, status)
        return OPEN
    if kind == TYPE_IPV4 or kind == TYPE_IPV6:
        return _internet(memory, names, pool, data, at, end, kind, wirelen)
    counters[_ARP] += kind == TYPE_ARP
    if mac >= 0 and emit_ethernet(memory, names, kind, data, at, end, begin + wirelen, vlan & 0xFFF):
        return CLAIMED
    counters[_OTHER] += kind != TYPE_ARP
    _plain(memory, names, ETHERNET, kind, vlan & 0xFFF, wirelen)
    return OPEN


@kernel
def _refuse(memory: Any, status: int) -> None:
    if status == TRUNCATED:
        memory.counters[_CUT] += 1
    elif status == MALFORMED:
        memory.counters[_BAD] += 1
    else:
        memory.counters[_OTHER] += 1


@kernel
def _mac(memory: Any, names: Any, data: Any, at: int) -> int:
    low = np.uint64((be16(data, at) << 32) | be32(data, at + 2))
    high = np.uint64(1) << np.uint64(63)
    entry = shortcut(memory, high, low)
    if entry.high == high and entry.low == low:
        return np.int64(entry.ident)
    key = memory.scratch
    key[0] = 1
    for i in range(6):
        key[1 + i] = data[at + i]
    ident = intern(names.endpoints, key, 0, 7)
    keep_shortcut(entry, high, low, ident)
    return ident


@kernel
def _macs(memory: Any, names: Any, data: Any, mac: int, wirelen: int) -> None:
    """Endpoints of the link layer, from the header's two MAC addresses."""
    context = memory.context
    context.src = _mac(memory, names, data, mac + 6)
    context.dst = _mac(memory, names, data, mac)
    _seen(memory, context.src, context.dst, 0, context.ts, wirelen)


@kernel
def _seen(memory: Any, src: int, dst: int, mac: int, ts: int, size: int) -> None:
    host = memory.hosts[src]
    if host.sent + host.received == 0:
        host.first = ts
    host.last = ts
    host.sent += 1
    host.bytes_sent += size
    if mac and host.mac != mac:
        if host.mac:
            host.moves += 1
        host.mac = mac
    host = memory.hosts[dst]
    if host.sent + host.received == 0:
        host.first = ts
    host.last = ts
    host.received += 1
    host.bytes_received += size


@kernel
def _address(names: Any, memory: Any, data: Any, at: int, size: int) -> int:
    high = np.uint64(1) << np.uint64(62)
    low = np.uint64(be32(data, at))
    entry = shortcut(memory, high, low)
    if size == 4 and entry.high == high and entry.low == low:
        return np.int64(entry.ident)
    key = memory.scratch
    key[0] = 4 if size == 4 else 6
    for i in range(size):
        key[1 + i] = data[at + i]
    ident = intern(names.endpoints, key, 0, 1 + size)
    if size == 4:
        keep_shortcut(entry, high, low, ident)
    return ident


@inlined
def _internet(
    memory: Any, names: Any, pool: Any, data: Any, at: int, end: int, kind: int, wirelen: int
) -> int:
    counters = memory.counters
    context = memory.context
    if kind == TYPE_IPV4:
        counters[_IP4] += 1
        status, proto, payload, wire_end = parse_ipv4(data, at, end)
        address, size = at + 12, 4
    else:
        counters[_IP6] += 1
        status, proto, payload, wire_end = parse_ipv6(data, at, end)
        address, size = at + 8, 16
    if end - address < 2 * size or status == MALFORMED or status == TRUNCATED:
        counters[_CUT if status == TRUNCATED else _BAD] += 1
        _plain(memory, names, ETHERNET, kind, 0, wirelen)
        return OPEN
    mac = context.src
    context.src = _address(names, memory, data, address, size)
    context.dst = _address(names, memory, data, address + size, size)
    _seen(memory, context.src, context.dst, mac, context.ts, wirelen)
    if status == UNSUPPORTED:
        counters[_FRAGMENTS] += 1
    elif proto == 6:
        counters[_TCP] += 1
        return on_tcp(memory, names, pool, data, payload, end, wire_end)
    elif proto == 17:
        counters[_UDP] += 1
        return _datagram(memory, names, data, payload, min(end, wire_end), wire_end, wirelen)
    if proto == 1:
        counters[_ICMP] += 1
    elif proto == 58:
        counters[_ICMP6] += 1
    stop = min(end, wire_end)
    if status == OK and proto == PROTO_GRE:
        inside, inner = parse_gre(data, payload, stop)
        if _tunnel(memory, inside, inner, stop, wire_end):
            return TUNNEL
    if status == OK and emit_internet(memory, names, proto, data, payload, stop, wire_end):
        return CLAIMED
    _plain(memory, names, IP, proto, 0, wirelen)
    return OPEN


@kernel
def _plain(memory: Any, names: Any, proto: int, kind: int, vlan: int, size: int) -> None:
    """A row for a frame that no native decoder reads: who sent what sort of thing to whom."""
    context = memory.context
    context.role = ROLE_PEER
    conv = conversation(memory, names, proto, context.src, context.dst, kind, 0, vlan)
    row = open_row(memory, proto, conv)
    row.kind = kind
    row.size = size


@inlined
def _datagram(memory: Any, names: Any, data: Any, at: int, end: int, wire_end: int, size: int) -> int:
    """UDP (RFC 768). The owner of a protocol's port serves; without one, the side with the lower port."""
    if end - at < 8:
        memory.counters[_CUT] += 1
        _plain(memory, names, IP, 17, 0, size)
        return OPEN
    context = memory.context
    sport, dport = be16(data, at), be16(data, at + 2)
    proto = memory.udp_ports[dport]
    asks = dport <= sport
    if proto and not memory.udp_ports[sport]:
        asks = True
    elif memory.udp_ports[sport] and not proto:
        asks = False
    if asks:
        context.role = ROLE_CLIENT
        context.client, context.server, context.port = context.src, context.dst, dport
    else:
        context.role = ROLE_SERVER
        context.client, context.server, context.port = context.dst, context.src, sport
        proto = memory.udp_ports[sport]
    if dport == PORT_VXLAN:
        inside, inner = parse_vxlan(data, at + 8, end)
        if _tunnel(memory, inside, inner, end, wire_end):
            return TUNNEL
    context.pdu = wire_end - at - 8
    context.sport, context.dport = sport, dport
    if proto and emit_datagram(memory, names, proto, data, at + 8, end, wire_end):
        return CLAIMED
    conv = conversation(memory, names, UDP, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, UDP, conv)
    row.kind = 0
    row.size = size
    return OPEN
