"""Messages and points with everything in words, and native arrays read into the same form."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from grid_profiles.vocabulary import MESSAGE, POINT, Flag, Role
from sensor.messages import MessageBatch
from sensor.names import Names

MALFORMED, TRUNCATED, NEGATIVE, TEST = Flag.MALFORMED, Flag.TRUNCATED, Flag.NEGATIVE, Flag.TEST
CLIENT, SERVER, PUBLISHER, PEER = Role.CLIENT, Role.SERVER, Role.PUBLISHER, Role.PEER
ABSENT = -1
NAN = math.nan
Key = tuple[str, str, str, int, str, int]
Object = int | tuple[str, int]
"""What a point is: a number, or for GOOSE the control block's reference and the entry (65535: all)."""


@dataclass
class Message:
    """One row of MESSAGE (docs/messages.md), every number that stands for a name resolved."""

    ts: int
    frame: int
    proto: str
    role: int
    src: str
    dst: str
    conv: Key
    stream: int = ABSENT
    kind: int = ABSENT
    cause: int = ABSENT
    point: Object = ABSENT
    value: float = NAN
    count: int = ABSENT
    size: int = 0
    seq: int = ABSENT
    state: int = ABSENT
    aux: int = ABSENT
    name: str = ""
    ident: str = ""
    flags: int = 0
    points: list[Point] = field(default_factory=list)


@dataclass
class Point:
    """One row of POINT; its message is the one that holds it."""

    kind: int
    point: Object
    value: float
    quality: int = ABSENT


def _plain(value: Any) -> Any:
    """NaN as a word, so that equal rows are equal."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def flat(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Messages as dictionaries that compare with ``==``."""
    out = []
    for message in messages:
        row = {name: _plain(value) for name, value in vars(message).items() if name != "points"}
        row["flags"] = int(message.flags)
        row["role"] = int(message.role)
        row["points"] = [(p.kind, p.point, _plain(float(p.value)), p.quality) for p in message.points]
        out.append(row)
    return out


def native_rows(batch: MessageBatch, names: Names) -> list[Message]:
    """Rows of the native engine; checks on the way that each point repeats its message's own columns."""
    parents = batch.messages[batch.points["message"]]
    for column in ("ts", "frame", "proto", "conv"):
        assert (batch.points[column] == parents[column]).all(), f"point and message differ in {column}"
    out = [
        _message(dict(zip(MESSAGE.names or (), row, strict=True)), names) for row in batch.messages.tolist()
    ]
    for row in batch.points.tolist():
        values = dict(zip(POINT.names or (), row, strict=True))
        point = Point(values["kind"], _object(values, names), values["value"], values["quality"])
        out[values["message"]].points.append(point)
    return out


def _object(row: dict[str, Any], names: Names) -> Object:
    point: int = row["point"]
    if point != ABSENT and names.protocol(row["proto"]) in ("goose", "sv"):
        return names.text(point >> 16), point & 0xFFFF
    return point


def _message(row: dict[str, Any], names: Names) -> Message:
    """The same columns in the same order, numbers that stand for names resolved."""
    row["point"] = _object(row, names)
    row["proto"] = names.protocol(row["proto"])
    row["src"], row["dst"] = names.endpoint(row["src"]), names.endpoint(row["dst"])
    row["conv"] = names.conversation(row["conv"]).key
    row["name"], row["ident"] = names.text(row["name"]), names.text(row["ident"])
    return Message(**row)


KNOWN = {"tcp", "udp", "ip", "ethernet", "modbus", "iec104", "goose"}
UNKNOWN_ETHERTYPES = {0x88BA, 0x88F7, 0x88FB, 0x892F}
"""What the reference reads, and what only the native engine does."""


def comparable(native: list[Message], reference: list[Message]) -> tuple[list[Message], list[Message]]:
    """Rows of both sides without the frames that the reference does not read."""
    skip = {row.frame for row in native if row.proto not in KNOWN}
    skip |= {row.frame for row in reference if row.proto == "ethernet" and row.kind in UNKNOWN_ETHERTYPES}
    return [row for row in native if row.frame not in skip], [
        row for row in reference if row.frame not in skip
    ]


def difference(native: list[Message], reference: list[Message]) -> str:
    """ "" when all rows and columns agree, else the first rows that do not, column by column."""
    ours, theirs = flat(native), flat(reference)
    told: list[str] = []
    for mine, its in zip(ours, theirs, strict=False):
        columns = [name for name in mine if mine[name] != its[name]]
        if columns:
            pairs = ", ".join(f"{name}: native {mine[name]!r}, reference {its[name]!r}" for name in columns)
            told.append(f"frame {mine['frame']} ({mine['proto']} kind {mine['kind']}): {pairs}")
        if len(told) == 5:
            break
    if len(ours) != len(theirs):
        told.append(f"{len(ours)} native rows, {len(theirs)} reference rows")
        told += [f"frames {_frames(ours)} against {_frames(theirs)}"] if len(ours) < 50 else []
    return "\n".join(told)


def _frames(rows: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    return [(row["frame"], row["proto"], row["kind"]) for row in rows]
