"""``gridwarden baseline``: show, compare, merge and approve baselines."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from sensor.cli.common import Command, out, print_json

if TYPE_CHECKING:
    from detectors.baseline import Baseline

FILE = click.Path(path_type=Path, dir_okay=False)


def load(path: Path) -> Baseline:
    """A baseline from disk; its own error becomes one that has an exit code."""
    from detectors.baseline import Baseline, BaselineError
    from sensor.errors import InputError

    try:
        return Baseline.load(path)
    except BaselineError as error:
        raise InputError(str(error)) from error


@click.group("baseline")
def command() -> None:
    """Show, compare and merge baselines.

    \b
    Examples:
      gridwarden baseline show station.baseline
      gridwarden baseline approve station.baseline 1f3a9c02 --who "A. Meier" --why "work order 4711"
    """


@command.command("show", cls=Command)
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
@click.option("--table", "name", help="One table in full, as CSV.")
def show_command(file: Path, as_json: bool, name: str | None) -> None:
    """What a baseline holds, what waits for approval, what limits it.

    \b
    Examples:
      gridwarden baseline show station.baseline
      gridwarden baseline show station.baseline --table conversations > conversations.csv
    """
    from sensor.cli.learn import show, summary
    from sensor.errors import UsageError

    baseline = load(file)
    if name is not None:
        if name not in baseline.tables:
            raise UsageError(f"no table {name!r}; there are {', '.join(sorted(baseline.tables))}")
        click.echo(baseline.tables[name].to_csv(index=False, lineterminator="\n"), nl=False)
        return
    record = summary(baseline, file)
    if as_json:
        print_json(record)
    else:
        show(baseline, record)


@command.command("diff", cls=Command)
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change.")
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """What changes from one baseline to another: hosts, conversations, kinds, points, approvals.

    \b
    Examples:
      gridwarden baseline diff before.baseline after.baseline
    """
    from detectors.compare import diff

    changes = diff(load(old), load(new))
    if as_json:
        for change in changes:
            print_json(
                {"table": change.table, "change": change.change, "entry": change.entry, "note": change.note}
            )
        return
    if not changes:
        out.print("no difference in hosts, conversations, kinds, points, publishers, approvals")
        return
    table = Table()
    for column in ("table", "change", "entry", "note"):
        table.add_column(column)
    for change in changes:
        entry = " ".join(str(value) for value in change.entry.values() if value not in ("", -1, 0))
        table.add_row(change.table, change.change, escape(entry), escape(change.note))
    out.print(table)


@command.command("merge", cls=Command)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=FILE, help="Baseline to write.")
def merge_command(files: tuple[Path, ...], output: Path) -> None:
    """One baseline from several of the same site; the first one's settings stay.

    \b
    Examples:
      gridwarden baseline merge monday.baseline tuesday.baseline -o station.baseline
    """
    from detectors.compare import merge
    from sensor.cli.learn import write

    merged = load(files[0])
    for path in files[1:]:
        merged = merge(merged, load(path))
    write(merged, output)
    rows = {name: len(table) for name, table in merged.tables.items()}
    out.print(f"{escape(str(output))}: {rows['conversations']} conversations, {rows['kinds']} kinds")


@command.command("approve", cls=Command)
@click.argument("file", type=FILE)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Approve all that wait.")
@click.option("--who", required=True, help="Who approves.")
@click.option("--why", required=True, help="Why it is legitimate: work order, test protocol ...")
def approve_command(file: Path, ids: tuple[str, ...], everything: bool, who: str, why: str) -> None:
    """Approve dangerous messages that were seen while learning, by id.

    \b
    Examples:
      gridwarden baseline approve station.baseline --all --who "A. Meier" --why "switching test 12 May"
    """
    from detectors.baseline import BaselineError
    from sensor.cli.learn import write
    from sensor.errors import UsageError

    if everything == bool(ids):
        raise UsageError("name the ids to approve, or --all")
    baseline = load(file)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        approved = baseline.approve(None if everything else set(ids), who, why, now)
    except BaselineError as error:
        raise UsageError(str(error)) from error
    write(baseline, file)
    out.print(f"{len(approved)} approved, {len(baseline.pending())} still wait")


@command.command("log", cls=Command)
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per decision.")
def log_command(file: Path, as_json: bool) -> None:
    """The audit trail: who approved, accepted and rejected what, when and why.

    \b
    Examples:
      gridwarden baseline log station.baseline
      gridwarden baseline log station.baseline --json | jq 'select(.action == "accepted")'
    """
    trail = load(file).tables["audit"]
    if as_json:
        for record in trail.to_dict("records"):
            print_json(record)
        return
    if not len(trail):
        out.print("nobody has decided anything yet")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("when", "who", "action", "id", "what", "why"):
        table.add_column(column, no_wrap=column in ("when", "id", "action"), overflow="fold")
    for row in trail.itertuples(index=False):
        cells = (row.when, row.who, row.action, row.id, row.what, row.why)
        table.add_row(*(escape(str(cell)) for cell in cells))
    out.print(table)
