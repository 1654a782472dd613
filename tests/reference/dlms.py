"""A slow, readable decoder of DLMS APDUs, written from IEC 62056-5-3, not from the engine."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

CIPHERED = {33, 37, 38, 40, 44, 45, 46, 54, 56, 65, 69, 70, 72, 76, 77, 78, 86, 88} | {
    *range(200, 216), 219, 220, 221
}  # fmt: skip
NUMBERS = {3: ">B", 5: ">i", 6: ">I", 15: ">b", 16: ">h", 17: ">B", 18: ">H", 20: ">q", 21: ">Q", 22: ">B",
           23: ">f", 24: ">d"}  # fmt: skip


class Short(Exception):
    """An octet that the service needs is not there."""


@dataclass
class Said:
    """What an APDU says of itself."""

    kind: int
    cause: int = -1
    point: str = ""
    count: int = -1
    seq: int = -1
    value: float = math.nan
    ident: str = ""
    negative: bool = False
    encrypted: bool = False
    malformed: bool = False


class Octets:
    """Octets that are taken one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if len(self.data) < count:
            raise Short
        head, self.data = self.data[:count], self.data[count:]
        return head

    def number(self, count: int = 1) -> int:
        return int.from_bytes(self.take(count), "big")

    def length(self) -> int:
        first = self.number()
        if first < 0x80:
            return first
        if first == 0x80 or first > 0x84:
            raise Short
        return self.number(first & 0x7F)


def decode(apdu: bytes) -> Said:
    """Everything up to the first octet that is missing."""
    said = Said(apdu[0])
    rest = Octets(apdu[1:])
    try:
        _decode(said, rest)
    except Short:
        said.malformed = True
    return said


def _decode(said: Said, rest: Octets) -> None:
    kind = said.kind
    if kind in CIPHERED:
        _ciphered(said, rest)
    elif 96 <= kind <= 99:
        _association(said, rest)
    elif kind == 216:
        said.negative = True
        said.cause = rest.number(2)
    elif kind == 14:
        said.negative = True
        rest.take(1)
        said.cause = rest.number(2)
    elif kind == 15:
        head = Octets(rest.take(5))
        said.seq = head.number(4) & 0xFFFFFF
    elif kind in (5, 6, 12, 13, 22):
        said.count = min(rest.length(), 2**31 - 1)
        if kind in (12, 13) and said.count and rest.number() == 1:
            said.negative = True
            said.cause = rest.number() if rest.data else -1
    elif kind == 24:
        rest.take(2)
    elif kind == 194:
        if rest.data[:1] == b"\x01":
            rest.take(1)
            rest.take(rest.length())
        else:
            rest.take(1)
        _object(said, rest, "")
        said.value = _number(rest.data)
        rest.take(1)
    elif kind in (192, 193, 195):
        choice, said.seq = _choice(rest)
        _request(said, rest, choice)
    elif kind in (196, 197, 199):
        choice, said.seq = _choice(rest)
        _response(said, rest, choice)
    elif kind == 198:
        raise Short


def _choice(rest: Octets) -> tuple[int, int]:
    choice, invoke = rest.take(2)
    return choice, invoke & 0x0F


def _ciphered(said: Said, rest: Octets) -> None:
    said.encrypted = True
    if said.kind == 221:
        rest.take(2)
        return
    if said.kind in (219, 220):
        title = rest.take(rest.length())
        said.ident = title[:32].hex()
    length = rest.length()
    content = Octets(rest.data[:length]) if length >= 5 else rest
    head = rest.take(5)
    said.encrypted = bool(head[0] & 0x20)
    said.seq = int.from_bytes(head[1:], "big")
    if length < 5 or len(content.data) < length:
        raise Short


def _association(said: Said, rest: Octets) -> None:
    if said.kind == 96:
        length = rest.length()
        said.cause = 0
    else:
        length = rest.length()
    whole = length == len(rest.data)
    fields = Octets(rest.data[:length])
    while fields.data:
        field = fields.number()
        content = fields.take(fields.length())
        if (said.kind, field) == (96, 0x8B) and content:
            said.cause = content[-1]
        elif (said.kind, field) == (97, 0xA2) and len(content) >= 3:
            said.cause = content[-1]
            said.negative |= content[-1] != 0
        elif (said.kind, field) in ((96, 0xA6), (97, 0xA4)) and len(content) > 2:
            said.ident = content[2:34].hex()
        elif said.kind in (98, 99) and field == 0x80 and content:
            said.cause = content[0]
    if not whole:
        raise Short


def _object(said: Said, rest: Octets, letter: str) -> None:
    one = rest.take(9)
    code = ".".join(str(octet) for octet in one[2:8])
    said.point = f"{int.from_bytes(one[:2], 'big')}/{code}/{letter}{one[8]}"


def _number(data: bytes) -> float:
    form = NUMBERS.get(data[0]) if data else None
    if form is None or len(data) <= struct.calcsize(form):
        return math.nan
    return float(struct.unpack_from(form, data, 1)[0])


def _request(said: Said, rest: Octets, choice: int) -> None:
    letter = "m" if said.kind == 195 else ""
    single = {192: (1,), 193: (1, 2), 195: (1, 4)}[said.kind]
    several = {192: (3,), 193: (4, 5), 195: (3, 5)}[said.kind]
    blocks = {192: (2,), 193: (3,), 195: (2, 6)}[said.kind]
    if choice in single:
        said.count = 1
        _object(said, rest, letter)
        if (said.kind, choice) == (193, 1) and rest.number() == 0:
            said.value = _number(rest.data)
            rest.take(1)
    elif choice in several:
        said.count = min(rest.length(), 2**31 - 1)
        if said.count:
            _object(said, rest, letter)
    elif choice in blocks:
        rest.take(4)
    else:
        raise Short


def _result(said: Said, result: int) -> None:
    said.cause = result
    said.negative |= result != 0


def _answer(said: Said, rest: Octets) -> None:
    choice = Octets(rest.take(2))
    which, first = choice.number(), choice.number()
    if which == 1:
        _result(said, first)
        return
    said.value = _number(bytes([first]) + rest.data)
    if which:
        raise Short


def _response(said: Said, rest: Octets, choice: int) -> None:
    if not rest.data:
        raise Short
    if choice == 1:
        said.count = 1
        if said.kind == 196:
            _answer(said, rest)
            return
        _result(said, rest.number())
        if said.kind == 199 and len(rest.data) >= 2 and rest.number() == 1:
            _answer(said, rest)
    elif (said.kind, choice) == (196, 2):
        rest.take(5)
        if rest.number() == 1:
            _result(said, rest.number())
    elif (said.kind, choice) in ((196, 3), (197, 5), (199, 3)):
        said.count = min(rest.length(), 2**31 - 1)
    elif (said.kind, choice) == (197, 3):
        _result(said, rest.number())
    elif not (said.kind in (197, 199) and choice in (2, 4)):
        raise Short
