"""The first start: every decoder is compiled once, as its callers call it, and whatever fails is harmless."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numba
import pytest

from grid_profiles.loader import load_registry
from sensor import precompile
from sensor.engines import open_engine
from sensor.names import Names
from sensor.native import NativeEngine
from sensor.track import dispatch
from tests.lab import frames as f

ROUTERS = {"emit_pdu", "emit_datagram", "emit_ethernet"}
needs_compiler = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="compilation is switched off")


def test_each_decoder_is_in_one_share() -> None:
    shared = Counter(f"emit_{name}" for share in precompile.SHARES for name in share)
    decoders = {name for name in dir(dispatch) if name.startswith("emit_")} - ROUTERS
    assert shared == Counter(decoders)


@needs_compiler
def test_they_are_compiled_as_their_callers_call_them(tmp_path: Path) -> None:
    """What the callers made the compiler keep is what a share would make it keep: else all is done twice."""
    f.write_pcap(tmp_path / "one.pcap", [(1, f.udp_frame("10.0.0.1", "10.0.0.2", 1000, 53, b"?"))])
    for _ in open_engine([tmp_path / "one.pcap"], "native"):
        pass
    known = precompile.types_of(NativeEngine(Names(load_registry())))
    for name in (name for share in precompile.SHARES for name in share):
        decoder: Any = getattr(dispatch, f"emit_{name}")
        kept = {key[0] for key in decoder._cache._cache_file._load_index()}
        assert kept == {precompile.signature(decoder, known)}, name


@needs_compiler
def test_a_process_leaves_its_share_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompile, "cache_place", lambda: tmp_path)
    precompile._run((("ntp",), ("no such decoder",)), 2)
    assert list(tmp_path.glob("**/small.emit_ntp-*.nbi"))
    assert not list(tmp_path.glob("**/*emit_modbus*"))


def test_nothing_is_done_where_everything_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompile, "_run", lambda *_: pytest.fail("nothing is left to compile"))
    monkeypatch.setattr(precompile, "compiled_before", lambda: True)
    precompile.precompile()


@pytest.mark.parametrize(
    ("free", "cores", "processes"), [(0, 4, 1), (800, 4, 1), (1_600, 4, 2), (90_000, 3, 3)]
)
def test_processes_fit_cores_and_memory(
    free: int, cores: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precompile, "_free_mib", lambda: free)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert precompile._processes() == processes


def test_free_memory_is_told() -> None:
    assert 0 < precompile._free_mib() < 1 << 30
