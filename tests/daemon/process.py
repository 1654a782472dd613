"""The daemon as a real process, with a service manager's socket that listens to it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from sensor.engines import open_engine
from sensor.errors import GridwardenError
from sensor.pipeline import learn
from sensor.store.sqlite import Store

ROOT = Path(__file__).resolve().parents[2]
DEMO = Path(str(files("sensor") / "data" / "demo"))
PATIENCE = 300.0
"""Longest wait for anything: the decoders may have to be compiled first."""


def until(condition: Callable[[], bool], what: str = "it", patience: float = PATIENCE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"{what} did not come to pass"
        time.sleep(0.05)


def lab_baseline(folder: Path) -> Path:
    """A baseline in a folder, learned from the short quiet capture."""
    path = folder / "lab.baseline"
    decoded = open_engine([DEMO / "quiet_test.pcap.gz"], "native")
    learn(decoded, decoded.names).save(path)
    return path


def write_config(path: Path, baseline: Path, source: str, more: str = "") -> Path:
    """A configuration of one site with one or more sources."""
    path.write_text(
        f'[site]\nname = "lab"\nbaseline = "{baseline}"\n\n{source}\n\n[health]\ninterval_s = 0.2\n{more}\n',
        "utf-8",
    )
    return path


class Daemon:
    """``gridwarden run`` in a process of its own.

    Parameters
    ----------
    config : Path
    prefix : sequence of str
        What stands before the command, such as ``ip netns exec``.
    """

    def __init__(self, config: Path, prefix: Sequence[str] = ()) -> None:
        self.said: list[str] = []
        self.told: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = config.parent / f"notify-{time.monotonic_ns()}"
        self._socket.bind(str(name))
        command = [*prefix, sys.executable, "-m", "sensor", "run", "-c", str(config)]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"NOTIFY_SOCKET": str(name), "WATCHDOG_USEC": "600000"},
        )
        for target in (self._read, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.told += self._socket.recv(8192).decode().splitlines()

    def wait_told(self, field: str, times: int = 1) -> None:
        """Until the service manager was told so."""
        until(lambda: self.told.count(field) >= times or self.ended, f"{field} in {self.told} {self.said}")
        assert self.told.count(field) >= times, (self.told, self.said)

    def wait_said(self, words: str) -> str:
        """Until a line of the journal says so; the line."""
        until(lambda: any(words in line for line in self.said) or self.ended, f"{words!r} in {self.said}")
        time.sleep(0.05 if self.ended else 0)
        return next((line for line in self.said if words in line), f"ended: {self.said}")

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        """A signal."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Exit code after a signal."""
        self.send(number)
        return self.wait()

    def wait(self) -> int:
        """Exit code once it has ended by itself."""
        code = self.process.wait(PATIENCE)
        self._socket.close()
        return code

    def kill(self) -> None:
        """Whatever it is doing."""
        if not self.ended:
            self.process.kill()
        self.process.wait()
        self._socket.close()


def query(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows of a store that a daemon may be writing; none while there is no store."""
    try:
        with Store.look(path) as store:
            return store.query(statement, values)
    except GridwardenError:
        return []


def count(path: Path, statement: str, *values: Any) -> int:
    """The single number that a query gives; 0 while there is no store."""
    found = query(path, statement, *values)
    return int(found[0][0] or 0) if found else 0
