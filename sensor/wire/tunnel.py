"""Headers of tunnels that mirror ports and overlays put around a frame: GRE, ERSPAN, VXLAN.

Layout::

    GRE (RFC 2784, 2890)  0 flags: 0x8000 checksum, 0x2000 key, 0x1000 sequence, low 3 bits version 0
                          2 protocol: 0x0800 IPv4, 0x86DD IPv6, 0x6558 Ethernet, 0x88BE ERSPAN I or II,
                            0x22EB ERSPAN III
                          4 checksum and reserved 4, key 4, sequence 4, each only with its flag
    ERSPAN I              nothing (no sequence in GRE)
    ERSPAN II             8 octets
    ERSPAN III            12 octets; 10 frame type 0x7C00: 0 Ethernet, 2 IP, and 0x0001: 8 more follow
    VXLAN (RFC 7348)      0 flags: 0x08 has a network id  4 network id 3, reserved 1

Refuses: routing in GRE (RFC 1701), GRE version 1 (PPTP), what is too short.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16

PROTO_GRE: Final = 47
PORT_VXLAN: Final = 4789
ETHERNET: Final = 1
RAW_IP: Final = 101
"""Link types of what is inside."""

_CHECKSUM, _ROUTING, _KEY, _SEQUENCE = 0x8000, 0x4000, 0x2000, 0x1000


@kernel
def parse_gre(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(link type of what is inside, its offset); link type -1: nothing that can be read."""
    nothing = np.int64(-1)
    if end - at < 4:
        return nothing, at
    flags, protocol = be16(buf, at), be16(buf, at + 2)
    if flags & (_ROUTING | 7):
        return nothing, at
    at += 4
    for flag in (_CHECKSUM, _KEY, _SEQUENCE):
        at += 4 if flags & flag else 0
    link = np.int64(ETHERNET)
    if protocol == 0x0800 or protocol == 0x86DD:
        link = np.int64(RAW_IP)
    elif protocol == 0x88BE:
        at += 8 if flags & _SEQUENCE else 0
    elif protocol == 0x22EB:
        if end - at < 12:
            return nothing, at
        kind = (np.int64(buf[at + 10]) >> 2) & 31
        if kind == 2:
            link = np.int64(RAW_IP)
        elif kind != 0:
            return nothing, at
        at += 20 if buf[at + 11] & 1 else 12
    elif protocol != 0x6558:
        return nothing, at
    if at >= end:
        return nothing, at
    return link, at


@kernel
def parse_vxlan(buf: Any, at: int, end: int) -> tuple[int, int]:
    """As :func:`parse_gre`, for a UDP payload."""
    if end - at < 8 + 14 or not buf[at] & 0x08:
        return np.int64(-1), at
    return np.int64(ETHERNET), at + 8
