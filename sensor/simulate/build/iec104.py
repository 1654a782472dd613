"""IEC 60870-5-104 (60870-5-101 clause 7.2 for the elements): APDUs, ASDUs, information elements."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

STARTDT_ACT, STARTDT_CON, STOPDT_ACT, STOPDT_CON, TESTFR_ACT, TESTFR_CON = 1, 2, 4, 8, 16, 32


def _apdu(control: bytes, body: bytes, length: int | None) -> bytes:
    return bytes([0x68, (len(body) + 4 if length is None else length) & 0xFF]) + control + body


def apci_i(ns: int, nr: int, body: bytes, *, length: int | None = None) -> bytes:
    """I-format APDU: N(S), N(R) and the ASDU."""
    return _apdu(struct.pack("<HH", ns << 1 & 0xFFFE, nr << 1 & 0xFFFE), body, length)


def apci_s(nr: int) -> bytes:
    """S-format APDU."""
    return _apdu(struct.pack("<HH", 1, nr << 1 & 0xFFFE), b"", None)


def apci_u(function: int) -> bytes:
    """U-format APDU; ``function`` one of STARTDT_ACT ... TESTFR_CON."""
    return _apdu(bytes([function << 2 | 3, 0, 0, 0]), b"", None)


def asdu(
    typeid: int,
    cot: int,
    ca: int,
    objects: Sequence[tuple[int, bytes]],
    *,
    sq: bool = False,
    oa: int = 0,
    test: bool = False,
    negative: bool = False,
    count: int | None = None,
) -> bytes:
    """ASDU with the sizes of -104 (COT 2, CA 2, IOA 3 octets).

    ``objects`` are (IOA, element octets); with ``sq`` only the first IOA is written.
    """
    qualifier = (len(objects) if count is None else count) | (0x80 if sq else 0)
    cause = cot | (0x40 if negative else 0) | (0x80 if test else 0)
    parts = [struct.pack("<BBBBH", typeid, qualifier, cause, oa, ca)]
    for index, (ioa, element) in enumerate(objects):
        parts.append((b"" if sq and index else ioa.to_bytes(3, "little")) + element)
    return b"".join(parts)


def cp56(ts_ns: int, *, invalid: bool = False) -> bytes:
    """CP56Time2a of a UTC instant."""
    when = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    ms = when.second * 1000 + ts_ns // 1_000_000 % 1000
    day = when.day | when.isoweekday() << 5
    minute = when.minute | (0x80 if invalid else 0)
    return struct.pack("<HBBBBB", ms, minute, when.hour, day, when.month, when.year % 100)


def e_single(on: bool, quality: int = 0) -> bytes:
    """SIQ: types 1, 30 (with :func:`cp56` behind it)."""
    return bytes([int(on) | quality])


def e_double(state: int, quality: int = 0) -> bytes:
    """DIQ: types 3, 31; state 0 moving, 1 off, 2 on, 3 faulty."""
    return bytes([state | quality])


def e_normalised(value: float, quality: int = 0) -> bytes:
    """NVA + QDS: types 9, 34; value in [-1, 1)."""
    return struct.pack("<hB", max(-32768, min(32767, round(value * 32768))), quality)


def e_scaled(value: int, quality: int = 0) -> bytes:
    """SVA + QDS: types 11, 35."""
    return struct.pack("<hB", value, quality)


def e_float(value: float, quality: int = 0) -> bytes:
    """R32 + QDS: types 13, 36."""
    return struct.pack("<fB", value, quality)


def e_counter(value: int, sequence: int = 0) -> bytes:
    """BCR: types 15, 37."""
    return struct.pack("<iB", value, sequence)


def e_single_command(on: bool, select: bool = False, qualifier: int = 0) -> bytes:
    """SCO: types 45, 58."""
    return bytes([int(on) | qualifier << 2 | (0x80 if select else 0)])


def e_double_command(state: int, select: bool = False, qualifier: int = 0) -> bytes:
    """DCO and RCO: types 46, 47, 59, 60; state 1 off/lower, 2 on/higher."""
    return bytes([state | qualifier << 2 | (0x80 if select else 0)])


def e_setpoint_float(value: float, select: bool = False) -> bytes:
    """R32 + QOS: types 50, 63."""
    return struct.pack("<fB", value, 0x80 if select else 0)


def e_interrogation(qoi: int = 20) -> bytes:
    """QOI: type 100."""
    return bytes([qoi])
