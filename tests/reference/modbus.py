"""One Modbus/TCP ADU (MODBUS Application Protocol V1.1b3; Messaging on TCP/IP Implementation Guide V1.0b)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

COIL, DISCRETE, INPUT, HOLDING = 0, 1, 3, 4
TABLE = {1: COIL, 2: DISCRETE, 3: HOLDING, 4: INPUT, 5: COIL, 6: HOLDING, 15: COIL, 16: HOLDING,
         22: HOLDING, 23: HOLDING, 24: HOLDING}  # fmt: skip
MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
MOST_READ_BY_23, MOST_WRITTEN_BY_23 = 125, 121
BROADCAST_WRITES = (5, 6, 15, 16)
FILE_RECORDS = (20, 21)
COUNTED = (12, 17, *FILE_RECORDS)  # an octet says how many follow


@dataclass
class Adu:
    """What one ADU says; ``values`` in order of address from ``point`` on (a response's: its request's)."""

    transaction: int
    unit: int
    function: int
    negative: bool = False
    exception: int = -1
    point: int = -1
    count: int = -1
    value: float = float("nan")
    aux: int = -1
    broadcast: bool = False
    malformed: bool = False
    values: list[int] = field(default_factory=list)
    read_point: int = -1  # what the response will be about
    read_count: int = -1


def length(data: bytes) -> int | None:
    """Octets of the ADU at the head of ``data``; None when that is not known yet; 0 when it is no Modbus."""
    if len(data) >= 4 and data[2:4] != b"\0\0":
        return 0
    if len(data) < 6:
        return None
    follow = int.from_bytes(data[4:6], "big")
    return 6 + follow if 2 <= follow <= 1018 else 0


def parse(adu: bytes, request: bool) -> Adu:
    """A whole ADU, or the captured head of one (at least eight octets)."""
    transaction, _, _, unit, code = struct.unpack_from("!HHHBB", adu)
    found = Adu(transaction, unit, code & 0x7F)
    found.malformed = len(adu) - 6 > 254
    body = adu[8:]
    if code & 0x80:
        found.negative = True
        found.exception = body[0] if body else -1
        found.malformed |= request or len(body) != 1
        return found
    found.broadcast = request and unit == 0 and found.function in BROADCAST_WRITES
    well_formed = (_request if request else _response)(found, body)
    found.malformed |= not well_formed
    if found.malformed:
        found.values = []
    if found.read_point < 0:
        found.read_point, found.read_count = found.point, found.count
    return found


def _object(found: Adu, address: int) -> int:
    return found.unit << 24 | TABLE[found.function] << 16 | address


def _registers(data: bytes) -> list[int]:
    return list(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))


def _bits(data: bytes, count: int) -> list[int]:
    return [data[i // 8] >> i % 8 & 1 for i in range(min(count, 8 * len(data)))]


def _request(found: Adu, body: bytes) -> bool:
    """Fills ``found``; tells whether the body is what section 6 of the standard asks for."""
    function = found.function
    if function in (1, 2, 3, 4):
        if len(body) < 4:
            return False
        address, found.count = struct.unpack_from("!HH", body)
        found.point = _object(found, address)
        return len(body) == 4 and 1 <= found.count <= MOST[function]
    if function in (5, 6):
        return _single(found, body)
    if function in (15, 16):
        if len(body) >= 4:
            address, found.count = struct.unpack_from("!HH", body)
            found.point = _object(found, address)
        if len(body) < 5:
            return False
        octets = body[4]
        need = (found.count + 7) // 8 if function == 15 else 2 * found.count
        found.values = _bits(body[5:], found.count) if function == 15 else _registers(body[5:])
        return octets == need == len(body) - 5 and 1 <= found.count <= MOST[function]
    if function == 22:
        return _mask(found, body)
    if function == 23:
        return _read_write(found, body)
    if function == 24:
        if len(body) >= 2:
            found.point = _object(found, int.from_bytes(body[:2], "big"))
        return len(body) == 2
    if function in FILE_RECORDS:
        return len(body) >= 1 and len(body) == 1 + body[0]
    return _sub_function(found, body)


def _single(found: Adu, body: bytes) -> bool:
    """FC 5, 6: address and value, the same in both directions."""
    if len(body) < 4:
        return False
    address, raw = struct.unpack_from("!HH", body)
    found.point, found.count = _object(found, address), 1
    found.value = float(raw) if found.function == 6 else float(raw == 0xFF00)
    return len(body) == 4 and (found.function == 6 or raw in (0, 0xFF00))


def _mask(found: Adu, body: bytes) -> bool:
    """FC 22: address, AND mask, OR mask, the same in both directions."""
    if len(body) >= 2:
        found.point, found.count = _object(found, int.from_bytes(body[:2], "big")), 1
    return len(body) == 6


def _read_write(found: Adu, body: bytes) -> bool:
    """FC 23: the message is about what it writes, its answer about what it reads."""
    if len(body) >= 4:
        read, found.read_count = struct.unpack_from("!HH", body)
        found.read_point = _object(found, read)
    if len(body) < 9:
        return False
    address, found.count, octets = struct.unpack_from("!HHB", body, 4)
    found.point = _object(found, address)
    found.values = _registers(body[9:])
    return (
        octets == 2 * found.count == len(body) - 9
        and 1 <= found.count <= MOST_WRITTEN_BY_23
        and 1 <= found.read_count <= MOST_READ_BY_23
    )


def _sub_function(found: Adu, body: bytes) -> bool:
    """FC 8: 16-bit sub-function. FC 43: MEI type. Others address nothing, and are not judged."""
    size = {8: 2, 43: 1}.get(found.function, 0)
    if len(body) < size:
        return False
    if size:
        found.aux = int.from_bytes(body[:size], "big")
    return True


def _response(found: Adu, body: bytes) -> bool:
    function = found.function
    if function in (1, 2, 3, 4, 23):
        if not body:
            return False
        found.count = 8 * body[0] if function in (1, 2) else body[0] // 2
        found.values = _bits(body[1:], found.count) if function in (1, 2) else _registers(body[1:])
        return len(body) == 1 + body[0]
    if function in (5, 6):
        return _single(found, body)
    if function in (15, 16):
        if len(body) >= 4:
            address, found.count = struct.unpack_from("!HH", body)
            found.point = _object(found, address)
        return len(body) == 4
    if function == 22:
        return _mask(found, body)
    if function in COUNTED:
        return len(body) >= 1 and len(body) == 1 + body[0]
    if function == 24:
        return len(body) >= 2 and len(body) == 2 + int.from_bytes(body[:2], "big")
    return _sub_function(found, body)
