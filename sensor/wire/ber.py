"""BER (ITU-T X.690) for PDUs of which only the head may be here: contents may reach beyond what is given."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

MAX_DEPTH: Final = 16


@kernel
def tlv(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(tag, begin of the contents, end of the contents, which may lie behind ``end``); tag -1 unreadable.

    A tag of two octets (numbers 31 to 127) is both: 0xBF48. Refuses indefinite lengths and those over
    four octets.
    """
    if end - at < 2:
        return -1, end, end
    tag = np.int64(buf[at])
    at += 1
    if tag & 0x1F == 0x1F:
        if end - at < 2 or buf[at] & 0x80:
            return -1, end, end
        tag = tag << 8 | np.int64(buf[at])
        at += 1
    length = np.int64(buf[at])
    at += 1
    if length & 0x80:
        octets = length & 0x7F
        if octets == 0 or octets > 4 or end - at < octets:
            return -1, end, end
        length = 0
        for _ in range(octets):
            length = length << 8 | np.int64(buf[at])
            at += 1
    return tag, at, at + length


@kernel
def find_tag(buf: Any, at: int, end: int, wanted: int) -> tuple[int, int]:
    """(begin, end within ``end``) of the contents of the first element with that tag; (-1, -1) none."""
    while at < end:
        tag, inner, behind = tlv(buf, at, end)
        if tag < 0:
            break
        if tag == wanted:
            return inner, min(behind, end)
        at = behind
    return np.int64(-1), np.int64(-1)


@kernel
def count_elements(buf: Any, at: int, end: int) -> int:
    """Elements from ``at`` on."""
    count = 0
    while at < end:
        tag, _, at = tlv(buf, at, end)
        if tag < 0:
            break
        count += 1
    return count


@kernel
def integer(buf: Any, at: int, end: int) -> int:
    """Unsigned integer under 2**32; -1 for none or more."""
    if end <= at or end - at > 5 or (end - at == 5 and buf[at] != 0):
        return -1
    value = np.int64(0)
    for i in range(at, end):
        value = value << 8 | np.int64(buf[i])
    return value


@kernel
def find_name(buf: Any, at: int, end: int, where: Any) -> int:
    """First ObjectName of a domain, ``A1 { 1A domain, 1A item }``, anywhere in depth-first order.

    Returns
    -------
    int
        1 with begin and length of domain and item in ``where[0:4]``; 2 with a GraphicString (a file name) in
        ``where[0:2]`` where there is no domain; 0 neither.
    """
    stops = np.empty(MAX_DEPTH, np.int64)
    depth = 0
    found = 0
    while True:
        while depth > 0 and at >= end:
            depth -= 1
            end = stops[depth]
        if at >= end:
            return found
        tag, inner, behind = tlv(buf, at, end)
        if tag < 0:
            return found
        stop = min(behind, end)
        if tag == 0xA1 and stop - inner >= 2 and buf[inner] == 0x1A:
            _, domain, middle = tlv(buf, inner, stop)
            if middle < stop and buf[middle] == 0x1A:
                second, item, last = tlv(buf, middle, stop)
                if second == 0x1A and last == stop:
                    where[0], where[1], where[2], where[3] = domain, middle - domain, item, last - item
                    return 1
        if tag == 0x19 and found == 0:
            where[0], where[1] = inner, stop - inner
            found = 2
        first = tag >> 8 if tag > 0xFF else tag
        if first & 0x20 and depth < MAX_DEPTH:
            stops[depth] = end
            depth += 1
            at, end = inner, stop
        else:
            at = behind
