"""GOOSE and sampled-value frames taken apart and put together (IEC 61850-8-1, 61850-9-2; BER)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sensor.simulate.build.ber import ber
from sensor.simulate.packets import Packet, with_content
from sensor.simulate.scene import Scene
from sensor.simulate.stage import NotOffered, Stage

GOOSE, SV = 0x88B8, 0x88BA
Elements = list[tuple[int, bytes]]
Groups = dict[tuple[bytes, bytes, bytes, bytes], list[int]]

REF, TAL, T, ST, SQ, SIM, CONF, ENTRIES = 0x80, 0x81, 0x84, 0x85, 0x86, 0x87, 0x88, 0xAB
COUNT, REVISION, SYNCH, SAMPLE = 0x82, 0x83, 0x85, 0x87
BOOLEAN, BITS, FLOAT = 0x83, 0x84, 0x87
LONGEST: Final = 1_500


def elements(data: bytes) -> Elements:
    """BER elements of one level; what cannot be read is left out."""
    out: Elements = []
    at = 0
    while at + 2 <= len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            octets = size & 0x7F
            if octets not in (1, 2) or at + octets > len(data):
                break
            size, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        if at + size > len(data):
            break
        out.append((tag, data[at : at + size]))
        at += size
    return out


def joined(parts: Elements) -> bytes:
    """Elements as octets."""
    return b"".join(ber(tag, body) for tag, body in parts)


def number(value: int) -> bytes:
    """Contents of an unsigned INTEGER, shortest form."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


@dataclass(slots=True)
class Pdu:
    """The PDU of a GOOSE or SV frame, with the packet it came in."""

    packet: Packet
    tag: int
    parts: Elements

    def get(self, tag: int) -> bytes:
        """Contents of an element, empty when there is none."""
        return next((body for kind, body in self.parts if kind == tag), b"")

    def number(self, tag: int) -> int:
        """An element as an unsigned number."""
        return int.from_bytes(self.get(tag)[:8], "big")

    def put(self, tag: int, body: bytes) -> Pdu:
        """The same with other contents of an element."""
        return Pdu(self.packet, self.tag, [(k, body if k == tag else b) for k, b in self.parts])

    def frame(self, ts: int, *, simulation: bool = False, mark: str = "") -> Packet:
        """A packet with this PDU; lengths are made right."""
        body = ber(self.tag, joined(self.parts))
        head = self.packet.content[:2] + struct.pack("!H", 8 + len(body)) + self.packet.content[4:8]
        if simulation:
            head = head[:4] + bytes([head[4] | 0x80]) + head[5:]
        return with_content(self.packet, head + body, ts=ts, mark=mark)


def pdu(packet: Packet) -> Pdu | None:
    """The PDU of a frame, None when it cannot be read."""
    content = packet.content
    if len(content) < 10:
        return None
    size = int.from_bytes(content[2:4], "big")
    outer = elements(content[8:size]) if 8 < size <= len(content) else []
    if not outer or outer[0][0] not in (0x60, 0x61):
        return None
    return Pdu(packet, outer[0][0], elements(outer[0][1]))


@dataclass(slots=True)
class Publisher:
    """One control block or stream: rows of its frames in the capture, and in the time of the attack."""

    mac: bytes
    group: bytes
    name: str
    rows: list[int]
    active: list[int]


def _groups(scene: Scene, ethertype: int) -> Groups:
    """Rows of the frames of each publisher: source, group, APPID, control block or stream."""
    known = scene.memo.get(("publishers", ethertype))
    if isinstance(known, dict):
        return known
    groups: Groups = {}
    for row in scene.layer2.get(ethertype, []):
        packet = scene.packets[row]
        found = pdu(packet)
        if found is not None:
            name = found.get(REF) if ethertype == GOOSE else sv_id(found)
            groups.setdefault((packet.source, packet.target, packet.content[:2], name), []).append(row)
    scene.memo["publishers", ethertype] = groups
    return groups


def publisher(stage: Stage, ethertype: int, changing: bool = False) -> Publisher:
    """The busiest publisher of GOOSE or SV in the time of the attack.

    Raises
    ------
    NotOffered
    """
    groups = _groups(stage.scene, ethertype)
    ranked = sorted(groups.items(), key=lambda item: (-len(stage.rows(item[1])), item[0]))
    for (mac, group, _, name), rows in ranked:
        active = stage.rows(rows)
        if len(active) < 2 or (changing and not _changes(stage, active)):
            continue
        return Publisher(mac, group, name.decode("ascii", "replace"), rows, active)
    kind = "GOOSE" if ethertype == GOOSE else "sampled values"
    raise NotOffered(f"a publisher of {kind}" + (" with a state change" if changing else ""))


def _changes(stage: Stage, rows: list[int]) -> bool:
    """Whether stNum changes within some frames."""
    return len({found.number(ST) for row in rows if (found := pdu(stage.packet(row)))}) > 1


def inverted(entries: bytes) -> bytes:
    """Dataset entries in which booleans are inverted and double points turned over; depth first."""
    out: Elements = []
    for tag, body in elements(entries):
        if tag == BOOLEAN and body:
            body = b"\x00" if any(body) else b"\x01"
        elif tag == BITS and len(body) == 2 and body[0] == 6 and body[1] >> 6 in (1, 2):
            body = bytes([6, body[1] ^ 0xC0])
        elif tag in (0xA1, 0xA2):
            body = inverted(body)
        out.append((tag, body))
    return joined(out)


def floats(entries: bytes, change: Callable[[float], float]) -> bytes:
    """Dataset entries with other FLOAT32 values."""
    out: Elements = []
    for tag, body in elements(entries):
        if tag == FLOAT and len(body) == 5:
            (value,) = struct.unpack("!f", body[1:])
            body = body[:1] + struct.pack("!f", max(-3e38, min(3e38, change(value))))
        elif tag in (0xA1, 0xA2):
            body = floats(body, change)
        out.append((tag, body))
    return joined(out)


# --- sampled values ---------------------------------------------------------------------------------------


def asdus(found: Pdu) -> list[Elements]:
    """ASDUs of a savPdu."""
    return [elements(body) for tag, body in elements(found.get(0xA2)) if tag == 0x30]


def sv_id(found: Pdu) -> bytes:
    """svID of the first ASDU."""
    return next((body for parts in asdus(found)[:1] for tag, body in parts if tag == 0x80), b"")


def with_asdus(found: Pdu, change: Callable[[int, bytes], bytes]) -> Pdu:
    """A savPdu in which elements of each ASDU are changed; ``change`` gets tag and contents."""
    inside = b"".join(ber(0x30, joined([(t, change(t, b)) for t, b in parts])) for parts in asdus(found))
    return found.put(0xA2, inside)


def samples(data: bytes, change: Callable[[int, int], int]) -> bytes:
    """The values of a sample of (INT32, quality) pairs; ``change`` gets channel and value."""
    out = bytearray(data)
    for channel in range(len(data) // 8):
        (value,) = struct.unpack_from("!i", data, 8 * channel)
        struct.pack_into("!i", out, 8 * channel, max(-(2**31), min(2**31 - 1, change(channel, value))))
    return bytes(out)


def curve(first: float, heartbeat: float) -> Iterator[float]:
    """Pauses (s) of the retransmission curve after a state change: doubling until the heartbeat."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, heartbeat)
