"""Blocks of the pcapng format, as columns.

Follows draft-ietf-opsawg-pcapng: sections in either byte order, several interfaces with their own
link type, time resolution (powers of ten and two) and offset; enhanced, simple and the obsolete packet
blocks. Other blocks are skipped. Stops at a block whose two lengths differ, a packet block that
claims more than its own length or more than :data:`~sensor.capture.pcap.MAX_CAPLEN`, or an interface
that was never described: after such a block the place of the next one is a guess.

A block length that is no multiple of four is rounded up, as Wireshark does for old writers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sensor.capture.pcap import BAD, FULL, MAX_CAPLEN, NEED, SPECIAL, u32
from sensor.jit import kernel

SECTION: Final = 0x0A0D0D0A
INTERFACE: Final = 1
OLD_PACKET: Final = 2
SIMPLE_PACKET: Final = 3
STATISTICS: Final = 5
PACKET: Final = 6
ORDER_MAGIC: Final = 0x1A2B3C4D
MAX_BLOCK: Final = 16 << 20
"""Longest block that is read (skipped blocks may be longer)."""

MAX_INTERFACES: Final = 4096
"""Per section; a hostile file must not grow the table without bound."""

MAX_TOLD: Final = 1 << 40
"""Most lost frames that one statistics block is believed; sums stay far from what int64 holds."""

LAST_SECOND: Final = 9_223_372_035
"""Latest second that int64 ns since 1970 can hold."""

# columns of the interface table that the kernel reads
LINK, SNAPLEN, PER_SECOND, SHIFT, OFFSET = range(5)

_OPT_NAME, _OPT_DESCRIPTION, _OPT_TSRESOL, _OPT_TSOFFSET = 2, 3, 9, 14
_OPT_IFDROP, _OPT_OSDROP = 5, 7


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface that a capture was taken on."""

    link: int
    snaplen: int = 0
    name: str = ""
    description: str = ""


@kernel
def _nanoseconds(raw: Any, per_second: Any, shift: Any, offset: Any) -> Any:
    """Time stamp in interface units to ns; what int64 cannot hold becomes the latest time it can."""
    if shift >= 0:
        seconds: Any = np.int64(raw >> np.uint64(shift))
        part = raw & ((np.uint64(1) << np.uint64(shift)) - np.uint64(1))
        if shift > 34:  # keep the product below 2**64; costs less than 0.06 ns
            part >>= np.uint64(shift - 34)
            shift = 34
        nanos = np.int64((part * np.uint64(1_000_000_000)) >> np.uint64(shift))
    else:
        unit = np.uint64(per_second)
        seconds = np.int64(raw // unit)
        part = raw % unit
        if per_second <= 1_000_000_000:
            nanos = np.int64(part * (np.uint64(1_000_000_000) // unit))
        else:
            nanos = np.int64(part // (unit // np.uint64(1_000_000_000)))
    if seconds < 0 or seconds > LAST_SECOND:
        seconds = LAST_SECOND
    seconds = min(max(seconds + offset, 0), LAST_SECOND)
    return seconds * 1_000_000_000 + nanos


@kernel
def _u16(buf: Any, at: int, big: bool) -> Any:
    first, second = np.int64(buf[at]), np.int64(buf[at + 1])
    return (first << 8) | second if big else (second << 8) | first


@kernel
def _drop_option(buf: Any, at: int, end: int, big: bool) -> Any:
    """Packets lost before this one, from epb_dropcount (option 4); 0 when it is not there."""
    while end - at >= 4:
        code = _u16(buf, at, big)
        length = _u16(buf, at + 2, big)
        if code == 0:
            return 0
        if code == 4 and length == 8 and end - at >= 12:
            first, second = u32(buf, at + 4, big), u32(buf, at + 8, big)
            low = second if big else first
            return min(low, 0x7FFFFFFF)
        at += 4 + ((length + 3) & ~3)
    return 0


@kernel
def walk_pcapng(
    buf: Any,
    pos: int,
    end: int,
    big: bool,
    interfaces: Any,
    last: int,
    count: int,
    most_bytes: int,
    offset: Any,
    caplen: Any,
    wirelen: Any,
    ts: Any,
    link: Any,
    dropped: Any,
    lost: Any,
) -> tuple[int, int, int, int]:
    """Fill the columns from ``count`` on; returns count, position, why it stopped and the last time stamp.

    ``dropped`` counts lost packets by interface, ``lost`` those before each packet.
    The position may come to lie beyond ``end`` when a skipped block is longer than the buffer. It
    always grows by at least 12 bytes per block, so the walk ends.
    """
    start = offset[0] if count > 0 else pos
    rows = len(offset)
    while count < rows:
        if end - pos < 12:
            return count, pos, NEED, last
        kind = u32(buf, pos, big)
        if kind in (SECTION, INTERFACE, STATISTICS):
            return count, pos, SPECIAL, last
        length = (u32(buf, pos + 4, big) + 3) & ~3
        if length < 12:
            return count, pos, BAD, last
        if kind != PACKET and kind != SIMPLE_PACKET and kind != OLD_PACKET:
            pos += length
            continue
        if length > MAX_BLOCK:
            return count, pos, BAD, last
        if end - pos < length:
            return count, pos, NEED, last
        if count > 0 and pos - start + length > most_bytes:
            return count, pos, FULL, last
        if (u32(buf, pos + length - 4, big) + 3) & ~3 != length:
            return count, pos, BAD, last
        which = 0
        if kind == SIMPLE_PACKET:
            if length < 16 or len(interfaces) == 0:
                return count, pos, BAD, last
            body = pos + 12
            wire = u32(buf, pos + 8, big)
            have = min(wire, length - 16)
            if interfaces[0, SNAPLEN] > 0:
                have = min(have, interfaces[0, SNAPLEN])
        else:
            if length < 32:
                return count, pos, BAD, last
            body = pos + 28
            have = u32(buf, pos + 20, big)
            wire = u32(buf, pos + 24, big)
            which = u32(buf, pos + 8, big) if kind == PACKET else _u16(buf, pos + 8, big)
            if which >= len(interfaces) or have > length - 32:
                return count, pos, BAD, last
            row = interfaces[which]
            raw = (np.uint64(u32(buf, pos + 12, big)) << np.uint64(32)) | np.uint64(u32(buf, pos + 16, big))
            last = _nanoseconds(raw, row[PER_SECOND], row[SHIFT], row[OFFSET])
            if kind == PACKET:
                drops = _drop_option(buf, body + ((have + 3) & ~3), pos + length - 4, big)
            else:
                drops = _u16(buf, pos + 10, big)
                if drops == 0xFFFF:
                    drops = 0
            dropped[which] += drops
            lost[count] += drops
        if have > MAX_CAPLEN:
            return count, pos, BAD, last
        ts[count] = last
        offset[count] = body
        caplen[count] = have
        wirelen[count] = min(wire, 0x7FFFFFFF)
        link[count] = interfaces[which, LINK]
        count += 1
        pos += length
    return count, pos, FULL, last


class Section:
    """Interfaces of the section that is being read, and what was lost on them."""

    def __init__(self, big: bool) -> None:
        self.big = big
        self.interfaces: list[Interface] = []
        self.table: npt.NDArray[np.int64] = np.zeros((0, 5), np.int64)
        self.packet_drops: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._reported_drops: dict[int, int] = {}
        self._told = 0

    @property
    def dropped(self) -> int:
        """Frames that the writer says it lost, by whichever of its two counts is larger."""
        return max(int(self.packet_drops.sum()), sum(self._reported_drops.values()))

    def untold(self) -> int:
        """Lost frames of the statistics blocks that no packet block and no earlier call has told."""
        fresh = max(0, self.dropped - int(self.packet_drops.sum()) - self._told)
        self._told += fresh
        return min(fresh, MAX_TOLD)

    def add_interface(self, body: bytes) -> str:
        """Read an interface description; returns what is wrong with it or an empty string."""
        if len(body) < 8:
            return "an interface description that is too short"
        if len(self.interfaces) >= MAX_INTERFACES:
            return f"more than {MAX_INTERFACES} interfaces in one section"
        link, _, snaplen = struct.unpack(self._order + "HHI", body[:8])
        options = self._options(body[8:])
        resolution = (options.get(_OPT_TSRESOL) or b"\x06")[0]
        exponent = resolution & 0x7F
        if exponent > (63 if resolution & 0x80 else 18):
            return f"a time resolution (if_tsresol 0x{resolution:02x}) finer than any clock"
        shift, per_second = (exponent, 0) if resolution & 0x80 else (-1, 10**exponent)
        raw_offset = options.get(_OPT_TSOFFSET, b"")
        offset = struct.unpack(self._order + "q", raw_offset)[0] if len(raw_offset) == 8 else 0
        offset = max(-LAST_SECOND, min(LAST_SECOND, offset))
        self.interfaces.append(
            Interface(link, snaplen, _text(options, _OPT_NAME), _text(options, _OPT_DESCRIPTION))
        )
        row = np.array([[link, min(snaplen, 0x7FFFFFFF), per_second, shift, offset]], np.int64)
        self.table = np.concatenate([self.table, row])
        self.packet_drops = np.append(self.packet_drops, 0)
        return ""

    def add_statistics(self, body: bytes) -> None:
        """Keep the latest count of lost frames of one interface; too short a block says nothing."""
        if len(body) < 12:
            return
        (which,) = struct.unpack(self._order + "I", body[:4])
        options = self._options(body[12:])
        lost = 0
        for code in (_OPT_IFDROP, _OPT_OSDROP):
            raw = options.get(code, b"")
            if len(raw) == 8:
                lost += min(struct.unpack(self._order + "Q", raw)[0], 1 << 62)
        if which < len(self.interfaces):
            self._reported_drops[which] = lost

    @property
    def _order(self) -> str:
        return ">" if self.big else "<"

    def _options(self, body: bytes) -> dict[int, bytes]:
        """Options by code, the first of each; ends quietly where they break off."""
        found: dict[int, bytes] = {}
        at = 0
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self._order + "HH", body, at)
            if code == 0 or at + 4 + length > len(body):
                break
            found.setdefault(code, body[at + 4 : at + 4 + length])
            at += 4 + ((length + 3) & ~3)
        return found


def is_pcapng(head: bytes) -> bool:
    """Whether the first four bytes start a section header block."""
    return head[:4] == b"\x0a\x0d\x0d\x0a"


def section_order(head: bytes) -> bool | None:
    """Byte order of a section header block from its first 12 bytes: True big, False little, None neither."""
    if head[8:12] == ORDER_MAGIC.to_bytes(4, "big"):
        return True
    if head[8:12] == ORDER_MAGIC.to_bytes(4, "little"):
        return False
    return None


def _text(options: dict[int, bytes], code: int) -> str:
    raw = options.get(code, b"").rstrip(b"\0").decode("utf-8", "replace")
    return "".join(c for c in raw if c.isprintable())[:256]
