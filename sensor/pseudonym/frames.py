"""Frames with pseudonyms in place of addresses: what an exported slice is made of.

Only what is known to name nobody else stays. Ethernet, VLAN, ARP, IPv4, IPv6 and PTP addresses are rewritten
and checksums follow (RFC 1624: a wrong one stays wrong). Content stays for protocols that carry no addresses
(:data:`PORTS`, GOOSE, sampled values); everything else is cut behind its last header that is understood, and
so is content in which an address of the capture turns up. Names are replaced by pseudonyms of equal length,
so that lengths inside a PDU stay true.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sensor.frames import LINK_ETHERNET, LINK_RAW, FrameBatch
from sensor.pseudonym.key import Pseudonyms

PORTS: Final = frozenset({102, 502, 2404, 4059, 4712, 4713, 20_000})
"""MMS and S7, Modbus, IEC 60870-5-104, DLMS, C37.118, DNP3: their PDUs name objects, not addresses."""

PTP_PORTS: Final = frozenset({319, 320})
PTP_ETHERTYPE: Final = 0x88F7
VLANS: Final = frozenset({0x8100, 0x88A8, 0x9100})
HSR: Final = 0x892F
WHOLE: Final = frozenset({0x88B8, 0x88B9, 0x88BA})
"""GOOSE, GSE management, sampled values."""

PTP_LENGTHS: Final = {0: 44, 1: 44, 2: 54, 3: 54, 8: 44, 9: 54, 10: 54, 11: 64}
"""Octets of a message without TLVs, by its type (IEEE 1588, table 36 and clause 13)."""

PTP_IDENTITIES: Final = {3: 44, 9: 44, 10: 44, 11: 53}
"""Where a message holds an identity beside that of its sender."""

_RAW_LINKS: Final = frozenset({LINK_RAW, 12, 14, 228, 229})


@dataclass(slots=True)
class Rewritten:
    """One frame.

    Attributes
    ----------
    octets : bytearray
    content : int
        Where the content begins that was left as it is; the length when there is none.
    """

    octets: bytearray
    content: int


@dataclass(slots=True)
class FrameScrub:
    """Rewrites frames; remembers every address that it met.

    Attributes
    ----------
    counts : Counter
        ``frames``; ``cut`` behind their headers for their kind, ``cut-address`` for what was found in them.
    """

    pseudonyms: Pseudonyms
    counts: Counter[str] = field(default_factory=Counter)
    _macs: set[bytes] = field(default_factory=set)
    _ips: set[bytes] = field(default_factory=set)

    def batch(self, batches: Sequence[FrameBatch]) -> FrameBatch:
        """All frames of a slice, rewritten.

        Parameters
        ----------
        batches : sequence of FrameBatch
            In order; all of the capture, so that an address of the last frame is known in the first.
        """
        made = [
            self._frame(batch.frame(row), int(batch.link[row]))
            for batch in batches
            for row in range(len(batch))
        ]
        marks = self._marks()
        for one in made:
            if any(mark in one.octets[one.content :] for mark in marks):
                del one.octets[one.content :]
                self.counts["cut-address"] += 1
        self.counts["frames"] += len(made)
        lengths = np.array([len(one.octets) for one in made], np.int32)
        data = np.frombuffer(b"".join(bytes(one.octets) for one in made), np.uint8)
        offset = np.cumsum(lengths, dtype=np.int64) - lengths

        def joined(name: str, kind: type) -> np.ndarray:
            parts = [getattr(batch, name) for batch in batches]
            return np.concatenate(parts) if parts else np.zeros(0, kind)

        return FrameBatch(
            data,
            offset,
            lengths,
            joined("wirelen", np.int32),
            joined("ts", np.int64),
            joined("link", np.int32),
            joined("number", np.int64),
        )

    def addresses(self) -> list[str]:
        """Every address that was met, as text."""
        macs = [mac.hex(":") for mac in sorted(self._macs)]
        return macs + [str(ipaddress.ip_address(raw)) for raw in sorted(self._ips)]

    def _marks(self) -> list[bytes]:
        """What no content may hold: addresses as octets and as text, identities made of MAC addresses."""
        marks: set[bytes] = set()
        for mac in self._macs:
            if self.pseudonyms.mac(mac) != mac:
                marks |= {mac, mac[:3] + b"\xff\xfe" + mac[3:]}
                marks |= {mac.hex(mark).encode() for mark in ":-"}
                marks |= {mac.hex(mark).upper().encode() for mark in ":-"}
        for raw in self._ips:
            made = self.pseudonyms.ipv4(raw) if len(raw) == 4 else self.pseudonyms.ipv6(raw)
            if made != raw:
                marks |= {raw, str(ipaddress.ip_address(raw)).encode()}
        return sorted(marks)

    def _frame(self, raw: bytes, link: int) -> Rewritten:
        octets = bytearray(raw)
        if link == LINK_ETHERNET:
            end = self._ethernet(octets)
        elif link in _RAW_LINKS and octets:
            end = self._ip(octets, 0, 0x0800 if octets[0] >> 4 == 4 else 0x86DD)
        else:
            end = (0, 0)
        content, stop = end
        if stop < len(octets):
            del octets[stop:]
            self.counts["cut"] += 1
        return Rewritten(octets, min(content, len(octets)))

    def _ethernet(self, octets: bytearray) -> tuple[int, int]:
        """(where content begins, where the frame is cut)."""
        if len(octets) < 14:
            return 0, 0
        for at in (0, 6):
            self._mac(octets, at)
        at, kind = 12, int.from_bytes(octets[12:14], "big")
        while kind in VLANS or kind == HSR:
            step = 6 if kind == HSR else 4
            if len(octets) < at + step + 2:
                return at, at
            at += step
            kind = int.from_bytes(octets[at : at + 2], "big")
        at += 2
        if kind in (0x0800, 0x86DD):
            return self._ip(octets, at, kind)
        if kind == 0x0806:
            return self._arp(octets, at)
        if kind == PTP_ETHERTYPE:
            end = self._ptp(octets, at)
            return end, end
        if kind in WHOLE:
            self._names(octets, at)
            return at, len(octets)
        return at, at

    def _arp(self, octets: bytearray, at: int) -> tuple[int, int]:
        if len(octets) < at + 28 or octets[at : at + 6] != b"\x00\x01\x08\x00\x06\x04":
            return at, at
        for place in (at + 8, at + 18):
            self._mac(octets, place)
        for place in (at + 14, at + 24):
            self._address(octets, place, 4)
        return at + 28, at + 28

    def _ip(self, octets: bytearray, at: int, kind: int) -> tuple[int, int]:
        four = kind == 0x0800
        head = 20 if four else 40
        if len(octets) < at + head or octets[at] >> 4 != (4 if four else 6):
            return at, at
        before = bytes(octets[at : at + head])
        size = 4 if four else 16
        for place in (at + (12 if four else 8), at + (16 if four else 24)):
            self._address(octets, place, size)
        change = (before[12 if four else 8 :], bytes(octets[at + (12 if four else 8) : at + head]))
        if four:
            _adjust(octets, at + 10, *change)
            total = int.from_bytes(before[2:4], "big")
            options, fragment = before[0] & 15 != 5, int.from_bytes(before[6:8], "big") & 0x1FFF
            if options or fragment:
                return at + head, at + head
            protocol = before[9]
        else:
            total = int.from_bytes(before[4:6], "big") + head
            protocol = before[6]
        stop = min(len(octets), at + total)
        return self._transport(octets, at + head, stop, protocol, change)

    def _transport(
        self, octets: bytearray, at: int, stop: int, protocol: int, change: tuple[bytes, bytes]
    ) -> tuple[int, int]:
        least, where = {6: (20, 16), 17: (8, 6)}.get(protocol, (0, 0))
        if not least or stop < at + least:
            end = at + 4 if protocol in (1, 58) and stop >= at + 4 else at  # ICMP: type and code
            return end, end
        head = least if protocol == 17 else max(least, 4 * (octets[at + 12] >> 4))
        content = min(at + head, stop)
        before = bytes(octets[at:stop])
        ports = set(struct.unpack_from(">HH", octets, at))
        end = stop if ports & PORTS else content
        if ports & PTP_PORTS and protocol == 17:
            end = content = self._ptp(octets, content, stop)
        elif end > content:
            self._names(octets, content)
        if protocol == 6 or before[where : where + 2] != b"\0\0":  # UDP: 0 is no checksum
            _adjust(octets, at + where, *change)
            _adjust(octets, at + where, before, bytes(octets[at:stop]), skip=where)
        return content, end

    def _ptp(self, octets: bytearray, at: int, stop: int | None = None) -> int:
        """Rewrite identities; where the message ends that is left."""
        stop = len(octets) if stop is None else stop
        if stop < at + 34:
            return at
        kind = octets[at] & 15
        end = at + PTP_LENGTHS.get(kind, 0)
        if end == at or end > stop:
            return at
        for place in dict.fromkeys((20, PTP_IDENTITIES.get(kind, 20))):
            self._identity(octets, at + place)
        return end

    def _identity(self, octets: bytearray, at: int) -> None:
        raw = bytes(octets[at : at + 8])
        if raw[3:5] == b"\xff\xfe":
            self._macs.add(raw[:3] + raw[5:])
            octets[at : at + 8] = self.pseudonyms.eui64(raw)
        else:
            octets[at : at + 8] = self.pseudonyms.ipv6(raw + raw)[8:]

    def _mac(self, octets: bytearray, at: int) -> None:
        raw = bytes(octets[at : at + 6])
        self._macs.add(raw)
        octets[at : at + 6] = self.pseudonyms.mac(raw)

    def _address(self, octets: bytearray, at: int, size: int) -> None:
        raw = bytes(octets[at : at + size])
        self._ips.add(raw)
        octets[at : at + size] = self.pseudonyms.ipv4(raw) if size == 4 else self.pseudonyms.ipv6(raw)

    def _names(self, octets: bytearray, at: int) -> None:
        """Names inside content, each by a pseudonym of its own length."""
        content = bytes(octets[at:])
        for name in self.pseudonyms.names:
            old = name.encode("utf-8")
            if old in content:
                content = content.replace(old, self.pseudonyms.name(name).encode("ascii"))
        octets[at:] = content


def _adjust(octets: bytearray, at: int, old: bytes, new: bytes, skip: int = -1) -> None:
    """Carry a checksum over a change (RFC 1624, equation 3); ``skip`` is where it stands in old and new."""
    if len(octets) < at + 2 or old == new:
        return
    total = (~int.from_bytes(octets[at : at + 2], "big")) & 0xFFFF
    total += _sum(new, skip) + 0xFFFF - _folded(_sum(old, skip))
    octets[at : at + 2] = ((~_folded(total)) & 0xFFFF).to_bytes(2, "big")


def _sum(octets: bytes, skip: int) -> int:
    if skip >= 0:
        octets = octets[:skip] + b"\0\0" + octets[skip + 2 :]
    if len(octets) % 2:
        octets += b"\0"
    return int(np.frombuffer(octets, ">u2").sum(dtype=np.int64))


def _folded(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
