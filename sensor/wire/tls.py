"""TLS records (RFC 8446 5.1, RFC 5246 6.2) and what a hello says in clear.

Layout::

    0  content type  1    20 change cipher spec, 21 alert, 22 handshake, 23 application data, 24 heartbeat
    1  version       2    0x0300 to 0x0304
    3  length        2    at most 2**14 + 2048
    5  handshake: message 1, length 3, body; alert: level 1, description 1

    client hello: version 2, random 32, session id 1 + n, cipher suites 2 + n, compression 1 + n,
                  extensions 2 + n
    extension: type 2, length 2; type 0: list 2, kind 1 (0 host name), length 2, name

    certificate (in clear up to TLS 1.2): list 3, each: length 3, DER (RFC 5280 4.1): version, serial number,
                  algorithm, issuer, validity, subject, ...
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.ber import tlv
from sensor.wire.octets import be16, be24
from sensor.wire.status import FOREIGN, MORE, OK

HEADER: Final = 5
MAX_RECORD: Final = (1 << 14) + 2048
CHANGE_CIPHER: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION: Final = 23
CLIENT_HELLO: Final = 1
CERTIFICATE: Final = 11
COMMON_NAME: Final = 0x550403
"""Object identifier 2.5.4.3 (RFC 5280, appendix A.1)."""


@kernel
def tls_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes) of the record that begins at ``at``."""
    if buf[at] < 20 or buf[at] > 24 or (end - at > 1 and buf[at + 1] != 3):
        return FOREIGN, 0
    if end - at < HEADER:
        return MORE, 0
    size = be16(buf, at + 3)
    if buf[at + 2] > 4 or size > MAX_RECORD:
        return FOREIGN, 0
    return OK, HEADER + size


@kernel
def tls_begins(buf: Any, at: int, end: int, owned: bool) -> bool:
    """Does a segment begin with TLS on a port of no protocol, or (``owned``) with a hello on one of another?

    A hello cannot be taken for a PDU of an industrial protocol; other records are only believed where no
    protocol is expected, and when another record or nothing follows.
    """
    if end - at < HEADER + 1:
        return False
    status, need = tls_length(buf, at, end)
    if status != OK or (buf[at + 2] == 0 and owned):
        return False
    if buf[at] == HANDSHAKE and (buf[at + 5] == 1 or buf[at + 5] == 2):
        return end - at < HEADER + 4 or be24(buf, at + 6) + 4 <= need - HEADER
    if owned or buf[at] == 24 or need == HEADER:
        return False
    behind = at + need
    if behind >= end:
        return True
    return bool(20 <= buf[behind] <= 23 and (behind + 1 >= end or buf[behind + 1] == 3))


@kernel
def tls_handshake(buf: Any, at: int, end: int, need: int) -> int:
    """The message that a handshake record begins with, -1 when it is encrypted or none."""
    if end - at < HEADER + 4:
        return -1
    message = np.int64(buf[at + 5])
    known = message <= 6 or message == 8 or 11 <= message <= 16 or 20 <= message <= 25 or message == 67
    if not known or message == 3 or be24(buf, at + 6) + 4 > need - HEADER:
        return -1
    return message


@kernel
def server_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(offset, length) of the server's name in a client hello record, 0 octets when there is none."""
    none = np.int64(0)
    here = at + HEADER + 4 + 34
    if here >= end:
        return at, none
    here += 1 + np.int64(buf[here])
    if here + 2 > end:
        return at, none
    here += 2 + be16(buf, here)
    if here >= end:
        return at, none
    here += 1 + np.int64(buf[here])
    if here + 2 > end:
        return at, none
    stop = min(end, here + 2 + be16(buf, here))
    here += 2
    while here + 4 <= stop:
        behind = here + 4 + be16(buf, here + 2)
        if be16(buf, here) == 0:
            if behind > stop or here + 9 > behind or buf[here + 6] != 0:
                return at, none
            size = be16(buf, here + 7)
            return here + 9, size if here + 9 + size <= behind else none
        here = behind
    return at, none


@kernel
def certificate_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(offset, length) of the common name that a handshake record's first certificate is for; 0 octets none.

    Messages of a handshake may share a record, so that the certificate may stand behind a hello.
    """
    here = at + HEADER
    while here + 10 <= end:
        size = be24(buf, here + 1)
        if buf[here] == CERTIFICATE:
            first = here + 10
            return _subject(buf, first, min(first + be24(buf, here + 7), here + 4 + size, end))
        here += 4 + size
    return at, np.int64(0)


@kernel
def _subject(buf: Any, at: int, end: int) -> tuple[int, int]:
    """The common name in the fourth sequence of a certificate's signed part."""
    none = np.int64(0)
    for _ in range(2):  # certificate, its signed part
        tag, inner, behind = tlv(buf, at, end)
        if tag != 0x30:
            return at, none
        at, end = inner, min(behind, end)
    sequences = 0
    while at < end:
        tag, inner, behind = tlv(buf, at, end)
        if tag < 0:
            break
        sequences += tag == 0x30
        if sequences == 4:
            return _common_name(buf, inner, min(behind, end))
        at = behind
    return at, none


@kernel
def _common_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    while at < end:
        tag, inner, behind = tlv(buf, at, end)
        if tag != 0x31:
            break
        stop = min(behind, end)
        tag, pair, _ = tlv(buf, inner, stop)
        if (
            tag == 0x30
            and stop - pair > 5
            and be16(buf, pair) == 0x0603
            and be24(buf, pair + 2) == COMMON_NAME
        ):
            tag, text, text_end = tlv(buf, pair + 5, stop)
            if tag >= 0 and text_end <= stop:
                return text, text_end - text
        at = behind
    return at, np.int64(0)
