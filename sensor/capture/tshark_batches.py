"""Rows of both readers put into batches: what the columns gave, and what the tree fills in.

A frame is taken from the columns as a whole or not at all, so that its rows never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from grid_profiles.vocabulary import MESSAGE, MISSING, POINT
from sensor.capture.expressions import Unclear
from sensor.capture.tshark_fields import (
    BASE,
    MALFORMED,
    REASSEMBLED,
    TRUNCATED,
    Columns,
    Found,
    FrameReader,
    OnePoint,
    occurrences,
)
from sensor.capture.tshark_plan import Plan
from sensor.capture.tshark_rows import MAX_POINTS, Frame, ProfileRows, Row
from sensor.capture.tshark_spool import HOLE, Chunk, mask_of
from sensor.capture.tshark_tree import Tree
from sensor.messages import Rows


def share_of(frame: Frame, nth: int, count: int) -> tuple[int, int]:
    """Bytes of the frame's payload that count as one of its messages, and the flags it gets."""
    share = frame.payload // count if frame.payload >= 0 else MISSING
    flags = frame.flags & REASSEMBLED if nth == 0 else 0
    if nth == count - 1:
        flags |= frame.flags & (MALFORMED | TRUNCATED)
    return share, flags


class Out:
    """Rows on their way into arrays."""

    def __init__(self) -> None:
        self.messages: list[Row] = []
        self.points: list[Row] = []
        self.order: list[int] = []

    def add(self, message: Row, number: int) -> int:
        """Append a message of tshark's frame ``number``; gives its row."""
        self.messages.append(message)
        self.order.append(number)
        return len(self.messages) - 1


class ColumnReader:
    """Rows of lines of columns, and the holes between them.

    Parameters
    ----------
    plan : Plan
    rows : sequence of ProfileRows
        As the plan's profiles.
    frames : FrameReader
    marks : dict of int to ndarray of int64
        Frames that match the filters which presence does not tell, by place of the profile.

    Attributes
    ----------
    frames : int
        Frames with a message so far.
    """

    def __init__(
        self,
        plan: Plan,
        rows: Sequence[ProfileRows],
        frames: FrameReader,
        marks: dict[int, npt.NDArray[np.int64]],
    ) -> None:
        self._plan = plan
        self._rows = rows
        self._frames = frames
        self._marks = marks
        self._places: dict[str, list[int]] = {}
        for place, profile in enumerate(plan.profiles):
            presence = plan.filters[place]
            # a frame may belong to a protocol though no message begins in it: the middle of a TLS record
            own = (presence.names - _BASE_NAMES) if presence else frozenset[str]()
            for node in {*(profile.tshark.pdu if profile.tshark else ()), *own}:
                self._places.setdefault(node, []).append(place)
        self._nodes = frozenset(self._places)
        self.frames = 0
        self._out = Out()
        self._holes: list[tuple[Any, ...]] = []

    def line(self, parts: list[str], found: Found) -> None:
        """One frame."""
        nodes = self._nodes & found.keys()
        if not nodes:
            return
        number = int(parts[0])
        places = [place for place in self._candidates(nodes) if self._matches(place, number, parts, found)]
        if not places:
            return
        self.frames += 1
        frame = self._frames.read(parts, number)
        before = len(self._out.messages), len(self._out.points)
        try:
            for place in places:
                self._frame(place, frame, found)
        except Unclear:
            del self._out.messages[before[0] :], self._out.order[before[0] :], self._out.points[before[1] :]
            self._holes.append((*frame, mask_of(places)))

    def take(self) -> Chunk:
        """What was read since the last call."""
        out, holes = self._out, self._holes
        self._out, self._holes = Out(), []
        return Chunk(
            np.array(out.messages, MESSAGE),
            np.array(out.points, POINT),
            np.array(out.order, np.int64),
            np.array(holes, HOLE),
        )

    def _candidates(self, nodes: frozenset[str] | set[str]) -> list[int]:
        return sorted({place for node in nodes for place in self._places[node]})

    def _matches(self, place: int, number: int, parts: list[str], found: Found) -> bool:
        presence = self._plan.filters[place]
        if presence is not None:
            return presence.holds(_all(parts, found) if presence.names & _BASE_NAMES else found)
        mark = self._marks[place]
        at = int(np.searchsorted(mark, number))
        return at < len(mark) and int(mark[at]) == number

    def _frame(self, place: int, frame: Frame, found: Found) -> None:
        rows = self._rows[place]
        tshark = self._plan.profiles[place].tshark
        assert tshark is not None
        if occurrences(found, tshark.pdu) > 1:
            raise Unclear
        starts = occurrences(found, rows.starts)
        if starts > 1:
            raise Unclear
        share, flags = share_of(frame, 0, 1)
        message = rows.message(frame, Columns(found, self._plan.octets_of), share, flags)
        point = None
        if starts:
            point = rows.point(message, len(self._out.messages), OnePoint(found, self._plan.octets_of), 0)
        self._out.add(message, frame.number)
        if point is not None:
            self._out.points.append(point)


_BASE_NAMES: Final = frozenset(BASE)


def _all(parts: list[str], found: Found) -> dict[str, str]:
    return {name: part for name, part in zip(BASE, parts, strict=False) if part} | found


def merged(chunk: Chunk, out: Out) -> Rows:
    """Rows of the columns and of the tree in frame order; no frame has rows of both."""
    if not out.messages:
        return chunk.messages, chunk.points
    messages = np.concatenate([chunk.messages, np.array(out.messages, MESSAGE)])
    points = np.concatenate([chunk.points, np.array(out.points, POINT)])
    points["message"][len(chunk.points) :] += len(chunk.messages)
    order = np.argsort(np.concatenate([chunk.order, np.array(out.order, np.int64)]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    points["message"] = place[points["message"]]
    return messages[order], points[np.argsort(points["message"], kind="stable")]


def tree_rows(out: Out, rows: ProfileRows, frame: Frame, messages: list[Tree]) -> None:
    """Append what the tree of a frame holds of one profile; a row without a kind when no message begins."""
    messages = messages or [Tree({}, frozenset())]
    for nth, fields in enumerate(messages):
        share, flags = share_of(frame, nth, len(messages))
        message = rows.message(frame, fields, share, flags)
        row = out.add(message, frame.number)
        entry = 0
        for view in fields.points[:MAX_POINTS]:
            point = rows.point(message, row, view, entry)
            if point is not None:
                out.points.append(point)
                entry += 1
