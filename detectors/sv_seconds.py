"""Seconds of sampled value streams: the row that sums one up, with what its channels measured.

A stream of eight channels is taken for the data set of UCA 9-2LE (currents of phases 1 to 3 and neutral, then
voltages likewise); of other streams nothing is known of what a channel is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.base import Slice
from detectors.rules.common import protocol_numbers

WINDOW: Final = 2
"""Kind of a row that sums up a second of a stream."""

POINT_RMS, POINT_METRIC = 1, 2
LOST, REPEATED = 0xFF01, 0xFF02
"""Low 16 bits of the points that tell samples lost and repeated."""

CHANNELS: Final = 8
WHOLE: Final = 1_000
"""Frames of a second of which RMS are compared: IEC 61869-9 has 1,600 and more; fewer are a rest."""


@dataclass(slots=True)
class Second:
    """One second of one stream.

    Attributes
    ----------
    row : MESSAGE
    conv, ts : int
        Conversation of the run; capture time of the frame behind the second, ns.
    rate, hertz : float
        Samples a second and frequency, NaN or -1 unknown.
    samples : int
        Frames.
    rms : dict of int to float
        RMS by channel (the point); A and V where the sample is that of 9-2LE.
    clean : bool
        No sample was lost or repeated.
    """

    row: Any
    conv: int
    ts: int
    rate: float
    samples: int
    hertz: float
    rms: dict[int, float]
    clean: bool

    @property
    def electric(self) -> tuple[float, ...]:
        """RMS of currents 1, 2, 3, N and voltages 1, 2, 3, N; empty of another data set, or of a rest."""
        whole = len(self.rms) == CHANNELS and self.samples >= WHOLE
        return tuple(self.rms.values()) if whole else ()


def seconds(piece: Slice, proto: int) -> list[Second]:
    """Seconds that a slice closed, in order of arrival; read once for all."""
    made: list[Second] | None = piece.cache.get("sv seconds")
    if made is None:
        made = piece.cache["sv seconds"] = _seconds(piece, proto)
    return made


def _seconds(piece: Slice, proto: int) -> list[Second]:
    numbers = protocol_numbers(piece, proto)
    numbers = numbers[piece.column("kind")[numbers] == WINDOW]
    if not len(numbers):
        return []
    rows, owners = piece.messages.take(numbers), np.ascontiguousarray(piece.points["message"])
    lows = np.searchsorted(owners, numbers)
    sizes = np.searchsorted(owners, numbers + 1) - lows
    highs = np.cumsum(sizes)
    points = piece.points.take(np.repeat(lows - highs + sizes, sizes) + np.arange(sizes.sum()))
    told = list(zip(*(points[name].tolist() for name in ("kind", "point", "value")), strict=True))
    ends = highs.tolist()
    columns = (rows[name].tolist() for name in ("conv", "ts", "aux", "count", "value"))
    made = []
    for at, (conv, ts, rate, samples, hertz) in enumerate(zip(*columns, strict=True)):
        mine = told[ends[at - 1] if at else 0 : ends[at]]
        rms = {point: value for kind, point, value in mine if kind == POINT_RMS and value == value}
        clean = not any(kind == POINT_METRIC and point & 0xFFFF in (LOST, REPEATED) and value > 0
                        for kind, point, value in mine)  # fmt: skip
        made.append(Second(rows[at], conv, ts, float(rate), samples, hertz, rms, clean))
    return made
