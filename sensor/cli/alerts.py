"""``gridwarden alerts``: the life of alerts after they were written."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sensor.cli.common import Command, out, print_json
from sensor.cli.options import Duration
from sensor.cli.stores import deciding_options, store_options

if TYPE_CHECKING:
    from rich.text import Text

    from sensor.store.life import Decision, Filed

TAKEN_OVER = "{} was written; a running daemon takes it over at systemctl reload gridwarden (or kill -HUP)"
LEVELS = ("info", "notice", "warning", "alarm")


@click.group("alerts")
def command() -> None:
    """List alerts of a store, look at one, acknowledge, accept or reject it.

    \b
    Examples:
      gridwarden alerts list -c gridwarden.toml --since 1h --level warning
      gridwarden alerts show 3f2a -c gridwarden.toml
      gridwarden alerts events -c gridwarden.toml --since 1d
      gridwarden alerts ack 3f2a -c gridwarden.toml --why "maintenance of bay 3"
    """


@command.command("list", cls=Command)
@store_options
@click.option("--since", type=Duration(), help="Only what went on in the last 30m, 1h, 2d …")
@click.option("--level", type=click.Choice(LEVELS), default="info", help="This level and above.")
@click.option("--asset", default="", help="Address of either side.")
@click.option("--protocol", default="", help="For example iec104.")
@click.option("--rule", default="", help="For example new-command-source.")
@click.option("--open", "open_only", is_flag=True, help="Only what still goes on.")
@click.option(
    "--decided",
    type=click.Choice(["none", "acknowledged", "accepted", "rejected"]),
    default=None,
    help="Only what was decided so, or not at all.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per alert.")
def list_alerts(
    store: Path,
    since: float | None,
    level: str,
    asset: str,
    protocol: str,
    rule: str,
    open_only: bool,
    decided: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Alerts, newest first.

    `--since` counts back from now, and alerts carry the time of the traffic: leave it out for old captures.

    \b
    Examples:
      gridwarden alerts list -c gridwarden.toml --since 8h --decided none
      gridwarden alerts list --store site.db --asset 10.0.0.7 --json | jq .summary
    """
    from detectors.base import Level
    from sensor.store.life import Wanted, find_alerts
    from sensor.store.sqlite import Store

    wanted = Wanted(
        since=time.time() - since if since is not None else None,
        min_level=Level(LEVELS.index(level)),
        asset=asset,
        protocol=protocol,
        rule=rule,
        decided=decided or "",
        open_only=open_only,
        limit=limit,
    )
    with Store.look(store) as opened:
        found = find_alerts(opened, wanted)
    if as_json:
        for one in found:
            print_json(one.record())
        return
    for one in found:
        out.print(_line(one), soft_wrap=True)
    if len(found) == limit:
        out.print(f"the latest {limit}; --limit shows more", style="dim", markup=False)


@command.command("events", cls=Command)
@store_options
@click.option("--since", type=Duration(), help="Only what ended in the last 30m, 1h, 2d …")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
def events(store: Path, since: float | None, limit: int, as_json: bool) -> None:
    """Disturbances of a known kind (reconnects, trips, switch-overs), by start, and what they explain.

    \b
    Examples:
      gridwarden alerts events -c gridwarden.toml --since 1d
      gridwarden alerts events --store site.db --json | jq .summary
    """
    from sensor.result import event_record
    from sensor.store.sqlite import Store

    with Store.look(store) as opened:
        found = opened.events(start=time.time() - since if since is not None else None, limit=limit)
    for event in found:
        if as_json:
            print_json(event_record(event))
            continue
        explained = ", ".join(f"{count} {rule}" for rule, count in event.explained.items())
        text = f"{_when(event.start)}  {event.what:<13} {event.summary}"
        out.print(
            text + (f" (explains {explained})" if explained else ""),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@command.command("show", cls=Command)
@click.argument("ident", metavar="ID")
@store_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(ident: str, store: Path, as_json: bool) -> None:
    """One alert with everything that is known about it; the beginning of an id is enough.

    \b
    Example:
      gridwarden alerts show 3f2a -c gridwarden.toml
    """
    from sensor.store.life import decisions_of, get_alert
    from sensor.store.sqlite import Store

    with Store.look(store) as opened:
        found = get_alert(opened, ident)
        trail = decisions_of(opened, found.alert.id)
    if as_json:
        print_json(found.record() | {"decisions": [_decided(one) for one in trail]})
        return
    out.print(_line(found), soft_wrap=True)
    for name, value in found.record().items():
        if value not in ("", None, [], {}) and name not in ("summary", "decision"):
            text = _when(value) if name in ("start", "end", "opened") else value
            out.print(f"  {name:<10} {text}", markup=False, highlight=False, soft_wrap=True)
    for one in trail:
        out.print(
            f"  {one.what} by {one.who} at {_when(one.at)}: {one.why}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@command.command("ack", cls=Command)
@click.argument("idents", metavar="ID...", nargs=-1, required=True)
@store_options
@click.option("--who", default=None, help="Who decides; your login name by default.")
@click.option("--why", default="", help="The reason, for the trail.")
@click.option("--json", "as_json", is_flag=True, help="The alerts as they are now, one JSON object each.")
def ack(idents: tuple[str, ...], store: Path, who: str | None, why: str, as_json: bool) -> None:
    """Acknowledge alerts: somebody has seen them. Nothing becomes silent by it.

    \b
    Example:
      gridwarden alerts ack 3f2a 77b0 -c gridwarden.toml --why "known, works on line 3"
    """
    from sensor.store.life import Decision, decide
    from sensor.store.sqlite import Store

    Store.look(store).close()  # a wrong name must not make a new store
    decision = Decision("acknowledged", who or getpass.getuser(), why, time.time())
    with Store.open(store) as opened:
        done = decide(opened, list(idents), decision)
    for one in done:
        if as_json:
            print_json(one.record())
        else:
            out.print(_line(one), soft_wrap=True)


def _into_baseline(name: str, what: str, words: str) -> click.Command:
    @command.command(name, cls=Command, help=words)
    @click.argument("idents", metavar="ID...", nargs=-1, required=True)
    @deciding_options
    @click.option("--who", default=None, help="Who decides; your login name by default.")
    @click.option("--why", required=True, help="The reason, for the trail.")
    @click.option("--json", "as_json", is_flag=True, help="The alerts as they are now, one JSON object each.")
    def decide_alerts(
        idents: tuple[str, ...],
        store: Path,
        baseline_file: Path | None,
        who: str | None,
        why: str,
        as_json: bool,
    ) -> None:
        from sensor.cli.decide import carry_out
        from sensor.errors import UsageError
        from sensor.store.life import get_alert
        from sensor.store.sqlite import Store

        if baseline_file is None:
            raise UsageError("which baseline? Give -c gridwarden.toml or -b SITE.baseline")
        with Store.look(store) as opened:  # a wrong name must not make a new store
            alerts = [get_alert(opened, ident).alert for ident in idents]
        done, filed = carry_out(what, alerts, store, baseline_file, who or getpass.getuser(), why)
        for one, change in zip(filed, done, strict=True):
            if as_json:
                print_json(one.record())
                continue
            out.print(_line(one), soft_wrap=True)
            if change.what:
                out.print(f"  silent: {change.what}", markup=False, highlight=False, soft_wrap=True)
            if change.taken_back:
                out.print(f"  {change.taken_back} acceptances taken back", markup=False, highlight=False)
        if not as_json:
            out.print(TAKEN_OVER.format(baseline_file), style="dim", markup=False, soft_wrap=True)

    return decide_alerts


_into_baseline(
    "accept",
    "accepted",
    """Accept alerts: what they say is normal here, and silent from the daemon's next reload on.

    The same as `gridwarden accept`: exactly what the alert says becomes an approved entry of the baseline,
    which keeps who, why and when, as the store does. Alerts about timing, values and behaviour cannot be
    accepted.

    \b
    Example:
      gridwarden alerts accept 3f2a -c gridwarden.toml --who meier --why "new engineering station"
      sudo systemctl reload gridwarden
    """,
)
_into_baseline(
    "reject",
    "rejected",
    """Reject alerts: what they say must not be. An earlier acceptance of the same is taken back.

    The same as `gridwarden reject`. Baseline and store keep who, why and when.

    \b
    Example:
      gridwarden alerts reject 3f2a -c gridwarden.toml --why "nobody was at work there"
    """,
)


def _line(one: Filed) -> Text:
    """Id, the alert for people, and how it stands; nothing in it is markup."""
    from rich.text import Text

    from sensor.report.text import alert_line

    state = [one.decision.what] if one.decision is not None else []
    state += ["open"] if one.open else []
    line = Text.assemble((one.alert.id, "dim"), " ", alert_line(one.alert))
    return line.append(f" ({', '.join(state)})", "dim") if state else line


def _decided(one: Decision) -> dict[str, object]:
    return {"what": one.what, "who": one.who, "why": one.why, "at": one.at}


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + " UTC"
