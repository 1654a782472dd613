"""Blocks of a capture ring, made by hand: needs no right and no network."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.ring_walk import HEADER, walk_block

ROOM = 34
"""Bytes between a frame header and the frame: link address, and room for a VLAN tag."""


def block(frames: list[tuple[int, bytes, int, int, int]]) -> bytes:
    """A block as the kernel writes it: (time in ns, bytes, status, VLAN tag control, VLAN protocol) each."""
    body = b""
    for index, (time, octets, status, tag, protocol) in enumerate(frames):
        size = (HEADER + ROOM + len(octets) + 15) & ~15
        step = 0 if index == len(frames) - 1 else size
        head = struct.pack("=6I", step, *divmod(time, 10**9), len(octets), len(octets) + 7, status)
        head += struct.pack("=HHIIHH8x", HEADER + ROOM, 0, 0, tag, protocol, 0)
        body += (head + bytes(ROOM) + octets).ljust(size, b"\0")
    return struct.pack("=6I24x", 1, 0, 1, len(frames), HEADER, HEADER + len(body)) + body


def walk(
    raw: bytes, rows: int, begin: int = 0
) -> tuple[int, npt.NDArray[np.uint8], list[npt.NDArray[np.int64]]]:
    octets = np.frombuffer(bytes(begin) + raw + bytes(-len(raw) % 8), np.uint8).copy()
    columns = [np.zeros(rows, dtype) for dtype in (np.int64, np.int32, np.int32, np.int64)]
    count = walk_block(octets, begin, begin + len(raw), 0, *columns)
    return int(count), octets, columns


def test_frames_with_their_times_lengths_and_tags() -> None:
    macs = bytes(range(12))
    frames = [
        (1_700_000_000_123_456_789, macs + b"\x88\xb8one", 0, 0, 0),
        (1_700_000_000_123_456_790, macs + b"\x88\xb8two", 0x10, 0, 0),  # priority tag: control is 0
        (1_700_000_001_000_000_000, macs + b"\x88\xb8three", 0x50, 0x2005, 0x88A8),
        (4_294_967_295_999_999_999, b"short", 0x50, 5, 0x8100),  # no room for a tag in what was captured
    ]
    for begin in (0, 4096):
        count, octets, (offset, caplen, wirelen, ts) = walk(block(frames), 8, begin)
        found = [bytes(octets[o : o + n]) for o, n in zip(offset[:count], caplen[:count], strict=True)]
        assert found == [
            macs + b"\x88\xb8one",
            macs + b"\x81\x00\x00\x00\x88\xb8two",
            macs + b"\x88\xa8\x20\x05\x88\xb8three",
            b"short",
        ]
        assert ts[:count].tolist() == [frame[0] for frame in frames]
        assert (wirelen - caplen)[:count].tolist() == [7] * 4


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_block_that_contradicts_itself_is_never_read_beyond(data: st.DataObject) -> None:
    raw = bytearray(block([(n, bytes(20 + n), 0x10, n, 0) for n in range(5)]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = 4 * data.draw(st.integers(3, len(raw) // 4 - 1))
        raw[at : at + 4] = data.draw(st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x30\0\0\0"]))
    cut = data.draw(st.integers(0, len(raw)))
    count, octets, (offset, caplen, *_) = walk(bytes(raw[:cut]), 5)
    assert 0 <= count <= 5
    for row in range(count):
        assert 0 <= offset[row] <= offset[row] + caplen[row] <= len(octets)
