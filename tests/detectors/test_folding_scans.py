"""A scan, or trouble that goes on, is one alert: folded over a pair of hosts, items listed, held open."""

from __future__ import annotations

from typing import Any

import numpy as np
from synthetic import IEC104, MODBUS, SECOND, START, FakeNames, message, piece

from detectors.alerts import Folder
from detectors.allowlist import Allowlist
from detectors.base import Alert, Finding, Level, Reading
from detectors.baseline import Baseline
from detectors.calibration import Budget
from detectors.groups import Lens
from detectors.tables import TABLES, Origin, conv_fields
from detectors.timing import Timing, _Limits, _Series
from grid_profiles.vocabulary import Flag, Role


def finding(ts: float, unit: int, hold: float = 0.0, pair: bool = True) -> Finding:
    return Finding(
        START + round(ts * SECOND), "d", "rule", Level.NOTICE, Reading.FAULT, MODBUS, unit, 1, 2, "s",
        observed="first", pair=pair, item=f"unit {unit}", hold=hold,
    )  # fmt: skip


def folder(units: int = 40) -> Folder:
    names = FakeNames()
    for unit in range(units):
        names.conv("modbus", 1, 2, 502, f"unit {unit}")
    return Folder(Lens(names))


def fold(findings: list[Finding]) -> list[Alert]:
    made = folder()
    alerts = [alert for one in findings for alert in made.add(one)]
    return alerts + made.close()


def test_a_scan_of_units_is_one_alert_that_lists_them() -> None:
    (alert,) = fold([finding(unit / 10, unit) for unit in range(40)])
    assert alert.count == 40
    assert alert.observed.startswith("first; in all: unit 0, unit 1,")
    assert alert.observed.endswith("unit 7 and 32 more")


def test_conversations_stay_apart_when_not_asked_for() -> None:
    assert len(fold([finding(unit / 10, unit, pair=False) for unit in range(5)])) == 5


def test_what_holds_extends_its_alert() -> None:
    assert len(fold([finding(0, 1), finding(20, 1)])) == 2
    assert len(fold([finding(0, 1, hold=30), finding(20, 1, hold=30), finding(45, 1, hold=30)])) == 1


def test_an_alert_that_holds_is_not_closed_by_the_clock() -> None:
    made = folder()
    made.add(finding(0, 1, hold=30))
    assert made.tick(START / SECOND + 29) == []
    assert len(made.tick(START / SECOND + 31)) == 1


KNOWN = [("iec104", "10.0.0.1", "10.0.0.2", 2404, "", 0), ("iec104", "10.0.0.1", "10.0.0.3", 2404, "", 0)]


def baseline(*kinds: tuple[int, int, int, int], origin: Origin = Origin.LEARNED) -> Baseline:
    """Known conversations and (conversation, role, kind, cause) with a thousand messages each."""
    span: dict[str, Any] = {"count": 1000, "first": 0.0, "last": 1.0, "origin": origin.value}
    made = Baseline()
    made.tables["conversations"] = TABLES["conversations"].frame(
        [conv_fields(conv) | span | {"gaps": 0, "repeats": 0, "midstream": 0} for conv in KNOWN]
    )
    made.tables["assets"] = TABLES["assets"].frame([{"address": f"10.0.0.{n}"} | span for n in (1, 2, 3)])
    names = {"name": "", "class": ""}
    made.tables["kinds"] = TABLES["kinds"].frame(
        [
            conv_fields(KNOWN[conv]) | {"role": role, "kind": kind, "cause": cause} | names | span
            for conv, role, kind, cause in kinds
        ]
    )
    return made


def news(known: Baseline, **fields: Any) -> list[tuple[str, Level]]:
    names = FakeNames()
    conv = names.conv("iec104", 1, 2)
    row = message(1.0, **({"proto": IEC104, "conv": conv, "src": 1, "dst": 2, "role": Role.CLIENT} | fields))
    return [(f.rule, f.level) for f in Allowlist(known, Lens(names)).detect(piece([row], 1))]


REPORTS = (0, Role.SERVER, 13, 3)


def test_keep_alives_and_interrogations_are_ordinary_life() -> None:
    for kind in (256, 513, 528, 100):
        assert news(baseline(REPORTS), kind=kind, cause=-1) == [("new-kind", Level.INFO)]
    answer = {"role": Role.SERVER, "src": 2, "dst": 1, "kind": 13, "cause": 20}
    assert news(baseline(REPORTS), **answer) == [("new-kind", Level.INFO)]
    assert news(baseline(REPORTS), **(answer | {"flags": Flag.TEST | Flag.NEGATIVE}))


def test_stopdt_and_commands_are_not() -> None:
    assert news(baseline(REPORTS), kind=516)[0][1] > Level.INFO
    assert news(baseline(REPORTS), kind=45, cause=6) == [("new-command", Level.ALARM)]


def test_an_unapproved_command_at_a_known_place_is_kept_at_info() -> None:
    known = baseline(REPORTS, (0, Role.CLIENT, 45, 6))
    known.tables["review"] = TABLES["review"].frame(
        [
            conv_fields(KNOWN[0])
            | {"kind": 45, "cause": 6, "id": "x", "name": "", "class": "control", "points": ""}
            | {"first": 0.0, "last": 1.0, "count": 1, "origin": "proposed", "who": "", "why": "", "when": ""}
        ]
    )
    assert news(known, kind=45, cause=6) == [("not-approved", Level.INFO)]


def one_series(silence: float = 10.0) -> Timing:
    """Timing with one cyclic series, number 0."""
    made = Timing(Baseline(), Lens(FakeNames()), Budget())
    made._series = _Series([_Limits(((*KNOWN[0],), 1, 13, 3), True, 1.0, 0.3, silence, 50.0)])
    return made


def test_timing_of_less_than_a_minute_is_not_believed() -> None:
    series = {"role": 1, "kind": 13, "cause": 3, "count": 200, "total": 50.0, "squares": 13.0, "low": 0.2}
    series |= {"high": 0.3, "histogram": "87:200", "gap_blocks": "0.3;0.3;0.3;0.3;0.3", "gap_block_s": 10.0}
    series |= {"rate_blocks": "40;40;40;40;40", "rate_block_s": 10.0, "first": 0.0, "last": 50.0}
    for learned_s, judged in ((50.0, 0), (60.0, 1)):
        known = Baseline(params={"learned_s": learned_s})
        known.tables["timing"] = TABLES["timing"].frame(
            [conv_fields(KNOWN[0]) | series | {"origin": Origin.LEARNED.value}]
        )
        assert len(Timing(known, Lens(FakeNames()), Budget())._limits) == judged


def settled(timing: Timing, *streams: int) -> list[bool]:
    count = len(streams)
    of, ends = np.zeros(count, np.int64), (np.array([0]), np.array([count - 1]))
    return timing._settled(np.array(streams, np.int64), of, *ends).tolist()  # type: ignore[no-any-return]


def test_a_new_connection_settles_before_its_timing_counts() -> None:
    made = one_series()
    assert settled(made, 4, 4, 4, 4, 4) == [False, False, False, True, True]
    assert settled(made, 4, 5, 5) == [True, False, False]
    assert settled(made, 5, 5) == [False, True]


def test_series_settle_each_on_its_own() -> None:
    made = one_series()
    made._series = _Series(2 * [_Limits(((*KNOWN[0],), 1, 13, 3), True, 1.0, 0.3, 10.0, 50.0)])
    streams, of = np.array([4, 4, 4, 4, 7, 7, 7, 7], np.int64), np.repeat([0, 1], 4)
    ends = np.array([0, 4]), np.array([3, 7])
    assert made._settled(streams, of, *ends).tolist() == 2 * [False, False, False, True]
    assert made._settled(streams, of, *ends).all()


def test_patience_with_what_was_never_heard() -> None:
    at = np.array([0])
    assert one_series()._series.patience(at) == 60
    long = one_series(100.0)
    assert long._series.patience(at) == 300
    long._series.heard[0] = True
    assert long._series.patience(at) == 100


def test_timing_of_an_empty_baseline_says_nothing() -> None:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    made = Timing(Baseline(), Lens(names), Budget())
    rows = [message(n / 10, proto=IEC104, conv=0, role=Role.SERVER, kind=13) for n in range(50)]
    assert made.detect(piece(rows, 0)) == []
