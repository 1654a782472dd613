"""DLMS/COSEM: wrapper, HDLC frame, and the head of an APDU (IEC 62056-4-7, 62056-46, 62056-5-3).

Layout of the wrapper, big endian::

    0  version          2    1
    2  source wPort     2    16 public client, 1 management device …
    4  destination      2
    6  length           2    octets of the APDU that follows

Layout of an HDLC frame (type 3)::

    0  flag             1    0x7E
    1  format           2    0xA000 | segmented 0x0800 | length of all between the flags
    3  destination      1..4 the lowest bit of its last octet is set
    .  source           1..4
    .  control          1
    .  HCS, information      only with information: LLC E6 E6 00 or E6 E7 00, APDU
    .  FCS              2    CRC-16/X.25, little endian
    .  flag             1

Layout of an APDU: a tag (0x60..0x63 in BER, all others in A-XDR), then a choice and an invoke id where the
service has them; ciphered ones carry length, security control and invocation counter.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16, be32, float32, float64, signed
from sensor.wire.status import FOREIGN, MORE, OK

WRAPPER: Final = 8
FLAG: Final = 0x7E


def _crc_table() -> np.ndarray[Any, np.dtype[np.int64]]:
    """CRC-16/X.25, reflected (62056-46 clause 6.4.2.9)."""
    table = np.zeros(256, np.int64)
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
        table[octet] = crc
    return table


CRC: Final = _crc_table()


@kernel
def hdlc_crc(buf: Any, at: int, end: int) -> bool:
    """Do the octets that end with their check sum at ``end`` agree with it?"""
    crc = np.int64(0xFFFF)
    for i in range(at, end - 2):
        crc = (crc >> 8) ^ CRC[(crc ^ np.int64(buf[i])) & 0xFF]
    crc ^= 0xFFFF
    return crc == np.int64(buf[end - 2]) | np.int64(buf[end - 1]) << 8


@kernel
def dlms_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, octets of the wrapper or HDLC frame at ``at``); an idle flag is a frame of one octet."""
    if end <= at:
        return MORE, 0
    if buf[at] == FLAG:
        if end - at < 2:
            return MORE, 0
        if buf[at + 1] == FLAG:
            return OK, 1
        if buf[at + 1] & 0xF0 != 0xA0:
            return FOREIGN, 0
        if end - at < 3:
            return MORE, 0
        need = (be16(buf, at + 1) & 0x7FF) + 2
        if need < 9:
            return FOREIGN, 0
        if at + need < end and buf[at + need - 1] == FLAG and buf[at + need] & 0xF0 == 0xA0:
            return OK, need - 1  # its closing flag opens the next frame
        return OK, need
    if buf[at] != 0 or (end - at > 1 and buf[at + 1] != 1):
        return FOREIGN, 0
    if end - at < WRAPPER:
        return MORE, 0
    if be16(buf, at + 6) == 0:
        return FOREIGN, 0
    return OK, WRAPPER + be16(buf, at + 6)


@kernel
def hdlc_address(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(octets, upper address: the logical device or the client); octets 0 when it does not end."""
    for size in range(1, 5):
        if at + size > end:
            return 0, 0
        if buf[at + size - 1] & 1:
            if size == 4:
                return 4, np.int64(buf[at] >> 1) << 7 | np.int64(buf[at + 1] >> 1)
            return (0, 0) if size == 3 else (size, np.int64(buf[at] >> 1))
    return 0, 0


@kernel
def axdr_length(data: Any, at: int, end: int) -> tuple[int, int]:
    """(octets it takes, length) of an A-XDR or BER length; octets 0 when it is not there."""
    if at >= end:
        return 0, 0
    first = np.int64(data[at])
    if first < 0x80:
        return 1, first
    more = first & 0x7F
    if more > 4 or more == 0 or at + 1 + more > end:
        return 0, 0
    length = np.int64(0)
    for i in range(more):
        length = length << 8 | np.int64(data[at + 1 + i])
    return 1 + more, length


@kernel
def dlms_number(data: Any, at: int, end: int) -> float:
    """The number in the COSEM data at ``at``; NaN for every other type and for what is not all there."""
    if at >= end:
        return np.nan
    kind = np.int64(data[at])
    at += 1
    left = end - at
    if (kind == 3 or kind == 17 or kind == 22) and left >= 1:
        return np.float64(data[at])
    if kind == 15 and left >= 1:
        return np.float64(signed(np.int64(data[at]), 8))
    if kind == 16 and left >= 2:
        return np.float64(signed(be16(data, at), 16))
    if kind == 18 and left >= 2:
        return np.float64(be16(data, at))
    if kind == 5 and left >= 4:
        return np.float64(signed(be32(data, at), 32))
    if kind == 6 and left >= 4:
        return np.float64(be32(data, at))
    if kind == 20 and left >= 8:
        return signed(be32(data, at), 32) * 4294967296.0 + be32(data, at + 4)
    if kind == 21 and left >= 8:
        return be32(data, at) * 4294967296.0 + be32(data, at + 4)
    if kind == 23 and left >= 4:
        return float32(be32(data, at))
    if kind == 24 and left >= 8:
        return float64(be32(data, at), be32(data, at + 4))
    return np.nan


@kernel
def dlms_ciphered(tag: int) -> bool:
    """Services under a global or dedicated key, and general ciphering."""
    service = (tag & 0x1F) if tag < 96 else 0
    if 33 <= tag < 96:
        return service in (1, 5, 6, 8, 12, 13, 14, 22, 24)
    return 200 <= tag <= 215 or 219 <= tag <= 221


@kernel
def dlms_asks(tag: int) -> int:
    """Who sends an APDU with this tag: 1 the client, 2 the server, 0 either."""
    if 33 <= tag < 96:
        tag &= 0x1F
    if tag in (1, 5, 6, 22, 96, 98, 217) or 192 <= tag <= 193 or tag == 195:
        return 1
    if tag in (200, 201, 203, 208, 209, 211):
        return 1
    if tag in (8, 12, 13, 14, 15, 24, 97, 99, 216, 218) or tag == 194 or 196 <= tag <= 199:
        return 2
    if tag in (202, 204, 205, 207, 210, 212, 213, 215):
        return 2
    return 0
