"""The unit files: known to systemd, tight by its own measure, and true about the daemon."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sensor.daemon.service import DEADLINE, STUCK

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "systemd"
DAEMONS = ("gridwarden.service", "gridwarden@.service")
SERVICES = (*DAEMONS, "gridwarden-detect@.service")
MOST = 2.0
"""Highest exposure that systemd-analyze may give (0 best, 10 worst)."""

wants_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is missing: sudo apt-get install systemd"
)


def settings(name: str) -> dict[str, list[str]]:
    """Settings of a unit file, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@wants_systemd
def test_systemd_knows_every_setting(tmp_path: Path) -> None:
    """No warning on the oldest version that we run on. Programs are looked for: there must be some."""
    names = []
    for path in [*FOLDER.glob("*.service"), *FOLDER.glob("*.path")]:
        text = path.read_text("utf-8").replace("/opt/gridwarden/bin/gridwarden", shutil.which("true") or "")
        # an instance, so that %i is something
        names.append(path.name.replace("@.", "@north."))
        (tmp_path / path.name).write_text(text, "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "gridwarden" in line]
    assert (done.returncode, ours) == (0, [])


@wants_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_exposure(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MOST * 10:.0f}", name],
        capture_output=True,
        text=True,
        check=False,
        cwd=FOLDER,
    )
    figure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert figure, done.stderr
    assert float(figure[1]) <= MOST


def test_one_site_and_many_are_held_alike() -> None:
    """The template is the plain unit but for the site's name."""
    one, many = (
        [line for line in (FOLDER / name).read_text("utf-8").splitlines() if not line.startswith("#")]
        for name in DAEMONS
    )
    assert len(one) == len(many)
    differing = {line.split("=")[0] for line, other in zip(one, many, strict=True) if line != other}
    places = {"Description", "ExecStart", "ExecReload", "StateDirectory", "WorkingDirectory"}
    assert differing == places
    for line, other in zip(one, many, strict=True):
        plain = other.replace("gridwarden/%i.toml", "gridwarden/gridwarden.toml")
        assert line == plain.replace("gridwarden/%i", "gridwarden").replace(" of %i", "")


@pytest.mark.parametrize("name", DAEMONS)
def test_limits_agree_with_the_daemon(name: str) -> None:
    held = settings(name)
    assert float(held["TimeoutStopSec"][0]) > DEADLINE, "killed while it still writes"
    assert float(held["WatchdogSec"][0]) < STUCK, "a stuck analysis is noticed after STUCK and this"
    assert held["Type"] == ["notify"]
    assert "MemoryDenyWriteExecute" not in held, "compiled code could not be loaded"
    assert "PrivateUsers" not in held, "CAP_NET_RAW would hold for another namespace"
    assert held["CapabilityBoundingSet"] == held["AmbientCapabilities"] == ["CAP_NET_RAW"]


def test_what_newer_systemd_knows_stays_in_its_drop_in() -> None:
    assert set(settings("backoff.conf")) == {"RestartSteps", "RestartMaxDelaySec"}
    for name in DAEMONS:
        assert not set(settings(name)) & set(settings("backoff.conf"))
