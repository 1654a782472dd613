"""Modbus/TCP (Modbus Application Protocol 1.1b3): headers, requests, responses, exceptions."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def modbus_adu(tid: int, unit: int, pdu: bytes, *, protocol: int = 0, length: int | None = None) -> bytes:
    """MBAP header and PDU."""
    return struct.pack("!HHHB", tid, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def mb_read(function: int, address: int, count: int) -> bytes:
    """Request of FC 1-4."""
    return struct.pack("!BHH", function, address, count)


def mb_read_response(function: int, registers: Sequence[int]) -> bytes:
    """Response of FC 3, 4 (and 23)."""
    return struct.pack(f"!BB{len(registers)}H", function, 2 * len(registers), *registers)


def _pack_bits(bits: Sequence[bool | int]) -> bytes:
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bool(bit) << index % 8
    return bytes(packed)


def mb_bits_response(function: int, bits: Sequence[bool | int]) -> bytes:
    """Response of FC 1, 2; the first bit is the lowest of the first octet."""
    data = _pack_bits(bits)
    return bytes([function, len(data)]) + data


def mb_write_coil(address: int, on: bool) -> bytes:
    """FC 5, request and response."""
    return struct.pack("!BHH", 5, address, 0xFF00 if on else 0)


def mb_write_register(address: int, value: int) -> bytes:
    """FC 6, request and response."""
    return struct.pack("!BHH", 6, address, value)


def mb_write_coils(address: int, bits: Sequence[bool | int]) -> bytes:
    """FC 15 request."""
    data = _pack_bits(bits)
    return struct.pack("!BHHB", 15, address, len(bits), len(data)) + data


def mb_write_registers(address: int, registers: Sequence[int]) -> bytes:
    """FC 16 request."""
    count = len(registers)
    return struct.pack(f"!BHHB{count}H", 16, address, count, 2 * count, *registers)


def mb_write_response(function: int, address: int, count: int) -> bytes:
    """Response of FC 15, 16."""
    return struct.pack("!BHH", function, address, count)


def mb_read_write(read: int, read_count: int, write: int, registers: Sequence[int]) -> bytes:
    """FC 23 request."""
    count = len(registers)
    return struct.pack(f"!BHHHHB{count}H", 23, read, read_count, write, count, 2 * count, *registers)


def mb_device_id(code: int = 1, object_id: int = 0) -> bytes:
    """FC 43 / MEI 14 request."""
    return bytes([43, 14, code, object_id])


def mb_device_id_response(objects: Sequence[tuple[int, bytes]], code: int = 1, conformity: int = 1) -> bytes:
    """FC 43 / MEI 14 response with everything in one answer."""
    head = bytes([43, 14, code, conformity, 0, 0, len(objects)])
    return head + b"".join(bytes([number, len(text)]) + text for number, text in objects)


def mb_exception(function: int, code: int) -> bytes:
    """Exception response."""
    return bytes([function | 0x80, code])
