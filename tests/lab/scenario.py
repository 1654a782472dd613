"""What happens when: the timelines of the three bundled captures, in station seconds.

A scenario holds switching operations (everybody's plant follows them), actions (one role
does something at a time) and disturbances (a span in which a role misbehaves). Labels
come from the roles themselves while recording, not from this plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.lab.station import INITIAL, Operation


@dataclass(frozen=True)
class Action:
    """One role does one thing once."""

    at: float
    role: str
    name: str
    target: str = ""
    value: float = 0.0


@dataclass(frozen=True)
class Span:
    """A role misbehaves from ``start`` to ``end``."""

    start: float
    end: float
    role: str
    name: str
    label: str
    technique: str
    src: str
    dst: str
    note: str
    settle: float = 0.0
    """Its traces last so much longer (next poll, reconnection): part of the label."""


@dataclass(frozen=True)
class Scenario:
    """One capture to record."""

    name: str
    role: str
    start: datetime
    duration: float
    operations: tuple[Operation, ...] = ()
    actions: tuple[Action, ...] = ()
    spans: tuple[Span, ...] = field(default=())

    @property
    def base_ns(self) -> int:
        """Station time of second 0, ns since 1970."""
        return int(self.start.timestamp()) * 1_000_000_000

    def mine(self, role: str) -> list[Action]:
        """Actions of one role, in order."""
        return sorted((item for item in self.actions if item.role == role), key=lambda item: item.at)

    def span(self, role: str, name: str, t: float) -> bool:
        """Whether a role misbehaves in this way now."""
        return any(s.role == role and s.name == name and s.start <= t < s.end for s in self.spans)


def switching(at: float, apparatus: str, state: int) -> tuple[Action, Operation]:
    """A select-before-operate command from the control centre, and the apparatus that follows."""
    return Action(at, "cc", "operate", apparatus, state), (at + 0.9, apparatus, state)


def _routine(duration: float) -> list[Action]:
    """General interrogation every 15 minutes, clock synchronisation every 30."""
    routine = [Action(t, "cc", "interrogate") for t in range(450, int(duration), 900)]
    return routine + [Action(t, "cc", "clock") for t in range(870, int(duration), 1800)]


def _build(
    name: str,
    role: str,
    start: datetime,
    duration: float,
    commands: list[tuple[float, str, int]],
    taps: list[tuple[float, int]],
    actions: list[Action],
    operations: list[Operation] | None = None,
    spans: list[Span] | None = None,
) -> Scenario:
    acts, ops = _routine(duration) + actions, list(operations or [])
    for at, apparatus, state in commands:
        action, operation = switching(at, apparatus, state)
        acts.append(action)
        ops.append(operation)
    position = INITIAL["tap"]
    for at, step in taps:
        position += step
        ops.append((at, "tap", position))
    return Scenario(name, role, start, duration, tuple(ops), tuple(acts), tuple(spans or ()))


def quiet_hour() -> Scenario:
    """One hour to learn from: every routine and every legitimate command place appears."""
    return _build(
        "quiet_hour",
        "train",
        datetime(2026, 3, 10, 9, 0, tzinfo=UTC),
        3600,
        commands=[
            (660, "f3", 1), (720, "f3", 2), (1000, "cap", 0), (1240, "cap", 1), (1330, "f2", 1),
            (1380, "f2", 2), (1500, "f1", 1), (1560, "f1", 2), (1980, "sw", 1), (2040, "sw", 2),
            (2280, "f3", 1), (2350, "f3", 2), (2520, "cap", 0), (2760, "cap", 1), (2940, "f1", 1),
            (2990, "f1", 2), (3180, "sw", 1), (3230, "sw", 2), (3400, "f3", 1), (3450, "f3", 2),
        ],
        taps=[(380, 1), (1120, -1), (1700, -1), (2160, 1), (2640, 1), (3300, -1)],
        actions=[
            Action(560, "scada", "power_limit", "inverter", 90),
            Action(1400, "scada", "power_limit", "inverter", 100),
            Action(2450, "scada", "power_limit", "inverter", 80),
            Action(3060, "scada", "power_limit", "inverter", 100),
            Action(820, "cc", "setpoint", "rtu3", 20.4),
            Action(2600, "cc", "setpoint", "rtu3", 20.2),
        ],
        operations=[(1800, "door", 1), (1890, "door", 0)],
    )  # fmt: skip


def quiet_test() -> Scenario:
    """Attack-free minutes of the next day, to count false alarms on."""
    return _build(
        "quiet_test",
        "normal-test",
        datetime(2026, 3, 11, 9, 20, tzinfo=UTC),
        1080,
        commands=[
            (300, "f3", 1),
            (360, "f3", 2),
            (600, "cap", 0),
            (780, "cap", 1),
            (930, "f1", 1),
            (985, "f1", 2),
        ],
        taps=[(210, 1), (690, -1)],
        actions=[
            Action(520, "scada", "power_limit", "inverter", 90),
            Action(840, "scada", "power_limit", "inverter", 100),
            Action(750, "cc", "setpoint", "rtu3", 20.4),
        ],
    )


BENIGN = "benign-disturbance"


def bad_day() -> Scenario:
    """One hour with thirteen attacks and five faults, quiet in between."""
    intruder = [
        Action(180, "intruder", "modbus_scan"),
        Action(540, "intruder", "modbus_write"),
        Action(1060, "intruder", "rogue_master"),
        Action(1900, "intruder", "goose_spoof"),
        Action(2300, "intruder", "goose_replay"),
        Action(2760, "intruder", "goose_simulation"),
        Action(2900, "intruder", "goose_flood"),
        Action(1500, "cc_intruder", "reset_process"),
        Action(1620, "cc_intruder", "new_point"),
        Action(1740, "cc_intruder", "wrong_clock"),
        Action(3040, "scada_intruder", "modbus_ratio"),
        Action(3140, "scada_intruder", "stealth_read"),
    ]
    operations: list[Operation] = [
        # feeder 1 trips on a fault; the operator closes it a minute later
        (360.0, "trip", 1), (360.08, "f1", 1), (362.0, "trip", 0),
        # what the rogue master and the compromised control centre switch does move
        (1077.0, "f1", 1), (1078.0, "f2", 1), (1079.0, "f3", 1),
        (1621.5, "e1", 2), (1690.0, "e1", 1),
    ]  # fmt: skip
    spans = [
        Span(359.5, 366, "rtu2", "trip", BENIGN, "", "rtu2 ied2 ied3", "cc ied2.group ied3.group",
             "fault: feeder 1 trips on overcurrent; GOOSE burst of IED 2 and 3, spontaneous events of RTU 2"),
        Span(700, 760, "tmon", "slow", BENIGN, "", "tmon", "scada",
             "fault: transformer monitor answers late, then exception 6 (busy)", 12),
        Span(860, 920, "tmon", "falsify", "attack", "T0856", "tmon", "scada",
             "Modbus value manipulation: oil, winding and load far out of physical range", 12),
        Span(1240, 1360, "net", "unplug:rtu3", BENIGN, "", "rtu3", "cc",
             "fault: link of RTU 3 lost, then reconnect with STARTDT and general interrogation", 40),
        Span(2080, 2140, "ied3", "stop", BENIGN, "", "ied3", "ied3.group",
             "fault: publisher stops, heartbeat lost; restarts with stNum 1", 8),
        Span(2480, 2660, "tmon", "drift", BENIGN, "", "tmon", "scada",
             "fault: oil temperature sensor drifts upwards, then is put right", 12),
        # the flooded publisher starves: covered by the intruder's own label
        Span(2905, 2935, "ied3", "starve", "", "", "", "", ""),
    ]  # fmt: skip
    return _build(
        "bad_day",
        "test",
        datetime(2026, 3, 12, 9, 0, tzinfo=UTC),
        3600,
        commands=[
            (420, "f1", 2), (620, "f3", 1), (660, "f3", 2), (1140, "f1", 2), (1160, "f3", 2), (1180, "f2", 2),
            (1430, "cap", 0), (2180, "cap", 1), (2420, "sw", 1), (2450, "sw", 2), (2850, "f3", 1),
            (2872, "f3", 2),
        ],
        taps=[(300, 1), (1010, -1), (2010, 1), (2710, -1)],
        actions=[
            *intruder,
            Action(980, "scada", "power_limit", "inverter", 90),
            Action(2250, "scada", "power_limit", "inverter", 100),
            Action(1960, "cc", "setpoint", "rtu3", 20.4),
        ],
        operations=operations,
        spans=spans,
    )  # fmt: skip


SCENARIOS = {scenario.name: scenario for scenario in (quiet_hour(), quiet_test(), bad_day())}
