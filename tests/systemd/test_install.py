"""make install and make uninstall into a folder: all but the virtual environment, which only pip makes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIB = "usr/local/lib"
INSTALLED = {
    f"{LIB}/systemd/system/gridwarden.service",
    f"{LIB}/systemd/system/gridwarden@.service",
    f"{LIB}/systemd/system/gridwarden-detect@.service",
    f"{LIB}/systemd/system/gridwarden-detect@.path",
    f"{LIB}/sysusers.d/gridwarden.conf",
    f"{LIB}/tmpfiles.d/gridwarden.conf",
    "usr/local/bin/gridwarden",
    "etc/gridwarden/gridwarden.toml",
}
BACKOFF = {
    f"{LIB}/systemd/system/gridwarden.service.d/backoff.conf",
    f"{LIB}/systemd/system/gridwarden@.service.d/backoff.conf",
}
"""With systemd 254 and newer."""
FOLDERS = {"var/lib/gridwarden", "var/cache/gridwarden"}

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is missing: sudo apt-get install make")


def make(target: str, folder: Path, *variables: str) -> None:
    command = ["make", "--no-print-directory", target, f"DESTDIR={folder}", *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def install(folder: Path, *variables: str) -> None:
    make("install-files", folder, f"GRIDWARDEN={sys.executable} -m sensor", *(variables or ("BACKOFF=no",)))


def inside(folder: Path) -> set[str]:
    """Files and links, relative."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path.relative_to(folder)) for path in paths}


def test_everything_is_there_and_twice_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    assert inside(tmp_path) == INSTALLED
    assert all((tmp_path / name).is_dir() for name in FOLDERS)
    assert (tmp_path / "usr/local/bin/gridwarden").readlink() == Path("/opt/gridwarden/bin/gridwarden")
    config = tmp_path / "etc/gridwarden/gridwarden.toml"
    assert tomllib.loads(config.read_text("utf-8"))["store"]["path"] == "/var/lib/gridwarden/gridwarden.db"
    assert config.stat().st_mode & 0o007 == 0
    config.write_text("# mine\n", "utf-8")
    install(tmp_path)
    assert inside(tmp_path) == INSTALLED
    assert config.read_text("utf-8") == "# mine\n"


def test_units_name_the_prefix(tmp_path: Path) -> None:
    install(tmp_path, "PREFIX=/srv/gw", "LIBDIR=/usr/lib")
    for name in ("gridwarden.service", "gridwarden@.service", "gridwarden-detect@.service"):
        text = (tmp_path / "usr/lib/systemd/system" / name).read_text("utf-8")
        assert "/srv/gw/bin/gridwarden" in text
        assert "/opt/gridwarden" not in text


def test_back_off_comes_and_goes_with_the_version_of_systemd(tmp_path: Path) -> None:
    install(tmp_path, "BACKOFF=yes")
    assert inside(tmp_path) == INSTALLED | BACKOFF
    install(tmp_path, "BACKOFF=no")
    assert inside(tmp_path) == INSTALLED


@pytest.mark.parametrize("purge", ["0", "1"])
def test_uninstalling_keeps_what_is_the_operators_unless_told(tmp_path: Path, purge: str) -> None:
    install(tmp_path, "BACKOFF=yes")
    store = tmp_path / "var/lib/gridwarden/gridwarden.db"
    stranger = tmp_path / f"{LIB}/systemd/system/other.service"
    for path in (store, stranger):
        path.write_text("", "utf-8")
    home = tmp_path / "opt/gridwarden"
    home.mkdir(parents=True)
    (home / "pyvenv.cfg").write_text("", "utf-8")
    (tmp_path / "var/cache/gridwarden/kernel").write_text("", "utf-8")
    enabled = tmp_path / "etc/systemd/system/multi-user.target.wants/gridwarden@north.service"
    enabled.parent.mkdir(parents=True)
    enabled.symlink_to(f"/{LIB}/systemd/system/gridwarden@.service")
    for _ in range(2):
        make("uninstall", tmp_path, f"PURGE={purge}")
    kept = {"etc/gridwarden/gridwarden.toml", "var/lib/gridwarden/gridwarden.db"} if purge == "0" else set()
    assert inside(tmp_path) == kept | {f"{LIB}/systemd/system/other.service"}
    assert not home.exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "opt/gridwarden"
    home.mkdir(parents=True)
    (home / "thesis.txt").write_text("", "utf-8")
    make("uninstall", tmp_path, "PURGE=1")
    assert inside(tmp_path) == {"opt/gridwarden/thesis.txt"}
