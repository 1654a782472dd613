"""Values of OPC UA: what is written, what a read answers, what a subscription reports.

A response holds values without their nodes. The nodes of a read wait under connection, request and place,
those of monitored items under connection, subscription and the client's handle, in the table of requests.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.track.state import add_point
from sensor.track.table import intern
from sensor.track.transactions import recall, remember
from sensor.wire.octets import le32
from sensor.wire.opcua import NODE, NODE_GUID, NODE_LENGTH, NODE_NUMBER, opcua_note
from sensor.wire.uabinary import ua_count, ua_extension, ua_node, ua_number, ua_skip, ua_string
from sensor.wire.uavalue import ua_data_value

READ, READ_ANSWER, WRITE, MONITOR, PUBLISH = 631, 634, 673, 751, 829
DATA_CHANGE: Final = 811
VALUE: Final = 13
"""Attribute of a node that holds its value."""
MAX_ITEMS: Final = 256
"""Nodes of one request that are kept."""


@kernel
def emit_values(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any, again: bool) -> None:
    """Points of the service whose body begins at ``at``; what does not fit ends the walk."""
    if row.kind == READ:
        if not again:
            _asked(memory, names, buf, ua_skip(at, end, 12), end, row)
    elif row.kind == READ_ANSWER:
        _answered(memory, buf, at, end, row)
    elif row.kind == WRITE:
        _written(memory, names, buf, at, end, row)
    elif row.kind == MONITOR:
        if not again:
            _monitored(memory, names, buf, at, end, row)
    elif row.kind == PUBLISH:
        _published(memory, buf, at, end, row)


@kernel
def node_text(memory: Any, names: Any, buf: Any) -> int:
    """Text id of the node that ``where`` holds; 0 for octets or none."""
    where = memory.where
    scratch = memory.scratch
    if where[NODE_LENGTH] > 0:
        return intern(names.texts, buf, where[NODE], where[NODE_LENGTH])
    if where[NODE_NUMBER] >= 0:
        return intern(names.texts, scratch, 0, _write_number(scratch, where[NODE_NUMBER]))
    if where[NODE_GUID] >= 0:
        _write_guid(scratch, buf, where[NODE_GUID])
        return intern(names.texts, scratch, 0, 36)
    return np.int64(0)


@kernel
def _write_number(scratch: Any, number: int) -> int:
    """``i=85`` into ``scratch``; returns its length."""
    scratch[0], scratch[1] = 0x69, 0x3D
    size = np.int64(1)
    rest = number // 10
    while rest > 0:
        size += 1
        rest //= 10
    for i in range(size):
        scratch[1 + size - i] = 0x30 + number % 10
        number //= 10
    return 2 + size


@kernel
def _write_guid(scratch: Any, buf: Any, at: int) -> None:
    """A Guid as it is written, 36 characters into ``scratch``; its first three parts are little endian."""
    place = 0
    for i in range(16):
        if i < 4:
            octet = np.int64(buf[at + 3 - i])
        elif i < 8:
            octet = np.int64(buf[at + (i ^ 1)])
        else:
            octet = np.int64(buf[at + i])
        if i == 4 or i == 6 or i == 8 or i == 10:
            scratch[place] = 0x2D
            place += 1
        for digit in (octet >> 4, octet & 15):
            scratch[place] = digit + (0x30 if digit < 10 else 0x57)
            place += 1


@kernel
def _key(row: Any, group: int, place: int, bit: int) -> Any:
    """Of a node that waits; ``bit`` 0 in a read, 1 in a subscription. Bit 63 tells it from other requests."""
    h = (np.uint64(row.stream) << np.uint64(32)) ^ np.uint64(group)
    h = (h ^ (np.uint64(place) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    return (h >> np.uint64(2)) | (np.uint64(2 + bit) << np.uint64(62))


@kernel
def _item(memory: Any, names: Any, buf: Any, at: int, end: int) -> tuple[int, int]:
    """(offset behind node, attribute and range, text id of the node if its value is meant, else 0)."""
    where = memory.where
    for column in (NODE, NODE_LENGTH, NODE_NUMBER, NODE_GUID):
        where[column] = -1
    at = opcua_note(buf, at, end, where)
    if at < 0 or end - at < 4:
        return -1, 0
    text = node_text(memory, names, buf) if le32(buf, at) == VALUE else np.int64(0)
    return ua_string(buf, at + 4, end), text


@kernel
def _asked(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Read: nodes, each with attribute, range and encoding."""
    count = ua_count(buf, at, end)
    at += 4
    for place in range(min(count, MAX_ITEMS)):
        at, text = _item(memory, names, buf, at, end)
        at = ua_string(buf, ua_skip(at, end, 2), end)
        if at < 0:
            return
        if text > 0:
            remember(memory.requests, _key(row, row.state, place, 0), row.ts, row.frame, text, 0)


@kernel
def _tell(memory: Any, row: Any, kind: int, text: int, value: float, status: int) -> None:
    """One value; the first number is the message's own."""
    if row.value != row.value:
        row.value = value
    add_point(memory, row, kind, text, value, status)


@kernel
def _answered(memory: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """The values of a read in the order of its nodes, which are then forgotten."""
    count = ua_count(buf, at, end)
    at += 4
    for place in range(min(count, MAX_ITEMS)):
        at, kind, value, status = ua_data_value(buf, at, end)
        if at < 0:
            return
        found = recall(memory.requests, _key(row, row.state, place, 0))
        if found >= 0:
            _tell(memory, row, kind, memory.requests[found].point, value, status)
            memory.requests[found].key = np.uint64(0)


@kernel
def _written(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Write: nodes with attribute, range and value."""
    count = ua_count(buf, at, end)
    at += 4
    for _ in range(count):
        at, text = _item(memory, names, buf, at, end)
        at, kind, value, status = ua_data_value(buf, at, end)
        if at < 0:
            return
        if text > 0:
            _tell(memory, row, kind, text, value, status)


@kernel
def _monitored(memory: Any, names: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """CreateMonitoredItems: subscription; nodes with attribute, range, encoding, mode, handle."""
    if end - at < 8:
        return
    subscription = le32(buf, at)
    at = ua_skip(at, end, 8)
    count = ua_count(buf, at, end)
    at += 4
    for _ in range(count):
        at, text = _item(memory, names, buf, at, end)
        at = ua_skip(ua_string(buf, ua_skip(at, end, 2), end), end, 4)
        if at < 0 or end - at < 4:
            return
        if text > 0:
            key = _key(row, subscription, le32(buf, at), 1)
            remember(memory.requests, key, row.ts, row.frame, text, 0)
        at = ua_skip(ua_extension(buf, ua_skip(at, end, 12), end), end, 5)
        if at < 0:
            return


@kernel
def _published(memory: Any, buf: Any, at: int, end: int, row: Any) -> None:
    """Publish response: subscription, sequence numbers, more, number, time; then notifications."""
    if end - at < 4:
        return
    subscription = le32(buf, at)
    at += 4
    count = ua_count(buf, at, end)
    if count == -2:
        return
    at = ua_skip(at, end, 4 + 4 * max(count, np.int64(0)) + 13)
    count = ua_count(buf, at, end)
    at += 4
    for _ in range(count):
        behind = ua_extension(buf, at, end)
        if behind < 0:
            return
        if ua_number(buf, at, end) == DATA_CHANGE:
            _changes(memory, buf, ua_skip(ua_node(buf, at, end), behind, 5), behind, subscription, row)
        at = behind


@kernel
def _changes(memory: Any, buf: Any, at: int, end: int, subscription: int, row: Any) -> None:
    """DataChangeNotification: values, each with the handle of its item."""
    count = ua_count(buf, at, end)
    at += 4
    for _ in range(count):
        if at < 0 or end - at < 4:
            return
        handle = le32(buf, at)
        at, kind, value, status = ua_data_value(buf, at + 4, end)
        if at < 0:
            return
        found = recall(memory.requests, _key(row, subscription, handle, 1))
        if found >= 0:
            memory.requests[found].ts = row.ts  # in use
            _tell(memory, row, kind, memory.requests[found].point, value, status)
