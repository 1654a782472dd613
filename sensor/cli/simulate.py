"""``gridwarden simulate``: attacks rendered into a benign capture, with labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from sensor.cli.common import Command, err, out, print_json, progress
from sensor.errors import InputError, UsageError

if TYPE_CHECKING:
    from sensor.simulate.registry import Attack
    from sensor.simulate.render import Rendered

FILE = click.Path(path_type=Path, dir_okay=False)
SHOWN = 20


@click.command("simulate", cls=Command)
@click.argument("captures", nargs=-1, metavar="[CAP]...")
@click.option("-o", "--output", type=FILE, help="Capture to write (pcapng).")
@click.option("--labels", type=FILE, help="Labels to write. [default: OUT.labels.csv beside the capture]")
@click.option(
    "--attack", "names", multiple=True, help="An attack, or a protocol for all of its attacks (repeatable)."
)
@click.option("--seed", default=1, show_default=True, help="Of everything that is left to chance.")
@click.option("--list", "listing", is_flag=True, help="List the attacks; with CAP, what it offers.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for machines.")
def command(
    captures: tuple[str, ...],
    output: Path | None,
    labels: Path | None,
    names: tuple[str, ...],
    seed: int,
    listing: bool,
    as_json: bool,
) -> None:
    """Render known attacks into a benign capture, with labels. Writes files, never sends a packet.

    Each attack is fitted to what the capture holds: its hosts, connections, points and publishers. Without
    --attack every attack that the capture offers is rendered, one after another. The same seed gives the
    same bytes. The file says in its comment that it was simulated.

    \b
    Examples:
      gridwarden simulate --list
      gridwarden simulate quiet.pcapng -o bad.pcapng
      gridwarden simulate quiet.pcapng -o bad.pcapng --attack iec104-command-master --attack goose
      gridwarden evaluate bad.pcapng --labels bad.labels.csv -b station.baseline
    """
    from sensor.simulate.registry import chosen

    attacks = chosen(names)
    if listing:
        _list(attacks, captures, seed, as_json)
        return
    if not captures or output is None:
        raise UsageError("give CAP and -o OUT.pcapng, or --list; see gridwarden simulate --help")
    labels = labels or output.with_name(output.name.removesuffix(output.suffix) + ".labels.csv")
    _keep_input(captures, output, labels)
    rendered = _render(captures, attacks, seed)
    _check(rendered, names, captures)
    from sensor.simulate.render import write_capture, write_labels

    frames = write_capture(output, rendered)
    write_labels(labels, rendered)
    if as_json:
        print_json(_record(rendered, attacks, output, labels, frames, seed))
    else:
        _show(rendered, attacks, output, labels, frames)


def _keep_input(captures: tuple[str, ...], output: Path, labels: Path) -> None:
    for capture in captures:
        for target in (output, labels):
            if Path(capture).exists() and target.exists() and Path(capture).samefile(target):
                raise UsageError(f"{target}: is what is read; name another file to write")


def _render(captures: tuple[str, ...], attacks: list[Attack], seed: int) -> Rendered:
    from sensor.simulate.render import render
    from sensor.simulate.scene import read_scene

    scene = read_scene(captures)
    with progress("Rendering", 2.0 * len(attacks)) as bar:
        return render(scene, attacks, seed, lambda _: bar.advance(bar.task_ids[0]))


def _check(rendered: Rendered, names: tuple[str, ...], captures: tuple[str, ...]) -> None:
    """An attack asked for by name must be there; without names, one must."""
    asked = [name for name in names if name in rendered.skipped]
    if asked:
        raise InputError(f"{', '.join(captures)}: {asked[0]} needs {rendered.skipped[asked[0]]}")
    if not rendered.events:
        raise InputError(
            f"{', '.join(captures)}: offers none of the attacks; simulate --list CAP shows what each needs"
        )


def _list(attacks: list[Attack], captures: tuple[str, ...], seed: int, as_json: bool) -> None:
    """What there is, and what a capture offers of it."""
    rendered = _render(captures, attacks, seed) if captures else None
    if as_json:
        names = ("id", "protocol", "family", "technique", "sentence", "needs")
        rows = [{name: getattr(attack, name) for name in names} for attack in attacks]
        for row in rows if rendered else ():
            row |= {"offered": row["id"] not in rendered.skipped}  # type: ignore[union-attr]
        print_json({"attacks": rows})
        return
    table = Table(box=None, pad_edge=False, title=f"{len(attacks)} attacks", title_justify="left")
    table.add_column("attack", no_wrap=True)
    table.add_column("technique", no_wrap=True)
    table.add_column("what it does", ratio=2)
    table.add_column("needs" if rendered is None else "offered", ratio=1)
    for attack in attacks:
        last = attack.needs
        if rendered is not None:
            last = f"no: {rendered.skipped[attack.id]}" if attack.id in rendered.skipped else "yes"
        table.add_row(Text(attack.id), attack.technique, Text(attack.sentence), Text(last))
    out.print(table)


def _record(
    rendered: Rendered, attacks: list[Attack], output: Path, labels: Path, frames: int, seed: int
) -> dict[str, Any]:
    rows = []
    for attack in attacks:
        if attack.id in rendered.events:
            event, mine = rendered.events[attack.id], rendered.frames(attack.id)
            row: dict[str, Any] = {"id": attack.id, "technique": attack.technique}
            row["protocol"] = attack.protocol
            row |= {"start": event.start, "end": event.end, "src": event.src, "dst": event.dst}
            rows.append(row | {"note": event.note, "frames": len(mine), "first_frames": mine[:SHOWN]})
    return {
        "output": str(output),
        "labels": str(labels),
        "frames": frames,
        "seed": seed,
        "attacks": rows,
        "skipped": rendered.skipped,
    }


def _show(rendered: Rendered, attacks: list[Attack], output: Path, labels: Path, frames: int) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("attack", "technique"):
        table.add_column(column, no_wrap=True, header_style="dim")
    for column in ("begins after", "lasts", "frames"):
        table.add_column(column, justify="right", no_wrap=True, header_style="dim")
    table.add_column("between", overflow="fold", header_style="dim")
    start = rendered.scene.start / 1e9
    for attack in attacks:
        event = rendered.events.get(attack.id)
        if event is not None:
            table.add_row(
                Text(attack.id),
                attack.technique,
                f"{event.start - start:,.1f} s",
                f"{event.end - event.start:,.1f} s",
                f"{len(rendered.frames(attack.id)):,}",
                Text(f"{event.src} → {event.dst}"),
            )
    out.print(table)
    out.print(f"{output}: {frames:,} frames, simulated; labels: {labels}", markup=False, highlight=False)
    if rendered.skipped:
        err.print(
            f"{len(rendered.skipped)} attacks need what the capture does not hold; --list CAP tells",
            style="yellow",
            markup=False,
            highlight=False,
        )
