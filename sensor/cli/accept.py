"""``gridwarden accept``: what an alert is about becomes an approved entry of the baseline."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from sensor.cli import decide
from sensor.cli.common import Command, out, print_json


@click.command("accept", cls=Command)
@decide.decision
def command(
    ids: tuple[str, ...], store: Path, baseline_file: Path, who: str, why: str, as_json: bool
) -> None:
    """Accept alerts: the same traffic is silent afterwards, and the baseline keeps who decided and why.

    Exactly what the alert says is accepted: its rule, hosts, kind of message and the objects it lists. Alerts
    about timing, values and behaviour cannot be accepted; for them a baseline has to learn.

    \b
    Examples:
      gridwarden accept 3f2a9c --store site.db -b station.baseline --who Meier --why "new gateway, order 4711"
    """
    alerts = decide.find(store, ids)
    done, _ = decide.carry_out("accepted", alerts, store, baseline_file, who, why)
    for one in done:
        if as_json:
            print_json(
                {
                    "id": one.alert.id,
                    "action": "accepted",
                    "what": one.what,
                    "who": who,
                    "why": why,
                    "when": one.when,
                }
            )
        else:
            out.print(
                f"{one.alert.id} accepted, silent from now on: {escape(one.what)}",
                highlight=False,
                soft_wrap=True,
            )
