"""What a number on the wire means: which are process values at all, and how an engineer calls them.

None of these is a process value, however it moves:

- times of day: UTC times of GOOSE and MMS datasets, DNP3 groups 50 to 52 (time, common time, time delay);
- what a stream of sampled values says about itself (samples lost and repeated, longest pause, quality bits),
  which the rules of sampled values know;
- what its device marks as bad, for whoever reads it does not use it either: DNP3 without ONLINE or with
  COMM_LOST (IEEE 1815-2012, 11.6), IEC 60870-5-104 with IV (60870-5-101, 7.2.6), C37.118 with a data error
  (C37.118.2, 6.4, STAT bits 15 and 14), a channel of 9-2LE with validity invalid (IEC 61850-7-3, 6.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.groups import Lens, PointRows, repetitions
from detectors.points import Points

Mask = npt.NDArray[np.bool_]
Judge = Callable[[Points], Mask]

MAX_WORDS: Final = 65_536

UTC_TIME: Final = 0x91
"""ASN.1 tag of a UTC time among the entries of a GOOSE or MMS dataset (IEC 61850-8-1)."""

DNP3_TIMES: Final = (50, 52)
DNP3_FLAGGED: Final = (1, 2, 3, 4, 10, 11, 20, 21, 22, 23, 30, 31, 32, 33, 40, 42)
"""Groups whose flags octet begins with ONLINE, RESTART, COMM_LOST (others: control status)."""

ONLINE, COMM_LOST = 0x01, 0x04
IV: Final = 0x80
LARGEST: Final = 1e150
"""What lies beyond is no process value: its square must stay finite."""

IEC104_COMMANDS: Final = 45
"""First type id whose octet is no quality but a command's qualifier."""

SV_ITSELF: Final = (0xFF01, 0xFF04)
SV_RMS: Final = 1
INVALID: Final = 0x1

GROUPS: Final = {
    1: "binary input", 2: "binary input event", 3: "double-bit input", 4: "double-bit input event",
    10: "binary output", 11: "binary output event", 12: "control relay output", 20: "counter",
    21: "frozen counter", 22: "counter event", 23: "frozen counter event", 30: "analog input",
    31: "frozen analog input", 32: "analog input event", 33: "frozen analog input event",
    40: "analog output", 41: "analog output command", 42: "analog output event", 110: "octet string",
}  # fmt: skip
"""Object groups of DNP3 (IEEE 1815-2012, annex A)."""

PMU_KINDS: Final = {
    1: "frequency (Hz)",
    2: "frequency deviation (mHz)",
    3: "rate of change of frequency (Hz/s)",
}


class Meaning:
    """Knows the process values among the points of a run."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        judges = (
            ("goose", _utc), ("mms", _utc), ("dnp3", _dnp3),
            ("iec104", _iec104), ("c37118", _c37118), ("sv", _sv),
        )  # fmt: skip
        self._judges = [(proto, judge) for name, judge in judges if (proto := lens.protocol(name)) >= 0]

    def values(self, piece: Slice) -> PointRows:
        """First-time values of a slice that are process values, as ``lens.points``; found once for all."""
        made = piece.cache.get("values")
        if made is None:
            made = piece.cache["values"] = self._values(piece)
        return cast("PointRows", made)

    def _values(self, piece: Slice) -> PointRows:
        points, numbers = self.lens.points(piece)
        if not len(points):
            return PointRows(points, numbers)
        keep = (np.abs(points["value"]) < LARGEST) & (numbers >= 0)
        again = repetitions(piece)
        if again is not None:
            keep &= ~again[points["message"]]
        measured = self.of(piece)
        if measured is not None:
            keep &= measured
        return PointRows(points, numbers) if keep.all() else PointRows(points.compress(keep), numbers[keep])

    def of(self, piece: Slice) -> Mask | None:
        """Which of the values of a slice (``lens.points``) are process values; None when all are.

        Found once for all who ask.
        """
        if "measured" not in piece.cache:
            protos = piece.point_column("proto")
            here = [one for one in self._judges if (protos == one[0]).any()]
            piece.cache["measured"] = measured(self.lens.points(piece).rows, here) if here else None
        return cast("Mask | None", piece.cache["measured"])


def measured(points: Points, judges: Sequence[tuple[int, Judge]]) -> Mask | None:
    """Which of some points are process values, by what their protocols say; None when all are."""
    protos = points["proto"]
    keep: Mask | None = None
    for proto, judge in judges:
        mine = np.flatnonzero(protos == proto)
        other = judge(points.take(mine))
        if other.any():
            keep = np.ones(len(points), bool) if keep is None else keep
            keep[mine] = ~other
    return keep


def _utc(rows: Points) -> Mask:
    return np.asarray(rows["kind"] == UTC_TIME, bool)


def _dnp3(rows: Points) -> Mask:
    group, flags = rows["kind"] >> 8, rows["quality"]
    bad = (flags & ONLINE == 0) | (flags & COMM_LOST != 0)
    bad &= (flags >= 0) & np.isin(group, DNP3_FLAGGED)
    return np.asarray(bad | ((group >= DNP3_TIMES[0]) & (group <= DNP3_TIMES[1])), bool)


def _iec104(rows: Points) -> Mask:
    bad = (rows["quality"] >= 0) & (rows["quality"] & IV != 0)
    return np.asarray(bad & (rows["kind"] < IEC104_COMMANDS), bool)


def _c37118(rows: Points) -> Mask:
    return np.asarray(rows["quality"] > 0, bool)


def _sv(rows: Points) -> Mask:
    entry = rows["point"] & 0xFFFF
    bad = (rows["kind"] == SV_RMS) & (rows["quality"] >= 0) & (rows["quality"] & 3 == INVALID)
    return np.asarray(bad | ((entry >= SV_ITSELF[0]) & (entry <= SV_ITSELF[1])), bool)


def point_words(lens: Lens, proto: int, point: int) -> str:
    """A point in the words of the trade."""
    text = lens.point(proto, point)
    protocol = lens.names.protocol(proto)
    if protocol == "dnp3":
        return _dnp3_words(text)
    if protocol == "c37118":
        kind, channel, ident = point & 0xFF, point >> 8 & 0xFF, point >> 16 & 0xFFFF
        return f"PMU {ident} {PMU_KINDS.get(kind, f'analog {channel}')}"
    if protocol == "sv":
        stream, _, entry = text.rpartition(" [")
        if entry[:-1].isdigit():
            return f"{stream} channel {entry[:-1]} (RMS)"
        return text.replace("[frequency]", "frequency (Hz)")
    return text


def _dnp3_words(text: str) -> str:
    """``0x1e01/5`` is analog input 5 (g30v1)."""
    code, _, index = text.partition("/")
    with suppress(ValueError):
        number = int(code, 16)
        name = GROUPS.get(number >> 8)
        if name and index:
            return f"{name} {index} (g{number >> 8}v{number & 0xFF})"
    return text


class Words:
    """Names of points, and what an engineer calls them; remembered, as counters go back again and again."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._known: dict[tuple[int, int], tuple[str, str]] = {}

    def of(self, proto: int, point: int) -> tuple[str, str]:
        """(name, words) of a point."""
        found = self._known.get((proto, point))
        if found is None:
            if len(self._known) >= MAX_WORDS:
                self._known.clear()
            found = self.lens.point(proto, point), point_words(self.lens, proto, point)
            if found[0]:  # a text may still get its number
                self._known[proto, point] = found
        return found
