"""The words every stage shares: record layouts, flags, roles and classes of message.

A profile maps a protocol onto these columns, a decoder writes them, a detector reads
them. This module holds layouts and names only: no logic, no I/O, no state.

Notes
-----
``MESSAGE`` and ``POINT`` are structured dtypes, so that a compiled kernel fills a row in
one place and every column is a view (``batch["ts"]``). "Missing" is always a documented
sentinel: -1 for integers, NaN for floats, :data:`NO_TEXT` for interned text; never 0 by
accident.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum
from typing import Final

import numpy as np

MISSING: Final = -1
"""Integer columns: the protocol message carries no such thing."""

NO_TEXT: Final = 0
"""Text columns (``name``, ``ident``): id of the empty string."""

ANY_POINT: Final = 0xFFFF
"""Low 16 bits of a GOOSE/SV ``point`` that means the whole control block, not one entry."""

MESSAGE: Final = np.dtype(
    [
        ("ts", "i8"),  # capture time of the frame that completed the message, ns since 1970 UTC
        ("frame", "i8"),  # number of that frame, 1-based over the capture
        ("proto", "i2"),  # id of the profile (see grid_profiles.loader.Registry)
        ("role", "i1"),  # Role of the sender
        ("src", "i4"),  # endpoint id of the sender
        ("dst", "i4"),  # endpoint id of the receiver
        ("conv", "i4"),  # conversation id (client, server, port, sub)
        ("stream", "i4"),  # number of the TCP connection; -1 without TCP
        ("kind", "i4"),  # the protocol's own code: type id, function code, PDU type
        ("cause", "i4"),  # cause of transmission, exception code, error code; -1 none
        ("point", "i8"),  # first object addressed, see docs/messages.md; -1 none
        ("value", "f8"),  # value that the message itself carries; NaN none
        ("count", "i4"),  # number of objects; -1 unknown
        ("size", "i4"),  # bytes of the message with its own header
        ("seq", "i8"),  # protocol's sequence or transaction number; -1 none
        ("state", "i8"),  # protocol's second counter: N(R), stNum, frame of the request; -1 none
        ("aux", "i8"),  # one more number a protocol needs, see docs/messages.md; -1 none
        ("name", "i4"),  # interned text: dataset, item, topic, file; NO_TEXT none
        ("ident", "i4"),  # interned text: who or what calls itself so: goID, client id; NO_TEXT none
        ("flags", "u4"),  # Flag bits
    ]
)

POINT: Final = np.dtype(
    [
        ("ts", "i8"),  # as in MESSAGE
        ("frame", "i8"),
        ("message", "i8"),  # row of the message in the batch that carries this point
        ("proto", "i2"),
        ("conv", "i4"),
        ("kind", "i4"),  # the protocol's data type: IEC-104 type id, Modbus table, GOOSE tag
        ("point", "i8"),  # object, same code as MESSAGE.point
        ("value", "f8"),  # NaN when the type has no number (text, octets)
        ("quality", "i4"),  # the protocol's own quality octet(s); -1 none
    ]
)

TIME_TAG: Final = 1 << 20
"""Bit of POINT.kind: ``value`` is the object's time tag, epoch seconds as if it were UTC, and no value."""


class Role(IntEnum):
    """Who speaks, by the protocol's own roles (client = master = controlling station)."""

    UNKNOWN = 0
    CLIENT = 1
    SERVER = 2
    PUBLISHER = 3
    PEER = 4


class Flag(IntFlag):
    """What is remarkable about one message (MESSAGE.flags)."""

    MALFORMED = 1 << 0  # contradicts its own standard (length, reserved value)
    TRUNCATED = 1 << 1  # the capture holds less than the wire did (snap length)
    NEGATIVE = 1 << 2  # refusal: exception response, negative confirmation, error code
    TEST = 1 << 3  # test or simulation bit
    SELECT = 1 << 4  # select of select-before-operate
    RETRANSMITTED = 1 << 5  # its bytes were on the wire before, by TCP sequence number
    DUPLICATE = 1 << 6  # same frame again (PRP/HSR, mirror port)
    ENCRYPTED = 1 << 7  # payload cannot be read
    GAP = 1 << 8  # TCP bytes before it are missing in the capture
    MIDSTREAM = 1 << 9  # first message of a TCP connection whose opening was not seen
    UNANSWERED = 1 << 10  # response without a request that was seen
    COMMISSIONING = 1 << 11  # GOOSE ndsCom: publisher not fully configured
    REASSEMBLED = 1 << 12  # bytes came from more than one TCP segment
    BROADCAST = 1 << 13  # addressed to everybody (global common address, broadcast unit)
    CONFLICT = 1 << 14  # TCP bytes that differ from those sent before for the same place
    LATE = 1 << 15  # TCP segment that came after its successor and fills the hole before it


class KindClass(StrEnum):
    """What a kind of message does to the plant; the danger class of an alert."""

    READ = "read"
    REPORT = "report"
    CONTROL = "control"
    SETPOINT = "setpoint"
    CONFIG = "config"
    FILE = "file"
    PROGRAM = "program"
    RESTART = "restart"
    TIME = "time"
    SESSION = "session"
    DIAGNOSTIC = "diagnostic"
    ERROR = "error"


DANGEROUS: Final = frozenset(
    {
        KindClass.CONTROL,
        KindClass.SETPOINT,
        KindClass.CONFIG,
        KindClass.FILE,
        KindClass.PROGRAM,
        KindClass.RESTART,
        KindClass.TIME,
    }
)
"""Classes that change the plant: never learned silently."""
