"""Tune: which behaviour model finds most of the simulated attacks at this site's budget of false alarms.

The first :data:`LEARN` of the time is learned, the rest is held back. Into the held-back part every attack
that it offers is rendered, alone. Each model scores the same windows. A model's threshold is what detection
would use, and never so loose that the held-back normal windows would break the budget; an attack is found
when a window of one of its hosts, within the attack and the grace time after it, is below that threshold
*and* is not the same without the attack. Attacks that no window of a known conversation shows are out of
every model's reach (a new host is the allow-list's business) and are left out of the recall.

Everything is seeded: the same captures give the same choice and the same baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.baseline import Baseline
from detectors.behaviour import MODELS, Behaviour
from detectors.groups import ConvKey, Lens
from sensor.engines import open_engine
from sensor.errors import InputError
from sensor.evaluate import DAY, GRACE, aliases_of, normal_host
from sensor.features.windows import WINDOW, Windower
from sensor.labels import Event
from sensor.pipeline import LearnOptions, budget_of, learn, window_rows
from sensor.result import Result
from sensor.simulate.registry import Attack
from sensor.simulate.render import Rendered, render_one, write_capture
from sensor.simulate.scene import Scene
from sensor.simulate.stage import SECOND, NotOffered
from sensor.slices import Slicer

LEARN: Final = 0.6
"""Part of the time that is learned while tuning."""

WINDOW_S: Final = WINDOW / SECOND

Floats = npt.NDArray[np.float64]
Windows = dict[tuple[int, ConvKey], Floats]
"""Features by (start of the window in ns, conversation)."""


@dataclass(slots=True)
class ModelRow:
    """One model's figures; ``best_recall`` is at the loosest threshold that the held-back windows allow."""

    model: str
    recall: float
    found: int
    best_recall: float
    false_alarms: int
    false_alarms_per_day: float
    median_margin: float
    missed: list[str] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Tuning:
    """The comparison; ``rows`` best first."""

    rows: list[ModelRow] = field(default_factory=list)
    attacks: int = 0
    out_of_reach: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    windows: int = 0
    hours: float = 0.0
    budget_per_day: float = 1.0
    allowed: int = 0
    no_model: dict[str, str] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The chosen model."""
        return self.rows[0].model

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"model": self.model} | asdict(self)


@dataclass(slots=True)
class _Trial:
    """One attack: windows that it changed in conversations of its hosts."""

    attack: str
    rows: Windows


class Lane:
    """Decodes scenes with one engine, through a private file."""

    def __init__(self, engine: str = "auto", profiles: Sequence[Path] = ()) -> None:
        self._engine, self._profiles = engine, tuple(profiles)

    def learned(self, scene: Scene, options: LearnOptions) -> tuple[Baseline, Lens]:
        """A baseline from a scene."""
        with TemporaryDirectory(prefix="gridwarden-tune-") as folder:
            path = Path(folder) / "held.pcapng"
            write_capture(path, Rendered(scene))
            decoded = open_engine([path], self._engine, self._profiles)
            return learn(decoded, decoded.names, options), Lens(decoded.names)

    def windows(self, rendered: Rendered) -> tuple[Windows, dict[str, str]]:
        """Features of a scene's windows, the first one of each conversation left out, and MAC to IP."""
        from sensor.inventory import Inventory

        with TemporaryDirectory(prefix="gridwarden-tune-") as folder:
            path = Path(folder) / "held.pcapng"
            write_capture(path, rendered)
            decoded = open_engine([path], self._engine, self._profiles)
            inventory, lens = Inventory(decoded, point_limit=0), Lens(decoded.names)
            windower, seen, found = Windower(lens), set[ConvKey](), Windows()
            for piece in Slicer().run(decoded):
                window = windower.push(piece)
                if window is None:
                    continue
                rows = window_rows(window, lens)
                found |= {(window.start, key): values for key, values in rows.items() if key in seen}
                seen |= set(rows)
            return found, aliases_of(Result(assets=inventory.assets()))


def tune(
    scene: Scene,
    attacks: Sequence[Attack],
    options: LearnOptions,
    lane: Lane,
    on_step: Callable[[str], None] | None = None,
) -> Tuning:
    """Compare all models of ``detectors.behaviour.MODELS``.

    Parameters
    ----------
    scene : Scene
        Normal traffic.
    attacks : sequence of Attack
    options : LearnOptions
        Budget and seed; its model is not used.
    lane : Lane
    on_step : callable, optional
        Told the id of each attack when it is done.

    Raises
    ------
    InputError
        Too little traffic for any model, or no attack that a model could find.
    """
    border = scene.start + round((scene.end - scene.start) * LEARN)
    first = Scene([packet for packet in scene.packets if packet.ts < border])
    held = Scene([packet for packet in scene.packets if packet.ts >= border])
    if not first.packets or not held.packets:
        raise InputError("too little traffic to hold some back: tune on an hour or more")
    baseline, lens = lane.learned(first, options)
    models = _models(baseline, lens)
    clean, _ = lane.windows(Rendered(held))
    found = Tuning(
        hours=(held.end - held.start) / SECOND / 3_600, budget_per_day=options.false_alarms_per_day
    )
    found.no_model = dict(models["knn"].skipped)
    trials = _trials(held, attacks, options.seed, lane, clean, models["knn"], found, on_step)
    if not models["knn"].models:
        reason = "; ".join(f"{protocol}: {why}" for protocol, why in found.no_model.items())
        raise InputError(f"too little traffic for a behaviour model ({reason}): tune on an hour or more")
    if not trials:
        raise InputError("no simulated attack changes a known conversation in the held-back traffic")
    found.attacks = len(trials)
    share = budget_of(baseline).behaviour
    found.allowed = int(options.false_alarms_per_day * share * found.hours * 3_600 / DAY)
    for name, model in models.items():
        found.rows.append(_row(name, model, clean, trials, found))
    order = list(MODELS)
    found.rows.sort(key=lambda row: (-row.recall, -row.best_recall, order.index(row.model)))
    return found


def _models(baseline: Baseline, lens: Lens) -> dict[str, Behaviour]:
    """Every model, fitted on the same features."""
    budget, out = budget_of(baseline), {}
    for name in MODELS:
        params = baseline.params | {"model": name}
        out[name] = Behaviour(Baseline(baseline.tables, params), lens, budget)
    return out


def _trials(
    held: Scene,
    attacks: Sequence[Attack],
    seed: int,
    lane: Lane,
    clean: Windows,
    reference: Behaviour,
    found: Tuning,
    on_step: Callable[[str], None] | None,
) -> list[_Trial]:
    known = {key for _, key in clean if key in reference.normals and key[0] in reference.models}
    found.windows = sum(key in known for _, key in clean)
    trials = []
    for attack in attacks:
        try:
            rendered = render_one(held, attack, seed)
        except NotOffered as missing:
            found.skipped[attack.id] = str(missing)
        else:
            windows, aliases = lane.windows(rendered)
            rows = _changed(windows, clean, rendered.events[attack.id], aliases, known)
            if rows:
                trials.append(_Trial(attack.id, rows))
            else:
                found.out_of_reach.append(attack.id)
        if on_step:
            on_step(attack.id)
    return trials


def _changed(
    windows: Windows, clean: Windows, event: Event, aliases: dict[str, str], known: set[ConvKey]
) -> Windows:
    """Windows of the attack's time and hosts that are not as they would be without it."""
    hosts = {aliases.get(host, host) for host in map(normal_host, event.hosts)}
    rows: Windows = {}
    for (start, key), values in windows.items():
        begin = start / SECOND
        if key not in known or begin > event.end + GRACE or begin + WINDOW_S < event.start:
            continue
        ends = {aliases.get(host, host) for host in map(normal_host, key[1:3])}
        before = clean.get((start, key))
        if ends & hosts and (before is None or not np.array_equal(before, values)):
            rows[start, key] = values
    return rows


def _p_values(model: Behaviour, windows: Windows) -> list[float]:
    by_start: dict[int, dict[ConvKey, Floats]] = {}
    for (start, key), values in windows.items():
        by_start.setdefault(start, {})[key] = values
    return [p for start, rows in sorted(by_start.items()) for p in model.score(start, rows).values()]


def _row(name: str, model: Behaviour, clean: Windows, trials: list[_Trial], found: Tuning) -> ModelRow:
    normal = np.sort(np.array(_p_values(model, clean), np.float64))
    least = {trial.attack: min(_p_values(model, trial.rows), default=1.0) for trial in trials}
    # the loosest threshold at which the held-back windows keep the budget
    loosest = float(normal[found.allowed]) if found.allowed < len(normal) else 0.05
    limit = min(model.alpha, loosest)
    caught = [attack for attack, p in least.items() if p < limit]
    false = int((normal < model.alpha).sum())
    days = max(found.hours / 24, 1e-9)
    margins = [float(np.log10(loosest / max(p, 1e-300))) for p in least.values()]
    steps = [float(normal[n]) for n in range(min(len(normal), 200))]
    return ModelRow(
        name,
        len(caught) / len(trials),
        len(caught),
        sum(p < loosest for p in least.values()) / len(trials),
        false,
        false / days,
        float(np.median(margins)),
        sorted(set(least) - set(caught)),
        [(n / days, sum(p < step for p in least.values()) / len(trials)) for n, step in enumerate(steps)],
    )
