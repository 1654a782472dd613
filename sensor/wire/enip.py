"""EtherNet/IP encapsulation (ODVA, The CIP Networks Library volume 2, chapter 2).

Layout, little endian::

    0   command   2    0 NOP, 4 list services, 99 list identity, 100 list interfaces, 101 register session,
                       102 unregister session, 111 send RR data, 112 send unit data, 114 indicate status,
                       115 cancel, 200 start DTLS
    2   length    2    octets behind the header
    4   session   4
    8   status    4    0 success
    12  context   8    of the sender; a response repeats it
    20  options   4
    24  data           111 and 112: interface 4 (0 CIP), timeout 2, items; answers to 4, 99, 100: items

    items: count 2; each: type 2, length 2, data (volume 2, 2-6)
    item 0x00A1: connection id 4; 0x8002: connection id 4, sequence number 4
    item 0x00B1: sequence count 2, CIP message; 0x00B2: CIP message
    item 0x000C (identity): version 2, socket address 16, vendor 2, type 2, product 2, revision 2, status 2,
                            serial number 4, name 1 + n, state 1

Cyclic I/O on UDP port 2222 has no header: items 0x8002 and 0x00B1 only (volume 2, 2-4.6).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import le16, le32
from sensor.wire.status import FOREIGN, MORE, OK

HEADER: Final = 24
LENGTH, SESSION, STATUS, SENDER = 2, 4, 8, 12
NOP, LIST_SERVICES, LIST_IDENTITY, LIST_INTERFACES = 0x00, 0x04, 0x63, 0x64
REGISTER, UNREGISTER, RR_DATA, UNIT_DATA = 0x65, 0x66, 0x6F, 0x70
INDICATE_STATUS, CANCEL, START_DTLS = 0x72, 0x73, 0xC8
INTERFACE: Final = 6
"""Octets of interface handle and timeout before the items."""

IDENTITY, CONNECTED_ADDRESS, CONNECTED_DATA, UNCONNECTED_DATA, SEQUENCED_ADDRESS = (
    0x0C,
    0xA1,
    0xB1,
    0xB2,
    0x8002,
)
IDENTITY_NAME: Final = 32
"""Where the product's name begins in an identity item."""

COUNT, CONNECTION, SEQUENCE, DATA, DATA_AT, DATA_END, NAME_AT, BROKEN = range(8)
"""Places of what :func:`enip_items` found."""


@kernel
def is_command(command: int) -> bool:
    if command <= CANCEL:
        return (
            command == NOP
            or command == LIST_SERVICES
            or LIST_IDENTITY <= command <= UNREGISTER
            or command == RR_DATA
            or command == UNIT_DATA
            or command >= INDICATE_STATUS
        )
    return command == START_DTLS


@kernel
def enip_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of the PDU that begins at ``at``."""
    if end - at < 4:
        return (MORE, 0) if end - at < 2 or is_command(le16(buf, at)) else (FOREIGN, 0)
    if not is_command(le16(buf, at)):
        return FOREIGN, 0
    return OK, HEADER + le16(buf, at + LENGTH)


@kernel
def enip_items(buf: Any, at: int, end: int, where: Any) -> None:
    """Walk the items in ``buf[at:end]`` and keep in ``where`` (8 integers) what was found, -1 what was not.

    The last address and the last data item count; ``BROKEN`` is 1 when an item is longer than what is
    there or has another length than its type asks for.
    """
    for i in range(8):
        where[i] = -1
    where[BROKEN] = 0
    if end - at < 2:
        where[BROKEN] = 1
        return
    where[COUNT] = le16(buf, at)
    at += 2
    for _ in range(where[COUNT]):
        if end - at < 4:
            where[BROKEN] = 1
            return
        kind, size = le16(buf, at), le16(buf, at + 2)
        at += 4
        stop = min(at + size, end)
        if stop - at < size:
            where[BROKEN] = 1
        _item(buf, at, stop, kind, size, where)
        at = stop


@kernel
def _item(buf: Any, at: int, end: int, kind: int, size: int, where: Any) -> None:
    if kind == CONNECTED_ADDRESS or kind == SEQUENCED_ADDRESS:
        if size != (4 if kind == CONNECTED_ADDRESS else 8):
            where[BROKEN] = 1
        if end - at >= 4:
            where[CONNECTION] = le32(buf, at)
        if kind == SEQUENCED_ADDRESS and end - at >= 8:
            where[SEQUENCE] = le32(buf, at + 4)
    elif kind == CONNECTED_DATA or kind == UNCONNECTED_DATA:
        where[DATA], where[DATA_AT], where[DATA_END] = kind, at, end
    elif kind == IDENTITY and where[NAME_AT] < 0:
        name = at + IDENTITY_NAME
        if end > name and end > name + np.int64(buf[name]):
            where[NAME_AT] = name
