"""Frames with pseudonyms: no address is left in their octets, and they are still frames."""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import write_pcap
from sensor.frames import FrameBatch
from sensor.pseudonym.frames import FrameScrub
from sensor.pseudonym.key import MAC_TEXT, Pseudonyms
from tests.daemon.process import DEMO

PSEUDONYMS = Pseudonyms(b"a key that is long enough for tests", ["TR1PROT", "BCU1"])
A, B = bytes.fromhex("02000a141e42"), bytes.fromhex("02000a141e29")
FOUR = ipaddress.ip_address("10.20.30.66").packed, ipaddress.ip_address("10.20.30.41").packed
SIX = ipaddress.ip_address("fe80::a:1").packed, ipaddress.ip_address("2001:db8::7").packed


def batch_of(frames: Sequence[bytes], link: int = 1) -> FrameBatch:
    lengths = np.array([len(frame) for frame in frames], np.int32)
    return FrameBatch(
        np.frombuffer(b"".join(frames), np.uint8),
        np.cumsum(lengths, dtype=np.int64) - lengths,
        lengths,
        lengths,
        np.arange(len(frames), dtype=np.int64),
        np.full(len(frames), link, np.int32),
        np.arange(1, len(frames) + 1, dtype=np.int64),
    )


def scrubbed(*frames: bytes, link: int = 1) -> tuple[list[bytes], FrameScrub]:
    scrub = FrameScrub(PSEUDONYMS)
    made = scrub.batch([batch_of(frames, link)])
    return [made.frame(row) for row in range(len(made))], scrub


def total(octets: bytes) -> int:
    """Ones' complement sum (RFC 1071); 0xffff over a block with a right checksum."""
    octets += bytes(len(octets) % 2)
    value = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def with_sum(octets: bytes, at: int, more: bytes = b"") -> bytes:
    check = 0xFFFF - total(more + octets[:at] + b"\0\0" + octets[at + 2 :])
    return octets[:at] + check.to_bytes(2, "big") + octets[at + 2 :]


def pseudo(source: bytes, target: bytes, protocol: int, length: int) -> bytes:
    return source + target + length.to_bytes(4, "big") + bytes([0, 0, 0, protocol])


def segment(source: bytes, target: bytes, port: int, content: bytes, udp: bool = False) -> bytes:
    if udp:
        head = (40_000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(content)).to_bytes(2, "big")
        whole, at, protocol = head + b"\0\0" + content, 6, 17
    else:
        head = (40_000).to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(8) + b"\x50\x18\x01\x00"
        whole, at, protocol = head + bytes(4) + content, 16, 6
    return with_sum(whole, at, pseudo(source, target, protocol, len(whole)))


def packet(inner: bytes, protocol: int, addresses: tuple[bytes, bytes] = FOUR) -> bytes:
    source, target = addresses
    if len(source) == 4:
        head = b"\x45\0" + (20 + len(inner)).to_bytes(2, "big") + bytes(4) + b"\x40" + bytes([protocol])
        return with_sum(head + b"\0\0" + source + target, 10) + inner
    head = b"\x60\0\0\0" + len(inner).to_bytes(2, "big") + bytes([protocol, 64])
    return head + source + target + inner


def ethernet(kind: int, inner: bytes, tags: bytes = b"") -> bytes:
    return B + A + tags + kind.to_bytes(2, "big") + inner


def tcp(content: bytes, port: int = 502, addresses: tuple[bytes, bytes] = FOUR) -> bytes:
    kind = 0x0800 if len(addresses[0]) == 4 else 0x86DD
    return ethernet(kind, packet(segment(*addresses, port, content), 6, addresses))


def unclean(octets: bytes) -> list[bytes]:
    """Addresses of the tests that are still there."""
    marks = [A, B, *FOUR, *SIX, A.hex(":").encode(), b"10.20.30.66", b"10.20.30.41", b"fe80::a:1", b"TR1PROT"]
    return [mark for mark in marks if mark in octets]


@pytest.mark.parametrize("addresses", [FOUR, SIX])
@pytest.mark.parametrize("udp", [False, True])
@given(content=st.binary(max_size=60))
def test_checksums_follow_over_any_content(addresses: tuple[bytes, bytes], udp: bool, content: bytes) -> None:
    protocol, port = (17, 20_000) if udp else (6, 502)
    kind, head = (0x0800, 20) if len(addresses[0]) == 4 else (0x86DD, 40)
    frame = ethernet(kind, packet(segment(*addresses, port, content, udp), protocol, addresses))
    (made,), _ = scrubbed(frame)
    assert unclean(made) == []
    if len(made) < len(frame):  # an address turned up in the content by chance
        return
    ip = made[14:]
    if head == 20:
        assert total(ip[:20]) == 0xFFFF
        source, target = ip[12:16], ip[16:20]
    else:
        source, target = ip[8:24], ip[24:40]
    inner = ip[head:]
    assert total(pseudo(source, target, protocol, len(inner)) + inner) == 0xFFFF
    assert inner[8 if udp else 20 :] == content


def test_a_wrong_checksum_stays_wrong_and_none_stays_none() -> None:
    frame = bytearray(tcp(b"abc"))
    frame[14 + 20 + 16] ^= 0x55
    (made,), _ = scrubbed(bytes(frame))
    ip = made[14:]
    assert total(pseudo(ip[12:16], ip[16:20], 6, len(ip) - 20) + ip[20:]) != 0xFFFF
    plain = ethernet(
        0x0800, packet((1).to_bytes(2, "big") + (20_000).to_bytes(2, "big") + b"\0\x0a\0\0xy", 17)
    )
    (made,), _ = scrubbed(plain)
    assert made[14 + 20 + 6 : 14 + 20 + 8] == b"\0\0"


def test_names_are_replaced_at_equal_length_and_the_checksum_follows() -> None:
    content = b"\x60\x1aTR1PROTLD0/LLN0$GO$gcbTrip"
    frames = (tcp(content, 102), ethernet(0x88B8, content, b"\x81\x00\x80\x0a"))
    made, _ = scrubbed(*frames)
    wanted = content.replace(b"TR1PROT", PSEUDONYMS.name("TR1PROT").encode())
    for before, after in zip(frames, made, strict=True):
        assert len(before) == len(after)
        assert after.endswith(wanted)
        assert unclean(after) == []
    ip = made[0][14:]
    assert total(pseudo(ip[12:16], ip[16:20], 6, len(ip) - 20) + ip[20:]) == 0xFFFF


def test_arp_ptp_and_tunnels() -> None:
    arp = ethernet(0x0806, bytes.fromhex("0001080006040001") + A + FOUR[0] + B + FOUR[1] + bytes(18))
    identity = A[:3] + b"\xff\xfe" + A[3:]
    announce = b"\x0b\x02" + (64).to_bytes(2, "big") + bytes(16) + identity + bytes(25) + identity + bytes(3)
    ptp = ethernet(0x88F7, announce)
    vxlan = ethernet(0x0800, packet(segment(*FOUR, 4789, bytes(8) + tcp(b"x"), udp=True), 17))
    gre = ethernet(0x0800, packet(b"\0\0\x08\0" + packet(b"", 6), 47))
    icmp = ethernet(0x0800, packet(b"\x05\x01\0\0" + FOUR[1] + packet(b"", 6), 1))
    hsr = ethernet(0x892F, b"\0\0\0\0" + b"\x08\0" + packet(segment(*FOUR, 502, b"x"), 6))
    sync = ethernet(0x88F7, b"\x00\x02" + (44).to_bytes(2, "big") + bytes(16) + identity + bytes(16) + A)
    made, scrub = scrubbed(arp, ptp, vxlan, gre, icmp, hsr, sync)
    assert unclean(b"".join(made)) == []
    assert identity not in b"".join(made)
    assert len(made[0]) == 42
    assert PSEUDONYMS.ipv4(FOUR[0]) in made[0]
    assert made[1][14 + 20 : 14 + 28] == PSEUDONYMS.eui64(identity) == made[1][14 + 53 : 14 + 61]
    assert [len(frame) for frame in made[2:5]] == [14 + 20 + 8, 14 + 20, 14 + 20 + 4]
    assert len(made[6]) == 14 + 44  # and what follows the message goes
    assert scrub.counts["cut"] == 5


@pytest.mark.parametrize(
    "content",
    [b"GET / HTTP/1.1 10.20.30.66", b"x" + FOUR[0] + b"y", b"x" + A, A.hex("-").encode(), b"fe80::a:1"],
)
def test_an_address_inside_content_costs_the_content(content: bytes) -> None:
    made, scrub = scrubbed(tcp(b"abc" + content), tcp(b"abc", 502, SIX))
    assert unclean(b"".join(made)) == []
    assert scrub.counts["cut-address"] == 1
    assert len(made[0]) == 54


@pytest.mark.parametrize("port", [53, 67, 80, 1883, 4840, 44_818, 47_808, 12_345])
def test_content_of_protocols_that_name_hosts_is_cut(port: int) -> None:
    made, scrub = scrubbed(tcp(b"hostname.example", port))
    assert made[0].endswith(bytes(4)) or len(made[0]) == 54
    assert b"hostname" not in made[0]
    assert scrub.counts["cut"] == 1


@given(st.lists(st.binary(max_size=90), max_size=6), st.sampled_from([0, 1, 12, 101, 113, 228]))
def test_nothing_raises_on_any_octets(frames: list[bytes], link: int) -> None:
    made, _ = scrubbed(*frames, link=link)
    assert [len(one) <= len(before) for one, before in zip(made, frames, strict=True)] == [True] * len(frames)


@given(st.integers(0, 80), st.binary(min_size=1, max_size=3))
def test_nothing_raises_on_damaged_frames(at: int, noise: bytes) -> None:
    frame = bytearray(tcp(b"0123456789", 502))
    frame[at : at + len(noise)] = noise
    scrubbed(bytes(frame), bytes(frame[:at]))


def test_a_whole_capture_holds_no_address_of_its_stations(tmp_path: Path) -> None:
    batches = [batch for batch in CaptureFile(DEMO / "quiet_test.pcap.gz").batches() if len(batch)]
    scrub = FrameScrub(PSEUDONYMS)
    made = scrub.batch(batches)
    path = tmp_path / "a.pcap"
    write_pcap(path, made)
    octets = path.read_bytes()
    hosts = [address for address in scrub.addresses() if PSEUDONYMS.address(address) != address]
    assert len(hosts) > 15
    for address in hosts:
        raw = (
            bytes.fromhex(address.replace(":", ""))
            if MAC_TEXT.fullmatch(address)
            else ipaddress.ip_address(address).packed
        )
        assert raw not in octets, address
        assert address.encode() not in octets
    assert b"TR1PROT" not in octets
    if shutil.which("tshark"):
        call = ["tshark", "-r", str(path), "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
        call += ["-Y", "ip.checksum.status==0 || tcp.checksum.status==0"]
        bad = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
        call[-1] = "ip.checksum.status==1 && tcp.checksum.status==1"
        right = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(bad) == 0
        assert len(right) > 1_000
