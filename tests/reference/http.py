"""A slow, readable reader of HTTP/1 connections, written from RFC 9110 and RFC 9112.

Fed with the segments of a connection of which none is missing. Where bytes are no HTTP, the rest of their
segment is dropped, and the next one may begin anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

METHODS = [
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND"),
    *("SUBSCRIBE", "NOTIFY", "M-SEARCH"),
]
OTHER = 99
MAX_HEADER = 8192
WORD = re.compile(rb"[A-Z0-9_-]{0,24}")
STATUS = re.compile(rb"HTTP/1\.\d \d\d\d[ \r\n]")
REQUEST = re.compile(rb"(?P<method>[A-Z0-9_-]{1,24}) (?P<target>.*) HTTP/1\.(?P<minor>\d)", re.DOTALL)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t;\r][^\n]*)?\n")
CHUNK_SO_FAR = re.compile(rb"[0-9A-Fa-f]{0,12}|[0-9A-Fa-f]{1,12}[ \t;\r][^\n]*")


class Foreign(Exception):
    """These bytes are no HTTP."""


class More(Exception):
    """The rest comes with a later segment."""


@dataclass
class Row:
    """What a message says; ``asked`` is the frame of a response's request."""

    frame: int
    side: int
    kind: int
    cause: int = -1
    name: str = ""
    point: str = ""
    ident: str = ""
    count: int = -1
    size: int = 0
    asked: int = -1
    malformed: bool = False
    negative: bool = False
    unanswered: bool = False


@dataclass
class Half:
    """One direction."""

    waiting: bytes = b""
    skip: float = 0
    mode: str = "message"


@dataclass
class Asked:
    """A request that waits for its response."""

    frame: int
    kind: int
    name: str
    upgrade: bool


@dataclass
class Head:
    """A header section taken apart."""

    start: bytes
    lines: list[bytes]
    ended: bool
    size: int
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    bad: bool = False

    def all(self, name: bytes) -> list[bytes]:
        """Values of every field of that name."""
        return [value for key, value in self.fields if key == name]


def chomp(line: bytes) -> bytes:
    """A line without the CR of its end."""
    return line[:-1] if line.endswith(b"\r") else line


def begins(data: bytes) -> None:
    """Raises when no start line is at the beginning, or not yet."""
    text = re.sub(rb"^[\r\n]{1,2}", b"", data)
    word = WORD.match(text)[0]  # type: ignore[index]
    if len(word) == len(text):
        raise More
    behind = text[len(word) : len(word) + 1]
    if not word or behind not in (b" ", b"/"):
        raise Foreign
    line, lf, _ = text[:MAX_HEADER].partition(b"\n")
    if behind == b"/":
        if STATUS.match(text):
            return
        if not lf and len(text) < 13 and b"HTTP/1.".startswith(text[:7]):
            raise More
        raise Foreign
    if not lf:
        raise Foreign if len(text) >= MAX_HEADER else More
    if not re.fullmatch(rb"[A-Z0-9_-]{1,24} .* HTTP/1\.\d|[A-Z0-9_-]{1,24}  HTTP/1\.\d", chomp(line), re.S):
        raise Foreign


def head(data: bytes) -> Head:
    """The header section at the beginning."""
    begins(data)
    skipped = len(data) - len(re.sub(rb"^[\r\n]{1,2}", b"", data))
    end, lines = skipped, []
    limited = data[:MAX_HEADER]
    while (lf := limited.find(b"\n", end)) >= 0:
        lines.append(chomp(limited[end:lf]))
        end = lf + 1
        if not lines[-1] and len(lines) > 1:
            return Head(lines[0], lines[1:-1], True, end)
    if len(data) < MAX_HEADER:
        raise More
    return Head(lines[0] if lines else limited[skipped:], lines[1:], False, MAX_HEADER)


def read_fields(found: Head) -> None:
    """Split the lines into names and values; whatever is odd makes the message bad."""
    for line in found.lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or min(name) <= 0x20:
            found.bad = True
            continue
        found.bad |= b"\r" in value or b"\0" in value
        found.fields.append((name.lower(), value.strip(b" \t")))


class Connection:
    """Reads the segments of one connection on a port of HTTP; side 0 opened it."""

    def __init__(self) -> None:
        self._halves = (Half(), Half())
        self._asked: list[Asked] = []
        self._left = False

    def feed(self, frame: int, side: int, data: bytes) -> list[Row]:
        """Messages whose header section ends in this segment."""
        half = self._halves[side]
        rows: list[Row] = []
        if self._left:
            try:
                begins(data)
            except (Foreign, More):
                return []
            half.mode, self._left, self._asked = "message", False, []
        skipped = int(min(half.skip, len(data)))
        half.skip -= skipped
        own = data[skipped:]
        rest = half.waiting + own
        waited = bool(half.waiting)
        half.waiting = b""
        while rest and not half.skip:
            try:
                rest = self._step(frame, side, half, rest, rows)
            except More:
                half.waiting = rest
                break
            except Foreign:
                half.mode = "message"
                if not waited:
                    break
                rest = own
            waited = False
            if self._left:
                break
        return rows

    def _step(self, frame: int, side: int, half: Half, data: bytes, rows: list[Row]) -> bytes:
        """Read one thing; returns what is behind it, or leaves the rest to be skipped."""
        skip = 0.0
        if half.mode == "chunk":
            found = CHUNK.match(data[:1024])
            if not found:
                raise More if CHUNK_SO_FAR.fullmatch(data) and len(data) < 1024 else Foreign
            size, end = int(found[1], 16), found.end()
            half.mode, skip = ("chunk", size + 2) if size else ("trailer", 0)
        elif half.mode == "trailer":
            end = trailer(data)
            half.mode = "message"
        else:
            section = head(data)
            end = section.size
            rows.append(Row(frame, side, -1))
            skip = self._message(half, section, rows[-1])
        half.skip = max(0, skip - (len(data) - end))
        return data[end + int(min(skip, len(data))) :]

    def _message(self, half: Half, section: Head, row: Row) -> float:
        """Fill a row; returns how many octets of body follow."""
        read_fields(section)
        response = STATUS.match(section.start + b"\n")
        bad = section.bad or b"\r" in section.start or b"\0" in section.start
        lengths = section.all(b"content-length")
        length = length_of(lengths)
        codings = section.all(b"transfer-encoding")
        ever = [re.split(rb"[, \t]", one)[-1].lower() == b"chunked" for one in codings]
        bad |= length == -2 or any(ever[:-1]) or bool(codings and lengths) or len(section.all(b"host")) > 1
        asked = None
        if response:
            asked = self._response(section, row)
            bad |= not 100 <= row.kind < 600
        else:
            bad |= self._request(section, row, bool(codings), any(ever))
        row.count = min(length, 2**31 - 1) if length >= 0 else -1
        row.malformed = bad
        half.mode = "message"
        row.size = section.size
        if not section.ended:
            return 0
        wanted = asked.kind if asked else 0
        bodiless = row.kind < 200 or row.kind in (204, 304) or wanted == 2 or (wanted == 6 and row.kind < 300)
        if response and bodiless:
            upgraded = row.kind == 101 and asked is not None and asked.upgrade
            if upgraded or (wanted == 6 and 200 <= row.kind < 300):
                self._left = True
                self._halves = (Half(), Half())
            return 0
        if any(ever):
            half.mode = "chunk"
            return 0
        if length >= 0 and not codings:
            row.size = min(row.size + length, 2**31 - 1)
            return length
        return float("inf") if response and length != -2 else 0

    def _response(self, section: Head, row: Row) -> Asked | None:
        row.kind = row.cause = int(section.start[9:12])
        row.negative = row.kind >= 400
        row.ident = text(next(iter(section.all(b"server")), b""))
        if not self._asked:
            row.unanswered = True
            return None
        asked = self._asked[0]
        if row.kind >= 200 or row.kind == 101:
            self._asked.pop(0)
        row.asked, row.name = asked.frame, asked.name
        return asked

    def _request(self, section: Head, row: Row, coded: bool, chunked: bool) -> bool:
        """Fill a row of a request; True when it is not as it should be."""
        match = REQUEST.fullmatch(section.start)
        method = section.start.partition(b" ")[0].decode()
        row.kind = METHODS.index(method) + 1 if method in METHODS else OTHER
        target = match["target"] if match else b""
        old = section.start.endswith(b"0")
        hosts = section.all(b"host")
        bad = not target or any(octet <= 0x20 or octet == 0x7F for octet in target)
        bad |= section.ended and not hosts and not old
        bad |= coded and (old or not chunked)
        row.ident = text(next(iter(section.all(b"user-agent")), b""))
        path, host = target.partition(b"?")[0], hosts[0] if hosts else b""
        if row.kind == 6:
            path, host = path.rpartition(b"@")[2], b""
        elif absolute := re.fullmatch(rb"[^/]+//([^/]+)(/.*)?|[^/]+//()(/.*)", path, re.DOTALL):
            host, path = (absolute[1] or b"").rpartition(b"@")[2], absolute[2] or absolute[4] or b""
        row.point = text(path)
        row.name = text(host + path) if target else ""
        self._asked.append(Asked(row.frame, row.kind, row.name, bool(section.all(b"upgrade"))))
        return bad


def trailer(data: bytes) -> int:
    """Where the lines behind the last chunk end."""
    end = 0
    limited = data[:MAX_HEADER]
    while (lf := limited.find(b"\n", end)) >= 0:
        line, end = chomp(limited[end:lf]), lf + 1
        if not line:
            return end
    if len(data) < MAX_HEADER:
        raise More
    return MAX_HEADER


def length_of(values: list[bytes]) -> int:
    """Content-Length: -1 none, -2 not one number."""
    if not values:
        return -1
    numbers = {int(value) if re.fullmatch(rb"[0-9]{1,12}", value) else -2 for value in values}
    return numbers.pop() if len(numbers) == 1 else -2


def text(octets: bytes) -> str:
    """As a table of names keeps and shows it."""
    from sensor.names import printable

    return printable(octets[:255])
