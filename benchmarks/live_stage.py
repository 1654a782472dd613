"""One stage of live capture on its own: ``python -m benchmarks.live_stage STAGE IFACE BASELINE MIB``.

Says how many frames it has handled and how many the kernel lost, as JSON lines, until SIGINT.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sensor.capture.live import LiveCapture, LiveSettings
from sensor.cli.options import stoppable

REPORT = 0.1


def ring(capture: LiveCapture) -> None:
    """Frames into batches."""
    for _ in capture.batches():
        pass


def _decoded(capture: LiveCapture) -> Any:
    from grid_profiles.loader import load_registry
    from sensor.engines import Decoded

    decoded = Decoded([capture], load_registry(), "native")
    decoded.warm_up()
    return decoded


def decode(capture: LiveCapture) -> None:
    """Frames into messages."""
    for _ in _decoded(capture):
        pass


def detect(capture: LiveCapture) -> None:
    """Frames into alerts."""
    from sensor.cli.baseline import load
    from sensor.run import run_detect

    run_detect(_decoded(capture), load(Path(sys.argv[3])), [capture.shown], "bench", lambda _: None)


def tell(capture: LiveCapture, cpu: float, **more: Any) -> None:
    """One line about how things stand."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    record = {
        "frames": capture.frames,
        "lost": capture.dropped,
        "cpu_s": usage.ru_utime + usage.ru_stime - cpu,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    print(json.dumps(record | more), flush=True)


def main() -> None:
    capture = LiveCapture(LiveSettings(sys.argv[2], ring_mib=int(sys.argv[4]), outgoing=False))
    stage = {"ring": ring, "decode": decode, "detect": detect}[sys.argv[1]]
    ended = threading.Event()
    cpu = 0.0

    def report() -> None:
        nonlocal cpu
        while not capture.position and not ended.is_set():
            time.sleep(REPORT)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = usage.ru_utime + usage.ru_stime
        while not ended.wait(REPORT):
            tell(capture, cpu)

    teller = threading.Thread(target=report, daemon=True)
    teller.start()
    with stoppable(capture.stop):
        stage(capture)
    ended.set()
    teller.join()
    tell(capture, cpu, notes=capture.notes)


if __name__ == "__main__":
    main()
