"""Where an IEC-104 connection stands: sequence numbers of its two sides (IEC 60870-5-104:2006, 5.1)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from grid_profiles.vocabulary import Role

MODULUS: Final = 32_768
HALF: Final = MODULUS // 2


@dataclass(slots=True)
class Side:
    """One direction of a connection."""

    expected: int = -1  # next N(S); -1 unknown
    first: int = -1  # N(S) of its first I-frame
    acked: int = -1  # last N(R) it sent
    last: int = -1  # ns of its last message
    acks: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=32))  # (N(R), ts), news only

    def acked_at(self, number: int) -> int:
        """When it first acknowledged N(S) ``number`` (ns), the oldest time known if long ago, -1 never."""
        for ack, ts in self.acks:
            if 0 < (ack - number) % MODULUS < HALF:
                return ts
        return -1


@dataclass(slots=True)
class Link:
    """One TCP connection."""

    sides: dict[int, Side] = field(default_factory=lambda: {Role.CLIENT: Side(), Role.SERVER: Side()})
    stopped: bool = False
    doubtful: bool = False  # began in the middle; a beginning at 0 may still come
    begun: int = 0  # ns of its first message
    watched: bool = False  # the conversation was under way when it began


@dataclass(slots=True)
class Run:
    """Messages of one connection in a row of which there was nothing to say."""

    link: Link
    newest: bool  # of the connections of its conversation the one that began last
    count: int = 0
    spoke: int = -1  # ns of its last data, -1 none
    frame: int = 0
    heard: dict[int, int] = field(default_factory=dict)  # ns of the last message by role
