"""Frames of a TPACKET_V3 block, as columns (Linux: Documentation/networking/packet_mmap.rst, if_packet.h).

A block begins with ``tpacket_block_desc`` and holds frames that point to the next one::

    block   0 version   4 private area   8 status   12 frames   16 first frame   20 bytes used   (u32 each)
    frame   0 to the next frame   4 seconds   8 nanoseconds   12 bytes captured   16 bytes on the wire
           20 status (all u32)   24 offset of the link header (u16)   28 hash   32 VLAN tag control (u32)
           36 VLAN protocol (u16)

in the byte order of the machine; a frame header begins at a multiple of eight bytes. The kernel takes the
outermost VLAN tag out of a frame and keeps it in the header; it is put back in front of the
ethertype, as libpcap does, into the room before the frame that the kernel keeps free (``PACKET_RESERVE``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

STATUS: Final = 2
FRAMES: Final = 3
USED: Final = 5
"""Places of the block's fields, counted in 32-bit words."""

HEADER: Final = 48
"""Bytes of a frame header (``struct tpacket3_hdr``), and of a block's."""

TAG: Final = 4
MACS: Final = 12

_VLAN_VALID: Final = 0x10
_VLAN_TPID_VALID: Final = 0x40
_DOT1Q: Final = 0x8100


@kernel
def walk_block(
    octets: Any,
    begin: int,
    end: int,
    count: int,
    offset: Any,
    caplen: Any,
    wirelen: Any,
    ts: Any,
) -> int:
    """Fill the columns from row ``count`` on with the frames of one block; returns the new count.

    Parameters
    ----------
    octets : ndarray of uint8
        A copy of the block lies at ``begin`` to ``end``; VLAN tags are put back into it.
    begin, end : int
        ``begin`` is a multiple of eight.
    """
    words = octets.view(np.uint32)
    halves = octets.view(np.uint16)
    if end - begin < HEADER:
        return count
    frames = np.int64(words[begin // 4 + FRAMES])
    at = begin + np.int64(words[begin // 4 + 4])
    for _ in range(frames):
        if at % 4 != 0 or at < begin or at + HEADER > end or count >= len(offset):
            break  # the kernel writes no such block; a look beyond it must not happen all the same
        word = at // 4
        have = np.int64(words[word + 3])
        wire = np.int64(words[word + 4])
        status = np.int64(words[word + 5])
        first = at + np.int64(halves[2 * word + 12])
        if first < at + HEADER + TAG or first + have > end:
            break
        tag = np.int64(words[word + 8]) & 0xFFFF
        if (tag != 0 or status & _VLAN_VALID) and have >= MACS:
            tpid = np.int64(halves[2 * word + 18])
            if tpid == 0 or not status & _VLAN_TPID_VALID:
                tpid = np.int64(_DOT1Q)
            first -= TAG
            for i in range(MACS):
                octets[first + i] = octets[first + TAG + i]
            octets[first + MACS] = tpid >> 8
            octets[first + MACS + 1] = tpid & 0xFF
            octets[first + MACS + 2] = tag >> 8
            octets[first + MACS + 3] = tag & 0xFF
            have += TAG
            wire += TAG
        ts[count] = np.int64(words[word + 1]) * 1_000_000_000 + np.int64(words[word + 2])
        offset[count] = first
        caplen[count] = have
        wirelen[count] = min(wire, 0x7FFFFFFF)
        count += 1
        step = np.int64(words[word])
        if step < HEADER:
            break  # the last frame of a block points nowhere
        at += step
    return count
