"""MessageBatch: decoded messages and their points, the form in which traffic leaves the decode stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from grid_profiles.vocabulary import MESSAGE, POINT

Rows = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""MESSAGE rows and their POINT rows; the points number the messages from 0."""


@dataclass(slots=True)
class MessageBatch:
    """Messages decoded from a run of frames, in frame order.

    Attributes
    ----------
    messages : ndarray of MESSAGE, shape (m,)
    points : ndarray of POINT, shape (p,)
        ``points["message"]`` indexes ``messages`` of this batch.
    frame_ts : ndarray of int64, shape (n,)
        Capture times of *all* frames that this batch stands for, decoded or not (ns).
    clock : int
        Live captures while nothing comes: time has passed up to here (ns). 0 in every other batch.
    lost : ndarray of int64, shape (n,), or None
        Frames known to be lost before each of the frames, as in :class:`~sensor.frames.FrameBatch`.
    lost_after : int
        The same behind the last frame.
    late : bool
        Live: what a second engine made of frames that other batches stand for. No frames of its own.
    """

    messages: npt.NDArray[Any]
    points: npt.NDArray[Any]
    frame_ts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    clock: int = 0
    lost: npt.NDArray[np.int64] | None = None
    lost_after: int = 0
    late: bool = False

    def __len__(self) -> int:
        return len(self.messages)

    @staticmethod
    def empty(clock: int = 0, lost_after: int = 0) -> MessageBatch:
        """A batch without messages; ``clock`` and ``lost_after`` as in :class:`MessageBatch`."""
        return MessageBatch(np.zeros(0, MESSAGE), np.zeros(0, POINT), clock=clock, lost_after=lost_after)


def copied(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of records, each as one piece; ``copy`` goes field by field, as they are packed."""
    return rows.view(_raw(rows.dtype)).copy().view(rows.dtype)


def joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Records of one layout one after another, each copied as one piece."""
    raw = _raw(parts[0].dtype)
    return np.concatenate([part.view(raw) for part in parts]).view(parts[0].dtype)


def _raw(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype((np.void, dtype.itemsize))


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows one after another as one; the points' message numbers move along."""
    if len(parts) == 1:
        return parts[0]
    points = joined([part[1] for part in parts])
    edge = shift = 0
    for messages, own in parts:
        points["message"][edge : edge + len(own)] += shift
        edge += len(own)
        shift += len(messages)
    return joined([part[0] for part in parts]), points


def no_rows() -> Rows:
    """Empty messages and points."""
    return np.zeros(0, MESSAGE), np.zeros(0, POINT)


def select(messages: npt.NDArray[Any], points: npt.NDArray[Any], keep: npt.NDArray[np.bool_]) -> Rows:
    """Messages where ``keep``, with their points renumbered."""
    if keep.all():
        return messages, points
    place = np.cumsum(keep) - 1
    points = points.compress(keep[points["message"]]) if len(points) else points
    if len(points):
        points["message"] = place[points["message"]]
    return messages.compress(keep), points


def interleave(first: Rows, second: Rows) -> Rows:
    """Two sets of rows in frame order; rows of ``first`` lead inside a frame."""
    messages, points = join_rows([first, second])
    order = np.argsort(messages["frame"], kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    points["message"] = place[points["message"]]
    return messages.take(order), points.take(np.argsort(points["message"], kind="stable"))
