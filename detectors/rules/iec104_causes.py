"""Which causes of transmission and directions are legal for which types: IEC 60870-5-101:2003, table 14."""

from __future__ import annotations

from typing import Final

from grid_profiles.vocabulary import Role

MONITOR: Final = frozenset({*range(1, 41), 70})
CONTROL: Final = frozenset({*range(45, 70), *range(100, 108), *range(110, 114)})
FILES: Final = frozenset(range(120, 128))
MONITOR_CAUSES: Final = frozenset({1, 2, 3, 4, 5, 11, 12, *range(20, 42)})
CONTROL_CAUSES: Final = frozenset({6, 8})
FILE_CAUSES: Final = frozenset({3, 5, 13, *range(44, 48)})
MIRROR_CAUSES: Final = frozenset({7, 9, 10, *range(44, 48)})
REQUEST_ONLY: Final = frozenset({102})  # C_RD_NA_1 carries cause 5 (request)
UNKNOWN_CAUSES: Final = {44: "type", 45: "cause", 46: "common address", 47: "object address"}


def illegal(kind: int, cause: int, role: int) -> str:
    """What is wrong with this direction and cause, "" nothing."""
    if kind in MONITOR:
        if role == Role.CLIENT:
            return "monitoring information never comes from the controlling station"
        return "" if cause in MONITOR_CAUSES or kind == 70 else "not a cause of monitoring information"
    if kind in REQUEST_ONLY and cause == 5:
        return ""
    if kind in CONTROL:
        if role == Role.CLIENT:
            return "" if cause in CONTROL_CAUSES else "a command is an activation or deactivation"
        if kind == 103 and cause == 3:
            return ""  # a controlled station may report its own clock
        return "" if cause in MIRROR_CAUSES else "the outstation only mirrors commands"
    if kind in FILES:
        return "" if cause in FILE_CAUSES else "files are transferred with cause 13, directories with 3 or 5"
    return ""
