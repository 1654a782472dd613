"""TCP connections (RFC 9293): who opened them, what follows on what, PDUs over several segments.

The rules, in the words of ``sensor.track.tcp``: bytes in order are read once; a segment that was there
before is read on its own and marked; what comes after missing bytes is marked; a PDU is complete
with its last byte. Of a PDU that the capture cut, the rest is skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

FIN, SYN, RST, ACK = 1, 2, 4, 16
WRAP = 2**32
IN_ORDER, FIRST, GAP, REPEATED, OVERLAP, LATE, OUTSIDE, COVERS = range(8)
TAIL = 64
WINDOW = 1 << 20
HOLE = 8192
ROOM = 16_384
WAIT = 2_000_000_000


@dataclass
class Segment:
    """A TCP header and the payload captured; ``sent`` is how long that was on the wire."""

    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    payload: bytes
    sent: int


@dataclass
class Stretch:
    """Octets to be read as one; ``own`` says which of them came with the segment."""

    data: bytes
    own: tuple[int, int]
    skip: int = 0


@dataclass
class Hole:
    """Missing octets, and what could not be read on both sides of them."""

    ts: int
    seq: int  # of the first octet that is missing
    missing: int
    before: bytes  # the beginning of a PDU
    skip: int  # octets that belong to a PDU before it
    behind: bytes = b""  # up to the first PDU that was read
    open: bool = True  # none was read there yet
    room: int = 0

    def follow(self, data: bytes) -> bool:
        """Octets in order behind the hole; False when not all find room."""
        fits = data[: self.room]
        self.room -= len(fits)
        self.behind += fits
        return fits == data

    def fits(self, ts: int, seq: int, size: int) -> bool:
        """Whether octets lie in the hole, in time."""
        return ts - self.ts <= WAIT and (seq - self.seq) % WRAP + size <= self.missing

    def fill(self, seq: int, data: bytes) -> Stretch:
        """What can be read now that these octets came."""
        place = (seq - self.seq) % WRAP
        front, reaches = place == 0, place + len(data) == self.missing
        text = (self.before if front else b"") + data + (self.behind if reaches else b"")
        begin = len(self.before) if front else 0
        return Stretch(text, (begin, begin + len(data)), self.skip if front else 0)

    def settle(self, half: Half, seq: int, size: int, text: bytes, first: int | None, left: Left) -> None:
        """After ``text`` was read: what is left, and where its first PDU began."""
        place = (seq - self.seq) % WRAP
        reaches = place + size == self.missing
        if self.open and reaches and (place == 0 or first is not None):
            half.waiting, half.skip, half.gap = left.data, left.skip, False
        if place == 0:
            self.seq, self.missing = (seq + size) % WRAP, self.missing - size
            self.before, self.skip = left.data, left.skip
            if not self.missing:
                half.kept = None
            return
        self.behind = text[:first]
        self.open = self.open and reaches and first is None
        self.missing = place


@dataclass
class Left:
    """The head of a PDU that goes on, or octets that are to be skipped."""

    data: bytes = b""
    skip: int = 0


@dataclass
class Half:
    """One direction of a connection."""

    kept: Hole | None = None
    dull: bool = False  # the hole lies in octets that would have been skipped

    next: int | None = None
    waiting: bytes = b""
    gap: bool = False
    skip: int = 0
    hole: tuple[int, int] | None = None  # first sequence number and length of what is missing
    other: int | None = None  # what would follow on a segment outside the window
    tail: bytes = b""  # last octets before ``next``
    unseen: int = 0  # octets of holes that were neither filled nor acknowledged
    edge: int = 0  # sequence number behind the latest of these holes
    since: int = 0  # when it was seen


@dataclass
class Connection:
    """Sides are 0 and 1; ``opener`` sent the SYN, ``master`` is the client of the protocol spoken."""

    stream: int
    opener: int = 0
    master: int = 0
    proto: str = ""
    opened: bool = False
    told: bool = False
    halves: tuple[Half, Half] = field(default_factory=lambda: (Half(), Half()))


def segment(data: bytes, sent: int) -> Segment | None:
    """The TCP header in ``data``, ``sent`` octets on the wire; None when there is no whole one."""
    if min(len(data), sent) < 20:
        return None
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", data)
    header = (offset >> 4) * 4
    if header < 20 or header > sent:
        return None
    return Segment(sport, dport, seq, ack, flags, data[header:sent], sent - header)


class Connections:
    """All connections of a capture.

    Parameters
    ----------
    ports : dict
        Protocol by server port.
    """

    def __init__(self, ports: dict[int, str]) -> None:
        self._ports = ports
        self._known: dict[tuple[tuple[str, int], tuple[str, int]], Connection] = {}
        self._serial = 0

    def find(self, src: str, dst: str, seg: Segment) -> tuple[Connection, int]:
        """Connection of a segment and the side that sent it; a SYN that opens another one begins anew."""
        ends = sorted(((src, seg.sport), (dst, seg.dport)))
        side = int((src, seg.sport) != ends[0])
        key = (ends[0], ends[1])
        known = self._known.get(key)
        if known is None or self._opens_another(known, side, seg):
            known = self._known[key] = Connection(self._serial)
            self._serial += 1
            self._set_sides(known, side, seg)
        return known, side

    @staticmethod
    def _opens_another(known: Connection, side: int, seg: Segment) -> bool:
        if not seg.flags & SYN:
            return False
        half = known.halves[side]
        if seg.flags & ACK and known.opened and half.next is None:
            return False  # the answer to the SYN we saw
        return half.next != (seg.seq + 1) % WRAP  # else: the same SYN again

    def _set_sides(self, new: Connection, side: int, seg: Segment) -> None:
        own, other = self._ports.get(seg.sport, ""), self._ports.get(seg.dport, "")
        if seg.flags & SYN:
            new.opener = 1 - side if seg.flags & ACK else side
        elif bool(own) != bool(other):
            new.opener = side if other else 1 - side
        else:
            new.opener = side if seg.dport <= seg.sport else 1 - side
        new.master = new.opener
        new.proto = other if new.opener == side else own
        if bool(own) != bool(other):  # the port of a protocol tells who serves in it
            new.master = side if other else 1 - side
            new.proto = own or other


def place(half: Half, seq: int, size: int) -> tuple[int, int]:
    """Where data stand in their direction, and how many of their octets are old; moves ``half`` on."""
    end = (seq + size) % WRAP
    if half.next is None:
        half.next = end
        return FIRST, 0
    ahead = (seq - half.next) % WRAP
    if ahead == 0:
        half.next, half.other = end, None
        return IN_ORDER, 0
    old = WRAP - ahead
    if min(ahead, old) > WINDOW:
        if half.other != seq:
            half.other = end
            return OUTSIDE, 0
        half.next, half.hole, half.other = end, None, None
        return GAP, 0
    if ahead < old:
        half.hole = (half.next, ahead)
        half.next = end
        return GAP, 0
    if size <= old:
        if fills(half, seq, size):
            return LATE, 0
        if half.hole is not None:
            before = (half.hole[0] - seq) % WRAP
            if before + half.hole[1] <= size:
                return COVERS, before
        return REPEATED, 0
    half.next = end
    return OVERLAP, old


def fills(half: Half, seq: int, size: int) -> bool:
    """Whether octets lie in the hole; what stays open is the part before them, else the part behind."""
    if half.hole is None:
        return False
    start, missing = half.hole
    begin = (seq - start) % WRAP
    if begin + size > missing:
        return False
    left = (start, begin) if begin else ((start + size) % WRAP, missing - size)
    half.hole = left if left[1] else None
    return True


def differs(half: Half, seq: int, data: bytes) -> bool:
    """Whether octets differ from those kept for the same sequence numbers."""
    if half.next is None:
        return False
    for place_, octet in enumerate(data):
        back = (half.next - seq - place_) % WRAP
        if 0 < back <= len(half.tail) and half.tail[-back] != octet:
            return True
    return False
