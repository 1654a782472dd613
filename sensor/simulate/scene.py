"""What a capture offers to an attack: its frames, TCP connections, publishers and hosts.

A scene is read once and never changed; a :class:`~sensor.simulate.stage.Stage` makes the next one. The whole
capture is held in memory, so its size is bounded: an attack needs a benign stretch, not a month.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from sensor.capture.sources import open_sources
from sensor.errors import CaptureError, InputError
from sensor.frames import LINK_ETHERNET
from sensor.simulate.packets import TCP, UDP, Packet, dissect

MAX_FRAMES: Final = 1_000_000
MAX_BYTES: Final = 1 << 30
SYN, ACK, FIN, RST = 2, 16, 1, 4

ConnKey = tuple[bytes, int, bytes, int]
"""Client address and port, server address and port."""


@dataclass(slots=True)
class Connection:
    """One TCP connection: rows of its packets in order of capture, and who sent each (0 client, 1 server)."""

    client: bytes
    sport: int
    server: bytes
    port: int
    rows: list[int] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)

    @property
    def key(self) -> ConnKey:
        """What tells it from others."""
        return self.client, self.sport, self.server, self.port

    @property
    def hosts(self) -> tuple[str, str]:
        """Client and server as text."""
        return text(self.client), text(self.server)


class Scene:
    """The frames of a capture in order of time, and what they belong to.

    Parameters
    ----------
    packets : sequence of Packet
        In capture order; a stable sort by time is the caller's.
    """

    def __init__(self, packets: Sequence[Packet]) -> None:
        self.packets = list(packets)
        self.start = self.packets[0].ts if self.packets else 0
        self.end = max((packet.ts for packet in self.packets[-64:]), default=0)
        self.memo: dict[object, object] = {}
        """What attacks found out about the whole scene, so that the next one need not."""

    @cached_property
    def connections(self) -> dict[ConnKey, Connection]:
        """Every TCP connection, by client and server, in order of appearance."""
        found: dict[ConnKey, Connection] = {}
        for row, packet in enumerate(self.packets):
            if packet.proto != TCP:
                continue
            forth = (packet.src, packet.sport, packet.dst, packet.dport)
            back = (packet.dst, packet.dport, packet.src, packet.sport)
            key = forth if forth in found else back
            if key not in found:
                key = forth if _is_client(packet) else back
                found[key] = Connection(*key)
            found[key].rows.append(row)
            found[key].sides.append(0 if key == forth else 1)
        return found

    def talks(self, port: int) -> list[Connection]:
        """Connections to a server's port that carry data both ways, most packets first."""
        return sorted(
            (talk for talk in self.connections.values() if talk.port == port and self._speaks(talk)),
            key=lambda talk: -len(talk.rows),
        )

    def _speaks(self, talk: Connection) -> bool:
        sides = {side for row, side in zip(talk.rows, talk.sides, strict=True) if self.packets[row].size}
        return sides == {0, 1}

    @cached_property
    def layer2(self) -> dict[int, list[int]]:
        """Rows by EtherType, for what is not IP."""
        found: dict[int, list[int]] = defaultdict(list)
        for row, packet in enumerate(self.packets):
            if packet.ethertype and packet.proto < 0:
                found[packet.ethertype].append(row)
        return dict(found)

    @cached_property
    def datagrams(self) -> dict[int, list[int]]:
        """Rows of UDP datagrams by each of their ports."""
        found: dict[int, list[int]] = defaultdict(list)
        for row, packet in enumerate(self.packets):
            if packet.proto == UDP:
                for port in {packet.sport, packet.dport}:
                    found[port].append(row)
        return dict(found)

    @cached_property
    def hosts(self) -> dict[bytes, bytes]:
        """MAC address last used by each IP address that sent something."""
        return {packet.src: packet.source for packet in self.packets if packet.src}

    @cached_property
    def macs(self) -> frozenset[bytes]:
        """Every source and destination MAC address."""
        return frozenset(mac for p in self.packets if p.net for mac in (p.source, p.target))

    def between(self, rows: Iterable[int], begin: int, until: int) -> Iterator[int]:
        """Those rows whose time lies in [begin, until)."""
        return (row for row in rows if begin <= self.packets[row].ts < until)


def _is_client(packet: Packet) -> bool:
    """Whether the sender of a connection's first packet is its client: by SYN, else by the lower port."""
    if packet.flags & SYN:
        return not packet.flags & ACK
    return packet.sport >= packet.dport


def read_scene(captures: Sequence[str | Path]) -> Scene:
    """The frames of captures, sorted by time.

    Raises
    ------
    UsageError, CaptureError
        As when reading for detection.
    InputError
        Nothing in it, no Ethernet, or more than :data:`MAX_FRAMES` frames.
    """
    packets: list[Packet] = []
    octets = 0
    names = ", ".join(str(capture) for capture in captures)
    files = open_sources([str(capture) for capture in captures])
    problems: list[CaptureError] = []
    for file in files:
        for batch in file.batches(max_frames=65_536):
            octets += int(batch.caplen.sum())
            if len(packets) + len(batch) > MAX_FRAMES or octets > MAX_BYTES:
                raise InputError(
                    f"{names}: more than {MAX_FRAMES:,} frames or {MAX_BYTES >> 30} GiB, which "
                    f"are held in memory "
                    "to render attacks into them. Cut a benign stretch out: "
                    f"editcap -r in.pcap out.pcap 1-{MAX_FRAMES}"
                )
            columns = zip(batch.ts.tolist(), batch.wirelen.tolist(), batch.link.tolist(), strict=True)
            packets += [
                dissect(ts, batch.frame(row), wirelen, link)
                for row, (ts, wirelen, link) in enumerate(columns)
            ]
        problems += file.problems
    if not packets:
        raise problems[0] if problems else InputError(f"{names}: not a single frame to render attacks into")
    if not any(packet.link == LINK_ETHERNET for packet in packets):
        raise InputError(
            f"{names}: no Ethernet frames (link type {packets[0].link}): attacks are rendered "
            f"as Ethernet frames. "
            "Capture on the physical interface instead of 'any'"
        )
    packets.sort(key=lambda packet: packet.ts)
    return Scene(packets)


def text(address: bytes) -> str:
    """An IP or MAC address as labels write it."""
    if len(address) == 6:
        return address.hex(":")
    return str(ipaddress.ip_address(address)) if len(address) in (4, 16) else address.hex()
