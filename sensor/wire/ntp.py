"""NTP and SNTP (RFC 5905), and the control (RFC 1305 appendix B) and private messages of the same port.

Layout::

    0  leap indicator 2 bits, version 3 bits, mode 3 bits
    1  stratum  1    2 poll  1    3 precision  1
    4  root delay 4    8 root dispersion 4    12 reference id 4    16 four times of 8
"""

from __future__ import annotations

from typing import Final

HEADER: Final = 48
SHORTEST: Final = 8
"""Octets of a control or private message's header that must be there."""
CONTROL: Final = 6
PRIVATE: Final = 7
