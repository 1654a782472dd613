"""Every simulated attack: well-formed frames, order of time, right numbers, labels that fit."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.generate import write_iiot, write_substation
from grid_profiles.attack import techniques
from grid_profiles.vocabulary import Flag
from sensor.engines import open_engine
from sensor.labels import format_labels, parse_labels
from sensor.simulate.attacks.apdus import apdus, received, sent
from sensor.simulate.packets import TCP, dissect, rebuilt
from sensor.simulate.registry import attacks, chosen
from sensor.simulate.render import Rendered, render, render_one, write_capture
from sensor.simulate.scene import Scene, read_scene
from sensor.simulate.stage import NotOffered
from tests.lab import quiet
from tests.lab.frames import write_pcap

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "sensor" / "data" / "demo" / "quiet_test.pcap.gz"
CHECKS = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
FINE = ("Connection", "Duplicate ACK", "Duplicate IP", "ACK", "Previous segment")
"""Remarks of tshark that say what a frame does, or that the attack is what it is."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    folder = tmp_path_factory.mktemp("scenes")
    write_substation(folder / "s.pcap", 60_000)
    write_iiot(folder / "i.pcap", 6_000)
    for name, make in quiet.CAPTURES.items():
        write_pcap(folder / f"{name}.pcap", make())
    return {name: read_scene([folder / f"{name}.pcap"]) for name in quiet.CAPTURES} | {
        "demo": read_scene([DEMO]),
        "substation": read_scene([folder / "s.pcap"]),
        "iiot": read_scene([folder / "i.pcap"]),
    }


def offered(scenes: dict[str, Scene], name: str) -> Rendered:
    missing = ""
    for scene in scenes.values():
        try:
            return render_one(scene, attacks()[name])
        except NotOffered as problem:
            missing = str(problem)
    pytest.fail(f"no capture here offers {name}: {missing}")


@pytest.mark.tshark
@pytest.mark.parametrize("name", list(attacks()))
def test_an_attack_is_well_formed_and_labelled(scenes: dict[str, Scene], name: str, tmp_path: Path) -> None:
    rendered = offered(scenes, name)
    packets, event = rendered.scene.packets, rendered.events[name]
    times = [packet.ts for packet in packets]
    assert times == sorted(times)
    mine = rendered.frames(name)
    for number in mine:
        assert event.start - 1e-6 <= packets[number - 1].ts / 1e9 <= event.end + 1e-6
    assert event.hosts
    assert parse_labels(format_labels([event]))[0].technique in techniques()
    touched = tmp_path / "x.pcapng"
    write_capture(touched, rendered)
    problems = [line for line in tshark(touched) if int(line[0]) in set(mine)]
    assert not problems, problems[:5]
    kinds, malformed = decoded(touched, mine)
    protocol = attacks()[name].protocol
    assert not malformed or name in ODD
    assert not mine or kinds & NATIVE.get(protocol, {protocol}) or name in MUTE


NATIVE = {"enip": {"enip", "cip"}, "profinet": {"profinet_dcp"}}
"""Names of profiles that are not the attack's."""

MUTE = {"iec104-block-reports", *(name for name in attacks() if name.endswith("-suppress"))}
"""What is left of their frames are acknowledgements."""

ODD = {"modbus-scan-functions"}
"""It asks for functions without what they need."""


def decoded(path: Path, frames: list[int]) -> tuple[set[str], bool]:
    """Protocols that the native engine finds in some frames, and whether anything in them is malformed."""
    engine = open_engine([path], "native")
    rows = np.concatenate([batch.messages for batch in engine])
    rows = rows[np.isin(rows["frame"], frames)]
    malformed = bool(np.any(rows["flags"] & np.uint32(Flag.MALFORMED)))
    return {engine.names.protocol(proto) for proto in rows["proto"].tolist()}, malformed


def tshark(path: Path) -> list[tuple[str, ...]]:
    """(frame, remark) of frames that tshark finds malformed, with a wrong checksum, or remarkable."""
    wanted = ["-Y", "_ws.malformed || _ws.expert.severity >= 0x600000", "-T", "fields"]
    fields = ["-e", "frame.number", "-e", "_ws.expert.message"]
    options = [part for check in CHECKS for part in ("-o", f"{check}:TRUE")]
    done = subprocess.run(
        ["tshark", "-r", str(path), *options, *wanted, *fields], capture_output=True, text=True, check=True
    )
    rows = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    return [row for row in rows if not row[1].startswith(FINE)]


@pytest.mark.tshark
@pytest.mark.parametrize("name", ["modbus-write-master", "iec104-command-master", "modbus-suppress"])
def test_a_hijacked_connection_stays_in_order(scenes: dict[str, Scene], name: str, tmp_path: Path) -> None:
    rendered = render_one(scenes["demo"], attacks()[name])
    path = tmp_path / "x.pcapng"
    write_capture(path, rendered)
    lost = "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment || tcp.analysis.retransmission"
    done = subprocess.run(["tshark", "-r", str(path), "-Y", lost], capture_output=True, text=True, check=True)
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["iec104-command-master", "iec104-block-reports", "iec104-slow-command"])
def test_iec104_numbers_count_on(scenes: dict[str, Scene], name: str) -> None:
    rendered = render_one(scenes["demo"], attacks()[name])
    event = rendered.events[name]
    checked = 0
    for talk in rendered.scene.talks(2404):
        if not set(talk.hosts) <= event.hosts:
            continue
        counted: list[int | None] = [None, None]
        for row, side in zip(talk.rows, talk.sides, strict=True):
            for _, apdu in apdus(rendered.scene.packets[row].payload):
                if apdu[2] & 3 != 3 and counted[1 - side] is not None:
                    assert received(apdu) <= counted[1 - side]  # nobody acknowledges what was not sent
                if not apdu[2] & 1:
                    assert counted[side] in (None, sent(apdu))
                    counted[side] = sent(apdu) + 1
                    checked += 1
    assert checked > 20


def test_the_same_seed_gives_the_same_frames(scenes: dict[str, Scene]) -> None:
    one = attacks()["modbus-scan-units"]
    first, again, other = (render_one(scenes["demo"], one, seed).scene for seed in (1, 1, 2))
    assert [p.data for p in first.packets] == [p.data for p in again.packets]
    assert [p.data for p in first.packets] != [p.data for p in other.packets]


def test_several_attacks_share_a_capture_without_overlap(scenes: dict[str, Scene]) -> None:
    wanted = chosen(("goose-takeover", "modbus-write-master", "iec104-command-master", "sv"))
    rendered = render(scenes["demo"], wanted)
    assert set(rendered.events) == {"goose-takeover", "modbus-write-master", "iec104-command-master"}
    assert "sv-freeze" in rendered.skipped
    spans = sorted((event.start, event.end) for event in rendered.events.values())
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
    assert all(rendered.frames(name) for name in rendered.events)


def test_a_rebuilt_packet_is_the_packet(scenes: dict[str, Scene]) -> None:
    packets = [p for p in scenes["demo"].packets if p.proto == TCP][:200]
    assert packets
    for packet in packets:
        assert rebuilt(packet).data == packet.data


def test_nothing_raises_on_what_a_frame_holds(scenes: dict[str, Scene]) -> None:
    for packet in scenes["demo"].packets[:60]:
        for size in range(len(packet.data)):
            assert dissect(0, packet.data[:size]).ts == 0


def test_the_documentation_lists_every_attack() -> None:
    script = [sys.executable, str(ROOT / "docs" / "simulate_reference.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


CORPUS = {
    "dnp3": "dnp3__dnp3_dnp3_test_data_part1.pcap",
    "s7comm": "s7comm__s7_snap7_s300_everything.pcapng",
}


@pytest.mark.corpus
@pytest.mark.tshark
@pytest.mark.parametrize("protocol", list(CORPUS))
def test_attacks_on_real_captures_are_well_formed(corpus: Path, protocol: str, tmp_path: Path) -> None:
    scene = read_scene([corpus / "protocols" / CORPUS[protocol]])
    done = 0
    for attack in chosen((protocol,)):
        try:
            rendered = render_one(scene, attack)
        except NotOffered:
            continue
        path = tmp_path / f"{attack.id}.pcapng"
        write_capture(path, rendered)
        mine = set(rendered.frames(attack.id))
        assert not [row for row in tshark(path) if int(row[0]) in mine]
        done += 1
    assert done
