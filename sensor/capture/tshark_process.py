"""One run of tshark: started without a shell, read in pieces, watched, always ended.

A run that says nothing and reads nothing for ``patience`` seconds counts as hung and is killed. tshark gets a
small environment, an empty configuration of its own (the user's preferences change no result), a limit on
memory and no core files. Its messages on standard error are kept, the last few KiB.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sensor.errors import MissingToolError

INSTALL: Final = "sudo apt-get install tshark"
PATIENCE: Final = 120.0
"""Seconds without output and without reading after which a tshark counts as hung."""
MEMORY: Final = 4 << 30
"""Bytes of address space; far above what a capture needs, far below what hurts the machine."""

_PIECE: Final = 1 << 18
_KEPT_ERRORS: Final = 8192
_TURN: Final = 5.0
_PIPE_SIZE: Final = 1 << 20
_SET_PIPE_SIZE: Final = 1031  # F_SETPIPE_SZ of fcntl(2)
_HARMLESS: Final = ("cut short", "Running as user", "could be dangerous")


class TsharkError(MissingToolError):
    """tshark is missing, does not start, crashed, hung or said something that cannot be used."""


def find_tshark() -> Path | None:
    """The tshark that would be used; None when there is none."""
    path = os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/usr/local/bin"
    found = shutil.which("tshark", path=path)
    return Path(found).absolute() if found else None


def need_tshark() -> Path:
    """Like :func:`find_tshark`; raises TsharkError when there is none."""
    path = find_tshark()
    if path is None:
        raise TsharkError(
            f"tshark is not installed; without it only Modbus, IEC 60870-5-104 and GOOSE are read. {INSTALL}"
        )
    return path


def tshark_version() -> str | None:
    """Version of the tshark that would be used ("4.0.17"); None when there is none or it does not start."""
    path = find_tshark()
    return _version(path, path.stat().st_mtime_ns) if path else None


@lru_cache(maxsize=8)
def _version(path: Path, _changed: int) -> str | None:
    for word in run_tool(path, "--version").split()[:12]:
        number = word.rstrip(".,")
        if number[:1].isdigit() and "." in number:
            return number
    return None


def run_tool(path: Path, *options: str, seconds: float = 60.0) -> str:
    """Standard output of a short run, "" when it fails or takes too long."""
    try:
        done = subprocess.run(
            [str(path), *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env=_environment(None),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _environment(folder: Path | None) -> dict[str, str]:
    home = str(folder or "/nonexistent")
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C",
        "TZ": "UTC",
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "WIRESHARK_CONFIG_DIR": home,
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108
    }


class TsharkHung(TsharkError):
    """tshark made no progress, or took longer than it was given."""


class TsharkProcess:
    """A running tshark.

    Parameters
    ----------
    command : sequence of str
        Program and options.
    folder : Path
        Empty folder that serves as its home and configuration.
    patience : float
        Seconds without any progress after which it is killed.
    memory : int
        Most bytes of address space.
    deadline : float
        Seconds after which it is killed, progress or not.

    Raises
    ------
    TsharkError
        It cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        patience: float = PATIENCE,
        memory: int = MEMORY,
        deadline: float = float("inf"),
    ) -> None:
        self._patience, self._memory = patience, memory
        self._allowed, self._until = deadline, time.monotonic() + deadline
        self._errors = b""
        self._command = list(command)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(folder),
                start_new_session=True,
            )
        except OSError as error:
            text = f"tshark cannot be started ({error.strerror or error}): {command[0]}. {INSTALL}"
            raise TsharkError(text) from None
        self._limit()
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ)
            _widen(pipe.fileno())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def __enter__(self) -> TsharkProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pieces(self) -> Iterator[bytes]:
        """Standard output as it comes, until tshark ends well.

        Raises
        ------
        TsharkError
            It hung, crashed or complained; the message says which.
        """
        quiet, seen = 0.0, self._progress()
        while self._selector.get_map():
            turn = max(0.0, min(_TURN, self._patience, self._until - time.monotonic()))
            ready = self._selector.select(turn)
            if time.monotonic() >= self._until:
                self.close()
                raise TsharkHung(f"tshark was not done after {self._allowed:g} s; it was ended")
            if not ready:
                now = self._progress()
                quiet = quiet + turn if now == seen else 0.0
                seen = now
                if quiet >= self._patience:
                    self.close()
                    raise TsharkHung(f"tshark hangs: no progress for {self._patience:g} s; it was ended")
                continue
            quiet = 0.0
            for key, _ in ready:
                piece = self._read(key.fileobj)
                if piece:
                    yield piece
        self._finish()

    def close(self) -> None:
        """Kill it if it still runs, collect it, close its pipes; safe to call again."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def errors(self) -> str:
        """Last lines of standard error, without what tshark always says."""
        lines = self._errors.decode("utf-8", "replace").splitlines()
        kept = [
            line.strip() for line in lines if line.strip() and not any(word in line for word in _HARMLESS)
        ]
        return " ".join(kept)[-600:]

    def _read(self, pipe: Any) -> bytes:
        piece = os.read(pipe.fileno(), _PIECE)
        if not piece:
            self._selector.unregister(pipe)
        elif pipe is self._process.stderr:
            self._errors = (self._errors + piece)[-_KEPT_ERRORS:]
            return b""
        return piece

    def _finish(self) -> None:
        """The pipes are closed: the end must follow, and be a good one."""
        try:
            code = self._process.wait(min(self._patience, max(0.1, self._until - time.monotonic())))
        except subprocess.TimeoutExpired:
            self.close()
            raise TsharkHung("tshark closed its output and does not end; it was killed") from None
        if code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
            text = f"tshark was ended by {name} before it was done"
            raise TsharkError(f"{text}: {self.errors()}" if self.errors() else text)
        if code and not (code == 2 and b"cut short" in self._errors):
            raise TsharkError(f"tshark failed (exit code {code}): {self.errors() or 'no message'}")

    def _progress(self) -> bytes:
        """Something that changes while tshark reads its file; b"" where the system does not tell."""
        try:
            return Path(f"/proc/{self._process.pid}/io").read_bytes().split(b"\n", 1)[0]
        except OSError:
            return b""

    def _limit(self) -> None:
        if not hasattr(resource, "prlimit"):
            return
        for kind, most in ((resource.RLIMIT_AS, self._memory), (resource.RLIMIT_CORE, 0)):
            # lowered right after the start; a process that is gone already needs no limit
            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(self._process.pid, kind, (most, most))


def _widen(descriptor: int) -> None:
    """A larger pipe saves switches between tshark and us; a system that refuses is fine."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _SET_PIPE_SIZE, _PIPE_SIZE)
