"""Builders for EtherNet/IP and CIP (they live in :mod:`sensor.simulate.build.enip`), and exchanges."""

from __future__ import annotations

import struct

from sensor.simulate.build.enip import *  # noqa: F403
from sensor.simulate.build.enip import (
    attributes_all,
    forward_close,
    forward_open,
    listed,
    logical,
    opened,
    path,
    request,
    response,
    routed,
    tag,
    together,
)


def io_path(config: int, out: int, back: int, slot: int | None = None) -> bytes:
    """An electronic key, then the assemblies of a module: configuration, outputs, inputs."""
    route = b"" if slot is None else bytes([1, slot])
    key = b"\x34\x04" + struct.pack("<HHHBB", 77, 14, 55, 0x80 | 20, 1)
    points = logical(1, config) + logical(3, out) + logical(3, back)
    return route + key + logical(0, 4) + points + b"\x80\x02\0\0\0\0"


def io_open(
    to: int = 0x4B0001,
    serial: int = 1,
    owner: int = 0x32952BF3,
    *,
    where: bytes | None = None,
    large: bool = False,
    kind: int = 1,
    out: int = 22,
    way: int = 2,
    back: int = 2,
    shared: bool = False,
) -> bytes:
    """Asks for an I/O connection.

    Parameters
    ----------
    kind : int
        Transport class.
    out : int
        Octets from originator to target; a heartbeat has 2 in class 1 and none in class 0.
    way, back : int
        Type of the connection there and back: 0 none, 1 multicast, 2 point to point.
    shared : bool
        A redundant owner.
    """
    path_ = io_path(100, 101, 102) if where is None else where
    data = struct.pack("<BBIIHHIB3x", 7, 249, 0, to, serial, 77, owner, 2)
    size, bits = ("<II", 32) if large else ("<IH", 16)
    data += struct.pack(size, 10_000, shared << (bits - 1) | way << (bits - 3) | out)
    data += struct.pack(size, 10_000, back << (bits - 3) | 18)
    data += bytes([kind, len(path_) // 2]) + path_
    return request(0x5B if large else 0x54, path(6, 1), data)


def io_opened(
    ot: int, to: int = 0x4B0001, serial: int = 1, owner: int = 0x32952BF3, large: bool = False
) -> bytes:
    """Its answer."""
    data = struct.pack("<IIHHIIIBx", ot, to, serial, 77, owner, 10_000, 10_000, 0)
    return response(0x5B if large else 0x54, data)


def io_close(serial: int = 1, owner: int = 0x32952BF3) -> bytes:
    """Closes it."""
    where = io_path(100, 101, 102)
    data = struct.pack("<BBHHIBx", 7, 249, serial, 77, owner, len(where) // 2) + where
    return request(0x4E, path(6, 1), data)


def io_closed(serial: int = 1, owner: int = 0x32952BF3) -> bytes:
    """Answer to the closing."""
    return response(0x4E, struct.pack("<HHIBx", serial, 77, owner, 0))


EXCHANGES: tuple[tuple[bytes, bytes], ...] = (
    (request(1, path(1, 1)), response(1, attributes_all("1756-L61/B"))),
    (request(14, path(1, 1, 7)), response(14, b"\6PLC-77")),
    (
        request(3, path(1, 1), listed(1, 6, 7)),
        response(3, struct.pack("<HHHHHHI", 3, 1, 0, 77, 6, 0, 5) + struct.pack("<HHB3s", 7, 0, 3, b"abc")),
    ),
    (request(3, path(0x69, 0x2420), listed(11, 12)), response(3, b"\2\0\x0b\0\5\0\x0c\0\5\0", 0x0A)),
    (request(4, path(0x8B, 1), struct.pack("<HHI", 1, 6, 9)), response(4, struct.pack("<HHH", 1, 6, 0))),
    (request(16, path(0xF5, 1, 3), b"\1\0\0\0"), response(16, b"", 0x0F, (1, 2))),
    (request(5, path(1, 1), b"\1"), response(5)),
    (request(7, path(0x8E, 1)), response(7)),
    (request(0x4B, path(0x8E, 1) + path(0x74, 1), bytes(4)), response(0x4B)),
    (
        request(0x4C, path(0x68, 0x2420) + path(0x6B, 0x10000), b"\1\0"),
        response(0x4C, b"\xc4\0\xfe\xff\xff\xff"),
    ),
    (
        request(0x4C, tag("Program:Main", "Valve", 3, 4, "Open"), b"\1\0"),
        response(0x4C, struct.pack("<Hf", 0xCA, 2.5)),
    ),
    (request(0x4D, tag("Setpoint"), struct.pack("<HHh", 0xC3, 1, -5)), response(0x4D)),
    (request(0x52, tag("Big", 70_000), b"\1\0\0\0\0\0"), response(0x52, struct.pack("<Hq", 0xC5, -7), 6)),
    (request(0x53, tag("Big"), struct.pack("<HHId", 0xCB, 1, 0, 1e9)), response(0x53)),
    (request(0x4E, tag("Bits"), b"\4\0" + bytes(8)), response(0x4E, b"", 0xFF, (0x2105,))),
    (request(0x55, path(0x6B, 0), b"\2\0\1\0\2\0"), response(0x55, bytes(12), 6)),
    (request(0x4C, b"\x65Plain" + b"", b"\1\0"), response(0x4C, b"\xc1\0\xff")),
    (forward_open(), opened(0x00790D01)),
    (forward_open(large=True), opened(0x00790D02, large=True)),
    (forward_close(), response(0x4E, bytes(10))),
    (forward_open(), response(0x54, bytes(10), 1, (0x0100,))),
    (
        request(
            10, path(2, 1), together(request(3, path(1, 1), listed(5)), request(0x4C, tag("A"), b"\1\0"))
        ),
        response(10, together(response(3, b"\1\0\5\0\0\0\x60\x30"), response(0x4C, b"\xc2\0\x80")), 0x1E),
    ),
    (routed(request(0x4C, tag("FIT201", 2), b"\1\0")), response(0x4C, struct.pack("<Hf", 0xCA, 1.5))),
    (routed(request(1, path(1, 1))), response(1, attributes_all("slot 0"))),
    (routed(request(14, path(1, 1, 1))), response(0x52, b"\1\0", 1, (0x0204,))),
    (routed(request(0x52, tag("T"), bytes(6))), response(0x52, struct.pack("<HI", 0xD3, 2**31))),
    (
        routed(request(10, path(2, 1), together(request(1, path(0xAC, 1)), request(14, path(4, 100, 3))))),
        response(10, together(response(1, bytes(4)), response(14, b"", 5))),
    ),
    (io_open(), io_opened(0x1001)),
    (
        io_open(where=io_path(100, 0x1234, 102, 5), large=True, serial=2, back=1),
        io_opened(0x1002, serial=2, large=True),
    ),
    (io_open(kind=0, out=4, back=0, serial=3), io_opened(0x1003, serial=3)),
    (io_open(out=2, serial=4), io_opened(0x1004, serial=4)),
    (io_open(shared=True, serial=5), io_opened(0x1005, serial=5)),
    (io_open(way=0, back=0, serial=6), io_opened(0x1006, serial=6)),
    (
        io_open(where=b"\x1f\x08\x12\0" + b"10.0.0.9" + io_path(1, 2, 3), serial=7),
        io_opened(0x1007, serial=7),
    ),
    (io_close(), io_closed()),
    (io_close(), response(0x4E, bytes(10), 1, (0x0107,))),
)  # fmt: skip
"""Requests and their responses, every form that a decoder here knows."""
