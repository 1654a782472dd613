"""TPKT, COTP, session, presentation, MMS and S7comm built by the book."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from sensor.simulate.build.ber import ber

MMS_CONTEXT = 3


def tpkt(tpdu: bytes, *, length: int | None = None) -> bytes:
    """RFC 1006; ``length`` lies."""
    return struct.pack("!BBH", 3, 0, 4 + len(tpdu) if length is None else length) + tpdu


def dt(data: bytes, last: bool = True) -> bytes:
    """A packet with a data unit."""
    return tpkt(bytes([2, 0xF0, 0x80 if last else 0]) + data)


def connect(code: int = 0xE0, calling: bytes = b"\x01\x00", called: bytes = b"\x01\x02") -> bytes:
    """Connect request (E0) or confirm (D0)."""
    body = bytes([code, 0, 0, 0, 1, 0, 0xC0, 1, 10, 0xC1, len(calling)]) + calling
    body += bytes([0xC2, len(called)]) + called
    return tpkt(bytes([len(body)]) + body)


def segments(message: bytes, step: int) -> list[bytes]:
    """A message of the transport's user in data units of so many bytes."""
    pieces = [message[at : at + step] for at in range(0, len(message), step)]
    return [dt(piece, number == len(pieces)) for number, piece in enumerate(pieces, 1)]


# --- MMS ----------------------------------------------------------------------------------


def service(number: int, content: bytes, primitive: bool = False) -> bytes:
    """A service of a request or response."""
    if number > 30:
        return bytes([0x9F if primitive else 0xBF, number]) + ber(0, content)[1:]
    return ber((0x80 if primitive else 0xA0) | number, content)


def confirmed(tag: int, invoke: int, body: bytes) -> bytes:
    """Request (A0) or response (A1)."""
    return ber(tag, ber(2, struct.pack("!H", invoke)) + body)


def item(domain: str, name: str) -> bytes:
    """ObjectName of a domain."""
    return ber(0xA1, ber(0x1A, domain.encode()) + ber(0x1A, name.encode()))


def variable_list(*names: bytes) -> bytes:
    """VariableAccessSpecification with variables."""
    return ber(0xA0, b"".join(ber(0x30, ber(0xA0, name)) for name in names))


def report_values(
    ident: str,
    number: int | None,
    data_set: str = "",
    *,
    overflow: bool | None = None,
    parts: tuple[int, bool] | None = None,
    entry: bytes = b"",
    revision: int = -1,
    values: Sequence[bytes] = (),
) -> bytes:
    """Values of a report (IEC 61850-8-1, 17.2); ``parts`` are SubSqNum and MoreSegmentsFollow."""
    said = [number is not None, False, bool(data_set), overflow is not None, bool(entry), revision >= 0]
    options = 0
    for bit, here in zip((1, 2, 4, 6, 7, 8), said, strict=True):
        options |= 0x8000 >> bit if here else 0
    head = b"" if number is None else ber(0x86, _unsigned(number))
    head += ber(0x8A, data_set.encode()) if data_set else b""
    head += b"" if overflow is None else ber(0x83, bytes([overflow]))
    head += ber(0x89, entry) if entry else b""
    head += ber(0x86, _unsigned(revision)) if revision >= 0 else b""
    if parts is not None:
        options |= 0x8000 >> 9
        head += ber(0x86, _unsigned(parts[0])) + ber(0x83, bytes([parts[1]]))
    inclusion = ber(0x84, b"\6" + (0xFFFF << 6 & 0xFFFF).to_bytes(2, "big"))
    text, bits = ber(0x8A, ident.encode()), ber(0x84, b"\6" + options.to_bytes(2, "big"))
    return text + bits + head + inclusion + b"".join(values)


def report(ident: str, number: int | None, data_set: str = "", **more: Any) -> bytes:
    """An information report that is a report of IEC 61850; ``more`` as of :func:`report_values`."""
    values = report_values(ident, number, data_set, **more)
    return ber(0xA3, ber(0xA0, ber(0xA1, ber(0x80, b"RPT")) + ber(0xA0, values)))


def _unsigned(value: int) -> bytes:
    """Contents of an unsigned integer: at least one octet, the highest bit clear."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def session(pdu: bytes) -> bytes:
    """Session and presentation around one MMS PDU."""
    pdv = ber(0x30, ber(2, bytes([MMS_CONTEXT])) + ber(0xA0, pdu))
    return b"\1\0\1\0" + ber(0x61, pdv)


CONTEXTS = ber(
    0xA4,
    ber(0x30, ber(2, b"\1") + ber(6, b"\x52\1\0\1") + ber(0x30, ber(6, b"\x51\1")))
    + ber(0x30, ber(2, bytes([MMS_CONTEXT])) + ber(6, b"\x28\xca\x22\2\1") + ber(0x30, ber(6, b"\x51\1"))),
)
"""Presentation contexts of a connect: 1 is the association, 3 is MMS."""


def associate(pdu: bytes, spdu: int = 0x0D, acse: int = 0x60, contexts: bytes = b"") -> bytes:
    """Session connect (0D, 60) or accept (0E, 61) with an initiate in it."""
    external = ber(0x28, ber(2, bytes([MMS_CONTEXT])) + ber(0xA0, pdu))
    aarq = ber(acse, ber(0xA1, ber(6, b"\x28\xca\x22\x02\x03")) + ber(0xBE, external))
    user = ber(0x61, ber(0x30, ber(2, b"\1") + ber(0xA0, aarq)))
    shown = ber(0x31, ber(0xA0, ber(0x80, b"\1")) + ber(0xA2, ber(0x81, b"\0\0\0\1") + contexts + user))
    parameters = b"\x05\x06\x13\x01\x00\x16\x01\x02\x14\x02\x00\x02" + bytes([0xC1, len(shown)]) + shown
    return bytes([spdu, len(parameters)]) + parameters


def mms(pdu: bytes) -> bytes:
    """A packet with one MMS PDU under session and presentation."""
    return dt(session(pdu))


# --- S7comm -------------------------------------------------------------------------------


def s7(kind: int, ref: int, parameters: bytes, data: bytes = b"", error: int = 0) -> bytes:
    """A packet with one S7comm message."""
    head = struct.pack("!BBHHHH", 0x32, kind, 0, ref, len(parameters), len(data))
    return dt(head + (struct.pack("!H", error) if kind in (2, 3) else b"") + parameters + data)


def s7_item(area: int, block: int, address: int) -> bytes:
    """An item with a plain address."""
    return struct.pack("!BBBBHHI", 0x12, 10, 0x10, 2, 1, block, area << 24 | address)


def s7_items(function: int, *items: bytes) -> bytes:
    """Parameters of a read or write."""
    return bytes([function, len(items)]) + b"".join(items)


def s7_user(sort: int, group: int, sub: int, error: int | None = None) -> bytes:
    """Parameters of user data; answers have an error code."""
    more = b"" if error is None else struct.pack("!BBH", 0, 0, error)
    return (
        b"\0\1\x12"
        + bytes([4 + len(more), 0x11 if error is None else 0x12, sort << 4 | group, sub, 1])
        + more
    )


def s7_text(function: int, skipped: int, text: str, block: Sequence[int] = ()) -> bytes:
    """Parameters of a job that names a service or a file."""
    between = bytes(skipped) + (struct.pack("!H", len(block)) + bytes(block) if function == 0x28 else b"")
    return bytes([function]) + between + bytes([len(text)]) + text.encode()
