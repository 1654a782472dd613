"""Bad input, kind by kind: the message says what, where and what to do; the exit code is what scripts get."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sensor.cli import main
from tests.lab.frames import write_pcap

DEMO = Path(__file__).parents[2] / "sensor" / "data" / "demo"
LABELS = "start,end,label,technique,src,dst,note\n"


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound capture, uncompressed."""
    path = tmp_path_factory.mktemp("capture") / "good.pcap"
    path.write_bytes(gzip.decompress((DEMO / "quiet_test.pcap.gz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def baseline(good: Path) -> Path:
    path = good.with_name("site.baseline")
    done = call("learn", good, "-o", path, "--engine", "native")
    assert done.exit_code == 0, done.output
    return path


def test_truncated_last_packet(good: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(good.read_bytes()[:50_001])
    done = call("inspect", cut, "--json", "--engine", "native")
    assert done.exit_code == 0
    assert f"{cut}: at byte 49903: the last packet is cut off, 98 bytes of it are there" in done.stderr
    assert json.loads(done.stdout)["packets"] == 466


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "at byte 0: the file is empty. Check that the capture was running"),
        (
            b"hello, this is text\n",
            "at byte 0: this is a text file, not a capture. Give a pcap or pcapng file",
        ),
    ],
    ids=["zero-length", "text"],
)
def test_no_capture_at_all(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    done = call("inspect", path)
    assert done.exit_code == 3
    assert f"{path}: {told}" in done.stderr


def test_missing_file_and_empty_glob(tmp_path: Path) -> None:
    for name in ("nothing.pcap", "*.pcap"):
        done = call("inspect", tmp_path / name)
        assert done.exit_code == 3
        assert str(tmp_path / name) in done.stderr


def test_unsupported_link_type_is_told_and_the_frames_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "link.pcap"
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 147)
    path.write_bytes(head + 3 * (struct.pack("<IIII", 1, 0, 10, 10) + b"x" * 10))
    done = call("inspect", path, "--json", "--engine", "native")
    assert done.exit_code == 0
    assert f"{path}: at byte 0: link type 147 (USER0) is not read by the native engine" in done.stderr
    record = json.loads(done.stdout)
    assert (record["packets"], record["undecoded"]) == (3, 3)


def test_a_bad_file_among_good_ones_costs_only_itself(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"not a capture\n")
    done = call("inspect", bad, good, "--json", "--engine", "native")
    assert done.exit_code == 0
    assert f"{bad}: at byte 0: this is a text file" in done.stderr
    assert json.loads(done.stdout)["packets"] == 4809


def newer(source: Path, target: Path) -> None:
    """The same baseline with a format number from the future."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            if member == "manifest.json":
                data = json.dumps(json.loads(data) | {"format": 99}).encode()
            new.writestr(member, data)


def changed(source: Path, target: Path) -> None:
    """One member altered behind the manifest's back."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, data if member == "manifest.json" else data + b"\n")


def cut_short(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:3000])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut_short, "not a baseline or damaged"),
        (changed, "checksum"),
        (
            newer,
            "format 99, written by gridwarden 0.1.0; this program reads up to format 2. Update gridwarden",
        ),
    ],
)
def test_bad_baseline(
    good: Path, baseline: Path, tmp_path: Path, damage: Callable[[Path, Path], None], told: str
) -> None:
    path = tmp_path / "bad.baseline"
    damage(baseline, path)
    done = call("detect", good, "-b", path, "--engine", "native")
    assert done.exit_code == 3
    assert f"{path}" in done.stderr
    assert told in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('format = 1\nname = "mine"\n', "title: is missing. Add title"),
        ("format = 1\nname = \n", "mine.toml"),
    ],
    ids=["key missing", "no TOML"],
)
def test_bad_profile(good: Path, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for done in (call("profiles", "check", path), call("inspect", good, "--profiles", tmp_path)):
        assert done.exit_code == 3
        assert str(path) in done.stderr
        assert told in done.stderr


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("abc,2,attack,,,,", "line 3: column start: 'abc' is not a number"),
        ("5,2,attack,,,,", "line 3"),
        ("1,2,virus,,,,", "line 3: column label"),
    ],
)
def test_labels_with_a_bad_row(good: Path, baseline: Path, tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(LABELS + "1,2,attack,,,,\n" + row + "\n")
    done = call("evaluate", good, "--labels", path, "-b", baseline)
    assert done.exit_code == 3
    assert f"{path}: {told}" in done.stderr


def test_frames_of_no_length_and_of_lies(tmp_path: Path) -> None:
    """Empty frames, a lone MAC header, IP lengths over the end: counted, never fatal."""
    ethernet = bytes(12) + b"\x08\x00"
    frames = [
        b"",
        b"\0",
        ethernet,
        ethernet + b"\x45\0\xff\xff" + bytes(16),
        ethernet + b"\x60" + b"\xff" * 40,
    ]
    path = tmp_path / "short.pcap"
    write_pcap(path, [(10**18 + i, frame) for i, frame in enumerate(frames)])
    done = call("inspect", path, "--json", "--engine", "native")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["packets"] == len(frames)
