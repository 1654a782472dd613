"""Spoiled frames of the protocols of every network through the native engine: rows keep their promises.

``GRIDWARDEN_FUZZ=N`` multiplies the number of frames.
"""

from __future__ import annotations

import struct

import pytest

from tests.fuzz.base import CLIENT, SERVER, base_frames
from tests.fuzz.mutate import Mutator
from tests.fuzz.test_fuzz_native import BATCH, SCALE, check
from tests.lab import frames as f
from tests.reference.run import Native, Shot, frame_batch

UDP_PORTS = (53, 5353, 5355, 123, 161, 162, 4789)
TCP_PORTS = (53, 161, 443, 19998, 8443)
ETHERTYPES = (0x0806, 0x8892)
HEADS = (
    b"",
    b"",
    b"\x16\3\3\0\x40\1\0\0\x3c",
    b"\x17\3\3\0\x20",
    b"\0\0\x65\x58",
    b"\x10\0\x88\xbe",
    b"\x08" + bytes(7),
)
IP_PROTOCOLS = (1, 2, 47, 58)


class BaseMutator(Mutator):
    """Noise behind the headers of these protocols, lies about their lengths."""

    def _noise(self, frame: bytearray) -> bytearray:
        rnd = self._random
        octets = rnd.choice(HEADS) + rnd.randbytes(rnd.randrange(0, 160))
        way = rnd.randrange(4)
        if way == 0:
            kind = rnd.choice(ETHERTYPES)
            head = struct.pack("!H", rnd.choice((0xFEFC, 0xFEFD, 0xFEFE, 0xFEFF, 0x8000)))
            return bytearray(f.eth("01:0e:cf:00:00:00", "02:00:00:00:00:01", kind, head + octets))
        if way == 1:
            return bytearray(f.ip_frame(CLIENT, SERVER, rnd.choice(IP_PROTOCOLS), octets))
        port = rnd.choice(UDP_PORTS if way == 2 else TCP_PORTS)
        ends = (1024, port) if rnd.random() < 0.5 else (port, 1024)
        if way == 2:
            return bytearray(f.udp_frame(CLIENT, SERVER, *ends, octets))
        return bytearray(f.tcp_frame(CLIENT, SERVER, *ends, rnd.randrange(2**32), 0, 24, octets))

    def _length(self, frame: bytearray) -> bytearray:
        rnd = self._random
        if len(frame) < 24 or rnd.random() < 0.2:
            return super()._length(frame)
        value = rnd.choice((0, 1, 2, 0xC00C, 0x7FFF, 0x8000, 0xFFFF, rnd.randrange(len(frame))))
        struct.pack_into("!H", frame, rnd.randrange(14, len(frame) - 2), value)
        return frame


@pytest.mark.parametrize("seed", [1, 2])
def test_invariants(seed: int) -> None:
    native = Native()
    mutator = BaseMutator(base_frames(), seed)
    rows = 0
    for first in range(0, 20_000 * SCALE, BATCH):
        shots = [Shot(1_000_000 * number, *mutator.next()) for number in range(first, first + BATCH)]
        batch = frame_batch(shots, first + 1)
        decoded = native.engine.decode(batch)
        check(decoded, batch, native)
        rows += len(decoded.messages)
    assert rows > 10_000 * SCALE
