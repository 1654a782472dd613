"""From a recording to a capture in station time.

Time stamps are stretched by :data:`~tests.lab.station.FACTOR`; the clock command that the
control centre's stack filled from the machine's clock gets station time too; TCP and UDP
checksums, which a virtual link leaves to hardware that is not there, are filled in.
Nothing else changes: every other octet is as it was on the wire.
"""

from __future__ import annotations

import csv
import gzip
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.lab.frames import Stamped, cp56, transport_sum
from tests.lab.scenario import Scenario
from tests.lab.station import FACTOR, MACS, NODES, PUBLISHERS, Clock

LABEL_COLUMNS = ("start", "end", "label", "technique", "src", "dst", "note")
MANIFEST_COLUMNS = (
    "set", "scenario", "role", "file", "protocol", "packets", "duration_s", "attack_events",
    "real_or_reconstructed", "origin_repo", "notes",
)  # fmt: skip


def read_pcap(path: Path) -> Iterator[Stamped]:
    """Frames of a little-endian nanosecond pcap file, gzip or not (what editcap and the lab write)."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if data[:4] != bytes.fromhex("4d3cb2a1"):
        raise ValueError(f"{path}: not a nanosecond pcap file")
    at = 24
    while at + 16 <= len(data):
        seconds, nanos, size, _ = struct.unpack_from("<IIII", data, at)
        yield seconds * 1_000_000_000 + nanos, data[at + 16 : at + 16 + size]
        at += 16 + size


def _clock_commands(payload: bytes, sent_by_stack: bool, station_ns: int) -> bytes:
    """The same APDUs with station time in C_CS_NA_1."""
    out, at = bytearray(payload), 0
    while sent_by_stack and at + 6 <= len(out) and out[at] == 0x68:
        # type 103, general: time behind APCI (6), ASDU head (6), IOA (3)
        if not out[at + 2] & 1 and out[at + 1] >= 20 and out[at + 6] == 103:
            out[at + 15 : at + 22] = cp56(station_ns)
        at += 2 + out[at + 1]
    return bytes(out)


def repair(frame: bytes, station_ns: int, clock: Clock) -> bytes:
    """Fill in transport checksums of an IPv4 frame; put station time in stack-made clock commands."""
    if frame[12:14] != b"\x08\x00":
        return frame
    header = (frame[14] & 15) * 4
    total = int.from_bytes(frame[16:18], "big")
    protocol, segment = frame[23], bytearray(frame[14 + header : 14 + total])
    source, target = frame[26:30], frame[30:34]
    if protocol == 6:
        body = (segment[12] >> 4) * 4
        if 2404 in (int.from_bytes(segment[0:2], "big"), int.from_bytes(segment[2:4], "big")):
            segment[body:] = _clock_commands(
                bytes(segment[body:]), _stack_time(segment[body:], clock), station_ns
            )
        field = 16
    elif protocol == 17:
        field = 6
    else:
        return frame
    segment[field : field + 2] = b"\0\0"
    segment[field : field + 2] = struct.pack("!H", transport_sum(source, target, protocol, bytes(segment)))
    return frame[: 14 + header] + bytes(segment) + frame[14 + total :]


def _stack_time(payload: bytes | bytearray, clock: Clock) -> bool:
    """Whether a clock command carries the machine's date, which is not the station's (2026-03)."""
    if len(payload) < 22 or payload[6] != 103:
        return False
    station = cp56(clock.ns())
    return payload[19:22] != station[4:7] and payload[20] != station[5]


def stretch(frames: Iterable[Stamped], scenario: Scenario, clock: Clock) -> list[Stamped]:
    """Frames of the scenario's span in station time."""
    end = scenario.base_ns + int(scenario.duration * 1e9)
    out = []
    for wall, frame in frames:
        ts = clock.to_station(wall)
        if scenario.base_ns <= ts < end:
            out.append((ts, repair(frame, ts, clock)))
    return sorted(out, key=lambda item: item[0])


def address_of(name: str) -> str:
    """Addresses in a label: of nodes and GOOSE groups (``ied3.group``), separated by semicolons."""
    if " " in name:
        return ";".join(address_of(part) for part in name.split())
    if name.endswith(".group"):
        return PUBLISHERS[name.removesuffix(".group")].group
    return MACS[name] if name in PUBLISHERS else NODES.get(name, name)


def labels(scenario: Scenario, told: Iterable[dict[str, object]], clock: Clock) -> list[dict[str, str]]:
    """Rows of the label file: what the intruders told, and the scenario's faults."""
    rows = []
    for item in told:
        start, end = (clock.to_station(int(str(item[key]))) / 1e9 for key in ("start", "end"))
        rows.append({**{key: str(item[key]) for key in ("technique", "src", "dst", "note")},
                     "start": f"{start:.6f}", "end": f"{end:.6f}", "label": "attack"})  # fmt: skip
    base = scenario.base_ns / 1e9
    rows += [
        {"start": f"{base + span.start:.6f}", "end": f"{base + span.end + span.settle:.6f}",
         "label": span.label, "technique": span.technique, "src": address_of(span.src),
         "dst": address_of(span.dst), "note": span.note}
        for span in scenario.spans if span.label
    ]  # fmt: skip
    return sorted(rows, key=lambda row: float(row["start"]))


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    """Write a CSV file with a header."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def update_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Replace the rows of the files just recorded, keep the others, in the order of the scenarios."""
    known = {}
    if path.exists():
        with path.open(newline="") as file:
            known = {row["file"]: row for row in csv.DictReader(file)}
    known.update({row["file"]: row for row in rows})
    order = [f"{name}.pcap.gz" for name in SCENARIO_NOTES]
    write_rows(path, MANIFEST_COLUMNS, [known[name] for name in order if name in known])


def manifest_row(scenario: Scenario, file: str, frames: list[Stamped], attacks: int) -> dict[str, str]:
    """Row of the manifest for one capture."""
    return {
        "set": "demo", "scenario": "station", "role": scenario.role, "file": file,
        "protocol": "iec104+modbus+goose", "packets": str(len(frames)),
        "duration_s": f"{(frames[-1][0] - frames[0][0]) / 1e9:.3f}", "attack_events": str(attacks),
        "real_or_reconstructed": f"recorded in a lab, time stretched by {FACTOR}",
        "origin_repo": "this project, tests/lab", "notes": (SCENARIO_NOTES[scenario.name]),
    }  # fmt: skip


SCENARIO_NOTES = {
    "quiet_hour": "learn from this: every routine and every legitimate command place appears",
    "quiet_test": "attack-free minutes of the next day, for false alarms",
    "bad_day": "thirteen attacks and five benign disturbances, labelled",
}
