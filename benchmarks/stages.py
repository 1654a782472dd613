"""One stage in a process of its own: ``python -m benchmarks.stages STAGE FILE [BASELINE]``.

Prints one JSON line: packets, seconds of the work itself (no imports, no compilation, no start of another
program) and peak memory of this process and its children in MiB.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import peers
from grid_profiles.loader import load_registry


def learn_apart(learning: Path, baseline: Path) -> None:
    """Learn a baseline in a process of its own, whose memory is not ours."""
    command = [sys.executable, "-m", "sensor", "learn", str(learning), "-o", str(baseline)]
    subprocess.run([*command, "--engine", "native"], check=True, stdout=subprocess.DEVNULL)


def read(path: str) -> int:
    """Frames into batches."""
    from sensor.capture.pcapfile import CaptureFile

    return sum(len(batch) for batch in CaptureFile(Path(path)).batches())


def _decode(path: str, engine: str) -> int:
    from sensor.engines import open_engine

    decoded = open_engine([path], engine)
    for _ in decoded:
        pass
    return decoded.native.counters["frames"]


def native(path: str) -> int:
    """Frames into messages, native decoders only."""
    return _decode(path, "native")


def auto(path: str) -> int:
    """Native decoders, tshark for what they leave."""
    return _decode(path, "auto")


def tshark(path: str) -> int:
    """Everything through the tshark engine."""
    return _decode(path, "tshark")


def aggregate(path: str) -> int:
    """Native decoding, then what every judgement rests on.

    Inventory, slices, kinds by conversation, numbered points, windows of features, early-warning margins.
    """
    from detectors.groups import Lens, grouped
    from sensor.engines import open_engine
    from sensor.features.windows import WINDOW, Windower
    from sensor.inventory import Inventory
    from sensor.run import Samples, tap
    from sensor.slices import Slicer
    from sensor.warning.margin_sources import MarginSources

    decoded = open_engine([path], "native")
    lens = Lens(decoded.names)
    windower, margins = Windower(lens), MarginSources(decoded.names)
    for piece in Slicer().run(tap(decoded, Inventory(decoded, point_limit=0), Samples())):
        window = windower.push(piece)
        if window is not None:
            margins.close(window.start + WINDOW, lens)
        grouped(piece)
        margins.push(piece)
        piece.cache.clear()  # as detection does: what is in it knows the slice
    return decoded.native.counters["frames"]


def detect(path: str) -> int:
    """Capture to alerts on one core, native decoders, with the baseline given as third argument."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return detect_cores(path)


def detect_cores(path: str) -> int:
    """The same on all cores that this process may use: decoding has one of its own."""
    from sensor.cli.baseline import load
    from sensor.engines import open_engine
    from sensor.run import run_detect

    decoded = open_engine([path], "native")
    return run_detect(decoded, load(Path(sys.argv[3])), [path], "bench").packets


def tshark_fields(path: str) -> int:
    """Bare ``tshark -T fields`` with the fields of all profiles."""
    fields = sorted(
        {field for profile in load_registry().profiles if profile.tshark for field in profile.tshark.fields}
    )
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return done.stdout.count(b"\n")


def _other(run: Callable[[str], None]) -> Callable[[str], int]:
    """Another program as a stage; how many packets there are is counted by us."""

    def stage(path: str) -> int:
        run(path)
        return 0

    stage.__name__ = run.__name__
    return stage


def pyshark(path: str) -> int:
    """pyshark's FileCapture as its documentation shows it."""
    import pyshark as library

    capture = library.FileCapture(path, keep_packets=False)
    count = sum(1 for _ in capture)
    capture.close()
    return count


def pyshark_json(path: str) -> int:
    """pyshark's fastest documented mode."""
    import pyshark as library

    capture = library.FileCapture(path, keep_packets=False, use_ek=True)
    count = sum(1 for _ in capture)
    capture.close()
    return count


STAGES: dict[str, Callable[[str], int]] = {
    stage.__name__: stage
    for stage in (
        read,
        native,
        auto,
        tshark,
        aggregate,
        detect,
        detect_cores,
        tshark_fields,
        pyshark,
        pyshark_json,
        *map(_other, peers.ALL),
    )
}


def warm_up(stage: str) -> None:
    """Compile or load kernels before the clock starts; the program compiles once per installation."""
    if stage in ("native", "auto", "tshark", "aggregate", "detect", "detect_cores", "read"):
        from importlib.resources import files

        bundled = sorted(Path(str(files("sensor") / "data" / "demo")).glob("*.pcap*"))
        for path in bundled[:1]:
            STAGES[stage if stage in ("aggregate", "detect", "detect_cores") else "native"](str(path))


def start_up(stage: str, path: str) -> float:
    """Seconds that a stage takes for a capture of one frame: for its program, its rules or its baseline."""
    with tempfile.TemporaryDirectory() as folder:
        one = str(peers.first_frame(path, Path(folder)))
        begin = time.perf_counter()
        STAGES[stage](one)
        return time.perf_counter() - begin


def main() -> None:
    stage, path = sys.argv[1], sys.argv[2]
    warm_up(stage)
    start = start_up(stage, path)
    gc.collect()  # what warming up left
    gc.freeze()  # as the command does
    begin = time.perf_counter()
    packets = STAGES[stage](path)
    seconds = time.perf_counter() - begin - start
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(
        json.dumps(
            {
                "stage": stage,
                "packets": packets or read(path),
                "seconds": seconds,
                "start_s": start,
                "peak_mib": peak / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
