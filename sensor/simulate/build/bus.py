"""Builders for what else a process bus carries: sampled values (IEC 61850-9-2), in plain values.

Written from the standards, nothing is checked, lengths are right unless given.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

from sensor.simulate.build.ber import ber
from sensor.simulate.build.net import ETH_SV, Vlan, eth

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


# --- PTP (IEEE 1588-2008) and redundancy (IEC 62439-3) ------------------------------------------------------

ETH_PTP, ETH_PRP, ETH_HSR = 0x88F7, 0x88FB, 0x892F
SYNC, DELAY_REQ, PDELAY_REQ, PDELAY_RESP = 0, 1, 2, 3
FOLLOW_UP, DELAY_RESP, PDELAY_FOLLOW_UP, ANNOUNCE, SIGNALLING, MANAGEMENT = 8, 9, 10, 11, 12, 13
PTP_BODY = {0: 10, 1: 10, 2: 20, 3: 20, 8: 10, 9: 20, 10: 20, 11: 30, 12: 10, 13: 14}
CLOCK = bytes.fromhex("00b0aefffe01f920")


def ptp(
    kind: int,
    body: bytes | None = None,
    *,
    domain: int = 0,
    clock: bytes = CLOCK,
    seq: int = 1,
    correction: int = 0,
    version: int = 2,
    length: int | None = None,
) -> bytes:
    """One message; ``correction`` in ns/65536; without a body, zeros of the kind's size."""
    body = bytes(PTP_BODY.get(kind, 0)) if body is None else body
    size = 34 + len(body) if length is None else length
    head = struct.pack("!BBHBBHq4x", kind, version, size, domain, 0, 0, correction)
    return head + clock + struct.pack("!HHBb", 1, seq, 5, 0) + body


def ptp_announce(
    *, grandmaster: bytes = CLOCK, priority1: int = 128, clock_class: int = 6, steps: int = 1
) -> bytes:
    """Body of an Announce."""
    quality = struct.pack("!BBBHB", priority1, clock_class, 0x21, 0x4E5D, 128)
    return bytes(10) + struct.pack("!hx", 37) + quality + grandmaster + struct.pack("!HB", steps, 0x20)


def ptp_management(action: int, ident: int, data: bytes = b"", tlv: int = 1) -> bytes:
    """Body of a Management message with one TLV."""
    part = struct.pack("!HHH", tlv, 2 + len(data), ident) + data
    return b"\xff" * 10 + bytes([1, 1, action, 0]) + part


def ptp_frame(message: bytes, *, src: str = "00:b0:ae:01:f9:20", vlan: int | None = None) -> bytes:
    """Ethernet frame of a PTP message, padded."""
    return eth("01:1b:19:00:00:00", src, ETH_PTP, message, () if vlan is None else (vlan,), pad=True)


def prp_supervision(
    seq: int = 1,
    kind: int = 20,
    station: bytes = bytes.fromhex("020000000011"),
    *,
    version: int = 1,
    more: bytes = b"\0\0",
    src: str = "02:00:00:00:00:11",
) -> bytes:
    """Ethernet frame of a supervision message: version, sequence number, TLVs."""
    body = struct.pack("!HH", version, seq) + bytes([kind, len(station)]) + station + more
    return eth("01:15:4e:00:01:00", src, ETH_PRP, body, pad=True)


def with_trailer(frame: bytes, seq: int, lan: int = 0xA, tags: int = 0) -> bytes:
    """The frame with a redundancy control trailer; ``lan`` 0xA or 0xB."""
    size = len(frame) + 6 - 14 - 4 * tags
    return frame + struct.pack("!HHH", seq, lan << 12 | size, ETH_PRP)


def with_hsr(frame: bytes, seq: int, path: int = 0) -> bytes:
    """The untagged frame with an HSR tag behind its addresses."""
    size = len(frame) - 14 + 6
    return frame[:12] + struct.pack("!HHH", ETH_HSR, path << 12 | size, seq) + frame[12:]
