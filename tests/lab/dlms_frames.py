"""DLMS/COSEM octets, built from IEC 62056 and nothing else: wrapper, HDLC, services."""

# ruff: noqa: E501
from __future__ import annotations

import struct

CLIENT, DEVICE = 16, 1
ENERGY = bytes([0, 3, 1, 0, 1, 8, 0, 255, 2])  # class 3, 1.0.1.8.0.255, attribute 2
SWITCH = bytes([0, 70, 0, 0, 96, 3, 10, 255, 1])  # class 70, 0.0.96.3.10.255, method 1


def wrapper(apdu: bytes, source: int = CLIENT, destination: int = DEVICE) -> bytes:
    return struct.pack(">HHHH", 1, source, destination, len(apdu)) + apdu


def crc(data: bytes) -> bytes:
    """CRC-16/X.25, bit by bit."""
    value = 0xFFFF
    for octet in data:
        for bit in range(8):
            carry = (value ^ (octet >> bit)) & 1
            value = (value >> 1) ^ (0x8408 if carry else 0)
    return struct.pack("<H", value ^ 0xFFFF)


def hdlc(control: int, information: bytes = b"", *, answer: bool = False, more: bool = False) -> bytes:
    """A frame between client 16 and logical device 1; with information, behind an LLC of its own if wanted."""
    ends = bytes([CLIENT << 1 | 1, DEVICE << 1 | 1]) if answer else bytes([DEVICE << 1 | 1, CLIENT << 1 | 1])
    length = 2 + 2 + 1 + 2 + (len(information) + 2 if information else 0)
    body = struct.pack(">H", 0xA000 | more << 11 | length) + ends + bytes([control])
    if information:
        body += crc(body) + information
    return b"\x7e" + body + crc(body) + b"\x7e"


def asked(apdu: bytes) -> bytes:
    return b"\xe6\xe6\x00" + apdu


def answered(apdu: bytes) -> bytes:
    return b"\xe6\xe7\x00" + apdu


def get(what: bytes = ENERGY, invoke: int = 0xC1) -> bytes:
    return bytes([192, 1, invoke]) + what + b"\0"


def got(data: bytes, invoke: int = 0xC1) -> bytes:
    return bytes([196, 1, invoke, 0]) + data


def failed(result: int, invoke: int = 0xC1) -> bytes:
    return bytes([196, 1, invoke, 1, result])


def put(data: bytes, what: bytes = ENERGY, invoke: int = 0xC2) -> bytes:
    return bytes([193, 1, invoke]) + what + b"\0" + data


def act(what: bytes = SWITCH, invoke: int = 0xC3) -> bytes:
    return bytes([195, 1, invoke]) + what + b"\0"


def ciphered(tag: int, content: bytes, counter: int = 7, control: int = 0x30) -> bytes:
    return bytes([tag, 5 + len(content), control]) + struct.pack(">I", counter) + content


def general(tag: int, title: bytes, content: bytes, counter: int = 7) -> bytes:
    return bytes([tag, len(title)]) + title + ciphered(0, content, counter)[1:]


AARQ = bytes.fromhex("601da109060760857405080101be10040e01000000065f1f0400001e1dffff")
AARQ_HIGH = bytes.fromhex(
    "6036a1090607608574050801018a0207808b0760857405080201ac0a80083132333435363738"
    "be10040e01000000065f1f0400007e1f0080"
)
AARE = bytes.fromhex("6129a109060760857405080101a203020100a305a103020100be10040e0800065f1f040000181d007d0007")
EXAMPLES = [
    AARQ, AARQ_HIGH, AARE, b"\x62\x03\x80\x01\x00", b"\x63\x03\x80\x01\x00", get(), got(b"\x06\0\0\x01\0"), failed(3),
    put(b"\x12\0\x05"), bytes([197, 1, 0xC2, 0]), act(), bytes([199, 1, 0xC3, 0, 0]), bytes([199, 1, 0xC3, 0, 1, 0, 17, 5]),
    bytes([192, 2, 0xC1, 0, 0, 0, 2]), bytes([192, 3, 0xC1, 1]) + ENERGY + b"\0", bytes([193, 3, 0xC1, 1, 0, 0, 0, 1, 0]),
    bytes([195, 4, 0xC1]) + SWITCH + b"\1\0\0\0\1\0", bytes([196, 2, 0xC1, 1, 0, 0, 0, 1, 0, 0]), bytes([196, 3, 0xC1, 1, 0, 0]),
    bytes([196, 2, 0xC1, 1, 0, 0, 0, 1, 1, 14]), bytes([197, 3, 0xC1, 2, 0, 0, 0, 1]), bytes([197, 5, 0xC1, 1, 0]),
    b"\xc2\0" + ENERGY + b"\x11\x07", b"\xc2\x01\x02\x00\x00" + ENERGY + b"\x00", b"\x0f\0\0\0\x09\0\x02\x01\x11\1", b"\xd8\1\2",
    b"\x0e\1\2\3", b"\5\1\2\xfd\xe8", b"\6\1\2\xfd\xe8\1\x11\0", b"\x0c\1\0\x11\5", b"\x0c\1\1\3", b"\x0d\1\0", b"\x18\1\2\3\4",
    ciphered(200, b"xxxx"), ciphered(204, b"yyyy", control=0x10), ciphered(208, b""), ciphered(33, b"z"), general(219, b"ABCDEFGH", b"q"),
    general(220, b"", b"q"), b"\xdd\0\0\0", b"\xe0\1\2",
]  # fmt: skip
