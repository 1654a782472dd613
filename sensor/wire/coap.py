"""CoAP messages over UDP (RFC 7252) and TCP (RFC 8323), with Observe (RFC 7641).

Layout over UDP::

    0  version << 6 | type << 4 | token length      version 1; type 0 CON, 1 NON, 2 ACK, 3 RST
    1  code: class << 5 | detail                    0 empty, class 0 request, 2 4 5 response, 7 signal
    2  message id  2

over TCP: length << 4 | token length, then 0, 1, 2 or 4 octets of more length (13, 14, 15), code. Then in
both: token, options, 0xFF and payload. An option is delta << 4 | length, more of each, value; 13 and 14 mean
that one or two octets follow.

Refuses over TCP: reserved token lengths and messages over :data:`MAX_MESSAGE`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16, be32
from sensor.wire.status import FOREIGN, MORE, OK

MAX_MESSAGE: Final = 1 << 24
MAX_PATH: Final = 255
URI_HOST, OBSERVE, URI_PORT, URI_PATH, CONTENT_FORMAT = 3, 6, 7, 11, 12

PATH_LENGTH, HOST, HOST_LENGTH, PAYLOAD, TOKEN, TOKEN_LENGTH, FORMAT = range(7)
"""Columns of the ``where`` array: offsets and lengths, -1 absent; the path itself is written out."""

SCHEME: Final = np.frombuffer(b"coap://", np.uint8)

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)


@kernel
def coap_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the message at ``at``) over TCP."""
    token = np.int64(buf[at]) & 0x0F
    length = np.int64(buf[at]) >> 4
    if token > 8:
        return FOREIGN, 0
    head = at + 1
    more = 0 if length < 13 else 1 << (length - 13)
    if end - head < more:
        return MORE, 0
    if length == 13:
        length += np.int64(buf[head])
    elif length == 14:
        length = be16(buf, head) + 269
    elif length == 15:
        length = be32(buf, head) + 65_805
    if length > MAX_MESSAGE:
        return FOREIGN, 0
    return OK, 2 + more + token + length


@kernel
def parse_coap(buf: Any, at: int, end: int, wire: int, tcp: bool, row: Any, where: Any, path: Any) -> None:
    """Fill ``row``, ``where`` and ``path`` from ``buf[at:wire]``, of which ``buf[at:end]`` is here."""
    for i in range(8):
        where[i] = -1
    where[PATH_LENGTH] = 0
    where[TOKEN_LENGTH] = 0
    first = np.int64(buf[at])
    if tcp:
        length = first >> 4
        at += 1 if length < 13 else 1 + (1 << (length - 13))
    else:
        row.state = (first >> 4) & 3
        at += 1
    good = first >> 6 == 1 or tcp
    if at < end:
        row.kind = buf[at]
    at += 1
    if not tcp:
        if end - at >= 2:
            row.seq = be16(buf, at)
        at += 2
        if row.state == 3:
            row.flags |= np.uint32(_NEGATIVE)
    code = np.int64(row.kind)
    if code >= 128 and code < 192:
        row.flags |= np.uint32(_NEGATIVE)
    token = first & 0x0F
    good = good and token <= 8 and code >> 5 != 1 and code >> 5 != 6 and (tcp or code >> 5 != 7)
    if code == 0 and not tcp:
        good = good and at == wire and token == 0
    elif token <= 8:
        if at + token <= end:
            where[TOKEN], where[TOKEN_LENGTH] = at, token
        good = _options(buf, at + token, end, wire, code, row, where, path) and good
    if not good and end >= wire:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _extended(buf: Any, at: int, end: int, nibble: int) -> tuple[int, int]:
    """(value of a delta or length, offset behind its extension); -1 reserved or not there."""
    if nibble < 13:
        return nibble, at
    if nibble == 13 and at < end:
        return 13 + np.int64(buf[at]), at + 1
    if nibble == 14 and end - at >= 2:
        return 269 + be16(buf, at), at + 2
    return -1, at


@kernel
def _options(buf: Any, at: int, end: int, wire: int, code: int, row: Any, where: Any, path: Any) -> bool:
    """Options and where the payload begins; False when they contradict RFC 7252 3.1 or 5.10."""
    if at > end:
        return False
    number = np.int64(0)
    good = True
    while at < end:
        octet = np.int64(buf[at])
        at += 1
        if octet == 0xFF:
            if at < wire:
                where[PAYLOAD] = at
                row.count = wire - at
            return good and at < wire
        delta, at = _extended(buf, at, end, octet >> 4)
        if delta < 0:
            return False
        length, at = _extended(buf, at, end, octet & 0x0F)
        if length < 0 or length > end - at:
            return False
        number += delta
        if code < 224:  # options of signals are numbered for each signal anew
            good = _fits(number, length) and good
            _option(buf, at, length, number, row, where, path)
        at += length
    return good


@kernel
def _fits(number: int, length: int) -> bool:
    """Lengths of the options of RFC 7252 5.10, 7641, 7959, 7967 and 8768; options not known may have any."""
    if number == URI_HOST or number == 39:
        return length >= 1 and length <= 255
    if number == 8 or number == URI_PATH or number == 15 or number == 20:
        return length <= 255
    if number == 1:
        return length <= 8
    if number == 4:
        return length >= 1 and length <= 8
    if number == 5:
        return length == 0
    if number == OBSERVE or number == 23 or number == 27:
        return length <= 3
    if number == URI_PORT or number == CONTENT_FORMAT or number == 17:
        return length <= 2
    if number == 14 or number == 28 or number == 60:
        return length <= 4
    if number == 16:
        return length == 1
    if number == 35:
        return length >= 1 and length <= 1034
    return number != 258 or length <= 1


@kernel
def _unsigned(buf: Any, at: int, length: int) -> int:
    """Option value as an unsigned integer without leading zeros (3.2); -1 over 32 bits."""
    if length > 4:
        return -1
    value = np.int64(0)
    for i in range(length):
        value = (value << 8) | np.int64(buf[at + i])
    return value


@kernel
def _option(buf: Any, at: int, length: int, number: int, row: Any, where: Any, path: Any) -> None:
    if number == URI_PATH:
        _append(path, where, 0x2F)
        for i in range(length):
            _append(path, where, buf[at + i])
    elif number == URI_HOST and where[HOST] < 0:
        where[HOST], where[HOST_LENGTH] = at, length
        _host(buf, at, length, where, path)
    elif number == URI_PORT:
        _port(_unsigned(buf, at, length), where, path)
    elif number == OBSERVE and row.aux < 0:
        row.aux = _unsigned(buf, at, length)
    elif number == CONTENT_FORMAT:
        where[FORMAT] = _unsigned(buf, at, length)


@kernel
def _append(path: Any, where: Any, octet: int) -> None:
    if where[PATH_LENGTH] < MAX_PATH:
        path[where[PATH_LENGTH]] = octet
        where[PATH_LENGTH] += 1


@kernel
def _host(buf: Any, at: int, length: int, where: Any, path: Any) -> None:
    """``coap://host``, an IPv6 address in brackets."""
    for octet in SCHEME:
        _append(path, where, octet)
    colon = False
    for i in range(length):
        colon = colon or buf[at + i] == 0x3A
    if colon:
        _append(path, where, 0x5B)
    for i in range(length):
        _append(path, where, buf[at + i])
    if colon:
        _append(path, where, 0x5D)


@kernel
def _port(port: int, where: Any, path: Any) -> None:
    """``:port`` in decimal."""
    if port < 0:
        return
    _append(path, where, 0x3A)
    power = np.int64(1)
    while port // power >= 10:
        power *= 10
    while power > 0:
        _append(path, where, 0x30 + (port // power) % 10)
        power //= 10
