"""A live interface through dumpcap, for what only tshark reads: odd link types and every other protocol.

dumpcap writes pcapng into a pipe; it is kept in a private temporary file of bounded size, which is a capture
file like any other once dumpcap has ended (after the asked time, number of frames, or a stop).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sensor.capture.live import LiveSettings
from sensor.capture.pcapfile import MAX_BYTES, MAX_FRAMES, CaptureFile
from sensor.capture.sources import STDIN_LIMIT, copy_stream
from sensor.capture.streams import CHUNK
from sensor.errors import InterfaceError, MissingToolError
from sensor.frames import FrameBatch

INSTALL: Final = "sudo apt-get install tshark"
_KEPT_ERRORS: Final = 600
_HARMLESS: Final = ("Capturing on", "File:", "Packets captured", "Packets received", "Running as user")


class DumpcapCapture(CaptureFile):
    """What dumpcap captures from an interface; the first call of :meth:`batches` runs it to its end.

    Parameters
    ----------
    settings : LiveSettings
    on_event : callable, optional
        Told when capturing begins and when decoding does.

    Raises
    ------
    MissingToolError
        There is no dumpcap.
    """

    def __init__(self, settings: LiveSettings, on_event: Callable[[str], None] | None = None) -> None:
        path = f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin"
        program = shutil.which("dumpcap", path=path)
        if program is None:
            raise MissingToolError(f"dumpcap is not installed: {INSTALL}")
        handle, name = tempfile.mkstemp(prefix="gridwarden-", suffix=".capture")
        os.close(handle)
        atexit.register(Path(name).unlink, missing_ok=True)
        super().__init__(Path(name), shown=settings.interface)
        self._command = _command(program, settings)
        self._on_event = on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = self._captured = False

    def stop(self) -> None:
        """End the capture; what came so far is decoded. Safe in a signal handler."""
        self._stopped = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def batches(
        self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES, chunk: int = CHUNK
    ) -> Iterator[FrameBatch]:
        if not self._captured:
            self._capture()
            self._captured = True
        yield from super().batches(max_frames, max_bytes, chunk)

    def _capture(self) -> None:
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # a Ctrl-C on the terminal is ours to pass on
            )
            if self._stopped:
                self.stop()
            self._tell(f"{self.shown}: capturing with dumpcap; alerts and figures come when it ends")
            try:
                assert self._process.stdout is not None
                with self._process.stdout as pipe, self.path.open("wb") as spool:
                    self.size = copy_stream(pipe, spool, self.shown, 2 * STDIN_LIMIT)
            finally:
                if self._process.poll() is None:
                    self.stop()
                code = self._process.wait()
            errors.seek(0)
            words = errors.read().decode("utf-8", "replace")
        if code and not self.size:
            lines = [line.removeprefix("dumpcap: ") for line in words.splitlines()]
            reason = " ".join(line for line in lines if not line.startswith(_HARMLESS)).strip()
            raise InterfaceError(f"{self.shown}: dumpcap: {reason[:_KEPT_ERRORS] or f'exit code {code}'}")
        self._tell(f"{self.shown}: {self.size:,} bytes captured, decoding")

    def _tell(self, text: str) -> None:
        if self._on_event is not None:
            self._on_event(text)


def _command(program: str, settings: LiveSettings) -> list[str]:
    command = [program, "-q", "-i", settings.interface, "-w", "-", "-B", str(settings.ring_mib)]
    command += ["-a", f"filesize:{STDIN_LIMIT // 1000}"]
    if settings.duration is not None:
        command += ["-a", f"duration:{settings.duration:g}"]
    if settings.filter:
        command += ["-f", settings.filter]
    if settings.count is not None:
        command += ["-c", str(settings.count)]
    if not settings.promiscuous:
        command.append("-p")
    return command
