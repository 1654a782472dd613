"""Spoiled frames of MQTT, OPC UA, CoAP and BACnet/IP through the native engine: rows keep their promises.

``GRIDWARDEN_FUZZ=N`` multiplies the number of frames.
"""

from __future__ import annotations

import struct

import pytest

from tests.fuzz.iiot import CLIENT, SERVER, iiot_frames
from tests.fuzz.mutate import Mutator
from tests.fuzz.test_fuzz_native import BATCH, SCALE, check
from tests.lab import frames as f
from tests.reference.run import Native, Shot, frame_batch

TCP_PORTS, UDP_PORTS = (1883, 4840, 5683), (5683, 47808)


class IiotMutator(Mutator):
    """Noise and lies about lengths where these protocols keep them."""

    def _noise(self, frame: bytearray) -> bytearray:
        rnd = self._random
        octets = rnd.randbytes(rnd.randrange(0, 160))
        port = rnd.choice(TCP_PORTS + UDP_PORTS)
        ends = (1024, port) if rnd.random() < 0.5 else (port, 1024)
        if port in UDP_PORTS:
            return bytearray(f.udp_frame(CLIENT, SERVER, *ends, octets))
        return bytearray(f.tcp_frame(CLIENT, SERVER, *ends, rnd.randrange(2**32), 0, 24, octets))

    def _length(self, frame: bytearray) -> bytearray:
        rnd = self._random
        if len(frame) < 60 or rnd.random() < 0.2:
            return super()._length(frame)
        at = rnd.randrange(42, len(frame) - 4)
        value = rnd.choice(
            (0, 1, 2, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, rnd.randrange(len(frame)))
        )
        struct.pack_into(
            rnd.choice(("!", "<")) + ("H" if value < 65536 and rnd.random() < 0.5 else "I"), frame, at, value
        )
        return frame


@pytest.mark.parametrize("seed", [1, 2])
def test_invariants(seed: int) -> None:
    native = Native()
    mutator = IiotMutator(iiot_frames(), seed)
    rows = 0
    for first in range(0, 20_000 * SCALE, BATCH):
        shots = [Shot(1_000_000 * number, *mutator.next()) for number in range(first, first + BATCH)]
        batch = frame_batch(shots, first + 1)
        decoded = native.engine.decode(batch)
        check(decoded, batch, native)
        rows += len(decoded.messages)
    assert rows > 10_000 * SCALE
