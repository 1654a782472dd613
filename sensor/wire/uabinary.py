"""OPC UA binary encoding (IEC 62541-6 clause 5.2): skips over built-in types, little endian.

Every function takes the offset of a value and gives the offset behind it, or -1 when the value does not fit
into ``end``, contradicts the encoding, or began at -1 itself, so that steps can be chained and checked once.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import le16, le32, signed

NULL_LENGTH: Final = -1
MAX_INNER: Final = 32
"""Diagnostic infos in one another that are followed; servers send one or two."""


@kernel
def ua_skip(at: int, end: int, size: int) -> int:
    """Behind ``size`` octets."""
    return at + size if at >= 0 and end - at >= size else np.int64(-1)


@kernel
def ua_count(buf: Any, at: int, end: int) -> int:
    """Length or number of elements (Int32) at ``at``; -1 null, -2 not there or impossible."""
    if at < 0 or end - at < 4:
        return -2
    count = signed(le32(buf, at), 32)
    return count if count >= -1 and count <= end - at - 4 else np.int64(-2)


@kernel
def ua_string(buf: Any, at: int, end: int) -> int:
    """String, ByteString: length, octets; -1 is null (5.2.2.4)."""
    count = ua_count(buf, at, end)
    if count == -2:
        return -1
    return at + 4 + max(count, np.int64(0))


@kernel
def ua_node(buf: Any, at: int, end: int) -> int:
    """NodeId and ExpandedNodeId (5.2.2.9, 5.2.2.10)."""
    if at < 0 or end - at < 2:
        return -1
    mask = np.int64(buf[at])
    form = mask & 0x3F
    if form == 0:
        at += 2
    elif form == 1:
        at = ua_skip(at, end, 4)
    elif form == 2:
        at = ua_skip(at, end, 7)
    elif form == 4:
        at = ua_skip(at, end, 19)
    elif form == 3 or form == 5:
        at = ua_string(buf, ua_skip(at, end, 3), end)
    else:
        return -1
    if mask & 0x80:
        at = ua_string(buf, at, end)
    if mask & 0x40:
        at = ua_skip(at, end, 4)
    return at


@kernel
def ua_number(buf: Any, at: int, end: int) -> int:
    """Numeric identifier of the NodeId at ``at``; -1 for other forms or what does not fit."""
    if at < 0 or ua_node(buf, at, end) < 0:
        return -1
    form = buf[at] & 0x3F
    if form == 0:
        return np.int64(buf[at + 1])
    if form == 1:
        return le16(buf, at + 2)
    return le32(buf, at + 3) if form == 2 else np.int64(-1)


@kernel
def ua_extension(buf: Any, at: int, end: int) -> int:
    """ExtensionObject: type, encoding, body (5.2.2.15)."""
    at = ua_node(buf, at, end)
    if at < 0 or at >= end or buf[at] > 2:
        return -1
    return ua_string(buf, at + 1, end) if buf[at] else at + 1


@kernel
def ua_localized(buf: Any, at: int, end: int) -> int:
    """LocalizedText: mask, locale 1, text 2 (5.2.2.14)."""
    if at < 0 or at >= end:
        return -1
    mask = buf[at]
    at += 1
    if mask & 1:
        at = ua_string(buf, at, end)
    if mask & 2:
        at = ua_string(buf, at, end)
    return at


@kernel
def ua_strings(buf: Any, at: int, end: int) -> int:
    """Array of String."""
    count = ua_count(buf, at, end)
    if count == -2:
        return -1
    at += 4
    for _ in range(count):
        at = ua_string(buf, at, end)
        if at < 0:
            return -1
    return at


@kernel
def ua_diagnostic(buf: Any, at: int, end: int) -> int:
    """DiagnosticInfo (5.2.2.12): a mask of what follows; 0x40 another one inside."""
    for _ in range(MAX_INNER):
        if at < 0 or at >= end:
            return -1
        mask = np.int64(buf[at])
        at += 1
        for bit in range(4):
            if (mask >> bit) & 1:
                at = ua_skip(at, end, 4)
        if mask & 0x10:
            at = ua_string(buf, at, end)
        if mask & 0x20:
            at = ua_skip(at, end, 4)
        if mask & 0x40 == 0:
            return at
    return -1
