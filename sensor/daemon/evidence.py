"""Evidence bundles of a running sensor: frames kept by the analysis thread, bundles written by another.

The analysis keeps references to batches and, when a slice is due, packs it into a pcapng in memory; the
disk, hashes, signatures and tshark are this thread's business. Neither waits for the other: what the
writer has no room for is given up and counted. Captures that are played back may wait, and do.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sensor.bundle.cutting import Cutter, Wish
from sensor.bundle.keep import Bounds, Folder
from sensor.bundle.origin import Origin, origin_from
from sensor.bundle.ring import Cut, FrameRing
from sensor.bundle.write import Job, write_bundle
from sensor.capture.pcapfile import MAX_FRAMES
from sensor.config.schema import Config
from sensor.daemon.clock import Believed, Clock
from sensor.errors import InputError
from sensor.frames import FrameBatch, FrameSource
from sensor.result import level_rank
from sensor.store.live import AlertChange

if TYPE_CHECKING:
    from detectors.base import Alert
    from detectors.baseline import Baseline
    from sensor.bundle.sign import Signer

NOBODY: Final = Origin("", "", "", (), "", "")
"""Before a judge is there; no alert comes from nobody."""

RETRY: Final = (0.5, 15.0)
HOUSEKEEPING: Final = 60.0
TRIES: Final = 40
"""Attempts at a bundle, some ten minutes, before it is given up."""


def origin_of(config: Config, baseline: Baseline, engine: str) -> Origin:
    """What judges under a configuration; the baseline's file is read for its digest."""
    return origin_from(config.baseline, baseline, engine, config.profiles, config.site, config.sensor)


class Evidence:
    """Keeps frames, cuts slices, writes bundles.

    Parameters
    ----------
    config : Config
    clock : Clock
    say : callable
        Takes lines for the journal.

    Raises
    ------
    GridwardenError
        The key for signatures cannot be used.

    Attributes
    ----------
    origin : Origin
        What judges; set before the first frame.
    """

    def __init__(self, config: Config, clock: Clock, say: Callable[[str], None]) -> None:
        self.clock, self._say = clock, say
        self._wait_for_room = not config.live
        self._signer = signer_of(config)
        settings = config.evidence
        self._ring_bytes = settings.ring_mib << 20
        self._cutter = Cutter(self._wish(config), FrameRing(self._ring_bytes), self._take, NOBODY)
        self._cutter.name = ", ".join(source.name for source in config.sources)
        self._config = config
        self._folder = Folder(settings.folder)
        self._waiting: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopping = self._hurried = False
        self._lost: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self.trouble = ""
        self.written = 0
        self._failing_since: float | None = None
        self._believed: Believed | None = None

    def start(self) -> None:
        """Look at the folder and begin to write; a folder that cannot be used now is tried again."""
        with contextlib.suppress(OSError):
            self._open()
        self._cutter.know(list(self._folder.alerts))
        self._thread.start()

    def configure(self, config: Config, origin: Origin, signer: Signer | None) -> None:
        """Another configuration from the next alert on; folder and memory stay. For the analysis thread."""
        self._config, self.origin, self._signer = config, origin, signer
        self._cutter.wish = self._wish(config)

    @property
    def origin(self) -> Origin:
        """What judges."""
        return self._cutter.origin

    @origin.setter
    def origin(self, origin: Origin) -> None:
        self._cutter.origin = origin

    def earlier(self, alerts: Sequence[str]) -> None:
        """Alerts that were open when the last run ended; before the first frame."""
        self._cutter.earlier(alerts)

    # --- the analysis thread ------------------------------------------------------------------------

    def frames(self, batch: FrameBatch) -> None:
        """Keep frames; before they are decoded."""
        with self._guard():
            self._cutter.frames(batch)

    def step(self, clock: int, changes: Sequence[AlertChange]) -> None:
        """Take what a slice brought: alerts, and that time went on."""
        with self._guard():
            if changes:
                self._cutter.alerts([change.alert for change in changes], clock)
            if clock:
                self._cutter.tick(clock)

    def finish(self, played: bool) -> None:
        """No more frames will come."""
        with self._guard():
            self._cutter.finish("the capture ended before" if played else "the sensor was stopped before")

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """A mistake of ours costs evidence, never detection."""
        try:
            yield
        except Exception as error:
            if not self._lost["error"]:
                self._say(f"evidence is missing, by a mistake of ours: {type(error).__name__}: {error}")
            self._lost["error"] += 1

    def _take(self, alerts: list[Alert], cut: Cut, origin: Origin) -> None:
        settings = self._config.evidence
        job = Job(alerts, cut, origin, settings.before_s, settings.after_s, settings.snaplen)
        with self._wake:
            while self._wait_for_room and self._no_room(job) and not self._stopping and not self.trouble:
                self._wake.wait(0.5)
            if self._no_room(job):
                self._lost["busy"] += 1
                return
            self._waiting.append(job)
            self._wake.notify_all()

    def _no_room(self, job: Job) -> bool:
        held = sum(one.bytes for one in self._waiting)
        return bool(self._waiting) and held + job.bytes > self._ring_bytes

    # --- from the outside ---------------------------------------------------------------------------

    def stop(self, deadline_s: float, hurried: bool = True) -> bool:
        """Write what waits, in a hurry without dissecting it, and end; whether everything was written."""
        with self._wake:
            self._stopping, self._hurried = True, hurried
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(deadline_s)
        return not self._waiting and not self._thread.is_alive()

    def figures(self) -> dict[str, float]:
        """For the health rows."""
        folder, ring = self._folder, self._cutter.ring
        given_up = sum(list(folder.given_up.values())) + self._lost.total() + self._cutter.given_up.total()
        figures = {
            "evidence_bundles": float(len(folder.sizes)),
            "evidence_mib": sum(list(folder.sizes.values())) / (1 << 20),
            "evidence_given_up": float(given_up),
            "evidence_waiting": float(len(self._waiting)),
            "evidence_ring_mib": ring.bytes / (1 << 20),
            "evidence_failing_s": 0.0,
        }
        since = self._failing_since
        if since is not None:
            figures["evidence_failing_s"] = self.clock.monotonic() - since
        return figures

    # --- the writer's thread ------------------------------------------------------------------------

    def _run(self) -> None:
        pause, housekeeping = RETRY[0], self.clock.monotonic()
        while True:
            with self._wake:
                if not self._waiting and not self._stopping:
                    self._wake.wait(5.0)
                job = self._waiting[0] if self._waiting else None
            if job is not None:
                pause = RETRY[0] if self._write(job) else min(2 * pause, RETRY[1])
            if self.clock.monotonic() >= housekeeping:
                housekeeping = self.clock.monotonic() + HOUSEKEEPING
                self._guarded(self._look_after)
            if self._stopping and (not self._waiting or self.trouble):
                self._guarded(self._account)
                return
            if self.trouble and self._waiting:
                with self._wake:
                    self._wake.wait(pause)

    def _write(self, job: Job) -> bool:
        try:
            self._open()
            bundle = write_bundle(self._folder, job, self.clock.wall(), self._signer, self._dissect)
        except Exception as error:  # our mistake with one bundle must not end evidence for good
            self._failed(job, error)
            return False
        self._drop(job)
        self.written += 1
        if self._failing_since is not None:
            self._say(f"evidence is written again: {bundle.name}")
        self._failing_since, self.trouble = None, ""
        self._guarded(self._hold)
        return True

    def _dissect(self, path: Path, numbers: Sequence[int]) -> str:
        """Text of the deciding frames; given up at once when the sensor is to end, for the bundle's sake."""
        done: list[str | Exception] = []

        def work() -> None:
            try:
                done.append(dissect_text(path, numbers))
            except Exception as error:  # told where the text would stand
                done.append(error)
            with self._wake:
                self._wake.notify_all()

        if not self._hurried:
            threading.Thread(target=work, name="dissection", daemon=True).start()
        with self._wake:
            while not done and not self._hurried:
                self._wake.wait(1.0)
        if not done:
            raise InputError("the sensor was stopping")
        if isinstance(done[0], Exception):
            raise InputError(f"{done[0]}") from done[0]
        return done[0]

    def _failed(self, job: Job, error: Exception) -> None:
        job.tried += 1
        if self._failing_since is None:
            self._failing_since = self.clock.monotonic()
            self._say(f"evidence cannot be written: {error}. It waits in memory and is tried again")
        self.trouble = str(error)
        lasting = not isinstance(error, OSError)
        if lasting or job.tried >= TRIES:
            self._drop(job)
            self._lost["error" if lasting else "disk"] += 1

    def _drop(self, job: Job) -> None:
        with self._wake:
            if self._waiting and self._waiting[0] is job:
                self._waiting.popleft()
            self._wake.notify_all()

    def _open(self) -> None:
        if self._believed is None:
            self._folder.open()
            newest = max(self._folder.created.values(), default=None)
            self._believed = Believed(self.clock, newest)

    def _look_after(self) -> None:
        self._open()
        self._hold()

    def _hold(self) -> None:
        assert self._believed is not None
        settings = self._config.evidence
        bounds = Bounds(settings.max_mib << 20, settings.max_bundles, settings.keep_days * 86_400)
        self._folder.hold(bounds, self._believed.now())

    def _account(self) -> None:
        """What was never made counts over restarts too."""
        self._lost["disk"] += len(self._waiting)
        self._folder.given_up += self._lost + self._cutter.given_up
        self._lost.clear()
        self._cutter.given_up.clear()
        self._folder.save()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            if not self._waiting:
                self._failing_since, self.trouble = None, ""
        except OSError as error:
            if self._failing_since is None:
                self._failing_since = self.clock.monotonic()
                self._say(f"{self._folder.path}: evidence cannot be looked after: {error}")
            self.trouble = str(error)

    @staticmethod
    def _wish(config: Config) -> Wish:
        settings = config.evidence
        return Wish(
            level_rank(settings.min_level),
            round(settings.before_s * 1e9),
            round(settings.after_s * 1e9),
            settings.slice_mib << 20,
            settings.snaplen,
            settings.per_hour,
        )


class Tapped:
    """A source whose frames are kept as well; a :class:`~sensor.frames.FrameSource`."""

    def __init__(self, source: FrameSource, keep: Callable[[FrameBatch], None]) -> None:
        self._source, self._keep = source, keep
        self.shown, self.size = source.shown, source.size
        self.notes, self.problems = source.notes, source.problems

    @property
    def position(self) -> int:
        """As the source says."""
        return self._source.position

    @property
    def dropped(self) -> int:
        """As the source says."""
        return self._source.dropped

    def batches(self, max_frames: int = MAX_FRAMES) -> Iterator[FrameBatch]:
        """As the source gives them."""
        for batch in self._source.batches(max_frames):
            self._keep(batch)
            yield batch


def signer_of(config: Config) -> Signer | None:
    """Makes signatures, if the configuration names a key; raises GridwardenError for one that is none."""
    secret = config.evidence.sign_key
    if secret is None:
        return None
    from sensor.bundle.sign import Signer

    return Signer(secret)


def dissect_text(path: Path, numbers: Sequence[int]) -> str:
    """Frames of a slice as tshark shows them; raises TsharkError."""
    from sensor.evidence import dissected_text

    return dissected_text(path, numbers)


def check_folder(path: Path) -> str:
    """Why a folder cannot hold bundles; "" when it can. Nothing is made."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return f"{place} is not a folder"
    return "" if os.access(place, os.W_OK) else f"{place} cannot be written"
