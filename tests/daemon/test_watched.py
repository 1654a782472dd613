"""The daemon on a real cable between two namespaces: seen, told, reloaded, blind, killed, started again."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sensor.capture.pcapfile import CaptureFile
from tests.daemon.process import DEMO, Daemon, count, query, until, write_config
from tests.live import wire

pytestmark = pytest.mark.skipif(bool(wire.missing()), reason=wire.missing() or "can be tested")

Start = Callable[..., Daemon]
INSIDE = wire.within(wire.SENSOR)


@pytest.fixture(scope="module")
def cable() -> Iterator[wire.Cable]:
    with wire.Cable() as made:
        yield made


@pytest.fixture(scope="module")
def bad() -> list[bytes]:
    capture = CaptureFile(DEMO / "bad_day.pcap.gz")
    return [batch.frame(row) for batch in capture.batches() for row in range(len(batch))]


def health(path: Path, name: str, source: str = "") -> float:
    """A figure of the last heartbeat."""
    found = query(path, "SELECT fields FROM health WHERE source = ? ORDER BY id DESC LIMIT 1", source)
    return float(json.loads(found[0][0]).get(name, 0.0)) if found else 0.0


def state(path: Path, source: str = "") -> str:
    found = query(path, "SELECT state FROM health WHERE source = ? ORDER BY id DESC LIMIT 1", source)
    return str(found[0][0]) if found else ""


def source(interface: str) -> str:
    return f'[[source]]\ninterface = "{interface}"\nring_mib = 8\n'


def test_an_alert_is_in_the_store_while_its_cause_goes_on(
    cable: wire.Cable, daemon: Start, baseline: Path, bad: list[bytes], tmp_path: Path
) -> None:
    """Told when it opens, not when it closes; no frame is lost by a reload; the end is in order."""
    path = tmp_path / "gridwarden.db"
    process = daemon(write_config(tmp_path / "gw.toml", baseline, source(cable.tap)), INSIDE)
    process.wait_told("READY=1")
    sent = 0
    with cable.sender() as sender:
        for begin in range(0, len(bad), 1_000):
            wire.send_all(sender, bad[begin : begin + 1_000])
            sent += len(bad[begin : begin + 1_000])
            if begin in (3_000, 9_000):
                process.send(signal.SIGHUP)
            time.sleep(0.05)
        until(lambda: count(path, "SELECT count(*) FROM alert_life WHERE open = 1") > 0 or process.ended)
    process.wait_told("READY=1", 2)
    until(lambda: health(path, "frames") >= sent or process.ended, "every frame")
    assert health(path, "frames") == sent
    assert health(path, "drops") == 0
    assert state(path) in ("ok", "behind")
    assert process.end() == 0, process.said
    assert state(path) == "stopped"
    assert count(path, "SELECT count(*) FROM alerts WHERE level = 3 AND reading = 'attack'") > 0
    assert count(path, "SELECT count(*) FROM alerts WHERE rule IN ('frames-lost', 'sensor-blind')") == 0


def test_killed_and_started_again_one_story_stays_one_alert(
    cable: wire.Cable, daemon: Start, baseline: Path, bad: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "gridwarden.db"
    config = write_config(tmp_path / "gw.toml", baseline, source(cable.tap))
    foreign = next(frame for frame in bad if b"\x0a\x14\x1e\x42" in frame)
    with cable.sender() as sender:
        seen: list[set[str]] = []
        for _ in range(3):
            process = daemon(config, INSIDE)
            process.wait_told("READY=1")
            before = count(path, "SELECT sum(count) FROM alerts WHERE detector <> 'sensor'")

            def grown(before: int = before, process: Daemon = process) -> bool:
                wire.send_all(sender, [foreign])
                now = count(path, "SELECT sum(count) FROM alerts WHERE detector <> 'sensor'")
                return now > before or process.ended

            until(grown, "another finding")
            seen.append({row[0] for row in query(path, "SELECT id FROM alerts WHERE detector <> 'sensor'")})
            process.kill()
    assert seen[0]
    doubled = query(
        path,
        "SELECT rule, src, dst, kind, point, count(*) FROM alerts WHERE detector <> 'sensor' "
        "AND rule NOT IN ('capture-pause') GROUP BY rule, src, dst, kind, point HAVING count(*) > 1",
    )
    assert doubled == []
    assert seen[0] <= seen[2]
    off = query(path, "SELECT summary FROM alerts WHERE rule = 'sensor-off' ORDER BY start")
    assert len(off) == 2
    assert "ended without a word" in off[0][0]


def test_a_cable_that_is_pulled_blinds_the_sensor_and_that_is_said(
    cable: wire.Cable, daemon: Start, baseline: Path, bad: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "gridwarden.db"
    more = source(cable.tap) + "\n" + source("lo")
    process = daemon(write_config(tmp_path / "gw.toml", baseline, more), INSIDE)
    process.wait_told("READY=1")
    until(lambda: state(path, cable.tap) == "ok" or process.ended)
    cable.unplug()
    until(lambda: state(path, cable.tap) == "blind" or process.ended, "blindness")
    until(lambda: state(path) == "degraded" or process.ended)  # lo is still seen
    until(lambda: count(path, "SELECT count(*) FROM alerts WHERE rule = 'sensor-blind'") == 1)
    cable.plug()
    until(lambda: state(path, cable.tap) == "ok" or process.ended, "sight")
    with cable.sender() as sender:
        wire.send_all(sender, bad[:200])
    until(lambda: health(path, "frames", cable.tap) >= 200 or process.ended)
    until(lambda: health(path, "frames") >= 200 or process.ended, "frames of one of two interfaces")
    assert health(path, "blind_s", cable.tap) > 0
    assert process.end() == 0, process.said
    closed = "SELECT open FROM alert_life JOIN alerts ON alerts.id = alert WHERE rule = 'sensor-blind'"
    assert query(path, closed) == [(0,)]


def test_an_interface_that_is_not_there_is_refused_at_the_start(
    cable: wire.Cable, daemon: Start, baseline: Path, tmp_path: Path
) -> None:
    process = daemon(write_config(tmp_path / "gw.toml", baseline, source("eth99")), INSIDE)
    assert process.wait() == 3
    assert "no interface 'eth99' on this machine" in process.wait_said("eth99")
