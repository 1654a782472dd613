"""``gridwarden tune``: the behaviour model that finds most simulated attacks, and a baseline with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from sensor.cli import options
from sensor.cli.common import Command, err, out, print_json, progress

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from sensor.pipeline import LearnOptions
    from sensor.tune import Tuning

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("tune", cls=Command)
@options.captures
@click.option("-o", "--output", required=True, type=FILE, help="Baseline to write, with the chosen model.")
@click.option(
    "--false-alarms-per-day",
    default=1.0,
    show_default=True,
    help="What the site accepts, over all statistical detectors together.",
)
@click.option(
    "--attack", "names", multiple=True, help="Only this attack, or a protocol's attacks (repeatable)."
)
@click.option("--seed", default=1, show_default=True, help="Of the attacks and of the models.")
@click.option("--report", type=FILE, help="Write a page with the curves of all models.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@options.engine
def command(
    captures: tuple[str, ...],
    output: Path,
    false_alarms_per_day: float,
    names: tuple[str, ...],
    seed: int,
    report: Path | None,
    as_json: bool,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Choose the behaviour model by simulated attacks in held-back normal traffic, then learn with it.

    Three fifths of the time are learned, attacks are rendered into the rest, and every model scores the same
    windows. The one with the highest recall at the budget of false alarms is chosen; the baseline is then
    learned from all of the captures. Commands wait for approval, as after `gridwarden learn`.

    \b
    Examples:
      gridwarden tune quiet-week.pcapng -o station.baseline
      gridwarden tune quiet-week.pcapng -o station.baseline --false-alarms-per-day 0.2 --report tune.html
      gridwarden tune quiet-day.pcapng -o station.baseline --attack iec104 --json | jq .rows
    """
    from sensor.pipeline import LearnOptions
    from sensor.simulate.registry import chosen
    from sensor.simulate.scene import read_scene
    from sensor.tune import Lane, tune

    settings = LearnOptions(false_alarms_per_day=false_alarms_per_day, seed=seed)
    settings.check()
    attacks, scene = chosen(names), read_scene(captures)
    with progress("Tuning", len(attacks)) as bar:
        found = tune(scene, attacks, settings, Lane(engine, profiles), lambda _: bar.advance(bar.task_ids[0]))
    settings.model = found.model
    baseline = _learn(captures, engine, profiles, settings)
    from sensor.cli.learn import write

    write(baseline, output)
    if report is not None:
        from sensor.report.tuning import write_tuning

        write_tuning(report, found)
    if as_json:
        print_json({"captures": list(captures), "baseline": str(output), "seed": seed} | found.record())
        return
    show(found)
    out.print(f"{output}: learned with {found.model}", markup=False, highlight=False, soft_wrap=True)
    for note in baseline.remarks():
        out.print(f"- {note}", markup=False, highlight=False, soft_wrap=True)
    if report is not None:
        err.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)


def _learn(
    captures: tuple[str, ...], engine: str, profiles: tuple[Path, ...], settings: LearnOptions
) -> Baseline:
    from sensor.pipeline import learn

    with options.opened(captures, engine, profiles, "Learning") as decoded:
        baseline = learn(decoded, decoded.names, settings)
    baseline.created_from = [
        {
            "captures": [Path(name).name for name in captures],
            "first": (decoded.first or 0) / 1e9,
            "last": decoded.last / 1e9,
            "packets": int(baseline.params["packets"]),
        }
    ]
    return baseline


def show(found: Tuning) -> None:
    """The comparison for people."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True, header_style="dim")
    for column in ("found", "recall", "recall at best", "false alarms", "per day"):
        table.add_column(column, justify="right", no_wrap=True, header_style="dim")
    table.add_column("missed", overflow="fold", header_style="dim")
    for number, row in enumerate(found.rows):
        cells = (
            f"{row.found}/{found.attacks}",
            f"{row.recall:.1%}",
            f"{row.best_recall:.1%}",
            str(row.false_alarms),
            f"{row.false_alarms_per_day:.3g}",
            ", ".join(row.missed[:4]) + (f" and {len(row.missed) - 4} more" if len(row.missed) > 4 else ""),
        )
        table.add_row(row.model, *cells, style="bold" if number == 0 else None)
    out.print(table)
    out.print(
        f"{found.hours:.2f} h held back, {found.windows:,} windows, in which {found.allowed} "
        f"false alarms are "
        f"allowed; {found.attacks} attacks within reach of a model, {len(found.out_of_reach)} "
        f"not (new hosts and "
        f"single messages are for allow-lists and rules)",
        highlight=False,
        soft_wrap=True,
    )
    for protocol, why in found.no_model.items():
        out.print(f"- no behaviour model for {protocol}: {why}", markup=False, highlight=False)
