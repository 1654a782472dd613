"""Findings fold into few alerts; alerts of one story into one incident."""

from __future__ import annotations

from synthetic import SECOND, START, FakeNames

from detectors.alerts import MAX_FOLD, Folder, by_start, fold_time, incidents_of
from detectors.base import Alert, Finding, Level, Reading
from detectors.groups import Lens


def finding(ts: float, level: Level = Level.WARNING, group: str = "", frames: int = 1) -> Finding:
    return Finding(
        START + round(ts * SECOND), "d", "rule", level, Reading.FAULT, 1, 0, 1, 2, f"at {level.name}",
        group=group, frames=list(range(frames)), scores={"attack": 0.7, "fault": 0.3},
    )  # fmt: skip


def fold(findings: list[Finding]) -> list[Alert]:
    names = FakeNames()
    names.conv("iec104", 1, 2)
    folder = Folder(Lens(names))
    alerts: list[Alert] = []
    for one in findings:
        alerts += folder.add(one)
    return by_start(alerts + folder.close())


def test_near_findings_extend_one_alert() -> None:
    (alert,) = fold([finding(0), finding(3), finding(7, Level.ALARM)])
    assert (alert.count, alert.level, alert.summary) == (3, "alarm", "at ALARM")
    assert alert.end - alert.start == 7
    assert alert.reading == "attack"
    assert (alert.src, alert.dst, alert.protocol) == ("10.0.0.1", "10.0.0.2", "iec104")


def test_far_findings_and_other_groups_stay_apart() -> None:
    assert len(fold([finding(0), finding(20), finding(20, group="x")])) == 3


def test_a_storm_ends_in_few_alerts() -> None:
    alerts = fold([finding(6.0 * n) for n in range(20_000)])
    assert len(alerts) < 50
    assert sum(alert.count for alert in alerts) == 20_000


def test_fold_time_grows_to_its_limit() -> None:
    assert fold_time(0) == 5
    assert fold_time(10**9) == MAX_FOLD


def test_frames_are_bounded() -> None:
    (alert,) = fold([finding(0, frames=30), finding(1, frames=90)])
    assert len(alert.frames) == 20


def test_ids_are_stable_and_differ() -> None:
    ids = [alert.id for alert in fold([finding(0), finding(60)])]
    assert ids == [alert.id for alert in fold([finding(0), finding(60)])]
    assert len(set(ids)) == 2


def test_incident_joins_by_host_and_time() -> None:
    alerts = fold([finding(0), finding(30, group="x"), finding(500)])
    incidents = incidents_of(alerts)
    assert [len(incident.alerts) for incident in incidents] == [2, 1]
    assert all(alert.incident for alert in alerts)


def test_notices_alone_are_no_incident() -> None:
    assert incidents_of(fold([finding(0, Level.NOTICE), finding(2, Level.NOTICE, "x")])) == []
