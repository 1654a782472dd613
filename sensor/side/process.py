"""The worker process from the outside: started, given orders, asked for answers, ended. Never waited for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sensor

STARTUP: Final = 180.0
"""Seconds until a worker must be ready; the first start may compile."""

OWN: Final = 10.0
"""Seconds that the worker itself may take beside its tshark, which it ends in time."""

GRACE: Final = 2.0
"""Seconds to end in order before it is killed."""

MAX_LINE: Final = 1 << 16


class Worker:
    """One worker process.

    Parameters
    ----------
    profiles : sequence of Path
        Folders with profiles of the user's own.

    Raises
    ------
    OSError
        It cannot be started.
    """

    def __init__(self, profiles: Sequence[Path]) -> None:
        self.ready = False
        self._text = b""
        self._until = time.monotonic() + STARTUP
        folder = Path(sensor.__file__).resolve().parents[1]
        path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sensor.side.worker", *(str(one.absolute()) for one in profiles)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the sensor
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def overdue(self) -> bool:
        """Whether it should have answered by now."""
        return time.monotonic() > self._until

    def order(self, order: dict[str, str], seconds: float) -> None:
        """Hand over a segment that takes ``seconds``; :meth:`answer` tells what became of it.

        Raises
        ------
        OSError
            It is not there any more.
        """
        assert self._process.stdin is not None
        self._until = time.monotonic() + seconds + OWN
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """What it said since it was asked last, None nothing; ``failed`` when it died or talks nonsense."""
        assert self._process.stdout is not None
        try:
            piece = os.read(self._process.stdout.fileno(), MAX_LINE)
        except BlockingIOError:
            return None
        self._text += piece
        line, found, rest = self._text.partition(b"\n")
        if not found:
            if not piece or len(line) > MAX_LINE:
                return {"failed": "crashed", "why": "its process ended" if not piece else "endless answer"}
            return None
        self._text = rest
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        return reply if isinstance(reply, dict) else {"failed": "crashed", "why": "an answer that is none"}

    def close(self) -> None:
        """End it and its tshark; kill it when it does not."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
