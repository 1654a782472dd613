"""What the user names as input, as a list of capture files in reading order.

A name may be a file, a glob, a folder (all captures below it) or ``-`` for standard input. Files keep the
order in which they are named; those found by a glob or in a folder are sorted by the time of their first
packet. Standard input and pipes are first written to a private temporary file of bounded size, since
evidence and tshark need to go back to them.

A file that is empty or no capture spoils the run only when nothing else is left to read: rotating
capture programs leave such files behind.
"""

from __future__ import annotations

import atexit
import errno
import glob
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, BinaryIO, Final

from sensor.capture.pcapfile import CaptureFile, unreadable
from sensor.errors import CaptureError, MissingToolError, UsageError

STDIN_LIMIT: Final = 8 << 30
"""Most bytes taken from standard input or a pipe."""

MAX_FILES: Final = 100_000
_COPY: Final = 1 << 20


def open_sources(args: Sequence[str], stdin_limit: int = STDIN_LIMIT) -> list[CaptureFile]:
    """Capture files that the arguments name, numbered in reading order.

    Parameters
    ----------
    args : sequence of str
        Files, globs, folders, or ``-``.
    stdin_limit : int
        Most bytes taken from standard input.

    Raises
    ------
    UsageError
        No arguments, or ``-`` twice.
    CaptureError
        A name that leads nowhere, or no capture among all that was named.
    MissingToolError
        No space to hold standard input.
    """
    if not args:
        raise UsageError("no capture given. Name a file, a folder, a glob, or - for standard input")
    if list(args).count("-") > 1:
        raise UsageError("standard input (-) can be read only once")
    found: list[CaptureFile] = []
    for arg in args:
        found.extend(_expand(arg, stdin_limit))
        if len(found) > MAX_FILES:
            raise UsageError(f"more than {MAX_FILES} capture files; give them in several runs")
    files = _usable(found)
    for index, file in enumerate(files):
        file.index = index
    return files


def _expand(arg: str, stdin_limit: int) -> list[CaptureFile]:
    if arg == "-":
        return [_spool(sys.stdin.buffer, "standard input", stdin_limit)]
    path = Path(arg)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and glob.has_magic(arg):
            return _glob(arg)
        raise unreadable(arg, error) from error
    if stat.S_ISDIR(mode):
        return _folder(arg)
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(mode):
                return [_spool(file, arg, stdin_limit)]
    except OSError as error:
        raise unreadable(arg, error) from error
    return [CaptureFile(path)]


def _glob(pattern: str) -> list[CaptureFile]:
    paths = [Path(name) for name in glob.iglob(pattern, recursive=True)]  # noqa: PTH207 - patterns may be absolute
    files = _by_time(path for path in paths if path.is_file())
    if not files:
        raise CaptureError(pattern, 0, "no capture file matches", "Check the pattern and the folder")
    return files


def _folder(name: str) -> list[CaptureFile]:
    paths = (Path(top) / file for top, _, inside in os.walk(name) for file in inside)
    files = _by_time(path for path in paths if path.is_file())
    if not files:
        remedy = "Captures are recognised by their content: pcap, pcapng, also gzipped"
        raise CaptureError(name, 0, "no capture file in this folder or below", remedy)
    return files


def _by_time(paths: Iterable[Path]) -> list[CaptureFile]:
    """Those files that are captures, sorted by first packet, then by name."""
    dated: list[tuple[int, str, CaptureFile]] = []
    for path in paths:
        try:
            file = CaptureFile(path)
            file.check()
            dated.append((file.first_time(), str(path), file))
        except (CaptureError, OSError):
            continue  # not a capture; folders hold other things as well
    dated.sort(key=lambda entry: entry[:2])
    return [file for _, _, file in dated]


def _usable(files: list[CaptureFile]) -> list[CaptureFile]:
    """The files themselves when at least one holds a capture; otherwise the first one's error is raised."""
    first: CaptureError | None = None
    for file in files:
        try:
            file.check()
        except CaptureError as error:
            first = first or error
        else:
            return files
    assert first is not None
    raise first


def _spool(source: BinaryIO, shown: str, limit: int) -> CaptureFile:
    """Copy a stream that cannot be read twice into a private file that is removed at exit."""
    handle, name = tempfile.mkstemp(prefix="gridwarden-", suffix=".capture")
    path = Path(name)
    atexit.register(path.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as spool:
        copy_stream(source, spool, shown, limit)
    return CaptureFile(path, shown=shown)


def copy_stream(source: IO[bytes], spool: IO[bytes], shown: str, limit: int) -> int:
    """Copy a stream to its end and return its length.

    Raises
    ------
    CaptureError
        More than ``limit`` bytes, or the stream cannot be read.
    MissingToolError
        The disk is full.
    """
    taken = 0
    try:
        while piece := source.read(_COPY):
            taken += len(piece)
            if taken > limit:
                remedy = "Save it to a file and name that, or cut it with editcap -c"
                raise CaptureError(shown, limit, f"more than {limit} bytes", remedy)
            spool.write(piece)
        spool.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise unreadable(shown, error) from error
        raise MissingToolError(
            f"{tempfile.gettempdir()} is full, {shown} does not fit. "
            "Free some space or set TMPDIR to a larger disk"
        ) from error
    return taken
