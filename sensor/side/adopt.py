"""Rows of another process under the names of this run.

What comes is data of our own program about hostile packets: layouts, frame numbers and references are checked
all the same, and a result that contradicts itself is refused as a whole.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from grid_profiles.vocabulary import MESSAGE, MISSING, POINT
from sensor.messages import Rows
from sensor.names import CONVERSATION, Names
from sensor.track.table import FULL, intern

STREAM_BITS: Final = 20
"""tshark counts the connections of each segment from 0: the segment's number goes above."""


class ResultError(ValueError):
    """A result that contradicts itself."""


def adopt(path: Path, names: Names, frames: npt.NDArray[np.int64], segment: int) -> Rows:
    """Messages and points of a result file, in frame order.

    Parameters
    ----------
    frames : ndarray of int64
        Numbers of the frames that were asked about; rows of others are refused.
    segment : int
        Number of the segment, for the numbers of connections.

    Raises
    ------
    ResultError, OSError
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            messages, points = held["messages"], held["points"]
            tables = {name: _strings(held, name) for name in ("endpoints", "texts", "conversations")}
    except (KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ResultError(f"a result that is none ({error})") from None
    _check(messages, points, frames)
    _rename(messages, points, names, tables, segment)
    return messages, points


def _strings(held: Any, name: str) -> list[bytes]:
    """Strings by number; the first two stand for "" and for a full table."""
    octets, starts = held[name].tobytes(), held[f"{name}_start"].tolist()
    return [octets[begin:end] for begin, end in pairwise(starts)]


def _check(messages: npt.NDArray[Any], points: npt.NDArray[Any], frames: npt.NDArray[np.int64]) -> None:
    if messages.dtype != MESSAGE or points.dtype != POINT or messages.ndim != 1 or points.ndim != 1:
        raise ResultError("a result of another layout")
    order = points["message"]
    if len(order) and (order.min() < 0 or order.max() >= len(messages) or bool(np.any(np.diff(order) < 0))):
        raise ResultError("points of messages that are not there")
    if bool(np.any(np.diff(messages["frame"]) < 0)) or not bool(np.isin(messages["frame"], frames).all()):
        raise ResultError("messages of frames that were not given")


def _rename(
    messages: npt.NDArray[Any],
    points: npt.NDArray[Any],
    names: Names,
    tables: dict[str, list[bytes]],
    segment: int,
) -> None:
    endpoints = _numbers(names.endpoints, tables["endpoints"])
    texts = _numbers(names.texts, tables["texts"])
    conversations = _conversations(names, tables["conversations"], endpoints, texts)
    for column, numbers in (
        ("src", endpoints),
        ("dst", endpoints),
        ("conv", conversations),
        ("name", texts),
        ("ident", texts),
    ):
        messages[column] = _mapped(messages[column], numbers)
    points["conv"] = _mapped(points["conv"], conversations)
    for rows in (messages, points):
        for proto in np.unique(rows["proto"]).tolist():
            own = rows["proto"] == proto
            rows["point"][own] = _points(rows["point"][own], names, proto, texts)
    streams = messages["stream"]
    high = (segment & 0x7FF) << STREAM_BITS
    messages["stream"] = np.where(streams < 0, streams, high | (streams & ((1 << STREAM_BITS) - 1)))


def _points(codes: npt.NDArray[np.int64], names: Names, proto: int, texts: npt.NDArray[np.int64]) -> Any:
    """Object codes that hold a text's number, with the number it has here."""
    try:
        style = names.registry.by_id(proto).points_format
    except KeyError:
        raise ResultError("a protocol that nobody knows") from None
    if style in ("text", "s7comm"):  # elements of S7comm, which are no texts, are the native engine's alone
        return np.where(codes == MISSING, codes, _mapped(codes, texts))
    if style in ("goose", "sv"):
        return np.where(codes == MISSING, codes, _mapped(codes >> 16, texts) << 16 | codes & 0xFFFF)
    return codes


def _mapped(values: npt.NDArray[Any], numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    known = (values >= 0) & (values < len(numbers))
    return np.where(known, numbers[np.where(known, values, 0)], FULL)


def _numbers(table: Any, strings: list[bytes]) -> npt.NDArray[np.int64]:
    made = [
        place if place <= FULL else int(intern(table, np.frombuffer(one or b"\0", np.uint8), 0, len(one)))
        for place, one in enumerate(strings)
    ]
    return np.array(made or [0], np.int64)


def _conversations(
    names: Names, strings: list[bytes], endpoints: npt.NDArray[np.int64], texts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    made, ends, subs = [0, FULL], endpoints.tolist(), texts.tolist()
    for raw in strings[2:]:
        if len(raw) != CONVERSATION.size:
            raise ResultError("a conversation that is none")
        proto, client, server, port, sub, vlan = CONVERSATION.unpack(raw)
        client, server = (ends[end] if 0 <= end < len(ends) else FULL for end in (client, server))
        sub = subs[sub] if 0 <= sub < len(subs) else FULL
        made.append(names.intern_conversation(proto, client, server, port, sub, vlan))
    return np.array(made, np.int64)
