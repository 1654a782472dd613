"""Builders for CoAP over UDP (RFC 7252) and TCP (RFC 8323), written from the RFCs; nothing is checked."""

from __future__ import annotations

import struct

HOST, OBSERVE, PORT, PATH, FORMAT, QUERY, BLOCK1 = 3, 6, 7, 11, 12, 15, 27
CON, NON, ACK, RST = range(4)
GET, POST, PUT, DELETE, CREATED, CHANGED, CONTENT, NOT_FOUND = 1, 2, 3, 4, 65, 68, 69, 132
CSM, PING, PONG, RELEASE, ABORT = range(225, 230)

Option = tuple[int, bytes]


def _nibble(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    return (13, bytes([value - 13])) if value < 269 else (14, struct.pack("!H", value - 269))


def options(*items: Option) -> bytes:
    """Options in the order of their numbers."""
    out, last = b"", 0
    for number, value in sorted(items, key=lambda item: item[0]):
        delta, more_delta = _nibble(number - last)
        length, more_length = _nibble(len(value))
        out += bytes([delta << 4 | length]) + more_delta + more_length + value
        last = number
    return out


def path(text: str) -> list[Option]:
    """Uri-Path options of a path such as ``/a/b``."""
    return [(PATH, part.encode()) for part in text.split("/")[1:]]


def message(
    kind: int,
    code: int,
    ident: int,
    token: bytes = b"",
    items: list[Option] | None = None,
    payload: bytes | None = None,
    version: int = 1,
) -> bytes:
    """A message over UDP; an empty payload still has its marker."""
    head = struct.pack("!BBH", version << 6 | kind << 4 | len(token), code, ident)
    return head + token + options(*(items or [])) + (b"" if payload is None else b"\xff" + payload)


def tcp_message(
    code: int, token: bytes = b"", items: list[Option] | None = None, payload: bytes | None = None
) -> bytes:
    """A message over TCP."""
    body = options(*(items or [])) + (b"" if payload is None else b"\xff" + payload)
    size = len(body)
    if size < 65_805:
        length, more = _nibble(size)
    else:
        length, more = 15, struct.pack("!I", size - 65_805)
    return bytes([length << 4 | len(token)]) + more + bytes([code]) + token + body
