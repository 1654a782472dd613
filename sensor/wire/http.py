"""HTTP/1 messages (RFC 9112): start line, header section, framing of the body.

Layout, lines that end in CR LF (a lone LF is believed, 2.2)::

    GET /path?query HTTP/1.1        or   HTTP/1.1 200 OK
    Name: value                          0 to n field lines
                                         an empty line, then the body

    body: Content-Length octets, or with Transfer-Encoding: chunked (7.1)
          size in hexadecimal [;extension] CR LF, data, CR LF, ..., 0 CR LF, trailer lines, an empty line

Bodies are not read: what is told is how many octets to skip, and what stands behind them. What a server and
a proxy could understand in two ways (request smuggling, 11.2) is malformed: two framings, two lengths, folded
lines (5.2), CR or NUL inside a line, names that are none (5.1), no or two Host (3.2).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.status import FOREIGN, MORE, OK

MESSAGE, CHUNK, TRAILER, OPAQUE = range(4)
"""What comes next: a message, a chunk's line, the lines behind the last chunk, or another protocol."""

MAX_HEADER: Final = 8192
"""Octets of a start line with its fields, and of a trailer; of what is longer the beginning is read."""

MAX_CHUNK_LINE: Final = 1024
MAX_METHOD: Final = 24
MAX_DIGITS: Final = 12
"""Of a length in decimal or hexadecimal; more octets than these say are in no body."""

TARGET, TARGET_END, HOST, HOST_END, AGENT, AGENT_END, LENGTH = range(7)
"""Places of what :func:`parse_http` found, -1 what it did not; LENGTH is a number, -2 not to be believed."""

RESPONSE, BAD, CODED, CHUNKED, UPGRADE, ENDED, OLD, HOSTED = (1 << i for i in range(8))
"""Bits of :func:`parse_http`: a response; not as RFC 9112 wants it; has transfer codings; the last of them is
chunked; names another protocol; the header section is complete; a request of HTTP/1.0; has a Host."""

CR, LF, SP, HT, COLON, COMMA = 13, 10, 32, 9, 58, 44
OTHER_METHOD: Final = 99

METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND"),
    *("SUBSCRIBE", "NOTIFY", "M-SEARCH"),
)
"""In the order of the profile's numbers, from 1 on."""

FIELDS: Final = ("host", "user-agent", "server", "content-length", "transfer-encoding", "upgrade")
_HOST, _AGENT, _SERVER, _LENGTH, _CODING, _UPGRADE = range(len(FIELDS))


def _words(names: tuple[str, ...]) -> Any:
    """Names as octets, one row each: its length, then itself."""
    width = max(len(name) for name in names)
    rows = [[len(name), *name.encode().ljust(width, b"\0")] for name in names]
    return np.array(rows, np.uint8)


_METHOD_WORDS = _words(METHODS)
_FIELD_WORDS = _words(FIELDS)
_CHUNKED_WORD = _words(("chunked",))
_VERSION_WORD = _words(("HTTP/1.",))


@kernel
def _which(buf: Any, at: int, end: int, words: Any, lower: int) -> int:
    """Row of the word ``buf[at:end]``, -1 none; ``lower`` 0x20: capitals count as small letters."""
    for row in range(len(words)):
        size = np.int64(words[row, 0])
        if size == end - at:
            i = 0
            while i < size and (np.int64(buf[at + i]) | lower) == words[row, 1 + i] | lower:
                i += 1
            if i == size:
                return row
    return -1


@kernel
def _line_end(buf: Any, at: int, end: int) -> int:
    """Where the LF of a line stands, -1 not here."""
    for i in range(at, end):
        if buf[i] == LF:
            return i
    return -1


@kernel
def _text_end(buf: Any, at: int, line: int) -> int:
    """End of a line's text, whose LF stands at ``line``."""
    return line - 1 if line > at and buf[line - 1] == CR else line


@kernel
def _start(buf: Any, at: int, end: int) -> int:
    """Where a start line begins: an empty line before it is passed over (2.2)."""
    for _ in range(2):
        if at < end and (buf[at] == CR or buf[at] == LF):
            at += 1
    return at


@kernel
def _is_digit(octet: int) -> bool:
    return 0x30 <= octet <= 0x39


@kernel
def _is_number(buf: Any, at: int) -> bool:
    """Are three digits at ``at``?"""
    return _is_digit(buf[at]) and _is_digit(buf[at + 1]) and _is_digit(buf[at + 2])


@kernel
def _is_version(buf: Any, at: int, end: int) -> bool:
    """Is ``HTTP/1.`` and a digit at ``at``?"""
    return end - at >= 8 and _which(buf, at, at + 7, _VERSION_WORD, 0) == 0 and _is_digit(buf[at + 7])


@kernel
def _method_end(buf: Any, at: int, end: int) -> int:
    """End of capitals, digits, ``-`` and ``_``, of which all methods in use are made."""
    stop = min(end, at + MAX_METHOD)
    while at < stop and (0x41 <= buf[at] <= 0x5A or _is_digit(buf[at]) or buf[at] == 0x2D or buf[at] == 0x5F):
        at += 1
    return at


@kernel
def http_begins(buf: Any, at: int, end: int) -> int:
    """OK: a start line begins at ``at``; MORE: it may; FOREIGN: none does."""
    at = _start(buf, at, end)
    if at >= end:
        return MORE
    stop = _method_end(buf, at, end)
    if stop == end:
        return MORE
    if stop == at or (buf[stop] != SP and buf[stop] != 0x2F):
        return FOREIGN
    line = _line_end(buf, stop, min(end, at + MAX_HEADER))
    if buf[stop] == 0x2F:  # the only word before a slash is that of a status line
        if end - at < 13 and line < 0:
            known = min(end - at, 7)
            for i in range(known):
                if buf[at + i] != _VERSION_WORD[0, 1 + i]:
                    return FOREIGN
            return MORE
        if not _is_version(buf, at, end) or end - at < 13 or buf[at + 8] != SP:
            return FOREIGN
        behind = buf[at + 12] == SP or buf[at + 12] == CR or buf[at + 12] == LF
        return OK if behind and _is_number(buf, at + 9) else FOREIGN
    if line < 0:
        return FOREIGN if end - at >= MAX_HEADER else MORE
    last = _text_end(buf, stop, line)
    return OK if last - stop >= 10 and buf[last - 9] == SP and _is_version(buf, last - 8, last) else FOREIGN


@kernel
def http_head(buf: Any, at: int, end: int) -> bool:
    """Is what the capture holds of a header section enough to believe in it?"""
    stop = _method_end(buf, at, end)
    known = stop < end and buf[stop] == SP and _which(buf, at, stop, _METHOD_WORDS, 0) >= 0
    return known or http_begins(buf, at, end) == OK


@kernel
def _lines_end(buf: Any, at: int, end: int) -> int:
    """Behind the empty line that ends the lines from ``at`` on, -1 not here."""
    while at < end:
        line = _line_end(buf, at, end)
        if line < 0:
            return -1
        if _text_end(buf, at, line) == at:
            return line + 1
        at = line + 1
    return -1


@kernel
def http_length(buf: Any, at: int, end: int, mode: int) -> tuple[int, int]:
    """(status, octets) of a header section, a chunk's line or a trailer that begins at ``at``."""
    if mode == OPAQUE:
        return FOREIGN, 0
    if mode == CHUNK:
        status, need, _ = chunk_line(buf, at, end)
        return status, need
    if mode == MESSAGE:
        status = http_begins(buf, at, end)
        if status != OK:
            return status, 0
    behind = _lines_end(buf, _start(buf, at, end) if mode == MESSAGE else at, min(end, at + MAX_HEADER))
    if behind >= 0:
        return OK, behind - at
    return (OK, MAX_HEADER) if end - at >= MAX_HEADER else (MORE, 0)


@kernel
def chunk_line(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(status, octets, size of the chunk) of a chunk's line (7.1)."""
    begin, size = at, np.int64(0)
    while at < end and at - begin <= MAX_DIGITS:
        octet = np.int64(buf[at])
        if _is_digit(octet):
            size = (size << 4) | (octet - 0x30)
        elif 0x61 <= octet | 0x20 <= 0x66:
            size = (size << 4) | ((octet | 0x20) - 0x57)
        else:
            break
        at += 1
    if at >= end and at - begin <= MAX_DIGITS:
        return MORE, 0, 0
    blank = buf[at] == SP or buf[at] == HT or buf[at] == 0x3B or buf[at] == CR or buf[at] == LF
    if at == begin or at - begin > MAX_DIGITS or not blank:
        return FOREIGN, 0, 0
    line = _line_end(buf, at, min(end, begin + MAX_CHUNK_LINE))
    if line < 0:
        return (FOREIGN if end - begin >= MAX_CHUNK_LINE else MORE), 0, 0
    return OK, line + 1 - begin, size


@kernel
def parse_http(buf: Any, at: int, end: int, where: Any, row: Any) -> int:
    """Read a header section ``buf[at:end]``, or its head.

    Fills ``kind`` and ``cause`` of ``row`` and the places of ``where``; gives bits.
    """
    for i in range(LENGTH + 1):
        where[i] = -1
    at = _start(buf, at, end)
    line = _line_end(buf, at, end)
    bits = _start_line(buf, at, end if line < 0 else _text_end(buf, at, line), where, row)
    while line >= 0:
        at = line + 1
        line = _line_end(buf, at, end)
        if line < 0:
            break
        stop = _text_end(buf, at, line)
        if stop == at:
            bits |= ENDED
            break
        bits |= _field_line(buf, at, stop, where, bits)
    return bits | _judge(bits, where)


@kernel
def _start_line(buf: Any, at: int, end: int, where: Any, row: Any) -> int:
    """Method and target (3), or status (4)."""
    bits = _strange(buf, at, end)
    if _is_version(buf, at, end):
        if end - at < 12 or not _is_number(buf, at + 9):
            return bits | RESPONSE  # of which the capture holds less
        row.kind = 100 * np.int64(buf[at + 9]) + 10 * np.int64(buf[at + 10]) + np.int64(buf[at + 11]) - 5328
        row.cause = row.kind
        return bits | RESPONSE | (0 if 100 <= row.kind < 600 else BAD)
    stop = _method_end(buf, at, end)
    method = _which(buf, at, stop, _METHOD_WORDS, 0)
    row.kind = method + 1 if method >= 0 else OTHER_METHOD
    if end - stop < 10 or not _is_version(buf, end - 8, end):
        return bits  # of which the capture holds less
    target, target_end = stop + 1, end - 9
    if buf[end - 1] == 0x30:
        bits |= OLD
    if target >= target_end:
        return bits | BAD
    where[TARGET], where[TARGET_END] = target, target_end
    for i in range(target, target_end):
        if buf[i] <= SP or buf[i] == 0x7F:
            bits |= BAD
    return bits


@kernel
def _strange(buf: Any, at: int, end: int) -> int:
    """CR or NUL inside a line (RFC 9110 5.5)."""
    for i in range(at, end):
        if buf[i] == CR or buf[i] == 0:
            return BAD
    return 0


@kernel
def _field_line(buf: Any, at: int, end: int, where: Any, bits: int) -> int:
    """One field line (5); gives the bits it adds."""
    colon = at
    while colon < end and buf[colon] != COLON and buf[colon] > SP:
        colon += 1
    if colon == at or colon == end or buf[colon] != COLON:
        return BAD  # folded, without a name, or not a name
    said = _strange(buf, colon, end)
    field = _which(buf, at, colon, _FIELD_WORDS, 0x20)
    if field < 0:
        return said
    at = colon + 1
    while at < end and (buf[at] == SP or buf[at] == HT):
        at += 1
    while end > at and (buf[end - 1] == SP or buf[end - 1] == HT):
        end -= 1
    if field == _HOST:
        if bits & HOSTED:
            return said | BAD
        where[HOST], where[HOST_END] = at, end
        return said | HOSTED
    if field == _UPGRADE:
        return said | UPGRADE
    if field == _LENGTH:
        _length(buf, at, end, where)
    elif field == _CODING:
        last = end
        while last > at and buf[last - 1] != COMMA and buf[last - 1] != SP and buf[last - 1] != HT:
            last -= 1
        chunked = _which(buf, last, end, _CHUNKED_WORD, 0x20) == 0
        # what stands behind chunked, or a coding that cannot be told, is how requests are smuggled
        return said | CODED | (CHUNKED if chunked else 0) | (BAD if bits & CHUNKED else 0)
    elif (field == _SERVER) == (bits & RESPONSE != 0) and where[AGENT] < 0:
        where[AGENT], where[AGENT_END] = at, end
    return said


@kernel
def _length(buf: Any, at: int, end: int, where: Any) -> None:
    """Content-Length (RFC 9110 8.6): one number; the same again is believed, anything else is not."""
    number = np.int64(0)
    good = 0 < end - at <= MAX_DIGITS
    for i in range(at, min(end, at + MAX_DIGITS)):
        good = good and _is_digit(buf[i])
        number = 10 * number + np.int64(buf[i]) - 0x30
    where[LENGTH] = number if good and (where[LENGTH] == -1 or where[LENGTH] == number) else -2


@kernel
def _judge(bits: int, where: Any) -> int:
    """BAD when the fields contradict each other (6.1, 6.3, 3.2)."""
    request = not bits & RESPONSE
    if where[LENGTH] == -2 or (bits & CODED and (where[LENGTH] != -1 or bits & OLD)):
        return BAD
    if request and ((bits & CODED and not bits & CHUNKED) or (bits & ENDED and not bits & (HOSTED | OLD))):
        return BAD
    return 0
