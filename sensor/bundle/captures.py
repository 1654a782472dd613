"""Bundles of alerts found in captures: the files are read once more, and slices cut as time passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from detectors.base import Alert, Level
from sensor.bundle.cutting import Cutter, Wish
from sensor.bundle.keep import Folder
from sensor.bundle.layout import Bundle
from sensor.bundle.origin import Origin
from sensor.bundle.ring import Cut, FrameRing
from sensor.bundle.write import Dissect, Job, write_bundle
from sensor.frames import FrameSource

BATCH: Final = 8_192
BEFORE, AFTER = 10.0, 5.0
RING: Final = 256 << 20
SLICE: Final = 64 << 20
SNAPLEN: Final = 262_144
MOST: Final = 1_000
"""Bundles of one run."""


def bundle_captures(
    alerts: Sequence[Alert],
    files: Sequence[FrameSource],
    path: Path,
    origin: Origin,
    now: float,
    dissect: Dissect | str,
    level: Level = Level.WARNING,
) -> tuple[list[Bundle], int]:
    """Write a bundle for each alert, or for several that come together.

    Parameters
    ----------
    alerts : sequence of Alert
    files : sequence of FrameSource
        As they were read, in the same order; read again.
    path : Path
        Folder of bundles, made if need be.
    origin : Origin
    now : float
        Wall clock.
    dissect : callable or str
        As of :func:`sensor.bundle.write.write_bundle`.
    level : Level
        Alerts of this level and above.

    Returns
    -------
    (bundles, left_out)
        What was written, and how many alerts have no bundle for want of room.
    """
    folder = Folder(path)
    folder.open()
    made: list[Bundle] = []

    def write(found: list[Alert], cut: Cut, judged: Origin) -> None:
        job = Job(found, cut, judged, BEFORE, AFTER, SNAPLEN)
        made.append(write_bundle(folder, job, now, None, dissect))

    wish = Wish(int(level), round(BEFORE * 1e9), round(AFTER * 1e9), SLICE, SNAPLEN, MOST)
    cutter = Cutter(wish, FrameRing(RING), write, origin)
    cutter.know(list(folder.alerts))
    waiting = sorted(alerts, key=lambda alert: (alert.start, alert.id))
    for file in files:
        cutter.name = Path(file.shown).name
        for batch in file.batches(max_frames=BATCH):
            if not len(batch):
                continue
            cutter.frames(batch)
            clock = int(batch.ts.max())
            due = [alert for alert in waiting if alert.start * 1e9 <= clock]
            waiting = waiting[len(due) :]
            cutter.alerts(due, clock)
            cutter.tick(clock)
    if waiting:
        cutter.alerts(waiting, 0)
    cutter.finish("the capture ended before")
    return made, cutter.given_up.total()
