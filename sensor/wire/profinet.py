"""PROFINET behind its ethertype 0x8892: real-time frames and DCP (IEC 61158-6-10).

Layout of a cyclic frame::

    0   frame id         2
    2   process data     as long as the frame
    -4  cycle counter    2    steps of 31.25 us
    -2  data status      1    0x01 primary, 0x04 valid, 0x10 run, 0x20 no station problem
    -1  transfer status  1    0: received well

Layout of a DCP frame, frame ids 0xFEFC to 0xFEFF::

    2   service id       1    3 get, 4 set, 5 identify, 6 hello
    3   service type     1    0 request, 1 success, 5 not supported
    4   xid              4
    8   response delay   2    reserved except in an identify request
    10  data length      2
    12  blocks: option 1, suboption 1, length 2, data, filled up to an even length; a get request has only
        pairs of option and suboption

The data of a block begin with two octets of block info (what a device tells of itself) or block qualifier
(what is set). An answer to a set is a block 5/4: option 1, suboption 1, error 1.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import MALFORMED, OK, TRUNCATED

DCP_HEADER: Final = 12
DCP_FIRST: Final = 0xFEFC
DCP_LAST: Final = 0xFEFF
GET: Final = 3
SET: Final = 4
IDENTIFY: Final = 5
HELLO: Final = 6

STATION, STATION_END, ADDRESS, VENDOR, VENDOR_END, ERROR, OPTION = range(7)
"""Columns of the ``where`` array: offsets, -1 absent; then the first block error, option and suboption."""


@kernel
def profinet_cyclic(frame_id: int) -> bool:
    """Whether a frame id is one of cyclic data: RT class 3, RT class 2, RT class 1 with multicast."""
    return 0x0100 <= frame_id <= 0x0FFF or 0x8000 <= frame_id <= 0xFBFF


@kernel
def profinet_kind(frame_id: int) -> int:
    """A frame id with a meaning of its own, else 65536 + its highest four bits."""
    own = frame_id == 0x0020 or frame_id == 0x0021 or frame_id == 0x0080 or frame_id == 0x0081
    own = own or frame_id == 0xFC01 or frame_id == 0xFE01
    own = own or frame_id == 0xFF00 or frame_id == 0xFF01 or frame_id == 0xFF20 or frame_id == 0xFF21
    own = own or 0xFF40 <= frame_id <= 0xFF43
    return frame_id if own else np.int64(65_536) + (frame_id >> 12)


@kernel
def parse_dcp(buf: Any, at: int, end: int, wire_end: int, where: Any) -> int:
    """Walk the blocks of a DCP frame (``at`` is its frame id) and fill ``where``.

    Returns
    -------
    int
        OK, TRUNCATED (the capture ends first) or MALFORMED (a block is longer than the data).
    """
    where[:] = -1
    service, answer = np.int64(buf[at + 2]), buf[at + 3] & 1 != 0
    stop = at + DCP_HEADER + be16(buf, at + 10)
    status = OK
    if stop > end:
        status = TRUNCATED if wire_end > end and stop <= wire_end else MALFORMED
        stop = end
    here = at + DCP_HEADER
    if service == GET and not answer:
        if here + 2 <= stop:
            where[OPTION] = be16(buf, here)
        return status
    extra = answer if service != HELLO else not answer
    if service == SET:
        extra = not answer
    elif service == IDENTIFY and not answer:
        extra = False
    while here + 4 <= stop:
        size = be16(buf, here + 2)
        behind = here + 4 + size
        if where[OPTION] < 0:
            where[OPTION] = be16(buf, here)
        if behind > stop:
            return status if status == TRUNCATED else MALFORMED
        _block(buf, here, behind, 2 if extra else 0, where)
        here = behind + (size & 1)
    return status


@kernel
def _block(buf: Any, at: int, behind: int, extra: int, where: Any) -> None:
    """One block; ``extra`` octets of info or qualifier stand before its data."""
    data = min(at + 4 + extra, behind)
    kind = be16(buf, at)
    if kind == 0x0202 and where[STATION] < 0:
        where[STATION], where[STATION_END] = data, behind
    elif kind == 0x0201 and where[VENDOR] < 0:
        where[VENDOR], where[VENDOR_END] = data, behind
    elif (kind == 0x0102 or kind == 0x0103) and where[ADDRESS] < 0 and behind - data >= 4:
        where[ADDRESS] = data
    elif kind == 0x0504 and where[ERROR] < 0 and behind - at >= 7:
        where[ERROR] = np.int64(buf[at + 6])
