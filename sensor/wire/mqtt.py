"""MQTT control packets: 3.1 (IBM/Eurotech 2010), 3.1.1 and 5.0 (OASIS, ISO/IEC 20922).

Layout::

    0  type << 4 | flags    PUBLISH: DUP 8, QoS 6, RETAIN 1; others reserved
    1  remaining length     1..4 octets, 7 bits each, least significant first
    .  variable header, payload; texts and octet strings behind 2 octets of length

Version 5 adds properties (2.2.2) to most packets, so that only the version, known from CONNECT, tells where a
payload begins. The password of CONNECT is never looked at.

Refuses: a remaining length of more than four octets, and headers that contradict themselves and ask for
more than :data:`MAX_BELIEVED` octets.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from grid_profiles.vocabulary import Flag
from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, MORE, OK

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = range(1, 9)
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(9, 16)
V31, V311, V5 = 3, 4, 5
MAX_BELIEVED: Final = 4096

TOPIC, TOPIC_LENGTH, OTHER, OTHER_LENGTH, IDENT, IDENT_LENGTH, VERSION, ALIAS = range(8)
"""Columns of the ``where`` array: offsets (-1 absent) and lengths of texts, protocol version, topic alias.

``OTHER`` is the will topic of a CONNECT, the payload of a PUBLISH."""

_MALFORMED = int(Flag.MALFORMED)
_NEGATIVE = int(Flag.NEGATIVE)
_DUPLICATE = int(Flag.DUPLICATE)


@kernel
def mqtt_flags_wrong(first: int) -> bool:
    """Flags that 3.1.1 and 5.0 forbid (2.2.2, 2.1.3): reserved bits of a type, QoS 3, type 0."""
    kind, flags = first >> 4, first & 0x0F
    if kind == PUBLISH:
        return flags & 6 == 6
    if kind == PUBREL or kind == SUBSCRIBE or kind == UNSUBSCRIBE:
        return flags != 2
    return flags != 0 or kind == 0


@kernel
def mqtt_varint(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(value, offset behind it) of a variable byte integer; -1: not all of it is here, -2: too long."""
    value = np.int64(0)
    for i in range(4):
        if at + i >= end:
            return -1, at
        octet = np.int64(buf[at + i])
        value |= (octet & 0x7F) << (7 * i)
        if octet < 0x80:
            return value, at + i + 1
    return -2, at


@kernel
def mqtt_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the packet at ``at``); MORE when its length is not complete."""
    length, body = mqtt_varint(buf, at + 1, end)
    if length == -1:
        return MORE, 0
    if length < 0 or (length > MAX_BELIEVED and mqtt_flags_wrong(np.int64(buf[at]))):
        return FOREIGN, 0
    return OK, body + length - at


@kernel
def parse_mqtt(buf: Any, at: int, end: int, wire: int, version: int, row: Any, where: Any) -> None:
    """Fill ``row`` and ``where`` from the packet ``buf[at:wire]`` of which ``buf[at:end]`` is here.

    ``version`` is that of the connection, 0 unknown. ``where[VERSION]`` comes back as what this packet says.
    """
    for i in range(8):
        where[i] = -1
    where[VERSION] = version
    where[ALIAS] = 0
    first = np.int64(buf[at])
    kind = first >> 4
    row.kind = kind
    length, body = mqtt_varint(buf, at + 1, end)
    if length < 0:
        row.size = end - at
        return
    row.size = length + 2
    if kind == CONNECT:
        left = _connect(buf, body, end, row, where)
    elif kind == CONNACK:
        left = _connack(buf, body, end, length, row, where)
    elif kind == PUBLISH:
        left = _publish(buf, body, end, first, row, where)
    elif kind == SUBSCRIBE or kind == UNSUBSCRIBE:
        left = _subscribe(buf, body, end, kind, row, where)
    elif kind == SUBACK or kind == UNSUBACK:
        left = _suback(buf, body, end, kind, row, where)
    elif kind >= PUBACK and kind <= PUBCOMP:
        left = _acknowledge(buf, body, end, row, where)
    else:
        left = _last(buf, body, end, kind, row, where)
    if where[VERSION] == V31 and (kind == PUBREL or kind == SUBSCRIBE or kind == UNSUBSCRIBE) and first & 8:
        row.flags |= np.uint32(_DUPLICATE)
    # 3.1 left unused flags open
    if mqtt_flags_wrong(first) and (where[VERSION] != V31 or kind == PUBLISH or kind == 0):
        row.flags |= np.uint32(_MALFORMED)
    if left != 0 and end >= wire:
        row.flags |= np.uint32(_MALFORMED)


@kernel
def _span(buf: Any, at: int, end: int) -> int:
    """Offset behind a text or octet string with 2 octets of length; -1 when it does not fit."""
    if at < 0 or end - at < 2:
        return -1
    behind = at + 2 + be16(buf, at)
    return behind if behind <= end else -1


@kernel
def _properties(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """Skip the properties of version 5 (2.2.2), noting a topic alias; -1 when they do not fit."""
    if at < 0:
        return -1
    length, at = mqtt_varint(buf, at, end)
    if length < 0 or length > end - at:
        return -1
    stop = at + length
    while at < stop:
        code = np.int64(buf[at])
        at += 1
        if code == 35 and stop - at >= 2:
            where[ALIAS] = be16(buf, at)
        at = _property(buf, at, stop, code)
        if at < 0 or at > stop:
            row.flags |= np.uint32(_MALFORMED)
            return stop
    return stop


@kernel
def _property(buf: Any, at: int, end: int, code: int) -> int:
    """Offset behind the value of one property; -1 unknown or too long."""
    if code == 1 or code == 23 or code == 25 or code == 36 or code == 37 or (code >= 40 and code <= 42):
        return at + 1
    if code == 19 or (code >= 33 and code <= 35):
        return at + 2
    if code == 2 or code == 17 or code == 24 or code == 39:
        return at + 4
    if code == 11:
        value, behind = mqtt_varint(buf, at, end)
        return behind if value > 0 else -1
    if code == 38:
        return _span(buf, _span(buf, at, end), end)
    if code == 3 or code == 8 or code == 9 or code == 18 or code == 21 or code == 22:
        return _span(buf, at, end)
    if code == 26 or code == 28 or code == 31:
        return _span(buf, at, end)
    return -1


@kernel
def _connect(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """CONNECT (3.1): name, version, flags, keep alive, client id, will, user. Octets left; -1 short."""
    at = _span(buf, at, end)
    if at < 0 or end - at < 4:
        return -1
    version = np.int64(buf[at])
    flags = np.int64(buf[at + 1])
    where[VERSION] = version & 0x7F  # bridges set the high bit
    row.aux = be16(buf, at + 2)
    at += 4
    if where[VERSION] < V31 or where[VERSION] > V5 or flags & 0x18 == 0x18:
        row.flags |= np.uint32(_MALFORMED)
    if flags & 1 or (flags & 4 == 0 and flags & 0x38) or (where[VERSION] != V5 and flags & 0xC0 == 0x40):
        row.flags |= np.uint32(_MALFORMED)
    if version == V5:
        at = _properties(buf, at, end, row, where)
    behind = _span(buf, at, end)
    if behind < 0:
        return -1
    where[IDENT], where[IDENT_LENGTH] = at + 2, behind - at - 2
    at = behind
    if flags & 4:
        if version == V5:
            at = _properties(buf, at, end, row, where)
        behind = _span(buf, at, end)
        if behind < 0:
            return -1
        where[OTHER], where[OTHER_LENGTH] = at + 2, behind - at - 2
        at = _span(buf, behind, end)
    if flags & 0x80:
        behind = _span(buf, at, end)
        if behind < 0:
            return -1
        if where[IDENT_LENGTH] == 0:
            where[IDENT], where[IDENT_LENGTH] = at + 2, behind - at - 2
        at = behind
    if flags & 0x40:
        at = _span(buf, at, end)
    return end - at if at >= 0 else -1


@kernel
def _reason(row: Any, code: int, refused: bool) -> None:
    row.cause = code
    if refused:
        row.flags |= np.uint32(_NEGATIVE)


@kernel
def _connack(buf: Any, at: int, end: int, length: int, row: Any, where: Any) -> int:
    """CONNACK (3.2); its length tells version 5 from the others when CONNECT was not seen."""
    if where[VERSION] == 0 and length >= 2:
        where[VERSION] = V311 if length == 2 else V5
    if end - at < 2:
        return -1
    code = np.int64(buf[at + 1])
    five = where[VERSION] == V5
    _reason(row, code, code >= 0x80 if five else code != 0)
    if buf[at] > 1 and where[VERSION] != V31:
        row.flags |= np.uint32(_MALFORMED)
    at += 2
    if five:
        at = _properties(buf, at, end, row, where)
    return end - at if at >= 0 else -1


@kernel
def _publish(buf: Any, at: int, end: int, first: int, row: Any, where: Any) -> int:
    """PUBLISH (3.3): topic, packet identifier with QoS 1 and 2, payload."""
    quality = (first >> 1) & 3
    row.aux = quality + 4 * (first & 1)
    if first & 8:
        row.flags |= np.uint32(_DUPLICATE)
    behind = _span(buf, at, end)
    if behind < 0:
        return -1
    where[TOPIC], where[TOPIC_LENGTH] = at + 2, behind - at - 2
    at = behind
    if quality:
        if end - at < 2:
            return -1
        row.seq = be16(buf, at)
        at += 2
        if row.seq == 0:
            row.flags |= np.uint32(_MALFORMED)
    if where[VERSION] == V5:
        at = _properties(buf, at, end, row, where)
    if where[TOPIC_LENGTH] == 0 and where[ALIAS] == 0 and (at >= 0 or where[VERSION] != V5):
        row.flags |= np.uint32(_MALFORMED)
    if at < 0:
        return -1
    where[OTHER], where[OTHER_LENGTH] = at, end - at
    return 0


@kernel
def _filters(buf: Any, at: int, end: int, options: int) -> int:
    """How many filters, each with ``options`` octets behind it, fill ``buf[at:end]``; -1 they do not."""
    count = 0
    while at >= 0 and at < end:
        at = _span(buf, at, end)
        if at >= 0:
            at += options
        count += 1
    return count if at == end else -1


@kernel
def _subscribe(buf: Any, at: int, end: int, kind: int, row: Any, where: Any) -> int:
    """SUBSCRIBE (3.8) and UNSUBSCRIBE (3.10); where the version is not known, that which fits."""
    if end - at < 2:
        return -1
    row.seq = be16(buf, at)
    at += 2
    if row.seq == 0:
        row.flags |= np.uint32(_MALFORMED)
    options = 1 if kind == SUBSCRIBE else 0
    five = where[VERSION] == V5
    if where[VERSION] == 0 and _filters(buf, at, end, options) < 1:
        length, begin = mqtt_varint(buf, at, end)
        five = length >= 0 and _filters(buf, begin + length, end, options) > 0
    if five:
        at = _properties(buf, at, end, row, where)
    behind = _span(buf, at, end)
    if behind < 0:
        return -1
    where[TOPIC], where[TOPIC_LENGTH] = at + 2, behind - at - 2
    if where[TOPIC_LENGTH] == 0:
        row.flags |= np.uint32(_MALFORMED)
    return 0 if _filters(buf, at, end, options) > 0 else -1


@kernel
def _suback(buf: Any, at: int, end: int, kind: int, row: Any, where: Any) -> int:
    """SUBACK (3.9) and UNSUBACK (3.11): one code for each filter; none in an UNSUBACK before version 5."""
    if end - at < 2:
        return -1
    row.seq = be16(buf, at)
    at += 2
    five = where[VERSION] == V5
    if five:
        at = _properties(buf, at, end, row, where)
    if at < 0:
        return -1
    if kind == SUBACK or five:
        if at < end:
            code = np.int64(buf[at])
            _reason(row, code, code >= 0x80)
        return 0 if at < end else -1
    return end - at if where[VERSION] else 0


@kernel
def _acknowledge(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """PUBACK, PUBREC, PUBREL, PUBCOMP (3.4 to 3.7)."""
    if end - at < 2:
        return -1
    row.seq = be16(buf, at)
    at += 2
    if row.seq == 0:
        row.flags |= np.uint32(_MALFORMED)
    return _optional_reason(buf, at, end, row, where)


@kernel
def _optional_reason(buf: Any, at: int, end: int, row: Any, where: Any) -> int:
    """A reason code and properties, which version 5 may leave out."""
    if at == end or where[VERSION] == 0:
        return 0
    if where[VERSION] != V5:
        return end - at
    code = np.int64(buf[at])
    _reason(row, code, code >= 0x80)
    at += 1
    if at < end:
        at = _properties(buf, at, end, row, where)
    return end - at if at >= 0 else -1


@kernel
def _last(buf: Any, at: int, end: int, kind: int, row: Any, where: Any) -> int:
    """PINGREQ, PINGRESP (nothing), DISCONNECT, AUTH (a reason since version 5), type 0."""
    if kind == DISCONNECT or kind == AUTH:
        if kind == AUTH and (where[VERSION] == V31 or where[VERSION] == V311):
            row.flags |= np.uint32(_MALFORMED)
        return _optional_reason(buf, at, end, row, where)
    return end - at
