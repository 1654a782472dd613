"""Builders for MQTT control packets (OASIS 3.1.1 and 5.0), written from the standards; nothing is checked."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def varint(value: int) -> bytes:
    """Variable byte integer (1.5.5)."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def packet(kind: int, flags: int, body: bytes, length: int | None = None) -> bytes:
    """Fixed header and body."""
    return bytes([kind << 4 | flags]) + varint(len(body) if length is None else length) + body


def text(value: str | bytes) -> bytes:
    """Text or octets behind their length."""
    octets = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(octets)) + octets


def props(*properties: bytes) -> bytes:
    """Properties of version 5, each as code and value."""
    joined = b"".join(properties)
    return varint(len(joined)) + joined


def alias(number: int) -> bytes:
    """Property Topic Alias."""
    return struct.pack("!BH", 35, number)


ALL_PROPERTIES = (
    b"\x01\x01", b"\x02\0\0\0\x05", b"\x03" + text("text/plain"), b"\x08" + text("re/ply"),
    b"\x09" + text(b"\0\1"), b"\x0b\x81\x01", b"\x11\0\0\0\x01", b"\x12" + text("given"), b"\x13\0\x3c",
    b"\x15" + text("SCRAM"), b"\x16" + text(b"\xff"), b"\x17\x01", b"\x18\0\0\0\x09", b"\x19\x01",
    b"\x1a" + text("info"),
    b"\x1c" + text("other"), b"\x1f" + text("because"), b"\x21\0\x0a",
    b"\x22\0\x0a", b"\x24\x01", b"\x25\x01",
    b"\x26" + text("key") + text("value"), b"\x27\0\0\x40\0", b"\x28\x01", b"\x29\x01", b"\x2a\x01",
)  # fmt: skip
"""One of each property of version 5 but the topic alias."""


def connect(
    client: str,
    version: int = 4,
    keep_alive: int = 60,
    *,
    will: tuple[str, bytes] | None = None,
    user: str | None = None,
    password: bytes | None = None,
    properties: bytes = b"\0",
    flags: int = 2,
    name: str | None = None,
) -> bytes:
    """CONNECT; a will gets QoS 1, and in version 5 a will delay."""
    flags |= (0x0C if will else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    head = text(name or ("MQIsdp" if version == 3 else "MQTT")) + struct.pack(
        "!BBH", version, flags, keep_alive
    )
    body = head + (properties if version == 5 else b"") + text(client)
    if will:
        body += (props(b"\x18\0\0\0\x09") if version == 5 else b"") + text(will[0]) + text(will[1])
    body += text(user) if user is not None else b""
    return packet(1, 0, body + (text(password) if password is not None else b""))


def connack(code: int = 0, version: int = 4, present: int = 0, properties: bytes = b"\0") -> bytes:
    """CONNACK."""
    return packet(2, 0, bytes([present, code]) + (properties if version == 5 else b""))


def publish(
    topic: str | bytes,
    payload: bytes,
    *,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    ident: int = 0,
    version: int = 4,
    properties: bytes = b"\0",
) -> bytes:
    """PUBLISH; with QoS its packet identifier."""
    body = text(topic) + (struct.pack("!H", ident) if qos else b"") + (properties if version == 5 else b"")
    return packet(3, dup << 3 | qos << 1 | retain, body + payload)


def subscribe(ident: int, topics: Sequence[tuple[str, int]], version: int = 4, flags: int = 2) -> bytes:
    """SUBSCRIBE."""
    body = struct.pack("!H", ident) + (b"\0" if version == 5 else b"")
    return packet(8, flags, body + b"".join(text(topic) + bytes([option]) for topic, option in topics))


def suback(ident: int, codes: bytes, version: int = 4) -> bytes:
    """SUBACK."""
    return packet(9, 0, struct.pack("!H", ident) + (b"\0" if version == 5 else b"") + codes)


def unsubscribe(ident: int, topics: Sequence[str], version: int = 4) -> bytes:
    """UNSUBSCRIBE."""
    body = struct.pack("!H", ident) + (b"\0" if version == 5 else b"")
    return packet(10, 2, body + b"".join(map(text, topics)))


def answer(kind: int, ident: int, rest: bytes = b"", flags: int | None = None) -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK; ``rest`` is reason and properties of version 5."""
    return packet(kind, (2 if kind == 6 else 0) if flags is None else flags, struct.pack("!H", ident) + rest)


PINGREQ, PINGRESP, DISCONNECT = packet(12, 0, b""), packet(13, 0, b""), packet(14, 0, b"")
