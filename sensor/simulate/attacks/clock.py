"""Attacks on time: NTP (RFC 5905) and PTP (IEEE 1588-2008)."""

from __future__ import annotations

import struct

from sensor.simulate.build import net
from sensor.simulate.build.bus import ANNOUNCE, ETH_PTP, SYNC, ptp, ptp_announce
from sensor.simulate.packets import rebuilt
from sensor.simulate.registry import attack
from sensor.simulate.scene import text
from sensor.simulate.stage import MS, NotOffered, Stage, ip_mac, tagged

NTP, SERVER = 123, 4
NTP_NEEDS, PTP_NEEDS = "NTP answers (mode 4)", "a PTP clock on Ethernet"
ROGUE = bytes.fromhex("02000afffe666666")


def _answers(stage: Stage, everywhere: bool = False) -> list[int]:
    """Rows of NTP answers, in the time of the attack or in the whole capture."""
    rows = stage.scene.datagrams.get(NTP, [])
    found = [
        row
        for row in (rows if everywhere else stage.rows(rows))
        if stage.packet(row).sport == NTP
        and stage.packet(row).size >= 48
        and stage.packet(row).payload[0] & 7 == SERVER
    ]
    if not found:
        raise NotOffered(NTP_NEEDS)
    return found


@attack(
    "ntp-shift",
    "time",
    "T0856",
    "The time server's answers are set back by an hour in flight",
    NTP_NEEDS,
    600,
)
def ntp_shift(stage: Stage) -> None:
    rows = _answers(stage)
    server = stage.packet(rows[0]).src
    for row in rows:
        packet = stage.packet(row)
        body = bytearray(packet.payload)
        for at in (16, 32, 40):  # reference, receive, transmit
            (seconds,) = struct.unpack_from("!I", body, at)
            struct.pack_into("!I", body, at, (seconds - 3600) & 0xFFFFFFFF)
        stage.replace(row, rebuilt(packet, body=bytes(body)))
    stage.label(server, stage.packet(rows[0]).dst, "NTP answers one hour back in flight")


@attack(
    "ntp-second-server", "time", "T0848", "A new host answers NTP clients with another time", NTP_NEEDS, 120
)
def ntp_second(stage: Stage) -> None:
    rows = _answers(stage, everywhere=True)
    template = stage.scene.packets[rows[0]]
    intruder = stage.intruder(template.dst)
    for ts in stage.times(8, 8.0):
        body = bytearray(template.payload[:48])
        for at in (16, 32, 40):
            (seconds,) = struct.unpack_from("!I", body, at)
            struct.pack_into("!I", body, at, (seconds - 7200) & 0xFFFFFFFF)
        macs = (intruder.mac, stage.scene.hosts.get(template.dst, b"\xff" * 6))
        frame = net.udp_frame(intruder.ip, text(template.dst), NTP, template.dport, bytes(body), macs=macs)
        stage.inject(ts, frame)
    stage.label(intruder.ip, template.dst, "NTP answers of a host that was never a time server")


@attack(
    "ptp-second-grandmaster",
    "time",
    "T0848",
    "A second grandmaster announces itself as the better clock",
    PTP_NEEDS,
    10,
)
def ptp_second(stage: Stage) -> None:
    if not stage.scene.layer2.get(ETH_PTP):
        raise NotOffered(PTP_NEEDS)
    template = stage.scene.packets[stage.scene.layer2[ETH_PTP][0]]
    source, domain = ip_mac("10.66.66.69"), template.content[4] if len(template.content) > 4 else 0
    tags = template.data[12 : template.net - 2]
    body = ptp_announce(grandmaster=ROGUE, priority1=1, clock_class=6, steps=0)
    for seq, ts in enumerate(stage.times(10, 1.0)):
        announce = ptp(ANNOUNCE, body, clock=ROGUE, seq=seq, domain=domain)
        stage.inject(ts, tagged("01:1b:19:00:00:00", source, ETH_PTP, announce, tags))
        sync = ptp(SYNC, bytes(10), clock=ROGUE, seq=seq, domain=domain)
        stage.inject(ts + MS, tagged("01:1b:19:00:00:00", source, ETH_PTP, sync, tags))
    stage.label(source, "01:1b:19:00:00:00", "Announce with priority 1 from a new clock")
