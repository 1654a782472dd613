"""Bytes of a capture file in chunks, plain or gzip, with what went wrong as a value.

Files are read, not mapped: a capture ring that another program truncates under a mapping ends this
process with SIGBUS, a read just comes back short. The copy costs about a tenth of a nanosecond per byte.

Refuses nothing: a gzip stream that breaks off or is damaged ends like a short file, with
:attr:`ByteStream.problem` set. Gzip follows RFC 1952, several members in a row included.
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

GZIP_MAGIC: Final = b"\x1f\x8b"
CHUNK: Final = 4 << 20
LARGEST_WINDOW: Final = 64 << 20
_COMPRESSED_PIECE: Final = 256 << 10


class ByteStream:
    """Uncompressed bytes of one file, from its start to its end, once.

    Attributes
    ----------
    problem : str
        Why the stream ended before its proper end; empty when it did not.
    consumed : int
        Bytes of the file on disk that were read so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.problem = ""
        self.consumed = 0
        self._file = file
        self._unzip: Any = None
        self._pending = b""
        self._step = LARGEST_WINDOW
        magic = file.read(2)
        file.seek(0)
        self.gzipped = magic == GZIP_MAGIC
        if self.gzipped:
            self._unzip = zlib.decompressobj(wbits=31)

    def read_into(self, target: npt.NDArray[np.uint8]) -> int:
        """Fill ``target`` as far as bytes last; 0 at the end."""
        filled = 0
        while filled < len(target):
            got = self._some(target.data[filled:])
            if not got:
                break
            filled += got
        return filled

    def _some(self, view: memoryview) -> int:
        try:
            return self._inflate(view) if self.gzipped else self._copy(view)
        except OSError as error:
            self.problem = f"the file cannot be read further ({error.strerror})"
            return 0

    def _copy(self, view: memoryview) -> int:
        got = int(self._file.readinto(view))  # type: ignore[attr-defined]
        self.consumed += got
        return got

    def _inflate(self, view: memoryview) -> int:
        while not self.problem:
            if not self._pending:
                self._pending = self._file.read(_COMPRESSED_PIECE)
                self.consumed += len(self._pending)
            at_end = not self._pending
            if self._unzip.eof and not self._next_member():
                return 0
            data = self._decompress(len(view))
            if data is None:
                return 0
            self._pending = self._unzip.unconsumed_tail or self._unzip.unused_data
            if data:
                view[: len(data)] = data
                return len(data)
            if at_end and not self._unzip.eof:
                self.problem = "the gzip stream ends early, the file was cut off"
        return 0

    def _decompress(self, limit: int) -> bytes | None:
        """Bytes from what is pending, None at damage; shortly before it it goes on in ever smaller steps.

        zlib gives nothing of a step in which it meets damage, not even what was good.
        """
        while True:
            before = self._unzip.copy()
            try:
                return bytes(self._unzip.decompress(self._pending, min(limit, self._step)))
            except zlib.error as error:
                if self._step == 1:
                    self.problem = f"the gzip stream is damaged ({error})"
                    return None
                self._unzip = before
                self._step = 64 if self._step > 64 else 1

    def _next_member(self) -> bool:
        """Start the next gzip member; False at the end of the file (zero padding is allowed)."""
        if not self._pending.strip(b"\0"):
            self._pending = b""
            return bool(self._file.peek(1)) and self._skip_padding()  # type: ignore[attr-defined]
        if len(self._pending) == 1:
            more = self._file.read(1)
            self._pending += more
            self.consumed += len(more)
        if not self._pending.startswith(GZIP_MAGIC):
            self.problem = "something that is not gzip follows the gzip stream"
            return False
        self._unzip = zlib.decompressobj(wbits=31)
        return True

    def _skip_padding(self) -> bool:
        while piece := self._file.read(_COMPRESSED_PIECE):
            self.consumed += len(piece)
            rest = piece.lstrip(b"\0")
            if rest:
                self._pending = rest
                return self._next_member()
        return False


class Window:
    """A sliding view of a stream: ``buffer[pos:end]`` is what was read and not used yet.

    Every refill takes a fresh buffer, so that frames handed out earlier stay valid for as long as
    somebody holds them.
    """

    def __init__(self, stream: ByteStream, chunk: int = CHUNK) -> None:
        self.stream = stream
        self.buffer: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self.pos = 0
        self.end = 0
        self.base = 0
        self._chunk = chunk

    @property
    def offset(self) -> int:
        """Offset of ``pos`` in the uncompressed stream."""
        return self.base + self.pos

    def refill(self) -> bool:
        """Read more behind what is left; False when the stream has no more or a record is too long."""
        left = self.end - self.pos
        if left < 0:
            return self._skip(-left)
        size = max(self._chunk, 2 * left)
        if size > LARGEST_WINDOW:
            return False
        fresh = np.empty(size, np.uint8)
        fresh[:left] = self.buffer[self.pos : self.end]
        got = self.stream.read_into(fresh[left:])
        fresh.flags.writeable = False
        self.base += self.pos
        self.buffer, self.pos, self.end = fresh, 0, left + got
        return got > 0

    def need(self, count: int) -> bool:
        """Make ``count`` bytes available at ``pos``; False when the stream ends before."""
        while self.end - self.pos < count:
            if not self.refill():
                return False
        return True

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end, without using them up."""
        self.need(count)
        return bytes(self.buffer[self.pos : min(self.end, self.pos + count)])

    def _skip(self, count: int) -> bool:
        """Throw away ``count`` bytes that a skipped block still claims beyond the buffer."""
        self.base += self.end
        self.buffer, self.pos, self.end = np.empty(0, np.uint8), 0, 0
        scratch = np.empty(min(count, self._chunk), np.uint8)
        while count:
            got = self.stream.read_into(scratch[: min(count, len(scratch))])
            if not got:
                self.pos = count  # still owed: pos stays beyond end
                return False
            self.base += got
            count -= got
        return self.refill()
