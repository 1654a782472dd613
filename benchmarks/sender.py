"""Sends a capture's frames into an interface at a steady rate: ``python -m benchmarks.sender IFACE FILE``.

Reads lines ``RATE SECONDS`` (frames per second) from standard input and answers each with the number of
frames sent and the seconds it took. Part of the benchmarks only: the sensor itself cannot send.
"""

from __future__ import annotations

import ctypes
import socket
import sys
import time
from pathlib import Path

import numpy as np

from sensor.capture.pcapfile import CaptureFile

CHUNK = 64
LONGEST = 1514
MMSGHDR = np.dtype(
    [
        ("name", "u8"), ("namelen", "u8"), ("iov", "u8"), ("iovlen", "u8"),
        ("control", "u8"), ("controllen", "u8"), ("flags", "u8"), ("sent", "u8"),
    ]
)  # fmt: skip
IOVEC = np.dtype([("base", "u8"), ("len", "u8")])
QDISC_BYPASS = 20


class Sender:
    """The frames of a capture, ready for sendmmsg(2)."""

    def __init__(self, interface: str, path: Path) -> None:
        self._kept = [batch.take(batch.caplen <= LONGEST) for batch in CaptureFile(path).batches()]
        bases = [batch.data.ctypes.data + batch.offset for batch in self._kept]
        self._iovec = np.zeros(sum(map(len, self._kept)), IOVEC)
        self._iovec["base"] = np.concatenate(bases)
        self._iovec["len"] = np.concatenate([batch.caplen for batch in self._kept])
        self._headers = np.zeros(len(self._iovec), MMSGHDR)
        self._headers["iov"] = self._iovec.ctypes.data + IOVEC.itemsize * np.arange(len(self._iovec))
        self._headers["iovlen"] = 1
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(263, QDISC_BYPASS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self._socket.bind((interface, 0))
        self._sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        self._at = 0

    def run(self, rate: float, seconds: float) -> tuple[int, float]:
        """Frames sent, and in what time."""
        total, sent = int(rate * seconds), 0
        begin = time.perf_counter()
        while sent < total and time.perf_counter() - begin < 2 * seconds:
            ahead = sent / rate - (time.perf_counter() - begin)
            if ahead > 0.0002:
                time.sleep(ahead)
            sent += self._some(min(CHUNK, total - sent))
        return sent, time.perf_counter() - begin

    def _some(self, count: int) -> int:
        count = min(count, len(self._headers) - self._at)
        address = self._headers.ctypes.data + MMSGHDR.itemsize * self._at
        done = self._sendmmsg(self._socket.fileno(), ctypes.c_void_p(address), count, 0)
        if done < 0:
            return 0
        self._at = (self._at + done) % len(self._headers)
        return int(done)


def main() -> None:
    sender = Sender(sys.argv[1], Path(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        rate, seconds = map(float, line.split())
        sent, took = sender.run(rate, seconds)
        print(sent, took, flush=True)


if __name__ == "__main__":
    main()
