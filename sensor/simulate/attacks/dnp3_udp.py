"""Attacks on DNP3 over UDP (IEEE 1815-2012, 13): no connection to hijack, a source address is enough."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from sensor.simulate.attacks import common, fragments
from sensor.simulate.build import dnp3 as d
from sensor.simulate.build import net
from sensor.simulate.packets import Packet, rebuilt
from sensor.simulate.registry import attack
from sensor.simulate.scene import text
from sensor.simulate.stage import MS, SECOND, NotOffered, Stage

PORT = 20000
NEEDS = "DNP3 datagrams (UDP port 20000) of a master and an outstation"
DIRECT_OPERATE = 5
FROM_MASTER = 0x80


@dataclass(slots=True)
class Outstation:
    """A pair of hosts that speak DNP3 over UDP: rows of each side's datagrams, link addresses."""

    master: int
    address: int
    asks: list[int] = field(default_factory=list)
    tells: list[int] = field(default_factory=list)


def outstation(stage: Stage) -> Outstation:
    """The busiest outstation in the time of the attack."""
    found: dict[tuple[bytes, bytes], Outstation] = {}
    for row in stage.scene.datagrams.get(PORT, []):
        packet = stage.scene.packets[row]
        body = packet.payload
        if len(body) < fragments.HEADER or body[:2] != fragments.START:
            continue
        target, source = struct.unpack_from("<HH", body, 4)
        if body[3] & FROM_MASTER:
            key = packet.src, packet.dst
            found.setdefault(key, Outstation(source, target)).asks.append(row)
        elif (packet.dst, packet.src) in found:
            found[packet.dst, packet.src].tells.append(row)
    ranked = sorted(found.values(), key=lambda one: -len(stage.rows(one.tells)))
    if not ranked or not stage.rows(ranked[0].tells):
        raise NotOffered(NEEDS)
    return ranked[0]


def _operate(found: Outstation, index: int, seq: int) -> tuple[bytes, bytes]:
    """Direct operate of an output, and its response."""
    objects = d.indexed(12, 1, (index, d.crob(0x41)))
    request = d.request(DIRECT_OPERATE, objects, seq=seq, dst=found.address, src=found.master)
    return request, d.response(objects, seq=seq, dst=found.master, src=found.address)


def _ends(stage: Stage, found: Outstation) -> tuple[Packet, Packet]:
    """A datagram of the master and one of the outstation."""
    return stage.scene.packets[found.asks[0]], stage.scene.packets[found.tells[0]]


@attack(
    "dnp3-udp-operate-stranger", "rogue", "T0848", "A new host operates one output after the other", NEEDS
)
def operate_stranger(stage: Stage) -> None:
    found = outstation(stage)
    ask, tell = _ends(stage, found)
    host, near = text(tell.src), tell.source
    intruder = stage.intruder(tell.src)
    stage.meet(intruder, tell.src, stage.begin)
    forth, back = (intruder.mac, near), (near, intruder.mac)
    for index, ts in zip(range(1, 10), stage.times(9, 1.0), strict=True):
        request, answer = _operate(found, index, index)
        frame = net.udp_frame(intruder.ip, host, PORT, ask.dport, request, macs=forth)
        stage.inject(ts + 2 * MS, frame)
        frame = net.udp_frame(host, intruder.ip, ask.dport, PORT, answer, macs=back)
        stage.inject(ts + 6 * MS, frame)
    stage.label(intruder.ip, tell.src, "a new host operates outputs 1 to 9")


@attack(
    "dnp3-udp-operate-master", "command", "T0855", "A forged datagram of the master trips an output", NEEDS
)
def operate_master(stage: Stage) -> None:
    found = outstation(stage)
    ask, tell = _ends(stage, found)
    request, answer = _operate(found, 66, 7)
    for template, body, ts in ((ask, request, stage.begin), (tell, answer, stage.begin + 4 * MS)):
        stage.inject(ts, rebuilt(template, ts=ts, body=body, fresh=True).data)
    stage.label(ask.src, tell.src, "direct operate of binary output 66")


@attack(
    "dnp3-udp-value-shift", "middle", "T0832", "Analog inputs are raised by two fifths in flight", NEEDS, 180
)
def value_shift(stage: Stage) -> None:
    found, changed = outstation(stage), 0
    for row in stage.rows(found.tells):
        payload = stage.packet(row).payload
        body = fragments.with_numbers(payload, lambda _, value: value * common.RAISED)
        changed += body != payload
        stage.rewrite(row, body)
    if not changed:
        raise NotOffered("analog inputs in datagrams during the attack")
    ask, tell = _ends(stage, found)
    stage.label(tell.src, ask.src, "analog inputs × 1.4 in flight")


@attack("dnp3-udp-flood", "flood", "T0814", "A new host sends class polls without waiting", NEEDS, 10)
def flood(stage: Stage) -> None:
    found = outstation(stage)
    ask, tell = _ends(stage, found)
    intruder = stage.intruder(tell.src)
    macs, ts = (intruder.mac, tell.source), stage.begin
    for number in range(1_000):
        body = d.request(1, d.everything(60, 1), seq=number & 15, dst=found.address, src=found.master)
        stage.inject(ts, net.udp_frame(intruder.ip, text(tell.src), PORT, ask.dport, body, macs=macs))
        ts += round(SECOND / 100 * stage.random.uniform(0.6, 1.4))
        if ts >= stage.until:
            break
    stage.label(intruder.ip, tell.src, "a new host floods the outstation with reads")


@attack("dnp3-udp-suppress", "suppression", "T0815", "What the outstation answers never arrives", NEEDS)
def suppress(stage: Stage) -> None:
    found = outstation(stage)
    for row in stage.rows(found.tells):
        stage.drop(row)
    ask, tell = _ends(stage, found)
    stage.label(tell.src, ask.src, "the outstation's datagrams are taken out")
