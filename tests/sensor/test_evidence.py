"""The frames of an alert: found in captures of any size, dissected by a real tshark, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.frames import apci_i, asdu, e_double, g_bool, goose_frame, goose_pdu, tcp_frame, write_pcap
from lxml import etree

from detectors.explain.catalogue import load_catalogue
from grid_profiles.loader import load_registry
from sensor.capture.pcapfile import CaptureFile
from sensor.capture.tshark_dissect import MAX_DEPTH, MAX_LINES, MAX_TEXT, dissection_of
from sensor.errors import CaptureError
from sensor.evidence import cut_out, evidence_of
from sensor.frames import FILE_SHIFT
from sensor.report.explained import chosen_lines

BLOCK = "IED1LD0/LLN0$GO$gcbTrip"
SECOND = 1_000_000_000


def goose(st_num: int, sq_num: int) -> bytes:
    pdu = goose_pdu(BLOCK, 4000, "IED1LD0/LLN0$ds", "trip", SECOND, st_num, sq_num, [g_bool(True)])
    return goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:07", 1, pdu)


def command(ioa: int) -> bytes:
    body = apci_i(0, 0, asdu(46, 6, 1, [(ioa, e_double(2))]))
    return tcp_frame("10.0.0.66", "10.0.0.7", 40000, 2404, 1, 1, 0x18, body)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """2,000 GOOSE frames with one command among them, as frame 1500."""
    frames = [(number * 1_000_000, goose(1, number)) for number in range(2000)]
    frames[1499] = (1499 * 1_000_000, command(4005))
    path = tmp_path / "day.pcap"
    write_pcap(path, frames)
    return path


def test_frames_are_cut_out_with_what_came_before(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "cut.pcapng"
    numbers = cut_out(CaptureFile(capture), [3, 1500, 1502], target, context=5)
    assert numbers == [1, 2, 3, *range(1495, 1503)]
    whole = {
        int(n): batch.frame(i) for batch in CaptureFile(capture).batches() for i, n in enumerate(batch.number)
    }
    cut = [batch.frame(row) for batch in CaptureFile(target).batches() for row in range(len(batch))]
    assert cut == [whole[number] for number in numbers]


def test_cutting_ends_at_the_last_frame_and_at_the_time_limit(capture: Path, tmp_path: Path) -> None:
    file = CaptureFile(capture)
    assert cut_out(file, [10], tmp_path / "a.pcapng", context=0) == [10]
    assert cut_out(file, [99_999], tmp_path / "b.pcapng", context=0, seconds=0.0) == []


@pytest.mark.tshark
def test_the_deciding_fields_are_there_and_marked(capture: Path) -> None:
    evidence = evidence_of([1500, 7], [str(capture)], 3)
    assert [piece.number for piece in evidence.pieces] == [1500, 7]
    assert evidence.problems == []
    catalogue = load_catalogue()
    first = evidence.pieces[0].dissection
    nodes = frozenset({"iec60870_104", "iec60870_asdu"})
    lines, _ = chosen_lines(first, catalogue.fields("new-command-source", "iec104"), nodes)
    marked = {line.name: line.text for line, mark in lines if mark}
    assert "4005" in marked["iec60870_asdu.ioa"]
    assert "C_DC_NA_1" in marked["iec60870_asdu.typeid"]
    assert "10.0.0.66" in marked["ip.src"]
    lines, _ = chosen_lines(
        evidence.pieces[1].dissection, catalogue.fields("goose-replay", "goose"), frozenset({"goose"})
    )
    marked = {line.name: line.text for line, mark in lines if mark}
    assert marked["goose.stNum"].endswith("1")
    assert marked["goose.sqNum"].endswith("6")
    assert set(marked) == {"eth.src", "goose.stNum", "goose.sqNum", "goose.t"}


@pytest.mark.tshark
def test_frames_of_several_files_come_from_their_own(capture: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.pcap"
    write_pcap(second, [(0, goose(9, 0))])
    evidence = evidence_of([(1 << FILE_SHIFT) + 1, 2], [str(capture), str(second)], 5)
    assert [(Path(piece.capture).name, piece.number) for piece in evidence.pieces] == [
        ("second.pcap", 1),
        ("day.pcap", 2),
    ]


@pytest.mark.tshark
def test_what_is_not_there_is_told(capture: Path) -> None:
    evidence = evidence_of([2, 5000, (3 << FILE_SHIFT) + 1], [str(capture)], 5)
    assert [piece.number for piece in evidence.pieces] == [2]
    assert {key for key, _ in evidence.problems} == {"evidence.missing", "evidence.no-file"}
    catalogue = load_catalogue()
    told = [catalogue.say(key, **values) for key, values in evidence.problems]
    assert any("5000" in text for text in told)


@pytest.mark.tshark
def test_only_so_many_frames(capture: Path) -> None:
    assert len(evidence_of(list(range(1, 20)), [str(capture)], 2).pieces) == 2


def test_a_machine_without_tshark_says_so(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensor.capture import tshark_process

    monkeypatch.setattr(tshark_process.shutil, "which", lambda *_args, **_given: None)
    evidence = evidence_of([1], [str(capture)], 1)
    assert evidence.pieces == []
    ((key, values),) = evidence.problems
    assert key == "evidence.failed"
    assert "tshark is not installed" in values["error"]


def test_a_capture_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CaptureError):
        evidence_of([1], [str(tmp_path / "none.pcap")], 1)


@pytest.mark.tshark
def test_tshark_knows_every_deciding_field() -> None:
    from sensor.capture.tshark_plan import field_types
    from sensor.capture.tshark_process import need_tshark

    catalogue = load_catalogue()
    names = {name for entry in catalogue.entries.values() for name in entry.fields}
    names |= {name for fields in catalogue.protocols.values() for name in fields}
    names.discard("@message")
    assert len(names) > 100
    assert names - field_types(need_tshark(), frozenset(names)).keys() == set()


def test_protocols_of_the_catalogue_are_profiles() -> None:
    registry = load_registry()
    for name in load_catalogue().protocols:
        assert registry.by_name(name).title


def packet(inner: str) -> object:
    return etree.fromstring(f"<packet>{inner}</packet>")


def test_a_huge_frame_is_bounded() -> None:
    lines = "".join(f'<field name="x.y" showname="line {n}"/>' for n in range(MAX_LINES + 50))
    made = dissection_of(packet(f'<proto name="x" showname="X">{lines}</proto>'), 1)
    assert len(made.lines) == MAX_LINES
    assert made.left_out == 51


def test_a_deep_frame_is_bounded() -> None:
    depth = MAX_DEPTH + 30
    nest = '<field name="x.y" showname="in">' * depth + "</field>" * depth
    made = dissection_of(packet(f'<proto name="x" showname="X">{nest}</proto>'), 1)
    assert max(line.depth for line in made.lines) == MAX_DEPTH
    assert made.left_out > 0


def test_hidden_lines_are_left_out_and_long_ones_cut() -> None:
    inner = (
        f'<field name="x.a" showname="{"a" * 900}"/><field name="x.b" showname="b" hide="yes"/>'
        '<field name="" show="only text"/>'
    )
    made = dissection_of(packet(f'<proto name="x" showname="X">{inner}</proto>'), 1)
    assert [line.name for line in made.lines] == ["x", "x.a", ""]
    assert len(made.lines[1].text) == MAX_TEXT
    assert made.lines[2].text == "only text"


def test_other_protocols_show_their_head_and_what_decided_only() -> None:
    inner = '<field name="{0}.a" showname="a"/><field name="{0}.b" showname="b"/>'
    frame = "".join(
        f'<proto name="{name}" showname="{name}">{inner.format(name)}</proto>' for name in ("eth", "x")
    )
    made = dissection_of(packet(frame), 1)
    lines, left_out = chosen_lines(made, ["eth.b"], frozenset({"x"}), most=1)
    assert [(line.name, marked) for line, marked in lines] == [
        ("eth", False),
        ("eth.b", True),
        ("x", False),
        ("x.a", False),
    ]
    assert left_out == 1
