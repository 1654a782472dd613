"""Other programs on the same capture, where they are installed: Suricata, ndpiReader, nfstream.

Each is asked for the least that is comparable: read the file, decode, follow flows, one thread. What a
program needs to start is measured with a capture of one frame and taken off, as it is for the sensor itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sensor.capture.pcapfile import CaptureFile
from sensor.capture.pcapwrite import write_pcap

NFSTREAM = "GRIDWARDEN_NFSTREAM"
"""Environment variable: a Python that has nfstream (LGPL, kept apart from the project's environment)."""

_FLOWS = (
    "import sys; from nfstream import NFStreamer; "
    "print(sum(flow.bidirectional_packets for flow in NFStreamer(source=sys.argv[1], n_meters=1)))"
)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


def suricata(path: str) -> None:
    """Suricata without rules, its parsers of Modbus, DNP3 and EtherNet/IP switched on."""
    parsers = [
        word
        for name in ("modbus", "dnp3", "enip")
        for word in ("--set", f"app-layer.protocols.{name}.enabled=yes")
    ]
    with tempfile.TemporaryDirectory() as log:
        plain = ["--runmode", "single", "-k", "none", "-S", "/dev/null"]
        _run("suricata", "-r", path, "-l", log, *plain, *parsers)


def ndpireader(path: str) -> None:
    """nDPI's own example program: which protocol each flow speaks, no ICS fields."""
    _run("ndpiReader", "-i", path, "-q")


def nfstream(path: str) -> None:
    """Flows with their statistics, in Python."""
    _run(os.environ[NFSTREAM], "-c", _FLOWS, path)


def installed() -> list[str]:
    """Programs that are at hand."""
    found = [
        name
        for name, program in (("suricata", "suricata"), ("ndpireader", "ndpiReader"))
        if shutil.which(program)
    ]
    return found + (["nfstream"] if os.environ.get(NFSTREAM) else [])


def first_frame(path: str, folder: Path) -> Path:
    """A capture of one frame, to measure what a program needs to start."""
    one = folder / "one.pcap"
    batch = next(iter(CaptureFile(Path(path)).batches()))
    write_pcap(one, [batch.take(slice(0, 1))])
    return one
