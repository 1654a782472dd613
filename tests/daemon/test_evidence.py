"""Evidence of a running daemon: the frames around its alerts, whatever happens to it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detectors.baseline import Baseline
from sensor.bundle.find import bundles
from sensor.bundle.keep import read_state
from sensor.bundle.layout import Bundle, names
from sensor.bundle.verify import check_chain, replay, verify
from sensor.capture.pcapfile import CaptureFile
from sensor.errors import InputError
from sensor.store.sqlite import Store
from tests.bundle.samples import key_file, small_disk
from tests.daemon.process import DEMO, ROOT, Daemon, count, query, until, write_config
from tests.live import wire

BAD_DAY = f'[[source]]\ncaptures = ["{DEMO}/bad_day.pcap.gz"]'
NEEDS_HISTORY = {"silence", "goose-expired"}
"""Verdicts about what did not come for longer than a slice is, or that ask for the minutes before it."""

Start = Callable[..., Daemon]
live = pytest.mark.skipif(bool(wire.missing()), reason=wire.missing() or "can be tested")


def made(folder: Path) -> list[Bundle]:
    try:
        found, problems = bundles(folder)
    except InputError:
        return []
    assert problems == []
    return found


def sound(folder: Path) -> None:
    """Everything that is there is whole, and nothing is missing between."""
    every = made(folder)
    verdicts = {bundle.name: verify(bundle) for bundle in every}
    check_chain(every, verdicts, read_state(folder)["last"])
    assert [problem for verdict in verdicts.values() for problem in verdict.problems] == []
    assert list(folder.glob(".*")) == []


def loud(path: Path) -> dict[str, str]:
    """Rules of the alerts of a store that are to have evidence, by id."""
    with Store.look(path) as store:
        return {
            alert.id: alert.rule
            for alert in store.alerts()
            if alert.level in ("warning", "alarm") and alert.detector != "sensor"
        }


@pytest.fixture(scope="module")
def played(baseline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a daemon that has played the bad day, with signatures."""
    place = tmp_path_factory.mktemp("played")
    key_file(place / "sign.key")
    config = write_config(place / "gw.toml", baseline, BAD_DAY, '[evidence]\nsign_key_file = "sign.key"\n')
    process = Daemon(config)
    assert process.wait() == 0, process.said
    return place


def test_each_loud_alert_has_evidence(played: Path) -> None:
    folder = played / "gridwarden.evidence"
    sound(folder)
    covered = {alert["id"] for bundle in made(folder) for alert in bundle.alerts}
    wanted = loud(played / "gridwarden.db")
    assert covered == set(wanted)
    assert len(made(folder)) < len(covered)  # what comes together is together
    for bundle in made(folder):
        cut = bundle.manifest["slice"]
        assert cut["complete"], bundle.manifest
        for alert in bundle.alerts:
            assert cut["first"] <= alert["start"] <= cut["last"]
        assert bundle.manifest["signer"]["algorithm"] == "Ed25519"


def test_the_deciding_frames_are_those_of_the_capture(played: Path) -> None:
    whole = [
        batch.frame(row)
        for batch in CaptureFile(DEMO / "bad_day.pcap.gz").batches()
        for row in range(len(batch))
    ]
    compared = 0
    for bundle in made(played / "gridwarden.evidence"):
        cut = [
            batch.frame(row)
            for batch in CaptureFile(bundle.path / "slice.pcapng").batches()
            for row in range(len(batch))
        ]
        for alert in bundle.alerts:
            deciding = [whole[number - 1] for number in alert["frames"]]  # some may lie before the slice
            for place in alert["frames_in_slice"]:
                assert cut[place - 1] in deciding
                compared += 1
    assert compared > 30


@pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")
def test_slices_open_in_tshark_and_its_text_is_there(played: Path) -> None:
    for bundle in made(played / "gridwarden.evidence"):
        call = ["tshark", "-r", str(bundle.path / "slice.pcapng"), "-T", "fields", "-e", "frame.number"]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        assert len(done.stdout.split()) == bundle.manifest["slice"]["frames"]
        text = (bundle.path / "dissection.txt").read_text()
        deciding = [n for alert in bundle.alerts for n in alert["frames_in_slice"]]
        if deciding:
            assert bundle.manifest["dissection"] == "tshark"
            assert f"frame {min(deciding)}\n" in text
            assert "Ethernet II" in text
        else:
            assert text.startswith("not dissected: none of the alerts' frames is in the slice")


def test_the_printed_command_gives_the_same_alerts(played: Path) -> None:
    """As `evidence show` prints it, in a process of its own."""
    same = different = 0
    for bundle in made(played / "gridwarden.evidence")[:8]:
        call = [sys.executable, "-m", "sensor", "evidence", "show", bundle.name]
        call += ["--folder", str(bundle.path.parent)]
        done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT)
        line = next(line for line in done.stdout.splitlines() if line.startswith("again"))
        place, command = shlex.split(line)[2], shlex.split(line)[4:]
        assert command[0] == "gridwarden"
        again = subprocess.run(
            [sys.executable, "-m", "sensor", *command[1:], "--json"],
            capture_output=True,
            text=True,
            check=True,
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        ids = {json.loads(line)["id"] for line in again.stdout.splitlines()}
        for alert in bundle.alerts:
            same += alert["id"] in ids
            different += alert["id"] not in ids and alert["rule"] not in NEEDS_HISTORY
    assert same > 10
    assert different == 0


def test_verify_judges_again(played: Path) -> None:
    folder = played / "gridwarden.evidence"
    call = [sys.executable, "-m", "sensor", "evidence", "verify", "--folder", str(folder)]
    call += ["--replay", "--json", "--key", str(played / "sign.pub")]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    outcome = {ident: how for verdict in verdicts for ident, how in verdict["replay"].items()}
    rules = loud(played / "gridwarden.db")
    assert {rules[ident] for ident, how in outcome.items() if how != "same"} <= NEEDS_HISTORY


def test_figures_of_evidence_are_in_the_health_rows(played: Path) -> None:
    found = query(played / "gridwarden.db", "SELECT fields FROM health WHERE source = '' ORDER BY id DESC")
    fields = json.loads(found[0][0])
    assert fields["evidence_bundles"] == len(made(played / "gridwarden.evidence"))
    assert fields["evidence_given_up"] == 0
    assert fields["evidence_waiting"] == 0
    assert fields["evidence_mib"] > 0


def test_bounds_of_the_configuration_hold(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    more = '[evidence]\nmax_bundles = 3\nmin_level = "alarm"\nfolder = "else/where"\n'
    process = daemon(write_config(tmp_path / "gw.toml", baseline, BAD_DAY, more))
    assert process.wait() == 0, process.said
    folder = tmp_path / "else" / "where"
    assert len(made(folder)) == 3
    sound(folder)
    assert read_state(folder)["given_up"]["count"] > 0
    assert {alert["level"] for bundle in made(folder) for alert in bundle.alerts} == {"alarm"}


def test_evidence_can_be_off(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    process = daemon(write_config(tmp_path / "gw.toml", baseline, BAD_DAY, "[evidence]\nenabled = false\n"))
    assert process.wait() == 0, process.said
    assert not (tmp_path / "gridwarden.evidence").exists()


def test_killed_at_any_time_nothing_is_half_done_or_doubled(
    daemon: Start, baseline: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY)
    folder = tmp_path / "gridwarden.evidence"
    for number in (1, 4):
        process = daemon(config)
        until(lambda number=number: len(names(folder)) > number)  # type: ignore[misc]
        process.kill()
    process = daemon(config)
    assert process.wait() == 0, process.said
    sound(folder)
    ids = [alert["id"] for bundle in made(folder) for alert in bundle.alerts]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(loud(tmp_path / "gridwarden.db"))


def test_sigterm_ends_in_time_and_says_what_is_missing(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "gw.toml", baseline, BAD_DAY, "[replay]\nspeed = 20\n")
    process = daemon(config)
    path = tmp_path / "gridwarden.db"
    until(lambda: count(path, "SELECT count(*) FROM alerts WHERE level >= 2") > 0 or process.ended)
    assert process.end() == 0, process.said
    folder = tmp_path / "gridwarden.evidence"
    sound(folder)
    assert {alert["id"] for bundle in made(folder) for alert in bundle.alerts} == set(loud(path))


def test_after_a_reload_bundles_name_the_new_baseline(daemon: Start, baseline: Path, tmp_path: Path) -> None:
    """Each bundle the one that judged, and both are kept; verdicts come again with their own."""
    mine = tmp_path / "mine.baseline"
    shutil.copy(baseline, mine)
    config = write_config(tmp_path / "gw.toml", mine, BAD_DAY, "[replay]\nspeed = 200\n")
    process = daemon(config)
    folder = tmp_path / "gridwarden.evidence"
    until(lambda: len(names(folder)) >= 3 or process.ended)
    changed = Baseline.load(baseline)
    changed.params["notes"] = ["another"]
    changed.save(mine)
    process.send(signal.SIGHUP)
    process.wait_said("read again")
    assert process.wait() == 0, process.said
    sound(folder)
    judged = [bundle.manifest["baseline"]["sha256"] for bundle in made(folder)]
    assert len(set(judged)) == 2
    assert judged == sorted(judged, key=judged.index)  # first the one, then the other
    assert len(list((folder / "baselines").iterdir())) == 2
    outcome = [how for bundle in made(folder) for how in replay(bundle).values()]
    assert outcome.count("same") > 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "3m") as place:
        yield place


def test_a_full_disk_is_waited_for(daemon: Start, baseline: Path, tmp_path: Path, small: Path) -> None:
    more = f'[evidence]\nfolder = "{small}/evidence"\n[replay]\nspeed = 300\n'
    block = small / "block"
    with block.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                break
    process = daemon(write_config(tmp_path / "gw.toml", baseline, BAD_DAY, more))
    said = process.wait_said("evidence cannot be written")
    assert "No space left" in said
    path = tmp_path / "gridwarden.db"
    until(lambda: count(path, "SELECT count(*) FROM alerts WHERE level >= 2") > 5 or process.ended)
    block.unlink()
    process.wait_said("evidence is written again")
    assert process.wait() == 0, process.said
    folder = small / "evidence"
    sound(folder)
    covered = {alert["id"] for bundle in made(folder) for alert in bundle.alerts}
    assert covered == set(loud(path))


# --- on a cable -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cable() -> Iterator[wire.Cable]:
    with wire.Cable() as made:
        yield made


def health(path: Path, name: str) -> float:
    found = query(path, "SELECT fields FROM health WHERE source = '' ORDER BY id DESC LIMIT 1")
    fields: dict[str, Any] = json.loads(found[0][0]) if found else {}
    return float(fields.get(name, 0.0))


@live
def test_live_the_slice_holds_what_came_after_the_alert(
    cable: wire.Cable, daemon: Start, baseline: Path, tmp_path: Path
) -> None:
    """At 2,000 frames a second none is lost, and the frames after the alert are waited for."""
    source = f'[[source]]\ninterface = "{cable.tap}"\n'
    more = "[evidence]\nbefore_s = 1\nafter_s = 1\n"
    process = daemon(write_config(tmp_path / "gw.toml", baseline, source, more), wire.within(wire.SENSOR))
    process.wait_told("READY=1")
    quiet = [
        batch.frame(row)
        for batch in CaptureFile(DEMO / "quiet_test.pcap.gz").batches(max_frames=4_000)
        for row in range(len(batch))
    ][:4_000]
    bad = [
        batch.frame(row)
        for batch in CaptureFile(DEMO / "bad_day.pcap.gz").batches()
        for row in range(len(batch))
    ]
    ours = [frame for frame in bad[2_600:2_700] if frame[6:12] == b"\x02\x00\x0a\x14\x1e\x42"]
    assert len(ours) > 5  # it connects, reads, writes
    path, folder = tmp_path / "gridwarden.db", tmp_path / "gridwarden.evidence"
    sent = 0
    with cable.sender() as sender:
        for begin in range(0, 16_000, 20):
            at = begin % 4_000
            wire.send_all(sender, quiet[at : at + 20])
            sent += 20
            if begin == 8_000:
                wire.send_all(sender, ours)
                sent += len(ours)
            time.sleep(0.01)
    until(lambda: health(path, "frames") >= sent or process.ended, "every frame")
    until(lambda: health(path, "evidence_bundles") >= 1 or process.ended, "evidence")
    assert health(path, "drops") == 0
    process.send(signal.SIGHUP)
    process.wait_told("READY=1", 2)
    assert process.end() == 0, process.said
    sound(folder)
    found = [
        (bundle, alert)
        for bundle in made(folder)
        for alert in bundle.alerts
        if alert["rule"] in ("new-host", "new-command-source") and "10.20.30.66" in alert["summary"]
    ]
    assert found
    for bundle, alert in found:
        cut = bundle.manifest["slice"]
        assert cut["complete"] or "had not been watching" in cut["incomplete"][0], cut
        assert cut["last"] - alert["start"] > 0.9
        frames = [
            batch.frame(row)
            for batch in CaptureFile(bundle.path / "slice.pcapng").batches()
            for row in range(len(batch))
        ]
        assert frames[alert["frames_in_slice"][0] - 1] in ours
