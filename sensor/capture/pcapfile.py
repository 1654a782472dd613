"""Capture files as runs of frames: pcap and pcapng, plain or gzip, any size, whatever their state.

What went wrong is a value, not an exception: a truncated last packet or garbage in the middle ends the
frames there, and :attr:`CaptureFile.problems` says what, where and what to do; the frames before stay
good. A file that holds no capture at all gives no frames and one problem; :meth:`CaptureFile.check`
raises it.

Frames of link types that the native engine does not read are handed out all the same, with their
link type, so that tshark may try; a problem is noted once per link type.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sensor.capture.links import is_supported, link_name
from sensor.capture.pcap import BAD, FULL, HEADER, NEED, is_pcap, parse_header, u32, walk_pcap
from sensor.capture.pcapng import (
    INTERFACE,
    MAX_BLOCK,
    SECTION,
    Interface,
    Section,
    is_pcapng,
    section_order,
    walk_pcapng,
)
from sensor.capture.streams import CHUNK, ByteStream, Window
from sensor.errors import CaptureError
from sensor.frames import FILE_SHIFT, FrameBatch, no_frames

MAX_FRAMES: Final = 65_536
MAX_BYTES: Final = 16 << 20
MAX_PROBLEMS: Final = 100

_USED = "Everything before it was used"
_OTHER_MAGICS: Final = (
    (b"\x28\xb5\x2f\xfd", "a zstd-compressed file", "Decompress it first: zstd -d"),
    (b"\x04\x22\x4d\x18", "an lz4-compressed file", "Decompress it first: lz4 -d"),
    (b"\xfd7zXZ", "an xz-compressed file", "Decompress it first: xz -d"),
    (b"BZh", "a bzip2-compressed file", "Decompress it first: bzip2 -d"),
    (b"PK\x03\x04", "a zip archive", "Unpack it first: unzip"),
    (b"\x1f\x8b", "a gzip file inside a gzip file", "Decompress it once: gzip -d"),
    (b"snoop\0\0\0", "a Solaris snoop capture", "Convert it first: editcap -F pcap FILE FILE.pcap"),
    (b"RTSS", "a Network Monitor capture", "Convert it first: editcap -F pcap FILE FILE.pcap"),
    (b"GMBU", "a Network Monitor capture", "Convert it first: editcap -F pcap FILE FILE.pcap"),
)
_EXPECTED: Final = "Give a pcap or pcapng file (gzip is fine), as tcpdump, dumpcap or Wireshark write it"


class CaptureFile:
    """One capture file, read in batches of frames.

    Parameters
    ----------
    path : Path
        File on disk.
    index : int
        Place among the files of a run; goes into the high bits of every frame number.
    shown : str
        Name to use in messages, when it differs from ``path`` (standard input).

    Attributes
    ----------
    size, position : int
        Bytes on disk, and how many of them are behind us; for progress.
    problems : list of CaptureError
        What could not be read, in the order met. Complete once :meth:`batches` has ended.
    interfaces : list of Interface
        Interfaces met so far, over all sections.
    dropped : int
        Frames that the capturing program says it lost.
    notes : list of str
        What else limits the view; a file has nothing to add.
    """

    def __init__(self, path: Path, index: int = 0, shown: str = "") -> None:
        self.path = path
        self.index = index
        self.shown = shown or str(path)
        self.size = path.stat().st_size
        self._reset()

    def __repr__(self) -> str:
        return f"CaptureFile({self.shown!r}, index={self.index})"

    def batches(
        self, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES, chunk: int = CHUNK
    ) -> Iterator[FrameBatch]:
        """All frames in file order, in batches of at most ``max_frames`` frames and ``max_bytes`` bytes.

        A batch may be shorter than both; a frame longer than ``max_bytes`` comes alone. A loss that the file
        tells behind its last frame comes in a batch without frames. Calling it again reads the file again.
        """
        self._reset()
        try:
            file = self.path.open("rb")
        except OSError as error:
            self.problems.append(unreadable(self.shown, error))
            return
        with file:
            window = Window(ByteStream(file), chunk)
            try:
                head = sniff(self.shown, window)
            except CaptureError as error:
                self.problems.append(error)
                return
            columns = _Columns(max(1, max_frames), max(1, max_bytes))
            reader = self._pcapng(window, columns) if is_pcapng(head) else self._pcap(window, columns)
            for batch in reader:
                self.position = min(self.size, self._place(window))
                self._note_links(batch.link, window)
                yield batch
            if columns.lost[0]:
                yield no_frames(lost_after=int(columns.lost[0]))
            if window.stream.problem:
                self._problem(window.base + window.end, window.stream.problem, _USED)
        self.position = self.size

    def check(self) -> None:
        """Look at the first bytes.

        Raises
        ------
        CaptureError
            The file cannot be opened or holds no capture at all.
        """
        try:
            with self.path.open("rb") as file:
                sniff(self.shown, Window(ByteStream(file), 64 << 10))
        except OSError as error:
            raise unreadable(self.shown, error) from error

    def first_time(self) -> int:
        """Capture time of the first frame, ns since 1970; the largest int64 when there is none."""
        for batch in self.batches(max_frames=1, chunk=64 << 10):
            if len(batch):
                return int(batch.ts[0])
        return int(np.iinfo(np.int64).max)

    def _reset(self) -> None:
        self.position = 0
        self.problems: list[CaptureError] = []
        self.notes: list[str] = []
        self.interfaces: list[Interface] = []
        self.dropped = 0
        self._links: set[int] = set()
        self._frames = 0

    def _place(self, window: Window) -> int:
        return window.stream.consumed if window.stream.gzipped else window.offset

    def _problem(self, offset: int, problem: str, remedy: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(CaptureError(self.shown, offset, problem, remedy))

    def _note_links(self, links: npt.NDArray[np.int32], window: Window) -> None:
        if len(links) and links[0] in self._links and bool((links == links[0]).all()):
            return
        for link in sorted(set(np.unique(links).tolist()) - self._links):
            self._links.add(link)
            if not is_supported(link):
                name = f"link type {link} ({link_name(link)}) is not read by the native engine"
                self._problem(window.base, name, "Its frames go to tshark (--engine auto or tshark)")

    def _batch(self, window: Window, columns: _Columns) -> FrameBatch:
        first = (self.index << FILE_SHIFT) + self._frames + 1
        batch = columns.take(window.buffer, first)
        self._frames += len(batch)
        return batch

    def _pcap(self, window: Window, columns: _Columns) -> Iterator[FrameBatch]:
        header = parse_header(window.peek(HEADER))
        window.pos += HEADER
        self.interfaces.append(Interface(header.link, header.snaplen))
        while True:
            columns.link[:] = header.link
            count, window.pos, why = walk_pcap(
                window.buffer, window.pos, window.end, header, 0, columns.most_bytes, *columns.arrays
            )
            columns.count = count
            if count:
                yield self._batch(window, columns)
            if why == NEED and not window.refill():
                self._cut_off(window)
                return
            if why == BAD:
                have = u32(window.buffer, window.pos + 8, header.big)
                problem = f"a packet claims {have} captured bytes, the file is damaged there"
                self._problem(window.offset, problem, f"{_USED}; capture again or repair it")
                return

    def _pcapng(self, window: Window, columns: _Columns) -> Iterator[FrameBatch]:
        section = Section(False)
        lost_before = last = 0
        while True:
            count, window.pos, why, last = walk_pcapng(
                window.buffer,
                window.pos,
                window.end,
                section.big,
                section.table,
                last,
                columns.count,
                columns.most_bytes,
                *columns.arrays,
                columns.link,
                section.packet_drops,
                columns.lost,
            )
            columns.count = count
            self.dropped = lost_before + section.dropped
            if count and (why in (FULL, NEED, BAD) or not _block_is_here(window, section)):
                yield self._batch(window, columns)
            if why == BAD:
                problem = "a block contradicts its own lengths or names an interface nobody described"
                self._problem(window.offset, problem, f"{_USED}; capture again or repair it")
                return
            if why == NEED:
                if not window.refill():
                    self._cut_off(window)
                    return
            elif why != FULL:
                following = self._special(window, section)
                if following is None:
                    yield from self._rest(window, columns)
                    return
                if following is not section:
                    lost_before += section.dropped
                    section = following
                columns.lost[columns.count] += section.untold()

    def _rest(self, window: Window, columns: _Columns) -> Iterator[FrameBatch]:
        if columns.count:
            yield self._batch(window, columns)

    def _special(self, window: Window, section: Section) -> Section | None:
        """Read a section header, interface description or statistics block; None when it cannot be used."""
        head = window.peek(12)
        big = section.big
        kind = int.from_bytes(head[:4], "big" if big else "little")
        if kind == SECTION:
            order = section_order(head)
            if order is None:
                self._problem(window.offset, "a section header without a byte-order magic", _USED)
                return None
            big = order
        length = (int.from_bytes(head[4:8], "big" if big else "little") + 3) & ~3
        if length < (28 if kind == SECTION else 12) or length > MAX_BLOCK:
            self._problem(window.offset, f"a block header claims {length} bytes", _USED)
            return None
        if not window.need(length):
            self._cut_off(window)
            return None
        body = bytes(window.buffer[window.pos + 8 : window.pos + length - 4])
        problem = ""
        if kind == SECTION:
            section = Section(big)
            if int.from_bytes(body[4:6], "big" if big else "little") != 1:
                problem = "a section of a pcapng version other than 1"
        elif kind == INTERFACE:
            problem = section.add_interface(body)
            if not problem and len(self.interfaces) < MAX_FRAMES:
                self.interfaces.append(section.interfaces[-1])
        else:
            section.add_statistics(body)
        if problem:
            self._problem(window.offset, problem, _USED)
            return None
        window.pos += length
        return section

    def _cut_off(self, window: Window) -> None:
        """Note a last packet that the file does not hold in full."""
        left = window.end - window.pos
        if window.stream.problem or left == 0:
            return
        end = window.base + window.end
        if left < 0:
            problem = f"the last block reaches {-left} bytes past the end of the file"
            self._problem(end, problem, f"{_USED}; the capture was cut off")
        else:
            problem = f"the last packet is cut off, {left} bytes of it are there"
            self._problem(window.offset, problem, f"{_USED}; the capture was stopped or copied while writing")


class _Columns:
    """Columns that a kernel fills; fresh arrays for every batch handed out."""

    def __init__(self, rows: int, most_bytes: int) -> None:
        self.rows = rows
        self.most_bytes = most_bytes
        self._fresh()

    @property
    def arrays(self) -> tuple[npt.NDArray[np.int64], ...]:
        return (self.offset, self.caplen, self.wirelen, self.ts)  # type: ignore[return-value]

    def _fresh(self) -> None:
        self.count = 0
        self.offset = np.empty(self.rows, np.int64)
        self.caplen = np.empty(self.rows, np.int32)
        self.wirelen = np.empty(self.rows, np.int32)
        self.ts = np.empty(self.rows, np.int64)
        self.link = np.empty(self.rows, np.int32)
        self.lost = np.zeros(self.rows + 1, np.int64)

    def take(self, buffer: npt.NDArray[np.uint8], first: int) -> FrameBatch:
        """The frames found so far as a batch that holds only their stretch of the buffer."""
        n = self.count
        start = int(self.offset[0])
        end = int(self.offset[n - 1]) + int(self.caplen[n - 1])
        batch = FrameBatch(
            buffer[start:end],
            self.offset[:n] - start,
            self.caplen[:n],
            self.wirelen[:n],
            self.ts[:n],
            self.link[:n],
            np.arange(first, first + n, dtype=np.int64),
            lost=self.lost[:n] if self.lost[:n].any() else None,
        )
        waiting = self.lost[n]
        self._fresh()
        self.lost[0] = waiting
        return batch


def sniff(shown: str, window: Window) -> bytes:
    """First bytes of a capture, without using them up.

    Raises
    ------
    CaptureError
        Empty file, text, a compression or a capture format that is not read.
    """
    head = window.peek(28)
    if not head:
        if window.stream.problem:
            raise CaptureError(shown, 0, window.stream.problem, _EXPECTED)
        raise CaptureError(shown, 0, "the file is empty", "Check that the capture was running and may write")
    if is_pcapng(head):
        if len(head) < 28 or section_order(head) is None:
            raise CaptureError(shown, 0, "a pcapng section header that is cut off or damaged", _EXPECTED)
        return head
    if is_pcap(head):
        if len(head) < HEADER:
            raise CaptureError(shown, 0, f"a pcap header of {len(head)} bytes, 24 are needed", _EXPECTED)
        return head
    for magic, what, remedy in _OTHER_MAGICS:
        if head.startswith(magic):
            raise CaptureError(shown, 0, f"this is {what}", remedy)
    if all(byte in b"\t\r\n" or 32 <= byte < 127 or byte >= 128 for byte in head):
        raise CaptureError(shown, 0, "this is a text file, not a capture", _EXPECTED)
    raise CaptureError(shown, 0, f"not a capture file (it starts with {head[:4].hex(' ')})", _EXPECTED)


def _block_is_here(window: Window, section: Section) -> bool:
    """Whether the block at ``pos`` lies in the buffer, so that frames found so far may wait for more.

    A section header says no: it may change the byte order, and with it the meaning of its length.
    """
    left = window.end - window.pos
    if left < 12 or int(u32(window.buffer, window.pos, section.big)) == SECTION:
        return False
    return left >= int(u32(window.buffer, window.pos + 4, section.big)) + 3


def unreadable(shown: str, error: OSError) -> CaptureError:
    """An error of the operating system in words, with what to do."""
    remedies = {
        errno.ENOENT: "Check the spelling and the folder",
        errno.EACCES: "Give yourself the right to read it (chmod, chgrp) or use sudo",
        errno.EISDIR: "Give a file",
    }
    return CaptureError(shown, 0, (error.strerror or str(error)).lower(), remedies.get(error.errno or 0, ""))
