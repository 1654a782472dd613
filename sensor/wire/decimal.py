"""Numbers that are sent as text, as payloads of MQTT often are: what Python's ``float`` reads of digits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sensor.jit import kernel

LONGEST: Final = 64
"""Octets of a text that may be a number; a longer one is something else."""

DIGITS: Final = 17
"""Digits that a double can tell apart; those behind them only scale."""


@kernel
def text_number(buf: Any, at: int, end: int) -> float:
    """``[+-]digits[.digits][e[+-]digits]`` filling ``buf[at:end]`` as a number, anything else NaN."""
    if end - at > LONGEST or at >= end:
        return np.nan
    negative = buf[at] == 0x2D
    if negative or buf[at] == 0x2B:
        at += 1
    mantissa, seen, scale, dot = np.int64(0), np.int64(0), np.int64(0), False
    while at < end:
        octet = np.int64(buf[at])
        if octet >= 0x30 and octet <= 0x39:
            seen += 1
            if mantissa < 10**DIGITS:
                mantissa = mantissa * 10 + octet - 0x30
                scale -= 1 if dot else 0
            else:
                scale += 0 if dot else 1
        elif octet == 0x2E and not dot:
            dot = True
        else:
            break
        at += 1
    if seen == 0:
        return np.nan
    if at < end:
        exponent = _exponent(buf, at, end)
        if exponent < -9999:
            return np.nan
        scale += exponent
    value = np.float64(mantissa)
    if mantissa > 0:
        # by a power that is exact where there is one
        value = value * 10.0**scale if scale >= 0 else value / 10.0 ** min(-scale, 308)
        if scale < -308:
            value = value / 10.0 ** min(-scale - 308, 308)
    return -value if negative else value


@kernel
def _exponent(buf: Any, at: int, end: int) -> int:
    """``e[+-]digits`` with one to four digits filling ``buf[at:end]``; -10000 for anything else."""
    if buf[at] != 0x65 and buf[at] != 0x45:
        return -10_000
    at += 1
    negative = at < end and buf[at] == 0x2D
    if at < end and (negative or buf[at] == 0x2B):
        at += 1
    if at >= end or end - at > 4:
        return -10_000
    value = np.int64(0)
    for i in range(at, end):
        if buf[i] < 0x30 or buf[i] > 0x39:
            return -10_000
        value = value * 10 + np.int64(buf[i]) - 0x30
    return -value if negative else value
