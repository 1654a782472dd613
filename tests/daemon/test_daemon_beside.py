"""tshark beside the daemon: it reads what no native decoder does, without rights; its end costs nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sensor.capture.tshark_process import find_tshark
from tests.daemon.process import Daemon, until, write_config
from tests.daemon.test_watched import INSIDE, health, source
from tests.lab import frames as f
from tests.live import wire

pytestmark = [
    pytest.mark.skipif(bool(wire.missing()), reason=wire.missing() or "can be tested"),
    pytest.mark.skipif(find_tshark() is None, reason="needs tshark: sudo apt-get install tshark"),
]

Start = Callable[..., Daemon]
KNX = bytes.fromhex("06100201000e08010a0000010e57")
SEARCH = f.udp_frame("10.0.0.1", "224.0.23.12", 40_000, 3671, KNX)
NOBODY = f.udp_frame("10.0.0.1", "10.0.0.2", 40_001, 9_999, b"nobody knows")


def worker_of(pid: int) -> int:
    """The helper that the daemon started; 0 while there is none."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return next((one for one in found if b"sensor.side.worker" in _command(one)), 0)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_tshark_reads_the_rest_without_rights_and_may_be_killed(
    daemon: Start, baseline: Path, tmp_path: Path
) -> None:
    with wire.Cable() as cable:
        path = tmp_path / "gridwarden.db"
        process = daemon(write_config(tmp_path / "gw.toml", baseline, source(cable.tap)), INSIDE)
        process.wait_told("READY=1")
        pid = process.process.pid
        until(lambda: bool(worker_of(pid)), "a worker")
        first = worker_of(pid)
        with cable.sender() as sender:

            def talk_until(condition: Callable[[], bool], what: str) -> None:
                end = time.monotonic() + 120
                while not condition():
                    assert time.monotonic() < end, (what, process.said)
                    wire.send_all(sender, [SEARCH, NOBODY])
                    time.sleep(0.1)

            talk_until(lambda: health(path, "tshark_frames") > 0, "frames read by tshark")
            rights = dict(
                line.split(":\t")
                for line in Path(f"/proc/{first}/status").read_text().splitlines()
                if ":\t" in line
            )
            assert int(rights["CapEff"], 16) == int(rights["CapPrm"], 16) == 0
            assert int(rights["NoNewPrivs"]) == 1
            os.kill(first, signal.SIGKILL)
            talk_until(lambda: health(path, "tshark_restarts") >= 1, "a restart counted")
            talk_until(lambda: worker_of(pid) not in (0, first), "another worker")
        assert process.end() == 0, process.said


def test_tshark_can_be_left_out(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    with wire.Cable() as cable:
        path = tmp_path / "gridwarden.db"
        config = write_config(tmp_path / "gw.toml", baseline, source(cable.tap), "[detect]\ntshark = false\n")
        process = daemon(config, INSIDE)
        process.wait_told("READY=1")
        with cable.sender() as sender:
            wire.send_all(sender, [SEARCH, NOBODY])
        until(lambda: health(path, "undecoded") == 2, "two frames that nobody read")
        assert not worker_of(process.process.pid)
        assert process.end() == 0, process.said
