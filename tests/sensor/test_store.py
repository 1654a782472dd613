"""The store: what is written comes back, again and again, whole or not at all. Real files only."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_samples import HOSTILE, START, alert, hostile, storm, substation

from detectors.base import Alert, Event, Incident, Level
from sensor.result import LEVELS, AssetRow, PointSeries, Result, Series
from sensor.store.live import LiveWriter, Pending
from sensor.store.sqlite import Store

TEXT = st.text(max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT = st.floats(allow_nan=False)

ALERTS = st.builds(
    Alert,
    id=TEXT,
    start=FLOAT,
    end=FLOAT,
    level=st.sampled_from(LEVELS),
    p_value=st.none() | FLOAT,
    count=INT64,
    frames=st.lists(INT64, max_size=5),
    readings=st.dictionaries(TEXT, FLOAT, max_size=4),
    **dict.fromkeys(
        (
            *("reading", "detector", "rule", "technique", "protocol", "src", "dst", "kind", "point"),
            *("summary", "expected", "observed", "incident"),
        ),
        TEXT,
    ),
)
INCIDENTS = st.builds(
    Incident,
    id=TEXT,
    start=FLOAT,
    end=FLOAT,
    level=st.sampled_from(LEVELS),
    reading=TEXT,
    summary=TEXT,
    **dict.fromkeys(("hosts", "protocols", "alerts"), st.lists(TEXT, max_size=3)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.db"


def same_sample(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(ALERTS, max_size=5, unique_by=lambda a: a.id),
    st.lists(INCIDENTS, max_size=3, unique_by=lambda i: i.id),
)
def test_any_alert_and_incident_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, alerts: list[Alert], incidents: list[Incident]
) -> None:
    with Store.open(tmp_path_factory.mktemp("store") / "a.db") as store:
        store.write(Result(alerts=alerts, incidents=incidents))
        assert sorted(store.alerts(), key=lambda a: a.id) == sorted(alerts, key=lambda a: a.id)
        assert sorted(store.incidents(), key=lambda i: i.id) == sorted(incidents, key=lambda i: i.id)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.dictionaries(FLOAT, st.floats(), max_size=20),
    names=st.tuples(TEXT, TEXT, TEXT, TEXT),
    band=st.tuples(st.floats(), st.floats()),
)
def test_any_series_comes_back_in_order_of_time(
    tmp_path_factory: pytest.TempPathFactory,
    samples: dict[float, float],
    names: tuple[str, str, str, str],
    band: tuple[float, float],
) -> None:
    ts, values = np.array(list(samples), float), np.array(list(samples.values()), float)
    with Store.open(tmp_path_factory.mktemp("store") / "a.db") as store:
        point = PointSeries("p" + names[0], names[1], names[2], ts, values, *band)
        store.write(Result(series=[Series(*names, ts, values)], point_series=[point]))
        plain, valued = store.series()
    order = np.argsort(ts)
    for line in (plain, valued):
        assert np.array_equal(line.ts, ts[order])
        assert all(map(same_sample, line.values.tolist(), values[order].tolist()))
    assert isinstance(valued, PointSeries)
    assert same_sample(valued.low, band[0])
    assert same_sample(valued.high, band[1])


def test_a_whole_result_is_found_again_after_reopening(path: Path) -> None:
    result = substation()
    with Store.open(path) as store:
        written = store.write(result)
    assert (written.alerts, written.incidents, written.assets) == (24, 3, 8)
    with Store.open(path) as store:
        assert store.alerts() == result.alerts
        assert [asdict(i) for i in store.incidents()] == [asdict(i) for i in result.incidents]
        assert store.assets() == sorted(result.assets, key=lambda a: a["first"])
        assert len(store.series()) == 4
        (run,) = store.runs()
        assert (run["packets"], run["lost"], run["false_alarms_per_day"]) == (4_812_377, 212, 1.0)
        assert store.counts()["samples"] == written.samples
        store.check()


def test_writing_again_updates_and_adds_nothing(path: Path) -> None:
    result = substation()
    with Store.open(path) as store:
        store.write(result)
        before = store.counts()
        store.write(result)
        assert store.counts() == before
        result.alerts[0] = replace(result.alerts[0], count=99, summary="seen more often")
        store.write(result)
        assert store.counts() == before
        assert store.alerts(limit=1)[0].count == 99


def test_an_asset_keeps_its_first_and_last_sight_over_runs(path: Path) -> None:
    def device(first: float, last: float) -> AssetRow:
        return AssetRow(mac="m", ip=["1"], vendor="", roles=[], protocols=[], first=first, last=last)

    with Store.open(path) as store:
        store.write(Result(captures=["b"], assets=[device(50, 60)]))
        store.write(Result(captures=["a"], assets=[device(10, 20)]))
        assert store.assets() == [device(10, 60)]
        assert store.counts()["runs"] == 2


def test_alerts_are_chosen_by_level_time_and_incident(path: Path) -> None:
    with Store.open(path) as store:
        store.write(substation())
        assert {a.level for a in store.alerts(min_level=Level.ALARM)} == {"alarm"}
        assert {a.incident for a in store.alerts(incident="i2")} == {"i2"}
        found = store.alerts(start=START + 9_000, end=START + 9_040)
        assert [a.rule for a in found] == ["new-asset"]
        assert len(store.alerts(limit=5)) == 5


def test_hostile_text_and_numbers_beyond_sixty_four_bits(path: Path) -> None:
    result = hostile()
    result.assets[0]["last"] = 1.0
    result.alerts[1] = replace(result.alerts[1], count=10**30, p_value=float("nan"))
    with Store.open(path) as store:
        store.write(result)
        found = store.alerts()
    assert "onerror" in found[0].summary
    assert "\\ud800" in found[0].summary
    assert (found[1].count, found[1].p_value) == (2**63 - 1, None)


def test_a_result_that_does_not_fit_leaves_nothing_behind(path: Path) -> None:
    result = substation()
    result.alerts.append(alert(999, start=float("nan")))
    with Store.open(path) as store:
        with pytest.raises(Exception, match="refused a statement"):
            store.write(result)
        assert set(store.counts().values()) == {0}


def test_new_stores_are_not_for_everybody(path: Path) -> None:
    Store.open(path).close()
    assert path.stat().st_mode & 0o007 == 0


def test_write_ahead_log_foreign_keys_and_full_sync(path: Path) -> None:
    with Store.open(path) as store:
        ask = store._connection.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA foreign_keys").fetchone() == (1,)
        assert ask("PRAGMA synchronous").fetchone() == (2,)


def test_retention_by_age_counts_what_it_gives_up(path: Path) -> None:
    with Store.open(path) as store:
        store.write(substation())
        before = store.counts()
        dropped = store.retain(before=START + 10_000)
        after = store.counts()
        assert all(a.end >= START + 10_000 for a in store.alerts())
        assert dropped["samples"] == before["samples"] - after["samples"]
        assert dropped["incidents"] == 1
        assert store.given_up() == dropped
        assert store.retain(before=START + 10_000) == {}
        store.check()


def test_retention_by_size_keeps_alarms_longest(path: Path) -> None:
    with Store.open(path) as store:
        store.write(storm(2_000))
        full, alarms = store.used_bytes(), len(store.alerts(min_level=Level.ALARM))
        size_before = path.stat().st_size + path.with_name("site.db-wal").stat().st_size
        limit = full * 6 // 10
        dropped = store.retain(max_bytes=limit)
        assert store.used_bytes() <= limit
        assert store.counts()["samples"] == 0
        assert dropped["alerts info"] > 0
        assert "alerts alarm" not in dropped
        assert len(store.alerts(min_level=Level.ALARM)) == alarms
        assert path.stat().st_size < size_before
        store.retain(max_bytes=0)
        assert store.counts()["alerts"] == 0
        assert store.given_up()["alerts alarm"] == alarms


def test_tables_are_strict(path: Path) -> None:
    if sqlite3.sqlite_version_info < (3, 37):
        pytest.skip("this SQLite has no STRICT tables")
    with Store.open(path) as store, pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT"):
        store._connection.execute("INSERT INTO samples (series, ts, value) VALUES (1, 'now', 1)")


def events_of_a_day() -> list[Event]:
    return [
        Event(
            id=f"e{n:03d}",
            what="reconnect",
            start=START + 100.0 * n,
            end=START + 100.0 * n + 60,
            summary=f"{HOSTILE if n == 1 else 'opened again'}",
            hosts=["10.0.0.1", "10.0.0.2"],
            protocols=["iec104"],
            explained={"rate": n},
        )
        for n in range(5)
    ]


def test_events_come_back_as_they_were_and_alerts_name_theirs(path: Path) -> None:
    result = Result(events=events_of_a_day(), alerts=[alert(1, event="e001", level="info")])
    with Store.open(path) as store:
        store.write(result)
        store.write(result)
    with Store.look(path) as store:
        (first, second, *rest) = store.events()
        assert first == result.events[0]
        assert second.explained == {"rate": 1}
        assert len(rest) == 3
        assert [event.id for event in store.events(start=START + 360)] == ["e003", "e004"]
        assert store.alerts()[0].event == "e001"


def test_a_running_sensor_writes_events(path: Path) -> None:
    with Store.open(path) as store:
        pending = Pending(events={event.id: event for event in events_of_a_day()})
        assert pending
        LiveWriter(store).write(pending, START)
        assert len(store.events()) == 5


def test_events_age_like_everything_else(path: Path) -> None:
    with Store.open(path) as store:
        store.write(Result(events=events_of_a_day()))
        assert store.retain(before=START + 170)["events"] == 2
        assert [event.id for event in store.events()] == ["e002", "e003", "e004"]
