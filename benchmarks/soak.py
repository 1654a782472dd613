"""A soak: ``python -m benchmarks.soak --minutes 30``, as root; ``make sinklab`` installs what it needs.

Live made-up traffic goes over a veth pair into ``gridwarden run``, which forwards to InfluxDB (influxd 1.x
behind nginx) and to a JSON-lines file, while the daemon is killed (SIGKILL) at random moments and started
again, the server goes away and comes back, and the helper that runs tshark is killed. Once a second a
stranger sends one frame; each is to become an alert. At the end the store is held against what was sent and
against both sinks.

A stranger that came while no daemon was capturing, or whose frame a killed daemon had not written yet, may
be missing: from :data:`UNWRITTEN` seconds before a kill until the next daemon captures is a hole that the
kill explains. Exit code 1 when anything is missing or doubled that this does not explain.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.generate import KINDS
from sensor.sinks.forwarder import Forwarder, sink_status
from sensor.sinks.settings import parse_sinks
from tests.daemon.process import Daemon
from tests.lab.frames import udp_frame
from tests.live import wire

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "sinks"))
from servers import Front, Influx, missing, wait_for

UNWRITTEN: Final = 1.5
"""Seconds before a kill in which a frame may not be in the store yet: see the latency in docs/daemon.md."""

WINDOW: Final = 10.0
MIX: Final = 400_000
SEARCH: Final = udp_frame(
    "10.20.0.250", "224.0.23.12", 40_000, 3671, bytes.fromhex("06100201000e08010a0000010e57")
)
"""A KNX search request, which only tshark reads: so it has something to do."""

RSS_EVERY: Final = 2.0


@dataclass(slots=True)
class Story:
    """What happened, in wall-clock seconds."""

    strangers: list[tuple[float, str]] = field(default_factory=list)
    holes: list[tuple[float, float]] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    memory: list[list[tuple[float, float]]] = field(default_factory=list)
    tshark_killed: int = 0
    frames_sent: int = 0


@click.command()
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--kills", default=20, show_default=True)
@click.option("--outages", default=6, show_default=True)
@click.option("--rate", default=5_000.0, show_default=True, help="Frames per second.")
@click.option("--seed", default=7, show_default=True)
def main(minutes: float, kills: int, outages: int, rate: float, seed: int) -> None:
    """Run the soak and print its figures."""
    if why := wire.missing() or missing("influxd", "nginx"):
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(prefix="gridwarden-soak-") as name, wire.Cable() as cable:
        figures = Soak(Path(name), cable, rate, random.Random(seed)).run(minutes * 60, kills, outages)
    print(json.dumps(figures, indent=1))
    sys.exit(1 if figures["breaches"] else 0)


class Soak:
    """One soak in one folder."""

    def __init__(self, folder: Path, cable: wire.Cable, rate: float, dice: random.Random) -> None:
        self.folder, self.cable, self.rate, self.dice = folder, cable, rate, dice
        self.story = Story()
        self.store, self.lines = folder / "site.db", folder / "out.jsonl"
        self.influx = Influx(folder / "influx")
        self.influx.start()
        self.influx.query("CREATE DATABASE site")
        self.front = Front(folder / "front", self.influx.port)
        self.front.start()
        self.config = self._configure()
        self._over = threading.Event()
        self._daemon: Daemon | None = None

    def _configure(self) -> Path:
        mix, learning, baseline = (self.folder / part for part in ("mix.pcap", "learn.pcap", "site.baseline"))
        KINDS["substation"](mix, MIX)
        KINDS["substation"](learning, MIX)
        command = [sys.executable, "-m", "sensor", "learn", str(learning), "-o", str(baseline)]
        subprocess.run([*command, "--engine", "native"], check=True, stdout=subprocess.DEVNULL)
        token, config = self.folder / "token", self.folder / "gridwarden.toml"
        token.write_text(Front.TOKEN)
        token.chmod(0o600)
        config.write_text(f"""
[site]
name = "soak"
baseline = "{baseline}"
[[source]]
interface = "{self.cable.tap}"
[store]
path = "{self.store}"
[[sink]]
name = "influx"
type = "influx"
url = "{self.front.url}"
bucket = "site"
token_file = "{token}"
[[sink]]
name = "lines"
type = "jsonl"
path = "{self.lines}"
""")
        return config

    def run(self, seconds: float, kills: int, outages: int) -> dict[str, Any]:
        """Everything at once until the time is over, then the reckoning."""
        jobs = [self._send, self._be_strange, lambda: self._break(seconds, outages), self._measure]
        threads = [threading.Thread(target=job) for job in jobs]
        self._start()
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        # the last third is one life, long enough to see whether its memory grows
        for at in sorted(self.dice.uniform(0.02, 0.66) * seconds for _ in range(kills)):
            time.sleep(max(0.0, begin + at - time.monotonic()))
            self._kill()
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        self._over.set()
        for thread in threads:
            thread.join()
        assert self._daemon is not None
        code = self._daemon.end()
        self._drain()
        figures = self._reckon() | {"exit_code": code, "minutes": seconds / 60, "kills": kills}
        self.front.stop()
        self.influx.stop()
        return figures

    def _start(self) -> None:
        self._daemon = Daemon(self.config, wire.within(wire.SENSOR))
        self._daemon.wait_told("READY=1")
        self.story.memory.append([])

    def _kill(self) -> None:
        assert self._daemon is not None
        at = time.time()
        self._daemon.kill()
        self._start()
        self.story.holes.append((at - UNWRITTEN, time.time() + UNWRITTEN))

    def _send(self) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.sender",
            self.cable.source,
            str(self.folder / "mix.pcap"),
        ]
        with subprocess.Popen(
            wire.within(wire.STATION, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as sender:
            assert sender.stdin is not None
            assert sender.stdout is not None
            sender.stdout.readline()
            while not self._over.is_set():
                sender.stdin.write(f"{self.rate} 2\n")
                sender.stdin.flush()
                self.story.frames_sent += int(sender.stdout.readline().split()[0])
            sender.stdin.close()

    def _be_strange(self) -> None:
        """One frame a second from an address that was never seen: Modbus over TCP, a SYN to a device."""
        with self.cable.sender() as out:
            number = 0
            while not self._over.wait(1.0):
                number += 1
                address = (172, 16 + (number >> 16), number >> 8 & 255, number & 255)
                out.send(_syn(address, number))
                out.send(SEARCH)
                self.story.strangers.append((time.time(), ".".join(map(str, address))))

    def _break(self, seconds: float, outages: int) -> None:
        """The server goes away for a while, softly and hard in turn; tshark is killed now and then."""
        for turn in range(outages):
            if self._over.wait(seconds / (2 * outages + 1)):
                return
            self._kill_tshark()
            begin = time.time()
            server = self.influx if turn % 2 else self.front
            server.stop(signal.SIGKILL if turn % 2 else signal.SIGTERM)
            self._over.wait(seconds / (2 * outages + 1))
            server.start()
            self.story.outages.append((begin, time.time()))
            self._kill_tshark()

    def _kill_tshark(self) -> None:
        assert self._daemon is not None
        for pid in _descendants(self._daemon.process.pid):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"tshark" in command or b"sensor.side.worker" in command:
                    os.kill(pid, signal.SIGKILL)
                    self.story.tshark_killed += 1

    def _measure(self) -> None:
        while not self._over.wait(RSS_EVERY):
            rss = _rss(self._daemon.process.pid) if self._daemon is not None else 0.0
            if rss:
                self.story.memory[-1].append((time.time(), rss))

    def _drain(self) -> None:
        """What the daemon had not sent yet when it ended, as its next start would send it."""
        tables = tomllib.loads(self.config.read_text())["sink"]
        sinks, problems = parse_sinks(tables, site="soak", sensor=socket.gethostname())
        assert not problems, problems
        forwarder = Forwarder(self.store, sinks)
        forwarder.start()
        wait_for(lambda: not any(sink_status(self.store, sink)["depth"] for sink in sinks), 300, "sent")
        assert forwarder.stop(30)

    def _reckon(self) -> dict[str, Any]:
        story = self.story
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as store:
            alerts = {row[0]: row[1:] for row in store.execute("SELECT id, src, rule, start FROM alerts")}
            samples = store.execute("SELECT count(*) FROM samples").fetchone()[0]
            incidents = store.execute("SELECT count(*) FROM incidents").fetchone()[0]
            beats = [row[0] for row in store.execute("SELECT ts FROM health WHERE source = '' ORDER BY ts")]
            windows = _windows(store)
            drops = _last_drops(store)
            given_up = store.execute("SELECT count(*) FROM sink_given_up").fetchone()[0]
            dead = store.execute("SELECT count(*) FROM dead_letters").fetchone()[0]
        told = Counter(src for src, rule, _ in alerts.values() if rule in ("new-host", "new-conversation"))
        missed = [(at, who) for at, who in story.strangers if not told[who]]
        unexplained = [who for at, who in missed if not _within(at, story.holes)]
        doubled = [who for _, who in story.strangers if told[who] > 1]
        in_influx = {
            row["id"] for row in self.influx.rows('SELECT "id" FROM "alert" WHERE "current" = true', "site")
        }
        rows_influx = self.influx.count("alert", "id", "site", 'WHERE "current" = true')
        changes, in_lines = _lines(self.folder)
        samples_influx = _points(self.influx)
        breaches: dict[str, Any] = {
            "strangers without an alert": unexplained,
            "strangers with two": doubled,
            "alerts missing in influx": sorted(set(alerts) - in_influx),
            "alerts twice in influx": rows_influx - len(in_influx),
            "alerts missing in the file": sorted(set(alerts) - in_lines),
            "lines twice in the file": sum(count - 1 for count in changes.values()),
            "samples missing in influx": samples - samples_influx,
            "gaps of the site's series": _gaps(windows, 1.5 * WINDOW, story.holes),
            "gaps of the heartbeat": _gaps(beats, 1.5 * WINDOW, story.holes),
            "given up or refused": given_up + dead,
        }
        lives = [life for life in story.memory if life]
        last = lives[-1]
        third = max(1, len(last) // 3)
        return {
            "frames_sent": story.frames_sent,
            "kernel_drops_of_the_last_life": drops,
            "strangers": len(story.strangers),
            "strangers_in_holes_of_kills": len(missed) - len(unexplained),
            "alerts": len(alerts),
            "incidents": incidents,
            "samples": samples,
            "outages": len(story.outages),
            "seconds_of_outage": round(sum(b - a for a, b in story.outages)),
            "seconds_without_daemon": round(sum(b - a - 2 * UNWRITTEN for a, b in story.holes)),
            "tshark_killed": story.tshark_killed,
            "rss_mib_highest": round(max(rss for life in lives for _, rss in life)),
            "rss_mib_last_life": [round(last[third][1]), round(last[-1][1])],
            "seconds_of_last_life": round(last[-1][0] - last[0][0]),
            "breaches": {what: found for what, found in breaches.items() if found},
        }


def _syn(address: tuple[int, ...], number: int) -> bytes:
    """A TCP SYN from a stranger to port 502; checksums are not looked at."""
    ip = bytes((0x45, 0, 0, 40, *number.to_bytes(2, "big"), 0x40, 0, 64, 6, 0, 0, *address, 10, 20, 1, 11))
    tcp = bytes((0xC0, 0, 1, 0xF6, *number.to_bytes(4, "big"), 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0))
    frame = bytes((2, 0, 0, 0, 0, 1, 2, 0, 0x99, 0, *number.to_bytes(2, "big"), 8, 0)) + ip + tcp
    return frame.ljust(60, b"\0")


def _rss(pid: int) -> float:
    """Resident MiB of the daemon: ``ip netns exec`` becomes it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * 4096 / 2**20


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found[1:]


def _windows(store: sqlite3.Connection) -> list[float]:
    """Times of the site's level, once per window."""
    query = """SELECT ts FROM samples JOIN series ON series.id = samples.series
        WHERE series.name = 'level' AND protocol = '' ORDER BY ts"""
    return [row[0] for row in store.execute(query)]


def _last_drops(store: sqlite3.Connection) -> float:
    query = "SELECT fields FROM health WHERE source != '' ORDER BY id DESC LIMIT 1"
    row = store.execute(query).fetchone()
    return float(json.loads(row[0]).get("drops", -1)) if row else -1.0


def _within(at: float, spans: list[tuple[float, float]]) -> bool:
    return any(begin <= at <= end for begin, end in spans)


def _gaps(times: list[float], most: float, holes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pauses longer than ``most`` in which no daemon was killed."""
    pauses = [(a, b) for a, b in pairwise(times) if b - a > most]
    return [(a, b) for a, b in pauses if not any(begin < b and end > a for begin, end in holes)]


def _lines(folder: Path) -> tuple[Counter[str], set[str]]:
    """How often each line stands in the files, and the alerts in them."""
    lines: Counter[str] = Counter()
    alerts: set[str] = set()
    for path in folder.glob("out.jsonl*"):
        for line in path.read_text().splitlines():
            lines[line] += 1
            record = json.loads(line)
            if record.get("type", record.get("record")) == "alert":
                alerts.add(record["id"])
    return lines, alerts


def _points(influx: Influx) -> int:
    """Values of all series of samples."""
    total = 0
    for measurement in ("early_warning", "traffic", "point_value", "sensor_health"):
        rows = influx.rows(f'SELECT count(*) FROM "{measurement}"', "site")
        total += sum(
            int(value or 0) for row in rows for key, value in row.items() if key.startswith("count_")
        )
    return total


if __name__ == "__main__":
    main()
