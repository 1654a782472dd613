"""Outcome of a decode step, as a value: for a sensor a malformed frame is evidence, not an exception."""

from __future__ import annotations

from typing import Final

OK: Final = 0
TRUNCATED: Final = 1  # the capture holds fewer bytes than the header asks for
MALFORMED: Final = 2  # contradicts the standard
UNSUPPORTED: Final = 3  # legal, but not ours to read (fragment, unknown ethertype)
MORE: Final = 4  # the rest of the PDU comes with a later segment
FOREIGN: Final = 5  # bytes on this port are another protocol
