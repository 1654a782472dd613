"""A receive ring of the kernel: AF_PACKET with TPACKET_V3, mapped and read in place. It only listens.

The one place where this project opens a socket. The order keeps foreign frames out: a socket for no protocol,
then version, ring and filter, and only then it is bound to the interface. The filter is locked
(``SO_LOCK_FILTER``), promiscuous mode is a membership of the socket (the interface's own flags are not
touched, and it ends with the socket), nothing is ever written to the socket and it has no transmit ring.

Options and structures: packet(7), ``linux/if_packet.h``. ARPHRD numbers: ``linux/if_arp.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import select
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sensor.capture.ring_walk import FRAMES, HEADER, STATUS, TAG, USED, walk_block
from sensor.errors import InterfaceError, MissingToolError
from sensor.frames import LINK_ETHERNET, LINK_RAW, FrameBatch

BLOCK: Final = 128 << 10
"""Bytes of a block. The kernel hands one over when it is full or ``timeout_ms`` old, so many small blocks
hold more time of a quiet network than few large ones; a frame of 64 KiB (segments put together) fits."""

LEAST_BLOCKS: Final = 4

LINKS: Final = {1: LINK_ETHERNET, 772: LINK_ETHERNET, 65534: LINK_RAW}
"""LINKTYPE_ by ARPHRD_: Ethernet, loopback, none (tun)."""

_LOOPBACK: Final = 772
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION, _RESERVE, _IGNORE_OUTGOING = 1, 5, 6, 10, 12, 23
_PROMISCUOUS: Final = 1
_TPACKET_V3: Final = 2
_ATTACH_FILTER, _LOCK_FILTER = 26, 44
_ALL_PROTOCOLS: Final = 0x0003
_FRAME_SIZE: Final = 2048
_GET_FLAGS, _GET_HARDWARE = 0x8913, 0x8927  # SIOCGIFFLAGS, SIOCGIFHWADDR
_UP, _RUNNING = 0x1, 0x40
_DONE: Final = 1

_RIGHTS: Final = (
    "Run it as root, let systemd give the right (AmbientCapabilities=CAP_NET_RAW), or give it to the "
    "interpreter of this installation, and so to everything it runs: sudo setcap cap_net_raw+ep PYTHON"
)


class State(Enum):
    """What can be seen through an interface; the value completes "eth1 ..."."""

    UP = "is up"
    NO_CARRIER = "has no carrier"
    DOWN = "is down"
    GONE = "is not there"


@dataclass(frozen=True, slots=True)
class RingSettings:
    """How to listen.

    Attributes
    ----------
    mib : int
        Memory of the ring, MiB; less is taken when the machine refuses it.
    timeout_ms : int
        Age at which the kernel hands over a block that is not full.
    promiscuous : bool
        Also take frames for other stations; a mirror port brings nothing else.
    outgoing : bool
        Also take what this machine sends itself through the interface.
    filter : tuple of (int, int, int, int)
        Instructions of a classic BPF program (:mod:`sensor.capture.bpf`); none for all frames.
    """

    mib: int = 64
    timeout_ms: int = 50
    promiscuous: bool = True
    outgoing: bool = True
    filter: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(slots=True)
class Counters:
    """What the kernel counted: frames that passed the filter, those lost because the ring was full, and how
    often it was full."""

    packets: int = 0
    drops: int = 0
    freezes: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(self.packets + other.packets, self.drops + other.drops, self.freezes + other.freezes)


def interface_names() -> list[str]:
    """Interfaces of this machine (of this network namespace)."""
    return [name for _, name in socket.if_nameindex()]


def check_interface(name: str) -> None:
    """Raise InterfaceError for a name that is no interface."""
    names = interface_names()
    if name not in names:
        raise InterfaceError(f"no interface {name!r} on this machine; there are {', '.join(names) or 'none'}")


def prepare() -> None:
    """Load or compile what reads a block, before frames wait for it."""
    row, rows = np.zeros(1, np.int32), np.zeros(1, np.int64)
    walk_block(np.zeros(HEADER, np.uint8), 0, HEADER, 0, rows, row, row, rows)


class Ring:
    """Frames of one interface.

    Parameters
    ----------
    interface : str
    settings : RingSettings

    Attributes
    ----------
    link : int
        LINKTYPE_ of all its frames.
    size : int
        Bytes of the ring that the kernel granted.

    Raises
    ------
    InterfaceError
        No such interface, or one whose frames are not read natively.
    MissingToolError
        No right to capture, no memory, or a kernel without TPACKET_V3.
    """

    def __init__(self, interface: str, settings: RingSettings | None = None) -> None:
        self.interface = interface
        self.settings = settings or RingSettings()
        self.size = 0
        self.link = -1
        self._total = Counters()
        self._next = 0
        self._blocks: Any = None
        self._status: Any = None
        self._frames: Any = None
        self._used: Any = None
        self._fence = threading.Lock()
        self._socket = _open_socket()
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back; safe to call again. The counters stay readable."""
        if self._socket.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            self.counters()
        if self.size:
            self._blocks = self._status = self._used = self._frames = None  # views keep the map open
            self._map.close()
        self._socket.close()

    # --- reading ------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> bool:
        """Wait for a block; True when one may be ready. An interface that goes down ends the wait as well."""
        if self._ready():
            return True
        for _, events in self._poll.poll(seconds * 1000):
            if events & select.POLLERR:
                self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading it clears it
        return self._ready()

    @property
    def filling(self) -> bool:
        """Whether a quarter of the ring waits to be read."""
        return self._ready(len(self._blocks) // 4)

    def take(self, first: int, most_bytes: int) -> FrameBatch | None:
        """Frames of all blocks that are ready, oldest first, numbered from ``first``; None without any.

        The blocks are copied (one ``memcpy`` each) and given back before this returns. At most ``most_bytes``
        of blocks are taken, but always one.
        """
        ready = 0
        while ready < len(self._blocks) and self._ready(ready):
            ready += 1
        if not ready:
            return None
        with self._fence:
            pass  # a barrier: some processors would read a block before its status
        spans: list[tuple[int, int]] = []
        size = rows = 0
        for ahead in range(ready):
            block = (self._next + ahead) % len(self._blocks)
            used = min((int(self._used[block]) + 7) & ~7, BLOCK)
            if spans and size + used > most_bytes:
                break
            spans.append((block, used))
            rows += int(self._frames[block])
            size += used
        return self._copy(spans, size, rows, first)

    def _copy(self, spans: Sequence[tuple[int, int]], size: int, rows: int, first: int) -> FrameBatch:
        octets = np.empty(size // 8, np.uint64).view(np.uint8)
        offset, ts = np.empty(rows, np.int64), np.empty(rows, np.int64)
        caplen, wirelen = np.empty(rows, np.int32), np.empty(rows, np.int32)
        count = begin = 0
        for block, used in spans:
            end = begin + used
            octets[begin:end] = self._blocks[block, :used]
            self._status[block] = 0
            self._next = (block + 1) % len(self._blocks)
            count = int(walk_block(octets, begin, end, count, offset, caplen, wirelen, ts))
            begin = end
        octets.flags.writeable = False
        link = np.full(count, self.link, np.int32)
        number = np.arange(first, first + count, dtype=np.int64)
        return FrameBatch(octets, offset[:count], caplen[:count], wirelen[:count], ts[:count], link, number)

    def _ready(self, ahead: int = 0) -> bool:
        return bool(self._status[(self._next + ahead) % len(self._blocks)] & _DONE)

    # --- what the kernel says -----------------------------------------------------------------------

    def counters(self) -> Counters:
        """Sums since the ring was opened; the kernel itself forgets its counts when they are read."""
        if self._socket.fileno() >= 0:
            raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
            self._total = self._total + Counters(*struct.unpack("III", raw))
        return self._total

    def state(self) -> State:
        """What can be seen at this moment."""
        request = struct.pack("16s16x", self.interface.encode())
        try:
            answer = fcntl.ioctl(self._socket, _GET_FLAGS, request)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                return State.GONE
            raise
        flags = struct.unpack("16xH14x", answer)[0]
        if not flags & _UP:
            return State.DOWN
        return State.UP if flags & _RUNNING else State.NO_CARRIER

    @property
    def attached(self) -> bool:
        """Whether the socket still belongs to the interface of that name; not after it was made anew."""
        try:
            known = self._socket.getsockname()[0] == self.interface
            return known and socket.if_nametoindex(self.interface) == self._index
        except OSError:
            return False

    # --- set-up -------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        check_interface(self.interface)
        self._index = socket.if_nametoindex(self.interface)
        self._map_ring()
        self._set_filter()
        link = self._bind()
        if link not in LINKS:
            raise InterfaceError(
                f"{self.interface} gives frames of hardware type {link}, which only tshark reads: "
                "use --engine tshark"
            )
        self.link = LINKS[link]
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN | select.POLLERR)

    def _map_ring(self) -> None:
        option = self._socket.setsockopt
        try:
            option(_SOL_PACKET, _VERSION, _TPACKET_V3)
            option(_SOL_PACKET, _RESERVE, TAG)
        except OSError as error:
            raise MissingToolError(f"this kernel has no TPACKET_V3 ({error.strerror})") from error
        blocks = max(LEAST_BLOCKS, (self.settings.mib << 20) // BLOCK)
        while True:
            frames = blocks * (BLOCK // _FRAME_SIZE)
            request = (BLOCK, blocks, _FRAME_SIZE, frames, self.settings.timeout_ms, 0, 0)
            try:
                option(_SOL_PACKET, _RX_RING, struct.pack("7I", *request))
                break
            except OSError as error:
                if error.errno != errno.ENOMEM or blocks // 2 < LEAST_BLOCKS:
                    raise MissingToolError(
                        f"the kernel grants no ring of {blocks * BLOCK >> 10} KiB ({error.strerror}); "
                        "try a smaller --ring-mib"
                    ) from error
                blocks //= 2
        self._map = mmap.mmap(self._socket.fileno(), blocks * BLOCK, mmap.MAP_SHARED)
        self.size = blocks * BLOCK
        self._blocks = np.frombuffer(self._map, np.uint8).reshape(blocks, BLOCK)
        words: npt.NDArray[np.uint32] = self._blocks.view(np.uint32)
        self._status = words[:, STATUS]
        self._frames = words[:, FRAMES]
        self._used = words[:, USED]

    def _set_filter(self) -> None:
        if self.settings.filter:
            code = b"".join(struct.pack("HBBI", *step) for step in self.settings.filter)
            kept = ctypes.create_string_buffer(code, len(code))
            program = struct.pack("@HP", len(self.settings.filter), ctypes.addressof(kept))
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
            except OSError as error:
                raise MissingToolError(f"the kernel refuses the filter ({error.strerror})") from error
        self._socket.setsockopt(socket.SOL_SOCKET, _LOCK_FILTER, 1)

    def _bind(self) -> int:
        """Begin to receive; the interface's ARPHRD_ type."""
        sock = self._socket
        try:
            loopback = _hardware(self.interface, sock) == _LOOPBACK
            if loopback or not self.settings.outgoing:  # on a loopback every frame comes back in
                sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            if self.settings.promiscuous:
                member = struct.pack("iHH8s", self._index, _PROMISCUOUS, 0, b"")
                sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, member)
            sock.bind((self.interface, _ALL_PROTOCOLS))
        except PermissionError as error:
            raise MissingToolError(f"no right to capture from {self.interface}. {_RIGHTS}") from error
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENXIO):
                raise InterfaceError(f"{self.interface} went away") from error
            raise MissingToolError(f"{self.interface}: {error.strerror}") from error
        return int(sock.getsockname()[3])


def _hardware(interface: str, sock: socket.socket) -> int:
    """ARPHRD_ type of an interface."""
    answer = fcntl.ioctl(sock, _GET_HARDWARE, struct.pack("16s16x", interface.encode()))
    return int(struct.unpack("16xH14x", answer)[0])


def _open_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise MissingToolError(f"no right to capture. {_RIGHTS}") from error
    except OSError as error:
        raise MissingToolError(f"no packet sockets on this machine ({error.strerror})") from error
