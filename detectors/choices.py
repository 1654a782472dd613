"""Learning what a host chooses where its protocol leaves a choice, by the host that it turns to.

A rule file that wants to know what is usual derives a learner from :class:`ChoiceLearner` and asks for the
values with :func:`learned_choices`. Bounded: what comes when :data:`MAX_CHOICES` are known is counted in
``refused``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from detectors.base import Slice
from detectors.baseline import Baseline
from detectors.groups import REPEATED, SECOND, Lens
from detectors.rules.common import protocol_rows
from detectors.tables import TABLES, Origin, records

MAX_CHOICES: Final = 20_000

Rows = npt.NDArray[Any]
Pair = tuple[str, str]


class ChoiceLearner:
    """Counts one sort of choice of one protocol by (sender, receiver, value)."""

    protocol: ClassVar[str] = ""
    what: ClassVar[str] = ""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.refused = 0
        self._proto = lens.protocol(self.protocol)
        self._seen: dict[tuple[str, str, int], list[float]] = {}  # count, first, last

    def choices(self, rows: Rows) -> Iterator[tuple[Rows, int]]:
        """Rows of one sender and receiver that chose alike, and what they chose."""
        raise NotImplementedError

    def learn(self, piece: Slice) -> None:
        """Take one slice."""
        rows = protocol_rows(piece, self._proto)
        if not len(rows):
            return
        for mine, value in self.choices(rows.compress(rows["flags"] & np.uint32(REPEATED) == 0)):
            self.count(mine, value)

    def count(self, mine: Rows, value: int) -> None:
        """Count messages of one sender and receiver that chose alike."""
        src, dst = (self.lens.names.endpoint(int(mine[0][name])) for name in ("src", "dst"))
        key = (src, dst, value)
        if key not in self._seen and len(self._seen) >= MAX_CHOICES:
            self.refused += 1
            return
        first, last = int(mine["ts"].min()) / SECOND, int(mine["ts"].max()) / SECOND
        seen = self._seen.setdefault(key, [0, first, last])
        self._seen[key] = [seen[0] + len(mine), min(seen[1], first), max(seen[2], last)]

    def finish(self, baseline: Baseline) -> None:
        """Add the rows to the baseline."""
        mine = [
            {"protocol": self.protocol, "src": src, "dst": dst, "what": self.what, "value": value}
            | {"count": int(count), "first": first, "last": last, "origin": Origin.LEARNED.value}
            for (src, dst, value), (count, first, last) in self._seen.items()
        ]
        table = TABLES["choices"]
        baseline.tables["choices"] = table.frame(records(baseline.tables["choices"]) + mine)


def learned_choices(baseline: Baseline | None, protocol: str, what: str) -> dict[Pair, set[int]]:
    """What a baseline knows that each sender chose at each receiver."""
    found: dict[Pair, set[int]] = {}
    for row in baseline.rows("choices") if baseline is not None else ():
        if (row.protocol, row.what) == (protocol, what):
            found.setdefault((row.src, row.dst), set()).add(int(row.value))
    return found
