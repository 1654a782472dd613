"""``make bench``: every stage on the same mix, in turn, with ratios to ``tshark -T fields``."""

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

from benchmarks.mix import FAMILIES, NATIVE, write_mix

SLOW = {"pyshark": 2_000, "pyshark_json": 10_000}
"""Packets for stages that would take minutes; rates are per packet, start-up is small beside them."""

HUNDRED_THOUSAND = ("tshark", "tshark_fields", "auto")


@click.command()
@click.option("--packets", default=1_000_000, show_default=True, help="For the native stages.")
@click.option("--tshark-packets", default=50_000, show_default=True)
@click.option("--runs", default=3, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(packets: int, tshark_packets: int, runs: int, as_json: bool) -> None:
    """Measure packets per second and peak memory, stage by stage, medians of several runs."""
    with tempfile.TemporaryDirectory(prefix="gridwarden-bench-") as folder:
        mixes = _write_mixes(Path(folder), packets, tshark_packets)
        results = _measure(mixes, runs)
    if as_json:
        print(json.dumps(results))
    else:
        _show(results)


def _write_mixes(folder: Path, packets: int, tshark_packets: int) -> dict[str, list[str]]:
    """Arguments of each stage."""
    large, middle = folder / "native.pcap", folder / "mix.pcap"
    write_mix(large, NATIVE, packets)
    write_mix(middle, FAMILIES, tshark_packets)
    learning = folder / "learn.pcap"
    write_mix(learning, NATIVE, 20_000)
    baseline = folder / "site.baseline"
    command = [
        sys.executable,
        "-m",
        "sensor",
        "learn",
        str(learning),
        "-o",
        str(baseline),
        "--engine",
        "native",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    arguments = {stage: [str(large)] for stage in ("read", "native")}
    arguments["detect"] = [str(large), str(baseline)]
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


def _show(results: list[dict[str, Any]]) -> None:
    table = Table(title=f"{platform.machine()}, Python {platform.python_version()}")
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
