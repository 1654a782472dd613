"""tshark beside a live capture: rows come late and complete; whatever tshark does, the sensor goes on."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grid_profiles.loader import load_registry
from sensor.capture.tshark_process import find_tshark
from sensor.engines import Decoded, open_engine
from sensor.errors import CaptureError
from sensor.frames import FrameBatch, no_frames
from sensor.messages import MessageBatch
from sensor.names import Limits, Names
from sensor.side import beside as beside_module
from sensor.side import segment as segment_module
from sensor.side import worker as worker_module
from sensor.side.adopt import ResultError, adopt
from sensor.side.beside import DELAY, Beside
from tests.lab import frames as f
from tests.reference.run import Shot, frame_batch

pytestmark = pytest.mark.skipif(find_tshark() is None, reason="needs tshark: sudo apt-get install tshark")

S = 1_000_000_000
T0 = 1_700_000_000 * S
PATIENCE = 120.0
"""Longest wait, in seconds, for what takes a few."""

KNX = bytes.fromhex("06100201000e08010a0000010e57")
READ = f.modbus_adu(7, 1, f.mb_read(3, 100, 2))


def knx(seconds: float, port: int = 40_000) -> f.Stamped:
    """A search request, which only tshark reads."""
    return T0 + int(seconds * S), f.udp_frame("10.0.0.1", "224.0.23.12", port, 3671, KNX)


def plain(seconds: float) -> f.Stamped:
    """A datagram that nobody reads."""
    return T0 + int(seconds * S), f.udp_frame("10.0.0.1", "10.0.0.2", 40_001, 9_999, b"nobody knows")


def modbus(seconds: float, talk: f.Talk) -> f.Stamped:
    """A request that is read natively."""
    talk.client(T0 + int(seconds * S), READ)
    return talk.frames[-1]


class Feed:
    """Frames of a script, as a live interface hands them out."""

    shown, size, position, dropped = "feed", 0, 0, 0

    def __init__(self, script: Callable[[], Iterator[list[f.Stamped] | int]]) -> None:
        self.notes: list[str] = []
        self.problems: list[CaptureError] = []
        self._script = script

    def batches(self, max_frames: int = 0) -> Iterator[FrameBatch]:
        """A list is frames, a number is a clock that moves on without any."""
        number = 1
        for step in self._script():
            if isinstance(step, int):
                yield no_frames(step)
                continue
            yield frame_batch([Shot(ts, data) for ts, data in step], number)
            number += len(step)


def run(script: Callable[[], Iterator[list[f.Stamped] | int]]) -> tuple[Decoded, list[MessageBatch]]:
    decoded = Decoded([Feed(script)], load_registry(), "auto")
    SEEN.clear()
    SEEN.append(decoded)
    return decoded, list(decoded)


SEEN: list[Decoded] = []


def beside() -> Beside:
    made = SEEN[0].beside
    assert made is not None
    return made


def until(true: Callable[[], bool]) -> Iterator[int]:
    """Idle time, until something is so; the clock of the capture stands."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, beside().counters
        time.sleep(0.02)
        yield 0


def shown(decoded: Decoded, batches: list[MessageBatch]) -> list[tuple[Any, ...]]:
    names = decoded.names
    rows = [row for batch in batches for row in batch.messages]
    return sorted(
        (
            int(row["frame"]),
            int(row["ts"]),
            names.protocol(int(row["proto"])),
            names.kind(int(row["proto"]), int(row["kind"])),
            names.endpoint(int(row["src"])),
            names.endpoint(int(row["dst"])),
            names.conversation(int(row["conv"])).key,
            names.point(int(row["proto"]), int(row["point"])),
            names.text(int(row["name"])),
        )
        for row in rows
    )


def dhcp(seconds: float) -> f.Stamped:
    """A discover with a host name: a point and a name that are text."""
    body = bytes([1, 1, 6, 0]) + b"\0\0\0\x07" + bytes(20) + bytes.fromhex("02000000000a") + bytes(202)
    body += bytes.fromhex("63825363350101") + b"\x0c\x05ied-7" + b"\xff"
    return T0 + int(seconds * S), f.udp_frame("0.0.0.0", "255.255.255.255", 68, 67, body)


def mixed() -> list[f.Stamped]:
    talk = f.Talk("10.0.0.1", "10.0.0.3", 502)
    talk.open(T0)
    frames = list(talk.frames)
    for n in range(12):
        frames += [modbus(n + 0.1, talk), knx(n + 0.2, 40_000 + n), plain(n + 0.3), dhcp(n + 0.4)]
    return frames


def test_rows_are_those_of_a_file_and_come_late(tmp_path: Path) -> None:
    """The same rows as from a capture file, a constant time later; what nobody reads stays generic."""
    frames = mixed()
    f.write_pcap(tmp_path / "same.pcap", frames)
    file = open_engine([tmp_path / "same.pcap"], "auto")
    expected = shown(file, list(file))

    def script() -> Iterator[list[f.Stamped] | int]:
        for n in range(0, len(frames), 5):
            yield frames[n : n + 5]
            yield from until(lambda: beside().idle)  # the frames come much faster than time goes by
        yield T0 + 30 * S

    decoded, batches = run(script)
    assert shown(decoded, batches) == expected
    assert {row[2] for row in expected} >= {"modbus", "knxip", "dhcp", "udp", "tcp"}
    assert decoded.undecoded == file.undecoded == 12
    late = [batch for batch in batches if batch.late]
    assert late
    assert all(not len(batch.frame_ts) for batch in late)
    native = np.concatenate([batch.messages for batch in batches if not batch.late])
    assert set(native["proto"]) == {decoded.names.protocol_id("tcp"), decoded.names.protocol_id("modbus")}
    assert all(batch.points["message"].max(initial=-1) < len(batch) for batch in batches)
    counters = decoded.beside.counters if decoded.beside else Counter()
    assert (counters["frames"], counters["starts"]) == (36, 1)
    assert not any(counters[name] for name in ("crashes", "hangs", "over_budget", "rested", "cut_off"))
    assert decoded.notes == []


def test_late_rows_keep_their_distances(tmp_path: Path) -> None:
    """Rows are given out a constant time after their frames, not in heaps as segments end."""
    frames = [knx(n / 2) for n in range(40)]
    clocks: list[int] = []

    def script() -> Iterator[list[f.Stamped] | int]:
        for n, frame in enumerate(frames):
            clocks.append(frame[0])
            yield [frame]
            if n in (9, 18, 27):
                yield from until(lambda wanted=n // 9: beside().counters["segments"] >= wanted)

    decoded, batches = run(script)
    waited, clock = [], 0
    for batch in batches:
        clock = max(clock, int(batch.frame_ts.max(initial=0)))
        if batch.late and clock < clocks[-1]:
            waited += (clock - batch.messages["ts"]).tolist()
    assert len(waited) > 10
    assert min(waited) >= DELAY
    assert max(waited) <= DELAY + S
    assert decoded.undecoded == 0


FAKE = """#!/bin/sh
case "$*" in
  *"-G fields"*|*--version*) exec {real} "$@" ;;
esac
echo $$ >> {pids}
{what}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A tshark that answers what is asked of it and does something else with captures."""
    real = find_tshark()

    def made(what: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script, pids = folder / "tshark", tmp_path / "pids"
        script.write_text(FAKE.format(real=real, pids=pids, what=what))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return pids

    return made


@pytest.mark.parametrize(
    ("what", "counter"),
    [
        ("kill -KILL $$", "crashes"),
        ("kill -SEGV $$", "crashes"),
        ("exec sleep 600", "hangs"),
        ("while :; do echo busy >&2; sleep 0.05; done", "hangs"),
        ("head -c 300000 /dev/urandom", "crashes"),
        ("echo 'no such field' >&2; exit 2", "crashes"),
    ],
)
def test_whatever_tshark_does_the_sensor_goes_on(
    what: str, counter: str, fake: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = fake(what)
    monkeypatch.setattr(beside_module, "DEADLINE", 1.0)
    talk = f.Talk("10.0.0.1", "10.0.0.3", 502)
    talk.open(T0)

    def script() -> Iterator[list[f.Stamped] | int]:
        yield [*talk.frames, knx(0.1), plain(0.2)]
        yield [modbus(5, talk)]
        yield from until(
            lambda: sum(beside().counters[name] for name in ("crashes", "hangs", "segments")) > 0
        )
        yield [modbus(20, talk), knx(20.5)]
        yield [modbus(30, talk)]

    decoded, batches = run(script)
    protocols = Counter(row[2] for row in shown(decoded, batches))
    assert protocols == {"modbus": 3, "tcp": 2, "udp": 3}
    assert decoded.undecoded == 3
    assert decoded.beside is not None
    assert decoded.beside.counters[counter] >= 1
    assert any("tshark" in note for note in decoded.notes)
    for pid in pids.read_text().split():
        assert not alive(int(pid))


def alive(pid: int) -> bool:
    """Does this process still run (and is no zombie)?"""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True


def test_a_worker_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "FIRST_PAUSE", 0.1)
    killed: list[int] = []

    def script() -> Iterator[list[f.Stamped] | int]:
        yield [knx(0)]
        yield T0 + 5 * S
        yield from until(lambda: beside().counters["segments"] == 1)
        killed.append(beside().pid or 0)
        os.kill(killed[0], signal.SIGKILL)
        yield from until(lambda: beside().counters["crashes"] == 1)
        time.sleep(0.2)
        yield [knx(20)]
        yield T0 + 25 * S
        yield from until(lambda: beside().counters["segments"] == 2)

    decoded, batches = run(script)
    assert [row[2] for row in shown(decoded, batches)] == ["knxip", "knxip"]
    assert decoded.beside is not None
    assert decoded.beside.counters["starts"] == 2
    assert any("crashed 1 times" in note for note in decoded.notes)


def test_more_than_the_budget_is_counted_and_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_module, "MAX_FRAMES", 10)

    def script() -> Iterator[list[f.Stamped] | int]:
        yield [knx(n / 100, 40_000 + n) for n in range(25)]
        yield T0 + 5 * S
        yield from until(lambda: beside().counters["segments"] == 1)

    decoded, batches = run(script)
    assert Counter(row[2] for row in shown(decoded, batches)) == {"knxip": 10, "udp": 15}
    assert decoded.undecoded == 15
    assert any(note.startswith("15 frames that only tshark reads") for note in decoded.notes)


def test_without_tshark_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.capture.tshark_process.find_tshark", lambda: None)

    def script() -> Iterator[list[f.Stamped] | int]:
        yield [knx(0)]

    decoded, batches = run(script)
    assert [row[2] for row in shown(decoded, batches)] == ["udp"]
    assert decoded.undecoded == 1
    assert "there is no tshark" in decoded.notes[0]


def test_the_end_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up in the middle: no process, no file."""
    folders: list[Path] = []
    made = Decoded([Feed(lambda: iter([[knx(0)], [knx(1)]]))], load_registry(), "auto")
    batches = iter(made)
    next(batches)
    assert made.beside is not None
    folders.append(Path(made.beside._folder.name))
    pid = made.beside.pid or 0
    assert pid
    assert folders[0].exists()
    batches.close()  # type: ignore[attr-defined]
    assert not folders[0].exists()
    assert not alive(pid)


# --- results of the other process ---------------------------------------------------------------


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true result, of frames 5 and 9."""
    folder = tmp_path_factory.mktemp("result")
    f.write_pcap(folder / "a.pcap", [dhcp(0), knx(1)])
    np.save(folder / "a.npy", np.array([5, 9], np.int64))
    names = {"capture": "a.pcap", "numbers": "a.npy", "result": "a.npz"}
    order = {key: str(folder / name) for key, name in names.items()} | {"deadline": "60"}
    assert worker_module.answer(load_registry(), order) == {"done": 2}
    return folder / "a.npz"


def changed(result: Path, to: Path, **columns: Any) -> Path:
    with np.load(result) as held:
        whole = {name: held[name].copy() for name in held}
    for name, value in columns.items():
        if name in whole:
            whole[name] = value
        else:
            whole["messages"][name] = value
    np.savez(to, **whole)
    return to


def test_a_result_gets_the_names_of_this_run(result: Path) -> None:
    names = Names(load_registry())
    for text in ("some", "other", "texts"):
        names.intern_text(text)
    messages, _ = adopt(result, names, np.array([5, 9]), 3)
    assert messages["frame"].tolist() == [5, 9]
    first = messages[0]
    assert names.protocol(int(first["proto"])) == "dhcp"
    assert names.endpoint(int(first["dst"])) == "255.255.255.255"
    assert names.conversation(int(first["conv"])).server == "255.255.255.255"
    assert "ied-7" in {
        names.text(int(first["name"])),
        names.text(int(first["ident"])),
        names.text(int(first["point"])),
    }


def test_results_that_contradict_themselves_are_refused(result: Path, tmp_path: Path) -> None:
    names = Names(load_registry(), Limits())
    frames = np.array([5, 9])
    with pytest.raises(ResultError, match="not given"):
        adopt(result, names, np.array([5]), 1)
    with pytest.raises(ResultError, match="not given"):
        adopt(changed(result, tmp_path / "b.npz", frame=[9, 5]), names, frames, 1)
    with pytest.raises(ResultError, match="layout"):
        adopt(changed(result, tmp_path / "c.npz", messages=np.zeros(3)), names, frames, 1)
    with pytest.raises(ResultError, match="nobody knows"):
        adopt(changed(result, tmp_path / "d.npz", proto=32_000), names, frames, 1)
    (tmp_path / "e.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises((ResultError, OSError)):
        adopt(tmp_path / "e.npz", names, frames, 1)
    shutil.copy(result, tmp_path / "f.npz")
    with (tmp_path / "f.npz").open("r+b") as file:
        file.truncate(result.stat().st_size // 2)
    with pytest.raises((ResultError, OSError)):
        adopt(tmp_path / "f.npz", names, frames, 1)


def test_numbers_out_of_range_are_names_that_did_not_fit(result: Path, tmp_path: Path) -> None:
    names = Names(load_registry())
    messages, _ = adopt(changed(result, tmp_path / "g.npz", src=10**6, conv=-5), names, np.array([5, 9]), 1)
    assert {names.endpoint(int(row["src"])) for row in messages} == {"(table full)"}
