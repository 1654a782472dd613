"""A file of JSON lines with rotation: ``out.jsonl``, then ``out.jsonl.1`` (the latest) to ``.keep``.

A batch is on the disk when :meth:`JsonlSink.send` returns. A line that a killed process left half written
is cut off, and what is sent again is compared with the latest lines, so that every line stands there once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sensor.sinks.base import Record, Unavailable
from sensor.sinks.records import as_json
from sensor.sinks.settings import JsonlSettings

MODE: Final = 0o640
TAIL: Final = 8_000_000
"""Bytes at the end of the file that are read when it is opened, to know the latest lines."""

RECENT: Final = 50_000
"""Lines that are remembered (their hashes), several batches of the largest size."""


class JsonlSink:
    """Appends records to a file."""

    def __init__(self, settings: JsonlSettings) -> None:
        self._settings = settings
        self._fd = -1
        self._recent: dict[int, None] = {}

    def send(self, records: Sequence[Record]) -> int:
        """Append the records; see :class:`sensor.sinks.base.Sink`."""
        path = self._settings.path
        try:
            if self._fd < 0 or self._moved():
                self.close()
                self._open()
            lines = [as_json(record).encode("ascii") for record in records]
            fresh = [line for line in lines if hash(line) not in self._recent]
            self._append(b"".join(line + b"\n" for line in fresh))
            self._remember(fresh)
            self._rotate()
        except OSError as error:
            self.close()
            raise Unavailable(f"{path}: cannot be written: {error.strerror}") from error
        return 0

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self._settings.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        start, tail = _tail(self._fd)
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            os.ftruncate(self._fd, start + whole)
        if not whole and self._numbered(1).exists():  # perhaps killed between rotation and the cursor
            with self._numbered(1).open("rb") as file:
                tail = _tail(file.fileno())[1]
        self._remember(tail.splitlines())

    def _remember(self, lines: list[bytes]) -> None:
        """A line holds the number of its change, so that equal lines are the same record sent again."""
        self._recent |= dict.fromkeys(map(hash, lines))
        for old in list(self._recent)[: max(0, len(self._recent) - RECENT)]:
            del self._recent[old]

    def _append(self, content: bytes) -> None:
        """All or nothing: what a full disk took of a batch is cut off again."""
        before = os.fstat(self._fd).st_size
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def _moved(self) -> bool:
        """Whether another program has rotated or deleted the file."""
        try:
            ours, named = os.fstat(self._fd), self._settings.path.stat()
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino)

    def _rotate(self) -> None:
        settings = self._settings
        if os.fstat(self._fd).st_size < settings.rotate_bytes:
            return
        for number in range(settings.keep, 0, -1):
            older = self._numbered(number)
            newer = self._numbered(number - 1) if number > 1 else settings.path
            if newer.exists():
                newer.replace(older)
        self.close()
        self._fd = os.open(settings.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)

    def _numbered(self, number: int) -> Path:
        path = self._settings.path
        return path.with_name(f"{path.name}.{number}")


def _tail(fd: int) -> tuple[int, bytes]:
    """Offset and content of the end of a file."""
    size = os.fstat(fd).st_size
    start = max(0, size - TAIL)
    return start, os.pread(fd, size - start, start)
