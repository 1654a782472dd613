"""Builders for whole frames and a tiny pcap/pcapng writer, for tests and for the lab.

The builders live in :mod:`sensor.simulate.build`, one module per protocol, because simulated attacks need
them at run time; this module gathers them under one name and adds the writer, which shares nothing with the
one in ``sensor.capture``.

Examples
--------
>>> talk = Talk("10.0.0.1", "10.0.0.2", 502)
>>> talk.open(0)
>>> talk.client(1_000_000, modbus_adu(1, 1, mb_read(3, 100, 2)))
>>> talk.server(3_000_000, modbus_adu(1, 1, mb_read_response(3, [7, 8])))
>>> len(talk.frames)
5
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from sensor.simulate.build.ber import *  # noqa: F403
from sensor.simulate.build.goose import *  # noqa: F403
from sensor.simulate.build.iec104 import *  # noqa: F403
from sensor.simulate.build.modbus import *  # noqa: F403
from sensor.simulate.build.net import *  # noqa: F403
from sensor.simulate.build.net import Stamped

# --- Capture files ------------------------------------------------------------------------


def pcap_bytes(
    frames: Iterable[Stamped],
    nanos: bool = True,
    little: bool = True,
    *,
    linktype: int = 1,
    snaplen: int = 262144,
) -> bytes:
    """Classic pcap file as bytes; frames longer than ``snaplen`` are cut, as a capture would."""
    order = "<" if little else ">"
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nanos else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)]
    for ts, frame in frames:
        seconds, rest = divmod(ts, 1_000_000_000)
        part = rest if nanos else rest // 1000
        kept = frame[:snaplen]
        out.append(struct.pack(order + "IIII", seconds, part, len(kept), len(frame)) + kept)
    return b"".join(out)


def pcapng_bytes(
    frames: Iterable[Stamped | tuple[int, bytes, int]],
    little: bool = True,
    *,
    linktypes: Sequence[int] = (1,),
    tsresol: int = 9,
) -> bytes:
    """Pcapng file as bytes; a third item in a frame names its interface (0-based)."""
    order = "<" if little else ">"

    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    out = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    option = struct.pack(order + "HHB3xHH", 9, 1, tsresol, 0, 0)
    out += [block(1, struct.pack(order + "HHI", link, 0, 0) + option) for link in linktypes]
    for item in frames:
        ts, frame = item[0], item[1]
        units = ts * 10**tsresol // 10**9
        interface = item[2] if len(item) == 3 else 0
        head = struct.pack(
            order + "IIIII", interface, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame)
        )
        out.append(block(6, head + frame))
    return b"".join(out)


def _save(path: str | Path, data: bytes) -> None:
    target = Path(path)
    if target.suffix == ".gz":
        data = gzip.compress(data, 9, mtime=0)  # no time of day inside: same frames, same file
    target.write_bytes(data)


def write_pcap(
    path: str | Path,
    frames: Iterable[Stamped],
    nanos: bool = True,
    little: bool = True,
    *,
    linktype: int = 1,
    snaplen: int = 262144,
) -> None:
    """Write a classic pcap file; a name that ends in ``.gz`` is compressed."""
    _save(path, pcap_bytes(frames, nanos, little, linktype=linktype, snaplen=snaplen))


def write_pcapng(
    path: str | Path,
    frames: Iterable[Stamped | tuple[int, bytes, int]],
    little: bool = True,
    *,
    linktypes: Sequence[int] = (1,),
    tsresol: int = 9,
) -> None:
    """Write a pcapng file; a name that ends in ``.gz`` is compressed."""
    _save(path, pcapng_bytes(frames, little, linktypes=linktypes, tsresol=tsresol))
