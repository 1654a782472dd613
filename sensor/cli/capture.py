"""``gridwarden capture``: frames of an interface into a file, or its rates on the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.live import Live
from rich.table import Table

from sensor.cli import options
from sensor.cli.common import Command, err, print_json

if TYPE_CHECKING:
    from sensor.capture.live import LiveCapture
    from sensor.capture.pcapwrite import CaptureWriter

REFRESH: Final = 1.0


@click.command("capture", cls=Command)
@click.argument("interface", metavar="IFACE")
@click.option(
    "-w", "--write", "target", metavar="FILE", help="Write frames here: *.pcap, else pcapng; - for stdout."
)
@options.live_options
@click.option("-c", "--count", type=click.IntRange(1), help="End after so many frames.")
@click.option("--json", "as_json", is_flag=True, help="The final figures as one JSON object.")
def command(
    interface: str,
    target: str | None,
    duration: float | None,
    bpf: str,
    ring_mib: int,
    incoming_only: bool,
    count: int | None,
    as_json: bool,
) -> None:
    """Capture from an interface; without -w, only show what comes by.

    Needs the right to capture (root, or CAP_NET_RAW). Nothing is ever sent. Frames that the kernel lost
    because nobody read them in time are counted and told.

    \b
    Examples:
      gridwarden capture eth1
      gridwarden capture eth1 -w monday.pcapng --duration 8h --filter 'not port 22'
      gridwarden capture eth1 -w - --count 1000 | gridwarden inspect -
    """
    from sensor.capture.live import LiveCapture

    settings = options.live_settings(interface, duration, bpf, ring_mib, incoming_only, count)
    capture = LiveCapture(settings)
    capture.on_event = options.say
    with options.stoppable(capture.stop), _writer(target, capture) as writer, _display(capture) as shown:
        for batch in capture.batches():
            if writer is not None:
                writer.write(batch)
                if target == "-":
                    sys.stdout.buffer.flush()
            shown.update()
        shown.end()
        if writer is not None:
            writer.statistics(capture.counters.packets, capture.counters.drops, time.time_ns())
    record = summary(capture, target)
    if as_json:
        with _aside(target):
            print_json(record)
    else:
        options.say(_words(record))
    for note in capture.notes:
        err.print(f"warning: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def summary(capture: LiveCapture, target: str | None) -> dict[str, Any]:
    """The final figures as a JSON object."""
    counters = capture.counters
    return {
        "interface": capture.shown,
        "file": target,
        "duration_s": capture.position / 1000,
        "frames": capture.frames,
        "bytes": capture.octets,
        "kernel_frames": counters.packets,
        "kernel_drops": counters.drops,
        "ring_freezes": counters.freezes,
        "blind_s": round(capture.blind_s, 3),
        "notes": capture.notes,
    }


def _words(record: dict[str, Any]) -> str:
    place = f" into {record['file']}" if record["file"] else ""
    return (
        f"{record['interface']}: {record['frames']:,} frames, {record['bytes']:,} bytes in "
        f"{record['duration_s']:.1f} s{place}; {record['kernel_drops']:,} lost in the kernel, "
        f"blind for {record['blind_s']:.1f} s"
    )


@contextmanager
def _writer(target: str | None, capture: LiveCapture) -> Iterator[CaptureWriter | None]:
    from sensor.capture.pcapwrite import CaptureWriter, private

    if target is None:
        yield None
        return
    if target == "-":
        yield CaptureWriter(sys.stdout.buffer, name=capture.shown)
        return
    link = capture.link if Path(target).suffix.lower() == ".pcap" else None
    with open(target, "wb", opener=private) as file:
        yield CaptureWriter(file, link, name=capture.shown)


@contextmanager
def _aside(target: str | None) -> Iterator[None]:
    """Standard output for what follows, unless frames went there."""
    if target != "-":
        yield
        return
    before, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout = before


@dataclass(slots=True)
class _Display:
    """Rates on a terminal, about once a second; nothing elsewhere."""

    capture: LiveCapture
    live: Live | None = None
    at: float = 0.0
    frames: int = 0
    octets: int = 0

    def update(self) -> None:
        now = time.monotonic()
        if self.live is None or now - self.at < REFRESH:
            return
        seconds = now - self.at
        rates = ((self.capture.frames - self.frames) / seconds, (self.capture.octets - self.octets) / seconds)
        self.at, self.frames, self.octets = now, self.capture.frames, self.capture.octets
        self.live.update(_rates(self.capture, *rates), refresh=True)

    def end(self) -> None:
        if self.live is not None:
            self.live.stop()


@contextmanager
def _display(capture: LiveCapture) -> Iterator[_Display]:
    live = Live(console=err, auto_refresh=False, transient=True) if err.is_terminal else None
    with live or nullcontext():
        yield _Display(capture, live, time.monotonic())


def _rates(capture: LiveCapture, frames: float, octets: float) -> Table:
    table = Table(box=None, pad_edge=False)
    state = capture.blind.value if capture.blind else "is up"
    cells = {
        capture.shown: state,
        "frames/s": f"{frames:,.0f}",
        "Mbit/s": f"{octets * 8 / 1e6:,.2f}",
        "frames": f"{capture.frames:,}",
        "lost in the kernel": f"{capture.counters.drops:,}",
        "ring full": f"{capture.counters.freezes:,}",
        "blind": f"{capture.blind_s:,.1f} s",
    }
    for name in cells:
        table.add_column(name, justify="right")
    table.add_row(*cells.values())
    return table
