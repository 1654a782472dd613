"""``make bench``: every stage on the same mix, in turn, with ratios to ``tshark -T fields``.

``real`` is the mix of real captures, on which all engines run; ``substation``, ``process_bus`` and ``iiot``
are made-up traffic as dense as in a plant, on which the native path meets other programs.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.generate import KINDS
from benchmarks.mix import FAMILIES, NATIVE, write_mix
from benchmarks.peers import installed
from benchmarks.stages import learn_apart

SLOW = {"pyshark": 2_000, "pyshark_json": 10_000}
"""Packets for stages that would take minutes; rates are per packet, start-up is small beside them."""

HUNDRED_THOUSAND = ("tshark", "tshark_fields", "auto")


@click.command()
@click.argument("mixes", nargs=-1, type=click.Choice(["real", *KINDS]))
@click.option("--packets", default=1_000_000, show_default=True, help="For the native stages.")
@click.option("--tshark-packets", default=50_000, show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(mixes: tuple[str, ...], packets: int, tshark_packets: int, runs: int, as_json: bool) -> None:
    """Measure packets per second and peak memory, stage by stage, medians of several runs."""
    results: dict[str, list[dict[str, Any]]] = {}
    for mix in mixes or ("real", "substation"):
        with tempfile.TemporaryDirectory(prefix="gridwarden-bench-") as folder:
            make = _write_mixes if mix == "real" else _write_made_up
            results[mix] = _measure(make(Path(folder), packets, tshark_packets, mix), runs)
    if as_json:
        print(json.dumps(results))
        return
    for mix, rows in results.items():
        _show(mix, rows)


def _write_made_up(folder: Path, packets: int, tshark_packets: int, mix: str) -> dict[str, list[str]]:
    """Arguments of each stage for a generated mix; the baseline is learned from the first part of it."""
    large, small, learning, baseline = (folder / n for n in ("large.pcap", "small.pcap", "learn.pcap", "b"))
    KINDS[mix](large, packets)
    KINDS[mix](small, tshark_packets)
    KINDS[mix](learning, max(packets // 4, 50_000))
    learn_apart(learning, baseline)
    arguments = {stage: [str(large)] for stage in ("read", "native", "aggregate", *installed())}
    for stage in ("detect", "detect_cores"):
        arguments[stage] = [str(large), str(baseline)]
    arguments["tshark_fields"] = [str(small)]
    return arguments


def _write_mixes(folder: Path, packets: int, tshark_packets: int, mix: str) -> dict[str, list[str]]:
    """Arguments of each stage."""
    large, middle = folder / "native.pcap", folder / "mix.pcap"
    write_mix(large, NATIVE, packets)
    write_mix(middle, FAMILIES, tshark_packets)
    learning = folder / "learn.pcap"
    write_mix(learning, NATIVE, 20_000)
    baseline = folder / "site.baseline"
    learn_apart(learning, baseline)
    arguments = {stage: [str(large)] for stage in ("read", "native", "aggregate")}
    for stage in ("detect", "detect_cores"):
        arguments[stage] = [str(large), str(baseline)]
    for stage in HUNDRED_THOUSAND:
        arguments[stage] = [str(middle)]
    for stage, count in SLOW.items():
        path = folder / f"{stage}.pcap"
        write_mix(path, FAMILIES, count)
        arguments[stage] = [str(path)]
    return arguments


def _measure(arguments: dict[str, list[str]], runs: int) -> list[dict[str, Any]]:
    rows: dict[str, list[dict[str, float]]] = {stage: [] for stage in arguments}
    for run in range(runs):
        for stage, args in arguments.items():
            command = [sys.executable, "-m", "benchmarks.stages", stage, *args]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows[stage].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"run {run + 1}/{runs} {stage}: {rows[stage][-1]['seconds']:.2f} s", file=sys.stderr)
    results = []
    for stage, samples in rows.items():
        rates = sorted(sample["packets"] / sample["seconds"] for sample in samples)
        results.append(
            {
                "stage": stage,
                "packets": samples[0]["packets"],
                "packets_per_s": median(rates),
                "slowest": rates[0],
                "fastest": rates[-1],
                "peak_mib": max(sample["peak_mib"] for sample in samples),
            }
        )
    bare = next(row["packets_per_s"] for row in results if row["stage"] == "tshark_fields")
    for row in results:
        row["ratio_to_tshark_fields"] = row["packets_per_s"] / bare
    return results


def _show(mix: str, results: list[dict[str, Any]]) -> None:
    table = Table(title=f"{mix}: {platform.machine()}, Python {platform.python_version()}")
    for column in ("stage", "packets", "packets/s (median)", "range", "× tshark -T fields", "peak MiB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in results:
        table.add_row(
            row["stage"],
            f"{row['packets']:,}",
            f"{row['packets_per_s']:,.0f}",
            f"{row['slowest']:,.0f}–{row['fastest']:,.0f}",
            f"{row['ratio_to_tshark_fields']:.2f}",
            f"{row['peak_mib']:.0f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
