"""Which alerts share a bundle, when it is cut, and how many there may be."""

from __future__ import annotations

from detectors.base import Alert
from sensor.bundle.cutting import MAX_ALERTS, Cutter, Wish
from sensor.bundle.origin import Origin
from sensor.bundle.ring import Cut, FrameRing
from tests.bundle.samples import SECOND, frames
from tests.sensor.result_samples import alert as sample


def judge(baseline: str) -> Origin:
    return Origin("lab", "s1", "native", (), baseline, "00")


class Bench:
    """A cutter whose bundles are kept."""

    def __init__(self, per_hour: int = 10, before: float = 10, after: float = 5) -> None:
        self.made: list[tuple[list[str], Cut]] = []
        self.judges: list[str] = []
        wish = Wish(2, round(before * SECOND), round(after * SECOND), 1 << 24, 1 << 18, per_hour)
        self.cutter = Cutter(wish, FrameRing(1 << 28), self.keep, judge("one"))
        self.number = 1

    def keep(self, alerts: list[Alert], cut: Cut, origin: Origin) -> None:
        self.judges.append(origin.baseline)
        self.made.append(([alert.id for alert in alerts], cut))

    def second(self, at: int) -> None:
        """Ten frames in a second that is then judged."""
        self.cutter.frames(frames([at + n / 10 for n in range(10)], first=self.number))
        self.number += 10
        self.cutter.tick((at + 1) * SECOND)

    def tell(self, ident: str, at: float, level: str = "warning", seen: tuple[int, ...] = ()) -> None:
        made = sample(1, id=ident, start=at, end=at, level=level, frames=list(seen))
        self.cutter.alerts([made], round(at * SECOND) + SECOND)


def test_a_slice_waits_for_the_frames_after_its_alert() -> None:
    bench = Bench()
    for at in range(100):
        bench.second(at)
        if at == 50:
            bench.tell("a", 50.0, seen=(501,))
        assert bool(bench.made) == (at >= 55), at
    ((ids, cut),) = bench.made
    assert ids == ["a"]
    assert cut.incomplete == []
    assert (cut.first, cut.last) == (40 * SECOND, 55 * SECOND)


def test_only_loud_alerts_and_each_once() -> None:
    bench = Bench()
    for at in range(200):
        bench.second(at)
        bench.tell("quiet", at, "notice")
        bench.tell("loud", at)
    assert [ids for ids, _ in bench.made] == [["loud"]]


def test_an_alert_that_becomes_loud_has_a_bundle_then() -> None:
    bench = Bench()
    for at in range(100):
        bench.second(at)
        if at in (20, 60):
            bench.tell("a", 20.0, "notice" if at == 20 else "alarm", seen=(601,))
    ((ids, cut),) = bench.made
    assert ids == ["a"]
    assert cut.first <= 50 * SECOND


def test_alerts_that_come_together_share_a_bundle() -> None:
    bench = Bench()
    for at in range(100):
        bench.second(at)
        if at in (50, 52, 54, 90):
            bench.tell(f"a{at}", float(at))
    bench.cutter.finish("the end")
    assert [ids for ids, _ in bench.made] == [["a50", "a52", "a54"], ["a90"]]
    assert (bench.made[0][1].first, bench.made[0][1].last) == (40 * SECOND, 59 * SECOND)


def test_alerts_of_two_baselines_do_not_share_one_and_each_names_its_own() -> None:
    bench = Bench()
    for at in range(100):
        bench.second(at)
        if at == 51:
            bench.cutter.origin = judge("another")
        if at in (50, 52):
            bench.tell(f"a{at}", float(at))
    assert [ids for ids, _ in bench.made] == [["a50"], ["a52"]]
    assert bench.judges == ["one", "another"]


def test_an_alert_of_an_earlier_run_is_about_what_came_now() -> None:
    """Its frame numbers are those of another run, and its beginning is long gone."""
    bench = Bench()
    bench.cutter.earlier(["old"])
    for at in range(100, 200):
        bench.second(at)
        if at == 150:
            made = sample(1, id="old", start=20.0, end=150.0, level="warning", frames=[3, 4])
            bench.cutter.alerts([made], 151 * SECOND)
    ((ids, cut),) = bench.made
    assert ids == ["old"]
    assert (cut.first, cut.last) == (140 * SECOND, 155 * SECOND)


def test_a_storm_is_held_to_so_many_bundles_an_hour_of_capture_time() -> None:
    bench = Bench(per_hour=3, before=1, after=1)
    for at in range(7_200):
        bench.second(at) if at % 60 < 5 else bench.cutter.tick(at * SECOND)
        if at % 60 == 2:
            bench.tell(f"a{at}", float(at))
    bench.cutter.finish("the end")
    assert len(bench.made) == 6
    assert bench.cutter.given_up["hour"] == 120 - 6


def test_a_bundle_holds_so_many_alerts() -> None:
    bench = Bench(per_hour=100)
    for at in range(20):
        bench.second(at)
    for number in range(3 * MAX_ALERTS):
        bench.tell(f"{number}", 19.0)
    bench.cutter.finish("the end")
    assert [len(ids) for ids, _ in bench.made] == [MAX_ALERTS] * 3


def test_the_end_is_said() -> None:
    bench = Bench()
    for at in range(60):
        bench.second(at)
    bench.tell("a", 58.0)
    bench.cutter.finish("the sensor was stopped before")
    assert bench.made[0][1].incomplete == ["the sensor was stopped before"]


def test_frames_that_nobody_can_ask_for_are_let_go() -> None:
    bench = Bench()
    held = []
    for at in range(2_000):
        bench.second(at)
        held.append(bench.cutter.ring.bytes)
    assert max(held[500:]) == max(held[1_000:])
    assert bench.cutter.ring.dropped == 0


def test_a_slice_that_is_too_large_keeps_the_moment_of_its_alert() -> None:
    bench = Bench()
    wish = bench.cutter.wish
    bench.cutter.wish = Wish(wish.level, wish.before, wish.after, 10_000, wish.snaplen, wish.per_hour)
    for at in range(100):
        bench.second(at)
        if at == 50:
            bench.tell("a", 50.0, seen=(400, 501))
    ((_, cut),) = bench.made
    assert "was cut at" in cut.incomplete[0]
    assert 501 in cut.numbers
