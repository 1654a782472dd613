"""Attacks put into a capture: when each acts, what came of it, and the file that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from sensor import __version__
from sensor.capture.pcapwrite import CaptureWriter, private
from sensor.frames import FrameBatch
from sensor.labels import Event, format_labels
from sensor.simulate.packets import Packet
from sensor.simulate.registry import Attack
from sensor.simulate.scene import Scene
from sensor.simulate.stage import SECOND, NotOffered, Stage

COMMENT: Final = (
    "SIMULATED by gridwarden {version}: attacks were rendered into this capture, "
    "it never was on a wire ({names})"
)
MARGIN: Final = 0.2
"""Part of the capture before the first attack: what is normal comes first."""

LULL: Final = 0.4
"""Part of each attack's slot that stays quiet when several share a capture."""


@dataclass(slots=True)
class Rendered:
    """A scene with attacks in it.

    Attributes
    ----------
    scene : Scene
    events : dict of str to Event
        Labels by attack id.
    skipped : dict of str to str
        Attacks that the capture does not offer, and what is missing.
    """

    scene: Scene
    events: dict[str, Event] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def frames(self, attack: str) -> list[int]:
        """1-based numbers of the frames that an attack made or changed."""
        return [number for number, packet in enumerate(self.scene.packets, 1) if packet.mark == attack]


def render_one(scene: Scene, attack: Attack, seed: int = 1) -> Rendered:
    """One attack alone, from :data:`MARGIN` of the capture on.

    Raises
    ------
    NotOffered
    """
    begin, until = _slots(scene, 1)[0]
    event, changed = _play(scene, attack, begin, until, seed)
    return Rendered(changed, {attack.id: event})


def render(
    scene: Scene, attacks: Sequence[Attack], seed: int = 1, on_step: Callable[[str], None] | None = None
) -> Rendered:
    """Attacks one after another into one capture; those it does not offer are skipped and told."""
    skipped: dict[str, str] = {}
    offered: list[Attack] = []
    for attack in attacks:
        try:
            render_one(scene, attack, seed)
            offered.append(attack)
        except NotOffered as missing:
            skipped[attack.id] = str(missing)
        if on_step:
            on_step(attack.id)
    done = Rendered(scene, {}, skipped)
    for attack, (begin, until) in zip(offered, _slots(scene, len(offered)), strict=True):
        try:
            event, done.scene = _play(done.scene, attack, begin, until, seed)
            done.events[attack.id] = event
        except NotOffered as missing:
            skipped[attack.id] = f"{missing} (in its share of the capture; render it alone)"
        if on_step:
            on_step(attack.id)
    return done


def _play(scene: Scene, attack: Attack, begin: int, until: int, seed: int) -> tuple[Event, Scene]:
    stage = Stage(scene, attack.id, begin, min(until, begin + round(attack.seconds * SECOND)), seed)
    attack.render(stage)
    event = stage.event(attack.technique, attack.sentence)
    return event, stage.finish()


def _slots(scene: Scene, count: int) -> list[tuple[int, int]]:
    """Begin and end of each attack's time, one after another, with a lull between."""
    span = scene.end - scene.start
    first, width = scene.start + round(span * MARGIN), span * (1 - 1.5 * MARGIN) / max(1, count)
    lull = LULL if count > 1 else 0.1
    return [(first + round(i * width), first + round(i * width + (1 - lull) * width)) for i in range(count)]


def batch_of(packets: Sequence[Packet]) -> FrameBatch:
    """Packets as a batch of frames, numbered from 1."""
    lengths = np.array([len(packet.data) for packet in packets], np.int32)
    offset = np.zeros(len(packets), np.int64)
    np.cumsum(lengths[:-1], out=offset[1:])
    return FrameBatch(
        np.frombuffer(b"".join(packet.data for packet in packets), np.uint8),
        offset,
        lengths,
        np.array([packet.wirelen for packet in packets], np.int32),
        np.array([packet.ts for packet in packets], np.int64),
        np.array([packet.link for packet in packets], np.int32),
        np.arange(1, len(packets) + 1, dtype=np.int64),
    )


def write_capture(path: str | Path, rendered: Rendered) -> int:
    """Write the capture as pcapng, marked as simulated; returns the number of frames."""
    comment = COMMENT.format(version=__version__, names=", ".join(rendered.events))
    with open(path, "wb", opener=private) as file:
        writer = CaptureWriter(file, name="simulated", comment=comment)
        writer.write(batch_of(rendered.scene.packets))
    return writer.frames


def write_labels(path: str | Path, rendered: Rendered) -> None:
    """Write the labels beside it."""
    Path(path).write_text(format_labels(sorted(rendered.events.values(), key=lambda e: e.start)), "utf-8")
