"""Stores with made-up results, and what a sink should have got from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detectors.base import Alert
from sensor.result import PointSeries, Result, Series
from sensor.sinks.forwarder import Forwarder, sink_status
from sensor.sinks.pump import Pump
from sensor.sinks.settings import SinkSettings
from sensor.store.sqlite import Store
from tests.sensor.result_samples import START, alert

LEVELS = ("info", "notice", "warning", "alarm")


def alerts(count: int, first: int = 1, **changes: object) -> list[Alert]:
    """So many alerts, all beginning at the same moment, of all levels in turn."""
    return [
        alert(n, **({"start": START, "end": START + 5, "level": LEVELS[n % 4]} | changes))
        for n in range(first, first + count)
    ]


def line(
    name: str, count: int, label: str = "10.0.0.1 → 10.0.0.2", first: int = 0, unit: str = "1"
) -> Series:
    """A series of one value a second."""
    ts = START + np.arange(first, first + count)
    return Series(name, label, "iec104", unit, ts, np.linspace(0, 1, count))


def point(count: int) -> PointSeries:
    """Values of a point."""
    ts = START + np.arange(count)
    return PointSeries("CA 1 IOA 4005", "iec104", "10.0.0.1 → 10.0.0.2", ts, ts - START, 0.0, 50.0)


def write(path: Path, found: Sequence[Alert] = (), series: Sequence[Series] = (), tag: str = "a") -> None:
    """One result into the store."""
    with Store.open(path) as store:
        store.write(Result(captures=[tag], alerts=list(found), series=list(series)))


def forward_all(path: Path, settings: SinkSettings) -> int:
    """Send until nothing is due; errors come through."""
    with Pump(path, settings) as pump:
        pump.housekeeping()
        return drain(pump)


def drain(pump: Pump) -> int:
    """Step until nothing is due."""
    total = 0
    while step := pump.step():
        total += step
    return total


def depth(path: Path, settings: SinkSettings) -> int:
    """Rows that wait."""
    status = sink_status(path, settings)
    assert "store_error" not in status, status
    return int(status["depth"])


class Running:
    """A forwarder of one sink that stops at the end of the block."""

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        self.forwarder = Forwarder(path, [settings])
        self.name = settings.name

    def __enter__(self) -> Running:
        self.forwarder.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.forwarder.stop(10), "a sink did not stop"

    def status(self) -> dict[str, object]:
        return self.forwarder.status()[self.name]
