"""ARP, ICMP, DNS, NTP and PROFINET known frames: columns, every cut, and lengths that lie."""

from __future__ import annotations

import math
import struct

import pytest

from grid_profiles.vocabulary import Flag
from tests.fuzz import base as b
from tests.lab import frames as f
from tests.reference.rows import CLIENT, PEER, PUBLISHER, SERVER, Message
from tests.reference.run import Native, Shot

A, B = b.CLIENT, b.SERVER
MAC_A, MAC_B = f.lab_mac(A), f.lab_mac(B)


def decode(*frames: bytes) -> list[Message]:
    return Native().feed([Shot(number, frame) for number, frame in enumerate(frames)])


def point(native: Native, row: Message) -> str:
    return native.names.text(row.point) if isinstance(row.point, int) and row.point > 0 else ""


def one(frame: bytes, wirelen: int = 0) -> tuple[Message, str]:
    native = Native()
    (row,) = native.feed([Shot(1, frame, wirelen)])
    return row, point(native, row)


def test_arp() -> None:
    row, asked = one(f.eth(MAC_B, MAC_A, f.ETH_ARP, f.arp(2, MAC_A, A, MAC_B, B), (7,)))
    assert (row.proto, row.role, row.kind, row.name, row.ident, asked) == ("arp", PEER, 2, A, MAC_A, B)
    assert row.conv == ("arp", MAC_A, MAC_B, 0, "", 7)


def test_icmp() -> None:
    row, _ = one(f.ip_frame(A, B, 1, struct.pack("!BBHHH", 8, 0, 0, 1, 42)))
    assert (row.proto, row.role, row.kind, row.cause, row.seq) == ("icmp", PEER, 8, 0, 42)
    row, _ = one(f.ip_frame(b.CLIENT6, b.SERVER6, 58, struct.pack("!BBHI", 133, 0, 0, 0) + b"\1\0"))
    assert (row.proto, row.kind, row.flags) == ("icmpv6", 133, Flag.MALFORMED)


def test_dns_question_and_answer() -> None:
    www = b.name("www.plant")
    row, asked = one(f.udp_frame(A, B, 40000, 53, b.dns(0x0100, [www], ident=9)))
    assert (row.proto, row.role, row.kind, row.seq, row.count) == ("dns", CLIENT, 0, 9, 0)
    assert (row.name, asked, row.conv) == ("www.plant", "www.plant", ("dns", A, B, 53, "", 0))
    row, _ = one(f.udp_frame(B, A, 53, 40000, b.dns(0x8183, [www])))
    assert (row.role, row.kind, row.cause, row.flags) == (SERVER, 0x8000, 3, Flag.NEGATIVE)
    assert row.conv == ("dns", A, B, 53, "", 0)


@pytest.mark.parametrize(
    "message",
    [
        b.dns(0x0100, [b"\xc0\x0c"]),  # points to itself
        b.dns(0x0100, [b"\xc0\xff"]),  # forward
        b.dns(0x0100, [b"\x40" + bytes(64) + b"\0"]),  # no such label
        b.dns(0x0100, [(b"\x3f" + b"x" * 63) * 5 + b"\0"]),  # too long
        b.dns(0x8180, [b"\0"], ([b.record(b"\0", bytes(4))[:-1]],)),
        b.dns(0x0100, [])[:4] + b"\xff\xff" + bytes(6),
    ],
)
def test_dns_lies(message: bytes) -> None:
    row, _ = one(f.udp_frame(A, B, 40000, 53, message))
    assert (row.proto, row.flags & Flag.MALFORMED) == ("dns", Flag.MALFORMED)


def test_dns_over_segment_borders() -> None:
    first, second = (b.over_tcp(b.dns(0x0100, [b.name(text)])) for text in ("one.plant", "two.plant"))
    for cut in range(1, len(first + second)):
        talk = f.Talk(A, B, 53)
        talk.open(0)
        talk.client(0, (first + second)[:cut])
        talk.client(0, (first + second)[cut:])
        rows = [row for row in decode(*(data for _, data in talk.frames)) if row.proto == "dns"]
        assert [row.name for row in rows] == ["one.plant", "two.plant"], cut


def test_ntp() -> None:
    body = bytes([0xE4, 16]) + bytes(10) + b"INIT" + bytes(32)
    row, source = one(f.udp_frame(B, A, 123, 123, body))
    assert (row.proto, row.role, row.kind, row.cause, row.aux) == ("ntp", SERVER, 4, 16, 3)
    assert (source, row.conv) == ("494e4954", ("ntp", A, B, 123, "", 0))


@pytest.mark.parametrize(
    ("stamp", "value"),
    [
        (bytes(8), math.nan),  # unknown
        (bytes.fromhex("83aa7e80 00000000"), 0.0),  # 1970
        (bytes.fromhex("ed5bac00 80000000"), 1_773_219_200.5),
        (bytes.fromhex("00000000 80000000"), 2**32 - 2_208_988_800 + 0.5),  # 2036, the next era
    ],
)
def test_ntp_transmit_time(stamp: bytes, value: float) -> None:
    body = bytes([0x24, 1]) + bytes(10) + b"GPS\0" + bytes(24) + stamp
    row, _ = one(f.udp_frame(B, A, 123, 40000, body))
    assert row.value == value or (math.isnan(row.value) and math.isnan(value))
    control, _ = one(f.udp_frame(A, B, 40000, 123, bytes([0x16, 2]) + bytes(38) + stamp))
    assert math.isnan(control.value)


def test_profinet_cyclic() -> None:
    row, _ = one(f.eth(MAC_B, MAC_A, 0x8892, b.rt(0x8001, counter=0x2020, status=0x35), (4,)))
    assert (row.proto, row.role, row.kind, row.point) == ("profinet_rt", PUBLISHER, 65_544, 0x8001)
    assert (row.seq, row.state, row.cause) == (0x2020, 0x35, 0)
    assert row.conv == ("profinet_rt", MAC_A, MAC_B, 0, "frame id 32769", 4)


def test_profinet_station_is_renamed() -> None:
    body = b.dcp(0xFEFD, 4, 0, b.block(2, 2, b"\0\1pump-3"), xid=5)
    row, named = one(f.eth(MAC_B, MAC_A, 0x8892, body, pad=True))
    assert (row.proto, row.role, row.kind, row.aux) == ("profinet_dcp", CLIENT, 0x400, 0x202)
    assert (row.name, named, row.seq) == ("pump-3", "pump-3", 5)
    refused = b.dcp(0xFEFD, 4, 1, b.block(5, 4, b"\2\2\4"), xid=5)
    row, _ = one(f.eth(MAC_A, MAC_B, 0x8892, refused, pad=True))
    assert (row.role, row.cause, row.flags) == (SERVER, 4, Flag.NEGATIVE)
    assert row.conv == ("profinet_dcp", MAC_A, MAC_B, 0, "", 0)


def test_profinet_block_is_longer_than_the_data() -> None:
    body = b.dcp(0xFEFF, 5, 1, b"\2\2\0\xffabc\0")
    row, _ = one(f.eth(MAC_A, MAC_B, 0x8892, body))
    assert row.flags == Flag.MALFORMED


def tls_rows(*frames: f.Stamped) -> list[Message]:
    return [row for row in decode(*(data for _, data in frames)) if row.proto == "tls"]


@pytest.mark.parametrize("port", [443, 802, 3782, 19998, 8443, 502, 2404])
def test_tls_on_any_port(port: int) -> None:
    talk = f.Talk(A, B, port)
    talk.open(0)
    talk.client(0, b.client_hello("rtu-7.plant"))
    talk.server(0, b.handshake(2, b"\3\3" + bytes(32) + b"\0\xc0\x2f\0") + b.tls_record(20, b"\1"))
    talk.server(0, b.tls_record(22, b"\1" + bytes(20)))
    talk.client(0, b.tls_record(21, b"\2\x28") + b.tls_record(23, bytes(99)))
    rows = tls_rows(*talk.frames)
    assert [row.kind for row in rows] == [257, 258, 20, 22, 21, 23]
    assert rows[0].name == "rtu-7.plant"
    assert rows[4].cause == 40
    assert [bool(row.flags & Flag.ENCRYPTED) for row in rows] == [False] * 5 + [True]
    assert rows[0].conv == ("tls", A, B, port, "", 0)
    assert rows[5].size == 104


def test_tls_hello_cut_anywhere() -> None:
    hello = b.client_hello("rtu-7.plant")
    for cut in range(1, len(hello)):
        talk = f.Talk(A, B, 443)
        talk.open(0)
        talk.client(0, hello[:cut])
        talk.client(0, hello[cut:])
        assert [(row.kind, row.name) for row in tls_rows(*talk.frames)] == [(257, "rtu-7.plant")], cut


def test_tls_hello_with_lengths_that_lie() -> None:
    hello = b.client_hello("rtu-7.plant")
    for place in range(9, len(hello)):
        for octet in (0, 0xFF):
            talk = f.Talk(A, B, 443)
            talk.client(0, hello[:place] + bytes([octet]) + hello[place + 1 :])
            assert len(tls_rows(*talk.frames)) == 1


def certificate(*names: tuple[bytes, bytes], version: bytes = b"\xa0\3\2\1\2") -> bytes:
    """As much of a certificate as tells whom it is for."""
    parts = [f.ber(0x31, f.ber(0x30, f.ber(6, oid) + f.ber(0x0C, text))) for oid, text in names]
    issuer = f.ber(0x30, f.ber(0x31, f.ber(0x30, f.ber(6, b"U\4\3") + f.ber(0x0C, b"the issuer"))))
    head = version + f.ber(2, b"\1\2\3") + f.ber(0x30, b"\5\0") + issuer + f.ber(0x30, bytes(30))
    return f.ber(0x30, f.ber(0x30, head + f.ber(0x30, b"".join(parts)) + bytes(200)))


def chain(*certificates: bytes) -> bytes:
    """A certificate message's body."""
    body = b"".join(struct.pack("!I", len(one))[1:] + one for one in certificates)
    return struct.pack("!I", len(body))[1:] + body


RTU = certificate((b"U\4\x0a", b"Plant"), (b"U\4\3", b"rtu-7.plant"))


def test_tls_certificate_tells_whom_it_is_for() -> None:
    hello = b.handshake(2, b"\3\3" + bytes(32) + b"\0\xc0\x2f\0")
    alone = b.handshake(11, chain(RTU, certificate((b"U\4\3", b"the issuer"))))
    joined = b.tls_record(22, hello[5:] + alone[5:])
    nobody = b.handshake(11, chain(certificate((b"U\4\x0a", b"Plant"), version=b"")))
    empty = b.handshake(11, chain())
    talk = f.Talk(A, B, 19998)
    talk.open(0)
    for data in (hello, alone, joined, nobody, empty, b.tls_record(20, b"\1"), alone):
        talk.server(0, data)
    rows = tls_rows(*talk.frames)
    assert [(row.kind, row.ident) for row in rows] == [
        (258, ""), (267, "rtu-7.plant"), (258, "rtu-7.plant"), (267, ""), (267, ""), (20, ""), (22, ""),
    ]  # fmt: skip


def test_tls_certificate_with_lengths_that_lie() -> None:
    whole = b.handshake(11, chain(RTU))
    for place in range(5, len(whole)):
        for octet in (0, 0x30, 0x84, 0xFF):
            talk = f.Talk(A, B, 443)
            talk.server(0, whole[:place] + bytes([octet]) + whole[place + 1 :])
            assert len(tls_rows(*talk.frames)) == 1


def test_modbus_stays_modbus() -> None:
    talk = f.Talk(A, B, 502)
    talk.open(0)
    talk.client(0, f.modbus_adu(0x1603, 1, f.mb_read(3, 1, 1)))
    assert [row.proto for row in decode(*(data for _, data in talk.frames)) if row.proto != "tcp"] == [
        "modbus"
    ]


def test_snmp() -> None:
    message = f.ber(
        0x30, b.integer(1) + f.ber(4, b"secret") + b.snmp_pdu(3, 77, 0, b.oid(1, 3, 6, 1, 4, 1, 9))
    )
    row, named = one(f.udp_frame(A, B, 40000, 161, message))
    assert (row.proto, row.role, row.kind, row.seq, row.cause, row.count) == ("snmp", CLIENT, 3, 77, 0, 1)
    assert (row.name, named, row.conv) == ("1.3.6.1.4.1.9", "1.3.6.1.4.1.9", ("snmp", A, B, 161, "", 0))
    for size in range(len(message)):
        rows = decode(f.udp_frame(A, B, 40000, 161, message[:size]))
        assert [row.proto for row in rows] == ["udp"]


def test_tunnels() -> None:
    native = Native()
    frames = [Shot(number, data) for number, (_, data) in enumerate(b.tunnel_frames())]
    rows = native.feed(frames)
    assert [row.frame for row in rows] == list(range(1, len(frames) + 1))
    assert {row.name for row in rows if row.proto == "dns"} == {"inner.plant", "tagged.plant"}
    assert {row.src for row in rows if row.proto == "dns"} == {"192.168.1.1"}
    assert native.counters["tunnels"] == len(frames) + 1
    sent = {native.names.endpoint(i): int(host["sent"]) for i, host in enumerate(native.engine.hosts())}
    assert sent[A] == len(frames)  # one is of IPv6, one holds another tunnel of the same ends
    assert sent["192.168.1.1"] == len(frames) - 1


def test_three_tunnels_are_too_many() -> None:
    frame = f.udp_frame(A, B, 40000, 53, b.dns(0x0100, [b.name("deep")]))
    for depth, proto in ((1, "dns"), (2, "dns"), (3, "ip")):
        frame = f.ip_frame(A, B, 47, b.gre(0x6558, frame))
        assert [row.proto for row in decode(frame)] == [proto], depth


def test_goose_in_a_mirror() -> None:
    body = f.goose_pdu("LD/LLN0$GO$g", 2000, "LD/LLN0$d", "g", 10**18, 3, 0, [f.g_bool(True)])
    inner = f.goose_frame("01:0c:cd:01:00:01", "02:00:00:00:00:07", 1, body)
    mirrored = f.ip_frame(A, B, 47, b.gre(0x88BE, struct.pack("!HHI", 0x1001, 0, 0) + inner, 0x1000))
    (row,) = decode(mirrored)
    assert (row.proto, row.src, row.state) == ("goose", "02:00:00:00:00:07", 3)


def test_every_cut_gives_one_row() -> None:
    """A snap length anywhere: never more than one row, never an error, MALFORMED only what is."""
    for frame in b.base_frames():
        if frame[12:14] == b"\x08\x00" and frame[23] == 6:
            continue
        for size in range(len(frame)):
            rows = Native().feed([Shot(1, frame[:size], len(frame))]) if size % 7 == 0 else []
            assert len(rows) <= 1
            assert not any(row.flags & Flag.MALFORMED for row in rows), (frame, size)
