"""Records of the classic pcap format, as columns.

Follows draft-ietf-opsawg-pcap: magic in both byte orders, micro- and nanoseconds, and the "modified"
format of old Linux systems (magic a1b2cd34, 24-byte record headers). Stops at a record that claims
more than :data:`MAX_CAPLEN` bytes: no writer makes such records, so the file is damaged there.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import numpy as np

from sensor.jit import kernel

HEADER: Final = 24
RECORD: Final = 16
MODIFIED_RECORD: Final = 24
MAX_CAPLEN: Final = 262_144
"""Longest frame that libpcap and Wireshark accept; equal limits mean equal frame numbers."""

FULL, NEED, BAD, SPECIAL = 0, 1, 2, 3
"""Why a walk stopped: batch full; more bytes needed; damaged; a block that Python must read."""

_MAGICS: Final = {
    0xA1B2C3D4: (1000, RECORD),
    0xA1B23C4D: (1, RECORD),
    0xA1B2CD34: (1000, MODIFIED_RECORD),
}


class PcapHeader(NamedTuple):
    """What the file header says: byte order, ns per unit of the fraction, record size, link, snap length."""

    big: bool
    unit: int
    record: int
    link: int
    snaplen: int


def is_pcap(head: bytes) -> bool:
    """Whether the first four bytes are one of pcap's magics."""
    return any(int.from_bytes(head[:4], order) in _MAGICS for order in ("little", "big"))


def parse_header(head: bytes) -> PcapHeader:
    """Read the 24-byte file header; the caller has checked magic and length."""
    big = int.from_bytes(head[:4], "big") in _MAGICS
    magic, _, _, _, _, snaplen, network = struct.unpack((">" if big else "<") + "IHHiIII", head[:HEADER])
    unit, record = _MAGICS[magic]
    return PcapHeader(big, unit, record, network & 0xFFFF, snaplen)


@kernel
def u32(buf: Any, at: int, big: bool) -> Any:
    """Unsigned 32-bit number in the file's byte order."""
    first, second = np.int64(buf[at]), np.int64(buf[at + 1])
    third, fourth = np.int64(buf[at + 2]), np.int64(buf[at + 3])
    if big:
        return (first << 24) | (second << 16) | (third << 8) | fourth
    return (fourth << 24) | (third << 16) | (second << 8) | first


@kernel
def walk_pcap(
    buf: Any,
    pos: int,
    end: int,
    header: Any,
    count: int,
    most_bytes: int,
    offset: Any,
    caplen: Any,
    wirelen: Any,
    ts: Any,
) -> tuple[int, int, int]:
    """Fill the columns from ``count`` on; returns the new count, the new position and why it stopped.

    ``pos`` always grows by at least a record header, so the walk ends.
    """
    big, unit, record = header.big, header.unit, header.record
    start = pos
    rows = len(offset)
    while count < rows:
        if end - pos < record:
            return count, pos, NEED
        have = u32(buf, pos + 8, big)
        if have > MAX_CAPLEN:
            return count, pos, BAD
        if end - pos - record < have:
            return count, pos, NEED
        if pos > start and pos - start + record + have > most_bytes:
            return count, pos, FULL
        ts[count] = u32(buf, pos, big) * 1_000_000_000 + u32(buf, pos + 4, big) * unit
        wire = u32(buf, pos + 12, big)
        offset[count] = pos + record
        caplen[count] = have
        wirelen[count] = min(wire, 0x7FFFFFFF)
        count += 1
        pos += record + have
    return count, pos, FULL
