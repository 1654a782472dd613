"""Checks of the machine that the sensor runs on; each says what it found and what to do.

Everything here only looks: files it writes to prove that a folder is writable are removed at once.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

OK, WARN, FAIL = "ok", "warn", "fail"

OLDEST_TSHARK: Final = (3, 4)
OLDEST_SQLITE: Final = (3, 35)
LITTLE_DISK: Final = 1 << 30
TOO_LITTLE_DISK: Final = 64 << 20
_BUILT: Final = 1_700_000_000
"""A clock before late 2023 is wrong: this program did not exist."""

_PACKAGES: Final = ("numpy", "numba", "pandas", "pyod", "pyshark")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``state`` is ok, warn (works, with a limit) or fail; ok needs no ``remedy``."""

    name: str
    state: str
    found: str
    remedy: str = ""

    def record(self) -> dict[str, Any]:
        """The check as a JSON object."""
        return asdict(self)


def examine(store: Path) -> list[Check]:
    """All checks, in the order in which a reader would fix them; a check that itself fails says so."""
    return [
        _guard("python", _python),
        _guard("tshark", _tshark),
        _guard("capture rights", _rights),
        _guard("kernels", _kernels),
        _guard("profiles", _profiles),
        _guard("clock", _clock),
        _guard("disk", lambda: _disk(store)),
        _guard("store", lambda: _store(store)),
    ]


def _guard(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except Exception as error:
        return Check(
            name, FAIL, f"{type(error).__name__}: {error}", "Reinstall gridwarden: make clean, make demo"
        )


def _run(*command: str) -> str:
    """Standard output of a tool, empty when it is missing, fails or takes longer than ten seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _python() -> Check:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return Check("python", OK, f"Python {platform.python_version()}, {versions}")


def _tshark() -> Check:
    path = shutil.which("tshark")
    install = "sudo apt-get install tshark"
    if path is None:
        found = "not installed; protocols with a native decoder work without it, others are only counted"
        return Check("tshark", WARN, found, install)
    words = _run(path, "--version").split()
    text = next((word.rstrip(".") for word in words if word[0].isdigit() and "." in word), "")
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if not version:
        return Check("tshark", FAIL, f"{path} does not start", f"Try it by hand: {path} --version; {install}")
    if version < OLDEST_TSHARK:
        wanted = ".".join(map(str, OLDEST_TSHARK))
        return Check("tshark", WARN, f"{text} at {path}", f"Use {wanted} or newer: some fields are missing")
    return Check("tshark", OK, f"{text} at {path}")


def _may_capture() -> bool:
    """Whether this process has CAP_NET_RAW, bit 13 of its effective capabilities (capabilities(7))."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 13 & 1)
    return os.geteuid() == 0


def _rights() -> Check:
    """Rights to capture from an interface; reading files needs none."""
    if _may_capture():
        who = "root" if os.geteuid() == 0 else "CAP_NET_RAW"
        return Check("capture rights", OK, f"{who} (reading captures needs no rights at all)")
    dumpcap = shutil.which("dumpcap")
    remedy = "sudo dpkg-reconfigure wireshark-common, then sudo usermod -aG wireshark $USER and log in again"
    if dumpcap is None:
        return Check("capture rights", WARN, "no dumpcap: captures can be read, not taken", remedy)
    able = bool(_run("getcap", dumpcap).strip() or _run("/usr/sbin/getcap", dumpcap).strip())
    if os.access(dumpcap, os.X_OK) and able:
        found = f"{dumpcap} has capabilities: you may use --engine tshark live, others need CAP_NET_RAW"
        return Check("capture rights", OK, found)
    return Check("capture rights", WARN, "captures can be read, not taken by this user", remedy)


def _kernels() -> Check:
    """Compile one small kernel, and see whether the result can be kept for the next start."""
    import numpy as np

    from sensor.capture import pcap
    from sensor.jit import cache_place

    started = time.monotonic()
    number = int(pcap.u32(np.arange(4, dtype=np.uint8), 0, True))
    took = time.monotonic() - started
    if number != 0x010203:
        found = f"a kernel computed {number:#x} instead of 0x010203"
        return Check("kernels", FAIL, found, "Reinstall numba: pip install --force-reinstall numba llvmlite")
    folder = cache_place()
    if not _writable(folder) or folder.parent == Path(tempfile.gettempdir()):
        remedy = "Set NUMBA_CACHE_DIR to a lasting folder that you may write, or every start compiles anew"
        return Check("kernels", WARN, f"compiled in {took:.1f} s, {folder} does not last", remedy)
    return Check("kernels", OK, f"compiled or loaded in {took:.1f} s, cache {folder}")


def _profiles() -> Check:
    from grid_profiles.loader import load_registry

    registry = load_registry(())
    count = len(getattr(registry, "profiles", ()))
    return Check("profiles", OK, f"{count} protocol profiles load" if count else "profiles load")


def _clock() -> Check:
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    remedy = "Synchronise it: sudo timedatectl set-ntp true, or chrony, or PTP"
    if now < _BUILT:
        return Check("clock", FAIL, f"{stamp} lies in the past", remedy)
    state = _run("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    if state == "yes":
        return Check("clock", OK, f"{stamp}, synchronised")
    if state == "no":
        found = f"{stamp}, not synchronised; alert times of live captures will be off"
        return Check("clock", WARN, found, remedy)
    return Check("clock", OK, f"{stamp}, synchronisation unknown (no timedatectl)")


def _disk(store: Path) -> Check:
    folder = _existing(store.resolve().parent)
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GiB free in {folder}"
    if free < TOO_LITTLE_DISK:
        return Check("disk", FAIL, found, "Free some space, or put the store elsewhere with --store")
    if free < LITTLE_DISK:
        return Check("disk", WARN, found, "A busy site fills this within weeks; plan for 1 GiB or more")
    return Check("disk", OK, found)


def _store(store: Path) -> Check:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        return Check("store", FAIL, f"SQLite {version}", f"SQLite {wanted} or newer is needed: update Python")
    folder = store.resolve().parent
    place = f"SQLite {version}, {store.resolve()}"
    if not folder.is_dir():
        return Check("store", FAIL, f"{folder} is no folder", f"mkdir -p {folder}")
    if not _writable(folder) or (store.exists() and not os.access(store, os.W_OK)):
        return Check(
            "store", FAIL, f"{place} is not writable", f"Take another with --store, or chown {folder}"
        )
    if store.exists():
        return _open_store(store, place)
    return Check("store", OK, f"{place} will be created")


def _open_store(store: Path, place: str) -> Check:
    connection = sqlite3.connect(f"{store.resolve().as_uri()}?mode=ro", uri=True)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        remedy = "Move it away; detect makes a new one"
        return Check("store", FAIL, f"{place} is damaged or no store ({error})", remedy)
    finally:
        connection.close()
    if verdict != "ok":
        return Check("store", FAIL, f"{place} is damaged ({verdict})", "Move it away; detect makes a new one")
    return Check("store", OK, f"{place} is sound")


def _existing(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _writable(folder: Path) -> bool:
    """Whether a file can really be made there; permission bits say nothing on read-only mounts."""
    try:
        with tempfile.NamedTemporaryFile(dir=_existing(folder), prefix=".gridwarden-"):
            return True
    except OSError:
        return False
