"""EtherNet/IP and CIP built by the book."""

from __future__ import annotations

import struct

CONTEXT = b"lab-0001"


def pdu(
    command: int, data: bytes = b"", context: bytes = CONTEXT, *, status: int = 0, session: int = 0x01020304
) -> bytes:
    """An encapsulation header and its data."""
    return struct.pack("<HHII8sI", command, len(data), session, status, context, 0) + data


def items(*parts: tuple[int, bytes]) -> bytes:
    """Items of the common packet format."""
    body = b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in parts)
    return struct.pack("<H", len(parts)) + body


def rr(message: bytes, context: bytes = CONTEXT) -> bytes:
    """An unconnected message."""
    return pdu(0x6F, bytes(6) + items((0, b""), (0xB2, message)), context)


def unit(message: bytes, count: int, connection: int = 0x00790D01) -> bytes:
    """A message of an explicit connection (transport class 3)."""
    address = struct.pack("<I", connection)
    data = struct.pack("<H", count) + message
    return pdu(0x70, bytes(6) + items((0xA1, address), (0xB1, data)), bytes(8))


def cyclic(connection: int, number: int, data: bytes) -> bytes:
    """An I/O packet."""
    return items((0x8002, struct.pack("<II", connection, number)), (0xB1, data))


def identity(name: str) -> bytes:
    """An answer to list identity."""
    body = struct.pack("<H16sHHHHHI", 1, bytes(16), 77, 14, 55, 0x1410, 0x3060, 99)
    return pdu(0x63, items((0x0C, body + bytes([len(name)]) + name.encode() + b"\3")))


def logical(kind: int, number: int) -> bytes:
    """A logical segment in the shortest form: kind 0 class, 1 instance, 2 member, 4 attribute."""
    head = 0x20 | kind << 2
    if number < 256:
        return bytes([head, number])
    if number < 65_536:
        return struct.pack("<BBH", head | 1, 0, number)
    return struct.pack("<BBI", head | 2, 0, number)


def path(group: int, instance: int | None = None, attribute: int | None = None) -> bytes:
    """Class, instance, attribute."""
    out = logical(0, group)
    out += b"" if instance is None else logical(1, instance)
    return out + (b"" if attribute is None else logical(4, attribute))


def tag(*parts: str | int) -> bytes:
    """A tag: names of it and its members, numbers for the places in arrays."""
    out = b""
    for part in parts:
        if isinstance(part, int):
            out += logical(2, part)
        else:
            name = part.encode()
            out += bytes([0x91, len(name)]) + name + b"\0" * (len(name) % 2)
    return out


def request(service: int, where: bytes, data: bytes = b"") -> bytes:
    """A service of an object."""
    return bytes([service, len(where) // 2]) + where + data


def response(service: int, data: bytes = b"", status: int = 0, more: tuple[int, ...] = ()) -> bytes:
    """Its answer."""
    return struct.pack(f"<BBBB{len(more)}H", service | 0x80, 0, status, len(more), *more) + data


def together(*messages: bytes) -> bytes:
    """Data of a multiple service packet."""
    offsets, at = b"", 2 + 2 * len(messages)
    for message in messages:
        offsets += struct.pack("<H", at)
        at += len(message)
    return struct.pack("<H", len(messages)) + offsets + b"".join(messages)


def routed(message: bytes) -> bytes:
    """An unconnected send to the controller in slot 0."""
    pad = b"\0" * (len(message) % 2)
    return request(0x52, path(6, 1), struct.pack("<BBH", 5, 157, len(message)) + message + pad + b"\1\0\1\0")


def forward_open(ot: int = 0x80000019, to: int = 0x80FE0018, large: bool = False) -> bytes:
    """Asks for an explicit connection to the message router."""
    where = b"\1\0" + path(2, 1)
    head = struct.pack("<BBIIHHIB3x", 7, 249, ot, to, 25, 77, 0x32952BF3, 0)
    size = "<II" if large else "<IH"
    head += 2 * struct.pack(size, 8_000_000, 0x43F4)
    data = head + bytes([0xA3, len(where) // 2]) + where
    return request(0x5B if large else 0x54, path(6, 1), data)


def opened(ot: int, to: int = 0x80FE0018, large: bool = False) -> bytes:
    """Its answer."""
    data = struct.pack("<IIHHIIIBx", ot, to, 25, 77, 0x32952BF3, 8_000_000, 8_000_000, 0)
    return response(0x5B if large else 0x54, data)


def forward_close() -> bytes:
    """Closes it."""
    where = b"\1\0" + path(2, 1)
    data = struct.pack("<BBHHIBx", 7, 249, 25, 77, 0x32952BF3, len(where) // 2) + where
    return request(0x4E, path(6, 1), data)


def listed(*attributes: int) -> bytes:
    """Data of get attribute list."""
    return struct.pack(f"<H{len(attributes)}H", len(attributes), *attributes)


def attributes_all(name: str) -> bytes:
    """Data of the answer to get attributes all of the identity object."""
    head = struct.pack("<HHHHHI", 1, 14, 55, 0x1410, 0x3060, 99)
    return head + bytes([len(name)]) + name.encode()
