"""S7comm values from frames to alerts: a panel reads a data block as octets, whose types nobody names."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detectors.base import Alert
from detectors.baseline import Baseline
from detectors.values_untyped import same_octets
from sensor.engines import open_engine
from sensor.pipeline import learn
from sensor.run import run_detect
from tests.lab import frames as f
from tests.lab import iso as i
from tests.lab.frames import Stamped, write_pcap
from tests.reference.s7values import Item
from tests.sensor.test_wire_s7values import answer, data_item, job

S = 1_000_000_000
T0 = 1_700_000_000 * S
LEARNED, JUDGED = 1_800, 300
BLOCK = Item(2, 24, 1, 0x84, 0)
SETPOINT = Item(8, 1, 1, 0x84, 64)
NOISE = np.random.default_rng(3).normal(size=LEARNED + 4 * JUDGED)

Change = Callable[[int, dict[str, float]], dict[str, float]]


def values(second: int) -> dict[str, float]:
    """A level that moves, a temperature, a set-point, a mode, a life counter, flags and a load of the CPU."""
    return {
        "level": 50 + 10 * math.sin(second / 200) + 0.05 * NOISE[second],
        "temperature": 20 + 3 * math.cos(second / 250) + 0.01 * NOISE[-second],
        "setpoint": 55.0 + 5 * (second // 450 % 2),
        "mode": 1,
        "life": (30_000 + second) % 65_536 - 65_536 * ((30_000 + second) % 65_536 > 32_767),
        "flags": 0x0500 if second // 60 % 2 else 0x0400,
        "load": 1_000 + second % 7,
    }


def octets(said: dict[str, float]) -> bytes:
    layout = ("level", "temperature", "setpoint", "mode", "life", "flags", "load")
    made = struct.pack(">fffhhhh", *(said[n] if n in layout[:3] else int(said[n]) for n in layout))
    return made + bytes(4)


def capture(
    begin: int, seconds: int, change: Change, written: dict[int, float] | None = None
) -> list[Stamped]:
    """A read every second, and set-points that are written."""
    talk = f.Talk("10.0.0.1", "10.0.0.2", 102)
    talk.open(T0 + begin * S)
    for second in range(begin, begin + seconds):
        at, ref = T0 + second * S + S // 10, second % 60_000 + 1
        talk.client(at, job(ref, BLOCK))
        talk.server(at + S // 100, answer(ref, 1, data_item(octets(change(second, values(second))))))
        value = (written or {}).get(second - begin, 60.0 if second % 450 == 449 else math.nan)
        if not math.isnan(value):
            data = data_item(struct.pack(">f", value), 7)
            talk.client(at + S // 4, job(ref, SETPOINT, function=5, data=data))
            talk.server(at + S // 3, i.s7(3, ref, b"\5\1", b"\xff"))
    return talk.frames


def as_it_is(_: int, said: dict[str, float]) -> dict[str, float]:
    return said


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    path = tmp_path_factory.mktemp("s7") / "learned.pcap"
    write_pcap(path, capture(0, LEARNED, as_it_is))
    decoded = open_engine([path], "native")
    return learn(decoded, decoded.names)


def alerts(
    folder: Path, known: Baseline, change: Change = as_it_is, written: dict[int, float] | None = None
) -> list[Alert]:
    path = folder / "x.pcap"
    write_pcap(path, capture(LEARNED, JUDGED, change, written))
    return run_detect(open_engine([path], "native"), known, [str(path)]).alerts


def loud(found: list[Alert]) -> dict[str, str]:
    return {
        alert.rule: alert.summary for alert in found if alert.detector == "values" and alert.level != "info"
    }


def test_one_reading_of_each_octet_is_learned(known: Baseline) -> None:
    points = {row.point for row in known.rows("values") if row.protocol == "s7comm"}
    assert points == {
        "DB1.DBD0 (bytes as REAL)",
        "DB1.DBD4 (bytes as REAL)",
        "DB1.DBD8 (bytes as REAL)",
        "DB1.DBD8 (REAL)",  # as it is written
        "DB1.DBW12 (bytes)",
        "DB1.DBW14 (bytes)",
        "DB1.DBW20 (bytes)",
        "DB1.DBW22 (bytes)",
    }
    others = {row.point for name in ("motion", "samples") for row in known.rows(name)} - {""}
    assert others <= points


def test_normal_traffic_says_nothing(known: Baseline, tmp_path: Path) -> None:
    assert loud(alerts(tmp_path, known)) == {}


def after(name: str, change: Callable[[float], float], begin: int = 100) -> Change:
    """Normal until a second of the judged part, then something else in one value."""

    def changed(second: int, said: dict[str, float]) -> dict[str, float]:
        return said | {name: change(said[name])} if second >= LEARNED + begin else said

    return changed


@pytest.mark.parametrize(
    ("name", "change", "rule", "words"),
    [
        ("level", lambda value: value + 400, "out-of-range", "DB1.DBD0 (bytes as REAL) is 4"),
        ("level", lambda value: value - 8, "value-jump", "DB1.DBD0 (bytes as REAL) went from"),
        ("level", lambda _: 52.5, "value-frozen", "DB1.DBD0 (bytes as REAL) stands at 52.5"),
        ("life", lambda value: value - 90, "counter-back", "DB1.DBW14 (bytes) went back"),
    ],
)  # fmt: skip
def test_what_somebody_changes_on_the_way(
    known: Baseline, name: str, change: Callable[[float], float], rule: str, words: str, tmp_path: Path
) -> None:
    assert words in loud(alerts(tmp_path, known, after(name, change))).get(rule, "")


@pytest.mark.parametrize("name", ["mode", "flags", "load"])
def test_what_may_be_anything_is_no_notice(known: Baseline, name: str, tmp_path: Path) -> None:
    """A mode that changes, another bit among flags: told at info at most, as no type is known."""
    found = alerts(tmp_path, known, after(name, lambda value: value + 3))
    assert loud(found) == {}
    told = {alert.rule for alert in found if alert.detector == "values"}
    assert told == ({"constant-changed"} if name == "mode" else set())


def test_a_set_point_that_is_written_is_held_against_what_is_read(known: Baseline, tmp_path: Path) -> None:
    assert "DB1.DBD8 (REAL) is 90" in loud(alerts(tmp_path, known, written={50: 90.0}))["out-of-range"]
    assert loud(alerts(tmp_path, known, written={50: 63.0})) == {}


def test_typed_elements_and_octets_are_the_same_place() -> None:
    assert same_octets("DB1.DBD8 (REAL)") == "DB1.DBD8 (bytes as REAL)"
    assert same_octets("MW4 (INT)") == same_octets("MW4 (WORD)") == "MW4 (bytes)"
    assert same_octets("MD4 (DWORD)") == same_octets("MX4.0") == ""
