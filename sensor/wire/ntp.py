"""NTP and SNTP (RFC 5905), and the control (RFC 1305 appendix B) and private messages of the same port.

Layout::

    0  leap indicator 2 bits, version 3 bits, mode 3 bits
    1  stratum  1    2 poll  1    3 precision  1
    4  root delay 4    8 root dispersion 4    12 reference id 4
    16 four times of 8: reference, originate, receive, transmit; seconds 4 since 1900, fraction 4
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel
from sensor.wire.octets import be32

HEADER: Final = 48
SHORTEST: Final = 8
"""Octets of a control or private message's header that must be there."""
CONTROL: Final = 6
PRIVATE: Final = 7
TRANSMIT: Final = 40

_TO_1970: Final = 2_208_988_800
_ERA: Final = 1 << 32


@kernel
def ntp_time(buf: Any, at: int) -> float:
    """A time stamp as seconds since 1970, NaN when it is 0 (unknown); below 2^31 it is of 2036 and later."""
    seconds, fraction = be32(buf, at), be32(buf, at + 4)
    if seconds == 0 and fraction == 0:
        return np.nan
    if seconds < 1 << 31:
        seconds += _ERA
    return np.float64(seconds - _TO_1970) + np.float64(fraction) / np.float64(_ERA)
