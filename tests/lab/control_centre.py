"""The control centre: IEC 60870-5-104 controlling station on the c104 stack."""

import c104

from tests.lab.rtu import SETPOINT_IOA, apparatus_home
from tests.lab.scenario import Action, Scenario
from tests.lab.station import COMMON_ADDRESS, NODES, Clock

CONNECT_AT = 2.0


class ControlCentre:
    """Connections to the three RTUs and their command points."""

    def __init__(self) -> None:
        self.client = c104.Client(tick_rate_ms=50, command_timeout_ms=2000)
        self.client.originator_address = 1
        self.links: dict[str, c104.Connection] = {}
        self.points: dict[tuple[str, int], c104.Point] = {}
        for rtu, ca in COMMON_ADDRESS.items():
            link = self.client.add_connection(ip=NODES[rtu], port=2404, init=c104.Init.ALL)
            limits = link.protocol_parameters
            limits.message_timeout, limits.confirm_interval, limits.keep_alive_interval = 2, 1, 2
            limits.connection_timeout = 1
            link.add_station(common_address=ca)
            self.links[rtu] = link
        for name, (rtu, ioa) in apparatus_home().items():
            kind = c104.Type.C_SC_NA_1 if name == "cap" else c104.Type.C_DC_NA_1
            mode = c104.CommandMode.DIRECT if name == "cap" else c104.CommandMode.SELECT_AND_EXECUTE
            self._add(rtu, ioa, kind, mode)
        self._add("rtu3", SETPOINT_IOA, c104.Type.C_SE_NC_1, c104.CommandMode.DIRECT)

    def _add(self, rtu: str, ioa: int, kind: c104.Type, mode: c104.CommandMode) -> None:
        station = self.links[rtu].get_station(common_address=COMMON_ADDRESS[rtu])
        point = station.add_point(io_address=ioa, type=kind)
        point.command_mode = mode
        self.points[rtu, ioa] = point

    def do(self, action: Action) -> None:
        """Carry out one action of the scenario on the links that are up."""
        if action.name in {"interrogate", "clock"}:
            for rtu, link in self.links.items():
                if not link.is_connected:
                    continue
                if action.name == "interrogate":
                    link.interrogation(common_address=COMMON_ADDRESS[rtu])
                else:
                    link.clock_sync(common_address=COMMON_ADDRESS[rtu])
        elif action.name == "operate":
            rtu, ioa = apparatus_home()[action.target]
            point = self.points[rtu, ioa]
            point.value = bool(action.value) if action.target == "cap" else c104.Double(int(action.value))
            point.transmit(cause=c104.Cot.ACTIVATION)
        elif action.name == "setpoint":
            point = self.points[action.target, SETPOINT_IOA]
            point.value = action.value
            point.transmit(cause=c104.Cot.ACTIVATION)


def run(role: str, scenario: Scenario, clock: Clock) -> None:
    """Connect, then act by the plan until the scenario ends."""
    centre = ControlCentre()
    clock.sleep_until(CONNECT_AT)
    centre.client.start()
    for action in scenario.mine(role):
        clock.sleep_until(action.at)
        centre.do(action)
    clock.sleep_until(scenario.duration + 20)
    centre.client.stop()
