"""Small protocols of every network, a row each: ARP, ICMP, ICMPv6, IGMP, NTP.

ICMP (RFC 792) and ICMPv6 (RFC 4443): type 1, code 1, checksum 2, identifier 2, sequence 2.
IGMP (RFC 2236, RFC 3376): type 1, time 1, checksum 2, group 4; a version 3 report has its first group at 12.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import (
    ARP,
    ICMP,
    ICMPV6,
    IGMP,
    NTP,
    ROLE_CLIENT,
    ROLE_PEER,
    ROLE_SERVER,
    conversation,
    open_row,
)
from sensor.track.table import intern_spare
from sensor.wire.arp import HEADER as ARP_HEADER
from sensor.wire.arp import arp_addresses
from sensor.wire.ntp import CONTROL, PRIVATE, SHORTEST, TRANSMIT, ntp_time
from sensor.wire.ntp import HEADER as NTP_HEADER
from sensor.wire.octets import be16
from sensor.wire.text import put_hex_octets, put_ipv4, put_mac

IP_ICMP: Final = 1
IP_IGMP: Final = 2
IP_ICMPV6: Final = 58

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)


@kernel
def emit_arp(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, vlan: int) -> bool:
    """One frame behind its ethertype; False when not even the operation is there."""
    if end - at < ARP_HEADER:
        return False
    context = memory.context
    context.role = ROLE_PEER
    row = open_row(memory, ARP, conversation(memory, names, ARP, context.src, context.dst, 0, 0, vlan))
    row.kind = be16(buf, at + 6)
    row.size = context.payload
    station, sender, target, whole = arp_addresses(buf, at, end)
    text = memory.text
    if station >= 0:
        row.ident = intern_spare(names.texts, text, 0, put_mac(text, 0, buf, station))
    if sender >= 0:
        row.name = intern_spare(names.texts, text, 0, put_ipv4(text, 0, buf, sender))
    if target >= 0:
        row.point = intern_spare(names.texts, text, 0, put_ipv4(text, 0, buf, target))
    if not whole:
        row.flags |= np.uint32(_TRUNCATED if wire_end > end else _MALFORMED)
    return True


@kernel
def emit_internet(memory: Any, names: Any, proto: int, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One IP payload that is neither TCP nor UDP; False when it is not of a protocol here."""
    if proto == IP_ICMP:
        return _icmp(memory, names, np.int64(ICMP), buf, at, end, wire_end)
    if proto == IP_ICMPV6:
        return _icmp(memory, names, np.int64(ICMPV6), buf, at, end, wire_end)
    if proto == IP_IGMP:
        return _igmp(memory, names, buf, at, end, wire_end)
    return False


@kernel
def _peer_row(memory: Any, names: Any, proto: int) -> Any:
    context = memory.context
    context.role = ROLE_PEER
    row = open_row(memory, proto, conversation(memory, names, proto, context.src, context.dst, 0, 0, 0))
    row.size = context.payload
    return row


@kernel
def _icmp(memory: Any, names: Any, proto: int, buf: Any, at: int, end: int, wire_end: int) -> bool:
    if end - at < 4:
        return False
    row = _peer_row(memory, names, proto)
    row.kind = np.int64(buf[at])
    row.cause = np.int64(buf[at + 1])
    if end - at < 8:
        row.flags |= np.uint32(_TRUNCATED if wire_end > end else _MALFORMED)
    elif proto == ICMP and (row.kind == 0 or row.kind == 8 or 13 <= row.kind <= 18):
        row.seq = be16(buf, at + 6)
    elif (
        proto == ICMPV6
        and 133 <= row.kind <= 137
        and wire_end == end
        and not _options(buf, at, end, row.kind)
    ):
        row.flags |= np.uint32(_MALFORMED)
    return True


@kernel
def _options(buf: Any, at: int, end: int, kind: int) -> bool:
    """Whether the options of neighbour discovery (RFC 4861 4.6: type 1, length in eights 1) fit."""
    at += 8 if kind == 133 else 16 if kind == 134 else 40 if kind == 137 else 24
    while at + 2 <= end:
        size = 8 * np.int64(buf[at + 1])
        if size == 0:
            return False
        at += size
    return bool(at == end)


@kernel
def _igmp(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    if end - at < 8:
        return False
    kind = np.int64(buf[at])
    if kind != 0x11 and kind != 0x12 and kind != 0x16 and kind != 0x17 and kind != 0x22:
        return False
    row = _peer_row(memory, names, np.int64(IGMP))
    row.kind = kind
    group = at + 4
    if kind == 0x22:
        group = at + 12 if be16(buf, at + 6) else np.int64(-1)
    if group >= 0:
        if group + 4 <= end:
            row.point = intern_spare(names.texts, memory.text, 0, put_ipv4(memory.text, 0, buf, group))
        else:
            row.flags |= np.uint32(_TRUNCATED if wire_end > end else _MALFORMED)
    return True


@kernel
def emit_ntp(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One datagram; False when its first octet has no mode or the header of its mode is not there."""
    if end - at < SHORTEST:
        return False
    mode = np.int64(buf[at]) & 7
    private = mode == CONTROL or mode == PRIVATE
    if mode == 0 or (wire_end - at < NTP_HEADER and not private):
        return False
    context = memory.context
    sport, dport = be16(buf, at - 8), be16(buf, at - 6)
    client, server, port = context.src, context.dst, dport
    if mode == 1 or mode == 2 or (private and sport == dport):
        context.role = ROLE_PEER
    elif mode == 4 or mode == 5 or (private and context.role == ROLE_SERVER):
        context.role = ROLE_SERVER
        client, server, port = context.dst, context.src, sport
    else:
        context.role = ROLE_CLIENT
    row = open_row(memory, NTP, conversation(memory, names, NTP, client, server, port, 0, 0))
    row.kind = mode
    row.size = context.pdu
    if mode != PRIVATE:
        row.aux = np.int64(buf[at]) >> 6
    if not private:
        row.cause = np.int64(buf[at + 1])
        if end - at >= 16:
            used = put_hex_octets(memory.text, 0, buf, at + 12, at + 16)
            row.name = intern_spare(names.texts, memory.text, 0, used)
            row.point = row.name
        if end - at >= NTP_HEADER:
            row.value = ntp_time(buf, at + TRANSMIT)
    if wire_end > end:
        row.flags |= np.uint32(_TRUNCATED)
    return True
