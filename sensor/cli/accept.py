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
    from detectors.acceptance import accept
    from detectors.baseline import BaselineError
    from sensor.cli.baseline import load
    from sensor.cli.learn import write
    from sensor.errors import UsageError

    alerts = decide.find(store, ids)
    baseline = load(baseline_file)
    when = decide.now()
    try:
        told = [(alert, accept(baseline, alert, who, why, when)) for alert in alerts]
    except BaselineError as error:
        raise UsageError(str(error)) from error
    write(baseline, baseline_file)
    for alert, what in told:
        if as_json:
            print_json(
                {"id": alert.id, "action": "accepted", "what": what, "who": who, "why": why, "when": when}
            )
        else:
            out.print(
                f"{alert.id} accepted, silent from now on: {escape(what)}", highlight=False, soft_wrap=True
            )
