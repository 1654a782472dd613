"""ISO transport over TCP: TPKT (RFC 1006 section 6) and COTP class 0 (ISO 8073, X.224 clause 13).

Layout, big endian::

    0  version    1    3
    1  reserved   1
    2  length     2    with this header, 7 or more
    4  LI         1    octets of the COTP header behind this one
    5  code       1    TPDU code << 4 | credit: E CR, D CC, 8 DR, C DC, F DT, 1 ED, 6 AK, 2 EA, 5 RJ, 7 ER
    6  DT: EOT 0x80 | number 7 bits, then user data
       CR, CC: DST-REF 2, SRC-REF 2, class 1, parameters (code 1, length 1, value): C1 calling, C2 called TSAP
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be16
from sensor.wire.status import FOREIGN, MORE, OK

VERSION: Final = 3
SMALLEST: Final = 7
CODE: Final = 5
CR, CC, DT = 14, 13, 15
ERROR, REJECT = 7, 5
KNOWN: Final = 0b1111_0001_1110_0110
"""Set of TPDU codes that the standard has."""
CALLING, CALLED = 0xC1, 0xC2
_PARAMETERS: Final = 11


@kernel
def tpkt_length(buf: Any, at: int, end: int) -> tuple[int, int]:
    """(status, bytes of the packet at ``at``)."""
    if end <= at:
        return MORE, 0
    if buf[at] != VERSION:
        return FOREIGN, 0
    if end - at < 4:
        return MORE, 0
    size = be16(buf, at + 2)
    return (OK, size) if size >= SMALLEST else (FOREIGN, np.int64(0))


@kernel
def tsap(buf: Any, at: int, end: int, wanted: int) -> tuple[int, int]:
    """(offset, octets) of a TSAP of a connect request or confirm whose packet begins at ``at``; -1 none."""
    stop = min(end, at + 5 + np.int64(buf[at + 4]))
    at += _PARAMETERS
    while stop - at >= 2:
        size = np.int64(buf[at + 1])
        if stop - at - 2 < size:
            break
        if buf[at] == wanted:
            return at + 2, size
        at += 2 + size
    return np.int64(-1), np.int64(0)
