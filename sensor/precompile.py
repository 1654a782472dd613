"""The first start: decoders are compiled in processes of their own, several at once where there is room.

One process that compiles everything needs 1.4 GiB in the end, and keeps them as long as the sensor runs; one
that compiles a share of the decoders takes half a GiB, and ends. What was compiled is read from where
``sensor.jit`` keeps it. A process that fails costs nothing but time: whoever misses a decoder compiles it.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np

from sensor.jit import cache_place, compiled_before

SHARES: Final = (
    ("tpkt", "goose", "arp", "ntp"),
    ("opcua", "dnp3", "dnp3_datagram", "bacnet", "supervision"),
    ("enip", "enip_datagram", "sv", "coap", "coap_datagram", "modbus"),
    (
        *("dlms", "dlms_datagram", "http", "mqtt", "c37118", "c37118_datagram", "profinet", "iec104"),
        *("snmp", "ptp", "tls", "dns", "dns_tcp", "internet"),
    ),
)
"""Decoders of ``sensor.track.dispatch``, a third of a minute each on the machine of the benchmarks."""

EACH_MIB: Final = 768
"""Memory that one process may take."""

PATIENCE: Final = 900.0
"""Seconds for all of them on the slowest machine; then they are given up."""


def precompile() -> None:
    """Compile what no earlier run has compiled; nothing where compilation is switched off."""
    if numba.config.DISABLE_JIT or compiled_before():
        return
    _run(SHARES, _processes())
    _run(((),), 1)  # what joins them: TCP, frames and the loop


def _processes() -> int:
    """How many at once: no more than cores, and than fit the free memory of machine and control group."""
    most = min(len(os.sched_getaffinity(0)), len(SHARES), _free_mib() // EACH_MIB)
    return max(1, most)


def _free_mib() -> int:
    """Free memory of this machine, or of this process's control group where that is less (MiB)."""
    free = [_available()]
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").strip().rpartition("::")[2]
        folder = Path("/sys/fs/cgroup" + group)
        limit, used = ((folder / f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current"))
        free.append((int(limit) - int(used)) >> 20)
    except (OSError, ValueError):  # no such group, or one without a limit ("max")
        pass
    return max(0, min(free))


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # a unit may hide it (ProcSubset=pid)
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("MemAvailable:")), 0)


def _run(shares: Sequence[Sequence[str]], processes: int) -> None:
    """Compile shares, so many at once; all end with this process."""
    waiting = list(shares)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache_place())}
    running: list[subprocess.Popen[bytes]] = []
    until = time.monotonic() + PATIENCE
    try:
        while (waiting or running) and time.monotonic() < until:
            while waiting and len(running) < processes:
                command = [sys.executable, "-m", "sensor.precompile", *waiting.pop(0)]
                running.append(_start(command, environment))
            time.sleep(0.05)
            running = [process for process in running if process.poll() is None]
    finally:
        for process in running:
            process.kill()
            process.wait()


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    nothing = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdin=nothing, stdout=nothing, stderr=nothing)


def signature(function: Any, known: dict[str, Any]) -> tuple[Any, ...]:
    """Types with which a decoder is called, by the names of its parameters; all others are numbers."""
    plain = {"bool": numba.types.boolean}
    return tuple(
        known.get(name, plain.get(str(parameter.annotation), numba.types.int64))
        for name, parameter in inspect.signature(function.py_func).parameters.items()
    )


def types_of(engine: Any) -> dict[str, Any]:
    """Types of what decoders are handed, by the name of the parameter."""
    octets = np.zeros(1, np.uint8)
    octets.setflags(write=False)
    return {
        "memory": numba.typeof(engine._memory[0]),
        "names": numba.typeof(engine._tables),
        "pool": numba.typeof(engine._pool),
        "buf": numba.typeof(octets),
    }


def _compile(decoders: Sequence[str]) -> None:
    """Compile some decoders, or without any the whole engine; in a process of its own."""
    from grid_profiles.loader import load_registry
    from sensor.frames import no_frames
    from sensor.names import Names
    from sensor.native import NativeEngine
    from sensor.track import dispatch

    engine = NativeEngine(Names(load_registry()))
    if not decoders:
        engine.decode(no_frames())
    known = types_of(engine)
    for name in decoders:
        decoder = getattr(dispatch, f"emit_{name}")
        decoder.compile(signature(decoder, known))


if __name__ == "__main__":
    _compile(sys.argv[1:])
