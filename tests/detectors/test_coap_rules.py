"""CoAP rules: each is broken once and kept once (RFC 7252)."""

from __future__ import annotations

from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.coap import CoapRules
from grid_profiles.vocabulary import Flag

WARNING = Level.WARNING


def test_refusals() -> None:
    b = Bench("coap", CoapRules)
    missing = [b.row(1 + n / 10, 132, S, flags=int(Flag.NEGATIVE)) for n in range(10)]
    assert b.said(missing) == [("coap-refused", WARNING)]
    assert b.said(missing[:9]) == []
    assert b.said([b.row(1 + n / 10, 163, S, flags=int(Flag.NEGATIVE)) for n in range(10)]) == []  # busy


def test_sweep() -> None:
    b = Bench("coap", CoapRules)
    core = ".well-known/core"
    sweep = [b.row(1 + n / 10, 1, C, dst=f"10.0.0.{n}", point=core) for n in range(20, 30)]
    known = b.learned([b.row(n, 1, C) for n in range(5)])
    assert b.said(sweep, baseline=known) == [("coap-sweep", WARNING)]
    assert b.said(sweep[:7], baseline=known) == []
    assert b.said(sweep, baseline=b.learned(sweep)) == []
