"""Values in MMS messages: the first number of each variable that is written, reported or read alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensor.jit import kernel
from sensor.track.state import add_point
from sensor.wire.ber import MAX_DEPTH, find_tag, tlv
from sensor.wire.goose import goose_value

ARRAY, STRUCTURE = 0xA1, 0xA2
FAILURE = 0x80


@kernel
def first_leaf(buf: Any, at: int, end: int) -> tuple[int, float, int]:
    """(tag, value, quality) of the first leaf of the Data at ``at``; tag -1 none, value NaN no number."""
    for _ in range(MAX_DEPTH):
        tag, inner, behind = tlv(buf, at, end)
        if tag < 0 or tag == FAILURE:
            break
        if tag != ARRAY and tag != STRUCTURE:
            value, quality = goose_value(buf, tag, inner, min(behind, end))
            return tag, value, quality
        at, end = inner, min(behind, end)
    return np.int64(-1), np.nan, np.int64(-1)


@kernel
def listed_values(buf: Any, at: int, end: int) -> tuple[int, int, int, int]:
    """(begin and end of a list of variables, begin and end of the data behind it); -1 none.

    A write request and an information report: VariableAccessSpecification, then ``A0 { Data ... }``.
    """
    tag, first, last = tlv(buf, at, end)
    if tag < 0:
        return np.int64(-1), np.int64(-1), np.int64(-1), np.int64(-1)
    data, stop = find_tag(buf, last, end, 0xA0)
    return (first if tag == 0xA0 else np.int64(-1)), min(last, end), data, stop


@kernel
def next_variable(buf: Any, at: int, end: int) -> tuple[int, int, int]:
    """(begin and end of the ObjectName of the variable at ``at``, offset of the next); -1 without a name."""
    tag, inner, behind = tlv(buf, at, end)
    if tag == 0x30:
        part, name, stop = tlv(buf, inner, min(behind, end))
        if part == 0xA0:
            return name, min(stop, min(behind, end)), behind
    return np.int64(-1), np.int64(-1), (behind if tag >= 0 else end)


@kernel
def value_point(memory: Any, buf: Any, at: int, end: int, row: Any, point: int, first: bool) -> None:
    """A point of the Data at ``at``; the first of a message is the message's value."""
    kind, value, quality = first_leaf(buf, at, end)
    if kind < 0:
        return
    if first:
        row.value = value
    if point > 0:
        add_point(memory, row, kind, point, value, quality)
