"""Is the budget of false alarms kept? ``python -m benchmarks.calibration [NAME=CAPTURE,CAPTURE …]``.

Each normal capture (or several of one site) is cut in two halves by time. One half is learned, the other
judged, then the other way round, with budgets of 0.1, 1 and 10 false alarms a day. Every incident from
*notice* up on the judged half is false. Beside captures there is made-up traffic of a small station whose
clocks wander and whose devices answer late now and then, eight hours with each seed.

Prints a table in Markdown and draws ``docs/calibration.svg``: false incidents a day, with exact 95 %
intervals, against the budget.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks import payloads as p
from benchmarks.generate import write
from benchmarks.sources import SECOND, Host, Piece, Source, Times
from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import CaptureWriter
from sensor.evaluate import Evaluation, evaluate, pool
from sensor.frames import LINK_ETHERNET

BUDGETS: Final = (0.1, 1.0, 10.0)
HOURS: Final = 8
PLOT: Final = Path(__file__).resolve().parents[1] / "docs" / "calibration.svg"


@dataclass(frozen=True)
class Outcome:
    """Figures of one set at one budget, over both directions."""

    name: str
    budget: float
    total: Evaluation


@dataclass(frozen=True)
class Wandering:
    """A source whose time wanders: noise with heavy tails at every second, straight lines between.

    Steps stay below half a second, so that the order of frames is kept.
    """

    source: Source
    seed: int
    scale: float = 0.002

    def frames(self, begin: int, end: int) -> Iterable[Piece]:
        """Frames of the interval; those that wandered out of it stay with it."""
        for times, frames in self.source.frames(begin, end):
            yield times + self._noise(times).astype(np.int64), frames

    def _noise(self, times: Times) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        seconds = np.arange(int(times.min(initial=0)) // SECOND, int(times.max(initial=0)) // SECOND + 2)
        draws = np.array([np.random.default_rng((self.seed, int(s))).standard_t(3) for s in seconds])
        return np.interp(times / SECOND, seconds, np.clip(draws * self.scale, -0.4, 0.4) * SECOND)


def small_station(seed: int) -> list[Source]:
    """Four devices in IEC 104 and Modbus, four GOOSE publishers, NTP and ARP."""
    rng = np.random.default_rng((seed, 9))
    scada, clock = Host(10), Host(1)
    sources: list[Source] = [p.GoosePublisher(number, seed) for number in range(1, 5)]
    for number in range(4):
        device, phase = Host(100 + number), int(rng.integers(SECOND))
        sources.append(p.iec104(scada, device, 2 * SECOND, phase, 41_000 + number))
        sources.append(p.modbus(scada, device, 2 * SECOND, phase, sport=40_000 + number))
        sources.append(p.ntp(device, clock, 64 * SECOND, phase))
        sources.append(p.arp(scada, device, 60 * SECOND, phase))
    return [Wandering(source, 100 * seed + number) for number, source in enumerate(sources)]


def made_up(folder: Path, seed: int, hours: float) -> Path:
    """A capture of the small station."""
    path = folder / f"made-up-{seed}.pcap"
    packets = int(hours * 3600 * 24)  # about 24 frames a second
    write(path, small_station(seed), packets)
    return path


def halves(captures: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """The frames of some captures before and after the middle of their time."""
    spans = [(batch.ts.min(), batch.ts.max()) for path in captures for batch in CaptureFile(path).batches()]
    middle = (min(low for low, _ in spans) + max(high for _, high in spans)) // 2
    made = folder / "first.pcap", folder / "second.pcap"
    with made[0].open("wb") as one, made[1].open("wb") as other:
        first, second = CaptureWriter(one, LINK_ETHERNET), CaptureWriter(other, LINK_ETHERNET)
        for path in captures:
            for batch in CaptureFile(path).batches():
                first.write(batch.take(batch.ts < middle))
                second.write(batch.take(batch.ts >= middle))
    return made


def measure(name: str, captures: Sequence[Path]) -> list[Outcome]:
    """One set: learn one half, judge the other, both ways, at every budget."""
    from sensor.engines import open_engine
    from sensor.pipeline import learn
    from sensor.run import run_detect

    found: dict[float, list[Evaluation]] = {budget: [] for budget in BUDGETS}
    with tempfile.TemporaryDirectory() as folder:
        parts = halves(captures, Path(folder))
        for known, judged in (parts, parts[::-1]):
            decoded = open_engine([str(known)], "native")
            baseline = learn(decoded, decoded.names)
            baseline.approve(None, "calibration", "commands of normal operation", "")
            for budget in BUDGETS:
                baseline.params["false_alarms_per_day"] = budget
                result = run_detect(open_engine([str(judged)], "native"), baseline, [str(judged)])
                found[budget].append(evaluate(result, []))
                rules = Counter(alert.rule for alert in result.alerts if alert.level != "info")
                print(f"{name}: budget {budget:g}: {dict(rules)}", file=sys.stderr)
    return [Outcome(name, budget, pool(parts)) for budget, parts in found.items()]


def figures(one: Outcome) -> tuple[float, float, float]:
    """False incidents a day and the exact interval; NaN where nothing was observed."""
    rate, interval = one.total.false_alarms_per_day, one.total.false_alarms_interval
    nan = float("nan")
    return (nan if rate is None else rate, *(interval or (nan, nan)))


def short(rate: float) -> str:
    """A rate in a few digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table of docs/evaluation.md."""
    rows = [
        "| set | hours judged | budget a day | false incidents | a day | 95 % interval |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in outcomes:
        rate, low, high = figures(one)
        count, hours = one.total.false_incidents, one.total.hours
        interval = f"{short(low)} … {short(high)}"
        row = (one.name, f"{hours:.2f}", f"{one.budget:g}", count, short(rate), interval)
        rows.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(rows)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Rates against budgets, logarithmic; a rate of none stands on the lower edge."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "gridwarden"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8.4, 4.2))
    names = list(dict.fromkeys(o.name for o in outcomes))
    floor = 0.03
    for place, name in enumerate(names):
        own = [o for o in outcomes if o.name == name]
        shift = 1.12 ** (place - len(names) / 2)
        rates, lows, highs = (np.maximum(column, floor) for column in zip(*map(figures, own), strict=True))
        errors = np.array([rates - np.minimum(lows, rates), highs - rates])
        axes.errorbar(
            [o.budget * shift for o in own], rates, errors, fmt="o", ms=4, capsize=2, lw=1, label=name
        )
    axes.plot([0.03, 30], [0.03, 30], color="0.5", lw=1, ls="--", label="budget")
    axes.set(xscale="log", yscale="log", xlim=(0.05, 20), ylim=(floor * 0.8, None))
    axes.set(xlabel="budget, false alarms a day", ylabel="false incidents a day (95 %); none: below")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


@click.command()
@click.argument("sets", nargs=-1)
@click.option("--seeds", default=2, show_default=True, help="Made-up captures.")
@click.option("--hours", default=float(HOURS), show_default=True, help="Length of each.")
@click.option("--plot", type=click.Path(path_type=Path), default=PLOT)
def main(sets: tuple[str, ...], seeds: int, hours: float, plot: Path) -> None:
    """Measure all sets; ``NAME=CAPTURE,CAPTURE`` names one."""
    outcomes: list[Outcome] = []
    for text in sets:
        name, _, files = text.rpartition("=")
        captures = [Path(file) for file in files.split(",")]
        outcomes += measure(name or captures[0].stem, captures)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, seeds + 1):
            outcomes += measure(f"made up, seed {seed}", [made_up(Path(folder), seed, hours)])
    print(markdown(outcomes))
    draw(outcomes, plot)


if __name__ == "__main__":
    main()
