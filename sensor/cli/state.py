"""``gridwarden state``: maintenance and test windows of a baseline, always with an end."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from sensor.cli import decide
from sensor.cli.common import Command, out, print_json
from sensor.cli.options import Duration, _Type

if TYPE_CHECKING:
    from detectors.baseline import Baseline
    from detectors.states import Window

FILE = click.Path(path_type=Path, dir_okay=False)


class Moment(_Type):
    """A moment: ISO 8601 (UTC where no zone is given) or epoch seconds."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            pass
        try:
            made = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no moment: give 2026-05-12T14:30, 2026-05-12T14:30+02:00", param, ctx)
        return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


@click.group("state")
def command() -> None:
    """Maintenance and test windows: set, show and end them, and see who did.

    \b
    Examples:
      gridwarden state set maintenance --for 4h -b s.baseline --hosts 10.0.0.31 --who Meier --why "order 4711"
      gridwarden state show -b station.baseline
    """


def _baseline(function: Any) -> Any:
    return click.option(
        "-b", "--baseline", "file", required=True, type=FILE, help="Baseline that holds the windows."
    )(function)


@command.command("set", cls=Command)
@click.argument("state", type=click.Choice(["normal", "maintenance", "test"]))
@_baseline
@click.option("--for", "length", type=Duration(), help="How long: 30m, 4h, 2d.")
@click.option("--until", type=Moment(), help="Or until when (UTC): 2026-05-12T18:00.")
@click.option("--from", "since", type=Moment(), help="From when; default now.")
@click.option(
    "--hosts", "--assets", "hosts", default="", help="Addresses, comma between; default all known ones."
)
@click.option("--rules", default="", help="Lower these rules only, comma between.")
@click.option("--who", required=True, help="Who orders it.")
@click.option("--why", required=True, help="Why: work order, test protocol ...")
@click.option("--json", "as_json", is_flag=True, help="The window as a JSON object.")
def set_command(
    state: str,
    file: Path,
    length: float | None,
    until: float | None,
    since: float | None,
    hosts: str,
    rules: str,
    who: str,
    why: str,
    as_json: bool,
) -> None:
    """Begin a state that ends by itself: alerts that the work explains are kept at info meanwhile.

    Times are those of the traffic. Strangers stay loud: an engineering laptop must be named in --hosts. A
    daemon takes the window over when it reads its configuration again (SIGHUP). `set normal` ends what is on.

    \b
    Examples:
      gridwarden state set maintenance --for 4h -b s.baseline --hosts 10.0.0.31,10.0.0.9 --who Meier --why 47
      gridwarden state set test --until 2026-05-12T18:00 -b s.baseline --who Meier --why "relay test bay 3"
      gridwarden state set normal -b s.baseline --who Meier --why "done earlier"
    """
    from detectors.baseline import BaselineError
    from detectors.states import Window, set_state
    from sensor.cli.baseline import load
    from sensor.cli.learn import write
    from sensor.errors import UsageError

    baseline = load(file)
    begin = time.time() if since is None else since
    if state == "normal":
        _end(baseline, file, begin, who, why, "", as_json)
        return
    if (length is None) == (until is None):
        raise UsageError("a state ends by itself: give --for or --until")
    end = begin + length if length is not None else until
    assert end is not None
    try:
        window = Window(state, begin, end, who, why, _listed(hosts), _listed(rules))
    except BaselineError as error:
        raise UsageError(str(error)) from error
    set_state(baseline, window, decide.now())
    write(baseline, file)
    _print(window, as_json)


@command.command("clear", cls=Command)
@_baseline
@click.option(
    "--id", "ident", default="", help="Only this window (the beginning of its id); else all that are on."
)
@click.option("--at", type=Moment(), help="Moment at which they end; default now.")
@click.option("--who", required=True, help="Who ends it.")
@click.option("--why", required=True, help="Why.")
@click.option("--json", "as_json", is_flag=True, help="The windows that ended, one JSON object each.")
def clear(file: Path, ident: str, at: float | None, who: str, why: str, as_json: bool) -> None:
    """End windows before their time.

    \b
    Examples:
      gridwarden state clear -b station.baseline --who Meier --why "work finished"
    """
    from sensor.cli.baseline import load

    _end(load(file), file, time.time() if at is None else at, who, why, ident, as_json)


@command.command("show", cls=Command)
@_baseline
@click.option("--at", type=Moment(), help="Only windows that are on at this moment.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per window.")
def show(file: Path, at: float | None, as_json: bool) -> None:
    """Windows of a baseline: past, on, and to come.

    \b
    Examples:
      gridwarden state show -b station.baseline
      gridwarden state show -b station.baseline --at 2026-05-12T15:00 --json
    """
    from detectors.states import windows_of
    from sensor.cli.baseline import load

    found = [w for w in windows_of(load(file)) if at is None or w.since <= at < w.until]
    for window in found:
        _print(window, as_json)
    if not found and not as_json:
        out.print("normal: no window" + ("" if at is None else " at that moment"))


@command.command("log", cls=Command)
@_baseline
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change.")
def log(file: Path, as_json: bool) -> None:
    """Who set and ended states, when and why; the trail outlives the windows.

    \b
    Examples:
      gridwarden state log -b station.baseline
    """
    from sensor.cli.baseline import load

    trail = [row for row in load(file).rows("audit") if row.action.startswith("state ")]
    for row in trail:
        if as_json:
            print_json({name: getattr(row, name) for name in ("when", "id", "action", "who", "why", "what")})
        else:
            line = f"{row.when}  {row.action:<17} {row.id}  by {row.who}: {row.why} ({row.what})"
            out.print(escape(line), highlight=False, soft_wrap=True)
    if not trail and not as_json:
        out.print("no state was ever set")


def _end(baseline: Baseline, file: Path, at: float, who: str, why: str, ident: str, as_json: bool) -> None:
    from detectors.states import clear_state
    from sensor.cli.learn import write
    from sensor.errors import UsageError

    ended = clear_state(baseline, at, who, why, decide.now(), ident)
    if ident and not ended:
        raise UsageError(f"no window {ident} that could be ended; `gridwarden state show` lists them")
    write(baseline, file)
    for window in ended:
        _print(window, as_json)
    if not as_json:
        out.print(f"{len(ended)} ended")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


def _print(window: Window, as_json: bool) -> None:
    if as_json:
        print_json(window.record())
        return
    span = " to ".join(_text(moment) for moment in (window.since, window.until))
    hosts = ", ".join(window.hosts) or "all known hosts"
    line = f"{window.ident}  {window.state:<11} {span}  {hosts}; by {window.who}: {window.why}"
    out.print(escape(line), highlight=False, soft_wrap=True)


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
