"""Good frames of EtherNet/IP and CIP."""

from __future__ import annotations

import struct

from tests.lab import enip as e
from tests.lab import frames as f

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def enip_frames() -> list[f.Stamped]:
    """Sessions, every exchange unconnected and connected, several PDUs in a segment, lists, cyclic data."""
    talk = f.Talk(CLIENT, SERVER, 44818)
    talk.open(0)
    talk.client(1, e.pdu(0x65, b"\1\0\0\0", session=0))
    talk.server(2, e.pdu(0x65, b"\1\0\0\0"))
    for number, (ask, answer) in enumerate(e.EXCHANGES, 3):
        context = struct.pack("<Q", number << 33)
        talk.client(number, e.rr(ask, context))
        talk.server(number, e.rr(answer, context))
        if ask[2:4] == e.path(6):
            continue  # the connection manager is spoken to without a connection
        talk.client(number, e.unit(ask, number) * 2)
        talk.server(number, e.unit(answer, number, 0x80FE0018) * 2)
    whole = e.unit(e.EXCHANGES[21][0], 99)
    talk.client(90, whole + whole[:50])
    talk.client(91, whole[50:])
    talk.client(92, e.pdu(0x66))
    cyclic = e.cyclic(7, 1, bytes(40))
    services = e.pdu(4, e.items((0x100, bytes(24))))
    datagrams = [
        f.udp_frame(CLIENT, "10.0.0.255", 50000, 44818, e.pdu(0x63)),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, e.identity("1756-ENBT/A")),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, services),
        f.udp_frame(SERVER, "239.192.1.2", 2222, 2222, cyclic),
        f.udp_frame(CLIENT, SERVER, 40001, 2222, cyclic),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, e.identity("twice") + services),
    ]
    return talk.frames + [(95, one) for one in datagrams]
