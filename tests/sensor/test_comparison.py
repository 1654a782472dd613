"""Parts of the detection, strangers in disguise, trivial detectors: what `evaluate --compare` rests on."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.base import Alert
from grid_profiles.loader import load_registry
from grid_profiles.vocabulary import MESSAGE
from sensor.comparison import FAMILIES, Disguise, ablated
from sensor.engines import open_engine
from sensor.labels import Event
from sensor.messages import MessageBatch
from sensor.names import Names
from sensor.pipeline import learn
from sensor.result import Result
from sensor.trivial import Traffic, judge
from tests.lab import frames as f

S = 1_000_000_000
T0 = 1_700_000_000 * S


def alert(number: int, detector: str, rule: str = "r") -> Alert:
    return Alert(
        id=str(number), start=float(number), end=float(number), level="warning", reading="attack",
        detector=detector, rule=rule, technique="", protocol="modbus", src="10.0.0.9", dst="10.0.0.2",
        kind="", point="", summary="", expected="", observed="", p_value=None, count=1, frames=[],
        readings={"attack": 1.0},
    )  # fmt: skip


def test_each_family_has_its_alerts_and_all_has_every_one() -> None:
    alerts = [
        alert(1, "modbus"),
        alert(2, "allowlist"),
        alert(3, "behaviour"),
        alert(4, "values", "value-departs"),
    ]
    result = Result(alerts=alerts)
    rules = {family: [a.id for a in ablated(result, family).alerts] for family in FAMILIES}
    assert rules == {
        "all": ["1", "2", "3", "4"],
        "rules only": ["1"],
        "learned only": ["2", "3", "4"],
        "PyOD only": ["3", "4"],
    }
    assert all(a.incident == "" for a in alerts), "the run itself stays as it was"
    assert len(ablated(result, "all").incidents) == 1


def test_a_stranger_wears_the_address_of_the_usual_partner(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("disguise") / "normal.pcap"
    talk = f.Talk("10.0.0.1", "10.0.0.2", 502)
    talk.open(T0)
    for n in range(20):
        talk.client(T0 + n * S, f.modbus_adu(n, 1, f.mb_read(3, 100, 2)))
        talk.server(T0 + n * S + 1_000_000, f.modbus_adu(n, 1, f.mb_read_response(3, [7, 8])))
    f.write_pcap(path, talk.frames)
    decoded = open_engine([path], "native")
    baseline = learn(decoded, decoded.names)

    names = Names(load_registry())
    modbus = names.protocol_id("modbus")
    stranger, server = names.intern_endpoint("10.9.9.9"), names.intern_endpoint("10.0.0.2")
    rows = np.zeros(2, MESSAGE)
    rows["src"], rows["dst"] = [stranger, server], [server, stranger]
    rows["conv"] = names.intern_conversation(modbus, stranger, server, 502)
    disguise = Disguise(names, baseline)
    (batch,) = disguise.batches([MessageBatch(rows, MessageBatch.empty().points)])
    seen = names.conversation(int(batch.messages["conv"][0]))
    assert (seen.client, seen.server) == ("10.0.0.1", "10.0.0.2")
    assert names.endpoint(int(batch.messages["src"][0])) == "10.0.0.1"
    assert names.endpoint(int(rows["src"][0])) == "10.9.9.9", "the batch that came stays as it was"
    (event,) = disguise.events([Event(0, 1, "attack", src="10.9.9.9", dst="10.0.0.2")])
    assert event.hosts == {"10.0.0.1", "10.0.0.2"}


def test_trivial_detectors_say_what_they_are_made_for() -> None:
    calm = np.arange(0, 600, 0.5)
    learned = Traffic(calm + np.random.default_rng(1).normal(0, 0.01, len(calm)), {"10.0.0.1": 0.0})
    burst = np.sort(np.concatenate((calm, np.linspace(300, 309, 500))))
    seen = Traffic(burst, {"10.0.0.1": 0.0, "10.0.0.66": 42.0})
    result = Result()
    assert [(a.src, a.start) for a in judge("new host", learned, seen, result).alerts] == [
        ("10.0.0.66", 42.0)
    ]
    assert any(a.start <= 305 <= a.end for a in judge("3 sigma on rate", learned, seen, result).alerts)
    assert any(300 <= a.start <= 310 for a in judge("LOF on gaps", learned, seen, result).alerts)
    quiet = Traffic(learned.times, {"10.0.0.1": 0.0})
    assert judge("new host", learned, quiet, result).alerts == []
