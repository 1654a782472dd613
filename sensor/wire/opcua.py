"""OPC UA over TCP (IEC 62541-6 clauses 6.7 and 7.1) and the heads of its services (IEC 62541-4).

Layout, little endian::

    0  type            3   HEL ACK ERR RHE OPN MSG CLO
    3  chunk           1   F final, C more follow, A aborted
    4  size            4   with this header
    8  HEL, ACK: version and four limits (20); HEL: endpoint URL
       ERR: status code 4, reason          RHE: server URI, endpoint URL
       OPN: channel 4, policy URI, certificate, thumbprint, sequence 4, request 4, service
       MSG, CLO: channel 4, token 4, sequence 4, request 4, service
    service: type id (NodeId), request or response header, body

Of a service only its header is read and what says on which object it works. Passwords, tokens, certificates
are skipped. A service behind a secured channel is read where it is only signed.

Refuses: other types, sizes under 8 and over :data:`MAX_SIZE`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be24, le16, le32
from sensor.wire.status import FOREIGN, MORE, OK
from sensor.wire.uabinary import (
    ua_count,
    ua_diagnostic,
    ua_extension,
    ua_localized,
    ua_node,
    ua_number,
    ua_skip,
    ua_string,
    ua_strings,
)

HEADER: Final = 8
FIRST: Final = 24
"""Offset of the service in the chunk of a MSG."""
MAX_SIZE: Final = 1 << 24
HELLO, ACKNOWLEDGE, ERROR, REVERSE, OPEN, MESSAGE, CLOSE = range(1, 8)
TYPES: Final = np.frombuffer(b"HELACKERRRHEOPNMSGCLO", np.uint8).reshape(7, 3)
FINAL, MORE_CHUNKS, ABORT = 0x46, 0x43, 0x41
FAULT: Final = 397

UNKNOWN, NONE, SECURED, SIGNED = range(4)
"""What is known of a channel: nothing, policy None, a policy (perhaps only signed), signed and readable."""

NODE, NODE_LENGTH, NODE_NUMBER, NODE_GUID, IDENT, IDENT_LENGTH, URL, URL_LENGTH = range(8)
"""Columns of the ``where`` array: offsets, lengths, or the number itself; -1 absent."""

REQUESTS: Final = np.array(
    [
        410, 416, 422, 428, 437, 446, 452, 461, 467, 473, 479, 488, 494, 500, 506, 527, 533, 554, 560, 566,
        615, 621, 631, 664, 673, 700, 712, 751, 763, 769, 775, 781, 787, 793, 799, 826, 832, 841, 847,
        12208, 12211,
    ],
    np.int64,
)  # fmt: skip
"""Binary encodings of all requests (IEC 62541-6 annex A); responses are 3 behind, of the last two 1."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_ENCRYPTED = int(Flag.ENCRYPTED)


@kernel
def opcua_type(buf: Any, at: int) -> int:
    """Kind of the message with the three letters at ``at``; 0 none of ours."""
    for kind in range(7):
        if buf[at] == TYPES[kind, 0] and buf[at + 1] == TYPES[kind, 1] and buf[at + 2] == TYPES[kind, 2]:
            return kind + 1
    return 0


@kernel
def opcua_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the chunk at ``at``); MORE when its header is not complete."""
    if end - at >= 3 and opcua_type(buf, at) == 0:
        return FOREIGN, 0
    if end - at < HEADER:
        return MORE, 0
    size = le32(buf, at + 4)
    if size < HEADER or size > MAX_SIZE:
        return FOREIGN, 0
    return OK, size


@kernel
def opcua_direction(kind: int) -> int:
    """1 a request, 2 a response, 0 no service of the standard."""
    if kind == FAULT:
        return 2
    for request in REQUESTS:
        if kind == request:
            return 1
        if kind == request + (1 if request > 12000 else 3):
            return 2
    return 0


@kernel
def parse_opcua(
    buf: Any, at: int, end: int, wire: int, security: int, first: bool, row: Any, where: Any
) -> int:
    """Fill ``row`` and ``where`` from the chunk ``buf[at:wire]`` of which ``buf[at:end]`` is here.

    Parameters
    ----------
    security : int
        What is known of the channel before this chunk.
    first : bool
        A message begins in it. ``end - at >= 8``.

    Returns
    -------
    int
        What is known of the channel behind it.
    """
    for i in range(8):
        where[i] = -1
    kind = opcua_type(buf, at)
    chunk = np.int64(buf[at + 3])
    if chunk != FINAL and ((chunk != MORE_CHUNKS and chunk != ABORT) or kind != MESSAGE):
        row.flags |= np.uint32(_MALFORMED)
    row.kind = kind
    row.size = le32(buf, at + 4)
    at += HEADER
    if kind >= OPEN:
        if end - at >= 4:
            row.aux = le32(buf, at)
        at = ua_skip(at, end, 4)
        if kind == OPEN:
            at, security = _policy(buf, at, end, security)
        else:
            at = ua_skip(at, end, 4)
        security = _trusted(buf, at, end, chunk, security, first, row)
        at = _sequence(buf, at, end, chunk, security, first, row, where)
    elif kind == ERROR:
        at = _error(buf, at, end, row)
    elif kind == REVERSE:
        at = _url(buf, ua_string(buf, at, end), end, where)
    else:
        at = ua_skip(at, end, 20)
        if kind == HELLO:
            at = _url(buf, at, end, where)
    # what a service says behind its header is not read to its end
    if (at < 0 or (kind < OPEN and at != end)) and end >= wire:
        row.flags |= np.uint32(_MALFORMED)
    return security


@kernel
def _error(buf: Any, at: int, end: int, row: Any) -> int:
    """Status code and reason, of ERR and of an aborted message."""
    if end - at >= 4:
        row.cause = le32(buf, at) >> 16
    row.flags |= np.uint32(_NEGATIVE)
    return ua_string(buf, ua_skip(at, end, 4), end)


@kernel
def _policy(buf: Any, at: int, end: int, security: int) -> tuple[int, int]:
    """Asymmetric security header of OPN; the channel is open to read when its policy is ``...#None``."""
    behind = ua_string(buf, at, end)
    if behind >= 0:
        none = behind - at >= 9 and buf[behind - 5] == 0x23 and buf[behind - 4] == 0x4E
        security = NONE if none and be24(buf, behind - 3) == 0x6F6E65 else SECURED
    return ua_string(buf, ua_string(buf, behind, end), end), security


@kernel
def _trusted(buf: Any, at: int, end: int, chunk: int, security: int, first: bool, row: Any) -> int:
    """What is known of the channel once this chunk was tried; sets ENCRYPTED where it cannot be read."""
    if at < 0 or security == NONE:
        return security
    hidden = security == SECURED
    if row.kind != OPEN and first and chunk != ABORT and end - at >= 12:
        hidden = not opcua_readable(buf, at + 8, end)
        if not hidden and security == SECURED:
            security = SIGNED
    if hidden:
        row.flags |= np.uint32(_ENCRYPTED)
    return security


@kernel
def _sequence(
    buf: Any, at: int, end: int, chunk: int, security: int, first: bool, row: Any, where: Any
) -> int:
    """Sequence header and, in the only chunk of a message, its service; offset read to, -1 short."""
    if at < 0 or row.flags & np.uint32(_ENCRYPTED):
        return at
    inner = ua_skip(at, end, 8)
    if inner < 0:
        return -1
    row.seq = le32(buf, at)
    row.state = le32(buf, at + 4)
    if chunk == ABORT:
        return _error(buf, inner, end, row)
    if chunk == MORE_CHUNKS or not first:
        return inner
    return opcua_service(buf, inner, end, row, where)


@kernel
def opcua_readable(buf: Any, at: int, end: int) -> bool:
    """Does a service of the standard begin here? Chance says so once in ten million ciphertexts."""
    return end - at >= 4 and le16(buf, at) == 1 and opcua_direction(le16(buf, at + 2)) != 0


@kernel
def opcua_service(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """A service from its type id on; returns the offset up to which it was read, -1 when it does not fit."""
    kind = ua_number(buf, at, end)
    if kind < 0 or kind > 0x7FFFFFFF:
        return -1
    row.kind = kind
    at = ua_node(buf, at, end)
    direction = opcua_direction(kind)
    body = _body(buf, at, end, direction)
    if direction == 1:
        return _request(buf, body, end, kind, where)
    if direction == 2:
        if end - at >= 16:
            row.cause = le32(buf, at + 12) >> 16
            if kind == FAULT or row.cause & 0x8000:
                row.flags |= np.uint32(_NEGATIVE)
        return _response(buf, body, end, kind, where)
    return at


@kernel
def _body(buf: Any, at: int, end: int, direction: int) -> int:
    """Behind the header of a request (token, time, handle, diagnostics, audit id, timeout, extension) or of a
    response (time, handle, result, diagnostics, texts, extension)."""
    if direction == 1:
        at = ua_string(buf, ua_skip(ua_node(buf, at, end), end, 16), end)
        return ua_extension(buf, ua_skip(at, end, 4), end)
    at = ua_strings(buf, ua_diagnostic(buf, ua_skip(at, end, 16), end), end)
    return ua_extension(buf, at, end)


@kernel
def opcua_body(buf: Any, at: int, end: int, kind: int) -> int:
    """Where the body of a service of the standard begins whose type id is at ``at``; -1 it does not fit."""
    return _body(buf, ua_node(buf, at, end), end, opcua_direction(kind))


@kernel
def _text(buf: Any, at: int, end: int, where: Any, column: int) -> int:
    """Note a string, the first of its column that has text."""
    behind = ua_string(buf, at, end)
    if behind > at + 4 and where[column] < 0:
        where[column], where[column + 1] = at + 4, behind - at - 4
    return behind


@kernel
def _url(buf: Any, at: int, end: int, where: Any) -> int:
    return _text(buf, at, end, where, URL)


@kernel
def _first(buf: Any, at: int, end: int, where: Any) -> int:
    """Note the first NodeId of an array whose elements begin with one."""
    count = ua_count(buf, at, end)
    if count < 1:
        return -1 if count == -2 else at + 4
    return opcua_note(buf, at + 4, end, where)


@kernel
def opcua_note(buf: Any, at: int, end: int, where: Any) -> int:
    """Note a NodeId."""
    behind = ua_node(buf, at, end)
    if behind < 0:
        return -1
    form = buf[at] & 0x3F
    if form == 3:
        where[NODE], where[NODE_LENGTH] = at + 7, max(ua_count(buf, at + 3, end), np.int64(0))
    elif form == 4:
        where[NODE_GUID] = at + 3
    elif form != 5:
        where[NODE_NUMBER] = ua_number(buf, at, end)
    return behind


@kernel
def _application(buf: Any, at: int, end: int, where: Any) -> int:
    """ApplicationDescription (IEC 62541-4, 7.2): URI, product, name, type, gateway, profile, URLs."""
    at = ua_string(buf, _text(buf, at, end, where, IDENT), end)
    at = ua_skip(ua_localized(buf, at, end), end, 4)
    return ua_strings(buf, ua_string(buf, ua_string(buf, at, end), end), end)


@kernel
def _request(buf: Any, at: int, end: int, kind: int, where: Any) -> int:
    """The first node, URL, application or user of a request."""
    if kind == 422 or kind == 428:
        return _url(buf, at, end, where)
    if kind == 461:
        return _url(buf, ua_string(buf, _application(buf, at, end, where), end), end, where)
    if kind == 467:
        return _user(buf, at, end, where)
    if kind == 631:
        return _first(buf, ua_skip(at, end, 12), end, where)
    if kind == 751:
        return _first(buf, ua_skip(at, end, 8), end, where)
    if kind == 527:
        return _first(buf, ua_skip(ua_node(buf, at, end), end, 16), end, where)
    if kind == 664:
        return _first(buf, ua_skip(ua_extension(buf, at, end), end, 5), end, where)
    if kind == 700:
        count = ua_count(buf, at, end)
        if count < 1:
            return -1 if count == -2 else at + 4
        body = ua_node(buf, at + 4, end)
        return (
            opcua_note(buf, ua_skip(body, end, 5), end, where) if ua_extension(buf, at + 4, end) >= 0 else -1
        )
    if kind == 488 or kind == 500 or kind == 554 or kind == 560 or kind == 673 or kind == 712:
        return _first(buf, at, end, where)
    return at


@kernel
def _user(buf: Any, at: int, end: int, where: Any) -> int:
    """ActivateSession: signature, certificates, locales, then the identity token, whose name is read."""
    at = ua_string(buf, ua_string(buf, at, end), end)
    count = ua_count(buf, at, end)
    if count == -2:
        return -1
    at += 4
    for _ in range(count):
        at = ua_string(buf, ua_string(buf, at, end), end)
        if at < 0:
            return -1
    at = ua_strings(buf, at, end)
    number = ua_number(buf, at, end)
    behind = ua_extension(buf, at, end)
    if behind >= 0 and number == 324:
        body = ua_skip(ua_node(buf, at, end), behind, 5)
        if _text(buf, ua_string(buf, body, behind), behind, where, IDENT) < 0:
            return -1
    return behind


@kernel
def _response(buf: Any, at: int, end: int, kind: int, where: Any) -> int:
    """URL and application of the first endpoint or server that a response names."""
    if kind == 464:
        at = ua_skip(ua_node(buf, ua_node(buf, at, end), end), end, 8)
        at = ua_string(buf, ua_string(buf, at, end), end)
    if kind == 464 or kind == 431 or kind == 425:
        count = ua_count(buf, at, end)
        if count < 1:
            return -1 if count == -2 else at + 4
        at += 4
        if kind != 425:
            at = _url(buf, at, end, where)
        return _application(buf, at, end, where)
    return at
