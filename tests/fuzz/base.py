"""Good frames of the protocols that every network speaks beside its own: ARP, ICMP, IGMP, DNS, NTP."""

from __future__ import annotations

import struct

from tests.lab import frames as f

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT6, SERVER6 = "fe80::1", "fe80::2"
GROUP, GROUP6 = "224.0.0.251", "ff02::fb"


def name(text: str) -> bytes:
    """A DNS name in labels."""
    labels = [label.encode() for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def dns(
    flags: int, questions: list[bytes], records: tuple[list[bytes], ...] = (), ident: int = 77, kind: int = 1
) -> bytes:
    """A DNS message; questions are names, records whole."""
    counts = [len(questions), *(len(part) for part in records), 0, 0, 0][:4]
    asked = b"".join(question + struct.pack("!HH", kind, 1) for question in questions)
    return struct.pack("!HH4H", ident, flags, *counts) + asked + b"".join(b"".join(part) for part in records)


def record(owner: bytes, data: bytes, kind: int = 1) -> bytes:
    """A resource record."""
    return owner + struct.pack("!HHIH", kind, 1, 300, len(data)) + data


def over_tcp(message: bytes) -> bytes:
    """A DNS message as TCP carries it."""
    return struct.pack("!H", len(message)) + message


def arp_frames() -> list[f.Stamped]:
    """Every operation, a tag, an announcement, and addresses that are not of Ethernet and IPv4."""
    me, other = f.lab_mac(CLIENT), f.lab_mac(SERVER)
    bodies = [f.arp(operation, me, CLIENT, other, SERVER) for operation in (*range(7), 8, 9, 300)]
    bodies += [f.arp(1, me, CLIENT, "00:00:00:00:00:00", CLIENT)]
    bodies += [
        struct.pack("!HHBBH", 6, 0x0800, 6, 4, 2) + bytes(20),
        struct.pack("!HHBBH", 15, 9, 2, 3, 1) + bytes(10),
    ]
    out = [f.eth("ff:ff:ff:ff:ff:ff", me, f.ETH_ARP, body, pad=True) for body in bodies]
    out += [f.eth(other, me, f.ETH_ARP, bodies[1], (7,)), f.eth(other, me, f.ETH_ARP, bodies[2])]
    return [(0, frame) for frame in out]


def icmp_frames() -> list[f.Stamped]:
    """Every type of ICMP, ICMPv6 and IGMP in use."""
    out = []
    for kind in (0, 4, 5, 8, 9, 10, 13, 14, 17, 18):
        body = struct.pack("!BBHHH", kind, 0, 0, 1, 900 + kind) + bytes(40)
        out.append(f.ip_frame(CLIENT, SERVER, 1, body[:2] + struct.pack("!H", f.checksum(body)) + body[4:]))
    quoted = f.ipv4(SERVER, CLIENT, 17, f.udp(5000, 6000, bytes(8)))
    for kind, code in ((3, 1), (3, 3), (11, 0), (12, 0)):
        out.append(f.ip_frame(CLIENT, SERVER, 1, struct.pack("!BBHI", kind, code, 0, 0) + quoted))
    for kind, size in ((128, 4), (129, 9), (133, 0), (134, 8), (135, 16), (136, 16), (143, 0)):
        body = struct.pack("!BBHI", kind, 0, 0, 0) + bytes(size)
        body += b"\1\1" + bytes(6) if 133 <= kind < 137 else b""
        out.append(f.ip_frame(CLIENT6, SERVER6, 58, body))
    out.append(
        f.ip_frame(CLIENT6, SERVER6, 0, b"\x3a\0\x05\x02\0\0\1\0" + struct.pack("!BBHI", 128, 0, 0, 0))
    )
    group = f.ip(GROUP)
    plain = [struct.pack("!BBH", kind, 0, 0) + group for kind in (0x11, 0x12, 0x16, 0x17)]
    out += [f.ip_frame(CLIENT, GROUP, 2, body) for body in plain]
    out.append(f.ip_frame(CLIENT, GROUP, 2, struct.pack("!BBH", 0x11, 9, 0) + group + bytes(4)))
    out.append(f.ip_frame(CLIENT, GROUP, 2, struct.pack("!BBHHHBBH", 0x22, 0, 0, 0, 1, 4, 0, 0) + group))
    out.append(f.ip_frame(CLIENT, GROUP, 2, struct.pack("!BBHHH", 0x22, 0, 0, 0, 0)))
    return [(0, frame) for frame in out]


def _dns_messages() -> list[tuple[int, bytes]]:
    """(side, message): 0 asks, 1 answers."""
    www = name("www.example.org")
    pointer = b"\xc0\x0c"
    return [
        (0, dns(0x0100, [www])),
        (1, dns(0x8180, [www], ([record(pointer, b"\x0a\0\0\7")] * 3,))),
        (0, dns(0x0100, [b"\0"])),
        (1, dns(0x8183, [name("no.such.name")], ([], [record(b"\0", bytes(22), 6)]))),
        (0, dns(0x0100, [name("a"), b"\1b" + pointer])),
        (0, dns(0x2800, [name("zone.plant")], ([], [record(b"\3plc" + pointer, b"\x0a\0\0\1")]))),
        (1, dns(0xA805, [name("zone.plant")])),
        (0, dns(0x1000, [])),
        (0, dns(0x2400, [name("moved.plant")])),
        (0, dns(0x0100, [name("x" * 63 + "." + "y" * 63)], kind=28)),
    ]


def dns_frames() -> list[f.Stamped]:
    """Questions and answers over UDP and TCP, by multicast, and of LLMNR."""
    out: list[bytes] = []
    for ends in ((CLIENT, SERVER), (CLIENT6, SERVER6)):
        for side, message in _dns_messages():
            ports = (40000, 53) if side == 0 else (53, 40000)
            out.append(f.udp_frame(ends[side], ends[1 - side], *ports, message))
    host = name("ied7.local")
    for src, dst in ((CLIENT, GROUP), (CLIENT6, GROUP6)):
        out.append(f.udp_frame(src, dst, 5353, 5353, dns(0, [host], ident=0)))
        out.append(
            f.udp_frame(src, dst, 5353, 5353, dns(0x8400, [], ([record(host, b"\x0a\0\0\7")],), ident=0))
        )
    out.append(f.udp_frame(CLIENT, "224.0.0.252", 50001, 5355, dns(0, [name("wpad")])))
    out.append(
        f.udp_frame(
            SERVER, CLIENT, 5355, 50001, dns(0x8000, [name("wpad")], ([record(b"\xc0\x0c", b"\x0a\0\0\2")],))
        )
    )
    talk = f.Talk(CLIENT, SERVER, 53)
    talk.open(0)
    messages = _dns_messages()
    for side, message in messages:
        talk.segment(0, side, f.PSH | f.ACK, over_tcp(message))
    talk.client(0, over_tcp(messages[0][1]) + over_tcp(messages[2][1]))
    whole = over_tcp(messages[1][1])
    talk.segment(0, 1, f.ACK, whole[:20])
    talk.segment(0, 1, f.PSH | f.ACK, whole[20:])
    return [(0, frame) for frame in out] + talk.frames


def ntp_frames() -> list[f.Stamped]:
    """Every mode, from both sides."""
    out = []
    for mode in range(1, 6):
        body = bytes([0x40 | 4 << 3 | mode, 2, 6, 0xEC]) + bytes(8) + b"GPS\0" + bytes(32)
        ports = (123, 40000) if mode == 4 else (40000, 123) if mode == 3 else (123, 123)
        out.append(f.udp_frame(CLIENT, SERVER, *ports, body))
    out.append(f.udp_frame(CLIENT, SERVER, 123, 123, bytes([0x1C]) + bytes(47)))
    for ports in ((40000, 123), (123, 40000)):
        out.append(f.udp_frame(CLIENT, SERVER, *ports, bytes([0x16, 2]) + bytes(10)))
        out.append(f.udp_frame(CLIENT, SERVER, *ports, bytes([0x17, 0, 3, 42]) + bytes(188)))
    return [(0, frame) for frame in out]


def rt(
    frame_id: int, data: bytes = bytes(40), counter: int = 0x1234, status: int = 0x35, transfer: int = 0
) -> bytes:
    """A PROFINET real-time frame behind its ethertype."""
    return struct.pack("!H", frame_id) + data + struct.pack("!HBB", counter, status, transfer)


def block(option: int, suboption: int, data: bytes) -> bytes:
    """A DCP block, filled up."""
    return struct.pack("!BBH", option, suboption, len(data)) + data + b"\0" * (len(data) % 2)


def dcp(frame_id: int, service: int, kind: int, body: bytes, xid: int = 0x01020304, delay: int = 0) -> bytes:
    """A DCP frame behind its ethertype."""
    return struct.pack("!HBBIHH", frame_id, service, kind, xid, delay, len(body)) + body


def profinet_frames() -> list[f.Stamped]:
    """Frame ids at the borders of their ranges, and every DCP service."""
    group, device, station = "01:0e:cf:00:00:00", "00:1b:1b:00:00:01", "00:1b:1b:00:00:02"
    ids = (0, 0x20, 0x21, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x6FF, 0x700, 0xFFF, 0x1000, 0x7FFF, 0x8000, 0xBBFF)
    ids += (0xBC00, 0xBFFF, 0xC000, 0xF7FF, 0xF800, 0xFBFF, 0xFC00, 0xFDFF, 0xFEFB, 0xFF00)
    ids += (0xFF01, 0xFF20, 0xFF21, 0xFF40, 0xFF43, 0xFF44, 0xFFFF)
    out = [f.eth(device, station, 0x8892, rt(number), (3,) if number == 0x8000 else ()) for number in ids]
    ack = struct.pack("!HHBBHHH", 1, 2, 0x13, 0, 7, 7, 0)
    out += [
        f.eth(device, station, 0x8892, struct.pack("!H", number) + ack, pad=True)
        for number in (0xFC01, 0xFE01)
    ]
    address = bytes([10, 0, 0, 9, 255, 255, 255, 0, 10, 0, 0, 1])
    told = block(2, 2, b"\0\0plc-7") + block(2, 1, b"\0\0S7-1200") + block(2, 5, b"\0\0\1\2\2\2\5\4")
    told += block(1, 2, b"\0\1" + address) + block(2, 3, b"\0\0\0\x2a\1\1") + block(2, 4, b"\0\0\1\0")
    ask, answer = 0, 1
    asked = [
        dcp(0xFEFE, 5, ask, block(255, 255, b""), delay=1),
        dcp(0xFEFE, 5, ask, block(2, 2, b"plc-7"), delay=255),
        dcp(0xFEFE, 5, ask, block(2, 6, b"alias.x"), delay=255),
        dcp(0xFEFD, 3, ask, b"\1\2\2\2\5\5"),
        dcp(0xFEFD, 4, ask, block(1, 2, b"\0\1" + address)),
        dcp(0xFEFD, 4, ask, block(2, 2, b"\0\1plc-eight")),
        dcp(0xFEFD, 4, ask, block(5, 1, b"\0\0") + block(2, 2, b"\0\1x") + block(5, 2, b"\0\0")),
        dcp(0xFEFD, 4, ask, block(5, 5, b"\0\0")),
        dcp(0xFEFD, 4, ask, block(5, 6, b"\0\4")),
        dcp(0xFEFD, 4, ask, block(5, 3, b"\0\0\1\0")),
        dcp(0xFEFC, 6, ask, told),
    ]
    answered = [
        dcp(0xFEFF, 5, answer, told),
        dcp(0xFEFD, 3, answer, told),
        dcp(0xFEFD, 4, answer, block(5, 4, b"\1\2\0")),
        dcp(0xFEFD, 4, answer, block(5, 4, b"\2\2\4") + block(5, 4, b"\5\1\0")),
        dcp(0xFEFD, 4, 5, b""),
        dcp(0xFEFD, 3, 5, b""),
    ]
    out += [f.eth(group, station, 0x8892, body, pad=True) for body in asked]
    out += [f.eth(station, device, 0x8892, body, (5,), pad=True) for body in answered]
    return [(0, frame) for frame in out]


def tls_record(kind: int, body: bytes, version: int = 0x0303) -> bytes:
    """A TLS record."""
    return struct.pack("!BHH", kind, version, len(body)) + body


def handshake(kind: int, body: bytes) -> bytes:
    """A handshake message in a record of its own."""
    return tls_record(22, bytes([kind]) + struct.pack("!I", len(body))[1:] + body)


def client_hello(host: str = "", session: bytes = b"") -> bytes:
    """A client hello that says whom it wants."""
    inner = b"\0" + struct.pack("!H", len(host)) + host.encode()
    extension = struct.pack("!HHH", 0, len(inner) + 2, len(inner)) + inner if host else b""
    extensions = struct.pack("!HHB", 23, 0, 0)[:4] + extension
    head = b"\3\3" + bytes(32) + bytes([len(session)]) + session + struct.pack("!HHBB", 2, 0xC02F, 1, 0)
    return handshake(1, head + struct.pack("!H", len(extensions)) + extensions)


def tls_frames() -> list[f.Stamped]:
    """A connection with everything on ports of TLS, of no protocol, and of one that IEC 62351-3 wraps."""
    frames: list[f.Stamped] = []
    hello = handshake(2, b"\3\3" + bytes(32) + b"\0" + struct.pack("!HB", 0xC02F, 0))
    chain = handshake(11, b"\0\0\0") + handshake(14, b"")
    key = handshake(16, b"\x20" + bytes(range(32)))
    done = tls_record(20, b"\1") + tls_record(22, bytes(range(200, 240)))
    data = tls_record(23, bytes(range(64)))
    for place, port in enumerate((443, 19998, 8443, 2404)):
        talk = f.Talk(CLIENT, SERVER, port, 41000 + place)
        talk.open(0)
        talk.client(0, client_hello("scada.example" if place else "", bytes(32 * place)))
        talk.server(0, hello + chain)
        talk.client(0, key + done)
        talk.server(0, done)
        talk.client(0, data + data)
        talk.server(0, data)
        talk.client(0, tls_record(21, bytes(range(26))))
        talk.close(0)
        frames += talk.frames
    talk = f.Talk(CLIENT, SERVER, 443, 42000)
    talk.open(0)
    talk.client(0, client_hello("no.such.host"))
    talk.server(0, tls_record(21, b"\2\x70"))
    return frames + talk.frames


def gre(protocol: int, inner: bytes, flags: int = 0) -> bytes:
    """GRE around something, with the fields that ``flags`` ask for."""
    fields = [struct.pack("!I", 7) for flag in (0x8000, 0x2000, 0x1000) if flags & flag]
    return struct.pack("!HH", flags, protocol) + b"".join(fields) + inner


def tunnel_frames() -> list[f.Stamped]:
    """Frames inside every tunnel, one inside two, and some that a tunnel should not hold."""
    asked = f.udp_frame("192.168.1.1", "192.168.1.2", 40000, 53, dns(0x0100, [name("inner.plant")]))
    packet = asked[14:]
    tagged = f.udp_frame("192.168.1.1", "192.168.1.2", 40000, 53, dns(0x0100, [name("tagged.plant")]), (9,))
    three = struct.pack("!HHIHH", 0x2001, 0, 5, 0, 0)
    bodies = [gre(0x0800, packet, flags) for flags in (0, 0x8000, 0x2000, 0x1000, 0xB000)]
    bodies += [gre(0x6558, asked), gre(0x6558, tagged, 0x2000), gre(0x88BE, asked)]
    bodies += [gre(0x88BE, struct.pack("!HHI", 0x1001, 0, 0) + asked, 0x1000)]
    bodies += [gre(0x22EB, three + asked, 0x1000)]
    bodies += [gre(0x22EB, three[:-1] + b"\1" + bytes(8) + asked, 0x1000)]
    out = [f.ip_frame(CLIENT, SERVER, 47, body) for body in bodies]
    out.append(f.udp_frame(CLIENT, SERVER, 50000, 4789, b"\x08\0\0\0\0\0\7\0" + asked))
    out.append(
        f.ip_frame(
            CLIENT6,
            SERVER6,
            47,
            gre(0x6558, f.eth("02:00:00:00:00:09", "02:00:00:00:00:08", 0x8892, rt(0x8000))),
        )
    )
    out.append(f.ip_frame(CLIENT, SERVER, 47, gre(0x6558, out[1])))
    return [(0, frame) for frame in out]


def integer(value: int) -> bytes:
    """A BER INTEGER."""
    return f.ber(2, value.to_bytes(max(1, value.bit_length() // 8 + 1), "big"))


def oid(*arcs: int) -> bytes:
    """A BER OBJECT IDENTIFIER."""
    out = b""
    for arc in (40 * arcs[0] + arcs[1], *arcs[2:]):
        octets = [arc & 0x7F]
        while arc := arc >> 7:
            octets.insert(0, 0x80 | arc & 0x7F)
        out += bytes(octets)
    return f.ber(6, out)


def snmp_pdu(kind: int, request: int, status: int, *names: bytes) -> bytes:
    """A PDU that asks for names."""
    variables = b"".join(f.ber(0x30, one + f.ber(5, b"")) for one in names)
    return f.ber(0xA0 + kind, integer(request) + integer(status) + integer(0) + f.ber(0x30, variables))


def snmp_frames() -> list[f.Stamped]:
    """Every PDU of version 2c, traps of version 1, and version 3 in clear and encrypted."""
    system, interfaces = oid(1, 3, 6, 1, 2, 1, 1, 5, 0), oid(1, 3, 6, 1, 4, 1, 99999, 300, 2**31)
    out = []
    for kind in (0, 1, 2, 3, 5, 6, 7, 8):
        for status in (0, 5):
            pdu = snmp_pdu(kind, 70_000 + kind, status, system, interfaces)
            body = f.ber(0x30, integer(1) + f.ber(4, b"public") + pdu)
            ports = (161, 40000) if kind in (2, 8) else (40000, 162) if kind in (6, 7) else (40000, 161)
            out.append(f.udp_frame(CLIENT, SERVER, *ports, body))
    trap = oid(1, 3, 6, 1, 4, 1, 9) + f.ber(0x40, f.ip(CLIENT)) + integer(6) + integer(1) + f.ber(0x43, b"\1")
    trap = f.ber(0xA4, trap + f.ber(0x30, f.ber(0x30, system + integer(7))))
    out.append(f.udp_frame(CLIENT, SERVER, 40000, 162, f.ber(0x30, integer(0) + f.ber(4, b"x") + trap)))
    scoped = f.ber(0x30, f.ber(4, b"\x80\0\0\0\1") + f.ber(4, b"") + snmp_pdu(0, 5, 0, system))
    for level, body in ((4, scoped), (7, f.ber(4, bytes(range(40))))):
        head = f.ber(0x30, integer(9) + integer(65507) + f.ber(4, bytes([level])) + integer(3))
        user = f.ber(4, b"\x80\0\0\0\1") + integer(1) + integer(2) + f.ber(4, b"u") + f.ber(4, b"") * 2
        whole = f.ber(0x30, integer(3) + head + f.ber(4, f.ber(0x30, user)) + body)
        out.append(f.udp_frame(CLIENT, SERVER, 40000, 161, whole))
    return [(0, frame) for frame in out]


PARTS = (
    arp_frames,
    icmp_frames,
    dns_frames,
    ntp_frames,
    profinet_frames,
    tls_frames,
    tunnel_frames,
    snmp_frames,
)


def base_frames() -> list[bytes]:
    """All of them."""
    return [data for part in PARTS for _, data in part()]
