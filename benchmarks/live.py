"""The highest rate at which live capture loses nothing: ``python -m benchmarks.live [STAGE …]`` (as root).

A second process sends a mix of traffic over a veth pair between two network namespaces, at rates that
grow by a quarter until frames are lost. Stages: ``ring`` (frames into batches), ``decode`` (native messages),
``detect`` (alerts against a baseline). Sender and sensor share the machine, so the sender's own limit is told
as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.generate import KINDS
from benchmarks.mix import NATIVE, write_mix
from benchmarks.stages import learn_apart
from tests.live import wire

STAGES = ("ring", "decode", "detect")
GROWTH = 1.25
SETTLED = 4.0
REPORT = 0.1
MADE_UP = 1_000_000
"""Packets of a made-up mix: its TCP sessions begin again once they are sent."""


@click.command()
@click.argument("stages", nargs=-1, type=click.Choice(STAGES))
@click.option("--mix", "kind", type=click.Choice(["real", *KINDS]), default="substation", show_default=True)
@click.option("--first", default=50_000, show_default=True, help="Frames per second to begin with.")
@click.option("--seconds", default=2.0, show_default=True, help="Length of each step.")
@click.option("--steps", default=16, show_default=True, help="Most steps.")
@click.option("--ring-mib", default=64, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(
    stages: tuple[str, ...],
    kind: str,
    first: float,
    seconds: float,
    steps: int,
    ring_mib: int,
    as_json: bool,
) -> None:
    """Find the highest lossless rate of each stage."""
    if why := wire.missing():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(prefix="gridwarden-bench-") as name:
        folder = Path(name)
        mix, baseline = _prepare(folder, kind, "detect" in (stages or STAGES))
        rows = [_measure(stage, mix, baseline, first, seconds, steps, ring_mib) for stage in stages or STAGES]
    if as_json:
        print(json.dumps(rows))
    else:
        _show(rows)


def _prepare(folder: Path, kind: str, learn: bool) -> tuple[Path, Path]:
    """The frames to send, over and over, and a baseline of traffic like them."""
    mix, learning, baseline = (folder / name for name in ("mix.pcap", "learn.pcap", "site.baseline"))
    if kind == "real":
        write_mix(mix, NATIVE, 100_000)
        write_mix(learning, NATIVE, 20_000)
    else:
        KINDS[kind](mix, MADE_UP)
        KINDS[kind](learning, MADE_UP // 2)
    if learn:
        learn_apart(learning, baseline)
    return mix, baseline


def _measure(
    stage: str, mix: Path, baseline: Path, rate: float, seconds: float, steps: int, ring_mib: int
) -> dict[str, Any]:
    """Steps of growing rate until one loses frames."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    base = [sys.executable, "-m"]
    with wire.Cable() as cable:
        sensor = [*base, "benchmarks.live_stage", stage, cable.tap, str(baseline), str(ring_mib)]
        sending = [*base, "benchmarks.sender", cable.source, str(mix)]
        with (
            subprocess.Popen(wire.within(wire.SENSOR, *sensor), **pipes) as reader,
            subprocess.Popen(wire.within(wire.STATION, *sending), **pipes) as sender,
        ):
            told = _Told(reader.stdout)
            assert sender.stdin is not None
            assert sender.stdout is not None
            sender.stdout.readline()
            told.wait_for(0)
            done: list[dict[str, float]] = []
            total = 0
            for _ in range(steps):
                sender.stdin.write(f"{rate} {seconds}\n")
                sender.stdin.flush()
                sent, took = (float(word) for word in sender.stdout.readline().split())
                total += int(sent)
                lost = told.wait_for(total)
                done.append({"asked": rate, "rate": sent / took, "lost": lost, "sent": sent})
                print(f"{stage}: {sent / took:,.0f}/s, {lost:,} lost", file=sys.stderr)
                if lost or sent / took < 0.9 * rate:
                    break
                rate *= GROWTH
            reader.send_signal(signal.SIGINT)
            told.thread.join(60)
            sender.stdin.close()
    clean = [step["rate"] for step in done if not step["lost"]]
    return {
        "stage": stage,
        "lossless": max(clean, default=0.0),
        "sender_limit": done[-1]["rate"] if not done[-1]["lost"] else None,
        "first_loss": done[-1]["rate"] if done[-1]["lost"] else None,
        "lost": done[-1]["lost"],
        "steps": done,
        "end": told.last,
    }


class _Told:
    """What the stage says about itself, a JSON line ten times a second."""

    def __init__(self, pipe: IO[str] | None) -> None:
        assert pipe is not None
        self.last: dict[str, Any] = {}
        self._lost = 0
        self.thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self.thread.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            self.last = json.loads(line)

    def wait_for(self, frames: int) -> int:
        """Frames lost since the last call, once all that were sent are accounted for or nothing moves."""
        before, since = (-1, -1), time.monotonic()
        while not self.last or time.monotonic() - since < SETTLED:
            now = (self.last.get("frames", -1), self.last.get("lost", -1))
            if now != before:
                before, since = now, time.monotonic()
            if sum(now) == frames and self.last:
                break
            time.sleep(REPORT)
        missing = frames - before[0]
        lost, self._lost = missing - self._lost, missing
        return lost


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"Live capture, {os.cpu_count()} cores shared with the sender")
    for column in (
        "stage",
        "lossless frames/s",
        "first loss at",
        "lost of it",
        "CPU s per million",
        "peak MiB",
    ):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in rows:
        end = row["end"]
        loss = f"{row['first_loss']:,.0f}" if row["first_loss"] else "none: the sender's limit"
        table.add_row(
            row["stage"],
            f"{row['lossless']:,.0f}",
            loss,
            f"{row['lost']:,.0f}",
            f"{end.get('cpu_s', 0) / max(1, end.get('frames', 1)) * 1e6:.2f}",
            f"{end.get('peak_mib', 0):.0f}",
        )
    console = Console(width=120)
    console.print(table)
    for row in rows:
        for note in row["end"].get("notes", []):
            console.print(f"{row['stage']}: {note}", highlight=False)


if __name__ == "__main__":
    main()
