"""Builders for whole frames and a tiny pcap/pcapng writer, for tests and for the lab.

Every builder takes plain values and returns bytes; nothing is checked, so that a test can
also build what a standard forbids. Lengths and checksums are right unless a caller
overrides them. Written from the standards, independently of the decoders in ``sensor``.

Examples
--------
>>> talk = Talk("10.0.0.1", "10.0.0.2", 502)
>>> talk.open(0)
>>> talk.client(1_000_000, modbus_adu(1, 1, mb_read(3, 100, 2)))
>>> talk.server(3_000_000, modbus_adu(1, 1, mb_read_response(3, [7, 8])))
>>> len(talk.frames)
5

References
----------
IEEE 802.3/802.1Q, RFC 791/793/768/8200, Modbus Application Protocol 1.1b3,
IEC 60870-5-101/-104, IEC 61850-8-1 and ISO/IEC 8825-1 (BER), draft-ietf-opsawg-pcap(ng).
"""

from __future__ import annotations

import gzip
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

Stamped = tuple[int, bytes]
"""A frame with its capture time, ns since 1970 UTC."""

# --- Ethernet, IP, TCP, UDP ---------------------------------------------------------------

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_GOOSE, ETH_SV = 0x0800, 0x0806, 0x86DD, 0x88B8, 0x88BA
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


class Vlan(NamedTuple):
    """One 802.1Q tag; ``tpid`` 0x88A8 makes it the outer tag of QinQ."""

    vid: int
    pcp: int = 0
    tpid: int = 0x8100


def mac(text: str | bytes) -> bytes:
    """Six octets of ``00:0c:29:aa:bb:cc`` (or with dashes); bytes pass through."""
    return text if isinstance(text, bytes) else bytes.fromhex(text.replace(":", "").replace("-", ""))


def ip(text: str | bytes) -> bytes:
    """Four or sixteen octets of an address in text; bytes pass through."""
    return text if isinstance(text, bytes) else ipaddress.ip_address(text).packed


def eth(
    dst: str | bytes,
    src: str | bytes,
    ethertype: int,
    payload: bytes,
    vlans: Sequence[Vlan | int] = (),
    pad: bool = False,
) -> bytes:
    """Ethernet II frame without FCS; ``vlans`` outermost first; ``pad`` fills to 60 octets."""
    tags = b""
    for tag in vlans:
        vlan = Vlan(tag) if isinstance(tag, int) else tag
        tags += struct.pack("!HH", vlan.tpid, vlan.pcp << 13 | vlan.vid)
    frame = mac(dst) + mac(src) + tags + struct.pack("!H", ethertype) + payload
    return frame.ljust(60, b"\0") if pad else frame


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(
    src: str | bytes,
    dst: str | bytes,
    proto: int,
    payload: bytes,
    *,
    ident: int = 0,
    ttl: int = 64,
    frag_offset: int = 0,
    more_fragments: bool = False,
    options: bytes = b"",
    total_length: int | None = None,
) -> bytes:
    """IPv4 packet; ``frag_offset`` in octets (a multiple of 8); ``options`` in whole words."""
    header_len = 20 + len(options)
    length = header_len + len(payload) if total_length is None else total_length
    fragment = (0x2000 if more_fragments else 0) | frag_offset >> 3
    if not fragment:
        fragment = 0x4000  # do not fragment, as every modern stack sets it
    head = struct.pack("!BBHHHBB", 0x40 | header_len >> 2, 0, length, ident, fragment, ttl, proto)
    tail = ip(src) + ip(dst) + options
    return head + struct.pack("!H", checksum(head + b"\0\0" + tail)) + tail + payload


def ipv6(
    src: str | bytes, dst: str | bytes, next_header: int, payload: bytes, *, hop_limit: int = 64
) -> bytes:
    """IPv6 packet; extension headers, if any, are the caller's part of ``payload``."""
    return (
        struct.pack("!IHBB", 0x60000000, len(payload), next_header, hop_limit) + ip(src) + ip(dst) + payload
    )


def _transport_sum(src: str | bytes, dst: str | bytes, proto: int, segment: bytes) -> int:
    source, target = ip(src), ip(dst)
    if len(source) == 4:
        pseudo = source + target + struct.pack("!BBH", 0, proto, len(segment))
    else:
        pseudo = source + target + struct.pack("!II", len(segment), proto)
    return checksum(pseudo + segment)


def tcp(
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes = b"",
    *,
    window: int = 64240,
    options: bytes = b"",
    src: str | bytes | None = None,
    dst: str | bytes | None = None,
) -> bytes:
    """TCP segment; with ``src`` and ``dst`` addresses its checksum is filled in, else zero."""
    offset = 5 + (len(options) + 3) // 4
    head = struct.pack(
        "!HHIIBBH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, offset << 4, flags, window
    )
    tail = b"\0\0" + options.ljust((offset - 5) * 4, b"\0") + payload
    total = 0 if src is None or dst is None else _transport_sum(src, dst, 6, head + b"\0\0" + tail)
    return head + struct.pack("!H", total) + tail


def udp(
    sport: int,
    dport: int,
    payload: bytes,
    *,
    src: str | bytes | None = None,
    dst: str | bytes | None = None,
    length: int | None = None,
) -> bytes:
    """UDP datagram; with ``src`` and ``dst`` addresses its checksum is filled in, else zero."""
    head = struct.pack("!HHH", sport, dport, 8 + len(payload) if length is None else length)
    total = 0
    if src is not None and dst is not None:
        total = _transport_sum(src, dst, 17, head + b"\0\0" + payload) or 0xFFFF
    return head + struct.pack("!H", total) + payload


def lab_mac(address: str) -> str:
    """Locally administered MAC address that belongs to an IP address in a test."""
    return "02:" + ":".join(f"{octet:02x}" for octet in (b"\0" + ip(address))[-5:])


def ip_frame(src: str, dst: str, proto: int, payload: bytes, vlans: Sequence[Vlan | int] = ()) -> bytes:
    """Ethernet frame of an IPv4 or IPv6 packet between :func:`lab_mac` addresses."""
    if ":" in src:
        return eth(lab_mac(dst), lab_mac(src), ETH_IPV6, ipv6(src, dst, proto, payload), vlans)
    return eth(lab_mac(dst), lab_mac(src), ETH_IPV4, ipv4(src, dst, proto, payload), vlans)


def tcp_frame(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    seq: int,
    ack: int,
    flags: int,
    payload: bytes = b"",
    vlans: Sequence[Vlan | int] = (),
) -> bytes:
    """Whole TCP frame between two IP addresses, checksums right."""
    return ip_frame(src, dst, 6, tcp(sport, dport, seq, ack, flags, payload, src=src, dst=dst), vlans)


def udp_frame(
    src: str, dst: str, sport: int, dport: int, payload: bytes, vlans: Sequence[Vlan | int] = ()
) -> bytes:
    """Whole UDP frame between two IP addresses, checksums right."""
    return ip_frame(src, dst, 17, udp(sport, dport, payload, src=src, dst=dst), vlans)


def arp(operation: int, sender_mac: str, sender_ip: str, target_mac: str, target_ip: str) -> bytes:
    """ARP body for IPv4 over Ethernet; operation 1 asks, 2 answers."""
    fixed = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, operation)
    return fixed + mac(sender_mac) + ip(sender_ip) + mac(target_mac) + ip(target_ip)


class Talk:
    """One TCP connection whose sequence numbers are kept; frames collect in ``frames``.

    Parameters
    ----------
    client, server
        Addresses in text, IPv4 or IPv6.
    port
        The server's port.
    sport
        The client's port.
    vlans
        Tags on every frame.
    isn
        First sequence numbers of client and server (set near 2**32 to test wrap-around).
    """

    def __init__(
        self,
        client: str,
        server: str,
        port: int,
        sport: int = 40000,
        vlans: Sequence[Vlan | int] = (),
        isn: tuple[int, int] = (1000, 5000),
    ) -> None:
        self._ends = ((client, sport), (server, port))
        self._next = [isn[0], isn[1]]
        self._vlans = vlans
        self.frames: list[Stamped] = []

    def segment(self, ts: int, side: int, flags: int, data: bytes = b"", seq: int | None = None) -> None:
        """Add one segment of ``side`` (0 client, 1 server); ``seq`` set means: do not advance."""
        (src, sport), (dst, dport) = self._ends[side], self._ends[1 - side]
        at = self._next[side] if seq is None else seq
        ack = self._next[1 - side] if flags & ACK else 0
        self.frames.append((ts, tcp_frame(src, dst, sport, dport, at, ack, flags, data, self._vlans)))
        if seq is None:
            self._next[side] = (at + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF

    def open(self, ts: int, gap: int = 100_000) -> None:
        """Three-way handshake, ``gap`` ns between its frames."""
        self.segment(ts, 0, SYN)
        self.segment(ts + gap, 1, SYN | ACK)
        self.segment(ts + 2 * gap, 0, ACK)

    def client(self, ts: int, data: bytes) -> None:
        """Data from the client."""
        self.segment(ts, 0, PSH | ACK, data)

    def server(self, ts: int, data: bytes) -> None:
        """Data from the server."""
        self.segment(ts, 1, PSH | ACK, data)

    def ack(self, ts: int, side: int) -> None:
        """Bare acknowledgement."""
        self.segment(ts, side, ACK)

    def close(self, ts: int, gap: int = 100_000) -> None:
        """FIN from the client, FIN from the server, last ACK."""
        self.segment(ts, 0, FIN | ACK)
        self.segment(ts + gap, 1, FIN | ACK)
        self.segment(ts + 2 * gap, 0, ACK)

    def reset(self, ts: int, side: int = 0) -> None:
        """RST from one side."""
        self.segment(ts, side, RST | ACK)


# --- Modbus/TCP ---------------------------------------------------------------------------


def modbus_adu(tid: int, unit: int, pdu: bytes, *, protocol: int = 0, length: int | None = None) -> bytes:
    """MBAP header and PDU."""
    return struct.pack("!HHHB", tid, protocol, len(pdu) + 1 if length is None else length, unit) + pdu


def mb_read(function: int, address: int, count: int) -> bytes:
    """Request of FC 1-4."""
    return struct.pack("!BHH", function, address, count)


def mb_read_response(function: int, registers: Sequence[int]) -> bytes:
    """Response of FC 3, 4 (and 23)."""
    return struct.pack(f"!BB{len(registers)}H", function, 2 * len(registers), *registers)


def _pack_bits(bits: Sequence[bool | int]) -> bytes:
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bool(bit) << index % 8
    return bytes(packed)


def mb_bits_response(function: int, bits: Sequence[bool | int]) -> bytes:
    """Response of FC 1, 2; the first bit is the lowest of the first octet."""
    data = _pack_bits(bits)
    return bytes([function, len(data)]) + data


def mb_write_coil(address: int, on: bool) -> bytes:
    """FC 5, request and response."""
    return struct.pack("!BHH", 5, address, 0xFF00 if on else 0)


def mb_write_register(address: int, value: int) -> bytes:
    """FC 6, request and response."""
    return struct.pack("!BHH", 6, address, value)


def mb_write_coils(address: int, bits: Sequence[bool | int]) -> bytes:
    """FC 15 request."""
    data = _pack_bits(bits)
    return struct.pack("!BHHB", 15, address, len(bits), len(data)) + data


def mb_write_registers(address: int, registers: Sequence[int]) -> bytes:
    """FC 16 request."""
    count = len(registers)
    return struct.pack(f"!BHHB{count}H", 16, address, count, 2 * count, *registers)


def mb_write_response(function: int, address: int, count: int) -> bytes:
    """Response of FC 15, 16."""
    return struct.pack("!BHH", function, address, count)


def mb_read_write(read: int, read_count: int, write: int, registers: Sequence[int]) -> bytes:
    """FC 23 request."""
    count = len(registers)
    return struct.pack(f"!BHHHHB{count}H", 23, read, read_count, write, count, 2 * count, *registers)


def mb_device_id(code: int = 1, object_id: int = 0) -> bytes:
    """FC 43 / MEI 14 request."""
    return bytes([43, 14, code, object_id])


def mb_device_id_response(objects: Sequence[tuple[int, bytes]], code: int = 1, conformity: int = 1) -> bytes:
    """FC 43 / MEI 14 response with everything in one answer."""
    head = bytes([43, 14, code, conformity, 0, 0, len(objects)])
    return head + b"".join(bytes([number, len(text)]) + text for number, text in objects)


def mb_exception(function: int, code: int) -> bytes:
    """Exception response."""
    return bytes([function | 0x80, code])


# --- IEC 60870-5-104 ----------------------------------------------------------------------

STARTDT_ACT, STARTDT_CON, STOPDT_ACT, STOPDT_CON, TESTFR_ACT, TESTFR_CON = 1, 2, 4, 8, 16, 32


def _apdu(control: bytes, body: bytes, length: int | None) -> bytes:
    return bytes([0x68, (len(body) + 4 if length is None else length) & 0xFF]) + control + body


def apci_i(ns: int, nr: int, body: bytes, *, length: int | None = None) -> bytes:
    """I-format APDU: N(S), N(R) and the ASDU."""
    return _apdu(struct.pack("<HH", ns << 1 & 0xFFFE, nr << 1 & 0xFFFE), body, length)


def apci_s(nr: int) -> bytes:
    """S-format APDU."""
    return _apdu(struct.pack("<HH", 1, nr << 1 & 0xFFFE), b"", None)


def apci_u(function: int) -> bytes:
    """U-format APDU; ``function`` one of STARTDT_ACT ... TESTFR_CON."""
    return _apdu(bytes([function << 2 | 3, 0, 0, 0]), b"", None)


def asdu(
    typeid: int,
    cot: int,
    ca: int,
    objects: Sequence[tuple[int, bytes]],
    *,
    sq: bool = False,
    oa: int = 0,
    test: bool = False,
    negative: bool = False,
    count: int | None = None,
) -> bytes:
    """ASDU with the sizes of -104 (COT 2, CA 2, IOA 3 octets).

    ``objects`` are (IOA, element octets); with ``sq`` only the first IOA is written.
    """
    qualifier = (len(objects) if count is None else count) | (0x80 if sq else 0)
    cause = cot | (0x40 if negative else 0) | (0x80 if test else 0)
    parts = [struct.pack("<BBBBH", typeid, qualifier, cause, oa, ca)]
    for index, (ioa, element) in enumerate(objects):
        parts.append((b"" if sq and index else ioa.to_bytes(3, "little")) + element)
    return b"".join(parts)


def cp56(ts_ns: int, *, invalid: bool = False) -> bytes:
    """CP56Time2a of a UTC instant."""
    when = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    ms = when.second * 1000 + ts_ns // 1_000_000 % 1000
    day = when.day | when.isoweekday() << 5
    minute = when.minute | (0x80 if invalid else 0)
    return struct.pack("<HBBBBB", ms, minute, when.hour, day, when.month, when.year % 100)


def e_single(on: bool, quality: int = 0) -> bytes:
    """SIQ: types 1, 30 (with :func:`cp56` behind it)."""
    return bytes([int(on) | quality])


def e_double(state: int, quality: int = 0) -> bytes:
    """DIQ: types 3, 31; state 0 moving, 1 off, 2 on, 3 faulty."""
    return bytes([state | quality])


def e_normalised(value: float, quality: int = 0) -> bytes:
    """NVA + QDS: types 9, 34; value in [-1, 1)."""
    return struct.pack("<hB", max(-32768, min(32767, round(value * 32768))), quality)


def e_scaled(value: int, quality: int = 0) -> bytes:
    """SVA + QDS: types 11, 35."""
    return struct.pack("<hB", value, quality)


def e_float(value: float, quality: int = 0) -> bytes:
    """R32 + QDS: types 13, 36."""
    return struct.pack("<fB", value, quality)


def e_counter(value: int, sequence: int = 0) -> bytes:
    """BCR: types 15, 37."""
    return struct.pack("<iB", value, sequence)


def e_single_command(on: bool, select: bool = False, qualifier: int = 0) -> bytes:
    """SCO: types 45, 58."""
    return bytes([int(on) | qualifier << 2 | (0x80 if select else 0)])


def e_double_command(state: int, select: bool = False, qualifier: int = 0) -> bytes:
    """DCO and RCO: types 46, 47, 59, 60; state 1 off/lower, 2 on/higher."""
    return bytes([state | qualifier << 2 | (0x80 if select else 0)])


def e_setpoint_float(value: float, select: bool = False) -> bytes:
    """R32 + QOS: types 50, 63."""
    return struct.pack("<fB", value, 0x80 if select else 0)


def e_interrogation(qoi: int = 20) -> bytes:
    """QOI: type 100."""
    return bytes([qoi])


# --- GOOSE --------------------------------------------------------------------------------


def ber(tag: int, content: bytes) -> bytes:
    """Definite-length BER element with a one-octet tag."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _signed(value: int) -> bytes:
    return value.to_bytes(
        (value.bit_length() + 8) // 8 if value >= 0 else ((value + 1).bit_length() + 8) // 8,
        "big",
        signed=True,
    )


def g_bool(value: bool) -> bytes:
    """Boolean entry."""
    return ber(0x83, b"\x01" if value else b"\x00")


def g_bits(bits: str) -> bytes:
    """Bit-string entry from text such as ``"10"`` (dbpos on) or a 13-bit quality."""
    padding = -len(bits) % 8
    body = int((bits + "0" * padding) or "0", 2).to_bytes((len(bits) + padding) // 8, "big")
    return ber(0x84, bytes([padding]) + body)


def g_dbpos(state: int) -> bytes:
    """Double-point position: 0 intermediate, 1 off, 2 on, 3 bad."""
    return g_bits(f"{state:02b}")


def g_quality(*, invalid: bool = False, test: bool = False) -> bytes:
    """Quality of IEC 61850-7-3: 13 bits, validity in the first two, test the twelfth."""
    return g_bits(("01" if invalid else "00") + "0" * 9 + ("1" if test else "0") + "0")


def g_int(value: int) -> bytes:
    """Integer entry, shortest form."""
    return ber(0x85, _signed(value))


def g_uint(value: int) -> bytes:
    """Unsigned entry, shortest form."""
    return ber(0x86, _signed(value))


def g_float(value: float) -> bytes:
    """FLOAT32 entry (exponent width 8 in front)."""
    return ber(0x87, b"\x08" + struct.pack("!f", value))


def g_octets(value: bytes) -> bytes:
    """Octet-string entry."""
    return ber(0x89, value)


def g_text(value: str) -> bytes:
    """Visible-string entry."""
    return ber(0x8A, value.encode("ascii"))


def g_time(ts_ns: int, quality: int = 0x0A) -> bytes:
    """UTC-time entry: seconds, 24 bits of fraction, time quality."""
    return ber(0x91, utc_time(ts_ns, quality))


def g_struct(entries: Sequence[bytes]) -> bytes:
    """Structure entry."""
    return ber(0xA2, b"".join(entries))


def g_array(entries: Sequence[bytes]) -> bytes:
    """Array entry."""
    return ber(0xA1, b"".join(entries))


def utc_time(ts_ns: int, quality: int = 0x0A) -> bytes:
    """Eight octets of an MMS UTC time."""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return struct.pack("!II", seconds, (rest << 24) // 1_000_000_000 << 8 | quality)


def goose_pdu(
    gocb_ref: str,
    tal_ms: int,
    dataset: str,
    go_id: str,
    t_ns: int,
    st_num: int,
    sq_num: int,
    entries: Sequence[bytes],
    *,
    conf_rev: int = 1,
    simulation: bool = False,
    nds_com: bool = False,
    count: int | None = None,
) -> bytes:
    """IECGoosePdu; ``entries`` are whole elements made with ``g_...``."""
    return ber(
        0x61,
        b"".join(
            (
                ber(0x80, gocb_ref.encode("ascii")),
                ber(0x81, _signed(tal_ms)),
                ber(0x82, dataset.encode("ascii")),
                ber(0x83, go_id.encode("ascii")),
                ber(0x84, utc_time(t_ns)),
                ber(0x85, _signed(st_num)),
                ber(0x86, _signed(sq_num)),
                ber(0x87, b"\x01" if simulation else b"\x00"),
                ber(0x88, _signed(conf_rev)),
                ber(0x89, b"\x01" if nds_com else b"\x00"),
                ber(0x8A, _signed(len(entries) if count is None else count)),
                ber(0xAB, b"".join(entries)),
            )
        ),
    )


def goose_frame(
    dst: str | bytes,
    src: str | bytes,
    appid: int,
    pdu: bytes,
    *,
    vlan: int | None = 0,
    pcp: int = 4,
    simulation: bool = False,
    length: int | None = None,
) -> bytes:
    """Ethernet frame of a GOOSE PDU; ``vlan=None`` leaves the tag out (0 is a priority tag)."""
    size = 8 + len(pdu) if length is None else length
    head = struct.pack("!HHHH", appid, size, 0x8000 if simulation else 0, 0)
    return eth(dst, src, ETH_GOOSE, head + pdu, () if vlan is None else (Vlan(vlan, pcp),), pad=True)


# --- Capture files ------------------------------------------------------------------------


def pcap_bytes(
    frames: Iterable[Stamped],
    nanos: bool = True,
    little: bool = True,
    *,
    linktype: int = 1,
    snaplen: int = 262144,
) -> bytes:
    """Classic pcap file as bytes; frames longer than ``snaplen`` are cut, as a capture would."""
    order = "<" if little else ">"
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nanos else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)]
    for ts, frame in frames:
        seconds, rest = divmod(ts, 1_000_000_000)
        part = rest if nanos else rest // 1000
        kept = frame[:snaplen]
        out.append(struct.pack(order + "IIII", seconds, part, len(kept), len(frame)) + kept)
    return b"".join(out)


def pcapng_bytes(
    frames: Iterable[Stamped | tuple[int, bytes, int]],
    little: bool = True,
    *,
    linktypes: Sequence[int] = (1,),
    tsresol: int = 9,
) -> bytes:
    """Pcapng file as bytes; a third item in a frame names its interface (0-based)."""
    order = "<" if little else ">"

    def block(kind: int, body: bytes) -> bytes:
        body += b"\0" * (-len(body) % 4)
        size = struct.pack(order + "I", len(body) + 12)
        return struct.pack(order + "I", kind) + size + body + size

    out = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    option = struct.pack(order + "HHB3xHH", 9, 1, tsresol, 0, 0)
    out += [block(1, struct.pack(order + "HHI", link, 0, 0) + option) for link in linktypes]
    for item in frames:
        ts, frame = item[0], item[1]
        units = ts * 10**tsresol // 10**9
        interface = item[2] if len(item) == 3 else 0
        head = struct.pack(
            order + "IIIII", interface, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame)
        )
        out.append(block(6, head + frame))
    return b"".join(out)


def _save(path: str | Path, data: bytes) -> None:
    target = Path(path)
    if target.suffix == ".gz":
        data = gzip.compress(data, 9, mtime=0)  # no time of day inside: same frames, same file
    target.write_bytes(data)


def write_pcap(
    path: str | Path,
    frames: Iterable[Stamped],
    nanos: bool = True,
    little: bool = True,
    *,
    linktype: int = 1,
    snaplen: int = 262144,
) -> None:
    """Write a classic pcap file; a name that ends in ``.gz`` is compressed."""
    _save(path, pcap_bytes(frames, nanos, little, linktype=linktype, snaplen=snaplen))


def write_pcapng(
    path: str | Path,
    frames: Iterable[Stamped | tuple[int, bytes, int]],
    little: bool = True,
    *,
    linktypes: Sequence[int] = (1,),
    tsresol: int = 9,
) -> None:
    """Write a pcapng file; a name that ends in ``.gz`` is compressed."""
    _save(path, pcapng_bytes(frames, little, linktypes=linktypes, tsresol=tsresol))
