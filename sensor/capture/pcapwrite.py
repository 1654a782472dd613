"""Write frames as a capture file that tshark, Wireshark and this project read.

Classic pcap when all frames share one link type, pcapng with one interface per link type otherwise.
Times are kept to the nanosecond unless asked otherwise. Frames are copied by a kernel, so that handing
the frames nobody claimed to tshark costs little more than the copy.

Refuses nothing a :class:`~sensor.frames.FrameBatch` can hold; frame numbers are not stored, so the
n-th frame written is the n-th row of what was given.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from sensor.capture.pcap import MAX_CAPLEN, RECORD
from sensor.capture.pcapng import INTERFACE, ORDER_MAGIC, PACKET, SECTION
from sensor.frames import FrameBatch
from sensor.jit import kernel

_PCAP_NANO, _PCAP_MICRO = 0xA1B23C4D, 0xA1B2C3D4
_PACKET_OVERHEAD: Final = 32
_STATISTICS: Final = 5
_PIECE: Final = 1 << 14
"""Frames packed at a time; bounds the copy in memory."""


def write_pcap(
    target: str | Path | BinaryIO, batches: FrameBatch | Iterable[FrameBatch], nanos: bool = True
) -> int:
    """Write frames to a file and return how many.

    Parameters
    ----------
    target : path or binary file
        A path is created or overwritten, private to the user.
    batches : FrameBatch or iterable of FrameBatch
        A lone batch or a list of batches of one link type gives a pcap; everything else gives pcapng.
    nanos : bool
        False writes microseconds.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    if isinstance(batches, FrameBatch):
        batches = [batches]
    link = _only_link(batches) if isinstance(batches, list | tuple) else None
    if not isinstance(target, str | Path):
        return _write(target, batches, link, nanos)
    with open(target, "wb", opener=private) as file:
        return _write(file, batches, link, nanos)


class CaptureWriter:
    """Writes batches one after another, for frames that arrive in a stream.

    Parameters
    ----------
    file : binary file
        Where to; a pipe is fine.
    link : int or None
        Link type of all frames: writes pcap. None: writes pcapng, interfaces as they turn up.
    nanos : bool
        Resolution of the times.
    name : str
        pcapng: name of the interface that the frames come from, as its description says.
    comment : str
        pcapng: what readers of the file should know about all of it (``opt_comment`` of the section).
    """

    def __init__(
        self, file: BinaryIO, link: int | None = None, nanos: bool = True, name: str = "", comment: str = ""
    ) -> None:
        self._file = file
        self._link = link
        self._nanos = nanos
        self._name = name
        self._interfaces: dict[int, int] = {}
        self.frames = 0
        file.write(_section_header(comment) if link is None else _pcap_header(link, nanos))

    def write(self, batch: FrameBatch) -> None:
        """Append all frames of a batch."""
        for start in range(0, len(batch), _PIECE):
            part = batch.take(slice(start, start + _PIECE))
            self._file.write((self._pcapng(part) if self._link is None else self._pcap(part)).data)
        self.frames += len(batch)

    def statistics(self, received: int, dropped: int, now: int) -> None:
        """Append what the capture counted; pcap has no place for it, no frames have no interface.

        Parameters
        ----------
        received, dropped : int
            Frames that passed the filter, and those of them that were lost.
        now : int
            Time of the count, ns.
        """
        if self._link is None and self._interfaces:
            self._file.write(_statistics(received, dropped, now if self._nanos else now // 1000))

    def _pcap(self, batch: FrameBatch) -> npt.NDArray[np.uint8]:
        packed = np.zeros(int(batch.caplen.sum()) + RECORD * len(batch), np.uint8)
        _pack_pcap(
            batch.data,
            batch.offset,
            batch.caplen,
            batch.wirelen,
            batch.ts,
            1 if self._nanos else 1000,
            packed,
        )
        return packed

    def _pcapng(self, batch: FrameBatch) -> npt.NDArray[np.uint8]:
        for link in np.unique(batch.link).tolist():
            if link not in self._interfaces:
                self._interfaces[link] = len(self._interfaces)
                self._file.write(_interface(link, self._nanos, self._name))
        known = np.array(list(self._interfaces), np.int64)
        order = np.argsort(known)
        which = order[np.searchsorted(known[order], batch.link)].astype(np.int64)
        padded = (batch.caplen.astype(np.int64) + 3) & ~3
        packed = np.zeros(int(padded.sum()) + _PACKET_OVERHEAD * len(batch), np.uint8)
        unit = 1 if self._nanos else 1000
        _pack_pcapng(batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts, which, unit, packed)
        return packed


def _write(file: BinaryIO, batches: Iterable[FrameBatch], link: int | None, nanos: bool) -> int:
    writer = CaptureWriter(file, link, nanos)
    for batch in batches:
        writer.write(batch)
    return writer.frames


def _only_link(batches: Iterable[FrameBatch]) -> int | None:
    """The link type that all frames share, Ethernet for no frames; None when there are several."""
    links = {link for batch in batches for link in np.unique(batch.link).tolist()}
    if len(links) > 1:
        return None
    return int(links.pop()) if links else 1


def private(path: str, flags: int) -> int:
    """Opener that makes the file readable by its owner only: frames carry process data."""
    return os.open(path, flags, 0o600)


def _pcap_header(link: int, nanos: bool) -> bytes:
    return struct.pack("<IHHiIII", _PCAP_NANO if nanos else _PCAP_MICRO, 2, 4, 0, 0, MAX_CAPLEN, link)


def _section_header(comment: str) -> bytes:
    options = _option(1, comment.encode()) + _option(0, b"") if comment else b""  # opt_comment
    return _block(SECTION, struct.pack("<IHHq", ORDER_MAGIC, 1, 0, -1) + options)


def _interface(link: int, nanos: bool, name: str) -> bytes:
    options = _option(9, bytes([9 if nanos else 6]))  # if_tsresol
    if name:
        options = _option(2, name.encode()) + options  # if_name
    return _block(INTERFACE, struct.pack("<HHI", link, 0, 0) + options + _option(0, b""))


def _statistics(received: int, dropped: int, time: int) -> bytes:
    """Interface statistics block of the first interface."""
    head = struct.pack("<III", 0, time >> 32, time & 0xFFFFFFFF)
    counts = _option(4, struct.pack("<Q", received)) + _option(5, struct.pack("<Q", dropped))
    return _block(_STATISTICS, head + counts + _option(0, b""))


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


@kernel
def _put32(out: Any, at: int, number: Any) -> None:
    """Unsigned 32-bit little-endian."""
    out[at] = number & 0xFF
    out[at + 1] = (number >> 8) & 0xFF
    out[at + 2] = (number >> 16) & 0xFF
    out[at + 3] = (number >> 24) & 0xFF


@kernel
def _pack_pcap(data: Any, offset: Any, caplen: Any, wirelen: Any, ts: Any, unit: int, out: Any) -> None:
    """Record header and bytes of every frame, one after another; times before 1970 become 1970."""
    at: Any = 0
    for row in range(len(offset)):
        have = np.int64(caplen[row])
        time = max(ts[row], 0)
        _put32(out, at, time // 1_000_000_000)
        _put32(out, at + 4, (time % 1_000_000_000) // unit)
        _put32(out, at + 8, have)
        _put32(out, at + 12, np.int64(wirelen[row]))
        at += 16
        first = offset[row]
        out[at : at + have] = data[first : first + have]
        at += have


@kernel
def _pack_pcapng(
    data: Any, offset: Any, caplen: Any, wirelen: Any, ts: Any, which: Any, unit: int, out: Any
) -> None:
    """An enhanced packet block for every frame, one after another."""
    at: Any = 0
    for row in range(len(offset)):
        have = np.int64(caplen[row])
        length = 32 + ((have + 3) & ~3)
        time = max(ts[row], 0) // unit
        _put32(out, at, PACKET)
        _put32(out, at + 4, length)
        _put32(out, at + 8, which[row])
        _put32(out, at + 12, time >> 32)
        _put32(out, at + 16, time & 0xFFFFFFFF)
        _put32(out, at + 20, have)
        _put32(out, at + 24, np.int64(wirelen[row]))
        first = offset[row]
        out[at + 28 : at + 28 + have] = data[first : first + have]
        _put32(out, at + length - 4, length)
        at += length
