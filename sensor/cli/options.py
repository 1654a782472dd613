"""Options that several commands share, and how captures and interfaces are opened for them."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from sensor.cli.common import err, progress
from sensor.errors import UsageError

if TYPE_CHECKING:
    from types import FrameType

    from sensor.capture.live import LiveSettings
    from sensor.engines import Decoded

    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # takes no parameter before click 8.2

F = TypeVar("F", bound=Callable[..., Any])

ENGINE_HELP = (
    "auto: native decoders for what they know, tshark for the rest; native: no tshark at all; "
    "tshark: everything through tshark."
)


def captures(function: F) -> F:
    """Argument CAP…: files, folders, globs, or - for standard input."""
    return click.argument("captures", nargs=-1, required=True, metavar="CAP...")(function)


class Duration(_Type):
    """Seconds, or a number with a unit: 90, 30s, 10m, 1.5h, 2d."""

    name = "duration"
    units: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        unit = self.units.get(text[-1:], 1.0)
        number = text[:-1] if text[-1:] in self.units else text
        try:
            seconds = float(number) * unit
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r} is no duration: give 90, 30s, 10m or 1.5h", param, ctx)
        return seconds


@dataclass(frozen=True, slots=True)
class Source:
    """What to read: captures, or an interface."""

    captures: tuple[str, ...]
    live: LiveSettings | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """As the user named it."""
        return (self.live.interface,) if self.live else self.captures


def live_options(function: F) -> F:
    """Options of a live capture: --duration, --filter, --ring-mib, --incoming-only."""
    for option in (
        click.option("--incoming-only", is_flag=True, help="Live: leave out what this machine sends itself."),
        click.option(
            "--ring-mib",
            type=click.IntRange(1, 4096),
            default=64,
            show_default=True,
            help="Live: memory in which the kernel holds frames until they are read.",
        ),
        click.option(
            "--filter", "bpf", default="", metavar="BPF", help="Live: only frames that match, as tcpdump."
        ),
        click.option("--duration", type=Duration(), help="Live: end after 90, 30s, 10m, 1.5h."),
    ):
        function = option(function)
    return function


def source(function: F) -> F:
    """Argument CAP… or option --interface; the command gets them as one ``source``."""

    @functools.wraps(function)
    def wrapped(*args: Any, **given: Any) -> Any:
        captures, interface = given.pop("captures"), given.pop("interface")
        options = {name: given.pop(name) for name in ("duration", "bpf", "ring_mib", "incoming_only")}
        return function(*args, source=chosen_source(captures, interface, **options), **given)

    argument = click.argument("captures", nargs=-1, metavar="[CAP...]")
    interface = click.option("-i", "--interface", help="Read this network interface instead of captures.")
    made: Any = argument(interface(live_options(wrapped)))
    return made  # type: ignore[no-any-return]


def chosen_source(
    captures: tuple[str, ...],
    interface: str | None,
    duration: float | None,
    bpf: str,
    ring_mib: int,
    incoming_only: bool,
) -> Source:
    """Captures or an interface, not both and not none.

    Raises
    ------
    UsageError
    """
    if interface is None:
        if not captures:
            raise UsageError("nothing to read: name captures (files, folders, globs, -) or --interface IFACE")
        if duration is not None or bpf or incoming_only:
            raise UsageError("--duration, --filter and --incoming-only are for --interface")
        return Source(captures)
    if captures:
        raise UsageError("either captures or --interface, not both")
    return Source((), live_settings(interface, duration, bpf, ring_mib, incoming_only))


def live_settings(
    interface: str,
    duration: float | None,
    bpf: str,
    ring_mib: int,
    incoming_only: bool,
    count: int | None = None,
) -> LiveSettings:
    """Settings of a live capture from the options of a command."""
    from sensor.capture.live import LiveSettings

    return LiveSettings(interface, duration, bpf, ring_mib, count, outgoing=not incoming_only)


def engine(function: F) -> F:
    """Options --engine, --profiles and --copies; the last goes to whatever is opened, not to the command."""
    function = click.option(
        "--copies",
        type=click.Choice(["auto", "keep", "drop"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_remember_copies,
        help="Frames whose bytes came less than 1 ms before, as from two mirrored ports; auto: drop them "
        "when a tenth of the frames are such copies.",
    )(function)
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


_COPIES: Final = "sensor.cli.options.copies"


def _remember_copies(context: click.Context, _: click.Parameter, value: str) -> None:
    context.meta[_COPIES] = value


def _copies() -> str:
    """What --copies says; auto for a command without it."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(_COPIES, "auto")) if context else "auto"


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

    decoded = open_engine(captures, engine, profiles, copies=_copies())
    with progress(title, 1.0) as bar:
        decoded.on_progress = lambda fraction: bar.update(bar.task_ids[0], completed=fraction)
        yield decoded
    tell_problems(decoded)


@contextmanager
def opened_source(source: Source, engine: str, profiles: tuple[Path, ...], title: str) -> Iterator[Decoded]:
    """Like :func:`opened`, for captures or an interface; Ctrl-C and SIGTERM end a live capture in order."""
    if source.live is None:
        with opened(source.captures, engine, profiles, title) as decoded:
            yield decoded
        return
    from sensor.engines import open_live

    decoded = open_live(source.live, engine, profiles, say, _copies())
    end = (
        "Ctrl-C ends" if source.live.duration is None else f"{source.live.duration:g} s, Ctrl-C ends earlier"
    )
    say(f"{title} on {source.live.interface} ({decoded.engine} engine; {end})")
    bar = progress(title, 1.0) if source.live.duration is not None else nullcontext()
    assert decoded.stop is not None
    with stoppable(decoded.stop), bar as shown:
        if shown is not None:
            decoded.on_progress = lambda fraction: shown.update(shown.task_ids[0], completed=fraction)
        yield decoded
    tell_problems(decoded)


@contextmanager
def stoppable(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first SIGINT or SIGTERM; a second one acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        stop()
        signal.signal(number, signal.default_int_handler)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    """A line on standard error about how things stand."""
    err.print(text, markup=False, highlight=False, soft_wrap=True)


def tell_problems(decoded: Decoded) -> None:
    """Warnings for what could not be read; the error itself when nothing at all could be."""
    problems = decoded.problems
    if problems and decoded.first is None:
        raise problems[0]
    for problem in [*decoded.notes, *problems]:
        err.print(f"warning: {problem}", style="yellow", markup=False, highlight=False, soft_wrap=True)
