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
    """

    messages: npt.NDArray[Any]
    points: npt.NDArray[Any]
    frame_ts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    clock: int = 0

    def __len__(self) -> int:
        return len(self.messages)

    @staticmethod
    def empty(clock: int = 0) -> MessageBatch:
        """A batch without messages; ``clock`` as in :class:`MessageBatch`."""
        return MessageBatch(np.zeros(0, MESSAGE), np.zeros(0, POINT), clock=clock)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows one after another as one; the points' message numbers move along."""
    if len(parts) == 1:
        return parts[0]
    points = np.concatenate([part[1] for part in parts])
    edge = shift = 0
    for messages, own in parts:
        points["message"][edge : edge + len(own)] += shift
        edge += len(own)
        shift += len(messages)
    return np.concatenate([part[0] for part in parts]), points


def no_rows() -> Rows:
    """Empty messages and points."""
    return np.zeros(0, MESSAGE), np.zeros(0, POINT)
