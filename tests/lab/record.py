"""Record the bundled captures: ``python -m tests.lab record --out DIR [SCENARIO …]``.

Needs root (network namespaces), iproute2, dumpcap and editcap (Wireshark), and the
``lab`` extra of this project (c104, pymodbus). The traffic never leaves the namespaces,
is bounded by the scenario's length, and everything is removed at the end, on Ctrl-C too.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.lab import finish, net
from tests.lab.frames import write_pcap
from tests.lab.scenario import SCENARIOS, Scenario
from tests.lab.station import FACTOR, Clock

LOCK = Path("/run/gwlab.lock")
ROOT = Path(__file__).resolve().parents[2]
START_DELAY_S = 10.0
"""Seconds the roles get to load before station time begins."""
FLUSH_S = 2.0
"""Seconds the recorder gets to read what the kernel still holds."""

ROLES: tuple[tuple[str, str], ...] = (
    *((role, role) for role in ("gateway", "rtu1", "rtu2", "rtu3", "inverter", "tmon", "meter")),
    *((role, role) for role in ("ied1", "ied2", "ied3", "scada", "cc")),
    *((f"time-{node}", node) for node in ("cc", "scada", "rtu1", "rtu2", "rtu3")),
    ("intruder", "intruder"), ("cc_intruder", "cc"), ("scada_intruder", "scada"),
)  # fmt: skip
"""(role, node that it runs on)."""


def check_machine() -> None:
    """Say what is missing before anything is set up."""
    if os.geteuid() != 0:
        raise SystemExit(
            "the lab needs root: it makes network namespaces (try: sudo -E python -m tests.lab ...)"
        )
    missing = [tool for tool in ("ip", "sysctl", "dumpcap", "editcap") if not shutil.which(tool)]
    if missing:
        raise SystemExit(
            f"missing on this machine: {', '.join(missing)} (apt install iproute2 procps wireshark-common)"
        )


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the machine's lab lock; the kernel lets go of it however this process ends."""
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another recording runs on this machine ({LOCK} is locked)") from None
        yield


def _start_role(role: str, node: str, scenario: Scenario, start: int, told: IO[str]) -> subprocess.Popen[str]:
    command = net.inside(
        net.PREFIX + node, sys.executable, "-m", "tests.lab.play", role, scenario.name, str(start)
    )
    environment = {**os.environ, "TZ": "UTC", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=told, text=True)


def _watch(lab: net.LabNet, scenario: Scenario, clock: Clock, processes: list[subprocess.Popen[str]]) -> None:
    """Pull and plug cables by the plan until the scenario ends; stop at once when a role fails."""
    moves = []
    for span in scenario.spans:
        if span.role == "net":
            node = span.name.split(":")[1]
            moves += [(span.start, node, False), (span.end, node, True)]
    moves.sort()
    while (t := clock.now()) < scenario.duration + 2:
        while moves and moves[0][0] <= t:
            _, node, connected = moves.pop(0)
            lab.plug(node, connected)
        failed = [process.args for process in processes if process.poll()]
        if failed:
            raise RuntimeError(f"a role of the lab failed, see its message above: {failed}")
        clock.sleep_until(min(t + 5, moves[0][0] if moves else t + 5))


def _stop(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def record(scenario: Scenario, out: Path) -> dict[str, str]:
    """Record one scenario; capture and labels go to ``out``; its manifest row is returned."""
    with tempfile.TemporaryDirectory(prefix="gwlab-") as scratch, net.LabNet() as lab:
        raw, flat, told_path = (Path(scratch) / name for name in ("raw.pcapng", "flat.pcap", "told.jsonl"))
        start = time.time_ns() + int(START_DELAY_S * 1e9)
        clock = Clock(start, scenario.base_ns)
        processes: list[subprocess.Popen[str]] = []
        recorder = net.inside(net.MIRROR, "dumpcap", "-q", "-i", "eth0", "-B", "16", "-w", str(raw))
        with told_path.open("w") as told:
            dump = subprocess.Popen(recorder, stderr=subprocess.DEVNULL, text=True)
            try:
                time.sleep(1)
                for role, node in ROLES:  # one by one: those that started are stopped when the next fails
                    processes.append(_start_role(role, node, scenario, start, told))
                _watch(lab, scenario, clock, [dump, *processes])
                time.sleep(FLUSH_S)
            finally:
                _stop([*processes, dump])
        subprocess.run(["editcap", "-F", "nsecpcap", str(raw), str(flat)], check=True, capture_output=True)
        frames = finish.stretch(finish.read_pcap(flat), scenario, clock)
        told_items = [json.loads(line) for line in told_path.read_text().splitlines() if line.startswith("{")]
    rows = finish.labels(scenario, told_items, clock)
    capture = out / f"{scenario.name}.pcap.gz"
    write_pcap(capture, frames)
    finish.write_rows(out / f"{scenario.name}.labels.csv", finish.LABEL_COLUMNS, rows)
    attacks = sum(row["label"] == "attack" for row in rows)
    print(f"{capture}: {len(frames)} frames, {attacks} attacks, {capture.stat().st_size} octets")
    return finish.manifest_row(scenario, capture.name, frames, attacks)


def record_all(scenarios: list[Scenario], out: Path) -> None:
    """Record one scenario after the other, and bring the manifest up to date."""
    minutes = sum(scenario.duration for scenario in scenarios) / FACTOR / 60
    names = ", ".join(scenario.name for scenario in scenarios)
    print(f"recording {names}: about {minutes + 0.3 * len(scenarios):.0f} minutes", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    finish.update_manifest(out / "manifest.csv", [record(scenario, out) for scenario in scenarios])


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("command", choices=("record", "clean"))
    parser.add_argument("--out", type=Path, default=ROOT / "sensor" / "data" / "demo")
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS), metavar="SCENARIO")
    chosen = parser.parse_intermixed_args(arguments)
    unknown = set(chosen.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    check_machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with only_one():
        if chosen.command == "clean":
            net.LabNet().down()
        else:
            record_all([SCENARIOS[name] for name in chosen.scenarios], chosen.out)
