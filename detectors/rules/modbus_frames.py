"""Modbus/TCP: several requests in one frame, by a client that asks one by one.

Standard followed: Messaging on TCP/IP Implementation Guide 1.0b, 4.4 (a client may have several transactions
open, so a server may find several ADUs in one segment). Devices with small stacks read the first and leave,
or execute, the rest. A client that does so is known from learning.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.base import Level, Slice
from detectors.rules.common import Columns
from detectors.rules.shared import ProtocolRules, Rule, grouped
from grid_profiles.vocabulary import Role

STACKED = Rule(
    "modbus-stacked", Level.NOTICE, {"attack": 0.6, "operation": 0.3, "fault": 0.1}, "T0855", habit=1
)
MAX_TOLD: Final = 64
"""Conversations of one slice that are told."""


class ModbusFrameRules(ProtocolRules):
    """Checks how requests lie in frames."""

    protocol = "modbus"

    by_column = True

    def check_columns(self, columns: Columns, piece: Slice) -> None:
        """Requests that share a frame with the one before them on their connection."""
        asked = columns["role"] == Role.CLIENT
        frames = columns["frame"][asked]
        same = np.flatnonzero(frames[1:] == frames[:-1])
        if not len(same):
            return
        rows = columns.rows(asked)[np.isin(frames, frames[same])]
        for mine in grouped(rows, "conv")[:MAX_TOLD]:
            most = int(np.unique(mine["frame"], return_counts=True)[1].max())
            text = (
                f"{self.host(mine[0]['src'])} sent {most} requests in one frame; so far it asked one by one"
            )
            self.say(STACKED, mine, text, "one request in a frame", f"{most} requests", pair=True)
