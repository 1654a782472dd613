"""A live interface as a source of frames, with the surface of a capture file.

Frames come from a :class:`~sensor.capture.ring.Ring`. When the interface goes down, loses its carrier, or is
removed and made anew, capturing goes on as soon as it is back, and a note says for how long the sensor was
blind. While the network is idle, empty batches carry the clock on, so that silence can be noticed; while the
sensor is blind they do not: what it could not see was not silent.

The clock of an empty batch is the wall clock less :data:`MARGIN`: what the kernel still holds is at most
one block timeout old.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from sensor.capture.bpf import compile_filter
from sensor.capture.pcapfile import MAX_BYTES, MAX_FRAMES
from sensor.capture.ring import Counters, Ring, RingSettings, State, check_interface, prepare
from sensor.errors import CaptureError, GridwardenError
from sensor.frames import FrameBatch, no_frames

SECOND: Final = 1_000_000_000
MARGIN: Final = SECOND
TICK: Final = 0.25
"""Seconds between looks at the clock and the interface while nothing comes."""

PACE: Final = 0.1
"""Least seconds between batches while the ring has room: what comes after decoding costs by the batch."""

FIRST_RETRY, LAST_RETRY = 0.25, 30.0
"""Seconds until the next attempt after one at opening the interface again failed; doubled each time."""

MAX_GAPS: Final = 20
"""Blind times told one by one; their sum is always told."""

DRAIN: Final = 3
"""Block timeouts for which frames from before the end are still awaited."""

LATEST_END: Final = 30.0
"""Seconds after a stop in which a backlog is worked off; ends it also when the clock was set back."""


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What to capture.

    Attributes
    ----------
    interface : str
    duration : float or None
        Seconds from the opening of the ring; None until stopped.
    filter : str
        tcpdump's language; "" for all frames.
    ring_mib : int
        Memory of the kernel's ring.
    count : int or None
        Most frames.
    promiscuous, outgoing : bool
        As in :class:`~sensor.capture.ring.RingSettings`.
    """

    interface: str
    duration: float | None = None
    filter: str = ""
    ring_mib: int = 64
    count: int | None = None
    promiscuous: bool = True
    outgoing: bool = True


class LiveCapture:
    """Frames of a live interface, until it is stopped.

    Parameters
    ----------
    settings : LiveSettings

    Attributes
    ----------
    shown : str
        The interface.
    link : int
        LINKTYPE_ of its frames.
    size, position : int
        Milliseconds asked for (0: no end) and passed; for progress.
    notes : list of str
        What limited the view; complete once :meth:`batches` has ended.
    counters : Counters
        What the kernel counted; brought up to date about once a second.
    frames, octets : int
        Handed out, and their bytes on the wire.
    blind_s : float
        Seconds for which nothing could be seen.
    on_event : callable or None
        Told in words when the interface goes and comes back.

    Raises
    ------
    InterfaceError, UsageError, MissingToolError
        From the constructor: no such interface, a filter that cannot be understood, no right.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self.settings = settings
        self.shown = settings.interface
        self.problems: list[CaptureError] = []
        self.notes: list[str] = []
        self.size = int((settings.duration or 0) * 1000)
        self.counters = Counters()
        self.frames = self.octets = 0
        self.blind_s = 0.0
        self.on_event: Callable[[str], None] | None = None
        self._stop_at: int | None = None
        self._stop_by = 0.0
        self._began: float | None = None
        self._ring: Ring | None = None
        self._before = Counters()
        self._looked = self._taken = 0.0
        self._asked = 0
        self._lost: deque[tuple[int, int]] = deque()
        self._blind: tuple[float, State] | None = None
        self._gaps: list[str] = []
        self._gap_count = 0
        self._retry = (0.0, FIRST_RETRY)
        check_interface(settings.interface)
        with Ring(settings.interface, RingSettings(mib=1)) as tried:  # a missing right is told at once
            self.link = tried.link
        self._ring_settings = RingSettings(
            mib=settings.ring_mib,
            promiscuous=settings.promiscuous,
            outgoing=settings.outgoing,
            filter=compile_filter(settings.filter, settings.interface, self.link),
        )

    @property
    def position(self) -> int:
        """Milliseconds since the ring was opened."""
        return int((time.monotonic() - self._began) * 1000) if self._began is not None else 0

    @property
    def dropped(self) -> int:
        """Frames that the kernel lost because the ring was full."""
        return self.counters.drops

    @property
    def blind(self) -> State | None:
        """Why nothing can be seen at the moment; None when it can."""
        return self._blind[1] if self._blind else None

    def stop(self) -> None:
        """End :meth:`batches` soon, after the frames from before now. Safe in a signal handler."""
        if self._stop_at is None:
            self._stop_by = time.monotonic() + LATEST_END
            self._stop_at = time.time_ns()

    def batches(
        self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES
    ) -> Generator[FrameBatch, None, None]:
        """Frames as they come, in batches of at most ``max_frames``; empty ones move the clock.

        While nothing comes there is an empty batch every :data:`TICK` seconds. What the kernel lost stands
        with the first frame of the time in which it fell (see :meth:`_refresh`).
        """
        prepare()
        self._ring = Ring(self.settings.interface, self._ring_settings)
        self._note_size(self._ring)
        self._began, self._asked = time.monotonic(), time.time_ns()
        try:
            yield from self._until_the_end(max_frames, max_bytes)
            self._refresh()
            if self._lost:
                yield no_frames(lost_after=self._all_lost())
        finally:
            self._finish()

    def _until_the_end(self, max_frames: int, max_bytes: int) -> Iterator[FrameBatch]:
        assert self._ring is not None
        while True:
            self._pace()
            batch = self._ring.take(self.frames + 1, max_bytes)
            if batch is not None:
                self._see(True)
                self._refresh()
                kept = self._with_losses(self._keep(batch))
                for start in range(0, len(kept), max_frames):
                    yield kept.take(slice(start, start + max_frames))
                if len(kept) < len(batch) or self.frames == self.settings.count or self._overdue():
                    return
            elif self._ended():
                return
            elif not self._ring.wait(TICK if self._stop_at is None else 0.01):
                yield from self._idle()
            self._look()

    def _pace(self) -> None:
        """Wait for more to come, so that batches are worth their cost."""
        assert self._ring is not None
        due = self._taken + PACE
        while time.monotonic() < due and self._stop_at is None and not self._ring.filling:
            time.sleep(PACE / 10)
        self._taken = time.monotonic()

    # --- the end ------------------------------------------------------------------------------------

    def _keep(self, batch: FrameBatch) -> FrameBatch:
        """Frames before the end; numbers them as handed out."""
        if self._stop_at is not None:
            late = np.flatnonzero(batch.ts > self._stop_at)
            batch = batch.take(slice(0, int(late[0]))) if len(late) else batch
        if self.settings.count is not None:
            batch = batch.take(slice(0, self.settings.count - self.frames))
        self.frames += len(batch)
        self.octets += int(batch.wirelen.sum(dtype=np.int64))
        return batch

    def _ended(self) -> bool:
        """Nothing is ready: has the end come, and is everything from before it here?"""
        if self._stop_at is None:
            return False
        since = time.monotonic() - (self._stop_by - LATEST_END)
        return since > DRAIN * self._ring_settings.timeout_ms / 1000 or self._blind is not None

    def _overdue(self) -> bool:
        """Frames still come: has the end been too long ago?"""
        return self._stop_at is not None and time.monotonic() > self._stop_by

    def _finish(self) -> None:
        if self._ring is not None:
            self._refresh()
            self._ring.close()
        self._ring = None
        self._tell()

    def _tell(self) -> None:
        if self._blind is not None:
            self._gap(self._blind)
            self._blind = None
        self.notes += self._gaps
        if not self.frames and not self._gaps:
            seconds = self.position / 1000
            self.notes.append(f"{self.shown}: not a single frame in {seconds:.1f} s: is the mirror port on?")
        if self._gap_count > len(self._gaps):
            self.notes.append(f"{self.shown}: blind {self._gap_count} times, {self.blind_s:.1f} s in all")
        if self.counters.drops:
            self.notes.append(loss_note(self.shown, self.counters))

    # --- what is seen -------------------------------------------------------------------------------

    def _look(self) -> None:
        """About once a second: the kernel's counters. Every time: is the asked time over?"""
        now = time.monotonic()
        duration = self.settings.duration
        if duration is not None and self._began is not None and now - self._began >= duration:
            self.stop()
        if now - self._looked >= 1.0:
            self._looked = now
            self._refresh()

    def _refresh(self) -> None:
        """Ask the kernel what it lost since it was asked last.

        A loss lies behind all frames that were in the ring, and before all that came into it when there was
        room again. It was asked a moment ago as a rule; when the reader was away for longer, the ring
        was full towards the end of that time.
        """
        if self._ring is None:
            return
        lost, now = self.counters.drops, time.time_ns()
        self.counters = self._before + self._ring.counters()
        if self.counters.drops > lost:
            self._lost.append((max(self._asked, now - SECOND), self.counters.drops - lost))
        self._asked = now

    def _with_losses(self, batch: FrameBatch) -> FrameBatch:
        """Put what was lost on the first frames that are not older; the rest waits."""
        if not self._lost or not len(batch):
            return batch
        lost, times = np.zeros(len(batch), np.int64), np.maximum.accumulate(batch.ts)
        while self._lost and self._lost[0][0] <= times[-1]:
            at, count = self._lost.popleft()
            lost[np.searchsorted(times, at)] += count
        return replace(batch, lost=lost if lost.any() else None)

    def _all_lost(self) -> int:
        total = sum(count for _, count in self._lost)
        self._lost.clear()
        return total

    def _idle(self) -> Iterator[FrameBatch]:
        """Nothing came for a while: because there is nothing, or because nothing can be seen?"""
        assert self._ring is not None
        state = self._ring.state()
        if state is not State.GONE and not self._ring.attached:
            state = State.UP if self._open_again() else State.GONE
        self._see(state is State.UP, state)
        yield no_frames(time.time_ns() - MARGIN if state is State.UP else 0, self._all_lost())

    def _open_again(self) -> bool:
        """A new ring for an interface that was made anew; what failed is tried again later and later."""
        assert self._ring is not None
        due, pause = self._retry
        if time.monotonic() < due:
            return False
        self._refresh()
        try:
            fresh = Ring(self.settings.interface, self._ring_settings)
        except GridwardenError as error:
            self._event(f"{self.shown} cannot be opened again: {error}")
            self._retry = (time.monotonic() + pause, min(2 * pause, LAST_RETRY))
            return False
        self._before = self.counters
        self._ring.close()
        self._ring, self._retry = fresh, (0.0, FIRST_RETRY)
        return True

    def _see(self, sight: bool, why: State = State.DOWN) -> None:
        """Keep account of the times in which nothing can be seen."""
        if sight and self._blind is not None:
            self._gap(self._blind)
            self._event(f"{self.shown} is back")
            self._blind = None
        elif not sight and (self._blind is None or _WORSE.index(why) > _WORSE.index(self._blind[1])):
            # on its way down an interface loses its carrier first; one blind time, told by its worst
            self._blind = (self._blind[0] if self._blind else time.time(), why)
            self._event(f"{self.shown} {why.value}: the sensor sees nothing; it goes on when it is back")

    def _gap(self, blind: tuple[float, State]) -> None:
        since, why = blind
        seconds = max(0.0, time.time() - since)
        self.blind_s += seconds
        self._gap_count += 1
        if len(self._gaps) < MAX_GAPS:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since))
            self._gaps.append(
                f"{self.shown} {_PAST[why]} from {when} UTC for {seconds:.1f} s: nothing was seen"
            )

    def _event(self, text: str) -> None:
        if self.on_event is not None:
            self.on_event(text)

    def _note_size(self, ring: Ring) -> None:
        asked = self.settings.ring_mib << 20
        if ring.size < asked:
            granted = f"{ring.size >> 20} of {self.settings.ring_mib} MiB"
            self.notes.append(f"{self.shown}: the kernel granted a ring of {granted}")


_WORSE: Final = (State.UP, State.NO_CARRIER, State.DOWN, State.GONE)
_PAST: Final = {
    State.UP: "was up",
    State.NO_CARRIER: "had no carrier",
    State.DOWN: "was down",
    State.GONE: "was not there",
}


def loss_note(interface: str, counters: Counters) -> str:
    """What was lost in the kernel, and what helps."""
    share = counters.drops / max(1, counters.packets)
    return (
        f"{interface}: {counters.drops:,} of {counters.packets:,} frames ({share:.2%}) were lost because the "
        f"ring was full ({counters.freezes:,} times); a larger --ring-mib bridges bursts, a --filter or a "
        "faster machine helps against lasting load"
    )
