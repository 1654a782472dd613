"""Link layer: Ethernet II and 802.3, VLAN tags (802.1Q, QinQ), Linux cooked, raw IP, BSD null.

Layout (IEEE 802.3, 802.1Q)::

    0  destination MAC   6
    6  source MAC        6
    12 type/length       2    0x8100/0x88A8/0x9100: tag follows, then the next type
    14 tag: PCP 3 bits, DEI 1, VID 12; type 2

An ethertype below 0x600 is a length, and LLC follows: with SNAP (AA AA 03 00 00 00, RFC 1042) another one.

Refuses: more than :data:`MAX_TAGS` tags. LLC without SNAP is given as type 0.
"""

from __future__ import annotations

from typing import Any, Final

from sensor.jit import inlined, kernel
from sensor.wire.octets import be16, be24
from sensor.wire.redundancy import HSR_TAG, TYPE_HSR
from sensor.wire.status import MALFORMED, OK, TRUNCATED, UNSUPPORTED

MAX_TAGS: Final = 4
SNAP: Final = 8
"""Octets of LLC and SNAP in front of an ethertype."""
TYPE_IPV4: Final = 0x0800
TYPE_ARP: Final = 0x0806
TYPE_IPV6: Final = 0x86DD
TYPE_GOOSE: Final = 0x88B8
TYPE_SV: Final = 0x88BA
TYPE_PTP: Final = 0x88F7
TYPE_PROFINET: Final = 0x8892


@inlined
def _tagged(buf: Any, kind: int, at: int, end: int, mac: int) -> tuple[int, int, int, int, int]:
    """What :func:`parse_link` returns, from the first ethertype on, which stood before ``at``."""
    tags = 0
    vid = 0
    ring = False
    while kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == TYPE_HSR:
        if kind == TYPE_HSR:
            if ring:
                return MALFORMED, kind, at, mac, vid
            if end - at < HSR_TAG:
                return TRUNCATED, kind, at, mac, vid
            ring = True
            kind = be16(buf, at + 4)
            at += HSR_TAG
            continue
        if tags == MAX_TAGS:
            return MALFORMED, kind, at, mac, vid
        if end - at < 4:
            return TRUNCATED, kind, at, mac, vid
        vid = be16(buf, at) & 0xFFF
        kind = be16(buf, at + 2)
        at += 4
        tags += 1
    if kind < 0x600:
        kind = 0
        if end - at >= SNAP and be24(buf, at) == 0xAAAA03 and be24(buf, at + 3) == 0:
            kind = be16(buf, at + 6)
            at += SNAP
    return OK, kind, at, mac, vid | (tags << 12)


@kernel
def parse_link(buf: Any, start: int, end: int, link: int) -> tuple[int, int, int, int, int]:
    """Walk from the link header to the network layer.

    Returns
    -------
    status, ethertype, payload, mac, vlan : int
        ``payload`` is the offset behind the last tag; ``mac`` the offset of destination+source MAC or
        -1; ``vlan`` the VID of the last tag or 0 (the tag nearest to the payload), plus
        ``tags << 12``.
    """
    if link == 1:
        if end - start < 14:
            return TRUNCATED, 0, start, -1, 0
        return _tagged(buf, be16(buf, start + 12), start + 14, end, start)
    if link == 101 or link == 12 or link == 14 or link == 228 or link == 229:
        if end <= start:
            return TRUNCATED, 0, start, -1, 0
        version = buf[start] >> 4
        return OK, TYPE_IPV6 if version == 6 else TYPE_IPV4, start, -1, 0
    if link == 0 or link == 108:
        if end - start < 5:
            return TRUNCATED, 0, start, -1, 0
        version = buf[start + 4] >> 4
        return OK, TYPE_IPV6 if version == 6 else TYPE_IPV4, start + 4, -1, 0
    if link == 113:
        if end - start < 16:
            return TRUNCATED, 0, start, -1, 0
        return _tagged(buf, be16(buf, start + 14), start + 16, end, -1)
    if link == 276:
        if end - start < 20:
            return TRUNCATED, 0, start, -1, 0
        return _tagged(buf, be16(buf, start), start + 20, end, -1)
    return UNSUPPORTED, 0, start, -1, 0
