"""JSON lines: rotation, half-written lines, killed writers, disks without space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import one_sink
from stores import alerts, depth, drain, forward_all, line, write

from sensor.sinks.base import Unavailable
from sensor.sinks.settings import JsonlSettings
from tests.sensor.result_samples import HOSTILE, alert


def target(path: Path, **more: object) -> JsonlSettings:
    sink = one_sink(type="jsonl", path=str(path), **more)
    assert isinstance(sink, JsonlSettings)
    return sink


def lines(folder: Path) -> list[dict[str, object]]:
    files = sorted(folder.glob("out.jsonl*"))
    return [json.loads(row) for file in files for row in file.read_text("ascii").splitlines()]


def test_every_record_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "a.db", [*alerts(30), alert(99, summary=HOSTILE)], [line("score", 20)])
    sink = target(tmp_path / "out.jsonl")
    assert forward_all(tmp_path / "a.db", sink) == 51
    got = lines(tmp_path)
    assert len(got) == 51
    assert {record["record"] for record in got} == {"alert", "level"}
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o007 == 0


def test_rotation_keeps_what_it_should(tmp_path: Path) -> None:
    sink = target(tmp_path / "out.jsonl", rotate_bytes=20_000, keep=3, batch=10)
    write(tmp_path / "a.db", alerts(200, level="notice"))
    forward_all(tmp_path / "a.db", sink)
    names = sorted(file.name for file in tmp_path.glob("out.jsonl*"))
    assert names == ["out.jsonl", "out.jsonl.1", "out.jsonl.2", "out.jsonl.3"]
    got = [int(str(record["id"])[1:]) for record in lines(tmp_path)]
    assert sorted(got) == list(range(min(got), 201))  # the youngest, without a gap, each once
    assert min(got) > 1


def test_another_program_may_rotate(tmp_path: Path) -> None:
    from sensor.sinks.pump import Pump

    path = tmp_path / "a.db"
    write(path, alerts(10, level="notice"))
    with Pump(path, target(tmp_path / "out.jsonl")) as pump:
        assert pump.step() == 10
        (tmp_path / "out.jsonl").rename(tmp_path / "out.jsonl-old")
        write(path, alerts(5, 50, level="notice"), tag="b")
        assert pump.step() == 5
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5


def test_a_half_written_line_is_cut_off(tmp_path: Path) -> None:
    write(tmp_path / "a.db", alerts(3))
    (tmp_path / "out.jsonl").write_text('{"id":"whole"}\n{"id":"half')
    forward_all(tmp_path / "a.db", target(tmp_path / "out.jsonl"))
    assert lines(tmp_path)[0]["id"] == "whole"
    assert len(lines(tmp_path)) == 4


CRASHING = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from conftest import one_sink
from sensor.sinks.pump import Pump
from sensor.store.outbox import Outbox

calls = 0
real = Outbox.advance

def advance(self, *args):
    global calls
    calls += 1
    if calls == int(os.environ["AT"]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, *args)

Outbox.advance = advance
with Pump(Path(sys.argv[1]), one_sink(type="jsonl", path=sys.argv[2], batch=10, rotate_bytes=9000)) as pump:
    while pump.step():
        pass
"""


def test_killed_between_file_and_cursor_every_line_stands_once(tmp_path: Path) -> None:
    """Also when the file was rotated in between."""
    path, out = tmp_path / "a.db", tmp_path / "out.jsonl"
    write(path, alerts(100))
    here = Path(__file__).parent
    command = [sys.executable, "-c", CRASHING, str(path), str(out), str(here), str(here.parent.parent)]
    for at in (1, 2, 3, 1, 2):
        done = subprocess.run(command, env=os.environ | {"AT": str(at)}, check=False)
        assert done.returncode == -signal.SIGKILL
    subprocess.run(command, env=os.environ | {"AT": "0"}, check=True)
    ids = [str(record["id"]) for record in lines(tmp_path)]
    assert len(ids) == len(set(ids)) == 100


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_leaves_whole_lines_and_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        sink = target(small / "out.jsonl", batch=20)
        write(tmp_path / "a.db", alerts(300))
        with pytest.raises(Unavailable, match="No space left"):
            forward_all(tmp_path / "a.db", sink)
        stored = lines(small)
        assert 0 < len(stored) < 300
        assert depth(tmp_path / "a.db", sink) == 300 - len(stored)
        subprocess.run(["mount", "-o", "remount,size=2m", str(small)], check=True)
        forward_all(tmp_path / "a.db", sink)
        assert len({record["id"] for record in lines(small)}) == len(lines(small)) == 300
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_store_without_space_sends_again_and_every_line_stands_once(tmp_path: Path) -> None:
    """The sink took a batch and its cursor cannot be written: sent again until it can."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    from sensor.sinks.pump import Pump
    from sensor.store.errors import StoreUnavailable

    path, sink = small / "a.db", target(tmp_path / "out.jsonl", batch=50)
    try:
        write(path, alerts(300))
        filler = small / "filler"
        with Pump(path, sink) as pump:
            subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
            assert os.statvfs(small).f_bavail == 0
            for _ in range(3):
                with pytest.raises(StoreUnavailable, match=r"no space left|Check the disk"):
                    drain(pump)
            assert 50 <= len(lines(tmp_path)) < 300
            filler.unlink()
            drain(pump)
        ids = [record["id"] for record in lines(tmp_path)]
        assert len(ids) == len(set(ids)) == 300
    finally:
        subprocess.run(["umount", str(small)], check=True)
