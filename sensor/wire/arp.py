"""ARP (RFC 826).

Layout::

    0  hardware type    2    1 Ethernet, 6 IEEE 802
    2  protocol type    2    0x0800 IPv4
    4  hardware length  1
    5  protocol length  1
    6  operation        2
    8  sender hardware, sender protocol, target hardware, target protocol address
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16

HEADER: Final = 8


@kernel
def arp_addresses(buf: Any, at: int, end: int) -> tuple[int, int, int, bool]:
    """(sender station, sender address, target address: offsets, -1 none of Ethernet or IPv4; is it whole)."""
    hardware, protocol = np.int64(buf[at + 4]), np.int64(buf[at + 5])
    whole = end - at >= HEADER + 2 * (hardware + protocol)
    station, sender, target = np.int64(-1), np.int64(-1), np.int64(-1)
    kind = be16(buf, at)
    here = at + HEADER
    if (kind == 1 or kind == 6) and hardware == 6 and here + 6 <= end:
        station = here
    if be16(buf, at + 2) == 0x0800 and protocol == 4:
        if here + hardware + 4 <= end:
            sender = here + hardware
        if here + 2 * hardware + 8 <= end:
            target = here + 2 * hardware + 4
    return station, sender, target, whole
