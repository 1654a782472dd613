"""Values of S7comm read slowly: items of a job, data of an answer or a write request, element by element."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

AREAS = {0x80: "P", 0x81: "I", 0x82: "Q", 0x83: "M", 0x84: "DB", 0x85: "DI", 0x86: "L", 0x87: "V"}
AREAS |= {0x1C: "C", 0x1D: "T", 0x1E: "IEC C", 0x1F: "IEC T", 3: "SI", 5: "SF", 6: "AI", 7: "AQ"}
AREAS |= {area: f"area {area & 15} " for area in range(0x88, 0x90)}
TYPED = {
    4: ("WORD", "W", ">H"), 5: ("INT", "W", ">h"), 6: ("DWORD", "D", ">I"), 7: ("DINT", "D", ">i"),
    8: ("REAL", "D", ">f"), 9: ("DATE", "W", ">H"), 10: ("TIME_OF_DAY", "D", ">I"), 11: ("TIME", "D", ">i"),
    12: ("S5TIME", "W", ">H"),
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """What is asked for: transport size, count, block, area, bit address."""

    size: int
    count: int
    block: int
    area: int
    address: int

    def octets(self) -> bytes:
        """The item of a job."""
        return struct.pack(
            "!BBBBHHI", 0x12, 10, 0x10, self.size, self.count, self.block, self.area << 24 | self.address
        )


def data_items(octets: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    """(return code, data) of each data item that is complete."""
    at = 0
    for number in range(count):
        if at + 4 > len(octets):
            return
        code, size, length = struct.unpack_from("!BBH", octets, at)
        if code not in (0, 0xFF):
            length = 0
        elif size in (3, 4, 5):
            length = -(-length // 8)
        if at + 4 + length > len(octets):
            return
        yield code, octets[at + 4 : at + 4 + length]
        at += 4 + length + (length % 2 if number + 1 < count else 0)


def values(item: Item, data: bytes) -> list[tuple[str, float]]:
    """Name and value of each element."""
    if item.area not in AREAS or item.address >= 1 << 19 or not data:
        return []
    name = AREAS[item.area]
    if item.size in (28, 29):
        words = struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2])
        return [
            (f"{name}{item.address + i}", word) for i, word in enumerate(words) if item.address + i < 1 << 19
        ]
    if name in ("DB", "DI"):
        name = f"{name}{item.block}.{name}"
    if item.size == 1:
        return [(f"{name}X{item.address >> 3}.{item.address & 7}", data[0] & 1)]
    if item.size in (2, 3):
        return list(_octets(name, item.address, data[:4096]))
    if item.size not in TYPED:
        return []
    type_, letter, code = TYPED[item.size]
    step = struct.calcsize(code)
    found = []
    for at in range(0, len(data[:4096]) // step * step, step):
        bit = item.address + 8 * at
        if bit < 1 << 19:
            found.append((f"{_place(name, letter, bit)} ({type_})", struct.unpack_from(code, data, at)[0]))
    return found


def _place(name: str, letter: str, bit: int) -> str:
    return f"{name}{letter}{bit >> 3}" + (f".{bit & 7}" if bit & 7 else "")


def _octets(name: str, bit: int, data: bytes) -> Iterator[tuple[str, float]]:
    while data and bit < 1 << 19:
        if bit >> 3 & 1 or len(data) == 1:
            yield _place(name, "B", bit), data[0]
            data, bit = data[1:], bit + 8
            continue
        yield _place(name, "W", bit) + " (bytes)", struct.unpack_from(">h", data)[0]
        if len(data) >= 4:
            number = struct.unpack_from(">I", data)[0]
            if number & 0x7FFFFFFF == 0 or 107 <= number >> 23 & 0xFF <= 157:
                yield _place(name, "D", bit) + " (bytes as REAL)", struct.unpack_from(">f", data)[0]
        data, bit = data[2:], bit + 16
