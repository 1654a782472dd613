"""Where one attack edits a scene: frames put in, changed, delayed, taken out, and the label.

Whatever is done, capture time stays in order, and TCP stays in order: bytes put into a connection, or taken
out of it, move the sequence numbers of everything behind them, as they would behind an attacker who sits in
the path. What is seen is therefore what a mirror port between attacker and victim sees.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sensor.labels import ATTACK, Event
from sensor.simulate.build.net import Talk, arp, eth, lab_mac
from sensor.simulate.packets import Packet, before, dissect, moved, rebuilt
from sensor.simulate.scene import ACK, FIN, RST, SYN, Connection, ConnKey, Scene, text

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
PSH: Final = 8
LARGEST: Final = 20_000
"""Frames that one attack may put in: a flood is to be seen, not to fill the disk."""


class NotOffered(Exception):
    """The capture lacks what an attack needs; the message says what."""


@dataclass(slots=True)
class Change:
    """Bytes put into (positive) or taken out of (negative) one direction of a connection."""

    ts: int
    side: int
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class Intruder:
    """A host that the capture did not know before."""

    ip: str
    mac: bytes


class Stage:
    """One attack at work on a scene.

    Parameters
    ----------
    scene : Scene
        Stays as it is.
    name : str
        Id of the attack; marks its frames.
    begin, until : int
        Capture time (ns) within which it may act.
    seed : int
        Of :attr:`random`.
    """

    def __init__(self, scene: Scene, name: str, begin: int, until: int, seed: int = 1) -> None:
        self.scene, self.name, self.begin, self.until = scene, name, begin, until
        self.random = random.Random(f"{seed} {name}")  # noqa: S311 - reproducible, not secret
        self._edits: dict[int, Packet | None] = {}
        self._added: list[Packet] = []
        self._changes: dict[ConnKey, list[Change]] = {}
        self._acked: dict[tuple[ConnKey, int], int] = {}
        self._times: list[int] = []
        self._label: tuple[str, str, str] = ("", "", "")

    # --- frames ---------------------------------------------------------------------------------------------

    @property
    def span(self) -> float:
        """Seconds that the attack may last."""
        return (self.until - self.begin) / SECOND

    def packet(self, row: int) -> Packet:
        """A packet as it stands now; one that was taken out as it was."""
        edited = self._edits.get(row)
        return self.scene.packets[row] if edited is None else edited

    def dropped(self, row: int) -> bool:
        """Whether a packet was taken out."""
        return row in self._edits and self._edits[row] is None

    def rows(self, rows: list[int], seconds: float | None = None) -> list[int]:
        """Those of some ascending rows that fall into the time of the attack, or its first seconds."""
        until = self.until if seconds is None else min(self.until, self.begin + round(seconds * SECOND))
        ts = [self.scene.packets[row].ts for row in rows]
        return rows[bisect_left(ts, self.begin) : bisect_left(ts, until)]

    def inject(self, ts: int, data: bytes) -> Packet:
        """Put a frame in."""
        packet = dissect(ts, data, mark=self.name)
        self._add(packet)
        return packet

    def _add(self, packet: Packet) -> None:
        if len(self._added) < LARGEST:
            self._added.append(packet)
            self._times.append(packet.ts)

    def replace(self, row: int, packet: Packet) -> None:
        """Change a frame; its time may change with it."""
        packet.mark = self.name
        self._edits[row] = packet
        self._times += [self.scene.packets[row].ts, packet.ts]

    def rewrite(self, row: int, body: bytes) -> None:
        """Give a TCP or UDP packet another payload of the same size."""
        packet = self.packet(row)
        assert len(body) == packet.size, "a rewrite keeps the size"
        if body != packet.payload:
            self.replace(row, rebuilt(packet, body=body))

    def adjust(self, row: int, body: bytes) -> None:
        """Like :meth:`rewrite`, for counters that follow from an attack; no label covers it."""
        packet = self.packet(row)
        assert len(body) == packet.size, "an adjustment keeps the size"
        if body != packet.payload and not self.dropped(row):
            self._edits[row] = rebuilt(packet, body=body)

    def delay(self, row: int, by: int) -> None:
        """Let a frame arrive later, by ns."""
        packet = self.packet(row)
        self.replace(row, moved(packet, packet.ts + by))

    def drop(self, row: int) -> None:
        """Take a frame out."""
        self._edits[row] = None
        self._times.append(self.scene.packets[row].ts)

    def times(self, count: int, every: float, jitter: float = 0.1) -> Iterator[int]:
        """Moments from the begin on, about ``every`` seconds apart and never beyond the attack's end."""
        every = min(every, 0.95 * self.span / max(1, count))
        for number in range(count):
            shift = self.random.uniform(0, jitter) if number else 0.0
            yield self.begin + round((number + shift) * every * SECOND)

    # --- labels ---------------------------------------------------------------------------------------------

    def label(self, src: bytes | str, dst: bytes | str, note: str = "") -> None:
        """Say who is involved; begin and end are those of the frames touched."""
        names = [part if isinstance(part, str) else text(part) for part in (src, dst)]
        self._label = (names[0], names[1], note)

    def event(self, technique: str, sentence: str) -> Event:
        """The label.

        Raises
        ------
        NotOffered
            The attack found nothing to do.
        """
        if not self._times:
            raise NotOffered("nothing in the time of the attack that it could change")
        src, dst, note = self._label
        start, end = min(self._times) / SECOND, max(self._times) / SECOND
        words = f"simulated {self.name}: {note or sentence}"
        return Event(start, end, ATTACK, technique, src, dst, words)

    # --- new hosts ------------------------------------------------------------------------------------------

    def intruder(self, near: bytes) -> Intruder:
        """A host with an address that nobody uses, in the network of a host of the capture."""
        taken = set(self.scene.hosts)
        last = self.random.sample(range(130, 250), 120)
        for octet in last:
            address = near[:-1] + bytes([octet])
            if address not in taken:
                return Intruder(text(address), ip_mac(text(address)))
        raise NotOffered("a free address in the network of the device")

    def meet(self, intruder: Intruder, host: bytes, ts: int) -> None:
        """The ARP exchange with which a new host finds its way to another (IPv4 only)."""
        mac = self.scene.hosts.get(host)
        if mac is None or len(host) != 4:
            return
        tags = self._tags(host)
        asks = arp(1, intruder.mac.hex(":"), intruder.ip, "00:00:00:00:00:00", text(host))
        tells = arp(2, mac.hex(":"), text(host), intruder.mac.hex(":"), intruder.ip)
        self.inject(ts, tagged("ff:ff:ff:ff:ff:ff", intruder.mac, 0x0806, asks, tags))
        self.inject(ts + MS // 4, tagged(intruder.mac, mac, 0x0806, tells, tags))

    def _tags(self, host: bytes) -> bytes:
        """VLAN tags with which a host's IP packets travel."""
        for packet in self.scene.packets:
            if packet.src == host:
                return packet.data[12 : packet.net - 2]
        return b""

    def visit(self, intruder: Intruder, host: bytes, port: int, ts: int) -> Visit:
        """A new connection of an intruder to a host, opened; the ARP exchange comes first."""
        self.meet(intruder, host, ts)
        return self.visit_from(intruder, host, port, ts + 2 * MS)

    def visit_from(self, intruder: Intruder, host: bytes, port: int, ts: int) -> Visit:
        """One more connection of an intruder that has met the host."""
        return Visit(self, intruder.ip, intruder.mac, host, port, ts)

    def visit_as(self, client: bytes, host: bytes, port: int, ts: int) -> Visit:
        """One more connection of a host that the capture knows."""
        mac = self.scene.hosts.get(client, ip_mac(text(client)))
        return Visit(self, text(client), mac, host, port, ts)

    # --- TCP ------------------------------------------------------------------------------------------------

    def gap(self, talk: Connection, at: int, need: int = 100 * MS) -> int:
        """A moment from ``at`` on at which a connection is open and silent for a while, all answered.

        Raises
        ------
        NotOffered
            The connection is closed, or never silent long enough.
        """
        packets, best, longest = self.scene.packets, -1, 0
        for row, side, after in zip(talk.rows, talk.sides, talk.rows[1:], strict=False):
            packet, follower = packets[row], packets[after]
            if follower.ts <= at or packet.flags & (SYN | FIN | RST) or follower.flags & (SYN | FIN | RST):
                continue
            if packet.size and side == 0:
                continue
            start = max(packet.ts, at)
            pause = follower.ts - start
            if start < self.until and pause > longest:
                best, longest = start + pause // 3, pause
                if pause >= need:
                    break
        if best < 0 or longest < 4 * MS:
            raise NotOffered(f"a silent moment in the connection {' to '.join(talk.hosts)}")
        return best

    def speak(self, talk: Connection, side: int, ts: int, data: bytes) -> Packet:
        """Say something in a connection in the name of one side: right addresses and numbers."""
        mine, other = self._next(talk, side, ts), self._next(talk, 1 - side, ts)
        template = self._template(talk, side, ts)
        packet = rebuilt(
            template, ts=ts, body=data, seq=mine, ack=other, flags=PSH | ACK, fresh=True, mark=self.name
        )
        self._add(packet)
        self._changes.setdefault(talk.key, []).append(Change(ts, side, self._base(talk, side, ts), len(data)))
        return packet

    def acknowledge(self, talk: Connection, side: int, ts: int) -> None:
        """A bare acknowledgement of one side."""
        mine, other = self._next(talk, side, ts), self._next(talk, 1 - side, ts)
        template = self._template(talk, side, ts)
        self._add(
            rebuilt(template, ts=ts, body=b"", seq=mine, ack=other, flags=ACK, fresh=True, mark=self.name)
        )

    def silence(self, talk: Connection, row: int, side: int) -> None:
        """Take the data out of a packet, leave its acknowledgement, and let neither end notice."""
        packet, original = self.packet(row), self.scene.packets[row]
        if not packet.size or packet.flags & (SYN | FIN | RST):
            return
        self._changes.setdefault(talk.key, []).append(Change(packet.ts, side, original.seq, -packet.size))
        if original.ack == self._acked.get((talk.key, side)):  # it would acknowledge nothing new
            self.drop(row)
        else:
            self.replace(row, rebuilt(packet, body=b"", flags=ACK))
        self._acked[talk.key, side] = original.ack

    def _template(self, talk: Connection, side: int, ts: int) -> Packet:
        """The latest packet that a side sent before a time, else its first one."""
        chosen: Packet | None = None
        for row, sender in zip(talk.rows, talk.sides, strict=True):
            packet = self.scene.packets[row]
            if sender == side and (packet.ts <= ts or chosen is None) and not packet.flags & SYN:
                chosen = packet
        if chosen is None:
            raise NotOffered(f"packets of both sides in the connection {' to '.join(talk.hosts)}")
        return chosen

    def _next(self, talk: Connection, side: int, ts: int) -> int:
        """Next sequence number of a side at a time, what was put in before included."""
        changes = self._changes.get(talk.key, [])
        moved_by = sum(c.size for c in changes if c.side == side and c.ts <= ts)
        return (self._base(talk, side, ts) + moved_by) & 0xFFFFFFFF

    def _base(self, talk: Connection, side: int, ts: int) -> int:
        """Next sequence number of a side at a time, as the scene has it."""
        number: int | None = None
        for row, sender in zip(talk.rows, talk.sides, strict=True):
            packet = self.scene.packets[row]
            if packet.ts > ts:
                break
            if sender == side:
                following = (packet.seq + packet.length) & 0xFFFFFFFF
            elif packet.flags & ACK:
                following = packet.ack
            else:
                continue
            if number is None or before(number, following):
                number = following
        if number is None:
            raise NotOffered(f"an open connection {' to '.join(talk.hosts)} at the time of the attack")
        return number

    def _settle(self, talk: Connection, changes: list[Change]) -> None:
        """Move the numbers of everything behind the changes of one connection."""
        for row, side in zip(talk.rows, talk.sides, strict=True):
            packet, then = self.packet(row), self.scene.packets[row].ts
            earlier = [change for change in changes if change.ts < then]
            if not earlier or self.dropped(row):
                continue
            seq = sum(c.size for c in earlier if c.side == side and _behind(packet, packet.seq, c))
            ack = sum(c.size for c in earlier if c.side != side and not before(packet.ack, _edge(c)))
            if seq or ack:
                new_ack = packet.ack + ack if packet.flags & ACK else None
                mark = packet.mark
                shifted = rebuilt(packet, seq=packet.seq + seq, ack=new_ack, sack=ack)
                shifted.mark = mark
                self._edits[row] = shifted

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self) -> Scene:
        """The scene with the attack in it, in order of time."""
        for key, changes in self._changes.items():
            self._settle(self.scene.connections[key], changes)
        kept = [self._edits.get(row, packet) for row, packet in enumerate(self.scene.packets)]
        packets = [packet for packet in kept if packet is not None]
        last = max(self.scene.end, self.until)
        packets += [packet for packet in self._added if packet.ts <= last]
        packets.sort(key=lambda packet: packet.ts)
        return Scene(packets)


def _edge(change: Change) -> int:
    """From which number of the scene on a change counts: bytes taken out count behind their first."""
    return (change.at + (change.size < 0)) & 0xFFFFFFFF


def _behind(packet: Packet, seq: int, change: Change) -> bool:
    """Whether a segment lies behind a change; a keep-alive probe repeats the number before it."""
    slack = 1 if packet.size <= 1 else 0
    return not before(seq + slack, _edge(change))


class Visit:
    """A connection that an attack opens itself; nothing is in the scene before.

    ``ask`` sends a request and, after a while, its answer; the time of the next one is kept in ``ts``.
    """

    def __init__(self, stage: Stage, client: str, mac: bytes, host: bytes, port: int, ts: int) -> None:
        target = stage.scene.hosts.get(host, ip_mac(text(host)))
        isn = (stage.random.getrandbits(32), stage.random.getrandbits(32))
        sport = stage.random.randrange(49_152, 65_000)
        self._stage, self._tags, self.client = stage, stage._tags(host), client
        self._talk = Talk(client, text(host), port, sport, (), isn, (mac, target))
        self._taken = 0
        self._talk.open(ts)
        self.ts = ts + MS
        self._flush()

    def ask(self, request: bytes, answer: bytes = b"", rtt: float = 0.004, wait: float = 0.0) -> None:
        """A request, its answer ``rtt`` seconds later (none when empty), then ``wait`` seconds."""
        self._talk.client(self.ts, request)
        self.ts += round(rtt * SECOND * self._stage.random.uniform(0.8, 1.3))
        if answer:
            self._talk.server(self.ts, answer)
            self.ts += MS // 2
            self._talk.ack(self.ts, 0)
        else:
            self._talk.ack(self.ts, 1)
        self.ts += round(wait * SECOND * self._stage.random.uniform(0.8, 1.2)) + MS // 4
        self._flush()

    def tell(self, data: bytes, side: int = 1) -> None:
        """Data of one side that nobody asked for."""
        self._talk.segment(self.ts, side, PSH | ACK, data)
        self.ts += MS // 2
        self._flush()

    def close(self) -> None:
        """End the connection in order."""
        self._talk.close(self.ts)
        self.ts += MS
        self._flush()

    @property
    def late(self) -> bool:
        """Whether the attack's time is over."""
        return self.ts >= self._stage.until

    def _flush(self) -> None:
        for ts, frame in self._talk.frames[self._taken :]:
            self._stage.inject(ts, frame[:12] + self._tags + frame[12:])
        self._taken = len(self._talk.frames)


def tagged(dst: str | bytes, src: str | bytes, ethertype: int, payload: bytes, tags: bytes = b"") -> bytes:
    """An Ethernet frame whose VLAN tags are given as octets, padded."""
    frame = eth(dst, src, ethertype, payload)
    return (frame[:12] + tags + frame[12:]).ljust(60, b"\0")


def ip_mac(address: str) -> bytes:
    """Locally administered MAC address of an invented host."""
    return bytes.fromhex(lab_mac(address).replace(":", ""))


Render = Callable[[Stage], None]
