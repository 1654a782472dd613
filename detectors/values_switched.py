"""Which device switched, or was switched, when: the reason why its measured values leave their range.

A change of state is a value of a point that only ever showed states (``Values`` notes those that it watches),
a single or double point that a station reports by itself (IEC 60870-5-101, 7.2.3: spontaneous, return
information), an event of a binary input of DNP3 (IEEE 1815-2012, annex A, groups 2 and 4), or a switching
command. Whether the command was one that may come, the allow-lists say.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.groups import KIND_BITS, REPEATED, SECOND, Lens, among, news
from detectors.rules.common import Bounded, protocol_columns
from grid_profiles.vocabulary import KindClass, Role

BEFORE: Final = 10 * SECOND
"""ns from a change of state to the values that follow from it: reports and polls come at their time."""

AFTERWARDS: Final = 5 * SECOND
"""ns from a value to the report of the state that it follows from."""

MAX_DEVICES: Final = 10_000
LATEST: Final = 8
"""Changes of a device that are remembered; those of one slice count as one."""

IEC104_STATES: Final = (1, 3, 30, 31)
SPONTANEOUS: Final = (3, 11, 12)
DNP3_EVENTS: Final = (2, 4)


class Switched:
    """The latest changes of state of each device."""

    def __init__(self, lens: Lens) -> None:
        self._at: Bounded[int, list[int]] = Bounded(MAX_DEVICES)
        self._ordered: Bounded[int, list[int]] = Bounded(MAX_DEVICES)
        self._iec104, self._dnp3 = lens.protocol("iec104"), lens.protocol("dnp3")
        self._lens = lens
        self._control: dict[int, bool] = {}  # by protocol and kind

    def see(self, piece: Slice) -> None:
        """Take one slice."""
        messages = piece.messages
        if not len(messages):
            return
        if self._iec104 >= 0:
            columns = protocol_columns(piece, self._iec104)
            told = (columns["role"] == Role.SERVER) & among(columns["kind"], IEC104_STATES)
            if told.any():
                self._devices(columns.rows(told & among(columns["cause"], SPONTANEOUS)), "src")
        self._commands(piece)
        mine = piece.point_column("proto") == self._dnp3
        if mine.any():
            points = piece.points.compress(mine)
            events = points["message"][among(points["kind"] >> 8, DNP3_EVENTS)]
            self._devices(messages.take(np.unique(events)), "src")

    def _commands(self, piece: Slice) -> None:
        """Switching commands: whoever sends one, what follows from it is no forged value."""
        at = np.flatnonzero(piece.column("role") == Role.CLIENT)
        codes = piece.column("proto")[at].astype(np.int64) << KIND_BITS | piece.column("kind")[at]
        different = np.sort(codes)
        for code in different[news(different)].tolist():
            if code not in self._control and len(self._control) < MAX_DEVICES:
                proto, kind = code >> KIND_BITS, code & ((1 << KIND_BITS) - 1)
                self._control[code] = self._lens.kind_class(proto, kind) == KindClass.CONTROL
            if self._control.get(code):
                self._devices(piece.messages.take(at[codes == code]), "dst", commanded=True)

    def note(self, device: int, ts: int, commanded: bool = False) -> None:
        """A state of a device changed, or was told to, at a time in ns."""
        for table in (self._at, self._ordered) if commanded else (self._at,):
            times = table.get(device) or table.put(device, [])
            times.append(ts)
            del times[:-LATEST]

    def near(self, device: int, ts: int, commanded: bool = False) -> bool:
        """Did a device switch, or was it commanded to, shortly before, or just after, a time in ns?"""
        table = self._ordered if commanded else self._at
        return any(ts - BEFORE <= at <= ts + AFTERWARDS for at in table.get(device) or ())

    def _devices(self, rows: npt.NDArray[Any], name: str, commanded: bool = False) -> None:
        rows = rows.compress(rows["flags"] & np.uint32(REPEATED) == 0)
        latest = dict(zip(rows[name].tolist(), rows["ts"].tolist(), strict=True))
        for device, ts in latest.items():
            self.note(device, ts, commanded)
