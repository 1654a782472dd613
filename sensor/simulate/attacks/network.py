"""Attacks below and beside the protocols of the plant: ARP, port scans, SYN floods, discovery broadcasts."""

from __future__ import annotations

from sensor.simulate.build import net
from sensor.simulate.registry import attack
from sensor.simulate.scene import Connection, text
from sensor.simulate.stage import MS, NotOffered, Stage, tagged

NEEDS = "an IPv4 host with a TCP service"
ZERO = "00:00:00:00:00:00"
PORTS = (21, 22, 23, 80, 102, 443, 445, 502, 1883, 2404, 3389, 4840, 20000, 44818, 47808, 34964)


def _talk(stage: Stage) -> Connection:
    """The connection over IPv4 with the most packets in the time of the attack."""
    talks = [talk for talk in stage.scene.connections.values() if len(talk.server) == 4]
    ranked = sorted(talks, key=lambda talk: (-len(stage.rows(talk.rows)), talk.key))
    if not ranked:
        raise NotOffered(NEEDS)
    return ranked[0]


@attack(
    "arp-spoof",
    "middle",
    "T0830",
    "A new host answers for master and device: it wants to sit between them",
    NEEDS,
    60,
)
def arp_spoof(stage: Stage) -> None:
    talk = _talk(stage)
    intruder = stage.intruder(talk.server)
    ends = (talk.client, talk.server)
    for ts in stage.times(30, 2.0):
        for victim, claimed in (ends, ends[::-1]):
            mac = stage.scene.hosts.get(victim, b"\xff" * 6)
            body = net.arp(2, intruder.mac.hex(":"), text(claimed), mac.hex(":"), text(victim))
            stage.inject(ts, tagged(mac, intruder.mac, net.ETH_ARP, body))
    stage.label(
        f"{intruder.mac.hex(':')};{text(talk.client)}", talk.server, "ARP answers in the name of both ends"
    )


@attack("arp-scan", "scan", "T0846", "A new host asks for every address of the network", NEEDS, 30)
def arp_scan(stage: Stage) -> None:
    talk = _talk(stage)
    intruder = stage.intruder(talk.server)
    hosts = stage.scene.hosts
    for octet, ts in zip(range(1, 255), stage.times(254, 0.05), strict=True):
        target = talk.server[:3] + bytes([octet])
        body = net.arp(1, intruder.mac.hex(":"), intruder.ip, ZERO, text(target))
        stage.inject(ts, tagged("ff:ff:ff:ff:ff:ff", intruder.mac, net.ETH_ARP, body))
        if target in hosts:
            answer = net.arp(2, hosts[target].hex(":"), text(target), intruder.mac.hex(":"), intruder.ip)
            stage.inject(ts + MS, tagged(intruder.mac, hosts[target], net.ETH_ARP, answer))
    stage.label(f"{intruder.mac.hex(':')};{intruder.ip}", "", "ARP requests for 254 addresses")


def _syn(stage: Stage, source: str, mac: bytes, host: bytes, port: int, ts: int, answered: bool) -> None:
    """A SYN and what a host answers: SYN and ACK from an open port, RST from a closed one."""
    sport, seq = stage.random.randrange(32_768, 61_000), stage.random.getrandbits(32)
    target = stage.scene.hosts[host]
    forth, back = (mac, target), (target, mac)
    stage.inject(ts, net.tcp_frame(source, text(host), sport, port, seq, 0, net.SYN, macs=forth))
    is_open = any(talk.server == host and talk.port == port for talk in stage.scene.connections.values())
    if not answered:
        return
    if not is_open:
        flags = net.RST | net.ACK
        stage.inject(ts + MS, net.tcp_frame(text(host), source, port, sport, 0, seq + 1, flags, macs=back))
        return
    isn = stage.random.getrandbits(32)
    flags = net.SYN | net.ACK
    stage.inject(ts + MS, net.tcp_frame(text(host), source, port, sport, isn, seq + 1, flags, macs=back))
    stage.inject(ts + 2 * MS, net.tcp_frame(source, text(host), sport, port, seq + 1, 0, net.RST, macs=forth))


@attack("tcp-scan", "scan", "T0846", "A new host knocks at the usual ports of several devices", NEEDS, 60)
def tcp_scan(stage: Stage) -> None:
    talk = _talk(stage)
    intruder = stage.intruder(talk.server)
    servers = sorted({t.server for t in stage.scene.connections.values() if t.server in stage.scene.hosts})
    targets = [(host, port) for host in servers[:8] if len(host) == 4 for port in PORTS]
    for (host, port), ts in zip(targets, stage.times(len(targets), 0.2), strict=True):
        if port == PORTS[0]:
            stage.meet(intruder, host, ts)
        _syn(stage, intruder.ip, intruder.mac, host, port, ts + MS, True)
    stage.label(intruder.ip, ";".join(text(host) for host in servers[:8]), "SYN scan of usual ports")


@attack("tcp-syn-flood", "flood", "T0814", "Half-open connections from invented addresses", NEEDS, 10)
def syn_flood(stage: Stage) -> None:
    talk = _talk(stage)
    intruder = stage.intruder(talk.server)
    for ts in stage.times(2_000, 0.005):
        source = text(bytes([10, 66, stage.random.randrange(256), stage.random.randrange(1, 255)]))
        _syn(stage, source, intruder.mac, talk.server, talk.port, ts, False)
    stage.label(intruder.mac, talk.server, f"SYN flood on port {talk.port}")


def _broadcast(stage: Stage, port: int, payload: bytes, what: str) -> None:
    """A discovery datagram of a new host to everybody, a few times."""
    talk = _talk(stage)
    intruder = stage.intruder(talk.server)
    target = text(talk.server[:3] + b"\xff")
    for ts in stage.times(3, 2.0):
        macs = (intruder.mac, b"\xff" * 6)
        stage.inject(ts, net.udp_frame(intruder.ip, target, port, port, payload, macs=macs))
    stage.label(intruder.ip, target, what)


@attack(
    "enip-list-identity",
    "scan",
    "T0846",
    "A new host asks every EtherNet/IP device who it is (ListIdentity)",
    NEEDS,
    10,
)
def list_identity(stage: Stage) -> None:
    _broadcast(stage, 44_818, b"\x63\x00" + bytes(22), "ListIdentity to everybody")


@attack("bacnet-who-is", "scan", "T0846", "A new host asks every BACnet device who it is (Who-Is)", NEEDS, 10)
def who_is(stage: Stage) -> None:
    _broadcast(stage, 47_808, bytes.fromhex("810b000c0120ffff00ff1008"), "Who-Is to everybody")


@attack(
    "profinet-identify",
    "scan",
    "T0846",
    "A new host asks every PROFINET station who it is (DCP Identify All)",
    NEEDS,
    10,
)
def identify(stage: Stage) -> None:
    intruder = stage.intruder(_talk(stage).server)
    for number, ts in enumerate(stage.times(3, 2.0), 1):
        body = bytes.fromhex("fefe0500") + number.to_bytes(4, "big") + bytes.fromhex("00ff0004ffff0000")
        stage.inject(ts, tagged("01:0e:cf:00:00:00", intruder.mac, 0x8892, body))
    stage.label(intruder.mac, "01:0e:cf:00:00:00", "DCP Identify All")
