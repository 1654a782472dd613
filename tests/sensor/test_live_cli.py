"""Live capture through the commands, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.tshark_process import find_tshark
from tests.lab import frames as f
from tests.live import wire

pytestmark = pytest.mark.skipif(bool(wire.missing()), reason=wire.missing() or "can be tested")

DEMO = Path(str(files("sensor") / "data" / "demo"))
START = 300.0
"""Longest wait for a command to begin: it may have to compile its decoders first."""


@pytest.fixture(scope="module")
def cable() -> Iterator[wire.Cable]:
    with wire.Cable() as made:
        yield made


LARGE = 32 << 20
"""The ring that reads is larger than the one that tries whether there is a right to."""


class Running:
    """A command in the sensor's namespace that is ready to see frames."""

    def __init__(self, *arguments: str) -> None:
        command = wire.gridwarden(wire.SENSOR, *arguments)
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=wire.ROOT
        )
        self._wait_for_ring()

    def _wait_for_ring(self) -> None:
        """Until the large ring stands, which shows in the process's memory, and is bound to an interface."""
        for _ in range(int(START / 0.05)):
            if self.process.poll() is not None:
                break
            if self._mapped() and self._bound():
                return
            signal.sigtimedwait([], 0.05)
        raise AssertionError(f"ended early: {self.process.communicate()}")

    def _mapped(self) -> bool:
        for line in Path(f"/proc/{self.process.pid}/maps").read_text().splitlines():
            begin, end = (int(number, 16) for number in line.split()[0].split("-"))
            if "socket:" in line and end - begin >= LARGE:
                return True
        return False

    def _bound(self) -> bool:
        """Whether a packet socket of its namespace takes every protocol (3) of an interface and runs."""
        sockets = Path(f"/proc/{self.process.pid}/net/packet").read_text().splitlines()[1:]
        return any(line.split()[3] == "0003" and line.split()[5] == "1" for line in sockets)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, standard output and standard error after a signal."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        output = self.process.stdout.read()  # communicate() would forget what readline() has buffered
        _, errors = self.process.communicate(timeout=START)
        return self.process.returncode, output, errors

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def running() -> Iterator[list[Running]]:
    """Commands started by a test; those left over are ended."""
    started: list[Running] = []
    yield started
    for command in started:
        command.kill()


def frames_of(name: str, most: int = 1 << 30) -> list[bytes]:
    found = [batch.frame(row) for batch in CaptureFile(DEMO / name).batches() for row in range(len(batch))]
    return found[:most]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = wire.gridwarden(wire.SENSOR, *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=wire.ROOT)


def test_detect_tells_alerts_while_it_runs_and_ends_in_order(
    cable: wire.Cable, running: list[Running], tmp_path: Path
) -> None:
    baseline = str(tmp_path / "station.baseline")
    learned = run("learn", str(DEMO / "quiet_test.pcap.gz"), "-o", baseline, "--engine", "native")
    assert learned.returncode == 0, learned.stderr
    detect = Running("detect", "-i", cable.tap, "-b", baseline, "--json")
    running.append(detect)
    bad = frames_of("bad_day.pcap.gz")
    with cable.sender() as sender:
        wire.send_all(sender, bad)
    assert detect.process.stdout is not None
    first = json.loads(detect.process.stdout.readline())  # an alert, while the network is idle
    code, output, errors = detect.end()
    assert code == 0, errors
    alerts = [first, *map(json.loads, output.splitlines())]
    assert any(alert["level"] == "alarm" and alert["reading"] == "attack" for alert in alerts)
    assert len({alert["id"] for alert in alerts}) == len(alerts), "each alert is told once"
    assert "auto engine" in errors
    assert "hung" not in errors
    assert "crashed" not in errors


def test_what_only_tshark_reads_is_decoded_beside(cable: wire.Cable, running: list[Running]) -> None:
    if find_tshark() is None:
        pytest.skip("needs tshark: sudo apt-get install tshark")
    search = bytes.fromhex("06100201000e08010a0000010e57")
    frames = [f.udp_frame("10.0.0.1", "224.0.23.12", 40_000 + n, 3671, search) for n in range(50)]
    inspect = Running("inspect", "-i", cable.tap, "--json")
    running.append(inspect)
    with cable.sender() as sender:
        wire.send_all(sender, frames)
        code, output, errors = inspect.end()
    assert code == 0, errors
    found = json.loads(output)
    knx = [row for row in found["protocols"] if row["name"] == "knxip"]
    assert [(row["packets"], row["messages"]) for row in knx] == [(50, 50)]
    assert (found["undecoded"], found["packets"]) == (0, 50)


def test_capture_writes_what_came_and_ends_at_sigterm(
    cable: wire.Cable, running: list[Running], tmp_path: Path
) -> None:
    sent = frames_of("quiet_test.pcap.gz", 3000)
    for name, number in (("x.pcapng", signal.SIGTERM), ("x.pcap", signal.SIGINT)):
        target = tmp_path / name
        capture = Running("capture", cable.tap, "-w", str(target), "--json")
        running.append(capture)
        with cable.sender() as sender:
            wire.send_all(sender, sent)
        code, output, errors = capture.end(number)
        assert code == 0, errors
        record = json.loads(output)
        assert (record["frames"], record["kernel_drops"], record["notes"]) == (len(sent), 0, [])
        file = CaptureFile(target)
        assert [batch.frame(row) for batch in file.batches() for row in range(len(batch))] == sent
        assert (file.problems, file.dropped) == ([], 0)
        assert [interface.name for interface in file.interfaces] == [cable.tap if name == "x.pcapng" else ""]
        assert target.stat().st_mode & 0o077 == 0


def test_inspect_reads_an_interface_for_a_while(cable: wire.Cable, running: list[Running]) -> None:
    sent = frames_of("quiet_test.pcap.gz", 500)
    inspect = Running("inspect", "-i", cable.tap, "--duration", "1.5s", "--json", "--filter", "tcp port 502")
    running.append(inspect)
    with cable.sender() as sender:
        wire.send_all(sender, sent)
    output, errors = inspect.process.communicate(timeout=START)
    assert inspect.process.returncode == 0, errors
    record = json.loads(output)
    assert 0 < record["packets"] < len(sent)
    assert {row["name"] for row in record["protocols"]} == {"modbus", "tcp", "ethernet", "ip"}


@pytest.mark.tshark
def test_tshark_reads_what_dumpcap_captured(cable: wire.Cable, tmp_path: Path) -> None:
    if not shutil.which("dumpcap"):
        pytest.skip("no dumpcap: sudo apt-get install wireshark-common")
    command = wire.gridwarden(
        wire.SENSOR, "inspect", "-i", cable.tap, "--engine", "tshark", "--duration", "2s", "--json"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "capturing with dumpcap" in process.stderr.readline() + process.stderr.readline()
        sent = frames_of("quiet_test.pcap.gz", 300)
        with cable.sender() as sender:
            for _ in range(12):  # dumpcap does not say when it listens
                wire.send_all(sender, sent)
                signal.sigtimedwait([], 0.1)
        output, errors = process.communicate(timeout=START)
    assert process.returncode == 0, errors
    record = json.loads(output)
    assert record["packets"] >= len(sent)
    assert record["messages"] > 0


def test_nothing_at_all_is_said_and_not_learned(cable: wire.Cable, tmp_path: Path) -> None:
    baseline = tmp_path / "x.baseline"
    learned = run("learn", "-i", cable.tap, "--duration", "0.3s", "-o", str(baseline))
    assert learned.returncode == 3
    assert "not a single frame" in learned.stderr
    assert not baseline.exists()


def test_errors_have_their_exit_codes(cable: wire.Cable) -> None:
    unknown = run("capture", "eth99")
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert f"no interface 'eth99' on this machine; there are lo, {cable.tap}" in unknown.stderr
    for call in (
        ["inspect"],
        ["inspect", "x.pcap", "-i", cable.tap],
        ["inspect", "x.pcap", "--duration", "5s"],
        ["capture", cable.tap, "--duration", "soon"],
    ):
        assert run(*call).returncode == 2
    if shutil.which("setpriv"):
        command = [
            "setpriv",
            "--bounding-set",
            "-net_raw",
            *wire.gridwarden(wire.SENSOR, "capture", cable.tap),
        ]
        denied = subprocess.run(command, capture_output=True, text=True, check=False, cwd=wire.ROOT)
        assert denied.returncode == 4
        assert "AmbientCapabilities=CAP_NET_RAW" in denied.stderr
