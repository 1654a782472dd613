"""What the daemon reads: interfaces with a thread each, or captures played back, as one source of frames.

A thread per interface does nothing but empty its ring into a short queue; when the analysis cannot keep up
the queue fills, the thread waits, and the kernel counts what its ring cannot hold. An interface that is not
there is tried again for as long as the daemon runs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from sensor.capture.live import MARGIN, LiveCapture, LiveSettings
from sensor.capture.pcapfile import MAX_FRAMES, CaptureFile
from sensor.capture.ring import Counters
from sensor.capture.sources import open_sources
from sensor.config.schema import Config, SourceConfig
from sensor.daemon.clock import Clock
from sensor.daemon.joining import drained, join_frames, merged, pieces, split_at
from sensor.errors import CaptureError, GridwardenError
from sensor.frames import FILE_SHIFT, FrameBatch, no_frames

QUEUE: Final = 8
"""Batches between a ring and the analysis, per interface; what more there is stays in the ring."""

SAFE: Final = 250_000_000
"""ns after which everything that an idle ring held has been handed over: blocks are at most 50 ms old."""

HOLD: Final = 200_000_000
"""ns for which frames of one interface wait for older ones of another."""

RETRY: Final = (0.5, 30.0)
"""First and longest pause in s between attempts at an interface that cannot be opened."""

POLL: Final = 0.1
FILE_BATCH: Final = 8_192
"""Frames of a capture handed on at once: a stop is heard between two batches."""


class Feed:
    """One interface and the thread that empties its ring."""

    def __init__(
        self,
        index: int,
        config: SourceConfig,
        out: queue.Queue[tuple[int, FrameBatch]],
        on_event: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self.index, self.config, self.name = index, config, config.name
        self._out, self._on_event = out, on_event
        self._capture: LiveCapture | None = None
        self._ended = threading.Event()
        self._before = Counters()
        self._blind_before = 0.0
        self._blind_from: float | None = time.monotonic()
        self.error: GridwardenError | None = None
        self.tried = threading.Event()
        self.frames = self.octets = 0
        self.last_frame = 0
        self.thread = threading.Thread(target=self._run, name=f"feed {config.name}", daemon=True)

    @property
    def counters(self) -> Counters:
        """What the kernel counted, over every time the interface was opened."""
        capture = self._capture
        return self._before + capture.counters if capture is not None else self._before

    @property
    def blind(self) -> str:
        """Why nothing can be seen now; "" when it can."""
        capture = self._capture
        if capture is None:
            return str(self.error) if self.error is not None else "not open yet"
        return capture.blind.value if capture.blind is not None else ""

    @property
    def blind_s(self) -> float:
        """Seconds for which nothing could be seen, the present ones included."""
        capture = self._capture
        going_on = time.monotonic() - self._blind_from if self._blind_from is not None else 0.0
        return self._blind_before + going_on + (capture.blind_s if capture is not None else 0.0)

    def stop(self) -> None:
        """End soon, after the frames from before now."""
        self._ended.set()
        if self._capture is not None:
            self._capture.stop()

    def _run(self) -> None:
        pause, longest = RETRY
        while not self._ended.is_set():
            try:
                self._capture_once()
                pause = RETRY[0]
            except GridwardenError as error:
                if str(error) != str(self.error):
                    self._on_event(f"{self.name}: {error}; it is tried again")
                self.error = error
            except OSError as error:
                self.error = CaptureError(self.name, 0, error.strerror or str(error))
                self._on_event(f"{self.name}: {error}; it is tried again")
            self._put_away()
            self.tried.set()
            self._ended.wait(pause)
            pause = min(2 * pause, longest)

    def _capture_once(self) -> None:
        config = self.config
        capture = LiveCapture(
            LiveSettings(
                config.interface,
                filter=config.filter,
                ring_mib=config.ring_mib,
                promiscuous=config.promiscuous,
                outgoing=not config.incoming_only,
            )
        )
        capture.on_event = self._on_event
        self._capture = capture
        if self._ended.is_set():
            return
        for batch in capture.batches():
            if self._blind_from is not None:
                self._blind_before += time.monotonic() - self._blind_from
                self._blind_from = None
            self.error = None
            self.tried.set()
            if not self._hand_over(batch):
                return

    def _hand_over(self, batch: FrameBatch) -> bool:
        if len(batch):
            self.frames += len(batch)
            self.octets += int(batch.wirelen.sum(dtype=np.int64))
            latest = int((self._clock.wall() + 1) * 1e9)
            if int(batch.ts.max()) > latest:  # stamped before the clock was set back
                batch.ts = np.minimum(batch.ts, latest)
            self.last_frame = int(batch.ts[-1])
            batch.number += self.index << FILE_SHIFT
        while True:
            try:
                self._out.put((self.index, batch), timeout=POLL)
                return True
            except queue.Full:
                if self._ended.is_set():
                    return False

    def _put_away(self) -> None:
        """Keep the counts of a capture that has ended."""
        capture, self._capture = self._capture, None
        if capture is not None:
            self._before = self._before + capture.counters
            self._blind_before += capture.blind_s
        if self._blind_from is None:
            self._blind_from = time.monotonic()


class LiveFeeds:
    """All interfaces of a site; a :class:`~sensor.frames.FrameSource`."""

    def __init__(
        self, sources: Sequence[SourceConfig], on_event: Callable[[str], None], clock: Clock | None = None
    ) -> None:
        self._clock = clock or Clock()
        self.shown = ", ".join(source.name for source in sources)
        self.size = 0
        self.notes: list[str] = []
        self.problems: list[CaptureError] = []
        self._queue: queue.Queue[tuple[int, FrameBatch]] = queue.Queue(QUEUE * len(sources))
        self.feeds = [
            Feed(index, source, self._queue, on_event, self._clock) for index, source in enumerate(sources)
        ]
        self._held: list[FrameBatch] = []
        self._idle: dict[int, int] = {}
        self._lost = 0  # told by an interface on which nothing came
        self._stopping = False
        self._cut: deque[FrameBatch] = deque()

    @property
    def position(self) -> int:
        """There is no end to be near to."""
        return 0

    @property
    def dropped(self) -> int:
        """Frames that the kernel lost."""
        return sum(feed.counters.drops for feed in self.feeds)

    @property
    def waiting(self) -> int:
        """Batches that wait to be analysed."""
        return self._queue.qsize()

    def start(self, patience: float = 10.0) -> None:
        """Open all interfaces.

        Raises
        ------
        GridwardenError
            Not a single one could be opened: the reason of the first.
        """
        for feed in self.feeds:
            feed.thread.start()
        for feed in self.feeds:
            feed.tried.wait(patience)
        errors = [feed.error for feed in self.feeds]
        if errors and errors[0] is not None and all(errors):
            self.stop()
            raise errors[0]

    def stop(self) -> None:
        """End :meth:`batches` after the frames from before now."""
        for feed in self.feeds:
            feed.stop()
        self._stopping = True

    def batches(self, max_frames: int = MAX_FRAMES) -> Iterator[FrameBatch]:
        """Frames of all interfaces in order of time; may be left and entered again."""
        yield from drained(self._cut)
        while True:
            arrived = self._arrived()
            batch = self._alone(arrived) if len(self.feeds) == 1 else self._together(arrived)
            self._cut.extend(pieces(batch, max_frames))
            yield from drained(self._cut)
            if self._stopping and not arrived and not any(feed.thread.is_alive() for feed in self.feeds):
                if self._held:
                    rest, self._held = join_frames(self._held), []
                    yield rest
                return

    def _arrived(self) -> list[tuple[int, FrameBatch]]:
        """What has come, waiting for a moment when that is nothing; of one interface, one batch."""
        found: list[tuple[int, FrameBatch]] = []
        try:
            found.append(self._queue.get(timeout=POLL))
            while len(self.feeds) > 1 and len(found) < QUEUE * len(self.feeds):
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found

    def _alone(self, arrived: list[tuple[int, FrameBatch]]) -> FrameBatch:
        if not arrived:
            return no_frames()
        batch = arrived[0][1]
        if len(batch) or not batch.clock:
            return batch
        return no_frames(batch.clock + MARGIN - SAFE, batch.lost_after)

    def _together(self, arrived: list[tuple[int, FrameBatch]]) -> FrameBatch:
        for index, batch in arrived:
            self._idle.pop(index, None)
            self._lost += 0 if len(batch) else batch.lost_after
            if len(batch):
                self._held.append(batch)
            elif batch.clock:
                self._idle[index] = batch.clock + MARGIN - SAFE
        lost, self._lost = self._lost, 0
        if not self._held:
            return no_frames(min(self._idle.values()) if self._all_idle() else 0, lost)
        ready, later = split_at(join_frames(self._held), int(self._clock.wall() * 1e9) - HOLD)
        self._held = [later] if len(later) else []
        ready.lost_after += lost
        return ready

    def _all_idle(self) -> bool:
        """Every interface that sees says that nothing comes; those that are blind have no say."""
        seeing = {feed.index for feed in self.feeds if not feed.blind}
        return bool(seeing) and seeing <= self._idle.keys()


class Playback:
    """Captures as they were taken, faster or slower; a :class:`~sensor.frames.FrameSource`."""

    def __init__(
        self, sources: Sequence[SourceConfig], speed: float, wait: Callable[[float], bool] | None = None
    ) -> None:
        self.shown = ", ".join(source.name for source in sources)
        self.sources = list(sources)
        self.notes: list[str] = []
        self.problems: list[CaptureError] = []
        self._ended = threading.Event()
        self._cut: deque[FrameBatch] = deque()
        self._wait = wait or self._ended.wait
        self._speed = speed
        self.files: list[list[CaptureFile]] = [open_sources(source.captures) for source in sources]
        every = [file for files in self.files for file in files]
        for index, file in enumerate(every):
            file.index = index
        self.size = sum(file.size for file in every)
        self.counts = [0] * len(sources)
        self.last_frame = 0
        self._stream = self._paced(merged([self._one(number) for number in range(len(sources))]))

    @property
    def position(self) -> int:
        """Bytes read."""
        return sum(file.position for files in self.files for file in files)

    @property
    def dropped(self) -> int:
        """Frames that the captures report as lost."""
        return sum(int(file.dropped) for files in self.files for file in files)

    def stop(self) -> None:
        """End :meth:`batches` soon."""
        self._ended.set()

    def batches(self, max_frames: int = MAX_FRAMES) -> Iterator[FrameBatch]:
        """Frames in order of time; may be left and entered again."""
        yield from drained(self._cut)
        while not self._ended.is_set():
            batch = next(self._stream, None)
            if batch is None:
                return
            self._cut.extend(pieces(batch, max_frames))
            yield from drained(self._cut)

    def _one(self, number: int) -> Iterator[FrameBatch]:
        for file in self.files[number]:
            for batch in file.batches(max_frames=FILE_BATCH):
                self.counts[number] += len(batch)
                yield batch
            self.problems += file.problems

    def _paced(self, stream: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
        began: tuple[float, int] | None = None
        for batch in stream:
            self.last_frame = int(batch.ts[-1]) if len(batch) else self.last_frame
            if self._speed == float("inf"):
                yield batch
                continue
            rest = batch
            while len(rest):
                began = began or (time.monotonic(), int(rest.ts[0]))
                passed = (time.monotonic() - began[0]) * self._speed
                ready, rest = split_at(rest, began[1] + int(passed * 1e9))
                if len(ready):
                    yield ready
                elif self._wait(
                    min(1.0, max(0.01, (int(rest.ts[0]) - began[1]) / 1e9 - passed) / self._speed)
                ):
                    return


Feeds = LiveFeeds | Playback


def make_feeds(config: Config, on_event: Callable[[str], None], clock: Clock) -> Feeds:
    """Sources of a configuration; raises CaptureError for captures that cannot be used."""
    if config.live:
        return LiveFeeds(config.sources, on_event, clock)
    return Playback(config.sources, config.speed)


def same_sources(one: Config, other: Config) -> bool:
    """Whether a new configuration reads the same, so that a reload can take it over without a new start."""
    return one.sources == other.sources and one.speed == other.speed and Path(one.file) == Path(other.file)
