"""How the sensor is: one row for it and one for each source, every interval. A row is also the heartbeat.

A sensor that is blind, behind or cannot write must not look like a quiet site: each of these is a state here,
an alert of the sensor's own, and a series under ``health.``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from detectors.base import Level
from sensor.config.schema import Config
from sensor.daemon.clock import Clock, clock_offset
from sensor.daemon.feeds import Feed, LiveFeeds
from sensor.daemon.forwarding import Forwarder, outbox_depth
from sensor.daemon.keeper import Keeper
from sensor.daemon.own_alerts import OwnAlerts
from sensor.daemon.watch import Watch
from sensor.store.live import AlertChange, HealthRow, SeriesKey

LOSS_CALM: Final = 60.0
"""Seconds without a lost frame after which an alert about losses closes."""

PAGE: Final = os.sysconf("SC_PAGESIZE")


@dataclass(slots=True)
class Health:
    """Makes the rows; belongs to the main thread."""

    config: Config
    watch: Watch
    keeper: Keeper
    forwarder: Forwarder
    own: OwnAlerts
    clock: Clock
    on_event: Callable[[str], None]
    baseline_time: float = 0.0
    state: str = "starting"
    text: str = ""
    _began: float = field(default=0.0)
    _drops: dict[str, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()

    def beat(self, ending: str = "") -> None:
        """Write the rows; ``ending`` is the state at the end of the daemon's life."""
        now = self.clock.wall()
        changes: list[AlertChange] = []
        feeds = self.watch.feeds
        rows: list[HealthRow] = []
        if isinstance(feeds, LiveFeeds):
            rows = [self._source(feed, now, changes, ending) for feed in feeds.feeds]
        else:
            for source, count in zip(feeds.sources, feeds.counts, strict=True):
                rows.append(HealthRow(now, source.name, "ok", {"frames": float(count)}))
        fields = self._fields(now, rows)
        self.state = ending or self._judge(rows, fields, now, changes)
        rows.append(HealthRow(now, "", self.state, fields))
        self.text = self._words(fields)
        samples: list[tuple[SeriesKey, float, float]] = [
            ((f"health.{name}", "", row.source, _unit(name)), now, value)
            for row in rows
            for name, value in row.fields.items()
        ]
        self.keeper.put(*changes, health=rows, samples=samples)

    def lag_s(self) -> float:
        """Seconds between the wire and what was judged; 0 for captures, and while nothing can be seen."""
        feeds = self.watch.feeds
        if not isinstance(feeds, LiveFeeds) or all(feed.blind for feed in feeds.feeds):
            return 0.0
        if not self.watch.clock_ns:
            return self.clock.monotonic() - self._began
        return max(0.0, self.clock.wall() - self.watch.clock_ns / 1e9)

    def _source(self, feed: Feed, now: float, changes: list[AlertChange], ending: str) -> HealthRow:
        counters, why = feed.counters, feed.blind
        fields = {
            "frames": float(feed.frames),
            "octets": float(feed.octets),
            "kernel_frames": float(counters.packets),
            "drops": float(counters.drops),
            "blind_s": feed.blind_s,
        }
        if feed.last_frame:
            fields["last_frame_age_s"] = max(0.0, now - feed.last_frame / 1e9)
        if ending:  # closed by ourselves: that is no blindness
            return HealthRow(now, feed.name, ending, fields)
        state = "ok"
        if why:
            state = "blind"
            summary = f"{feed.name} {why}: the sensor sees nothing there"
            changes.append(self.own.begin("sensor-blind", Level.WARNING, feed.name, summary, now))
        else:
            _add(changes, self.own.end("sensor-blind", feed.name, now))
        self._losses(feed, counters.drops, counters.packets, now, changes)
        return HealthRow(now, feed.name, state, fields)

    def _losses(self, feed: Feed, drops: int, packets: int, now: float, changes: list[AlertChange]) -> None:
        before, at = self._drops.get(feed.name, (0, 0.0))
        if drops > before:
            self._drops[feed.name] = (drops, self.clock.monotonic())
            summary = f"{feed.name}: the kernel lost {drops:,} of {packets:,} frames since the start"
            changes.append(self.own.begin("frames-lost", Level.NOTICE, feed.name, summary, now))
        elif self.clock.monotonic() - at > LOSS_CALM:
            _add(changes, self.own.end("frames-lost", feed.name, now))

    def _judge(
        self, rows: list[HealthRow], fields: dict[str, float], now: float, changes: list[AlertChange]
    ) -> str:
        lag = fields["lag_s"]
        if lag > self.config.health.behind_s:
            summary = f"the analysis is {lag:.0f} s behind the wire"
            changes.append(self.own.begin("sensor-behind", Level.WARNING, "", summary, now))
        else:
            _add(changes, self.own.end("sensor-behind", "", now))
        if rows and all(row.state == "blind" for row in rows):
            return "blind"
        if lag > self.config.health.behind_s:
            return "behind"
        blind = any(row.state == "blind" for row in rows)
        evidence = self.watch.evidence
        trouble = self.keeper.trouble or (evidence.trouble if evidence is not None else "")
        return "degraded" if blind or trouble else "ok"

    def _fields(self, now: float, rows: list[HealthRow]) -> dict[str, float]:
        fields = {
            "uptime_s": self.clock.monotonic() - self._began,
            "lag_s": self.lag_s(),
            "rss_mib": _rss_mib(),
            "drops": sum(row.fields.get("drops", 0.0) for row in rows),
            "blind_s": max((row.fields.get("blind_s", 0.0) for row in rows), default=0.0),
            "outbox_depth": outbox_depth(self.forwarder.status()),
            "interval_s": self.config.health.interval_s,
        }
        if self.baseline_time:
            fields["baseline_age_s"] = max(0.0, now - self.baseline_time)
        offset = clock_offset()
        if offset is not None:
            fields["clock_offset_s"], fields["clock_error_s"] = offset
        feeds = self.watch.feeds
        if isinstance(feeds, LiveFeeds):
            fields["waiting_batches"] = float(feeds.waiting)
        elif feeds.size:
            fields["played_share"] = feeds.position / feeds.size
        if self.watch.evidence is not None:
            fields |= self.watch.evidence.figures()
        return fields | self.watch.figures() | self.keeper.figures()

    def _words(self, fields: dict[str, float]) -> str:
        parts = [f"{self.state}: {fields['frames']:,.0f} frames, {fields['alerts']:,.0f} alerts"]
        if fields["drops"]:
            parts.append(f"{fields['drops']:,.0f} frames lost")
        if self.state == "behind":
            parts.append(f"{fields['lag_s']:.0f} s behind")
        if self.keeper.trouble:
            parts.append(self.keeper.trouble)
        if self.watch.evidence is not None and self.watch.evidence.trouble:
            parts.append(f"evidence cannot be written: {self.watch.evidence.trouble}")
        return "; ".join(parts)


def describe(row: HealthRow) -> dict[str, Any]:
    """A row as a JSON object."""
    return {"source": row.source, "ts": row.ts, "state": row.state, **row.fields}


def _unit(name: str) -> str:
    tail = name.rpartition("_")[2]
    return {"s": "s", "mib": "MiB"}.get(tail, "1")


def _rss_mib() -> float:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * PAGE / (1 << 20)
    except (OSError, ValueError, IndexError):
        return float("nan")


def _add(changes: list[AlertChange], change: AlertChange | None) -> None:
    if change is not None:
        changes.append(change)
