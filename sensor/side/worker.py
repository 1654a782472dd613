"""Reads segments of a live capture with tshark: ``python -m sensor.side.worker [PROFILES…]``.

One JSON object per line on standard input names a segment: ``capture``, ``numbers`` (npy, our frame
numbers), ``result`` (npz to write), ``deadline`` (seconds for all of tshark's work on it). One per line on
standard output answers: ``{"done": rows}``, or ``failed`` ("hung" or "crashed") and ``why``. The first line
is ``{"ready": true}``.

The names in a result are numbers of tables of its own, which the result carries. The process has no
capabilities, is nice to the native engine, ends with its standard input, and ends its tshark when it is
terminated.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np

from grid_profiles.loader import Registry, load_registry
from sensor.capture.tshark import TsharkEngine
from sensor.capture.tshark_process import TsharkError, TsharkHung
from sensor.messages import Rows, join_rows, no_rows
from sensor.names import Limits, Names
from sensor.side.rights import drop_capabilities
from sensor.track.table import COUNT

NICE: Final = 10
MEMORY: Final = 1 << 30
"""Bytes of address space of one tshark, which reads at most a few ten thousand frames."""

OWN_MEMORY: Final = 4 << 30
MAX_ROWS: Final = 200_000
"""Messages taken from one segment; the rest of a hostile one is left."""

LIMITS: Final = Limits(endpoints=8_192, texts=16_384, text_bytes=1 << 20, conversations=8_192)


def main() -> None:
    """Answer segments until standard input ends."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    drop_capabilities()
    with contextlib.suppress(OSError):  # a service may be forbidden to change its resources
        os.nice(NICE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (OWN_MEMORY, OWN_MEMORY))
    registry = load_registry([Path(folder) for folder in sys.argv[1:]])
    Names(registry, LIMITS).intern_text("loads the kernels")
    _say({"ready": True})
    for line in sys.stdin:
        _say(answer(registry, json.loads(line)))


def answer(registry: Registry, order: dict[str, str]) -> dict[str, Any]:
    """Read one segment and write its result."""
    try:
        names = Names(registry, LIMITS)
        numbers, deadline = np.load(order["numbers"]), float(order["deadline"])
        messages, points = _read(names, Path(order["capture"]), numbers, deadline)
        with Path(order["result"]).open("wb") as file:
            np.savez(file, messages=messages, points=points, **tables(names))
    except TsharkHung as error:
        return {"failed": "hung", "why": str(error)}
    except (TsharkError, OSError, MemoryError, ValueError) as error:
        return {"failed": "crashed", "why": str(error)}
    return {"done": len(messages)}


def _read(names: Names, capture: Path, numbers: Any, deadline: float) -> Rows:
    profiles = [one for one in names.registry.profiles if one.tshark is not None and not one.native]
    until = time.monotonic() + deadline
    engine = TsharkEngine(
        names.registry, names, profiles, patience=deadline, memory=MEMORY, deadline=deadline
    )
    parts, count = [no_rows()], 0
    for rows in _within(engine.decode(capture, numbers), until):
        parts.append(rows)
        count += len(rows[0])
        if count >= MAX_ROWS:
            break
    return join_rows(parts)


def _within(rows: Iterator[Rows], until: float) -> Iterator[Rows]:
    """tshark may run several times for one segment; all of it has one deadline."""
    for part in rows:
        yield part
        if time.monotonic() > until:
            raise TsharkHung("a segment was not read in time")


def tables(names: Names) -> dict[str, Any]:
    """The strings behind the numbers: all octets, and where each begins."""
    made = {}
    for name in ("endpoints", "texts", "conversations"):
        table = getattr(names, name)
        count = int(table["meta"][COUNT])
        starts = table["start"][: count + 1].copy()
        made[name] = table["arena"][: int(starts[-1])].copy()
        made[f"{name}_start"] = starts
    return made


def _say(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
