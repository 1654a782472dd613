"""Spoiled frames of EtherNet/IP and CIP through the native engine: rows keep their promises.

``GRIDWARDEN_FUZZ=N`` multiplies the number of frames.
"""

from __future__ import annotations

import struct

import pytest

from tests.fuzz.enip import CLIENT, SERVER, enip_frames
from tests.fuzz.mutate import Mutator
from tests.fuzz.test_fuzz_native import BATCH, SCALE, check
from tests.lab import enip as e
from tests.lab import frames as f
from tests.reference.run import Native, Shot, frame_batch

HEAD = 54 + 24
"""Where the data of an encapsulation header begin in a frame over TCP."""


class EnipMutator(Mutator):
    """Noise behind honest headers, and lies where items, paths and offsets keep their lengths."""

    def _noise(self, frame: bytearray) -> bytearray:
        rnd = self._random
        octets = rnd.randbytes(rnd.randrange(0, 160))
        if rnd.random() < 0.3:
            body = struct.pack("<HHHII", 2, 0x8002, 8, 7, rnd.randrange(2**32)) + octets
            return bytearray(f.udp_frame(CLIENT, SERVER, 2222, 2222, body))
        service = rnd.choice((1, 3, 4, 5, 10, 14, 0x4C, 0x4D, 0x52, 0x54, 0x5B, 0x81, 0x83, 0x8A, 0xCC, 0xD2))
        body = rnd.choice((e.rr, lambda data: e.unit(data, 7)))(bytes([service]) + octets)
        if rnd.random() < 0.2:
            body = e.pdu(rnd.choice((0, 4, 0x63, 0x64, 0x65, 0x6F, 0x70, 0xC8)), octets)
        ends = (1024, 44818) if rnd.random() < 0.5 else (44818, 1024)
        if rnd.random() < 0.2:
            return bytearray(f.udp_frame(CLIENT, SERVER, *ends, body))
        return bytearray(f.tcp_frame(CLIENT, SERVER, *ends, rnd.randrange(2**32), 0, 24, body))

    def _length(self, frame: bytearray) -> bytearray:
        rnd = self._random
        if len(frame) < HEAD + 8 or rnd.random() < 0.2:
            return super()._length(frame)
        at = rnd.randrange(HEAD, len(frame) - 4)
        value = rnd.choice((0, 1, 2, 4, 8, 0x34, 0x7F, 0x91, 0xFF, 0xFFFF, rnd.randrange(len(frame))))
        struct.pack_into("<H" if value > 255 or rnd.random() < 0.5 else "<B", frame, at, value)
        return frame


@pytest.mark.parametrize("seed", [1, 2])
def test_invariants(seed: int) -> None:
    native = Native()
    mutator = EnipMutator([data for _, data in enip_frames()], seed)
    rows = points = 0
    for first in range(0, 20_000 * SCALE, BATCH):
        shots = [Shot(1_000_000 * number, *mutator.next()) for number in range(first, first + BATCH)]
        batch = frame_batch(shots, first + 1)
        decoded = native.engine.decode(batch)
        check(decoded, batch, native)
        rows += len(decoded.messages)
        points += len(decoded.points)
    assert rows > 10_000 * SCALE
    assert points > 100 * SCALE
