"""What MMS clients live by: no news after an association was opened, news all the same without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from row_bench import Bench, C, S

from detectors.allowlist import Allowlist
from detectors.base import Level
from detectors.baseline import Baseline
from detectors.groups import Lens

RCB = "IED1LD0/LLN0$BR$brcb01"
POS = "IED1LD0/CSWI1$CO$Pos"
MEASURED = "IED1LD0/MMXU1$MX$TotW"
Rows = list[np.void]


class Association(Bench):
    def __init__(self) -> None:
        super().__init__("mms", lambda lens, baseline: Allowlist(baseline or Baseline(), lens))

    def ask(self, ts: float, kind: int, item: str = "", **more: Any) -> np.void:
        point = {"point": item, "name": item} if item else {}
        return self.row(ts, kind, C, **(point | more))

    def poll(self, end: int) -> Rows:
        """Reads and their answers, of an association that was opened before."""
        reads = [self.ask(n, 4, MEASURED) for n in range(end)]
        return reads + [self.row(n + 0.1, 260, S, point=MEASURED, state=n) for n in range(end)]

    def level(self, *rows: np.void) -> Level:
        """The loudest that is said of rows, after hours of polling."""
        known = self.learned(self.poll(3000))
        return max((found.level for found in self.findings(list(rows), baseline=known)), default=Level.INFO)


def opened(b: Association) -> np.void:
    return b.ask(1, 2048)


CASES = {
    "identify": (2, "", Level.WARNING),
    "data set": (12, "IED1LD0/LLN0$ds", Level.WARNING),
    "report set up": (5, f"{RCB}$RptEna", Level.WARNING),
}


@pytest.mark.parametrize("case", CASES)
def test_what_follows_an_opening_is_no_news(case: str) -> None:
    b = Association()
    kind, item, level = CASES[case]
    assert b.level(opened(b), b.ask(2, kind, item)) == Level.INFO
    assert b.level(b.ask(2, kind, item)) >= level
    assert b.level(opened(b), b.ask(90, kind, item)) >= level


def test_a_command_after_an_opening_is_one() -> None:
    b = Association()
    assert b.level(opened(b), b.ask(2, 5, f"{POS}$Oper")) >= Level.WARNING
    both = [opened(b), b.ask(2, 5, f"{RCB}$RptEna"), b.ask(2.1, 5, f"{POS}$Oper")]
    assert b.level(*both) >= Level.WARNING


def test_an_answer_is_judged_by_its_request() -> None:
    b = Association()
    assert b.level(b.row(2, 258, S)) == Level.INFO


def test_records_are_read_every_day_and_other_files_are_not() -> None:
    b = Association()
    assert b.level(b.ask(2, 72, "COMTRADE/0007.dat")) == Level.INFO
    assert b.level(b.ask(2, 72, "config.cid")) == Level.NOTICE
    assert b.level(b.ask(2, 76, "COMTRADE/0007.dat")) == Level.ALARM  # deleted


def test_the_end_of_a_control_is_no_new_object() -> None:
    b = Association()
    known = b.learned([*b.poll(3000), b.row(5, 768, S, point=MEASURED, name=MEASURED)])
    end, other = (b.row(2, 768, S, point=item, name=item) for item in (f"{POS}$Oper", "IED1LD0/X$ST$Op"))
    assert max(found.level for found in b.findings([end], baseline=known)) == Level.INFO
    assert max(found.level for found in b.findings([other], baseline=known)) > Level.INFO


def test_frames_that_were_not_captured_are_no_news() -> None:
    b = Bench("tcp", lambda lens, baseline: Allowlist(baseline or Baseline(), lens))
    known = b.learned([b.row(n, 1) for n in range(3000)])
    lens = Lens(b.names)
    assert lens.protocol("tcp") == b.proto
    assert {found.level for found in b.findings([b.row(2, 7)], baseline=known)} == {Level.INFO}
    assert {found.level for found in b.findings([b.row(2, 6)], baseline=known)} == {Level.NOTICE}


def test_a_new_host_that_asks_for_time_is_told_once() -> None:
    b = Bench("ntp", lambda lens, baseline: Allowlist(baseline or Baseline(), lens))
    known = b.learned([b.row(2 * n, 3, port=123) for n in range(3000)])
    asking = [b.row(64 * n, 3, src="10.0.0.9", port=123) for n in range(5)]
    levels = [found.level for found in b.findings(asking, baseline=known)]
    assert levels == [Level.NOTICE] + 4 * [Level.INFO]


def control(b: Association, *actions: str, node: str = POS, reports: bool = True) -> Rows:
    """A report, and a control step by step."""
    told = [b.row(1, 768, S, point="RPT", seq=4)] if reports else []
    steps = [
        b.ask(2 + n, 4 if action == "SBO" else 5, f"{node}${action}") for n, action in enumerate(actions)
    ]
    return told + steps


def loudest(b: Association, known: Baseline, rows: Rows) -> Level:
    return max((found.level for found in b.findings(rows, baseline=known)), default=Level.INFO)


CONTROLS = {
    "selected": (("SBOw", "Oper"), POS, True, True),
    "selected by a read": (("SBO", "Oper"), POS, True, True),
    "taken back": (("SBOw", "Cancel"), POS, True, True),
    "not selected": (("Oper",), POS, True, False),
    "no control centre": (("SBOw", "Oper"), POS, False, False),
    "a change of mode": (("SBOw", "Oper"), "IED1LD0/LLN0$CO$Mod", True, False),
}


@pytest.mark.parametrize("case", CONTROLS)
def test_a_first_control_of_a_control_centre_that_selects(case: str) -> None:
    b = Association()
    actions, node, reports, quiet = CONTROLS[case]
    known = b.learned([*b.poll(300), b.row(5, 768, S, point="RPT", seq=1)])
    said = loudest(b, known, control(b, *actions, node=node, reports=reports))
    assert (said == Level.INFO) == quiet


def test_a_control_centre_that_never_commanded_in_long_learning_is_told() -> None:
    b = Association()
    report = b.row(5, 768, S, point="RPT", seq=1)
    known = b.learned([*b.poll(3000), report])
    assert loudest(b, known, control(b, "SBOw", "Oper")) == Level.ALARM
    elsewhere = b.ask(6, 5, f"{POS}$SBOw", dst="10.0.0.3")
    known = b.learned([*b.poll(3000), report, elsewhere])
    assert loudest(b, known, control(b, "SBOw", "Oper")) == Level.INFO


def test_many_servers_within_a_minute_are_a_sweep_whoever_selects() -> None:
    b = Association()
    servers = [f"10.0.0.{n}" for n in range(2, 9)]
    polls = [b.ask(n, 4, MEASURED, dst=server) for n in range(300) for server in servers]
    known = b.learned([*polls, b.row(5, 768, S, point="RPT", seq=1)])
    rows = [b.row(1, 768, S, dst=server, point="RPT", seq=4, stream=n) for n, server in enumerate(servers)]
    rows += [b.ask(2 + n, 5, f"{POS}$SBOw", dst=server, stream=n) for n, server in enumerate(servers)]
    assert loudest(b, known, rows) == Level.ALARM
