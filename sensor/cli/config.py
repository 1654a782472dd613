"""``gridwarden config``: the configuration of ``gridwarden run``."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sensor.cli.common import Command, out, print_json
from sensor.errors import InputError

FILE = click.Path(path_type=Path, dir_okay=False)
MODE = 0o640
"""Tokens of sinks belong into files of their own; still this file is not for everybody."""


@click.group("config")
def command() -> None:
    """Check, show and begin configurations of `gridwarden run`.

    \b
    Examples:
      gridwarden config init /etc/gridwarden/gridwarden.toml
      gridwarden config check /etc/gridwarden/gridwarden.toml
      gridwarden config show gridwarden.toml --json | jq .store
    """


@command.command("check", cls=Command)
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check a file and what it names: baseline, profiles, sources, the store's folder, sinks.

    Every mistake is told with file, line and key; exit code 3 when there is one.

    \b
    Example:
      gridwarden config check gridwarden.toml && systemctl reload gridwarden
    """
    from sensor.config.check import check_surroundings, load_parts
    from sensor.config.reader import ConfigError
    from sensor.config.schema import load_config
    from sensor.daemon.forwarding import make_forwarder

    config = load_config(file)
    problems = []
    for look in (check_surroundings, load_parts, make_forwarder):
        try:
            look(config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    names = ", ".join(source.name for source in config.sources)
    out.print(f"{file}: fine; site {config.site}, {names}", markup=False, highlight=False, soft_wrap=True)


@command.command("show", cls=Command)
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(file: Path, as_json: bool) -> None:
    """Show what a file means: every setting with its value, the defaults included.

    \b
    Example:
      gridwarden config show gridwarden.toml
    """
    from sensor.config.schema import load_config

    record = shown(asdict(load_config(file)))
    if as_json:
        print_json(record)
        return
    for line in _lines(record, ""):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@command.command("init", cls=Command)
@click.argument("file", type=FILE)
@click.option(
    "--store", metavar="PATH", default="gridwarden.db", show_default=True, help="The store's path in it."
)
def init(file: Path, store: str) -> None:
    """Write a commented example with this machine's interfaces; never over a file that is there.

    \b
    Examples:
      gridwarden config init gridwarden.toml
      gridwarden config init /etc/gridwarden/north.toml --store /var/lib/gridwarden/north/gridwarden.db
    """
    from sensor.config.template import example

    try:
        target = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
    except FileExistsError as error:
        raise InputError(f"{file}: is there already. Name another file, or move it away") from error
    with os.fdopen(target, "w", encoding="utf-8") as opened:
        opened.write(example(store))
    out.print(
        f"{file}: written. Set name, baseline and interface, then: gridwarden config check {file}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def shown(value: Any) -> Any:
    """Paths and infinite numbers as JSON can say them; the contents of sinks that may be secret left out."""
    if isinstance(value, dict):
        return {
            name: "…"
            if any(word in name for word in ("token", "password", "secret")) and part
            else shown(part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [shown(part) for part in value]
    if isinstance(value, float) and value == float("inf"):
        return "max"
    return str(value) if isinstance(value, Path) else value


def _lines(value: Any, path: str) -> list[str]:
    if isinstance(value, dict):
        return [
            line
            for name, part in value.items()
            for line in _lines(part, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [line for place, part in enumerate(value) for line in _lines(part, f"{path}[{place}]")]
    return [f"{path} = {value!r}"]
