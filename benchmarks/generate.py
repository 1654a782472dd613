"""Made-up captures of any size to measure on: ``python -m benchmarks.generate KIND FILE --packets N``.

Three mixes, seeded, with exact time bases and TCP sessions that begin, number and acknowledge as they should:
``substation`` (merging units, GOOSE, PTP and the station bus), ``process_bus`` (the first three only) and
``iiot`` (Modbus, MQTT, OPC UA, DNS, NTP, ARP). Nothing in them comes from a real network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks import payloads as p
from benchmarks.sources import SECOND, Host, Source
from sensor.capture.pcapwrite import CaptureWriter
from sensor.frames import LINK_ETHERNET, FrameBatch

CHUNK, LONGEST = SECOND // 2, 64 * SECOND
"""Capture time made at once: short at first, longer where little is sent."""

FEW = 50_000


def merge(sources: Sequence[Source], packets: int) -> Iterator[FrameBatch]:
    """All frames of all sources in the order of time, until there are ``packets``."""
    begin = count = 0
    chunk = CHUNK
    while count < packets:
        pieces = [piece for source in sources for piece in source.frames(begin, begin + chunk)]
        begin += chunk
        if sum(len(times) for times, _ in pieces) < FEW:
            chunk = min(2 * chunk, LONGEST)
        if not pieces:
            continue
        times = np.concatenate([times for times, _ in pieces])
        sizes = np.concatenate([np.full(len(own), frames.shape[1], np.int64) for own, frames in pieces])
        data = np.concatenate([frames.reshape(-1) for _, frames in pieces])
        order = np.argsort(times, kind="stable")[: packets - count]
        taken = sizes[order].astype(np.int32)
        yield FrameBatch(
            data,
            (np.cumsum(sizes) - sizes)[order],
            taken,
            taken,
            p.EPOCH * SECOND + times[order],
            np.full(len(order), LINK_ETHERNET, np.int32),
            count + 1 + np.arange(len(order), dtype=np.int64),
        )
        count += len(order)


def write(path: Path, sources: Sequence[Source], packets: int) -> int:
    """Write a pcap with times to the nanosecond; returns how many packets it has."""
    with path.open("wb") as file:
        writer = CaptureWriter(file, LINK_ETHERNET)
        for batch in merge(sources, packets):
            writer.write(batch)
    return writer.frames


def process_bus(units: int = 8, publishers: int = 20, seed: int = 1) -> list[Source]:
    """Merging units at 4,000 frames a second, GOOSE publishers, a grandmaster."""
    sources: list[Source] = [p.merging_unit(number, seed) for number in range(1, units + 1)]
    sources += [p.GoosePublisher(number, seed) for number in range(1, publishers + 1)]
    sources += p.ptp_clock(seed)
    return sources


def substation(units: int = 8, publishers: int = 20, stations: int = 12, seed: int = 1) -> list[Source]:
    """The process bus and a control centre that talks to ``stations`` devices in three protocols."""
    rng = np.random.default_rng((seed, 2))
    sources = process_bus(units, publishers, seed)
    scada, hmi, clock = Host(10), Host(11), Host(1)
    for number in range(stations):
        device = Host(100 + number)
        phase = int(rng.integers(SECOND))
        sources.append(p.iec104(scada, device, SECOND, phase, 41_000 + number))
        sources.append(p.modbus(scada, device, SECOND // 5, phase, sport=40_000 + number))
        sources.append(p.mms(hmi, device, SECOND // 2, phase, 42_000 + number))
        sources.append(p.ntp(device, clock, 64 * SECOND, phase))
        sources.append(p.arp(scada, device, 60 * SECOND, phase))
    return sources


def iiot(devices: int = 200, seed: int = 1) -> list[Source]:
    """Many small devices: PLCs, gateways, servers."""
    rng = np.random.default_rng((seed, 3))
    broker, scada, server, resolver = Host(20), Host(21), Host(22), Host(2)
    sources: list[Source] = []
    for number in range(devices):
        device = Host(1000 + number)
        phase = int(rng.integers(SECOND))
        sources.append(p.mqtt(device, broker, int(rng.integers(200, 2000)) * p.MILLI, phase, number))
        if number % 2:
            sources.append(
                p.modbus(scada, device, int(rng.integers(50, 500)) * p.MILLI, phase, sport=20_000 + number)
            )
        if number % 4 == 0:
            sources.append(
                p.opcua(server, device, int(rng.integers(100, 1000)) * p.MILLI, phase, 30_000 + number)
            )
        sources.append(p.dns(device, resolver, int(rng.integers(10, 60)) * SECOND, phase))
        sources.append(p.ntp(device, resolver, 64 * SECOND, phase + SECOND))
        sources.append(p.arp(device, resolver, 30 * SECOND, phase))
    return sources


def write_process_bus(path: Path, packets: int, units: int = 8, publishers: int = 20, seed: int = 1) -> int:
    """A capture of a process bus: sampled values, GOOSE and PTP."""
    return write(path, process_bus(units, publishers, seed), packets)


def write_substation(
    path: Path, packets: int, units: int = 8, publishers: int = 20, stations: int = 12, seed: int = 1
) -> int:
    """A capture of a substation: process bus and station bus."""
    return write(path, substation(units, publishers, stations, seed), packets)


def write_iiot(path: Path, packets: int, devices: int = 200, seed: int = 1) -> int:
    """A capture of an industrial network of many small devices."""
    return write(path, iiot(devices, seed), packets)


KINDS: dict[str, Callable[..., int]] = {
    "substation": write_substation,
    "process_bus": write_process_bus,
    "iiot": write_iiot,
}


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--packets", default=1_000_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(kind: str, path: Path, packets: int, seed: int) -> None:
    """Write a made-up capture."""
    print(f"{KINDS[kind](path, packets, seed=seed):,} packets in {path}")


if __name__ == "__main__":
    main()
