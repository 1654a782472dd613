"""MMS (ISO 9506-2) and what carries it: session (ISO 8327-1), presentation (8823), association (8650-1).

Octets behind COTP::

    01 00 01 00   session: give tokens, data transfer; then presentation user data
    0D, 0E        session: connect, accept; parameters, of which C1 holds presentation and association
    61            presentation user data: 30 { 02 context, [06 syntax,] A0 { MMS PDU } } ...

    MMS PDU: A0 request, A1 response, A2 error: invokeID, then the service as the tag's number
             A3 unconfirmed: service     A4 reject     85, 86, A7 cancel     A8, A9, AA initiate
             8B, 8C, AD conclude; request, response, error each

    VariableAccessSpecification: A0 list of 30 { A0 ObjectName, ... }, or A1 ObjectName of a list
    ObjectName: 80 of the VMD, A1 { 1A domain, 1A item }, 82 of the association
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.ber import count_elements, find_tag, integer, tlv

REQUEST, RESPONSE, CONFIRMED_ERROR, UNCONFIRMED, REJECT = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4
CANCEL, CANCELLED, CANCEL_ERROR = 0x85, 0x86, 0xA7
INITIATE, INITIATED, INITIATE_ERROR = 0xA8, 0xA9, 0xAA
CONCLUDE, CONCLUDED, CONCLUDE_ERROR = 0x8B, 0x8C, 0xAD
NAME_LIST, IDENTIFY, READ, WRITE, ATTRIBUTES = 1, 2, 4, 5, 6
DEFINE_LIST, LIST_ATTRIBUTES, DELETE_LIST = 11, 12, 13
NAMES_A_DOMAIN: Final = 1 << 26 | 1 << 28 | 1 << 32 | 1 << 33 | 1 << 34 | 1 << 35
NAMES_A_PROGRAM: Final = 1 << 38 | 1 << 40 | 1 << 41 | 1 << 42 | 1 << 43 | 1 << 44
IS_A_NAME: Final = 1 << 27 | 1 << 29 | 1 << 36 | 1 << 37 | 1 << 39 | 1 << 45
"""Sets of services: 80 in the request is a domain, a program; the request is nothing but a name."""
DATA_TRANSFER: Final = 0x01
CONNECT, ACCEPT = 0x0D, 0x0E
USER_DATA: Final = 0xC1


@kernel
def is_mms(buf: Any, at: int, end: int) -> bool:
    """Can an MMS PDU begin here?"""
    if end - at < 2:
        return False
    tag = buf[at]
    if tag >= 0xA0:
        return tag <= 0xA4 or (0xA7 <= tag <= 0xAA) or tag == 0xAD
    return tag == CANCEL or tag == CANCELLED or tag == CONCLUDE or tag == CONCLUDED


@kernel
def service_number(tag: int) -> int:
    """Number of a service from its tag; -1 for what is none."""
    if tag > 0xFF:
        return tag & 0xFF if tag >> 14 == 2 and tag & 0xFF <= 77 else -1
    return tag & 0x1F if tag >> 6 == 2 else -1


@kernel
def session_data(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(sort, begin, end) of what a session carries.

    Sort 1: presentation user data, from its tag 61 on; 2: a connect or accept with the presentation's own
    connect in it; 3: a connect or accept that carries nothing to read; 0: nothing that holds MMS.
    """
    if end - at < 4:
        return 0, at, at
    if buf[at] == DATA_TRANSFER and buf[at + 1] == 0:
        at += 2
        if buf[at] == DATA_TRANSFER and buf[at + 1] == 0:
            at += 2
        return (1 if at < end and buf[at] == 0x61 else 0), at, end
    if buf[at] != CONNECT and buf[at] != ACCEPT:
        return 0, at, at
    at += 2 if buf[at + 1] != 0xFF else 4
    while end - at >= 2:
        sort = buf[at]
        size = np.int64(buf[at + 1])
        at += 2
        if size == 0xFF:
            if end - at < 2:
                break
            size = np.int64(buf[at]) << 8 | np.int64(buf[at + 1])
            at += 2
        if sort == USER_DATA:
            return (2 if size > 0 else 3), at, min(at + size, end)
        at += size
    return 3, at, end


@kernel
def association_pdu(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(begin, end) of the MMS PDU in a presentation connect; (-1, -1) none.

    31 { A2 { 61 { 30 { A0 { 60 or 61 { BE { 28 { A0 { PDU } } } } } } } } }
    """
    at, end = find_tag(buf, at, end, 0x31)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0xA2)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0x61)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0x30)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0xA0)
    if at >= 0:
        tag, inner, behind = tlv(buf, at, end)
        if tag != 0x60 and tag != 0x61:
            return np.int64(-1), np.int64(-1)
        at, end = find_tag(buf, inner, min(behind, end), 0xBE)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0x28)
    if at >= 0:
        at, end = find_tag(buf, at, end, 0xA0)
    return at, end


@kernel
def error_class(buf: Any, at: int, end: int) -> int:
    """Class of a ServiceError: ``A0 { class as tag }``; -1 none."""
    at, end = find_tag(buf, at, end, 0xA0)
    if at < 0:
        return -1
    tag, _, _ = tlv(buf, at, end)
    return service_number(tag) if tag >= 0 else -1


@kernel
def first_failure(buf: Any, at: int, end: int) -> int:
    """DataAccessError of the first result that failed, ``80 01 error``; -1 none."""
    inner, stop = find_tag(buf, at, end, 0x80)
    return integer(buf, inner, stop) if inner >= 0 else -1


@kernel
def plain_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(begin, octets) of an ObjectName of the VMD or the association; (-1, 0) another."""
    tag, inner, behind = tlv(buf, at, end)
    if tag == 0x80 or tag == 0x82:
        return inner, min(behind, end) - inner
    return np.int64(-1), np.int64(0)


@kernel
def listed_name(buf: Any, at: int, end: int) -> tuple[int, int]:
    """:func:`plain_name` of the first variable of a list that has one."""
    while at < end:
        tag, inner, behind = tlv(buf, at, end)
        if tag < 0:
            break
        stop = min(behind, end)
        if tag == 0x30 and stop - inner >= 2 and buf[inner] == 0xA0:
            _, name, last = tlv(buf, inner, stop)
            begin, octets = plain_name(buf, name, min(last, stop))
            if begin >= 0:
                return begin, octets
        at = behind
    return np.int64(-1), np.int64(0)


@kernel
def variables(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """(variables of a list or -1, begin and octets of a plain name, end) of a VariableAccessSpecification."""
    tag, inner, behind = tlv(buf, at, end)
    stop = min(behind, end)
    if tag == 0xA0:
        begin, octets = listed_name(buf, inner, stop)
        return count_elements(buf, inner, stop), begin, octets, stop
    if tag == 0xA1:
        begin, octets = plain_name(buf, inner, stop)
        return np.int64(-1), begin, octets, stop
    return np.int64(-1), np.int64(-1), np.int64(0), stop


@kernel
def other_name(buf: Any, at: int, end: int, number: int) -> tuple[int, int]:
    """(begin, octets) of the domain or program that a request without ObjectName is about; -1 none."""
    begin, stop = np.int64(-1), np.int64(-1)
    service = np.int64(1) << min(number, 62)
    if number == NAME_LIST:
        begin, stop = find_tag(buf, at, end, 0xA1)
        if begin >= 0:
            begin, stop = find_tag(buf, begin, stop, 0x81)
    elif service & (NAMES_A_DOMAIN | NAMES_A_PROGRAM):
        begin, stop = find_tag(buf, at, end, 0x80)
    elif number == DELETE_LIST:
        begin, stop = find_tag(buf, at, end, 0x82)
    elif service & IS_A_NAME:
        begin, stop = np.int64(at), np.int64(end)
    return begin, stop - begin
