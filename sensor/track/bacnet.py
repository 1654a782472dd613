"""BACnet/IP messages: a datagram becomes a row, the numbers it reads, writes or reports become points."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.track.state import (
    BACNET,
    ROLE_CLIENT,
    ROLE_PEER,
    ROLE_SERVER,
    add_point,
    conversation,
    open_row,
)
from sensor.track.table import intern
from sensor.wire.bacnet import (
    APPLICATION,
    CLOSING,
    COMPLEX,
    CONFIRMED,
    CONTEXT,
    DEEP,
    ERROR,
    HEADER,
    LOWEST_PRIORITY,
    OBJECT,
    OBJECT_NAME,
    OPENING,
    PRESENT_VALUE,
    SEGMENT,
    SIMPLE,
    UNCONFIRMED,
    bacnet_behind,
    bacnet_goes_on,
    bacnet_is_priority,
    bacnet_number,
    bacnet_rule,
    bacnet_tag,
    bacnet_unsigned,
    parse_apdu,
    parse_bvlc,
    parse_npdu,
)
from sensor.wire.octets import be16, be32

TYPE: Final = 0x81
MAX_DEPTH: Final = 32

DEPTH, OUTER, INNER, TARGET, PROPERTY, ELEMENT, FIRST_OBJECT, FIRST_PROPERTY = range(8)
"""Where the walk over the tags stands, in ``memory.where``: -1 not met."""

_MALFORMED = int(Flag.MALFORMED)
_TRUNCATED = int(Flag.TRUNCATED)


@kernel
def emit_bacnet(memory: Any, names: Any, buf: Any, at: int, end: int, wire_end: int) -> bool:
    """One UDP payload; its header stands before it."""
    if end - at < HEADER or buf[at] != TYPE:
        return False
    context = memory.context
    context.stream = -1
    row = open_row(memory, BACNET, 0)
    npdu, stop = parse_bvlc(buf, at, end, wire_end, row)
    apdu, kind, service, place = np.int64(-1), np.int64(-1), np.int64(-1), np.int64(-1)
    if npdu >= 0:
        apdu = parse_npdu(buf, npdu, stop, row)
        if apdu >= 0:
            place, kind, service = parse_apdu(buf, apdu, stop, row)
    _conversation(memory, names, row, kind, be16(buf, at - 8), be16(buf, at - 6))
    if kind == ERROR and place >= 0:
        _error(buf, place, stop, row)
    elif place >= 0:
        before = row.flags
        _parameters(memory, names, buf, place, stop, row, kind, service)
        if bacnet_goes_on(buf, apdu):  # in the next segment, within a value perhaps
            row.flags = before
    if apdu == -2 or place == -2:
        row.flags |= np.uint32(_MALFORMED)
    if wire_end > end:
        row.flags = (row.flags | np.uint32(_TRUNCATED)) & ~np.uint32(_MALFORMED)
    return True


@kernel
def _conversation(memory: Any, names: Any, row: Any, kind: int, sport: int, dport: int) -> None:
    """Who asks is the client; without a question and an answer both are peers."""
    context = memory.context
    client, server, port = context.src, context.dst, dport
    row.role = ROLE_PEER
    if kind == CONFIRMED:
        row.role = ROLE_CLIENT
    elif kind >= SIMPLE and kind <= 7 and kind != SEGMENT:
        row.role = ROLE_SERVER
        client, server, port = context.dst, context.src, sport
    row.conv = conversation(memory, names, BACNET, client, server, port, 0, 0)


@kernel
def _error(buf: Any, at: int, end: int, row: Any) -> None:
    """Class and code of an error, both enumerated; some services wrap them into a constructed tag."""
    found = 0
    while at < end and found < 2:
        kind, number, at, length = bacnet_tag(buf, at, end)
        if kind < 0:
            break
        if kind == APPLICATION and number == 9:
            _error_part(buf, at, length, row, found)
            found += 1
        at = bacnet_behind(kind, at, length, number)
    if found < 2:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _error_part(buf: Any, at: int, length: int, row: Any, place: int) -> None:
    value = bacnet_unsigned(buf, at, length)
    if value > 0x7FFFFFFF:
        return
    if place == 0 and row.aux < 0:
        row.aux = value
    elif place == 1 and row.cause < 0:
        row.cause = value


@kernel
def _parameters(
    memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, apdu: int, service: int
) -> None:
    """Walk over the tags of a service: its first object and property, and the value of each property."""
    walk = memory.where
    for i in range(8):
        walk[i] = -1
    walk[DEPTH] = 0
    while at < end:
        kind, number, at, length = bacnet_tag(buf, at, end)
        if kind < 0 or walk[DEPTH] > MAX_DEPTH:
            walk[DEPTH] = -1
        elif kind == OPENING:
            walk[OUTER if walk[DEPTH] == 0 else INNER] = number
            walk[DEPTH] += 1
        elif kind == CLOSING:
            walk[DEPTH] -= 1
        elif not _names(walk, buf, kind, number, at, length, apdu, service):
            _content(memory, names, buf, kind, number, at, length, row, apdu, service)
        if walk[DEPTH] < 0:
            break
        at = bacnet_behind(kind, at, length, number)
    if walk[DEPTH] != 0:
        row.flags |= np.uint32(_MALFORMED)
    if walk[FIRST_OBJECT] >= 0:
        row.point = _text(memory, names, walk[FIRST_OBJECT], walk[FIRST_PROPERTY], -1)


@kernel
def _names(
    walk: Any, buf: Any, kind: int, number: int, at: int, length: int, apdu: int, service: int
) -> bool:
    """Does this tag name an object, a property or an element of it? Notes it."""
    oid_tag, around, property_tag = bacnet_rule(apdu, service)
    depth = walk[DEPTH]
    place = number if kind == CONTEXT else np.int64(-1)
    if kind == APPLICATION and number == OBJECT and depth == 0:
        place = np.int64(OBJECT)
    elif kind == CONTEXT and depth == 1:
        place = DEEP + number
    if length == 4 and place >= 0 and place == oid_tag:
        walk[TARGET], walk[PROPERTY] = be32(buf, at), -1
        if walk[FIRST_OBJECT] < 0:
            walk[FIRST_OBJECT] = walk[TARGET]
        return True
    if around == -2 or kind != CONTEXT or (depth != 0 if around < 0 else depth != 1 or walk[OUTER] != around):
        return False
    if number == property_tag:
        walk[PROPERTY], walk[ELEMENT] = bacnet_unsigned(buf, at, length), -1
        # a report of changes names several properties of its object
        if walk[FIRST_PROPERTY] < 0 and not (oid_tag == 2 and around == 4):
            walk[FIRST_PROPERTY] = walk[PROPERTY]
        return True
    if number == property_tag + 1 and walk[PROPERTY] >= 0:
        walk[ELEMENT] = bacnet_unsigned(buf, at, length)
        return True
    return False


@kernel
def _content(
    memory: Any,
    names: Any,
    buf: Any,
    kind: int,
    number: int,
    at: int,
    length: int,
    row: Any,
    apdu: int,
    service: int,
) -> None:
    """A value: of a property, the refusal of one, the priority of its writing, or the name of an object."""
    walk = memory.where
    if apdu == CONFIRMED and kind == CONTEXT and bacnet_is_priority(service, walk[DEPTH], number):
        priority = bacnet_unsigned(buf, at, length)
        if 1 <= priority <= LOWEST_PRIORITY and (row.state < 0 or priority < row.state):
            row.state = priority
    named = service == 1 and kind == APPLICATION and number == 7
    named = named or (service == 7 and kind == CONTEXT and number == 3)
    if named and apdu == UNCONFIRMED and row.name == 0:
        row.name = _string(memory, names, buf, at, length)
    if kind != APPLICATION or walk[DEPTH] == 0 or walk[PROPERTY] < 0:
        return
    if apdu == COMPLEX and service == 14 and walk[DEPTH] == 2 and walk[INNER] == 5:
        if number == 9:
            _error_part(buf, at, length, row, 1 if row.aux >= 0 else 0)
        return
    if walk[PROPERTY] == OBJECT_NAME and number == 7 and row.name == 0:
        row.name = _string(memory, names, buf, at, length)
    value = bacnet_number(buf, number, at, length)
    if value == value:
        if walk[PROPERTY] == PRESENT_VALUE and row.value != row.value:
            row.value = value
        point = _text(memory, names, walk[TARGET], walk[PROPERTY], walk[ELEMENT]) if walk[TARGET] >= 0 else 0
        if point > 0:
            add_point(memory, row, number, point, value, -1)
    walk[PROPERTY] = -1  # of a value of several parts the first


@kernel
def _text(memory: Any, names: Any, target: int, prop: int, element: int) -> int:
    """Text id of ``type/instance``, ``/property``, ``/element`` in decimal."""
    text = memory.text
    size = _decimal(text, 0, target >> 22)
    text[size] = 0x2F
    size = _decimal(text, size + 1, target & 0x3FFFFF)
    if prop >= 0:
        text[size] = 0x2F
        size = _decimal(text, size + 1, prop)
        if element >= 0:
            text[size] = 0x2F
            size = _decimal(text, size + 1, element)
    return intern(names.texts, text, 0, size)


@kernel
def _decimal(text: Any, at: int, value: int) -> int:
    """Write ``value`` at ``at``; returns the offset behind it."""
    power = np.int64(1)
    while value // power >= 10:
        power *= 10
    while power > 0:
        text[at] = 0x30 + (value // power) % 10
        power //= 10
        at += 1
    return at


@kernel
def _string(memory: Any, names: Any, buf: Any, at: int, length: int) -> int:
    """Text id of a character string: its set, then UTF-8 (0), UCS-2 (4) or ISO 8859-1 (5)."""
    if length < 1:
        return 0
    code = buf[at]
    if code == 0:
        return intern(names.texts, buf, at + 1, length - 1)
    step = 2 if code == 4 else 1
    if code != 4 and code != 5:
        return 0
    text = memory.text
    size = np.int64(0)
    for i in range(at + 1, at + length - step + 1, step):
        letter = be16(buf, i) if step == 2 else np.int64(buf[i])
        if size + 3 > len(text):
            break
        if letter < 0x80:
            text[size] = letter
            size += 1
        elif letter < 0x800:
            text[size], text[size + 1] = 0xC0 | (letter >> 6), 0x80 | (letter & 0x3F)
            size += 2
        else:
            text[size], text[size + 1] = 0xE0 | (letter >> 12), 0x80 | ((letter >> 6) & 0x3F)
            text[size + 2] = 0x80 | (letter & 0x3F)
            size += 3
    return intern(names.texts, text, 0, size)
