"""Builders for BACnet/IP (ASHRAE 135), written from the standard; nothing is checked."""

from __future__ import annotations

import struct

READ, READ_MANY, WRITE, WRITE_MANY, SILENCE, RESTART = 12, 14, 15, 16, 17, 20
ANALOG_INPUT, ANALOG_OUTPUT, BINARY_INPUT, DEVICE, FILE = 0, 1, 3, 8, 10
OBJECT_NAME, PRESENT_VALUE, STATUS_FLAGS = 77, 85, 111


def bvlc(function: int, body: bytes, length: int | None = None, kind: int = 0x81) -> bytes:
    """Link header and body."""
    return struct.pack("!BBH", kind, function, 4 + len(body) if length is None else length) + body


def unicast(apdu: bytes, control: int = 4, route: bytes = b"", version: int = 1) -> bytes:
    """Original-Unicast-NPDU; ``route`` are addresses and hop count as ``control`` says."""
    return bvlc(10, bytes([version, control]) + route + apdu)


def broadcast(apdu: bytes) -> bytes:
    """Original-Broadcast-NPDU."""
    return bvlc(11, b"\x01\x20\xff\xff\x00\xff" + apdu)


def network(kind: int, body: bytes = b"") -> bytes:
    """Network layer message."""
    return bvlc(10, bytes([1, 0x80, kind]) + body)


def tag(number: int, data: bytes, application: bool = False) -> bytes:
    """One tag with its contents; context tags by default."""
    kind, size = 0 if application else 8, len(data)
    length = bytes([size]) if size < 254 else b"\xfe" + struct.pack("!H", size)
    head = bytes([number << 4 | kind | min(size, 5)])
    if number >= 15:
        head = bytes([0xF0 | kind | min(size, 5), number])
    return head + (length if size >= 5 else b"") + data


def wrap(number: int, *parts: bytes) -> bytes:
    """Opening tag, contents, closing tag."""
    return bytes([number << 4 | 0xE]) + b"".join(parts) + bytes([number << 4 | 0xF])


def oid(kind: int, instance: int) -> bytes:
    """Contents of an object identifier."""
    return struct.pack("!I", kind << 22 | instance)


def whole(value: int) -> bytes:
    """Contents of an unsigned integer."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def real(value: float) -> bytes:
    """Application-tagged real."""
    return tag(4, struct.pack("!f", value), True)


def text(value: str, charset: int = 0) -> bytes:
    """Contents of a character string in UTF-8, UCS-2 (4) or ISO 8859-1 (5)."""
    return bytes([charset]) + value.encode({0: "utf-8", 4: "utf-16-be", 5: "latin-1"}[charset])


def ask(service: int, body: bytes = b"", invoke: int = 5) -> bytes:
    """Confirmed request."""
    return bytes([0, 5, invoke, service]) + body


def tell(service: int, body: bytes = b"") -> bytes:
    """Unconfirmed request."""
    return bytes([0x10, service]) + body


def done(service: int, invoke: int = 5) -> bytes:
    """Simple acknowledgement."""
    return bytes([0x20, invoke, service])


def answer(service: int, body: bytes, invoke: int = 5) -> bytes:
    """Complex acknowledgement."""
    return bytes([0x30, invoke, service]) + body


def error(service: int, group: int, code: int, invoke: int = 5) -> bytes:
    """Error PDU."""
    return bytes([0x50, invoke, service]) + tag(9, whole(group), True) + tag(9, whole(code), True)


def reference(kind: int, instance: int, prop: int = PRESENT_VALUE, element: int | None = None) -> bytes:
    """Object, property and element of ReadProperty, WriteProperty and their answers."""
    index = b"" if element is None else tag(2, whole(element))
    return tag(0, oid(kind, instance)) + tag(1, whole(prop)) + index


def changes(device: int, kind: int, instance: int, value: bytes) -> bytes:
    """Parameters of a report of changes of a present value."""
    head = tag(0, whole(1)) + tag(1, oid(DEVICE, device)) + tag(2, oid(kind, instance)) + tag(3, whole(60))
    flags = tag(8, b"\x04\x00", True)
    return head + wrap(
        4, tag(0, whole(PRESENT_VALUE)), wrap(2, value), tag(0, whole(STATUS_FLAGS)), wrap(2, flags)
    )
