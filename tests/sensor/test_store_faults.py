"""The store when things go wrong: killed writers, two writers, damaged and foreign files, no space."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from result_samples import storm, substation

from detectors.base import Alert
from sensor.result import Result
from sensor.store import migrations
from sensor.store.errors import StoreError, StoreUnavailable
from sensor.store.sqlite import Store

WRITER = textwrap.dedent("""
    import sys
    from detectors.base import Alert
    from sensor.result import Result
    from sensor.store.sqlite import Store

    path, name, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])

    def alert(run, i):
        words = ["x"] * 12
        return Alert(f"{name}-{run}-{i}", 1.0, 2.0, "alarm", *words, None, 1, [1], f"{name}-{run}")

    with Store.open(path, timeout=60) as store:
        for run in range(runs):
            store.write(Result(captures=[name, str(run)], alerts=[alert(run, i) for i in range(200)]))
            print(run, flush=True)
""")


def writer(path: Path, name: str, runs: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(runs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def runs_of(alerts: list[Alert]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for found in alerts:
        counts[found.incident] = counts.get(found.incident, 0) + 1
    return counts


def read_all(path: Path) -> None:
    with Store.open(path) as store:
        store.alerts()
        store.check()


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_writer_killed_at_any_time_leaves_whole_results(tmp_path: Path, after: int) -> None:
    path = tmp_path / "site.db"
    process = writer(path, "w", 100_000)
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Store.open(path) as store:
        store.check()
        counts = runs_of(store.alerts(limit=10**9))
        assert len(counts) >= after  # what was acknowledged is there
        assert set(counts.values()) == {200}
        store.write(substation())


def test_two_writers_queue_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    processes = [writer(path, name, 15) for name in ("a", "b")]
    assert [process.communicate()[0].count("\n") for process in processes] == [15, 15]
    with Store.open(path) as store:
        store.check()
        assert store.counts()["alerts"] == 2 * 15 * 200
        assert set(runs_of(store.alerts(limit=10**9)).values()) == {200}


def test_a_lock_that_is_never_released_is_said(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    with Store.open(path, timeout=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program has locked the store"):
            store.write(substation())
        other.execute("ROLLBACK")
        other.close()
        store.write(substation())


def test_a_text_file_is_no_store_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("start,end,label\n" * 100)
    with pytest.raises(StoreError, match=r"notes\.txt: is not a store \(not an SQLite database\)") as caught:
        Store.open(path)
    assert caught.value.exit_code == 3
    assert path.read_text() == "start,end,label\n" * 100


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "browser.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(StoreError, match="is an SQLite database of another program"):
        Store.open(path)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_newer_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    Store.open(path).close()
    with sqlite3.connect(path) as other:
        other.execute("INSERT INTO schema_steps VALUES (9000, 'later', 0, '9.1.0')")
    with pytest.raises(StoreError, match=r"layout 9000 was written by a newer Gridwarden \(9\.1\.0\)"):
        Store.open(path)


def test_a_damaged_file_is_said_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    with Store.open(path) as store:
        store.write(storm(500))
    raw = bytearray(path.read_bytes())
    raw[4096 * 2 :] = os.urandom(len(raw) - 4096 * 2)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"the store is damaged .* \.recover"):
        read_all(path)


def test_an_interrupted_step_leaves_no_half_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "site.db"
    Store.open(path).close()
    real = migrations.steps()
    broken = migrations.Step(
        real[-1].version + 1, "broken", "CREATE TABLE extra (a INTEGER);\nCREATE TABLE runs (a INTEGER);\n"
    )
    monkeypatch.setattr(migrations, "steps", lambda: [*real, broken])
    with pytest.raises(StoreError, match="table runs already exists"):
        Store.open(path)
    monkeypatch.undo()
    with Store.open(path) as store:
        assert store.version == real[-1].version
        names = [row[0] for row in store._connection.execute("SELECT name FROM sqlite_master")]
        assert "extra" not in names


def test_a_step_is_applied_to_an_older_store_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "site.db"
    with Store.open(path) as store:
        store.write(substation())
    known = migrations.steps()
    number = known[-1].version + 1
    step = migrations.Step(number, "notes", "CREATE TABLE remarks (a INTEGER) STRICT;\n")
    monkeypatch.setattr(migrations, "steps", lambda: [*known, step])
    with Store.open(path) as store:
        assert store.version == number
        assert len(store.alerts()) == 24
        rows = store._connection.execute("SELECT version, name FROM schema_steps ORDER BY version")
        names = [(one.version, one.name) for one in known]
        assert rows.fetchall() == [*names, (number, "notes")]


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a folder") as caught:
        Store.open(tmp_path)
    assert caught.value.exit_code == 4
    with pytest.raises(StoreUnavailable, match="cannot be opened for writing: No such file"):
        Store.open(tmp_path / "none" / "site.db")
    with pytest.raises(StoreUnavailable, match="cannot be opened for writing: Not a directory"):
        Store.open("/dev/null/site.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        Store.open(tmp_path / "site.db")


def test_a_full_disk_is_said_and_the_store_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    with Store.open(path) as store:
        store.write(substation())
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")  # SQLite's own full disk
        with pytest.raises(StoreUnavailable, match="no space left to write the store"):
            store.write(storm(3_000))
        store.check()
        assert len(store.alerts()) == 24


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    path.touch()
    with Store.open(path) as store:
        store.write(Result())
        store.close()
        store.close()


OTHER_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM alerts").fetchall()
connection.execute("CREATE TABLE foreign_note (words TEXT)")
connection.execute("DROP TABLE foreign_note")
connection.commit()
connection.close()
"""


def test_another_program_that_looks_into_a_used_store_takes_nothing_away(tmp_path: Path) -> None:
    """The daemon opens the store several times (itself, each sink), which costs nobody the locks."""
    path = tmp_path / "site.db"
    with Store.open(path) as store, Store.open(path):
        store.write(storm(1))
        log = path.with_name("site.db-wal")
        before = log.stat().st_ino
        subprocess.run([sys.executable, "-c", OTHER_PROGRAM, str(path)], check=True)
        assert log.stat().st_ino == before, "the last to close takes the write-ahead log away: it thought so"
        store.write(storm(2))
    with Store.look(path) as store:
        store.check()
        assert len(store.alerts()) == 2
