"""The daemon on captures: the same alerts as `detect`, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detectors.base import Alert
from detectors.baseline import Baseline
from sensor.engines import open_engine
from sensor.pipeline import detect
from sensor.store.sqlite import Store
from tests.daemon.process import DEMO, Daemon, count, query, until, write_config

BAD_DAY = f'[[source]]\ncaptures = ["{DEMO}/bad_day.pcap.gz"]'
FRAMES = 18_314
ALERTS = "SELECT count(*) FROM alerts WHERE detector <> 'sensor'"

Start = Callable[..., Daemon]


def facts(alert: Alert) -> tuple[Any, ...]:
    return (
        alert.level, alert.reading, alert.rule, alert.start, alert.end, alert.count, alert.summary,
        alert.observed, alert.frames, alert.readings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wanted(baseline: Path) -> dict[str, tuple[Any, ...]]:
    """What `detect` says of the bad day."""
    decoded = open_engine([DEMO / "bad_day.pcap.gz"], "native")
    return {
        alert.id: facts(alert) for alert in detect(decoded, decoded.names, Baseline.load(baseline)).alerts
    }


def stored(path: Path) -> dict[str, tuple[Any, ...]]:
    with Store.look(path) as store:
        return {alert.id: facts(alert) for alert in store.alerts() if alert.detector != "sensor"}


def test_a_played_capture_gives_the_alerts_of_detect(
    daemon: Start, baseline: Path, wanted: dict[str, tuple[Any, ...]], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY)
    process = daemon(config)
    assert process.wait() == 0, process.said
    path = tmp_path / "gridwarden.db"
    assert stored(path) == wanted
    assert count(path, "SELECT count(*) FROM alert_life WHERE open = 1") == 0
    assert query(
        path, "SELECT state, json_extract(fields, '$.frames') FROM health ORDER BY id DESC LIMIT 1"
    ) == [("stopped", FRAMES)]
    assert {"READY=1", "STOPPING=1", "WATCHDOG=1"} <= set(process.told)
    names = {row[0] for row in query(path, "SELECT DISTINCT name FROM series")}
    assert {
        "level",
        "score",
        "asset.level",
        "margin.goose_tal",
        "margin.iec104_k",
        "margin.iec104_t1",
        "margin.response_left",
    } <= names
    assert {"health.lag_s", "health.rss_mib", "health.drops", "health.disk_free_mib"} <= names
    assert query(path, "SELECT max(value) FROM samples JOIN series ON series.id = series WHERE name = 'level'"
                 " AND protocol = '' AND conversation = ''") == [(3.0,)]  # fmt: skip
    incidents = {row[0] for row in query(path, "SELECT id FROM incidents")}
    assert {
        row[0] for row in query(path, "SELECT DISTINCT incident FROM alerts WHERE incident <> ''")
    } <= incidents


def kill_after(process: Daemon, path: Path, alerts: int) -> None:
    """SIGKILL once so many alerts are stored."""
    process.wait_told("READY=1")
    until(lambda: count(path, ALERTS) >= alerts or process.ended)
    process.kill()


def test_killed_at_any_time_no_alert_is_lost_or_doubled(
    daemon: Start, baseline: Path, wanted: dict[str, tuple[Any, ...]], tmp_path: Path
) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY)
    path = tmp_path / "gridwarden.db"
    for number in (1, len(wanted) // 3, 2 * len(wanted) // 3):
        kill_after(daemon(config), path, number)
    assert daemon(config).wait() == 0
    assert stored(path) == wanted
    with Store.open(path) as store:
        store.check()


def test_sigterm_ends_in_order_with_everything_written(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY, "[replay]\nspeed = 60")
    process = daemon(config)
    path = tmp_path / "gridwarden.db"
    until(lambda: count(path, ALERTS) >= 3 or process.ended)
    assert process.end() == 0, process.said
    assert "STOPPING=1" in process.told
    assert count(path, "SELECT value FROM marks WHERE name = 'clean'") == 1
    assert count(path, "SELECT count(*) FROM alert_life WHERE open = 1") == 0
    assert (
        0 < count(path, "SELECT max(json_extract(fields, '$.frames')) FROM health WHERE source = ''") < FRAMES
    )


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(
    daemon: Start, baseline: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY, "[replay]\nspeed = 300")
    good = config.read_text()
    process = daemon(config)
    process.wait_told("READY=1")
    path = tmp_path / "gridwarden.db"
    until(lambda: count(path, ALERTS) >= 1 or process.ended)
    config.write_text(good.replace("interval_s = 0.2", 'interval_s = "soon"'))
    process.send(signal.SIGHUP)
    line = process.wait_said("health.interval_s")
    assert f"{config}:9: health.interval_s: 'soon' is not a number" in line
    assert any("is refused, the old one goes on" in said for said in process.said)
    config.write_text(good.replace(str(baseline), str(tmp_path / "none.baseline")))
    process.send(signal.SIGHUP)
    assert f"{config}:3: site.baseline" in process.wait_said("none.baseline")
    process.wait_told("READY=1", 3)
    config.write_text(good + "[warning]\nmax_assets = 5\n")
    process.send(signal.SIGHUP)
    process.wait_said("read again")
    assert process.told.count("RELOADING=1") == 3
    assert process.wait() == 0, process.said  # to the end of the capture, and not a frame is missing
    assert count(path, "SELECT max(json_extract(fields, '$.frames')) FROM health WHERE source = ''") == FRAMES


def test_a_damaged_store_does_not_keep_the_sensor_from_its_work(
    daemon: Start, baseline: Path, wanted: dict[str, tuple[Any, ...]], tmp_path: Path
) -> None:
    path = tmp_path / "gridwarden.db"
    path.write_bytes(os.urandom(50_000))
    process = daemon(write_config(tmp_path / "gw.toml", baseline, BAD_DAY))
    assert process.wait() == 0, process.said
    assert stored(path) == wanted
    assert count(path, "SELECT count(*) FROM alerts WHERE rule = 'store-damaged'") == 1
    assert any("is set aside" in line for line in process.said)


def test_what_cannot_be_started_says_why(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "gw.toml", tmp_path / "none", BAD_DAY)
    process = daemon(config)
    assert process.wait() == 3
    assert f"{config}:3: site.baseline" in process.wait_said("site.baseline")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY, '[store]\npath = "other.db"')
    process = daemon(config)
    assert process.wait() == 3
    assert "another program" in process.wait_said("another program")
    assert "READY=1" not in process.told


def test_captures_of_two_sources_are_one_traffic(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    more = f'\n[[source]]\nname = "again"\ncaptures = ["{DEMO}/quiet_test.pcap.gz"]'
    process = daemon(write_config(tmp_path / "gw.toml", baseline, BAD_DAY + more))
    assert process.wait() == 0, process.said
    path = tmp_path / "gridwarden.db"
    rows = dict(
        query(path, "SELECT source, max(json_extract(fields, '$.frames')) FROM health GROUP BY source")
    )
    assert rows["bad_day.pcap.gz"] == FRAMES
    assert rows[""] == rows["bad_day.pcap.gz"] + rows["again"]
    newest = count(path, "SELECT max(ts) FROM health")
    assert abs(newest - time.time()) < 3600
