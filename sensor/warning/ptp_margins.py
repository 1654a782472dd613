"""PTP: how much of the announce receipt timeout a clock leaves.

====================  ====  ==============================================================================
margin.ptp_announce   1     least share of the announce receipt timeout that was left when the next
                            Announce of a sender came, or is left at the end of the window: slaves look
                            for another master after 3 intervals (IEEE 1588-2019, 9.2.6.12). The
                            interval is the median of the latest eight distances
====================  ====  ==============================================================================
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.base import Names, Slice
from detectors.rules.common import protocol_columns
from sensor.features.margins import FORGET, Margin

ANNOUNCE: Final = 11
TIMEOUT: Final = 3
SETTLED: Final = 4
KEPT: Final = 8
MAX_SENDERS: Final = 1_000


@dataclass(slots=True)
class _Sender:
    """Announces of one conversation."""

    last: int
    gaps: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT))
    left: float = 1.0

    def after(self, gap: int) -> None:
        """A distance went by, or has gone by so far."""
        if len(self.gaps) >= SETTLED:
            timeout = TIMEOUT * float(np.median(self.gaps))
            self.left = min(self.left, 1.0 - gap / max(timeout, 1.0))


class PtpMargins:
    """Gathers slices, gives the margin of each sender at the end of a window."""

    def __init__(self, names: Names) -> None:
        self.left_out = 0
        self._senders: OrderedDict[int, _Sender] = OrderedDict()
        try:
            self._proto = names.protocol_id("ptp")
        except KeyError:
            self._proto = -2

    def push(self, piece: Slice) -> None:
        """Take one slice."""
        columns = protocol_columns(piece, self._proto)
        if not len(columns):
            return
        told = columns["kind"] == ANNOUNCE
        for conv, ts in zip(columns["conv"][told].tolist(), columns["ts"][told].tolist(), strict=True):
            sender = self._senders.get(conv)
            if sender is None:
                self._senders[conv] = _Sender(ts)
                if len(self._senders) > MAX_SENDERS:
                    self._senders.popitem(last=False)
                    self.left_out += 1
                continue
            gap = max(0, ts - sender.last)
            sender.after(gap)
            sender.gaps.append(gap)
            sender.last = ts

    def close(self, end: int) -> list[Margin]:
        """Margins of the window that ends at ``end`` (ns)."""
        found = []
        for conv, sender in list(self._senders.items()):
            sender.after(max(0, end - sender.last))
            if sender.left < -FORGET:
                del self._senders[conv]
            elif len(sender.gaps) >= SETTLED:
                found.append(Margin("margin.ptp_announce", "1", conv, sender.left))
            sender.left = 1.0
        return found
