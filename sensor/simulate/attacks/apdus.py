"""IEC 60870-5-104 as the attacks need it: APDUs in a segment, objects in an ASDU, numbers kept in order.

Whoever puts an I-frame into somebody else's connection moves N(S) of that side, and N(R) of the other one,
for everything that follows (IEC 60870-5-104:2006, 5.1); :class:`Link` does so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sensor.simulate.attacks import common
from sensor.simulate.build import iec104 as i
from sensor.simulate.scene import Connection
from sensor.simulate.stage import MS, NotOffered, Stage

PORT: Final = 2404
NEEDS: Final = "an IEC 60870-5-104 connection (TCP port 2404) with I-frames"
WRAP: Final = 0x7FFF

ELEMENTS: Final = {
    1: 1, 3: 1, 5: 2, 7: 5, 9: 3, 11: 3, 13: 5, 15: 5, 30: 8, 31: 8, 32: 9, 33: 12, 34: 10, 35: 10,
    36: 12, 37: 12,
    45: 1, 46: 1, 47: 1, 48: 3, 49: 3, 50: 5, 51: 4, 58: 8, 59: 8, 60: 8, 61: 10, 62: 10, 63: 12, 64: 11,
    70: 1, 100: 1, 101: 1, 102: 0, 103: 7, 105: 1,
}  # fmt: skip
"""Octets of one information element by type id (60870-5-101, 7.3)."""

COMMANDS: Final = frozenset(range(45, 70))
SINGLE, DOUBLE = (1, 30), (3, 31)
NORMALISED, SCALED, FLOAT = (9, 34), (11, 35), (13, 36)
MEASURED: Final = (*NORMALISED, *SCALED, *FLOAT)


def apdus(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, APDU) of the whole APDUs that begin in a segment."""
    at = 0
    while at + 6 <= len(payload) and payload[at] == 0x68:
        size = 2 + payload[at + 1]
        if size < 6 or at + size > len(payload):
            return
        yield at, payload[at : at + size]
        at += size


def is_i(apdu: bytes) -> bool:
    """Whether an APDU is an I-frame with a whole ASDU head."""
    return not apdu[2] & 1 and len(apdu) >= 12


def objects(apdu: bytes) -> Iterator[tuple[int, int, int]]:
    """(information object address, offset of its element, size) of an I-frame's objects."""
    size = ELEMENTS.get(apdu[6])
    if size is None:
        return
    count, sequence, at, ioa = apdu[7] & 0x7F, apdu[7] & 0x80, 12, 0
    for number in range(count):
        if not sequence or number == 0:
            if at + 3 > len(apdu):
                return
            ioa, at = int.from_bytes(apdu[at : at + 3], "little"), at + 3
        else:
            ioa += 1
        if at + size > len(apdu):
            return
        yield ioa, at, size
        at += size


@dataclass(slots=True)
class Station:
    """What a capture tells about one controlled station."""

    talk: Connection
    ca: int = 1
    oa: int = 0
    points: dict[int, int] = field(default_factory=dict)
    commands: list[bytes] = field(default_factory=list)


def station(stage: Stage) -> Station:
    """The busiest controlled station in the time of the attack."""
    return known(stage, common.busiest(stage, PORT, "IEC 60870-5-104"))


def commanded(stage: Stage) -> Station:
    """The busiest station that is commanded somewhere in the capture (recorded on an earlier day)."""
    common.busiest(stage, PORT, "IEC 60870-5-104")
    for talk in stage.scene.talks(PORT):
        if stage.rows(talk.rows):
            found = known(stage, talk)
            if found.commands:
                return found
    raise NotOffered("an IEC 60870-5-104 command (types 45 to 69)")


def known(stage: Stage, talk: Connection) -> Station:
    """What a connection tells about its station."""
    found = Station(talk)
    for row, side in zip(found.talk.rows, found.talk.sides, strict=True):
        for _, apdu in apdus(stage.scene.packets[row].payload):
            if is_i(apdu) and side == 1:
                ca = int.from_bytes(apdu[10:12], "little")
                found.ca = ca if ca != 0xFFFF else found.ca
                found.points |= {ioa: apdu[6] for ioa, _, _ in objects(apdu) if apdu[6] < 45}
            elif is_i(apdu):
                found.oa = apdu[9]
                if apdu[6] in COMMANDS and apdu[8] & 63 == 6:
                    found.commands.append(apdu[6:])
    if not found.points:
        raise NotOffered(NEEDS)
    return found


@dataclass(slots=True)
class _Change:
    ts: int
    side: int
    at: int
    count: int


class Link:
    """An IEC 104 connection into which an attack speaks, or out of which it takes I-frames."""

    def __init__(self, stage: Stage, talk: Connection) -> None:
        self.stage, self.talk = stage, talk
        self._changes: list[_Change] = []

    def exchange(self, ts: int, asdu: bytes, *answers: bytes) -> None:
        """An ASDU of the master and the station's answers, in the next quiet moment from ``ts`` on."""
        at = self.stage.gap(self.talk, ts)
        self._say(0, at, asdu)
        for number, answer in enumerate(answers, 1):
            self._say(1, at + number * 4 * MS, answer)

    def control(self, ts: int, function: int, answer: int) -> None:
        """A U-frame of the master and its confirmation."""
        at = self.stage.gap(self.talk, ts)
        self.stage.speak(self.talk, 0, at, i.apci_u(function))
        self.stage.speak(self.talk, 1, at + 4 * MS, i.apci_u(answer))

    def block(self, row: int, apdu_count: int) -> None:
        """Take a station's segment with so many I-frames out."""
        packet = self.stage.packet(row)
        first = next(apdu for _, apdu in apdus(packet.payload) if is_i(apdu))
        self._changes.append(_Change(packet.ts, 1, sent(first), -apdu_count))
        self.stage.silence(self.talk, row, 1)

    def settle(self) -> None:
        """Move the numbers of everything behind."""
        for row, side in zip(self.talk.rows, self.talk.sides, strict=True):
            ts = self.stage.scene.packets[row].ts
            earlier = [change for change in self._changes if change.ts < ts]
            packet = self.stage.packet(row)
            if not earlier or not packet.size:
                continue
            body = bytearray(packet.payload)
            for at, apdu in apdus(packet.payload):
                if apdu[2] & 3 == 3:
                    continue
                if not apdu[2] & 1:
                    _put(body, at + 2, _moved(sent(apdu), earlier, side))
                _put(body, at + 4, _moved(received(apdu), earlier, 1 - side))
            self.stage.adjust(row, bytes(body))

    def _say(self, side: int, ts: int, asdu: bytes) -> None:
        base = self._number(side, ts)
        ns = _moved(base, [change for change in self._changes if change.ts < ts], side)
        nr = _moved(
            self._number(1 - side, ts), [change for change in self._changes if change.ts < ts], 1 - side
        )
        self.stage.speak(self.talk, side, ts, i.apci_i(ns, nr, asdu))
        self._changes.append(_Change(ts, side, base, 1))

    def _number(self, side: int, ts: int) -> int:
        """V(S) of a side at a time, in the numbers of the scene."""
        number = 0
        for row, sender in zip(self.talk.rows, self.talk.sides, strict=True):
            packet = self.stage.scene.packets[row]
            if packet.ts > ts:
                break
            for _, apdu in apdus(packet.payload):
                if sender == side and not apdu[2] & 1:
                    number = (sent(apdu) + 1) & WRAP
                elif sender != side and apdu[2] & 3 != 3:
                    number = max(number, received(apdu), key=lambda n: (n - number + 0x4000) & WRAP)
        return number


def sent(apdu: bytes) -> int:
    """N(S) of an I-frame."""
    return int.from_bytes(apdu[2:4], "little") >> 1


def received(apdu: bytes) -> int:
    """N(R) of an I- or S-frame."""
    return int.from_bytes(apdu[4:6], "little") >> 1


def _put(body: bytearray, at: int, number: int) -> None:
    struct.pack_into("<H", body, at, number << 1 | body[at] & 1)


def _moved(number: int, changes: list[_Change], side: int) -> int:
    """A number of a side behind changes; what was counted before them stays."""
    shift = sum(
        change.count
        for change in changes
        if change.side == side and (number - change.at - (change.count < 0)) & WRAP < 0x4000
    )
    return (number + shift) & WRAP


def with_elements(payload: bytes, change: Callable[[int, int, bytes], bytes]) -> bytes:
    """A segment in which elements are changed; ``change`` gets type, address and element."""
    out = bytearray(payload)
    for at, apdu in apdus(payload):
        if is_i(apdu):
            for ioa, place, size in objects(apdu):
                out[at + place : at + place + size] = change(apdu[6], ioa, apdu[place : place + size])
    return bytes(out)


def scaled(kind: int, element: bytes, change: Callable[[float], float]) -> bytes:
    """A measured value changed; other elements as they were."""
    if kind in FLOAT:
        (value,) = struct.unpack_from("<f", element)
        return struct.pack("<f", max(-3e38, min(3e38, change(value)))) + element[4:]
    if kind in (*NORMALISED, *SCALED):
        (number,) = struct.unpack_from("<h", element)
        return struct.pack("<h", max(-32768, min(32767, round(change(number))))) + element[2:]
    return element
