"""Native against tshark on messages that one capture never has together, built here, whole and in pieces.

What may differ is said where the comparers are: ``test_differential`` and ``test_differential_stations``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from sensor.engines import open_engine
from tests.lab import every_apdu, every_service
from tests.lab.frames import Stamped, Talk, write_pcap
from tests.sensor import test_differential as apdus
from tests.sensor import test_differential_stations as stations

pytestmark = [pytest.mark.tshark, pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here")]

MADE: dict[str, tuple[Callable[[], list[Stamped]], Callable[[Path], None]]] = {
    "modbus": (every_apdu.modbus_frames, apdus.test_native_and_tshark_give_the_same_rows),
    "iec104": (every_apdu.iec104_frames, apdus.test_native_and_tshark_give_the_same_rows),
    "goose": (every_apdu.goose_frames, apdus.test_native_and_tshark_give_the_same_rows),
    "mms": (every_service.mms_frames, stations.test_native_and_tshark_give_the_same_rows),
    "s7comm": (every_service.s7_frames, stations.test_native_and_tshark_give_the_same_rows),
}
OVER_TCP = [protocol for protocol in MADE if protocol != "goose"]


@pytest.mark.parametrize("protocol", MADE)
def test_every_message(protocol: str, tmp_path: Path) -> None:
    make, compare = MADE[protocol]
    frames = make()
    write_pcap(tmp_path / "every.pcap", frames)
    told = sum(len(batch.messages) for batch in open_engine([tmp_path / "every.pcap"], "native"))
    assert told >= len(frames) - 1, "all but the acknowledgement of the handshake"
    compare(tmp_path / "every.pcap")


@pytest.mark.parametrize("protocol", OVER_TCP)
def test_from_the_middle_on(protocol: str, tmp_path: Path) -> None:
    """Without the opening of the connection, of the association, and the first half of what was said."""
    make, compare = MADE[protocol]
    frames = make()
    write_pcap(tmp_path / "late.pcap", frames[len(frames) // 2 :])
    compare(tmp_path / "late.pcap")


@pytest.mark.parametrize("size", [11, 100])
@pytest.mark.parametrize("protocol", OVER_TCP)
def test_in_small_segments(protocol: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Talk.segment

    def cut(talk: Talk, ts: int, side: int, flags: int, data: bytes = b"", seq: int | None = None) -> None:
        for at in range(0, max(len(data), 1), size):
            whole(talk, ts + at, side, flags, data[at : at + size], seq)

    monkeypatch.setattr(Talk, "segment", cut)
    make, compare = MADE[protocol]
    write_pcap(tmp_path / "pieces.pcap", make())
    compare(tmp_path / "pieces.pcap")


@pytest.mark.parametrize("protocol", OVER_TCP)
def test_with_losses(protocol: str, tmp_path: Path) -> None:
    """One frame of fifty is missing, with its request or its answer."""
    make, compare = MADE[protocol]
    random = Random(50)
    write_pcap(tmp_path / "lossy.pcap", [frame for frame in make() if random.randrange(50)])
    compare(tmp_path / "lossy.pcap")


@pytest.mark.parametrize("protocol", OVER_TCP)
def test_with_repetitions(protocol: str, tmp_path: Path) -> None:
    """Each third segment comes twice, the second time behind what was said next."""
    make, compare = MADE[protocol]
    frames = make()
    again = [(ts + 15_000_000, frame) for ts, frame in frames[::3]]
    write_pcap(tmp_path / "again.pcap", sorted([*frames, *again], key=lambda stamped: stamped[0]))
    compare(tmp_path / "again.pcap")
