"""PTP messages: a frame or datagram becomes a row; a conversation is a sender's clock in its domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import PTP, ROLE_PUBLISHER, conversation, open_row
from sensor.track.table import intern
from sensor.wire.ptp import GRANDMASTER, IDENTITY, parse_ptp, ptp_management
from sensor.wire.status import OK, TRUNCATED

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)
_DOMAIN = np.frombuffer(b"domain ", np.uint8)
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@kernel
def emit_ptp(
    memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int, port: int, vlan: int
) -> bool:
    """One message; ``port`` is the UDP port it was sent to, 0 on Ethernet. False when it is not version 2."""
    if end - at < 2 or (port and np.int64(buf[at + 1]) & 15 != 2):
        return False
    context = memory.context
    context.role = ROLE_PUBLISHER
    context.stream = -1
    row = open_row(memory, PTP, 0)
    status, stop = parse_ptp(buf, at, end, wire_end, row)
    if status == TRUNCATED:
        row.flags |= np.uint32(_TRUNCATED)
    elif status != OK:
        row.flags |= np.uint32(_MALFORMED)
    key = memory.scratch
    sub = np.int64(0)
    if stop - at >= IDENTITY + 8:
        _identity(key, 0, buf, at + IDENTITY)
        row.point = intern(names.texts, key, 0, 18)
        size = _domain(key, row.state)
        key[size] = 0x2F
        _identity(key, size + 1, buf, at + IDENTITY)
        sub = intern(names.texts, key, 0, size + 19)
    if row.kind == 11 and stop - at >= GRANDMASTER + 8:
        _identity(key, 0, buf, at + GRANDMASTER)
        row.ident = intern(names.texts, key, 0, 18)
    management = ptp_management(buf, at, stop)
    if management >= 0:
        row.name = intern(names.texts, key, 0, _decimal(key, 0, management))
    row.conv = conversation(memory, names, PTP, context.src, context.dst, port, sub, vlan)
    return True


@kernel
def _domain(key: Any, domain: int) -> int:
    for i in range(len(_DOMAIN)):
        key[i] = _DOMAIN[i]
    return _decimal(key, len(_DOMAIN), domain)


@kernel
def _decimal(key: Any, at: int, number: int) -> int:
    """Write a number that is not negative; returns the place behind it."""
    scale = np.int64(1)
    while number // scale >= 10:
        scale *= 10
    while scale > 0:
        key[at] = _DIGITS[number // scale % 10]
        at += 1
        scale //= 10
    return at


@kernel
def _identity(key: Any, at: int, buf: Any, where: int) -> None:
    """A clock identity as ``0x`` and 16 digits."""
    key[at], key[at + 1] = 0x30, 0x78
    for i in range(8):
        octet = np.int64(buf[where + i])
        key[at + 2 + 2 * i] = _DIGITS[octet >> 4]
        key[at + 3 + 2 * i] = _DIGITS[octet & 15]
