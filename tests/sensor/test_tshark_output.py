"""tshark's output taken apart: columns, trees, spooled rows; hostile text, and a tshark that misbehaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import MESSAGE, POINT
from sensor.capture.expressions import Unclear
from sensor.capture.tshark_fields import BASE, ColumnLines, Columns, OnePoint, nanoseconds
from sensor.capture.tshark_plan import frame_filter
from sensor.capture.tshark_process import TsharkError, TsharkProcess
from sensor.capture.tshark_spool import HOLE, Chunk, Spool, mask_of, places_of
from sensor.capture.tshark_tree import Tree, TreeMap, TreePackets, plain_text
from sensor.errors import MissingToolError


class Pieces:
    """What a tshark would write, in given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def pieces(self) -> Iterator[bytes]:
        yield from self._pieces


def lines(*pieces: bytes) -> list[dict[str, str]]:
    return [found for _, found in ColumnLines(Pieces(*pieces), ("a", "b"))]  # type: ignore[arg-type]


def line(number: int, a: str, b: str) -> bytes:
    return "\t".join([str(number), *[""] * (len(BASE) - 1), a, b]).encode() + b"\n"


@given(st.integers(0, 2**33), st.integers(0, 999_999_999), st.booleans())
def test_times_are_exact(seconds: int, nanos: int, negative: bool) -> None:
    text = f"{'-' if negative else ''}{seconds}.{nanos:09d}"
    assert nanoseconds(text) == (-1 if negative else 1) * (seconds * 1_000_000_000 + nanos)


@given(st.text(max_size=30))
def test_no_text_is_a_time_by_accident(text: str) -> None:
    assert isinstance(nanoseconds(text), int)


@given(st.lists(st.integers(1, 200), max_size=6))
def test_lines_come_out_whatever_the_pieces(cuts: list[int]) -> None:
    text = line(1, "x", "") + line(2, "", "y\rz") + line(3, "", "")
    edges = sorted({0, len(text), *[cut % len(text) for cut in cuts]})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert lines(*pieces) == [{"a": "x"}, {"b": "y\rz"}, {}]


def test_columns_that_do_not_line_up_are_refused() -> None:
    with pytest.raises(TsharkError, match="columns instead of"):
        lines(line(1, "x\ty", ""))
    with pytest.raises(TsharkError, match="columns instead of"):
        lines(line(1, "x\n2\ty", ""))


def test_a_line_without_end_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.capture.tshark_fields.MAX_LINE", 1000)
    endless = [b"x" * 400] * 50
    reader = ColumnLines(Pieces(line(1, "x", ""), *endless, b"end\n", line(2, "y", "")), ("a", "b"))  # type: ignore[arg-type]
    assert [found for _, found in reader] == [{"a": "x"}, {"a": "y"}]
    assert reader.too_long == 1


def test_columns_know_what_they_cannot_tell() -> None:
    view = Columns({"a": "1\r2", "t": "C:\\x", "o": "00:ff"}, frozenset({"o"}))
    assert [view.shown("a", nth) for nth in (0, 1, -1, 2)] == ["1", "2", "2", None]
    assert view.octets("o", 0) == b"\x00\xff"
    assert view.text("o", 0) == "00ff"
    with pytest.raises(Unclear):
        view.text("t", 0)
    with pytest.raises(Unclear):
        view.octets("a", 0)
    with pytest.raises(Unclear):
        OnePoint({"a": "1\r2"}, frozenset()).shown("a", 0)


# --- the tree


def node(tag: str, name: str, *children: str, show: str = "", value: str = "") -> str:
    attributes = f"name={quoteattr(name)} show={quoteattr(show)} value={quoteattr(value)}"
    return f"<{tag} {attributes}>{''.join(children)}</{tag}>"


def field(name: str, show: str, *children: str, value: str = "") -> str:
    return node("field", name, *children, show=show, value=value)


def packet(number: int, *protos: str) -> str:
    head = f'<field name="num" pos="0" show="{number}" showname="Number" value="0" size="1"/>'
    return f'<packet>\n<proto name="geninfo" pos="0">{head}</proto>{"".join(protos)}</packet>\n\n'


def trees(
    profile: str, text: str | bytes, numbers: tuple[int, ...] = (1, 2, 3)
) -> list[tuple[int, list[Tree]]]:
    maps = {0: TreeMap(load_registry().by_name(profile))}
    data = text if isinstance(text, bytes) else text.encode()
    packets = TreePackets(Pieces(data), maps, frozenset(), np.array(numbers))  # type: ignore[arg-type]
    return [(number, found.get(0, [])) for number, found in packets]


def modbus(transaction: int, function: int) -> str:
    return node("proto", "mbtcp", field("mbtcp.trans_id", str(transaction))) + node(
        "proto", "modbus", field("modbus.func_code", str(function))
    )


def test_two_messages_of_a_frame_keep_their_own_fields() -> None:
    [(number, messages)] = trees("modbus", packet(1, modbus(7, 3), modbus(8, 16)))
    assert number == 1
    assert [one.shown("mbtcp.trans_id", 0) for one in messages] == ["7", "8"]
    assert [one.shown("modbus.func_code", 0) for one in messages] == ["3", "16"]


def test_a_node_listed_behind_belongs_to_the_message_before() -> None:
    apdus = [
        node("proto", "iec60870_104", field("iec60870_104.tx", "1")),
        node("proto", "iec60870_asdu", field("iec60870_asdu.typeid", "1")),
        node("proto", "iec60870_104", field("iec60870_104.utype", "0x04")),
        node("proto", "iec60870_104", field("iec60870_104.tx", "2")),
        node("proto", "iec60870_asdu", field("iec60870_asdu.typeid", "45")),
    ]
    [(_, messages)] = trees("iec104", packet(1, *apdus))
    assert [one.shown("iec60870_asdu.typeid", 0) for one in messages] == ["1", None, "45"]
    assert [one.shown("iec60870_104.tx", 0) for one in messages] == ["1", None, "2"]


def test_points_see_their_own_fields_then_the_head_of_the_message() -> None:
    asdu = node(
        "proto",
        "iec60870_asdu",
        field("iec60870_asdu.typeid", "1"),
        field("iec60870_asdu.ioa", "10", field("iec60870_asdu.siq.spi", "1")),
        field("iec60870_asdu.ioa", "11"),
    )
    [(_, [message])] = trees("iec104", packet(1, node("proto", "iec60870_104"), asdu))
    assert [point.shown("iec60870_asdu.ioa", 0) for point in message.points] == ["10", "11"]
    assert [point.shown("iec60870_asdu.siq.spi", 0) for point in message.points] == ["1", None]
    assert [point.shown("iec60870_asdu.typeid", 0) for point in message.points] == ["1", "1"]


def test_broken_and_endless_packets_spoil_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.capture.tshark_tree.MAX_PACKET", 20_000)
    deep = node("proto", "modbus", "<field>" * 300 + "</field>" * 300)
    wrong = packet(2, "<proto name='modbus'><field></proto>")
    large = packet(2, node("proto", "modbus", field("modbus.data", "0" * 40_000)))
    for bad in (packet(2, deep), wrong, large):
        found = trees("modbus", packet(1, modbus(1, 3)) + bad + packet(3, modbus(3, 3)))
        assert [number for number, messages in found if messages] == [1, 3]


def test_frames_nobody_asked_for_are_passed_over() -> None:
    text = "".join(packet(number, modbus(number, 3)) for number in (1, 2, 3))
    assert [number for number, _ in trees("modbus", text, (1, 3))] == [1, 3]


def test_no_entities() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY e "boom">]>'
    inner = '<proto name="modbus"><field name="modbus.func_code" show="&e;"/></proto>'
    assert trees("modbus", bomb + packet(1, inner)) == []


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(noise: bytes) -> None:
    found = trees("modbus", packet(1, modbus(1, 3)).encode() + noise)
    assert found[0][0] == 1


@given(st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=0x7F), max_size=20))
def test_text_with_escapes_comes_from_its_octets(text: str) -> None:
    shown = "".join(" " if c in "\t\n\r" else f"\\x{ord(c):x}" if ord(c) < 0x20 else c for c in text)
    assert plain_text(shown, text.encode().hex()) == text


def test_text_whose_octets_say_something_else_is_as_shown() -> None:
    assert plain_text("\\\\server", "5c005c00") == "\\\\server"
    assert plain_text("a\\b", "") == "a\\b"


# --- rows that wait


@given(st.lists(st.integers(0, 639), unique=True))
def test_places_survive_their_mask(places: list[int]) -> None:
    assert places_of(mask_of(places)) == sorted(places)


def test_a_spool_gives_back_what_it_got() -> None:
    spool = Spool()
    chunks = []
    for count in (3, 0, 5):
        messages, points, holes = np.zeros(count, MESSAGE), np.zeros(2 * count, POINT), np.zeros(1, HOLE)
        messages["seq"], holes["number"] = np.arange(count), count
        chunks.append(Chunk(messages, points, np.arange(count, dtype=np.int64), holes))
        spool.add(chunks[-1])
    for _ in range(2):
        for one, other in zip(spool.chunks(), chunks, strict=True):
            assert (one.messages == other.messages).all()
            assert len(one.points) == len(other.points)
            assert (one.order == other.order).all()
            assert (one.holes == other.holes).all()
    spool.close()


@given(st.sets(st.integers(1, 100_000), min_size=1, max_size=1500))
def test_a_frame_filter_covers_its_frames_in_few_ranges(frames: set[int]) -> None:
    numbers = np.array(sorted(frames))
    text = frame_filter(numbers)
    ranges = [part.strip("()").replace("frame.number", "").split("&&") for part in text.split(" || ")]
    spans = [(int(low.strip(" >=")), int(high.strip(" <="))) for low, high in ranges]
    assert len(spans) <= 200
    assert all(any(low <= number <= high for low, high in spans) for number in numbers.tolist())
    if len(spans) < 200:
        assert sum(high - low + 1 for low, high in spans) == len(frames)


# --- a tshark that misbehaves


def run(script: str, folder: Path, patience: float = 30.0) -> bytes:
    with TsharkProcess(["/bin/sh", "-c", script], folder, patience) as process:
        return b"".join(process.pieces())


def test_output_comes_whole(tmp_path: Path) -> None:
    assert run("printf hello; printf world", tmp_path) == b"helloworld"


def test_the_environment_is_small_and_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", "/somewhere")
    monkeypatch.setenv("A_SECRET", "secret")
    text = run("env", tmp_path).decode()
    assert f"WIRESHARK_CONFIG_DIR={tmp_path}\n" in text
    assert "TZ=UTC" in text
    assert "LC_ALL=C" in text
    assert "A_SECRET" not in text


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'tshark: no such preference' >&2; exit 1", "exit code 1.*no such preference"),
        ("kill -9 $$", "ended by SIGKILL"),
        ("kill -11 $$", "ended by SIGSEGV"),
    ],
)
def test_a_failure_says_what_happened(script: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TsharkError, match=words) as caught:
        run(script, tmp_path)
    assert isinstance(caught.value, MissingToolError)


def test_a_capture_that_ends_in_the_middle_of_a_packet_is_no_failure(tmp_path: Path) -> None:
    script = "echo data; echo 'tshark: file appears to have been cut short in a packet.' >&2; exit 2"
    assert run(script, tmp_path) == b"data\n"


def test_a_hanging_tshark_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TsharkError, match="hangs"):
        run("printf x; exec sleep 600", tmp_path, patience=0.3)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TsharkError, match="apt-get install tshark"):
        TsharkProcess([str(tmp_path / "tshark")], tmp_path)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    process = TsharkProcess([sys.executable, "-c", "while True: print('x' * 1000)"], tmp_path)
    pieces = process.pieces()
    next(pieces)
    process.close()
    process.close()
    with pytest.raises(ChildProcessError):  # it was waited for: no zombie
        os.waitpid(process.pid, os.WNOHANG)
