"""Everything the native engine remembers between frames, and where it writes.

The engine is one compiled loop (``sensor.native``); this module lays out its memory. Every array has a
fixed size, so memory does not grow with traffic.
"""

from __future__ import annotations

import secrets
from enum import IntEnum, unique
from typing import Any, Final, NamedTuple

import numpy as np

from grid_profiles.loader import NATIVE_IDS
from grid_profiles.vocabulary import MESSAGE, POINT, Role
from sensor.jit import kernel
from sensor.names import Names
from sensor.track.io_connections import BUCKETS as IO_BUCKETS
from sensor.track.io_connections import IO_CONNECTION
from sensor.track.io_connections import WAYS as IO_WAYS
from sensor.track.streams import SLOT, STREAMS, clear_streams
from sensor.track.svstreams import SV_TABLE
from sensor.track.table import FULL, MAX_ENTRIES, intern
from sensor.track.transactions import BUCKETS, REQUEST, WAYS
from sensor.wire.text import ROOM

MAX_LEAVES: Final = 4096
MAX_FRAME: Final = 66_000  # bytes of one frame that are looked at; IP cannot carry more

MESSAGES: Final = 1 << 17
POINTS: Final = 1 << 20
"""Rows that one call of the engine may write; a frame of coils alone can need 528,000 points."""

ENOUGH: Final = 1 << 17
"""Points after which a call ends: more would touch memory that only such a frame needs."""

TCP: Final = NATIVE_IDS["tcp"]
UDP: Final = NATIVE_IDS["udp"]
IP: Final = NATIVE_IDS["ip"]
ETHERNET: Final = NATIVE_IDS["ethernet"]
MODBUS: Final = NATIVE_IDS["modbus"]
IEC104: Final = NATIVE_IDS["iec104"]
GOOSE: Final = NATIVE_IDS["goose"]
SV: Final = NATIVE_IDS["sv"]
MMS: Final = NATIVE_IDS["mms"]
DNP3: Final = NATIVE_IDS["dnp3"]
C37118: Final = NATIVE_IDS["c37118"]
S7COMM: Final = NATIVE_IDS["s7comm"]
ENIP: Final = NATIVE_IDS["enip"]
CIP: Final = NATIVE_IDS["cip"]
OPCUA: Final = NATIVE_IDS["opcua"]
MQTT: Final = NATIVE_IDS["mqtt"]
COAP: Final = NATIVE_IDS["coap"]
BACNET: Final = NATIVE_IDS["bacnet"]
PROFINET_DCP: Final = NATIVE_IDS["profinet_dcp"]
PROFINET_RT: Final = NATIVE_IDS["profinet_rt"]
DLMS: Final = NATIVE_IDS["dlms"]
PTP: Final = NATIVE_IDS["ptp"]
PRP_SUPERVISION: Final = NATIVE_IDS["prp_supervision"]
ARP: Final = NATIVE_IDS["arp"]
ICMP: Final = NATIVE_IDS["icmp"]
ICMPV6: Final = NATIVE_IDS["icmpv6"]
DNS: Final = NATIVE_IDS["dns"]
NTP: Final = NATIVE_IDS["ntp"]
SNMP: Final = NATIVE_IDS["snmp"]
HTTP: Final = NATIVE_IDS["http"]
TLS: Final = NATIVE_IDS["tls"]
COTP: Final = NATIVE_IDS["cotp"]
MDNS: Final = NATIVE_IDS["mdns"]
LLMNR: Final = NATIVE_IDS["llmnr"]
IGMP: Final = NATIVE_IDS["igmp"]
LLDP: Final = NATIVE_IDS["lldp"]
DHCP: Final = NATIVE_IDS["dhcp"]
"""Profile ids that compiled code knows; a profile says itself whether its decoder exists (``native``)."""


OPEN, CLAIMED, FRAMING, TUNNEL = 0, 1, 2, 3
"""What becomes of a frame: its data are for another engine, for none, or it only helps another to follow;
or the frame inside it is next."""


@unique
class Count(IntEnum):
    """Index into ``MEMORY.counters``."""

    FRAMES = 0
    BYTES = 1
    ETH = 2
    VLAN = 3
    IP = 4
    IPV6 = 5
    ARP = 6
    TCP = 7
    UDP = 8
    ICMP = 9
    ICMPV6 = 10
    OTHER = 11
    FRAGMENTS = 12
    TRUNCATED = 13
    MALFORMED = 14
    GAPS = 15
    RETRANSMITTED = 16
    OVERLAPS = 17
    LOST_WAITING = 18
    FOREIGN = 19
    UNDECODED_BYTES = 20
    CLAIMED = 21
    SV_FRAMES = 22
    SV_EVICTED = 23
    DUPLICATES = 24
    COPIES = 25
    CONFLICTS = 26
    REORDERED = 27
    OUTSIDE = 28
    TUNNELS = 29
    BACKWARDS = 30
    COPIES_KEPT = 31
    MENDED = 32
    IO_EVICTED = 33
    LONG_HEADERS = 34
    UNSEEN = 35


HOST: Final = np.dtype(
    [
        ("first", "i8"),
        ("last", "i8"),
        ("sent", "i8"),  # frames with this source
        ("received", "i8"),
        ("bytes_sent", "i8"),
        ("bytes_received", "i8"),
        ("mac", "i8"),  # endpoint id of the MAC that last sent for this IP address; 0 none
        ("moves", "i8"),  # how often that MAC changed
    ]
)

SHORTCUTS: Final = 8192

SHORTCUT: Final = np.dtype([("high", "u8"), ("low", "u8"), ("ident", "i8")])
"""Number of an address or a conversation by its plain integers: most frames come from whom we just met."""

COPY_SLOTS: Final = 1 << 15

KEEP_COPIES, DROP_COPIES, WATCH_COPIES = 0, 1, 2

COPY: Final = np.dtype([("hash", "u8"), ("ts", "i8")])
"""A frame that was seen, by the hash of its bytes."""

PMU_STREAMS: Final = 256
PMUS: Final = 256
"""Synchrophasor streams whose configuration is kept, and PMUs of one."""

PMU_CONFIG: Final = np.dtype(
    [
        ("conv", "i8"),  # conversation; a later one with the same remainder takes the place
        ("count", "i8"),  # PMUs, 0 unknown
        ("shapes", "i8", (PMUS,)),  # format << 48 | phasors << 32 | analogs << 16 | digital words
    ]
)

CONTEXT: Final = np.dtype(
    [
        ("ts", "i8"),
        ("frame", "i8"),
        ("src", "i8"),
        ("dst", "i8"),
        ("client", "i8"),
        ("server", "i8"),
        ("port", "i8"),  # of the server
        ("stream", "i8"),
        ("flow", "i8"),  # row in STREAMS.flows
        ("role", "i8"),
        ("flags", "i8"),
        ("pdu", "i8"),  # bytes of the PDU on the wire; more than is given when the tail was not kept
        ("mode", "i8"),  # what the decoder expects next in this direction, 0 a message; it says so itself
        ("body", "i8"),  # bytes behind the PDU that its decoder wants skipped
        ("left", "i8"),  # bytes to skip from here on
        ("apart", "i8"),  # this segment is read on its own, because it was here before or may be forged
        ("side", "i8"),  # direction of this segment in its flow, 0 or 1
        ("sport", "i8"),
        ("dport", "i8"),
        ("payload", "i8"),  # bytes of the frame behind its first 14
        ("depth", "i8"),  # tunnels around what is read now
        ("inner", "i8"),  # where the frame inside a tunnel begins
        ("inner_end", "i8"),  # end of what was captured of it
        ("inner_wire", "i8"),  # bytes of it that were sent
        ("inner_link", "i8"),  # its link type
    ]
)
"""What the messages of one frame have in common; one record, reused."""

MEMORY: Final = np.dtype(
    [
        ("context", CONTEXT),
        ("cursor", "i8", (2,)),  # rows written to messages and points
        ("counters", "i8", (len(Count),)),
        ("ports", "i8", (65_536,)),  # protocol that owns a TCP port, 0 none
        ("udp_ports", "i8", (65_536,)),
        ("unit_text", "i8", (256,)),  # text id of "unit N"
        ("scratch", "u1", (64,)),
        ("shortcuts", SHORTCUT, (SHORTCUTS,)),
        ("fragment", "u1", (SLOT,)),  # a message put together from blocks or segments
        ("text", "u1", (ROOM,)),  # where a decoder puts text together
        ("where", "i8", (8,)),
        ("tags", "i8", (MAX_LEAVES,)),
        ("begins", "i8", (MAX_LEAVES,)),
        ("ends", "i8", (MAX_LEAVES,)),
        ("hosts", HOST, (MAX_ENTRIES,)),  # by endpoint id
        ("requests", REQUEST, (BUCKETS * WAYS,)),  # of Modbus
        ("io", IO_CONNECTION, (IO_BUCKETS * IO_WAYS,)),  # of CIP
        ("pmus", PMU_CONFIG, (PMU_STREAMS,)),  # by conversation
        ("streams", STREAMS),
        ("sv", SV_TABLE),
        ("copies", COPY, (COPY_SLOTS,)),
        ("copy_key", "u8", (2,)),  # secret of their hashes
        ("drop_copies", "i8"),  # KEEP_COPIES, DROP_COPIES, WATCH_COPIES: frames that two mirrored ports gave
        ("watched", "i8", (2,)),  # frames that could be copies, and copies of the block that is watched
        ("latest", "i8"),  # capture time, ns
        ("messages", MESSAGE, (MESSAGES,)),
        ("points", POINT, (POINTS,)),
    ]
)
"""The whole engine in one record: a kernel gets one pointer, nothing is allocated per frame, and the size
is known before the first frame. The operating system gives pages only as they are touched."""


class Tables(NamedTuple):
    """Name tables of the run, shared with ``sensor.names.Names``."""

    endpoints: Any  # TABLE record
    texts: Any
    conversations: Any


def make_memory(names: Names) -> Any:
    """A MEMORY record (array of one), ready for the first frame."""
    memory = np.zeros(1, MEMORY)
    clear_streams(memory["streams"][0])
    memory["copy_key"][0] = secrets.randbits(64), secrets.randbits(64) | 1
    for profile in names.registry.profiles:
        if profile.native:
            memory["ports"][0][list(profile.transport.tcp)] = profile.id
            memory["udp_ports"][0][list(profile.transport.udp)] = profile.id
    memory["unit_text"][0] = [names.intern_text(f"unit {unit}") for unit in range(256)]
    return memory


@kernel
def shortcut(memory: Any, high: Any, low: Any) -> Any:
    """Place of a pair of integers that are not both zero; what stands there may be another pair."""
    h = (high * np.uint64(0x9E3779B97F4A7C15)) ^ (low * np.uint64(0xC2B2AE3D27D4EB4F))
    h ^= h >> np.uint64(32)
    return memory.shortcuts[np.int64((h * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(51))]


@kernel
def keep_shortcut(entry: Any, high: Any, low: Any, ident: int) -> None:
    """Remember a number that was given; what a full table did not take stays with the table."""
    if ident > FULL:
        entry.high = high
        entry.low = low
        entry.ident = ident


@kernel
def conversation(
    memory: Any, names: Any, proto: int, client: int, server: int, port: int, sub: int, vlan: int
) -> int:
    """Number of a conversation; the key has the layout of ``sensor.names.CONVERSATION``."""
    high = (np.uint64(proto) << np.uint64(48)) | (np.uint64(client) << np.uint64(24)) | np.uint64(server)
    low = (np.uint64(sub) << np.uint64(32)) | (np.uint64(vlan) << np.uint64(16)) | np.uint64(port)
    entry = shortcut(memory, high, low)
    if entry.high == high and entry.low == low:
        return np.int64(entry.ident)
    key = memory.scratch
    key[0], key[1] = proto & 0xFF, (proto >> 8) & 0xFF
    for i in range(4):
        shift = 8 * i
        key[2 + i] = (client >> shift) & 0xFF
        key[6 + i] = (server >> shift) & 0xFF
        key[12 + i] = (sub >> shift) & 0xFF
    key[10], key[11] = port & 0xFF, (port >> 8) & 0xFF
    key[16], key[17] = vlan & 0xFF, (vlan >> 8) & 0xFF
    ident = intern(names.conversations, key, 0, 18)
    keep_shortcut(entry, high, low, ident)
    return ident


@kernel
def open_row(memory: Any, proto: int, conv: int) -> Any:
    """The next message record, with everything missing but what the context knows."""
    context = memory.context
    row = memory.messages[memory.cursor[0]]
    memory.cursor[0] += 1
    row.ts = context.ts
    row.frame = context.frame
    row.proto = proto
    row.role = context.role
    row.src = context.src
    row.dst = context.dst
    row.conv = conv
    row.stream = context.stream
    row.kind = -1
    row.cause = -1
    row.point = -1
    row.value = np.nan
    row.count = -1
    row.size = 0
    row.seq = -1
    row.state = -1
    row.aux = -1
    row.name = 0
    row.ident = 0
    row.flags = context.flags
    return row


@kernel
def add_point(memory: Any, row: Any, kind: int, point: int, value: float, quality: int) -> None:
    """A point of the message that was opened last."""
    entry = memory.points[memory.cursor[1]]
    memory.cursor[1] += 1
    entry.ts = row.ts
    entry.frame = row.frame
    entry.message = memory.cursor[0] - 1
    entry.proto = row.proto
    entry.conv = row.conv
    entry.kind = kind
    entry.point = point
    entry.value = value
    entry.quality = quality


ROLE_CLIENT: Final = int(Role.CLIENT)
ROLE_SERVER: Final = int(Role.SERVER)
ROLE_PUBLISHER: Final = int(Role.PUBLISHER)
ROLE_PEER: Final = int(Role.PEER)
