"""Process values of DNP3, synchrophasors and sampled values, from frames to alerts: ranges, jumps, standing
values, what a device marks as bad, and half an hour of normal traffic without a notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.base import Alert
from detectors.baseline import Baseline
from sensor.engines import open_engine
from sensor.labels import Event
from sensor.pipeline import learn
from sensor.run import run_detect
from sensor.simulate.registry import attacks
from sensor.simulate.render import render_one, write_capture
from sensor.simulate.scene import read_scene
from tests.lab import measured as m
from tests.lab.frames import Stamped, write_pcap

LEARNED = 1_500
WRONG = LEARNED + 120
"""Second from which on something is wrong."""

MAKERS: dict[str, Callable[..., list[Stamped]]] = {
    "dnp3": m.dnp3_polls,
    "c37118": m.phasors,
    "sv": m.samples,
}
VALUES = ("values", "behaviour", "margins", "timing", "responses")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Baseline]:
    folder, found = tmp_path_factory.mktemp("learned"), {}
    for name, make in MAKERS.items():
        path = folder / f"{name}.pcap"
        write_pcap(path, make(0, LEARNED))
        decoded = open_engine([path], "native")
        found[name] = learn(decoded, decoded.names)
    return found


def alerts(folder: Path, protocol: str, known: Baseline, change: m.Change, seconds: int = 300) -> list[Alert]:
    path = folder / "x.pcap"
    write_pcap(path, MAKERS[protocol](LEARNED, seconds, change))
    return run_detect(open_engine([path], "native"), known, [str(path)]).alerts


def spoken(found: list[Alert]) -> dict[str, str]:
    """Rule to summary of the alerts about values."""
    return {alert.rule: alert.summary for alert in found if alert.detector == "values"}


@pytest.mark.parametrize("protocol", list(MAKERS))
def test_normal_traffic_says_nothing(known: dict[str, Baseline], protocol: str, tmp_path: Path) -> None:
    found = alerts(tmp_path, protocol, known[protocol], m.nothing, LEARNED)
    assert [alert.summary for alert in found if alert.detector in VALUES] == []


@pytest.mark.parametrize(
    ("protocol", "quantity", "words"),
    [
        ("dnp3", "power", "analog input 0 (g30v1) is"),
        ("c37118", "frequency", "PMU 7 frequency (Hz) is"),
        ("c37118", "power", "PMU 7 analog 0 is"),
        ("sv", "current", "MU01 channel 0 (RMS) is"),
    ],
)
def test_a_value_out_of_range(
    known: dict[str, Baseline], protocol: str, quantity: str, words: str, tmp_path: Path
) -> None:
    def change(name: str, second: float, value: float) -> float:
        return 1.6 * value if name == quantity and second >= WRONG else value

    assert words in spoken(alerts(tmp_path, protocol, known[protocol], change))["out-of-range"]


def test_a_merging_unit_beyond_its_range_is_loud_only_after_a_day(
    known: dict[str, Baseline], tmp_path: Path
) -> None:
    def change(name: str, second: float, value: float) -> float:
        return 1.6 * value if name == "current" and second >= WRONG else value

    def levels(baseline: Baseline) -> set[str]:
        found = alerts(tmp_path, "sv", baseline, change)
        return {alert.level for alert in found if alert.rule == "out-of-range"}

    assert levels(known["sv"]) == {"info"}
    tables = dict(known["sv"].tables)
    tables["values"] = tables["values"].assign(block_s=lambda table: 100 * table["block_s"])
    assert "warning" in levels(Baseline(tables, known["sv"].params))


@pytest.mark.parametrize(
    ("protocol", "quantity", "size"),
    [("dnp3", "power", 2_500), ("c37118", "frequency", 0.02), ("sv", "current", 20)],
)
def test_a_jump_inside_the_range(
    known: dict[str, Baseline], protocol: str, quantity: str, size: float, tmp_path: Path
) -> None:
    def change(name: str, second: float, value: float) -> float:
        there = name == quantity and WRONG <= second < WRONG + 20 and int(second) % 2
        return value + size if there else value

    found = alerts(tmp_path, protocol, known[protocol], change)
    assert "value-jump" in spoken(found)
    told = {alert.level for alert in found if alert.rule == "value-jump"}
    assert (told == {"info"}) == (protocol == "sv")  # a load is switched; less than a day was learned


@pytest.mark.parametrize(("protocol", "quantity"), [("dnp3", "power"), ("c37118", "frequency")])
def test_one_value_stands_still(
    known: dict[str, Baseline], protocol: str, quantity: str, tmp_path: Path
) -> None:
    kept: dict[str, float] = {}

    def change(name: str, second: float, value: float) -> float:
        return kept.setdefault(name, value) if name == quantity and second >= WRONG else value

    assert "value-frozen" in spoken(alerts(tmp_path, protocol, known[protocol], change))


def test_all_measurements_stand_still_and_a_counter_goes_on(
    known: dict[str, Baseline], tmp_path: Path
) -> None:
    kept: dict[str, float] = {}

    def change(name: str, second: float, value: float) -> float:
        return kept.setdefault(name, value) if second >= WRONG else value

    said = spoken(alerts(tmp_path, "dnp3", known["dnp3"], change))
    assert "though its counters go on" in said["values-standstill"]
    kept.clear()

    def switched_off(name: str, second: float, value: float) -> float:
        return 0.0 if second >= WRONG and name != "voltage" else change(name, second, value)

    assert "values-standstill" not in spoken(alerts(tmp_path, "dnp3", known["dnp3"], switched_off))


@pytest.mark.parametrize("protocol", ["dnp3", "c37118"])
def test_what_a_device_marks_as_bad_is_no_value(
    known: dict[str, Baseline], protocol: str, tmp_path: Path
) -> None:
    def change(_: str, second: float, value: float) -> float | None:
        return None if WRONG <= second < WRONG + 60 else value

    assert spoken(alerts(tmp_path, protocol, known[protocol], change)) == {}


def test_times_and_what_a_stream_says_of_itself_are_no_values(known: dict[str, Baseline]) -> None:
    points = {name: set(baseline.tables["values"]["point"]) for name, baseline in known.items()}
    assert points["dnp3"] == {"0x0102/0", "0x1e01/0", "0x1e02/2", "0x1e05/1", "0x1401/0"}
    assert points["sv"] == {*(f"MU01 [{channel}]" for channel in range(8)), "MU01 [frequency]"}


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("dnp3-value-shift", {"out-of-range", "value-departs", "value-jump"}),
        ("dnp3-value-freeze", {"values-standstill", "value-frozen"}),
        ("dnp3-value-drift", {"out-of-range", "value-departs"}),
    ],
)
def test_simulated_attacks_on_values_are_found(
    known: dict[str, Baseline], name: str, rules: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.pcap"
    write_pcap(path, m.dnp3_polls(LEARNED, 600))
    rendered = render_one(read_scene([path]), attacks()[name])
    event: Event = rendered.events[name]
    write_capture(path, rendered)
    found = run_detect(open_engine([path], "native"), known["dnp3"], [str(path)]).alerts
    told = {a.rule for a in found if a.detector == "values" and event.start <= a.start <= event.end + 1}
    assert told & rules
