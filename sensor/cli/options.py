"""Options that several commands share, and how captures are opened for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sensor.cli.common import err, progress

if TYPE_CHECKING:
    from sensor.engines import Decoded

F = TypeVar("F", bound=Callable[..., Any])

ENGINE_HELP = (
    "auto: native decoders for what they know, tshark for the rest; native: no tshark at all; "
    "tshark: everything through tshark."
)


def captures(function: F) -> F:
    """Argument CAP…: files, folders, globs, or - for standard input."""
    return click.argument("captures", nargs=-1, required=True, metavar="CAP...")(function)


def engine(function: F) -> F:
    """Options --engine and --profiles."""
    function = click.option(
        "--profiles",
        "profiles",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder with profiles of your own (repeatable).",
    )(function)
    return click.option(
        "--engine",
        type=click.Choice(["auto", "native", "tshark"]),
        default="auto",
        show_default=True,
        help=ENGINE_HELP,
    )(function)


@contextmanager
def opened(
    captures: tuple[str, ...], engine: str, profiles: tuple[Path, ...], title: str
) -> Iterator[Decoded]:
    """Captures ready to iterate over, with a progress bar; tells what could not be read at the end.

    Raises
    ------
    CaptureError
        When not a single frame could be read.
    """
    from sensor.engines import open_engine

    decoded = open_engine(captures, engine, profiles)
    with progress(title, 1.0) as bar:
        decoded.on_progress = lambda fraction: bar.update(bar.task_ids[0], completed=fraction)
        yield decoded
    tell_problems(decoded)


def tell_problems(decoded: Decoded) -> None:
    """Warnings for what could not be read; the error itself when nothing at all could be."""
    problems = decoded.problems
    if problems and decoded.first is None:
        raise problems[0]
    for problem in [*decoded.notes, *problems]:
        err.print(f"warning: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True)
