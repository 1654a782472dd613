"""``gridwarden reject``: an alert was right; the baseline remembers who said so."""

from __future__ import annotations

from pathlib import Path

import click

from sensor.cli import decide
from sensor.cli.common import Command, out, print_json


@click.command("reject", cls=Command)
@decide.decision
def command(
    ids: tuple[str, ...], store: Path, baseline_file: Path, who: str, why: str, as_json: bool
) -> None:
    """Reject what alerts are about: it is not normal. An earlier acceptance of the same is taken back.

    \b
    Examples:
      gridwarden reject 3f2a9c --store site.db -b station.baseline --who Meier --why "nobody ordered this"
    """
    alerts = decide.find(store, ids)
    done, _ = decide.carry_out("rejected", alerts, store, baseline_file, who, why)
    for one in done:
        if as_json:
            print_json(
                {
                    "id": one.alert.id,
                    "action": "rejected",
                    "taken_back": one.taken_back,
                    "who": who,
                    "why": why,
                    "when": one.when,
                }
            )
        else:
            back = f"; {one.taken_back} acceptances taken back" if one.taken_back else ""
            out.print(f"{one.alert.id} rejected: it stays an alert{back}", highlight=False, soft_wrap=True)
