"""Forward open and forward close of the CIP connection manager (CIP Networks Library volume 1, 3-5.5).

Layout, little endian, behind the path of the service::

    forward open   0   tick 1, ticks 1
                   2   O->T id     4    originator to target; the target chooses it in its answer
                   6   T->O id     4    target to originator
                   10  triad       8    connection serial number 2, originator's vendor 2 and serial number 4
                   18  timeout multiplier 1, reserved 3
                   22  O->T RPI    4, parameters 2 (in a large forward open 4)
                   ..  T->O RPI    4, parameters 2 (4)
                   ..  transport   1    lowest 4 bits the class: 0 and 1 carry I/O
                   ..  path size   1    words, then the path: ports, key, class, instance, connection points
    its answer     0   O->T id 4, T->O id 4, triad 8, ...
    forward close  0   tick 1, ticks 1, triad 8, ...        its answer   0  triad 8, ...

    parameters: redundant owner 1 bit, type 2 bits (0 null, 1 multicast, 2 point to point), ... size 9 bits
    (large: 16). Whoever only listens or takes inputs sends O->T nothing but a heartbeat, which is of size 0
    but for the sequence count of class 1.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.cip import segment_size
from sensor.wire.octets import le16, le32
from sensor.wire.text import put, put_decimal, put_octets

OPEN_TRIAD: Final = 10
ANSWER_TRIAD: Final = 8
CLOSE_TRIAD: Final = 2
TRIAD: Final = 8
"""Octets of a triad, and where it stands in the data of a forward open, its answer and a forward close."""

IO, OWNER, MULTICAST = 1, 2, 4
"""Bits of :func:`open_shape`: carries I/O, owns outputs alone, answers to a group."""

_KEY: Final = 0x34
_INSTANCE, _POINT = 1, 3


@kernel
def open_shape(buf: Any, at: int, end: int, large: bool) -> int:
    """What the data ``buf[at:end]`` of a forward open ask for: IO, OWNER, MULTICAST; 0 none, or cut."""
    wide = 4 if large else 2
    transport = at + 30 + 2 * wide
    if end <= transport:
        return 0
    kind = np.int64(buf[transport]) & 15
    if kind > 1:
        return 0
    if large:
        out, back = le32(buf, at + 26), le32(buf, at + 34)
        size, way, shared, answers = out & 0xFFFF, (out >> 29) & 3, out >> 31, (back >> 29) & 3
    else:
        out, back = le16(buf, at + 26), le16(buf, at + 32)
        size, way, shared, answers = out & 0x1FF, (out >> 13) & 3, out >> 15, (back >> 13) & 3
    if way == 0 and answers == 0:
        return 0  # asks whether it could be opened, or changes what is
    shape = np.int64(IO)
    if (way == 1 or way == 2) and shared == 0 and size > (2 if kind == 1 else 0):
        shape |= OWNER
    return shape | (MULTICAST if answers == 1 else 0)


@kernel
def output_point(buf: Any, at: int, end: int, large: bool, out: Any) -> int:
    """Write where the outputs of a forward open lie, ``1.5/100``: ports on the way, connection point.

    Of the connection points the last but one is what is sent to, or the last where nothing comes back.
    """
    wide = 4 if large else 2
    size = at + 31 + 2 * wide
    if end <= size:
        return 0
    parameters = at + 30 + wide
    answers = (le32(buf, parameters) >> 29) & 3 if large else (le16(buf, parameters) >> 13) & 3
    end = min(end, size + 1 + 2 * np.int64(buf[size]))
    at = size + 1
    used, last, before = np.int64(0), np.int64(-1), np.int64(-1)
    while at < end:
        head, octets = np.int64(buf[at]), segment_size(buf, at, end)
        if octets < 2 or at + octets > end:
            break
        if head >> 5 == 0:
            used = _port(buf, at, head, out, used)
        elif head >> 5 == 1 and head != _KEY and ((head >> 2) & 7 == _INSTANCE or (head >> 2) & 7 == _POINT):
            before = last
            last = np.int64(buf[at + 1])
            if head & 3:
                last = le16(buf, at + 2) if head & 3 == 1 else le32(buf, at + 2)
        at += octets
    number = before if before >= 0 and answers != 0 else last
    return put_decimal(out, used, number) if number >= 0 else used


@kernel
def _port(buf: Any, at: int, head: int, out: Any, used: int) -> int:
    """A port segment: number, what is reached there."""
    long = head & 16 != 0
    number, link = head & 15, at + (2 if long else 1)
    if number == 15:
        number, link = le16(buf, link), link + 2
    used = put(out, put_decimal(out, used, number), 0x2E)
    if long:
        used = put_octets(out, used, buf, link, link + np.int64(buf[at + 1]))
    else:
        used = put_decimal(out, used, np.int64(buf[link]))
    return put(out, used, 0x2F)
