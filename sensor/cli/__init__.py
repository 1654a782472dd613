"""The command line: one group that loads each command only when it is called.

``gridwarden --help`` must answer at once, so nothing here imports numba, pandas or a model library;
the texts of the overview are therefore repeated below and a test compares them with the commands.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import traceback
from typing import Any, Final

import click

from sensor import __version__
from sensor.cli.common import INTERNAL, debugging, known_errors

COMMANDS: Final[dict[str, str]] = {
    "demo": "Learn, detect and report on the bundled captures.",
    "capture": "Capture from an interface into a file, or show its rates.",
    "inspect": "Show what is in a capture or on an interface.",
    "messages": "Write the decoded messages of a capture as a table.",
    "learn": "Learn a baseline from captures, or live, in normal operation.",
    "detect": "Find what departs from a baseline or breaks a standard.",
    "run": "Watch a site as a daemon, from a configuration.",
    "config": "Check, show and begin a configuration.",
    "status": "Show whether the sensor is alive and sees.",
    "alerts": "List, show and decide about stored alerts.",
    "evidence": "List, show, export and verify the evidence behind alerts.",
    "explain": "Explain an alert: what, why, and what tells its readings apart.",
    "evaluate": "Compare detections with labelled events.",
    "simulate": "Render known attacks into a benign capture, with labels.",
    "coverage": "Show which known attacks a baseline would catch.",
    "tune": "Choose the behaviour model by simulated attacks, then learn.",
    "backtest": "Show which alerts another baseline would add or take away.",
    "baseline": "Show, compare and merge baselines.",
    "state": "Set, show and end maintenance and test windows.",
    "accept": "Accept alerts: the same traffic is silent afterwards.",
    "reject": "Reject what alerts are about; take an acceptance back.",
    "scl": "Import and show station descriptions (SCD, CID, IID, ICD).",
    "profiles": "List, show and check protocol profiles.",
    "sinks": "Check where results are sent, and send what is due.",
    "doctor": "Check that this machine has what the sensor needs.",
    "completion": "Print or install shell completion.",
}
"""Commands in the order a new user needs them; each lives in ``sensor.cli.<name>`` as ``command``."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"sensor.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with known_errors(ctx):
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            _internal_error(error)
            ctx.exit(INTERNAL)


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine, 1 --fail-on found alerts, 2 wrong call, 3 unusable input, "
    "4 something is missing on this machine, 70 our mistake, 130 interrupted.",
)
@click.version_option(__version__, prog_name="gridwarden", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (also GRIDWARDEN_DEBUG=1).")
def main(debug: bool) -> None:
    """Passive early-warning sensor for substations and industrial networks.

    It reads captures and interfaces, never sends, learns what is normal, and says what departs from it and
    whether that looks like a fault, an operation or an attack.

    \b
    Example:
      gridwarden demo
      gridwarden learn week.pcapng -o station.baseline
      gridwarden detect today.pcapng -b station.baseline --report today.html
      gridwarden detect --interface eth1 -b station.baseline
    """
    if debug:
        os.environ["GRIDWARDEN_DEBUG"] = "1"


def _internal_error(error: Exception) -> None:
    """Say that this is our mistake, and how to report it."""
    if debugging():
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({os.path.basename(place[0].filename)}:{place[0].lineno})" if place else ""  # noqa: PTH119
    click.echo(f"gridwarden: internal error: {type(error).__name__}: {error}{where}", err=True)
    click.echo(
        f"This is a mistake of ours. Run it again with GRIDWARDEN_DEBUG=1 and report the output; version "
        f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}.",
        err=True,
    )
