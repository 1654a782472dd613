"""MQTT rules: each is broken once and kept once (OASIS MQTT 3.1.1 and 5.0)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.mqtt import MqttRules
from grid_profiles.vocabulary import Flag

WARNING, INFO = Level.WARNING, Level.INFO
Rows = list[np.void]


class Broker(Bench):
    def __init__(self) -> None:
        super().__init__("mqtt", MqttRules)

    def packet(self, ts: float, kind: int, role: Any = C, **more: Any) -> np.void:
        return self.row(ts, kind, role, **more)

    def session(self, start: float = 0.0, stream: int = 0, ident: str = "pump-1", **more: Any) -> Rows:
        return [
            self.packet(start, 1, ident=ident, stream=stream, aux=60, **more),
            self.packet(start + 0.1, 2, S, cause=0, stream=stream, **more),
            *[self.publish(start + 1 + n, stream=stream, **more) for n in range(4)],
        ]

    def publish(self, ts: float, topic: str = "plant/t", payload: int = 4, **more: Any) -> np.void:
        fields = {"point": topic, "name": topic, "aux": 0, "size": 4 + len(topic) + payload}
        return self.packet(ts, 3, **(fields | more))

    def no(self, count: int, kind: int, step: float = 1.0) -> Rows:
        bad = int(Flag.NEGATIVE)
        return [self.packet(1 + n * step, kind, S, cause=5, flags=bad, stream=n) for n in range(count)]


def broken(b: Broker) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    damaged = int(Flag.MALFORMED | Flag.MIDSTREAM)
    return {
        "refused": (b.no(3, 2), ("mqtt-refused", WARNING)),
        "denied": (b.no(5, 9), ("mqtt-denied", WARNING)),
        "takeover": ([*b.session(), *b.session(9, 1, src="10.0.0.66")], ("mqtt-takeover", WARNING)),
        "everything": ([*b.session(), b.packet(7, 8, name="#", point="#")], ("mqtt-wildcard", WARNING)),
        "everything, shared": (
            [*b.session(), b.packet(7, 8, name="$share/x/#", point="$share/x/#")],
            ("mqtt-wildcard", WARNING),
        ),
        "wipe": (
            [*b.session(), *[b.publish(6 + n, f"plant/{n}", 0, aux=4) for n in range(5)]],
            ("mqtt-retained-wipe", WARNING),
        ),
        "no CONNECT": ([b.syn(0), b.publish(1)], ("mqtt-order", WARNING)),
        "CONNECT twice": ([*b.session(), b.packet(7, 1, ident="pump-1")], ("mqtt-order", WARNING)),
        "storm": (
            [b.packet(n, 1, ident="pump-1", stream=n) for n in range(20)],
            ("mqtt-connect-storm", WARNING),
        ),
        "malformed": ([b.packet(1 + n, 3, flags=damaged) for n in range(3)], ("mqtt-malformed", WARNING)),
    }


def kept(b: Broker) -> dict[str, Rows]:
    return {
        "a session": b.session(),
        "two sessions of one client": [*b.session(), *b.session(20, 1)],
        "two clients": [*b.session(), *b.session(9, 1, "pump-2", src="10.0.0.66")],
        "no identity": [*b.session(ident=""), *b.session(9, 1, "", src="10.0.0.66")],
        "a refused client": b.no(2, 2),
        "some topics": [*b.session(), b.packet(7, 8, name="plant/#", point="plant/#")],
        "a retained value": [*b.session(), *[b.publish(6 + n, payload=3, aux=4) for n in range(9)]],
        "a retained digit": [
            *b.session(),
            *[b.publish(6 + n, payload=1, aux=4, value=1.0) for n in range(9)],
        ],
        "one wipe": [*b.session(), b.publish(6, payload=0, aux=4)],
        "rules that begin in between": [b.publish(1), b.publish(2)],
        "a capture that begins in between": [b.publish(1, flags=int(Flag.MIDSTREAM)), b.publish(2)],
    }


@pytest.mark.parametrize("case", broken(Broker()))
def test_broken(case: str) -> None:
    bench = Broker()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Broker()))
def test_kept(case: str) -> None:
    bench = Broker()
    assert bench.said(kept(bench)[case]) == []


def test_a_historian_that_subscribes_to_everything_is_a_habit() -> None:
    bench = Broker()
    rows = [*bench.session(), bench.packet(7, 8, name="#", point="#")]
    assert bench.said(rows, baseline=bench.learned(rows)) == [("mqtt-wildcard", INFO)]
