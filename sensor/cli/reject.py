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
    from detectors.acceptance import reject
    from sensor.cli.baseline import load
    from sensor.cli.learn import write

    alerts = decide.find(store, ids)
    baseline = load(baseline_file)
    when = decide.now()
    told = [(alert, reject(baseline, alert, who, why, when)) for alert in alerts]
    write(baseline, baseline_file)
    for alert, taken in told:
        if as_json:
            print_json(
                {
                    "id": alert.id,
                    "action": "rejected",
                    "taken_back": taken,
                    "who": who,
                    "why": why,
                    "when": when,
                }
            )
        else:
            back = f"; {taken} acceptances taken back" if taken else ""
            out.print(f"{alert.id} rejected: it stays an alert{back}", highlight=False, soft_wrap=True)
