"""A wall clock that is set back does not stop detection, and what was judged stays in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detectors.baseline import Baseline
from grid_profiles.loader import load_registry
from sensor.capture.pcapfile import CaptureFile
from sensor.config.schema import Config, SourceConfig, StoreConfig
from sensor.daemon.clock import Clock
from sensor.daemon.keeper import Keeper
from sensor.daemon.own_alerts import OwnAlerts
from sensor.daemon.watch import Watch, make_judge
from sensor.errors import CaptureError
from sensor.frames import FrameBatch
from tests.daemon.process import DEMO, count, query

HOUR = 3_600 * 1_000_000_000


class Hands:
    """A wall clock and a monotonic one that a test moves."""

    wall_s, monotonic_s = 1_700_000_000.0, 10.0


class SetBack:
    """A capture in the middle of which the clock is set back by an hour."""

    shown, size, position, dropped = "x", 0, 0, 0

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.notes: list[str] = []
        self.problems: list[CaptureError] = []
        self.batches_seen = 0

    def batches(self, max_frames: int = 1) -> Iterator[FrameBatch]:
        every = list(CaptureFile(DEMO / "quiet_test.pcap.gz").batches(max_frames=500))
        for number, batch in enumerate(every):
            if number == len(every) // 2:
                self.hands.wall_s -= 3_600
            if number >= len(every) // 2:
                batch.ts = batch.ts - HOUR
            yield batch

    def stop(self) -> None:
        """It ends by itself."""


def test_detection_goes_on_after_the_clock_was_set_back(baseline: Path, tmp_path: Path) -> None:
    hands = Hands()
    clock = Clock(lambda: hands.wall_s, lambda: hands.monotonic_s)
    path = tmp_path / "a.db"
    config = Config(
        tmp_path / "x.toml",
        "lab",
        "sensor",
        baseline,
        sources=(SourceConfig("x", "x"),),
        store=StoreConfig(path=path),
    )
    own, said, feeds = OwnAlerts(), list[str](), SetBack(hands)
    keeper = Keeper(config.store, clock, own, said.append)
    keeper.open()
    keeper.start()
    judge = make_judge(config, load_registry(()), Baseline.load(baseline), feeds)  # type: ignore[arg-type]
    watch = Watch(config, judge, feeds, keeper, own, clock, said.append)  # type: ignore[arg-type]
    watch.thread.start()
    assert watch.ended.wait(300)
    assert watch.error is None
    assert keeper.stop(60)
    assert said == ["the clock of this machine was set back by 3,600.0 s"]
    assert "set back" in watch.wants_renewal
    assert count(path, "SELECT count(*) FROM alerts WHERE rule = 'clock-set'") == 1
    windows = [
        row[0]
        for row in query(
            path,
            "SELECT ts FROM samples JOIN series ON series.id = series "
            "WHERE name = 'score' AND protocol = '' AND conversation = '' ORDER BY ts",
        )
    ]
    late = [ts for ts in windows if ts > windows[0] + 1_800]
    assert len(late) > 5  # from before
    assert len(windows) - len(late) > 5  # and from after: time goes on, an hour earlier
    frames = sum(len(batch) for batch in CaptureFile(DEMO / "quiet_test.pcap.gz").batches())
    assert judge.decoded.native.counters["frames"] == frames
