"""GOOSE publishers: our own frames on a raw socket, with the retransmission curve."""

from __future__ import annotations

import contextlib
import os
import socket

from tests.lab.frames import (
    ETH_GOOSE,
    g_bool,
    g_dbpos,
    g_float,
    g_int,
    g_quality,
    g_text,
    g_time,
    g_uint,
    goose_frame,
    goose_pdu,
)
from tests.lab.scenario import Scenario
from tests.lab.station import GOOSE_VLAN, MACS, PUBLISHERS, Clock, Plant

FIRST_REPEAT_S = 0.004
"""After a change: 4, 8, 16 … ms, until the heartbeat is reached."""

WATCHED = {
    "ied1": ("q1", "tap"),
    "ied2": ("trip", "f1"),
    "ied3": ("q1", "f1", "f2", "f3", "e1"),
}


def raw_socket(interface: str = "eth0") -> socket.socket:
    """Socket that sends whole Ethernet frames."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.bind((interface, 0))
    return raw


def listening_socket(interface: str = "eth0") -> socket.socket:
    """Socket that receives GOOSE frames (their VLAN tag is already off)."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_GOOSE))
    raw.bind((interface, ETH_GOOSE))
    return raw


def dataset(ied: str, plant: Plant, t: float, changed_ns: int, count: int) -> list[bytes]:
    """Entries of a control block; analogues keep the value they had at the last change."""
    if ied == "ied1":
        return [
            g_bool(False), g_quality(), g_dbpos(plant.state("q1", t)), g_quality(),
            g_int(plant.state("tap", t)), g_float(round(plant.power(t), 3)), g_time(changed_ns),
        ]  # fmt: skip
    if ied == "ied2":
        return [
            g_bool(bool(plant.state("trip", t))), g_quality(), g_dbpos(plant.state("f1", t)), g_quality(),
            g_float(round(plant.feeder_current(t, "f1"), 1)), g_uint(count), g_time(changed_ns),
        ]  # fmt: skip
    positions = [part for name in WATCHED[ied] for part in (g_dbpos(plant.state(name, t)), g_quality())]
    return [*positions, g_text("REMOTE"), g_uint(count)]


class Sender:
    """State of one running publisher: counters, data, time of the last change."""

    def __init__(self, ied: str, scenario: Scenario, clock: Clock) -> None:
        self.ied, self.clock, self.plant = ied, clock, Plant(scenario.operations)
        self.block = PUBLISHERS[ied]
        self.socket = raw_socket()
        self.st_num, self.sq_num, self.interval = 0, 0, self.block.heartbeat_s
        self.state: tuple[int, ...] = ()
        self.changed_ns, self.entries, self.operations = 0, [b""], 0

    def refresh(self, t: float) -> bool:
        """Whether a watched apparatus changed; then counters and data are new."""
        state = tuple(self.plant.state(name, t) for name in WATCHED[self.ied])
        if state == self.state:
            return False
        self.operations += 1
        self.state, self.changed_ns = state, self.clock.ns()
        self.entries = dataset(self.ied, self.plant, t, self.changed_ns, self.operations)
        self.st_num, self.sq_num, self.interval = self.st_num + 1, 0, FIRST_REPEAT_S
        return True

    def send(self) -> None:
        """Publish the present state once."""
        block = self.block
        pdu = goose_pdu(
            block.ref, block.tal_ms, block.dataset, block.go_id, self.changed_ns, self.st_num, self.sq_num,
            self.entries,
        )  # fmt: skip
        frame = goose_frame(block.group, MACS[self.ied], block.appid, pdu, vlan=GOOSE_VLAN, pcp=4)
        self.socket.send(frame)
        self.sq_num += 1

    def restart(self) -> None:
        """Power cycle: counters start again."""
        self.st_num, self.state, self.operations = 0, (), 0


def run(ied: str, scenario: Scenario, clock: Clock) -> None:
    """Publish until the scenario ends."""
    with contextlib.suppress(OSError):  # a real-time priority keeps the curve sharp where it is allowed
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    sender = Sender(ied, scenario, clock)
    # earlier operations of the day: counters of a publisher that has been up for weeks
    sender.st_num = {"ied1": 41, "ied2": 127, "ied3": 310}[ied]
    due = {"ied1": 0.4, "ied2": 1.1, "ied3": 1.9}[ied]
    while clock.now() < scenario.duration + 15:
        t = clock.now()
        if scenario.span(ied, "stop", t) or scenario.span(ied, "starve", t):
            if scenario.span(ied, "stop", t):
                sender.restart()
            due = t
            clock.sleep_until(t + 0.2)
            continue
        if sender.refresh(t):
            due = t
        if t >= due:
            sender.send()
            due += sender.interval
            sender.interval = min(2 * sender.interval, sender.block.heartbeat_s)
        clock.sleep_until(min(due, t + 0.04))
