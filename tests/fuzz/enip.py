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
    for serial, back in ((9, 2), (10, 1)):
        talk.client(92, e.rr(e.io_open(0x4C0000 + serial, serial, back=back), struct.pack("<Q", serial)))
        answer = e.io_opened(0x1000 + serial, 0x4C0000 + serial, serial)
        group = (0x8001, struct.pack("!HH4B8x", 2, 2222, 239, 192, 1, 3))  # where its packets go
        data = e.items((0, b""), (0xB2, answer), *([group] if back == 1 else []))
        talk.server(92, e.pdu(0x6F, bytes(6) + data, struct.pack("<Q", serial)))
    talk.client(92, e.pdu(0x66))
    cyclic = e.cyclic(7, 1, bytes(40))
    services = e.pdu(4, e.items((0x100, bytes(24))))
    datagrams = [
        f.udp_frame(CLIENT, "10.0.0.255", 50000, 44818, e.pdu(0x63)),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, e.identity("1756-ENBT/A")),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, services),
        f.udp_frame(SERVER, "239.192.1.2", 2222, 2222, cyclic),
        f.udp_frame(CLIENT, SERVER, 40001, 2222, cyclic),
        f.udp_frame(CLIENT, SERVER, 2222, 2222, e.cyclic(0x1009, 1, bytes(22))),
        f.udp_frame(SERVER, CLIENT, 2222, 2222, e.cyclic(0x4C0009, 1, bytes(18))),
        f.udp_frame(SERVER, "239.192.1.3", 2222, 2222, e.cyclic(0x4C000A, 1, bytes(18))),
        f.udp_frame(SERVER, CLIENT, 44818, 50000, e.identity("twice") + services),
    ]
    return talk.frames + [(95, one) for one in datagrams]
