"""A slow, readable decoder of EtherNet/IP PDUs and CIP messages, written from ODVA's volumes 1 and 2."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

COMMANDS = {0, 4, 0x63, 0x64, 0x65, 0x66, 0x6F, 0x70, 0x72, 0x73, 0xC8}
TYPES = {
    0xC1: "?", 0xC2: "b", 0xC3: "<h", 0xC4: "<i", 0xC5: "<q", 0xC6: "B", 0xC7: "<H", 0xC8: "<I", 0xC9: "<Q",
    0xCA: "<f", 0xCB: "<d", 0xD1: "B", 0xD2: "<H", 0xD3: "<I", 0xD4: "<Q",
}  # fmt: skip
IDENTITY_SIZES = {1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 4}


class Broken(Exception):
    """Something that should be there is not."""


@dataclass
class Row:
    """What one header or service says of itself."""

    proto: str
    kind: int
    size: int
    answers: bool = False
    cause: int = -1
    point: str = ""
    value: float = math.nan
    type: int = -1
    count: int = -1
    seq: int = -1
    state: int = -1
    aux: int = -1
    name: str = ""
    ident: str = ""
    negative: bool = False
    malformed: bool = False
    unanswered: bool = False


@dataclass
class Asked:
    """A request that waits."""

    frame: int
    service: int
    group: int | str | None
    point: str
    attribute: int | None
    carries_io: bool = False
    name: str = ""


@dataclass
class Path:
    """What a path names; ``group`` is "tag" for a tag, ``part`` the kind of segment that added text last."""

    text: str = ""
    group: int | str | None = None
    instance: int | None = None
    attribute: int | None = None
    broken: bool = False
    classed: bool = False
    part: str = ""


def u16(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise Broken
    return int.from_bytes(data[at : at + 2], "little")


def u32(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise Broken
    return int.from_bytes(data[at : at + 4], "little")


def segment_size(data: bytes) -> int:
    """Octets of the first segment with its pad."""
    head = data[0]
    kind, low = head >> 5, head & 31
    if len(data) < 2:
        raise Broken
    even = {
        0: lambda: (1 + (1 + data[1] if low & 16 else 1)) + (2 if low & 15 == 15 else 0),
        1: lambda: 10 if head == 0x34 else {0: 2, 1: 4, 2: 6}.get(head & 3, 0),
        2: lambda: 2 + 2 * data[1] if low & 16 else 2,
        3: lambda: 1 + low if low else 0,
    }.get(kind)
    if even is not None:
        size = even()
    elif head == 0x80:
        size = 2 + 2 * data[1]
    elif head == 0x91:
        size = 2 + data[1]
    else:
        size = 0
    size += size % 2
    if not 2 <= size <= len(data):
        raise Broken
    return size


def read_path(data: bytes) -> Path:
    """Volume 1, appendix C."""
    path = Path()
    while data:
        try:
            size = segment_size(data)
        except Broken:
            path.broken = True
            break
        part, data = data[:size], data[size:]
        head = part[0]
        if head >> 5 == 1:
            _logical(path, part)
        elif head >> 5 == 3 or head == 0x91:
            name = part[1 : 1 + (head & 31)] if head >> 5 == 3 else part[2 : 2 + part[1]]
            joint = "" if not path.text else "." if path.group == "tag" else "/"
            path.text += joint + name.decode("latin-1")
            path.group, path.part = "tag", "name"
    path.text = path.text[:255]
    return path


def _logical(path: Path, part: bytes) -> None:
    octets = 1 << (part[0] & 3)
    value = int.from_bytes(part[-octets:] if octets > 1 else part[1:2], "little")
    if part[0] == 0x34:
        value = part[1]
    kind, before = part[0] >> 2 & 7, path.part
    path.part = ""
    tagged = path.group == "tag"
    if kind == 0:
        path.text += ("/" if path.text else "") + f"0x{value:0{2 * octets}x}"
        path.group = "tag" if tagged else value
        path.instance = path.attribute = None
        path.classed = True
    elif kind == 1 and path.classed:
        path.text += f"/0x{value:0{2 * octets}x}"
        path.instance = value
    elif kind == 4 and path.instance is not None:
        path.text += f"/{value}"
        path.attribute = value
    elif kind == 2 and before in ("name", "member"):
        path.text = path.text[:-1] + f",{value}]" if before == "member" else path.text + f"[{value}]"
        path.part = "member"


class Twin:
    """One connection; ``pdu`` takes its PDUs one after another."""

    def __init__(self) -> None:
        self._asked: dict[tuple[bytes | int, object], Asked] = {}
        self._connections: dict[bytes, int] = {}

    def pdu(self, data: bytes, from_client: bool, frame: int) -> list[Row]:
        """Rows of one whole PDU of send RR data, send unit data, or of what lists."""
        command, length = struct.unpack_from("<HH", data)
        session, status = struct.unpack_from("<II", data, 4)
        row = Row("enip", command, 24 + length, not from_client, status, negative=status != 0, aux=session)
        row.cause = status if status < 2**31 else -1
        rows = [row]
        body = data[24:]
        try:
            if command in (4, 0x63, 0x64) and body:
                _listed(row, body)
            elif command in (0x6F, 0x70):
                rows += self._carried(row, data, from_client, frame)
        except Broken:
            row.malformed = True
        return rows

    def _carried(self, row: Row, data: bytes, from_client: bool, frame: int) -> list[Row]:
        interface = u32(data, 24)
        if len(data) < 30:
            raise Broken
        found = _items(row, data[30:])
        message, count = found.get(0xB2), -1
        key: bytes | int = data[12:20]
        if 0xB1 in found:
            message = found[0xB1]
            if len(message) >= 2:
                count = key = u16(message, 0)
                message = message[2:]
                row.seq = count if row.seq < 0 else row.seq
        if from_client:
            self._asked[key, 0] = Asked(frame, -1, None, "", None)
        elif (key, 0) in self._asked:
            row.state = self._asked[key, 0].frame
        else:
            row.unanswered = True
        if message is None or len(message) < 2 or interface:
            return []
        rows = self._message(message, key, frame)
        rows[0].seq = count
        return rows

    def _message(self, data: bytes, key: bytes | int, frame: int) -> list[Row]:
        row, rest, group = self._service(data, key, 0, frame)
        rows = [row]
        if data[0] == 0x52 and group == 6 and len(rest) >= 4:
            size = u16(rest, 2)
            row.malformed |= 4 + size > len(rest)
            data = rest[4 : 4 + size]
            if len(data) < 2:
                return rows
            row, rest, group = self._service(data, key, "inside", frame)
            rows.append(row)
        if data[0] & 0x7F == 10 and len(rest) >= 2:
            rows += self._multiple(row, rest, key, frame)
        return rows

    def _multiple(self, outer: Row, data: bytes, key: bytes | int, frame: int) -> list[Row]:
        outer.count = u16(data, 0)
        starts = [u16(data, 2 + 2 * i) for i in range(outer.count) if 4 + 2 * i <= len(data)]
        outer.malformed |= len(starts) < outer.count
        rows = []
        before = 1 + 2 * outer.count
        for place, start in enumerate(starts):
            stop = starts[place + 1] if place + 1 < len(starts) else len(data)
            if start <= before or stop - start < 2 or stop > len(data):
                outer.malformed = True
                break
            before = stop - 1
            rows.append(self._service(data[start:stop], key, place + 1 if place < 254 else None, frame)[0])
        return rows

    def _service(
        self, data: bytes, key: bytes | int, place: object, frame: int
    ) -> tuple[Row, bytes, int | str | None]:
        service, answers = data[0] & 0x7F, data[0] >= 0x80
        row = Row("cip", service, len(data), answers)
        if answers:
            begin = 4 + 2 * data[3] if len(data) >= 4 else 4
            row.malformed = len(data) < begin
            rest = data[begin:]
            group = self._answer(row, data, rest, key, place)
        else:
            begin = 2 + 2 * data[1]
            row.malformed = len(data) < begin
            rest = data[begin:]
            group = self._request(row, data, rest, key, place, frame)
        if 0x4B <= service <= 0x63 and isinstance(group, int) and group < 2**23:
            row.kind = group * 256 + service
        if group in ("tag", 0x6B) and (row.cause in (-1, 0, 6)):
            _number(row, data[0], rest)
        if group == 6 and service in (0x54, 0x5B) and row.cause <= 0:
            at = 0 if answers else 2
            row.aux = u32(rest, at) if len(rest) >= at + 4 else row.aux
        return row, rest, group

    def _request(
        self, row: Row, data: bytes, rest: bytes, key: bytes | int, place: object, frame: int
    ) -> int | str | None:
        path = read_path(data[2 : 2 + 2 * data[1]])
        row.malformed |= path.broken and len(data) >= 2 + 2 * data[1]
        tagged = path.group == "tag"
        bare = path.instance is not None and path.attribute is None and not tagged
        if data[0] in (3, 4) and len(rest) >= 4 and bare:
            path.attribute = u16(rest, 2)
            path.text += f"/{path.attribute}"
        row.point = path.text
        row.name = path.text if tagged else ""
        if data[0] == 5 and path.group == 1 and rest:
            row.aux = rest[0]
        carries_io = False
        if path.group == 6 and data[0] in (0x54, 0x5B):
            carries_io, row.name = opening(rest, data[0] == 0x5B)
        if place is not None:
            self._asked[key, place] = Asked(
                frame, data[0], path.group, path.text, path.attribute, carries_io, row.name
            )
        return path.group

    def _answer(
        self, row: Row, data: bytes, rest: bytes, key: bytes | int, place: object
    ) -> int | str | None:
        if len(data) >= 3:
            row.cause = data[2]
            row.negative = data[2] not in (0, 6)
        asked = self._asked.get((key, place))
        if asked and place == 0 and asked.service == 0x52 and asked.group == 6:
            inside = self._asked.get((key, "inside"))
            if inside and inside.frame == asked.frame and inside.service == row.kind:
                asked = inside
        if asked is None or asked.service != row.kind:
            row.unanswered = True
            return None
        row.state, row.point = asked.frame, asked.point
        row.name = asked.point if asked.group == "tag" else asked.name
        if asked.group == 1 and row.cause == 0:
            row.ident = _product(rest, row.kind, asked.attribute)
        if asked.group == 6 and row.cause == 0:
            if row.kind == 0x4E and len(rest) >= 8:
                row.aux = self._connections.pop(rest[:8], -1)
            elif asked.carries_io and len(rest) >= 16:
                self._connections[rest[8:16]] = u32(rest, 0)
        return asked.group


def opening(data: bytes, large: bool) -> tuple[bool, str]:
    """(does a forward open ask for I/O, where the outputs lie that it wants to own alone)."""
    wide = 4 if large else 2
    if len(data) < 31 + 2 * wide or data[30 + 2 * wide] & 15 > 1:
        return False, ""
    out = int.from_bytes(data[26 : 26 + wide], "little")
    back = int.from_bytes(data[30 + wide : 30 + 2 * wide], "little")
    bits = 8 * wide
    way, answers = out >> (bits - 3) & 3, back >> (bits - 3) & 3
    size = out & (0xFFFF if large else 0x1FF)
    heartbeat = size <= (2 if data[30 + 2 * wide] & 15 == 1 else 0)
    if way == 0 and answers == 0:
        return False, ""
    if way not in (1, 2) or out >> (bits - 1) or heartbeat or len(data) < 32 + 2 * wide:
        return True, ""
    rest = data[32 + 2 * wide :][: 2 * data[31 + 2 * wide]]
    ports, numbers = "", []
    while rest:
        try:
            octets = segment_size(rest)
        except Broken:
            break
        part, rest = rest[:octets], rest[octets:]
        if part[0] >> 5 == 0:
            ports += _port(part)
        elif part[0] >> 5 == 1 and part[0] != 0x34 and part[0] >> 2 & 7 in (1, 3):
            numbers.append(part[1] if part[0] & 3 == 0 else int.from_bytes(part[2:], "little"))
    if answers and len(numbers) > 1:
        numbers.pop()
    return True, (ports + (str(numbers[-1]) if numbers else ""))[:255]


def _port(part: bytes) -> str:
    number, link = part[0] & 15, part[2:] if part[0] & 16 else part[1:]
    if number == 15:
        number, link = u16(link, 0), link[2:]
    where = link[: part[1]].decode("latin-1") if part[0] & 16 else str(link[0])
    return f"{number}.{where}/"


def _product(data: bytes, service: int, attribute: int | None) -> str:
    """Name of a product in an answer of the identity object."""
    try:
        if service == 1:
            data = data[14:]
        elif service == 3:
            data = _seventh(data)
        elif service != 14 or attribute != 7:
            return ""
    except Broken:
        return ""
    if not data or len(data) < 1 + data[0]:
        return ""
    return data[1 : 1 + data[0]].decode("latin-1")


def _seventh(data: bytes) -> bytes:
    left, at = u16(data, 0), 2
    for _ in range(left):
        number, status = u16(data, at), u16(data, at + 2)
        at += 4
        if status == 0 and number == 7:
            return data[at:]
        if status == 0:
            at += IDENTITY_SIZES[number] if number in IDENTITY_SIZES else len(data)
    raise Broken


def _number(row: Row, code: int, data: bytes) -> None:
    at = {0x4D: 4, 0x53: 8, 0xCC: 2, 0xD2: 2}.get(code)
    if at is None or len(data) < 3:
        return
    kind = u16(data, 0)
    form = TYPES.get(kind, "")
    if not form or len(data) < at + struct.calcsize(form):
        return
    value = float(struct.unpack_from(form, data, at)[0])
    if not math.isnan(value):
        row.value, row.type = value, kind


def _items(row: Row, data: bytes) -> dict[int, bytes]:
    """Data items; addresses go to the row."""
    found: dict[int, bytes] = {}
    row.count = u16(data, 0)
    at = 2
    for _ in range(row.count):
        if at + 4 > len(data):
            row.malformed = True
            break
        kind, size = u16(data, at), u16(data, at + 2)
        body = data[at + 4 : at + 4 + size]
        row.malformed |= len(body) < size
        at += 4 + len(body)
        if kind in (0xA1, 0x8002):
            row.malformed |= size != (4 if kind == 0xA1 else 8)
            row.point = str(u32(body, 0)) if len(body) >= 4 else row.point
            row.seq = u32(body, 4) if kind == 0x8002 and len(body) >= 8 else row.seq
        elif kind in (0xB1, 0xB2):
            found.clear()
            found[kind] = body
        elif kind == 0x0C and not row.ident and len(body) > 32 and len(body) > 32 + body[32]:
            row.ident = body[33 : 33 + body[32]].decode("latin-1")
    return found


def _listed(row: Row, data: bytes) -> None:
    try:
        _items(row, data)
    finally:
        row.point, row.seq = "", -1
