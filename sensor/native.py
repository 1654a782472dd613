"""The native engine: a FrameBatch in, a MessageBatch out, one compiled loop in between.

Decodes Ethernet, VLAN, IPv4/6, TCP, UDP and, on their ports and ethertypes, the protocols whose profiles say
``native``. Every other frame becomes one row that says who sent to whom (protocols ``tcp``, ``udp``, ``ip``,
``ethernet``), so that no traffic is invisible; frames that another engine should look at are told in
``unclaimed``. State is bounded (``sensor.track``); no frame can make it raise.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sensor.frames import FrameBatch
from sensor.messages import MessageBatch, Rows, copied, join_rows
from sensor.names import Names
from sensor.track.frame import decode_frames
from sensor.track.state import (
    CLAIMED,
    DROP_COPIES,
    KEEP_COPIES,
    OPEN,
    WATCH_COPIES,
    Count,
    Tables,
    make_memory,
)
from sensor.track.table import COUNT

COPIES: Final = {"keep": KEEP_COPIES, "drop": DROP_COPIES, "auto": WATCH_COPIES}


class NativeEngine:
    """Decodes FrameBatches of one run.

    Parameters
    ----------
    names : Names
        Tables that give endpoints, texts and conversations their numbers; shared with other engines.
    copies : {"keep", "drop", "auto"}
        What becomes of a frame whose very bytes were captured less than a millisecond before (two mirrored
        ports that see the same traffic). ``auto`` drops them once a tenth of a block of 1,024 frames are such
        copies; it looks at one block in sixteen. The second copy of PRP and HSR is never decoded.

    Attributes
    ----------
    unclaimed : ndarray of bool, shape (frames of the last batch,)
        Frames that a tshark engine should see: open ones, and those that open or end their connections.
    open : ndarray of bool, shape (frames of the last batch,)
        Frames with data that no native decoder read.
    """

    def __init__(self, names: Names, copies: str = "keep") -> None:
        self.names = names
        self._memory = make_memory(names)
        self._memory["drop_copies"][0] = COPIES[copies]
        self._tables = Tables(names.endpoints, names.texts, names.conversations)
        self._pool = self._memory["streams"]["pool"][0]
        self._pool.setflags(write=False)
        self.unclaimed: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.open: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)

    def decode(self, batch: FrameBatch) -> MessageBatch:
        """All messages that end in the frames of ``batch``."""
        claimed = np.zeros(len(batch), np.uint8)
        data = batch.data.view()
        data.setflags(write=False)
        columns = (batch.offset, batch.caplen, batch.wirelen, batch.ts, batch.link, batch.number)
        parts: list[Rows] = []
        done = 0
        while True:
            done = int(
                decode_frames(self._memory[0], self._tables, self._pool, claimed, done, data, *columns)
            )
            parts.append(self._collect())
            if done >= len(batch):
                break
        self.unclaimed = claimed != CLAIMED
        self.open = claimed == OPEN
        return MessageBatch(
            *join_rows(parts), batch.ts, batch.clock, lost=batch.lost, lost_after=batch.lost_after
        )

    def _collect(self) -> Rows:
        """Copies of the rows written, which makes room for the next."""
        memory = self._memory[0]
        messages, points = (int(rows) for rows in memory["cursor"])
        memory["cursor"][:] = 0
        return copied(memory["messages"][:messages]), copied(memory["points"][:points])

    @property
    def counters(self) -> dict[str, int]:
        """What was seen, by name (see ``sensor.track.state.Count``)."""
        return {count.name.lower(): int(self._memory["counters"][0][count]) for count in Count}

    def hosts(self) -> npt.NDArray[Any]:
        """HOST records by endpoint id, up to the last id given."""
        hosts: npt.NDArray[Any] = self._memory["hosts"][0][: int(self.names.endpoints["meta"][COUNT])]
        return hosts
