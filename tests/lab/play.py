"""One role of the lab, run inside its namespace: ``python -m tests.lab.play ROLE SCENARIO START``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from tests.lab.scenario import SCENARIOS, Scenario
from tests.lab.station import Clock

Runner = Callable[[str, Scenario, Clock], None]


def runner(role: str) -> Runner:
    """The function that plays a role; stacks are imported only where they are needed."""
    if role.startswith("rtu"):
        from tests.lab.rtu import run

        return run
    if role == "cc":
        from tests.lab.control_centre import run as centre

        return centre
    if role.startswith("ied"):
        from tests.lab.goose import run as publisher

        return publisher
    if role in {"inverter", "tmon", "meter", "scada"}:
        from tests.lab.modbus import run_scada, serve

        return run_scada if role == "scada" else serve
    if role.endswith("intruder"):
        from tests.lab.intruder import run as intruder

        return intruder
    from tests.lab.background import run_client, run_gateway

    if role == "gateway":
        return run_gateway
    return lambda name, scenario, clock: run_client(name.removeprefix("time-"), scenario, clock)


def main() -> None:
    """Play the role named on the command line."""
    logging.disable(logging.ERROR)  # the stacks report every oddity that the intruder sends them
    role, name, start = sys.argv[1:4]
    scenario = SCENARIOS[name]
    runner(role)(role, scenario, Clock(int(start), scenario.base_ns))


if __name__ == "__main__":
    main()
