"""The store's thread: what disks do to it, and what it does about it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from detectors.base import Level
from sensor.config.schema import StoreConfig
from sensor.daemon import keeper as keeper_module
from sensor.daemon.clock import TRUST_AFTER, Believed, Clock, clock_offset
from sensor.daemon.keeper import Keeper
from sensor.daemon.own_alerts import OwnAlerts, own_alert
from sensor.store.errors import StoreError
from sensor.store.life import Decision, Wanted, decide, decisions_of, find_alerts, get_alert, latest_health
from sensor.store.live import AlertChange, HealthRow, LevelRow, get_mark, open_folds
from sensor.store.sqlite import Store

PATIENCE = 30.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def change(ident: str, level: str = "warning", start: float = 1000.0, is_open: bool = False) -> AlertChange:
    alert = own_alert("rule-x", Level.WARNING, "", f"words of {ident}", start)
    alert.id, alert.level = ident, level
    return AlertChange(alert, is_open, "{}" if is_open else "")


class Wheel:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = 1_700_000_000.0, 50.0
        self.clock = Clock(lambda: self.wall_s, lambda: self.monotonic_s)

    def pass_time(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


@pytest.fixture
def made() -> Iterator[Callable[..., Keeper]]:
    """Makes keepers, and ends them."""
    started: list[Keeper] = []

    def make(path: Path, clock: Clock | None = None, **settings: float) -> Keeper:
        config = replace(StoreConfig(path=path), **settings)  # type: ignore[arg-type]
        keeper = Keeper(config, clock or Clock(), OwnAlerts(), lambda text: None)
        started.append(keeper)
        return keeper

    yield make
    for keeper in started:
        keeper.stop(5)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def ids(path: Path) -> set[str]:
    with Store.look(path) as store:
        return {alert.id for alert in store.alerts()}


def fill(block: Path) -> None:
    """Take all the space there is."""
    with contextlib.suppress(OSError), block.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def rules(path: Path) -> dict[str, str]:
    with Store.look(path) as store:
        return {alert.rule: alert.summary for alert in store.alerts() if alert.detector == "sensor"}


def test_what_is_put_is_there_and_twice_is_once(made: Callable[..., Keeper], tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    keeper = made(path)
    assert keeper.open() == ([], None)
    keeper.start()
    level = LevelRow("site", "", "here", 2, 0.5, 0.1, 10.0, 20.0, "rule-x")
    for _ in range(2):
        keeper.put(
            change("a", is_open=True),
            samples=[(("score", "", "", "1"), 10.0, 0.5), (("score", "", "", "1"), 20.0, float("nan"))],
            levels={("site", "", "here"): level},
            health=[HealthRow(5.0, "", "ok", {"lag_s": 0.5, "rss_mib": float("nan")})],
        )
    assert keeper.stop(PATIENCE)
    with Store.look(path) as store:
        assert [one.id for one in store.alerts()] == ["a"]
        assert store.series()[0].ts.tolist() == [10.0, 20.0]
        assert store.query("SELECT level, cause FROM levels") == [(2, "rule-x")]
        assert latest_health(store) == [HealthRow(5.0, "", "ok", {"lag_s": 0.5})]
        assert open_folds(store) == ["{}"]
        assert get_mark(store, "clean") == 1


def test_a_full_disk_is_waited_for_and_nothing_of_importance_is_lost(
    made: Callable[..., Keeper], small: Path
) -> None:
    path = small / "a.db"
    keeper = made(path, waiting_alerts=50)
    keeper.open()
    keeper.start()
    keeper.put(change("before"))
    until(lambda: keeper.written > 0)
    block = small / "block"
    fill(block)
    keeper.put(*(change(f"loud{n}", "alarm", n) for n in range(40)))
    until(lambda: "no space left" in keeper.trouble)
    keeper.put(*(change(f"quiet{n}", "notice", n) for n in range(40)))
    until(lambda: keeper.given_up["alerts notice"] > 0)
    figures = keeper.figures()
    assert figures["store_waiting_alerts"] <= 50
    assert figures["store_given_up"] == keeper.given_up["alerts notice"]
    block.unlink()
    until(lambda: not keeper.trouble)
    assert keeper.stop(PATIENCE)
    found = ids(path)
    assert {f"loud{n}" for n in range(40)} <= found
    assert "before" in found
    assert "alerts notice" in rules(path)["store-unavailable"]
    with Store.look(path) as store:
        store.check()


def test_a_file_system_that_becomes_read_only_is_waited_for(made: Callable[..., Keeper], small: Path) -> None:
    path = small / "a.db"
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    keeper = made(path)
    assert keeper.open() == ([], None)  # the sensor starts all the same
    keeper.start()
    keeper.put(change("a"))
    until(lambda: keeper.figures()["store_failing_s"] > 0)
    assert "cannot be opened for writing" in keeper.trouble
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    until(lambda: keeper.written > 0)
    assert keeper.stop(PATIENCE)
    assert "a" in ids(path)


@pytest.mark.parametrize("damage", ["header", "pages"])
def test_a_damaged_store_is_set_aside_at_the_start(
    made: Callable[..., Keeper], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "a.db"
    first = made(path)
    first.open()
    first.start()
    first.put(*(change(f"old{n}") for n in range(2_000)))
    until(lambda: first.written > 0)
    first.put(health=[HealthRow(time.time(), "", "ok", {})])
    assert first.stop(PATIENCE)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.execute("UPDATE marks SET value = 0 WHERE name = 'clean'")  # it did not end in order
    raw.close()
    content = bytearray(path.read_bytes())
    part = slice(0, 4096) if damage == "header" else slice(len(content) // 2, len(content))
    content[part] = os.urandom(part.stop - part.start)
    path.write_bytes(content)
    second = made(path)
    second.open()
    second.start()
    second.put(change("new"))
    until(lambda: bool(list(tmp_path.glob("a.db.damaged-*"))))
    until(lambda: second.written > 0)
    assert second.stop(PATIENCE)
    assert "new" in ids(path)
    assert not any(alert.startswith("old") for alert in ids(path))
    assert "is set aside as a.db.damaged-" in rules(path)["store-damaged"]
    (aside,) = [p for p in tmp_path.glob("a.db.damaged-*") if not p.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes()[part] == bytes(content)[part]


def test_damaged_files_do_not_fill_the_disk(made: Callable[..., Keeper], tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for _ in range(keeper_module.KEEP_DAMAGED + 3):
        path.write_bytes(os.urandom(8192))
        keeper = made(path)
        keeper.open()
        keeper.stop(5)
        for companion in ("-wal", "-shm"):
            Path(f"{path}{companion}").unlink(missing_ok=True)
    assert len(list(tmp_path.glob("a.db.damaged-*"))) == keeper_module.KEEP_DAMAGED


def test_a_store_of_another_program_is_refused_and_left_alone(
    made: Callable[..., Keeper], tmp_path: Path
) -> None:
    path = tmp_path / "browser.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    with pytest.raises(StoreError, match="another program"):
        made(path).open()
    assert list(tmp_path.glob("*.damaged-*")) == []


def test_a_store_that_somebody_moves_away_is_begun_anew(made: Callable[..., Keeper], tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    keeper = made(path)
    keeper.open()
    keeper.start()
    keeper.put(change("a"))
    until(lambda: keeper.written == 1)
    path.rename(tmp_path / "moved.db")
    for companion in ("-wal", "-shm"):
        Path(f"{path}{companion}").rename(tmp_path / f"moved.db{companion}")
    keeper.put(change("b"))
    until(lambda: keeper.written == 2)
    assert keeper.stop(PATIENCE)
    assert ids(path) == {"b"}


# --- clocks -------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_is_noticed_once_and_drift_is_not() -> None:
    wheel = Wheel()
    clock = wheel.clock
    wheel.pass_time(3600)
    wheel.wall_s += 0.4  # slewed
    assert clock.jump() == 0.0
    wheel.wall_s -= 7200
    assert clock.jump() == pytest.approx(-7200)
    assert clock.jump() == 0.0
    wheel.wall_s += 1e8
    assert clock.jump() == pytest.approx(1e8)


def test_retention_does_not_believe_a_clock_that_went_ahead(
    made: Callable[..., Keeper], tmp_path: Path
) -> None:
    wheel = Wheel()
    path = tmp_path / "a.db"
    keeper = made(path, wheel.clock, keep_days=30)
    keeper.open()
    keeper.put(change("a", start=wheel.wall_s), health=[HealthRow(wheel.wall_s, "", "ok", {})])
    keeper._round()
    wheel.wall_s += 10 * 365 * 86_400.0  # ten years ahead, by mistake
    assert keeper.retain() == {}
    assert ids(path) == {"a"}
    wheel.wall_s -= 10 * 365 * 86_400.0  # and set right
    assert keeper.retain() == {}
    wheel.pass_time(29 * 86_400.0)
    keeper.retain()
    assert ids(path) == {"a"}
    wheel.pass_time(2 * 86_400.0)
    keeper.retain()
    assert ids(path) == set()


def test_a_sensor_that_was_off_for_long_believes_its_clock_after_a_day() -> None:
    wheel = Wheel()
    month = 30 * 86_400.0
    believed = Believed(wheel.clock, wheel.wall_s - month)
    assert believed.now() == pytest.approx(wheel.wall_s - month)
    wheel.pass_time(TRUST_AFTER - 1)
    assert believed.now() < wheel.wall_s - month / 2
    wheel.pass_time(2)
    assert believed.now() == pytest.approx(wheel.wall_s)
    wheel.wall_s -= 3600  # set back: at once
    assert believed.now() <= wheel.wall_s


def test_the_kernel_is_asked_about_the_clock_without_setting_it() -> None:
    before = time.time() - time.monotonic()
    offset = clock_offset()
    assert offset is None or abs(offset[0]) < 10
    assert abs(time.time() - time.monotonic() - before) < 1


# --- alerts' life -------------------------------------------------------------------------------------


def test_alerts_are_found_by_what_is_known_of_them(made: Callable[..., Keeper], tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    keeper = made(path)
    keeper.open()
    keeper.start()
    one, two, three = (
        change("aa1", "alarm", 100.0, True),
        change("ab2", "info", 200.0),
        change("b3", "notice", 300.0),
    )
    one.alert.src, one.alert.protocol = "10.0.0.7", "iec104"
    two.alert.dst = "10.0.0.7"
    keeper.put(one, two, three)
    assert keeper.stop(PATIENCE)
    with Store.open(path) as store:

        def found(**wanted: object) -> list[str]:
            return [filed.alert.id for filed in find_alerts(store, Wanted(**wanted))]  # type: ignore[arg-type]

        assert found() == ["b3", "ab2", "aa1"]
        assert found(limit=1) == ["b3"]
        assert found(since=250.0) == ["b3"]
        assert found(until=150.0) == ["aa1"]
        assert found(min_level=Level.NOTICE) == ["b3", "aa1"]
        assert found(asset="10.0.0.7") == ["ab2", "aa1"]
        assert found(protocol="iec104") == ["aa1"]
        assert found(open_only=True) == ["aa1"]
        decide(store, ["aa"], Decision("acknowledged", "meier", "seen", 400.0))
        decide(store, ["aa1", "b"], Decision("rejected", "huber", "not ours' --", 500.0))
        assert found(decided="none") == ["ab2"]
        assert found(decided="rejected") == ["b3", "aa1"]
        assert [one.what for one in decisions_of(store, "aa1")] == ["acknowledged", "rejected"]
        latest = get_alert(store, "aa1").decision
        assert latest == Decision("rejected", "huber", "not ours' --", 500.0)
        for ident, words in (
            ("a", "several alerts begin"),
            ("zz", "no alert"),
            ("", "no alert"),
            ("%", "no alert"),
        ):
            with pytest.raises(Exception, match=words):
                get_alert(store, ident)
