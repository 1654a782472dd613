"""The thread of one sink: send while there is something, wait while there is none, back off when it fails."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sensor.errors import GridwardenError
from sensor.sinks.backoff import Backoff
from sensor.sinks.base import Unavailable, clean
from sensor.sinks.pump import Pump, Scrub, unchanged
from sensor.sinks.settings import SinkSettings

log = logging.getLogger(__name__)

IDLE: Final = 5.0
"""Seconds between looks at the store when nobody pokes: other processes write it too."""

HOUSEKEEPING: Final = 30.0
"""Longest time between two looks at the quota, while a sink is down too."""


@dataclass(frozen=True, slots=True)
class State:
    """What a worker is doing; ``state`` is starting, idle, sending, waiting (backing off) or stopped."""

    state: str = "starting"
    last_error: str = ""
    last_error_at: float | None = None
    last_success: float | None = None
    next_try: float | None = None
    failures: int = 0


class Worker:
    """Runs one sink."""

    def __init__(self, path: Path, settings: SinkSettings, scrub: Scrub = unchanged) -> None:
        self.settings = settings
        self.state = State()
        self._path, self._scrub = path, scrub
        self._backoff = Backoff(settings.retry_first, settings.retry_most)
        self._wake = threading.Condition()
        self._poked = self._stopping = False
        self._pump: Pump | None = None
        self._kept = 0.0
        # A daemon thread: a sink that hangs in a system call must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"sink {settings.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def poke(self) -> None:
        """There may be new rows. Does not shorten a back-off."""
        with self._wake:
            self._poked = True
            self._wake.notify()

    def ask_to_stop(self) -> None:
        """End after the delivery that is under way."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, deadline: float) -> bool:
        """Wait until a monotonic time; True when the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            try:
                idle = self._round()
            except GridwardenError as error:
                self._back_off(error)
            except Exception as error:
                # Our mistake in one sink must not end the others, nor the sensor; it is told like others.
                log.exception("sink %s", self.settings.name)
                self._back_off(Unavailable(f"internal error: {type(error).__name__}: {clean(error)}"))
            else:
                if idle:
                    self._rest()
        self._close()
        self.state = replace(self.state, state="stopped", next_try=None)

    def _round(self) -> bool:
        """One batch; True when nothing is due."""
        with self._wake:
            self._poked = False
        pump = self._open()
        if time.monotonic() - self._kept > min(HOUSEKEEPING, self.settings.max_age / 10):
            self._keep(pump)
        if not self.state.failures:  # a retry that may fail like the ones before is not "sending" yet
            self.state = replace(self.state, state="sending")
        resolved = pump.step()
        if resolved:
            self._backoff.reset()
            self.state = replace(self.state, last_success=time.time(), failures=0, next_try=None)
        return not resolved

    def _keep(self, pump: Pump) -> None:
        pump.housekeeping()
        self._kept = time.monotonic()

    def _open(self) -> Pump:
        if self._pump is not None and self._pump.is_stale():
            self._close()
        if self._pump is None:
            self._pump = Pump(self._path, self.settings, self._scrub)
        return self._pump

    def _close(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            try:
                pump.close()
            except Exception:
                log.exception("sink %s: closing", self.settings.name)

    def _rest(self) -> None:
        self.state = replace(self.state, state="idle", failures=0, next_try=None)
        with self._wake:
            if not self._poked and not self._stopping:
                self._wake.wait(IDLE)

    def _back_off(self, error: GridwardenError) -> None:
        """Wait, and hold the quota meanwhile."""
        delay = self._backoff.next(getattr(error, "retry_after", None))
        now = time.time()
        if str(error) != self.state.last_error or not self.state.failures:
            log.warning("sink %s: %s", self.settings.name, error)
        self.state = replace(
            self.state,
            state="waiting",
            last_error=str(error),
            last_error_at=now,
            next_try=now + delay,
            failures=self.state.failures + 1,
        )
        until = time.monotonic() + delay
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._keep_while_waiting()
            with self._wake:
                if not self._stopping:
                    self._wake.wait(min(left, HOUSEKEEPING))

    def _keep_while_waiting(self) -> None:
        pause = min(HOUSEKEEPING, self.settings.max_age / 10)
        if time.monotonic() - self._kept < pause:
            return
        try:
            self._keep(self._open())
        except GridwardenError as error:  # the store's trouble; the next round tells it as its own
            self._close()
            log.warning("sink %s: %s", self.settings.name, error)
            self._kept = time.monotonic()
