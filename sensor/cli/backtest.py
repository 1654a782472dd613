"""``gridwarden backtest``: what another baseline, or another setting, would change."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from sensor.cli import options
from sensor.cli.common import Command, out, print_json
from sensor.errors import UsageError

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from sensor.backtest import Backtest
    from sensor.result import Result

MOST: Final = 60


@click.command("backtest", cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="OLD.baseline [NEW.baseline] CAP...")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Instead of NEW.baseline: OLD with this setting (false_alarms_per_day, model, seed; repeatable).",
)
@click.option(
    "--min-level",
    type=click.Choice(("info", "notice", "warning", "alarm")),
    default="notice",
    show_default=True,
    help="Least level of an alert that counts.",
)
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 when an alert appears, vanishes or moves.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@options.engine
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    settings: tuple[str, ...],
    min_level: str,
    fail_on_change: bool,
    as_json: bool,
    engine: str,
    profiles: tuple[Path, ...],
) -> None:
    """Show which alerts would appear and vanish with a new baseline, before it goes live.

    Detection runs over the captures with both; alerts match by rule, conversation, kind, point and
    overlapping time.

    \b
    Examples:
      gridwarden backtest station.baseline merged.baseline last-week/
      gridwarden backtest station.baseline last-week/ --set false_alarms_per_day=0.1
      gridwarden backtest station.baseline new.baseline day.pcapng --fail-on-change --json | jq .appears
    """
    from detectors.base import Level
    from sensor.backtest import compare, with_settings
    from sensor.cli.baseline import load

    taken = 1 if settings else 2
    if len(files) <= taken:
        raise UsageError("give OLD.baseline, NEW.baseline (or --set KEY=VALUE) and at least one capture")
    old = load(Path(files[0]))
    new = with_settings(old, settings) if settings else load(Path(files[1]))
    captures = files[taken:]
    first = _detected(captures, old, engine, profiles, "Old baseline")
    second = _detected(captures, new, engine, profiles, "New baseline")
    found = compare(first.alerts, second.alerts, Level[min_level.upper()])
    found.old_incidents, found.new_incidents = len(first.incidents), len(second.incidents)
    if as_json:
        names = {"old_baseline": files[0], "new_baseline": " ".join(settings) if settings else files[1]}
        print_json(names | {"captures": list(captures), "min_level": min_level} | found.record())
    else:
        show(found, min_level)
    if fail_on_change and found.changes:
        ctx.exit(1)


def _detected(
    captures: tuple[str, ...], baseline: Baseline, engine: str, profiles: tuple[Path, ...], title: str
) -> Result:
    from sensor.run import run_detect

    with options.opened(captures, engine, profiles, title) as decoded:
        return run_detect(decoded, baseline, captures)


def show(found: Backtest, min_level: str) -> None:
    """The changes for people."""
    out.print(
        f"{len(found.of('appears'))} alerts appear, {len(found.of('vanishes'))} vanish, "
        f"{len(found.of('level'))} "
        f"change their level, {found.unchanged} stay (from {min_level} up; {found.old} before, "
        f"{found.new} after; "
        f"incidents {found.old_incidents} before, {found.new_incidents} after)",
        highlight=False,
        soft_wrap=True,
    )
    if not found.changes:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("change", "time", "level", "rule"):
        table.add_column(column, no_wrap=True, header_style="dim")
    table.add_column("alert", ratio=1, overflow="fold", header_style="dim")
    marks = {
        "appears": ("+ appears", "red"),
        "vanishes": ("- vanishes", "green"),
        "level": ("~ level", "yellow"),
    }
    for change in found.changes[:MOST]:
        when = datetime.fromtimestamp(change.alert.start, UTC).strftime("%m-%d %H:%M:%S")
        level = f"{change.before} → {change.after}" if change.what == "level" else change.alert.level
        table.add_row(
            Text(*marks[change.what]), when, level, Text(change.alert.rule), Text(change.alert.summary)
        )
    if len(found.changes) > MOST:
        table.caption = f"and {len(found.changes) - MOST} more; --json lists all"
    out.print(table)
