"""SNMP messages (RFC 1157, RFC 3412, RFC 3416) in BER.

Layout::

    30 message
       02 version                      0 v1, 1 v2c, 3 v3
       04 community                    v1, v2c; never read
       30 header, 04 security          v3
       04 encrypted, or 30 scoped PDU  v3: 04 engine, 04 context, PDU
       A0 to A8 PDU: 02 request id, 02 error status, 02 error index, 30 variables
                     A4 (trap v1): 06 enterprise, 40 address, 02 generic, 02 specific, 43 time, 30 variables
       variables: 30 (06 object identifier, value), as many as there are
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.goose import ber_header, ber_unsigned
from sensor.wire.status import FOREIGN, MALFORMED, MORE, OK
from sensor.wire.text import put, put_decimal

TRAP_V1: Final = 4
BULK: Final = 5
ENCRYPTED: Final = 256
MAX_VARIABLES: Final = 4096

KIND, REQUEST, STATUS, FIRST, FIRST_END, VARIABLES = range(6)
"""Columns of the ``where`` array; -1 absent."""


@kernel
def snmp_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of a message in a TCP stream (RFC 3430)."""
    if buf[at] != 0x30:
        return FOREIGN, 0
    if end - at < 6:
        return MORE, 0
    octets = np.int64(buf[at + 1])
    if octets < 0x80:
        return OK, 2 + octets
    octets &= 0x7F
    if octets == 0 or octets > 3:
        return FOREIGN, 0
    size = np.int64(0)
    for i in range(octets):
        size = (size << 8) | np.int64(buf[at + 2 + i])
    return OK, 2 + octets + size


@kernel
def parse_snmp(buf: Any, at: int, end: int, where: Any) -> int:
    """Fill ``where`` from one message; OK, FOREIGN, or MALFORMED (fields before the fault are there)."""
    where[:] = -1
    tag, here, stop = ber_header(buf, at, end)
    if tag != 0x30:
        return FOREIGN
    tag, inner, here = ber_header(buf, here, stop)
    if tag != 0x02 or here - inner != 1 or buf[inner] > 3:
        return FOREIGN
    version = buf[inner]
    tag, inner, here = ber_header(buf, here, stop)
    if tag != (0x30 if version == 3 else 0x04):
        return FOREIGN
    if version == 3:
        tag, inner, here = ber_header(buf, here, stop)
        tag, inner, behind = ber_header(buf, here, stop)
        if tag == 0x04:
            where[KIND] = ENCRYPTED
            return OK
        if tag != 0x30:
            return MALFORMED
        here, stop = inner, behind
        for _ in range(2):
            tag, inner, here = ber_header(buf, here, stop)
            if tag != 0x04:
                return MALFORMED
    tag, inner, behind = ber_header(buf, here, stop)
    if tag < 0xA0 or tag > 0xA8:
        return MALFORMED
    where[KIND] = tag - 0xA0
    return _pdu(buf, inner, behind, where)


@kernel
def _pdu(buf: Any, at: int, end: int, where: Any) -> int:
    trap = where[KIND] == TRAP_V1
    for place in range(5 if trap else 3):
        tag, inner, at = ber_header(buf, at, end)
        if tag < 0 or (not trap and tag != 0x02):
            return MALFORMED
        if not trap and place == 0:
            where[REQUEST] = ber_unsigned(buf, inner, at)
        elif not trap and place == 1 and where[KIND] != BULK:
            where[STATUS] = ber_unsigned(buf, inner, at)
    tag, at, end = ber_header(buf, at, end)
    if tag != 0x30:
        return MALFORMED
    count = np.int64(0)
    while at < end and count < MAX_VARIABLES:
        tag, inner, behind = ber_header(buf, at, end)
        if tag != 0x30:
            return MALFORMED
        tag, begin, stop = ber_header(buf, inner, behind)
        if tag != 0x06:
            return MALFORMED
        if count == 0:
            where[FIRST], where[FIRST_END] = begin, stop
        count += 1
        where[VARIABLES] = count
        at = behind
    where[VARIABLES] = count
    return OK


@kernel
def put_oid(out: Any, buf: Any, at: int, end: int) -> int:
    """Write an object identifier as ``1.3.6.1`` into ``out``; octets written, 0 for none."""
    used = np.int64(0)
    number = np.int64(0)
    for i in range(at, end):
        if number >= np.int64(1) << 56:
            return 0
        number = (number << 7) | (np.int64(buf[i]) & 0x7F)
        if buf[i] & 0x80:
            continue
        if used == 0:
            root = min(number // 40, np.int64(2))
            used = put(out, put_decimal(out, used, root), 0x2E)
            used = put_decimal(out, used, number - 40 * root)
        else:
            used = put_decimal(out, put(out, used, 0x2E), number)
        number = np.int64(0)
    return used
