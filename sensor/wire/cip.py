"""CIP messages: services, paths, statuses (ODVA, The CIP Networks Library volume 1, chapter 2, appendix C).

Layout, little endian::

    request   0  service     1    0 and 7 bits
              1  path size   1    words
              2  path
              .. data
    response  0  service     1    1 and 7 bits
              1  reserved    1
              2  status      1    general status, 0 success
              3  more size   1    words of additional status
              4  additional status
              .. data

    path: segments, the three highest bits of the first octet tell the type (appendix C-1.4):
    000 port: bit 4 link address with a size, port 4 bits (15: 2 more octets)
    001 logical: type 3 bits (0 class, 1 instance, 2 member, 3 connection point, 4 attribute, 5 key),
        format 2 bits (0: 1 octet, 1: pad and 2 octets, 2: pad and 4 octets)
    010 network    011 symbolic, size 5 bits    100 data: 0x80 size in words 1, 0x91 text with a size 1

    multiple service packet (0x0A): count 2, offsets 2 each from the count on, messages
    unconnected send (0x52 of class 6): tick 1, ticks 1, size 2, message, pad, route path
    forward open (0x54, 0x5B of class 6), forward close (0x4E): see ``cip_open``
    lists of attributes (3, 4): count 2, attribute 2, ...; in the response of 3 each with status 2 and value
    tags (0x4C to 0x4E, 0x52, 0x53): type 2, in requests elements 2, [offset 4,] value
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import float32, float64, le16, le32, signed
from sensor.wire.text import put, put_decimal, put_hex, put_octets

RESPONSE: Final = 0x80
GET_ALL, SET_ALL, GET_LIST, SET_LIST, RESET, MULTIPLE, GET_SINGLE = 1, 2, 3, 4, 5, 10, 14
READ_TAG, WRITE_TAG, READ_FRAGMENT, WRITE_FRAGMENT = 0x4C, 0x4D, 0x52, 0x53
UNCONNECTED_SEND, FORWARD_OPEN, LARGE_FORWARD_OPEN, FORWARD_CLOSE = 0x52, 0x54, 0x5B, 0x4E
FIRST_OWN, LAST_OWN = 0x4B, 0x63
"""Services whose meaning the class decides."""

IDENTITY, CONNECTION_MANAGER, SYMBOL = 0x01, 0x06, 0x6B
NAME: Final = 7
"""Attribute of the identity object that holds the product's name."""

_NAME: Final = 8
_MEMBER: Final = 2

PARTIAL: Final = 6
"""General status of a response whose rest has to be asked for: no refusal."""

CLASS, INSTANCE, ATTRIBUTE, TAG, TEXT, BROKEN = range(6)
"""Places of what :func:`cip_path` found: numbers of the last object, is a tag named, octets of text."""


@kernel
def cip_path(buf: Any, at: int, end: int, where: Any, out: Any) -> None:
    """Read the padded path ``buf[at:end]``: numbers to ``where`` (-1 none), all of it as text to ``out``.

    An object: ``class/instance/attribute``, one inside another behind it. A tag: as controllers show it,
    ``Program:Main.Valve[3].Open``.
    """
    where[CLASS], where[INSTANCE], where[ATTRIBUTE] = -1, -1, -1
    where[TAG], where[TEXT], where[BROKEN] = 0, 0, 0
    last = np.int64(-1)  # kind of the segment before
    while at < end:
        head = np.int64(buf[at])
        size = segment_size(buf, at, end)
        if size < 2 or at + size > end:
            where[BROKEN] = 1
            return
        if head >> 5 == 1:
            last = _logical(buf, at, head, last, where, out)
        elif head == 0x91 or head >> 5 == 3:
            begin, octets = (at + 2, np.int64(buf[at + 1])) if head == 0x91 else (at + 1, head & 31)
            used = where[TEXT]
            if used > 0:
                used = put(out, used, 0x2E if where[TAG] else 0x2F)
            where[TEXT] = put_octets(out, used, buf, begin, begin + octets)
            where[TAG], last = 1, _NAME
        at += size


@kernel
def segment_size(buf: Any, at: int, end: int) -> int:
    """Octets of the segment at ``at`` with its pad; 0 when it is of no known form."""
    head = np.int64(buf[at])
    kind = head >> 5
    if end - at < 2:
        return 0
    if kind == 0:
        size = 2 + np.int64(buf[at + 1]) if head & 16 else 2
        size += 2 if head & 15 == 15 else 0
        return size + (size & 1)
    if kind == 1:
        if head == 0x34:
            return 10
        return 2 if head & 3 == 0 else (4 if head & 3 == 1 else (6 if head & 3 == 2 else 0))
    if kind == 2:
        return 2 + 2 * np.int64(buf[at + 1]) if head & 16 else 2
    if kind == 3:
        size = 1 + (head & 31)
        return size + (size & 1) if head & 31 else 0
    if head == 0x80:
        return 2 + 2 * np.int64(buf[at + 1])
    if head == 0x91:
        size = 2 + np.int64(buf[at + 1])
        return size + (size & 1)
    return 0


@kernel
def _logical(buf: Any, at: int, head: int, last: int, where: Any, out: Any) -> int:
    """Take one logical segment; returns its kind, where text was added."""
    octets = np.int64(1) << (head & 3)
    if octets == 1:
        value = np.int64(buf[at + 1])
    else:
        value = le16(buf, at + 2) if octets == 2 else le32(buf, at + 2)
    kind, used = (head >> 2) & 7, where[TEXT]
    if kind == 0:
        where[CLASS], where[INSTANCE], where[ATTRIBUTE] = value, -1, -1
        if used > 0:
            used = put(out, used, 0x2F)
        where[TEXT] = _hexadecimal(out, used, value, octets)
    elif kind == 1 and where[CLASS] >= 0:
        where[INSTANCE] = value
        where[TEXT] = _hexadecimal(out, put(out, used, 0x2F), value, octets)
    elif kind == 4 and where[INSTANCE] >= 0:
        add_attribute(value, where, out)
    elif kind == _MEMBER and (last == _NAME or last == _MEMBER):
        used = put(out, used - 1, 0x2C) if last == _MEMBER else put(out, used, 0x5B)
        where[TEXT] = put(out, put_decimal(out, used, value), 0x5D)
    else:
        return -1
    return kind


@kernel
def add_attribute(value: int, where: Any, out: Any) -> None:
    """The attribute behind class and instance."""
    where[ATTRIBUTE] = value
    where[TEXT] = put_decimal(out, put(out, where[TEXT], 0x2F), value)


@kernel
def _hexadecimal(out: Any, used: int, value: int, octets: int) -> int:
    used = put(out, put(out, used, 0x30), 0x78)
    for i in range(octets):
        used = put_hex(out, used, (value >> (8 * (octets - 1 - i))) & 0xFF)
    return used


@kernel
def cip_data(buf: Any, at: int, end: int) -> int:
    """Where the data of a message begin; may lie behind ``end``."""
    if buf[at] & RESPONSE:
        return at + 4 + (2 * np.int64(buf[at + 3]) if end - at >= 4 else 0)
    return at + 2 + 2 * np.int64(buf[at + 1])


@kernel
def product_name(buf: Any, at: int, end: int, service: int, attribute: int) -> int:
    """Where the product's name (its size first) stands in an answer of the identity object; -1 nowhere."""
    found = np.int64(-1)
    if service == GET_ALL:
        found = at + 14
    elif service == GET_SINGLE and attribute == NAME:
        found = at
    elif service == GET_LIST and end - at >= 2:
        left = le16(buf, at)
        at += 2
        while left > 0 and end - at >= 4:
            number, status = le16(buf, at), le16(buf, at + 2)
            at += 4
            if status == 0 and number == NAME:
                found = at
                break
            if status == 0:
                if number < 1 or number > 6:
                    break
                at += 4 if number == 6 else 2
            left -= 1
    if found < 0 or found >= end or found + 1 + np.int64(buf[found]) > end:
        return -1
    return found


@kernel
def tag_value(buf: Any, at: int, end: int, code: int) -> tuple[int, float]:
    """(data type, first number) of what service ``code`` (with its response bit) carries; (-1, NaN) none."""
    none = np.int64(-1)
    if end - at < 3:
        return none, np.nan
    kind = le16(buf, at)
    if code == WRITE_TAG:
        at += 4
    elif code == WRITE_FRAGMENT:
        at += 8
    elif code == RESPONSE | READ_TAG or code == RESPONSE | READ_FRAGMENT:
        at += 2
    else:
        return none, np.nan
    value = tag_number(buf, at, end, kind)
    return (none, value) if np.isnan(value) else (kind, value)


@kernel
def tag_number(buf: Any, at: int, end: int, kind: int) -> float:
    """Elementary data type ``kind`` (volume 1, appendix C-6.1); NaN what is no number or not here."""
    size = np.int64(0)
    if kind == 0xC1 or kind == 0xC2 or kind == 0xC6 or kind == 0xD1:
        size = 1
    elif kind == 0xC3 or kind == 0xC7 or kind == 0xD2:
        size = 2
    elif kind == 0xC4 or kind == 0xC8 or kind == 0xCA or kind == 0xD3:
        size = 4
    elif kind == 0xC5 or kind == 0xC9 or kind == 0xCB or kind == 0xD4:
        size = 8
    if size == 0 or end - at < size:
        return np.nan
    if size == 8:
        low, high = le32(buf, at), le32(buf, at + 4)
        if kind == 0xCB:
            return float64(high, low)
        return np.float64(signed(high, 32) if kind == 0xC5 else high) * 4294967296.0 + np.float64(low)
    value = np.int64(buf[at]) if size == 1 else (le16(buf, at) if size == 2 else le32(buf, at))
    if kind == 0xC1:
        return 1.0 if value else 0.0
    if kind == 0xCA:
        return float32(value)
    return np.float64(signed(value, 8 * size) if 0xC2 <= kind <= 0xC4 else value)
