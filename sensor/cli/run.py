"""``gridwarden run``: the daemon."""

from __future__ import annotations

from pathlib import Path

import click

from sensor.cli.common import Command
from sensor.cli.options import say

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("run", cls=Command)
@click.option("-c", "--config", "file", required=True, type=FILE, help="From `gridwarden config init`.")
def command(file: Path) -> None:
    """Watch a site until told to end: interfaces (or captures, for rehearsal) against its baseline.

    Alerts, levels, series and the sensor's own health go into the store of the configuration. SIGHUP reads
    configuration, profiles and baseline again, SIGTERM ends within 5 seconds.

    \b
    Examples:
      gridwarden config init gridwarden.toml
      gridwarden run -c gridwarden.toml
      kill -HUP $(pidof gridwarden)
      gridwarden status -c gridwarden.toml
    """
    from sensor.daemon.service import Daemon

    code = Daemon(file, say).run()
    if code:
        raise click.exceptions.Exit(code)
