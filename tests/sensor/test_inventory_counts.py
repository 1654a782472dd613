"""Inventory: its counts are those of one look at each row, over several captures too."""

from __future__ import annotations

from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensor.engines import open_engine
from sensor.inventory import Inventory, Tallies
from tests.lab import frames as f

S = 1_000_000_000


def polls(path: Path, first: int, together: int) -> Path:
    """Requests of which some share a frame, with the same frame numbers in each file."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(first * S)
    for number in range(5):
        asked = b"".join(f.modbus_adu(number * 8 + n, 1, f.mb_read(3, n, 2)) for n in range(together))
        talk.client((first + number) * S, asked)
        talk.server((first + number) * S + 1, f.modbus_adu(number * 8, 1, f.mb_read_response(3, [1, 2])))
    query = f.udp_frame("10.0.0.1", "10.0.0.3", 1000, 53, b"?")
    f.write_pcap(path, sorted([*talk.frames, (first * S + 5, query)], key=lambda item: item[0]))
    return path


def bundled(name: str) -> Path:
    return Path(str(files("sensor") / "data" / "demo" / name))


def captures(which: str, folder: Path) -> list[Path]:
    if which == "bundled":
        return [bundled("bad_day.pcap.gz")]
    return [polls(folder / "a.pcap", 1, 3), polls(folder / "b.pcap", 100, 2), polls(folder / "c.pcap", 50, 1)]


@pytest.mark.parametrize("which", ["bundled", "several files"])
def test_counts_are_those_of_one_look_at_each_row(which: str, tmp_path: Path) -> None:
    decoded = open_engine(captures(which, tmp_path), "native")
    inventory = Inventory(decoded)
    messages: Counter[str] = Counter()
    frames: dict[str, set[tuple[int, int]]] = defaultdict(set)
    talks: dict[tuple[Any, ...], list[Any]] = {}
    before, file = 0, 0
    for batch in decoded:
        inventory.add(batch)
        for row in batch.messages:
            proto, frame = decoded.names.protocol(int(row["proto"])), int(row["frame"])
            file, before = file + (frame < before), frame
            messages[proto] += 1
            frames[proto].add((file, frame))
            words = decoded.names.conversation(int(row["conv"]))
            key = (words.client, words.server, words.protocol, words.port, words.sub)
            talk = talks.setdefault(key, [0, 0, float("inf"), 0.0, Counter()])
            ts = int(row["ts"]) / 1e9
            talk[0] += 1
            talk[1] += int(row["size"])
            talk[2], talk[3] = min(talk[2], ts), max(talk[3], ts)
            talk[4][decoded.names.kind(int(row["proto"]), int(row["kind"]))] += 1
    rows = {row["name"]: row for row in inventory.protocols()}
    assert {name: rows[name]["messages"] for name in messages} == dict(messages)
    counted = {name: len(own) for name, own in frames.items() if name not in ("tcp", "arp", "icmp")}
    assert {name: rows[name]["packets"] for name in counted} == counted
    made = {
        (row["src"], row["dst"], row["protocol"], row["port"], row["sub"]): [
            row["messages"],
            row["bytes"],
            row["first"],
            row["last"],
            Counter(row["kinds"]),
        ]
        for row in inventory.conversations()
    }
    assert made == talks
    assert inventory.messages == sum(messages.values()) > 20


def test_keys_beyond_the_limit_are_not_counted() -> None:
    tallies = Tallies(5)
    for keys in ([7, 7, 1], [1, 2, 3, 4, 5, 6], [6, 7, 900]):
        tallies.add(np.array(keys, np.int64))
    assert dict(tallies.items()) == {1: 2, 7: 3, 2: 1, 3: 1, 4: 1}


def test_a_flood_of_kinds_costs_only_the_flood() -> None:
    tallies = Tallies(100)
    for begin in range(0, 3_000, 50):
        tallies.add(np.arange(begin, begin + 50))
        tallies.add(np.array([3]))
    counts = dict(tallies.items())
    assert len(counts) == 100
    assert counts[3] == 61
