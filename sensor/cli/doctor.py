"""``gridwarden doctor``: what this machine lacks, and what to do about it.

Looks only; it changes nothing, and sends nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sensor.cli.common import Command, out, print_json


@click.command(cls=Command, short_help="Check that this machine has what the sensor needs.")
@click.option(
    "--store",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("gridwarden.db"),
    show_default=True,
    help="Store that detect will write to.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
@click.pass_context
def command(ctx: click.Context, store: Path, as_json: bool) -> None:
    """Check that this machine has what the sensor needs.

    Looks at tshark and its rights, Python, the kernels' cache, the clock, disk, store and profiles. Exit
    code 0 when all is well or only advice was given, 1 when something failed.

    \b
    Examples:
      gridwarden doctor
      gridwarden doctor --json
      gridwarden doctor --store /var/lib/gridwarden/site.db
    """
    from sensor.doctor import FAIL, examine

    checks = examine(store)
    failed = [check for check in checks if check.state == FAIL]
    if as_json:
        print_json({"ok": not failed, "checks": [check.record() for check in checks]})
    else:
        _table(checks)
        out.print(f"{len(failed)} failed" if failed else "Ready.", style="bold", highlight=False)
    ctx.exit(1 if failed else 0)


def _table(checks: list[Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "state", "found"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        found = escape(check.found) + (f"\n[bold]→ {escape(check.remedy)}[/bold]" if check.remedy else "")
        table.add_row(check.name, f"[{colours[check.state]}]{check.state}[/]", found)
    out.print(table)
