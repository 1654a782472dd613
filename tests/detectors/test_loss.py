"""Gaps while frames were being lost: a note about visibility when loss alone explains them, else an alert."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rule_bench import Rule, at
from synthetic import SECOND, START, FakeNames, i_frame, message, piece, s_frame
from test_goose_rules import beat, goose
from test_sv_rules import Streams

from detectors.base import Finding, Level, Reading
from detectors.baseline import Baseline
from detectors.groups import Lens
from detectors.loss import Losses
from detectors.rules.goose import GooseRules
from detectors.rules.iec104 import Iec104Rules
from detectors.rules.modbus import ModbusRules
from detectors.rules.sv import SvRules
from detectors.rules.tcp import TcpRules
from grid_profiles.loader import NATIVE_IDS
from grid_profiles.vocabulary import Flag, Role
from sensor.engines import open_engine
from sensor.pipeline import detect, learn
from sensor.slices import Slicer
from tests.lab import frames as f

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO


def block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def capture(path: Path, frames: Sequence[f.Stamped], lost: dict[int, int]) -> Path:
    """A pcapng in which some packets carry epb_dropcount: frames lost before them, by place."""
    octets = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    octets += block(1, struct.pack("<HHIHHB3xHH", 1, 0, 0, 9, 1, 9, 0, 0))
    for place, (ts, data) in enumerate(sorted(frames)):
        head = struct.pack("<IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, len(data), len(data))
        drops = struct.pack("<HHQHH", 4, 8, lost[place], 0, 0) if place in lost else b""
        octets += block(6, head + data + bytes(-len(data) % 4) + drops)
    path.write_bytes(octets)
    return path


def findings(path: Path, rule: Rule, batch: int = 1 << 16) -> list[Finding]:
    decoded = open_engine([path], "native", batch=batch)
    made = rule(Lens(decoded.names), None)
    return [found for cut in Slicer().run(decoded) for found in made.detect(cut)]


CASES = {
    "all explained": ([*beat(3), goose(3, 5, 7)], {3: 3}, ("goose-gap", INFO, "visibility")),
    "more missing than lost": ([*beat(3), goose(3, 5, 7)], {3: 2}, ("goose-gap", NOTICE, "visibility")),
    "lost long before": ([*beat(6), goose(6, 5, 12)], {1: 99}, ("goose-gap", NOTICE, "visibility")),
    "state skips": (
        [*beat(3), goose(3, 8, 0, changed=3)],
        {3: 9},
        ("goose-state-jump", NOTICE, "visibility"),
    ),
    "far jump": ([*beat(3), goose(3, 900, 0, changed=3)], {3: 999}, ("goose-state-jump", ALARM, "attack")),
    "late": ([*beat(3), goose(8, 5, 4)], {3: 9}, ("goose-expired", NOTICE, "visibility")),
    "replay": ([*beat(3), goose(3, 5, 2)], {3: 99}, ("goose-replay", ALARM, "attack")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_loss_explains_is_a_note(case: str, tmp_path: Path) -> None:
    frames, lost, (rule, level, reading) = CASES[case]
    path = capture(tmp_path / "lossy.pcapng", frames, lost)
    every = [findings(path, GooseRules, batch) for batch in (1, 2, 1 << 16)]
    assert every[0] == every[1] == every[2]
    (found,) = [one for one in every[0] if one.rule == rule]
    assert (found.level, found.reading) == (level, Reading(reading))
    near = case not in ("lost long before", "far jump", "replay")
    assert (f"the sensor lost {sum(lost.values())} frames meanwhile" in found.summary) == near
    if found.level <= NOTICE and near and case != "more missing than lost":
        assert (found.scores, found.technique) == ({"visibility": 1.0}, "")


def iec104(rows: list[Any], lost: int) -> list[tuple[str, Level, str]]:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    cut = piece(rows, 0)
    cut.lost = lost
    return [(one.rule, one.level, one.reading) for one in Iec104Rules(Lens(names)).detect(cut)]


def test_iec104_numbers_that_never_came_by() -> None:
    C, S = Role.CLIENT, Role.SERVER
    start = [i_frame(0, 0.1, S, 0, 0), s_frame(0, 0.2, 1)]
    gap = [*start, i_frame(0, 0.9, S, 4, 0, flags=Flag.GAP)]
    assert iec104(gap, 2) == [("iec104-gap", WARNING, "attack")]
    assert iec104(gap, 3) == [("iec104-gap", NOTICE, "visibility")]
    ahead = [*start, s_frame(0, 0.9, 3)]
    assert iec104(ahead, 0)[0][:2] == ("iec104-ack-ahead", WARNING)
    assert iec104(ahead, 2) == [("iec104-ack-ahead", NOTICE, "visibility")]
    jump = [*start, i_frame(0, 0.9, S, 5, 0)]  # no TCP byte is missing: nothing of it was lost
    assert iec104(jump, 99) == [("iec104-sequence-jump", WARNING, "attack")]
    assert C != S


def test_modbus_answers_that_were_lost() -> None:
    names = FakeNames()
    conv = names.conv("modbus", 1, 2)
    proto = names.protocol_id("modbus")
    asked = [message(n / 10, conv=conv, proto=proto, role=Role.CLIENT, kind=3, seq=n) for n in range(20)]
    for lost, wanted in ((19, (NOTICE, "fault")), (20, (INFO, "visibility"))):
        rules = ModbusRules(Lens(names))
        cut = piece(asked, 0)
        cut.lost = lost
        found = [*rules.detect(cut), *rules.detect(piece([], 10))]
        assert [(one.rule, one.level, one.reading) for one in found] == [("modbus-unanswered", *wanted)]


def test_samples_that_were_lost() -> None:
    bench = Streams()
    (cut,) = bench.slices([bench.sv(0.5, 3, seq=13, aux=10, value=3)])
    said = {}
    for lost in (0, 2, 3):
        cut.lost = lost
        (found,) = SvRules(Lens(bench.names)).detect(cut)
        said[lost] = (found.rule, found.level, found.reading)
    assert said[0] == said[2] == ("sv-gap", WARNING, said[0][2])
    assert said[3] == ("sv-gap", NOTICE, "visibility")


def chatter(seconds: int) -> list[f.Stamped]:
    """What moves the clock on."""
    return [
        (at(n / 2 + 0.01), f.udp_frame("10.0.0.1", "10.0.0.2", 40_000, 9_999, b"x" * 30))
        for n in range(2 * seconds)
    ]


def baseline(path: Path) -> Baseline:
    f.write_pcap(path, sorted([*beat(400), *chatter(400)]))
    decoded = open_engine([path], "native")
    return learn(decoded, decoded.names)


def test_silence_while_nothing_could_be_heard(tmp_path: Path) -> None:
    learned = baseline(tmp_path / "quiet.pcap")
    frames = sorted([*beat(20), *chatter(60)])
    stops = 1 + max(n for n, (_, data) in enumerate(frames) if b"\x88\xb8" in data[:20])
    said = {}
    for lost in (0, 1, 500):
        decoded = open_engine([capture(tmp_path / "stops.pcapng", frames, {stops: lost})], "native")
        alerts = detect(decoded, decoded.names, learned).alerts
        said[lost] = [(a.rule, a.level, a.reading) for a in alerts if a.rule in ("silence", "goose-expired")]
    assert ("silence", "warning", "fault") in said[0]
    assert said[1] == said[0]
    assert said[500]
    assert {reading for _, _, reading in said[500]} == {"visibility"}


def test_old_losses_are_forgotten_one_by_one() -> None:
    losses = Losses(limit=3)
    for second in range(0, 100, 10):
        cut = piece([], second)
        cut.lost = 1
        losses.see(cut)
    begin, end = piece([], 0).start, piece([], 99).end
    assert losses.between(begin, end) == 3


def lacking(connections: int, seconds: float = 2.5, count: int = 2) -> list[Any]:
    """Rows about acknowledged bytes that were not captured, one of each connection."""
    return [
        message(seconds, proto=NATIVE_IDS["tcp"], kind=7, stream=number, count=count, size=100)
        for number in range(connections)
    ]


def gap(seconds: float) -> Finding:
    ts = START + round(seconds * SECOND)
    return Finding(ts, "x", "y", WARNING, Reading.ATTACK, -1, -1, -1, -1, summary="a gap")


@pytest.mark.parametrize(("connections", "reading"), [(1, "attack"), (2, "attack"), (3, "visibility")])
def test_holes_of_one_connection_explain_nothing(connections: int, reading: str) -> None:
    losses = Losses()
    losses.see(piece(lacking(connections), 2))
    finding = losses.weigh(gap(3), START, missing=5)
    assert (finding.reading, finding.level) == (reading, NOTICE if connections == 3 else WARNING)
    assert ("lacks 6 acknowledged frames of 3 connections" in finding.summary) == (connections == 3)


def test_holes_explain_no_more_than_they_are_and_not_for_ever() -> None:
    losses = Losses()
    losses.see(piece(lacking(3), 2))
    for missing, second, lowered in ((6, 3, True), (7, 3, False), (1, 61, True), (1, 63, False)):
        finding = losses.weigh(gap(second), START, missing)
        assert (finding.level == NOTICE) == lowered


def polled(servers: int, lost: int) -> list[f.Stamped]:
    """A master polls; every tenth request to the first ``lost`` servers was not captured."""
    frames: list[f.Stamped] = []
    for server in range(servers):
        made = f.Talk("10.0.0.1", f"10.0.0.{10 + server}", 502, sport=40_000 + server)
        made.open(at(0))
        for n in range(30):
            made.client(at(1 + n), f.modbus_adu(n, 1, f.mb_read(3, 0, 2)))
            if n % 10 == 5 and server < lost:
                made.frames.pop()
            made.server(at(1.2 + n), f.modbus_adu(n, 1, f.mb_read_response(3, [1, 2])))
        frames += made.frames
    return sorted(frames)


@pytest.mark.parametrize(("lost", "told"), [(0, False), (2, False), (3, True), (4, True)])
def test_a_mirror_that_loses_frames_is_told(tmp_path: Path, lost: int, told: bool) -> None:
    path = tmp_path / "mirror.pcap"
    f.write_pcap(path, polled(4, lost))
    every = [findings(path, TcpRules, batch) for batch in (1, 7, 1 << 16)]
    assert every[0] == every[1] == every[2]
    assert {(one.rule, one.level, one.reading) for one in every[0]} == (
        {("frames-unseen", INFO, Reading.VISIBILITY)} if told else set()
    )
    decoded = open_engine([path], "native")
    list(decoded)
    assert any("the capture lacks" in note for note in decoded.notes) == bool(lost)
