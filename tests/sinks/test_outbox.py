"""The outbox: every row is due, whoever wrote it; cursors, quota, and what is given up. Real files only."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from stores import alerts, line, point, write

from sensor.result import Result
from sensor.store import migrations, rows
from sensor.store.lanes import KINDS, LANES, SAMPLE_BYTES, lanes_for
from sensor.store.outbox import MAX_DEAD, DeadLetter, Outbox
from sensor.store.sqlite import Store
from tests.sensor.result_samples import START, alert, storm, substation

BY_NAME = {lane.name: lane for lane in LANES}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def everything(path: Path, sink: str = "s") -> Outbox:
    return Outbox.open(path, sink, lanes_for(KINDS, 0))


def rows_due(outbox: Outbox) -> dict[str, int]:
    return {lane.name: found.rows for lane, found in outbox.waiting().items() if found.rows}


def take_all(outbox: Outbox) -> None:
    for lane in outbox.lanes:
        while rows := outbox.due(lane, 1_000):
            outbox.advance(lane, rows[-1][0], len(rows))


def test_every_row_of_a_store_is_due_once(path: Path) -> None:
    with Store.open(path) as store:
        store.write(substation())
        counts = store.counts()
    with everything(path) as outbox:
        due = rows_due(outbox)
        assert sum(due.values()) == counts["alerts"] + counts["incidents"] + counts["samples"]
        assert due["alerts alarm"] > 0
        take_all(outbox)
        assert rows_due(outbox) == {}
        assert outbox.sent() == sum(due.values())


def test_numbers_are_never_given_twice(path: Path) -> None:
    with Store.open(path) as store:
        store.write(substation())
        numbers = [
            row[0]
            for table in ("alerts", "incidents", "samples")
            for row in store.connection.execute(f"SELECT change FROM {table}")
        ]
    assert len(numbers) == len(set(numbers))
    assert min(numbers) == 1


def test_writing_the_same_again_is_no_news_and_a_change_is(path: Path) -> None:
    write(path, alerts(8), [line("score", 5)])
    with everything(path) as outbox:
        take_all(outbox)
        write(path, alerts(8), [line("score", 5)], tag="another run")
        assert rows_due(outbox) == {}
        write(path, [alert(1, level="notice", start=START, end=START + 5, count=2)])
        assert rows_due(outbox) == {"alerts notice": 1}
        changed = line("score", 5)
        changed.values[2] = 9.0
        write(path, series=[changed])
        assert rows_due(outbox) == {"alerts notice": 1, "levels": 1}


def test_an_alert_that_rises_moves_to_its_new_lane_and_keeps_its_stamp(path: Path) -> None:
    with everything(path) as outbox:
        write(path, [alert(1, level="info", start=START)])
        write(path, [alert(1, level="alarm", start=START - 60)])
        assert rows_due(outbox) == {"alerts alarm": 1}
        (row,) = outbox.due(BY_NAME["alerts alarm"], 10)
        assert row[1:3] == (0b1001, START)


def test_an_update_between_delivery_and_cursor_is_not_lost(path: Path) -> None:
    with everything(path) as outbox:
        write(path, [alert(1, level="alarm")])
        lane = BY_NAME["alerts alarm"]
        (row,) = outbox.due(lane, 10)
        write(path, [alert(1, level="alarm", count=7)])
        outbox.advance(lane, row[0], 1)
        assert rows_due(outbox) == {"alerts alarm": 1}


def test_health_margins_levels_and_scores_go_before_other_samples(path: Path) -> None:
    names = ("level", "score", "trend", "margin tal", "health.drops", "asset.level", "messages", "levels")
    write(path, series=[line(name, 1) for name in names])
    with Store.open(path) as store:
        store.write(Result(captures=["p"], point_series=[point(3)]))
    with everything(path) as outbox:
        assert rows_due(outbox) == {"levels": 6, "samples": 5}


def test_a_store_older_than_the_outbox_keeps_its_rows_and_all_are_due(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations.steps()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "steps", lambda: known[:2])
        with Store.open(path) as store:
            result = substation()
            as_now = rows.alert_row  # the rows had no event then
            patch.setattr(rows, "ALERT_COLUMNS", rows.ALERT_COLUMNS.removesuffix(", event"))
            patch.setattr(rows, "alert_row", lambda alert: as_now(alert)[:-1])
            store._connection.execute("CREATE TEMP TABLE events AS SELECT '' AS id, '' AS what WHERE 0")
            for column in rows.EVENT_COLUMNS.split(", ")[2:]:
                store._connection.execute(f"ALTER TABLE temp.events ADD COLUMN {column}")
            store._connection.execute("CREATE UNIQUE INDEX temp.one_event ON events (id)")
            store.write(result)
            assert store.version == 2
    with Store.open(path) as store:
        counts, found = store.counts(), store.alerts()
        assert len(found) == len(result.alerts)
    with everything(path) as outbox:
        assert sum(rows_due(outbox).values()) == counts["alerts"] + counts["incidents"] + counts["samples"]
        assert "levels" in rows_due(outbox)
        take_all(outbox)
        write(path, alerts(1, 900))
        assert rows_due(outbox) == {"alerts info": 1}
    with Store.open(path) as store:
        assert store.alerts()[:-1] == found or len(store.alerts()) == len(found) + 1
        store.check()


def test_each_sink_has_its_own_place(path: Path) -> None:
    write(path, alerts(8))
    with everything(path, "one") as one, everything(path, "two") as two:
        take_all(one)
        assert rows_due(one) == {}
        assert sum(rows_due(two).values()) == 8
        assert two.sent() == 0


def test_only_what_was_chosen_is_due(path: Path) -> None:
    with Store.open(path) as store:
        store.write(substation())
    with Outbox.open(path, "s", lanes_for(("alerts",), 2)) as outbox:
        assert set(rows_due(outbox)) == {"alerts warning", "alerts alarm"}


def test_what_is_least_important_and_oldest_is_given_up_first(path: Path) -> None:
    with Store.open(path) as store:
        store.write(storm(400))
    with everything(path) as outbox:
        before = {lane.name: found for lane, found in outbox.waiting().items()}
        total = sum(found.bytes for found in before.values())
        loud = sum(
            before[f"{kind} {level}"].bytes
            for kind in ("alerts", "incidents")
            for level in ("alarm", "warning")
        )
        gone = outbox.keep_within(1e9, loud + 2_000)
        after = rows_due(outbox)
        assert sum(found.bytes for found in outbox.waiting().values()) <= loud + 2_000 < total
        assert after["alerts alarm"] == before["alerts alarm"].rows
        assert gone["samples"] == before["samples"].rows
        assert gone["alerts info"] == before["alerts info"].rows
        assert outbox.given_up() == {lane: {"bytes": rows} for lane, rows in gone.items()}
        assert outbox.keep_within(1e9, loud + 2_000) == {}
        newest = outbox.due(BY_NAME["alerts alarm"], 1_000)[-1][0]
        outbox.keep_within(1e9, 1_000)
        assert outbox.due(BY_NAME["alerts alarm"], 1_000)[-1][0] == newest  # the youngest alarm goes last


def test_a_little_too_much_costs_the_oldest_samples_only(path: Path) -> None:
    write(path, series=[line("messages", 1_000)])
    with everything(path) as outbox:
        gone = outbox.keep_within(1e9, 900 * SAMPLE_BYTES)
        assert 100 <= gone["samples"] <= 150
        kept = outbox.due(BY_NAME["samples"], 2_000)
        assert [row[1] for row in kept] == [START + n for n in range(gone["samples"], 1_000)]


def test_ages_are_counted_from_writing_not_from_capture_time(path: Path) -> None:
    """Captures of last year are news when they are read today."""
    with everything(path) as outbox:
        now = [1_000.0]
        outbox._clock = lambda: now[0]
        write(path, alerts(10, level="notice", start=86_400.0, end=86_400.0))
        outbox.mark(60)
        now[0] += 500
        write(path, alerts(7, 100, level="notice"), tag="b")
        outbox.mark(60)
        assert outbox.keep_within(1_000, 10**9) == {}
        now[0] += 600
        assert outbox.keep_within(1_000, 10**9) == {"alerts notice": 10}
        assert rows_due(outbox) == {"alerts notice": 7}
        assert outbox.keep_within(1_000, 10**9) == {}
        assert outbox.given_up() == {"alerts notice": {"age": 10}}


def test_a_jump_of_the_wall_clock_ages_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sensor.store import outbox as module

    write(path, alerts(4))
    with everything(path) as outbox:
        outbox.mark(0)
        real = module.time.time
        monkeypatch.setattr(module.time, "time", lambda: real() + 10 * 365 * 86_400)
        outbox.mark(0)
        assert outbox.keep_within(3_600, 10**9) == {}
        assert sum(rows_due(outbox).values()) == 4


def test_what_was_given_up_is_told_once_as_alert_and_series(path: Path) -> None:
    write(path, series=[line("messages", 1_000)])
    with everything(path) as outbox:
        gone = outbox.keep_within(1e9, 10_000)["samples"]
        assert outbox.report_given_up() == gone
        assert outbox.report_given_up() == 0
        with Store.open(path) as store:
            (told,) = store.alerts()
            assert (told.rule, told.level, told.reading, told.count) == (
                "outbox-given-up",
                "notice",
                "visibility",
                gone,
            )
            assert f"{gone} samples (bytes)" in told.summary
            (health,) = [s for s in store.series() if getattr(s, "name", "") == "health.given_up"]
            assert (health.conversation, health.values.tolist()) == ("s", [gone])
        write(path, alerts(40, level="alarm"))
        lost = outbox.keep_within(1e9, 8_000)["alerts alarm"]
        outbox.report_given_up()
        with Store.open(path) as store:
            (told,) = [a for a in store.alerts() if a.rule == "outbox-given-up"]
            assert told.level == "alarm"  # an alarm's loss is as loud
            assert told.count >= gone + lost


def test_what_retention_deletes_unsent_is_told_per_sink(path: Path) -> None:
    write(path, alerts(20, level="notice"), [line("messages", 50)])
    with everything(path, "behind") as behind, everything(path, "done") as done:
        take_all(done)
        with Store.open(path) as store:
            store.retain(before=START + 1e6)
        assert behind.given_up() == {"alerts notice": {"retention": 20}, "samples": {"retention": 50}}
        assert done.given_up() == {}


def test_dead_letters_are_kept_with_reason_and_bounded(path: Path) -> None:
    write(path, alerts(1, level="alarm"))
    lane = BY_NAME["alerts alarm"]
    with everything(path) as outbox:
        for start in range(0, MAX_DEAD + 100, 100):
            letters = [DeadLetter(n, f"a{n}", "HTTP 400", {"id": n}) for n in range(start, start + 100)]
            outbox.advance(lane, 0, 0, letters)
        assert outbox.dead_count() == MAX_DEAD
        assert outbox.dead_letters(1)[0]["ident"] == f"a{MAX_DEAD + 99}"
        outbox.advance(lane, 0, 0, [DeadLetter(MAX_DEAD + 99, "same", "again", {})])
        assert outbox.dead_count() == MAX_DEAD


def test_labels_are_admitted_for_good_and_bounded(path: Path) -> None:
    with everything(path) as outbox:
        assert outbox.admit({"a", "b"}, 3) == {"a", "b"}
        assert outbox.admit({"c", "d"}, 3) == {"a", "b", "c"}
    with everything(path) as outbox:
        assert outbox.admit({"z"}, 3) == {"a", "b", "c"}


def test_size_of_a_sample_is_what_the_store_takes(path: Path) -> None:
    with Store.open(path) as store:
        before = store.used_bytes()
        store.write(Result(series=[line("messages", 50_000)]))
        assert (store.used_bytes() - before) / 50_000 == pytest.approx(SAMPLE_BYTES, rel=0.15)


def test_due_rows_are_found_by_index(path: Path) -> None:
    """A backlog of millions must not be sorted for every batch."""
    with everything(path) as outbox:
        for lane in outbox.lanes:
            plan: list[Any] = outbox._db.execute(f"EXPLAIN QUERY PLAN {lane.due_sql}", (0, 10)).fetchall()
            text = " ".join(row[3] for row in plan)
            assert f"{lane.table}_due" in text, text
            assert "TEMP B-TREE" not in text, text


def test_a_cursor_is_never_moved_back(path: Path) -> None:
    write(path, alerts(4, level="alarm"))
    lane = BY_NAME["alerts alarm"]
    with everything(path) as outbox:
        outbox.advance(lane, 3, 3)
        outbox.advance(lane, 1, 1)
        assert outbox.position(lane) == 3


def test_outbox_tables_are_strict(path: Path) -> None:
    with everything(path) as outbox, pytest.raises(sqlite3.IntegrityError):
        outbox._db.execute("UPDATE sink_lanes SET position = 'x'")


def test_a_time_is_one_alerts_alone_and_stays(path: Path) -> None:
    write(path, alerts(5))
    with everything(path) as outbox:
        take_all(outbox)
        given = outbox.moments("alerts", {"a00001": 1_000, "a00002": 1_000, "a00003": 1_001})
        assert sorted(given.values()) == [1_000, 1_001, 1_002]
        assert outbox.moments("alerts", {"a00003": 7, "a00004": 1_000}) == {
            "a00003": given["a00003"],
            "a00004": 1_003,
        }
        assert rows_due(outbox) == {}  # it is no change of the alert
