"""``gridwarden coverage``: which of the known attacks a baseline would catch at a site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from sensor.cli import options
from sensor.cli.common import Command, err, out, print_json, progress

if TYPE_CHECKING:
    from sensor.simulate.coverage import Coverage

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("coverage", cls=Command)
@options.captures
@click.option("-b", "--baseline", "baseline_file", required=True, type=FILE, help="From `gridwarden learn`.")
@click.option(
    "--attack", "names", multiple=True, help="An attack, or a protocol for all of its attacks (repeatable)."
)
@click.option("--seed", default=1, show_default=True, help="Of everything that is left to chance.")
@click.option(
    "--min-level",
    type=click.Choice(("info", "notice", "warning", "alarm")),
    default="notice",
    show_default=True,
    help="Least level of an alert that counts.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@options.engine
def command(
    captures: tuple[str, ...],
    baseline_file: Path,
    names: tuple[str, ...],
    seed: int,
    min_level: str,
    as_json: bool,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Show which known attacks a baseline would catch: a matrix of attack, technique, found, how fast.

    Every attack that the capture offers is rendered into it alone, and detection runs over the outcome. Give
    a benign capture that was not learned from. Alerts that the capture raises anyway do not count.

    \b
    Examples:
      gridwarden coverage -b station.baseline quiet-day.pcapng
      gridwarden coverage -b station.baseline quiet-day.pcapng --attack goose --attack iec104
      gridwarden coverage -b station.baseline quiet-day.pcapng --json | jq '.rows[] | select(.detected | not)'
    """
    from detectors.base import Level
    from sensor.cli.baseline import load
    from sensor.evaluate import Rule
    from sensor.simulate.coverage import Range, coverage
    from sensor.simulate.registry import chosen
    from sensor.simulate.scene import read_scene

    attacks = chosen(names)
    baseline = load(baseline_file)
    scene = read_scene(captures)
    where = Range(baseline, engine, profiles)
    with progress("Attacking", len(attacks)) as bar:
        found = coverage(
            scene,
            attacks,
            where,
            Rule(Level[min_level.upper()]),
            seed,
            lambda _: bar.advance(bar.task_ids[0]),
        )
    if as_json:
        print_json(
            {"captures": list(captures), "baseline": str(baseline_file), "seed": seed} | found.record()
        )
    else:
        show(found)


def show(found: Coverage) -> None:
    """The matrix for people."""
    from grid_profiles.attack import technique_name

    table = Table(box=None, pad_edge=False)
    for column in ("attack", "technique", "found"):
        table.add_column(column, no_wrap=True, header_style="dim")
    table.add_column("delay", justify="right", no_wrap=True, header_style="dim")
    for column in ("level", "reads as", "first rule"):
        table.add_column(column, no_wrap=True, header_style="dim")
    table.add_column("false incidents", justify="right", header_style="dim")
    for row in found.rows:
        name = f"{row.technique} {technique_name(row.technique)}"
        delay = "" if row.delay_s is None else f"{row.delay_s:.1f} s"
        verdict = Text("yes", "green") if row.detected else Text("missed", "bold red")
        cells = (Text(row.attack), name, verdict, delay, row.level, row.reading, Text(row.rule))
        table.add_row(*cells, str(row.false_incidents) if row.false_incidents else "")
    out.print(table)
    out.print(
        f"{found.detected} of {len(found.rows)} attacks found (alerts from {found.min_level} up) in "
        f"{found.hours:.2f} h of traffic; without any attack it raises {found.benign_incidents} incidents.",
        highlight=False,
        soft_wrap=True,
    )
    if found.skipped:
        err.print(
            f"{len(found.skipped)} attacks need what the capture does not hold: simulate --list CAP tells",
            style="yellow",
            markup=False,
            highlight=False,
        )
