"""The daemon's main thread: start, signals, reloads, heartbeats, the service manager, the end.

Threads: one per interface (``feeds``), one for the analysis (``watch``), one for the store (``keeper``), one
for a reload while it lasts, those of the forwarder, and this one, which only waits and looks after
the others. Detection never waits for the store, the store never for a sink.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Final

from detectors.base import Level
from sensor.bundle.origin import Origin
from sensor.config.check import load_parts
from sensor.config.schema import Config, load_config
from sensor.daemon.clock import Clock
from sensor.daemon.evidence import Evidence, Tapped, origin_of, signer_of
from sensor.daemon.feeds import Feeds, LiveFeeds, make_feeds, same_sources
from sensor.daemon.forwarding import Forwarder, make_forwarder
from sensor.daemon.health import Health
from sensor.daemon.keeper import Keeper
from sensor.daemon.notify import Notifier
from sensor.daemon.own_alerts import OwnAlerts, own_alert
from sensor.daemon.watch import Watch, make_judge
from sensor.errors import GridwardenError
from sensor.store.live import AlertChange, HealthRow

DEADLINE: Final = 5.0
"""Seconds from a signal to end until the process has ended."""

DRAIN: Final = 2.5
"""Of these, for the frames from before the signal."""

FORWARD: Final = 0.7
"""And for the sinks, which go on where they stopped at the next start."""

EVIDENCE: Final = 0.8
"""And for bundles that are not written yet."""

TICK: Final = 0.25
STUCK: Final = 60.0
"""Seconds without a sign of life of the analysis after which the watchdog is no longer fed."""

RENEW_PAUSE: Final = 600.0
"""Least seconds between two renewals of the judge."""

Say = Callable[[str], None]


class Daemon:
    """Runs one site's configuration until it is told to end.

    Parameters
    ----------
    file : Path
        Configuration; read again at SIGHUP.
    say : callable
        Takes lines for the journal.
    clock : Clock, optional

    Raises
    ------
    ConfigError, GridwardenError
        From :meth:`run`, before anything was started.
    """

    def __init__(self, file: Path, say: Say, clock: Clock | None = None) -> None:
        self.file, self.say, self.clock = file, say, clock or Clock()
        self.notifier = Notifier()
        self.own = OwnAlerts()
        self._end = self._reload = False
        self._reloading: threading.Thread | None = None
        self._renewed = float("-inf")
        self._forwarder: Forwarder | None = None
        self._frames: Tapped | Feeds | None = None

    def run(self) -> int:
        """Until the end; the exit code."""
        config = load_config(self.file)
        registry, baseline = load_parts(config)
        self._forwarder = make_forwarder(config)
        with self._signals() as wakened:
            feeds = make_feeds(config, self.say, self.clock)
            keeper = Keeper(config.store, self.clock, self.own, self.say, self._poke)
            folds, last_sign = keeper.open()
            if isinstance(feeds, LiveFeeds):
                feeds.start()  # before the decoders are loaded: from now on the rings keep what comes
            evidence = Evidence(config, self.clock, self.say) if config.evidence.enabled else None
            self._frames = Tapped(feeds, evidence.frames) if evidence is not None else feeds
            judge = make_judge(config, registry, baseline, self._frames)
            if evidence is not None:
                evidence.origin = origin_of(config, baseline, judge.decoded.engine)
            watch = Watch(config, judge, feeds, keeper, self.own, self.clock, self.say, evidence)
            restored = watch.restore(folds) if config.live else []
            keeper.close_left_over(restored)
            if evidence is not None:
                evidence.earlier(restored)
            keeper.start()
            if config.live:
                self._tell_absence(keeper, last_sign)
            self._forwarder.start()
            if evidence is not None:
                evidence.start()
            watch.thread.start()
            health = Health(
                config,
                watch,
                keeper,
                self._forwarder,
                self.own,
                self.clock,
                self.say,
                _age_of(config.baseline),
            )
            health.beat()
            self.notifier.tell(READY=1, STATUS=f"watching {feeds.shown}")
            self.say(f"watching {feeds.shown} for {config.site}; store {config.store.path}")
            self._loop(wakened, watch, health)
            return self._leave(watch, health, keeper)

    # --- life ---------------------------------------------------------------------------------------

    def _loop(self, wakened: int, watch: Watch, health: Health) -> None:
        due = self.clock.monotonic() + health.config.health.interval_s
        while not self._end and not watch.ended.is_set():
            self._wait(wakened, min(TICK, max(0.0, due - self.clock.monotonic())))
            if self.clock.monotonic() - watch.beat < STUCK:
                self.notifier.alive()
            if self.clock.monotonic() >= due:
                health.beat()
                self.notifier.status(health.text)
                due = self.clock.monotonic() + health.config.health.interval_s
            idle = self._reloading is None or not self._reloading.is_alive()
            if self._reload and idle:
                self._reload = False
                self._begin(lambda: self._read_again(watch, health))
            elif watch.wants_renewal and idle and self.clock.monotonic() - self._renewed > RENEW_PAUSE:
                self._renewed = self.clock.monotonic()
                self._begin(lambda: self._renew(watch, health))

    def _begin(self, work: Callable[[], None]) -> None:
        self._reloading = threading.Thread(target=work, name="reload", daemon=True)
        self._reloading.start()

    def _read_again(self, watch: Watch, health: Health) -> None:
        """SIGHUP: configuration, profiles and baseline anew; a mistake leaves everything as it is."""
        self.notifier.reloading()
        forwarder: Forwarder | None = None
        try:
            config = load_config(self.file)
            registry, baseline = load_parts(config)
            if not same_sources(config, watch.config) or config.store != watch.config.store:
                self.say("[[source]], [replay] and [store] are read at the start only: restart for them")
            if _place_of(config) != _place_of(watch.config):
                self.say("enabled, folder and ring_mib of [evidence] are read at the start only")
            config = _with_old_sources(config, watch.config)
            if (config.sinks, config.pseudonyms) != (watch.config.sinks, watch.config.pseudonyms):
                forwarder = make_forwarder(config)
            judge = make_judge(config, registry, baseline, self._frames or watch.feeds, watch.judge)
            also = _evidence_anew(watch.evidence, config, origin_of(config, baseline, judge.decoded.engine))
            if not watch.exchange(config, judge, also=also):
                raise GridwardenError("the analysis did not take the new configuration over in time")
        except Exception as error:
            self.say(f"the new configuration is refused, the old one goes on:\n{error}")
            self.notifier.tell(READY=1, STATUS=f"configuration refused: {str(error).splitlines()[0]}")
            return
        health.config, health.baseline_time = config, _age_of(config.baseline)
        if forwarder is not None:
            old, self._forwarder = self._forwarder, forwarder
            health.forwarder = forwarder
            if old is not None:
                old.stop(FORWARD)
            forwarder.start()
        self.say("configuration, profiles and baseline were read again")
        self.notifier.tell(READY=1, STATUS="configuration read again")

    def _renew(self, watch: Watch, health: Health) -> None:
        """The same configuration with fresh tables."""
        why, config = watch.wants_renewal, watch.config
        try:
            registry, baseline = load_parts(config)
            judge = make_judge(config, registry, baseline, self._frames or watch.feeds)
            done = watch.exchange(config, judge)
        except (GridwardenError, OSError) as error:
            self.say(f"{why}: detection could not be begun anew: {error}")
            return
        if done:
            self.say(f"{why}: detection was begun anew; what was open goes on")

    def _tell_absence(self, keeper: Keeper, last: HealthRow | None) -> None:
        """What was not seen while no sensor ran."""
        now = self.clock.wall()
        if last is None or now <= last.ts:
            return
        ended = "was stopped" if last.state == "stopped" else "ended without a word"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(last.ts))
        summary = f"the sensor {ended} at {when} UTC: nothing was seen for {now - last.ts:.0f} s"
        level = Level.INFO if last.state == "stopped" else Level.NOTICE
        alert = own_alert("sensor-off", level, "", summary, last.ts)
        alert.end = now
        keeper.put(AlertChange(alert, open=False))

    # --- the end ------------------------------------------------------------------------------------

    def _leave(self, watch: Watch, health: Health, keeper: Keeper) -> int:
        began = time.monotonic()
        self.notifier.tell(STOPPING=1, STATUS="stopping")
        played = watch.ended.is_set() and watch.error is None
        watch.feeds.stop()
        if not watch.ended.wait(DRAIN):
            watch.abort()
            watch.ended.wait(0.5)
            self.say("frames from before the end were left unread: the analysis was behind")
        if watch.evidence is not None:
            self._end_evidence(watch.evidence, played)
        keeper.put(*self.own.close_all(self.clock.wall()))
        health.beat("stopped" if watch.error is None else "failed")
        if self._forwarder is not None:
            self._poke()
            self._forwarder.stop(FORWARD)
        whole = keeper.stop(max(0.3, DEADLINE - 0.5 - (time.monotonic() - began)))
        if not whole:
            self.say(f"not everything could be written: {keeper.trouble or 'the store is too slow'}")
        if watch.error is not None:
            raise watch.error
        for problem in watch.feeds.problems:
            self.say(f"warning: {problem}")
        self.say(f"{'all played' if played else 'stopped'}: {health.text}")
        return 0 if whole else 4

    def _end_evidence(self, evidence: Evidence, played: bool) -> None:
        """Bundles that are not written yet; without a signal there is time to do it in full."""
        while played and not self._end and not evidence.stop(TICK, hurried=False):
            self.notifier.alive()
            if evidence.trouble:
                break
        if not evidence.stop(EVIDENCE):
            self.say(f"not all evidence could be written: {evidence.trouble or 'there was no time'}")

    # --- signals ------------------------------------------------------------------------------------

    def _poke(self) -> None:
        if self._forwarder is not None:
            self._forwarder.poke()

    def _wait(self, wakened: int, seconds: float) -> None:
        """Until something is to be done."""
        if select.select([wakened], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(wakened, 4096)

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Remember signals in flags and wake the main thread through a pipe; handlers do nothing else."""

        def end(_number: int, _frame: FrameType | None) -> None:
            self._end = True

        def again(_number: int, _frame: FrameType | None) -> None:
            self._reload = True

        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: again}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        old = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        try:
            yield read
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(read)
            os.close(write)


def _with_old_sources(config: Config, old: Config) -> Config:
    return replace(config, sources=old.sources, speed=old.speed, store=old.store)


def _evidence_anew(evidence: Evidence | None, config: Config, origin: Origin) -> Callable[[], None]:
    """What is to be done when another judge takes over; raises GridwardenError for a key that is none."""
    signer = signer_of(config)
    return lambda: evidence.configure(config, origin, signer) if evidence is not None else None


def _place_of(config: Config) -> tuple[Any, ...]:
    """What of the evidence cannot change while the sensor runs."""
    return config.evidence.enabled, config.evidence.folder, config.evidence.ring_mib


def _age_of(path: Path) -> float:
    """When the baseline was written; 0 unknown."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
