"""Modbus/TCP on the pymodbus stack: the three devices, and the SCADA that polls them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from tests.lab.scenario import Scenario
from tests.lab.station import FACTOR, NODES, UNITS, Clock, Plant

POWER_LIMIT = 100
"""Holding register of the inverter: limit of active power, percent."""

Poll = tuple[int, int, int, float]
"""(function code, address, count, period in station seconds)."""

POLLS: dict[str, tuple[Poll, ...]] = {
    "inverter": ((4, 0, 10, 5.0), (3, 100, 4, 20.0)),
    "tmon": ((4, 0, 8, 10.0), (2, 0, 16, 10.0), (1, 0, 8, 20.0)),
    "meter": ((3, 0, 14, 5.0), (3, 100, 6, 60.0)),
}


# --- Devices ------------------------------------------------------------------------------


def inverter_inputs(plant: Plant, t: float, limit: int) -> list[int]:
    """Status, DC V and A ×10, AC kW ×1, V ×10, A ×10, Hz ×100, °C ×10, total kWh, alarms."""
    power = min(plant.solar(t), 16.0 * limit)
    volts = 400 + 2 * (plant.voltage_mv(t) - 20)
    direct = 780 + 8 * (power / 1450)
    return [
        4, round(direct * 10), round(power * 1000 / direct), round(power), round(volts * 10),
        round(power * 1000 / (1.732 * volts)), round(plant.frequency(t) * 100),
        round(10 * (41 + 6 * power / 1450)), int(12000 + t * 0.4) & 0xFFFF, 0,
    ]  # fmt: skip


def tmon_inputs(plant: Plant, t: float, drift: float, false: bool) -> list[int]:
    """Oil, winding, ambient °C ×10, load %, tap, H2 ppm, moisture ppm ×10, fan hours."""
    oil, load = plant.oil_temperature(t) + drift, 100 * abs(plant.power(t)) / 16
    if false:
        return [65000, 64000, 142, 4000, plant.state("tap", t), 18, 93, 2210]
    winding = oil + 7 + load / 12
    return [round(oil * 10), round(winding * 10), 142, round(load), plant.state("tap", t), 18, 93, 2210]


def meter_registers(plant: Plant, t: float) -> list[int]:
    """Three voltages (V), currents (A ×10), powers (kW), frequency ×100, cos φ ×1000, …"""
    volts = [plant.voltage_mv(t, phase) for phase in range(3)]
    kilowatts = abs(plant.power(t)) * 1000  # the meter counts both directions
    amps = [kilowatts / (3**0.5 * (v or 20) * 0.955) for v in volts]
    third = round(kilowatts / 3)
    return [
        *(round(v * 1000) for v in volts), *(round(a * 10) for a in amps), third, third, third,
        round(kilowatts), round(kilowatts * 0.31), round(plant.frequency(t) * 100), 955, 0,
    ]  # fmt: skip


class Device:
    """State of one device; ``access`` runs inside the server before every answer."""

    def __init__(self, name: str, scenario: Scenario, clock: Clock) -> None:
        self.name, self.scenario, self.clock = name, scenario, clock
        self.plant = Plant(scenario.operations)

    def _fresh(self, function: int, t: float, registers: list[int]) -> list[int]:
        if self.name == "inverter" and function == 4:
            return inverter_inputs(self.plant, t, self.limit)
        if self.name == "tmon" and function == 4:
            drift = next((0.1 * (t - s.start) for s in self.scenario.spans if s.name == "drift"), 0.0)
            drifting = self.scenario.span("tmon", "drift", t)
            return tmon_inputs(self.plant, t, drift * drifting, self.scenario.span("tmon", "falsify", t))
        if self.name == "meter" and function == 3:
            energy = int(8_123_400 + t * 3.1)
            block = registers[:]
            block[:14] = meter_registers(self.plant, t)
            block[100:106] = [energy >> 16, energy & 0xFFFF, 0, int(900 + t * 0.02), 0, 0]
            return block
        return []

    limit = 100

    async def access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: object
    ) -> ExcCodes | None:
        """Put fresh process values in the memory; be slow or busy when the plan says so."""
        t = self.clock.now()
        if self.scenario.span(self.name, "slow", t):
            await asyncio.sleep(2.5 / FACTOR)
            if t % 20 < 10:
                return ExcCodes.DEVICE_BUSY
        await asyncio.sleep({"inverter": 0.0012, "tmon": 0.0025, "meter": 0.0008}[self.name])
        if self.name == "inverter" and isinstance(values, list) and address <= POWER_LIMIT < address + count:
            self.limit = int(values[POWER_LIMIT - address])
        fresh = self._fresh(function, t, registers)
        registers[: len(fresh)] = fresh
        return None


def memory(name: str) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
    """Coils, discrete inputs, holding and input registers of a device."""
    holding = [0] * 300
    holding[POWER_LIMIT : POWER_LIMIT + 4] = [100, 950, 1, 0] if name == "inverter" else [0, 0, 0, 0]
    holding[200:204] = [400, 5, 1200, 5] if name == "meter" else [0, 0, 0, 0]  # CT and VT ratio
    return (
        [SimData(0, count=16, values=False, datatype=DataType.BITS)],
        [SimData(0, values=[True] + [False] * 15, datatype=DataType.BITS)],
        [SimData(0, values=holding, datatype=DataType.REGISTERS)],
        [SimData(0, count=32, values=0, datatype=DataType.REGISTERS)],
    )


def serve(name: str, scenario: Scenario, clock: Clock) -> None:
    """Serve one device until the scenario ends."""
    identity = ModbusDeviceIdentification(
        info_name={"VendorName": "Gridwarden lab", "ProductCode": name.upper(), "MajorMinorRevision": "1.0"}
    )
    device = Device(name, scenario, clock)

    async def main() -> None:
        server = ModbusTcpServer(
            SimDevice(id=UNITS[name], simdata=memory(name), action=device.access, identity=identity),
            identity=identity,
            address=(NODES[name], 502),
        )
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(max(0.0, (scenario.duration + 20 - clock.now()) / FACTOR))
        await server.shutdown()
        task.cancel()

    asyncio.run(main())


# --- SCADA --------------------------------------------------------------------------------


def _reader(client: ModbusTcpClient, function: int) -> Callable[..., object]:
    return {
        1: client.read_coils,
        2: client.read_discrete_inputs,
        3: client.read_holding_registers,
        4: client.read_input_registers,
    }[function]


def _jobs(device: str, offset: float) -> list[tuple[float, Poll]]:
    """First due time of each poll; blocks of one device follow each other closely."""
    return [(4.0 + offset + 0.3 * index, poll) for index, poll in enumerate(POLLS[device])]


def poll_device(device: str, offset: float, scenario: Scenario, clock: Clock) -> None:
    """Poll one device for ever and write its rare set-points, on one connection."""
    client = ModbusTcpClient(NODES[device], timeout=6.0 / FACTOR, retries=0)
    jobs = _jobs(device, offset)
    writes = [action for action in scenario.mine("scada") if action.target == device]
    while (t := clock.now()) < scenario.duration + 15:
        due, poll = min(jobs, key=lambda job: job[0])
        if writes and writes[0].at < due:
            clock.sleep_until(writes[0].at)
            action = writes.pop(0)
            client.write_register(POWER_LIMIT, int(action.value), device_id=UNITS[device])
            continue
        clock.sleep_until(due)
        jobs.remove((due, poll))
        jobs.append((max(due + poll[3], t), poll))
        try:
            if client.connected or client.connect():
                _reader(client, poll[0])(poll[1], count=poll[2], device_id=UNITS[device])
        except ModbusException:
            client.close()
            clock.sleep_until(clock.now() + 5)


def run_scada(role: str, scenario: Scenario, clock: Clock) -> None:
    """One polling thread per device, as SCADA drivers do."""
    threads = [
        threading.Thread(target=poll_device, args=(device, 1.3 * index, scenario, clock))
        for index, device in enumerate(POLLS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
