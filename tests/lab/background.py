"""Background of every control network: NTP, DNS and SNMP between real UDP sockets."""

from __future__ import annotations

import socket
import struct
import threading

from tests.lab.frames import ber
from tests.lab.scenario import Scenario
from tests.lab.station import NODES, Clock

NTP_EPOCH = 2_208_988_800
SYS_UPTIME = bytes([0x2B, 6, 1, 2, 1, 1, 3, 0])
NTP_PERIOD_S = {"cc": 128.0, "scada": 128.0, "rtu1": 256.0, "rtu2": 256.0, "rtu3": 256.0}
DNS_PERIOD_S, SNMP_PERIOD_S = 300.0, 60.0


def ntp_time(ns: int) -> bytes:
    """64-bit NTP timestamp."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return struct.pack("!II", (seconds + NTP_EPOCH) & 0xFFFFFFFF, (rest << 32) // 1_000_000_000)


def ntp_request(ns: int) -> bytes:
    """Client request, version 4."""
    return bytes([0x23, 0, 7, 0xEC]) + b"\0" * 36 + ntp_time(ns)


def ntp_reply(request: bytes, ns: int) -> bytes:
    """Answer of a stratum 1 server."""
    head = bytes([0x24, 1, 7, 0xEC]) + struct.pack("!II4s", 0, 0x20, b"GPS\0") + ntp_time(ns - ns % 10**9)
    return head + request[40:48] + ntp_time(ns) + ntp_time(ns + 20_000)


def dns_query(ident: int, name: str) -> bytes:
    """Query for an A record."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def dns_reply(query: bytes, address: str) -> bytes:
    """Answer with one A record."""
    record = struct.pack("!HHHIH", 0xC00C, 1, 1, 3600, 4) + socket.inet_aton(address)
    return query[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0) + query[12:] + record


def snmp(pdu_tag: int, request_id: int, value: bytes) -> bytes:
    """SNMPv2c message about sysUpTime."""
    binding = ber(0x30, ber(0x30, ber(6, SYS_UPTIME) + value))
    body = ber(2, request_id.to_bytes(4, "big")) + ber(2, b"\0") + ber(2, b"\0") + binding
    return ber(0x30, ber(2, b"\1") + ber(4, b"public") + ber(pdu_tag, body))


def _answer(port: int, clock: Clock) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NODES["gateway"], port))
    while True:
        request, peer = server.recvfrom(1024)
        if port == 123:
            reply = ntp_reply(request, clock.ns())
        elif port == 53:
            reply = dns_reply(request, NODES["scada"])
        else:
            ticks = max(0, round(clock.now() * 100)) + 86_400_00
            # the request id sits behind its tag and length at a fixed place in our own requests
            at = request.index(b"\xa0") + 4
            reply = snmp(
                0xA2, int.from_bytes(request[at : at + 4], "big"), ber(0x43, ticks.to_bytes(4, "big"))
            )
        server.sendto(reply, peer)


def run_gateway(role: str, scenario: Scenario, clock: Clock) -> None:
    """Serve NTP, DNS and SNMP until the scenario ends."""
    for port in (123, 53, 161):
        threading.Thread(target=_answer, args=(port, clock), daemon=True).start()
    clock.sleep_until(scenario.duration + 20)


def _ask(port: int, request: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.sendto(request, (NODES["gateway"], port))
        try:
            client.recv(1024)
        except TimeoutError:
            return


def run_client(node: str, scenario: Scenario, clock: Clock) -> None:
    """Ask for time; the SCADA host also for a name, the control centre for the switch's uptime."""
    jobs = [(20.0 + 7 * list(NODES).index(node), 123, NTP_PERIOD_S[node])]
    if node == "scada":
        jobs.append((40.0, 53, DNS_PERIOD_S))
    if node == "cc":
        jobs.append((15.0, 161, SNMP_PERIOD_S))
    serial = 0
    while clock.now() < scenario.duration + 10:
        due, port, period = min(jobs)
        jobs.remove((due, port, period))
        jobs.append((due + period, port, period))
        clock.sleep_until(due)
        serial += 1
        if port == 123:
            _ask(port, ntp_request(clock.ns()))
        elif port == 53:
            _ask(port, dns_query(0x4000 + serial, "historian.station.example"))
        else:
            _ask(port, snmp(0xA0, 0x10000000 + serial, ber(5, b"")))
