"""Numbers and addresses written as text into a buffer, for the name tables.

Every writer takes the buffer, how many octets of it are used, and gives how many are used then; it stops at
:data:`LONGEST`, which is what a name table keeps of one text.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

LONGEST: Final = 255
ROOM: Final = 256


@kernel
def put(out: Any, used: int, octet: int) -> int:
    """One octet."""
    if used >= LONGEST:
        return used
    out[used] = octet
    return used + 1


@kernel
def put_octets(out: Any, used: int, buf: Any, at: int, end: int) -> int:
    """Octets as they are."""
    stop = min(end, at + LONGEST - used)
    for i in range(at, stop):
        out[used] = buf[i]
        used += 1
    return used


@kernel
def put_decimal(out: Any, used: int, number: int) -> int:
    """A number from 0 on in decimal digits."""
    unit = np.int64(1)
    while number // unit >= 10 and unit < 10**18:
        unit *= 10
    while unit > 0:
        used = put(out, used, 0x30 + (number // unit) % 10)
        unit //= 10
    return used


@kernel
def put_hex(out: Any, used: int, octet: int) -> int:
    """An octet as two hexadecimal digits."""
    for shift in (4, 0):
        digit = (np.int64(octet) >> shift) & 15
        used = put(out, used, digit + (0x30 if digit < 10 else 0x57))
    return used


@kernel
def put_hex_octets(out: Any, used: int, buf: Any, at: int, end: int) -> int:
    """Octets as hexadecimal digits."""
    for i in range(at, min(end, at + LONGEST)):
        used = put_hex(out, used, buf[i])
    return used


@kernel
def put_ipv4(out: Any, used: int, buf: Any, at: int) -> int:
    """Four octets as ``10.0.0.1``."""
    for i in range(4):
        if i:
            used = put(out, used, 0x2E)
        used = put_decimal(out, used, np.int64(buf[at + i]))
    return used


@kernel
def put_mac(out: Any, used: int, buf: Any, at: int) -> int:
    """Six octets as ``00:0c:29:aa:bb:cc``."""
    for i in range(6):
        if i:
            used = put(out, used, 0x3A)
        used = put_hex(out, used, buf[at + i])
    return used
