"""How ``alerts`` and ``status`` find the store: --store FILE, or -c with a configuration that names it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sensor.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)


def store_options(function: F) -> F:
    """Options -c/--config and --store; the command gets the path as ``store``."""

    @functools.wraps(function)
    def wrapped(*args: Any, config_file: Path | None, store: Path | None, **given: Any) -> Any:
        return function(*args, store=chosen_store(config_file, store), **given)

    made: Any = click.option(
        "-c", "--config", "config_file", type=FILE, envvar="GRIDWARDEN_CONFIG",
        help="Configuration that names the store (or set GRIDWARDEN_CONFIG).",
    )(click.option("--store", type=FILE, help="The store itself.")(wrapped))  # fmt: skip
    return made  # type: ignore[no-any-return]


def deciding_options(function: F) -> F:
    """As `store_options`, and -b/--baseline; the command gets ``store`` and ``baseline_file`` (or None)."""

    @functools.wraps(function)
    def wrapped(
        *args: Any, config_file: Path | None, store: Path | None, baseline_file: Path | None, **given: Any
    ) -> Any:
        if config_file is not None and baseline_file is None:
            from sensor.config.schema import load_config

            baseline_file = load_config(config_file).baseline
        return function(*args, store=chosen_store(config_file, store), baseline_file=baseline_file, **given)

    made: Any = click.option(
        "-c", "--config", "config_file", type=FILE, envvar="GRIDWARDEN_CONFIG",
        help="Configuration that names store and baseline (or set GRIDWARDEN_CONFIG).",
    )(
        click.option("--store", type=FILE, help="The store itself.")(
            click.option("-b", "--baseline", "baseline_file", type=FILE, help="The baseline itself.")(wrapped)
        )
    )  # fmt: skip
    return made  # type: ignore[no-any-return]


def chosen_store(config_file: Path | None, store: Path | None) -> Path:
    """The store's path.

    Raises
    ------
    UsageError
        Neither was given.
    ConfigError
    """
    if store is not None:
        return store
    if config_file is None:
        raise UsageError("which store? Give -c gridwarden.toml or --store FILE.db")
    from sensor.config.schema import load_config

    return load_config(config_file).store.path
