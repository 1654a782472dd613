"""What every command shares: errors as one message, tables, JSON lines, progress."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sensor.errors import GridwardenError, InputError, MissingToolError

PIPE_WIDTH: Final = 130
"""Columns of a table that goes into a pipe or a file, which have no width of their own."""


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


out = _console()
err = _console(stderr=True)

INTERRUPTED: Final = 130
INTERNAL: Final = 70

_OUTSIDE_ERRORS: Final = (("grid_profiles.schema", "ProfileError"), ("detectors.baseline", "BaselineError"))
"""Input errors of the lower packages, which know nothing of exit codes."""


class Command(click.Command):
    """A click command whose known errors end as one message and their own exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with known_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def known_errors(ctx: click.Context) -> Iterator[None]:
    """Turn errors that a user can meet into one message on standard error and an exit code."""
    try:
        yield
    except GridwardenError as error:
        _leave(ctx, str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave(ctx, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        _forget_stdout()
        ctx.exit(0)
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        place = f"{error.filename}: " if error.filename is not None else ""
        _leave(ctx, f"{place}{error.strerror}", (MissingToolError if full else InputError).exit_code)
    except Exception as error:
        if not _is_outside_error(error):
            raise
        _leave(ctx, str(error), InputError.exit_code)


def debugging() -> bool:
    """Whether unexpected errors should show their traceback."""
    return os.environ.get("GRIDWARDEN_DEBUG", "") not in ("", "0")


def print_json(record: Any) -> None:
    """One JSON document on one line of standard output; NaN becomes null by the caller's hand."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def progress(title: str, total: float) -> Iterator[Progress]:
    """A progress bar on a terminal, nothing in a pipe. Call ``.advance(0, bytes)`` as work goes on."""
    bar = Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )
    with bar:
        bar.add_task(title, total=total or None)
        yield bar


def _leave(ctx: click.Context, message: str, code: int) -> NoReturn:
    if debugging() and code != INTERRUPTED:
        err.print_exception()
    click.echo(f"gridwarden: {message}", err=True)
    ctx.exit(code)


def _is_outside_error(error: Exception) -> bool:
    """Whether a lower package calls this an input error; looks only at what is loaded already."""
    for module, name in _OUTSIDE_ERRORS:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and isinstance(error, kind):
            return True
    return False


def _forget_stdout() -> None:
    """The reader of our output is gone: let the flush at exit write to nowhere."""
    with contextlib.suppress(OSError, ValueError):  # a test's buffer is no file; nothing to silence then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
