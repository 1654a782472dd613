"""ISO/IEC 8825-1: elements with a definite length and a one-octet tag."""

from __future__ import annotations


def ber(tag: int, content: bytes) -> bytes:
    """Definite-length BER element with a one-octet tag."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def signed(value: int) -> bytes:
    return value.to_bytes(
        (value.bit_length() + 8) // 8 if value >= 0 else ((value + 1).bit_length() + 8) // 8,
        "big",
        signed=True,
    )
