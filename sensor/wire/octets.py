"""Integers and floats out of a byte buffer. The caller has proved the length."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.jit import kernel


@kernel
def be16(buf: Any, at: int) -> int:
    return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])


@kernel
def be24(buf: Any, at: int) -> int:
    return (np.int64(buf[at]) << 16) | (np.int64(buf[at + 1]) << 8) | np.int64(buf[at + 2])


@kernel
def be32(buf: Any, at: int) -> int:
    return (be16(buf, at) << 16) | be16(buf, at + 2)


@kernel
def le16(buf: Any, at: int) -> int:
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


@kernel
def le24(buf: Any, at: int) -> int:
    return le16(buf, at) | (np.int64(buf[at + 2]) << 16)


@kernel
def le32(buf: Any, at: int) -> int:
    return le16(buf, at) | (le16(buf, at + 2) << 16)


@kernel
def signed(value: int, bits: int) -> int:
    """Two's complement of an unsigned integer of so many bits."""
    return value - (np.int64(1) << bits) if value >= (np.int64(1) << (bits - 1)) else value


@kernel
def float32(bits: int) -> float:
    """IEEE 754 single precision from its 32 bits."""
    return np.float64(np.uint32(bits).view(np.float32))


@kernel
def float64(high: int, low: int) -> float:
    """IEEE 754 double precision from its two halves."""
    return np.uint64((np.uint64(high) << np.uint64(32)) | np.uint64(low)).view(np.float64)
