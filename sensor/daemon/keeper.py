"""The thread that owns the store: takes what is to be kept, writes it, and survives what disks do.

What cannot be written waits in memory, within limits; what does not fit any more is counted by kind and told
once the store can be written again. A file that is damaged is set aside under another name and a new one is
begun. Nothing of this ever stops detection.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from detectors.base import Level
from sensor.config.schema import StoreConfig
from sensor.daemon.clock import Believed, Clock
from sensor.daemon.own_alerts import OwnAlerts, own_alert
from sensor.errors import GridwardenError
from sensor.result import LEVELS
from sensor.store.errors import StoreDamaged, StoreUnavailable
from sensor.store.life import latest_health
from sensor.store.live import (
    AlertChange,
    HealthRow,
    LiveWriter,
    Pending,
    close_left_over,
    get_mark,
    open_folds,
    set_mark,
)
from sensor.store.sqlite import Store

FIRST_RETRY: Final = 0.5
LAST_RETRY: Final = 15.0
"""Seconds until the next attempt after one that failed; doubled each time."""

HOUSEKEEPING: Final = 60.0
"""Seconds between looks at age and size."""

LOCK_WAIT: Final = 2.0
"""Seconds for which another program may hold the store before the write waits in memory."""

MAX_HEALTH: Final = 1_000
KEEP_DAMAGED: Final = 3
"""Damaged files that are kept; the oldest goes when there is one more."""

SUFFIXES: Final = ("", "-wal", "-shm")


class Keeper:
    """Writes into the store from a thread of its own.

    Parameters
    ----------
    settings : StoreConfig
    clock : Clock
    own : OwnAlerts
    on_event : callable
        Told in words what happens to the store.
    on_written : callable
        Called after each write: new rows may be there.
    """

    def __init__(
        self,
        settings: StoreConfig,
        clock: Clock,
        own: OwnAlerts,
        on_event: Callable[[str], None],
        on_written: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.clock, self.own = settings, clock, own
        self.path = settings.path
        self._on_event, self._on_written = on_event, on_written
        self._pending = Pending()
        self._wake = threading.Condition()
        self._stopping = False
        self._writer: LiveWriter | None = None
        self._inode: tuple[int, int] | None = None
        self._unclean = False
        self._failing_since: float | None = None
        self._retry_at, self._pause = 0.0, FIRST_RETRY
        self._housekeeping_at = clock.monotonic() + HOUSEKEEPING
        self._believed: Believed | None = None
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self.given_up: Counter[str] = Counter()
        self.trouble = ""
        self.written = 0

    # --- from the outside ---------------------------------------------------------------------------

    def open(self) -> tuple[list[str], HealthRow | None]:
        """Open the store before the thread starts.

        Returns
        -------
        (list of str, HealthRow or None)
            What was open when the last run ended, and the last sign of life of that run. Nothing when the
            store cannot be used now: it is tried again while the sensor runs.

        Raises
        ------
        StoreError
            The file belongs to another program or to a newer version.
        """
        for _ in range(2):
            try:
                store = self._connect()
                folds = open_folds(store)
                signs = [row for row in latest_health(store) if not row.source]
                newest = signs[0] if signs else None
                self._believed = Believed(self.clock, newest.ts if newest else None)
                self._unclean = bool(newest) and not get_mark(store, "clean")
                set_mark(store, "clean", 0)
                return folds, newest
            except StoreDamaged as error:
                self._set_aside(error)
            except (StoreUnavailable, OSError) as error:
                self._failed(error)
                break
        return [], None

    def close_left_over(self, but: Iterable[str]) -> None:
        """Close alerts of an earlier run that nobody extends any more."""
        if self._writer is not None:
            with contextlib.suppress(GridwardenError, OSError):  # told at the next write
                close_left_over(self._writer.store, self.clock.wall(), set(but))

    def start(self) -> None:
        """Begin to write."""
        self._close()  # a connection belongs to the thread that made it
        self._thread.start()

    def put(self, *changes: AlertChange, **parts: Any) -> None:
        """Take what is to be written: changes of alerts, and fields of :class:`Pending` by name."""
        with self._wake:
            self._pending.alerts |= {change.alert.id: change for change in changes}
            for name, value in parts.items():
                mine = getattr(self._pending, name)
                if isinstance(mine, dict):
                    mine |= value
                else:
                    mine += value
            self._bound()
            self._wake.notify()

    def stop(self, deadline_s: float) -> bool:
        """Write what waits and end; whether everything was written."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(deadline_s)
        return not self._thread.is_alive() and not self._pending

    def figures(self) -> dict[str, float]:
        """For the health rows."""
        with self._wake:
            pending = self._pending
            waiting = len(pending.samples) + len(pending.health)
            alerts = len(pending.alerts)
        figures = {
            "store_waiting_alerts": float(alerts),
            "store_waiting_rows": float(waiting),
            "store_given_up": float(sum(self.given_up.values())),
            "store_failing_s": 0.0,
        }
        since = self._failing_since
        if since is not None:
            figures["store_failing_s"] = self.clock.monotonic() - since
        with contextlib.suppress(OSError):
            figures["store_mib"] = sum(_size(self.path, suffix) for suffix in SUFFIXES) / (1 << 20)
            disk = os.statvfs(self.path.parent)
            figures["disk_free_mib"] = disk.f_bavail * disk.f_frsize / (1 << 20)
        return figures

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._pending and not self._stopping:
                    self._wake.wait(1.0)
                elif self._failing_since is not None and not self._stopping:
                    self._wake.wait(max(0.05, min(1.0, self._retry_at - self.clock.monotonic())))
                stopping = self._stopping
            if stopping or self._failing_since is None or self.clock.monotonic() >= self._retry_at:
                self._round()
            if stopping:
                self._leave()
                return

    def _round(self) -> None:
        with self._wake:
            taken, self._pending = self._pending, Pending()
        try:
            self._look_after()
            if taken:
                self._write(taken)
        except StoreDamaged as error:
            self._put_back(taken)
            self._set_aside(error)
        except (GridwardenError, OSError) as error:
            self._put_back(taken)
            self._failed(error)

    def _write(self, taken: Pending) -> None:
        writer = self._ready()
        writer.write(taken, self.clock.wall())
        self.written += len(taken.alerts) + len(taken.samples)
        self._works()
        self._on_written()

    def _ready(self) -> LiveWriter:
        if self._writer is None:
            self._connect()
        assert self._writer is not None
        return self._writer

    def _connect(self) -> Store:
        store = Store.open(self.path, timeout=LOCK_WAIT)
        self._writer = LiveWriter(store)
        self._inode = _identity(self.path)
        return store

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.store.close()
        self._writer = None

    def _look_after(self) -> None:
        """Is the file still ours, whole, and within its bounds?"""
        if self._writer is not None and _identity(self.path) != self._inode:
            self._on_event(f"{self.path} was moved or removed by somebody else: a new store is begun")
            self._close()
        if self._unclean:
            self._unclean = False
            found = self._ready().store.query("PRAGMA quick_check(1)")
            if found and found[0][0] != "ok":
                raise StoreDamaged(f"{self.path}: the store is damaged ({found[0][0]})")
        if self.clock.monotonic() >= self._housekeeping_at:
            self._housekeeping_at = self.clock.monotonic() + HOUSEKEEPING
            self.retain()

    def retain(self) -> dict[str, int]:
        """Delete what is too old or too much; by a clock that is not believed at once when it goes ahead."""
        writer = self._ready()
        if self._believed is None:
            self._believed = Believed(self.clock, None)
        before = self._believed.now() - self.settings.keep_days * 86_400
        dropped = writer.store.retain(before=before, max_bytes=self.settings.max_mib << 20)
        writer.forget()
        return dropped

    def _leave(self) -> None:
        with contextlib.suppress(GridwardenError, OSError):
            if self._writer is not None and not self._pending:
                set_mark(self._writer.store, "clean", 1)
        self._close()

    # --- when it does not work ----------------------------------------------------------------------

    def _put_back(self, taken: Pending) -> None:
        with self._wake:
            newer = self._pending
            self._pending = Pending(
                taken.alerts | newer.alerts,
                taken.incidents | newer.incidents,
                taken.samples + newer.samples,
                taken.levels | newer.levels,
                taken.links | newer.links,
                taken.assets | newer.assets,
                taken.health + newer.health,
                taken.events | newer.events,
            )
            self._bound()

    def _bound(self) -> None:
        """Give up the quietest and oldest alerts, the oldest samples and heartbeats."""
        pending = self._pending
        over = len(pending.alerts) - self.settings.waiting_alerts
        if over > 0:
            order = sorted(
                pending.alerts.values(), key=lambda one: (LEVELS.index(one.alert.level), one.alert.start)
            )
            for change in order[:over]:
                del pending.alerts[change.alert.id]
                self.given_up[f"alerts {change.alert.level}"] += 1
        for name, rows, most in (
            ("samples", pending.samples, self.settings.waiting_rows),
            ("health", pending.health, MAX_HEALTH),
        ):
            over = len(rows) - most
            if over > 0:
                del rows[:over]
                self.given_up[name] += over
        while len(pending.incidents) > self.settings.waiting_alerts:
            pending.incidents.pop(next(iter(pending.incidents)))
            self.given_up["incidents"] += 1
        while len(pending.events) > self.settings.waiting_alerts:
            pending.events.pop(next(iter(pending.events)))
            self.given_up["events"] += 1

    def _failed(self, error: Exception) -> None:
        now = self.clock.monotonic()
        self._close()
        if self._failing_since is None:
            self._failing_since, self._pause = now, FIRST_RETRY
            self._on_event(f"{error}. What is found waits in memory until the store can be written")
        self.trouble = str(error)
        self._retry_at, self._pause = now + self._pause, min(2 * self._pause, LAST_RETRY)
        summary = f"the store cannot be written: {error}"
        self.put(self.own.begin("store-unavailable", Level.WARNING, "store", summary, self.clock.wall()))

    def _works(self) -> None:
        """After a write that succeeded: tell what there was, if there was something."""
        if self._failing_since is None:
            return
        seconds = self.clock.monotonic() - self._failing_since
        self._failing_since, self.trouble = None, ""
        lost = ", ".join(f"{count:,} {what}" for what, count in sorted(self.given_up.items()))
        summary = f"the store could not be written for {seconds:.0f} s; given up: {lost or 'nothing'}"
        self._on_event(summary)
        closed = self.own.end("store-unavailable", "store", self.clock.wall(), summary)
        if closed is not None:
            self.put(closed)

    def _set_aside(self, error: Exception) -> None:
        """Rename a damaged store with its two companions, and begin anew."""
        self._close()
        now = self.clock.wall()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        target = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        number = 1
        while target.exists():
            number += 1
            target = self.path.with_name(f"{self.path.name}.damaged-{stamp}-{number}")
        try:
            for suffix in SUFFIXES:
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{target}{suffix}")
            self._forget_damaged()
        except OSError as refused:
            self._failed(refused)
            return
        summary = f"the store was damaged and is set aside as {target.name}; a new one is begun"
        self._on_event(f"{error}; {summary}")
        self.put(
            AlertChange(own_alert("store-damaged", Level.WARNING, "store", summary, now, str(error)), False)
        )

    def _forget_damaged(self) -> None:
        found = [
            path
            for path in self.path.parent.glob(f"{self.path.name}.damaged-*")
            if not path.name.endswith(SUFFIXES[1:])
        ]
        for old in sorted(found, key=lambda path: path.stat().st_mtime)[:-KEEP_DAMAGED]:
            for suffix in SUFFIXES:
                Path(f"{old}{suffix}").unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: Path, suffix: str) -> int:
    try:
        return Path(f"{path}{suffix}").stat().st_size
    except FileNotFoundError:
        return 0
