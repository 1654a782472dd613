"""An RTU: IEC 60870-5-104 outstation on the c104 stack (lib60870), fed by the plant."""

# No postponed annotations here: c104 checks the signature of its callbacks by type.
import math
from collections.abc import Callable
from datetime import UTC, datetime

import c104

from tests.lab.scenario import Scenario
from tests.lab.station import COMMON_ADDRESS, NODES, Clock, Plant

Value = Callable[[float], float]

COMMANDS: dict[str, dict[str, int]] = {
    "rtu1": {"cap": 4011},
    "rtu2": {"f1": 4001, "f2": 4002, "f3": 4003, "e1": 4009},
    "rtu3": {"sw": 4001},
}
"""Command IOA of each apparatus; its position is reported 2000 lower."""

SETPOINT_IOA = 4021
PERIODIC_S = {"rtu1": 10.0, "rtu2": 10.0, "rtu3": 60.0}
SCAN_S = {"rtu1": 2.0, "rtu2": 2.0, "rtu3": 5.0}


def apparatus_home() -> dict[str, tuple[str, int]]:
    """Apparatus -> (RTU, command IOA)."""
    return {name: (rtu, ioa) for rtu, places in COMMANDS.items() for name, ioa in places.items()}


def measurements(rtu: str, plant: Plant) -> tuple[dict[int, Value], dict[int, tuple[Value, float]]]:
    """Cyclic points (IOA -> value) and spontaneous ones (IOA -> value, deadband)."""
    if rtu == "rtu1":
        cyclic: dict[int, Value] = {
            1021: plant.power,
            1022: lambda t: 0.31 * plant.power(t) - (1.1 if plant.state("cap", t) else 0.0),
            1030: plant.frequency,
            1050: plant.oil_temperature,
        }
        phases = {1001 + p: ((lambda t, p=p: plant.voltage_hv(t, p)), 0.25) for p in range(3)}
        low = {1011 + p: ((lambda t, p=p: plant.voltage_mv(t, p)), 0.06) for p in range(3)}
        return cyclic, {**phases, **low}
    if rtu == "rtu2":
        cyclic = {1020 + n: (lambda t, n=n: plant.feeder_power(t, f"f{n}")) for n in (1, 2, 3)}
        amps = {1010 + n: ((lambda t, n=n: plant.feeder_current(t, f"f{n}")), 3.0) for n in (1, 2, 3)}
        return cyclic, amps
    flow: Value = lambda t: 0.7 * plant.feeder_power(t, "f3") if plant.closed("sw", t) else 0.0  # noqa: E731
    return {1021: flow, 1001: lambda t: 0.985 * plant.voltage_mv(t)}, {}


class Outstation:
    """One RTU with its server, points and last reported values."""

    def __init__(self, rtu: str, scenario: Scenario, clock: Clock) -> None:
        self.rtu, self.clock, self.plant = rtu, clock, Plant(scenario.operations)
        self.server = c104.Server(ip=NODES[rtu], port=2404, tick_rate_ms=50, select_timeout_ms=3000)
        limits = self.server.protocol_parameters
        limits.message_timeout, limits.confirm_interval, limits.keep_alive_interval = 2, 1, 2
        self.station = self.server.add_station(common_address=COMMON_ADDRESS[rtu])
        self.cyclic, self.spontaneous = measurements(rtu, self.plant)
        self.floats = {
            ioa: self.station.add_point(io_address=ioa, type=c104.Type.M_ME_NC_1)
            for ioa in (*self.cyclic, *self.spontaneous)
        }
        self.last: dict[int, float] = {}
        self.discrete: dict[str, c104.Point] = {}
        self.seen: dict[str, int] = {}
        self._add_discrete()

    def _add_discrete(self) -> None:
        for name, ioa in COMMANDS[self.rtu].items():
            double = name != "cap"
            kind = c104.Type.M_DP_TB_1 if double else c104.Type.M_SP_TB_1
            self.discrete[name] = self.station.add_point(io_address=ioa - 2000, type=kind)
            command = self.station.add_point(
                io_address=ioa,
                type=c104.Type.C_DC_NA_1 if double else c104.Type.C_SC_NA_1,
                command_mode=c104.CommandMode.SELECT_AND_EXECUTE if double else c104.CommandMode.DIRECT,
            )
            command.on_receive(callable=accept)
        if self.rtu == "rtu1":
            self.discrete["tap"] = self.station.add_point(io_address=1040, type=c104.Type.M_ST_TB_1)
            self.discrete["q1"] = self.station.add_point(io_address=2001, type=c104.Type.M_DP_TB_1)
            self.discrete["door"] = self.station.add_point(io_address=3001, type=c104.Type.M_SP_TB_1)
        if self.rtu == "rtu2":
            self.discrete["trip"] = self.station.add_point(io_address=3011, type=c104.Type.M_SP_TB_1)
        if self.rtu == "rtu3":
            setpoint = self.station.add_point(io_address=SETPOINT_IOA, type=c104.Type.C_SE_NC_1)
            setpoint.on_receive(callable=accept)

    def _when(self) -> datetime:
        return datetime.fromtimestamp(self.clock.ns() / 1e9, UTC)

    def _set_discrete(self, name: str, state: int) -> None:
        point, when = self.discrete[name], self._when()
        if point.type == c104.Type.M_DP_TB_1:
            point.info = c104.DoubleInfo(state=c104.Double(state), recorded_at=when)
        elif point.type == c104.Type.M_ST_TB_1:
            point.info = c104.StepInfo(c104.Int7(state), transient=False, recorded_at=when)
        else:
            point.info = c104.SingleInfo(on=bool(state), recorded_at=when)

    def watch(self, t: float) -> None:
        """Report apparatus that changed, at once."""
        for name, point in self.discrete.items():
            state = self.plant.state(name, t)
            if state != self.seen.get(name):
                self._set_discrete(name, state)
                if name in self.seen:
                    point.transmit(cause=c104.Cot.SPONTANEOUS)
                self.seen[name] = state

    def scan(self, t: float, silent: bool = False) -> None:
        """Report measurements that left their deadband, together in one ASDU."""
        batch = c104.Batch(cause=c104.Cot.SPONTANEOUS)
        for ioa, (value, deadband) in self.spontaneous.items():
            now = value(t)
            if abs(now - self.last.get(ioa, math.inf)) >= deadband:
                self.last[ioa] = now
                self.floats[ioa].value = now
                batch.add_point(self.floats[ioa])
        if batch.has_points and not silent:
            self.server.transmit_batch(batch)

    def cycle(self, t: float, silent: bool = False) -> None:
        """Report the cyclic measurements."""
        batch = c104.Batch(cause=c104.Cot.PERIODIC)
        for ioa, value in self.cyclic.items():
            self.floats[ioa].value = value(t)
            batch.add_point(self.floats[ioa])
        if not silent:
            self.server.transmit_batch(batch)


def accept(
    point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage
) -> c104.ResponseState:
    """Confirm every command; the plant follows the scenario's plan."""
    return c104.ResponseState.SUCCESS


def run(rtu: str, scenario: Scenario, clock: Clock) -> None:
    """Serve until the scenario ends."""
    outstation = Outstation(rtu, scenario, clock)
    outstation.watch(0.0)
    outstation.scan(0.0, silent=True)
    outstation.cycle(0.0, silent=True)
    outstation.server.start()
    offset = {"rtu1": 0.0, "rtu2": 3.1, "rtu3": 6.7}[rtu]
    next_scan, next_cycle = 5.0 + offset / 10, 8.0 + offset
    while (t := clock.now()) < scenario.duration + 20:
        outstation.watch(t)
        if t >= next_scan:
            outstation.scan(t)
            next_scan += SCAN_S[rtu]
        if t >= next_cycle:
            outstation.cycle(t)
            next_cycle += PERIODIC_S[rtu]
        clock.sleep_until(t + 0.1)
    outstation.server.stop()
