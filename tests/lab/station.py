"""The lab's station: who is there, at which address, and how its plant behaves.

Time is *station time*: seconds since the start of a scenario. The stacks run
:data:`FACTOR` times faster than station time, and the recording's time stamps are
stretched by the same factor afterwards, so that every ratio between times holds.
The plant is a pure function of station time and of the scenario's switching operations:
every role computes the same voltages and positions without talking to the others.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.lab.frames import lab_mac

FACTOR = 10
"""Station seconds per second of recording."""

MASK = 24
NODES: dict[str, str] = {
    "gateway": "10.20.30.1",
    "cc": "10.20.30.10",
    "scada": "10.20.30.20",
    "rtu1": "10.20.30.31",
    "rtu2": "10.20.30.32",
    "rtu3": "10.20.30.33",
    "inverter": "10.20.30.41",
    "tmon": "10.20.30.42",
    "meter": "10.20.30.43",
    "ied1": "10.20.30.51",
    "ied2": "10.20.30.52",
    "ied3": "10.20.30.53",
    "intruder": "10.20.30.66",
}
MACS: dict[str, str] = {name: lab_mac(address) for name, address in NODES.items()}
UNITS: dict[str, int] = {"inverter": 1, "tmon": 2, "meter": 3}
COMMON_ADDRESS: dict[str, int] = {"rtu1": 1, "rtu2": 2, "rtu3": 3}

GOOSE_VLAN = 10


@dataclass(frozen=True)
class Publisher:
    """One GOOSE control block."""

    ref: str
    dataset: str
    go_id: str
    appid: int
    group: str
    heartbeat_s: float

    @property
    def tal_ms(self) -> int:
        """timeAllowedtoLive: three heartbeats, in every frame."""
        return round(self.heartbeat_s * 3000)


PUBLISHERS: dict[str, Publisher] = {
    "ied1": Publisher(
        "TR1PROTLD0/LLN0$GO$gcbTrip", "TR1PROTLD0/LLN0$dsTrip", "TR1_TRIP", 0x3001, "01:0c:cd:01:00:01", 2.0
    ),
    "ied2": Publisher(
        "FD1PROTLD0/LLN0$GO$gcbBay", "FD1PROTLD0/LLN0$dsBay", "FD1_BAY", 0x3002, "01:0c:cd:01:00:02", 4.0
    ),
    "ied3": Publisher(
        "BCU1CTRLLD0/LLN0$GO$gcbPos", "BCU1CTRLLD0/LLN0$dsPos", "BCU1_POS", 0x3003, "01:0c:cd:01:00:03", 5.0
    ),
}


class Clock:
    """Station time of a running scenario, from the machine's clock."""

    def __init__(self, start_wall_ns: int, base_ns: int) -> None:
        self._start = start_wall_ns
        self._base = base_ns

    def now(self) -> float:
        """Station seconds since the start; negative before it."""
        return (time.time_ns() - self._start) * FACTOR / 1e9

    def ns(self) -> int:
        """Station time as ns since 1970."""
        return self.to_station(time.time_ns())

    def to_station(self, wall_ns: int) -> int:
        """Station time, ns since 1970, of an instant of the machine's clock."""
        return self._base + (wall_ns - self._start) * FACTOR

    def sleep_until(self, at: float) -> None:
        """Wait for a station time."""
        delay = (at - self.now()) / FACTOR
        if delay > 0:
            time.sleep(delay)


# --- Plant --------------------------------------------------------------------------------

Operation = tuple[float, str, int]
"""(station time, apparatus, new state): a switching operation that everybody sees."""

INITIAL: dict[str, int] = {
    "q1": 2,
    "f1": 2,
    "f2": 2,
    "f3": 2,
    "sw": 2,
    "e1": 1,
    "tap": 9,
    "cap": 1,
    "trip": 0,
    "door": 0,
}
TRAVEL_S = 0.3
"""A breaker is in its intermediate position for so long."""


def wave(t: float, period: float, phase: float = 0.0) -> float:
    """Sine between -1 and 1."""
    return math.sin(2 * math.pi * (t / period + phase))


def noise(t: float, salt: int) -> float:
    """Repeatable Gaussian noise, new ten times per station second."""
    return random.Random(round(t * 10) * 977 + salt).gauss(0.0, 1.0)


class Plant:
    """State of the primary equipment at any station time."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = sorted(operations)

    def state(self, name: str, t: float) -> int:
        """Position (0 moving, 1 off, 2 on), tap or flag of an apparatus."""
        value, since = INITIAL[name], -1e9
        for at, what, new in self.operations:
            if what == name and at <= t and new != value:
                value, since = new, at
        moving = name in {"q1", "f1", "f2", "f3", "sw", "e1"} and t - since < TRAVEL_S
        return 0 if moving else value

    def closed(self, name: str, t: float) -> bool:
        """Whether current can flow."""
        return self.state(name, t) == 2

    def frequency(self, t: float) -> float:
        """Hz."""
        return 50.0 + 0.010 * wave(t, 310) + 0.006 * wave(t, 97, 0.3) + 0.001 * noise(t, 1)

    def voltage_hv(self, t: float, phase: int = 0) -> float:
        """kV, 110 kV busbar, one phase to phase."""
        return 111.2 + 0.45 * wave(t, 840, 0.1) + 0.15 * phase + 0.03 * noise(t, 10 + phase)

    def voltage_mv(self, t: float, phase: int = 0) -> float:
        """kV, 20 kV busbar; a tap is worth 1.25 %, the capacitor bank 0.6 %."""
        tap = 1 + 0.0125 * (self.state("tap", t) - 9)
        bank = 1.006 if self.state("cap", t) else 1.0
        live = 1.0 if self.closed("q1", t) else 0.0
        return (
            live * tap * bank * (20.3 + 0.08 * wave(t, 840, 0.1) + 0.02 * phase + 0.01 * noise(t, 20 + phase))
        )

    def feeder_power(self, t: float, feeder: str) -> float:
        """MW drawn by one feeder: base, load curve, short swings, noise."""
        if not (self.closed(feeder, t) and self.closed("q1", t)):
            return 0.0
        index = int(feeder[1])
        base = (4.1, 2.6, 3.3)[index - 1]
        curve = 1 + 0.10 * wave(t, 1900, 0.13 * index) + 0.03 * wave(t, 260, 0.3 * index)
        return base * curve + 0.02 * noise(t, 30 + index)

    def feeder_current(self, t: float, feeder: str) -> float:
        """A per phase; a fault current shows while the trip flag of feeder 1 is up and it is closed."""
        if feeder == "f1" and self.state("trip", t) and self.state("f1", t) != 1:
            return 2350.0 + 15 * noise(t, 41)
        volts = self.voltage_mv(t) or 20.0
        return abs(self.feeder_power(t, feeder)) * 1000 / (math.sqrt(3) * volts * 0.96)

    def power(self, t: float) -> float:
        """MW through the transformer."""
        return sum(self.feeder_power(t, name) for name in ("f1", "f2", "f3")) - self.solar(t) / 1000 + 0.06

    def solar(self, t: float) -> float:
        """kW of the solar plant, with passing clouds."""
        cloud = 0.5 + 0.5 * wave(t, 610, 0.2)
        return 1450 * (1 - 0.35 * cloud**3) + 60 * wave(t, 2400) + 6 * noise(t, 50)

    def oil_temperature(self, t: float) -> float:
        """°C, top oil."""
        return 56.0 + 2.2 * wave(t, 2300, 0.4) + 0.08 * noise(t, 60)
