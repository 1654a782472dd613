"""A web page of a device that nobody asked for before, and one that is written to."""

from __future__ import annotations

from pathlib import Path

from detectors.base import Alert
from sensor.engines import open_engine
from sensor.pipeline import detect, learn
from tests.lab import frames as f
from tests.lab import http as h

S = 1_000_000_000


def capture(path: Path, start: int, *more: bytes) -> Path:
    """Ten minutes in which two pages are asked for again and again, and once ``more`` behind them."""
    frames: list[f.Stamped] = []
    for number in range(300):
        talk = f.Talk("10.0.0.1", "10.0.0.2", 80, 40000 + number)
        ts = (start + 2 * number) * S
        talk.open(ts)
        asked = (h.request("GET", "/status"), h.request("GET", "/values"), *(more if number == 200 else ()))
        for place, request in enumerate(asked, 1):
            talk.client(ts + place * S // 100, request)
            talk.server(ts + place * S // 100 + S // 1000, h.response(200, b"x" * 50))
        talk.close(ts + S // 2)
        frames += talk.frames
    f.write_pcap(path, frames)
    return path


def alerts(folder: Path, *more: bytes) -> list[Alert]:
    calm = open_engine([capture(folder / "calm.pcap", 1_700_000_000)], "native")
    baseline = learn(calm, calm.names)
    later = open_engine([capture(folder / "later.pcap", 1_700_000_700, *more)], "native")
    return detect(later, later.names, baseline).alerts


def test_the_same_pages_are_quiet(tmp_path: Path) -> None:
    assert alerts(tmp_path) == []


def test_a_new_page_is_no_warning(tmp_path: Path) -> None:
    (alert,) = alerts(tmp_path, h.request("GET", "/admin"))
    assert alert.rule == "new-point"
    assert alert.level in ("info", "notice"), "one level less after a short learning"
    assert "/admin" in alert.summary


def test_a_page_that_is_written_to_is_louder(tmp_path: Path) -> None:
    found = alerts(tmp_path, h.request("POST", "/admin", body=b"password=new"))
    assert {alert.level for alert in found} & {"warning", "alarm"}
    assert not any("password" in alert.summary for alert in found)
