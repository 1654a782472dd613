"""MMS messages: a PDU becomes a row, a response meets its request by invokeID."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.mms_values import listed_values, next_variable, value_point
from sensor.track.sides import as_client, as_server
from sensor.track.state import MMS, conversation, open_row
from sensor.track.table import intern
from sensor.track.transactions import recall, remember, request_key
from sensor.wire.ber import count_elements, find_name, find_tag, integer, tlv
from sensor.wire.mms import (
    ATTRIBUTES,
    CANCEL,
    CANCEL_ERROR,
    CANCELLED,
    CONCLUDE_ERROR,
    CONFIRMED_ERROR,
    DEFINE_LIST,
    DELETE_LIST,
    IDENTIFY,
    INITIATE,
    INITIATE_ERROR,
    INITIATED,
    LIST_ATTRIBUTES,
    NAME_LIST,
    READ,
    REJECT,
    REQUEST,
    RESPONSE,
    UNCONFIRMED,
    WRITE,
    error_class,
    first_failure,
    listed_name,
    other_name,
    plain_name,
    service_number,
    variables,
)
from sensor.wire.mms_report import ID, ID_LENGTH, PARTS, SET, SET_LENGTH, SQNUM, report_head, report_values

NO_SERVICE: Final = 255
_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_UNANSWERED = int(Flag.UNANSWERED)
_RETRANSMITTED = int(Flag.RETRANSMITTED)


@kernel
def emit_mms(memory: Any, names: Any, buf: Any, at: int, end: int, size: int, whole: bool) -> None:
    """One MMS PDU that begins at ``at``; ``whole``: nothing of it is missing behind ``end``."""
    context = memory.context
    tag, inner, behind = tlv(buf, at, end)
    if tag == REQUEST or tag == INITIATE:
        as_client(context)
    elif tag == RESPONSE or tag == CONFIRMED_ERROR or tag == INITIATED:
        as_server(context)
    conv = conversation(memory, names, MMS, context.client, context.server, context.port, 0, 0)
    row = open_row(memory, MMS, conv)
    row.size = size
    row.kind = (np.int64(buf[at]) & 0x1F) << 8
    if tag < 0 or (whole and behind > end):
        row.flags |= np.uint32(_MALFORMED)
    if tag < 0:
        return
    end = min(behind, end)
    if tag == REQUEST or tag == RESPONSE or tag == UNCONFIRMED:
        _service(memory, names, buf, inner, end, tag, row)
    else:
        _other(buf, inner, end, tag, row)
    _pair(memory, row, tag)
    if tag == RESPONSE and row.kind == 256 + READ and row.count == 1:
        _read_value(memory, buf, inner, end, row)


@kernel
def _other(buf: Any, at: int, end: int, tag: int, row: Any) -> None:
    """Errors, rejects, cancels: what was refused and why."""
    if tag == CANCEL or tag == CANCELLED:
        row.seq = integer(buf, at, end)
    elif tag == INITIATE_ERROR or tag == CONCLUDE_ERROR:
        row.cause = error_class(buf, at, end)
    elif tag == CONFIRMED_ERROR or tag == CANCEL_ERROR:
        first, last = find_tag(buf, at, end, 0x80)
        if first >= 0:
            row.seq = integer(buf, first, last)
        first, last = find_tag(buf, at, end, 0xA2 if tag == CONFIRMED_ERROR else 0xA1)
        if first >= 0:
            row.cause = error_class(buf, first, last)
    elif tag == REJECT:
        while at < end:
            part, inner, at = tlv(buf, at, end)
            if part == 0x80:
                row.seq = integer(buf, inner, min(at, end))
            elif part > 0:
                row.cause = service_number(part)
                break
            else:
                break
    if tag == CONFIRMED_ERROR or tag == REJECT or tag == INITIATE_ERROR:
        row.flags |= np.uint32(_NEGATIVE)


@kernel
def _service(memory: Any, names: Any, buf: Any, at: int, end: int, tag: int, row: Any) -> None:
    """The service of a request, response or unconfirmed PDU and what it names."""
    row.kind |= NO_SERVICE
    part, inner, behind = tlv(buf, at, end)
    if tag != UNCONFIRMED:
        if part != 0x02:
            row.flags |= np.uint32(_MALFORMED)
            return
        row.seq = integer(buf, inner, min(behind, end))
        part, inner, behind = tlv(buf, behind, end)
        if part == 0x30:  # modifiers of a request
            part, inner, behind = tlv(buf, behind, end)
    number = service_number(part) if part >= 0 else -1
    if number < 0 or (tag == UNCONFIRMED and number > 2):
        return
    row.kind = (row.kind & ~np.int32(0xFF)) | number
    end = min(behind, end)
    begin, octets = np.int64(-1), np.int64(0)
    if tag == REQUEST:
        begin, octets = _asked(buf, inner, end, number, row)
    elif tag == RESPONSE:
        _answered(memory, names, buf, inner, end, number, row)
    elif number == 0:
        begin, octets = _reported(buf, inner, end, row)
    _name(memory, names, buf, inner, end, begin, octets, row)
    if tag == UNCONFIRMED and number == 0:
        _report(memory, names, buf, inner, end, row)
    if (tag == REQUEST and number == WRITE) or (tag == UNCONFIRMED and number == 0):
        _values(memory, names, buf, inner, end, row)
    if tag == REQUEST and row.name == 0:
        begin, octets = other_name(buf, inner, end, number)
        _set_name(names, buf, begin, octets, row)


@kernel
def _asked(buf: Any, at: int, end: int, number: int, row: Any) -> tuple[int, int]:
    """What a request addresses: number of variables into the row; (begin, octets) of a plain name."""
    begin, octets = np.int64(-1), np.int64(0)
    if number == READ:
        first, last = find_tag(buf, at, end, 0xA1)
        if first >= 0:
            row.count, begin, octets, _ = variables(buf, first, last)
    elif number == WRITE:
        row.count, begin, octets, _ = variables(buf, at, end)
    elif number == ATTRIBUTES:
        first, last = find_tag(buf, at, end, 0xA0)
        if first >= 0:
            begin, octets = plain_name(buf, first, last)
    elif number == LIST_ATTRIBUTES:
        begin, octets = plain_name(buf, at, end)
    elif number == DELETE_LIST:
        first, last = find_tag(buf, at, end, 0xA1)
        if first >= 0:
            begin, octets = plain_name(buf, first, last)
    elif number == DEFINE_LIST:
        begin, octets = plain_name(buf, at, end)
        first, last = find_tag(buf, at, end, 0xA0)
        if first >= 0:
            row.count = count_elements(buf, first, last)
    return begin, octets


@kernel
def _answered(memory: Any, names: Any, buf: Any, at: int, end: int, number: int, row: Any) -> None:
    """Results of a response."""
    if number == READ:
        first, last = find_tag(buf, at, end, 0xA0)
        if first >= 0:
            row.count = variables(buf, first, last)[0]
        first, last = find_tag(buf, at, end, 0xA1)
        if first >= 0:
            _results(buf, first, last, row)
    elif number == WRITE:
        _failed(first_failure(buf, at, end), row)
    elif number == NAME_LIST:
        first, last = find_tag(buf, at, end, 0xA0)
        if first >= 0:
            row.count = count_elements(buf, first, last)
    elif number == LIST_ATTRIBUTES:
        first, last = find_tag(buf, at, end, 0xA1)
        if first >= 0:
            row.count = count_elements(buf, first, last)
            begin, octets = listed_name(buf, first, last)
            _set_name(names, buf, begin, octets, row)
    elif number == IDENTIFY:
        vendor, behind = find_tag(buf, at, end, 0x80)
        model, last = find_tag(buf, at, end, 0x81)
        if vendor >= 0 and model >= 0:
            row.ident = _join(memory, names, buf, vendor, behind - vendor, model, last - model)


@kernel
def _reported(buf: Any, at: int, end: int, row: Any) -> tuple[int, int]:
    """An information report: (begin, octets) of a plain name."""
    row.count, begin, octets, at = variables(buf, at, end)
    first, last = find_tag(buf, at, end, 0xA0)
    if first >= 0:
        _results(buf, first, last, row)
    return begin, octets


@kernel
def _report(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Number, data set and identity of a report of IEC 61850, where the information report is one."""
    at, end = report_values(buf, at, end)
    if at < 0:
        return
    where = memory.where
    report_head(buf, at, end, where)
    row.seq, row.aux = where[SQNUM], where[PARTS]
    if where[ID_LENGTH] > 0:
        row.ident = intern(names.texts, buf, where[ID], where[ID_LENGTH])
    if where[SET_LENGTH] > 0:
        row.name = intern(names.texts, buf, where[SET], where[SET_LENGTH])


@kernel
def _results(buf: Any, at: int, end: int, row: Any) -> None:
    """A list of AccessResults."""
    if row.count < 0:
        row.count = count_elements(buf, at, end)
    _failed(first_failure(buf, at, end), row)


@kernel
def _failed(error: int, row: Any) -> None:
    if error >= 0:
        row.cause = min(error, 0x7FFFFFFF)
        row.flags |= np.uint32(_NEGATIVE)


@kernel
def _values(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Points of a write or a report whose variables are listed; the first value of any other."""
    at, stop, data, end = listed_values(buf, at, end)
    first = True
    while data >= 0 and data < end:
        point = np.int64(0)
        if at >= 0 and at < stop:
            name, behind, at = next_variable(buf, at, stop)
            if name >= 0:
                point = _object(memory, names, buf, name, behind)
        elif not first:
            break
        value_point(memory, buf, data, end, row, point, first)
        first = False
        tag, _, data = tlv(buf, data, end)
        if tag < 0:
            break


@kernel
def _object(memory: Any, names: Any, buf: Any, at: int, end: int) -> int:
    """Text id of an ObjectName; 0 of one that cannot be read."""
    begin, octets = plain_name(buf, at, end)
    if begin >= 0:
        return intern(names.texts, buf, begin, octets)
    if find_name(buf, at, end, memory.where) != 1:
        return 0
    where = memory.where
    return _join(memory, names, buf, where[0], where[1], where[2], where[3])


@kernel
def _read_value(memory: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """The value of a variable that was read alone, whose name stood in the request."""
    _, _, at = tlv(buf, at, end)
    _, at, behind = tlv(buf, min(at, end), end)
    first, last = find_tag(buf, at, min(behind, end), 0xA1)
    if first >= 0:
        value_point(memory, buf, first, last, row, row.point, True)


@kernel
def _name(memory: Any, names: Any, buf: Any, at: int, end: int, begin: int, octets: int, row: Any) -> None:
    """The first object of a domain, else a plain name, else a file."""
    where = memory.where
    found = find_name(buf, at, end, where)
    if found == 1:
        row.name = _join(memory, names, buf, where[0], where[1], where[2], where[3])
        row.point = row.name
    elif begin >= 0:
        _set_name(names, buf, begin, octets, row)
    elif found == 2:
        _set_name(names, buf, where[0], where[1], row)


@kernel
def _set_name(names: Any, buf: Any, begin: int, octets: int, row: Any) -> None:
    if begin >= 0 and octets > 0:
        row.name = intern(names.texts, buf, begin, octets)
        row.point = row.name


@kernel
def _join(memory: Any, names: Any, buf: Any, one: int, size: int, two: int, other: int) -> int:
    """Text id of two texts with a slash between them."""
    text = memory.text
    used = min(size, len(text))
    for i in range(used):
        text[i] = buf[one + i]
    if used < len(text):
        text[used] = 0x2F
        used += 1
    for i in range(min(other, len(text) - used)):
        text[used] = buf[two + i]
        used += 1
    return intern(names.texts, text, 0, used)


@kernel
def _pair(memory: Any, row: Any, tag: int) -> None:
    """Requests wait for their response or error; both numbers of 32 bits are folded into the key's 16."""
    if row.seq < 0:
        return
    if tag == REQUEST:
        if not row.flags & np.uint32(_RETRANSMITTED):
            key = request_key(row.stream, row.seq & 0xFFFF, 0, _way(memory, True))
            remember(memory.requests, key, row.ts, row.frame, row.point, row.count)
    elif tag == RESPONSE or tag == CONFIRMED_ERROR:
        key = request_key(row.stream, row.seq & 0xFFFF, 0, _way(memory, False))
        found = recall(memory.requests, key)
        if found < 0:
            row.flags |= np.uint32(_UNANSWERED)
            return
        row.state = memory.requests[found].frame
        if row.point < 0:
            row.point = memory.requests[found].point


@kernel
def _way(memory: Any, asks: bool) -> int:
    """Each side of a connection may ask: the direction of the request."""
    return memory.context.side if asks else 1 - memory.context.side
