"""MMS rules: each is broken once and kept once (IEC 61850-8-1, ISO 9506)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.base import Level
from detectors.rules.mms import MmsRules
from grid_profiles.vocabulary import Flag

ALARM, WARNING, NOTICE, INFO = Level.ALARM, Level.WARNING, Level.NOTICE, Level.INFO
POS = "IED1LD0/CSWI1$CO$Pos"
RCB = "IED1LD0/LLN0$BR$brcb01$RptEna"
Rows = list[np.void]


class Client(Bench):
    """Clients of one server."""

    def __init__(self) -> None:
        super().__init__("mms", MmsRules)

    def ask(self, ts: float, kind: int, item: str = "", **more: Any) -> np.void:
        point = {"point": item, "name": item} if item else {}
        return self.row(ts, kind, C, **(point | more))

    def refuse(self, ts: float, kind: int = 512, **more: Any) -> np.void:
        return self.row(ts, kind, S, flags=int(Flag.NEGATIVE), **more)

    def switched(self, start: float) -> Rows:
        return [self.ask(start, 5, f"{POS}$SBOw"), self.ask(start + 1, 5, f"{POS}$Oper")]

    def silence(self, start: int, end: int) -> Rows:
        return [self.ask(n, 4, "IED1LD0/MMXU1$MX$TotW") for n in range(start, end)]


def broken(b: Client) -> dict[str, tuple[Rows, tuple[str, Level]]]:
    ask = b.ask
    return {
        "operate alone": ([*b.switched(1), ask(9, 5, f"{POS}$Oper")], ("mms-unselected", WARNING)),
        "operate late": (
            [ask(1, 4, f"{POS}$SBO"), ask(200, 5, f"{POS}$Oper")],
            ("mms-unselected", WARNING),
        ),
        "somebody else's select": (
            [ask(1, 5, f"{POS}$SBOw"), ask(2, 5, f"{POS}$Oper", src="10.0.0.66")],
            ("mms-select-stolen", ALARM),
        ),
        "many servers": (
            [ask(n, 5, f"{POS}$Oper", dst=f"10.0.0.{n}") for n in range(2, 6)],
            ("mms-operate-many", WARNING),
        ),
        "mode": ([ask(1, 5, "IED1LD0/LLN0$CO$Mod$Oper", value=5.0)], ("mms-mode", WARNING)),
        "a number used again": (
            [ask(n, 4, "IED1LD0/MMXU1$MX$TotW", seq=n if n < 40 else 20) for n in range(1, 41)],
            ("mms-invoke-order", WARNING),
        ),
        "settings": ([ask(1, 5, "IED1PROT/PTOC1$SE$StrVal$setMag$f")], ("mms-settings", WARNING)),
        "reports off": ([ask(1, 5, RCB, value=0.0), *b.silence(2, 70)], ("mms-reports-off", WARNING)),
        "refusals": ([b.refuse(1 + n / 10) for n in range(5)], ("mms-refused", WARNING)),
        "rejects": ([b.refuse(1 + n / 10, 1024) for n in range(3)], ("mms-reject", WARNING)),
        "cancels": ([ask(1 + n / 10, 1280) for n in range(3)], ("mms-cancel", NOTICE)),
        "associations": (
            [ask(n, 2048 if n % 2 else 2816) for n in range(1, 12)],
            ("mms-session-storm", WARNING),
        ),
    }  # fmt: skip


def kept(b: Client) -> dict[str, Rows]:
    ask = b.ask
    return {
        "select and operate": [*b.switched(1), *b.switched(20)],
        "an object that is operated directly": [ask(1, 5, f"{POS}$Oper"), ask(9, 5, f"{POS}$Oper")],
        "two clients in turn": [
            *b.switched(1),
            ask(9, 5, f"{POS}$SBOw", src="10.0.0.66"),
            ask(9.5, 5, f"{POS}$Oper", src="10.0.0.66"),
        ],
        "numbers of a client that does not count": [
            ask(n, 4, "IED1LD0/MMXU1$MX$TotW", seq=n % 5) for n in range(1, 60)
        ],
        "numbers begin again": [
            ask(n, 4, "IED1LD0/MMXU1$MX$TotW", seq=n if n < 40 else n - 40) for n in range(1, 60)
        ],
        "reports set up": [ask(1, 5, RCB, value=0.0), ask(3, 5, RCB, value=1.0), *b.silence(4, 70)],
        "a few access errors": [b.refuse(1 + n / 10) for n in range(4)],
        "one reject": [b.refuse(1, 1024)],
        "one association": [ask(1, 2048), *b.silence(2, 5), ask(6, 2816)],
        "a read of settings": [ask(1, 4, "IED1PROT/PTOC1$SE$StrVal$setMag$f")],
        "many servers, one after the other": [
            ask(20 * n, 5, f"{POS}$Oper", dst=f"10.0.0.{n}") for n in range(2, 6)
        ],
        "no control item": [ask(1, 5, "KIRKLAND/CITEC_TS0", value=1.0)],
    }


@pytest.mark.parametrize("case", broken(Client()))
def test_broken(case: str) -> None:
    bench = Client()
    rows, expected = broken(bench)[case]
    assert set(bench.said(rows)) == {expected}


@pytest.mark.parametrize("case", kept(Client()))
def test_kept(case: str) -> None:
    bench = Client()
    assert bench.said(kept(bench)[case]) == []


def test_a_select_that_learning_saw_is_expected_from_the_first_operate() -> None:
    bench = Client()
    baseline = bench.learned(bench.switched(1))
    assert bench.said([bench.ask(1, 5, f"{POS}$Oper")], baseline=baseline) == [("mms-unselected", WARNING)]


def test_settings_written_while_learning_are_known() -> None:
    bench = Client()
    rows = [bench.ask(1, 5, "IED1PROT/PTOC1$SE$StrVal$setMag$f")]
    assert bench.said(rows, baseline=bench.learned(rows)) == []


def test_reading_the_model_is_told_of_clients_that_never_did() -> None:
    bench = Client()
    scan = [bench.ask(1 + n / 10, 1 if n else 2) for n in range(40)]
    poll = bench.silence(0, 5)
    assert bench.said(scan, baseline=bench.learned(poll)) == [("mms-model-scan", NOTICE)]
    assert bench.said(scan, baseline=bench.learned([*poll, scan[0]])) == []


def test_a_sweep_over_servers() -> None:
    bench = Client()
    sweep = [bench.ask(1 + n / 10, 2048, dst=f"10.0.0.{n}") for n in range(20, 30)]
    assert bench.said(sweep, baseline=bench.learned(bench.silence(0, 5))) == [("mms-sweep", WARNING)]
    assert bench.said(sweep, baseline=bench.learned(sweep)) == []


def test_a_client_that_always_selects_such_objects_is_expected_to_do_so_elsewhere() -> None:
    bench = Client()
    baseline = bench.learned(bench.switched(1))
    other = bench.ask(1, 5, "IED2LD0/QB7CSWI4$CO$Pos$Oper", dst="10.0.0.9")
    assert bench.said([other], baseline=baseline) == [("mms-unselected", NOTICE)]
    spare = bench.ask(1, 5, "IED2LD0/GGIO1$CO$SPCSO2$Oper", dst="10.0.0.9")
    assert bench.said([spare], baseline=baseline) == []
    direct = bench.learned([*bench.switched(1), bench.ask(5, 5, "LD0/CSWI1$CO$Pos$Oper", dst="10.0.0.7")])
    assert bench.said([other], baseline=direct) == []
