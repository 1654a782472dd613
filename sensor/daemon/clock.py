"""Clocks of a daemon: one that is told when it jumps, and one that retention may believe.

The wall clock of a small machine without a network is sometimes wrong by years, and then set right. Two
things must not depend on it blindly: the order of what is detected, and the deletion of what is old.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Final

NOTICED: Final = 1.0
"""Seconds by which the wall clock must move against the monotonic one to be called set."""

TRUST_AFTER: Final = 86_400.0
"""Seconds for which a clock that went ahead must have stood before anything is deleted because of it."""

_TIMEX_BYTES: Final = 208
_STA_UNSYNC: Final = 0x40
_STA_NANO: Final = 0x2000
_TIME_ERROR: Final = 5


class Clock:
    """Wall and monotonic time.

    Parameters
    ----------
    wall, monotonic : callable
        Seconds; other ones in tests.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall, self.monotonic = wall, monotonic
        self._offset = wall() - monotonic()

    def jump(self) -> float:
        """Seconds by which the wall clock was set since the last call; 0.0 when it was not.

        What goes slowly (adjtime, NTP's slewing) is followed and is no jump.
        """
        offset = self.wall() - self.monotonic()
        moved, self._offset = offset - self._offset, offset
        return moved if abs(moved) > NOTICED else 0.0


class Believed:
    """The time that retention goes by: never ahead of what was lived through or has been true for a day.

    Parameters
    ----------
    clock : Clock
    newest : float or None
        Wall clock of the newest row that an earlier run wrote.
    """

    def __init__(self, clock: Clock, newest: float | None) -> None:
        self._clock = clock
        wall = clock.wall()
        self._base = wall if newest is None else min(wall, newest)
        self._since = clock.monotonic()
        self._offset = wall - self._since
        self._stood = self._since

    def now(self) -> float:
        """Epoch seconds."""
        monotonic = self._clock.monotonic()
        wall = self._clock.wall()
        if abs(wall - monotonic - self._offset) > NOTICED:
            self._offset, self._stood = wall - monotonic, monotonic
        lived = self._base + (monotonic - self._since)
        if monotonic - self._stood >= TRUST_AFTER:
            self._base, self._since = wall, monotonic
            return wall
        return min(wall, lived)


def clock_offset() -> tuple[float, float] | None:
    """(offset, largest error) of the system clock in seconds as the kernel's NTP discipline knows them.

    None when the clock is not synchronised, or the kernel does not say (adjtimex(2), reading only).
    """
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    word = ctypes.sizeof(ctypes.c_long)
    fields = [int.from_bytes(buffer.raw[word * n : word * (n + 1)], "little", signed=True) for n in range(6)]
    offset, max_error, status = fields[1], fields[3], fields[5] & 0xFFFFFFFF
    if state < 0 or state == _TIME_ERROR or status & _STA_UNSYNC:
        return None
    return offset / (1e9 if status & _STA_NANO else 1e6), max_error / 1e6
