"""The daemon with no right but CAP_NET_RAW, as the unit starts it: it captures and writes its store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sensor.capture.pcapfile import CaptureFile
from tests.daemon.conftest import baseline, daemon  # noqa: F401  fixtures
from tests.daemon.process import DEMO, Daemon, count, query, until, write_config
from tests.live import wire

USER = "65534"
"""nobody: no file of this machine is its own."""

CAP_NET_RAW = 1 << 13


def stripped(*rights: str) -> list[str]:
    """A command line's beginning that leaves root for a user with only these capabilities."""
    only = ",".join(["-all", *(f"+{name}" for name in rights)])
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs",
            f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]  # fmt: skip


def missing() -> str:
    """Why this cannot be tested here; "" when it can."""
    if wire.missing() or not shutil.which("setpriv"):
        return wire.missing() or "setpriv is missing: sudo apt-get install util-linux"
    probe = [*stripped(), sys.executable, "-c", "import numba"]
    done = subprocess.run(probe, capture_output=True, check=False, cwd=wire.ROOT)
    return (
        "" if done.returncode == 0 else f"user {USER} cannot run {sys.executable}: it lies in a closed folder"
    )


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "can be tested")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of that user's; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="gridwarden-rights-") as name:
        os.chown(name, int(USER), int(USER))
        yield Path(name)


def kernels(folder: Path) -> Path:
    """This run's machine code as the user's own, in place of a compilation."""
    from sensor.jit import cache_place

    target = folder / "kernels"
    shutil.copytree(cache_place(), target)
    for path in [target, *target.rglob("*")]:
        os.chown(path, int(USER), int(USER))
    return target


def start(
    daemon: Callable[..., Daemon],  # noqa: F811
    place: Path,
    learned: Path,
    monkeypatch: pytest.MonkeyPatch,
    *rights: str,
) -> Daemon:
    held = shutil.copy(learned, place / "station.baseline")
    os.chown(held, 0, int(USER))
    Path(held).chmod(0o640)
    config = write_config(place / "gw.toml", Path(held), '[[source]]\ninterface = "gwtap"\nring_mib = 8\n')
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kernels(place)))
    monkeypatch.setenv("HOME", "/nonexistent")
    made = daemon(config, [*wire.within(wire.SENSOR), *stripped(*rights)])
    for path in place.glob("notify-*"):
        os.chown(path, int(USER), int(USER))
    return made


def test_one_right_is_enough(
    daemon: Callable[..., Daemon],  # noqa: F811
    place: Path,
    baseline: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = CaptureFile(DEMO / "bad_day.pcap.gz")
    frames = [batch.frame(row) for batch in capture.batches() for row in range(len(batch))][:2_000]
    with wire.Cable() as cable:
        process = start(daemon, place, baseline, monkeypatch, "net_raw")
        process.wait_told("READY=1")
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{process.process.pid}/status").read_text("ascii").splitlines()
            if ":\t" in line
        )
        assert set(status["Uid"].split()) == {USER}
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[name], 16) == CAP_NET_RAW
        with cable.sender() as sender:
            wire.send_all(sender, frames)
        store = place / "gridwarden.db"
        until(lambda: count(store, "SELECT count(*) FROM alerts") > 0 or process.ended, "an alert")
        assert process.end() == 0, process.said
    assert store.stat().st_uid == int(USER)
    assert query(store, "SELECT state FROM health WHERE source = '' ORDER BY id DESC LIMIT 1") == [
        ("stopped",)
    ]


def test_without_it_the_end_says_what_is_missing(
    daemon: Callable[..., Daemon],  # noqa: F811
    place: Path,
    baseline: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with wire.Cable():
        process = start(daemon, place, baseline, monkeypatch)
        assert process.wait() == 4
    assert any("CAP_NET_RAW" in line for line in process.said), process.said
