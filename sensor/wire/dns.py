"""DNS messages (RFC 1035); multicast DNS (RFC 6762) and LLMNR (RFC 4795) have the same layout.

Layout::

    0  id             2
    2  flags          2    0x8000 response, 0x7800 operation, 0x000F response code
    4  questions      2
    6  answers        2
    8  authorities    2
    10 additional     2
    12 questions: name, type 2, class 2
       records: name, type 2, class 2, time to live 4, length 2, data

A name is labels (length 1 to 63, octets) up to a length of 0, or to a pointer 0xC000 | offset to an earlier
place in the message. Refuses: pointers that do not go back, and names of more than 255 octets.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, MORE, OK
from sensor.wire.text import put, put_octets

HEADER: Final = 12
MAX_NAME: Final = 255
MAX_JUMPS: Final = 64
ANSWER: Final = 32_768
UPDATE: Final = 5
"""Operation whose counts are of zones, conditions and changes (RFC 2136), not of answers."""


@kernel
def dns_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of a message in a TCP stream, behind its two octets of length (RFC 1035 4.2.2)."""
    if end - at < 2:
        return MORE, 0
    size = be16(buf, at)
    if size < HEADER:
        return FOREIGN, 0
    return OK, 2 + size


@kernel
def skip_name(buf: Any, at: int, end: int) -> int:
    """Offset behind a name, -1 when it is cut or has a label that is none."""
    while at < end:
        size = np.int64(buf[at])
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2 if at + 2 <= end else np.int64(-1)
        if size > 63:
            return -1
        at += 1 + size
    return -1


@kernel
def put_name(out: Any, buf: Any, begin: int, at: int, end: int) -> int:
    """Write a name as dotted text into ``out``; octets written, -1 when it is malformed.

    Parameters
    ----------
    begin : int
        Where the message begins, to which pointers count.
    """
    used = np.int64(0)
    total = np.int64(0)
    jumps = 0
    lowest = at
    while at < end:
        size = np.int64(buf[at])
        if size == 0:
            return used
        if size >= 0xC0:
            if at + 2 > end:
                return -1
            target = begin + (be16(buf, at) & 0x3FFF)
            jumps += 1
            if target >= lowest or jumps > MAX_JUMPS:
                return -1
            lowest = target
            at = target
            continue
        if size > 63 or at + 1 + size > end:
            return -1
        total += 1 + size
        if total > MAX_NAME:
            return -1
        if used:
            used = put(out, used, 0x2E)
        used = put_octets(out, used, buf, at + 1, at + 1 + size)
        at += 1 + size
    return -1


@kernel
def dns_whole(buf: Any, at: int, end: int) -> bool:
    """Whether all the questions and records that the header counts are in ``buf[at:end]``."""
    here = at + HEADER
    for _ in range(be16(buf, at + 4)):
        here = skip_name(buf, here, end)
        if here < 0 or here + 4 > end:
            return False
        here += 4
    for _ in range(be16(buf, at + 6) + be16(buf, at + 8) + be16(buf, at + 10)):
        here = skip_name(buf, here, end)
        if here < 0 or here + 10 > end:
            return False
        here += 10 + be16(buf, here + 8)
        if here > end:
            return False
    return True
