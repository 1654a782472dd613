"""What learning keeps of IEC 60870-5-104 for the rules: who selects before it executes, whose clocks fit.

All go into the table ``choices``: by master, station and type how many commands selected and how many
executed (60870-5-5, 6.8); by master and station how many clock commands set the capture's own time, and
how old the time tags of commands are when they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.choices import ChoiceLearner, Rows
from detectors.groups import among
from detectors.rules.clock import offset_of
from detectors.rules.common import MAX_READ
from detectors.rules.iec104_clock import ACTIVATION, CLOCK, FITS, NAME, OFF, beside_zones
from detectors.rules.iec104_tags import TAGS, commands_of, tags_of
from detectors.rules.shared import grouped, one
from grid_profiles.vocabulary import Flag, Role

COMMANDS: Final = (*range(45, 52), *range(58, 65))
SELECTED: Final = "select"

Style = tuple[str, str, int]
"""Master, station, type."""


class SelectLearner(ChoiceLearner):
    """Counts selects and executes."""

    protocol, what = NAME, SELECTED

    def choices(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Commands by master, station, type; twice the type, and one more for a select."""
        chosen = (rows["role"] == Role.CLIENT) & (rows["cause"] == ACTIVATION) & among(rows["kind"], COMMANDS)
        orders = rows[chosen]
        selects = orders["flags"] & np.uint32(Flag.SELECT) != 0
        for part, select in ((orders[selects], 1), (orders[~selects], 0)):
            for mine in grouped(part, "src", "dst", "kind"):
                yield mine, 2 * int(mine[0]["kind"]) + select


class ClockLearner(ChoiceLearner):
    """Counts clock commands whose time is the capture's, in whatever zone."""

    protocol, what = NAME, FITS

    def choices(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Clock commands by master and station; 1 where they fit."""
        set_ = rows[(rows["kind"] == CLOCK) & (rows["cause"] == ACTIVATION) & (rows["role"] == Role.CLIENT)]
        for mine in grouped(set_[~np.isnan(set_["value"])], "src", "dst"):
            yield mine, int(all(abs(beside_zones(offset_of(row))) <= OFF for row in mine[:64]))


class TagLearner(ChoiceLearner):
    """Counts by how many seconds the time tags of commands are older than their arrival."""

    protocol, what = NAME, TAGS

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        tags = tags_of(piece, self._proto)
        tags = tags.where(commands_of(tags))
        for row, delay in zip(tags.messages[:MAX_READ], tags.delays.tolist(), strict=False):
            self.count(one(row), round(delay))


def learned_styles(baseline: Baseline | None) -> dict[Style, tuple[int, int]]:
    """Selects, and executes without one, of each master, station and type."""
    counts: dict[Style, list[int]] = {}
    for row in baseline.rows("choices") if baseline is not None else ():
        if (row.protocol, row.what) == (NAME, SELECTED):
            kind, select = divmod(int(row.value), 2)
            counts.setdefault((row.src, row.dst, kind), [0, 0])[select] += int(row.count)
    # of a pair at the edge of the capture the select may be missing
    return {style: (selects, max(0, executes - selects - 1)) for style, (executes, selects) in counts.items()}
