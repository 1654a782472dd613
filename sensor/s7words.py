"""An element of S7comm in the words of its programmers: ``DB1.DBD12 (REAL)``, ``M4.1``, ``QW2``."""

from __future__ import annotations

from typing import Final

from sensor.wire.s7values import ADDRESS_BITS, AREA_BITS, BLOCK_BITS

AREAS: Final = {
    0: "P", 1: "I", 2: "Q", 3: "M", 4: "DB", 5: "DI", 6: "L", 7: "V",
    16: "C", 17: "T", 18: "IEC C", 19: "IEC T", 23: "SI", 25: "SF", 26: "AI", 27: "AQ",
}  # fmt: skip
"""Letters of the memory areas, by their five bits (``wire.s7values.s7_area``)."""

WIDTHS: Final = {1: "X", 2: "B", 6: "D", 7: "D", 8: "D", 10: "D", 11: "D", 15: "D"}
TYPES: Final = {
    3: "bytes", 4: "WORD", 5: "INT", 6: "DWORD", 7: "DINT", 8: "REAL", 9: "DATE", 10: "TIME_OF_DAY",
    11: "TIME", 12: "S5TIME", 15: "bytes as REAL",
}  # fmt: skip
NUMBERED: Final = (13, 14)


def s7_words(code: int) -> str:
    """Text of an element's code."""
    address = code & (1 << ADDRESS_BITS) - 1
    block = code >> ADDRESS_BITS & (1 << BLOCK_BITS) - 1
    area = code >> ADDRESS_BITS + BLOCK_BITS & (1 << AREA_BITS) - 1
    kind = code >> ADDRESS_BITS + BLOCK_BITS + AREA_BITS
    name = AREAS.get(area, f"area {area} ")
    if kind in NUMBERED:
        return f"{name}{address}"
    if area in (4, 5):
        name = f"{name}{block}.{name}"
    bit = f".{address & 7}" if kind == 1 or address & 7 else ""
    type_ = f" ({TYPES[kind]})" if kind in TYPES else ""
    return f"{name}{WIDTHS.get(kind, 'W')}{address >> 3}{bit}{type_}"
