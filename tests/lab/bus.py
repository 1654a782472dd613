"""Builders for what else a process bus carries: sampled values (IEC 61850-9-2), in plain values.

As in :mod:`tests.lab.frames`: written from the standards, nothing is checked, lengths are right unless given.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

from tests.lab.frames import ETH_SV, Vlan, ber, eth

LE_CURRENT, LE_VOLTAGE = 1000, 100
"""Counts of an ampere and of a volt in 9-2LE."""


def sv_data(values: Iterable[int], quality: int | Sequence[int] = 0) -> bytes:
    """A sample of pairs; ``quality`` of all channels or of each."""
    numbers = list(values)
    states = [quality] * len(numbers) if isinstance(quality, int) else quality
    return b"".join(struct.pack("!iI", *pair) for pair in zip(numbers, states, strict=True))


def sv_wave(
    count: int, rate: int = 4000, hertz: float = 50.0, amps: float = 100.0, volts: float = 1e4
) -> list[int]:
    """The eight values of 9-2LE at sample ``count``: three phases and what is left over, RMS as given."""
    values = []
    for peak in (amps * LE_CURRENT * math.sqrt(2), volts * LE_VOLTAGE * math.sqrt(2)):
        phases = [
            round(peak * math.sin(2 * math.pi * (hertz * count / rate - k / 3) - 0.1)) for k in range(3)
        ]
        values += [*phases, sum(phases)]
    return values


def sv_asdu(
    count: int,
    data: bytes,
    *,
    sv_id: str = "MU01",
    dataset: str = "",
    revision: int = 1,
    synch: int = 2,
    rate: int | None = None,
    grandmaster: bytes = b"",
) -> bytes:
    """One ASDU; optional parts are left out when empty."""
    parts = [ber(0x80, sv_id.encode("ascii"))]
    if dataset:
        parts.append(ber(0x81, dataset.encode("ascii")))
    parts += [ber(0x82, struct.pack("!H", count)), ber(0x83, struct.pack("!I", revision))]
    parts.append(ber(0x85, bytes([synch])))
    if rate is not None:
        parts.append(ber(0x86, struct.pack("!H", rate)))
    parts.append(ber(0x87, data))
    if grandmaster:
        parts.append(ber(0x89, grandmaster))
    return ber(0x30, b"".join(parts))


def sv_pdu(asdus: Sequence[bytes], count: int | None = None) -> bytes:
    """savPdu; ``count`` set lies about noASDU."""
    return ber(
        0x60,
        ber(0x80, bytes([len(asdus) if count is None else count])) + ber(0xA2, b"".join(asdus)),
    )


def sv_frame(
    pdu: bytes,
    *,
    dst: str = "01:0c:cd:04:00:01",
    src: str = "00:0c:29:00:00:51",
    appid: int = 0x4000,
    vlan: int | None = 0,
    simulation: bool = False,
    length: int | None = None,
) -> bytes:
    """Ethernet frame of a savPdu."""
    size = 8 + len(pdu) if length is None else length
    head = struct.pack("!HHHH", appid, size, 0x8000 if simulation else 0, 0)
    return eth(dst, src, ETH_SV, head + pdu, () if vlan is None else (Vlan(vlan, 4),))
