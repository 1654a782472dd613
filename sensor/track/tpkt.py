"""ISO transport on port 102: packets become messages of MMS or S7comm, else rows of COTP.

What a data unit holds is told by its contents: MMS and S7comm share the port. A message that goes over
several data units is gathered; of one that is longer than a slot the head is read.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.mms import emit_mms
from sensor.track.s7comm import emit_s7comm
from sensor.track.state import COTP, conversation, open_row
from sensor.track.streams import SLOT, drop_parts, gather
from sensor.track.table import intern
from sensor.wire.ber import find_tag, tlv
from sensor.wire.mms import association_pdu, is_mms, session_data
from sensor.wire.s7comm import PLUS, is_s7comm
from sensor.wire.tpkt import CALLED, CALLING, CC, CODE, CR, DT, ERROR, KNOWN, REJECT, tsap

KIND_PLUS: Final = 114
"""S7comm-plus, named after its protocol id 0x72."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_REASSEMBLED = int(Flag.REASSEMBLED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_tpkt(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int) -> None:
    """One packet ``buf[at:end]``, or its head, of the frame in ``memory.context``."""
    context = memory.context
    size = context.pdu
    if end - at < 7:
        return
    code = np.int64(buf[at + CODE]) >> 4
    data = at + 5 + np.int64(buf[at + 4])
    if buf[at + 4] < 2 or data - at > size:
        _cotp(memory, names, -1 if buf[at + 4] == 0 else code, size, True)
    elif code == DT:
        last = buf[at + 6] & 0x80 != 0
        _data(memory, names, pool, buf, min(data, end), end, last, end - at >= size)
    else:
        row = _cotp(memory, names, code, size, not (1 << code) & KNOWN)
        if code == CR or code == CC:
            row.name = _tsap(memory, names, buf, at, end, CALLED)
            row.ident = _tsap(memory, names, buf, at, end, CALLING)


@kernel
def _cotp(memory: Any, names: Any, code: int, size: int, malformed: bool) -> Any:
    context = memory.context
    conv = conversation(memory, names, COTP, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, COTP, conv)
    row.kind = code
    row.size = size
    if malformed:
        row.flags |= np.uint32(_MALFORMED)
    if code == ERROR or code == REJECT:
        row.flags |= np.uint32(_NEGATIVE)
    return row


@kernel
def _tsap(memory: Any, names: Any, buf: Any, at: int, end: int, wanted: int) -> int:
    """Text id of a TSAP: as it is when all of it can be printed, else in hexadecimal; 0 none."""
    begin, octets = tsap(buf, at, end, wanted)
    if begin < 0 or octets == 0:
        return 0
    printable = True
    for i in range(begin, begin + octets):
        if buf[i] < 0x20 or buf[i] > 0x7E:
            printable = False
    if printable:
        return intern(names.texts, buf, begin, octets)
    text = memory.text
    text[0], text[1] = 0x30, 0x78
    octets = min(octets, (len(text) - 2) // 2)
    for i in range(octets):
        octet = np.int64(buf[begin + i])
        high, low = octet >> 4, octet & 15
        text[2 + 2 * i] = high + (0x30 if high < 10 else 0x57)
        text[3 + 2 * i] = low + (0x30 if low < 10 else 0x57)
    return intern(names.texts, text, 0, 2 + 2 * octets)


@kernel
def _data(memory: Any, names: Any, pool: Any, buf: Any, at: int, end: int, last: bool, whole: bool) -> None:
    """User data of a data unit; ``last``: it ends a message, ``whole``: all of it is here."""
    context = memory.context
    size = context.pdu
    flow = memory.streams.flows[context.flow]
    half = memory.streams.halves[2 * context.flow + context.side]
    if context.flags & np.int64(_RETRANSMITTED):
        # its neighbours were read already; alone it is worth what it holds
        _message(memory, names, buf, at, end, size, last and whole)
        return
    if half.parts == 0:
        flow.app[context.side] = 0
    if last and half.parts == 0:
        _message(memory, names, buf, at, end, size, whole)
        return
    keep = min(end, at + SLOT - half.parts)
    if keep < end or not whole:
        flow.app[context.side] |= 1 << 32  # some of the message is missing
    if keep > at and not gather(memory.streams, half, buf, at, keep):
        flow.app[context.side] |= 1 << 32
    if not last:
        flow.app[context.side] += size
        _cotp(memory, names, DT, size, False)
        return
    base = half.part * SLOT
    missing = flow.app[context.side] >> 32
    before = flow.app[context.side] & 0xFFFFFFFF
    context.flags |= np.int64(_REASSEMBLED)
    if half.part > 0:
        _message(memory, names, pool, base, base + half.parts, min(size + before, 0x7FFFFFFF), missing == 0)
    else:
        _cotp(memory, names, DT, size, False)
    drop_parts(memory.streams, half)
    flow.app[context.side] = 0


@kernel
def _message(memory: Any, names: Any, buf: Any, at: int, end: int, size: int, whole: bool) -> None:
    """Rows of one message of the transport's user; ``size`` with all headers of the transport."""
    context = memory.context
    role, client, server, port = context.role, context.client, context.server, context.port
    if is_s7comm(buf, at, end):
        emit_s7comm(memory, names, buf, at, end, end - at if whole else 1 << 30)
    elif end > at and buf[at] == PLUS:
        row = _cotp(memory, names, KIND_PLUS, size, False)
        if end - at >= 2:
            row.aux = buf[at + 1]
    elif is_mms(buf, at, end):
        emit_mms(memory, names, buf, at, end, size, whole)
    else:
        _session(memory, names, buf, at, end, size, whole)
    context.role, context.client, context.server, context.port = role, client, server, port


@kernel
def _session(memory: Any, names: Any, buf: Any, at: int, end: int, size: int, whole: bool) -> None:
    """MMS under session and presentation, or a row of COTP."""
    sort, at, end = session_data(buf, at, end)
    rows = memory.cursor[0]
    if sort == 1:
        at, end = find_tag(buf, at, end, 0x61)
        while at >= 0 and at < end:
            tag, inner, at = tlv(buf, at, end)
            if tag != 0x30:
                break
            first, last = find_tag(buf, inner, min(at, end), 0xA0)
            if first >= 0 and is_mms(buf, first, last):
                emit_mms(memory, names, buf, first, last, size, whole)
    elif sort == 2:
        at, end = association_pdu(buf, at, end)
        if at >= 0 and is_mms(buf, at, end):
            emit_mms(memory, names, buf, at, end, size, whole)
    if memory.cursor[0] == rows:
        _cotp(memory, names, DT, size, sort == 3 and whole)
