"""Other programs on the same capture, where they are installed: Suricata, ndpiReader, nfstream.

Each is asked for the least that is comparable: read the file, decode, follow flows; one thread, unless the
stage's name says otherwise. What a program needs to start is measured with a capture of one frame and taken
off, as it is for the sensor itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import write_pcap

NFSTREAM = "GRIDWARDEN_NFSTREAM"
"""Environment variable: a Python that has nfstream (LGPL, kept apart from the project's environment)."""

ONE_THREAD: Final = ("--runmode", "single")
SURICATA_RULES: Final = Path("/etc/suricata/rules")

_FLOWS = (
    "import sys; from nfstream import NFStreamer; "
    "print(sum(flow.bidirectional_packets for flow in NFStreamer(source=sys.argv[1], n_meters=1)))"
)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def _suricata(path: str, rules: str, *more: str) -> None:
    """The parsers of Modbus, DNP3 and EtherNet/IP on, sessions picked up midway.

    Both are off as installed. A sensor is plugged into a running station, and without the latter Suricata
    leaves each session alone whose beginning it did not see.
    """
    settings = {f"app-layer.protocols.{name}.enabled": "yes" for name in ("modbus", "dnp3", "enip")}
    settings["stream.midstream"] = "true"
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as log:
        _run("suricata", "-r", path, "-l", log, "-k", "none", "-S", rules, *words, *more)


def suricata(path: str) -> None:
    """Suricata without a rule: its decoding, and its log of flows and transactions."""
    _suricata(path, "/dev/null", *ONE_THREAD)


def suricata_cores(path: str) -> None:
    """The same with a thread a core, which is how it reads files unless told otherwise."""
    _suricata(path, "/dev/null")


def suricata_rules(path: str) -> None:
    """Suricata with the rules that its own package brings, as far as they look into a protocol or a stream.

    Those that find fault with frames themselves (``decoder-events.rules``) are left out: one of them alerts
    on the ethertype of every GOOSE and SV frame. Nothing is logged, so that it is matching that is measured.
    """
    quiet = [f"outputs.{number}.{name}.enabled=no" for number, name in enumerate(("fast", "eve-log"))]
    words = [word for setting in quiet for word in ("--set", setting)]
    _with_rules(path, ("decoder-events.rules",), *ONE_THREAD, *words)


def suricata_installed(path: str) -> None:
    """Suricata as installed: all rules of its package, its logs, a thread a core."""
    _with_rules(path, ())


def _with_rules(path: str, without: tuple[str, ...], *more: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".rules") as rules:
        for file in sorted(SURICATA_RULES.glob("*.rules")):
            if file.name not in without:
                rules.write(file.read_text(encoding="utf-8"))
        rules.flush()
        _suricata(path, rules.name, *more)


def ndpireader(path: str) -> None:
    """nDPI's own example program: which protocol each flow speaks, no ICS fields."""
    _run("ndpiReader", "-i", path, "-q")


def nfstream(path: str) -> None:
    """Flows with their statistics, in Python."""
    _run(os.environ[NFSTREAM], "-c", _FLOWS, path)


ALL: Final = (suricata, suricata_cores, suricata_rules, suricata_installed, ndpireader, nfstream)


def installed() -> list[str]:
    """Programs that are at hand."""
    found = [
        name
        for name, program in (
            ("suricata", "suricata"),
            ("suricata_cores", "suricata"),
            ("ndpireader", "ndpiReader"),
        )
        if shutil.which(program)
    ]
    if "suricata" in found and any(SURICATA_RULES.glob("*.rules")):
        found += ["suricata_rules", "suricata_installed"]
    return found + (["nfstream"] if os.environ.get(NFSTREAM) else [])


def first_frame(path: str, folder: Path) -> Path:
    """A capture of one frame, to measure what a program needs to start."""
    one = folder / "one.pcap"
    batch = next(iter(CaptureFile(Path(path)).batches()))
    write_pcap(one, [batch.take(slice(0, 1))])
    return one
