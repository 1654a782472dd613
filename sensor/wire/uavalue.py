"""OPC UA values (IEC 62541-6, 5.2.2.16 and 5.2.2.17): a Variant as a number, a DataValue with its status.

Layout of a Variant: type and, for arrays, 0x80, for their dimensions 0x40; then the value, or a length and
the values, then the dimensions. Of a DataValue: a mask, then what it says, in this order: 1 Variant,
2 status, 4 source time, 0x10 its picoseconds, 8 server time, 0x20 its picoseconds.

Refuses: Variants in Variants, DataValues in Variants.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import float32, float64, le16, le32, signed
from sensor.wire.uabinary import (
    ua_count,
    ua_diagnostic,
    ua_extension,
    ua_localized,
    ua_node,
    ua_skip,
    ua_string,
)

SIZES: Final = np.array([0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8, -1, 8, 16, -1, -1, -1, -1, 4], np.int64)
"""Octets of the built-in types by number, -1 not fixed: Null, Boolean, SByte ... StatusCode."""


@kernel
def ua_scalar(buf: Any, at: int, end: int, kind: int) -> int:
    """Behind one value of a built-in type; -1 does not fit or not read here."""
    if kind < 20 and SIZES[kind] >= 0:
        return ua_skip(at, end, SIZES[kind])
    if kind == 12 or kind == 15 or kind == 16:
        return ua_string(buf, at, end)
    if kind == 17 or kind == 18:
        return ua_node(buf, at, end)
    if kind == 20:
        return ua_string(buf, ua_skip(at, end, 2), end)
    if kind == 21:
        return ua_localized(buf, at, end)
    if kind == 22:
        return ua_extension(buf, at, end)
    return ua_diagnostic(buf, at, end) if kind == 25 else np.int64(-1)


@kernel
def ua_float(buf: Any, at: int, kind: int) -> float:
    """A value of a built-in type as a number, NaN for those that are none; its octets are there."""
    if kind == 1:
        return np.float64(buf[at] != 0)
    if kind == 2:
        return np.float64(signed(np.int64(buf[at]), 8))
    if kind == 3:
        return np.float64(buf[at])
    if kind == 4 or kind == 5:
        value = le16(buf, at)
        return np.float64(signed(value, 16) if kind == 4 else value)
    if kind == 6 or kind == 7:
        value = le32(buf, at)
        return np.float64(signed(value, 32) if kind == 6 else value)
    if kind == 8 or kind == 9:
        high = le32(buf, at + 4)
        return np.float64(signed(high, 32) if kind == 8 else high) * 4294967296.0 + np.float64(le32(buf, at))
    if kind == 10:
        return float32(le32(buf, at))
    if kind == 11:
        return float64(le32(buf, at + 4), le32(buf, at))
    return np.nan


@kernel
def ua_variant(buf: Any, at: int, end: int) -> tuple[int, int, float]:
    """(offset behind a Variant or -1, its type, its number or NaN)."""
    if at < 0 or at >= end:
        return -1, 0, np.nan
    mask = np.int64(buf[at])
    kind = mask & 0x3F
    at += 1
    if mask & 0x80 == 0:
        behind = ua_scalar(buf, at, end, kind)
        return behind, kind, (ua_float(buf, at, kind) if behind >= 0 else np.nan)
    count = ua_count(buf, at, end)
    if count == -2 or kind == 0:
        return -1, kind, np.nan
    at += 4
    if kind < 20 and SIZES[kind] > 0:
        at = ua_skip(at, end, max(count, np.int64(0)) * SIZES[kind])
    else:
        for _ in range(count):
            at = ua_scalar(buf, at, end, kind)
            if at < 0:
                return -1, kind, np.nan
    if mask & 0x40:
        count = ua_count(buf, at, end)
        at = ua_skip(at, end, 4 + 4 * max(count, np.int64(0))) if count != -2 else np.int64(-1)
    return at, kind, np.nan


@kernel
def ua_data_value(buf: Any, at: int, end: int) -> tuple[int, int, float, int]:
    """(offset behind a DataValue or -1, type, number or NaN, upper half of the status; 0 is good)."""
    if at < 0 or at >= end:
        return -1, 0, np.nan, 0
    mask = np.int64(buf[at])
    at += 1
    kind, value, status = np.int64(0), np.nan, np.int64(0)
    if mask & 1:
        at, kind, value = ua_variant(buf, at, end)
    if mask & 2:
        if at >= 0 and end - at >= 4:
            status = le32(buf, at) >> 16
        at = ua_skip(at, end, 4)
    for bit in (0x04, 0x10, 0x08, 0x20):
        if mask & bit:
            at = ua_skip(at, end, 8 if bit < 0x10 else 2)
    return at, kind, value, status
