"""The demo from start to end, on the bundled captures."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from sensor.cli import demo, main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of one run of the demo."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    result = CliRunner().invoke(main, ["demo", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.mark.slow
def test_demo_leaves_baseline_store_and_report(finished: tuple[Path, str]) -> None:
    folder, output = finished
    assert {path.name for path in folder.iterdir()} >= {"station.baseline", "station.db", "report.html"}
    for name in ("station.baseline", "station.db", "report.html"):
        assert str(folder / name) in output.replace("\n", "")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith(("<!DOCTYPE html>", "<!doctype html>"))
    with sqlite3.connect(folder / "station.db") as store:
        (alerts,) = store.execute("select count(*) from alerts").fetchone()
    assert alerts > 0


@pytest.mark.slow
def test_demo_finds_most_attacks(finished: tuple[Path, str]) -> None:
    _, output = finished
    line = next(line for line in output.splitlines() if "attacks found" in line)
    detected, of, events = line.split()[:3]
    assert of == "of"
    assert int(detected) * 3 >= int(events) * 2


@pytest.mark.slow
def test_its_baseline_serves_detect(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    capture = str(demo.DATA / demo.TEST)
    args = ["detect", capture, "-b", str(folder / "station.baseline"), "--json", "--engine", "native"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    alerts = [record for record in records if record.get("record", "alert") == "alert"]
    assert alerts
    for alert in alerts:
        assert {"id", "start", "level", "reading", "frames"} <= alert.keys()


def test_missing_captures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "DATA", tmp_path)
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert demo.LEARN in result.output


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "file" / "out")])
    assert result.exit_code == 2
    assert "--out" in result.output
