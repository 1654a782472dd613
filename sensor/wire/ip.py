"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers, as far as the transport header.

Layout::

    IPv4  0 version/IHL  2 total length  6 flags/offset  9 protocol  12 source  16 destination
    IPv6  4 payload length  6 next header  8 source  24 destination  40 extension headers

A total length of 0 is taken as "to the end of the frame": captures taken above segmentation offload
carry it. Fragments are reported, never guessed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import MALFORMED, OK, TRUNCATED, UNSUPPORTED

PROTO_ICMP: Final = 1
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ICMPV6: Final = 58
MAX_EXTENSIONS: Final = 8


@kernel
def parse_ipv4(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """Returns (status, protocol, payload offset, payload end on the wire).

    The payload end may lie behind ``end``, the end of what was captured.
    """
    if end - at < 20:
        return TRUNCATED, 0, at, end
    header = (np.int64(buf[at]) & 15) * 4
    if buf[at] >> 4 != 4 or header < 20:
        return MALFORMED, 0, at, end
    total = be16(buf, at + 2)
    if total == 0:
        total = end - at
    if total < header:
        return MALFORMED, 0, at, end
    if end - at < header:
        return TRUNCATED, 0, at, end
    proto = np.int64(buf[at + 9])
    if be16(buf, at + 6) & 0x3FFF:
        return UNSUPPORTED, proto, at + header, at + total
    return OK, proto, at + header, at + total


@kernel
def parse_ipv6(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """As :func:`parse_ipv4`; hop-by-hop, routing and destination options are skipped."""
    if end - at < 40:
        return TRUNCATED, 0, at, end
    if buf[at] >> 4 != 6:
        return MALFORMED, 0, at, end
    length = be16(buf, at + 4)
    stop = at + 40 + length if length else end
    proto = np.int64(buf[at + 6])
    at += 40
    for _ in range(MAX_EXTENSIONS):
        if proto == 44:
            return UNSUPPORTED, proto, at, stop
        if proto != 0 and proto != 43 and proto != 60:
            return OK, proto, at, stop
        if min(stop, end) - at < 8:
            return TRUNCATED, proto, at, stop
        proto = np.int64(buf[at])
        at += (np.int64(buf[at + 1]) + 1) * 8
        if at > stop:
            return MALFORMED, proto, stop, stop
    return MALFORMED, proto, at, stop
