"""MMS as clients of IEC 61850 live it: what follows the opening of an association, records, answers.

Standard followed: IEC 61850-8-1:2011, clauses 17 (report control blocks: a client reserves one, sets it up
and enables it after every association), 20.8 (a control is answered by an information report that names
``...$Oper``) and 23 (disturbance records stand in the directory ``COMTRADE`` and are read as files).

A capture that learned an association in its midst never saw how it was opened; the day it is opened again,
identification, data set descriptions and report control blocks are no news. Neither is the answer to a
request, which was judged itself. Commands, settings, deletions are never meant here, nor reports that are
switched off (``mms-reports-off``), nor a long look at the model (``mms-model-scan``).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Level, Slice
from detectors.groups import SECOND, Lens
from detectors.rules.common import Bounded, protocol_rows
from detectors.rules.mms import control_of
from grid_profiles.vocabulary import Role

MAX_STREAMS: Final = 4_096
SETTLING: Final = 60 * SECOND
"""ns after the opening of an association in which a client sets up what it takes."""

SELECTED: Final = 120 * SECOND
"""ns for which a select is believed to stand; sboTimeout is 30 s in most models."""

INITIATE: Final = 2048
READ, WRITE, REPORT = 4, 5, 768
ASKED: Final = frozenset({0, 1, 2, 4, 6, 12})
"""Status, names, identify, read, attributes of a variable and of a list: what a client asks when it comes."""

OPEN, DIRECTORY = 72, 77
CONTINUED: Final = frozenset({73, 74})
"""fileRead and fileClose go on with a file whose opening was judged."""

FILES: Final = CONTINUED | {OPEN, DIRECTORY}
RECORDS: Final = ("comtrade", ".cfg", ".dat", ".hdr", ".inf", ".cff")
MAX_NAMES: Final = 32


class MmsLife:
    """Knows which associations were opened a moment ago; asked by the allow-list."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._proto = lens.protocol("mms")
        self._opened: Bounded[int, int] = Bounded(MAX_STREAMS)
        self._told: Bounded[int, bool] = Bounded(MAX_STREAMS)  # associations with reports
        self._selects: Bounded[tuple[int, str], int] = Bounded(MAX_STREAMS)

    def see(self, piece: Slice) -> None:
        """Note what opens in a slice."""
        rows = protocol_rows(piece, self._proto)
        if not len(rows):
            return
        for row in rows.compress(rows["kind"] == INITIATE)[:MAX_STREAMS]:
            self._opened.put(int(row["stream"]), int(row["ts"]))
        kinds = rows["kind"]
        for stream in np.unique(rows["stream"][kinds == REPORT])[:MAX_STREAMS].tolist():
            self._told.put(stream, True)
        asks = ((kinds == READ) | (kinds == WRITE)) & (rows["role"] == Role.CLIENT) & (rows["point"] > 0)
        for stream, point, ts in zip(
            *(rows[name][asks].tolist() for name in ("stream", "point", "ts")), strict=True
        ):
            base, action = self._control(point)
            if action in ("SBO", "SBOw"):
                self._selects.put((stream, base), ts)

    def selected(self, rows: npt.NDArray[Any]) -> bool:
        """Is it a control as a control centre does it: selected first, over an association with reports?

        Selects by themselves move nothing. Changes of mode are never meant.
        """
        for row in rows[:MAX_NAMES]:
            base, _ = self._control(int(row["point"]))
            since = self._selects.get((int(row["stream"]), base))
            if not base or base.endswith("$Mod") or self._told.get(int(row["stream"])) is None:
                return False
            if since is None or not 0 <= int(row["ts"]) - since <= SELECTED:
                return False
        return len(rows) <= MAX_NAMES

    def _control(self, point: int) -> tuple[str, str]:
        """What a point operates, and how, as :func:`control_of`."""
        return control_of(self.lens.point(self._proto, point))

    def ordinary(self, rows: npt.NDArray[Any]) -> bool:
        """A harmless kind that is no news: an answer, or a question of a client that has just come."""
        kind = int(rows["kind"][0])
        if int(rows["role"][0]) == Role.SERVER and 256 <= kind < 512:
            return True
        return kind in ASKED and self._fresh(rows)

    def most(self, rows: npt.NDArray[Any]) -> Level | None:
        """Level of a dangerous kind that stands for less than it says; None where it does not."""
        kind = int(rows["kind"][0])
        if kind in FILES:
            known = kind in CONTINUED or self._records(rows)
            return Level.INFO if known else Level.NOTICE
        if kind == WRITE and self._fresh(rows) and self._subscribes(rows):
            return Level.INFO
        return None

    def object_level(self, level: Level, row: Any) -> Level:
        """Level of a new object of a known kind."""
        rows = np.array([row])
        kind, item = int(row["kind"]), self._item(row)
        if kind == READ and item.endswith("$SBO") and self._told.get(int(row["stream"])) is not None:
            return Level.INFO  # a select; what is done with it is judged
        ends = kind == REPORT and "$CO$" in item and item.endswith("$Oper")
        if ends or (kind in CONTINUED) or (kind in FILES and self._records(rows)):
            return Level.INFO
        if kind in FILES:
            return min(level, Level.NOTICE)
        block = "$BR$" in item or "$RP$" in item
        if self._fresh(rows) and (self._subscribes(rows) if kind == WRITE else block and kind == READ):
            return Level.INFO
        return level

    def _fresh(self, rows: npt.NDArray[Any]) -> bool:
        """Were all their associations opened a moment ago?"""
        for stream in np.unique(rows["stream"]).tolist():
            at = self._opened.get(stream)
            if at is None or not np.all(rows["ts"][rows["stream"] == stream] - at <= SETTLING):
                return False
        return True

    def _subscribes(self, rows: npt.NDArray[Any]) -> bool:
        """Do these writes set up report control blocks, and nothing else?"""
        points = np.unique(rows["point"])
        if len(points) > MAX_NAMES:
            return False
        items = [self.lens.names.point(self._proto, point) for point in points.tolist()]
        return all("$BR$" in item or "$RP$" in item for item in items)

    def _records(self, rows: npt.NDArray[Any]) -> bool:
        """Are these files disturbance records, all of them?"""
        names = np.unique(rows["name"])[:MAX_NAMES]
        return all(is_record(self.lens.names.text(name)) for name in names.tolist())

    def _item(self, row: Any) -> str:
        point = int(row["point"])
        return self.lens.names.point(self._proto, point) if point >= 0 else ""


def is_record(name: str) -> bool:
    """Is a file of this name a disturbance record (IEC 60255-24, COMTRADE)?"""
    lower = name.lower()
    return RECORDS[0] in lower or lower.endswith(RECORDS[1:])
