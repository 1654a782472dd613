"""Attacks that read the capture: values in flight as the sensor decodes them, names and numbers."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from sensor.engines import open_engine
from sensor.simulate.attacks import fragments, mmsvalues, s7comm, uachunks
from sensor.simulate.build import dnp3 as d
from sensor.simulate.registry import attacks
from sensor.simulate.render import Rendered, render_one, write_capture
from sensor.simulate.scene import Scene, read_scene
from tests.lab import quiet
from tests.lab.frames import write_pcap

ANALOG = 30


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    folder = tmp_path_factory.mktemp("quiet")
    for name, make in quiet.CAPTURES.items():
        write_pcap(folder / f"{name}.pcap", make())
    return {name: read_scene([folder / f"{name}.pcap"]) for name in quiet.CAPTURES}


def told(path: Path, rendered: Rendered) -> dict[str, list[tuple[int, float]]]:
    """(time, value) of every point that the sensor decodes."""
    write_capture(path, rendered)
    engine = open_engine([path], "native")
    found: dict[str, list[tuple[int, float]]] = {}
    for batch in engine:
        for row in batch.points:
            name = engine.names.point(int(row["proto"]), int(row["point"]))
            found.setdefault(name, []).append((int(row["ts"]), float(row["value"])))
    return found


@pytest.mark.parametrize(
    ("capture", "name"),
    [
        ("dnp3", "dnp3-value-shift"),
        ("dnp3-udp", "dnp3-udp-value-shift"),
        ("mms", "mms-value-shift"),
        ("opcua", "opcua-value-shift"),
    ],
)
def test_values_are_raised_and_nothing_else(
    scenes: dict[str, Scene], capture: str, name: str, tmp_path: Path
) -> None:
    rendered = render_one(scenes[capture], attacks()[name])
    was, now = told(tmp_path / "a.pcapng", Rendered(scenes[capture])), told(tmp_path / "b.pcapng", rendered)
    event = rendered.events[name]
    assert was.keys() == now.keys()
    raised = 0
    for point, values in was.items():
        measured = not any(word in point for word in ("counter", "binary", "Pos", "StrVal"))
        for (ts, before), (_, after) in zip(values, now[point], strict=True):
            inside = event.start - 1e-6 <= ts / 1e9 <= event.end + 1e-6
            if after == before:
                continue
            assert inside
            assert measured, point
            assert after == pytest.approx(before * 1.4, abs=1.0)
            raised += 1
    assert raised > 50


def test_values_of_s7comm_are_raised(scenes: dict[str, Scene]) -> None:
    rendered = render_one(scenes["s7comm"], attacks()["s7comm-value-shift"])
    number = rendered.frames("s7comm-value-shift")[0]
    payload = rendered.scene.packets[number - 1].payload
    ((_, _, at, _, _),) = s7comm.messages(payload)
    (real,) = struct.unpack_from("!f", payload, at + 4)
    (word,) = struct.unpack_from("!h", payload, at + 12)
    original = scenes["s7comm"].packets[number - 1].payload
    assert real == pytest.approx(1.4 * struct.unpack_from("!f", original, at + 4)[0])
    assert word == round(1.4 * struct.unpack_from("!h", original, at + 12)[0])


def test_frozen_values_stand_still(scenes: dict[str, Scene], tmp_path: Path) -> None:
    rendered = render_one(scenes["dnp3"], attacks()["dnp3-value-freeze"])
    event = rendered.events["dnp3-value-freeze"]
    for point, values in told(tmp_path / "x.pcapng", rendered).items():
        inside = {value for ts, value in values if event.start < ts / 1e9 <= event.end}
        if "analog" in point:
            assert len(inside) == 1


def test_a_fragment_over_two_link_frames_is_changed_as_a_whole() -> None:
    values = b"".join(b"\1" + struct.pack("<i", 1_000 + n) for n in range(80))
    fragment = bytes([0xC1, 129, 0, 0]) + d.span(30, 1, 0, 79, values)
    frames = d.segments(0x44, fragment)
    assert len(frames) == 2
    changed = fragments.with_numbers(b"".join(frames), lambda key, value: value + 7)
    wanted = b"".join(b"\1" + struct.pack("<i", 1_007 + n) for n in range(80))
    assert changed == b"".join(d.segments(0x44, bytes([0xC1, 129, 0, 0]) + d.span(30, 1, 0, 79, wanted)))


@pytest.mark.parametrize("reader", [fragments.with_numbers, mmsvalues.with_numbers, s7comm.with_numbers])
def test_nothing_raises_on_what_a_segment_holds(scenes: dict[str, Scene], reader: object) -> None:
    assert callable(reader)
    noise = np.random.default_rng(5)
    for scene in scenes.values():
        for packet in scene.packets[:40]:
            for _ in range(20):
                octets = bytearray(packet.payload[: int(noise.integers(0, packet.size + 1))])
                for _ in range(int(noise.integers(0, 4)) if octets else 0):
                    octets[int(noise.integers(len(octets)))] = int(noise.integers(256))
                assert len(reader(bytes(octets), lambda key, value: value * 2)) == len(octets)
                for _, chunk in uachunks.chunks(bytes(octets)):
                    uachunks.asked(chunk)


@pytest.mark.parametrize("value", [math.inf, math.nan, -1e30])
def test_values_beyond_what_the_format_holds_raise_nothing(scenes: dict[str, Scene], value: float) -> None:
    readers = {"dnp3": fragments.with_numbers, "mms": mmsvalues.with_numbers, "s7comm": s7comm.with_numbers}
    for name, reader in readers.items():
        for packet in scenes[name].packets:
            reader(packet.payload, lambda key, old: value if isinstance(old, float) else 1 << 70)


@pytest.mark.parametrize(
    ("name", "capture", "words"),
    [
        ("mms-operate", "mms", f"{quiet.DOMAIN}/{quiet.SWITCH}"),
        ("mms-setting", "mms", f"{quiet.DOMAIN}/{quiet.LIMIT}"),
        ("s7comm-write", "s7comm", "DB10."),
    ],
)
def test_objects_are_those_of_the_capture(
    scenes: dict[str, Scene], name: str, capture: str, words: str
) -> None:
    assert words in render_one(scenes[capture], attacks()[name]).events[name].note


def test_the_numbers_of_a_channel_count_on(scenes: dict[str, Scene]) -> None:
    rendered = render_one(scenes["opcua"], attacks()["opcua-write-client"])
    (talk,) = rendered.scene.talks(uachunks.PORT)
    numbers: tuple[list[int], list[int]] = ([], [])
    for row, side in zip(talk.rows, talk.sides, strict=True):
        for _, chunk in uachunks.chunks(rendered.scene.packets[row].payload):
            if chunk[:3] == b"MSG":
                numbers[side].append(struct.unpack_from("<I", chunk, 16)[0])
    for side in numbers:
        assert side == list(range(side[0], side[0] + 121))


@pytest.mark.corpus
def test_names_are_found_in_real_captures(corpus: Path) -> None:
    scene = read_scene([corpus / "protocols" / "mms__iso9506-1-mms.pcap"])
    found = [mmsvalues.names(scene, talk) for talk in scene.talks(102)]
    assert any(names.domains and names.items for names in found)
