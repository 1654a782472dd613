"""Rights that whoever reads hostile bytes with a program of others needs not have: none at all.

The daemon holds CAP_NET_RAW, and what it starts would inherit it. Linux only; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Final

PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
VERSION_3: Final = 0x20080522


def drop_capabilities() -> bool:
    """Give up all capabilities of this thread and of what it will execute, for good (capabilities(7)).

    Returns
    -------
    bool
        False where the system refuses; then everything is as before.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    # without this root would get everything back with the next execve(2)
    fixed = libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", VERSION_3, 0)
    none = bytes(24)  # effective, permitted and inheritable, twice 32 bits each
    return bool(libc.capset(header, none) == 0 and fixed)
