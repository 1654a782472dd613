"""IEC 61850-8-1 GOOSE: dataset entries, PDU, Ethernet frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sensor.simulate.build.ber import ber, signed
from sensor.simulate.build.net import ETH_GOOSE, Vlan, eth


def g_bool(value: bool) -> bytes:
    """Boolean entry."""
    return ber(0x83, b"\x01" if value else b"\x00")


def g_bits(bits: str) -> bytes:
    """Bit-string entry from text such as ``"10"`` (dbpos on) or a 13-bit quality."""
    padding = -len(bits) % 8
    body = int((bits + "0" * padding) or "0", 2).to_bytes((len(bits) + padding) // 8, "big")
    return ber(0x84, bytes([padding]) + body)


def g_dbpos(state: int) -> bytes:
    """Double-point position: 0 intermediate, 1 off, 2 on, 3 bad."""
    return g_bits(f"{state:02b}")


def g_quality(*, invalid: bool = False, test: bool = False) -> bytes:
    """Quality of IEC 61850-7-3: 13 bits, validity in the first two, test the twelfth."""
    return g_bits(("01" if invalid else "00") + "0" * 9 + ("1" if test else "0") + "0")


def g_int(value: int) -> bytes:
    """Integer entry, shortest form."""
    return ber(0x85, signed(value))


def g_uint(value: int) -> bytes:
    """Unsigned entry, shortest form."""
    return ber(0x86, signed(value))


def g_float(value: float) -> bytes:
    """FLOAT32 entry (exponent width 8 in front)."""
    return ber(0x87, b"\x08" + struct.pack("!f", value))


def g_octets(value: bytes) -> bytes:
    """Octet-string entry."""
    return ber(0x89, value)


def g_text(value: str) -> bytes:
    """Visible-string entry."""
    return ber(0x8A, value.encode("ascii"))


def g_time(ts_ns: int, quality: int = 0x0A) -> bytes:
    """UTC-time entry: seconds, 24 bits of fraction, time quality."""
    return ber(0x91, utc_time(ts_ns, quality))


def g_struct(entries: Sequence[bytes]) -> bytes:
    """Structure entry."""
    return ber(0xA2, b"".join(entries))


def g_array(entries: Sequence[bytes]) -> bytes:
    """Array entry."""
    return ber(0xA1, b"".join(entries))


def utc_time(ts_ns: int, quality: int = 0x0A) -> bytes:
    """Eight octets of an MMS UTC time."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return struct.pack("!II", seconds, (rest << 24) // 1_000_000_000 << 8 | quality)


def goose_pdu(
    gocb_ref: str,
    tal_ms: int,
    dataset: str,
    go_id: str,
    t_ns: int,
    st_num: int,
    sq_num: int,
    entries: Sequence[bytes],
    *,
    conf_rev: int = 1,
    simulation: bool = False,
    nds_com: bool = False,
    count: int | None = None,
) -> bytes:
    """IECGoosePdu; ``entries`` are whole elements made with ``g_...``."""
    return ber(
        0x61,
        b"".join(
            (
                ber(0x80, gocb_ref.encode("ascii")),
                ber(0x81, signed(tal_ms)),
                ber(0x82, dataset.encode("ascii")),
                ber(0x83, go_id.encode("ascii")),
                ber(0x84, utc_time(t_ns)),
                ber(0x85, signed(st_num)),
                ber(0x86, signed(sq_num)),
                ber(0x87, b"\x01" if simulation else b"\x00"),
                ber(0x88, signed(conf_rev)),
                ber(0x89, b"\x01" if nds_com else b"\x00"),
                ber(0x8A, signed(len(entries) if count is None else count)),
                ber(0xAB, b"".join(entries)),
            )
        ),
    )


def goose_frame(
    dst: str | bytes,
    src: str | bytes,
    appid: int,
    pdu: bytes,
    *,
    vlan: int | None = 0,
    pcp: int = 4,
    simulation: bool = False,
    length: int | None = None,
) -> bytes:
    """Ethernet frame of a GOOSE PDU; ``vlan=None`` leaves the tag out (0 is a priority tag)."""
    size = 8 + len(pdu) if length is None else length
    head = struct.pack("!HHHH", appid, size, 0x8000 if simulation else 0, 0)
    return eth(dst, src, ETH_GOOSE, head + pdu, () if vlan is None else (Vlan(vlan, pcp),), pad=True)
