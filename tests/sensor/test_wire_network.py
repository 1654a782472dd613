"""Link and network layer known frames: tags, link types, IPv4, IPv6, UDP; every cut and fragment."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab import frames as f
from tests.reference.rows import CLIENT, PEER, SERVER
from tests.reference.run import Native, Shot, decode, shots

A, B = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "fe80::20c:29ff:fe12:3456"
UDP = f.udp(40000, 53, b"question")
VLAN = f.Vlan


@pytest.mark.parametrize(
    "vlans",
    [(), (5,), (VLAN(100, tpid=0x88A8), 5), (VLAN(1, tpid=0x9100), 2, 3, 4)],
)
def test_vlan_tags(vlans: tuple[VLAN | int, ...]) -> None:
    (row,) = decode([(1, f.ip_frame(A, B, 17, UDP, vlans))])
    assert (row.proto, row.src, row.dst) == ("udp", A, B)
    (row,) = decode([(1, f.eth(f.lab_mac(B), f.lab_mac(A), 0x9999, b"?" * 50, vlans))])
    last = vlans[-1] if vlans else 0
    assert row.conv[-1] == (last if isinstance(last, int) else last.vid)
    assert (row.proto, row.kind, row.size) == ("ethernet", 0x9999, 64 + 4 * len(vlans))


def test_five_tags_are_refused_and_counted() -> None:
    frames = [Shot(1, f.ip_frame(A, B, 17, UDP, (1, 2, 3, 4, 5)))]
    assert decode(frames) == []
    native = Native()
    native.feed(frames)
    assert native.counters["malformed"] == 1


def test_llc_is_type_zero() -> None:
    (row,) = decode([(1, f.eth("01:80:c2:00:00:00", f.lab_mac(A), 39, b"\x42\x42\x03" + bytes(36)))])
    assert (row.proto, row.kind, row.role) == ("ethernet", 0, PEER)


def test_an_ethertype_behind_snap() -> None:
    """RFC 1042: a length, LLC AA AA 03, the organisation 0, then what Ethernet II has in front."""
    packet = f.ipv4(A, B, 17, UDP)
    for head, proto in ((b"\xaa\xaa\x03\0\0\0", "udp"), (b"\xaa\xaa\x03\0\0\x0c", "ethernet")):
        llc = head + b"\x08\0" + packet
        for vlans in ((), (7,)):
            (row,) = decode([(1, f.eth(f.lab_mac(B), f.lab_mac(A), len(llc), llc, vlans))])
            assert row.proto == proto


@pytest.mark.parametrize(("link", "head"), [(113, bytes(14) + b"\x81\0"), (276, b"\x81\0" + bytes(18))])
def test_tags_behind_a_cooked_header(link: int, head: bytes) -> None:
    (row,) = decode([Shot(1, head + b"\x20\x07\x08\0" + f.ipv4(A, B, 17, UDP), link=link)])
    assert (row.proto, row.src, row.dst) == ("udp", A, B)


@pytest.mark.parametrize("link", [12, 14, 101, 228, 229])
@pytest.mark.parametrize("ends", [(A, B), (A6, B6)])
def test_raw_ip(link: int, ends: tuple[str, str]) -> None:
    packet = f.ipv4(*ends, 17, UDP) if "." in ends[0] else f.ipv6(*ends, 17, UDP)
    (row,) = decode([Shot(1, packet, link=link)])
    assert (row.proto, row.src, row.dst) == ("udp", *ends)


@pytest.mark.parametrize(
    ("link", "head"),
    [
        (0, b"\2\0\0\0"),
        (108, b"\0\0\0\2"),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
)
def test_other_link_headers(link: int, head: bytes) -> None:
    (row,) = decode([Shot(1, head + f.ipv4(A, B, 17, UDP), link=link)])
    assert (row.proto, row.src, row.dst) == ("udp", A, B)


def test_unknown_link_type_is_counted() -> None:
    native = Native()
    assert native.feed([Shot(1, bytes(60), link=147)]) == []
    assert native.counters["other"] == 1


def test_udp_lower_port_serves() -> None:
    ask, answer = decode([(1, f.udp_frame(A, B, 40000, 53, b"?")), (2, f.udp_frame(B, A, 53, 40000, b"!"))])
    assert (ask.role, answer.role) == (CLIENT, SERVER)
    assert ask.conv == answer.conv == ("udp", A, B, 53, "", 0)


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (f.ipv4(A, B, 132, b"\x08\0\0\0"), 132),
        (f.ipv4(A, B, 17, UDP, more_fragments=True), 17),
        (f.ipv4(A, B, 6, b"tail of a segment", frag_offset=1480), 6),
        (f.ipv4(A, B, 17, b"\0" * 7), 17),
        (f.ipv4(A, B, 89, b""), 89),
    ],
)
def test_what_is_not_read_further_still_says_who(packet: bytes, kind: int) -> None:
    (row,) = decode([(1, f.eth(f.lab_mac(B), f.lab_mac(A), f.ETH_IPV4, packet))])
    assert (row.proto, row.kind, row.src, row.dst) == ("ip", kind, A, B)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: b"\x55" + p[1:],  # version 5
        lambda p: b"\x44" + p[1:],  # header of 16 octets
        lambda p: p[:2] + b"\0\x0a" + p[4:],  # total length under the header's
        lambda p: p[:12],
    ],
)
def test_broken_ipv4_is_told_by_its_macs(spoil: object) -> None:
    packet = spoil(f.ipv4(A, B, 17, UDP))  # type: ignore[operator]
    (row,) = decode([(1, f.eth(f.lab_mac(B), f.lab_mac(A), f.ETH_IPV4, packet))])
    assert (row.proto, row.kind, row.src) == ("ethernet", 0x0800, f.lab_mac(A))


def test_ipv4_options_and_zero_total_length() -> None:
    options = f.ipv4(A, B, 17, UDP, options=b"\x01" * 8)
    offload = f.ipv4(A, B, 17, UDP, total_length=0)
    for packet in (options, offload):
        (row,) = decode([(1, f.eth(f.lab_mac(B), f.lab_mac(A), f.ETH_IPV4, packet))])
        assert row.proto == "udp"


def extension(kind: int, follow: int, octets: int = 8) -> tuple[int, bytes]:
    return kind, bytes([follow, octets // 8 - 1]) + bytes(octets - 2)


@pytest.mark.parametrize(
    ("chain", "proto", "kind"),
    [
        ([], "udp", 0),
        ([0], "udp", 0),
        ([0, 43, 60], "udp", 0),
        ([0] * 7, "udp", 0),
        ([0] * 8, "ethernet", 0x86DD),
        ([44], "ip", 44),
        ([0, 44], "ip", 44),
        ([51], "ip", 51),
    ],
)
def test_ipv6_extension_headers(chain: list[int], proto: str, kind: int) -> None:
    payload = UDP
    follow = 17
    for header in reversed(chain):
        payload = extension(header, follow, 16 if header == 60 else 8)[1] + payload
        follow = header
    (row,) = decode([(1, f.ip_frame(A6, B6, follow, payload))])
    assert (row.proto, row.kind) == (proto, kind)


def test_ipv6_extension_past_the_packet() -> None:
    (row,) = decode([(1, f.ip_frame(A6, B6, 0, bytes([17, 200]) + bytes(14)))])
    assert row.proto == "ethernet"


def test_every_cut() -> None:
    """Whatever the snap length, kernel and reference agree and nothing raises."""
    talk = f.Talk(A6, B6, 2404, vlans=(VLAN(9, tpid=0x88A8), 5))
    talk.open(0)
    talk.client(10**9, f.apci_i(0, 0, f.asdu(45, 6, 1, [(1, f.e_single_command(True))])))
    whole = [
        *talk.frames,
        (2, f.udp_frame(A, B, 1, 2, b"x")),
        (3, f.ip_frame(A6, B6, 0, extension(0, 17)[1])),
    ]
    for snaplen in range(max(len(data) for _, data in whole) + 1):
        decode(shots(whole, snaplen))
        decode([(ts, data[:snaplen]) for ts, data in whole])


@given(
    st.binary(max_size=90),
    st.sampled_from([0, 1, 12, 101, 113, 276, 147]),
    st.integers(0, 40),
)
def test_any_octets(octets: bytes, link: int, missing: int) -> None:
    decode([Shot(1, octets, len(octets) + missing, link)])


@given(st.binary(max_size=60), st.sampled_from([6, 17, 0, 43, 44, 60]), st.booleans(), st.integers(0, 80))
def test_any_octets_in_a_packet(octets: bytes, proto: int, six: bool, length: int) -> None:
    packet = f.ipv6(A6, B6, proto, octets) if six else f.ipv4(A, B, proto, octets)
    at = 4 if six else 2
    lied = packet[:at] + struct.pack("!H", length) + packet[at + 2 :]
    decode([(n, f.eth(f.lab_mac(B), f.lab_mac(A), f.ETH_IPV6 if six else f.ETH_IPV4, p))
            for n, p in enumerate((packet, lied))])  # fmt: skip
