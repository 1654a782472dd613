"""The analysis: one thread that decodes, judges and tells, over all sources of a site.

One thread and one detection, not one for each interface: a conversation may be seen in halves on two of
them (a TAP), on both (two mirrors of one ring), or on one today and on the other tomorrow (a redundant
path), and what is missing on one is not silent when it is heard on the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from detectors.base import Alert, Level
from sensor.config.schema import Config
from sensor.daemon.clock import Clock
from sensor.daemon.detecting import LiveDetection, Step
from sensor.daemon.evidence import Evidence
from sensor.daemon.feeds import Feeds
from sensor.daemon.incidents import Incidents
from sensor.daemon.keeper import Keeper
from sensor.daemon.own_alerts import OwnAlerts
from sensor.engines import Decoded
from sensor.frames import FrameSource
from sensor.messages import MessageBatch
from sensor.native import NativeEngine
from sensor.slices import Slicer
from sensor.store.live import AlertChange
from sensor.warning.early import EarlyWarning

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from grid_profiles.loader import Registry

SECOND: Final = 1_000_000_000
FAREWELL: Final = 1.0
"""Seconds of an orderly end for what tshark is still reading; the whole end may take 5."""

FULL: Final = 0.95
"""Share of a table of names from which the run's numbers are begun anew."""


TSHARK: Final = ("frames", "undecoded", "over_budget", "rested")
"""Counters of the tshark beside the analysis that go into the health rows."""


@dataclass(slots=True)
class Judge:
    """A decoder and a detection that belong together, and the profiles they were made of."""

    decoded: Decoded
    detection: LiveDetection
    profiles: tuple[tuple[str, bytes], ...]


def make_judge(
    config: Config, registry: Registry, baseline: Baseline, feeds: FrameSource, old: Judge | None = None
) -> Judge:
    """Decoder and detection for a configuration.

    Parameters
    ----------
    old : Judge, optional
        Its decoder is kept when the profiles are the same, and with it every connection it follows.
    """
    profiles = profile_texts(config)
    if old is not None and old.profiles == profiles and _reads_beside(old.decoded) == _beside(config):
        decoded = old.decoded
    else:
        engine = "auto" if _beside(config) else "native"
        decoded = Decoded([feeds], registry, engine, profiles=config.profiles)
        decoded.farewell = FAREWELL
        if len(config.sources) > 1 and config.live:
            decoded.native = NativeEngine(decoded.names, copies="drop")
        decoded.warm_up()
    detection = LiveDetection(
        decoded.names, baseline, config.slice_ns, config.detect.alerts_per_day, config.warning.margins
    )
    return Judge(decoded, detection, profiles)


def _beside(config: Config) -> bool:
    return config.live and config.detect.tshark


def _reads_beside(decoded: Decoded) -> bool:
    return decoded.engine == "auto"


def profile_texts(config: Config) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of the user's own profiles."""
    paths = [path for folder in config.profiles for path in sorted(Path(folder).glob("*.toml"))]
    return tuple((str(path), path.read_bytes()) for path in paths)


class Watch:
    """Runs the analysis.

    Attributes
    ----------
    clock_ns : int
        Capture time up to which everything was judged.
    beat : float
        Monotonic time of the last sign of life.
    error : BaseException or None
        What ended the thread before its time: our mistake.
    wants_renewal : str
        Why a new judge is needed; "" when none is.
    """

    def __init__(
        self,
        config: Config,
        judge: Judge,
        feeds: Feeds,
        keeper: Keeper,
        own: OwnAlerts,
        clock: Clock,
        on_event: Callable[[str], None],
        evidence: Evidence | None = None,
    ) -> None:
        self.config, self.feeds, self.keeper, self.own, self.clock = config, feeds, keeper, own, clock
        self._on_event = on_event
        self.evidence = evidence
        self._judge = judge
        self._next: tuple[Config, Judge, Callable[[], None] | None] | None = None
        self._swapped = threading.Event()
        self._aborted = False
        self.incidents = Incidents()
        self.early = EarlyWarning(config.site, config.warning)
        self._open: dict[str, AlertChange] = {}
        self.clock_ns = 0
        self.beat = clock.monotonic()
        self.error: BaseException | None = None
        self.wants_renewal = ""
        self.messages = self.malformed = self.alerts = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="analysis", daemon=True)

    @property
    def judge(self) -> Judge:
        """In force."""
        return self._judge

    def restore(self, folds: list[str]) -> list[str]:
        """Open alerts of an earlier run; before the thread starts. Returns the ids of those taken over."""
        return self._judge.detection.restore(folds)

    def exchange(
        self, config: Config, judge: Judge, patience: float = 30.0, also: Callable[[], None] | None = None
    ) -> bool:
        """Have another judge take over between two batches, ``also`` with it; whether it did in time."""
        self._swapped.clear()
        self._next = (config, judge, also)
        return self._swapped.wait(patience)

    def abort(self) -> None:
        """End at the next batch, whatever waits."""
        self._aborted = True

    def figures(self) -> dict[str, float]:
        """For the health rows."""
        decoded = self._judge.decoded
        counters = decoded.native.counters
        figures = {
            "frames": float(counters["frames"]),
            "octets": float(counters["bytes"]),
            "messages": float(self.messages),
            "malformed": float(self.malformed + counters["malformed"]),
            "undecoded": float(decoded.undecoded),
            "alerts": float(self.alerts),
            "names_share": self._names_share(),
            "names_refused": float(
                sum(n for name, n in decoded.names.counters().items() if name.endswith("_refused"))
            ),
            "incidents_left_out": float(self.incidents.left_out),
        }
        if decoded.beside is not None:
            figures |= {f"tshark_{name}": float(decoded.beside.counters[name]) for name in TSHARK}
            failures = decoded.beside.counters["crashes"] + decoded.beside.counters["hangs"]
            figures["tshark_restarts"] = float(failures)
        return figures | self._judge.detection.counters_now() | self.early.figures()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._pass():
                pass
            self._end()
        except BaseException as error:
            self.error = error
        finally:
            self.ended.set()
            self._swapped.set()

    def _pass(self) -> bool:
        """Read with one decoder; True when another one goes on."""
        judge = self._judge
        stream = iter(judge.decoded)
        for batch in stream:
            self.beat = self.clock.monotonic()
            if self.config.live:
                self._look_at_clock()
            self._take(batch)
            if self._next is not None:
                self._swap()
                if self._judge.decoded is not judge.decoded:
                    stream.close()  # type: ignore[attr-defined]
                    return True
            if self._aborted:
                break
        return False

    def _take(self, batch: MessageBatch) -> None:
        for step in self._judge.detection.feed(batch):
            self._tell(step)
        if not self.wants_renewal and self._names_share() >= FULL:
            self.wants_renewal = "the tables of names are full"

    def _tell(self, step: Step) -> None:
        self.clock_ns = step.clock or self.clock_ns
        self.messages += step.messages
        self.malformed += step.malformed
        if step.changes:
            self._tell_alerts(step.changes)
        if step.events:
            self.keeper.put(events={event.id: event for event in step.events})
        if self.evidence is not None:
            self.evidence.step(step.clock, step.changes)
        if step.window is not None:
            written = self.early.window(step.window)
            self.keeper.put(
                samples=written.samples, levels=written.levels, links=written.links, assets=written.assets
            )

    def _tell_alerts(self, changes: list[AlertChange]) -> None:
        fresh = {change.alert.id: change for change in changes}
        self.alerts += sum(ident not in self._open for ident in fresh)
        told, incidents = self.incidents.update([change.alert for change in changes], self.clock_ns / SECOND)
        out = [self._change(alert, fresh) for alert in told]
        for change in changes:
            if change.open:
                self._open[change.alert.id] = change
            else:
                self._open.pop(change.alert.id, None)
            self.early.alert(change.alert, change.open)
        self.keeper.put(*out, incidents=incidents)

    def _change(self, alert: Alert, fresh: dict[str, AlertChange]) -> AlertChange:
        known = fresh.get(alert.id) or self._open.get(alert.id)
        return AlertChange(alert, known.open, known.fold) if known else AlertChange(alert, open=False)

    def _end(self) -> None:
        """Judge what has come, then close what is open, or leave it to the next run."""
        detection = self._judge.detection
        for step in detection.flush():
            self._tell(step)
        self._tell(detection.leave_open() if self.config.live else detection.finish())
        if self.evidence is not None:
            self.evidence.finish(played=not self.config.live)

    # --- changes ------------------------------------------------------------------------------------

    def _swap(self) -> None:
        assert self._next is not None
        config, judge, also = self._next
        old, self._next = self._judge, None
        if judge.decoded is not old.decoded:
            for step in old.detection.flush():
                self._tell(step)
        judge.detection.take_over(old.detection)
        if old.detection.slicer.length != config.slice_ns:
            for step in judge.detection.flush():
                self._tell(step)
            judge.detection.slicer = Slicer(config.slice_ns)
        self._judge, self.config = judge, config
        if also is not None:
            also()
        self.early.configure(config.site, config.warning)
        self.wants_renewal = ""
        self._swapped.set()

    def _look_at_clock(self) -> None:
        """Was the wall clock set? Backwards, everything that remembers times begins anew."""
        moved = self.clock.jump()
        if not moved:
            return
        way = "ahead" if moved > 0 else "back"
        summary = f"the clock of this machine was set {way} by {abs(moved):,.1f} s"
        self._on_event(summary)
        now = self.clock.wall()
        self.own.begin("clock-set", Level.NOTICE, way, summary, now, f"{moved:+.3f} s")
        closed = self.own.end("clock-set", way, now)
        if closed is not None:
            self.keeper.put(closed)
        if moved < 0:
            detection = self._judge.detection
            for step in detection.flush():
                self._tell(step)
            detection.slicer = Slicer(self.config.slice_ns)
            self.wants_renewal = summary

    def _names_share(self) -> float:
        names = self._judge.decoded.names
        counts, limits = names.counters(), names.limits
        return max(
            counts["endpoints"] / limits.endpoints,
            counts["texts"] / limits.texts,
            counts["conversations"] / limits.conversations,
        )
