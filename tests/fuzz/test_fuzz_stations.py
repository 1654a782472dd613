"""Spoiled frames of synchrophasors and ISO transport through the native engine: rows keep their promises.

``GRIDWARDEN_FUZZ=N`` multiplies the number of frames.
"""

from __future__ import annotations

import struct

import pytest

from tests.fuzz.mutate import Mutator
from tests.fuzz.stations import CLIENT, SERVER, station_frames
from tests.fuzz.test_fuzz_native import BATCH, SCALE, check
from tests.lab import frames as f
from tests.reference.run import Native, Shot, frame_batch

TCP_PORTS, UDP_PORTS = (102, 4712), (4712, 4713)


class StationMutator(Mutator):
    """Noise and lies about lengths where these protocols keep them."""

    def _noise(self, frame: bytearray) -> bytearray:
        rnd = self._random
        octets = rnd.randbytes(rnd.randrange(0, 160))
        port = rnd.choice(TCP_PORTS + UDP_PORTS)
        head = struct.pack("!BBH", 0xAA, rnd.randrange(8) << 4, len(octets) + 4)
        if port == 102:
            inner = rnd.choice(
                (b"", b"\x32", b"\x32\1", b"\x32\7", b"\1\0\1\0\x61", b"\x0d", b"\xa0", b"\xa3")
            )
            unit = bytes([2, rnd.choice((0xF0, 0xF0, 0xE0, 0xD0, 0x70)), rnd.choice((0, 0x80))]) + inner
            head = struct.pack("!BBH", 3, 0, 4 + len(unit) + len(octets)) + unit
        ends = (1024, port) if rnd.random() < 0.5 else (port, 1024)
        if port in UDP_PORTS and rnd.random() < 0.5:
            return bytearray(f.udp_frame(CLIENT, SERVER, *ends, head + octets))
        return bytearray(f.tcp_frame(CLIENT, SERVER, *ends, rnd.randrange(2**32), 0, 24, head + octets))

    def _length(self, frame: bytearray) -> bytearray:
        rnd = self._random
        if len(frame) < 60 or rnd.random() < 0.2:
            return super()._length(frame)
        at = rnd.randrange(42, len(frame) - 4)
        value = rnd.choice((0, 1, 2, 4, 7, 0x7F, 0x80, 0x81, 0x82, 0xFF, 0xFFFF, rnd.randrange(len(frame))))
        struct.pack_into("!H" if value > 255 or rnd.random() < 0.5 else "!B", frame, at, value)
        return frame


@pytest.mark.parametrize("seed", [1, 2])
def test_invariants(seed: int) -> None:
    native = Native()
    mutator = StationMutator(station_frames(), seed)
    rows = 0
    for first in range(0, 20_000 * SCALE, BATCH):
        shots = [Shot(1_000_000 * number, *mutator.next()) for number in range(first, first + BATCH)]
        batch = frame_batch(shots, first + 1)
        decoded = native.engine.decode(batch)
        check(decoded, batch, native)
        rows += len(decoded.messages)
    assert rows > 10_000 * SCALE
