"""Integers and floats out of a byte buffer. The caller has proved the length.

What is out of bounds all the same raises IndexError: one check for a whole integer, where plain indexing
would check every octet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.jit import kernel, small
from sensor.wire.load import load16, load32, load64


@small
def be16(buf: Any, at: int) -> int:
    if at < 0 or at + 2 > len(buf):
        raise IndexError("octets outside of the buffer")
    return load16(buf, at)


@small
def be24(buf: Any, at: int) -> int:
    return (be16(buf, at) << 8) | np.int64(buf[at + 2])


@small
def be32(buf: Any, at: int) -> int:
    if at < 0 or at + 4 > len(buf):
        raise IndexError("octets outside of the buffer")
    return load32(buf, at)


@small
def be64(buf: Any, at: int) -> Any:
    """As uint64."""
    if at < 0 or at + 8 > len(buf):
        raise IndexError("octets outside of the buffer")
    return load64(buf, at)


@kernel
def equal(one: Any, at: int, other: Any, there: int, length: int) -> bool:
    """Are these octets the same in both buffers?"""
    end = at + length
    while end - at >= 8:
        if be64(one, at) != be64(other, there):
            return False
        at += 8
        there += 8
    while at < end:
        if one[at] != other[there]:
            return False
        at += 1
        there += 1
    return True


@small
def le16(buf: Any, at: int) -> int:
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


@small
def le24(buf: Any, at: int) -> int:
    return le16(buf, at) | (np.int64(buf[at + 2]) << 16)


@small
def le32(buf: Any, at: int) -> int:
    return le16(buf, at) | (le16(buf, at + 2) << 16)


@small
def signed(value: int, bits: int) -> int:
    """Two's complement of an unsigned integer of so many bits."""
    return value - (np.int64(1) << bits) if value >= (np.int64(1) << (bits - 1)) else value


@small
def float32(bits: int) -> float:
    """IEEE 754 single precision from its 32 bits."""
    return np.float64(np.uint32(bits).view(np.float32))


@small
def float64(high: int, low: int) -> float:
    """IEEE 754 double precision from its two halves."""
    return np.uint64((np.uint64(high) << np.uint64(32)) | np.uint64(low)).view(np.float64)
