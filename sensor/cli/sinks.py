"""``gridwarden sinks``: does every sink take a record, what waits for it, and send it now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli.common import Command, out, print_json
from sensor.errors import InputError, UsageError

if TYPE_CHECKING:
    from sensor.sinks.pump import Scrub
    from sensor.sinks.settings import SinkSettings

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("gridwarden.toml"),
    show_default=True,
    help="Configuration with [[sink]] tables.",
)
store_option = click.option(
    "--store",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Store to send from; by default that of the configuration.",
)
only_option = click.option("--only", multiple=True, metavar="NAME", help="Only this sink (repeatable).")
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of tables.")


@click.group(short_help="Check where results are sent, and send what is due.")
def command() -> None:
    """Check where results are sent, and send what is due.

    A sink is a [[sink]] table of the configuration: influx, syslog, webhook, mqtt or jsonl.
    docs/sinks.md shows each with all its keys.

    \b
    Examples:
      gridwarden sinks check -c gridwarden.toml
      gridwarden sinks status -c gridwarden.toml
      gridwarden sinks forward -c gridwarden.toml --store site.db
    """


@command.command("check", cls=Command, short_help="Send a test record through each sink.")
@config_option
@only_option
@json_option
@click.pass_context
def check(ctx: click.Context, config: Path, only: tuple[str, ...], as_json: bool) -> None:
    """Send a test record through each sink and say what happened.

    Exit code 0 when all took it, 1 when one did not, 3 when the configuration is wrong.

    \b
    Examples:
      gridwarden sinks check -c gridwarden.toml
      gridwarden sinks check -c gridwarden.toml --only soc --json
    """
    results = [_try(settings) for settings in chosen_sinks(config, only)]
    if as_json:
        for result in results:
            print_json(result)
    else:
        _check_table(results)
    ctx.exit(0 if all(result["ok"] for result in results) else 1)


@command.command("status", cls=Command, short_help="What waits, was sent, given up or refused.")
@config_option
@store_option
@only_option
@click.option("--refused", type=click.IntRange(0, 1000), default=0, help="Also so many refused records.")
@json_option
def status(config: Path, store: Path | None, only: tuple[str, ...], refused: int, as_json: bool) -> None:
    """What waits for each sink, what was sent, given up or refused.

    \b
    Examples:
      gridwarden sinks status -c gridwarden.toml --store site.db
      gridwarden sinks status -c gridwarden.toml --store site.db --refused 5 --json
    """
    from sensor.sinks.forwarder import sink_status

    place = chosen_store(config, store)
    found = [{"name": s.name} | sink_status(place, s) for s in chosen_sinks(config, only)]
    for record in found:
        if record.get("store_error"):
            raise InputError(record["store_error"])
        record["refused"] = _refused(place, str(record["name"]), refused)
    if as_json:
        for record in found:
            print_json(record)
    else:
        _status_table(found)


@command.command("forward", cls=Command, short_help="Send what is due now, then end.")
@config_option
@store_option
@only_option
@json_option
@click.pass_context
def forward(
    ctx: click.Context, config: Path, store: Path | None, only: tuple[str, ...], as_json: bool
) -> None:
    """Send what is due now, then end; for stores that no running sensor forwards from.

    What cannot be sent stays due. Exit code 0 when nothing is left, 1 when a sink failed.

    \b
    Examples:
      gridwarden sinks forward -c gridwarden.toml --store site.db
      gridwarden sinks forward -c gridwarden.toml --store site.db --only archive --json
    """
    place = chosen_store(config, store)
    sinks = chosen_sinks(config, only)
    scrub = chosen_scrub(config, sinks)
    results = [_forward(place, settings, scrub) for settings in sinks]
    for result in results:
        if as_json:
            print_json(result)
        else:
            words = f"{result['resolved']:,} records" if result["ok"] else f"failed: {result['error']}"
            click.echo(f"{result['name']}: {words}")
    ctx.exit(0 if all(result["ok"] for result in results) else 1)


def chosen_sinks(config: Path, only: Sequence[str]) -> list[SinkSettings]:
    """The sinks of a configuration, all its problems in one message.

    Raises
    ------
    InputError
        The file cannot be read, is no TOML, or a sink's settings are wrong.
    UsageError
        There is no sink, or none of that name.
    """
    from sensor.sinks.settings import parse_sinks

    table = _read(config)
    own = {
        key: str(_value(table, "site", name) or "") for key, name in (("site", "name"), ("sensor", "sensor"))
    }
    sinks, problems = parse_sinks(table.get("sink"), base=config.resolve().parent, **own)
    if problems:
        raise InputError("\ngridwarden: ".join(f"{config}: {problem}" for problem in problems))
    if not sinks:
        raise UsageError(f"{config}: has no [[sink]] table. docs/sinks.md shows how to write one")
    missing = sorted(set(only) - {sink.name for sink in sinks})
    if missing:
        names = ", ".join(sink.name for sink in sinks)
        raise UsageError(f"{config}: has no sink named {', '.join(missing)}; it has {names}")
    return [sink for sink in sinks if not only or sink.name in only]


def chosen_scrub(config: Path, sinks: Sequence[SinkSettings]) -> Scrub:
    """What makes pseudonyms for those of the sinks that ask for them.

    Raises
    ------
    InputError, Unavailable
        One asks, and there is no key.
    """
    from sensor.sinks.pump import unchanged

    if not any(sink.pseudonymise for sink in sinks):
        return unchanged
    from sensor.config.protect import pseudonyms_in
    from sensor.pseudonym.key import pseudonyms_of
    from sensor.pseudonym.records import RecordScrub

    return RecordScrub(pseudonyms_of(pseudonyms_in(_read(config), config), str(config)))


def chosen_store(config: Path, store: Path | None) -> Path:
    """The store that was named, else that of the configuration.

    Raises
    ------
    InputError
        There is none.
    """
    named = _value(_read(config), "store", "path")
    path = store or config.resolve().parent / (named if isinstance(named, str) else "gridwarden.db")
    if not path.exists():
        raise InputError(f"{path}: there is no store yet. Name another with --store")
    return path


def _value(table: dict[str, Any], section: str, key: str) -> Any:
    inner = table.get(section)
    return inner.get(key) if isinstance(inner, dict) else None


def _read(config: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{config}: {error.strerror}. Name the configuration with -c") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{config}: is no TOML: {error}") from error


def _try(settings: SinkSettings) -> dict[str, Any]:
    from sensor.errors import GridwardenError
    from sensor.sinks.base import test_record
    from sensor.sinks.kinds import address, kind_of, make_sink

    result: dict[str, Any] = {"name": settings.name, "type": kind_of(settings), "address": address(settings)}
    begin = time.monotonic()
    sink = make_sink(settings)
    try:
        sink.send([test_record(settings.site, settings.sensor)])
        return result | {"ok": True, "seconds": round(time.monotonic() - begin, 3), "error": ""}
    except GridwardenError as error:
        return result | {"ok": False, "seconds": round(time.monotonic() - begin, 3), "error": str(error)}
    finally:
        sink.close()


def _forward(store: Path, settings: SinkSettings, scrub: Scrub) -> dict[str, Any]:
    from sensor.errors import GridwardenError
    from sensor.sinks.pump import Pump

    resolved = 0
    with Pump(store, settings, scrub) as pump:
        try:
            pump.housekeeping()
            while step := pump.step():
                resolved += step
        except GridwardenError as error:
            return {"name": settings.name, "ok": False, "resolved": resolved, "error": str(error)}
    return {"name": settings.name, "ok": True, "resolved": resolved, "error": ""}


def _refused(store: Path, name: str, limit: int) -> list[dict[str, Any]]:
    from sensor.store.outbox import Outbox

    with Outbox.open(store, name, ()) as outbox:
        return outbox.dead_letters(limit)


def _check_table(results: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("sink", "type", "to", "result"):
        table.add_column(heading, overflow="fold")
    for result in results:
        said = f"[green]took the test record in {result['seconds']} s[/]"
        if not result["ok"]:
            said = f"[red]{escape(result['error'])}[/]"
        elif result["address"].startswith("udp:"):
            said = "[yellow]sent; UDP does not tell whether it arrived[/]"
        table.add_row(escape(result["name"]), result["type"], escape(result["address"]), said)
    out.print(table)


def _status_table(found: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("sink", "waiting", "bytes", "sent", "given up", "refused"):
        table.add_column(heading, overflow="fold", justify="left" if heading == "sink" else "right")
    for record in found:
        lost = sum(rows for reasons in record["given_up"].values() for rows in reasons.values())
        numbers = (record["depth"], record["depth_bytes"], record["sent"], lost, record["dead_letters"])
        table.add_row(escape(record["name"]), *(f"{number:,}" for number in numbers))
    out.print(table)
    for record in found:
        for lane, reasons in record["given_up"].items():
            for reason, rows in reasons.items():
                out.print(escape(f"{record['name']}: {rows:,} {lane} given up ({reason})"), highlight=False)
        for letter in record["refused"]:
            text = f"{record['name']}: refused {letter['ident']}: {letter['reason']}"
            out.print(escape(text), highlight=False)
